// Package dbtest opens migrated databases for tests: a fresh SQLite file always,
// and a fresh PostgreSQL schema where CLOAKROOM_TEST_POSTGRES names a server.
package dbtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/jackc/pgx/v5"
)

// EnvPostgres names the environment variable with the connection string of a
// PostgreSQL server on which tests may create databases.
const EnvPostgres = "CLOAKROOM_TEST_POSTGRES"

// SQLite opens a fresh migrated SQLite database that is closed with the test.
func SQLite(t testing.TB, opts db.Options) *db.DB {
	t.Helper()
	d, err := db.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "cloakroom.db"), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// DSN makes an empty PostgreSQL database, dropped with the test, and returns its
// connection string. Without a server it skips the test with a message that says how to
// run it; in CI it fails.
func DSN(t testing.TB) string {
	t.Helper()
	server := os.Getenv(EnvPostgres)
	if server == "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not set: CI must not skip PostgreSQL", EnvPostgres)
		}
		t.Skipf("no PostgreSQL: set %s=postgres://user@host/postgres to a server on which databases may be created", EnvPostgres)
	}
	ctx := context.Background()
	admin, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatalf("%s: %v", EnvPostgres, err)
	}
	name := "cloakroom_test_" + strings.ToLower(rand.Text())
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	cfg := admin.Config().Copy()
	admin.Close(ctx) // a test may run long: hold no connection meanwhile
	t.Cleanup(func() {
		admin, err := pgx.Connect(ctx, server)
		if err != nil {
			t.Errorf("dropping the test's database: %v", err)
			return
		}
		defer admin.Close(ctx)
		if _, err := admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("dropping the test's database: %v", err)
		}
	})
	if Cluster() {
		join(t, server, name)
	}
	return fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s sslmode=disable", cfg.Host, cfg.Port, cfg.User, cfg.Password, name)
}

// Postgres opens a fresh migrated PostgreSQL database, dropped with the test, as DSN
// makes it, and distributed where the server is a cluster.
func Postgres(t testing.TB, opts db.Options) *db.DB {
	t.Helper()
	ctx := context.Background()
	d, err := db.OpenPostgres(ctx, DSN(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	distribute(t, d)
	return d
}

// Each runs the test once per engine.
func Each(t *testing.T, opts db.Options, test func(t *testing.T, d *db.DB)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t, opts)) })
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t, opts)) })
}
