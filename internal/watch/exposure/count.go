package exposure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

const (
	// reserve is how long before its deadline a request is answered that it is still being
	// counted: the answer must come while somebody waits for it.
	reserve = 5 * time.Second
	// promised is how long whoever was told to ask again finds what was counted for them,
	// also where the log has grown since: else it would be counted for ever at a brand
	// that is never still.
	promised = 5 * time.Minute
	// maxKept bounds the brands whose measures are kept: some hundred KiB each.
	maxKept = 256
	// attempts bounds how often in a row a count that gets no further goes on.
	attempts = 3
)

// waiting bounds ctx by how long whoever asks waits.
func (a *Ask) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	wait := a.Wait
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		if left -= min(reserve, left/4); wait == 0 || left < wait {
			wait = left
		}
	}
	if wait == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, wait)
}

// UnfinishedError is returned while what is used at a brand is being counted for longer
// than a request may take. It goes on, and whoever asks again finds it further or done.
type UnfinishedError struct {
	Brand    string
	Done, Of uint64 // entries of the brand's log; both 0: it waits for its turn
}

func (e *UnfinishedError) Error() string {
	if e.Of == 0 {
		return fmt.Sprintf("what is used at %s is yet to be counted, after what this server counts already; ask again", e.Brand)
	}
	return fmt.Sprintf("counted %s of %s entries of %s; it goes on, ask again", thousands(e.Done), thousands(e.Of), e.Brand)
}

// thousands writes a number in groups of three digits.
func thousands(n uint64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// measured is what was used, as of an entry and a moment.
type measured struct {
	size uint64
	at   time.Time
	uses map[budget.Holder]budget.Uses
	till time.Time // promised to somebody, whatever was logged since
}

// holds reports whether nothing is different from what was measured, as far as it is told.
func (m *measured) holds(size uint64, now time.Time) bool {
	return m.size == size && step(m.at) == step(now)
}

func step(t time.Time) int64 { return t.Unix() / int64(budget.BucketLength.Seconds()) }

// count is a measurement that runs. Its mutable fields are the desk's, until ended is
// closed, and nobody's after.
type count struct {
	replay   *Replay // nil: waits for its turn
	promised bool    // somebody was told to ask again
	ended    chan struct{}
	measured measured
	err      error
}

// uses measures what everybody at a brand used, as of now or of an earlier moment. It runs
// apart from the requests that wait for it, one brand at a time, and ends with the desk:
// a request that gives up takes nothing of it along.
func (d *Desk) uses(ctx context.Context, name string, brand record.BrandID, now time.Time) (*measured, error) {
	size, err := d.Ledger.Size(ctx, brand)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	if m := d.kept[brand]; m != nil && (m.holds(size, now) || time.Now().Before(m.till)) {
		d.mu.Unlock()
		return m, nil
	}
	c := d.counts[brand]
	if c == nil {
		c = &count{ended: make(chan struct{})}
		d.counts[brand] = c
		d.running.Go(func() { d.count(brand, c) })
	}
	d.mu.Unlock()
	select {
	case <-c.ended:
		return &c.measured, c.err
	case <-ctx.Done():
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, ctx.Err() // nobody waits for an answer
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-c.ended: // at this moment
		return &c.measured, c.err
	default:
	}
	c.promised = true
	out := &UnfinishedError{Brand: name}
	if c.replay != nil {
		out.Done, out.Of = c.replay.Progress()
	}
	return nil, out
}

// promise keeps what was told of a brand for whoever has to ask again because of another.
func (d *Desk) promise(brands []record.BrandID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range brands {
		if m := d.kept[b]; m != nil {
			m.till = time.Now().Add(promised)
		}
	}
}

// count runs a measurement to its end.
func (d *Desk) count(brand record.BrandID, c *count) {
	m, err := d.measure(brand, c)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.counts, brand)
	c.measured, c.err, c.replay = m, err, nil
	if err == nil {
		if c.promised {
			c.measured.till = time.Now().Add(promised)
		}
		d.keep(brand, &c.measured)
	}
	close(c.ended)
}

// keep keeps a measure, in the place of the brand's last, or of the oldest of all.
func (d *Desk) keep(brand record.BrandID, m *measured) {
	d.kept[brand] = m
	if len(d.kept) <= maxKept {
		return
	}
	oldest := brand
	for b, k := range d.kept {
		if k.at.Before(d.kept[oldest].at) {
			oldest = b
		}
	}
	delete(d.kept, oldest)
}

func (d *Desk) measure(brand record.BrandID, c *count) (m measured, err error) {
	ctx := d.life
	if err := d.turn.Acquire(ctx, 1); err != nil {
		return m, fmt.Errorf("waiting for another measurement: %w", err)
	}
	defer d.turn.Release(1)
	now, err := d.DB.Now(ctx)
	if err != nil {
		return m, fmt.Errorf("reading the database's clock: %w", err)
	}
	r, err := NewReplay(ctx, d.Ledger, brand, now)
	if err != nil {
		return m, err
	}
	d.mu.Lock()
	c.replay = r
	d.mu.Unlock()
	for failed := 0; ; failed++ {
		before, _ := r.Progress()
		if d.Before != nil {
			err = d.Before(ctx, brand)
		}
		if err == nil {
			err = r.Go(ctx)
		}
		if err == nil {
			return measured{size: r.all.To, at: now, uses: r.Measure()}, nil
		}
		if done, _ := r.Progress(); done > before {
			failed = 0
		}
		if ctx.Err() != nil || failed >= attempts {
			return m, err
		}
	}
}

// Close ends what is being counted.
func (d *Desk) Close() {
	d.stop()
	d.running.Wait()
}
