// Package revision numbers the state of everything that decides who may do what:
// principals, credentials, roles, brands, purposes, policies, and which keys are the
// newest. Whatever changes or takes away any of it calls [Bump] in its own
// transaction. What only adds need not, because that something is unknown is asked
// anew each time: a new key works at once, and makes nobody start over.
//
// # Why
//
// A request asks a dozen such questions, and the answers hardly ever change. So they
// are kept in memory, each with the revision that it is not older than, and a request
// is decided under one revision without asking the database. Whether that revision
// still holds is checked where it costs nothing: the transaction that logs a release
// reads it too, after it has locked the brand's log, and refuses a request that was
// decided under an older one with [ErrMoved]. What is not logged is checked by one
// read before it is answered.
//
// # How a request runs
//
// [Tracker.Decide] runs it with a revision in its context, and again where the
// revision turns out to be an old one. A [Cache] asked without a revision in the
// context keeps nothing and reads every time; so does whatever else runs outside of
// Decide, which is slower and never wrong.
//
// # Taking away
//
// After a change has committed, a group of log entries that read the revision before
// it may still commit. Whoever takes something away waits for those, by passing
// through the lock of each log (ledger.Fence), before they say that it is done.
//
// # Moved by hand
//
// Somebody who writes the database could move the number back to what a server had seen
// before something was taken away. So a server starts over, too, when it reads in a log
// that rights were changed: see [Tracker.Renew].
//
// # The fence
//
// Beside the revision stands the lowest [Writer] that may write this vault. A release
// that older ones would misread raises it in a migration. The same statement reads
// both: so a server of an older release, which runs on while a newer one migrates the
// database, is refused with [ErrFenced] at its next commit and not only at its next
// start.
package revision

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// ErrMoved is returned for a request that was decided under a revision that does not
// hold any more. Nothing of it happened.
var ErrMoved = fault.New(fault.Changed, "the rights for this request changed while it ran: retry")

// Writer is what this program counts as at the fence. Raise it together with a migration
// that sets revisions.writer, when an older release must not write beside this one.
const Writer = 6

// ErrFenced is returned to a program that is too old to write the vault. Nothing of the
// request happened.
var ErrFenced = fault.New(fault.Unavailable, "a newer release has upgraded this vault, and this server is too old to write it: upgrade this server and start it again")

// attempts bounds how often a request starts over. Each time, somebody has changed a
// right during the milliseconds that it ran. After the first few it waits a random
// moment before each, up to longest: so whoever changes rights without pause cannot
// keep off somebody who is about to take theirs away.
const (
	attempts = 20
	longest  = 50 * time.Millisecond
)

const (
	sqlBump = `UPDATE revisions SET n = n + 1 WHERE one = 1`
	sqlRead = `SELECT n, writer FROM revisions WHERE one = 1`
)

// Bump begins a new revision inside the caller's transaction. Others that bump wait
// until the transaction ends.
func Bump(ctx context.Context, q db.Queryer) error {
	if _, err := q.Exec(ctx, sqlBump); err != nil {
		return fmt.Errorf("beginning a revision: %w", err)
	}
	return nil
}

// Stmt reads the revision that holds, as the transaction sees it, and refuses a program
// that the fence keeps out.
func Stmt(into *int64) db.Stmt {
	return db.Stmt{SQL: sqlRead, Scan: func(r db.Row) error { return read(r, into) }}
}

func read(r db.Row, into *int64) error {
	var writer int64
	if err := r.Scan(into, &writer); err != nil {
		return err
	}
	if writer > Writer {
		return ErrFenced
	}
	return nil
}

// Tracker knows the newest revision that this server has seen.
type Tracker struct {
	db   *db.DB
	seen atomic.Int64 // 0: none yet; never goes back
	era  atomic.Int64 // how often Renew was called
}

// New returns the tracker of a database.
func New(d *db.DB) *Tracker { return &Tracker{db: d} }

