package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// containRoutes stop people, credentials, brands and files, and let them go on again.
func (s *Server) containRoutes() {
	route(s, "POST", "/v1/brands/{brand}/containments", "contain", "Contain a lineage, a principal, a role, a brand, or its exports; with dry_run show the impact", s.contain, once)
	route(s, "GET", "/v1/brands/{brand}/containments", "containment-list", "List containments, newest first", s.listContainments)
	route(s, "GET", "/v1/brands/{brand}/containments/{id}", "containment-show", "Show a containment and its impact", s.showContainment)
	route(s, "POST", "/v1/brands/{brand}/containments/{id}/undo", "containment-undo", "Undo one's own containment within 30 minutes; for any other request it, and a second person confirms", s.undoContainment, once)
	route(s, "POST", "/v1/brands/{brand}/containments/{id}/undo/confirm", "containment-confirm", "Confirm a requested undo", s.confirmUndo, once)
}

func (s *Server) contain(ctx context.Context, c identity.Caller, in *sentTo[api.ContainRequest]) (*api.Containment, error) {
	return s.vault.Contain.Contain(ctx, c, in.Brand, in.Body)
}

func (s *Server) listContainments(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Containment, error) {
	return s.vault.Contain.Containments(ctx, c, in.Brand)
}

func (s *Server) showContainment(ctx context.Context, c identity.Caller, in *ContainmentPath) (*api.Containment, error) {
	return s.vault.Contain.Containment(ctx, c, in.Brand, in.ID)
}

func (s *Server) undoContainment(ctx context.Context, c identity.Caller, in *ContainmentPath) (*api.Containment, error) {
	return s.vault.Contain.UndoContainment(ctx, c, in.Brand, in.ID, false)
}

func (s *Server) confirmUndo(ctx context.Context, c identity.Caller, in *ContainmentPath) (*api.Containment, error) {
	return s.vault.Contain.UndoContainment(ctx, c, in.Brand, in.ID, true)
}

// ContainmentPath is part of requests.
type ContainmentPath struct {
	BrandPath
	ID int64 `path:"id"`
}
