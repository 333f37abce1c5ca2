package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// output is what one entry gave.
type output[T any] struct {
	index uint64
	value T
}

// work is one follower of one log on this server.
//
// The state has observed the entries before next. outputs are those of the entries from
// floor on, so that this server can store them, or another did: the cursor says which.
type work[T any] struct {
	r     *Runner
	f     *Follower[T]
	brand record.BrandID
	tail  *tail
	shelf shelf
	wake  chan struct{}
	force chan struct{}

	mu    sync.Mutex // guards what the poll tells
	size  uint64
	row   cursor    // newest reading; known is false once it was used
	goal  uint64    // how long the log was at since
	since time.Time // this machine's clock: when the goal was set, after the last was reached

	next    atomic.Uint64 // run writes it
	current atomic.Bool   // the start's replay is over; run writes it

	// What follows is run's alone.
	state   State[T]
	outputs []output[T]
	floor   uint64
	stored  uint64    // the cursor as it was last read or moved
	others  time.Time // until when another server has the lease, by the database's clock
	unsure  bool      // what the cursor says has to be read again
	moved   time.Time // this machine's clock: when the cursor was last moved
	read    time.Time // this machine's clock: what was read of the cursor before is older than what is known
	looked  time.Time // this machine's clock: when entries were last observed
	snapped uint64    // the newest snapshot known, or where one failed
	weight  uint64    // bytes of it

	saving atomic.Bool
	saved  atomic.Uint64 // the newest snapshot that this server read or wrote
	saves  sync.WaitGroup
}

func (f *Follower[T]) begin(r *Runner, t *tail, brand record.BrandID) worker {
	return &work[T]{r: r, f: f, brand: brand, tail: t, shelf: shelf{r, f.Name, f.Version, brand}, wake: make(chan struct{}, 1), force: make(chan struct{}, 1)}
}

// tell passes on how long the log is and, if it was read, the cursor.
func (w *work[T]) tell(size uint64, row cursor) {
	w.mu.Lock()
	news := size > w.size || row.known && row.next != w.row.next
	w.size = max(w.size, size)
	if row.known {
		w.row = row
		reached := w.next.Load()
		if w.f.Store != nil {
			reached = min(reached, row.next)
		}
		if !w.current.Load() {
			reached = 0
		}
		if reached >= w.goal {
			w.goal, w.since = w.size, row.began
		}
	}
	w.mu.Unlock()
	if news {
		w.knock(false)
	}
}

// knock makes the worker look soon, or at once and store what it has.
func (w *work[T]) knock(force bool) {
	to := w.wake
	if force {
		to = w.force
	}
	select {
	case to <- struct{}{}:
	default:
	}
}

// late reports whether what was logged some time ago is not stored yet.
func (w *work[T]) late() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.current.Load() && w.size > 0 || !w.since.IsZero() && time.Since(w.since) > lateAfter
}

func (w *work[T]) observed() (uint64, bool) { return w.next.Load(), w.current.Load() }

// run observes and stores until the context ends.
func (w *work[T]) run(ctx context.Context, log *slog.Logger) {
	defer w.end(context.WithoutCancel(ctx))
	failing, force := false, false
	for {
		wait, err := w.step(ctx, force)
		force = false
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			log.Warn("a follower of the log is late", "follower", w.f.Name, "brand", int(w.brand), "cause", err)
		case err == nil && failing:
			log.Info("a follower of the log is current again", "follower", w.f.Name, "brand", int(w.brand))
		}
		failing = err != nil
		timer := time.NewTimer(wait)
		wake := w.wake
		if failing {
			wake = nil // a database that fails is not asked at every commit
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-w.force:
			force = true
		case <-wake:
			if busy := gather - time.Since(w.looked); busy > 0 {
				timer.Reset(busy)
				select {
				case <-ctx.Done():
				case <-timer.C:
				case <-w.force:
					force = true
				}
			}
		}
		timer.Stop()
	}
}

// catchUp observes what the log has. Nothing else uses the worker.
func (w *work[T]) catchUp(ctx context.Context, size uint64) error {
	if w.state == nil {
		if err := w.start(ctx); err != nil {
			w.state = nil
			return err
		}
	}
	for more := true; more; {
		var err error
		if more, err = w.observe(ctx, size); err != nil {
			return err
		}
	}
	return nil
}

// end stores what was observed and writes a snapshot, if this server has the lease.
func (w *work[T]) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	w.saves.Wait()
	if w.state == nil || !w.current.Load() {
		return
	}
	next := w.next.Load()
	if w.f.Store != nil {
		if next > w.stored && !w.unsure {
			w.store(ctx) // else the next server observes them again
		}
		if w.stored != next || w.unsure || len(w.outputs) > 0 {
			return
		}
	}
	if next < w.saved.Load()+snapshotOnLeave {
		return
	}
	if data, err := encode(next, w.state.Encode); err == nil {
		w.shelf.save(ctx, next, data) // a start without it replays more
	}
}

