package alarm

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// measure prints what is measured.
var measure = flag.Bool("measure", false, "print what is measured")

// everybody is a canary: each disclosure is an alarm.
type everybody struct{}

func (everybody) Refresh(context.Context, record.BrandID) error { return nil }

func (everybody) Contains(record.BrandID, record.Ordinal) bool { return true }

func (everybody) Bound(record.BrandID, record.Ordinal, string) bool { return false }
func (everybody) Marked(record.BrandID, string) int                 { return 0 }

type place struct {
	db    *db.DB
	brand record.BrandID
	ahead *atomic.Int64 // of the clock, in seconds
}

func signer(_ context.Context, b record.BrandID) (note.Signer, error) {
	s, _, err := ledger.NewSigner("cloakroom.test/brand", slices.Repeat([]byte{byte(b)}, 32))
	return s, err
}

// each runs a test on every engine, with a clock that it can move.
func each(t *testing.T, test func(t *testing.T, p place)) {
	ahead := &atomic.Int64{}
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load()) * time.Second) }
	dbtest.Each(t, db.Options{Clock: clock}, func(t *testing.T, d *db.DB) {
		p := place{d, 1, ahead}
		err := d.Tx(t.Context(), func(q db.Queryer) error {
			b, err := brands.New(d).Create(t.Context(), q, "gucci", "", time.Now())
			if err != nil {
				return err
			}
			p.brand = b.ID
			s, err := signer(t.Context(), b.ID)
			if err != nil {
				return err
			}
			return ledger.Create(t.Context(), q, b.ID, s, time.UnixMicro(1))
		})
		if err != nil {
			t.Fatal(err)
		}
		l := ledger.Open(d, keystest.Ring(d), signer, ledger.Options{})
		defer l.Close()
		var list []budget.Rule
		for k := budget.Lineage; k <= budget.Brand; k++ {
			for _, c := range budget.InUse() {
				list = append(list, budget.Rule{Kind: k, Class: c, Window: budget.Hour, Limit: 1 << 30})
			}
		}
		r, err := budget.NewRules(list)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Record(t.Context(), ledger.Event{Kind: entry.KindBudget, Who: p.agent(1), Detail: entry.BudgetRules{Rules: string(r.Encode())}}); err != nil {
			t.Fatal(err)
		}
		test(t, p)
	})
}

func (p place) agent(id uint64) identity.Who {
	return identity.Who{Caller: identity.Caller{Principal: id, Credential: id, Lineage: id}, Role: access.SupportAgent, Brand: p.brand}
}

// server is one server's ledger and watcher.
type server struct {
	l    *ledger.Ledger
	r    *follow.Runner
	stop func()
}

func (p place) server(t *testing.T) *server {
	feed := follow.NewFeed()
	l := ledger.Open(p.db, keystest.Ring(p.db), signer, ledger.Options{Committed: feed.Committed})
	r := follow.New(p.db, l, feed)
	Watch(r, NewStore(p.db), everybody{}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	s := &server{l, r, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})}
	t.Cleanup(func() { s.stop(); l.Close() })
	return s
}

func (p place) disclose(t *testing.T, l *ledger.Ledger, who identity.Who, ord record.Ordinal) {
	t.Helper()
	pol, err := access.Load(access.DefaultText())
	if err != nil {
		t.Fatal(err)
	}
	g, err := pol.Authorize(who, access.ActClear, "customer-support", record.Fields(record.Email))
	if err != nil {
		t.Fatal(err)
	}
	h, err := l.Hold(t.Context(), ledger.Release{Grant: g, Class: budget.Clear, Ords: []record.Ordinal{ord}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Append(t.Context(), h, func(int, entry.Committed) [32]byte { return [32]byte{1, byte(ord)} })
	if err != nil {
		t.Fatal(err)
	}
}

func (p place) all(t testing.TB) []Stored {
	list, err := NewStore(p.db).read(t.Context(), p.brand, sqlAfterAlarm, int64(p.brand), 0, "", int64(detect.Low), 1, 0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// eventually waits for a condition, and fails the test if it never comes.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(2 * time.Minute)
	for !cond() {
		select {
		case <-late:
			t.Fatalf("it never came that %s", what)
		case <-tick.C:
		}
	}
}

func (p place) holder(t *testing.T) string {
	var holder string
	err := p.db.Row(t.Context(), `SELECT holder FROM followers WHERE follower = 'alarms' AND brand = $1`, int64(p.brand)).Scan(&holder)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		t.Fatal(err)
	}
	return holder
}

func TestEveryAlarmIsStoredOnceBySeveralServers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		servers := []*server{p.server(t), p.server(t), p.server(t)}
		const each, half = 60, 30
		read := func(from, to int) {
			var wg sync.WaitGroup
			for i, s := range servers {
				wg.Go(func() {
					for j := from; j < to; j++ {
						p.disclose(t, s.l, p.agent(uint64(i+1)), record.Ordinal(j+1))
					}
				})
			}
			wg.Wait()
		}
		read(0, half)
		eventually(t, "the first half is stored", func() bool { return len(p.all(t)) == len(servers)*half })
		// The one that works stops without a word; the others go on when its lease ends.
		holder := p.holder(t)
		for _, s := range servers {
			if s.r.Server() == holder {
				s.stop()
			}
		}
		read(half, each)
		p.ahead.Add(int64(follow.Lease/time.Second) + 1)
		eventually(t, "all is stored", func() bool { return len(p.all(t)) >= len(servers)*each })
		seen := map[uint64]bool{}
		for _, a := range p.all(t) {
			if a.Rule != detect.Canary || seen[a.Entry] {
				t.Fatalf("%s is there twice, or is no canary's", a.ID())
			}
			seen[a.Entry] = true
		}
		if len(seen) != len(servers)*each || p.holder(t) == holder {
			t.Fatalf("%d alarms of %d entries; the watch is held by the one that stopped: %v", len(seen), len(servers)*each, p.holder(t) == holder)
		}
	})
}

