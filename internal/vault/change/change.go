// Package change makes changes together with the entry that tells of them. A change of
// rights, a containment and a rotation go the same way:
//
//  1. make: one transaction logs an entry that says what is changed, and for whom, and makes
//     the change, at the time of the entry. Neither is there without the other;
//  2. pass: what takes something away waits until no log can still take an entry that was
//     allowed before it.
//
// # Acts that need a second person
//
// Acts by which somebody could see more, or could be noticed less, take two people. [Desk]
// keeps the requests for them: what is asked for is sealed, its digest stands in the entry
// of the request, and a row that its entry does not hold up asks for nothing. Another
// person approves ([Desk.Approve]); who that may be is [Desk.eligible]'s to say. Until two
// such people have once existed, acts take effect by one hand, marked so.
//
// A wing registers its acts while the vault is put together, and asks for them with the
// handle that it gets:
//
//	d.setRole = change.Register(changes, change.Act[roleSet, *api.Principal]{
//		Name:   "role-set",            // stands in the log
//		Action: access.ActAdminister,  // what the requester must be allowed
//		Need:   d.needsTwo,            // does this instance need two, by the diff that exists
//		Text:   d.describe,            // what the officer reads
//		Check:  d.stillFits,           // asked now, and again before it takes effect
//		Brands: concerned,             // whose logs and receivers hear of it, too
//		Apply:  d.apply,               // makes it, with Maker.Make
//	})
//	...
//	return d.setRole.Do(ctx, visit, ticket, roleSet{...})
//
// Do returns what Apply gave where the act took effect, and a [PendingError] where it
// waits for a second person. The payload is a value that JSON carries; what it says about
// the state that it was asked for, such as a version, is for Check to hold against the
// state as it is then. Apply gets the requester as Order.Who, whose entry it logs, and the
// person who approved as Order.Second.
package change

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Maker makes changes.
type Maker struct {
	DB     *db.DB
	Ledger *ledger.Ledger
	Brands *brands.Store

	mu    sync.Mutex
	known []brands.Brand // the last time that they could be read
}

// LogError is an error of writing the entry: neither the entry nor the change was made.
type LogError struct{ Err error }

// Error returns the cause.
func (e *LogError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *LogError) Unwrap() error { return e.Err }

// Make logs a change and makes it. It reports whether the change moved rights, so that
// requests which were decided before may still be in flight: see Pass. An error of fn is
// returned as it is; where the outcome is unknown, errors.Is says [db.ErrOutcomeUnknown];
// every other one is a *LogError.
func (m *Maker) Make(ctx context.Context, ev ledger.Event, fn func(q db.Queryer, at time.Time) error) (moved bool, err error) {
	var refused error
	_, moved, err = m.Ledger.Change(ctx, ev, func(q db.Queryer, at time.Time) error {
		if refused = fn(q, at); refused == nil {
			refused = finish(ctx, q, at)
		}
		return refused
	})
	if err == nil {
		finished(ctx)
	}
	switch {
	case err == nil, refused != nil, errors.Is(err, revision.ErrMoved), errors.Is(err, db.ErrOutcomeUnknown):
		return moved, err
	}
	return false, &LogError{err}
}

// ErrStoppedOnly is joined to the error of a change that takes something away, and that the
// logs obey although its rows could not be written.
var ErrStoppedOnly = fault.Typed(fault.Unavailable, "partly-done", "the logs refuse the target from now on, but the database could not store the change: send the request again when the database answers")

// stopWithin bounds how long a stop waits for a log that does not answer. The others take
// it at once.
const stopWithin = 3 * time.Second

// Stop logs a stop, or its end, in the log of a brand, or for the group in every log, before
// any row says so: it needs what a release needs, and no more. A log that does not answer is
// owed it, see [ledger.Ledger.Stop].
func (m *Maker) Stop(ctx context.Context, who identity.Who, ticket string, brand record.BrandID, s ledger.Stop) {
	all := []record.BrandID{brand}
	if brand == record.Group {
		list, err := m.Brands.List(ctx)
		if err == nil {
			m.mu.Lock()
			m.known = list
			m.mu.Unlock()
		}
		m.mu.Lock()
		for _, b := range m.known {
			all = append(all, b.ID)
		}
		m.mu.Unlock()
	}
	m.Ledger.Stop(context.WithoutCancel(ctx), who, ticket, all, s, stopWithin)
}

// Unstored reports whether a change was not made because the database or the log failed, and
// not because it was refused.
func Unstored(err error) bool {
	var unlogged *LogError
	return err != nil && (errors.As(err, &unlogged) || errors.Is(err, db.ErrUnavailable) || errors.Is(err, db.ErrOutcomeUnknown) || fault.Of(err) == nil)
}

// PassError says which logs could not be passed: there, a request that was in flight may
// still be logged.
type PassError struct {
	Logs []string // of brands by name
	Err  error
}

// Error returns the cause.
func (e *PassError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PassError) Unwrap() error { return e.Err }

// Pass waits for the requests in flight in a brand's log, and for the group in every log:
// after it, no server logs what was allowed before. It waits for each log no longer than
// one; 0 is as long as the context. A log that does not answer delays no other.
func (m *Maker) Pass(ctx context.Context, brand record.BrandID, one time.Duration) error {
	b, err := m.Brands.Get(ctx, brand)
	all := []brands.Brand{b}
	if err == nil && brand == record.Group {
		var more []brands.Brand
		more, err = m.Brands.List(ctx)
		all = append(all, more...)
	}
	if err != nil {
		return &PassError{[]string{"every brand"}, err}
	}
	var failed *PassError
	for _, b := range all {
		if err := m.passOne(ctx, b.ID, one); err != nil {
			if failed == nil {
				failed = &PassError{}
			}
			failed.Err, failed.Logs = err, append(failed.Logs, b.Name)
		}
	}
	if failed != nil {
		return failed
	}
	return nil
}

func (m *Maker) passOne(ctx context.Context, brand record.BrandID, wait time.Duration) error {
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	return m.Ledger.Fence(ctx, brand)
}
