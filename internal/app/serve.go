package app

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/cloakroom/cloakroom/internal/govern/backup"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/web/console"
	"github.com/cloakroom/cloakroom/internal/web/server"
)

// Desks returns what a server of the vault calls. Each call returns a backup desk of
// its own: one server makes one backup at a time.
func (v *Vault) Desks() server.Desks {
	return server.Desks{
		Identity:  v.Identity,
		Revisions: v.Revisions,
		Once:      v.Once,
		Ledger:    v.Ledger,
		Disclose:  v.Disclose,
		Audit:     v.Audit,
		Intake:    v.Intake,
		Approved:  v.Approved,
		Exports:   v.Exports,
		Exposure:  v.Exposure,
		Canaries:  v.Canaries,
		Mails:     v.Mails,
		Alarms:    v.Alarms,
		Notify:    v.Notify,
		Admin:     v.Admin,
		Erase:     v.Erase,
		Upkeep:    v.Upkeep,
		Contain:   v.Contain,
		Scope:     v.Scope,
		Incident:  v.Incident,
		Claims:    v.Claims,
		Witness:   v.Witness,
		Messages:  v.Messages,
		Campaigns: v.Campaigns,
		Changes:   v.Changes,
		SignIn:    v.SignIn,
		Backups:   backup.NewDesk(v.BackupSource()),
		Followers: v.Followers,
		LogName:   v.LogName,
	}
}

// NewServer returns a server of the vault. It logs requests without their contents.
func NewServer(v *Vault, log *slog.Logger) *server.Server { return server.New(v.Desks(), log) }

// NewConsole returns the console over a server of the vault: its pages ask that server's
// API, each with the credential of the person who asked for the page.
func NewConsole(s *server.Server, log *slog.Logger) (*console.Console, error) {
	return console.New(console.NewKeys(s.Inside()), log)
}

// BackupSource returns what a backup of the vault is made of.
func (v *Vault) BackupSource() *backup.Source {
	return &backup.Source{DB: v.DB, Ring: v.Admin.Ring, Ledger: v.Ledger, Admin: v.Admin, RootKey: v.RootKey}
}

// Restore restores a vault from backups into a place that holds none; see
// backup.Restore. progress may be nil.
func Restore(ctx context.Context, o backup.Options, progress func(backup.Progress)) (*backup.Report, error) {
	return backup.Restore(ctx, o, prepareRestore, progress)
}

func prepareRestore(ctx context.Context, p backup.Place) (backup.Target, error) {
	o := Options{Database: p.Database, RootKey: p.RootKey, DB: p.DB}
	v, err := Prepare(ctx, p.Dir, o)
	if err != nil {
		return nil, err
	}
	return &target{v, o}, nil
}

// target is a vault that is being restored.
type target struct {
	*Vault
	o Options
}

// Database implements backup.Target.
func (t *target) Database() *db.DB { return t.DB }

// Resume implements backup.Target.
func (t *target) Resume(ctx context.Context, origin string) (*backup.Restored, error) {
	t.o.Origin, t.o.Begin, t.restoring = origin, MustExist, true
	// The directory may have belonged to the vault whose backup this is, and have seen more.
	seen, err := ledger.ReadSeen(filepath.Join(t.Dir, SeenDir))
	if err != nil {
		return nil, err
	}
	kept, err := seen.Known()
	if err == nil {
		_, err = seen.RetireAll()
	}
	if err != nil {
		return nil, err
	}
	if err := t.Start(ctx, t.o); err != nil {
		return nil, err
	}
	return &backup.Restored{Ledger: t.Ledger, Identity: t.Identity, Admin: t.Admin, Erase: t.Erase, Seal: t.Upkeep.Seal, Canaries: t.Upkeep.Canaries, Kept: kept, Reseal: t.Upkeep.ResealRows}, nil
}
