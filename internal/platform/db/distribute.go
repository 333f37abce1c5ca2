package db

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// DefaultShards is how many shards a group of distributed tables gets. One customer
// is one shard whatever their number, but a batch asks every shard that it names, one
// after another on each node: 32, the extension's own default, made batches of 500
// slow. Eight is enough to grow to eight nodes, and shards can be split later.
const DefaultShards = 8

// maxShards is far beyond any use, and below what the extension allows.
const maxShards = 1024

// ErrNoCitus is returned where tables are to be distributed and nothing is there
// that could.
var ErrNoCitus = fault.New(fault.Internal, "this database has no Citus extension, so its tables cannot be distributed")

// Placement says how one table lies over the nodes of a cluster.
type Placement struct {
	Table string `json:"table"`
	// Column decides on which shard a row lies. Empty: a reference table, which is
	// whole on every node.
	Column string `json:"column,omitempty"`
	// With is the table beside whose shards these lie: equal values, equal node.
	// Empty for the first table of a group.
	With string `json:"with,omitempty"`
	// Done says that the table lay so already.
	Done bool `json:"done"`
}

// distributed are the tables that are cut into shards, each group led by the table
// that the others lie beside. A migration that adds a table which grows with the
// customers or with the log adds it here; every other table is a reference table.
var distributed = []Placement{
	{Table: "customers", Column: "ord"},
	{Table: "customer_keys", Column: "ord", With: "customers"},
	{Table: "purchases", Column: "ord", With: "customers"},
	{Table: "former_values", Column: "ord", With: "customers"},
	{Table: "cooling", Column: "ord", With: "customers"},
	{Table: "mails", Column: "ord", With: "customers"},
	{Table: "mail_optouts", Column: "ord", With: "customers"},
	{Table: "lookups", Column: "value"},
	{Table: "externals", Column: "value", With: "lookups"},
	{Table: "take_backs", Column: "value"},
	{Table: "tombstones", Column: "value", With: "lookups"},
	{Table: "log_heads", Column: "brand"},
	{Table: "log_groups", Column: "brand", With: "log_heads"},
	{Table: "log_tips", Column: "brand", With: "log_heads"},
	{Table: "log_checkpoints", Column: "brand", With: "log_heads"},
	{Table: "log_snapshots", Column: "brand", With: "log_heads"},
	{Table: "log_snapshot_parts", Column: "brand", With: "log_heads"},
	{Table: "log_index", Column: "brand", With: "log_heads"},
	{Table: "log_commitments", Column: "brand", With: "log_heads"},
	{Table: "log_erasures", Column: "brand", With: "log_heads"},
	{Table: "follower_snapshots", Column: "brand", With: "log_heads"},
	{Table: "follower_snapshot_parts", Column: "brand", With: "log_heads"},
	{Table: "catalogue", Column: "brand", With: "log_heads"},
	{Table: "withheld", Column: "brand", With: "log_heads"},
	{Table: "write_answers", Column: "name"},
}

var (
	createsTable = regexp.MustCompile(`(?i)\bCREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)`)
	dropsTable   = regexp.MustCompile(`(?i)\bDROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?(\w+)`)
	renamesTable = regexp.MustCompile(`(?i)\bALTER\s+TABLE\s+(\w+)\s+RENAME\s+TO\s+(\w+)`)
)

// Layout returns how every table of the schema lies on a cluster: the distributed
// ones first, in the order in which they must be made, then the reference tables.
func Layout() []Placement {
	tables := []string{"schema_versions"}
	for _, m := range migrations {
		for _, stmt := range splitSQL(m, Postgres) {
			if t := createsTable.FindStringSubmatch(stmt); t != nil && !slices.Contains(tables, t[1]) {
				tables = append(tables, t[1])
			}
			if t := dropsTable.FindStringSubmatch(stmt); t != nil {
				tables = slices.DeleteFunc(tables, func(s string) bool { return s == t[1] })
			}
			if t := renamesTable.FindStringSubmatch(stmt); t != nil {
				if i := slices.Index(tables, t[1]); i >= 0 {
					tables[i] = t[2]
				}
			}
		}
	}
	var out []Placement
	for _, p := range distributed {
		if slices.Contains(tables, p.Table) {
			out = append(out, p)
		}
	}
	for _, t := range tables {
		if !slices.ContainsFunc(out, func(p Placement) bool { return p.Table == t }) {
			out = append(out, Placement{Table: t})
		}
	}
	return out
}

const (
	// The extension's catalogue answers for the extension.
	sqlPostgresHasCitus = `SELECT to_regclass('pg_dist_partition') IS NOT NULL`
	// Installed is not enough: the server has to have loaded it when it started, and
	// then it knows this setting, which nobody else makes.
	sqlPostgresMayCitus = `SELECT count(*) FROM pg_available_extensions WHERE name = 'citus' AND current_setting('citus.shard_count', true) IS NOT NULL`
	// One connection for each node and query: a server's queries are many and short,
	// and what one transaction reads on one node it then reads in one snapshot.
	sqlPostgresPoolSize = `SELECT set_config('citus.max_adaptive_executor_pool_size', '1', false) WHERE to_regclass('pg_dist_partition') IS NOT NULL`
	sqlPostgresNoLimit  = `SET LOCAL statement_timeout = 0` // a table may be large

	sqlCitusPlaced = `SELECT coalesce(column_to_column_name(p.logicalrelid, p.partkey), '') FROM pg_dist_partition p
		JOIN pg_class c ON c.oid = p.logicalrelid WHERE c.relname = $1 AND c.relnamespace = current_schema()::regnamespace`
	sqlCitusLead      = `SELECT create_distributed_table($1::text::regclass, $2::text, colocate_with => 'none', shard_count => $3::int)`
	sqlCitusBeside    = `SELECT create_distributed_table($1::text::regclass, $2::text, colocate_with => $3::text)`
	sqlCitusReference = `SELECT create_reference_table($1::text::regclass)`
	sqlCitusLeftovers = `SELECT pg_relation_size($1::text::regclass) > 0`
	sqlCitusTruncate  = `SELECT truncate_local_data_after_distributing_table($1::text::regclass)`
)

