package containment

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/db"
)

// OutcomeError says what is true where containing, or undoing, did not end well. It is
// for people who act on it: none is told that a thief is not stopped who is, nor the
// other way round.
type OutcomeError struct {
	ID     int64    // of a containment that holds, or was undone; 0: none, or not known
	Undone bool     // it was to be undone
	Logs   []string // of brands: where what was under way may still be logged
	Err    error
}

// Error says what is true, and what to do next.
func (e *OutcomeError) Error() string {
	what, ended := "it is stopped", "nothing was stopped"
	if e.Undone {
		what, ended = "it goes on", "nothing was undone"
	}
	switch {
	case e.ID != 0 && len(e.Logs) > 0:
		return fmt.Sprintf("containment %d: %s; not yet sure on every server for what was under way: the log of %s could not be passed; send it again to be sure",
			e.ID, what, strings.Join(e.Logs, ", "))
	case e.ID != 0:
		return fmt.Sprintf("containment %d: %s on every server; that it was done is not logged, or not all of it could be read: `cloakroom contain list` shows it", e.ID, what)
	case e.Unknown():
		return "not known whether it was done: the database did not say. `cloakroom contain list` shows what holds; send it again"
	}
	return ended + ": the database or the log could not be written; send it again"
}

// Unwrap returns the cause.
func (e *OutcomeError) Unwrap() error { return e.Err }

// Unknown reports whether it may have been done, and may not.
func (e *OutcomeError) Unknown() bool { return e.ID == 0 && errors.Is(e.Err, db.ErrOutcomeUnknown) }

// IsRefusal reports whether an error says that nothing was done, and why.
func IsRefusal(err error) bool {
	return slices.ContainsFunc([]error{ErrContained, ErrState, ErrLast, ErrUndoer, ErrAsker, ErrMost}, func(e error) bool { return errors.Is(err, e) })
}
