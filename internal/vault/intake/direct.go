package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// DirectChunk is how many customers go to a Direct at once, with their purchases:
// more make each chunk's index rows fall closer together, and cost memory.
const DirectChunk = 2500

// Direct is the sink of a process that has the vault open itself: rows go from the
// parser to the sealer as they are. While one chunk is written to the database, the
// next is sealed and logged and those after it are parsed; chunks are written in
// order. The caller's role is asked for anew with each chunk.
type Direct struct {
	Desk   *Desk
	Caller identity.Caller
	Brand  string
	// Tokens, unless nil, is told the token of each customer of the customers' file.
	Tokens func(externalID, token string) error

	first firstLoad
}

// Customers implements Sink.
func (d *Direct) Customers(ctx context.Context, rows []CustomerRow) ([]Result, error) {
	w, err := d.beginCustomers(ctx, &joined{customers: call[CustomerRow]{rows: rows}, memory: &space{}})
	if err == nil {
		err = w.finish(ctx)
	}
	if err != nil {
		return nil, err
	}
	return customerResults(w.p, len(rows)), d.tell(ctx, w, rows)
}

// Purchases implements Sink.
func (d *Direct) Purchases(ctx context.Context, rows []PurchaseRow) ([]Result, error) {
	w, err := d.beginPurchases(ctx, rows)
	if err == nil {
		err = w.finish(ctx)
	}
	if err != nil {
		return nil, err
	}
	return purchaseResults(w.p, len(rows), groupsOf(rows)), nil
}

func (d *Direct) enter(ctx context.Context) (*door.Visit, error) {
	return d.Desk.Door.Admit(ctx, d.Caller, d.Brand, access.ActWrite)
}

func (d *Direct) beginCustomers(ctx context.Context, j *joined) (*pending, error) {
	v, err := d.enter(ctx)
	if err != nil {
		return nil, err
	}
	puts := slices.Grow(j.memory.puts[:0], len(j.customers.rows))
	for i := range j.customers.rows {
		row := &j.customers.rows[i]
		puts = append(puts, seal.Put{Set: row.Set, Customer: row.Customer})
	}
	j.memory.puts = puts
	for _, g := range j.groups {
		puts[g.customer].Purchases = j.purchases.rows[g.from:g.to:g.to]
	}
	w := d.Desk.puts(v, puts)
	w.kind = entry.KindImport
	w.first = &d.first
	return w, w.begin(ctx)
}

func (d *Direct) beginPurchases(ctx context.Context, rows []PurchaseRow) (*pending, error) {
	v, err := d.enter(ctx)
	if err != nil {
		return nil, err
	}
	var appends []seal.Append
	bought := make([]record.Purchase, len(rows))
	for from := 0; from < len(rows); {
		to := from
		for ; to < len(rows) && rows[to].ExternalID == rows[from].ExternalID; to++ {
			bought[to] = rows[to].Purchase
		}
		appends = append(appends, seal.Append{ExternalID: rows[from].ExternalID, Purchases: bought[from:to:to]})
		from = to
	}
	w := d.Desk.appends(v, appends)
	w.kind = entry.KindImport
	return w, w.begin(ctx)
}

// tell tells the tokens.
func (d *Direct) tell(ctx context.Context, w *pending, rows []CustomerRow) error {
	if d.Tokens == nil {
		return nil
	}
	for i := range rows {
		ord := w.p.Ord(i)
		if ord == 0 || w.p.Err(i) != nil {
			continue
		}
		token, err := d.Desk.Seal.Token(ctx, w.v.Brand.ID, ord)
		if err != nil {
			return err
		}
		if err := d.Tokens(rows[i].Customer.Get(record.ExternalID), token); err != nil {
			return err
		}
	}
	return nil
}

func customerResults(p *seal.Prepared, n int) []Result {
	out := make([]Result, n)
	for i := range out {
		if err := p.Err(i); err != nil {
			out[i] = Result{Rejected, failure(err)}
			continue
		}
		out[i].Outcome = Outcome(p.Outcome(i))
	}
	return out
}

// groupsOf says which purchases are of one customer: those of one stand together.
func groupsOf(rows []PurchaseRow) (groups []group) {
	for from := 0; from < len(rows); {
		to := from
		for to < len(rows) && rows[to].ExternalID == rows[from].ExternalID {
			to++
		}
		groups = append(groups, group{len(groups), from, to})
		from = to
	}
	return groups
}

// purchaseResults answers for n purchases. groups say which of what was prepared they
// are of.
func purchaseResults(p *seal.Prepared, n int, groups []group) []Result {
	out := make([]Result, n)
	for _, g := range groups {
		if err := p.Err(g.customer); err != nil {
			for i := g.from; i < g.to; i++ {
				out[i] = Result{Rejected, failure(err)}
			}
			continue
		}
		for i, o := range p.Purchases(g.customer) {
			out[g.from+i].Outcome = Outcome(o)
		}
	}
	return out
}

