package dbtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
)

// The SQL below is a fake at the edge of what cannot run here: it gives a plain
// PostgreSQL the names of Citus's functions and catalogue, which record what they were
// asked and check of it what the extension would refuse. No row moves anywhere, and none
// is removed.
const (
	fakeCatalogue = `CREATE TABLE pg_dist_partition (logicalrelid regclass PRIMARY KEY, partkey text, colocationid integer NOT NULL)`
	fakeCalls     = `CREATE TABLE fake_citus_calls (n serial PRIMARY KEY, call text NOT NULL)`
	fakeColumn    = `CREATE FUNCTION column_to_column_name(t regclass, key text) RETURNS text LANGUAGE sql AS 'SELECT key'`
	fakeTable     = `CREATE FUNCTION create_distributed_table(t regclass, col text, kind text DEFAULT 'hash', colocate_with text DEFAULT 'default', shard_count int DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	typ oid; other oid; grp integer; bad text;
BEGIN
	SELECT atttypid INTO STRICT typ FROM pg_attribute WHERE attrelid = t AND attname = col;
	IF EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = t) THEN
		RAISE 'table % is already distributed', t;
	END IF;
	SELECT conname INTO bad FROM pg_constraint WHERE conrelid = t AND contype IN ('p', 'u')
		AND NOT (SELECT attnum FROM pg_attribute WHERE attrelid = t AND attname = col) = ANY (conkey);
	IF bad IS NOT NULL THEN
		RAISE 'cannot create constraint % on %: Distributed relations cannot have UNIQUE, EXCLUDE, or PRIMARY KEY constraints that do not include the partition column', bad, t;
	END IF;
	IF colocate_with NOT IN ('none', 'default') AND shard_count IS NOT NULL THEN
		RAISE 'Cannot use colocate_with with a table and shard_count at the same time';
	END IF;
	IF colocate_with IN ('none', 'default') THEN
		SELECT coalesce(max(colocationid), 0) + 1 INTO grp FROM pg_dist_partition;
	ELSE
		SELECT p.colocationid, a.atttypid INTO STRICT grp, other FROM pg_dist_partition p
			JOIN pg_attribute a ON a.attrelid = p.logicalrelid AND a.attname = p.partkey WHERE p.logicalrelid = colocate_with::regclass;
		IF other <> typ THEN
			RAISE 'cannot colocate tables % and %: distribution column types do not match', colocate_with, t;
		END IF;
	END IF;
	INSERT INTO pg_dist_partition VALUES (t, col, grp);
	INSERT INTO fake_citus_calls (call) VALUES (format('distribute %s by %s with %s shards %s', t, col, colocate_with, coalesce(shard_count::text, '-')));
END $$`
	fakeReference = `CREATE FUNCTION create_reference_table(t regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO pg_dist_partition VALUES (t, NULL, 0);
	INSERT INTO fake_citus_calls (call) VALUES (format('reference %s', t));
END $$`
	fakeTruncate = `CREATE FUNCTION truncate_local_data_after_distributing_table(t regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = t) THEN
		RAISE 'supplied parameter is not a distributed relation';
	END IF;
	INSERT INTO fake_citus_calls (call) VALUES (format('truncate %s', t));
END $$`
	// No workers: nothing to ask.
	fakeWorkers = `CREATE FUNCTION run_command_on_workers(command text, parallel boolean DEFAULT true) RETURNS TABLE (nodename text, nodeport integer, success boolean, result text) LANGUAGE sql AS $$
	SELECT ''::text, 0, true, ''::text WHERE false
$$`
	fakeRead  = `SELECT call FROM fake_citus_calls ORDER BY n`
	fakeClear = `TRUNCATE fake_citus_calls`
)

// FakeCitus gives a PostgreSQL database fakes of what Distribute calls of Citus, and
// returns a function that says what was called since it was asked last. Connections
// made before do not know of it. On a cluster there is nothing to fake: it installs
// nothing, and knows of no calls.
func FakeCitus(t testing.TB, d *db.DB) func() []string {
	t.Helper()
	if Cluster() {
		return func() []string { return nil }
	}
	ctx := t.Context()
	for _, s := range []string{fakeCatalogue, fakeCalls, fakeColumn, fakeTable, fakeReference, fakeTruncate, fakeWorkers} {
		if _, err := d.Exec(ctx, s); err != nil {
			t.Fatal(fmt.Errorf("installing %s: %w", s[:strings.IndexByte(s, '(')], err))
		}
	}
	return func() []string {
		t.Helper()
		var calls []string
		err := d.Tx(ctx, func(q db.Queryer) error {
			calls = nil
			return q.Rows(ctx, func(r db.Row) error {
				var c string
				err := r.Scan(&c)
				calls = append(calls, c)
				return err
			}, fakeRead)
		})
		if err == nil {
			_, err = d.Exec(ctx, fakeClear)
		}
		if err != nil {
			t.Fatal(err)
		}
		return slices.Clone(calls)
	}
}
