package ledger

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

type indexRow struct {
	bucket int
	first  uint64
}

func indexRows(t testing.TB, d *db.DB) map[indexRow]string {
	t.Helper()
	out := map[indexRow]string{}
	err := d.Rows(t.Context(), func(r db.Row) error {
		var at indexRow
		var data []byte
		err := r.Scan(&at.bucket, &at.first, &data)
		out[at] = string(data)
		return err
	}, `SELECT bucket, first, data FROM log_index WHERE brand = 1`)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ask logs some hundred entries of one customer, of several and of none.
func ask(t *testing.T, l *Ledger) {
	t.Helper()
	for i := range 120 {
		ords := []record.Ordinal{record.Ordinal(1 + i%7), record.Ordinal(60 + i%11), record.Ordinal(4000 + 64*(i%5))}[:1+i%3]
		if i%10 == 9 {
			if _, err := l.Record(t.Context(), Event{Kind: entry.KindWrite, Who: agent(1, 1), Ords: ords, Commit: committing(ords, 0)}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if _, err := reveal(t, l, agent(1, 1), ords...); err != nil {
			t.Fatal(err)
		}
	}
}

// asked is a log of such entries that is not indexed.
func asked(t *testing.T, d *db.DB) *Ledger {
	t.Helper()
	begin(t, d)
	l := Open(d, keystest.Ring(d), signer, Options{IndexSpan: 1 << 40}) // which indexes nothing by itself
	t.Cleanup(func() { l.Close() })
	setRules(t, l, rules(t, 1000))
	ask(t, l)
	return l
}

// indexing returns a chain that indexes when it is told to.
func indexing(t *testing.T, d *db.DB, span uint64) *chain {
	t.Helper()
	l := Open(d, keystest.Ring(d), signer, Options{IndexSpan: span})
	c := reading(t, l)
	if err := c.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

var everybody = []record.Ordinal{1, 2, 7, 60, 70, 4000, 4064, 4256, 9999}

// Whatever of the index is there, the answer is that of the whole log; and an index that
// was cut off anywhere, as a kill leaves it, goes on to the same rows.
func TestAnIndexThatWasCutOffGoesOn(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		l := asked(t, d)
		for _, ord := range everybody {
			whoRead(t, l, ord)
		}
		c := indexing(t, d, 5)
		if err := c.writeIndex(t.Context()); err != nil { // counts from the beginning
			t.Fatal(err)
		}
		whole := indexRows(t, d)
		if len(whole) != 24*indexBuckets || c.indexed.Load() != 120 {
			t.Fatalf("%d rows, up to %d", len(whole), c.indexed.Load())
		}
		for _, from := range []uint64{0, 5, 60, 100, 115} { // the last three ask back
			for _, ord := range everybody {
				whoRead(t, l, ord)
			}
			if _, err := d.Exec(t.Context(), `DELETE FROM log_index WHERE first >= $1`, from); err != nil {
				t.Fatal(err)
			}
			for _, ord := range everybody {
				whoRead(t, l, ord)
			}
			if err := indexing(t, d, 5).writeIndex(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(indexRows(t, d), whole) {
				t.Fatalf("cut off at %d, it went on to other rows", from)
			}
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := d.Exec(t.Context(), `DELETE FROM log_index WHERE first >= 50`); err != nil {
			t.Fatal(err)
		}
		if err := indexing(t, d, 5).writeIndex(gone); err == nil {
			t.Fatal("indexed under a context that has ended")
		}
	})
}

// An index that was changed from outside hides nothing, and is written again.
func TestAChangedIndexHidesNothing(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		l := asked(t, d)
		if err := indexing(t, d, 5).writeIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		whole := indexRows(t, d)
		exec := func(sql string, args ...any) {
			t.Helper()
			if n, err := d.Exec(t.Context(), sql, args...); err != nil || n == 0 {
				t.Fatalf("%s: %d, %v", sql, n, err)
			}
		}
		const set = `UPDATE log_index SET data = $3 WHERE bucket = $1 AND first = $2`
		row := func(bucket int, first uint64) []byte { return []byte(whole[indexRow{bucket, first}]) }
		flip := func(bucket int, first uint64, at int) {
			bad := row(bucket, first)
			bad[(at+len(bad))%len(bad)] ^= 1
			exec(set, bucket, first, bad)
		}
		for name, change := range map[string]func(){
			"a byte":                  func() { flip(1, 50, 2) },
			"how far it reaches":      func() { flip(1, 50, 0) },
			"its code":                func() { flip(1, 50, -1) },
			"the newest":              func() { flip(0, 115, 3) },
			"of those with her":       func() { flip(60, 10, 1) },
			"none":                    func() { exec(set, 1, 50, []byte{}) },
			"another bucket's":        func() { exec(set, 1, 50, row(3, 50)) },
			"another span's":          func() { exec(set, 1, 50, row(1, 55)) },
			"one is gone":             func() { exec(`DELETE FROM log_index WHERE bucket = 1 AND first = 50`) },
			"one with her is gone":    func() { exec(`DELETE FROM log_index WHERE bucket = 60 AND first = 10`) },
			"all but the first":       func() { exec(`DELETE FROM log_index WHERE first > 0 AND bucket = 1`) },
			"the first":               func() { exec(`DELETE FROM log_index WHERE first = 0 AND bucket = 1`) },
			"one that reaches beyond": func() { exec(`UPDATE log_index SET first = 1000 WHERE bucket = 1 AND first = 115`) },
		} {
			t.Run(name, func(t *testing.T) {
				change()
				for _, ord := range everybody {
					whoRead(t, l, ord)
				}
				c := indexing(t, d, 5)
				for _, ord := range everybody {
					if err := concerningBy(t.Context(), c, ord); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.writeIndex(t.Context()); err != nil {
					t.Fatal(err)
				}
				if name == "one that reaches beyond" {
					exec(`DELETE FROM log_index WHERE first = 1000`)
				}
				if !maps.Equal(indexRows(t, d), whole) {
					t.Fatal("it was not written again")
				}
			})
		}
		// A row of another brand's index, whose key is another.
		s, err := signer(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		other := newChain(l, 2)
		other.signer = s
		theirs, err := other.indexKey()
		if err != nil {
			t.Fatal(err)
		}
		c := reading(t, l)
		ours, err := c.indexKey()
		if err != nil || bytes.Equal(ours, theirs) {
			t.Fatalf("brands share a key of the index, %v", err)
		}
		data := other.encodeSpan(ours, 1, 50, 55, nil)
		if _, err := c.openSpan(ours, 1, 50, data); !errors.Is(err, errIndex) {
			t.Fatal("a row of another brand was taken")
		}
	})
}

func concerningBy(ctx context.Context, c *chain, ord record.Ordinal) error {
	size, _, err := c.l.head(ctx, brand)
	if err != nil {
		return err
	}
	return c.concerning(ctx, ord, 0, size, func(Disclosure) error { return nil })
}

// A server writes the index as its log grows, and what it finds missing.
func TestAServerIndexesByItself(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		asked(t, d)
		until := func(first uint64) {
			t.Helper()
			for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
				if _, ok := indexRows(t, d)[indexRow{0, first}]; ok {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("nothing is indexed from %d on", first)
				}
			}
		}
		l := Open(d, keystest.Ring(d), signer, Options{IndexSpan: 10})
		defer l.Close()
		if _, err := l.Usage(t.Context(), brand, budget.Holder{Kind: budget.Brand}); err != nil { // which opens the log
			t.Fatal(err)
		}
		until(110)
		for range 10 {
			if _, err := reveal(t, l, agent(2, 2), 4000); err != nil {
				t.Fatal(err)
			}
		}
		until(120)
		for _, ord := range everybody {
			whoRead(t, l, ord)
		}
	})
}

// What a server indexes of the entries that it knows is what anybody indexes who reads
// them, whoever of several logged them.
func TestWhatIsKeptIsIndexedAsWhatIsRead(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		other := asked(t, d)
		l := Open(d, keystest.Ring(d), signer, Options{IndexSpan: 1 << 40})
		defer l.Close()
		c, err := l.chain(t.Context(), brand)
		if err != nil {
			t.Fatal(err)
		}
		start := c.proj.size
		ask(t, other)
		ask(t, l)
		if _, err := reveal(t, l, agent(1, 1), 7); err != nil {
			t.Fatal(err)
		}
		places, known, kept := c.proj.recently(start)
		if _, _, before := c.proj.recently(start - 1); !kept || before || known != start+241 {
			t.Fatalf("kept %v up to %d, and more than that %v", kept, known, before)
		}
		here := indexing(t, d, 5)
		from := start
		if err := here.writeRecent(t.Context(), make([]byte, 32), &from, places, known); err != nil || from+5 <= known {
			t.Fatalf("indexed up to %d of %d: %v", from, known, err)
		}
		rows := indexRows(t, d)
		from = start
		if err := here.writeSpans(t.Context(), make([]byte, 32), &from); err != nil {
			t.Fatal(err)
		}
		if len(rows) != int(known-start)/5*indexBuckets || !maps.Equal(indexRows(t, d), rows) {
			t.Fatalf("%d rows, and others when read", len(rows))
		}
		c.proj.forget(known - 3)
		if places, _, kept = c.proj.recently(known - 3); !kept || len(places) == 0 || places[0].index != known-3 {
			t.Fatal("forgot what comes after")
		}
		if _, _, kept = c.proj.recently(known - 4); kept {
			t.Fatal("kept what is indexed")
		}
	})
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	t.Parallel()
	var r recent
	none := func(record.Ordinal) uint32 { return 0 }
	e := &entry.Entry{Kind: entry.KindDisclosure}
	ords := make([]record.Ordinal, keptEntry)
	index := uint64(0)
	for ; index < 3*maxRecent/keptEntry; index++ {
		r.add(index, e, ords, none)
		if len(r.places) > maxRecent || len(r.places) != keptEntry*int(r.to-r.from) || r.to != index+1 {
			t.Fatalf("%d places of %d to %d", len(r.places), r.from, r.to)
		}
	}
	r.add(index, e, make([]record.Ordinal, keptEntry+1), none)
	if len(r.places) != 0 || r.from != index+1 || r.to != index+1 {
		t.Errorf("%d places of %d to %d after an entry of many", len(r.places), r.from, r.to)
	}
	if maxRecent >= spanCustomers {
		t.Error("what is kept may have spans that end by their customers")
	}
}
