package client

import (
	"context"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
)

// Scope says whose data the entries that match concern: at a brand, or from the group at
// several.
func (c *Client) Scope(ctx context.Context, brand string, req api.ScopeRequest) (*api.Scope, error) {
	return ask[api.Scope](ctx, c, http.MethodPost, at(brand, "scope"), req)
}