// known takes what the poll told.
func (w *work[T]) known() (size uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.row.known {
		w.take(w.row)
		w.row.known = false
	}
	return w.size
}

// take believes a reading of the cursor, unless it is older than what is known.
func (w *work[T]) take(row cursor) {
	if row.began.Before(w.read) {
		return
	}
	w.read = row.began
	if w.others = row.until; row.holder == w.r.server {
		w.others = time.Time{}
	}
	w.stored = row.next
	w.prune()
}

// prune drops the outputs that are stored.
func (w *work[T]) prune() {
	n := 0
	for n < len(w.outputs) && w.outputs[n].index < w.stored {
		n++
	}
	w.outputs = slices.Delete(w.outputs, 0, n)
	w.floor = max(w.floor, min(w.stored, w.next.Load()))
}

// step does what there is to do, and returns after how long to look again.
func (w *work[T]) step(ctx context.Context, force bool) (time.Duration, error) {
	size := w.known()
	if w.state != nil && w.f.Store != nil && w.stored < w.floor {
		// The cursor went back: a restored database. What is to be stored from there on
		// is not in memory.
		w.state = nil
	}
	if w.state == nil {
		if err := w.start(ctx); err != nil {
			w.state = nil
			return Poll, err
		}
	}
	for {
		more, err := w.observe(ctx, size)
		if err != nil {
			return Poll, err
		}
		wait, err := w.settle(ctx, force)
		if err != nil {
			w.unsure = true
			return Poll, err
		}
		w.snapshot(ctx)
		if !more || len(w.outputs) >= maxOutputs || w.state == nil {
			return wait, ctx.Err()
		}
		size = w.known()
	}
}

// start makes the state from the newest snapshot that fits, and the entries after it.
// Their outputs are stored.
func (w *work[T]) start(ctx context.Context) error {
	w.current.Store(false)
	w.outputs, w.unsure = nil, false
	if w.f.Store != nil {
		row, err := w.r.cursor(ctx, w.f.Name, w.brand)
		if err != nil {
			return err
		}
		w.take(row)
	}
	sizes, err := w.r.source.Sizes(ctx)
	if err != nil {
		return err
	}
	most := sizes[w.brand]
	if w.f.Store != nil {
		if w.stored > most { // the log that it followed is another
			return fmt.Errorf("the cursor of %s stands at entry %d of a log with %d", w.f.Name, w.stored, most)
		}
		most = w.stored
	}
	if err := w.restore(ctx, most); err != nil {
		return err
	}
	if err := w.refresh(ctx); err != nil {
		return err
	}
	if err := w.replay(ctx, most); err != nil {
		return err
	}
	w.outputs, w.floor = nil, w.next.Load()
	w.current.Store(true)
	return nil
}

func (w *work[T]) refresh(ctx context.Context) error {
	if w.f.Refresh == nil {
		return nil
	}
	return w.f.Refresh(ctx, w.brand)
}

// restore makes the state from a snapshot before or at an entry, else an empty one.
func (w *work[T]) restore(ctx context.Context, most uint64) error {
	list, err := w.shelf.list(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		h := &list[i]
		if h.size > most {
			continue
		}
		data, fits, err := w.shelf.load(ctx, h)
		if err != nil {
			return err
		}
		if !fits {
			continue
		}
		s, err := w.f.Begin(w.brand)
		if err != nil {
			return err
		}
		if decode(data, h.size, s.Decode) == nil {
			w.state, w.snapped, w.weight = s, h.size, h.bytes
			w.saved.Store(h.size)
			w.next.Store(h.size)
			return nil
		}
	}
	w.snapped, w.weight = 0, 0
	w.saved.Store(0)
	w.next.Store(0)
	w.state, err = w.f.Begin(w.brand)
	return err
}

var errEnough = errors.New("enough for one look")

