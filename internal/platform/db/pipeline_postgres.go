package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// pgBegin names the isolation, because a server's default may be another: the
	// statements after a lock must see what its earlier holder committed.
	pgBegin  = "begin isolation level read committed"
	pgCommit = "commit"
	// pgRollbackTimeout bounds the rollback of what failed; the connection is closed
	// after it.
	pgRollbackTimeout = 5 * time.Second
	// pgLong is how long a transaction may have been idle before it is asked for
	// whether it is still there; the server ends it after pgIdleInTransaction.
	pgLong = time.Second
)

// pipelines is the configuration of the connections that pipelines run on. They have
// their own, half as many as there are for everything else, because every request
// waits for one: it must not queue behind a hundred reads.
func pipelines(cfg *pgxpool.Config) *pgxpool.Config {
	cfg = cfg.Copy()
	cfg.MaxConns = max(2, cfg.MaxConns/2)
	return cfg
}

// cutOff lets a transaction run again that the server ended because this process was
// too slow to go on with it. It does so only while it waits for us: nothing of what we
// sent was run.
func cutOff(err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "25P03" {
		return fmt.Errorf("%w: %w", errRetry, err)
	}
	return err
}

func (d *postgresDB) pipeline(ctx context.Context, first []Stmt, then func(Queryer) ([]Stmt, error)) error {
	return d.gaveUp.replicated(func() error { return d.pipelined(ctx, first, then) })
}

// pipelined holds one connection from BEGIN to COMMIT. A connection that is lost takes
// the transaction with it.
func (d *postgresDB) pipelined(ctx context.Context, first []Stmt, then func(Queryer) ([]Stmt, error)) error {
	conn, err := d.commits.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", pgErr(err))
	}
	defer func() { // also when then panics: a lock must not outlive it
		if c := conn.Conn(); !c.IsClosed() && c.PgConn().TxStatus() != 'I' {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgRollbackTimeout)
			defer cancel()
			c.Exec(ctx, "rollback") // what does not answer is closed by the pool
		}
		conn.Release()
	}()
	q := &pgQueryer{conn, d.clock, d.read}
	if err := q.Batch(ctx, append([]Stmt{{SQL: pgBegin}}, first...)); err != nil {
		return err
	}
	began := time.Now()
	last, err := then(q)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return cutOff(err)
	}
	if time.Since(began) > pgLong {
		if err := conn.Ping(ctx); err != nil {
			return fmt.Errorf("committing: %w: the server gave the transaction up: %w", errRetry, err)
		}
	}
	return q.commit(ctx, last)
}

// commit sends the last statements and COMMIT together. The server skips COMMIT when
// a statement before it fails, so that its error says that nothing was committed; any
// other end of the connection leaves it open.
func (q *pgQueryer) commit(ctx context.Context, last []Stmt) error {
	b := &pgx.Batch{}
	for _, s := range last {
		b.Queue(s.SQL, s.Args...)
	}
	b.Queue(pgCommit)
	res := q.c.SendBatch(ctx, b)
	committed, err := committed(res, last)
	cerr := res.Close()
	if committed {
		return nil // whatever becomes of the connection after that
	}
	if err == nil {
		err = cerr
	}
	if err == nil {
		return errors.New("committing: a statement had failed before, and the database rolled the transaction back")
	}
	if cut := cutOff(err); errors.Is(cut, errRetry) {
		return fmt.Errorf("committing: %w", cut)
	}
	return fmt.Errorf("committing: %w", pgCommitErr(err))
}

func committed(res pgx.BatchResults, last []Stmt) (bool, error) {
	for _, s := range last {
		tag, err := res.Exec()
		if err != nil {
			return false, err
		}
		if s.Affected != nil {
			*s.Affected = tag.RowsAffected()
		}
	}
	tag, err := res.Exec()
	return err == nil && tag.String() == "COMMIT", err
}
