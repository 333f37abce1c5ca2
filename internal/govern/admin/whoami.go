package admin

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// Whoami returns what the vault knows of the caller: only what is the caller's own.
func (d *Desk) Whoami(ctx context.Context, c identity.Caller) (*api.Whoami, error) {
	p, err := d.Door.Identity.Get(ctx, c.Principal)
	if err != nil {
		return nil, err
	}
	out := &api.Whoami{Principal: p.ID, Name: p.Name, Kind: p.Kind, Local: p.Name == identity.LocalAdministrator,
		Credential: c.Credential, Lineage: c.Lineage}
	if out.Roles, err = d.roles(ctx, p.ID); err != nil {
		return nil, err
	}
	list, err := d.Door.Identity.Credentials(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	for _, cr := range list {
		if cr.ID == c.Credential {
			out.Label, out.Expires = cr.Label, cr.Expires
		}
	}
	return out, nil
}
