package exposure

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const brand record.BrandID = 1

func signer(context.Context, record.BrandID) (note.Signer, error) {
	s, _, err := ledger.NewSigner("cloakroom.test/brand", slices.Repeat([]byte{7}, 32))
	return s, err
}

// worked returns the ledger of a brand where 1,200 agents took somebody in the last 70
// days, with 1,500 entries; where the clock is the database's own, in one moment.
func worked(t *testing.T, d *db.DB, clock *atomic.Int64) *ledger.Ledger {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := signer(ctx, brand)
	must(err)
	must(d.Tx(ctx, func(q db.Queryer) error { return ledger.Create(ctx, q, brand, s, time.UnixMicro(1)) }))
	l := ledger.Open(d, keystest.Ring(d), signer, ledger.Options{})
	t.Cleanup(func() { l.Close() })
	var rules []budget.Rule
	for k := budget.Lineage; k <= budget.Brand; k++ {
		for c := budget.Clear; c <= budget.Export; c++ {
			rules = append(rules, budget.Rule{Kind: k, Class: c, Window: budget.Hour, Limit: 1 << 30})
		}
	}
	plenty, err := budget.NewRules(rules)
	must(err)
	_, err = l.Record(ctx, ledger.Event{Kind: entry.KindBudget, Who: identity.Who{Brand: brand}, Detail: entry.BudgetRules{Rules: string(plenty.Encode())}})
	must(err)
	p, err := access.Load(access.DefaultText())
	must(err)
	const steps, each = 30, 50
	for step := range steps {
		var wg sync.WaitGroup
		for n := range each {
			wg.Go(func() {
				i := uint64(step*each + n)
				who := identity.Who{Caller: identity.Caller{Principal: i%1200 + 1, Lineage: i%1500 + 1}, Role: access.SupportAgent, Brand: brand}
				g, err := p.Authorize(who, access.ActClear, "customer-support", record.Fields(record.Email))
				if err != nil {
					t.Error(err)
					return
				}
				ords := []record.Ordinal{record.Ordinal(i*i%97 + 1), record.Ordinal(i*i%89 + 100)}
				h, err := l.Hold(ctx, ledger.Release{Grant: g, Class: budget.Clear, Ords: ords})
				if err == nil {
					_, err = l.Append(ctx, h, func(_ int, c entry.Committed) [32]byte {
						return entry.Commitment(make([]byte, 32), c)
					})
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		clock.Add((70 * 24 * time.Hour / steps).Microseconds())
	}
	return l
}

// A replay that is interrupted wherever it may be, and goes on, says what one in one go
// says, also where entries were logged meanwhile.
func TestAnInterruptedReplaySaysTheSame(t *testing.T) {
	var clock atomic.Int64
	clock.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	dbtest.Each(t, db.Options{Clock: func() time.Time { return time.UnixMicro(clock.Load()) }}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		l := worked(t, d, &clock)
		now, err := d.Now(ctx)
		if err != nil {
			t.Fatal(err)
		}
		begin := func(t interface{ Fatal(...any) }) *Replay {
			r, err := NewReplay(ctx, l, brand, now)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		whole := begin(t)
		if err := whole.Go(ctx); err != nil {
			t.Fatal(err)
		}
		done, of := whole.Progress()
		want := whole.Measure()
		if done != of || of < 1000 || len(want) < 2*1000 {
			t.Fatalf("%d of %d entries, %d holders", done, of, len(want))
		}
		rapid.Check(t, func(t *rapid.T) {
			r := begin(t)
			for r.left.From < r.all.To {
				before := r.left.From
				r.left.To = rapid.Uint64Range(before, r.all.To).Draw(t, "interrupted before")
				err := r.Go(ctx)
				if err != nil || r.left.From != r.left.To {
					t.Fatalf("from %d to %d it came to %d: %v", before, r.left.To, r.left.From, err)
				}
			}
			if got := r.Measure(); !reflect.DeepEqual(got, want) {
				t.Fatal("another answer")
			}
		})
		r := begin(t)
		for interrupted := 0; ; interrupted++ {
			cut, cancel := context.WithCancel(ctx)
			if interrupted < 40 { // wherever it is by then
				go cancel()
			}
			err := r.Go(cut)
			cancel()
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		if got := r.Measure(); !reflect.DeepEqual(got, want) {
			t.Error("cut off by its context it gives another answer")
		}
	})
}
