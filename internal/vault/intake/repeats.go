package intake

import (
	"fmt"
	"hash/maphash"
	"math/bits"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	// repeatRows is how many rows a generation of repeats holds. Two are kept: of the
	// latest repeatRows rows none is forgotten, and the memory is 128 MiB at most.
	repeatRows = 2 << 20
	// repeatLine is the bits of a line; the rest of a word is of what the row says. Two
	// different rows of one id look alike once in 2^24.
	repeatLine = 40
)

// seed is this process's own: nobody can choose ids that collide.
var seed = maphash.MakeSeed()

// repeats remembers the ids of a file's rows, hashed, and what the rows said.
type repeats struct{ now, before idTable }

// idTable is a hash table of open addressing: an id, and then 24 bits of what its row
// says above the 40 of its line.
type idTable struct {
	slots [][2]uint64
	n     int
}

// seen returns the line of an earlier row with this id, 0 if there is none, and whether
// that row said the same.
func (r *repeats) seen(id, row uint64, line int64) (first int64, same bool) {
	id |= 1 // a zero marks an empty slot
	word := row<<repeatLine | uint64(line)&(1<<repeatLine-1)
	if r.now.n == repeatRows {
		r.before, r.now = r.now, r.before
		clear(r.now.slots)
		r.now.n = 0
	}
	r.now.grow()
	slot := r.now.find(id)
	had := slot[1]
	if slot[0] == 0 {
		if len(r.before.slots) > 0 {
			had = r.before.find(id)[1]
		}
		if had == 0 {
			*slot = [2]uint64{id, word}
			r.now.n++
			return 0, false
		}
	}
	return int64(had & (1<<repeatLine - 1)), had>>repeatLine == word>>repeatLine
}

// grow makes room for one more id.
func (t *idTable) grow() {
	if 2*t.n < len(t.slots) {
		return
	}
	old := t.slots
	t.slots = make([][2]uint64, max(4096, 4*len(old)))
	for _, s := range old {
		if s[0] != 0 {
			*t.find(s[0]) = s
		}
	}
}

// find returns the slot of an id, or the empty one where it belongs.
func (t *idTable) find(id uint64) *[2]uint64 {
	mask := uint64(len(t.slots) - 1)
	for i := id >> 1 & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s[0] == id || s[0] == 0 {
			return s
		}
	}
}

// mix lays a text over a hash.
func mix(h uint64, s string) uint64 {
	if s == "" {
		return bits.RotateLeft64(h, 11)
	}
	return (bits.RotateLeft64(h, 11) ^ maphash.String(seed, s)) * 0x9e3779b97f4a7c15
}

// customer refuses one of whom an earlier row says something else.
func (r *repeats) customer(row *CustomerRow) {
	h := uint64(row.Set)
	for i := range row.Customer.Columns {
		h = mix(h, row.Customer.Columns[i])
	}
	for name, value := range row.Customer.Attributes {
		h += mix(maphash.String(seed, name), value) // in any order
	}
	first, same := r.seen(maphash.String(seed, row.id), h, row.Line)
	switch {
	case first == 0:
	case same:
		row.Again = true
	default:
		rej := repeated(row.Line, record.ExternalID.String(), "external id", first)
		rej.raw = row.raw
		*row = CustomerRow{Line: row.Line, Reject: rej}
	}
}

// purchase refuses a purchase of which an earlier row says something else.
func (r *repeats) purchase(row *PurchaseRow) {
	p := &row.Purchase
	h := mix(mix(mix(mix(mix(uint64(p.At.UnixMicro()), p.SKU), p.Description), p.Currency), p.Store), p.Channel)
	h = (h ^ uint64(p.Amount.Units)) * 0x9e3779b97f4a7c15
	h = (h ^ uint64(p.Quantity)<<8 ^ uint64(p.Amount.Scale)) * 0x9e3779b97f4a7c15
	first, same := r.seen(mix(maphash.String(seed, row.ExternalID), p.ID), h^h>>32, row.Line)
	switch {
	case first == 0:
	case same:
		row.Again = true
	default:
		rej := repeated(row.Line, "purchase_id", "purchase id", first)
		rej.raw = row.raw
		*row = PurchaseRow{Line: row.Line, Reject: rej}
	}
}

func repeated(line int64, field, what string, first int64) *Reject {
	reason := fmt.Sprintf("differs from line %d, which has the same %s", first, what)
	if field == "purchase_id" {
		reason += ": correct one of them, or number the lines of an order with `id: {from: Column, per-line: true}` in the mapping"
	} else {
		reason += ": keep one row of each customer"
	}
	return &Reject{Line: line, Field: field, Code: CodeRepeated, Reason: reason}
}
