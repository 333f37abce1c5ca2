package intake

import (
	"cmp"
	"slices"
)

const (
	// bufferRows and bufferBytes bound the purchases that are held to bring those of
	// one customer together. As many may lie ready for the sink: the parser fills one
	// buffer while the sink empties the one before, about 100 MB of rows in all.
	bufferRows  = 128 << 10
	bufferBytes = 32 << 20
	// callRows is about how many purchases go to the sink at once, customers kept whole.
	callRows = 20_000
)

// buffer gathers purchases by customer. Files that are sorted by customer need no
// more than that; for others, each buffer writes to a customer's purchases once.
type buffer struct {
	maxCustomers int // in one call to the sink
	maxRows      int
	callRows     int // about how many rows in one call to the sink
	rows         []PurchaseRow
	group        []int32          // of each row: which customer, in order of appearance
	groups       map[string]int32 // by external id
	bytes        int
	last         string // external id of the row before, and its customer
	lastGroup    int32
	scattered    bool // some customer's rows do not stand together
}

func newBuffer(maxCustomers int) *buffer {
	return &buffer{maxCustomers: maxCustomers, maxRows: bufferRows, callRows: callRows, groups: map[string]int32{}}
}

func (b *buffer) full() bool { return len(b.rows) >= b.maxRows || b.bytes >= bufferBytes }

func (b *buffer) add(row *PurchaseRow) {
	g := b.lastGroup
	if len(b.rows) == 0 || row.ExternalID != b.last {
		var ok bool
		if g, ok = b.groups[row.ExternalID]; !ok {
			g = int32(len(b.groups))
			b.groups[row.ExternalID] = g
		}
		b.scattered = b.scattered || ok
		b.last, b.lastGroup = row.ExternalID, g
	}
	b.rows = append(b.rows, *row)
	b.group = append(b.group, g)
	p := &row.Purchase
	b.bytes += len(row.ExternalID) + len(p.ID) + len(p.SKU) + len(p.Description) + len(p.Currency) + len(p.Store) + len(p.Channel)
}

func (b *buffer) flush(give func([]PurchaseRow, []loser) bool) bool {
	if len(b.rows) <= b.callRows && len(b.groups) <= b.maxCustomers && b.ordered() {
		rows := b.rows
		b.rows = make([]PurchaseRow, 0, len(rows)+len(rows)/8) // the others are the receiver's now
		b.reset()
		return give(rows, nil)
	}
	// The rows' numbers by customer, each customer's in order of the file.
	starts := make([]int32, len(b.groups)+1)
	for _, g := range b.group {
		starts[g+1]++
	}
	for g := range len(b.groups) {
		starts[g+1] += starts[g]
	}
	order := make([]int32, len(b.rows))
	next := slices.Clone(starts)
	for i, g := range b.group {
		order[next[g]] = int32(i)
		next[g]++
	}
	var out []PurchaseRow
	var lost []loser
	customers := 0
	for g := range len(b.groups) {
		if out == nil {
			out = make([]PurchaseRow, 0, min(len(b.rows), b.callRows+b.callRows/8))
		}
		out, lost = b.customer(order[starts[g]:starts[g+1]], out, lost)
		if customers++; customers < b.maxCustomers && len(out) < b.callRows && g < len(b.groups)-1 {
			continue
		}
		if !give(out, lost) {
			return false
		}
		out, lost, customers = nil, nil, 0 // the receiver's now
	}
	clear(b.rows)
	b.rows = b.rows[:0]
	b.reset()
	return true
}

func (b *buffer) reset() {
	b.group, b.bytes, b.scattered = b.group[:0], 0, false
	clear(b.groups)
}

// customer appends one customer's purchases to out, in order of time. Of rows with
// the same purchase id the last of the file is the one that counts.
func (b *buffer) customer(numbers []int32, out []PurchaseRow, lost []loser) ([]PurchaseRow, []loser) {
	slices.SortFunc(numbers, func(i, j int32) int {
		return cmp.Or(cmp.Compare(b.rows[i].Purchase.ID, b.rows[j].Purchase.ID), cmp.Compare(b.rows[i].Line, b.rows[j].Line))
	})
	kept := numbers[:0]
	earlier := map[string][]loser(nil)
	for n, i := range numbers {
		id := b.rows[i].Purchase.ID
		if n+1 < len(numbers) && b.rows[numbers[n+1]].Purchase.ID == id {
			if earlier == nil {
				earlier = map[string][]loser{}
			}
			earlier[id] = append(earlier[id], loser{line: b.rows[i].Line, differs: b.rows[i].Purchase != b.rows[numbers[n+1]].Purchase})
			continue
		}
		kept = append(kept, i)
	}
	slices.SortFunc(kept, func(i, j int32) int {
		p, q := &b.rows[i].Purchase, &b.rows[j].Purchase
		return cmp.Or(p.At.Compare(q.At), cmp.Compare(p.ID, q.ID))
	})
	for _, i := range kept {
		for _, l := range earlier[b.rows[i].Purchase.ID] {
			l.to = len(out)
			lost = append(lost, l)
		}
		out = append(out, b.rows[i])
	}
	return out, lost
}

// ordered reports whether all rows stand as flush gives them away: each customer's
// together, in order of time, with purchase ids of their own.
func (b *buffer) ordered() bool {
	if b.scattered {
		return false
	}
	for from := 0; from < len(b.rows); {
		to := from + 1
		for ; to < len(b.rows) && b.group[to] == b.group[from]; to++ {
			if !b.rows[to-1].Purchase.At.Before(b.rows[to].Purchase.At) {
				return false
			}
		}
		if !distinct(b.rows[from:to]) {
			return false
		}
		from = to
	}
	return true
}

// distinct reports whether the rows have purchase ids of their own. Of few rows,
// comparing each with each is cheaper than remembering them.
func distinct(rows []PurchaseRow) bool {
	const few = 32
	if len(rows) > few {
		seen := make(map[string]bool, len(rows))
		for i := range rows {
			seen[rows[i].Purchase.ID] = true
		}
		return len(seen) == len(rows)
	}
	for i := range rows {
		for j := range i {
			if rows[i].Purchase.ID == rows[j].Purchase.ID {
				return false
			}
		}
	}
	return true
}
