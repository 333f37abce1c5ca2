package db_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

func put(value, ord int) db.Stmt {
	return db.Stmt{SQL: `INSERT INTO externals (value, ord) VALUES ($1, $2)`, Args: []any{value, ord}}
}

// ord returns 0 where there is no row.
func ord(t *testing.T, d *db.DB, value int) (n int64) {
	t.Helper()
	err := d.Row(t.Context(), `SELECT ord FROM externals WHERE value = $1`, value).Scan(&n)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		t.Fatal(err)
	}
	return n
}

func none() []db.Stmt { return nil }

func TestPipeline(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		t.Run("reads, computes and commits", func(t *testing.T) {
			var read, n int64
			err := d.Pipeline(ctx, func() []db.Stmt {
				return []db.Stmt{put(1, 10), {SQL: `SELECT ord FROM externals WHERE value = $1`, Args: []any{1}, Scan: func(r db.Row) error { return r.Scan(&read) }}}
			}, func(q db.Queryer) ([]db.Stmt, error) {
				var again int64
				if err := q.Row(ctx, `SELECT ord FROM externals WHERE value = $1`, 1).Scan(&again); err != nil || again != read {
					t.Errorf("then reads %d, %v", again, err)
				}
				return []db.Stmt{put(2, int(read)+10), {SQL: `UPDATE externals SET ord = ord + 1 WHERE value IN ($1, $2)`, Args: []any{1, 2}, Affected: &n}}, nil
			})
			if err != nil || n != 2 || ord(t, d, 1) != 11 || ord(t, d, 2) != 21 {
				t.Fatalf("%v, %d rows, %d and %d", err, n, ord(t, d, 1), ord(t, d, 2))
			}
		})
		t.Run("a conflict in the last statements aborts all", func(t *testing.T) {
			err := d.Pipeline(ctx, func() []db.Stmt { return []db.Stmt{put(3, 1)} }, func(db.Queryer) ([]db.Stmt, error) {
				return []db.Stmt{put(4, 1), put(3, 2)}, nil
			})
			if err == nil || errors.Is(err, db.ErrOutcomeUnknown) || ord(t, d, 3) != 0 || ord(t, d, 4) != 0 {
				t.Fatalf("%v, and %d and %d are there", err, ord(t, d, 3), ord(t, d, 4))
			}
		})
		t.Run("an error or a panic in between leaves nothing and no lock", func(t *testing.T) {
			boom := errors.New("boom")
			first := func() []db.Stmt { return []db.Stmt{put(5, 1)} }
			if err := d.Pipeline(ctx, first, func(db.Queryer) ([]db.Stmt, error) { return nil, boom }); !errors.Is(err, boom) {
				t.Fatalf("got %v", err)
			}
			func() {
				defer func() { recover() }()
				d.Pipeline(ctx, first, func(db.Queryer) ([]db.Stmt, error) { panic("x") })
			}()
			if err := d.Pipeline(ctx, first, func(db.Queryer) ([]db.Stmt, error) { return nil, nil }); err != nil || ord(t, d, 5) != 1 {
				t.Fatal(err)
			}
		})
		t.Run("one that gives up in between commits nothing", func(t *testing.T) {
			ctx, cancel := context.WithCancel(ctx)
			err := d.Pipeline(ctx, none, func(db.Queryer) ([]db.Stmt, error) {
				cancel()
				return []db.Stmt{put(6, 1)}, nil
			})
			if !errors.Is(err, context.Canceled) || ord(t, d, 6) != 0 {
				t.Fatalf("got %v", err)
			}
		})
	})
}

func TestPipelinesQueueAtALock(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t, db.Options{})
	ctx := t.Context()
	if err := d.Batch(ctx, []db.Stmt{put(1, 0)}); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	for range 8 {
		go func() {
			for range 25 {
				// The second statement reads what the earlier holder of the lock committed.
				var v int64
				errs <- d.Pipeline(ctx, func() []db.Stmt {
					return []db.Stmt{
						{SQL: `SELECT value FROM externals WHERE value = $1 FOR UPDATE`, Args: []any{1}, Scan: func(r db.Row) error { return r.Scan(new(int64)) }},
						{SQL: `SELECT ord FROM externals WHERE value = $1`, Args: []any{1}, Scan: func(r db.Row) error { return r.Scan(&v) }},
					}
				}, func(db.Queryer) ([]db.Stmt, error) {
					return []db.Stmt{{SQL: `UPDATE externals SET ord = $2 WHERE value = $1`, Args: []any{1, v + 1}}}, nil
				})
			}
		}()
	}
	for range 200 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if v := ord(t, d, 1); v != 200 {
		t.Fatalf("of 200 additions %d are there", v)
	}
}

