package db

import "context"

// load implements loader by a prepared statement.
func (q *sqliteQueryer) load(ctx context.Context, t Table, columns []string, rows [][]any) error {
	sql := "INSERT INTO " + t.Name + " (" + quoted(columns) + ") VALUES (" + placeholders(len(columns)) + ")"
	for _, row := range rows {
		if _, err := q.Exec(ctx, sql, row...); err != nil {
			return err
		}
	}
	return nil
}
