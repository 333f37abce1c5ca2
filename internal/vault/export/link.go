package export

import (
	"context"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
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
		// The link is of the group's log, so that the brand's entry is not of the same transaction.
		return nil, d.Ledger.Failed(ctx, v.Who, r, err)
	}
	return out, nil
}
