package db_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

func TestDistributeOverAFakeOfCitus(t *testing.T) {
	t.Parallel()
	if dbtest.Cluster() {
		t.Skip("what is faked here is there")
	}
	d := dbtest.Postgres(t, db.Options{})
	ctx := t.Context()
	calls := dbtest.FakeCitus(t, d)
	if err := d.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	if got := calls(); len(got) != 0 {
		t.Fatalf("Citus is there and nobody asked to distribute, yet: %q", got)
	}
	if _, err := d.Exec(ctx, `INSERT INTO customer_keys (ord, brand, kek, version, epoch, segments, wrapped) VALUES ($1, 1, 1, 1, 0, 0, 'x')`, 1); err != nil {
		t.Fatal(err)
	}

	plan, err := d.Distribute(ctx, 4, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := calls(); len(got) != 0 || plan[0].Done {
		t.Fatalf("a dry run changed something: %q", got)
	}
	if _, err := d.Distribute(ctx, 4, false); err != nil {
		t.Fatal(err)
	}
	got := calls()
	for _, want := range []string{
		"distribute customers by ord with none shards 4",
		"distribute customer_keys by ord with customers shards -",
		"distribute lookups by value with none shards 4",
		"distribute log_groups by brand with log_heads shards -",
		"distribute log_tips by brand with log_heads shards -",
		"reference brands", "reference credentials", "reference schema_versions",
		"truncate customer_keys", // the one with rows: a copy left behind would outlive an erasure
	} {
		if !slices.Contains(got, want) {
			t.Errorf("not called: %s", want)
		}
	}
	if slices.Contains(got, "truncate purchases") {
		t.Error("an empty table was truncated")
	}
	if moved := moves(got); len(moved) != len(plan) {
		t.Errorf("%d tables moved of %d: %q", len(moved), len(plan), moved)
	}
	for _, p := range plan {
		if p.With == "" {
			continue
		}
		at := func(table string) int {
			return slices.IndexFunc(got, func(c string) bool { return strings.HasPrefix(c, "distribute "+table+" ") })
		}
		if at(p.With) > at(p.Table) {
			t.Errorf("%s was distributed before %s, which it lies beside", p.Table, p.With)
		}
	}

	again, err := d.Distribute(ctx, 16, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := moves(calls()); len(got) != 0 || slices.ContainsFunc(again, func(p db.Placement) bool { return !p.Done }) {
		t.Fatalf("a second run did something: %q", got)
	}

	// Cut short after some tables, and a table that a later migration added: both are
	// found at the next migration.
	if _, err := d.Exec(ctx, `DELETE FROM pg_dist_partition WHERE logicalrelid IN ('externals'::regclass, 'purposes'::regclass)`); err != nil {
		t.Fatal(err)
	}
	if err := d.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	want := []string{"distribute externals by value with lookups shards -", "reference purposes"}
	if got := moves(calls()); !slices.Equal(got, want) {
		t.Fatalf("the migration called %q, want %q", got, want)
	}

	if _, err := d.Exec(ctx, `UPDATE pg_dist_partition SET partkey = 'brand' WHERE logicalrelid = 'customers'::regclass`); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Distribute(ctx, 4, false); err == nil || !strings.Contains(err.Error(), "undistribute_table('customers')") {
		t.Fatalf("a table distributed by another column gave %v", err)
	}
}

// moves leaves out the truncations: the fake keeps the rows, so that they repeat.
func moves(calls []string) []string {
	return slices.DeleteFunc(slices.Clone(calls), func(c string) bool { return strings.HasPrefix(c, "truncate ") })
}

func TestSessionsKnowOfCitus(t *testing.T) {
	t.Parallel()
	if dbtest.Cluster() {
		t.Skip("what is faked here is there")
	}
	dsn := dbtest.DSN(t)
	open := func() *db.DB {
		d, err := db.OpenPostgres(t.Context(), dsn, db.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	d := open()
	const asked = `SELECT coalesce(current_setting('citus.max_adaptive_executor_pool_size', true), '')`
	setting := func(d *db.DB) (s string) {
		if err := d.Row(t.Context(), asked).Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got := setting(d); got != "" {
		t.Fatalf("set to %q on a server without Citus", got)
	}
	dbtest.FakeCitus(t, d)
	if got := setting(open()); got != "1" {
		t.Fatalf("a session over Citus has %q", got)
	}
}

func TestDistributeRefusesWhereNothingCan(t *testing.T) {
	t.Parallel()
	if dbtest.Cluster() {
		t.Skip("what is faked here is there")
	}
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		for _, dry := range []bool{true, false} {
			if _, err := d.Distribute(t.Context(), db.DefaultShards, dry); !errors.Is(err, db.ErrNoCitus) {
				t.Fatalf("dry %v: %v", dry, err)
			}
		}
	})
}

// The row lock alone keeps migrations apart: an advisory lock that everybody gets, as
// on CockroachDB, must not matter.
func TestMigrationsAreKeptApartByTheRow(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t, db.Options{})
	ctx := t.Context()
	var mu sync.Mutex
	inside, most := 0, 0
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			errs[i] = db.LockSchemaByRow(ctx, d, func() {
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				d.Row(ctx, `SELECT pg_sleep(0.01)`).Scan(new(string))
				mu.Lock()
				inside--
				mu.Unlock()
			})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || most != 1 {
		t.Fatalf("%d inside at once, %v", most, err)
	}
}

// Engines that refuse advisory locks migrate all the same.
func TestMigrateWithoutAdvisoryLocks(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t, db.Options{})
	ctx := t.Context()
	for _, code := range []string{"0A000", "42883"} {
		const refuse = `CREATE OR REPLACE FUNCTION refuse(bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '=='; END $$`
		if _, err := d.Exec(ctx, strings.Replace(refuse, "==", code, 1)); err != nil {
			t.Fatal(err)
		}
		if err := db.WithAdvisory(ctx, d, `SELECT refuse($1)`); err != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
	if err := db.WithAdvisory(ctx, d, `SELECT $1::bigint / 0`); err == nil {
		t.Error("another error was passed over")
	}
}
