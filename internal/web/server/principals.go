package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// principalRoutes serve who may do what: principals and their roles.
func (s *Server) principalRoutes() {
	route(s, "POST", "/v1/principals", "principal-create", "Register a principal with its roles", s.createPrincipal, once)
	route(s, "POST", "/v1/invitations", "principal-invite", "Invite people to make their own keys; takes a second person, who is shown the codes that no mail brings", s.invite, onceSecret)
	route(s, "POST", redeemPath, "invitation-redeem", "Make the key of an invitation with its code; needs no other key", s.redeem)
	route(s, "POST", "/v1/credentials/redeem", "credential-redeem", "Make a service's key with its code, as the service's owner", s.redeem, onceSecret)
	route(s, "GET", "/v1/principals", "principal-list", "List up to 1,000 principals after a number", s.listPrincipals)
	route(s, "PUT", "/v1/principals/{name}/profile", "principal-describe", "Say who a principal is to customers: display name, team, place", s.describePrincipal, once)
	route(s, "PUT", "/v1/principals/{name}/roles/{brand}", "role-set", "Grant a role at a brand, or at the group", s.setRole, once)
	route(s, "DELETE", "/v1/principals/{name}/roles/{brand}", "role-remove", "Remove a role at a brand", s.removeRole, once)
}

func (s *Server) createPrincipal(ctx context.Context, c identity.Caller, in *sent[api.Principal]) (*api.Principal, error) {
	return s.vault.Admin.CreatePrincipal(ctx, c, in.Body)
}

func (s *Server) describePrincipal(ctx context.Context, c identity.Caller, in *profiled) (*api.Principal, error) {
	return s.vault.Admin.Describe(ctx, c, in.Name, in.Body)
}

// profiled is a profile of a principal.
type profiled struct {
	NamePath
	Body api.Profile
}

func (s *Server) invite(ctx context.Context, c identity.Caller, in *sent[api.InviteRequest]) (*api.Invitations, error) {
	return s.vault.Admin.Invite(ctx, c, in.Body)
}

// redeemPath is open to anybody: the code is the proof.
const redeemPath = "/v1/invitations/redeem"

func (s *Server) redeem(ctx context.Context, c identity.Caller, in *sent[api.RedeemRequest]) (*api.Credential, error) {
	return s.vault.Admin.Redeem(ctx, c, in.Body)
}

func (s *Server) listPrincipals(ctx context.Context, c identity.Caller, in *principalsQuery) ([]api.Principal, error) {
	return s.vault.Admin.Principals(ctx, c, in.After)
}

func (s *Server) setRole(ctx context.Context, c identity.Caller, in *roleRequest) (*api.Principal, error) {
	return s.vault.Admin.SetRole(ctx, c, in.Name, in.Brand, in.Body.Role)
}

func (s *Server) removeRole(ctx context.Context, c identity.Caller, in *RolePath) (*api.Principal, error) {
	return s.vault.Admin.SetRole(ctx, c, in.Name, in.Brand, "")
}

type principalsQuery struct {
	After uint64 `query:"after"`
}

// RolePath is part of requests.
type RolePath struct {
	NamePath
	BrandPath
}

type roleRequest struct {
	RolePath
	Body api.RoleRequest
}
