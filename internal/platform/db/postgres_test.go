package db_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

const (
	sqlBadDayInsert = `INSERT INTO externals (value, ord) VALUES ($1, $2)`
	sqlBadDayAdd    = `UPDATE externals SET ord = ord + 1 WHERE value = $1`
	sqlBadDayRead   = `SELECT ord FROM externals WHERE value = $1`
)

func rows(t *testing.T, d *db.DB, values ...int) {
	t.Helper()
	for _, v := range values {
		if _, err := d.Exec(t.Context(), sqlBadDayInsert, v, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, d *db.DB, value int) (n int) {
	t.Helper()
	if err := d.Row(t.Context(), sqlBadDayRead, value).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Two transactions that lock two rows crosswise: PostgreSQL ends one with 40P01, and it
// is run again.
func TestADeadlockIsRunAgain(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t, db.Options{})
	rows(t, d, 1, 2)
	var runs atomic.Int32
	var both, wg sync.WaitGroup
	both.Add(2)
	for _, order := range [][]int{{1, 2}, {2, 1}} {
		wg.Go(func() {
			first := true
			err := d.Tx(t.Context(), func(q db.Queryer) error {
				runs.Add(1)
				for i, v := range order {
					if _, err := q.Exec(t.Context(), sqlBadDayAdd, v); err != nil {
						return err
					}
					if i == 0 && first {
						first = false
						both.Done()
						both.Wait()
					}
				}
				return nil
			})
			if err != nil {
				t.Errorf("a deadlock came through: %v", err)
			}
		})
	}
	wg.Wait()
	if runs.Load() < 3 || read(t, d, 1) != 2 || read(t, d, 2) != 2 {
		t.Errorf("%d runs gave %d and %d", runs.Load(), read(t, d, 1), read(t, d, 2))
	}
}

// Serialisable transactions that read what the other writes: one gets 40001.
func TestASerialisationFailureIsRunAgain(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	d, err := db.OpenPostgres(t.Context(), dsn+" default_transaction_isolation=serializable", db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows(t, d, 1)
	var runs atomic.Int32
	var both, wg sync.WaitGroup
	both.Add(2)
	for range 2 {
		wg.Go(func() {
			first := true
			err := d.Tx(t.Context(), func(q db.Queryer) error {
				runs.Add(1)
				var n int
				if err := q.Row(t.Context(), sqlBadDayRead, 1).Scan(&n); err != nil {
					return err
				}
				if first {
					first = false
					both.Done()
					both.Wait()
				}
				_, err := q.Exec(t.Context(), sqlBadDayAdd, 1)
				return err
			})
			if err != nil {
				t.Errorf("a serialisation failure came through: %v", err)
			}
		})
	}
	wg.Wait()
	if runs.Load() < 3 || read(t, d, 1) != 2 {
		t.Errorf("%d runs gave %d", runs.Load(), read(t, d, 1))
	}
}

// A COMMIT whose answer is lost took effect here: it is neither called a failure nor
// done again.
func TestALostCommitIsNotRepeated(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	var cut atomic.Bool
	d, err := db.OpenPostgres(t.Context(), dbtest.CutCommits(t, dsn, func() bool { return cut.Swap(false) }), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows(t, d, 1)
	runs := 0
	cut.Store(true)
	err = d.Tx(t.Context(), func(q db.Queryer) error {
		runs++
		_, err := q.Exec(t.Context(), sqlBadDayAdd, 1)
		return err
	})
	if !errors.Is(err, db.ErrOutcomeUnknown) || runs != 1 || cut.Load() {
		t.Errorf("a lost commit gave %v after %d runs", err, runs)
	}
	if n := read(t, d, 1); n != 1 {
		t.Errorf("it was done %d times", n)
	}
}

// A migration whose connection is cut leaves the version before it, and is done when
// the database is opened again.
func TestAKilledMigrationIsDoneAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dsn := dbtest.DSN(t)
	admin, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	watch, err := pgx.Connect(ctx, dsn) // a transaction sees one state of the sessions only
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close(context.Background())
	// Every table of a migration is there, uncommitted, when it writes its version.
	exec(`CREATE TABLE schema_versions (version integer PRIMARY KEY, at bigint NOT NULL)`)
	exec(`BEGIN`)
	exec(`LOCK TABLE schema_versions IN SHARE MODE`)
	d, err := db.OpenPostgres(ctx, dsn, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	done := make(chan error)
	go func() { done <- d.Migrate(ctx) }()
	killed := false
	for deadline := time.Now().Add(30 * time.Second); !killed && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err := watch.QueryRow(ctx, `SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'cloakroom' AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO schema_versions%'`).Scan(&killed); err != nil {
			t.Fatal(err)
		}
	}
	if !killed {
		t.Fatal("the migration never came to write its version")
	}
	if err := <-done; !errors.Is(err, db.ErrUnavailable) {
		t.Errorf("a killed migration gave %v", err)
	}
	exec(`COMMIT`)
	var tables int
	if err := admin.QueryRow(ctx, `SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN ('schema_versions', 'schema_lock')`).Scan(&tables); err != nil || tables != 0 {
		t.Errorf("a killed migration left %d tables, %v", tables, err)
	}
	if v, err := d.Version(ctx); v != 0 || err != nil {
		t.Errorf("it left version %d, %v", v, err)
	}
	if err := d.Migrate(ctx); err != nil {
		t.Errorf("migrating again: %v", err)
	}
	rows(t, d, 1)
}

// Where PostgreSQL cannot be reached or refuses, the error says that it is not available.
func TestWhatCannotBeReachedIsUnavailable(t *testing.T) {
	t.Parallel()
	s := dbtest.Server(t, dbtest.ServerOptions{Settings: []string{"max_connections=5", "superuser_reserved_connections=0", "max_wal_senders=0", "max_worker_processes=2", "autovacuum=off"}})
	d, err := db.OpenPostgres(t.Context(), s.DSN(), db.Options{Readers: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows(t, d, 1)
	// More connections than the server has: 53300.
	var wg sync.WaitGroup
	var refused atomic.Int32
	hold := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			err := d.Tx(t.Context(), func(q db.Queryer) error {
				<-hold
				return nil
			})
			if errors.Is(err, db.ErrUnavailable) && refused.Add(1) == 1 {
				close(hold)
			} else if err != nil && !errors.Is(err, db.ErrUnavailable) {
				t.Errorf("too many connections gave %v", err)
			}
		})
	}
	wg.Wait()
	if refused.Load() == 0 {
		t.Error("eight connections fitted into five")
	}
	s.Stop("fast")
	if _, err := d.Exec(t.Context(), sqlBadDayAdd, 1); !errors.Is(err, db.ErrUnavailable) {
		t.Errorf("a stopped server gave %v", err)
	}
	if _, err := db.OpenPostgres(t.Context(), s.DSN(), db.Options{}); !errors.Is(err, db.ErrUnavailable) {
		t.Errorf("opening a stopped server gave %v", err)
	}
	s.Start()
	for range 8 + 1 { // each connection from before says once that it is lost
		if _, err = d.Exec(t.Context(), sqlBadDayAdd, 1); !errors.Is(err, db.ErrUnavailable) {
			break
		}
	}
	if err != nil {
		t.Errorf("after it was started again: %v", err)
	}
}

// A replica is refused when it is opened, with what to do.
func TestAReplicaIsRefused(t *testing.T) {
	t.Parallel()
	s := dbtest.Server(t, dbtest.ServerOptions{})
	r := s.Replica()
	for what, dsn := range map[string]string{"a streaming replica": r.DSN(), "a read-only session": s.DSN() + "&default_transaction_read_only=on"} {
		d, err := db.OpenPostgres(t.Context(), dsn, db.Options{})
		if err == nil {
			d.Close()
			t.Errorf("%s was opened", what)
		} else if !strings.Contains(err.Error(), "give the primary's address") {
			t.Errorf("%s gave %v", what, err)
		}
	}
}
