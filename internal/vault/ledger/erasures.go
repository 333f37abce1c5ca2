package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// The beginning of an erasure, taking one back and its end are two transactions each: the
// entry, and the change of the customer's key. The first also writes a row here, and the
// second deletes the row. So a row stands for a step that the log promises and that is not
// carried out yet, whatever ended the server.
const (
	sqlErasureDue   = `INSERT INTO log_erasures (brand, entry, ord, at) VALUES ($1, $2, $3, $4)`
	sqlErasuresDue  = `SELECT brand, entry, ord, at FROM log_erasures WHERE at <= $1 ORDER BY brand, entry, ord`
	sqlErasureEnded = `DELETE FROM log_erasures WHERE brand = $1 AND ord = $2 AND entry <= $3`
)

// due adds the rows of an erasure to the group.
func (d *draft) due(r *request) {
	for _, ord := range r.ords {
		d.kept = append(d.kept, db.Stmt{SQL: sqlErasureDue, Args: []any{int64(d.c.brand), r.index, int64(ord), d.at.UnixMicro()}})
	}
}

// ErasureEnded notes that a step of an erasure is carried out, inside the transaction that
// does it. Steps that were logged later are still due.
func (l *Ledger) ErasureEnded(ctx context.Context, q db.Queryer, r Receipt, ord record.Ordinal) error {
	if _, err := q.Exec(ctx, sqlErasureEnded, int64(r.brand), int64(ord), r.index); err != nil {
		return fmt.Errorf("noting that a step of an erasure is carried out: %w", err)
	}
	return nil
}

// erases reports whether a kind is a step of an erasure.
func erases(k entry.Kind) bool {
	return k == entry.KindErasure || k == entry.KindErasureBegun || k == entry.KindErasureUndone
}

var (
	// ErrErased is returned for a customer whose erasure has begun.
	ErrErased = fault.Typed(fault.NotFound, api.TypeUnknownToken, "no customer has this token")
	// ErrNotCooling is returned for a customer whose key does not lie aside.
	ErrNotCooling = fault.New(fault.Conflict, "the erasure is not cooling: it was taken back, or the key is destroyed")
)

// fate is where a customer stands between being there and being erased.
type fate uint8

const (
	fateThere   fate = iota // and never was anything else
	fateCooling             // the key lies aside
	fateBack                // an erasure was taken back
	fateErased              // the key is destroyed
)

// fate is what the committed entries say of a customer.
func (p *projection) fate(ord record.Ordinal) fate {
	switch {
	case p.erased.Has(ord):
		return fateErased
	case p.cooling.Has(ord):
		return fateCooling
	case p.back.Has(ord):
		return fateBack
	}
	return fateThere
}

// fates counts a step of an erasure.
func (p *projection) fates(kind entry.Kind, ords []record.Ordinal) {
	switch kind {
	case entry.KindErasure:
		p.erased.Add(ords...)
		p.cooling.Remove(ords...)
		p.back.Remove(ords...)
	case entry.KindErasureBegun:
		p.cooling.Add(ords...)
		p.back.Remove(ords...)
	case entry.KindErasureUndone:
		p.cooling.Remove(ords...)
		p.back.Add(ords...)
	}
}

// Gone returns those of some customers whose erasure the log says: their key lies aside,
// or is destroyed. Rows of such a customer in the database are in the middle of a step, or
// were put back by hand. It trusts this server's projection for who is there: the entry
// that is about them decides that again, under the lock of the log.
func (l *Ledger) Gone(ctx context.Context, brand record.BrandID, ords []record.Ordinal) (gone []record.Ordinal, err error) {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return nil, err
	}
	is := func(ord record.Ordinal) bool {
		at := c.proj.fate(ord)
		return at == fateCooling || at == fateErased
	}
	c.proj.mu.RLock()
	some := slices.ContainsFunc(ords, is)
	c.proj.mu.RUnlock()
	if !some {
		return nil, nil
	}
	err = c.under(ctx, func(db.Queryer) error { // another server may have taken it back
		gone = nil
		for _, ord := range ords {
			if is(ord) {
				gone = append(gone, ord)
			}
		}
		return nil
	})
	return gone, err
}

// Cooling returns those of some customers whose erasure began and is not done: it may still
// be taken back.
func (l *Ledger) Cooling(ctx context.Context, brand record.BrandID, ords []record.Ordinal) (cooling entry.Set, err error) {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return cooling, err
	}
	err = c.under(ctx, func(db.Queryer) error {
		cooling = entry.Set{}
		for _, ord := range ords {
			if c.proj.fate(ord) == fateCooling {
				cooling.Add(ord)
			}
		}
		return nil
	})
	return cooling, err
}

