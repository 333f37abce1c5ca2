package client

import (
	"context"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
)

// CreatePrincipal registers a principal with its roles.
func (c *Client) CreatePrincipal(ctx context.Context, req api.Principal) (*api.Principal, error) {
	return ask[api.Principal](ctx, c, http.MethodPost, Path("principals"), req)
}

// Principals lists up to 1,000 principals with a number above after.
func (c *Client) Principals(ctx context.Context, after uint64) ([]api.Principal, error) {
	return list[api.Principal](ctx, c, query(Path("principals"), "after", some(after)))
}

// Describe says who a principal is to customers: display name, team and place. An empty text
// takes one away.
func (c *Client) Describe(ctx context.Context, name string, req api.Profile) (*api.Principal, error) {
	return ask[api.Principal](ctx, c, http.MethodPut, Path("principals", name, "profile"), req)
}

// SetRole gives a principal a role at a brand, or at the group.
func (c *Client) SetRole(ctx context.Context, name, brand, role string) (*api.Principal, error) {
	return ask[api.Principal](ctx, c, http.MethodPut, Path("principals", name, "roles", brand), api.RoleRequest{Role: role})
}

// RemoveRole takes a principal's role at a brand.
func (c *Client) RemoveRole(ctx context.Context, name, brand string) (*api.Principal, error) {
	return ask[api.Principal](ctx, c, http.MethodDelete, Path("principals", name, "roles", brand), nil)
}

// CreateCredential makes a credential of a principal. Its key is shown once.
func (c *Client) CreateCredential(ctx context.Context, name string, req api.CredentialRequest) (*api.Credential, error) {
	return ask[api.Credential](ctx, c, http.MethodPost, Path("principals", name, "credentials"), req)
}

// Connect makes a credential through the caller's own, for an application that acts for
// the caller. Its key is shown once.
func (c *Client) Connect(ctx context.Context, req api.CredentialRequest) (*api.Credential, error) {
	return ask[api.Credential](ctx, c, http.MethodPost, Path("credentials"), req)
}

// RenewKey replaces a credential's key; credentials made through it stay.
func (c *Client) RenewKey(ctx context.Context, credential uint64) (*api.Credential, error) {
	return ask[api.Credential](ctx, c, http.MethodPost, Path("credentials", number(credential), "renew"), nil)
}

// RevokeCredential revokes one credential and all made through it: the caller's own, one
// made through that, or any for an administrator.
func (c *Client) RevokeCredential(ctx context.Context, credential uint64) (*api.Revoked, error) {
	return ask[api.Revoked](ctx, c, http.MethodDelete, Path("credentials", number(credential)), nil)
}

// RevokeLineage revokes a credential and all made through it.
func (c *Client) RevokeLineage(ctx context.Context, lineage uint64) (*api.Revoked, error) {
	return ask[api.Revoked](ctx, c, http.MethodDelete, Path("lineages", number(lineage)), nil)
}

// Invite invites people to make their own keys. It takes a second person.
func (c *Client) Invite(ctx context.Context, req api.InviteRequest) (*api.Invitations, error) {
	return ask[api.Invitations](ctx, c, http.MethodPost, Path("invitations"), req)
}

// Redeem makes the key of an invitation. The client needs no key.
func (c *Client) Redeem(ctx context.Context, code string) (*api.Credential, error) {
	return ask[api.Credential](ctx, c, http.MethodPost, Path("invitations", "redeem"), api.RedeemRequest{Code: code})
}

// RedeemOwned makes a service's key, as the service's owner.
func (c *Client) RedeemOwned(ctx context.Context, code string) (*api.Credential, error) {
	return ask[api.Credential](ctx, c, http.MethodPost, Path("credentials", "redeem"), api.RedeemRequest{Code: code})
}
