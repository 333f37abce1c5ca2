package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cloakroom/cloakroom/internal/platform/db"
)

// Tests are a package's tests, whose migrated PostgreSQL databases are copies of one. A
// package with many of them runs its tests through it; elsewhere each is migrated.
//
//	func TestMain(m *testing.M) { os.Exit(dbtest.Tests{M: m}.Run()) }
type Tests struct{ M *testing.M }

// Run runs the tests, removes what was copied, and returns the exit code.
func (x Tests) Run() int {
	original.wanted = !Cluster() // a cluster copies no database with its shards
	code := x.M.Run()
	if err := original.drop(); err != nil {
		fmt.Fprintln(os.Stderr, "dropping the database that the tests copied:", err)
		code = max(code, 1)
	}
	return code
}

// original is the migrated database of this process that others are copied from.
var original template

type template struct {
	wanted bool
	mu     sync.Mutex
	server string
	name   string // once it is there
}

// on returns the name of the template on a server, and "" where there is to be none.
func (x *template) on(server string) (string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.wanted || x.name != "" {
		return x.name, nil
	}
	ctx := context.Background()
	dsn, err := create(ctx, server, databaseName(), "")
	if err != nil {
		return "", err
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return "", err
	}
	x.server, x.name = server, cfg.Database
	d, err := db.OpenPostgres(ctx, dsn, db.Options{})
	if err != nil {
		return "", err
	}
	return x.name, errors.Join(d.Migrate(ctx), d.Close())
}

func (x *template) drop() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.name == "" {
		return nil
	}
	return drop(context.Background(), x.server, x.name)
}

// empty returns the bytes of a migrated SQLite database.
var empty = sync.OnceValues(func() (file []byte, err error) {
	dir, err := os.MkdirTemp("", "cloakroom-migrated-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "cloakroom.db")
	d, err := db.OpenSQLite(context.Background(), path, db.Options{})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(d.Migrate(context.Background()), d.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})
