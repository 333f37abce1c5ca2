package db_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

func table(t *testing.T, d *db.DB, name string) db.Table {
	t.Helper()
	all, err := db.Tables(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		if x.Name == name {
			return x
		}
	}
	t.Fatalf("there is no table %s", name)
	return db.Table{}
}

// A table that no part holds would be missing from every backup.
func TestEveryTableHasAPart(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("schema.go")
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		have := map[string]bool{"schema_versions": true}
		all, err := db.Tables(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			if have[x.Name] {
				t.Errorf("%s is listed twice", x.Name)
			}
			have[x.Name] = true
			if len(x.Key) == 0 {
				t.Errorf("%s has no primary key to be read by", x.Name)
			}
		}
		for _, m := range regexp.MustCompile(`CREATE TABLE (?:IF NOT EXISTS )?(\w+)`).FindAllStringSubmatch(string(src), -1) {
			if !have[m[1]] {
				t.Errorf("the table %s is in no part of a backup: say in tables.go where it belongs", m[1])
			}
		}
	})
}

// Rows come back as they were put, over more than one page, in the order of the key.
func TestTablesCopy(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		customers, heads := table(t, d, "customers"), table(t, d, "log_heads")
		const n = 12_345
		var rows [][]any
		for i := range n {
			row := []any{int64(i + 1), int64(1), int64(i), int64(0), []byte(fmt.Sprint(i)), nil}
			if i%7 == 0 {
				row[4], row[5] = nil, []byte{byte(i)}
			}
			rows = append(rows, row)
		}
		err := d.Tx(ctx, func(q db.Queryer) error {
			if err := db.LoadTable(ctx, q, heads, heads.Columns, [][]any{{int64(3), int64(0), int64(1), []byte{}}}); err != nil {
				return err
			}
			return db.LoadTable(ctx, q, customers, customers.Columns, rows)
		})
		if err != nil {
			t.Fatal(err)
		}
		read := func(q db.Queryer, tab db.Table) (out [][]any) {
			if err := db.ReadTable(ctx, q, tab, func(row []any) error {
				out = append(out, append([]any(nil), row...))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return out
		}
		err = d.LongSnapshot(ctx, func(q db.Queryer) error {
			if d.Engine() == db.Postgres {
				// What cuts off a server that stopped must not cut off a slow reader.
				for _, name := range []string{"statement_timeout", "idle_in_transaction_session_timeout"} {
					var got string
					if err := q.Row(ctx, `SELECT current_setting($1)`, name).Scan(&got); err != nil || got != "10min" {
						t.Errorf("%s is %s: %v", name, got, err)
					}
				}
			}
			first := read(q, heads)
			if !reflect.DeepEqual(first, [][]any{{int64(3), int64(0), int64(1), []byte{}}}) {
				t.Fatalf("%#v", first)
			}
			// What is written meanwhile is not seen.
			if _, err := d.Exec(ctx, `DELETE FROM customers WHERE ord > $1`, 100); err != nil {
				return err
			}
			if got := read(q, customers); !reflect.DeepEqual(got, rows) {
				t.Fatalf("%d rows came back, or others than the %d that were put", len(got), n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := read(d, customers); len(got) != 100 {
			t.Fatalf("%d rows afterwards", len(got))
		}
	})
}

func TestUnfinishedRestoreIsRefused(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := context.WithoutCancel(t.Context())
		if _, err := d.Exec(ctx, `INSERT INTO externals (value, ord) VALUES ($1, $2)`, 1, 1); err != nil {
			t.Fatal(err)
		}
		if err := d.BeginRestore(ctx, 1); err != nil {
			t.Fatal(err)
		}
		if err := d.Migrate(ctx); !errors.Is(err, db.ErrUnfinished) {
			t.Fatalf("a database that is not whole opens: %v", err)
		}
		var n int
		if err := d.Row(ctx, `SELECT count(*) FROM externals`).Scan(&n); err != nil || n != 0 {
			t.Fatalf("%d rows of before, %v", n, err)
		}
		if v, err := db.SchemaVersion(ctx, d); err != nil || v != 1 {
			t.Fatalf("version %d, %v", v, err)
		}
		if err := d.BeginRestore(ctx, 1); err != nil { // again, after a kill
			t.Fatal(err)
		}
		if err := d.EndRestore(ctx); err != nil {
			t.Fatal(err)
		}
		if err := d.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
	})
}
