package seal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// errCollision is a chance of 1 in 100,000 at 20 million customers of a brand.
var errCollision = errors.New("two external ids fall together under the new index key")

const (
	sqlProfiles = `SELECT k.ord, k.brand, k.kek, k.version, k.wrapped, c.sealed FROM customer_keys k JOIN customers c ON c.ord = k.ord`
	// Brand 0, the group's, stands for every brand.
	sqlReadProfiles            = sqlProfiles + ` WHERE k.ord >= $1 AND k.ord < $2 AND ($3 = 0 OR k.brand = $3) AND c.erased = 0 ORDER BY k.ord`
	sqlReadVersion             = `SELECT version FROM customer_keys WHERE ord = $1`
	sqlPostgresHoldVersion     = sqlReadVersion + ` FOR SHARE`
	sqlPostgresInsertLookups   = `INSERT INTO lookups (value, ord) SELECT u.value, u.ord FROM unnest($1::bigint[], $2::bigint[]) AS u(value, ord) ON CONFLICT DO NOTHING`
	sqlPostgresDeleteLookups   = `DELETE FROM lookups AS l USING unnest($1::bigint[], $2::bigint[]) AS u(value, ord) WHERE l.value = u.value AND l.ord = u.ord`
	sqlPostgresInsertExternals = `INSERT INTO externals (value, ord) SELECT u.value, u.ord FROM unnest($1::bigint[], $2::bigint[]) AS u(value, ord) ON CONFLICT DO NOTHING`
	sqlPostgresDeleteExternals = `DELETE FROM externals AS e USING unnest($1::bigint[], $2::bigint[]) AS u(value, ord) WHERE e.value = u.value AND e.ord = u.ord`
	sqlPostgresOthersExternals = `SELECT count(*) FROM externals AS e JOIN unnest($1::bigint[], $2::bigint[]) AS u(value, ord) ON e.value = u.value WHERE e.ord <> u.ord`
)

// reindexSpan is how many ordinals one transaction moves.
const reindexSpan = 1024

// Reindex moves the blind indexes of a brand's customers to the newest index key, or
// those of all customers to the group's newest incident key. It opens profiles to
// compute the values and shows nothing of them; the receipt is of the entry that says
// so. A customer's old values go in the transaction in which the new ones come, so
// that a search that asks under both never misses.
func (s *Store) Reindex(ctx context.Context, receipt ledger.Receipt, rot *keys.Rotation) error {
	if !receipt.Valid() || receipt.Brand() != rot.Brand {
		return ledger.ErrNotLogged
	}
	all, err := s.ring.All(ctx, rot.Brand, rot.Kind)
	if err != nil {
		return err
	}
	if all[0].Version != rot.Version {
		return fmt.Errorf("moving indexes: %w", keys.ErrRotated)
	}
	m := mover{s: s, brand: rot.Brand, kind: rot.Kind, to: all[0], from: all[1:]}
	if err := s.walk(ctx, rot, reindexSpan, m.span); err != nil {
		return fmt.Errorf("moving indexes: %w", err)
	}
	if rot.Failed > 0 {
		return errors.Join(ErrStuck, s.ring.Stall(ctx, rot, rot.Failed))
	}
	return nil
}

// mover moves the index values of ranges of customers.
type mover struct {
	s     *Store
	brand record.BrandID
	kind  keys.Kind
	to    keys.Key
	from  []keys.Key
}

// pairs are columns of values and whose they are.
type pairs struct{ values, ords []int64 }

func (p *pairs) add(v int64, ord record.Ordinal) {
	p.values, p.ords = append(p.values, v), append(p.ords, int64(ord))
}

// move is what one transaction inserts and deletes.
type move struct{ come, gone, comeExt, goneExt pairs }

// planned is one customer's index values, as of a version of their profile.
type planned struct {
	ord              record.Ordinal
	version          uint64
	come, gone       map[int64]bool
	comeExt, goneExt []int64
}

func (m *mover) span(ctx context.Context, from, to int64) (moved, failed int64, err error) {
	plans, failed, err := m.plan(ctx, from, to)
	if err != nil {
		return 0, 0, err
	}
	for try := 0; len(plans) > 0; try++ {
		n, again, err := m.apply(ctx, plans)
		if err != nil {
			return moved, failed, err
		}
		moved += n
		if len(again) == 0 {
			break
		}
		// They were written since they were read. A write under the new key is only half
		// of the move: what it did not change may be under the old one still.
		if plans, failed, err = m.plan(ctx, from, to); err != nil {
			return moved, failed, err
		}
		plans = slices.DeleteFunc(plans, func(p planned) bool { return !again[p.ord] })
	}
	return moved, failed, nil
}

