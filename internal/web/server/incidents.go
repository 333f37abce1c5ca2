package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// incidentRoutes answer whose data was concerned.
func (s *Server) incidentRoutes() {
	route(s, "POST", "/v1/brands/{brand}/scope", "scope", "Count the distinct customers that the matching entries disclosed, changed or erased", s.scope)
}

func (s *Server) scope(ctx context.Context, c identity.Caller, in *sentTo[api.ScopeRequest]) (*api.Scope, error) {
	return s.vault.Scope.Scope(ctx, c, in.Brand, in.Body)
}
