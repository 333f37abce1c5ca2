package client

import (
	"context"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
)

// Changes lists the changes that the caller asked for or may approve, newest first.
func (c *Client) Changes(ctx context.Context) ([]api.Change, error) {
	return list[api.Change](ctx, c, Path("changes"))
}

// Change returns one change: what it does, who asked, and what it waits for.
func (c *Client) Change(ctx context.Context, id string) (*api.Change, error) {
	return ask[api.Change](ctx, c, http.MethodGet, Path("changes", id), nil)
}

// ApproveChange approves a change as a second person.
func (c *Client) ApproveChange(ctx context.Context, id string) (*api.Change, error) {
	return ask[api.Change](ctx, c, http.MethodPost, Path("changes", id, "approve"), nil)
}

// RefuseChange refuses a change as a second person.
func (c *Client) RefuseChange(ctx context.Context, id string) (*api.Change, error) {
	return ask[api.Change](ctx, c, http.MethodPost, Path("changes", id, "refuse"), nil)
}

// WithdrawChange takes back a change that the caller asked for.
func (c *Client) WithdrawChange(ctx context.Context, id string) (*api.Change, error) {
	return ask[api.Change](ctx, c, http.MethodPost, Path("changes", id, "withdraw"), nil)
}
