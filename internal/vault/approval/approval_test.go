package approval_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/approval"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

var sum = strings.Repeat("0123456789abcdef", 4)

// house is a vault with customers, small budgets, and a shop's service.
type house struct {
	*apptest.House
	t    *testing.T
	shop identity.Caller
	adam identity.Caller // an administrator
}

func newHouse(t *testing.T, h *apptest.House, customers int, limit uint32) *house {
	t.Helper()
	x := &house{House: h, t: t}
	_, err := h.Admin.CreatePrincipal(t.Context(), h.Local, api.Principal{Name: "shop", Kind: "service", Roles: map[string]string{"gucci": access.Application}})
	h.Must(err)
	x.shop = h.Key("shop")
	x.adam = h.Person("adam", map[string]string{"gucci": access.Administrator})
	var list []budget.Rule
	for _, r := range budget.DefaultRules().List() {
		if r.Window == budget.Day && (r.Class == budget.Write || r.Class == budget.Search) {
			r.Limit = limit
		}
		list = append(list, r)
	}
	rules, err := budget.NewRules(list)
	h.Must(err)
	_, err = h.Admin.SetRules(t.Context(), h.Local, "gucci", api.BudgetRules{Rules: string(rules.Encode())}, true)
	h.Must(err)
	x.Put("gucci", rows(0, customers, "old")...)
	return x
}

func number(i int) string { return fmt.Sprintf("N-%04d", i) }

func rows(from, to int, city string) (out []api.Fields) {
	for i := from; i < to; i++ {
		out = append(out, api.Fields{"external_id": number(i), "city": city})
	}
	return out
}

func (h *house) begin(customers []api.Fields) *api.WriteApproval {
	h.t.Helper()
	ctx := h.t.Context()
	a, err := h.Approved.Begin(ctx, h.shop, "gucci", api.FileApproval{Customers: sum, Mapping: sum})
	h.Must(err)
	for chunk := range slices.Chunk(customers, 20) {
		_, err := h.Intake.RehearseFor(ctx, h.shop, "gucci", a.Number, api.ApprovedPut{Customers: chunk})
		h.Must(err)
	}
	return a
}

func (h *house) used(class budget.Class) int {
	h.t.Helper()
	list, err := h.Ledger.Usage(h.t.Context(), h.Brand("gucci"), budget.Holder{Kind: budget.Principal, ID: h.shop.Principal})
	h.Must(err)
	for _, u := range list {
		if u.Class == class && u.Window == budget.Day {
			return u.Count
		}
	}
	return -1
}

// refused reports whether the brand's log holds a refusal for a reason.
func (h *house) refused(reason string) (found bool) {
	h.t.Helper()
	h.Must(h.Ledger.Scan(h.t.Context(), h.Brand("gucci"), 0, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
		r, ok := e.Detail.(entry.Refused)
		found = found || ok && r.Reason == reason
		return nil
	}))
	return found
}

