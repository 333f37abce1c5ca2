package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// receiverRoutes serve who is told of alarms.
func (s *Server) receiverRoutes() {
	route(s, "GET", "/v1/brands/{brand}/receivers", "receiver-list", "List receivers of alarms", s.listReceivers)
	route(s, "POST", "/v1/brands/{brand}/receivers", "receiver-create", "Add a receiver of alarms: a signed webhook, whose secret is shown once, or an e-mail address", s.createReceiver)
	route(s, "DELETE", "/v1/brands/{brand}/receivers/{name}", "receiver-remove", "Delete a receiver", s.removeReceiver)
	route(s, "POST", "/v1/brands/{brand}/receivers/{name}/resume", "receiver-resume", "Retry delivery to a receiver now", s.resumeReceiver)
	route(s, "POST", "/v1/brands/{brand}/receivers/{name}/test", "receiver-test", "Send a receiver a message that is marked as a test, and return what it answered", s.testReceiver)
	route(s, "POST", "/v1/brands/{brand}/receivers/{name}/confirm", "receiver-confirm", "Say that you read the last test of a receiver, with the code in it", s.confirmReceiver)
}

func (s *Server) listReceivers(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Receiver, error) {
	return s.vault.Notify.List(ctx, c, in.Brand)
}

func (s *Server) createReceiver(ctx context.Context, c identity.Caller, in *sentTo[api.ReceiverRequest]) (*api.Receiver, error) {
	return s.vault.Notify.Add(ctx, c, in.Brand, in.Body)
}

func (s *Server) removeReceiver(ctx context.Context, c identity.Caller, in *Named) (*none, error) {
	return &none{}, s.vault.Notify.Remove(ctx, c, in.Brand, in.Name)
}

func (s *Server) resumeReceiver(ctx context.Context, c identity.Caller, in *Named) (*none, error) {
	return &none{}, s.vault.Notify.Resume(ctx, c, in.Brand, in.Name)
}

func (s *Server) testReceiver(ctx context.Context, c identity.Caller, in *Named) (*api.Receiver, error) {
	return s.vault.Notify.Test(ctx, c, in.Brand, in.Name)
}

type confirmation struct {
	Named
	Body api.ReceiverConfirmation
}

func (s *Server) confirmReceiver(ctx context.Context, c identity.Caller, in *confirmation) (*api.Receiver, error) {
	return s.vault.Notify.Confirm(ctx, c, in.Brand, in.Name, in.Body.Code)
}
