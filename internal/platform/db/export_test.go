package db

import "context"

// LockSchemaByRow runs fn under the migration lock on an engine whose advisory lock
// everybody gets.
func LockSchemaByRow(ctx context.Context, d *DB, fn func()) error {
	return d.engine.(*postgresDB).lockSchemaBy(ctx, `SELECT $1::bigint`, func(Queryer) error { fn(); return nil })
}

// WithAdvisory takes the migration lock with other SQL in place of the advisory lock,
// and uses the transaction after it.
func WithAdvisory(ctx context.Context, d *DB, sql string) error {
	return d.engine.(*postgresDB).lockSchemaBy(ctx, sql, func(q Queryer) error {
		_, err := q.Exec(ctx, sqlReadVersion)
		return err
	})
}

// MigrateBefore brings the schema to where the last n migrations have not run.
func MigrateBefore(ctx context.Context, d *DB, n int) error {
	return d.migrate(ctx, len(migrations)-n, true)
}
