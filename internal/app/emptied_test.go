package app_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/vault/access"
)

// An emptied database is no reason to begin a vault: the directory remembers that there was
// one.
func TestAnEmptiedDatabaseIsNoNewVault(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			ctx, dir, o, emptied := t.Context(), t.TempDir(), app.Options{}, app.Options{}
			if engine == "postgres" {
				o.Database, emptied.Database = dbtest.VaultDSN(t), dbtest.DSN(t)
			}
			v, err := app.Open(ctx, dir, o)
			if err != nil {
				t.Fatal(err)
			}
			local, err := v.Identity.EnsureLocal(ctx, access.Administrator)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Admin.CreateBrand(ctx, local, api.Brand{Name: "gucci"}); err != nil {
				t.Fatal(err)
			}
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			if engine == "sqlite" {
				if err := os.WriteFile(filepath.Join(dir, app.DatabaseFile), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, begin := range []app.Beginning{app.MustExist, app.MayBegin, app.MustBegin} {
				emptied.Begin = begin
				v, err := app.Open(ctx, dir, emptied)
				if !errors.Is(err, app.ErrEmptied) {
					t.Errorf("over an empty database: %v", err)
				}
				if err == nil {
					v.Close()
				}
			}
		})
	}
}
