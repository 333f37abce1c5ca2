package cloakroomtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

const (
	sqlContractRead   = `SELECT first, entries FROM log_groups WHERE brand = 1 ORDER BY first LIMIT 1 OFFSET 3`
	sqlContractChange = `UPDATE log_groups SET entries = $2 WHERE brand = 1 AND first = $1`
	sqlContractSealed = `SELECT sealed FROM customers WHERE sealed IS NOT NULL`
)

// house is a vault with two brands, somebody of each kind, and customers.
type house struct {
	*Vault
	shop, agent, officer, other *client.Client
	tokens                      []string
	foreign                     string
}

func furnish(t *testing.T, v *Vault) *house {
	t.Helper()
	ctx := t.Context()
	v.Brand("gucci")
	v.Brand("mcqueen")
	h := &house{
		Vault: v,
		shop:  v.Principal("shop", map[string]string{"gucci": "application"}),
		agent: v.Principal("agent", map[string]string{"gucci": "support-agent"}),
		officer: v.Principal("officer", map[string]string{
			"gucci": "data-protection-officer", "mcqueen": "data-protection-officer"}),
		other: v.Principal("other-shop", map[string]string{"mcqueen": "application"}),
	}
	var req api.PutRequest
	for i := range 60 {
		req.Customers = append(req.Customers, api.Fields{"external_id": fmt.Sprint("C-", i), "given_name": fmt.Sprint("Name-", i), "email": fmt.Sprintf("c%d@example.com", i)})
	}
	w, err := h.shop.Put(ctx, "gucci", req)
	must(t, err)
	for _, r := range w.Results {
		h.tokens = append(h.tokens, r.Token)
	}
	w, err = h.other.Put(ctx, "mcqueen", api.PutRequest{Customers: []api.Fields{{"external_id": "C-1", "email": "c1@example.com"}}})
	must(t, err)
	h.foreign = w.Results[0].Token
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, what string, err error, typ string) {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Type != typ {
		t.Errorf("%s gave %v, not %s", what, err, typ)
	}
}

func (h *house) reveal(c *client.Client, tokens ...string) (*api.Disclosed, error) {
	return c.Reveal(h.t.Context(), "gucci", api.RevealRequest{Tokens: tokens, Fields: []string{"email"}, Purpose: "customer-support"})
}

// verified replays the log of a brand.
func (h *house) verified(brand string) api.Verified {
	h.t.Helper()
	var out api.Verified
	if err := h.Admin.Do(h.t.Context(), "POST", client.Path("brands", brand, "log", "verify"), struct{}{}, &out); err != nil {
		h.t.Fatal(err)
	}
	return out
}

func stories() map[string]func(t *testing.T, h *house) {
	return map[string]func(t *testing.T, h *house){
		"what is put in is found and revealed":            storyReveal,
		"policy, budgets and brands refuse":               storyRefusals,
		"a budget holds against requests at once":         storyBudget,
		"who read a customer, with proofs":                storyProof,
		"an erased customer is gone and the log verifies": storyErase,
		"a changed log is found":                          storyTamper,
		"a vault opened again knows everything":           storyReopen,
	}
}

// TestContract is what a vault promises, whatever it lies on. An engine only hands over
// a factory.
func TestContract(t *testing.T) {
	t.Parallel()
	for name, story := range stories() {
		t.Run(name, func(t *testing.T) {
			Each(t, func(t *testing.T, v *Vault) { story(t, furnish(t, v)) })
		})
	}
}

// With one connection to PostgreSQL everything takes longer and nothing hangs: no
// request holds a connection while it waits for another.
func TestContractOverOneConnection(t *testing.T) {
	t.Parallel()
	for name, story := range stories() {
		t.Run(name, func(t *testing.T) {
			story(t, furnish(t, start(t, app.Options{Database: dbtest.DSN(t), DB: db.Options{Readers: 1}})))
		})
	}
}

