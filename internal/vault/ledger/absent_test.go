package ledger

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

func absent(t testing.TB, l *Ledger, who identity.Who) error {
	t.Helper()
	h, err := l.Hold(t.Context(), Release{Grant: grant(t, who), Class: budget.Search, Absent: true, Detail: entry.Search{By: "email", Found: "nobody"}})
	if err == nil {
		_, err = l.Append(t.Context(), h, nil)
	}
	return err
}

// stranger logs a search that found nobody as earlier releases did.
func stranger(t testing.TB, l *Ledger, who identity.Who, ord record.Ordinal) error {
	t.Helper()
	h, err := l.Hold(t.Context(), Release{Grant: grant(t, who), Class: budget.Search, Ords: []record.Ordinal{ord}, Detail: entry.Search{By: "email", Found: "nobody"}})
	if err == nil {
		_, err = l.Append(t.Context(), h, func(int, entry.Committed) [32]byte { return [32]byte{1} })
	}
	return err
}

func searched(t testing.TB, l *Ledger) (n int) {
	t.Helper()
	used, err := l.Usage(t.Context(), brand, budget.Holder{Kind: budget.Brand})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range used {
		if u.Class == budget.Search && u.Window == budget.Hour {
			n = u.Count
		}
	}
	return n
}

// Two servers answer exactly as many searches for nobody as the budget says, whatever was
// logged by earlier releases; and so does a third that starts from a snapshot or from the
// whole log.
func TestSeveralServersCountEachSearchForNobody(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		servers := []*Ledger{open(t, d), open(t, d)}
		const limit, old = 60, 10
		setRules(t, servers[0], rules(t, limit))
		who := agent(1, 1)
		for i := range old { // all under one ordinal: each cost somebody a search
			if err := stranger(t, servers[i%2], who, record.FirstNobody+7); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := reveal(t, servers[0], who, 5); err != nil { // of another class
			t.Fatal(err)
		}
		answered, refused := contended(t, servers, 4, limit, func(l *Ledger, _, _ int) error { return absent(t, l, who) })
		if answered != limit-old || refused != 8*limit-answered {
			t.Fatalf("%d searches were answered after %d of %d", answered, old, limit)
		}
		for range 3 * limit { // a retry is no lottery
			if err := absent(t, servers[1], who); err == nil {
				t.Fatal("an exhausted budget answered a search")
			}
		}
		names := 0
		err := servers[0].Scan(t.Context(), brand, 0, func(i uint64, e entry.Entry, ords []record.Ordinal) error {
			if e.Absent() > 0 && (len(ords) > 0 || e.Root != [32]byte{} || e.Subjects != [32]byte{}) {
				return fmt.Errorf("entry %d of a search that found nobody names somebody", i)
			}
			names += e.Absent()
			return nil
		})
		if err != nil || names != limit-old {
			t.Fatalf("%d entries of searches that found nobody, %v", names, err)
		}
		for i, l := range servers {
			if n := searched(t, l); n != limit {
				t.Errorf("server %d counts %d, not %d", i, n, limit)
			}
			if _, err := l.Verify(t.Context(), brand, nil); err != nil {
				t.Error(err)
			}
		}
		c := reading(t, openWith(t, d, Options{SnapshotEvery: 1}))
		if err := c.snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		same(t, c)
		third := open(t, d)
		if n := searched(t, third); n != limit {
			t.Errorf("a server that starts counts %d, not %d", n, limit)
		}
		if err := absent(t, third, who); err == nil {
			t.Error("a restart gave a budget back")
		}

		n := 0
		err = third.Scan(t.Context(), brand, 0, func(i uint64, e entry.Entry, ords []record.Ordinal) error {
			for _, x := range CountsOf(follow.Entry{Index: i, Entry: &e, Ords: ords}) {
				n += x.Absent + len(x.Ords)
			}
			return nil
		})
		if err != nil || n != limit+1 {
			t.Errorf("the history has %d, not %d, %v", n, limit+1, err)
		}
	})
}

// A snapshot of an earlier release is taken where it counted customers alone, and passed
// over where it counted a search that found nobody: it does not say how many there were.
func TestASnapshotOfAnEarlierReleaseIsTakenWhereItFits(t *testing.T) {
	t.Parallel()
	decode := func(name string) (*projection, error) {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return decodeProjection(bufio.NewReader(bytes.NewReader(b)))
	}
	p, err := decode("projection-2-customers")
	if err != nil {
		t.Fatal(err)
	}
	used := p.book.Usage(budget.Holder{Kind: budget.Principal, ID: 1}, fromMicros(p.at))
	if p.size != 3 || used[0].Count != 2 || p.counter(70_000) != 1 {
		t.Errorf("%d entries, %+v", p.size, used[0])
	}
	again, err := decodeProjection(bufio.NewReader(bytes.NewReader(bytesOf(t, p))))
	if err != nil || !bytes.Equal(bytesOf(t, p), bytesOf(t, again)) {
		t.Errorf("it does not become one of this release: %v", err)
	}
	if _, err := decode("projection-2-stranger"); !errors.Is(err, budget.ErrSnapshot) {
		t.Errorf("two searches that it counts as one were taken: %v", err)
	}
}

// contended does something so many times by each of so many workers of each server, all at
// once, and returns how often it went through and how often a budget was used up. Workers
// have numbers of their own. Every other error is the test's.
func contended(t *testing.T, servers []*Ledger, workers, times int, do func(l *Ledger, worker, n int) error) (done, refused int) {
	t.Helper()
	var through, exhausted atomic.Int64
	var wg sync.WaitGroup
	for i, l := range servers {
		for j := range workers {
			wg.Go(func() {
				for n := range times {
					var full *budget.ExhaustedError
					switch err := do(l, workers*i+j, n); {
					case err == nil:
						through.Add(1)
					case errors.As(err, &full):
						exhausted.Add(1)
					default:
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	return int(through.Load()), int(exhausted.Load())
}