// replay observes the entries up to one, from the log.
func (w *work[T]) replay(ctx context.Context, end uint64) error {
	if w.next.Load() >= end {
		return nil
	}
	err := w.r.source.Scan(ctx, w.brand, w.next.Load(), func(i uint64, e entry.Entry, ords []record.Ordinal) error {
		if i >= end {
			return errEnough
		}
		w.state.Observe(Entry{i, &e, ords})
		w.next.Store(i + 1)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return nil
}

// observe takes the next entries, from memory where they are there, and reports whether
// there may be more. One that fails has observed whole entries, and outputs has theirs.
func (w *work[T]) observe(ctx context.Context, size uint64) (more bool, err error) {
	next := w.next.Load()
	end := min(max(size, w.tail.end()), next+batchEntries)
	if end <= next || len(w.outputs) >= maxOutputs {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	w.looked = time.Now()
	if err := w.refresh(ctx); err != nil {
		return false, err
	}
	take := func(e Entry) {
		outs := w.state.Observe(e)
		if e.Index >= w.stored {
			for _, o := range outs {
				w.outputs = append(w.outputs, output[T]{e.Index, o})
			}
		}
		w.next.Store(e.Index + 1)
	}
	if list := w.tail.from(next, int(end-next)); list != nil {
		for _, e := range list {
			if take(e); len(w.outputs) >= maxOutputs {
				break
			}
		}
	} else {
		err = w.r.source.Scan(ctx, w.brand, next, func(i uint64, e entry.Entry, ords []record.Ordinal) error {
			if i >= end || len(w.outputs) >= maxOutputs {
				return errEnough
			}
			take(Entry{i, &e, ords})
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return false, err
		}
	}
	w.prune()
	return true, nil
}

// settle stores what is to be stored now, and returns when to look again.
func (w *work[T]) settle(ctx context.Context, force bool) (time.Duration, error) {
	if w.f.Store == nil {
		return again, nil
	}
	if w.unsure {
		row, err := w.r.cursor(ctx, w.f.Name, w.brand)
		if err != nil {
			return 0, err
		}
		w.unsure = false
		if w.take(row); w.stored < w.floor {
			w.state = nil // as in step
			return 0, nil
		}
	}
	if w.next.Load() <= w.stored {
		return again, nil
	}
	if !w.others.IsZero() {
		now, err := w.r.db.Estimate(ctx)
		if err != nil {
			return 0, err
		}
		if left := w.others.Sub(now); left > 0 {
			return max(min(left, Poll), gather), nil // another server stores
		}
	}
	if len(w.outputs) == 0 && !force {
		if left := cursorEvery - time.Since(w.moved); left > 0 {
			return left, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	err := w.store(ctx)
	if errors.Is(err, errMoved) {
		w.unsure = true
		return gather, nil // the cursor says by how far
	}
	if err != nil {
		return 0, fmt.Errorf("storing what follows from the log: %w", err)
	}
	return again, nil
}

// store stores the outputs and moves the cursor past their entries, in one transaction.
// A kill before its commit leaves neither, and one after it both.
func (w *work[T]) store(ctx context.Context) error {
	from, to := w.stored, w.next.Load()
	values := make([]T, len(w.outputs))
	for i := range w.outputs {
		values[i] = w.outputs[i].value
	}
	err := w.r.db.Tx(ctx, func(q db.Queryer) error {
		if err := move(ctx, q, w.f.Name, w.brand, from, to, w.r.server); err != nil || len(values) == 0 {
			return err
		}
		return w.f.Store(ctx, q, Batch[T]{w.brand, from, to, values})
	})
	if err != nil {
		return err
	}
	w.stored, w.moved, w.others = to, time.Now(), time.Time{}
	w.read = w.moved
	w.prune()
	if len(values) > 0 && w.f.Stored != nil {
		w.f.Stored(w.brand)
	}
	return nil
}

// snapshot writes the state down if it is time to, while the worker goes on. One that
// fails is tried again after as many entries.
func (w *work[T]) snapshot(ctx context.Context) {
	next := w.next.Load()
	every := max(w.f.SnapshotEvery, w.weight/snapshotBytesPerEntry)
	if w.f.SnapshotEvery == 0 {
		every = max(DefaultSnapshotEvery, every)
	}
	if w.state == nil || next < w.snapped+every || w.saving.Load() {
		return
	}
	// Only a state whose outputs are all stored is of use to another server, and of
	// several servers the one with the lease writes it.
	if w.f.Store != nil && (w.stored != next || !w.others.IsZero() || w.unsure) {
		return
	}
	if w.f.Store == nil {
		if list, err := w.shelf.list(ctx); err == nil && len(list) > 0 && list[0].size+every > next && list[0].size <= next {
			w.snapped = list[0].size // another server's
			return
		}
	}
	w.snapped = next
	data, err := encode(next, w.state.Encode)
	if err != nil {
		return
	}
	w.weight = uint64(len(data))
	w.saving.Store(true)
	w.saves.Go(func() {
		defer w.saving.Store(false)
		ctx, cancel := context.WithTimeout(ctx, saveTimeout)
		defer cancel()
		if w.shelf.save(ctx, next, data) == nil {
			w.saved.Store(next)
		}
	})
}
