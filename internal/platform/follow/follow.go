// Package follow runs what follows from the logs: followers, which are fed every entry
// of every log in order, and keep what they make of it.
//
// # What a follower is
//
// A [Follower] makes a [State] for each log. A state is fed entries, says what is to be
// stored because of them, and can be written down and read again. It never looks at a
// clock or a database, so that a replay of the log gives the same.
//
// # Stored once
//
// For each follower and log one row holds a cursor, the entry that comes next, and a
// lease. What entries gave is stored in the transaction that moves the cursor past
// them, which succeeds only from where the cursor stands and while no other server has
// the lease. So each output is stored once, however many servers follow and whatever
// dies when; and an output never appears behind a cursor that was passed. All servers
// observe; a server whose lease ended is replaced within [Lease].
//
// # From memory
//
// What this server commits reaches its followers from memory ([Feed.Committed]); they
// read the log only for entries of other servers, and at start. The cursor moves with
// an output at once, and otherwise every [cursorEvery]: a kill in between makes the
// next server observe the entries since the cursor again, with the same outputs, none
// of which is stored yet.
//
// # Snapshots
//
// The state is written down every so many entries and when the server stops, sealed under
// a secret of the log's own key and bound to the follower's name and version: nobody else
// reads or changes what was learned of people at work. A start reads the newest that
// opens and replays the entries after it without storing anything; one that does not
// open, or of another version, is passed over.
//
// # Parts
//
// Work that follows a table rather than a log uses the parts: [Loop] for its wake and
// pace, [Leases] for its lease.
package follow

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	// Poll is how often a server asks, by two queries for all logs, what other servers
	// logged and stored: half of the second within which an alarm is due.
	Poll = 500 * time.Millisecond
	// Lease is how long a server has a follower of a log to itself after it last moved
	// the cursor: as long as it takes another to replace it after a kill.
	Lease = 4 * time.Second
	// cursorEvery is how long the stored cursor may lag behind entries without output.
	cursorEvery = 150 * time.Millisecond
	// gather is the least time between two looks at a log that is busy: each costs a
	// query, whatever the number of entries.
	gather = 40 * time.Millisecond
	// again is when a log is looked at that nothing woke, in case a wake was lost.
	again = 15 * time.Second
	// lateAfter is when a follower is late: longer than it takes to replace a server.
	lateAfter = 2 * Lease
	// batchEntries and maxOutputs bound what one transaction stores. A server without
	// the lease stops observing at maxOutputs until the one that has it stored them.
	batchEntries = 4096
	maxOutputs   = 2000
	// stepTimeout bounds one look at a log, except for the replay at start.
	stepTimeout = 30 * time.Second
)

// Entry is one entry of a log with its customers. Nobody changes it.
type Entry struct {
	Index uint64
	*entry.Entry
	Ords []record.Ordinal
}

// Source is where entries come from.
type Source interface {
	// Sizes returns how many entries each log has, by one query.
	Sizes(ctx context.Context) (map[record.BrandID]uint64, error)
	// Scan hands fn every entry of a log from an index on, until fn fails.
	Scan(ctx context.Context, brand record.BrandID, from uint64, fn func(index uint64, e entry.Entry, ords []record.Ordinal) error) error
	// Secret derives a secret from the log's key for one use, always the same.
	Secret(ctx context.Context, brand record.BrandID, use string) ([32]byte, error)
}

// State is what a follower keeps of one log. One goroutine uses it.
type State[T any] interface {
	// Observe takes the next entry and returns what is to be stored because of it.
	Observe(e Entry) []T
	// Encode writes the state, and Decode makes a new one what was written: fed the same
	// entries, both say the same.
	Encode(w *bufio.Writer) error
	Decode(r *bufio.Reader) error
}

// Batch is what the entries of a log from one on, up to another, gave, in their order.
type Batch[T any] struct {
	Brand    record.BrandID
	From, To uint64
	Outputs  []T
}

// Follower says what follows from every log.
type Follower[T any] struct {
	// Name names the follower's rows for good.
	Name string
	// Version is of the algorithm and of what Encode writes: a state of another version
	// is not read, and made again from the log.
	Version int
	// Begin makes the state of a log of which no entry was observed. The last one that it
	// made for a log is in use.
	Begin func(brand record.BrandID) (State[T], error)
	// Refresh, if set, reads what Observe needs beside the log. It is called after it is
	// known which entries are observed next, so that what preceded them is seen.
	Refresh func(ctx context.Context, brand record.BrandID) error
	// Store writes outputs, inside the transaction that moves the cursor past their
	// entries. It may run several times. Without it the follower is each server's own:
	// it has no cursor and no lease.
	Store func(ctx context.Context, q db.Queryer, b Batch[T]) error
	// Stored, if set, is called after outputs were stored by this server. It must not
	// block.
	Stored func(brand record.BrandID)
	// SnapshotEvery is how many entries come, at least, between two snapshots; 0 means
	// DefaultSnapshotEvery.
	SnapshotEvery uint64
}

