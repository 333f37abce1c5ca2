package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// principalRoutes serve who may do what: principals and their roles.
func (s *Server) principalRoutes() {
	route(s, "POST", "/v1/principals", "principal-create", "Register a principal with its roles", s.createPrincipal, once)
	route(s, "GET", "/v1/principals", "principal-list", "List up to 1,000 principals after a number", s.listPrincipals)
	route(s, "PUT", "/v1/principals/{name}/roles/{brand}", "role-set", "Grant a role at a brand, or at the group", s.setRole, once)
	route(s, "DELETE", "/v1/principals/{name}/roles/{brand}", "role-remove", "Remove a role at a brand", s.removeRole, once)
}

func (s *Server) createPrincipal(ctx context.Context, c identity.Caller, in *sent[api.Principal]) (*api.Principal, error) {
	return s.vault.Admin.CreatePrincipal(ctx, c, in.Body)
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
