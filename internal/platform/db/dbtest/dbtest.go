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
	file, err := empty()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cloakroom.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := db.OpenSQLite(t.Context(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// DSN makes an empty PostgreSQL database, dropped with the test, and returns its
// connection string. Without a server it skips the test with a message that says how to
// run it; in CI it fails.
func DSN(t testing.TB) string {
	t.Helper()
	return dsn(t, needServer(t), "")
}

// migratedDSN is DSN for a migrated database, distributed where the server is a cluster.
func migratedDSN(t testing.TB) string {
	t.Helper()
	ctx, server := context.Background(), needServer(t)
	from, err := original.on(server)
	if err != nil {
		t.Fatal(err)
	}
	dsn := dsn(t, server, from)
	if from != "" {
		return dsn
	}
	d, err := db.OpenPostgres(ctx, dsn, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	distribute(t, d)
	return dsn
}

// needServer returns the server that tests may use.
func needServer(t testing.TB) string {
	t.Helper()
	server := os.Getenv(EnvPostgres)
	if server == "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not set: CI must not skip PostgreSQL", EnvPostgres)
		}
		t.Skipf("no PostgreSQL: set %s=postgres://user@host/postgres to a server on which databases may be created", EnvPostgres)
	}
	return server
}

// dsn makes a database that is dropped with the test: a copy of another, or empty.
func dsn(t testing.TB, server, from string) string {
	t.Helper()
	ctx, name := context.Background(), databaseName()
	dsn, err := create(ctx, server, name, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(ctx, server, name); err != nil {
			t.Errorf("dropping the test's database: %v", err)
		}
	})
	if Cluster() {
		join(t, server, name)
	}
	return dsn
}

func databaseName() string { return "cloakroom_test_" + strings.ToLower(rand.Text()) }

// create makes a database and returns its connection string. It holds no connection: a
// test may run long.
func create(ctx context.Context, server, name, from string) (dsn string, err error) {
	admin, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", fmt.Errorf("%s: %w", EnvPostgres, err)
	}
	defer admin.Close(ctx)
	sql := "CREATE DATABASE " + name
	if from != "" {
		sql += " TEMPLATE " + from
	}
	if _, err := admin.Exec(ctx, sql); err != nil {
		return "", err
	}
	cfg := admin.Config()
	return fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s sslmode=disable", cfg.Host, cfg.Port, cfg.User, cfg.Password, name), nil
}

func drop(ctx context.Context, server, name string) error {
	admin, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer admin.Close(ctx)
	_, err = admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
	return err
}

// Postgres opens a fresh migrated PostgreSQL database, dropped with the test, and
// distributed where the server is a cluster.
func Postgres(t testing.TB, opts db.Options) *db.DB {
	t.Helper()
	d, err := db.OpenPostgres(context.Background(), migratedDSN(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// Each runs the test once per engine.
func Each(t *testing.T, opts db.Options, test func(t *testing.T, d *db.DB)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t, opts)) })
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t, opts)) })
}