func (m *mover) plan(ctx context.Context, from, to int64) (plans []planned, failed int64, err error) {
	type row struct {
		rows
		brand   record.BrandID
		kek     int
		wrapped []byte
	}
	var all []row
	err = m.s.db.Rows(ctx, func(r db.Row) error {
		var x row
		var ord, brand int64
		if err := r.Scan(&ord, &brand, &x.kek, &x.version, &x.wrapped, &x.profile); err != nil {
			return err
		}
		x.ord, x.brand = record.Ordinal(ord), record.BrandID(brand)
		x.wrapped, x.profile = slices.Clone(x.wrapped), slices.Clone(x.profile)
		all = append(all, x)
		return nil
	}, sqlReadProfiles, from, to, int64(m.brand))
	if err != nil {
		return nil, 0, err
	}
	for i := range all {
		x := &all[i]
		var c record.Customer
		x.secret, err = m.s.unwrap(ctx, x.brand, x.ord, x.kek, x.wrapped)
		if err == nil {
			err = x.openProfile(x.brand, &c)
		}
		switch {
		case errors.Is(err, ErrDamaged):
			failed++
			continue
		case errors.Is(err, ErrNoCustomer):
			continue // erased since
		case err != nil:
			return nil, 0, err
		}
		p := planned{ord: x.ord, version: x.version, come: indexed(&c, m.to), gone: indexed(&c, m.from...)}
		if m.kind == keys.Index {
			id := c.Get(record.ExternalID)
			if p.comeExt, err = externals(id, m.to); err == nil {
				p.goneExt, err = externals(id, m.from...)
			}
			if err != nil {
				p.comeExt, p.goneExt = nil, nil // a value without a normal form has no index
			}
		}
		plans = append(plans, p)
	}
	return plans, failed, nil
}

// apply moves those who are still as they were planned, and returns who is not.
func (m *mover) apply(ctx context.Context, plans []planned) (moved int64, again map[record.Ordinal]bool, err error) {
	err = m.s.db.Tx(ctx, func(q db.Queryer) error {
		moved, again = 0, map[record.Ordinal]bool{}
		sql := sqlReadVersion
		if q.Engine() == db.Postgres {
			sql = sqlPostgresHoldVersion
		}
		now := map[record.Ordinal]uint64{}
		var stmts []db.Stmt
		// One by one, in one round trip: a cluster locks rows of one shard at a time.
		for i := range plans {
			ord := plans[i].ord
			stmts = append(stmts, db.Stmt{SQL: sql, Args: []any{int64(ord)}, Scan: func(r db.Row) error {
				var version uint64
				err := r.Scan(&version)
				now[ord] = version
				return err
			}})
		}
		if err := q.Batch(ctx, stmts); err != nil {
			return err
		}
		var w move
		for i := range plans {
			p := &plans[i]
			switch version, there := now[p.ord]; {
			case !there: // erased
			case version != p.version:
				again[p.ord] = true
			default:
				moved++
				w.take(p)
			}
		}
		return w.write(ctx, q)
	})
	return moved, again, err
}

func (w *move) take(p *planned) {
	for v := range p.come {
		w.come.add(v, p.ord)
	}
	for v := range p.gone {
		if !p.come[v] {
			w.gone.add(v, p.ord)
		}
	}
	for _, v := range p.comeExt {
		w.comeExt.add(v, p.ord)
	}
	for _, v := range p.goneExt {
		if !slices.Contains(p.comeExt, v) {
			w.goneExt.add(v, p.ord)
		}
	}
}

func (w *move) write(ctx context.Context, q db.Queryer) error {
	if q.Engine() == db.Postgres {
		return w.writePostgres(ctx, q)
	}
	for _, x := range []struct {
		sql string
		p   *pairs
	}{{sqlInsertLookup, &w.come}, {sqlDeleteLookup, &w.gone}, {sqlInsertExternal, &w.comeExt}, {sqlDeleteExternal, &w.goneExt}} {
		for i, v := range x.p.values {
			n, err := q.Exec(ctx, x.sql, v, x.p.ords[i])
			if err != nil {
				return err
			}
			if n == 0 && x.p == &w.comeExt { // there already: then it must be theirs
				var ord int64
				if err := q.Row(ctx, sqlFindExternal, v).Scan(&ord); err != nil {
					return err
				}
				if ord != x.p.ords[i] {
					return errCollision
				}
			}
		}
	}
	return nil
}

func (w *move) writePostgres(ctx context.Context, q db.Queryer) error {
	var others int64
	stmt := func(sql string, p *pairs) db.Stmt { return db.Stmt{SQL: sql, Args: []any{p.values, p.ords}} }
	var stmts []db.Stmt
	if len(w.come.values)+len(w.gone.values) > 0 {
		stmts = append(stmts, stmt(sqlPostgresInsertLookups, &w.come), stmt(sqlPostgresDeleteLookups, &w.gone))
	}
	if len(w.comeExt.values) > 0 {
		check := stmt(sqlPostgresOthersExternals, &w.comeExt)
		check.Scan = func(r db.Row) error { return r.Scan(&others) }
		stmts = append(stmts, stmt(sqlPostgresInsertExternals, &w.comeExt), check, stmt(sqlPostgresDeleteExternals, &w.goneExt))
	}
	if err := q.Batch(ctx, stmts); err != nil {
		return err
	}
	if others > 0 {
		return errCollision
	}
	return nil
}
