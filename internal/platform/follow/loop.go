package follow

import (
	"context"
	"log/slog"
	"time"
)

// Loop runs a piece of work when it is woken, and at least every so often.
type Loop struct {
	every time.Duration
	wake  chan struct{}
}

// NewLoop returns a loop of a pace.
func NewLoop(every time.Duration) *Loop { return &Loop{every, make(chan struct{}, 1)} }

// Wake makes the loop work now, or once more if it works already. It never blocks.
func (l *Loop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run works until the context ends. A failure is logged once, with the words for it,
// until the work succeeds again; it is retried at the loop's pace.
func (l *Loop) Run(ctx context.Context, log *slog.Logger, failure string, work func(context.Context) error) error {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	failing := false
	for ctx.Err() == nil {
		err := work(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			log.Warn(failure, "cause", err)
		}
		failing = err != nil
		wake := l.wake
		if failing {
			wake = nil // a database that fails is not asked at every wake
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-wake:
		}
	}
	return nil
}