// An import that changes more than the budget is approved by its file, and by the most that
// it changes: the service that asked learns nothing of who is a customer, the second person
// sees the totals, no other row goes in under it, and it resumes under its number.
func TestTwoPeopleApproveAFile(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		const limit = 10
		x := newHouse(t, h, 60, limit)
		officer, responder := h.TwoPeople()
		ctx := t.Context()
		file := append(rows(0, 60, "new"), rows(1000, 1040, "new")...) // of 100 rows 60 are customers
		if _, err := h.Intake.Put(ctx, x.shop, "gucci", api.PutRequest{Customers: file}); !ledger.Refused(err) {
			t.Fatalf("an import beyond the budget: %v", err)
		}
		searches := x.used(budget.Search)
		a := x.begin(file)
		_, err := h.Approved.Request(ctx, x.shop, "gucci", a.Number, api.ApprovalRequest{Ticket: "CHG-1"})
		var waits *change.PendingError
		if !errors.As(err, &waits) {
			t.Fatalf("asked: %v", err)
		}
		if n := x.used(budget.Search); n != searches {
			t.Errorf("the rehearsal cost %d searches", n-searches)
		}
		shown := func(c identity.Caller) string {
			s, err := h.Changes.Show(ctx, c, waits.ID)
			h.Must(err)
			return s.Title + strings.Join(s.Lines, "\n")
		}
		if s := shown(officer); !strings.Contains(s, "40 new customers, 60 changed") || !strings.Contains(s, sum) {
			t.Errorf("the approver is shown\n%s", s)
		}
		if s := shown(x.shop); strings.Contains(s, "60") || strings.Contains(s, "40") {
			t.Errorf("the requester is shown\n%s", s)
		}
		list, err := h.Approved.List(ctx, x.shop, "gucci")
		h.Must(err)
		if text, err := json.Marshal(list); err != nil || len(list) != 1 || list[0].Changed != nil || list[0].Most != 0 {
			t.Errorf("the requester's list has %s", text)
		}
		// Nothing goes in before it is approved, and nothing is added to what is asked for.
		put := func(customers []api.Fields) (*api.Taken, error) {
			return h.Intake.PutApproved(ctx, x.shop, "gucci", a.Number, api.ApprovedPut{Customers: customers, Mapping: sum})
		}
		if _, err := put(file[:20]); !errors.Is(err, approval.ErrEnded) {
			t.Errorf("before it is approved: %v", err)
		}
		if _, err := h.Intake.RehearseFor(ctx, x.shop, "gucci", a.Number, api.ApprovedPut{Customers: rows(2000, 2020, "more")}); !errors.Is(err, approval.ErrEnded) {
			t.Errorf("rows are added to what is asked for: %v", err)
		}
		_, err = h.Changes.Approve(ctx, responder, waits.ID)
		h.Must(err)
		if _, err := put(rows(0, 20, "thief")); !errors.Is(err, approval.ErrRows) {
			t.Errorf("other rows under the approval: %v", err)
		}
		if _, err := h.Intake.PutApproved(ctx, h.Local, "gucci", a.Number, api.ApprovedPut{Customers: file[:20], Mapping: sum}); !errors.Is(err, approval.ErrNone) {
			t.Errorf("somebody else under the approval: %v", err)
		}
		for again := range 2 { // it resumes, also from the beginning
			for chunk := range slices.Chunk(file, 20) {
				got, err := put(chunk)
				h.Must(err)
				for _, r := range got.Results {
					if !reflect.DeepEqual(r, api.TakenResult{Outcome: "accepted"}) {
						t.Fatalf("run %d answers %+v", again, r)
					}
				}
			}
		}
		if n := x.used(budget.Write); n != 0 || x.used(budget.Search) != searches {
			t.Errorf("under the approval %d writes and %d searches of the service's own were used", n, x.used(budget.Search)-searches)
		}
		if list, err = h.Approved.List(ctx, officer, "gucci"); err != nil || list[0].Changed == nil || *list[0].Changed != 60 || list[0].Most != 60 {
			t.Errorf("an auditor's list has %+v, %v", list, err)
		}
		_, err = h.Approved.End(ctx, x.shop, "gucci", a.Number)
		h.Must(err)
		if _, err := put(file[:20]); !errors.Is(err, approval.ErrEnded) {
			t.Errorf("after it was ended: %v", err)
		}
		if _, err := h.Ledger.Verify(ctx, h.Brand("gucci"), nil); err != nil {
			t.Error(err)
		}
	})
}

// While acts take effect by one hand, a service's hand is not one: a stolen key would
// approve itself.
func TestAServiceDoesNotApproveItself(t *testing.T) {
	t.Parallel()
	h := apptest.Open(t)
	x := newHouse(t, h, 30, 5)
	a := x.begin(rows(0, 30, "new"))
	if _, err := h.Approved.Request(t.Context(), x.shop, "gucci", a.Number, api.ApprovalRequest{}); err == nil {
		t.Fatal("a service approved its own writes")
	}
	if _, err := h.Intake.PutApproved(t.Context(), x.shop, "gucci", a.Number, api.ApprovedPut{Customers: rows(0, 20, "new"), Mapping: sum}); !errors.Is(err, approval.ErrEnded) {
		t.Errorf("and writes: %v", err)
	}
}

// standing makes a standing approval of the shop by two people.
func (h *house) standing(most int64) uint64 {
	h.t.Helper()
	ctx := h.t.Context()
	_, err := h.Approved.Stand(ctx, h.adam, "gucci", api.StandingApproval{Service: "shop", Mapping: sum, Fields: []string{"city"}, Most: most, Until: time.Now().Add(60 * 24 * time.Hour)})
	h.Approve(err)
	list, err := h.Approved.List(ctx, h.shop, "gucci")
	h.Must(err)
	return list[0].Number
}

