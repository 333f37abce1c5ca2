// Package db is the only package that knows which SQL engine is underneath:
// SQLite embedded, or PostgreSQL and what speaks its protocol.
//
// It offers one narrow way to run hand-written SQL that both engines understand
// ($1 placeholders, ON CONFLICT, RETURNING, integer microseconds), one way to run
// a transaction, and the schema. There is no query builder and no store
// interface: each table belongs to the one package that writes it, whose SQL
// stands beside the code that uses it as const sqlXxx.
//
// # Transactions
//
// [DB.Tx] takes a closure that may run more than once: a serialisation failure, a
// deadlock or a busy database rolls it back and runs it again. A closure must
// therefore not change anything outside the transaction before Tx has returned.
// An error at COMMIT whose outcome is unknown is [ErrOutcomeUnknown] and is never
// retried here.
//
// [DB.Pipeline] is the same in two round trips: for the few transactions that every
// request waits for.
//
// # Engines
//
// On SQLite all writes pass through one connection (BEGIN IMMEDIATE, WAL,
// synchronous=FULL) and queue there in order, so that "database is locked" reaches
// nobody; reads use a pool of their own.
package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// Engine names the SQL engine.
type Engine string

// The engines.
const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
)

var (
	// ErrNoRows is returned by Row.Scan when the query gave no row.
	ErrNoRows = fault.New(fault.Internal, "no rows")
	// ErrOutcomeUnknown is returned when a COMMIT failed in a way that leaves open
	// whether it took effect. Read the database to find out; do not repeat blindly.
	ErrOutcomeUnknown = fault.New(fault.Unavailable, "the outcome of the commit is unknown")
	// ErrUnavailable is joined to errors that say that the database cannot take
	// writes now: full disk, read-only file, lost connection.
	ErrUnavailable = fault.New(fault.Unavailable, "the database is unavailable: retry")
)

// Row is one row being read.
type Row interface {
	Scan(dest ...any) error
}

// Around returns a row with more columns before and after those that its caller scans, into
// first and last.
func Around(r Row, first, last []any) Row { return around{r, first, last} }

type around struct {
	row         Row
	first, last []any
}

// Scan implements Row.
func (a around) Scan(dest ...any) error { return a.row.Scan(slices.Concat(a.first, dest, a.last)...) }

// Stmt is one statement of a [Queryer.Batch]. With Scan set it is a query whose
// rows are each handed to Scan; otherwise it is executed, and Affected, if set,
// receives the number of rows it touched. With Now set it reads the database's clock
// into it, after the statements before it, and the rest is not used.
type Stmt struct {
	SQL      string
	Args     []any
	Scan     func(Row) error
	Affected *int64
	Now      *time.Time
}

// Queryer runs SQL: a transaction, or the database outside of one.
type Queryer interface {
	// Exec runs a statement and returns the number of rows it touched.
	Exec(ctx context.Context, sql string, args ...any) (int64, error)
	// Row runs a query for at most one row; Scan returns ErrNoRows without one.
	Row(ctx context.Context, sql string, args ...any) Row
	// Rows hands each row of a query to scan; an error of scan ends it.
	Rows(ctx context.Context, scan func(Row) error, sql string, args ...any) error
	// Batch runs the statements in order, in one round trip where the engine can.
	Batch(ctx context.Context, stmts []Stmt) error
	// Engine tells which engine runs it.
	Engine() Engine
	// Now returns the database's clock: the one clock that every server shares.
	Now(ctx context.Context) (time.Time, error)
}

// engine is what each engine implements.
type engine interface {
	Queryer
	tx(ctx context.Context, fn func(Queryer) error) error
	pipeline(ctx context.Context, first []Stmt, then func(Queryer) ([]Stmt, error)) error
	snapshot(ctx context.Context, fn func(Queryer) error) error
	estimate(ctx context.Context) (time.Time, error)
	stats() PoolStats
	lockSchema(ctx context.Context, fn func(Queryer) error) error
	scrub(ctx context.Context) (bool, error)
	close() error
}

