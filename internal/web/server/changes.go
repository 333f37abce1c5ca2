package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// changeRoutes serve the acts that need a second person.
func (s *Server) changeRoutes() {
	route(s, "GET", "/v1/changes", "change-list", "List the changes that you asked for or may approve, newest first", s.listChanges)
	route(s, "GET", "/v1/changes/{id}", "change-show", "Show a change: what it does, who asked, and what it waits for", s.showChange)
	route(s, "GET", "/v1/separation", "separation", "Whether acts of two people still take effect by one hand, and whose receivers are notified", s.separation)
	route(s, "POST", "/v1/changes/{id}/approve", "change-approve", "Approve a change as a second person; repeat it where it waits for a receiver", s.approveChange, onceSecret)
	route(s, "POST", "/v1/changes/{id}/refuse", "change-refuse", "Refuse a change as a second person", s.refuseChange, once)
	route(s, "POST", "/v1/changes/{id}/withdraw", "change-withdraw", "Withdraw a change that you asked for", s.withdrawChange, once)
	route(s, "POST", "/v1/changes/{id}/break-glass", "change-break-glass", "Make a change of yours take effect by one hand, after a delay and told to everybody; repeat it after the delay", s.breakGlass, onceSecret)
	route(s, "POST", "/v1/changes/{id}/acknowledge", "change-acknowledge", "Acknowledge, as another person, that glass was broken", s.acknowledgeChange, once)
}

func (s *Server) listChanges(ctx context.Context, c identity.Caller, _ *none) ([]api.Change, error) {
	return s.vault.Changes.List(ctx, c)
}

func (s *Server) separation(ctx context.Context, c identity.Caller, _ *none) (*api.Separation, error) {
	return s.vault.Changes.Standing(ctx, c)
}

func (s *Server) showChange(ctx context.Context, c identity.Caller, in *ChangePath) (*api.Change, error) {
	return s.vault.Changes.Show(ctx, c, in.ID)
}

func (s *Server) approveChange(ctx context.Context, c identity.Caller, in *ChangePath) (*api.Change, error) {
	return s.vault.Changes.Approve(ctx, c, in.ID)
}

func (s *Server) refuseChange(ctx context.Context, c identity.Caller, in *ChangePath) (*api.Change, error) {
	return s.vault.Changes.Refuse(ctx, c, in.ID)
}

func (s *Server) withdrawChange(ctx context.Context, c identity.Caller, in *ChangePath) (*api.Change, error) {
	return s.vault.Changes.Withdraw(ctx, c, in.ID)
}

func (s *Server) breakGlass(ctx context.Context, c identity.Caller, in *glassRequest) (*api.Change, error) {
	return s.vault.Changes.BreakGlass(ctx, c, in.ID, in.Body)
}

func (s *Server) acknowledgeChange(ctx context.Context, c identity.Caller, in *ChangePath) (*api.Change, error) {
	return s.vault.Changes.Acknowledge(ctx, c, in.ID)
}

type glassRequest struct {
	ChangePath
	Body api.BreakGlassRequest
}

// ChangePath is part of requests.
type ChangePath struct {
	ID string `path:"id" maxLength:"64"`
}
