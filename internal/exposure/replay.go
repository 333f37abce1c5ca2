package exposure

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cloakroom/cloakroom/internal/budget"
	"github.com/cloakroom/cloakroom/internal/ledger"
	"github.com/cloakroom/cloakroom/internal/record"
)

// A replay hands over this many disclosures at a time, and at most so many times ahead.
const (
	replayBatch = 256
	replayAhead = 8
)

// Replay measures what the holders of a brand used in the 30 days up to now. The log is
// read and decoded beside the counting, which takes as long.
func Replay(ctx context.Context, l *ledger.Ledger, brand record.BrandID, now time.Time) (*budget.History, error) {
	h := budget.NewHistory(now)
	batches := make(chan []budget.Disclosure, replayAhead)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(batches)
		var batch []budget.Disclosure
		send := func() error {
			select {
			case batches <- batch:
				batch = make([]budget.Disclosure, 0, replayBatch)
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		err := l.Since(ctx, brand, h.From(), func(d budget.Disclosure) error {
			if batch = append(batch, d); len(batch) < replayBatch {
				return nil
			}
			return send()
		})
		if err != nil {
			return err
		}
		return send()
	})
	g.Go(func() error {
		for batch := range batches {
			for _, d := range batch {
				if err := h.Add(d); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return h, g.Wait()
}
