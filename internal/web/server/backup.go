package server

import (
	"context"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// backupRoutes make backups into a directory of the vault's own machine. Only its
// local administrator may: to whom else the directory would be, nobody can say.
func (s *Server) backupRoutes() {
	route(s, "POST", "/v1/backup", "backup-start", "Start a backup on the machine of the vault; local administrator only", s.startBackup)
	route(s, "GET", "/v1/backup", "backup-status", "Show the progress of the backup", s.backupStatus)
	route(s, "DELETE", "/v1/backup", "backup-cancel", "Cancel the running backup", s.cancelBackup)
}

func (s *Server) startBackup(ctx context.Context, c identity.Caller, in *sent[api.BackupRequest]) (*api.Backup, error) {
	if err := atTheMachine(ctx, c); err != nil {
		return nil, err
	}
	return s.vault.Backups.Start(ctx, c, in.Body)
}

func (s *Server) backupStatus(ctx context.Context, c identity.Caller, _ *none) (*api.Backup, error) {
	return s.vault.Backups.Status(), atTheMachine(ctx, c)
}

func (s *Server) cancelBackup(ctx context.Context, c identity.Caller, _ *none) (*api.Backup, error) {
	if err := atTheMachine(ctx, c); err != nil {
		return nil, err
	}
	s.vault.Backups.Stop()
	return s.vault.Backups.Status(), nil
}

// atTheMachine refuses whoever is not the local administrator.
func atTheMachine(ctx context.Context, c identity.Caller) error {
	if here, _ := ctx.Value(localKey{}).(bool); !here || c.Name != identity.LocalAdministrator {
		return &api.Error{Type: api.TypePolicyDenied, Title: "Local administrator only", Status: http.StatusForbidden,
			Detail: "only the local administrator of the vault's machine makes backups: run the command there, without a key"}
	}
	return nil
}
