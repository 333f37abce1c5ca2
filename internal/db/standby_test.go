package db_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/db"
	"github.com/cloakroom/cloakroom/internal/db/dbtest"
)

// PostgreSQL calls a commit done whose wait for a synchronous standby was cancelled. A
// failover would lose it, so that nothing may leave on the strength of it.
func TestACommitWithoutItsStandbyIsNotTakenForDone(t *testing.T) {
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
	done := make(chan error, 1)
	go func() {
		done <- d.Tx(ctx, func(q db.Queryer) error {
			_, err := q.Exec(ctx, `INSERT INTO externals (value, ord) VALUES (1, 1)`)
			return err
		})
	}()
	var err error
	for waiting := true; waiting; {
		select {
		case err = <-done:
			waiting = false
		case <-time.After(10 * time.Millisecond):
			if err := s.Admin("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !errors.Is(err, db.ErrOutcomeUnknown) {
		t.Fatalf("a commit that no standby has gave %v", err)
	}
	if err := d.Tx(ctx, func(q db.Queryer) error { // reads wait for nobody
		var n int
		return q.Row(ctx, `SELECT count(*) FROM externals`).Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
}
