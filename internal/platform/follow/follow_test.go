package follow

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const brand record.BrandID = 1

// book is a log in memory.
type book struct {
	mu      sync.Mutex
	entries []entry.Entry
	scanned int // entries read back
}

func (b *book) append(n int, at time.Time) (out []Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range n {
		e := entry.Entry{At: at, Principal: uint64(len(b.entries))}
		b.entries = append(b.entries, e)
		out = append(out, Entry{uint64(len(b.entries) - 1), &e, nil})
	}
	return out
}

func (b *book) size() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return uint64(len(b.entries))
}

func (b *book) Sizes(context.Context) (map[record.BrandID]uint64, error) {
	return map[record.BrandID]uint64{brand: b.size()}, nil
}

func (b *book) Scan(ctx context.Context, _ record.BrandID, from uint64, fn func(uint64, entry.Entry, []record.Ordinal) error) error {
	b.mu.Lock()
	list := slices.Clone(b.entries)
	b.mu.Unlock()
	for i := from; i < uint64(len(list)); i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.mu.Lock()
		b.scanned++
		b.mu.Unlock()
		if err := fn(i, list[i], nil); err != nil {
			return err
		}
	}
	return nil
}

func (b *book) Secret(_ context.Context, brand record.BrandID, use string) ([32]byte, error) {
	return sha256.Sum256(append([]byte(use), byte(brand))), nil
}

// chained is a state in which an entry that is missing, twice or out of order shows.
type chained struct {
	n   uint64
	sum [sha256.Size]byte
}

func (c *chained) Observe(e Entry) []uint64 {
	if e.Index != c.n || e.Principal != e.Index {
		panic(fmt.Sprintf("entry %d (%d) was observed in the place of %d", e.Index, e.Principal, c.n))
	}
	c.n++
	c.sum = sha256.Sum256(binary.BigEndian.AppendUint64(c.sum[:], e.Index))
	if e.Index%5 == 2 {
		return []uint64{e.Index, e.Index + 1_000_000}
	}
	return nil
}

func (c *chained) Encode(w *bufio.Writer) error {
	w.Write(binary.BigEndian.AppendUint64(nil, c.n))
	_, err := w.Write(c.sum[:])
	return err
}

func (c *chained) Decode(r *bufio.Reader) error {
	b := make([]byte, 8+len(c.sum))
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	c.n, c.sum = binary.BigEndian.Uint64(b), [sha256.Size]byte(b[8:])
	return nil
}

// folded is what every state has to be after so many entries.
func folded(n uint64) chained {
	var c chained
	for i := range n {
		c.Observe(Entry{i, &entry.Entry{Principal: i}, nil})
	}
	return c
}

func outputsBefore(n uint64) (out []uint64) {
	for i := range n {
		if i%5 == 2 {
			out = append(out, i, i+1_000_000)
		}
	}
	slices.Sort(out)
	return out
}

// crowd is a database, a log and servers that follow it.
type crowd struct {
	d      *db.DB
	log    *book
	clock  *atomic.Int64 // of the database, microseconds
	broken bool          // storing fails
	f      *Follower[uint64]
}

var errBroken = errors.New("the disk is full")

