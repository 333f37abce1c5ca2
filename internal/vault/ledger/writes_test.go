package ledger

import (
	"errors"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// overwrite logs a write that changes a customer and meets as many as it says.
func overwrite(t testing.TB, l *Ledger, who identity.Who, met int, ords ...record.Ordinal) error {
	t.Helper()
	w := entry.Wrote{Changed: len(ords), Met: met, Who: entry.Who(ords, ords)}
	_, err := l.Record(t.Context(), Event{
		Kind: entry.KindWrite, Who: who, Ords: ords, Commit: committing(ords, 0), Class: budget.Write.String(),
		Detail: entry.Written{Wrote: w}, Rooms: []Room{{Class: budget.Search, N: 1}, {Class: budget.Write, N: 1}}, Rows: 1,
	})
	return err
}

func usage(t testing.TB, l *Ledger, h budget.Holder, class budget.Class) int {
	t.Helper()
	used, err := l.Usage(t.Context(), brand, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range used {
		if u.Class == class && u.Window == budget.Hour {
			return u.Count
		}
	}
	return -1
}

// Two servers let exactly as many distinct customers be changed and erased as the budget
// says; so do one that starts from the log and one that starts from a snapshot. A customer
// who is changed again costs nothing, and what a write meets is a search each time.
func TestSeveralServersShareTheBudgetOfWrites(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		servers := []*Ledger{open(t, d), open(t, d)}
		const limit = 40
		setRules(t, servers[0], rules(t, limit))
		who, brandwide := agent(1, 1), budget.Holder{Kind: budget.Brand}
		changed, refused := contended(t, servers, 2, limit, func(l *Ledger, worker, n int) error {
			return overwrite(t, l, who, 0, record.Ordinal(1+worker*limit+n))
		})
		if changed != limit || refused != 3*limit {
			t.Fatalf("%d were changed and %d refused, with a budget of %d", changed, refused, limit)
		}
		if n := usage(t, servers[0], brandwide, budget.Search); n != 0 {
			t.Fatalf("%d searches were counted of writes that met nobody", n)
		}
		other := agent(2, 2)
		for range 3 {
			if err := overwrite(t, servers[0], other, 1, 7); err != nil {
				t.Fatal(err)
			}
		}
		_, err := servers[0].Record(t.Context(), Event{Kind: entry.KindErasure, Who: other, Class: budget.Erase.String(), Ords: []record.Ordinal{9}, Commit: committing([]record.Ordinal{9}, 0)})
		if err != nil {
			t.Fatal(err)
		}
		c := reading(t, openWith(t, d, Options{SnapshotEvery: 1}))
		if err := c.snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		same(t, c)
		for i, l := range []*Ledger{servers[0], servers[1], open(t, d)} {
			if err := overwrite(t, l, who, 0, 999); err == nil { // it has read the log then
				t.Errorf("server %d gave a budget back", i)
			}
			p := budget.Holder{Kind: budget.Principal, ID: 2}
			if w, s, e := usage(t, l, p, budget.Write), usage(t, l, p, budget.Search), usage(t, l, p, budget.Erase); w != 1 || s != 3 || e != 1 {
				t.Errorf("server %d counts %d changed, %d met and %d erased", i, w, s, e)
			}
		}
		if _, err := servers[0].Verify(t.Context(), brand, nil); err != nil {
			t.Error(err)
		}
	})
}

// An approval has a budget of its own, which its writes alone use, and they use no other.
func TestAnApprovalHasItsOwnBudget(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	setRules(t, l, rules(t, 2))
	who := agent(1, 1)
	under := func(id uint64, ord record.Ordinal) error {
		ords := []record.Ordinal{ord}
		_, err := l.Record(t.Context(), Event{
			Kind: entry.KindImport, Who: who, Ords: ords, Commit: committing(ords, 0), Class: budget.Write.String(), Rows: 1,
			Most:   budget.Limits{budget.Hour: {Limit: 3, Set: true}},
			Detail: entry.Imported{Wrote: entry.Wrote{Changed: 1, Who: entry.Who(ords, ords), By: entry.ByApproval, Approval: id}},
		})
		return err
	}
	for ord := range record.Ordinal(3) {
		if err := under(8, 1+ord); err != nil {
			t.Fatal(err)
		}
	}
	var full *budget.ExhaustedError
	if err := under(8, 4); !errors.As(err, &full) || full.Holder.Kind != budget.Approval {
		t.Fatalf("beyond the approval: %v", err)
	}
	if err := under(9, 4); err != nil {
		t.Errorf("another approval: %v", err)
	}
	if n := usage(t, l, budget.Holder{Kind: budget.Brand}, budget.Write); n != 0 {
		t.Errorf("approved writes used %d of the brand's budget", n)
	}
	again := open(t, d)
	if n := usage(t, again, budget.Holder{Kind: budget.Approval, ID: 8}, budget.Write); n != 3 {
		t.Errorf("after a restart %d are counted", n)
	}
}
