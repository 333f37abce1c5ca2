package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Two locks keep migrations apart, because no single one does everywhere. The
// advisory lock is enough on PostgreSQL; CockroachDB grants it to everybody, and
// older releases of YugabyteDB refuse it. The row lock holds on all of them, and
// cannot exist before its table. The table stays on the node that migrates: it is
// not distributed.
const (
	sqlPostgresLockTable = `CREATE TABLE IF NOT EXISTS schema_lock (one integer PRIMARY KEY)`
	sqlPostgresLockRow   = `INSERT INTO schema_lock (one) VALUES (1) ON CONFLICT DO NOTHING`
	sqlPostgresTakeRow   = `SELECT one FROM schema_lock WHERE one = 1 FOR UPDATE`
	sqlPostgresAdvisory  = `SELECT pg_advisory_xact_lock($1)`
	// A server that migrates holds no brand's head: one that is slow may pause longer than
	// others, and one that stopped is cut off all the same.
	sqlPostgresPatient = `SET LOCAL idle_in_transaction_session_timeout = '20s'`
)

func (d *postgresDB) lockSchema(ctx context.Context, fn func(Queryer) error) error {
	return d.lockSchemaBy(ctx, sqlPostgresAdvisory, fn)
}

func (d *postgresDB) lockSchemaBy(ctx context.Context, advisory string, fn func(Queryer) error) error {
	if err := d.makeLock(ctx); err != nil {
		return fmt.Errorf("making the migration lock: %w", err)
	}
	return d.begin(ctx, pgx.TxOptions{}, func(q Queryer) error {
		// A change of a large table, and whoever waits for one, takes as long as it takes.
		for _, sql := range []string{sqlPostgresNoLimit, sqlPostgresPatient} {
			if _, err := q.Exec(ctx, sql); err != nil {
				return fmt.Errorf("taking the migration lock: %w", err)
			}
		}
		if err := takeAdvisory(ctx, q.(*pgQueryer), advisory); err != nil {
			return fmt.Errorf("taking the migration lock: %w", err)
		}
		var one int
		if err := q.Row(ctx, sqlPostgresTakeRow).Scan(&one); err != nil {
			return fmt.Errorf("taking the migration lock: %w", err)
		}
		return fn(q)
	})
}

// makeLock makes the row to lock. Of two processes that make the table at once, one
// is told that it is there.
func (d *postgresDB) makeLock(ctx context.Context) error {
	var err error
	for range maxAttempts {
		if _, err = d.Exec(ctx, sqlPostgresLockTable); err == nil {
			_, err = d.Exec(ctx, sqlPostgresLockRow)
		}
		var pe *pgconn.PgError
		if err == nil || !errors.Is(err, errRetry) && !(errors.As(err, &pe) && (pe.Code == "23505" || pe.Code == "42P07" || pe.Code == "42710")) {
			return err
		}
	}
	return err
}

// takeAdvisory tries in a savepoint, so that an engine without advisory locks leaves
// the transaction usable.
func takeAdvisory(ctx context.Context, q *pgQueryer, advisory string) error {
	tx, ok := q.c.(pgx.Tx)
	if !ok {
		return errors.New("not in a transaction")
	}
	inner, err := tx.Begin(ctx)
	if err != nil {
		return pgErr(err)
	}
	if _, err = inner.Exec(ctx, advisory, int64(pgSchemaLock)); err == nil {
		return pgErr(inner.Commit(ctx))
	}
	var pe *pgconn.PgError
	if !errors.As(err, &pe) || pe.Code != "42883" && pe.Code[:2] != "0A" { // no such function, not supported
		return pgErr(err)
	}
	return pgErr(inner.Rollback(ctx))
}

// tellCitus sets what a session needs on a cluster, and nothing elsewhere.
func tellCitus(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, sqlPostgresPoolSize)
	return err
}
