package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// keyRoutes serve the keys of brands and the root key, without any key in it.
func (s *Server) keyRoutes() {
	route(s, "GET", "/v1/brands/{brand}/keys", "key-list", "List the versions of a brand's keys", s.listKeys)
	route(s, "GET", "/v1/brands/{brand}/rotations", "rotation-list", "List rotations and their progress", s.listRotations)
	route(s, "POST", "/v1/brands/{brand}/keys/{kind}/rotate", "key-rotate", "Rotate a key in the background, or resume a rotation", s.rotateKey)
	route(s, "POST", "/v1/root/rotate", "root-rotate", "Replace the root key of this server; older copies of the database can no longer be opened", s.rotateRoot)
}

func (s *Server) listKeys(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Key, error) {
	return s.vault.Upkeep.Keys(ctx, c, in.Brand)
}

func (s *Server) listRotations(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Rotation, error) {
	return s.vault.Upkeep.Rotations(ctx, c, in.Brand)
}

func (s *Server) rotateKey(ctx context.Context, c identity.Caller, in *keyPath) (*api.Rotation, error) {
	return s.vault.Upkeep.Rotate(ctx, c, in.Brand, in.Kind)
}

func (s *Server) rotateRoot(ctx context.Context, c identity.Caller, _ *none) (*api.RootRotated, error) {
	return s.vault.Upkeep.RotateRoot(ctx, c)
}

type keyPath struct {
	BrandPath
	Kind string `path:"kind" enum:"kek,index,token,incident"`
}
