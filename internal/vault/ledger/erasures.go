package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// An erasure is two transactions: its entry, and the end of the customer's key. The first
// also writes a row here, and the second deletes the row. So a row stands for an erasure
// that the log promises and that is not carried out yet, whatever ended the server.
const (
	sqlErasureDue   = `INSERT INTO log_erasures (brand, entry, ord, at) VALUES ($1, $2, $3, $4)`
	sqlErasuresDue  = `SELECT brand, entry, ord, at FROM log_erasures WHERE at <= $1 ORDER BY brand, entry, ord`
	sqlErasureEnded = `DELETE FROM log_erasures WHERE brand = $1 AND ord = $2`
)

// due adds the rows of an erasure to the group.
func (d *draft) due(r *request) {
	for _, ord := range r.ords {
		d.kept = append(d.kept, db.Stmt{SQL: sqlErasureDue, Args: []any{int64(d.c.brand), r.index, int64(ord), d.at.UnixMicro()}})
	}
}

// ErasureEnded notes that a customer is erased, inside the transaction that erases them.
func (l *Ledger) ErasureEnded(ctx context.Context, q db.Queryer, brand record.BrandID, ord record.Ordinal) error {
	if _, err := q.Exec(ctx, sqlErasureEnded, int64(brand), int64(ord)); err != nil {
		return fmt.Errorf("noting that an erasure has ended: %w", err)
	}
	return nil
}

// Due is an erasure that the log promises and that is not carried out yet.
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

// Erasure returns the receipt of an erasure that is due, from its entry. Where the entry
// says something else it is ErrTampered.
func (l *Ledger) Erasure(ctx context.Context, due Due) (Receipt, error) {
	size, err := l.Size(ctx, due.Brand)
	if err != nil {
		return Receipt{}, err
	}
	it, err := l.rows(ctx, due.Brand).item(due.Entry)
	if err != nil {
		return Receipt{}, err
	}
	e, ords, err := it.open()
	if err != nil {
		return Receipt{}, err
	}
	r := erasureReceipt(due.Brand, due.Entry, size, e, ords)
	if e.Kind != entry.KindErasure || !r.Recorded(due.Ord) {
		return Receipt{}, fmt.Errorf("an erasure is noted at entry %d, which does not say so: %w", due.Entry, ErrTampered)
	}
	return r, nil
}

// Erasures hands fn the receipt of every entry that says that customers were erased,
// with the customers: for a restored copy, which may be older than the erasures.
func (l *Ledger) Erasures(ctx context.Context, brand record.BrandID, fn func(r Receipt, ords []record.Ordinal) error) error {
	size, err := l.Size(ctx, brand)
	if err != nil {
		return err
	}
	return l.Scan(ctx, brand, 0, func(index uint64, e entry.Entry, ords []record.Ordinal) error {
		if e.Kind != entry.KindErasure {
			return nil
		}
		return fn(erasureReceipt(brand, index, size, e, ords), ords)
	})
}

func erasureReceipt(brand record.BrandID, index, size uint64, e entry.Entry, ords []record.Ordinal) Receipt {
	return Receipt{brand: brand, kind: e.Kind, index: index, size: size, at: e.At, fields: e.Fields, ords: ords}
}