// Options configure a database.
type Options struct {
	// Clock replaces the engine's clock, for tests and simulations. Nil means the
	// host's clock on SQLite and the server's on PostgreSQL.
	Clock func() time.Time
	// Readers is the number of concurrent readers on SQLite, or of connections on
	// PostgreSQL; 0 means DefaultReaders or DefaultConnections.
	Readers int
}

const (
	// DefaultReaders bounds SQLite's read pool: more connections than this only
	// multiply page caches.
	DefaultReaders = 8
	// DefaultConnections bounds PostgreSQL's pool; half as many more are kept for
	// Pipeline.
	DefaultConnections = 16
)

// DB is an open database.
type DB struct{ engine }

// maxAttempts bounds the re-runs of one transaction.
const maxAttempts = 20

// errNoTable marks an error that says that a table is missing.
var errNoTable = errors.New("a table is missing")

// errRetry marks an error after which the transaction may be run again.
var errRetry = errors.New("retry")

// Tx runs fn in a read-write transaction and commits it. fn may run several times.
func (d *DB) Tx(ctx context.Context, fn func(q Queryer) error) error {
	return again(ctx, func() error { return d.tx(ctx, fn) })
}

// Pipeline runs a read-write transaction whose beginning and end are each one round
// trip where the engine can: BEGIN with the statements that first returns, and those
// that then returns with COMMIT. In between, then computes, and may use q to read
// more. It is READ COMMITTED: a statement sees what was committed before it began,
// also by whoever held a lock that an earlier statement of first waited for.
//
// The last statements return no rows. COMMIT is sent before their answers are read:
// one that fails ends the transaction, and one that touches fewer rows than it should
// does not. An Affected of theirs is set when Pipeline has returned. first and then
// may run several times, as fn of Tx.
func (d *DB) Pipeline(ctx context.Context, first func() []Stmt, then func(q Queryer) ([]Stmt, error)) error {
	return again(ctx, func() error { return d.pipeline(ctx, first(), then) })
}

// again runs a transaction until it is not the engine that asks to run it again.
func again(ctx context.Context, run func() error) error {
	wait := time.Millisecond
	for attempt := 1; ; attempt++ {
		err := run()
		if err == nil || !errors.Is(err, errRetry) {
			return err
		}
		if attempt == maxAttempts {
			return fmt.Errorf("giving up after %d attempts: %w", attempt, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, while retrying: %w", ctx.Err(), err)
		case <-time.After(wait):
		}
		wait = min(2*wait, 100*time.Millisecond)
	}
}

// Estimate returns about the database's clock, without asking it each time: the clock
// as it was last read, and the time that passed on this host since. It lags by a
// round trip at most, unless one of the clocks stepped.
func (d *DB) Estimate(ctx context.Context) (time.Time, error) { return d.estimate(ctx) }

// Alone runs fn in a transaction while no other process that has the database open
// migrates or runs one through Alone: for what must happen once in a database's life.
// It is not run again.
func (d *DB) Alone(ctx context.Context, fn func(q Queryer) error) error {
	return d.lockSchema(ctx, fn)
}

// Snapshot runs fn in a read-only transaction that sees one state of the database.
func (d *DB) Snapshot(ctx context.Context, fn func(q Queryer) error) error {
	return d.snapshot(ctx, fn)
}

// Scrub takes what was deleted out of the files that the vault writes itself: on SQLite it
// moves the write-ahead log into the database and empties its file, which holds older forms
// of every page. It reports whether that was done: while somebody reads an older state, such
// as a backup, it is not, and is to be called again. On PostgreSQL there is nothing to do;
// see docs/operate.md.
func (d *DB) Scrub(ctx context.Context) (bool, error) { return d.scrub(ctx) }

// Close closes the database. On SQLite it checkpoints the write-ahead log.
func (d *DB) Close() error { return d.close() }

// Time returns a time that a column holds: microseconds since 1970, and 0 for none.
func Time(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// Micros returns what a column holds of a time, and 0 of the zero time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
