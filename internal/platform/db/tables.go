package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// Part says with what a table is backed up. Parts live and die separately: that is
// what lets an erasure reach backups.
type Part string

// The parts of a backup.
const (
	PartData  Part = "data"  // sealed customers and what finds them
	PartAdmin Part = "admin" // brands, principals, policies: small, and newest wins
	PartKeys  Part = "keys"  // wrapped keys: what an erasure has to outlive
	PartLog   Part = "log"   // the logs, and with them the budgets
	PartNone  Part = ""      // follows from the others, and is made again
)

// parts lists every table of the schema. A test holds that none is forgotten.
var parts = []struct {
	table string
	part  Part
}{
	{"ordinals", PartData},
	{"customers", PartData},
	{"purchases", PartData},
	{"lookups", PartData},
	{"externals", PartData},
	{"former_values", PartData},
	{"mails", PartData},
	{"mail_optouts", PartData},
	{"catalogue", PartData},
	{"brands", PartAdmin},
	{"brand_settings", PartAdmin},
	{"purposes", PartAdmin},
	{"principals", PartAdmin},
	{"roles", PartAdmin},
	{"credentials", PartAdmin},
	{"policies", PartAdmin},
	{"revisions", PartAdmin},
	{"receivers", PartAdmin},
	{"exports", PartAdmin},
	{"canaries", PartAdmin},
	{"containments", PartAdmin},
	{"changes", PartAdmin},
	{"mail_templates", PartAdmin},
	{"mail_jobs", PartAdmin},
	{"write_approvals", PartAdmin},
	{"approved_chunks", PartNone}, // a file is approved again after a restore
	{"write_queue", PartNone},     // no backup holds customers' data that an erasure does not reach
	{"invitations", PartNone},     // of a day at most: a restore revives none
	{"sessions", PartNone},        // a restore signs nobody in
	{"passkeys", PartAdmin},
	{"recovery_codes", PartNone},   // a restore revives no code that was used
	{"spent_challenges", PartNone}, // of minutes
	{"separation", PartAdmin},
	{"brand_keys", PartKeys},
	{"customer_keys", PartKeys},
	{"rotations", PartKeys},
	{"root_key", PartKeys},
	{"cooling", PartKeys},
	{"take_backs", PartKeys},
	{"tombstones", PartKeys},   // an erasure that outlives a restore keeps out whom it erased
	{"withheld", PartNone},     // no backup holds customers' data that an erasure does not reach
	{"log_erasures", PartKeys}, // of the state in which the keys are
	{"unsealed_rights", PartNone},
	{"log_heads", PartLog},
	{"log_tips", PartLog},
	{"log_groups", PartLog},
	{"log_checkpoints", PartLog},
	{"log_commitments", PartLog},
	{"root_holds", PartNone},
	{"log_snapshots", PartNone},
	{"alarms", PartNone},
	{"alarm_cursors", PartNone},
	{"alarm_events", PartNone},
	{"write_answers", PartNone}, // of writes that a restore may not hold
	{"log_snapshot_parts", PartNone},
	{"log_index", PartNone},
	{"followers", PartNone},
	{"follower_snapshots", PartNone},
	{"follower_snapshot_parts", PartNone},
}

// ErrUnfinished is returned for a database whose restore did not end.
var ErrUnfinished = fault.New(fault.Internal, "a restore into this database did not finish, so that it is not whole: run the same `cloakroom restore` again")

// kind is what a column holds: the three that the schema uses.
type kind uint8

const (
	integers kind = iota
	texts
	blobs
)

// Table is a table as it stands in a database.
type Table struct {
	Name    string
	Part    Part
	Columns []string
	Key     []string // the columns of the primary key, in order
	kinds   []kind
	nulls   []bool // whether the column may be null
}

// Tables returns the tables of the schema that a database has, in a fixed order.
func Tables(ctx context.Context, q Queryer) ([]Table, error) {
	var out []Table
	for _, p := range parts {
		t := Table{Name: p.table, Part: p.part}
		sql := sqlSQLiteColumns
		if q.Engine() == Postgres {
			sql = sqlPostgresColumns
		}
		places := map[string]int64{}
		err := q.Rows(ctx, func(r Row) error {
			var name, typ string
			var notNull, place int64
			if err := r.Scan(&name, &typ, &notNull, &place); err != nil {
				return err
			}
			k, err := kindOf(typ)
			if err != nil {
				return fmt.Errorf("%s.%s: %w", p.table, name, err)
			}
			t.Columns, t.kinds, t.nulls = append(t.Columns, name), append(t.kinds, k), append(t.nulls, notNull == 0 && place == 0)
			if place > 0 {
				t.Key = append(t.Key, name)
				places[name] = place
			}
			return nil
		}, sql, p.table)
		if err != nil {
			return nil, fmt.Errorf("reading the schema: %w", err)
		}
		slices.SortFunc(t.Key, func(a, b string) int { return int(places[a] - places[b]) })
		if len(t.Columns) > 0 {
			out = append(out, t)
		}
	}
	return out, nil
}

