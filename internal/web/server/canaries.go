package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// canaryRoutes serve canaries, to those who may know which they are.
func (s *Server) canaryRoutes() {
	route(s, "POST", "/v1/brands/{brand}/canaries", "canary-place", "Place canaries: decoy customers", s.placeCanaries, once)
	route(s, "GET", "/v1/brands/{brand}/canaries", "canary-list", "List canaries", s.listCanaries)
	route(s, "POST", "/v1/brands/{brand}/canaries/retire", "canary-retire", "Erase the canaries", s.retireCanaries, once)
	route(s, "GET", "/v1/brands/{brand}/canary-mail", "canary-mail-list", "List mail to canaries and how their addresses leaked, newest first", s.listCanaryMail)
	route(s, "POST", "/v1/brands/{brand}/canary-mail", "canary-mail", "Report mail for the domains of canaries; every report gets the same answer", s.receiveCanaryMail, accepted)
}

func (s *Server) placeCanaries(ctx context.Context, c identity.Caller, in *sentTo[api.CanaryRequest]) (*api.CanariesPlaced, error) {
	return s.vault.Canaries.Place(ctx, c, in.Brand, in.Body)
}

func (s *Server) listCanaries(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Canary, error) {
	return s.vault.Canaries.List(ctx, c, in.Brand)
}

func (s *Server) retireCanaries(ctx context.Context, c identity.Caller, in *BrandPath) (*api.CanariesRetired, error) {
	return s.vault.Canaries.Retire(ctx, c, in.Brand)
}

func (s *Server) listCanaryMail(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.CanaryMail, error) {
	return s.vault.Mails.List(ctx, c, in.Brand)
}

func (s *Server) receiveCanaryMail(ctx context.Context, c identity.Caller, in *sentTo[api.CanaryMailRequest]) (*api.CanaryMailAccepted, error) {
	return s.vault.Mails.Receive(ctx, c, in.Brand, in.Body)
}
