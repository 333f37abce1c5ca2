package client

import (
	"context"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
)

// Contain stops a lineage, a principal, a role, a brand or its exports.
func (c *Client) Contain(ctx context.Context, brand string, req api.ContainRequest) (*api.Containment, error) {
	return ask[api.Containment](ctx, c, http.MethodPost, at(brand, "containments"), req)
}

// Containments lists containments, newest first.
func (c *Client) Containments(ctx context.Context, brand string) ([]api.Containment, error) {
	return list[api.Containment](ctx, c, at(brand, "containments"))
}

// Containment returns one containment with whom it stops.
func (c *Client) Containment(ctx context.Context, brand string, id int64) (*api.Containment, error) {
	return ask[api.Containment](ctx, c, http.MethodGet, at(brand, "containments", number(id)), nil)
}

// UndoContainment lifts a containment that the caller made within the last 30 minutes. For
// any other it asks, and a second person confirms.
func (c *Client) UndoContainment(ctx context.Context, brand string, id int64) (*api.Containment, error) {
	return ask[api.Containment](ctx, c, http.MethodPost, at(brand, "containments", number(id), "undo"), nil)
}

// ConfirmUndo lifts a containment that another person asked to lift.
func (c *Client) ConfirmUndo(ctx context.Context, brand string, id int64) (*api.Containment, error) {
	return ask[api.Containment](ctx, c, http.MethodPost, at(brand, "containments", number(id), "undo", "confirm"), nil)
}
