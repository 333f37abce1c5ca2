package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Session settings of every PostgreSQL connection.
const (
	// pgIdleInTransaction cuts off a server that stopped while it held a brand's
	// head row, so that one stuck process never stops a brand.
	pgIdleInTransaction = "1500"
	// pgStatementTimeout bounds one statement, where the address does not name another.
	pgStatementTimeout = "30000"
	// pgConnectTimeout bounds one connection attempt: longer than a failover's silence
	// would hold requests that wait, shorter than their deadline.
	pgConnectTimeout = 10 * time.Second
	// pgSchemaLock is the advisory lock that migrations run under.
	pgSchemaLock = 0x636c6f616b // "cloak"
)

type postgresDB struct {
	pgQueryer
	pool    *pgxpool.Pool
	commits *pgxpool.Pool // of Pipeline
	gaveUp  *gaveUp
}

// sqlPostgresSession reads back what a session must have: a pooler in between can drop
// what was asked for.
const sqlPostgresSession = `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
	current_setting('synchronous_commit') IN ('on', 'remote_apply'), current_setting('idle_in_transaction_session_timeout') <> '0'`

// OpenPostgres opens the PostgreSQL database that the connection string names. It
// refuses a replica, and a server on which the safety settings of a session do not
// take effect. No error holds the connection string's password.
func OpenPostgres(ctx context.Context, dsn string, opts Options) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil { // the parser's error quotes the password
		return nil, errors.New("the database's address cannot be read: write postgres://USER:PASSWORD@HOST:5432/DATABASE, with what is special in the password percent-encoded")
	}
	if opts.Readers == 0 {
		opts.Readers = DefaultConnections
	}
	cfg.AfterConnect = tellCitus
	lost := &gaveUp{}
	lost.watch(cfg.ConnConfig)
	cfg.MaxConns = int32(opts.Readers)
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = pgConnectTimeout
	}
	p := cfg.ConnConfig.RuntimeParams
	p["application_name"] = "cloakroom"
	p["idle_in_transaction_session_timeout"] = pgIdleInTransaction
	p["synchronous_commit"] = "on"
	if p["statement_timeout"] == "" { // an operator may set another in the address
		p["statement_timeout"] = pgStatementTimeout
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("opening PostgreSQL: %w", err)
	}
	var readOnly, durable, bounded bool
	err = pool.QueryRow(ctx, sqlPostgresSession).Scan(&readOnly, &durable, &bounded)
	switch {
	case err != nil:
		err = fmt.Errorf("opening PostgreSQL: %w", pgErr(err))
	case readOnly:
		err = errors.New("opening PostgreSQL: this server is a read-only replica, or its default_transaction_read_only is on; give the primary's address, because every disclosure must be logged before it leaves")
	case !durable || !bounded:
		err = errors.New("opening PostgreSQL: synchronous_commit or idle_in_transaction_session_timeout, which the vault sets for its sessions, did not take effect: connect to PostgreSQL itself and not through a pooler that drops them")
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	commits, err := pgxpool.NewWithConfig(ctx, pipelines(cfg))
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("opening PostgreSQL: %w", err)
	}
	return &DB{&postgresDB{pgQueryer: pgQueryer{pool, opts.Clock, new(atomic.Pointer[reading])}, pool: pool, commits: commits, gaveUp: lost}}, nil
}

func (d *postgresDB) close() error {
	d.pool.Close()
	d.commits.Close()
	return nil
}

func (d *postgresDB) tx(ctx context.Context, fn func(Queryer) error) error {
	return d.gaveUp.replicated(func() error { return d.begin(ctx, pgx.TxOptions{}, fn) })
}

func (d *postgresDB) snapshot(ctx context.Context, fn func(Queryer) error) error {
	return d.begin(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, fn)
}

func (d *postgresDB) begin(ctx context.Context, opts pgx.TxOptions, fn func(Queryer) error) error {
	tx, err := d.pool.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", pgErr(err))
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if err := fn(&pgQueryer{tx, d.clock, d.read}); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("committing: %w", pgCommitErr(err))
	}
	return nil
}

// pgConn is what a pool and a transaction of pgx have in common.
type pgConn interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

type pgQueryer struct {
	c     pgConn
	clock func() time.Time
	read  *atomic.Pointer[reading]
}

// reading is the server's clock as it was read, and when the answer came.
type reading struct{ server, here time.Time }

// maxReadingAge bounds how long a reading serves: clocks drift, and one that was
// asleep does not know how long.
const maxReadingAge = time.Minute

func (q *pgQueryer) keep(us int64) time.Time {
	at := time.UnixMicro(us).UTC()
	q.read.Store(&reading{at, time.Now()})
	return at
}

// scrub does nothing: the server vacuums its tables and recycles its write-ahead log.
func (d *postgresDB) scrub(context.Context) (bool, error) { return true, nil }