func TestAPipelineThatIsCutLeavesNothing(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t, db.Options{})
	ctx := t.Context()
	err := d.Pipeline(ctx, func() []db.Stmt { return []db.Stmt{put(1, 1)} }, func(q db.Queryer) ([]db.Stmt, error) {
		var pid int
		if err := q.Row(ctx, `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
			return nil, err
		}
		_, err := d.Exec(ctx, `SELECT pg_terminate_backend($1, 5000)`, pid)
		return []db.Stmt{put(2, 1)}, err
	})
	if err == nil || ord(t, d, 1) != 0 || ord(t, d, 2) != 0 {
		t.Fatalf("%v, and %d and %d are there", err, ord(t, d, 1), ord(t, d, 2))
	}
}

func TestAPipelineRunsAgain(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t, db.Options{})
	runs := 0
	var n int64
	err := d.Pipeline(t.Context(), none, func(db.Queryer) ([]db.Stmt, error) {
		out := []db.Stmt{{SQL: `INSERT INTO externals (value, ord) VALUES ($1, $2)`, Args: []any{1, runs}, Affected: &n}}
		if runs++; runs < 3 {
			out = append(out, db.Stmt{SQL: `DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$`})
		}
		return out, nil
	})
	if err != nil || runs != 3 || n != 1 || ord(t, d, 1) != 2 {
		t.Fatalf("%v after %d runs", err, runs)
	}
}

// A process that was stopped for longer than the server waits goes on as if it had not
// begun.
func TestAPipelineThatWasTooSlowRunsAgain(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t, db.Options{})
	ctx := t.Context()
	runs := 0
	err := d.Pipeline(ctx, func() []db.Stmt { return []db.Stmt{put(1, 1)} }, func(q db.Queryer) ([]db.Stmt, error) {
		if runs++; runs > 1 {
			return []db.Stmt{put(2, 1)}, nil
		}
		var pid, there int
		if err := q.Row(ctx, `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
			return nil, err
		}
		for there = 1; there > 0; {
			if err := d.Row(ctx, `SELECT count(*) FROM pg_stat_activity WHERE pid = $1`, pid).Scan(&there); err != nil {
				return nil, err
			}
		}
		return []db.Stmt{put(2, 1)}, nil
	})
	if err != nil || runs != 2 || ord(t, d, 1) != 1 || ord(t, d, 2) != 1 {
		t.Fatalf("%v after %d runs", err, runs)
	}
}

func TestACommitThatRollsBackIsAFailure(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t, db.Options{})
	err := d.Pipeline(t.Context(), func() []db.Stmt { return []db.Stmt{put(1, 1)} }, func(q db.Queryer) ([]db.Stmt, error) {
		q.Exec(t.Context(), `SELECT 1/0`)
		return nil, nil
	})
	if err == nil || errors.Is(err, db.ErrOutcomeUnknown) || ord(t, d, 1) != 0 {
		t.Fatalf("got %v", err)
	}
}

func TestAnEstimateIsNotAheadOfTheClock(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		for range 20 {
			before, err := d.Now(ctx)
			if err != nil {
				t.Fatal(err)
			}
			estimate, err := d.Estimate(ctx)
			if err != nil {
				t.Fatal(err)
			}
			after, err := d.Now(ctx)
			if err != nil || estimate.Before(before) || estimate.After(after) {
				t.Fatalf("between %v and %v it is said to be %v, %v", before, after, estimate, err)
			}
		}
	})
}

func TestAPipelineReadsTheClockAfterTheLock(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		if err := d.Batch(ctx, []db.Stmt{put(1, 0)}); err != nil {
			t.Fatal(err)
		}
		lock := `UPDATE externals SET ord = ord + 1 WHERE value = $1`
		held, free := make(chan struct{}), make(chan time.Time, 1)
		errs := make(chan error, 1)
		go func() {
			errs <- d.Tx(ctx, func(q db.Queryer) error {
				if _, err := q.Exec(ctx, lock, 1); err != nil {
					return err
				}
				close(held)
				at, err := q.Now(ctx) // the other's clock must not be older
				free <- at
				return err
			})
		}()
		<-held
		var now time.Time
		err := d.Pipeline(ctx, func() []db.Stmt {
			return []db.Stmt{{SQL: lock, Args: []any{1}}, {Now: &now}}
		}, func(db.Queryer) ([]db.Stmt, error) { return nil, nil })
		if err := errors.Join(err, <-errs); err != nil {
			t.Fatal(err)
		}
		if at := <-free; now.Before(at) {
			t.Fatalf("%v was read, and the lock was still held at %v", now, at)
		}
	})
}