// each runs a test on every engine, with a clock that stands still until it is moved.
func each(t *testing.T, test func(t *testing.T, c *crowd)) {
	clock := &atomic.Int64{}
	clock.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	dbtest.Each(t, db.Options{Clock: func() time.Time { return time.UnixMicro(clock.Load()) }}, func(t *testing.T, d *db.DB) {
		for _, sql := range []string{`CREATE TABLE outputs (value bigint PRIMARY KEY)`} {
			if _, err := d.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		c := &crowd{d: d, clock: clock}
		c.f = &Follower[uint64]{
			Name: "test", Version: 1, SnapshotEvery: 7,
			Begin: func(record.BrandID) (State[uint64], error) { return &chained{}, nil },
			Store: func(ctx context.Context, q db.Queryer, b Batch[uint64]) error {
				for i, v := range b.Outputs { // without ON CONFLICT: what comes twice fails
					if c.broken && i > 0 {
						return errBroken
					}
					if _, err := q.Exec(ctx, `INSERT INTO outputs (value) VALUES ($1)`, int64(v)); err != nil {
						return err
					}
				}
				if c.broken {
					return errBroken
				}
				return nil
			},
		}
		c.reset(t)
		test(t, c)
	})
}

func (c *crowd) reset(t interface{ Fatal(...any) }) {
	for _, sql := range []string{`DELETE FROM outputs`, `DELETE FROM followers`, `DELETE FROM follower_snapshots`, `DELETE FROM follower_snapshot_parts`} {
		if _, err := c.d.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
	c.log, c.broken = &book{}, false
}

func (c *crowd) outputs(t interface{ Fatal(...any) }) (out []uint64) {
	err := c.d.Rows(context.Background(), func(r db.Row) error {
		var v int64
		err := r.Scan(&v)
		out = append(out, uint64(v))
		return err
	}, `SELECT value FROM outputs ORDER BY value`)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *crowd) cursor(t interface{ Fatal(...any) }) uint64 {
	n, err := Next(context.Background(), c.d, "test", brand)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// hand is a server that does a step when it is told to.
type hand struct {
	r *Runner
	w *work[uint64]
}

func (c *crowd) hand() *hand {
	r := New(c.d, c.log, NewFeed())
	Add(r, c.f)
	r.feed.open(r.woken)
	h := &hand{r: r}
	h.poll()
	return h
}

func (h *hand) poll() {
	if err := h.r.poll(context.Background(), func(w worker) { h.w = w.(*work[uint64]) }); err != nil {
		panic(err)
	}
}

func (h *hand) step(force bool) error {
	_, err := h.w.step(context.Background(), force)
	h.w.saves.Wait()
	return err
}

// Whatever servers are killed, stop, fail, are slow or are told lies by stale readings:
// the outputs of exactly the entries before the cursor are stored, each once, and every
// state is that of the entries it observed.
func TestEveryOutputIsStoredOnceWhateverDies(t *testing.T) {
	each(t, func(t *testing.T, c *crowd) {
		rapid.Check(t, func(t *rapid.T) {
			c.reset(t)
			servers := []*hand{c.hand(), c.hand()}
			pick := func() int { return rapid.IntRange(0, len(servers)-1).Draw(t, "server") }
			check := func() {
				next := c.cursor(t)
				if got, want := c.outputs(t), outputsBefore(next); !slices.Equal(got, want) {
					t.Fatalf("the cursor stands at %d and stored is %v, want %v", next, got, want)
				}
				for _, s := range servers {
					if s.w.state == nil {
						continue
					}
					if got, want := *s.w.state.(*chained), folded(s.w.next.Load()); got != want {
						t.Fatalf("after %d entries a state is %v, want %v", s.w.next.Load(), got, want)
					}
				}
			}
			t.Repeat(map[string]func(*rapid.T){
				"commit": func(t *rapid.T) {
					es := c.log.append(rapid.IntRange(1, 12).Draw(t, "entries"), time.UnixMicro(c.clock.Load()))
					servers[pick()].r.feed.Committed(brand, es)
				},
				"unseen": func(t *rapid.T) { // by a server that follows nothing
					c.log.append(rapid.IntRange(1, 12).Draw(t, "entries"), time.UnixMicro(c.clock.Load()))
				},
				"poll": func(*rapid.T) { servers[pick()].poll() },
				"step": func(t *rapid.T) {
					if err := servers[pick()].step(rapid.Bool().Draw(t, "force")); err != nil {
						t.Fatal(err)
					}
				},
				"failing step": func(t *rapid.T) {
					c.broken = true
					servers[pick()].step(true)
					c.broken = false
				},
				"cut step": func(*rapid.T) {
					ctx, cancel := context.WithCancel(context.Background())
					cancel()
					w := servers[pick()].w
					w.step(ctx, true)
					w.saves.Wait()
				},
				"kill": func(*rapid.T) { servers[pick()] = c.hand() },
				"stop": func(*rapid.T) {
					i := pick()
					servers[i].w.end(context.Background())
					servers[i].r.leave(context.Background())
					servers[i] = c.hand()
				},
				"time": func(t *rapid.T) {
					c.clock.Add(int64(rapid.IntRange(1, 5).Draw(t, "seconds")) * 1_000_000)
				},
				"spoil": func(t *rapid.T) {
					sql := rapid.SampledFrom([]string{
						`UPDATE follower_snapshots SET size = size + 1`, `UPDATE follower_snapshots SET bytes = bytes - 1`,
						`UPDATE follower_snapshots SET parts = parts + 1`,
						`DELETE FROM follower_snapshot_parts`,
					}).Draw(t, "what")
					if _, err := c.d.Exec(context.Background(), sql); err != nil && sql[0] == 'D' {
						t.Fatal(err)
					}
				},
				"lose": func(*rapid.T) { // a restore: what follows from the log is gone, for all at once
					for _, sql := range []string{`DELETE FROM outputs`, `DELETE FROM followers`} {
						if _, err := c.d.Exec(context.Background(), sql); err != nil {
							t.Fatal(err)
						}
					}
				},
				"": func(*rapid.T) { check() },
			})
			c.clock.Add(int64(Lease/time.Microsecond) + 1)
			for range 4 {
				for _, s := range servers {
					s.poll()
					if err := s.step(true); err != nil {
						t.Fatal(err)
					}
				}
			}
			check()
			if next, size := c.cursor(t), c.log.size(); next != size {
				t.Fatalf("the cursor stands at %d of %d", next, size)
			}
		})
	})
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// live is a server that runs.
type live struct {
	r    *Runner
	stop func() // as a kill: what it holds in memory is gone
}

func (c *crowd) live(t *testing.T) *live {
	r := New(c.d, c.log, NewFeed())
	Add(r, c.f)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, quiet()) }()
	l := &live{r, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})}
	t.Cleanup(l.stop)
	return l
}

