package ledger

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// The longest window of a budget, with the bucket by which it may count too much, has
// passed when values may be erased.
func TestBudgetsNeedNoValuesThatMayBeErased(t *testing.T) {
	for w := budget.Hour; w <= budget.Month; w++ {
		if w.Length()+budget.BucketLength >= entry.BudgetWindow {
			t.Errorf("the window %s is longer than values are kept", w)
		}
	}
	if (budget.Month + 1).Length() != 0 {
		t.Error("there is a window that this test does not know")
	}
}

const sqlEraseTestValues = `SELECT first, vals FROM log_groups WHERE brand = 1 ORDER BY first`

// proofs returns what the customers of a log are told, each line verified, and the
// pseudonyms by which they are told of readers.
func proofs(t *testing.T, l *Ledger, ords ...record.Ordinal) (lines map[record.Ordinal][]Disclosure, readers map[record.Ordinal][][16]byte) {
	t.Helper()
	ctx := t.Context()
	vkey, err := l.VerifierKey(ctx, brand)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := l.Checkpoint(ctx, brand)
	if err != nil {
		t.Fatal(err)
	}
	size, err := l.Size(ctx, brand)
	if err != nil {
		t.Fatal(err)
	}
	lines, readers = map[record.Ordinal][]Disclosure{}, map[record.Ordinal][][16]byte{}
	for _, ord := range ords {
		err := l.Concerning(ctx, brand, ord, 0, func(d Disclosure) error {
			all := map[record.Ordinal][]byte{}
			for _, o := range d.Ords {
				all[o] = logKey(o)
			}
			p, err := l.Prove(ctx, brand, d, ord, all)
			if err != nil {
				return err
			}
			inclusion, err := l.Inclusion(ctx, brand, d.Index, size)
			if err != nil {
				return err
			}
			c := evidence.CustomerProof{
				Brand: brand, Entry: d.Index, Leaf: d.Leaf, Customers: len(d.Ords), Position: p.Position, Commitment: p.Commitment,
				Inclusion: inclusion, Checkpoint: string(cp), Reader: p.Reader[:], Core: p.Core[:], Shown: p.Shown,
			}
			for _, h := range p.Path {
				c.Path = append(c.Path, h)
			}
			if _, err := c.Verify(vkey); err != nil {
				return err
			}
			if !c.Opens(logKey(ord), d.Counters[p.Position]) {
				t.Errorf("entry %d: the customer's key does not open it", d.Index)
			}
			lines[ord], readers[ord] = append(lines[ord], d), append(readers[ord], p.Reader)
			return nil
		})
		if err != nil {
			t.Fatalf("customer %d: %v", ord, err)
		}
	}
	return lines, readers
}

