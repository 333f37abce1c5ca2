package containment

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
)

// Refused is [ErrContained] with the words to quote to the security team: the brand, and
// the time, which finds the refusal in the brand's log.
func Refused(brand string) error {
	return fmt.Errorf("%w and quote: %s, %s UTC", ErrContained, brand, time.Now().UTC().Format("15:04"))
}

// OutcomeError says what is in force where a containment or an undo did not end well. People
// act on it, so it never reports a stopped thief as active, or an active one as stopped.
type OutcomeError struct {
	ID     int64 // of a containment in force, or undone; 0: none, or unknown
	Undone bool  // the request was an undo
	// Stopped: the logs refuse the target, or are owed that they do; nothing was stored.
	Stopped bool
	Logs    []string // brands whose requests in flight may still be logged
	Err     error
}

// Error says what is in force, and what to do next.
func (e *OutcomeError) Error() string {
	what, ended := "the target is stopped", "nothing was stopped"
	if e.Undone {
		what, ended = "the target has access again", "nothing was undone"
	}
	switch {
	case e.ID != 0 && len(e.Logs) > 0:
		return fmt.Sprintf("containment %d: %s; requests in flight may not have ended yet, because the log of %s did not answer; send the request again to be sure",
			e.ID, what, strings.Join(e.Logs, ", "))
	case e.ID != 0:
		return fmt.Sprintf("containment %d: %s on every server; the log entry for the completion, or part of this answer, is missing: see `cloakroom contain list`", e.ID, what)
	case e.Stopped:
		return "the target is stopped: every log refuses it before its next release; the database could not store the containment, so it cannot be listed or undone yet: send the request again when the database answers"
	case e.Unknown():
		return "outcome unknown: the database connection broke. `cloakroom contain list` shows what is in force; send the request again"
	}
	return ended + ": the database or the log could not be written; send the request again"
}

// Unwrap returns the cause.
func (e *OutcomeError) Unwrap() error { return e.Err }

// Unknown reports whether the outcome is unknown.
func (e *OutcomeError) Unknown() bool { return e.ID == 0 && errors.Is(e.Err, db.ErrOutcomeUnknown) }

// IsRefusal reports whether an error is a decision that changed nothing.
func IsRefusal(err error) bool {
	return slices.ContainsFunc([]error{ErrContained, ErrState, ErrLast, ErrUndoer, ErrAsker, ErrMost}, func(e error) bool { return errors.Is(err, e) })
}
