package seal

import (
	"context"
	"fmt"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// One statement reads all that a request needs: one round trip, one state of the
// database. The tables lie together by ordinal where they are distributed, so that
// each customer's rows join within a shard; one customer is asked for with an equals
// sign, by which the statement is routed to that shard alone.
const (
	fetchKeys = `k.ord, k.kek, k.version, k.epoch, k.segments, k.wrapped, `
	fetchFrom = ` FROM customer_keys k JOIN customers c ON c.ord = k.ord`
	fetchThat = ` AND k.brand = $2 AND c.brand = $2 AND c.erased = 0`
	// A row for each segment in purchases, or one; what is in customers is in one of them.
	fetchFirst  = `CASE WHEN coalesce(p.segment, 0) <= (c.bought IS NOT NULL)::integer THEN `
	fetchPacked = fetchKeys + fetchFirst + `c.sealed END, ` + fetchFirst + `c.bought END, coalesce(p.segment, -1), p.sealed` + fetchFrom + ` LEFT JOIN purchases p ON p.ord = k.ord`

	sqlPostgresFetchOne        = `SELECT ` + fetchKeys + `c.sealed` + fetchFrom + ` WHERE k.ord = $1` + fetchThat
	sqlPostgresFetchMany       = `SELECT ` + fetchKeys + `c.sealed` + fetchFrom + ` WHERE k.ord = ANY($1)` + fetchThat
	sqlPostgresFetchPackedOne  = `SELECT ` + fetchPacked + ` WHERE k.ord = $1` + fetchThat
	sqlPostgresFetchPackedMany = `SELECT ` + fetchPacked + ` WHERE k.ord = ANY($1)` + fetchThat
)

// segment takes in a segment, in any order.
func (r *rows) segment(n int, b []byte) error {
	if n >= r.segments || n < len(r.packed) && r.packed[n] != nil {
		return fmt.Errorf("a segment of purchases is there that does not belong: %w", ErrDamaged)
	}
	for len(r.packed) <= n {
		r.packed = append(r.packed, nil)
	}
	r.packed[n] = b
	return nil
}

func (s *Store) fetchPostgres(ctx context.Context, brand record.BrandID, ords []record.Ordinal, purchases bool) (map[record.Ordinal]*rows, error) {
	if len(ords) == 0 {
		return nil, nil
	}
	sql := [2][2]string{{sqlPostgresFetchOne, sqlPostgresFetchMany}, {sqlPostgresFetchPackedOne, sqlPostgresFetchPackedMany}}
	form, arg := 0, any(int64(ords[0]))
	if len(ords) > 1 {
		list := make([]int64, len(ords))
		for i, ord := range ords {
			list[i] = int64(ord)
		}
		slices.Sort(list)
		form, arg = 1, slices.Compact(list)
	}
	out := make(map[record.Ordinal]*rows, len(ords))
	if !purchases {
		return out, s.db.Rows(ctx, func(row db.Row) error {
			r := &rows{}
			err := row.Scan(&r.ord, &r.kek, &r.version, &r.epoch, &r.segments, &r.wrapped, &r.profile)
			out[r.ord] = r
			return err
		}, sql[0][form], arg, int64(brand))
	}
	return out, s.db.Rows(ctx, func(row db.Row) error {
		var next rows
		var n int
		var b []byte
		var first []byte
		if err := row.Scan(&next.ord, &next.kek, &next.version, &next.epoch, &next.segments, &next.wrapped, &next.profile, &first, &n, &b); err != nil {
			return err
		}
		r := out[next.ord]
		if r == nil {
			r = &next
			out[r.ord] = r
		} else if next.profile != nil {
			r.profile = next.profile
		}
		if first != nil {
			if err := r.segment(0, first); err != nil {
				return err
			}
		}
		if n < 0 {
			return nil // none
		}
		return r.segment(n, b)
	}, sql[1][form], arg, int64(brand))
}
