package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// pragmas are set on every connection and read back: SQLite ignores a misspelt
// pragma silently, and an embedded vault without synchronous=FULL would answer
// before its log is durable.
var pragmas = []struct{ name, value, want string }{
	{"journal_mode", "WAL", "wal"},
	{"synchronous", "FULL", "2"},
	{"foreign_keys", "ON", "1"},
	{"busy_timeout", "10000", "10000"},
	{"mmap_size", "0", "0"},
	{"secure_delete", "ON", "1"},
	{"temp_store", "MEMORY", "2"},
	{"wal_autocheckpoint", "4000", "4000"},
	{"journal_size_limit", "134217728", "134217728"},
}

const (
	// writerCacheKiB and readerCacheKiB are page caches in KiB; the sum over one
	// writer and DefaultReaders readers stays under 200 MiB.
	writerCacheKiB = 96 << 10
	readerCacheKiB = 8 << 10
)

type sqliteDB struct {
	sqliteQueryer
	writer *stmtCache
	clock  func() time.Time
}

// OpenSQLite opens, and creates if need be, the SQLite database in the file path.
// It refuses to run when a safety pragma did not take effect. The caller sees to
// it that one process at a time opens the file.
func OpenSQLite(ctx context.Context, path string, opts Options) (*DB, error) {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Readers == 0 {
		opts.Readers = DefaultReaders
	}
	open := func(cacheKiB, conns int, extra string) (*stmtCache, error) {
		v := url.Values{}
		for _, p := range pragmas {
			v.Add("_pragma", p.name+"("+p.value+")")
		}
		v.Add("_pragma", fmt.Sprintf("cache_size(-%d)", cacheKiB))
		pool, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+v.Encode()+extra)
		if err != nil {
			return nil, err
		}
		pool.SetMaxOpenConns(conns)
		pool.SetMaxIdleConns(conns)
		return &stmtCache{pool: pool, stmts: map[string]*sql.Stmt{}}, nil
	}
	w, err := open(writerCacheKiB, 1, "&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	for _, p := range pragmas {
		var got string
		if err := w.pool.QueryRowContext(ctx, "PRAGMA "+p.name).Scan(&got); err != nil {
			w.pool.Close()
			return nil, fmt.Errorf("opening %s: reading back pragma %s: %w", path, p.name, sqliteErr(err))
		}
		if got != p.want {
			w.pool.Close()
			return nil, fmt.Errorf("opening %s: pragma %s is %s, not %s: refusing to run without it", path, p.name, got, p.want)
		}
	}
	r, err := open(readerCacheKiB, opts.Readers, "&_pragma=query_only(ON)")
	if err != nil {
		w.pool.Close()
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	d := &sqliteDB{writer: w, clock: opts.Clock}
	d.sqliteQueryer = sqliteQueryer{cache: r, clock: opts.Clock}
	return &DB{d}, nil
}

func (d *sqliteDB) close() error {
	return errors.Join(d.cache.close(), d.writer.close())
}

const (
	// scrubWait is how long a scrub, and every writer behind it, waits for readers of older
	// states.
	sqlSQLiteScrubWait = `PRAGMA busy_timeout = 250`
	sqlSQLiteUsualWait = `PRAGMA busy_timeout = 10000`
	sqlSQLiteScrub     = `PRAGMA wal_checkpoint(TRUNCATE)`
)

func (d *sqliteDB) scrub(ctx context.Context) (done bool, err error) {
	c, err := d.writer.pool.Conn(ctx)
	if err != nil {
		return false, fmt.Errorf("emptying the write-ahead log: %w", sqliteErr(err))
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, sqlSQLiteScrubWait); err != nil {
		return false, fmt.Errorf("emptying the write-ahead log: %w", sqliteErr(err))
	}
	var busy, frames, moved int64
	err = c.QueryRowContext(ctx, sqlSQLiteScrub).Scan(&busy, &frames, &moved)
	if _, uerr := c.ExecContext(context.WithoutCancel(ctx), sqlSQLiteUsualWait); uerr != nil {
		err = errors.Join(err, uerr)
	}
	if err != nil {
		return false, fmt.Errorf("emptying the write-ahead log: %w", sqliteErr(err))
	}
	return busy == 0, nil
}

func (d *sqliteDB) tx(ctx context.Context, fn func(Queryer) error) error {
	return d.writer.begin(ctx, d.clock, fn)
}

func (d *sqliteDB) pipeline(ctx context.Context, first []Stmt, then func(Queryer) ([]Stmt, error)) error {
	return d.tx(ctx, func(q Queryer) error {
		if err := q.Batch(ctx, first); err != nil {
			return err
		}
		last, err := then(q)
		if err != nil {
			return err
		}
		return q.Batch(ctx, last)
	})
}

func (d *sqliteDB) snapshot(ctx context.Context, fn func(Queryer) error) error {
	return d.cache.begin(ctx, d.clock, fn)
}

// Exec outside a transaction is a write and so goes through the writer.
func (d *sqliteDB) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	var n int64
	err := (&DB{d}).Tx(ctx, func(q Queryer) (err error) {
		n, err = q.Exec(ctx, query, args...)
		return err
	})
	return n, err
}

// Batch outside a transaction may write only if it holds no query: a batch of
// queries stays on the readers.
func (d *sqliteDB) Batch(ctx context.Context, stmts []Stmt) error {
	for _, s := range stmts {
		if s.Scan == nil && s.Now == nil {
			return (&DB{d}).Tx(ctx, func(q Queryer) error { return q.Batch(ctx, stmts) })
		}
	}
	return d.sqliteQueryer.Batch(ctx, stmts)
}

