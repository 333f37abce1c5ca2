package ledger

import (
	"bufio"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/codec"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrHeld is returned for the destruction of a key that a legal hold keeps.
var ErrHeld = fault.New(fault.Conflict, "a legal hold keeps the key: `cloakroom hold list` shows the holds in force; two people release one with `cloakroom hold release`")

// LegalHold is a legal hold in force. Holds follow from the log: no table has them, and the
// lock of the log decides between a hold and the destruction of a key.
type LegalHold struct {
	ID     string
	Entry  uint64 // the first that places it
	Review string // the UTC day by which somebody looks at it again
	ords   entry.Set
}

// Overdue reports whether the day of its review is over.
func (h *LegalHold) Overdue(now time.Time) bool { return now.UTC().Format(time.DateOnly) > h.Review }

// holds are the legal holds in force, by their id.
type holds map[string]*LegalHold

func (h holds) note(index uint64, d entry.Detail, ords []record.Ordinal) {
	switch d := d.(type) {
	case entry.HoldPlaced:
		x := h[d.Hold]
		if x == nil {
			x = &LegalHold{ID: d.Hold, Entry: index, Review: d.Review}
			h[d.Hold] = x
		}
		x.ords.Add(ords...)
	case entry.HoldReleased:
		delete(h, d.Hold)
	}
}

// has reports whether any hold keeps a customer's key.
func (h holds) has(ord record.Ordinal) bool {
	for _, x := range h {
		if x.ords.Has(ord) {
			return true
		}
	}
	return false
}

func (h holds) encode(w *bufio.Writer) {
	codec.Put(w, uint64(len(h)))
	for _, id := range slices.Sorted(maps.Keys(h)) {
		x := h[id]
		codec.PutText(w, id)
		codec.PutText(w, x.Review)
		codec.Put(w, x.Entry)
		encodeSet(w, &x.ords)
	}
}

func (h holds) decode(in *codec.Reader) {
	for range in.Number(1 << 32) {
		x := &LegalHold{ID: string(in.Text(maxSnapshotText)), Review: string(in.Text(maxSnapshotText)), Entry: in.Number(1 << 62)}
		if decodeSet(in, &x.ords); in.Err() != nil {
			return
		}
		h[x.ID] = x
	}
}

// LegalHolds returns the legal holds in force at a brand, in the order in which they were
// placed.
func (l *Ledger) LegalHolds(ctx context.Context, brand record.BrandID) (out []LegalHold, err error) {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return nil, err
	}
	err = c.under(ctx, func(db.Queryer) error {
		out = out[:0]
		for _, x := range c.proj.holds {
			out = append(out, LegalHold{ID: x.ID, Entry: x.Entry, Review: x.Review})
		}
		return nil
	})
	slices.SortFunc(out, func(a, b LegalHold) int { return int(int64(a.Entry) - int64(b.Entry)) })
	return out, err
}

// Held returns those of some customers whose keys a legal hold keeps.
func (l *Ledger) Held(ctx context.Context, brand record.BrandID, ords []record.Ordinal) (held entry.Set, err error) {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return held, err
	}
	err = c.under(ctx, func(db.Queryer) error {
		for _, ord := range ords {
			if c.proj.holds.has(ord) {
				held.Add(ord)
			}
		}
		return nil
	})
	return held, err
}
