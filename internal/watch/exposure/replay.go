package exposure

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Replay measures what the holders of a brand used in the 30 days up to a moment, in one
// go or in several.
type Replay struct {
	ledger *ledger.Ledger
	brand  record.BrandID
	at     time.Time
	all    ledger.Span

	left    ledger.Span // owned by Go
	history *budget.History
	done    atomic.Uint64 // entries
}

// NewReplay begins the replay of a brand's log, as long as it is now, for the 30 days up to
// a moment.
func NewReplay(ctx context.Context, l *ledger.Ledger, brand record.BrandID, now time.Time) (*Replay, error) {
	h := budget.NewHistory(now)
	all, err := l.Since(ctx, brand, h.From())
	if err != nil {
		return nil, err
	}
	return &Replay{ledger: l, brand: brand, at: now, all: all, left: all, history: h}, nil
}

// replayAhead is how many parts of the log are read and decoded ahead of the counting,
// which takes as long.
const replayAhead = 8

// part is a part of the log: its disclosures, and the entry after it.
type part struct {
	next uint64
	list []budget.Disclosure
}

// Go counts until everything is counted, the context ends, or the log cannot be read.
// Called again it goes on with the first entry that is not counted.
func (r *Replay) Go(ctx context.Context) error {
	parts := make(chan part, replayAhead)
	g, ctx := errgroup.WithContext(ctx)
	left := r.left
	g.Go(func() error {
		defer close(parts)
		return r.ledger.Disclosures(ctx, r.brand, left, func(next uint64, list []budget.Disclosure) error {
			select {
			case parts <- part{next, list}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	g.Go(func() error {
		for p := range parts {
			for _, d := range p.list {
				if err := r.history.Add(d); err != nil {
					return err
				}
			}
			r.left.From = p.next // all before it are counted, and none after
			r.done.Store(p.next - r.all.From)
		}
		return nil
	})
	return g.Wait()
}

// Progress returns how many of the log's entries were looked at.
func (r *Replay) Progress() (done, of uint64) { return r.done.Load(), r.all.To - r.all.From }

// Measure ends the replay and returns what each holder used.
func (r *Replay) Measure() map[budget.Holder]budget.Uses { return r.history.Measure() }
