package client

import (
	"context"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
)

// Keys lists the versions of a brand's keys, without the keys.
func (c *Client) Keys(ctx context.Context, brand string) ([]api.Key, error) {
	return list[api.Key](ctx, c, at(brand, "keys"))
}

// Rotations lists rotations and their progress.
func (c *Client) Rotations(ctx context.Context, brand string) ([]api.Rotation, error) {
	return list[api.Rotation](ctx, c, at(brand, "rotations"))
}

// RotateKey starts or resumes a rotation: kind is kek, index, token or incident.
func (c *Client) RotateKey(ctx context.Context, brand, kind string) (*api.Rotation, error) {
	return ask[api.Rotation](ctx, c, http.MethodPost, at(brand, "keys", kind, "rotate"), nil)
}

// RotateRoot replaces the root key of the server. Older copies of the database open no
// more.
func (c *Client) RotateRoot(ctx context.Context) (*api.RootRotated, error) {
	return ask[api.RootRotated](ctx, c, http.MethodPost, Path("root", "rotate"), nil)
}
