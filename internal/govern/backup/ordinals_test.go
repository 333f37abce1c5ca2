package backup_test

import (
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// stranger logs a search that found nobody as releases before this one did: under an
// ordinal that no customer has.
func (h *house) stranger(ord record.Ordinal) {
	h.t.Helper()
	ctx := h.t.Context()
	b, err := h.v.Disclose.Door.Brands.ByName(ctx, "gucci")
	must(h.t, err)
	p, err := access.Load(access.DefaultText())
	must(h.t, err)
	who := identity.Who{Caller: identity.Caller{Principal: 3, Credential: 3, Lineage: 3}, Role: access.SupportAgent, Brand: b.ID}
	g, err := p.Authorize(who, access.ActSearch, "customer-support", record.Fields(record.Email))
	must(h.t, err)
	hold, err := h.v.Ledger.Hold(ctx, ledger.Release{Grant: g, Class: budget.Search, Ords: []record.Ordinal{ord}, Detail: entry.Search{By: "email", Found: "nobody"}})
	must(h.t, err)
	_, err = h.v.Ledger.Append(ctx, hold, func(int, entry.Committed) [32]byte { return [32]byte{1} })
	must(h.t, err)
}

func (h *house) newCustomer(id string) error {
	h.t.Helper()
	w, err := h.as("shop").Put(h.t.Context(), "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": id, "given_name": "Noor"}}})
	if err == nil && w.Results[0].Token == "" {
		h.t.Fatalf("a new customer has no token: %+v", w.Results[0])
	}
	return err
}

// A search for somebody who is no customer leaves nothing that a restored vault takes for
// a customer's ordinal, whichever release logged it.
func TestARestoredVaultTakesNewCustomersAfterSearchesForNobody(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		h, c := newHouse(t, engine, 12), newCustody(t)
		h.stranger(record.FirstNobody + 255_906)
		_, err := h.as("alice").Search(t.Context(), "gucci", api.SearchRequest{By: "email", Value: "nobody@example.com", Purpose: "customer-support", Ticket: "CASE-1"})
		must(t, err)
		next := h.count(`SELECT next FROM ordinals`)
		c.backup(h, "full")
		must(t, h.v.Close())
		r, _ := c.restored(h, c.options(h, engine, "full"))
		if got := r.count(`SELECT next FROM ordinals`); got != next {
			t.Errorf("the next ordinal is %d, and was %d", got, next)
		}
		must(t, r.newCustomer("NEW"))

		// A backup of a vault that an earlier release bricked does not brick the next one.
		_, err = r.v.DB.Exec(t.Context(), `UPDATE ordinals SET next = 4294173918`)
		must(t, err)
		c.backup(r, "bricked")
		must(t, r.v.Close())
		r, _ = c.restored(r, c.options(r, engine, "bricked"))
		if got := r.count(`SELECT next FROM ordinals`); got != next+1 {
			t.Errorf("after a bricked vault's backup the next ordinal is %d, not %d", got, next+1)
		}
		must(t, r.newCustomer("NEWER"))
	})
}
