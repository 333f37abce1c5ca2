package db_test

import (
	"path/filepath"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// expiryVersion is the schema version that the migration under test makes.
const expiryVersion = 18

// Credentials made before children took over the expiry of their parents end with their
// parents after the migration.
func TestTheMigrationEndsChildrenWithTheirParents(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	open := map[string]func(t *testing.T) (*db.DB, error){
		"sqlite": func(t *testing.T) (*db.DB, error) {
			return db.OpenSQLite(ctx, filepath.Join(t.TempDir(), "old.db"), db.Options{})
		},
		"postgres": func(t *testing.T) (*db.DB, error) { return db.OpenPostgres(ctx, dbtest.DSN(t), db.Options{}) },
	}
	rows := []struct {
		id, parent, root, expires int64
		scope                     string
		want                      int64
	}{
		{1, 0, 1, 0, "", 0},
		{2, 1, 1, 0, "", 0},
		{3, 2, 1, 500, "", 500},
		{4, 3, 1, 0, "", 500},
		{5, 4, 1, 900, "", 500},
		{6, 4, 1, 300, "", 300},
		{7, 4, 1, 900, "exp-1", 900}, // a link ends with its export
		{8, 0, 8, 700, "", 700},
	}
	for name, open := range open {
		t.Run(name, func(t *testing.T) {
			d, err := open(t)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if err := db.MigrateBefore(ctx, d, db.LatestSchema()-expiryVersion+1); err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				_, err := d.Exec(ctx, `INSERT INTO credentials (id, principal, parent, root, hash, label, created, expires, revoked, scope) VALUES ($1, 1, $2, $3, $4, '', 1, $5, 0, $6)`,
					r.id, r.parent, r.root, []byte{byte(r.id)}, r.expires, r.scope)
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Migrate(ctx); err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				var got int64
				if err := d.Row(ctx, `SELECT expires FROM credentials WHERE id = $1`, r.id).Scan(&got); err != nil || got != r.want {
					t.Errorf("credential %d expires %d, want %d, %v", r.id, got, r.want, err)
				}
			}
		})
	}
}
