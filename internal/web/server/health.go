package server

import (
	"context"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// healthRoutes serve whether the vault is well.
func (s *Server) healthRoutes() {
	route(s, "GET", "/v1/health", "health", "Whether the vault can serve", s.health)
	route(s, "POST", "/v1/check", "check", "Check the next part of the database; shows no value", s.check)
	route(s, "POST", "/v1/mend", "mend", "Repair what the vault can repair by itself, or with dry_run say what that is; shows no value", s.mend)
}

func (s *Server) health(ctx context.Context, _ identity.Caller, _ *none) (*api.Health, error) {
	if _, err := s.vault.Ledger.Size(ctx, record.Group); err != nil {
		return nil, &api.Error{Type: api.TypeLogUnavailable, Title: titles[api.TypeLogUnavailable], Status: http.StatusServiceUnavailable}
	}
	return &api.Health{Status: "ok", Late: s.vault.Followers.Late()}, nil
}

func (s *Server) check(ctx context.Context, c identity.Caller, in *sent[api.CheckPlace]) (*api.Checked, error) {
	return s.vault.Upkeep.Check(ctx, c, in.Body)
}

func (s *Server) mend(ctx context.Context, c identity.Caller, in *sent[api.MendRequest]) (*api.Mended, error) {
	return s.vault.Upkeep.Mend(ctx, c, in.Body)
}