// AllGone returns every customer of a brand for whom [Ledger.Gone] holds, ascending.
func (l *Ledger) AllGone(ctx context.Context, brand record.BrandID) (gone []record.Ordinal, err error) {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return nil, err
	}
	err = c.under(ctx, func(db.Queryer) error {
		gone = slices.AppendSeq(slices.Collect(c.proj.erased.All()), c.proj.cooling.All())
		return nil
	})
	slices.Sort(gone)
	return slices.Compact(gone), err
}

// refused says why an entry may not follow those before it: nothing is released or written
// of a customer whose erasure has begun, whatever rows of them are in the database, and a
// step of an erasure follows its own beginning. An older copy of the log may lack the
// beginning, so its absence refuses nothing.
func (d *draft) refused(e *entry.Entry, ords []record.Ordinal) error {
	uses := released(e.Kind) || e.Kind == entry.KindWrite || e.Kind == entry.KindImport
	if !uses && !erases(e.Kind) {
		return nil
	}
	_, cooled := e.Detail.(entry.ErasureCooled)
	for _, ord := range ords {
		at, moved := d.fates[ord]
		if !moved {
			at = d.p.fate(ord)
		}
		switch {
		case e.Kind == entry.KindErasure && at != fateErased && (d.holding.Has(ord) || d.p.holds.has(ord)):
			return ErrHeld
		case (uses || e.Kind == entry.KindErasureBegun) && (at == fateCooling || at == fateErased):
			return ErrErased
		case (e.Kind == entry.KindErasureUndone || cooled) && (at == fateBack || at == fateErased):
			return ErrNotCooling
		}
	}
	return nil
}

// move notes a step of an erasure within the group.
func (d *draft) move(kind entry.Kind, ords []record.Ordinal) {
	to := map[entry.Kind]fate{entry.KindErasure: fateErased, entry.KindErasureBegun: fateCooling, entry.KindErasureUndone: fateBack}[kind]
	if d.fates == nil {
		d.fates = map[record.Ordinal]fate{}
	}
	for _, ord := range ords {
		d.fates[ord] = to
	}
}

// Due is a step of an erasure that the log promises and that is not carried out yet.
type Due struct {
	Brand record.BrandID
	Entry uint64
	Ord   record.Ordinal
}

// ErasuresDue returns the erasures of all brands that were logged at least so long ago
// and are not carried out.
func (l *Ledger) ErasuresDue(ctx context.Context, age time.Duration) ([]Due, error) {
	now, err := l.db.Now(ctx)
	if err != nil {
		return nil, err
	}
	var out []Due
	err = l.db.Rows(ctx, func(r db.Row) error {
		var brand, index, ord, at int64
		err := r.Scan(&brand, &index, &ord, &at)
		out = append(out, Due{record.BrandID(brand), uint64(index), record.Ordinal(ord)})
		return err
	}, sqlErasuresDue, now.Add(-age).UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("reading which erasures are not carried out: %w", err)
	}
	return out, nil
}

// Erasure returns the receipt of a step of an erasure that is due, from its entry, with
// what the entry says. Where it says something else it is ErrTampered.
func (l *Ledger) Erasure(ctx context.Context, due Due) (Receipt, entry.Detail, error) {
	size, err := l.Size(ctx, due.Brand)
	if err != nil {
		return Receipt{}, nil, err
	}
	it, err := l.rows(ctx, due.Brand).item(due.Entry)
	if err != nil {
		return Receipt{}, nil, err
	}
	e, ords, err := it.open()
	if err != nil {
		return Receipt{}, nil, err
	}
	r := erasureReceipt(due.Brand, due.Entry, size, e, ords)
	if !erases(e.Kind) || !r.Recorded(due.Ord) {
		return Receipt{}, nil, fmt.Errorf("an erasure is noted at entry %d, which does not say so: %w", due.Entry, ErrTampered)
	}
	return r, e.Detail, nil
}

// Erasures hands fn the receipt of every entry that is a step of an erasure, with the
// customers and what the entry says: for a restored copy, which may be older than it.
func (l *Ledger) Erasures(ctx context.Context, brand record.BrandID, fn func(r Receipt, detail entry.Detail, ords []record.Ordinal) error) error {
	size, err := l.Size(ctx, brand)
	if err != nil {
		return err
	}
	return l.Scan(ctx, brand, 0, func(index uint64, e entry.Entry, ords []record.Ordinal) error {
		if !erases(e.Kind) {
			return nil
		}
		return fn(erasureReceipt(brand, index, size, e, ords), e.Detail, ords)
	})
}

func erasureReceipt(brand record.BrandID, index, size uint64, e entry.Entry, ords []record.Ordinal) Receipt {
	return Receipt{brand: brand, kind: e.Kind, index: index, size: size, at: e.At, fields: e.Fields, ords: ords}
}
