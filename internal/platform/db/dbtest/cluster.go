package dbtest

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cloakroom/cloakroom/internal/platform/db"
)

// EnvWorkers names the environment variable with the connection strings of a Citus
// cluster's workers, separated by commas, where EnvPostgres names its coordinator. Every
// database that a test is given lies on all of them then.
const EnvWorkers = "CLOAKROOM_TEST_CITUS_WORKERS"

// testShards is how many shards a test's tables get: more than the workers, so that
// values of one worker lie on different shards too.
const testShards = 4

// Cluster reports whether the tests run on a Citus cluster.
func Cluster() bool { return os.Getenv(EnvWorkers) != "" }

func workers() (out []string) {
	for w := range strings.SplitSeq(os.Getenv(EnvWorkers), ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// run runs statements on a database of a node.
func run(t testing.TB, server, database string, sql string, args ...any) {
	t.Helper()
	ctx := context.Background()
	cfg, err := pgx.ParseConfig(server)
	if err != nil {
		t.Fatalf("%s: %v", EnvWorkers, err)
	}
	if database != "" {
		cfg.Database = database
	}
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		t.Fatalf("connecting to a node of the cluster: %v", err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// join makes a database of the coordinator one of the whole cluster.
func join(t testing.TB, coordinator, name string) {
	t.Helper()
	for _, w := range workers() {
		run(t, w, "", "CREATE DATABASE "+name)
		t.Cleanup(func() { run(t, w, "", "DROP DATABASE "+name+" WITH (FORCE)") })
		run(t, w, name, "CREATE EXTENSION citus")
	}
	run(t, coordinator, name, "CREATE EXTENSION citus")
	add := func(sql, node string) {
		cfg, err := pgx.ParseConfig(node)
		if err != nil {
			t.Fatal(err)
		}
		run(t, coordinator, name, sql, cfg.Host, int(cfg.Port))
	}
	add("SELECT citus_set_coordinator_host($1::text, $2::int)", coordinator)
	for _, w := range workers() {
		add("SELECT citus_add_node($1::text, $2::int)", w)
	}
}

// VaultDSN is DSN for a vault to begin in: its tables are there, and on a cluster
// distributed, as its operator would have them.
func VaultDSN(t testing.TB) string {
	t.Helper()
	return migratedDSN(t)
}

func distribute(t testing.TB, d *db.DB) {
	t.Helper()
	if err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !Cluster() {
		return
	}
	if _, err := d.Distribute(t.Context(), testShards, false); err != nil {
		t.Fatal(err)
	}
}
