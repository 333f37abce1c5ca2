package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// pgBegin names the isolation, because a server's default may be another: the
	// statements after a lock must see what its earlier holder committed.
	pgBegin  = "begin isolation level read committed"
	pgCommit = "commit"
	// pgRollbackTimeout bounds the rollback of what failed; the connection is closed
	// after it.
	pgRollbackTimeout = 5 * time.Second
)

// pipeline holds one connection from BEGIN to COMMIT. A connection that is lost takes
// the transaction with it.
func (d *postgresDB) pipeline(ctx context.Context, first []Stmt, then func(Queryer) ([]Stmt, error)) error {
	conn, err := d.pool.Acquire(ctx)
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
	last, err := then(q)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
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
	var pe *pgconn.PgError
	switch {
	case err == nil:
		return errors.New("committing: a statement had failed before, and the database rolled the transaction back")
	case errors.As(err, &pe) && pe.Severity != "FATAL" && pe.Severity != "PANIC", pgconn.SafeToRetry(err):
		return fmt.Errorf("committing: %w", pgErr(err))
	}
	return fmt.Errorf("committing: %w: %w", ErrOutcomeUnknown, err)
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
