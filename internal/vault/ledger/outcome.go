package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// outcomeWithin bounds how long an answer waits for the entry of a failed act.
const outcomeWithin = 5 * time.Second

// Failed writes into the brand's log that the act which an entry announced did not happen,
// and returns why: err, with what kept the log from saying so. It is for acts that are of
// another transaction than their entry. Where err leaves open whether the act happened,
// nothing is written. The context may have ended.
func (l *Ledger) Failed(ctx context.Context, who identity.Who, r Receipt, err error) error {
	reason := "unavailable"
	switch s := fault.Of(err); {
	case errors.Is(err, db.ErrOutcomeUnknown):
		return err // perhaps it happened
	case errors.Is(err, revision.ErrMoved), s != nil && s.Kind() == fault.Changed:
		reason = "changed"
	case s != nil && s.Kind() == fault.Conflict:
		reason = "conflict"
	}
	ctx, cancel := context.WithTimeout(revision.Unbound(context.WithoutCancel(ctx)), outcomeWithin)
	defer cancel()
	_, lerr := l.Record(ctx, Event{Kind: entry.KindOutcome, Who: who, Detail: entry.Outcome{Of: r.Entry(), Result: "failed", Reason: reason}})
	if lerr != nil {
		return fmt.Errorf("%w; logging that it failed: %w", err, lerr)
	}
	return err
}
