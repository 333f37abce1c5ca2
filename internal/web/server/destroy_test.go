package server_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

// limits sets one limit a day of classes for every lineage, beside the defaults.
func (h *house) limits(day uint32, classes ...budget.Class) {
	h.t.Helper()
	var list []budget.Rule
	for _, r := range budget.DefaultRules().List() {
		if slices.Contains(classes, r.Class) && r.Window == budget.Day && (r.Kind == budget.Lineage || r.Kind == budget.Principal) {
			r.Limit = day
		}
		list = append(list, r)
	}
	rules, err := budget.NewRules(list)
	h.must(err)
	_, err = h.SetBudgets(h.t.Context(), "gucci", api.BudgetRules{Rules: string(rules.Encode())}, false)
	h.must(err)
}

func number(i int) string { return fmt.Sprintf("N-%04d", i) }

// stock makes customers as the machine's owner, and returns their tokens by number.
func (h *house) stock(n int) map[string]string {
	h.t.Helper()
	var req api.PutRequest
	for i := range n {
		req.Customers = append(req.Customers, api.Fields{"external_id": number(i), "given_name": "Ada", "email": fmt.Sprintf("ada%d@example.com", i)})
	}
	w, err := h.Put(h.t.Context(), "gucci", req)
	h.must(err)
	out := map[string]string{}
	for i, r := range w.Results {
		out[number(i)] = r.Token
	}
	return out
}

// A shop's stolen key overwrites everybody, one by one or in bulk: it gets as far as its
// budget of writes, and an administrator who erases as far as that of erasures.
func TestAStolenKeyDestroysNoMoreThanItsBudget(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	ctx := t.Context()
	const customers, limit = 60, 25
	tokens := h.stock(customers)
	h.limits(limit, budget.Write)
	shop := h.as[access.Application]
	spoil := func(from, to int) (n int, err error) {
		var req api.PutRequest
		for i := from; i < to; i++ {
			req.Customers = append(req.Customers, api.Fields{"external_id": number(i), "email": "x@thief.example"})
		}
		w, err := shop.Put(ctx, "gucci", req)
		if err != nil {
			return 0, err
		}
		for _, r := range w.Results {
			if r.Outcome == "updated" {
				n++
			}
		}
		return n, nil
	}
	spoilt := 0
	for size := range []int{20, 10, 7, 3, 1} {
		for from := 0; from < customers; from += size + 1 {
			n, err := spoil(from, min(from+size+1, customers))
			if err != nil && !isType(err, api.TypeBudgetExhausted) {
				t.Fatal(err)
			}
			spoilt += n
		}
	}
	if spoilt > limit || spoilt < limit-1 {
		t.Errorf("%d customers were overwritten, with a budget of %d", spoilt, limit)
	}
	if _, err := shop.Patch(ctx, "gucci", tokens[number(customers-1)], api.Fields{"email": "x@thief.example"}); !isType(err, api.TypeBudgetExhausted) {
		t.Errorf("one more by token: %v", err)
	}
	// The owner of the machine goes on: a file is brought in again.
	w, err := h.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": number(0), "email": "ada0@example.com"}}})
	h.must(err)
	var e api.Entry
	h.must(h.Do(ctx, "GET", fmt.Sprint("/v1/brands/gucci/log/entries/", w.Receipt.Entry), nil, &e))
	if e.Detail["by"] != "owner" || e.Detail["changed"] != "1" {
		t.Errorf("the owner's write is logged as %+v", e.Detail)
	}

	for _, class := range budget.InUse() { // each is one that exposure can be asked for
		x, err := h.Exposure(ctx, "gucci", client.ExposureQuery{Class: class.String(), Principal: access.Administrator})
		h.must(err)
		if class.Effect() == budget.Destroys && (len(x.Rows) == 0 || x.Rows[0].Destroy.Day == 0) {
			t.Errorf("an administrator's exposure in the class %s: %+v", class, x.Rows)
		}
	}
	h.limits(5, budget.Erase)
	erased := 0
	for _, token := range tokens {
		_, err := h.as[access.Administrator].Erase(ctx, "gucci", token)
		if err == nil {
			erased++
		} else if !isType(err, api.TypeBudgetExhausted) {
			t.Fatal(err)
		}
	}
	if erased != 5 {
		t.Errorf("%d customers were erased, with a budget of 5", erased)
	}
}

