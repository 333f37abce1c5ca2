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

// BreakGlass makes a change of the caller's take effect by one hand, after a delay.
func (c *Client) BreakGlass(ctx context.Context, id, reason string) (*api.Change, error) {
	return ask[api.Change](ctx, c, http.MethodPost, Path("changes", id, "break-glass"), api.BreakGlassRequest{Reason: reason})
}

// AcknowledgeChange acknowledges, as another person, that glass was broken.
func (c *Client) AcknowledgeChange(ctx context.Context, id string) (*api.Change, error) {
	return ask[api.Change](ctx, c, http.MethodPost, Path("changes", id, "acknowledge"), nil)
}

// Separation says whether acts of two people still take effect by one hand.
func (c *Client) Separation(ctx context.Context) (*api.Separation, error) {
	return ask[api.Separation](ctx, c, http.MethodGet, Path("separation"), nil)
}
