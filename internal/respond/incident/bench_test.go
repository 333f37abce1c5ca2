package incident_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// processor is the time of processors that this process took: on a machine that others use,
// it says more than a clock.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The time of one customer in a breakdown: -benchtime=300000x is one of 300,000.
func BenchmarkBreakdown(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		b.Run(engine, func(b *testing.B) {
			if b.N == 1 {
				return
			}
			dsn := ""
			if engine == "postgres" {
				dsn = dbtest.VaultDSN(b)
			}
			h := apptest.OpenAt(b, dsn)
			ctx := b.Context()
			lead := h.Person("lead", map[string]string{"gucci": access.IncidentResponder})
			officer := h.Person("officer", map[string]string{"gucci": access.DataProtectionOfficer})
			var list []budget.Rule
			for _, r := range budget.DefaultRules().List() {
				r.Limit = 1 << 31
				list = append(list, r)
			}
			rules, err := budget.NewRules(list)
			h.Must(err)
			_, err = h.Admin.SetRules(ctx, h.Local, "gucci", api.BudgetRules{Rules: string(rules.Encode())}, true)
			h.Must(err)
			countries := []string{"IT", "FR", "DE", "US", "JP", "KR", "GB", "ES"}
			for from := 0; from < b.N; from += 1000 {
				var list []api.Fields
				for i := from; i < min(from+1000, b.N); i++ {
					list = append(list, api.Fields{"external_id": fmt.Sprint("B-", i), "email": fmt.Sprintf("bea%d@mail.example", i), "given_name": "Bea", "family_name": "Rossi",
						"street": "Via Roma 1", "city": "Milano", "country": countries[i%len(countries)], "region": "Region"})
				}
				tokens := h.Put("gucci", list...)
				_, err := h.Disclose.Reveal(ctx, officer, "gucci", api.RevealRequest{Tokens: tokens, Fields: []string{"email"}, Purpose: "data-subject-request"})
				h.Must(err)
			}
			_, err = h.Incident.Open(ctx, lead, "gucci", api.IncidentRequest{Title: "stolen key"})
			h.Must(err)
			_, err = h.Incident.Scope(ctx, lead, "gucci", "1", api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"officer"}}}})
			h.Must(err)
			_, err = h.Incident.ApproveScope(ctx, lead, "gucci", "1", api.ScopeApproval{})
			h.Must(err)
			b.ResetTimer()
			before := processor(b)
			x, _, err := counted(ctx, h.Incident, lead, "gucci", "1")
			h.Must(err)
			if x.Done != b.N {
				b.Fatalf("%d of %d", x.Done, b.N)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "customers/s")
			b.ReportMetric(float64((processor(b)-before).Microseconds())/float64(b.N), "cpu-us/customer")
		})
	}
}
