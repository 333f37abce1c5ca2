package ledger

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrRetention is returned for values that budgets may still need.
var ErrRetention = fault.New(fault.Invalid, "values of log entries are kept for 31 days after the end of their UTC day: name an earlier day")

const (
	sqlEraseValues      = `UPDATE log_groups SET at = $3, vals = $4 WHERE brand = $1 AND first = $2`
	sqlBlurCheckpoints  = `UPDATE log_checkpoints SET at = at - at % 86400000000 WHERE brand = $1 AND at < $2`
	sqlReadErasable     = `SELECT first, count, at, entries, subjects, vals FROM log_groups WHERE brand = $1 AND first >= $2 ORDER BY first LIMIT $3`
	erasedGroupsAtATime = pageGroups
)

// Erased says what EraseValues did, or would do.
type Erased struct {
	Before  time.Time // the beginning of a UTC day
	Entries uint64    // whose values were erased
	Kept    uint64    // of the same days, because what they grant has not ended, or their kind is not known
	Already uint64    // erased before
	Keys    []int     // months whose keys were destroyed
}

// EraseValues erases the values of the entries that are older than a time, except those
// of which something is still in force: see [entry.RetentionOf]. It goes through the log
// from its beginning and can be interrupted and run again, also on several servers. With
// dry set it only counts.
//
// When no values are left under a month's key the key is destroyed: that is what erases
// them from backups, too. Values that stay are sealed anew under this month's key.
func (l *Ledger) EraseValues(ctx context.Context, brand record.BrandID, before time.Time, dry bool) (Erased, error) {
	out := Erased{Before: entry.DayTime(entry.Day(before))}
	size, at, _, err := l.headAt(ctx, brand)
	if err != nil {
		return out, err
	}
	cut := entry.Day(before)
	if cut > erasableAt(at) {
		return out, ErrRetention
	}
	var grants entry.Grants
	err = l.Scan(ctx, brand, 0, func(index uint64, e entry.Entry, _ []record.Ordinal) error {
		if !e.Bare() { // what is erased had ended
			grants.Note(index, &e)
		}
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("finding what is still in force in the log of brand %d: %w", brand, err)
	}
	x := &erasing{l: l, brand: brand, cut: cut, inForce: grants.Open(fromMicros(at)), dry: dry, held: map[int]bool{}, out: &out}
	if !dry {
		now, err := l.db.Now(ctx)
		if err == nil {
			x.now, err = l.ring.EnsureMonth(ctx, brand, keys.Month(now))
		}
		if err != nil {
			return out, err
		}
	}
	if err := x.groups(ctx, size); err != nil {
		return out, fmt.Errorf("erasing values of the log of brand %d: %w", brand, err)
	}
	if err := x.keys(ctx); err != nil {
		return out, err
	}
	return out, nil
}

// erasing is one run of EraseValues.
type erasing struct {
	l       *Ledger
	brand   record.BrandID
	cut     uint32
	inForce map[uint64]bool
	now     keys.MonthKey
	dry     bool
	held    map[int]bool // months whose keys something needs that stays as it is
	out     *Erased
}

// groups goes through the groups of the days before the cut.
func (x *erasing) groups(ctx context.Context, size uint64) error {
	before := entry.DayTime(x.cut).UnixMicro()
	for next := uint64(0); next < size; {
		var page []group
		err := x.l.db.Rows(ctx, func(r db.Row) error {
			var g group
			err := r.Scan(&g.first, &g.count, &g.at, &g.leaves, &g.subjects, &g.values)
			page = append(page, g)
			return err
		}, sqlReadErasable, int64(x.brand), next, erasedGroupsAtATime)
		if err != nil {
			return err
		}
		var stmts []db.Stmt
		for i := range page {
			g := &page[i]
			if g.first != next {
				return fmt.Errorf("entries from %d on are missing: %w", next, ErrTampered)
			}
			if next += uint64(g.count); g.at >= before {
				next = size // groups are in the order of their times
				break
			}
			if len(g.values) == 0 {
				continue // of an earlier release
			}
			values, err := x.group(ctx, g)
			if err != nil {
				return err
			}
			day := entry.DayTime(entry.Day(fromMicros(g.at))).UnixMicro()
			stmts = append(stmts, db.Stmt{SQL: sqlEraseValues, Args: []any{int64(x.brand), g.first, day, values}})
		}
		if len(page) == 0 {
			return nil
		}
		if !x.dry && len(stmts) > 0 {
			if err := x.l.db.Tx(ctx, func(q db.Queryer) error { return q.Batch(ctx, stmts) }); err != nil {
				return err
			}
		}
	}
	if x.dry {
		return nil
	}
	_, err := x.l.db.Exec(ctx, sqlBlurCheckpoints, int64(x.brand), before)
	return err
}

// group returns what is left of a group's values.
func (x *erasing) group(ctx context.Context, g *group) (left []byte, err error) {
	o := x.l.prover(ctx, x.brand)
	err = g.each(func(it item) error {
		if len(it.values) == 0 || it.values[0] == valuesErased {
			if len(it.values) > 0 {
				x.out.Already++
			}
			left = appendValues(left, it.values)
			return nil
		}
		e, _, err := o.open(&it)
		if err != nil {
			return err
		}
		_, known := entry.RetentionOf(e.Kind)
		switch {
		case known && !x.inForce[it.index]:
			x.out.Entries++
			left = appendValues(left, eraseValues(&e))
		case it.plain == nil || e.Count > 0: // its key is gone already, or its reader hangs on it
			x.out.Kept++
			x.held[int(binary.BigEndian.Uint32(it.values[1:]))], x.held[keys.Month(e.At)] = true, true
			left = appendValues(left, it.values)
		case x.dry:
			x.out.Kept++
		default:
			x.out.Kept++
			left = appendValues(left, sealValues(x.now, x.brand, it.index, it.plain))
		}
		return nil
	})
	return left, err
}

// keys destroys the keys of the months that ended before the cut and under which nothing
// is left.
func (x *erasing) keys(ctx context.Context) error {
	list, err := x.l.ring.List(ctx, x.brand)
	if err != nil {
		return err
	}
	last := keys.Month(entry.DayTime(x.cut)) // of which a day may be left
	for _, k := range list {
		if k.Kind != keys.Entries || k.Version >= last || x.held[k.Version] {
			continue
		}
		x.out.Keys = append(x.out.Keys, k.Version)
		if !x.dry {
			if err := x.l.ring.DestroyMonth(ctx, x.brand, k.Version); err != nil {
				return err
			}
		}
	}
	return nil
}