// direct brings both files in. Customers go with those of their purchases that stand
// where the two files, read side by side, show them; the rest follow.
func (im *importer) direct(ctx context.Context, d *Direct) (err error) {
	if im.Customers.Reader != nil {
		var first bool
		first, err = d.Desk.Seal.FirstLoad(ctx)
		if err != nil {
			return err
		}
		d.first.on.Store(first)
		// Also after an error or an interrupt; a kill leaves it to the next start.
		defer func() { err = errors.Join(err, d.Desk.Seal.Mend(context.WithoutCancel(ctx))) }()
	}
	rest := func(yield func(PurchaseRow, error) bool) {}
	if im.Purchases.Reader != nil {
		rest = Purchases(ctx, im.Purchases.Reader)
	}
	if im.Customers.Reader != nil {
		j := newJoiner(im.ChunkCustomers, im.Purchases.Reader)
		defer j.close()
		err := flow(ctx, im.Customers, j.chunks(ctx, im.Customers.Reader), d.beginCustomers, func(c *joined, w *pending) error {
			err := im.tookCustomers(ctx, d, c, w)
			j.done(c.memory)
			return err
		})
		if err != nil {
			return err
		}
		if im.Purchases.Reader != nil {
			rest = j.rest(ctx)
		}
	}
	if im.Purchases.Reader == nil {
		return nil
	}
	k := im.purchaseKind()
	counts := &im.report.Purchases
	return flow(ctx, im.Purchases, im.purchaseCalls(ctx, rest), func(ctx context.Context, c *call[PurchaseRow]) (*pending, error) {
		if len(c.rows) == 0 {
			return nil, nil
		}
		return d.beginPurchases(ctx, c.rows)
	}, func(c *call[PurchaseRow], w *pending) error {
		if err := note(im, im.Purchases, counts, c); err != nil || w == nil {
			return err
		}
		if err := w.finish(ctx); err != nil {
			return interrupted(im.Purchases, err)
		}
		defer im.progress(im.Purchases, counts)
		return settle(im, im.Purchases, counts, k, *c, purchaseResults(w.p, len(c.rows), groupsOf(c.rows)))
	})
}

// interrupted says in which file the vault failed.
func interrupted(in Input, err error) error { return fmt.Errorf("importing %s: %w", in.Name, err) }

// tookCustomers writes a chunk that is logged, and counts it.
func (im *importer) tookCustomers(ctx context.Context, d *Direct, j *joined, w *pending) error {
	customers, purchases := &im.report.Customers, &im.report.Purchases
	if err := note(im, im.Customers, customers, &j.customers); err != nil {
		return err
	}
	if err := note(im, im.Purchases, purchases, &j.purchases); err != nil {
		return err
	}
	if w == nil {
		return nil
	}
	if err := w.finish(ctx); err != nil {
		return interrupted(im.Customers, err)
	}
	if err := d.tell(ctx, w, j.customers.rows); err != nil {
		return interrupted(im.Customers, err)
	}
	err := settle(im, im.Customers, customers, im.customerKind(), j.customers, customerResults(w.p, len(j.customers.rows)))
	if err2 := settle(im, im.Purchases, purchases, im.boughtKind(j), j.purchases, purchaseResults(w.p, len(j.purchases.rows), j.groups)); err == nil {
		err = err2
	}
	im.progress(im.Customers, customers)
	return err
}

func (im *importer) boughtKind(j *joined) kind[record.Purchase] {
	return kind[record.Purchase]{line: func(i int, _ *record.Purchase) int64 { return j.lines[i] }, taken: im.sums.add}
}

// flow overlaps the chunks of an import: while finish writes one, begin seals and
// logs the next. What begin returned reaches finish in order; after an error nothing
// more does, and begin has ended when flow returns.
func flow[C any](ctx context.Context, in Input, calls <-chan C, begin func(context.Context, *C) (*pending, error), finish func(*C, *pending) error) error {
	ctx, cancel := context.WithCancel(ctx)
	type flight struct {
		c   C
		w   *pending
		err error
	}
	flights := make(chan flight)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(flights)
		for c := range calls {
			f := flight{c: c}
			f.w, f.err = begin(ctx, &f.c)
			select {
			case flights <- f:
			case <-ctx.Done():
				return
			}
			if f.err != nil {
				return
			}
		}
	})
	defer wg.Wait()
	defer cancel()
	for f := range flights {
		if f.err != nil {
			return interrupted(in, f.err)
		}
		if err := finish(&f.c, f.w); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil { // the calls may have ended for that
		return interrupted(in, err)
	}
	return nil
}
