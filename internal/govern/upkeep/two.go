package upkeep

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// rotated is a key that is rotated.
type rotated struct {
	Brand record.BrandID `json:"brand"`
	Kind  string         `json:"kind"`
}

// Register registers that rotating a key by a remote call takes a second person: backups
// from before open no more. On the vault's own machine its owner rotates.
func (d *Desk) Register(c *change.Desk) {
	two := func(_ context.Context, o change.Order, _ rotated) (change.Need, error) {
		return change.Need{Two: o.Who.Name != identity.LocalAdministrator}, nil
	}
	text := func(_ context.Context, _ change.Order, p rotated) (change.Text, error) {
		return change.Text{Title: "Rotate the key " + p.Kind + ", by a remote call: the old one is destroyed, and copies that need it open no more"}, nil
	}
	d.rotate = change.Register(c, change.Act[rotated, *api.Rotation]{
		Name: "key-rotate", Action: access.ActAdminister, Need: two, Text: text,
		Apply: func(ctx context.Context, o change.Order, p rotated) (*api.Rotation, error) {
			return d.beginRotation(ctx, o.Who, p.Kind)
		},
	})
	d.rotateRoot = change.Register(c, change.Act[rotated, *api.RootRotated]{
		Name: "root-rotate", Action: access.ActAdminister, Need: two, Text: text,
		Apply: func(ctx context.Context, o change.Order, p rotated) (*api.RootRotated, error) {
			return d.newRoot(ctx, o.Who)
		},
	})
	d.registerLoss(c)
}
