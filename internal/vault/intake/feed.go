package intake

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// opDelete is the op of a record that its source deleted.
const opDelete = "d"

var (
	errPlace      = errors.New("needs either a position or changed_at, which say which record of the source is the newer")
	errChangedAt  = errors.New("is not a time such as 2024-05-31T12:00:00Z")
	errOneRecord  = errors.New("needs either a customer or a purchase")
	errNotErased  = errors.New("is deleted with its customer: only a customer can have op d")
	errSourceName = errors.New("is not a name of 1 to 40 letters, digits, dots, hyphens and underscores")
)

// fed is one record of a feed that passed its checks.
type fed struct {
	at       int // in the request
	id       string
	mark     record.Mark
	ask      bool
	customer *CustomerRow
	external string // of a purchase, as it was written
	purchase record.Purchase
}

// Feed takes records in from feeds, in any order and any number of times: of two records
// of one source about one thing, the newer stays. A purchase of somebody who is not there
// yet makes a customer with nothing but the external id. The answer says of each record
// whether it was accepted, and never whether the customer was known.
func (d *Desk) Feed(ctx context.Context, c identity.Caller, brand string, records []api.FeedRecord) (*api.Fed, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActWrite)
	if err != nil {
		return nil, err
	}
	out := &api.Fed{Records: make([]api.FedRecord, len(records))}
	of := map[string][]fed{} // by external id
	var ids []string
	for i := range records {
		one, rej := readFed(v, &records[i])
		if rej != nil {
			out.Records[i].Reject = rejected(rej).Reject
			continue
		}
		out.Records[i].Accepted = true
		one.at = i
		if _, there := of[one.id]; !there {
			ids = append(ids, one.id)
		}
		of[one.id] = append(of[one.id], one)
	}
	// Each round writes one record of each customer, in the order in which they are of one
	// source, with all purchases. There are as many as one customer has records.
	for round := 0; ; round++ {
		var puts []seal.Put
		var at [][]int // the records that each put is of
		for _, id := range ids {
			put, records, any := feedPut(v, of[id], round)
			if any {
				puts, at = append(puts, put), append(at, records)
			}
		}
		if len(puts) == 0 {
			return out, nil
		}
		w := d.puts(v, puts)
		w.fields = w.fields.With(record.ExternalID)
		if slices.ContainsFunc(puts, func(p seal.Put) bool { return p.Ask }) {
			w.fields = w.fields.With(record.Standing)
		}
		w.kind = entry.KindImport
		w.bounded, w.owner = !v.Who.Owner, v.Who.Owner
		w.rooms = []budget.Class{budget.Write}
		w.tells = func(int) bool { return false }
		if err := w.begin(ctx); err != nil {
			return nil, err
		}
		if err := w.finish(ctx); err != nil {
			return nil, err
		}
		for i := range puts {
			if err := w.p.Err(i); err != nil && !errors.Is(err, seal.ErrNoCustomer) {
				for _, n := range at[i] {
					out.Records[n] = api.FedRecord{Reject: rejected(failure(err)).Reject}
				}
			}
		}
	}
}

// readFed checks a record.
func readFed(v *door.Visit, r *api.FeedRecord) (out fed, rej *Reject) {
	bad := func(field string, err error) (fed, *Reject) {
		return fed{}, &Reject{Field: field, Code: CodeBadField, Reason: err.Error()}
	}
	if cards.New().Contains(r.Source) {
		return fed{}, &Reject{Field: "source", Code: CodeCardNumber, Reason: cardReason}
	}
	if !entry.ValidTicket(r.Source) || r.Source == "" || len(r.Source) > 40 {
		return bad("source", errSourceName)
	}
	switch {
	case (r.Position == nil) == (r.ChangedAt == ""):
		return bad("position", errPlace)
	case r.Position != nil:
		out.mark = record.NewMark("position "+r.Source, *r.Position)
	default:
		at, err := time.Parse(time.RFC3339, r.ChangedAt)
		if err != nil {
			return bad("changed_at", errChangedAt)
		}
		out.mark = record.NewMark("time "+r.Source, at.UnixMicro())
	}
	if (r.Customer == nil) == (r.Purchase == nil) {
		return bad("", errOneRecord)
	}
	if r.Purchase != nil {
		return readFedPurchase(v.Brand.Own, out, r)
	}
	row := customerOf(v.Brand.Own, r.Customer, (*checker).customer)
	if row.Reject != nil {
		return fed{}, row.Reject
	}
	out.id, out.customer, out.ask = row.id, &row, r.Op == opDelete
	return out, nil
}

func readFedPurchase(own *cards.Own, out fed, r *api.FeedRecord) (fed, *Reject) {
	if r.Op == opDelete {
		return fed{}, &Reject{Field: "op", Code: CodeBadField, Reason: errNotErased.Error()}
	}
	who := customerOf(own, api.Fields{record.ExternalID.String(): r.Purchase.ExternalID}, (*checker).customer)
	if who.Reject != nil {
		return fed{}, who.Reject
	}
	list, results := purchasesOf([]api.Purchase{r.Purchase.Purchase})
	if rej := results[0].Reject; rej != nil {
		out := &Reject{Field: rej.Field, Code: rej.Code, Reason: rej.Reason}
		for _, f := range rej.Also {
			out.Also = append(out.Also, Fault{f.Field, f.Code, f.Reason})
		}
		return fed{}, out
	}
	out.id, out.external, out.purchase = who.id, who.Customer.Get(record.ExternalID), list[0]
	out.purchase.Mark = out.mark
	return out, nil
}

// feedPut is what one round writes of a customer, and the records that it is of.
func feedPut(v *door.Visit, records []fed, round int) (put seal.Put, at []int, any bool) {
	var customers []*fed
	for i := range records {
		if records[i].customer != nil {
			customers = append(customers, &records[i])
		}
	}
	// Those of one source in their order. Sources say nothing of each other: theirs come
	// one after the other.
	slices.SortStableFunc(customers, func(a, b *fed) int {
		return cmp.Or(cmp.Compare(a.mark.Source, b.mark.Source), cmp.Compare(a.mark.At, b.mark.At))
	})
	if round < len(customers) {
		one := customers[round]
		put = seal.Put{Set: one.customer.Set, Customer: one.customer.Customer, Merge: true, Country: v.Brand.Settings.PhoneCountry, Mark: one.mark}
		if one.ask {
			// Nothing but who it is: the source has nothing else to say of them any more.
			put.Set, put.Ask, put.Known = 0, true, true
		}
		at, any = append(at, one.at), true
	}
	// Where a record asks for an erasure, nobody is made for it: purchases wait a round.
	if round > 0 && !(round == 1 && len(customers) > 0 && customers[0].ask) || put.Known {
		return put, at, any
	}
	newest := map[string]*fed{}
	for i := range records {
		r := &records[i]
		if r.customer != nil {
			continue
		}
		if have := newest[r.purchase.ID]; have == nil || !have.mark.Covers(r.mark) {
			newest[r.purchase.ID] = r
		}
		if !any {
			put.Customer.Set(record.ExternalID, r.external)
			put.Country = v.Brand.Settings.PhoneCountry
		}
		at, any = append(at, r.at), true
	}
	for _, r := range newest {
		put.Purchases = append(put.Purchases, r.purchase)
	}
	slices.SortFunc(put.Purchases, func(a, b record.Purchase) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID))
	})
	return put, at, any
}
