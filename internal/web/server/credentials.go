package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// credentialRoutes serve the keys of principals.
func (s *Server) credentialRoutes() {
	route(s, "POST", "/v1/principals/{name}/credentials", "credential-create", "Create a credential; its key is shown once", s.createCredential, onceSecret)
	route(s, "POST", "/v1/credentials", "credential-connect", "Create a credential through your own, for a session or a connected application", s.connectApp, onceSecret)
	route(s, "POST", "/v1/credentials/{credential}/renew", "credential-renew", "Replace a credential's key; credentials made through it stay valid", s.renewKey, onceSecret)
	route(s, "DELETE", "/v1/credentials/{credential}", "credential-revoke", "Revoke a credential, your own or one made through it, and all made through that; administrators revoke any", s.revokeCredential, once)
	route(s, "DELETE", "/v1/lineages/{lineage}", "lineage-revoke", "Revoke a lineage: a credential and all credentials made through it", s.revokeLineage, once)
}

func (s *Server) createCredential(ctx context.Context, c identity.Caller, in *credentialRequest) (*api.Credential, error) {
	return s.vault.Admin.CreateCredential(ctx, c, in.Name, in.Body)
}

func (s *Server) connectApp(ctx context.Context, c identity.Caller, in *sent[api.CredentialRequest]) (*api.Credential, error) {
	return s.vault.Admin.ConnectApp(ctx, c, in.Body)
}

func (s *Server) renewKey(ctx context.Context, c identity.Caller, in *credentialPath) (*api.Credential, error) {
	return s.vault.Admin.RenewKey(ctx, c, in.Credential)
}

func (s *Server) revokeCredential(ctx context.Context, c identity.Caller, in *credentialPath) (*api.Revoked, error) {
	n, err := s.vault.Admin.RevokeCredential(ctx, c, in.Credential)
	return &api.Revoked{Revoked: n}, err
}

func (s *Server) revokeLineage(ctx context.Context, c identity.Caller, in *lineagePath) (*api.Revoked, error) {
	n, err := s.vault.Admin.Revoke(ctx, c, in.Lineage)
	return &api.Revoked{Revoked: n}, err
}

type credentialRequest struct {
	NamePath
	Body api.CredentialRequest
}

type credentialPath struct {
	Credential uint64 `path:"credential"`
}

type lineagePath struct {
	Lineage uint64 `path:"lineage"`
}
