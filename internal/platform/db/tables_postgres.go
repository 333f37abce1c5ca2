package db

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// load implements loader by COPY.
func (q *pgQueryer) load(ctx context.Context, t Table, columns []string, rows [][]any) error {
	c, ok := q.c.(interface {
		CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error)
	})
	if !ok {
		return errors.New("this connection cannot take many rows at once")
	}
	_, err := c.CopyFrom(ctx, pgx.Identifier{t.Name}, columns, pgx.CopyFromRows(rows))
	return pgErr(err)
}