// follower is a Follower of any output.
type follower interface {
	name() string
	stores() bool
	begin(r *Runner, t *tail, brand record.BrandID) worker
}

// worker is one follower of one log on this server.
type worker interface {
	run(ctx context.Context, log *slog.Logger)
	tell(size uint64, row cursor)
	knock(force bool)
	late() bool
	// catchUp observes what the log has, for a process that does not run followers.
	catchUp(ctx context.Context, size uint64) error
	// observed is the entry that comes next in memory; false while a start replays.
	observed() (next uint64, current bool)
}

func (f *Follower[T]) name() string { return f.Name }
func (f *Follower[T]) stores() bool { return f.Store != nil }

// Runner runs followers on one server. Add them with [Add] before Run.
type Runner struct {
	db     *db.DB
	source Source
	feed   *Feed
	server string

	followers []follower
	looked    chan struct{} // asks the poll to look now

	mu      sync.Mutex
	running bool                        // of mu
	workers map[record.BrandID][]worker // of mu: those that run
	reading sync.Mutex
	readers map[rowKey]worker // of reading: those that read while nothing runs
}

// New returns a runner that follows the logs of a source, and what the feed of the same
// server brings.
func New(d *db.DB, source Source, feed *Feed) *Runner {
	return &Runner{db: d, source: source, feed: feed, server: rand.Text(), looked: make(chan struct{}, 1),
		workers: map[record.BrandID][]worker{}, readers: map[rowKey]worker{}}
}

// Add adds a follower.
func Add[T any](r *Runner, f *Follower[T]) { r.followers = append(r.followers, f) }

// Server names this server in leases.
func (r *Runner) Server() string { return r.server }

// woken is called by the feed when this server committed to a log.
func (r *Runner) woken(brand record.BrandID) {
	r.mu.Lock()
	workers := r.workers[brand]
	r.mu.Unlock()
	if workers == nil { // the poll has not met this log yet
		r.look()
	}
	for _, w := range workers {
		w.knock(false)
	}
}

func (r *Runner) look() {
	select {
	case r.looked <- struct{}{}:
	default:
	}
}

// Run follows every log until the context ends. What fails is logged and retried.
func (r *Runner) Run(ctx context.Context, log *slog.Logger) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	r.run(true)
	defer r.run(false)
	r.feed.open(r.woken)
	defer r.feed.close()
	tick := time.NewTicker(Poll)
	defer tick.Stop()
	failing := false
	for {
		err := r.poll(ctx, func(w worker) { wg.Go(func() { w.run(ctx, log) }) })
		switch {
		case err != nil && ctx.Err() == nil && !failing:
			log.Warn("followers of the logs are late", "cause", err)
		case err == nil && failing:
			log.Info("followers of the logs are current again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			wg.Wait()
			return r.leave(context.WithoutCancel(ctx))
		case <-tick.C:
		case <-r.looked:
		}
	}
}

// run notes whether followers run.
func (r *Runner) run(is bool) {
	r.reading.Lock()
	defer r.reading.Unlock()
	clear(r.readers)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = is
}

// leaveTimeout bounds what is written when a server stops.
const leaveTimeout = 10 * time.Second

// leave gives the leases up, so that another server need not wait for their end.
func (r *Runner) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	r.db.Exec(ctx, sqlLeave, r.server) // they end by themselves
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.workers)
	return nil
}