// Once the budget of searches or of writes is used up, a write is refused whoever its rows
// are, in one answer; and before that no sequence of writes tells more customers from
// strangers than the budget of searches lets somebody find.
func TestNoWriteTellsNewFromKnownBeyondTheBudget(t *testing.T) {
	t.Parallel()
	const customers, limit = 30, 8
	known := func(i int) bool { return i < customers }
	for name, c := range map[string]struct {
		class budget.Class
		write func(ctx *house, c *client.Client, rows ...int) ([]api.WriteResult, error)
	}{
		"put": {budget.Search, func(h *house, c *client.Client, rows ...int) ([]api.WriteResult, error) {
			var req api.PutRequest
			for _, i := range rows {
				req.Customers = append(req.Customers, api.Fields{"external_id": number(i)})
			}
			w, err := c.Put(h.t.Context(), "gucci", req)
			if err != nil {
				return nil, err
			}
			return w.Results, nil
		}},
		"overwriting": {budget.Write, func(h *house, c *client.Client, rows ...int) ([]api.WriteResult, error) {
			var req api.PutRequest
			for _, i := range rows {
				req.Customers = append(req.Customers, api.Fields{"external_id": number(i), "city": "Nowhere"})
			}
			w, err := c.Put(h.t.Context(), "gucci", req)
			if err != nil {
				return nil, err
			}
			return w.Results, nil
		}},
		"purchases": {budget.Search, func(h *house, c *client.Client, rows ...int) ([]api.WriteResult, error) {
			var req api.PurchasesRequest
			for _, i := range rows {
				req.Customers = append(req.Customers, api.CustomerPurchases{ExternalID: number(i), Purchases: []api.Purchase{
					{ID: "o", At: "2025-03-01T10:00:00Z", Amount: "1.00", Currency: "EUR"}}})
			}
			w, err := c.AddPurchases(h.t.Context(), "gucci", req)
			if err != nil {
				return nil, err
			}
			return w.Results, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, "")
			h.stock(customers)
			h.limits(limit, c.class)
			shop := h.as[access.Application]
			told := map[int]bool{} // customers that a thief has told from strangers
			refusal := ""
			try := func(rows ...int) {
				results, err := c.write(h, shop, rows...)
				var e *api.Error
				switch {
				case err == nil:
					for n, r := range results {
						if known(rows[n]) && (r.Token != "" || r.Outcome == "updated" || r.Outcome == "unchanged") {
							told[rows[n]] = true
						}
					}
				case !errors.As(err, &e) || e.Type != api.TypeBudgetExhausted:
					t.Fatal(err)
				}
			}
			for i := range customers { // one that is known beside one that is not
				try(i, 1000+i)
			}
			for i := range customers {
				try(i)
			}
			if len(told) > limit {
				t.Errorf("%d customers were told from strangers, with a budget of %d", len(told), limit)
			}
			for _, i := range []int{customers - 1, 5000, customers - 2, 5001, 5002} {
				_, err := c.write(h, shop, i)
				var e *api.Error
				if !errors.As(err, &e) || e.Type != api.TypeBudgetExhausted {
					t.Fatalf("a used-up budget answers %v", err)
				}
				detail, _, _ := strings.Cut(e.Detail, "; retry in ") // which counts down
				if detail != refusal && refusal != "" {
					t.Errorf("refused with %q and with %q", refusal, detail)
				}
				refusal = detail
			}
		})
	}
}

// A refusal of rows for which there is not room for each tells whether they are customers.
// That costs a search, whether the write is refused or not: with two rows at a time nobody
// learns more than the budget of searches lets them find.
func TestARefusalThatTellsCostsASearch(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	const customers, limit = 40, 6
	h.stock(customers)
	h.limits(limit, budget.Search, budget.Write)
	overwrite := func(rows ...int) bool {
		var req api.PutRequest
		for _, i := range rows {
			req.Customers = append(req.Customers, api.Fields{"external_id": number(i), "city": "Nowhere"})
		}
		_, err := h.as[access.Application].Put(t.Context(), "gucci", req)
		if err != nil && !isType(err, api.TypeBudgetExhausted) {
			t.Fatal(err)
		}
		return err == nil
	}
	told := 0
	for i := range limit - 2 {
		if overwrite(i) {
			told++
		}
	}
	// Whoever is refused where strangers are not is a customer.
	for i := limit; i < customers-2; i += 3 {
		if !overwrite(i, i+1, i+2) && overwrite(1000+3*i, 1001+3*i, 1002+3*i) {
			told++
		}
	}
	if told > limit {
		t.Errorf("%d answers told customers from strangers, with a budget of %d", told, limit)
	}
}

