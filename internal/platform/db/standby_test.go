package db_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// PostgreSQL calls a commit done whose wait for a synchronous standby was cancelled. A
// failover would lose it, so that nothing may leave on the strength of it.
func TestACommitWithoutItsStandbyIsNotTakenForDone(t *testing.T) {
	t.Parallel()
	s := dbtest.Server(t, dbtest.ServerOptions{})
	ctx := t.Context()
	open := func(dsn string) *db.DB {
		d, err := db.OpenPostgres(ctx, dsn, db.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	if err := open(s.DSN()).Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"} {
		if err := s.Admin(sql); err != nil {
			t.Fatal(err)
		}
	}
	d := open(s.DSN())
	const shown = `SELECT current_setting('synchronous_standby_names')`
	for names := ""; names == ""; { // until the reload has reached it
		if err := d.Row(ctx, shown).Scan(&names); err != nil {
			t.Fatal(err)
		}
	}
	const insert = `INSERT INTO externals (value, ord) VALUES ($1, 1)`
	for name, commit := range map[string]func() error{
		"a transaction": func() error {
			return d.Tx(ctx, func(q db.Queryer) error {
				_, err := q.Exec(ctx, insert, 1)
				return err
			})
		},
		"a pipeline": func() error {
			return d.Pipeline(ctx, func() []db.Stmt { return nil }, func(db.Queryer) ([]db.Stmt, error) {
				return []db.Stmt{{SQL: insert, Args: []any{2}}}, nil
			})
		},
	} {
		if err := cancelled(t, s, commit); !errors.Is(err, db.ErrOutcomeUnknown) {
			t.Errorf("%s that no standby has gave %v", name, err)
		}
	}
	if err := d.Tx(ctx, func(q db.Queryer) error { // reads wait for nobody
		var n int
		return q.Row(ctx, `SELECT count(*) FROM externals`).Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
}

// cancelled runs a commit, and cancels its wait for a standby.
func cancelled(t *testing.T, s *dbtest.Instance, commit func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- commit() }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(10 * time.Millisecond):
			if err := s.Admin("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"); err != nil {
				t.Fatal(err)
			}
		}
	}
}
