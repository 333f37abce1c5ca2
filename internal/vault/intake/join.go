package intake

import (
	"context"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

const (
	// joinRows and joinBytes bound the purchases of one chunk.
	joinRows  = 128 << 10
	joinBytes = 32 << 20
	// joinBatch is how many purchases the parser hands over together.
	joinBatch = 512
	// joinHeld is how many purchases wait for a customer further down. With more, the
	// two files are not in one order, and the rest of the purchases come afterwards.
	joinHeld = 20_000
	// joinSkip is how many purchases in a row may belong to nobody in the chunk before
	// the search for one that does is given up.
	joinSkip = 4096
)

// joined is a chunk of customers with purchases of theirs.
type joined struct {
	customers call[CustomerRow]
	purchases call[record.Purchase] // those of one customer together
	lines     []int64               // of each purchase
	groups    []group
	externals []string        // of groups, where no customers come with them
	extra     map[int64]extra // of purchases, by line
	memory    *space          // of all rows
}

// external returns whose a group of purchases is.
func (c *joined) external(g group) string {
	if c.externals != nil {
		return c.externals[g.customer]
	}
	return c.customers.rows[g.customer].id
}

// space is the memory that a chunk is held in. It is used again for a later one:
// chunks are large and follow each other fast.
type space struct {
	customers []CustomerRow
	bought    bought
	puts      []seal.Put
}

// spaces is how many chunks' memory waits to be used again: as many as are under way.
const spaces = 4

// group are the purchases from..to-1 of the customer with that number in the chunk.
type group struct{ customer, from, to int }

// joiner reads two files side by side. Exports usually have both in one order, and
// then every customer's purchases come up with the customer. It holds no more than
// a chunk and joinHeld purchases; nothing goes to disk.
type joiner struct {
	size      int
	purchases *Reader // nil: there are none
	batches   chan []PurchaseRow
	spent     chan []PurchaseRow // read and free to be filled again
	cancel    context.CancelFunc
	free      chan *space // of chunks that are done with

	// Of chunks, and of rest after it.
	batch []PurchaseRow // batch[at:] are read and not yet looked at
	at    int
	err   error // that ended the purchases; set before batches is closed
	held  []PurchaseRow
	over  bool // no more joining

	chunk   *chunk
	bought  bought
	memory  *space // of this chunk
	matched bool   // a purchase of this chunk
	note    joined
}

func newJoiner(size int, purchases *Reader) *joiner {
	j := &joiner{size: size, purchases: purchases, chunk: newChunk(size), cancel: func() {}, over: purchases == nil, free: make(chan *space, spaces)}
	j.renew()
	return j
}

// renew gives the next chunk its memory.
func (j *joiner) renew() {
	select {
	case j.memory = <-j.free:
	default:
		j.memory = &space{}
	}
	j.chunk.rows = slices.Grow(j.memory.customers[:0], j.size)
	like := len(j.bought.purchases) // of the chunk before
	j.bought = j.memory.bought.emptied(j.size, like)
}

// done takes back a chunk that nobody looks at any more.
func (j *joiner) done(m *space) {
	select {
	case j.free <- m:
	default:
	}
}

// close ends the parsers.
func (j *joiner) close() { j.cancel() }

// chunks parses both files in goroutines of their own, a bounded way ahead.
func (j *joiner) chunks(ctx context.Context, customers *Reader) <-chan joined {
	ctx, j.cancel = context.WithCancel(ctx)
	if j.purchases != nil {
		j.batches, j.spent = make(chan []PurchaseRow, 8), make(chan []PurchaseRow, 10)
		go j.parse(ctx)
	}
	out := make(chan joined, 1)
	go func() {
		defer close(out)
		rows, err := customerRows(customers)
		var row CustomerRow
		for {
			row = CustomerRow{}
			row.Customer.Attributes = j.chunk.attributes()
			if err == nil {
				err = rows.next(ctx, &row)
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				j.note.customers.err = err
				j.send(ctx, out)
				return
			}
			j.note.customers.read++
			if row.Reject != nil {
				j.note.customers.rejects = append(j.note.customers.rejects, *row.Reject)
				if len(j.note.customers.rejects) == noteRejects && !j.send(ctx, out) {
					return
				}
				continue
			}
			j.chunk.add(&row)
			j.match()
			if (j.chunk.full() || j.bought.full()) && !j.send(ctx, out) {
				return
			}
		}
		j.send(ctx, out)
	}()
	return out
}

// parse reads the purchases.
func (j *joiner) parse(ctx context.Context) {
	defer close(j.batches)
	var batch []PurchaseRow
	rows, err := purchaseRows(j.purchases)
	give := func() bool {
		rows.repeats.purchases(batch)
		select {
		case j.batches <- batch:
		case <-ctx.Done():
			return false
		}
		select {
		case batch = <-j.spent:
			batch = batch[:0]
		default:
			batch = make([]PurchaseRow, 0, joinBatch)
		}
		return true
	}
	for err == nil {
		batch = append(batch, PurchaseRow{})
		if err = rows.read(ctx, &batch[len(batch)-1]); err != nil {
			batch = batch[:len(batch)-1]
			break
		}
		if len(batch) == joinBatch && !give() {
			return
		}
	}
	if err != io.EOF {
		j.err = err
	}
	if len(batch) > 0 {
		give()
	}
}

// head returns the next purchase, nil after the last.
func (j *joiner) head() *PurchaseRow {
	for j.at == len(j.batch) {
		if j.batch != nil {
			select {
			case j.spent <- j.batch:
			default:
			}
		}
		j.batch, j.at = <-j.batches, 0
		if j.batch == nil {
			return nil
		}
	}
	return &j.batch[j.at]
}

// match takes the purchases that come next in the file, as long as they are of
// customers of this chunk.
func (j *joiner) match() {
	for !j.over && !j.bought.full() {
		row := j.head()
		if row == nil {
			j.over = true
			return
		}
		if row.Reject == nil && !j.take(row) {
			return
		}
		if row.Reject != nil {
			j.note.purchases.read++
			j.note.purchases.rejects = append(j.note.purchases.rejects, *row.Reject)
		}
		j.at++
	}
}

// take reports whether the purchase is of a customer of this chunk, and adds it then.
func (j *joiner) take(row *PurchaseRow) bool {
	if !j.bought.more(row) {
		customer, ok := j.chunk.at[row.ExternalID]
		if !ok {
			return false
		}
		j.bought.begin(row.ExternalID, customer)
	}
	j.bought.add(row)
	j.note.purchases.read++
	j.matched = true
	return true
}

// search is for files that are only roughly in one order: it sets purchases aside
// that are of nobody in the chunk, until one is.
func (j *joiner) search() {
	j.held = slices.DeleteFunc(j.held, func(row PurchaseRow) bool { return j.take(&row) })
	for skipped := 0; !j.over && !j.matched && skipped < joinSkip; skipped++ {
		row := j.head()
		if row == nil {
			return
		}
		j.held = append(j.held, row.alone()) // no reject: match would have taken it
		j.at++
		j.over = len(j.held) >= joinHeld
		j.match()
	}
}

// send gives the chunk away, with what was read before it.
func (j *joiner) send(ctx context.Context, out chan<- joined) bool {
	j.search()
	c := j.note
	c.memory = j.memory
	c.purchases.lost = j.bought.settle()
	c.purchases.rows, c.lines, c.groups = j.bought.purchases, j.bought.lines, j.bought.groups
	c.extra = j.bought.extra
	j.chunk.flush(func(rows []CustomerRow, lost []loser) bool {
		c.customers.rows, c.customers.lost = rows, lost
		return true
	})
	c.memory.customers, c.memory.bought = c.customers.rows, j.bought
	j.note, j.matched = joined{}, false
	j.renew()
	select {
	case out <- c:
		return true
	case <-ctx.Done():
		return false
	}
}

// rest yields the purchases that came up with no customer, in the order of the file.
// The channel of chunks must have been read to its end.
func (j *joiner) rest(ctx context.Context) iter.Seq2[PurchaseRow, error] {
	return func(yield func(PurchaseRow, error) bool) {
		for i := range j.held {
			if !yield(j.held[i], nil) {
				return
			}
		}
		j.held = nil
		for {
			row := j.head()
			if row == nil {
				break
			}
			if !yield(*row, nil) {
				return
			}
			j.at++
		}
		if err := ctx.Err(); err != nil {
			yield(PurchaseRow{}, err)
		} else if j.err != nil {
			yield(PurchaseRow{}, j.err)
		}
	}
}

// alone is the row in memory of its own.
func (r *PurchaseRow) alone() PurchaseRow {
	out := *r
	p := &out.Purchase
	for _, s := range []*string{&out.ExternalID, &p.ID, &p.SKU, &p.Description, &p.Currency, &p.Store, &p.Channel} {
		*s = strings.Clone(*s)
	}
	return out
}