func (c *crowd) commit(l *live, n int) {
	l.r.feed.Committed(brand, c.log.append(n, time.UnixMicro(c.clock.Load())))
}

func settled(t *testing.T, l *live) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.r.Settle(ctx, brand); err != nil {
		t.Fatal(err)
	}
}

// What this server commits reaches its followers without reading the log, and what
// another one logged by reading it.
func TestEntriesComeFromMemory(t *testing.T) {
	each(t, func(t *testing.T, c *crowd) {
		l := c.live(t)
		c.commit(l, 3) // before anybody follows: read
		settled(t, l)
		c.log.mu.Lock()
		c.log.scanned = 0
		c.log.mu.Unlock()
		for range 50 {
			c.commit(l, 40)
		}
		settled(t, l)
		c.log.mu.Lock()
		if c.log.scanned != 0 {
			t.Errorf("%d entries that this server committed were read back", c.log.scanned)
		}
		c.log.mu.Unlock()
		c.log.append(10, time.UnixMicro(c.clock.Load())) // another server's
		c.commit(l, 1)
		settled(t, l)
		if got, want := c.outputs(t), outputsBefore(2014); !slices.Equal(got, want) {
			t.Errorf("stored is %v, want %v", got, want)
		}
	})
}

// Of several servers that run and stop, each output is stored once, and the end of one
// makes another go on.
func TestServersReplaceEachOther(t *testing.T) {
	each(t, func(t *testing.T, c *crowd) {
		servers := []*live{c.live(t), c.live(t), c.live(t)}
		for i := range 6 {
			var wg sync.WaitGroup
			for _, l := range servers {
				wg.Go(func() {
					for range 20 {
						c.commit(l, 1+i)
					}
				})
			}
			wg.Wait()
			settled(t, servers[0])
			servers[0].stop()
			servers = append(servers[1:], c.live(t))
		}
		if got, want := c.outputs(t), outputsBefore(c.log.size()); !slices.Equal(got, want) {
			t.Errorf("%d outputs are stored, want %d", len(got), len(want))
		}
	})
}

