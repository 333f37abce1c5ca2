package seal

import (
	"context"
	"fmt"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	sqlFetchCustomer = `SELECT k.kek, k.version, k.epoch, k.segments, k.wrapped, c.sealed FROM customer_keys k JOIN customers c ON c.ord = k.ord WHERE k.ord = $1 AND k.brand = $2 AND c.brand = $2 AND c.erased = 0`
	sqlFetchPacked   = `SELECT k.kek, k.version, k.epoch, k.segments, k.wrapped, c.sealed, c.bought FROM customer_keys k JOIN customers c ON c.ord = k.ord WHERE k.ord = $1 AND k.brand = $2 AND c.brand = $2 AND c.erased = 0`
	sqlFetchSegments = `SELECT segment, sealed FROM purchases WHERE ord = $1 ORDER BY segment`
)

// fetchSQLite asks for one customer after the other, in one state of the database:
// there is no round trip to save.
func (s *Store) fetchSQLite(ctx context.Context, brand record.BrandID, ords []record.Ordinal, purchases bool) (out map[record.Ordinal]*rows, err error) {
	err = s.db.Snapshot(ctx, func(q db.Queryer) error {
		out = make(map[record.Ordinal]*rows, len(ords))
		var stmts []db.Stmt
		for _, ord := range ords {
			r := &rows{ord: ord}
			sql, into := sqlFetchCustomer, []any{&r.kek, &r.version, &r.epoch, &r.segments, &r.wrapped, &r.profile}
			var first []byte
			if purchases {
				sql, into = sqlFetchPacked, append(into, &first)
			}
			stmts = append(stmts, db.Stmt{SQL: sql, Args: []any{int64(ord), int64(brand)}, Scan: func(row db.Row) error {
				out[ord] = r
				err := row.Scan(into...)
				if first != nil {
					r.packed = append(r.packed, first)
				}
				return err
			}})
			if purchases {
				stmts = append(stmts, db.Stmt{SQL: sqlFetchSegments, Args: []any{int64(ord)}, Scan: func(row db.Row) error {
					var n int
					var b []byte
					if err := row.Scan(&n, &b); err != nil {
						return err
					}
					if n != len(r.packed) {
						return fmt.Errorf("a segment of purchases is missing: %w", ErrDamaged)
					}
					r.packed = append(r.packed, b)
					return nil
				}})
			}
		}
		return q.Batch(ctx, stmts)
	})
	return out, err
}