const (
	sqlSQLiteColumns   = `SELECT name, type, "notnull", pk FROM pragma_table_info($1) ORDER BY cid`
	sqlPostgresColumns = `SELECT a.attname::text, t.typname::text, a.attnotnull::int::bigint, coalesce(array_position(i.indkey::int2[], a.attnum) + 1, 0)::bigint FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`
)

func kindOf(typ string) (kind, error) {
	switch strings.ToLower(typ) {
	case "integer", "bigint", "int2", "int4", "int8":
		return integers, nil
	case "text":
		return texts, nil
	case "blob", "bytea":
		return blobs, nil
	}
	return 0, fmt.Errorf("a column of the type %s cannot be copied", typ)
}

// pageRows is how many rows one statement of ReadTable asks for: enough to hide the
// round trip, few enough that no statement runs into its time limit.
const pageRows = 5000

// ReadTable hands every row to fn, in the order of the primary key, as int64, string,
// []byte or nil. It streams; fn must not keep the slice.
func ReadTable(ctx context.Context, q Queryer, t Table, fn func(row []any) error) error {
	ints, strs, bufs := make([]*int64, len(t.Columns)), make([]*string, len(t.Columns)), make([][]byte, len(t.Columns))
	dest, row := make([]any, len(t.Columns)), make([]any, len(t.Columns))
	for i, k := range t.kinds {
		switch k {
		case integers:
			dest[i] = &ints[i]
		case texts:
			dest[i] = &strs[i]
		default:
			dest[i] = &bufs[i]
		}
	}
	key := make([]any, len(t.Key))
	first, next := readSQL(t, false), readSQL(t, true)
	for sql, args := first, []any(nil); ; sql, args = next, key {
		n := 0
		err := q.Rows(ctx, func(r Row) error {
			if err := r.Scan(dest...); err != nil {
				return err
			}
			for i, k := range t.kinds {
				switch {
				case k == integers && ints[i] != nil:
					row[i] = *ints[i]
				case k == texts && strs[i] != nil:
					row[i] = *strs[i]
				case k == blobs && (bufs[i] != nil || !t.nulls[i]):
					row[i] = append([]byte{}, bufs[i]...)
				default:
					row[i] = nil
				}
			}
			n++
			for i, c := range t.Key {
				key[i] = row[slices.Index(t.Columns, c)]
			}
			return fn(row)
		}, sql, args...)
		if err != nil {
			return fmt.Errorf("reading %s: %w", t.Name, err)
		}
		if n < pageRows {
			return nil
		}
	}
}

func quoted(names []string) string {
	return `"` + strings.Join(names, `", "`) + `"`
}

func placeholders(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ", $%d", i+1)
	}
	return b.String()[2:]
}

func readSQL(t Table, after bool) string {
	where := ""
	if after {
		where = " WHERE (" + quoted(t.Key) + ") > (" + placeholders(len(t.Key)) + ")"
	}
	return "SELECT " + quoted(t.Columns) + " FROM " + t.Name + where + " ORDER BY " + quoted(t.Key) + fmt.Sprintf(" LIMIT %d", pageRows)
}

// loader is what an engine offers to bring many rows in.
type loader interface {
	load(ctx context.Context, t Table, columns []string, rows [][]any) error
}

// LoadTable inserts rows, inside a transaction. columns says what each row holds; a
// column of the table that is not among them gets its default.
func LoadTable(ctx context.Context, q Queryer, t Table, columns []string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	for _, c := range columns {
		if !slices.Contains(t.Columns, c) {
			return fmt.Errorf("writing %s: it has no column %s", t.Name, c)
		}
	}
	l, ok := q.(loader)
	if !ok {
		return fmt.Errorf("writing %s: not inside a transaction", t.Name)
	}
	if err := l.load(ctx, t, columns, rows); err != nil {
		return fmt.Errorf("writing %s: %w", t.Name, err)
	}
	return nil
}

