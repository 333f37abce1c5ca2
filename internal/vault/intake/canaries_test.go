package intake_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
)

func responder(t *testing.T, v *app.Vault) identity.Caller {
	t.Helper()
	ctx, admin := t.Context(), direct(t, v).Caller
	if _, err := v.Admin.CreatePrincipal(ctx, admin, api.Principal{Name: "rhea", Kind: "person", Roles: map[string]string{"gucci": "incident-responder"}}); err != nil {
		t.Fatal(err)
	}
	c, err := v.Admin.CreateCredential(ctx, admin, "rhea", api.CredentialRequest{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.ParseKey(c.Key)
	if err != nil {
		t.Fatal(err)
	}
	rhea, err := v.Identity.Authenticate(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	return rhea
}

// A direct import brings canaries with their purchases, among the rows of each chunk and in
// its entry. What it reports counts the file's rows alone; again, it changes nothing.
func TestDirectImportBringsCanaries(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		v := p.open(t)
		brand(t, v)
		rhea := responder(t, v)
		if _, err := v.Canaries.Place(t.Context(), rhea, "gucci", api.CanaryRequest{Rate: 0.1, Domain: "post.example"}); err != nil {
			t.Fatal(err)
		}
		var customers, purchases strings.Builder
		customers.WriteString(customersHead)
		purchases.WriteString(purchasesHead)
		const n = 600
		for i := range n {
			fmt.Fprintf(&customers, "C%06d,Ann,ann%d@example.com,%s\n", i, i, []string{"vip", "none"}[i%2])
			for k := range i % 4 {
				fmt.Fprintf(&purchases, "C%06d,C%06d-%d,2025-0%d-01T00:00:00Z,Belt,%d,EUR\n", i, i, k+1, k+1, 100+k)
			}
		}
		d := direct(t, v)
		told := map[string]bool{}
		d.Tokens = func(_, token string) error { told[token] = true; return nil }
		load := func() (new, unchanged int64) {
			o := options(t, customers.String(), purchases.String())
			o.ChunkCustomers = 200
			rep, err := intake.Run(t.Context(), d, o)
			if err != nil {
				t.Fatal(err)
			}
			return rep.Customers.New, rep.Customers.Unchanged
		}
		if fresh, _ := load(); fresh != n {
			t.Errorf("%d of %d rows are new", fresh, n)
		}
		list, err := v.Canaries.List(t.Context(), rhea, "gucci")
		if err != nil {
			t.Fatal(err)
		}
		if len(list) < 60 || len(list) > 72 || kept(t, v) != n+len(list) || len(told) != n {
			t.Errorf("%d decoys, %d customers, %d told", len(list), kept(t, v), len(told))
		}
		canaries := map[record.Ordinal]bool{}
		b, err := v.Disclose.Door.Brands.ByName(t.Context(), "gucci")
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list {
			ords, err := v.Disclose.Seal.Resolve(t.Context(), b.ID, []string{x.Token})
			if err != nil || told[x.Token] {
				t.Fatal(err, told[x.Token])
			}
			canaries[ords[0]] = true
		}
		err = v.Ledger.Scan(t.Context(), b.ID, 0, func(i uint64, e entry.Entry, ords []record.Ordinal) error {
			within, there := 0, 0
			for _, o := range ords {
				if canaries[o] {
					within++
				}
			}
			if len(ords) > 0 {
				if err := v.DB.Row(t.Context(), `SELECT count(*) FROM customer_keys WHERE ord BETWEEN $1 AND $2`, int64(ords[0]), int64(ords[len(ords)-1])).Scan(&there); err != nil {
					return err
				}
				if there == 0 {
					return nil // a chunk that met another on the database, and was prepared again
				}
			}
			if len(ords) > 0 && (within == 0 || within > len(ords)/5 || e.Principal != d.Caller.Principal) {
				t.Errorf("entry %d of %d has %d decoys among %d", i, e.Principal, within, len(ords))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var bought, without int
		if err := v.DB.Row(t.Context(), `SELECT count(*) FROM customer_keys WHERE segments = 0`).Scan(&without); err != nil {
			t.Fatal(err)
		}
		bought = n + len(list) - without
		if share := float64(bought) / float64(n+len(list)); share < 0.7 || share > 0.8 {
			t.Errorf("%.2f of all bought, where 0.75 of the customers did", share)
		}
		if _, same := load(); same != n || kept(t, v) != n+len(list) {
			t.Errorf("again: %d rows are unchanged, %d customers", same, kept(t, v))
		}
	})
}
