package ledger

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

const sqlGroupAt = `SELECT at FROM log_groups WHERE brand = $1 AND first <= $2 ORDER BY first DESC LIMIT 1`

// Span is a part of a brand's log: the entries from From on, up to To and without it.
type Span struct{ From, To uint64 }

// Since returns the part of a brand's log from a time on, as long as it is now. It begins
// with an entry before which all are older.
func (l *Ledger) Since(ctx context.Context, brand record.BrandID, at time.Time) (Span, error) {
	size, err := l.Size(ctx, brand)
	if err != nil {
		return Span{}, err
	}
	from, err := l.indexAt(ctx, brand, size, at)
	return Span{from, size}, err
}

// spanBatch is how many entries of a span are handed over at a time.
const spanBatch = 256

// Disclosures hands fn the disclosures of a part of a brand's log, oldest first, some at a
// time, with the entry that follows what was handed over so far: whoever is interrupted
// goes on from there. It streams: a page of groups is in memory at a time.
func (l *Ledger) Disclosures(ctx context.Context, brand record.BrandID, s Span, fn func(next uint64, list []budget.Disclosure) error) error {
	next := s.From
	var list []budget.Disclosure
	o := l.opener(ctx, l.db, brand)
	err := l.pages(ctx, brand, s.From, s.To, sqlReadEntries, scanEntries, func(it item) error {
		if it.index >= s.To { // within a group
			return nil
		}
		next = it.index + 1
		d, counts, err := o.disclosure(&it)
		if err != nil {
			return err
		}
		if counts {
			list = append(list, d)
		}
		if (next-s.From)%spanBatch != 0 {
			return nil
		}
		full := list
		list = make([]budget.Disclosure, 0, spanBatch)
		return fn(next, full)
	})
	if err == nil && (next-s.From)%spanBatch != 0 {
		err = fn(next, list)
	}
	return err
}

// disclosure returns what counts of an entry in the budgets, if it counts. One whose
// values are erased counts no more.
func (o *opener) disclosure(it *item) (d budget.Disclosure, is bool, err error) {
	e, ords, err := it.open()
	if err != nil || !counts(&e, ords) {
		return d, false, err
	}
	if err := o.values(it, &e); err != nil || e.Bare() {
		return d, false, err
	}
	return disclosureOf(&e, ords)
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