func TestAlarmsAndTheirLivesFollowFromTheLog(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		s := p.server(t)
		for i := range 20 {
			p.disclose(t, s.l, p.agent(uint64(1+i%3)), record.Ordinal(i+1))
		}
		eventually(t, "all is stored", func() bool { return len(p.all(t)) == 20 })
		list := p.all(t)
		for i, what := range []entry.Detail{
			entry.AlarmAcknowledged{Alarm: list[0].ID()},
			entry.AlarmClosed{Alarm: list[0].ID(), Reason: "expected"},
			entry.AlarmClosed{Alarm: list[0].ID(), Reason: "mistaken"}, // comes second, and so is not heard
			entry.AlarmAcknowledged{Alarm: list[5].ID()},
			entry.AlarmAcknowledged{Alarm: "9999-canary"},
			entry.AlarmAcknowledged{Alarm: "nonsense"},
		} {
			if _, err := s.l.Record(t.Context(), ledger.Event{Kind: entry.KindDetection, Who: p.agent(uint64(50 + i)), Ticket: "CASE-1", Detail: what}); err != nil {
				t.Fatal(err)
			}
		}
		for _, what := range []entry.Detail{
			entry.ContainmentBegun{Kind: "lineage"}, // begins; it holds with the next
			entry.Contained{ID: 7, Took: 12 * time.Millisecond, Since: 3 * time.Second},
			entry.UndoAsked{ID: 7},
			entry.ContainmentUndone{ID: 7},
			entry.ContainmentUndone{},
		} {
			if _, err := s.l.Record(t.Context(), ledger.Event{Kind: entry.KindContainment, Who: p.agent(60), Detail: what}); err != nil {
				t.Fatal(err)
			}
		}
		told := func(repeats bool) []Notice {
			list, err := NewStore(p.db).Notices(t.Context(), p.brand, Place{}, Audience{Least: detect.Medium, Repeats: repeats}, 100)
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		eventually(t, "the changes are there", func() bool { return len(told(true)) == 25 })
		before, heard := p.all(t), told(true)
		var words []string
		for _, n := range told(false) {
			switch {
			case n.Event == nil:
				words = append(words, "new "+n.Alarm.ID())
			case n.Alarm != nil:
				words = append(words, fmt.Sprint(n.Event.What, " ", n.Alarm.ID(), " ", n.Event.Principal, " ", n.Event.Reason))
			default:
				words = append(words, fmt.Sprint(n.Event.What, " ", n.Event.Containment, " ", n.Event.Took, " ", n.Event.Since))
			}
		}
		// Whoever was paged for none of the repeats does not hear what became of them.
		if got, want := strings.Join(words, ", "), "new 1-canary, new 2-canary, new 3-canary, acknowledged 1-canary 50 , closed 1-canary 51 expected, contained 7 12ms 3s, undone 7 0s 0s"; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
		if a := before[0]; a.State() != Closed || a.Reason != "expected" || a.ClosedBy != 51 || a.AckedBy != 50 || a.CloseTicket != "CASE-1" {
			t.Fatalf("%+v", a)
		}
		if before[0].Repeat || !before[3].Repeat {
			t.Fatal("an alarm with the key of an earlier one is a repeat, and the first is not")
		}
		s.stop()
		for _, table := range []string{`DELETE FROM alarms`, `DELETE FROM alarm_events`, `DELETE FROM alarm_cursors`, `DELETE FROM followers`} {
			if _, err := p.db.Exec(t.Context(), table); err != nil {
				t.Fatal(err)
			}
		}
		p.server(t)
		eventually(t, "all is there again", func() bool {
			after := p.all(t)
			return len(after) == 20 && after[5].State() == Acknowledged && len(told(true)) == 25
		})
		if after := told(true); !reflect.DeepEqual(heard, after) {
			t.Fatalf("made again from the log, what is told is another:\n%+v\n%+v", heard, after)
		}
		if after := p.all(t); !reflect.DeepEqual(before, after) {
			t.Fatalf("made again from the log, they are others:\n%+v\n%+v", before, after)
		}
	})
}

// With -measure it prints how long after its entry an alarm is stored: where the
// server that watches logged it, and where another did, which is found by looking.
func TestAlarmsComeSoon(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		watching := p.server(t)
		deaf := ledger.Open(p.db, keystest.Ring(p.db), signer, ledger.Options{}) // of a server whose watcher is gone
		defer deaf.Close()
		n := 0
		for where, l := range map[string]*ledger.Ledger{"its own server": watching.l, "another server": deaf} {
			var took []time.Duration
			for range 9 {
				p.disclose(t, l, p.agent(1), record.Ordinal(n+1))
				begun := time.Now()
				n++
				eventually(t, "the alarm is stored", func() bool { return len(p.all(t)) == n })
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			if *measure {
				t.Logf("logged by %s: stored after %v (median), %v (longest)", where, took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
			}
		}
	})
}
