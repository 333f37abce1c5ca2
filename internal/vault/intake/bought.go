package intake

import (
	"cmp"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// bought are the purchases of a chunk of customers, as their rows came up. Each column
// of the rows lies by itself: purchases go to the sealer as they are.
type bought struct {
	purchases []record.Purchase
	lines     []int64
	groups    []group
	first     []int32 // by customer: 1 + the group they have, 0: none
	last      string  // external id of the last group
	bytes     int
	scattered bool // some customer has two groups
	// extra has what some rows have beside their purchase, by line; nil: none has.
	extra map[int64]extra
}

// extra is what a row has beside its purchase.
type extra struct {
	raw     string
	dropped []Fault
	again   bool // an earlier row of the file was the same
}

// extra returns what the row has beside its purchase, and false for nothing.
func (r *PurchaseRow) extra() (extra, bool) {
	return extra{r.raw, r.Dropped, r.Again}, r.raw != "" || r.Dropped != nil || r.Again
}

// emptied is an empty bought in the same memory, for that many customers and about that
// many purchases.
func (b *bought) emptied(customers, purchases int) bought {
	first := slices.Grow(b.first[:0], customers)[:customers]
	clear(first)
	out := bought{purchases: b.purchases[:0], lines: b.lines[:0], groups: b.groups[:0], first: first}
	if cap(out.purchases) < purchases {
		// Room for some more: chunks are never quite alike, and this is a lot of memory.
		out.purchases = slices.Grow(out.purchases, purchases+purchases/4)
		out.lines = slices.Grow(out.lines, purchases+purchases/4)
	}
	return out
}

func (b *bought) full() bool { return len(b.purchases) >= joinRows || b.bytes >= joinBytes }

// more reports whether the row is of the same customer as the one before.
func (b *bought) more(row *PurchaseRow) bool {
	return len(b.groups) > 0 && row.ExternalID == b.last
}

// begin begins a group, to which add adds.
func (b *bought) begin(external string, customer int) {
	b.groups = append(b.groups, group{customer, len(b.purchases), len(b.purchases)})
	if b.first[customer] != 0 {
		b.scattered = true
	} else {
		b.first[customer] = int32(len(b.groups))
	}
	b.last = external
}

func (b *bought) add(row *PurchaseRow) {
	b.purchases = append(b.purchases, row.Purchase)
	b.lines = append(b.lines, row.Line)
	b.groups[len(b.groups)-1].to++
	if x, more := row.extra(); more {
		if b.extra == nil {
			b.extra = map[int64]extra{}
		}
		b.extra[row.Line] = x
	}
	p := &row.Purchase
	b.bytes += len(p.ID) + len(p.SKU) + len(p.Description) + len(p.Currency) + len(p.Store) + len(p.Channel)
}

// settle brings each customer's purchases together, in order of time, each purchase id
// once: of rows with the same the last of the file is the one that counts.
func (b *bought) settle() (lost []loser) {
	if b.scattered {
		b.gather()
	}
	to := 0 // of what is settled
	for i := range b.groups {
		g := &b.groups[i]
		n := g.to - g.from
		if !b.ordered(g.from, g.to) {
			n, lost = b.order(g.from, g.to, to, lost)
		} else if to < g.from {
			copy(b.purchases[to:], b.purchases[g.from:g.to])
			copy(b.lines[to:], b.lines[g.from:g.to])
		}
		g.from, g.to = to, to+n
		to += n
	}
	clear(b.purchases[to:])
	b.purchases, b.lines = b.purchases[:to], b.lines[:to]
	return lost
}

// gather makes one group of each customer's.
func (b *bought) gather() {
	of := make([][]group, len(b.first))
	for _, g := range b.groups {
		of[g.customer] = append(of[g.customer], g)
	}
	all := bought{purchases: make([]record.Purchase, 0, len(b.purchases)), lines: make([]int64, 0, len(b.lines))}
	for customer, groups := range of {
		from := len(all.purchases)
		for _, g := range groups {
			all.purchases = append(all.purchases, b.purchases[g.from:g.to]...)
			all.lines = append(all.lines, b.lines[g.from:g.to]...)
		}
		if len(groups) > 0 {
			all.groups = append(all.groups, group{customer, from, len(all.purchases)})
		}
	}
	b.purchases, b.lines, b.groups = all.purchases, all.lines, all.groups
}

// ordered reports whether purchases stand in order of time, with ids of their own.
func (b *bought) ordered(from, to int) bool {
	for i := from + 1; i < to; i++ {
		if !b.purchases[i-1].At.Before(b.purchases[i].At) {
			return false
		}
	}
	// Every repeat of an id is marked where it was read.
	return b.extra == nil || record.DistinctIDs(b.purchases[from:to])
}

// order puts one customer's purchases in order at a place that is not after them, and
// returns how many are left.
func (b *bought) order(from, to, at int, lost []loser) (int, []loser) {
	numbers := make([]int, to-from)
	for i := range numbers {
		numbers[i] = from + i
	}
	slices.SortFunc(numbers, func(i, j int) int {
		return cmp.Or(cmp.Compare(b.purchases[i].ID, b.purchases[j].ID), cmp.Compare(b.lines[i], b.lines[j]))
	})
	var kept []int
	earlier := map[string][]int64(nil)
	for n, i := range numbers {
		id := b.purchases[i].ID
		if n+1 < len(numbers) && b.purchases[numbers[n+1]].ID == id {
			if earlier == nil {
				earlier = map[string][]int64{}
			}
			earlier[id] = append(earlier[id], b.lines[i])
			continue
		}
		kept = append(kept, i)
	}
	slices.SortFunc(kept, func(i, j int) int {
		p, q := &b.purchases[i], &b.purchases[j]
		return cmp.Or(p.At.Compare(q.At), cmp.Compare(p.ID, q.ID))
	})
	purchases, lines := make([]record.Purchase, len(kept)), make([]int64, len(kept))
	for n, i := range kept {
		for _, line := range earlier[b.purchases[i].ID] {
			lost = append(lost, loser{line: line, to: at + n})
		}
		purchases[n], lines[n] = b.purchases[i], b.lines[i]
	}
	copy(b.purchases[at:], purchases)
	copy(b.lines[at:], lines)
	return len(kept), lost
}