func (d *sqliteDB) lockSchema(ctx context.Context, fn func(Queryer) error) error {
	return d.tx(ctx, fn)
}

// stmtCache keeps one prepared statement per SQL constant. Only constants pass
// through this package, so it is bounded by the program's text.
type stmtCache struct {
	pool  *sql.DB
	mu    sync.RWMutex
	stmts map[string]*sql.Stmt
}

func (c *stmtCache) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.stmts {
		s.Close()
	}
	c.stmts = map[string]*sql.Stmt{}
	return c.pool.Close()
}

func (c *stmtCache) cached(query string) *sql.Stmt {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.stmts[query]
}

// prepare must not be called while a transaction of a one-connection pool is open:
// it would wait for that connection for ever. Inside one, statements are prepared
// on the transaction itself and adopted here after it has ended.
func (c *stmtCache) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := c.cached(query); s != nil {
		return s, nil
	}
	s, err := c.pool.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.stmts[query]; old != nil {
		s.Close()
		return old, nil
	}
	c.stmts[query] = s
	return s, nil
}

func (c *stmtCache) begin(ctx context.Context, clock func() time.Time, fn func(Queryer) error) (err error) {
	tx, err := c.pool.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", sqliteErr(err))
	}
	q := &sqliteQueryer{cache: c, tx: tx, clock: clock}
	done := false
	defer func() {
		if !done {
			tx.Rollback() // also when fn panics: the one writer must come free
		}
		for _, query := range q.wanted {
			c.prepare(context.WithoutCancel(ctx), query)
		}
	}()
	if err := fn(q); err != nil {
		return err
	}
	done = true
	if err := tx.Commit(); err != nil {
		// SQLite's COMMIT either took effect or left the transaction open; an
		// interrupted one may have done either.
		tx.Rollback()
		if ctx.Err() != nil {
			return fmt.Errorf("committing: %w: %w", ErrOutcomeUnknown, err)
		}
		return fmt.Errorf("committing: %w", sqliteErr(err))
	}
	return nil
}

type sqliteQueryer struct {
	cache  *stmtCache
	tx     *sql.Tx // nil outside a transaction
	clock  func() time.Time
	wanted []string // statements used in tx that the cache does not hold yet
}

// Engine implements Queryer.
func (q *sqliteQueryer) Engine() Engine { return SQLite }

// Now implements Queryer with the host's clock: on one machine it is the
// database's.
func (q *sqliteQueryer) Now(context.Context) (time.Time, error) { return q.clock().UTC(), nil }

func (d *sqliteDB) estimate(ctx context.Context) (time.Time, error) { return d.Now(ctx) }

func (q *sqliteQueryer) stmt(ctx context.Context, query string) (*sql.Stmt, func(), error) {
	if q.tx == nil {
		s, err := q.cache.prepare(ctx, query)
		return s, func() {}, err
	}
	if s := q.cache.cached(query); s != nil {
		t := q.tx.StmtContext(ctx, s)
		return t, func() { t.Close() }, nil
	}
	q.wanted = append(q.wanted, query)
	s, err := q.tx.PrepareContext(ctx, query)
	if err != nil {
		return nil, nil, err
	}
	return s, func() { s.Close() }, nil
}

// Exec implements Queryer.
func (q *sqliteQueryer) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	s, release, err := q.stmt(ctx, query)
	if err != nil {
		return 0, sqliteErr(err)
	}
	defer release()
	res, err := s.ExecContext(ctx, args...)
	if err != nil {
		return 0, sqliteErr(err)
	}
	return res.RowsAffected()
}

// Row implements Queryer.
func (q *sqliteQueryer) Row(ctx context.Context, query string, args ...any) Row {
	return oneRow(func(dest ...any) error {
		s, release, err := q.stmt(ctx, query)
		if err != nil {
			return sqliteErr(err)
		}
		defer release()
		err = s.QueryRowContext(ctx, args...).Scan(dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNoRows
		}
		return sqliteErr(err)
	})
}

type oneRow func(dest ...any) error

func (r oneRow) Scan(dest ...any) error { return r(dest...) }

// Rows implements Queryer.
func (q *sqliteQueryer) Rows(ctx context.Context, scan func(Row) error, query string, args ...any) error {
	s, release, err := q.stmt(ctx, query)
	if err != nil {
		return sqliteErr(err)
	}
	defer release()
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return sqliteErr(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return sqliteErr(rows.Err())
}

// Batch implements Queryer: there is no round trip to save.
func (q *sqliteQueryer) Batch(ctx context.Context, stmts []Stmt) error {
	for _, s := range stmts {
		if s.Now != nil {
			*s.Now = q.clock().UTC()
			continue
		}
		if s.Scan != nil {
			if err := q.Rows(ctx, s.Scan, s.SQL, s.Args...); err != nil {
				return err
			}
			continue
		}
		n, err := q.Exec(ctx, s.SQL, s.Args...)
		if err != nil {
			return err
		}
		if s.Affected != nil {
			*s.Affected = n
		}
	}
	return nil
}

func sqliteErr(err error) error {
	if err == nil {
		return nil
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w: %w", errRetry, err)
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case sqlite3.SQLITE_ERROR:
		if strings.Contains(e.Error(), "no such table") {
			return fmt.Errorf("%w: %w: %w", ErrUnavailable, errNoTable, err)
		}
	}
	return err
}
