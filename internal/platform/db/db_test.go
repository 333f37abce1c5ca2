package db_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		t.Run("a transaction commits all or nothing", func(t *testing.T) {
			boom := errors.New("boom")
			err := d.Tx(ctx, func(q db.Queryer) error {
				if _, err := q.Exec(ctx, `INSERT INTO externals (value, ord) VALUES ($1, $2)`, 1, 1); err != nil {
					return err
				}
				return boom
			})
			if !errors.Is(err, boom) {
				t.Fatalf("got %v", err)
			}
			var ord int64
			if err := d.Row(ctx, `SELECT ord FROM externals WHERE value = $1`, 1).Scan(&ord); !errors.Is(err, db.ErrNoRows) {
				t.Fatalf("a rolled back row is there: %v", err)
			}
		})
		t.Run("a batch runs in order and reports rows", func(t *testing.T) {
			var n int64
			var got []int64
			err := d.Tx(ctx, func(q db.Queryer) error {
				got = nil
				return q.Batch(ctx, []db.Stmt{
					{SQL: `INSERT INTO externals (value, ord) VALUES ($1, $2)`, Args: []any{7, 70}},
					{SQL: `UPDATE externals SET ord = ord + 1 WHERE value = $1`, Args: []any{7}, Affected: &n},
					{SQL: `SELECT ord FROM externals WHERE value = $1`, Args: []any{7}, Scan: func(r db.Row) error {
						var v int64
						err := r.Scan(&v)
						got = append(got, v)
						return err
					}},
				})
			})
			if err != nil || n != 1 || len(got) != 1 || got[0] != 71 {
				t.Fatalf("n=%d got=%v err=%v", n, got, err)
			}
		})
		t.Run("concurrent writers lose nothing", func(t *testing.T) {
			if _, err := d.Exec(ctx, `INSERT INTO externals (value, ord) VALUES ($1, $2)`, 9, 0); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			errs := make(chan error, 400)
			for range 8 {
				wg.Go(func() {
					for range 50 {
						errs <- d.Tx(ctx, func(q db.Queryer) error {
							var v int64
							if err := q.Row(ctx, `UPDATE externals SET ord = ord + 1 WHERE value = $1 RETURNING ord`, 9).Scan(&v); err != nil {
								return err
							}
							return nil
						})
					}
				})
			}
			wg.Wait()
			close(errs)
			for err := range errs {
				if err != nil {
					t.Fatal(err)
				}
			}
			var v int64
			if err := d.Row(ctx, `SELECT ord FROM externals WHERE value = $1`, 9).Scan(&v); err != nil || v != 400 {
				t.Fatalf("v=%d err=%v", v, err)
			}
		})
		t.Run("a panic in a transaction frees the writer", func(t *testing.T) {
			func() {
				defer func() { recover() }()
				d.Tx(ctx, func(db.Queryer) error { panic("x") })
			}()
			if _, err := d.Exec(ctx, `DELETE FROM externals WHERE value = $1`, 7); err != nil {
				t.Fatal(err)
			}
		})
		t.Run("migrating again changes nothing", func(t *testing.T) {
			if err := d.Migrate(ctx); err != nil {
				t.Fatal(err)
			}
		})
		t.Run("a missing table says that the database is unavailable", func(t *testing.T) {
			_, err := d.Exec(ctx, `INSERT INTO nowhere (a) VALUES ($1)`, 1)
			if !errors.Is(err, db.ErrUnavailable) {
				t.Fatalf("got %v", err)
			}
		})
	})
}

func TestMigrateConcurrently(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t, db.Options{})
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { errs[i] = d.Migrate(context.Background()) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestSQLiteFullDisk(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	ctx := t.Context()
	set := func(pages string) {
		if err := d.Tx(ctx, func(q db.Queryer) error {
			return q.Rows(ctx, func(db.Row) error { return nil }, `PRAGMA max_page_count = `+pages)
		}); err != nil {
			t.Fatal(err)
		}
	}
	set("1")
	blob := make([]byte, 1<<20)
	_, err := d.Exec(ctx, `INSERT INTO customers (ord, brand, updated, erased, sealed) VALUES ($1, 1, 0, 0, $2)`, 1, blob)
	if !errors.Is(err, db.ErrUnavailable) {
		t.Fatalf("a full disk gave %v", err)
	}
	set(fmt.Sprint(1 << 30))
	if _, err := d.Exec(ctx, `INSERT INTO customers (ord, brand, updated, erased, sealed) VALUES ($1, 1, 0, 0, $2)`, 1, blob); err != nil {
		t.Fatalf("after space was made: %v", err)
	}
}
