package disclose

import (
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/mask"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// show is a customer as the grant allows.
func (r *Released) show(p *seal.Profile) api.Customer {
	if r.grant.Action() == access.ActExtract {
		return r.pseudonymous(p)
	}
	g := r.grant
	c := api.Customer{Token: p.Token(), Fields: api.Fields{}}
	for _, f := range record.Texts {
		v := p.Value(f)
		if v == "" {
			continue
		}
		switch g.Level(f) {
		case access.Clear:
			c.Fields[f.String()] = v
		case access.Masked:
			c.Fields[f.String()] = mask.Text(f, v)
		}
	}
	for name, v := range p.Attributes() {
		switch g.Level(record.Attributes) {
		case access.Clear:
			c.Fields["attr."+name] = v
		case access.Masked:
			c.Fields["attr."+name] = mask.Hidden
		}
	}
	for _, bought := range p.Purchases() {
		switch g.Level(record.Purchases) {
		case access.Clear:
			c.Purchases = append(c.Purchases, purchase(bought, time.RFC3339Nano))
		case access.Masked:
			m := mask.Purchase(bought)
			c.Purchases = append(c.Purchases, api.Purchase{At: m.At.UTC().Format("2006-01"), Currency: m.Currency, Channel: m.Channel})
		}
	}
	return c
}

// pseudonymous is a customer as an extract has them: coarse, under names of the
// export's own.
func (r *Released) pseudonymous(p *seal.Profile) api.Customer {
	c := api.Customer{Token: r.extract.Pseudonym(p.Ord()), Fields: api.Fields{}}
	for f := record.Field(0); f < record.NumColumns; f++ {
		if v := mask.Coarse(f, p.Value(f)); v != "" {
			c.Fields[f.String()] = v
		}
	}
	for _, bought := range p.Purchases() {
		bought = mask.Bought(bought)
		bought.ID = r.extract.Purchase(p.Ord(), bought.ID)
		c.Purchases = append(c.Purchases, purchase(bought, time.DateOnly))
	}
	return c
}

func purchase(p record.Purchase, layout string) api.Purchase {
	return api.Purchase{
		ID: p.ID, At: p.At.UTC().Format(layout), SKU: p.SKU, Description: p.Description, Quantity: &p.Quantity,
		Amount: p.Amount.String(), Currency: p.Currency, Store: p.Store, Channel: p.Channel,
	}
}