// makeExtension cannot be prepared where the extension is not.
const makeExtension = `CREATE EXTENSION IF NOT EXISTS citus`

// Distribute lays the tables over the nodes of a Citus cluster, and makes the
// extension where the server offers it and the database does not have it yet. shards
// is the number of shards of each group of tables that is not distributed so far. It
// can be repeated, also after it was cut short: what lies as it should is left alone.
//
// Rows that a table had before are copied to the nodes and removed from where they
// were: a copy left behind would outlive an erasure.
//
// With dryRun it changes nothing, and returns what it would do.
func (d *DB) Distribute(ctx context.Context, shards int, dryRun bool) ([]Placement, error) {
	if d.Engine() != Postgres {
		return nil, fmt.Errorf("%w: it is SQLite; give a postgres:// address", ErrNoCitus)
	}
	if shards < 1 || shards > maxShards {
		return nil, fmt.Errorf("shards: %d is not from 1 to %d", shards, maxShards)
	}
	has, err := d.hasCitus(ctx)
	if err != nil {
		return nil, err
	}
	if !has {
		var may int
		if err := d.Row(ctx, sqlPostgresMayCitus).Scan(&may); err != nil {
			return nil, fmt.Errorf("looking for the Citus extension: %w", err)
		}
		if may == 0 {
			return nil, fmt.Errorf("%w: install its package for this version of PostgreSQL on every node, put citus first into shared_preload_libraries, restart, and try again; on one machine no distribution is needed", ErrNoCitus)
		}
		if !dryRun {
			if _, err := d.Exec(ctx, makeExtension); err != nil {
				return nil, fmt.Errorf("creating the Citus extension: %w: it needs a superuser, and citus in shared_preload_libraries", err)
			}
			has = true
		}
	}
	plan := Layout()
	for i := range plan {
		if !has {
			continue // nothing can lie anywhere yet
		}
		if err := d.place(ctx, &plan[i], shards, dryRun); err != nil {
			return nil, fmt.Errorf("distributing the table %s: %w", plan[i].Table, err)
		}
	}
	return plan, nil
}

func (d *DB) hasCitus(ctx context.Context) (has bool, err error) {
	if err := d.Row(ctx, sqlPostgresHasCitus).Scan(&has); err != nil {
		return false, fmt.Errorf("looking for the Citus extension: %w", err)
	}
	return has, nil
}

// placed returns the table's distribution column, and whether it is anything but a
// plain table of one node.
func placed(ctx context.Context, q Queryer, table string) (column string, ok bool, err error) {
	err = q.Row(ctx, sqlCitusPlaced, table).Scan(&column)
	if errors.Is(err, ErrNoRows) {
		return "", false, nil
	}
	return column, err == nil, err
}

// place distributes one table in one transaction. A kill after it leaves a table
// that is distributed and still has its old rows on the coordinator, unread: the next
// run finds and removes them.
func (d *DB) place(ctx context.Context, p *Placement, shards int, dryRun bool) error {
	err := d.lockSchema(ctx, func(q Queryer) error {
		column, ok, err := placed(ctx, q, p.Table)
		if err != nil {
			return err
		}
		if p.Done = ok; ok && column != p.Column {
			return fmt.Errorf("it is distributed by %q, not by %q: SELECT undistribute_table('%s'), and try again", column, p.Column, p.Table)
		}
		if ok || dryRun {
			return nil
		}
		if _, err := q.Exec(ctx, sqlPostgresNoLimit); err != nil {
			return err
		}
		switch {
		case p.Column == "":
			_, err = q.Exec(ctx, sqlCitusReference, p.Table)
		case p.With == "":
			_, err = q.Exec(ctx, sqlCitusLead, p.Table, p.Column, shards)
		default:
			_, err = q.Exec(ctx, sqlCitusBeside, p.Table, p.Column, p.With)
		}
		return err
	})
	if err != nil || dryRun {
		return err
	}
	return d.lockSchema(ctx, func(q Queryer) error {
		var left bool
		if err := q.Row(ctx, sqlCitusLeftovers, p.Table).Scan(&left); err != nil || !left {
			return err
		}
		if _, err := q.Exec(ctx, sqlCitusTruncate, p.Table); err != nil {
			return fmt.Errorf("removing the rows that were copied to the nodes: %w", err)
		}
		return nil
	})
}

// distributeNew distributes the tables that a migration added to a database whose
// other tables are distributed.
func (d *DB) distributeNew(ctx context.Context) error {
	if d.Engine() != Postgres {
		return nil
	}
	has, err := d.hasCitus(ctx)
	if err != nil || !has {
		return err
	}
	for _, p := range Layout() {
		_, ok, err := placed(ctx, d, p.Table)
		switch {
		case err != nil:
			return err
		case !ok && p.Table == distributed[0].Table:
			return nil // the extension is there for others
		case !ok:
			_, err := d.Distribute(ctx, DefaultShards, false)
			return err
		}
	}
	return nil
}