// poll tells every worker how long its log is and where its cursor stands, and starts
// workers for logs that it meets for the first time.
func (r *Runner) poll(ctx context.Context, start func(worker)) error {
	sizes, err := r.source.Sizes(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	rows, err := r.cursors(ctx)
	if err != nil {
		return err
	}
	for brand, size := range sizes {
		r.mu.Lock()
		workers := r.workers[brand]
		known := workers != nil
		if !known {
			t := r.feed.of(brand)
			workers = make([]worker, len(r.followers))
			for i, f := range r.followers {
				workers[i] = f.begin(r, t, brand)
			}
			r.workers[brand] = workers
		}
		r.mu.Unlock()
		for i, f := range r.followers {
			row := rows[rowKey{f.name(), brand}]
			row.began, row.known = began, true // without a row nothing is stored
			workers[i].tell(size, row)
			if !known {
				start(workers[i])
			}
		}
	}
	return nil
}

// Settle waits until everything that is logged now is observed and stored, and makes
// that soon. For simulations and tests: nothing in the product waits for alarms.
func (r *Runner) Settle(ctx context.Context, brand record.BrandID) error {
	return r.await(ctx, brand, func(follower) bool { return true })
}

// awaitFor bounds Await: a server that has just started may take longer to catch up.
const awaitFor = 2 * time.Second

// Await brings a follower without a store to what is logged now, which takes as long as
// [gather] at most where it is current. It gives up after some time, and leaves it to
// the state to say how far it is. In a process that runs no followers it reads.
func (r *Runner) Await(ctx context.Context, name string, brand record.BrandID) error {
	if done, err := r.read(ctx, name, brand); done {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, awaitFor)
	defer cancel()
	err := r.await(soon, brand, func(f follower) bool { return f.name() == name })
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// read reads where nothing runs, and reports whether it did.
func (r *Runner) read(ctx context.Context, name string, brand record.BrandID) (done bool, err error) {
	r.mu.Lock()
	running := r.running
	r.mu.Unlock()
	if running {
		return false, nil
	}
	r.reading.Lock()
	defer r.reading.Unlock()
	sizes, err := r.source.Sizes(ctx)
	if err != nil {
		return true, err
	}
	for _, f := range r.followers {
		if f.name() != name {
			continue
		}
		w := r.readers[rowKey{name, brand}]
		if w == nil {
			w = f.begin(r, &tail{}, brand)
			r.readers[rowKey{name, brand}] = w
		}
		return true, w.catchUp(ctx, sizes[brand])
	}
	return true, fmt.Errorf("there is no follower %q", name)
}

// await waits for some of the followers.
func (r *Runner) await(ctx context.Context, brand record.BrandID, these func(follower) bool) error {
	sizes, err := r.source.Sizes(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		r.mu.Lock()
		workers := r.workers[brand]
		r.mu.Unlock()
		behind := len(workers) < len(r.followers)
		for i, w := range workers {
			f := r.followers[i]
			if !these(f) {
				continue
			}
			next, current := w.observed()
			if f.stores() && next >= sizes[brand] {
				row, err := r.cursor(ctx, f.name(), brand)
				if err != nil {
					return err
				}
				next = row.next
			}
			if next < sizes[brand] || !current {
				behind = true
				w.tell(sizes[brand], cursor{})
				w.knock(true)
			}
		}
		if !behind {
			return nil
		}
		if len(workers) == 0 {
			r.look()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Late reports whether a follower on this server is late, or still starts. It asks
// nobody: health is asked often, by strangers too.
func (r *Runner) Late() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, workers := range r.workers {
		for _, w := range workers {
			if w.late() {
				return true
			}
		}
	}
	return false
}

// Lag is how far a follower is behind a log.
type Lag struct {
	Follower string
	Brand    record.BrandID
	Entries  uint64        // logged, and not yet observed and stored
	Behind   time.Duration // since the oldest of them was logged
	Starting bool          // this server still replays what its snapshot lacks
}

// Lags returns how far every follower is behind every log: as this server sees it
// while it follows, else by the stored cursors.
func (r *Runner) Lags(ctx context.Context) ([]Lag, error) {
	sizes, err := r.source.Sizes(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := r.cursors(ctx)
	if err != nil {
		return nil, err
	}
	now, err := r.db.Now(ctx)
	if err != nil {
		return nil, err
	}
	var out []Lag
	for _, brand := range sorted(sizes) {
		r.mu.Lock()
		workers := r.workers[brand]
		r.mu.Unlock()
		for i, f := range r.followers {
			l := Lag{Follower: f.name(), Brand: brand}
			next := sizes[brand]
			if f.stores() {
				next = min(next, rows[rowKey{f.name(), brand}].next)
			}
			if workers != nil {
				seen, current := workers[i].observed()
				next, l.Starting = min(next, seen), !current
			}
			if l.Entries = sizes[brand] - next; l.Entries > 0 {
				at, err := r.at(ctx, brand, next)
				if err != nil {
					return nil, err
				}
				l.Behind = max(0, now.Sub(at))
			}
			out = append(out, l)
		}
	}
	return out, nil
}

var errFound = errors.New("found")

// at returns when an entry was logged.
func (r *Runner) at(ctx context.Context, brand record.BrandID, index uint64) (at time.Time, err error) {
	err = r.source.Scan(ctx, brand, index, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
		at = e.At
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return at, err
}
