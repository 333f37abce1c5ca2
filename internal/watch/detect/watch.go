package detect

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Poll is how often a watcher looks for what other servers logged, by one query for
// all brands: half of the second within which a canary must be an alarm. What its own
// server logs wakes it at once.
const Poll = 500 * time.Millisecond

const (
	// batchEntries and batchAlarms bound what one transaction stores.
	batchEntries = 4096
	batchAlarms  = 2000
	// stepTimeout bounds one look at a brand, except for the replay at start.
	stepTimeout = 30 * time.Second
	// again is how long a brand is left alone that nothing woke: in case a wake was lost.
	again = 15 * time.Second
)

// Watcher feeds the detectors of every brand from their logs and stores what they say.
// Every server has one; for each brand one of them at a time works, under a lease, and
// the others follow so that they can go on where it stopped.
type Watcher struct {
	Ledger   *ledger.Ledger
	Store    *Store
	Canaries Canaries // may be nil
	// Stored, if set, is told of brands that have new alarms or events. It must not block.
	Stored func(record.BrandID)

	server string
	mu     sync.Mutex
	wakes  map[record.BrandID]chan struct{}
}

// NewWatcher returns the watcher of one server. The ledger is set afterwards: it wants
// Wake.
func NewWatcher(s *Store, c Canaries) *Watcher {
	return &Watcher{Store: s, Canaries: c, server: rand.Text(), wakes: map[record.BrandID]chan struct{}{}}
}

// Holds takes the watch over a brand for this server, as storing its alarms does, and
// reports whether it has it: then for [Lease] no other server has.
func (w *Watcher) Holds(ctx context.Context, brand record.BrandID) (bool, error) {
	return w.Store.lease(ctx, brand, w.server)
}

// Wake makes the watcher look at a brand now. It never blocks: the ledger calls it at
// every commit.
func (w *Watcher) Wake(brand record.BrandID) {
	w.mu.Lock()
	wake := w.wakes[brand]
	w.mu.Unlock()
	select {
	case wake <- struct{}{}: // a nil channel is never ready
	default:
	}
}

