package exposure

import (
	"bufio"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const (
	// follower names the figures among the followers.
	follower = "exposure"
	// figuresVersion is of how use is counted and how it is written down.
	figuresVersion = 2
	// figuresEvery is how many entries come, at least, between two snapshots: they are
	// larger than those of detection, and catching up costs less.
	figuresEvery = 32_768
)

// follow makes the figures a follower of the logs: each server has its own.
func (d *Desk) follow(r *follow.Runner) {
	d.followers = r
	follow.Add(r, &follow.Follower[struct{}]{
		Name:          follower,
		Version:       figuresVersion,
		SnapshotEvery: figuresEvery,
		Begin: func(brand record.BrandID) (follow.State[struct{}], error) {
			f := &figures{history: budget.NewHistory()}
			d.mu.Lock()
			defer d.mu.Unlock()
			d.figures[brand] = f
			return f, nil
		},
	})
}

// figures are what the holders of one brand's budgets used, as it follows from the log.
type figures struct {
	mu      sync.Mutex // guards what follows, between the follower and requests
	history *budget.History
	next    uint64    // the entry that comes next
	at      time.Time // of the newest entry
	made    *measured // the last answer
}

// measured is what was used up to an entry and a moment.
type measured struct {
	next uint64
	at   time.Time
	uses map[budget.Holder]budget.Uses
}

// Observe implements follow.State.
func (f *figures) Observe(e follow.Entry) []struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next, f.at = e.Index+1, e.At
	for _, d := range ledger.CountsOf(e) {
		f.history.Add(d) // fails for what is no disclosure, and the ledger logs none
	}
	return nil
}

// Encode implements follow.State.
func (f *figures) Encode(w *bufio.Writer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(w, "%d %d\n", f.next, f.at.UnixMicro())
	return f.history.Encode(w)
}

// Decode implements follow.State.
func (f *figures) Decode(r *bufio.Reader) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	line, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	var at int64
	if _, err := fmt.Sscanf(line, "%d %d\n", &f.next, &at); err != nil {
		return err
	}
	f.at = time.UnixMicro(at).UTC()
	f.history, err = budget.DecodeHistory(r)
	return err
}

// measure returns what was used up to a moment or, where the log of a size was not read
// to its end yet, up to the newest entry that was.
func (f *figures) measure(now time.Time, size uint64) *measured {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next < size {
		now = f.at
	}
	if m := f.made; m == nil || m.next != f.next || step(m.at) != step(now) {
		f.made = &measured{f.next, now, f.history.Measure(now)}
	}
	return f.made
}

func step(t time.Time) int64 { return t.Unix() / int64(budget.BucketLength.Seconds()) }

// uses returns what everybody at a brand used, as of now.
func (d *Desk) uses(ctx context.Context, brand record.BrandID, now time.Time) (*measured, error) {
	size, err := d.Ledger.Size(ctx, brand)
	if err == nil {
		err = d.followers.Await(ctx, follower, brand)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was used: %w", err)
	}
	d.mu.Lock()
	f := d.figures[brand]
	d.mu.Unlock()
	if f == nil { // a server that has just started has not come to this log
		return &measured{}, nil
	}
	return f.measure(now, size), nil
}