// A server that was overtaken stores nothing, and one that is killed is replaced when
// its lease ends, not before.
func TestAnOvertakenServerStoresNothing(t *testing.T) {
	each(t, func(t *testing.T, c *crowd) {
		a, b := c.hand(), c.hand()
		at := func(want uint64) {
			t.Helper()
			if got := c.cursor(t); got != want {
				t.Fatalf("the cursor stands at %d, want %d", got, want)
			}
		}
		step := func(h *hand) {
			t.Helper()
			h.poll()
			if err := h.step(true); err != nil {
				t.Fatal(err)
			}
		}
		c.log.append(3, time.UnixMicro(c.clock.Load()))
		step(a)
		at(3)
		c.log.append(3, time.UnixMicro(c.clock.Load()))
		step(b) // a has the lease
		at(3)
		c.clock.Add(int64(Lease/time.Microsecond) - 1)
		step(b)
		at(3)
		c.clock.Add(2)
		step(b)
		at(6)
		c.log.append(3, time.UnixMicro(c.clock.Load()))
		// a still believes that it has the lease and the cursor stands at 3.
		a.w.tell(9, cursor{})
		if err := a.step(true); err != nil {
			t.Fatal(err)
		}
		at(6)
		if got, want := c.outputs(t), outputsBefore(6); !slices.Equal(got, want) {
			t.Errorf("stored is %v, want %v", got, want)
		}
	})
}

// A snapshot spares a start the entries before it; one of another version, or that was
// changed, does not, and gives the same.
func TestAStartReadsWhatItsSnapshotLacks(t *testing.T) {
	each(t, func(t *testing.T, c *crowd) {
		l := c.live(t)
		c.commit(l, 5_000)
		settled(t, l)
		l.stop()
		for _, x := range []struct {
			name  string
			spoil string
			most  int
			fewer int
		}{
			{"a snapshot that fits", ``, 0, 0},
			{"one that says to be shorter", `UPDATE follower_snapshots SET bytes = bytes - 1`, 5_000, 5_000},
			{"a part that was changed", `UPDATE follower_snapshot_parts SET data = $1`, 5_000, 5_000},
			{"a part that is gone", `DELETE FROM follower_snapshot_parts`, 5_000, 5_000},
			{"a size that is not its own", `UPDATE follower_snapshots SET size = size - 1`, 5_000, 5_000},
		} {
			t.Run(x.name, func(t *testing.T) {
				if x.spoil != "" {
					var args []any
					if strings.Contains(x.spoil, "$1") {
						args = []any{[]byte{1}}
					}
					if _, err := c.d.Exec(t.Context(), x.spoil, args...); err != nil {
						t.Fatal(err)
					}
				}
				c.log.mu.Lock()
				c.log.scanned = 0
				c.log.mu.Unlock()
				h := c.hand()
				if err := h.step(true); err != nil {
					t.Fatal(err)
				}
				if n := c.log.scanned; n < x.fewer || n > x.most {
					t.Errorf("%d entries were read, want %d to %d", n, x.fewer, x.most)
				}
				if got, want := *h.w.state.(*chained), folded(5_000); got != want {
					t.Error("the state is another")
				}
				h.w.saved.Store(0)
				h.w.end(t.Context()) // writes it again
			})
		}
		c.f.Version = 2
		c.log.scanned = 0
		if err := c.hand().step(true); err != nil {
			t.Fatal(err)
		}
		if c.log.scanned < 5_000 {
			t.Errorf("a state of another version was taken: %d entries were read", c.log.scanned)
		}
	})
}

// While a follower is behind, its lag says by how many entries and since when.
func TestLagSaysHowFarBehind(t *testing.T) {
	each(t, func(t *testing.T, c *crowd) {
		r := New(c.d, c.log, NewFeed())
		Add(r, c.f)
		lag := func() Lag {
			t.Helper()
			list, err := r.Lags(t.Context())
			if err != nil || len(list) != 1 {
				t.Fatalf("%+v, %v", list, err)
			}
			return list[0]
		}
		c.log.append(4, time.UnixMicro(c.clock.Load()))
		c.clock.Add(90 * 1_000_000)
		c.log.append(3, time.UnixMicro(c.clock.Load()))
		if l := lag(); l.Entries != 7 || l.Behind != 90*time.Second || l.Follower != "test" || l.Brand != brand {
			t.Errorf("%+v", l)
		}
		h := c.hand()
		if err := h.step(true); err != nil {
			t.Fatal(err)
		}
		if l := lag(); l.Entries != 0 || l.Behind != 0 {
			t.Errorf("%+v", l)
		}
	})
}

