package seal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const (
	sqlInsertCustomer = `INSERT INTO customers (ord, brand, updated, erased, sealed, bought) VALUES ($1, $2, $3, 0, $4, $5)`
	sqlInsertSecret   = `INSERT INTO customer_keys (ord, brand, kek, version, epoch, segments, wrapped) VALUES ($1, $2, $3, 1, 0, $4, $5)`
	sqlInsertExternal = `INSERT INTO externals (value, ord) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	sqlDeleteExternal = `DELETE FROM externals WHERE value = $1 AND ord = $2`
	sqlInsertLookup   = `INSERT INTO lookups (value, ord) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	sqlDeleteLookup   = `DELETE FROM lookups WHERE value = $1 AND ord = $2`
	sqlUpdateCustomer = `UPDATE customers SET updated = $2, sealed = $3 WHERE ord = $1 AND erased = 0`
	sqlFirstSegment   = `UPDATE customers SET bought = $2 WHERE ord = $1 AND erased = 0`
	sqlTouchCustomer  = `UPDATE customers SET updated = $2 WHERE ord = $1 AND erased = 0`
	sqlMoveVersion    = `UPDATE customer_keys SET version = $2, epoch = $3, segments = $4 WHERE ord = $1 AND version = $5 AND epoch = $6 AND segments = $7`
	sqlFormerSince    = `SELECT coalesce(max(until), 0) FROM former_values WHERE ord = $1 AND field = $2`
	sqlInsertFormer   = `INSERT INTO former_values (ord, field, until, since, fingerprint) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
	sqlClearSegments  = `DELETE FROM purchases WHERE ord = $1`
	sqlInsertSegment  = `INSERT INTO purchases (ord, segment, sealed) VALUES ($1, $2, $3)`
)

// Apply writes what was prepared, in one transaction, given the receipt of an entry
// that records every customer it changes.
func (s *Store) Apply(ctx context.Context, receipt ledger.Receipt, p *Prepared) error {
	if !receipt.Valid() || receipt.Brand() != p.brand {
		return ledger.ErrNotLogged
	}
	for i := range p.changes {
		if !receipt.Recorded(p.changes[i].ord) {
			return ledger.ErrNotLogged
		}
	}
	rest := p.changes
	var bulk *copied
	if s.db.Engine() == db.Postgres && len(p.changes) >= copyAtLeast {
		bulk = s.copies.Get().(*copied)
		rest = bulk.from(p.changes, p.brand, receipt.At())
	}
	stays, err := p.keepWithheld(receipt.At())
	if err != nil {
		return err
	}
	err = s.db.Tx(ctx, func(q db.Queryer) error {
		if err := s.hold(ctx, q, p.uses); err != nil {
			return err
		}
		if err := q.Batch(ctx, stays); err != nil {
			return err
		}
		each := func(early bool) error {
			for _, c := range rest {
				if c.early != early {
					continue
				}
				if err := c.write(ctx, q, p.brand, receipt.At()); err != nil {
					return err
				}
			}
			return nil
		}
		if err := each(true); err != nil {
			return err
		}
		if bulk != nil {
			if err := bulk.write(ctx, q, receipt.At()); err != nil {
				return err
			}
		}
		return each(false)
	})
	if err != nil {
		return fmt.Errorf("writing sealed records: %w", err)
	}
	if bulk != nil {
		s.copies.Put(bulk)
	}
	return nil
}

// hold keeps the keys that a write was prepared with from being rotated until it is
// committed: after a rotation nothing is written with the old ones any more.
func (s *Store) hold(ctx context.Context, q db.Queryer, uses []keys.Use) error {
	err := s.ring.Hold(ctx, q, uses...)
	if errors.Is(err, keys.ErrRotated) {
		err = fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// changeOne runs a statement that has to change one row: where another was faster, it is
// ErrConflict.
func changeOne(ctx context.Context, q db.Queryer, sql string, args ...any) error {
	n, err := q.Exec(ctx, sql, args...)
	if err == nil && n != 1 {
		err = ErrConflict
	}
	return err
}

func (c *change) write(ctx context.Context, q db.Queryer, brand record.BrandID, at time.Time) error {
	ord, us := int64(c.ord), at.UnixMicro()
	var stmts []db.Stmt
	add := func(sql string, args ...any) { stmts = append(stmts, db.Stmt{SQL: sql, Args: args}) }
	if c.made {
		if err := changeOne(ctx, q, sqlInsertExternal, c.external, ord); err != nil {
			return err
		}
		add(sqlInsertCustomer, ord, int64(brand), us, c.profile, c.first())
		add(sqlInsertSecret, ord, int64(brand), c.kek, len(c.packed), c.wrapped)
	} else {
		version, epoch, segments := c.version, c.epoch, c.segments+len(c.packed)
		if c.profile != nil {
			version++
		}
		if c.rewrite {
			epoch, segments = epoch+1, len(c.packed)
		}
		if err := changeOne(ctx, q, sqlMoveVersion, ord, version, epoch, segments, c.version, c.epoch, c.segments); err != nil {
			return err
		}
		if len(c.oldExt) > 0 {
			if err := changeOne(ctx, q, sqlInsertExternal, c.external, ord); err != nil {
				return err
			}
			for _, v := range c.oldExt {
				add(sqlDeleteExternal, v, ord)
			}
		}
		if c.profile != nil {
			add(sqlUpdateCustomer, ord, us, c.profile)
		} else {
			add(sqlTouchCustomer, ord, us)
		}
	}
	for _, v := range c.gone {
		add(sqlDeleteLookup, v, ord)
	}
	for _, v := range c.come {
		add(sqlInsertLookup, v, ord)
	}
	for _, f := range c.former {
		// Read apart: an INSERT that selects is pulled through the coordinator of a
		// cluster. The customer's key row is ours since sqlMoveVersion.
		var since int64
		if err := q.Row(ctx, sqlFormerSince, ord, int64(f.field)).Scan(&since); err != nil {
			return err
		}
		add(sqlInsertFormer, ord, int64(f.field), us, since, f.fingerprint)
	}
	if c.rewrite {
		add(sqlClearSegments, ord)
		add(sqlFirstSegment, ord, c.first())
	}
	for n, b := range c.later() {
		add(sqlInsertSegment, ord, n, b)
	}
	return q.Batch(ctx, stmts)
}

// whole reports whether the packed segments are all that the customer has then.
func (c *change) whole() bool { return c.made || c.rewrite }

// first is the segment that stands beside the profile, in one row with it: nearly all
// customers have no other. nil is none.
func (c *change) first() []byte {
	if c.whole() && len(c.packed) > 0 {
		return c.packed[0]
	}
	return nil
}

// later yields the segments that stand in rows of their own, with their numbers.
func (c *change) later() iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		at, packed := c.segments, c.packed
		if c.whole() {
			at, packed = min(1, len(packed)), packed[min(1, len(packed)):]
		}
		for i, b := range packed {
			if !yield(at+i, b) {
				return
			}
		}
	}
}