// Everything that may be erased is, and all that follows from the log follows from what
// is left: budgets, who read whom with its proofs, and that the log is well.
func TestWhatFollowsFromTheLogFollowsWithoutItsValues(t *testing.T) {
	var clock atomic.Int64
	clock.Store(time.Date(2026, 1, 10, 9, 0, 0, 0, time.UTC).UnixMicro())
	d := dbtest.SQLite(t, db.Options{Clock: func() time.Time { return time.UnixMicro(clock.Load()).UTC() }})
	ctx := t.Context()
	begin(t, d)
	l := open(t, d)
	setRules(t, l, rules(t, 50))
	record1 := func(ev Event) {
		t.Helper()
		if _, err := l.Record(ctx, ev); err != nil {
			t.Fatal(err)
		}
	}
	record1(Event{Kind: entry.KindDetection, Who: agent(11, 110), Detail: entry.DetectionRules{Rules: "off: [hours]"}})
	record1(Event{Kind: entry.KindAdministration, Who: agent(11, 110), Detail: entry.RoleSet{Principal: "alice", Brand: "gucci", Role: "analyst"}})
	ords := []record.Ordinal{3, 9, 70000}
	for day := range 80 {
		clock.Add((24 * time.Hour).Microseconds())
		if day == 40 {
			record1(Event{Kind: entry.KindAdministration, Who: agent(11, 110), Detail: entry.RoleSet{Principal: "alice", Brand: "gucci"}})
		}
		if _, err := reveal(t, l, agent(uint64(7+day%2), 70), ords[day%3]); err != nil {
			t.Fatal(err)
		}
		if day%10 == 0 {
			if _, err := reveal(t, l, agent(7, 70), ords...); err != nil {
				t.Fatal(err)
			}
			record1(Event{Kind: entry.KindWrite, Who: agent(12, 120), Ords: ords[:2], Commit: committing(ords[:2], 0)})
			record1(Event{Kind: entry.KindAudit, Who: agent(13, 130)})
		}
	}
	used := func(l *Ledger) []budget.Used {
		u, err := l.Usage(ctx, brand, budget.Holder{Kind: budget.Lineage, ID: 70})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	budgets := used(l)
	lines, readers := proofs(t, l, ords...)
	if _, err := l.Verify(ctx, brand, nil); err != nil {
		t.Fatal(err)
	}
	before := map[int64][]byte{}
	read := func(into map[int64][]byte) {
		err := d.Rows(ctx, func(r db.Row) error {
			var first int64
			var b []byte
			err := r.Scan(&first, &b)
			into[first] = bytes.Clone(b)
			return err
		}, sqlEraseTestValues)
		if err != nil {
			t.Fatal(err)
		}
	}
	read(before)

	now := time.UnixMicro(clock.Load())
	if _, err := l.EraseValues(ctx, brand, now.Add(-30*24*time.Hour), false); !errors.Is(err, ErrRetention) {
		t.Errorf("values that budgets need: %v", err)
	}
	cut := now.Add(-32 * 24 * time.Hour)
	plan, err := l.EraseValues(ctx, brand, cut, true)
	if err != nil {
		t.Fatal(err)
	}
	same := map[int64][]byte{}
	if read(same); !maps.EqualFunc(before, same, bytes.Equal) {
		t.Error("a dry run changed something")
	}
	done, err := l.EraseValues(ctx, brand, cut, false)
	if err != nil || done.Entries != plan.Entries || done.Kept != plan.Kept || !slices.Equal(done.Keys, plan.Keys) || done.Entries < 50 {
		t.Fatalf("%+v was planned, %+v done, %v", plan, done, err)
	}
	// In force are the budgets and the rules of detection; the role was taken on the
	// fortieth day.
	if done.Kept != 2 || !slices.Equal(done.Keys, []int{202601}) {
		t.Errorf("%+v", done)
	}
	if again, err := l.EraseValues(ctx, brand, cut, false); err != nil || again.Entries != 0 || again.Already != done.Entries {
		t.Errorf("a second time: %+v, %v", again, err)
	}

	for name, l := range map[string]*Ledger{"the running server": l, "one that starts": open(t, d)} {
		if got := used(l); !slices.Equal(got, budgets) {
			t.Errorf("%s: budgets are %+v, not %+v", name, got, budgets)
		}
		r, err := l.Verify(ctx, brand, nil)
		if err != nil || r.Erased != done.Entries {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		left, still := proofs(t, l, ords...)
		for _, ord := range ords {
			if !slices.Equal(still[ord], readers[ord]) {
				t.Errorf("%s: customer %d is told of other readers", name, ord)
			}
			for i, d := range left[ord] {
				e, was := d.Entry, lines[ord][i].Entry
				gone := entry.Day(was.At) < entry.Day(cut)
				if e.Bare() != gone || gone && (e.Principal != 0 || e.Ticket != "" || e.Credential != 0 || !e.At.Equal(entry.DayTime(entry.Day(was.At)))) {
					t.Fatalf("%s: %+v is left of %+v", name, e, was)
				}
				if e.Purpose != was.Purpose || e.Fields != was.Fields || !slices.Equal(d.Counters, lines[ord][i].Counters) {
					t.Errorf("%s: %+v is left of %+v", name, e, was)
				}
			}
		}
		// What is in force can still be read.
		if e, _, err := l.Entry(ctx, brand, 1); err != nil || e.Principal != 11 {
			t.Errorf("%s: who set the rules: %+v, %v", name, e, err)
		}
	}

	// A copy from before opens no more, where its month is over.
	o := open(t, d).opener(ctx, d, brand)
	gone := 0
	err = open(t, d).pages(ctx, brand, 0, 20, sqlReadEntries, scanEntries, func(it item) error {
		n := 0
		for before[int64(it.index)][n]&0x80 != 0 {
			n++
		}
		it.values = before[int64(it.index)][n+1:]
		if e, _, err := o.open(&it); err != nil {
			return err
		} else if keys.Month(e.At) == 202601 {
			if gone++; !e.Bare() || it.plain != nil {
				t.Errorf("entry %d opens from a copy", it.index)
			}
		}
		return nil
	})
	if err != nil || gone < 15 {
		t.Errorf("%d entries tried, %v", gone, err)
	}
	if _, err := keystest.Ring(d).MonthKey(ctx, brand, 202601); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("the key of a month whose values are erased: %v", err)
	}
	// And the log goes on.
	if _, err := reveal(t, l, agent(7, 70), 3); err != nil {
		t.Fatal(err)
	}
}
