package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// incidentRoutes keep incidents, and answer whose data was concerned.
func (s *Server) incidentRoutes() {
	route(s, "POST", "/v1/brands/{brand}/scope", "scope", "Count the distinct customers that the matching entries disclosed, changed or erased", s.scope)
	route(s, "POST", "/v1/brands/{brand}/incidents", "incident-open", "Open an incident", s.openIncident, once)
	route(s, "GET", "/v1/brands/{brand}/incidents", "incident-list", "List incidents, newest first, with those of the group that name the brand", s.listIncidents)
	route(s, "GET", "/v1/brands/{brand}/incidents/{incident}", "incident-show", "Show an incident: facts, versions of its scope, timeline", s.showIncident)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/facts", "incident-fact", "Record a fact, or correct one; the old value stays", s.stateFact, once)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/scope", "incident-scope", "Make the next version of the scope", s.scopeIncident, once)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/close", "incident-close", "Close an incident and freeze its report", s.closeIncident, once)
}

func (s *Server) scope(ctx context.Context, c identity.Caller, in *sentTo[api.ScopeRequest]) (*api.Scope, error) {
	return s.vault.Scope.Scope(ctx, c, in.Brand, in.Body)
}

func (s *Server) openIncident(ctx context.Context, c identity.Caller, in *sentTo[api.IncidentRequest]) (*api.Incident, error) {
	return s.vault.Incident.Open(ctx, c, in.Brand, in.Body)
}

func (s *Server) listIncidents(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Incident, error) {
	return s.vault.Incident.List(ctx, c, in.Brand)
}

func (s *Server) showIncident(ctx context.Context, c identity.Caller, in *IncidentPath) (*api.Incident, error) {
	return s.vault.Incident.Incident(ctx, c, in.Brand, in.Incident)
}

func (s *Server) stateFact(ctx context.Context, c identity.Caller, in *toIncident[api.FactRequest]) (*api.Incident, error) {
	return s.vault.Incident.Fact(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) scopeIncident(ctx context.Context, c identity.Caller, in *toIncident[api.ScopeRequest]) (*api.IncidentScope, error) {
	return s.vault.Incident.Scope(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) closeIncident(ctx context.Context, c identity.Caller, in *toIncident[api.CloseIncidentRequest]) (*api.Incident, error) {
	return s.vault.Incident.Close(ctx, c, in.Brand, in.Incident, in.Body)
}

// IncidentPath is part of requests.
type IncidentPath struct {
	BrandPath
	Incident string `path:"incident" maxLength:"20" doc:"An incident's number; group-3 for an incident of the group."`
}

// toIncident is a request with a body to an incident.
type toIncident[B any] struct {
	IncidentPath
	Body B
}