func storyReveal(t *testing.T, h *house) {
	ctx := t.Context()
	again, err := h.shop.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "C-1", "given_name": "Name-1", "email": "c1@example.com"}, {"external_id": "C-2", "email": "new@example.com"}}})
	must(t, err)
	if a, b := again.Results[0], again.Results[1]; a.Outcome != "unchanged" || a.Token != h.tokens[1] || b.Outcome != "updated" {
		t.Errorf("put again: %+v", again.Results)
	}
	_, err = h.shop.AddPurchases(ctx, "gucci", api.PurchasesRequest{Customers: []api.CustomerPurchases{{ExternalID: "C-2", Purchases: []api.Purchase{{ID: "1", At: "2025-01-01T00:00:00Z", Amount: "790.00", Currency: "EUR", Description: "Loafer"}}}}})
	must(t, err)
	find := func(value string) int {
		found, err := h.agent.Search(ctx, "gucci", api.SearchRequest{By: "email", Value: value, Purpose: "customer-support"})
		must(t, err)
		return len(found.Customers)
	}
	if a, b := find("NEW@example.com"), find("c2@example.com"); a != 1 || b != 0 {
		t.Errorf("the new address finds %d, the former %d", a, b)
	}
	d, err := h.agent.Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{h.tokens[2], h.tokens[0]}, Fields: []string{"email", "purchases"}, Purpose: "customer-support", Ticket: "CASE-1"})
	must(t, err)
	if c := d.Customers; c[0].Fields["email"] != "new@example.com" || c[0].Purchases[0].Amount != "790.00" || c[1].Fields["email"] != "c0@example.com" || len(c[1].Purchases) != 0 {
		t.Errorf("revealed %+v", c)
	}
	rows := 0
	must(t, h.opened.DB.Rows(ctx, func(r db.Row) error {
		var b []byte
		err := r.Scan(&b)
		if rows++; strings.Contains(string(b), "example.com") {
			t.Error("a row holds an address in clear")
		}
		return err
	}, sqlContractSealed))
	if rows != len(h.tokens)+1 {
		t.Errorf("%d sealed rows", rows)
	}
}

func storyRefusals(t *testing.T, h *house) {
	ctx := t.Context()
	_, err := h.agent.Reveal(ctx, "gucci", api.RevealRequest{Tokens: h.tokens[:1], Fields: []string{"email", "attributes"}, Purpose: "customer-support"})
	refused(t, "a field that the policy keeps", err, api.TypePolicyDenied)
	_, err = h.reveal(h.Admin, h.tokens[0])
	refused(t, "the administrator", err, api.TypePolicyDenied)
	_, err = h.reveal(h.other, h.tokens[0])
	refused(t, "somebody without a role in the brand", err, api.TypeUnknownBrand)
	_, err = h.reveal(h.agent, h.tokens[0], h.foreign)
	refused(t, "a token of another brand", err, api.TypeOtherBrand)
	_, err = h.reveal(h.agent, h.tokens[0], "cus_abcdefghijklmnopqrstuvwxyz")
	refused(t, "a forged token", err, api.TypeUnknownToken)
	_, err = h.reveal(h.agent, h.tokens[:41]...)
	refused(t, "one more than the budget at once", err, api.TypeBudgetExhausted)
	d, err := h.officer.WhoRead(ctx, "gucci", h.tokens[0])
	must(t, err)
	if len(d.Disclosures) != 0 {
		t.Errorf("what was refused was logged as read: %+v", d.Disclosures)
	}
}

func storyBudget(t *testing.T, h *house) {
	answers := make(chan string, len(h.tokens))
	for _, token := range h.tokens {
		go func() {
			_, err := h.reveal(h.agent, token)
			var e *api.Error
			switch {
			case err == nil:
				answers <- "given"
			case errors.As(err, &e):
				answers <- e.Type
			default:
				answers <- err.Error()
			}
		}()
	}
	counts := map[string]int{}
	for range h.tokens {
		counts[<-answers]++
	}
	if counts["given"] != 40 || counts[api.TypeBudgetExhausted] != len(h.tokens)-40 {
		t.Errorf("60 requests at once under a budget of 40: %v", counts)
	}
}

