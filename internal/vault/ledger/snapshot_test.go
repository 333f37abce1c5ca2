package ledger

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func bytesOf(t fataler, p *projection) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := p.encode(bufio.NewWriter(&out)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// reading returns a chain without a committer.
func reading(t fataler, l *Ledger) *chain {
	t.Helper()
	c := newChain(l, brand)
	var err error
	if c.signer, err = signer(context.Background(), brand); err != nil {
		t.Fatal(err)
	}
	return c
}

// everything replays the log without any snapshot.
func everything(t fataler, c *chain) *projection {
	t.Helper()
	p := newProjection()
	var s sight
	if err := c.l.db.Batch(context.Background(), c.look(&s)); err != nil {
		t.Fatal(err)
	}
	if err := c.catchUp(context.Background(), c.l.db, p, &s); err != nil {
		t.Fatal(err)
	}
	return p
}

func same(t fataler, c *chain) {
	t.Helper()
	p, err := c.replay(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytesOf(t, p), bytesOf(t, everything(t, c))) {
		t.Fatal("a start from a snapshot is not a replay of the whole log")
	}
}

// concerning is what Concerning must find, by counting everybody.
func concerning(t fataler, l *Ledger, ord record.Ordinal) (out []Disclosure) {
	t.Helper()
	counts := map[record.Ordinal]uint32{}
	ctx := context.Background()
	size, err := l.Size(ctx, brand)
	if err != nil {
		t.Fatal(err)
	}
	o := l.prover(ctx, brand)
	err = l.pages(ctx, brand, 0, size, sqlReadEntries, scanEntries, func(it item) error {
		e, ords, err := o.open(&it)
		if err != nil {
			return err
		}
		if slices.Contains(ords, ord) {
			d := Disclosure{Index: it.index, Entry: e, Ords: ords}
			for _, o := range ords {
				d.Counters = append(d.Counters, counts[o])
			}
			out = append(out, d)
		}
		if released(e.Kind) {
			for _, o := range ords {
				counts[o]++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// whoRead holds what Concerning finds against what it must.
func whoRead(t fataler, l *Ledger, ord record.Ordinal) {
	t.Helper()
	var got []Disclosure
	if err := l.Concerning(context.Background(), brand, ord, 0, func(d Disclosure) error {
		if d.values == nil {
			t.Fatalf("entry %d came without its values", d.Index)
		}
		d.Leaf, d.values = nil, nil
		got = append(got, d)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := concerning(t, l, ord); !reflect.DeepEqual(got, want) {
		t.Fatalf("who read %d: %d entries, not %d", ord, len(got), len(want))
	}
}

func TestWhatFollowsFromTheLogIsTheSameByEveryWay(t *testing.T) {
	t.Parallel()
	// On the engine without round trips, for many histories.
	t.Run("sqlite", func(t *testing.T) {
		d := dbtest.SQLite(t, db.Options{})
		begin(t, d)
		rapid.Check(t, func(rt *rapid.T) {
			ctx := t.Context()
			l := Open(d, keystest.Ring(d), signer, Options{SnapshotEvery: 5, IndexSpan: 3})
			defer l.Close()
			if rapid.Bool().Draw(rt, "rules change") {
				setRules(t, l, rules(t, uint32(rapid.IntRange(3, 1000).Draw(rt, "limit"))))
			}
			behind := Open(d, keystest.Ring(d), signer, Options{IndexSpan: 3}) // reads the log now, and not what others add
			defer behind.Close()
			if _, err := behind.chain(ctx, brand); err != nil {
				rt.Fatal(err)
			}
			for range rapid.IntRange(1, 12).Draw(rt, "steps") {
				var ords []record.Ordinal
				for _, o := range rapid.SliceOfNDistinct(rapid.Uint32Range(1, 9), 1, 4, rapid.ID).Draw(rt, "customers") {
					ords = append(ords, record.Ordinal(o*o*o*1000))
				}
				slices.Sort(ords)
				who := rapid.Uint64Range(1, 3).Draw(rt, "who")
				switch what := rapid.IntRange(0, 6).Draw(rt, "what"); what {
				case 0, 6:
					kind := entry.KindWrite
					if what == 6 {
						kind, ords = entry.KindErasure, ords[:1]
					}
					_, err := l.Record(ctx, Event{Kind: kind, Who: agent(who, who), Ords: ords, Commit: committing(ords, 0)})
					if err != nil && !errors.Is(err, ErrErased) {
						rt.Fatal(err)
					}
				case 1:
					if err := reading(rt, l).snapshot(ctx); err != nil {
						rt.Fatal(err)
					}
				case 2:
					setRules(t, l, rules(t, uint32(rapid.IntRange(3, 1000).Draw(rt, "limit"))))
				default:
					if _, err := reveal(t, l, agent(who, who), ords...); err != nil && !Refused(err) && !errors.Is(err, ErrErased) {
						rt.Fatal(err)
					}
				}
			}
			same(rt, reading(rt, l))
			for o := range 9 {
				whoRead(rt, l, record.Ordinal((o+1)*(o+1)*(o+1)*1000))
				whoRead(rt, behind, record.Ordinal((o+1)*(o+1)*(o+1)*1000))
			}
			ord := record.Ordinal(8000)
			size, err := l.Size(ctx, brand)
			if err != nil {
				rt.Fatal(err)
			}
			from := rapid.Uint64Range(0, size).Draw(rt, "from")
			kept, logKeys := map[record.Ordinal][]Kept{}, map[record.Ordinal][]byte{}
			for _, o := range []record.Ordinal{1000, ord, 27000} {
				logKeys[o] = logKey(o)
				for _, d := range concerning(rt, l, o) {
					if i := slices.Index(d.Ords, o); len(d.Ords) > 1 && d.Index >= from {
						kept[o] = append(kept[o], Kept{d.Index, entry.Commitment(logKey(o), d.Entry.Committed(d.Counters[i]))})
					}
				}
			}
			for _, by := range []*Ledger{l, behind} {
				have, read, err := by.Commitments(ctx, brand, from, logKeys)
				if err != nil || read != size || !reflect.DeepEqual(have, kept) {
					rt.Fatalf("commitments: %v, of %d customers, not %d, up to %d of %d", err, len(have), len(kept), read, size)
				}
				r, err := by.Rules(ctx, brand)
				if err != nil || !bytes.Equal(r.Encode(), everything(rt, reading(rt, l)).book.Rules().Encode()) {
					rt.Fatalf("other rules: %v", err)
				}
			}
		})
		var heads, parts int
		if err := d.Batch(t.Context(), []db.Stmt{
			{SQL: `SELECT count(*) FROM log_snapshots`, Scan: func(r db.Row) error { return r.Scan(&heads) }},
			{SQL: `SELECT count(DISTINCT size) FROM log_snapshot_parts`, Scan: func(r db.Row) error { return r.Scan(&parts) }},
		}); err != nil || heads != 2 || parts != 2 {
			t.Errorf("%d snapshots and the parts of %d are kept, %v", heads, parts, err)
		}
	})
}

func TestAChangedSnapshotIsPassedOver(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		l := open(t, d)
		setRules(t, l, rules(t, 1000))
		often := Open(d, keystest.Ring(d), signer, Options{SnapshotEvery: 1})
		ctx := t.Context()
		var sizes [2]uint64
		for i := range sizes {
			for o := range 20 {
				if _, err := reveal(t, l, agent(1, 1), record.Ordinal(1+o*(i+1))); err != nil {
					t.Fatal(err)
				}
			}
			c := reading(t, often)
			if err := c.snapshot(ctx); err != nil {
				t.Fatal(err)
			}
			sizes[i] = c.snapped.Load()
		}
		if _, err := reveal(t, l, agent(1, 1), 9); err != nil {
			t.Fatal(err)
		}
		from := func() uint64 {
			p, _, err := reading(t, l).restore(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return p.size
		}
		exec := func(sql string, args ...any) {
			t.Helper()
			if n, err := d.Exec(ctx, sql, args...); err != nil || n == 0 {
				t.Fatalf("%s: %d, %v", sql, n, err)
			}
		}
		if from() != sizes[1] {
			t.Fatalf("starts from %d", from())
		}
		var data, head []byte
		if err := errors.Join(d.Row(ctx, `SELECT data FROM log_snapshot_parts WHERE size = $1`, sizes[1]).Scan(&data),
			d.Row(ctx, `SELECT data FROM log_snapshots WHERE size = $1`, sizes[1]).Scan(&head)); err != nil {
			t.Fatal(err)
		}
		// A byte of the newest changed: the one before it holds.
		for i := 0; i < len(data); i += 1 + len(data)/100 {
			bad := bytes.Clone(data)
			bad[i] ^= 1
			exec(`UPDATE log_snapshot_parts SET data = $2 WHERE size = $1`, sizes[1], bad)
			if i%50 == 0 {
				same(t, reading(t, l))
			}
			if from() != sizes[0] {
				t.Fatalf("byte %d changed, and it starts from %d", i, from())
			}
		}
		exec(`UPDATE log_snapshot_parts SET data = $2 WHERE size = $1`, sizes[1], append(bytes.Clone(data), 0))
		if from() != sizes[0] {
			t.Fatal("a longer part was taken")
		}
		exec(`UPDATE log_snapshot_parts SET data = $2 WHERE size = $1`, sizes[1], data)
		for i := 0; i < len(head); i += 5 {
			bad := bytes.Clone(head)
			bad[i] ^= 1
			exec(`UPDATE log_snapshots SET data = $2 WHERE size = $1`, sizes[1], bad)
			if from() != sizes[0] {
				t.Fatalf("byte %d of the head changed, and it starts from %d", i, from())
			}
		}
		exec(`UPDATE log_snapshots SET data = $2 WHERE size = $1`, sizes[1], head)
		if from() != sizes[1] {
			t.Fatal("put back, it is not taken")
		}
		// The older one in the place of the newer, and the other way round.
		exec(`UPDATE log_snapshots SET size = size + 1000000 WHERE size = $1`, sizes[0])
		exec(`UPDATE log_snapshot_parts SET size = size + 1000000 WHERE size = $1`, sizes[0])
		if from() != sizes[1] {
			t.Fatal("a snapshot that was moved was taken")
		}
		exec(`DELETE FROM log_snapshot_parts`)
		if from() != 0 {
			t.Fatal("a snapshot without its parts was taken")
		}
		same(t, reading(t, l))
	})
}

func TestAServerThatStopsLeavesASnapshot(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := Open(d, keystest.Ring(d), signer, Options{SnapshotEvery: 10})
	setRules(t, l, rules(t, 1000))
	for o := range 9 {
		if _, err := reveal(t, l, agent(1, 1), record.Ordinal(1+o)); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	again := open(t, d)
	p, _, err := reading(t, again).restore(t.Context())
	if err != nil || p.size != 10 {
		t.Fatalf("a snapshot of %d, %v", p.size, err)
	}
	used, err := again.Usage(t.Context(), brand, budget.Holder{Kind: budget.Brand})
	if err != nil || used[0].Count != 9 {
		t.Fatalf("%v, %v", used, err)
	}
}

// A snapshot has the legal holds in force, and no snapshot of before has any.
func TestASnapshotHasLegalHolds(t *testing.T) {
	p := newProjection()
	p.holds.note(3, entry.HoldPlaced{Hold: "hold_a", Review: "2027-01-31"}, []record.Ordinal{4, 9})
	p.holds.note(5, entry.HoldPlaced{Hold: "hold_b", Review: "2027-02-28"}, []record.Ordinal{9})
	p.holds.note(6, entry.HoldPlaced{Hold: "hold_a", Review: "2027-01-31"}, []record.Ordinal{70_000})
	p.holds.note(7, entry.HoldReleased{Hold: "hold_b"}, nil)
	again, err := decodeProjection(bufio.NewReader(bytes.NewReader(bytesOf(t, p))))
	if err != nil {
		t.Fatal(err)
	}
	if len(again.holds) != 1 || again.holds["hold_a"].Entry != 3 || again.holds["hold_a"].Review != "2027-01-31" {
		t.Errorf("%+v", again.holds)
	}
	for ord, want := range map[record.Ordinal]bool{4: true, 9: true, 70_000: true, 5: false} {
		if again.holds.has(ord) != want {
			t.Errorf("customer %d is held: %v", ord, !want)
		}
	}
}

// A snapshot between two parts of budget rules has those that came, so that a server which
// starts from it puts the rules into force with the others.
func TestASnapshotHasPartsOfRules(t *testing.T) {
	var list []budget.Rule
	for i := range uint64(3_000) {
		list = append(list, budget.Rule{Kind: budget.Principal, Principal: i + 1, Class: budget.Clear, Window: budget.Day, Limit: 7})
	}
	rules, err := budget.NewRules(list)
	if err != nil {
		t.Fatal(err)
	}
	cut := budget.Cut(string(rules.Encode()))
	p := newProjection()
	for i, x := range cut {
		if p.book.Rules() != nil && len(p.book.Rules().List()) > 0 {
			t.Fatalf("in force after %d of %d parts", i, len(cut))
		}
		e := entry.Entry{Kind: entry.KindBudget, Detail: x}
		if err := p.note(uint64(i), e, nil); err != nil {
			t.Fatal(err)
		}
		if p, err = decodeProjection(bufio.NewReader(bytes.NewReader(bytesOf(t, p)))); err != nil {
			t.Fatal(err)
		}
	}
	if len(cut) < 3 || !bytes.Equal(p.book.Rules().Encode(), rules.Encode()) {
		t.Errorf("after %d parts, %d rules hold", len(cut), len(p.book.Rules().List()))
	}
}