func (d *postgresDB) estimate(ctx context.Context) (time.Time, error) {
	if r := d.read.Load(); r != nil && d.clock == nil {
		if age := time.Since(r.here); age <= maxReadingAge {
			return r.server.Add(age), nil
		}
	}
	return d.Now(ctx)
}

// Engine implements Queryer.
func (q *pgQueryer) Engine() Engine { return Postgres }

const sqlPostgresNow = `SELECT (extract(epoch from clock_timestamp()) * 1000000)::bigint`

// Now implements Queryer.
func (q *pgQueryer) Now(ctx context.Context) (time.Time, error) {
	if q.clock != nil {
		return q.clock().UTC(), nil
	}
	var us int64
	if err := q.Row(ctx, sqlPostgresNow).Scan(&us); err != nil {
		return time.Time{}, fmt.Errorf("reading the database's clock: %w", err)
	}
	return q.keep(us), nil
}

// Exec implements Queryer.
func (q *pgQueryer) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	tag, err := q.c.Exec(ctx, sql, args...)
	return tag.RowsAffected(), pgErr(err)
}

// Row implements Queryer.
func (q *pgQueryer) Row(ctx context.Context, sql string, args ...any) Row {
	return oneRow(func(dest ...any) error {
		return pgErr(q.c.QueryRow(ctx, sql, args...).Scan(dest...))
	})
}

// Rows implements Queryer.
func (q *pgQueryer) Rows(ctx context.Context, scan func(Row) error, sql string, args ...any) error {
	rows, err := q.c.Query(ctx, sql, args...)
	if err != nil {
		return pgErr(err)
	}
	return each(rows, scan)
}

func each(rows pgx.Rows, scan func(Row) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return pgErr(rows.Err())
}

// Batch implements Queryer by one pipelined round trip.
func (q *pgQueryer) Batch(ctx context.Context, stmts []Stmt) (err error) {
	b := &pgx.Batch{}
	for _, s := range stmts {
		switch {
		case s.Now == nil:
			b.Queue(s.SQL, s.Args...)
		case q.clock == nil:
			b.Queue(sqlPostgresNow)
		}
	}
	res := q.c.SendBatch(ctx, b)
	defer func() {
		if cerr := res.Close(); err == nil {
			err = pgErr(cerr)
		}
	}()
	for _, s := range stmts {
		if err := q.answer(res, s); err != nil {
			return err
		}
	}
	return nil
}

func (q *pgQueryer) answer(res pgx.BatchResults, s Stmt) error {
	switch {
	case s.Now != nil && q.clock != nil:
		*s.Now = q.clock().UTC()
	case s.Now != nil:
		var us int64
		if err := res.QueryRow().Scan(&us); err != nil {
			return fmt.Errorf("reading the database's clock: %w", pgErr(err))
		}
		*s.Now = q.keep(us)
	case s.Scan != nil:
		rows, err := res.Query()
		if err != nil {
			return pgErr(err)
		}
		return each(rows, s.Scan)
	default:
		tag, err := res.Exec()
		if err != nil {
			return pgErr(err)
		}
		if s.Affected != nil {
			*s.Affected = tag.RowsAffected()
		}
	}
	return nil
}

// pgCommitErr classifies an error of COMMIT. An answer that leaves the session alive
// says that nothing was committed. A session that ended may have committed: a server
// that panics while it writes the log can find the record there when it recovers.
func pgCommitErr(err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.SeverityUnlocalized == "ERROR" || errors.Is(err, pgx.ErrTxCommitRollback) {
		return pgErr(err)
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

// pgErr marks errors that a new attempt can mend, and those that say that the
// database cannot be used now. A caller's own deadline stays what it is.
func pgErr(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNoRows
	}
	var ce *pgconn.ConnectError
	if errors.As(err, &ce) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch {
		case pe.Code == "40001" || pe.Code == "40P01":
			return fmt.Errorf("%w: %w", errRetry, err)
		case pe.Code == "42P01":
			return fmt.Errorf("%w: %w: %w", ErrUnavailable, errNoTable, err)
		case pe.SeverityUnlocalized == "FATAL", pe.SeverityUnlocalized == "PANIC", unavailableCode(pe.Code):
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	var ne net.Error
	if errors.As(err, &ne) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// unavailableCode tells the SQLSTATE codes that say that the server cannot do what it
// could do at another time.
func unavailableCode(code string) bool {
	switch code {
	case "25006", // read-only: a replica, or a primary that became one
		"25P03", "25P04", // the session or transaction took too long and was ended
		"55P03": // a lock was not to be had
		return true
	}
	switch code[:min(2, len(code))] {
	case "08", // connection
		"53", // resources: disk full, out of memory, too many connections
		"57", // an operator's doing: shutting down, starting up, a statement cancelled
		"58", // the system: input and output
		"XX": // the server's own faults, damaged files among them
		return true
	}
	return false
}