func storyProof(t *testing.T, h *house) {
	for i := range 3 {
		_, err := h.reveal(h.agent, h.tokens[:i+2]...)
		must(t, err)
	}
	d, err := h.officer.WhoRead(t.Context(), "gucci", h.tokens[1])
	must(t, err)
	if len(d.Disclosures) != 3 {
		t.Fatalf("%d disclosures, not 3", len(d.Disclosures))
	}
	for i, x := range d.Disclosures {
		p, err := evidence.NewCustomerProof(&x, d.Checkpoint)
		must(t, err)
		e, err := p.Verify(d.VerifierKey)
		if err != nil || e.Purpose != "customer-support" || x.Principal != "agent" || x.Proof.Counter != uint32(i) {
			t.Errorf("disclosure %d: %v, %+v", i, err, x)
		}
		p.Position ^= 1
		if _, err := p.Verify(d.VerifierKey); err == nil {
			t.Error("a proof verifies for the customer beside")
		}
	}
}

func storyErase(t *testing.T, h *house) {
	ctx := t.Context()
	_, err := h.reveal(h.agent, h.tokens[5])
	must(t, err)
	_, err = h.agent.Erase(ctx, "gucci", h.tokens[5])
	refused(t, "an erasure by support", err, api.TypePolicyDenied)
	_, err = h.officer.Erase(ctx, "gucci", h.tokens[5])
	must(t, err)
	_, err = h.reveal(h.agent, h.tokens[5])
	refused(t, "an erased customer", err, api.TypeUnknownToken)
	found, err := h.agent.Search(ctx, "gucci", api.SearchRequest{By: "email", Value: "c5@example.com", Purpose: "customer-support"})
	if err != nil || len(found.Customers) != 0 {
		t.Errorf("an erased customer is found: %v, %v", found, err)
	}
	_, err = h.reveal(h.agent, h.tokens[6])
	must(t, err)
	for _, brand := range []string{"gucci", "mcqueen", "group"} {
		if v := h.verified(brand); !v.OK || v.Size == 0 {
			t.Errorf("the log of %s: %+v", brand, v)
		}
	}
}

func storyTamper(t *testing.T, h *house) {
	ctx := t.Context()
	for i := range 5 {
		_, err := h.reveal(h.agent, h.tokens[i])
		must(t, err)
	}
	var first int64
	var entries []byte
	must(t, h.opened.DB.Row(ctx, sqlContractRead).Scan(&first, &entries))
	entries[len(entries)/2] ^= 1
	_, err := h.opened.DB.Exec(ctx, sqlContractChange, first, entries)
	must(t, err)
	if v := h.verified("gucci"); v.OK || v.Fault == "" {
		t.Errorf("a changed entry verified: %+v", v)
	}
	if v := h.verified("mcqueen"); !v.OK {
		t.Errorf("another brand's log: %+v", v)
	}
}

func storyReopen(t *testing.T, h *house) {
	ctx := context.Background()
	_, err := h.reveal(h.agent, h.tokens[:39]...)
	must(t, err)
	if h.opened.DB.Engine() == db.SQLite {
		if _, err := app.Open(ctx, h.Dir, app.Options{}); !errors.Is(err, app.ErrInUse) {
			t.Errorf("a second process opened the embedded database: %v", err)
		}
		return
	}
	// A second server, with the first one's root key, beside the first.
	second := start(t, app.Options{Database: h.database, RootKey: h.Dir + "/" + app.RootKeyFile})
	c := client.New(second.URL, h.keys["agent"], nil)
	_, err = h.reveal(c, h.tokens[40:42]...)
	refused(t, "two more at another server", err, api.TypeBudgetExhausted)
	_, err = h.reveal(c, h.tokens[40])
	must(t, err)
	_, err = h.reveal(h.agent, h.tokens[41])
	refused(t, "one more at the first server", err, api.TypeBudgetExhausted)
	_, err = h.reveal(c, h.tokens[:39]...)
	must(t, err)
	h.Brand("balenciaga")
	var list []api.Brand
	must(t, second.Admin.Do(ctx, "GET", "/v1/brands", nil, &list))
	if len(list) != 3 {
		t.Errorf("the second server knows %d brands", len(list))
	}
}
