package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// ContainmentPath is part of requests.
type ContainmentPath struct {
	BrandPath
	ID int64 `path:"id"`
}

// containRoutes stop people, credentials, brands and files, and let them go on again.
func (s *Server) containRoutes() {
	const all = "/v1/brands/{brand}/containments"
	v := s.vault
	s.writes("POST", all)
	s.writes("POST", all+"/{id}/undo")
	s.writes("POST", all+"/{id}/undo/confirm")
	route(s, "POST", all, "contain", "Contain a credential's lineage, a principal, a role, a brand, or its exports; with dry_run show the impact", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.ContainRequest
	}) (*api.Containment, error) {
		return v.Admin.Contain(ctx, c, in.Brand, in.Body)
	})
	route(s, "GET", all, "containment-list", "List containments, newest first", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Containment, error) {
		return v.Admin.Containments(ctx, c, in.Brand)
	})
	route(s, "GET", all+"/{id}", "containment-show", "Show a containment and its impact", maxBody, func(ctx context.Context, c identity.Caller, in *ContainmentPath) (*api.Containment, error) {
		return v.Admin.Containment(ctx, c, in.Brand, in.ID)
	})
	route(s, "POST", all+"/{id}/undo", "containment-undo", "Request an undo; a second person confirms", maxBody, func(ctx context.Context, c identity.Caller, in *ContainmentPath) (*api.Containment, error) {
		return v.Admin.UndoContainment(ctx, c, in.Brand, in.ID, false)
	})
	route(s, "POST", all+"/{id}/undo/confirm", "containment-confirm", "Confirm a requested undo", maxBody, func(ctx context.Context, c identity.Caller, in *ContainmentPath) (*api.Containment, error) {
		return v.Admin.UndoContainment(ctx, c, in.Brand, in.ID, true)
	})
}
