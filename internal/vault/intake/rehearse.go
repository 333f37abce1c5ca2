package intake

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// nobody takes canaries for nobody, as the write itself would: they give way to a customer
// of their number.
func (d *Desk) nobody(v *door.Visit, met *int) seal.Nobody {
	if d.Canaries == nil {
		return nil
	}
	return func(ctx context.Context, ords []record.Ordinal) (map[record.Ordinal]bool, error) {
		hidden, err := d.Canaries.Giving(ctx, v.Brand.ID, ords)
		*met = 2 * len(hidden)
		return hidden, err
	}
}

// rehearsed logs a rehearsal before it is answered: the caller learns of every row whether
// somebody is there, and each costs a search, found or not. The machine's owner has no
// budget.
func (d *Desk) rehearsed(ctx context.Context, v *door.Visit, fields record.FieldSet, n, unchanged, met int, owner bool) error {
	w := entry.Wrote{Unchanged: unchanged, Rehearsed: n}
	ev := ledger.Event{Kind: entry.KindWrite, Who: v.Who, Fields: fields}
	if owner {
		w.By = entry.ByOwner
	} else {
		w.Met, ev.Rows = n, n
	}
	w.Mark = d.mark(v.Brand.ID, met)
	ev.Detail = entry.Written{Wrote: w}
	_, err := d.Ledger.Record(ctx, ev)
	return err
}

// mayRehearse refuses a rehearsal for which the budget of searches has no room, before it
// looks for anybody.
func (d *Desk) mayRehearse(ctx context.Context, v *door.Visit, n int) error {
	err := d.Ledger.Fits(ctx, v.Who, []ledger.Room{{Class: budget.Search, N: n}}, n)
	if ledger.Refused(err) {
		d.Ledger.RefusedByBudget(ctx, v.Who, entry.KindWrite.String(), err)
	}
	return err
}

func fieldsOfPuts(puts []seal.Put) (out record.FieldSet) {
	for i := range puts {
		out |= puts[i].Set
	}
	return out
}

// rehearse answers a request as its write would be answered, without receipt and tokens.
func (d *Desk) rehearse(ctx context.Context, v *door.Visit, b *batch) (*api.Written, error) {
	out := &api.Written{Results: b.results}
	if len(b.at) == 0 {
		return out, nil
	}
	if !v.Who.Owner {
		if err := d.mayRehearse(ctx, v, len(b.at)); err != nil {
			return nil, err
		}
	}
	for i := range b.puts {
		b.puts[i].Returns = b.relationship != ""
	}
	met := 0
	r, err := d.Seal.RehearseCustomers(ctx, v.Brand.ID, b.puts, d.nobody(v, &met))
	fields := fieldsOfPuts(b.puts)
	if b.appends != nil {
		r, err = d.Seal.RehearsePurchases(ctx, v.Brand.ID, b.appends, d.nobody(v, &met))
		fields = record.Fields(record.Purchases)
	}
	if err != nil {
		return nil, err
	}
	if err := d.rehearsed(ctx, v, fields, len(b.at), r.Unchanged(), met, v.Who.Owner); err != nil {
		return nil, err
	}
	if v.Who.Owner {
		out.Withheld = withheldOf(len(b.at), func(i int) bool { return r.Withheld[i] }, func(i int) seal.Outcome { return r.Outcomes[i] }, func(i int) []seal.Outcome { return r.Purchases[i] })
	}
	for j, i := range b.at {
		res := &b.results[i]
		if r.Errs[j] != nil {
			*res = rejected(failure(r.Errs[j]))
			continue
		}
		res.Outcome = Outcome(r.Outcomes[j]).String()
		b.note(res, j, r.Notes[j])
		if b.appends != nil {
			boughtOutcomes(res.Purchases, r.Purchases[j])
		}
	}
	return out, nil
}

// rehearse is a chunk that will not be written.
func (d *Direct) rehearse(c *joined) landing {
	if len(c.customers.rows)+len(c.purchases.rows) == 0 {
		return nil
	}
	return &rehearsal{d, c}
}

type rehearsal struct {
	d *Direct
	c *joined
}

// finish implements landing: it compares the chunk with the vault.
func (x *rehearsal) finish(ctx context.Context) (customers, purchases []Result, err error) {
	v, err := x.d.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(x.c.customers.rows) > 0 {
		if customers, err = x.d.rehearseCustomers(ctx, v, x.c.customers.rows); err != nil {
			return nil, nil, err
		}
	}
	if len(x.c.purchases.rows) > 0 {
		purchases, err = x.d.rehearsePurchases(ctx, v, x.c)
	}
	return customers, purchases, err
}

func (d *Direct) rehearseCustomers(ctx context.Context, v *door.Visit, rows []CustomerRow) ([]Result, error) {
	puts := make([]seal.Put, len(rows))
	for i := range rows {
		puts[i] = seal.Put{Set: rows[i].Set, Customer: rows[i].Customer, Merge: rows[i].Merge, Country: v.Brand.Settings.PhoneCountry, Returns: d.Relationship != ""}
	}
	met := 0
	r, err := d.Desk.Seal.RehearseCustomers(ctx, v.Brand.ID, puts, d.Desk.nobody(v, &met))
	if err != nil {
		return nil, err
	}
	if err := d.Desk.rehearsed(ctx, v, fieldsOfPuts(puts), len(puts), r.Unchanged(), met, true); err != nil {
		return nil, err
	}
	out := make([]Result, len(rows))
	for i := range rows {
		if out[i] = resultOf(&rows[i], r.Outcomes[i], r.Notes[i], r.Errs[i]); r.Withheld[i] {
			out[i] = Result{Outcome: Withheld}
		}
	}
	return out, nil
}

func (d *Direct) rehearsePurchases(ctx context.Context, v *door.Visit, c *joined) ([]Result, error) {
	appends, err := d.appends(ctx, v, c)
	if err != nil {
		return nil, err
	}
	met := 0
	r, err := d.Desk.Seal.RehearsePurchases(ctx, v.Brand.ID, appends, d.Desk.nobody(v, &met))
	if err != nil {
		return nil, err
	}
	if err := d.Desk.rehearsed(ctx, v, record.Fields(record.Purchases), len(appends), r.Unchanged(), met, true); err != nil {
		return nil, err
	}
	out := make([]Result, len(c.purchases.rows))
	for i, g := range c.groups {
		for n := g.from; n < g.to; n++ {
			if r.Errs[i] != nil {
				out[n] = Result{Outcome: Rejected, Reject: failure(r.Errs[i])}
			} else {
				out[n].Outcome = Outcome(r.Purchases[i][n-g.from])
				if r.Withheld[i] {
					out[n].Outcome = Withheld
				}
			}
		}
	}
	return out, nil
}