func TestALeaseIsOneServersAtATime(t *testing.T) {
	each(t, func(t *testing.T, c *crowd) {
		ctx := t.Context()
		a, b := NewLeases(c.d), NewLeases(c.d)
		w := Work{"reflex", 3}
		take := func(l *Leases, want bool) {
			t.Helper()
			if held, err := l.Take(ctx, w, 10*time.Second); err != nil || held != want {
				t.Fatalf("held %v, %v; want %v", held, err, want)
			}
		}
		keep := func(l *Leases, lease time.Duration, want error) {
			t.Helper()
			err := c.d.Tx(ctx, func(q db.Queryer) error { return l.KeepIn(ctx, q, w, lease) })
			if !errors.Is(err, want) {
				t.Fatalf("%v, want %v", err, want)
			}
		}
		take(a, true)
		take(b, false)
		take(a, true)
		if held, err := b.Held(ctx); err != nil || !held[w] || len(held) != 1 {
			t.Fatal(held, err)
		}
		c.clock.Add(10_000_001)
		take(b, true)
		keep(a, time.Second, ErrLost)
		keep(a, 0, ErrLost)
		keep(b, time.Second, nil)
		keep(b, 0, nil)
		take(a, true)
	})
}

// A loop works when it is woken and at its pace, and goes on after a failure.
func TestALoopGoesOn(t *testing.T) {
	l := NewLoop(time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := l.Run(ctx, quiet(), "it fails", func(context.Context) error {
		if n++; n == 20 {
			cancel()
		}
		l.Wake()
		if n%3 == 0 {
			return errBroken
		}
		return nil
	})
	if err != nil || n != 20 {
		t.Errorf("%d times, %v", n, err)
	}
}

// What is kept in memory is bounded, has no gap, and is what was committed.
func TestATailIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log, tl, next := &book{}, &tail{}, uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "groups") {
			if rapid.IntRange(0, 9).Draw(t, "others") == 0 {
				log.append(1, time.UnixMicro(1))
			}
			es := log.append(rapid.IntRange(1, 500).Draw(t, "entries"), time.UnixMicro(1))
			if rapid.Bool().Draw(t, "large") {
				es[0].Ords = make([]record.Ordinal, 30_000)
			}
			tl.add(es)
			if got := tl.end(); got != log.size() {
				t.Fatalf("the tail ends at %d, the log at %d", got, log.size())
			}
			if list := tl.from(next, 100); list != nil {
				if list[0].Index != next {
					t.Fatalf("entry %d in the place of %d", list[0].Index, next)
				}
				for i := range list {
					if list[i].Index != next+uint64(i) || list[i].Principal != list[i].Index {
						t.Fatalf("entry %d in the place of %d", list[i].Index, next+uint64(i))
					}
				}
			}
			next = rapid.Uint64Range(0, log.size()).Draw(t, "next")
			if len(tl.entries) > tailEntries || tl.customers > tailCustomers && len(tl.entries) > 1 {
				t.Fatalf("%d entries and %d customers are kept", len(tl.entries), tl.customers)
			}
		}
	})
}

// A follower that gets no further is late, also where more and more is logged; one that
// gets on is not.
func TestAFollowerThatStandsStillIsLate(t *testing.T) {
	each(t, func(t *testing.T, c *crowd) {
		h := c.hand()
		late := func(want bool) {
			t.Helper()
			if got := h.r.Late(); got != want {
				t.Fatalf("late: %v, want %v", got, want)
			}
		}
		late(false) // an empty log
		c.log.append(3, time.UnixMicro(c.clock.Load()))
		h.poll()
		late(true) // it has not begun
		for range 3 {
			if err := h.step(true); err != nil {
				t.Fatal(err)
			}
			h.poll()
			late(false)
			c.log.append(3, time.UnixMicro(c.clock.Load()))
			h.poll()
			h.w.since = h.w.since.Add(-lateAfter + time.Second)
			late(false)
		}
		c.log.append(3, time.UnixMicro(c.clock.Load()))
		h.poll()
		h.w.since = h.w.since.Add(-time.Second)
		late(true)
	})
}