// A canary does not give way to purchases that somebody names its number with: the answer
// and the entries are those for nobody, the canary stays as it is, and it is an alarm.
func TestAProbeOfCanariesTellsNothingAndIsNoticed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	ctx := t.Context()
	h.stock(5)
	var placed api.CanariesPlaced
	canaries := client.Path("brands", "gucci", "canaries")
	h.must(h.as["incident-responder"].Do(ctx, "POST", canaries, api.CanaryRequest{Count: 4, Domain: "decoys.example", Now: true}, &placed))
	var before, after []api.Canary
	h.must(h.as["incident-responder"].Do(ctx, "GET", canaries, nil, &before))
	b, err := h.vault.Disclose.Door.Brands.ByName(ctx, "gucci")
	h.must(err)
	probe := func(dry bool, numbers ...string) (answer string, entries uint64) {
		req := api.PurchasesRequest{DryRun: dry}
		for _, n := range numbers {
			req.Customers = append(req.Customers, api.CustomerPurchases{ExternalID: n, Purchases: []api.Purchase{{ID: "P-1", At: "2025-01-01", Amount: "10", Currency: "EUR"}}})
		}
		from, err := h.vault.Ledger.Size(ctx, b.ID)
		h.must(err)
		w, err := h.as[access.Application].AddPurchases(ctx, "gucci", req)
		h.must(err)
		to, err := h.vault.Ledger.Size(ctx, b.ID)
		h.must(err)
		for _, r := range w.Results {
			answer += fmt.Sprintf("%s %s %+v; ", r.Outcome, r.Token, *r.Reject)
		}
		return answer + fmt.Sprint(w.Receipt), to - from
	}
	rules, err := detect.DefaultRules()
	h.must(err)
	d := detect.New(b.ID, rules, h.vault.Canaries.Store)
	var alarms []detect.Rule
	var next uint64
	watch := func() {
		h.must(h.vault.Ledger.Scan(ctx, b.ID, next, func(i uint64, e entry.Entry, ords []record.Ordinal) error {
			for _, a := range d.Observe(i, &e, ords) {
				alarms = append(alarms, a.Rule)
			}
			if m := e.Texts()["mark"]; e.Kind == entry.KindWrite && m != "" && len(m) != 44 {
				t.Errorf("a mark of %d characters", len(m))
			}
			next = i + 1
			return nil
		}))
	}
	for _, dry := range []bool{false, true} {
		nobody, n := probe(dry, "N-no-1")
		watch()
		if slices.Contains(alarms, detect.Probe) && !dry {
			t.Error("a number that nobody has is an alarm")
		}
		for _, c := range before {
			if got, m := probe(dry, c.ExternalID); got != nobody || m != n {
				t.Errorf("dry %v: a canary is answered %q in %d entries, nobody %q in %d", dry, got, m, nobody, n)
			}
		}
		watch()
		if !slices.Contains(alarms, detect.Probe) {
			t.Error("probes of canaries are no alarm")
		}
	}
	h.must(h.as["incident-responder"].Do(ctx, "GET", canaries, nil, &after))
	for i := range before {
		if before[i].ExternalID != after[i].ExternalID || before[i].Token != after[i].Token {
			t.Errorf("%+v became %+v", before[i], after[i])
		}
	}
	// Purchases of nobody in particular are none.
	_, err = h.as[access.Application].AddPurchases(ctx, "gucci", api.PurchasesRequest{Customers: []api.CustomerPurchases{{ExternalID: number(1), Purchases: []api.Purchase{}}}})
	var e *api.Error
	if !errors.As(err, &e) || e.Status != 422 {
		t.Errorf("an empty list of purchases: %v", err)
	}
}

// A search for a value that several have, beyond what is left, is refused without saying
// how many have it, and costs one as a search that finds nobody does.
func TestARefusedSearchDoesNotTellHowManyMatch(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	ctx := t.Context()
	var put api.PutRequest
	for i := range 3 {
		put.Customers = append(put.Customers, api.Fields{"external_id": number(i), "email": "family@example.com"})
	}
	_, err := h.Put(ctx, "gucci", put)
	h.must(err)
	h.limits(2, budget.Search)
	search := func() string {
		_, err := h.as["support-agent"].Search(ctx, "gucci", api.SearchRequest{By: "email", Value: "family@example.com", Purpose: "customer-support"})
		var e *api.Error
		if !errors.As(err, &e) || e.Type != api.TypeBudgetExhausted {
			t.Fatalf("three customers under a budget of two: %v", err)
		}
		return e.Detail
	}
	if first, second := search(), search(); strings.Contains(first, "requested") || first != second {
		t.Errorf("%q, %q", first, second)
	}
	if _, err := h.as["support-agent"].Search(ctx, "gucci", api.SearchRequest{By: "email", Value: "nobody@example.com", Purpose: "customer-support"}); !isType(err, api.TypeBudgetExhausted) {
		t.Errorf("two refusals that told cost nothing: %v", err)
	}
}