// ClearTable deletes every row of a table.
func ClearTable(ctx context.Context, q Queryer, t Table) error {
	verb := "DELETE FROM "
	if q.Engine() == Postgres {
		verb = "TRUNCATE "
	}
	if _, err := q.Exec(ctx, verb+t.Name); err != nil {
		return fmt.Errorf("emptying %s: %w", t.Name, err)
	}
	return nil
}

// longLimit is what LongSnapshot allows one statement, and one pause between two: a
// reader that writes what it reads to a slow disk is no server that stopped.
const longLimit = "600000"

// LongSnapshot is Snapshot for a reader that takes hours. It holds no lock that a
// writer waits for; old row versions stay until it ends.
func (d *DB) LongSnapshot(ctx context.Context, fn func(q Queryer) error) error {
	return d.snapshot(ctx, func(q Queryer) error {
		if q.Engine() == Postgres {
			for _, s := range []string{"SET LOCAL idle_in_transaction_session_timeout = ", "SET LOCAL statement_timeout = "} {
				if _, err := q.Exec(ctx, s+longLimit); err != nil {
					return fmt.Errorf("beginning a long snapshot: %w", err)
				}
			}
		}
		return fn(q)
	})
}

// LatestSchema is the schema version that this program knows.
func LatestSchema() int { return len(migrations) }

// SchemaVersion returns the schema version of a database, 0 where none of the vault's
// tables is.
func SchemaVersion(ctx context.Context, q Queryer) (int, error) {
	var v int
	err := q.Row(ctx, sqlReadVersion).Scan(&v)
	if errors.Is(err, errNoTable) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the schema's version: %w", err)
	}
	return v, nil
}

// The mark of a restore that has not ended is a schema version that no release has:
// every release refuses to open it, those before this one too.
const (
	sqlMarkRestore   = `INSERT INTO schema_versions (version, at) VALUES (1000000, $1) ON CONFLICT DO NOTHING`
	sqlUnmarkRestore = `DELETE FROM schema_versions WHERE version = 1000000`
	sqlReadMark      = `SELECT count(*) FROM schema_versions WHERE version = 1000000`
)

func restoring(ctx context.Context, q Queryer) (bool, error) {
	var n int64
	err := q.Row(ctx, sqlReadMark).Scan(&n)
	return n > 0, err
}

// Unfinished reports whether a restore into the database began and did not end.
func (d *DB) Unfinished(ctx context.Context) (bool, error) {
	is, err := restoring(ctx, d)
	if errors.Is(err, errNoTable) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading whether a restore ended: %w", err)
	}
	return is, nil
}

// BeginRestore marks the database as not whole, makes the schema of a version in it,
// and empties every table: also those that an earlier restore left half full. From
// then on Migrate refuses it, until EndRestore.
func (d *DB) BeginRestore(ctx context.Context, version int) error {
	err := d.lockSchema(ctx, func(q Queryer) error {
		if _, err := q.Exec(ctx, sqlCreateVersions); err != nil {
			return err
		}
		_, err := q.Exec(ctx, sqlMarkRestore, time.Now().UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("marking the database as not whole: %w", err)
	}
	have, err := SchemaVersion(ctx, d)
	if err != nil {
		return err
	}
	err = d.Tx(ctx, func(q Queryer) error {
		tables, err := Tables(ctx, q)
		for _, t := range tables {
			if err == nil && have > version {
				_, err = q.Exec(ctx, "DROP TABLE "+t.Name)
			} else if err == nil {
				err = ClearTable(ctx, q, t)
			}
		}
		if err == nil && have > version {
			_, err = q.Exec(ctx, sqlForgetVersions)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("emptying the database: %w", err)
	}
	return d.migrate(ctx, version, false)
}

const sqlForgetVersions = `DELETE FROM schema_versions WHERE version <> 1000000`

// MigrateRestore brings the schema of a database that is being restored forward to a
// version.
func (d *DB) MigrateRestore(ctx context.Context, version int) error {
	return d.migrate(ctx, version, false)
}

// EndRestore says that the database is whole.
func (d *DB) EndRestore(ctx context.Context) error {
	if _, err := d.Exec(ctx, sqlUnmarkRestore); err != nil {
		return fmt.Errorf("marking the database as whole: %w", err)
	}
	return nil
}

// PartOf returns the part of a backup that a table of the schema belongs to.
func PartOf(table string) (Part, bool) {
	for _, p := range parts {
		if p.table == table {
			return p.part, true
		}
	}
	return PartNone, false
}
