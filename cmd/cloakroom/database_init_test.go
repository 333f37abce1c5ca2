package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// The command says what it would do, does it, and finds it done; and without Citus it
// refuses before it has changed anything.
func TestDatabaseInit(t *testing.T) {
	t.Parallel()
	if dbtest.Cluster() {
		t.Skip("what is faked here is there")
	}
	dsn := dbtest.DSN(t)
	run := func(args ...string) (string, int) {
		var out bytes.Buffer
		code := Main(t.Context(), append([]string{"db", "init", "--database", dsn}, args...), Streams{In: strings.NewReader(""), Out: &out, Err: &out})
		return out.String(), code
	}
	expect := func(code int, want string, args ...string) {
		t.Helper()
		if got, c := run(args...); c != code || !strings.Contains(got, want) {
			t.Fatalf("%v: exit %d, %s", args, c, got)
		}
	}
	expect(exitUsage, "at least 1", "--shards", "0")
	expect(exitFailed, "no Citus extension", "--distribute")
	expect(0, "would migrate from version 0", "--dry-run") // so the refusal changed nothing
	expect(0, "migrated from version 0")
	expect(0, "nothing to migrate")

	d, err := db.OpenPostgres(t.Context(), dsn, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	calls := dbtest.FakeCitus(t, d)
	expect(0, "would distribute by ord over 3 shards", "--distribute", "--shards", "3", "--dry-run")
	if got := calls(); len(got) > 0 {
		t.Fatalf("a dry run called %q", got)
	}
	expect(0, "purchases: distributed by ord, beside customers", "--distribute", "--shards", "3")
	if len(calls()) == 0 {
		t.Fatal("nothing was called")
	}
	expect(0, `"table":"customers","column":"ord","done":true`, "--distribute", "--json")
}
