package export

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
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
	out := &api.Credential{Lineage: c.Lineage, Label: x.ID, Export: x.ID, Created: r.At(), Expires: x.Expires}
	err = d.DB.Tx(ctx, func(q db.Queryer) error {
		n, key, err := d.Door.Identity.CreateLink(ctx, q, c.Principal, c.Credential, x.ID, x.Expires, r.At())
		out.ID, out.Key = n, key.Reveal()
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
