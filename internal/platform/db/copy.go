package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// ErrDuplicate is returned by CopyIn where a unique constraint refused a row. The
// transaction is over then.
var ErrDuplicate = fault.New(fault.Internal, "a row with this key is there already")

// pgUniqueViolation is the SQLSTATE of a broken unique constraint.
const pgUniqueViolation = "23505"

// CopyIn runs a COPY ... FROM STDIN with what r gives, inside a transaction of
// PostgreSQL, and returns the number of rows. What it wrote goes with the transaction.
func CopyIn(ctx context.Context, q Queryer, sql string, r io.Reader) (int64, error) {
	pq, ok := q.(*pgQueryer)
	if !ok {
		return 0, errors.New("COPY is a statement of PostgreSQL")
	}
	tx, ok := pq.c.(pgx.Tx)
	if !ok {
		return 0, errors.New("COPY outside a transaction")
	}
	tag, err := tx.Conn().PgConn().CopyFrom(ctx, r, sql)
	if duplicate(err) {
		return 0, fmt.Errorf("%w: %w", ErrDuplicate, pgErr(err))
	}
	return tag.RowsAffected(), pgErr(err)
}

// duplicate reports whether a row was refused for its key. Citus passes on what a worker
// said to a COPY as an internal error of its own, with the worker's words alone.
func duplicate(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (pe.Code == pgUniqueViolation ||
		pe.Code == "XX000" && strings.HasPrefix(pe.Message, "duplicate key value violates unique constraint "))
}
