package intake

import (
	"fmt"
	"hash/maphash"
	"math/bits"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	// repeatRows is how many rows a generation of repeats holds. Two are kept: of the
	// latest repeatRows rows none is forgotten, and the memory is 96 MiB at most.
	repeatRows = 1 << 21
	// repeatLine is the bits of a line; the rest of a word is of what the row says. Two
	// different rows of one id look alike once in 2^24.
	repeatLine = 40
	// repeatPage is how many rows a page holds. Pages are filled one after the other, and
	// none is moved: a table of whole rows took a quarter of an import's processor time.
	repeatPage = 1 << 12
	// repeatSlot is the bits of a slot that number a row, from 1. The rest is of its id,
	// so that few rows of other ids are looked at.
	repeatSlot = 22
)

// seed is this process's own: nobody can choose ids that collide.
var seed = maphash.MakeSeed()

// repeats remembers the ids of a file's rows, hashed, and what the rows said.
type repeats struct {
	now, before idTable

	// The external id of the purchase before, and its hash.
	external string
	hash     uint64
	touched  uint32
}

// idRow is an id, and 24 bits of what its row says above the 40 of its line.
type idRow struct{ id, word uint64 }

// idTable is a hash table of open addressing, whose small slots number the rows.
type idTable struct {
	slots []uint32 // 0: empty
	pages [][]idRow
	n     int
}

// seen returns the line of an earlier row with this id, 0 if there is none, and whether
// that row said the same.
func (r *repeats) seen(id, row uint64, line int64) (first int64, same bool) {
	word := row<<repeatLine | uint64(line)&(1<<repeatLine-1)
	if r.now.n == repeatRows {
		r.before, r.now = r.now, r.before
		clear(r.now.slots)
		r.now.n = 0
	}
	r.now.grow()
	slot, had := r.now.find(id)
	if had == nil && len(r.before.slots) > 0 {
		_, had = r.before.find(id)
	}
	if had == nil {
		r.now.add(slot, idRow{id, word})
		return 0, false
	}
	return int64(had.word & (1<<repeatLine - 1)), had.word>>repeatLine == word>>repeatLine
}

// add puts a row into the slot that find returned.
func (t *idTable) add(slot *uint32, row idRow) {
	if t.n/repeatPage == len(t.pages) {
		t.pages = append(t.pages, make([]idRow, repeatPage))
	}
	t.pages[t.n/repeatPage][t.n%repeatPage] = row
	t.n++
	*slot = tagOf(row.id) | uint32(t.n)
}

// tagOf is the part of an id that its slot holds.
func tagOf(id uint64) uint32 { return uint32(id>>32) &^ (1<<repeatSlot - 1) }

// grow makes room for one more id.
func (t *idTable) grow() {
	if 8*t.n < 5*len(t.slots) {
		return
	}
	t.slots = make([]uint32, max(4096, 2*len(t.slots)))
	mask := uint64(len(t.slots) - 1)
	for i := range t.n {
		id := t.pages[i/repeatPage][i%repeatPage].id
		at := id & mask
		for t.slots[at] != 0 {
			at = (at + 1) & mask
		}
		t.slots[at] = tagOf(id) | uint32(i+1)
	}
}

// find returns the row of an id, or nil and the empty slot where the id belongs.
func (t *idTable) find(id uint64) (*uint32, *idRow) {
	mask, tag := uint64(len(t.slots)-1), tagOf(id)
	for i := id & mask; ; i = (i + 1) & mask {
		slot := t.slots[i]
		if slot == 0 {
			return &t.slots[i], nil
		}
		if slot&^(1<<repeatSlot-1) == tag {
			n := int(slot&(1<<repeatSlot-1)) - 1
			if row := &t.pages[n/repeatPage][n%repeatPage]; row.id == id {
				return &t.slots[i], row
			}
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

// purchases refuses those of which an earlier row says something else. Many at once take
// half the time: the processor fetches all of their slots together.
func (r *repeats) purchases(rows []PurchaseRow) {
	var ids, says [joinBatch]uint64
	for len(rows) > 0 {
		n := min(len(rows), joinBatch)
		r.now.grow()
		mask := uint64(len(r.now.slots) - 1)
		for i := range rows[:n] {
			ids[i], says[i] = r.hashes(&rows[i])
			r.touched |= r.now.slots[ids[i]&mask]
		}
		for i := range rows[:n] {
			if rows[i].Reject == nil {
				r.purchase(&rows[i], ids[i], says[i])
			}
		}
		rows = rows[n:]
	}
}

// hashes returns the hash of a purchase's id, and that of what it says.
func (r *repeats) hashes(row *PurchaseRow) (id, says uint64) {
	p := &row.Purchase
	h := mix(mix(mix(mix(mix(uint64(p.At.UnixMicro()), p.SKU), p.Description), p.Currency), p.Store), p.Channel)
	h = (h ^ uint64(p.Amount.Units)) * 0x9e3779b97f4a7c15
	h = (h ^ uint64(p.Quantity)<<8 ^ uint64(p.Amount.Scale)) * 0x9e3779b97f4a7c15
	if row.ExternalID != r.external || r.hash == 0 {
		r.external, r.hash = row.ExternalID, maphash.String(seed, row.ExternalID)
	}
	return mix(r.hash, p.ID), h ^ h>>32
}

// purchase refuses a purchase of which an earlier row says something else.
func (r *repeats) purchase(row *PurchaseRow, id, says uint64) {
	first, same := r.seen(id, says, row.Line)
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
