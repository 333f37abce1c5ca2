package app_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// customerTables are those that have rows of a customer.
var customerTables = []string{"customers", "customer_keys", "lookups", "externals", "purchases"}

// yesterday is what somebody who has an older copy of the database puts back of customers.
type yesterday struct {
	*crew
	officer identity.Caller
	tokens  []string // of customers whose erasure cools, and who are erased
	t       *testing.T
}

func (y *yesterday) keep() {
	for _, table := range customerTables {
		y.exec(y.t, fmt.Sprintf(`CREATE TABLE old_%s AS SELECT * FROM %s`, table, table))
	}
}

func (y *yesterday) putBack() {
	for _, table := range customerTables {
		y.exec(y.t, fmt.Sprintf("DELETE FROM %[1]s;\nINSERT INTO %[1]s SELECT * FROM old_%[1]s", table))
	}
}

// doors tries every way to a customer who was erased.
func (y *yesterday) doors(when string) {
	y.t.Helper()
	ctx := y.t.Context()
	for i, token := range y.tokens {
		address, external := fmt.Sprintf("gone%d@example.com", i), fmt.Sprint("gone-", i)
		refused := func(door string, err error) {
			y.t.Helper()
			if err == nil {
				y.t.Errorf("%s, customer %d: %s serves who was erased", when, i, door)
			}
		}
		_, err := y.Disclose.Reveal(ctx, y.alice, "gucci", api.RevealRequest{Tokens: []string{token}, Fields: []string{"email"}, Purpose: "customer-support", Ticket: "CASE-1"})
		refused("reveal", err)
		_, err = y.Disclose.View(ctx, y.alice, "gucci", token, "customer-support", "CASE-1", 0)
		refused("view", err)
		found, err := y.Disclose.Search(ctx, y.alice, "gucci", api.SearchRequest{By: "email", Value: address, Purpose: "customer-support", Ticket: "CASE-1"})
		y.Must(err)
		if len(found.Customers) > 0 {
			y.t.Errorf("%s, customer %d: search finds who was erased", when, i)
		}
		_, err = y.Intake.Patch(ctx, y.Local, "gucci", token, api.Fields{"given_name": "Back"})
		refused("patch", err)
		w, err := y.Intake.Put(ctx, y.Local, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": external, "given_name": "Back"}}})
		y.Must(err)
		if w.Results[0].Outcome == "updated" || w.Results[0].Token == token {
			y.t.Errorf("%s, customer %d: put writes who was erased: %+v", when, i, w.Results[0])
		}
		w, err = y.Intake.Put(ctx, y.Local, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": external, "given_name": "Back"}, {"external_id": "other"}}})
		y.Must(err)
		if w.Results[0].Outcome == "updated" || w.Results[0].Token == token || w.Results[1].Reject != nil {
			y.t.Errorf("%s, customer %d: an import writes who was erased: %+v", when, i, w.Results)
		}
		bought, err := y.Intake.AddPurchases(ctx, y.Local, "gucci", api.PurchasesRequest{Customers: []api.CustomerPurchases{{Token: token,
			Purchases: []api.Purchase{{ID: "b-1", At: "2026-01-02", SKU: "S", Amount: "1.00", Currency: "EUR"}}}}})
		y.Must(err)
		if bought.Results[0].Reject == nil {
			y.t.Errorf("%s, customer %d: a purchase of who was erased: %+v", when, i, bought.Results[0])
		}
	}
	from := y.Size("gucci")
	x, err := y.Exports.Request(ctx, y.dora, "gucci", api.ExportRequest{Form: "extract", Fields: []string{"country"}, Purpose: "analysis", Filter: &api.ExportFilter{},
		Recipient: "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"})
	y.Must(err)
	for x.State == "gathering" {
		x, err = y.Exports.Gather(ctx, y.dora, "gucci", x.ID)
		y.Must(err)
	}
	// The answer rounds the count of a filter; the log has it exactly.
	lines := y.Logged("gucci", from)
	i := slices.IndexFunc(lines, func(l string) bool {
		return strings.Contains(l, "change=cohort") && strings.Contains(l, "export="+x.ID)
	})
	if want := fmt.Sprintf(" customers=%d ", y.living()); i < 0 || !strings.Contains(lines[i], want) {
		y.t.Errorf("%s: an export has other customers than the %d: %q", when, y.living(), lines)
	}
}

// living is how many customers there are by right.
func (y *yesterday) living() int {
	ords, err := y.Disclose.Seal.Resolve(y.t.Context(), y.Brand("gucci"), y.tokens)
	y.Must(err)
	var n int
	y.Must(y.DB.Row(y.t.Context(), `SELECT count(*) FROM customers WHERE erased = 0 AND ord NOT IN ($1, $2)`, int64(ords[0]), int64(ords[1])).Scan(&n))
	return n
}

// A customer whose erasure the log says is nobody, whatever rows of them somebody puts back
// into the database from an older copy: by no door, while a server runs and after a start.
func TestYesterdaysRowsOfAnErasedCustomerServeNobody(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		c := newCrew(t, h)
		ctx := t.Context()
		y := &yesterday{crew: c, t: t}
		y.officer = c.person(t, "olga", map[string]string{"gucci": "data-protection-officer"})
		for i := range 2 {
			y.tokens = append(y.tokens, h.Put("gucci", api.Fields{"external_id": fmt.Sprint("gone-", i), "email": fmt.Sprintf("gone%d@example.com", i)})...)
		}
		h.Put("gucci", api.Fields{"external_id": "other"})
		y.keep()
		_, err := h.Erase.Erase(ctx, y.officer, "gucci", y.tokens[0], false)
		h.Must(err)
		_, err = h.Erase.DestroyCooled(ctx, 60*24*time.Hour)
		h.Must(err)
		_, err = h.Erase.Erase(ctx, y.officer, "gucci", y.tokens[1], false)
		h.Must(err)
		y.putBack()
		h.Must(c.shows(ctx, c.alice)) // who is there is served
		y.doors("while it runs")
		c.Restart()
		y.doors("after a start")
		y.erasedAgain()
	})
}

// erasedAgain holds that the check finds whom somebody put back, and that the mending
// erases them: one who was cooling goes on cooling.
func (y *yesterday) erasedAgain() {
	y.t.Helper()
	ctx := y.t.Context()
	found := func() (n int) {
		out, err := y.Upkeep.Check(ctx, y.Local, api.CheckPlace{})
		y.Must(err)
		for _, f := range out.Faults {
			if f.Table == "customer_keys" && f.Ordinal != 0 {
				n++
			}
		}
		return n
	}
	if n := found(); n != 2 {
		y.t.Errorf("the check names %d of 2 customers who were put back", n)
	}
	for _, dry := range []bool{true, false} {
		out, err := y.Upkeep.Mend(ctx, y.Local, api.MendRequest{DryRun: dry})
		y.Must(err)
		if len(out.Repairs) != 1 {
			y.t.Errorf("dry %v: %+v", dry, out)
		}
	}
	if n := found(); n != 0 {
		y.t.Errorf("after the mending the check names %d", n)
	}
	y.doors("after the mending")
	list, err := y.Erase.Cooling(ctx, y.officer, "gucci", api.ErasureQuery{})
	y.Must(err)
	if len(list.Erasures) != 1 || list.Erasures[0].Token != y.tokens[1] {
		y.t.Errorf("cooling are %+v", list.Erasures)
	}
}
