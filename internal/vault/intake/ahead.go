package intake

import (
	"context"
	"iter"
	"maps"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	// callsAhead is how many calls to the sink may lie ready while it works.
	callsAhead = 4
	// noteRows is after how many rows the parser says how far it is, if anyone listens.
	noteRows = 1024
	// noteRejects bounds the rejects that lie ready.
	noteRejects = 1024
)

// call is rows for one call to the sink, with what was read before them.
type call[T any] struct {
	read    int64    // rows since the call before, rejected ones included
	rejects []Reject // among them
	rows    []T
	lost    []loser
	err     error // ended reading
}

// loser is a row of which a later row of the same call took the place.
type loser struct {
	line    int64
	to      int  // index of the row that won
	differs bool // from the row that won: a tap's newer record
}

// ahead parses purchases and gathers them in a goroutine of its own, a bounded way ahead
// of the receiver. It ends with the rows, with an error in its last call, or with the context.
func ahead(ctx context.Context, rows iter.Seq2[PurchaseRow, error], g *buffer) <-chan call[PurchaseRow] {
	out := make(chan call[PurchaseRow], callsAhead)
	go func() {
		defer close(out)
		var note call[PurchaseRow] // not told yet
		send := func(c call[PurchaseRow]) bool {
			c.read, c.rejects = note.read, note.rejects
			note = call[PurchaseRow]{}
			select {
			case out <- c:
				return true
			case <-ctx.Done():
				return false
			}
		}
		give := func(rows []PurchaseRow, lost []loser) bool {
			return send(call[PurchaseRow]{rows: rows, lost: lost})
		}
		for row, err := range rows {
			if err != nil {
				send(call[PurchaseRow]{err: err})
				return
			}
			note.read++
			if r := row.Reject; r != nil {
				note.rejects = append(note.rejects, *r)
				if len(note.rejects) == noteRejects && !send(note) {
					return
				}
				continue
			}
			g.add(&row)
			switch {
			case g.full():
				if !g.flush(give) {
					return
				}
			case note.read >= noteRows:
				select {
				case out <- note:
					note = call[PurchaseRow]{}
				default: // the sink is at work: reading on comes first
				}
			}
		}
		if g.flush(give) && note.read > 0 {
			send(note)
		}
	}()
	return out
}

// chunk gathers customers, each external id once.
type chunk struct {
	size int
	rows []CustomerRow
	at   map[string]int // by normal form of the external id
	lost []loser
}

func newChunk(size int) *chunk { return &chunk{size: size, at: make(map[string]int, size)} }

func (c *chunk) full() bool { return len(c.rows)+len(c.lost) >= c.size }

func (c *chunk) flush(give func([]CustomerRow, []loser) bool) bool {
	rows, lost := c.rows, c.lost
	c.rows, c.lost = nil, nil // the receiver's now
	clear(c.at)
	return len(rows) == 0 || give(rows, lost)
}

// attributes returns the empty map, or nil, of a row of an earlier chunk that lay where
// the next one will: a map is larger than all the texts in it.
func (c *chunk) attributes() map[string]string {
	if len(c.rows) == cap(c.rows) {
		return nil
	}
	m := c.rows[:len(c.rows)+1][len(c.rows)].Customer.Attributes
	clear(m)
	return m
}

// add takes a row in, or lays it over an earlier one of the same customer.
func (c *chunk) add(row *CustomerRow) {
	id := row.id
	i, there := c.at[id]
	if !there {
		if c.rows == nil {
			c.rows = make([]CustomerRow, 0, c.size)
		}
		c.at[id] = len(c.rows)
		c.rows = append(c.rows, *row)
		return
	}
	won := &c.rows[i]
	c.lost = append(c.lost, loser{won.Line, i, !won.says(row)})
	won.Line = row.Line
	for _, f := range row.Set.List() {
		if f == record.Attributes {
			if won.Customer.Attributes == nil {
				won.Customer.Attributes = map[string]string{}
			}
			maps.Copy(won.Customer.Attributes, row.Customer.Attributes)
			continue
		}
		won.Customer.Set(f, row.Customer.Get(f))
	}
	won.Set |= row.Set
}

// says reports whether the row says all that another of the same customer does.
func (r *CustomerRow) says(other *CustomerRow) bool {
	for _, f := range other.Set.List() {
		switch {
		case f == record.Attributes:
			for name, value := range other.Customer.Attributes {
				if kept, there := r.Customer.Attributes[name]; !there || kept != value {
					return false
				}
			}
		case !r.Set.Has(f), r.Customer.Get(f) != other.Customer.Get(f):
			return false
		}
	}
	return true
}
