package server

import (
	"context"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// canaryRoutes serve decoy customers, to those who may know which they are.
func (s *Server) canaryRoutes() {
	v := s.vault
	route(s, "POST", "/v1/brands/{brand}/canaries", "canary-place", "Place canaries: decoy customers", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.CanaryRequest
	}) (*api.CanariesPlaced, error) {
		return v.Canaries.Place(ctx, c, in.Brand, in.Body)
	})
	route(s, "GET", "/v1/brands/{brand}/canaries", "canary-list", "List canaries", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Canary, error) {
		return v.Canaries.List(ctx, c, in.Brand)
	})
	route(s, "POST", "/v1/brands/{brand}/canaries/retire", "canary-retire", "Erase the canaries", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) (*api.CanariesRetired, error) {
		return v.Canaries.Retire(ctx, c, in.Brand)
	})
	route(s, "GET", "/v1/brands/{brand}/canary-mail", "canary-mail-list", "List mail to canaries and how their addresses leaked, newest first", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.CanaryMail, error) {
		return v.Mails.List(ctx, c, in.Brand)
	})
	routeAs(s, http.StatusAccepted, "POST", "/v1/brands/{brand}/canary-mail", "canary-mail", "Report mail for the domains of canaries; every report gets the same answer", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.CanaryMailRequest
	}) (*api.CanaryMailAccepted, error) {
		return v.Mails.Receive(ctx, c, in.Brand, in.Body)
	})
}
