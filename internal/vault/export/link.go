package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Link makes a key that downloads one approved export and can do nothing else, so that
// who asked for it does not hand their own to the machine that fetches it. It is a
// credential made through the caller's: what stops the lineage stops it, the same
// budgets decide, and it ends with the export.
func (d *Desk) Link(ctx context.Context, c identity.Caller, brand, id string) (*api.Credential, error) {
	v, x, err := d.approved(ctx, c, brand, id)
	if err != nil {
		return nil, err
	}
	r, err := d.record(ctx, v, x, entry.ExportLinked{ExportFacts: x.facts()})
	if err != nil {
		return nil, err
	}
	out := &api.Credential{Lineage: c.Lineage, Label: x.ID, Export: x.ID, Expires: x.Expires}
	// Credentials are of the group's log.
	ev := ledger.Event{Kind: entry.KindAdministration, Who: identity.Who{Caller: c, Brand: record.Group}, Detail: entry.CredentialConnected{Principal: c.Name}}
	_, _, err = d.Ledger.Change(ctx, ev, func(q db.Queryer, at time.Time) error {
		n, key, err := d.Door.Identity.CreateLink(ctx, q, c.Principal, c.Credential, x.ID, x.Expires, at)
		out.ID, out.Key, out.Created = n, key.Reveal(), at
		return err
	})
	if err != nil {
		return nil, d.unlinked(ctx, v, r, err)
	}
	return out, nil
}

// unlinked says in the brand's log that no link was made, and returns why. The link is of the
// group's log, so that the brand's entry is not of the same transaction.
func (d *Desk) unlinked(ctx context.Context, v *door.Visit, r ledger.Receipt, err error) error {
	reason := "unavailable"
	switch s := fault.Of(err); {
	case errors.Is(err, db.ErrOutcomeUnknown):
		return err // perhaps there is a link
	case errors.Is(err, revision.ErrMoved), s != nil && s.Kind() == fault.Changed:
		reason = "changed"
	case s != nil && s.Kind() == fault.Conflict:
		reason = "conflict"
	}
	ctx, cancel := context.WithTimeout(revision.Unbound(context.WithoutCancel(ctx)), outcomeWithin)
	defer cancel()
	_, lerr := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindOutcome, Who: v.Who, Detail: entry.Outcome{Of: r.Entry(), Result: "failed", Reason: reason}})
	if lerr != nil {
		return fmt.Errorf("%w; logging that it failed: %w", err, lerr)
	}
	return err
}

// outcomeWithin bounds how long an answer waits for the entry of a failed act.
const outcomeWithin = 5 * time.Second
