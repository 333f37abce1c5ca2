package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
)

// sink hands rows to the vault's API: it is an intake.Taker.
type sink struct {
	client *client.Client
	brand  string
	tokens *csv.Writer
	keep   bool // tokens
	dry    bool
	// relationship is why customers who were erased are let in.
	relationship string
}

// Customers implements intake.Taker.
func (s *sink) Customers(ctx context.Context, rows []intake.CustomerRow) ([]intake.Result, error) {
	req := api.PutRequest{Customers: customersOf(rows), MergeAttributes: true, DryRun: s.dry, NewRelationship: s.relationship}
	w, err := s.client.Put(ctx, s.brand, req)
	if err != nil {
		return nil, err
	}
	if s.keep {
		for i, r := range w.Results {
			if r.Token != "" {
				s.tokens.Write([]string{req.Customers[i][record.ExternalID.String()], r.Token})
			}
		}
		s.tokens.Flush()
		if err := s.tokens.Error(); err != nil {
			return nil, fmt.Errorf("writing the tokens: %w", err)
		}
	}
	out := results(w.Results)
	if w.Withheld != nil {
		withhold(out, w.Withheld.Rows)
	}
	return out, nil
}

// withhold makes as many results withheld as the vault says of those that are answered
// alike. It does not say which.
func withhold(list []intake.Result, n api.WithheldAs) {
	left := map[intake.Outcome]int{intake.New: n.New, intake.Updated: n.Updated, intake.Unchanged: n.Unchanged}
	for i := range list {
		if o := list[i].Outcome; left[o] > 0 {
			left[o]--
			list[i].Outcome = intake.Withheld
		}
	}
}

func customersOf(rows []intake.CustomerRow) []api.Fields {
	out := make([]api.Fields, len(rows))
	for i := range rows {
		out[i] = fieldsOf(&rows[i].Customer, rows[i].Set)
	}
	return out
}

func fieldsOf(c *record.Customer, set record.FieldSet) api.Fields {
	out := api.Fields{}
	for _, f := range record.Texts {
		if set.Has(f) {
			out[f.String()] = c.Get(f)
		}
	}
	for name, v := range c.Attributes {
		out["attr."+name] = v
	}
	return out
}

// Purchases implements intake.Taker. Those of one customer stand together.
func (s *sink) Purchases(ctx context.Context, rows []intake.PurchaseRow) ([]intake.Result, error) {
	req := api.PurchasesRequest{Customers: purchasesOf(rows), DryRun: s.dry}
	w, err := s.client.AddPurchases(ctx, s.brand, req)
	if err != nil {
		return nil, err
	}
	out := eachPurchase(req.Customers, w.Results)
	if w.Withheld != nil {
		withhold(out, w.Withheld.Purchases)
	}
	return out, nil
}

// eachPurchase are the results of purchases that were sent by customer: who is refused is
// refused with each.
func eachPurchase(sent []api.CustomerPurchases, list []api.WriteResult) (out []intake.Result) {
	for i, r := range list {
		if r.Reject != nil {
			for range sent[i].Purchases {
				out = append(out, results([]api.WriteResult{r})...)
			}
			continue
		}
		out = append(out, results(r.Purchases)...)
	}
	return out
}

// purchasesOf groups purchases by customer: those of one stand together.
func purchasesOf(rows []intake.PurchaseRow) (out []api.CustomerPurchases) {
	for i := range rows {
		last := len(out) - 1
		if last < 0 || rows[i-1].ExternalID != rows[i].ExternalID {
			who := api.CustomerPurchases{ExternalID: rows[i].ExternalID}
			if token, is := rows[i].Token(); is {
				who = api.CustomerPurchases{Token: token}
			}
			out = append(out, who)
			last++
		}
		out[last].Purchases = append(out[last].Purchases, purchaseOf(&rows[i].Purchase))
	}
	return out
}

func purchaseOf(p *record.Purchase) api.Purchase {
	return api.Purchase{
		ID: p.ID, At: p.At.UTC().Format(time.RFC3339Nano), SKU: p.SKU, Description: p.Description, Quantity: &p.Quantity,
		Amount: p.Amount.String(), Currency: p.Currency, Store: p.Store, Channel: p.Channel,
	}
}

func results(list []api.WriteResult) []intake.Result {
	outcomes := map[string]intake.Outcome{"new": intake.New, "updated": intake.Updated, "unchanged": intake.Unchanged, "rejected": intake.Rejected, "withheld": intake.Withheld, "accepted": intake.Accepted}
	out := make([]intake.Result, len(list))
	for i, r := range list {
		out[i].Outcome, out[i].Cleared = outcomes[r.Outcome], r.Cleared
		out[i].Emptied, out[i].Unfound = fieldSet(r.Emptied), fieldSet(r.Unfindable)
		if r.Reject != nil {
			out[i].Reject = &intake.Reject{Field: r.Reject.Field, Code: r.Reject.Code, Reason: r.Reject.Reason}
			for _, f := range r.Reject.Also {
				out[i].Reject.Also = append(out[i].Reject.Also, intake.Fault{Field: f.Field, Code: f.Code, Reason: f.Reason})
			}
		}
	}
	return out
}

// fieldSet is the set of those names that this program knows.
func fieldSet(names []string) (out record.FieldSet) {
	for _, name := range names {
		if f, err := record.ParseField(name); err == nil {
			out = out.With(f)
		}
	}
	return out
}