// Under a standing approval of two people a service writes without a figure that depends on
// who is a customer. What finds no room waits sealed, is answered alike for new and known,
// and is written when there is room again.
func TestAStandingApproval(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		x := newHouse(t, h, 60, 10)
		x.TwoPeople()
		ctx := t.Context()
		id := x.standing(20)
		put := func(customers []api.Fields) error {
			got, err := h.Intake.PutApproved(ctx, x.shop, "gucci", id, api.ApprovedPut{Customers: customers, Mapping: sum})
			if err == nil {
				for _, r := range got.Results {
					if !reflect.DeepEqual(r, api.TakenResult{Outcome: "accepted"}) {
						t.Fatalf("the answer says %+v", r)
					}
				}
			}
			return err
		}
		h.Must(put(rows(0, 15, "new")))
		if n := x.used(budget.Write) + x.used(budget.Search); n != 0 {
			t.Errorf("%d of the service's own budgets were used", n)
		}
		there := func() int64 {
			count, err := h.Canaries.Customers(ctx, h.Local, "gucci")
			h.Must(err)
			return int64(count.Customers)
		}
		h.Must(put(rows(3000, 3015, "new"))) // new, and no room for as many: they wait as known ones do
		if n := there(); n != 60 {
			t.Errorf("15 rows with room for 5 were looked up: there are %d customers", n)
		}
		h.Must(put(rows(15, 30, "new")))
		h.Must(h.Intake.Work(ctx))
		if n := there(); n != 75 {
			t.Errorf("there are %d customers, of 60 and 15 who signed up", n)
		}
		changed := func() int64 {
			list, err := h.Approved.List(ctx, x.adam, "gucci")
			h.Must(err)
			return *list[0].Changed
		}
		if n := changed(); n != 15 {
			t.Errorf("%d customers changed on the first day, of 20 approved and requests of 15", n)
		}
		for _, bad := range []api.ApprovedPut{
			{Customers: []api.Fields{{"external_id": "N-1", "email": "x@thief.example"}}, Mapping: sum},
			{Customers: rows(0, 1, "x"), Mapping: strings.Repeat("0", 64)},
		} {
			if _, err := h.Intake.PutApproved(ctx, x.shop, "gucci", id, bad); !errors.Is(err, approval.ErrMapping) {
				t.Errorf("another field or mapping: %v", err)
			}
		}
		if err := put(rows(0, 21, "x")); err == nil {
			t.Error("more rows than may change on a day were taken")
		}
		h.Later(26 * time.Hour)
		h.Restart() // what waits outlives a server
		h.Must(h.Intake.Work(ctx))
		if n := changed(); n != 15 {
			t.Errorf("%d customers changed on the second day", n)
		}
		h.Must(put(rows(30, 40, "new"))) // waits
		other := x.standing(20)
		_, err := h.Approved.End(ctx, x.adam, "gucci", id)
		h.Must(err)
		h.Must(h.Intake.Work(ctx))
		if !x.refused(entry.LostApproval) || changed() != 0 {
			t.Error("a request that was accepted is not written, and no entry says so")
		}
		id = other
		h.Later(61 * 24 * time.Hour)
		if err := put(rows(0, 5, "late")); !errors.Is(err, approval.ErrEnded) {
			t.Errorf("after its end: %v", err)
		}
	})
}

// An erasure takes the customer's rows out of what waits: nobody comes back by a write that
// was accepted before, and the others of the request are written.
func TestAnErasureReachesWhatWaits(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		x := newHouse(t, h, 60, 10)
		officer, _ := h.TwoPeople()
		ctx := t.Context()
		id := x.standing(20)
		for _, part := range [][]api.Fields{rows(0, 15, "new"), rows(15, 30, "new"), rows(20, 21, "alone")} { // the last two wait
			_, err := h.Intake.PutApproved(ctx, x.shop, "gucci", id, api.ApprovedPut{Customers: part, Mapping: sum})
			h.Must(err)
		}
		brand := h.Brand("gucci")
		ords, err := h.Intake.Seal.FindExternals(ctx, brand, []string{number(20)})
		h.Must(err)
		token, err := h.Intake.Seal.Token(ctx, brand, ords[0])
		h.Must(err)
		_, err = h.Erase.Erase(ctx, officer, "gucci", token, false)
		h.Must(err)
		h.Later(26 * time.Hour)
		h.Must(h.Intake.Work(ctx))
		list, err := h.Approved.List(ctx, x.adam, "gucci")
		h.Must(err)
		h.Later(26 * time.Hour)
		h.Must(h.Intake.Work(ctx))
		if back, err := h.Intake.Seal.FindExternals(ctx, brand, []string{number(20)}); err != nil || len(back) > 0 {
			t.Errorf("the erased customer came back by a request that waited: %v", err)
		}
		count, err := h.Canaries.Customers(ctx, h.Local, "gucci")
		h.Must(err)
		if count.Customers != 59 || *list[0].Changed != 14 {
			t.Errorf("%d customers, and %d of the request were written, not 59 and 14", count.Customers, *list[0].Changed)
		}
	})
}