// Run watches until the context ends. What fails is logged and tried again: nothing is
// lost, because the cursor moves only with the alarms.
func (w *Watcher) Run(ctx context.Context, log *slog.Logger) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(Poll)
	defer tick.Stop()
	sizes := map[record.BrandID]uint64{}
	failing := false
	for {
		now, err := w.Store.sizes(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			log.Warn("alarms are late", "cause", err)
		}
		failing = err != nil
		for brand, size := range now {
			last, watched := sizes[brand]
			if !watched { // an empty log has the size of one that is not watched
				wake := make(chan struct{}, 1)
				w.mu.Lock()
				w.wakes[brand] = wake
				w.mu.Unlock()
				wg.Go(func() { w.watch(ctx, brand, wake, log) })
			}
			if !watched || last != size {
				sizes[brand] = size
				w.Wake(brand)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *Watcher) watch(ctx context.Context, brand record.BrandID, wake chan struct{}, log *slog.Logger) {
	v := &watch{w: w, brand: brand}
	failing := false
	for {
		behind, err := v.step(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			if !failing {
				log.Warn("alarms are late", "brand", int(brand), "cause", err)
			}
			failing = true
			select { // a database that fails is not asked at every commit
			case <-ctx.Done():
			case <-time.After(Poll):
			}
			continue
		case failing && err == nil:
			log.Info("alarms are current again", "brand", int(brand))
			failing = false
		}
		wait := again
		if behind { // another server has the lease, and may have died
			wait = Poll
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// watch is one brand as one server watches it. One goroutine owns it.
type watch struct {
	w       *Watcher
	brand   record.BrandID
	d       *Detector
	pending *batch // stored or not: the cursor says
}

var errEnough = errors.New("enough for one transaction")

// step does what there is to do now, and reports whether another server is at it. The
// detector may be ahead of the cursor only by the pending batch.
func (v *watch) step(ctx context.Context) (behind bool, err error) {
	for {
		if v.d == nil {
			r, err := DefaultRules()
			if err != nil {
				return false, err
			}
			v.d = New(v.brand, r, v.w.Canaries)
		}
		more, behind, err := v.once(ctx)
		if err != nil || !more {
			return behind, err
		}
	}
}

func (v *watch) once(ctx context.Context) (more, behind bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, false, err
	}
	next, _, err := v.w.Store.cursor(ctx, v.brand)
	if err != nil {
		return false, false, err
	}
	if p := v.pending; p != nil && next != p.from {
		v.pending = nil
	}
	switch at := v.d.Next(); {
	case v.pending == nil && at > next:
		// The rows of a restored database, or another server's smaller step: what this
		// one learned goes too far. Replay.
		v.d = nil
		return true, false, nil
	case v.pending == nil && at < next: // follow, without storing
		if err := v.read(ctx, &batch{}, next); err != nil {
			v.d = nil
			return false, false, err
		}
		return v.d.Next() > at, true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if v.pending == nil {
		size, err := v.w.Ledger.Size(ctx, v.brand)
		if err != nil || size <= next {
			return false, false, err
		}
	}
	held, err := v.w.Store.lease(ctx, v.brand, v.w.server)
	if err != nil || !held {
		return false, true, err
	}
	if v.pending == nil {
		b := &batch{from: next}
		if err := v.read(ctx, b, next+batchEntries); err != nil {
			v.d = nil // it saw a part
			return false, false, err
		}
		if b.to = v.d.Next(); b.to == b.from {
			return false, false, nil
		}
		v.pending = b
	}
	b := v.pending
	err = v.w.Store.commit(ctx, v.brand, v.w.server, b)
	if errors.Is(err, errMoved) {
		return true, false, nil // the cursor says by how far
	}
	if err != nil {
		return false, false, fmt.Errorf("storing alarms: %w", err) // pending stays
	}
	v.pending = nil
	if len(b.alarms)+len(b.changes)+len(b.events) > 0 && v.w.Stored != nil {
		v.w.Stored(v.brand)
	}
	return true, false, nil
}

// read feeds the detector up to an index, and collects what it says.
func (v *watch) read(ctx context.Context, b *batch, end uint64) error {
	if v.w.Canaries != nil {
		// In this order: who is a decoy is durable before anybody can be shown the decoy,
		// so what is known after the size was read covers every entry below it.
		size, err := v.w.Ledger.Size(ctx, v.brand)
		if err == nil {
			err = v.w.Canaries.Refresh(ctx, v.brand)
		}
		if err != nil {
			return err
		}
		end = min(end, size)
	}
	err := v.w.Ledger.Scan(ctx, v.brand, v.d.Next(), func(i uint64, e entry.Entry, ords []record.Ordinal) error {
		if i >= end || len(b.alarms) >= batchAlarms {
			return errEnough
		}
		b.alarms = append(b.alarms, v.d.Observe(i, &e, ords)...)
		switch e.Kind {
		case entry.KindDetection:
			if c, ok := changeOf(i, &e); ok {
				b.changes = append(b.changes, c)
			} else if _, ok := e.Detail.(entry.DetectionRules); ok {
				b.rules = i
			}
		case entry.KindContainment:
			if ev, ok := containmentOf(v.brand, i, &e); ok {
				b.events = append(b.events, ev)
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// changeOf reads a step of an alarm's life from its entry.
func changeOf(index uint64, e *entry.Entry) (change, bool) {
	c := change{entry: index, at: e.At, by: e.Principal, ticket: e.Ticket}
	id := ""
	switch d := e.Detail.(type) {
	case entry.AlarmAcknowledged:
		id = d.Alarm
	case entry.AlarmClosed:
		id, c.closed, c.reason = d.Alarm, true, d.Reason
	default:
		return c, false
	}
	var err error
	c.alarm, err = ParseID(id)
	return c, err == nil
}
