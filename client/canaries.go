package client

import (
	"context"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
)

// PlaceCanaries places canaries, or orders them for the next imports.
func (c *Client) PlaceCanaries(ctx context.Context, brand string, req api.CanaryRequest) (*api.CanariesPlaced, error) {
	return ask[api.CanariesPlaced](ctx, c, http.MethodPost, at(brand, "canaries"), req)
}

// Canaries lists the customers that are canaries.
func (c *Client) Canaries(ctx context.Context, brand string) ([]api.Canary, error) {
	return list[api.Canary](ctx, c, at(brand, "canaries"))
}

// RetireCanaries erases canaries, as many as fit into one request.
func (c *Client) RetireCanaries(ctx context.Context, brand string) (*api.CanariesRetired, error) {
	return ask[api.CanariesRetired](ctx, c, http.MethodPost, at(brand, "canaries", "retire"), nil)
}

// CanaryMail lists the mail that came to canaries, newest first.
func (c *Client) CanaryMail(ctx context.Context, brand string) ([]api.CanaryMail, error) {
	return list[api.CanaryMail](ctx, c, at(brand, "canary-mail"))
}

// ReportCanaryMail reports mail for the domains of canaries. Every report is answered
// alike.
func (c *Client) ReportCanaryMail(ctx context.Context, brand string, req api.CanaryMailRequest) (*api.CanaryMailAccepted, error) {
	return ask[api.CanaryMailAccepted](ctx, c, http.MethodPost, at(brand, "canary-mail"), req)
}
