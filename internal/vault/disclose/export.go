package disclose

import (
	"context"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/mask"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// Resolve returns the ordinals that tokens of the visited brand stand for. It is a
// fence, not a filter: one token that is not the brand's fails all, and is logged.
func (d *Desk) Resolve(ctx context.Context, v *door.Visit, tokens []string) ([]record.Ordinal, error) {
	return d.resolve(ctx, v, tokens)
}

// Match says which of the next customers of a brand meet an export's filter: see
// seal.Match. That they are looked at is an entry first, which names nobody: those who
// meet the filter are logged when they leave, and of the others nothing is known.
func (d *Desk) Match(ctx context.Context, v *door.Visit, export, purpose string, after, bound record.Ordinal, most int, f *seal.Filter) ([]record.Ordinal, record.Ordinal, error) {
	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindExport, Who: v.Who, Purpose: purpose, Fields: f.Fields(),
		Detail: entry.ExportGathered{Export: export}})
	if err != nil {
		return nil, 0, err
	}
	return d.Seal.Match(ctx, r, after, bound, most, f)
}

// leavePiece is how many customers of a file are open at a time.
const leavePiece = 250

// Leaving are customers whose release to a file is logged and who are not opened yet.
type Leaving struct {
	desk    *Desk
	extract *seal.Extract
	receipt ledger.Receipt
	grant   access.Grant
	sealed  *seal.Unopened
	order   []record.Ordinal
}

// Leave logs that customers leave with an approved export, in one entry. Those who were
// erased are left out. The grant is for access.ActExport, ActExtract or ActMasked.
func (d *Desk) Leave(ctx context.Context, v *door.Visit, g access.Grant, x *seal.Extract, export, ticket string, order []record.Ordinal) (*Leaving, error) {
	u, err := d.Seal.There(ctx, v.Brand.ID, order, g.Fields())
	if err != nil {
		return nil, err
	}
	l := &Leaving{desk: d, extract: x, grant: g, sealed: u, order: order}
	ords := u.Ords()
	if len(ords) == 0 {
		return l, nil // all erased
	}
	hold, err := d.Ledger.Hold(ctx, ledger.Release{Grant: g, Class: budget.Export, Ticket: ticket, Ords: ords,
		Detail: entry.ExportPart{Export: export}})
	if err != nil {
		return nil, err
	}
	l.receipt, err = d.Ledger.Append(ctx, hold, u.Commitment(g.Fields()))
	return l, err
}

// Each opens the customers, a few at a time, and hands each to fn as the grant has it.
func (l *Leaving) Each(ctx context.Context, fn func(c *api.Customer) error) error {
	for piece := range slices.Chunk(l.order, leavePiece) {
		part := l.sealed.Only(piece)
		if len(part.Ords()) == 0 {
			continue
		}
		profiles, err := l.desk.Seal.Open(ctx, opener.Allow(), l.receipt, part)
		if err != nil {
			return err
		}
		for i := range profiles {
			c := l.view(&profiles[i])
			if err := fn(&c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Leaving) view(p *seal.Profile) api.Customer {
	if l.grant.Action() != access.ActExtract {
		return view(p, l.grant)
	}
	c := api.Customer{Token: l.extract.Pseudonym(p.Ord()), Fields: api.Fields{}}
	for f := record.Field(0); f < record.NumColumns; f++ {
		if v := mask.Coarse(f, p.Value(f)); v != "" {
			c.Fields[f.String()] = v
		}
	}
	for _, bought := range p.Purchases() {
		bought = mask.Bought(bought)
		bought.ID = l.extract.Purchase(p.Ord(), bought.ID)
		c.Purchases = append(c.Purchases, purchase(bought, time.DateOnly))
	}
	return c
}
