package intake

import (
	"context"
	"errors"
	"slices"
	"strings"

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
	// Relationship lets in customers who were erased, and says why; empty: they stay out.
	Relationship string
	// Rehearse says what would become of rows, and writes nothing but a log entry.
	Rehearse bool

	first firstLoad
}

// begin implements Sink: it seals and logs the chunk.
func (d *Direct) begin(ctx context.Context, c *joined) (landing, error) {
	if d.Rehearse {
		return d.rehearse(c), nil
	}
	var w *pending
	var err error
	switch {
	case len(c.customers.rows) > 0:
		w, err = d.beginCustomers(ctx, c)
	case len(c.purchases.rows) > 0:
		w, err = d.beginPurchases(ctx, c)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &descent{d, c, w}, nil
}

// descent is a chunk that is sealed and logged.
type descent struct {
	d *Direct
	c *joined
	w *pending
}

// finish implements landing: it writes the chunk to the database.
func (x *descent) finish(ctx context.Context) (customers, purchases []Result, err error) {
	if err := x.w.finish(ctx); err != nil {
		return nil, nil, err
	}
	purchases = purchaseResults(x.w.p, len(x.c.purchases.rows), x.c.groups)
	if len(x.c.customers.rows) == 0 {
		return nil, purchases, nil
	}
	if err := x.d.tell(ctx, x.w, x.c.customers.rows); err != nil {
		return nil, nil, err
	}
	return customerResults(x.w.p, x.c.customers.rows), purchases, nil
}

// firstLoad prepares the database for an import of customers, and returns what has to
// be done after it, also after an error or an interrupt; a kill leaves that to the next
// start.
func (d *Direct) firstLoad(ctx context.Context) (end func() error, err error) {
	first, err := d.Desk.Seal.FirstLoad(ctx)
	if err != nil {
		return nil, err
	}
	d.first.on.Store(first)
	return func() error { return d.Desk.Seal.Mend(context.WithoutCancel(ctx)) }, nil
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
		puts = append(puts, seal.Put{Set: row.Set, Customer: row.Customer, Merge: row.Merge, Country: v.Brand.Settings.PhoneCountry})
	}
	j.memory.puts = puts
	for _, g := range j.groups {
		puts[g.customer].Purchases = j.purchases.rows[g.from:g.to:g.to]
	}
	w := d.Desk.puts(v, puts)
	w.kind, w.owner = entry.KindImport, true
	w.returns(puts, d.Relationship)
	w.first = &d.first
	return w, w.begin(ctx)
}

// beginPurchases begins a chunk of purchases alone.
func (d *Direct) beginPurchases(ctx context.Context, c *joined) (*pending, error) {
	v, err := d.enter(ctx)
	if err != nil {
		return nil, err
	}
	appends, err := d.appends(ctx, v, c)
	if err != nil {
		return nil, err
	}
	w := d.Desk.appends(v, appends)
	w.kind, w.owner = entry.KindImport, true
	return w, w.begin(ctx)
}

// appends are the purchases of a chunk by customer. A row that names no customer of the
// brand by token gets one that nobody has: its purchases are refused, and no other's.
func (d *Direct) appends(ctx context.Context, v *door.Visit, c *joined) ([]seal.Append, error) {
	appends := make([]seal.Append, len(c.groups))
	for i, g := range c.groups {
		appends[i] = seal.Append{ExternalID: c.external(g), Purchases: c.purchases.rows[g.from:g.to:g.to]}
		token, is := strings.CutPrefix(appends[i].ExternalID, tokenMark)
		if !is {
			continue
		}
		ord, err := d.Desk.resolve(ctx, v, token)
		if err != nil {
			return nil, err
		}
		appends[i].Ord, appends[i].ExternalID = ord, ""
	}
	return appends, nil
}

// resolve returns whose a token is. One that is no token of the brand is nobody's, as
// is one of an erased customer.
func (d *Desk) resolve(ctx context.Context, v *door.Visit, token string) (record.Ordinal, error) {
	ords, err := d.Seal.Resolve(ctx, v.Brand.ID, []string{token})
	if _, unknown := errors.AsType[*seal.TokenError](err); unknown {
		v.Refuse(ctx, "unknown-token")
		return record.FirstNobody, nil
	}
	if err != nil {
		return 0, err
	}
	return ords[0], nil
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

func customerResults(p *seal.Prepared, rows []CustomerRow) []Result {
	out := make([]Result, len(rows))
	for i := range out {
		if out[i] = resultOf(&rows[i], p.Outcome(i), p.Note(i), p.Err(i)); p.Withheld(i) {
			out[i] = Result{Outcome: Withheld}
		}
	}
	return out
}

func resultOf(row *CustomerRow, o seal.Outcome, n seal.Note, err error) Result {
	if err != nil {
		return Result{Outcome: Rejected, Reject: failure(err)}
	}
	return Result{Outcome: Outcome(o), Emptied: n.Cleared, Cleared: n.Values, Unfound: n.Unfound | row.Notes.Unfound}
}

// purchaseResults answers for n purchases. groups say which of what was prepared they
// are of.
func purchaseResults(p *seal.Prepared, n int, groups []group) []Result {
	out := make([]Result, n)
	for _, g := range groups {
		if err := p.Err(g.customer); err != nil {
			for i := g.from; i < g.to; i++ {
				out[i] = Result{Outcome: Rejected, Reject: failure(err)}
			}
			continue
		}
		for i, o := range p.Purchases(g.customer) {
			if out[g.from+i].Outcome = Outcome(o); p.Withheld(g.customer) && p.Whole(g.customer) {
				out[g.from+i].Outcome = Withheld
			}
		}
	}
	return out
}
