package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// The values of an entry lie beside its leaf, in the group's row, sealed under the
// brand's key of the UTC month. Erasing them leaves what stands for the reader in the
// customers' commitments, without which no proof of the entry could be made, and which
// names nobody once the month's key is destroyed.

// ErrNoCommitment is returned for a proof that takes what stands for an erased customer in
// an entry, which is missing from the database or was changed there: what of the entry is
// hashed is as it was, and that it is of a customer cannot be proven.
var ErrNoCommitment = fault.New(fault.NotFound, "the commitments that the vault kept for erased customers of this entry are missing or were changed, so it cannot be proven whose the entry is")

// ErrValuesErased is returned for a proof that takes values which are erased.
var ErrValuesErased = fault.New(fault.NotFound, "the values of this entry are erased, and its proofs with them")

// ErrNoMonth is returned where the key is missing that sealed values which may not be
// erased yet.
var ErrNoMonth = fault.New(fault.Internal, "the key of this month's log entries is missing: the keys are older than the log; restore the keys of a backup that is as new")

// The forms in which an entry's values are kept, by their first byte. No bytes at all
// stand for an entry of version 1.
const (
	valuesSealed = 1 // version of the month's key, sealed values
	valuesErased = 2 // and, of an entry with customers, the reader's stand-in
)

// valuesAAD binds sealed values to their entry.
func valuesAAD(brand record.BrandID, index uint64, month int) []byte {
	b := make([]byte, 0, 64)
	b = append(b, "cloakroom entry values 1\x00"...)
	b = binary.BigEndian.AppendUint16(b, uint16(brand))
	b = binary.BigEndian.AppendUint64(b, index)
	return binary.BigEndian.AppendUint32(b, uint32(month))
}

// sealValues returns the values of an entry as they are kept.
func sealValues(k keys.MonthKey, brand record.BrandID, index uint64, values []byte) []byte {
	out := make([]byte, 0, 5+len(values)+28)
	out = append(out, valuesSealed)
	out = binary.BigEndian.AppendUint32(out, uint32(k.Version))
	return k.Seal(out, values, valuesAAD(brand, index, k.Version))
}

// eraseValues returns what is left of an entry's values when they are erased.
func eraseValues(e *entry.Entry) []byte {
	if e.Count == 0 {
		return []byte{valuesErased}
	}
	return append([]byte{valuesErased}, e.Reader[:]...)
}

// appendValues adds an entry's values to those of its group.
func appendValues(dst, values []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(values))), values...)
}

// opener opens the values of a brand's entries. It reads keys through q: the
// transaction that it is used in, if it is.
type opener struct {
	ctx     context.Context
	ring    *keys.Ring
	q       db.Queryer
	brand   record.BrandID
	readers bool // also what stands for an entry's reader in commitments
}

func (l *Ledger) opener(ctx context.Context, q db.Queryer, brand record.BrandID) *opener {
	return &opener{ctx: ctx, ring: l.ring, q: q, brand: brand}
}

// prover returns an opener for whoever makes commitments again.
func (l *Ledger) prover(ctx context.Context, brand record.BrandID) *opener {
	o := l.opener(ctx, l.db, brand)
	o.readers = true
	return o
}

// open is item.open with the entry's values.
func (o *opener) open(it *item) (entry.Entry, []record.Ordinal, error) {
	e, ords, err := it.open()
	if err != nil {
		return e, nil, err
	}
	return e, ords, o.values(it, &e)
}

// values gives an entry its values, and what stands for its reader. Where they are
// erased, or their key is, the entry stays bare. it.plain has them as they were
// unsealed.
func (o *opener) values(it *item, e *entry.Entry) error {
	if e.LeafVersion() == entry.Version1 {
		return nil
	}
	tampered := func(err error) error {
		return fmt.Errorf("entry %d: its values are not the ones that were logged: %w", it.index, errors.Join(ErrTampered, err))
	}
	switch b := it.values; {
	case len(b) == 1+len(e.Reader) && b[0] == valuesErased:
		copy(e.Reader[:], b[1:])
		return nil
	case len(b) == 1 && b[0] == valuesErased && e.Count == 0:
		return nil
	case len(b) > 5 && b[0] == valuesSealed:
	default:
		return tampered(nil)
	}
	month := int(binary.BigEndian.Uint32(it.values[1:]))
	k, err := o.ring.MonthKeyIn(o.ctx, o.q, o.brand, month)
	if errors.Is(err, keys.ErrNoKey) {
		it.lost = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening the values of entry %d: %w", it.index, err)
	}
	plain, err := k.Open(it.values[5:], valuesAAD(o.brand, it.index, month))
	if err == nil {
		err = e.Open(plain)
	}
	if err != nil {
		return tampered(err)
	}
	it.plain = plain
	if o.readers && e.Count > 0 {
		if of := keys.Month(e.At); of != month {
			if k, err = o.ring.MonthKeyIn(o.ctx, o.q, o.brand, of); errors.Is(err, keys.ErrNoKey) {
				return nil
			} else if err != nil {
				return fmt.Errorf("opening the values of entry %d: %w", it.index, err)
			}
		}
		e.Reader = k.Reader(e.Principal)
	}
	return nil
}

// gone is the error of an entry whose values are needed and are not there.
func (it *item) gone() error {
	if it.lost {
		return fmt.Errorf("entry %d: %w", it.index, ErrNoMonth)
	}
	return fmt.Errorf("entry %d: its values are gone before their time: %w", it.index, ErrTampered)
}

// proves reports whether the commitments of an entry's customers can be made again.
func proves(e *entry.Entry) bool {
	return e.LeafVersion() == entry.Version1 || e.Reader != [16]byte{}
}

// erasableAt returns the first UTC day of whose entries no values may be erased, when
// the newest entry of the log is of a time.
func erasableAt(newest int64) uint32 {
	return entry.Day(fromMicros(max(0, newest-entry.BudgetWindow.Microseconds())))
}
