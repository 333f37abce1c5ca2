package ledger

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/cloakroom/cloakroom/internal/budget"
	"github.com/cloakroom/cloakroom/internal/db"
	"github.com/cloakroom/cloakroom/internal/record"
)

const sqlGroupAt = `SELECT at FROM log_groups WHERE brand = $1 AND first <= $2 ORDER BY first DESC LIMIT 1`

// Since hands fn what was released from a time on, oldest first. It streams: a page of
// groups is in memory at a time.
func (l *Ledger) Since(ctx context.Context, brand record.BrandID, at time.Time, fn func(d budget.Disclosure) error) error {
	size, err := l.Size(ctx, brand)
	if err != nil {
		return err
	}
	from, err := l.indexAt(ctx, brand, size, at)
	if err != nil {
		return err
	}
	return l.pages(ctx, brand, from, size, sqlReadEntries, func(r db.Row, g *group) error {
		return r.Scan(&g.first, &g.count, &g.leaves, &g.subjects)
	}, func(it item) error {
		if len(it.encoded) == 0 {
			return nil
		}
		e, ords, err := it.open()
		if err != nil || !released(e.Kind) {
			return err
		}
		class, err := classOf(e.Class)
		if err != nil {
			return errors.Join(ErrTampered, err)
		}
		return fn(budget.Disclosure{At: e.At, Lineage: e.Lineage, Principal: e.Principal, Role: e.Role, Class: class, Ords: ords})
	})
}

// indexAt returns an entry before which all are older than a time: entries are in the
// order of their times, so that it takes some dozen reads of one group.
func (l *Ledger) indexAt(ctx context.Context, brand record.BrandID, size uint64, at time.Time) (uint64, error) {
	var failed error
	n := sort.Search(int(size), func(i int) bool {
		var us int64
		if failed == nil {
			failed = l.db.Row(ctx, sqlGroupAt, int64(brand), i).Scan(&us)
		}
		return failed != nil || us >= at.UnixMicro()
	})
	if failed != nil {
		return 0, fmt.Errorf("finding a time in the log of brand %d: %w", brand, failed)
	}
	return uint64(n), nil
}