// Read returns the revision that holds now.
func (t *Tracker) Read(ctx context.Context) (int64, error) {
	var n int64
	if err := read(t.db.Row(ctx, sqlRead), &n); err != nil {
		return 0, fmt.Errorf("reading the revision: %w", err)
	}
	t.see(n)
	return n, nil
}

func (t *Tracker) see(n int64) {
	for {
		old := t.seen.Load()
		if n <= old || t.seen.CompareAndSwap(old, n) {
			return
		}
	}
}

// Renew forgets what is kept in memory, and makes requests in flight start over, whatever
// the number in the database says: a log says that rights changed. Somebody who writes the
// database could move the number back to what this server had seen.
func (t *Tracker) Renew() { t.era.Add(1) }

type attemptKey struct{}

// attempt is one run of a request. The goroutine that runs it owns it.
type attempt struct {
	rev, era int64
	t        *Tracker
	logged   bool // an entry was logged under rev: it held at that moment
}

func (t *Tracker) attempt() *attempt { // the era first: what is kept is never older
	era := t.era.Load()
	return &attempt{rev: t.seen.Load(), era: era, t: t}
}

func (a *attempt) renewed() bool { return a.t.era.Load() != a.era }

// Mark is when a request was decided. The zero value is of none.
type Mark struct{ a *attempt }

// MarkOf returns the mark of a request.
func MarkOf(ctx context.Context) Mark { return Mark{of(ctx)} }

// Renewed reports whether a log has said since that rights changed.
func (m Mark) Renewed() bool { return m.a != nil && m.a.renewed() }

func of(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}

// Of returns the revision that a request is decided under, 0 for none.
func Of(ctx context.Context) int64 {
	if a := of(ctx); a != nil {
		return a.rev
	}
	return 0
}

// Unbound returns a context under no revision, for what a request says after it has
// begun a revision itself.
func Unbound(ctx context.Context) context.Context {
	return context.WithValue(ctx, attemptKey{}, (*attempt)(nil))
}

// Logged notes that an entry of the request was logged while its revision held.
func Logged(ctx context.Context) {
	if a := of(ctx); a != nil {
		a.logged = true
	}
}

// Peek returns a context under the newest revision seen, for a first look that the
// request repeats under Decide before anything is answered.
func (t *Tracker) Peek(ctx context.Context) context.Context {
	return context.WithValue(ctx, attemptKey{}, t.attempt())
}

// Decide runs a request under the newest revision seen, and again while that turns
// out not to hold. So neither an answer nor an error of fn reaches anybody that a
// change had overtaken. fn must change nothing before it has logged an entry; after
// that it is not run again.
func (t *Tracker) Decide(ctx context.Context, fn func(ctx context.Context) error) error {
	if of(ctx) != nil {
		return fn(ctx)
	}
	if t.seen.Load() == 0 {
		if _, err := t.Read(ctx); err != nil {
			return err
		}
	}
	for i := range attempts {
		if i >= 3 && !pause(ctx, i) {
			return ErrMoved
		}
		a := t.attempt()
		err := fn(context.WithValue(ctx, attemptKey{}, a))
		if a.logged {
			return err
		}
		n, rerr := t.Read(ctx)
		if err == nil || errors.Is(rerr, ErrFenced) { // which is why fn may have failed
			err = rerr
		}
		if rerr != nil || n == a.rev && !a.renewed() && !errors.Is(err, ErrMoved) {
			return err
		}
	}
	return ErrMoved
}

// pause waits a random time before the attempt i, and reports false if the request's
// time is over first.
func pause(ctx context.Context, i int) bool {
	t := time.NewTimer(rand.N(min(longest, time.Millisecond<<i)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Moved reports whether the revision of the request does not hold any more, by asking
// the database; what was decided then is not worth noting down.
func (t *Tracker) Moved(ctx context.Context) bool {
	r := Of(ctx)
	if r == 0 {
		return false
	}
	n, err := t.Read(ctx)
	return err == nil && n != r
}
