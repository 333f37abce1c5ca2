package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/watch/exposure"
)

// exposureRoutes serve what could be stolen now.
func (s *Server) exposureRoutes() {
	route(s, "GET", "/v1/brands/{brand}/exposure", "exposure", "What each holder of a budget could take if stolen now, and what it uses; your own, if you may not audit", s.exposureOf)
	route(s, "GET", "/v1/exposure", "exposure-all", "The same of all brands where you may audit", s.exposureOfAll)
}

func (s *Server) exposureOf(ctx context.Context, c identity.Caller, in *exposureRequest) (*api.Exposure, error) {
	return s.vault.Exposure.Brand(ctx, c, in.Brand, in.ask())
}

func (s *Server) exposureOfAll(ctx context.Context, c identity.Caller, in *ExposureQuery) (*api.Exposure, error) {
	return s.vault.Exposure.All(ctx, c, in.ask())
}

type exposureRequest struct {
	BrandPath
	ExposureQuery
}

// ExposureQuery is part of requests.
type ExposureQuery struct {
	Principal string `query:"principal" maxLength:"64" doc:"Only this one, its lineages, its role and the brand."`
	Kind      string `query:"kind" enum:"lineage,principal,role,brand" doc:"Only holders of this kind."`
	Class     string `query:"class" enum:"clear,masked,search,export,write,erase,message,claim" doc:"Sort by this class, and leave out who has nothing of it."`
	Top       int    `query:"top" minimum:"0" doc:"No more rows than this; 0: all."`
}

func (q *ExposureQuery) ask() exposure.Ask {
	return exposure.Ask{Principal: q.Principal, Kind: q.Kind, Class: q.Class, Top: q.Top}
}
