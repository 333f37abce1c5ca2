package intake

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/approval"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

var errManyRows = fault.New(fault.Invalid, "one request under a standing approval may not have more customers than may change on a day: send smaller requests")

// oneForm are the rows of a request in the form of which an approval keeps a code.
func oneForm(req *api.PutRequest) ([]byte, error) {
	b, err := json.Marshal(struct {
		Customers []api.Fields `json:"customers"` // the names of fields are sorted
		Merge     bool         `json:"merge"`
	}{req.Customers, req.MergeAttributes})
	if err != nil {
		return nil, fmt.Errorf("reading the rows of a request: %w", err)
	}
	return b, nil
}

// RehearseFor adds customers to the draft of an approval. It answers the faults of rows and
// nothing that depends on who is a customer: so it costs no searches.
func (d *Desk) RehearseFor(ctx context.Context, c identity.Caller, brand string, id uint64, req api.ApprovedPut) (*api.Taken, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActWrite)
	if err != nil {
		return nil, err
	}
	a, err := d.Approvals.Drafted(ctx, v, id)
	if err != nil {
		return nil, err
	}
	put := req.Put()
	b := putBatch(v, put)
	met := 0
	r, err := d.Seal.RehearseCustomers(ctx, v.Brand.ID, b.puts, d.nobody(v, &met))
	if err != nil {
		return nil, err
	}
	t := approval.Totals{Rows: int64(len(b.results)), Refused: int64(len(b.results) - len(b.at))}
	for j, o := range r.Outcomes {
		switch {
		case r.Errs[j] != nil:
			t.Refused++
		case o == seal.Created:
			t.New++
		case o == seal.Unchanged:
			t.Unchanged++
		default:
			t.Changed++
		}
	}
	w := entry.Wrote{Unchanged: r.Unchanged(), Rehearsed: len(b.puts), By: entry.ByApproval, Approval: a.ID, Mark: d.mark(v.Brand.ID, met)}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindWrite, Who: v.Who, Fields: fieldsOfPuts(b.puts), Detail: entry.Written{Wrote: w}}); err != nil {
		return nil, err
	}
	rows, err := oneForm(put)
	if err != nil {
		return nil, err
	}
	if err := d.Approvals.Rehearsed(ctx, a, rows, t); err != nil {
		return nil, err
	}
	return b.taken(), nil
}

// PutApproved writes customers under an approval of two people. It answers the faults of
// rows and nothing that depends on who is a customer, and costs the approval's budget
// alone. What finds no room under a standing approval waits, and is answered alike.
func (d *Desk) PutApproved(ctx context.Context, c identity.Caller, brand string, id uint64, req api.ApprovedPut) (*api.Taken, error) {
	v, a, err := d.approved(ctx, c, brand, id, req.Mapping)
	if err != nil {
		return nil, err
	}
	put := req.Put()
	b := putBatch(v, put)
	if a.Kind == approval.File {
		rows, err := oneForm(put)
		if err != nil {
			return nil, err
		}
		if err := d.Approvals.Holds(ctx, a, rows); err != nil {
			return nil, err
		}
		return b.taken(), d.bring(ctx, v, a, b, nil)
	}
	if fieldsOfPuts(b.puts)&^a.Fields.With(record.ExternalID) != 0 {
		return nil, approval.ErrMapping
	}
	if len(b.puts) > int(a.Most) {
		return nil, errManyRows
	}
	if len(b.puts) == 0 {
		return b.taken(), nil
	}
	// One that has room for each of its rows is written. Any other one waits, whoever its
	// rows are.
	all := roomsOf(a, len(b.puts))
	waits, err := d.Queue.holds(ctx, v.Brand.ID, a.ID)
	if err != nil {
		return nil, err
	}
	if !waits {
		if err = d.Ledger.Fits(ctx, v.Who, all, len(b.puts)); err == nil {
			err = d.bring(ctx, v, a, b, all)
		}
		if err == nil || !ledger.Refused(err) {
			return b.taken(), err
		}
	}
	return b.taken(), d.Queue.add(ctx, v, a, put)
}

// roomsOf is room for that many in the budget of an approval.
func roomsOf(a *approval.Approval, n int) []ledger.Room {
	return []ledger.Room{{Class: budget.Write, N: n, Approval: a.ID, Most: a.Limits()}}
}

// PurchasesApproved adds purchases under an approval of two people. It changes no profile
// and answers the faults of rows alone.
func (d *Desk) PurchasesApproved(ctx context.Context, c identity.Caller, brand string, id uint64, req api.ApprovedPurchases) (*api.Taken, error) {
	v, a, err := d.approved(ctx, c, brand, id, req.Mapping)
	if err != nil {
		return nil, err
	}
	b, err := d.purchaseBatch(ctx, v, &api.PurchasesRequest{Customers: req.Customers})
	if err != nil {
		return nil, err
	}
	return b.taken(), d.bring(ctx, v, a, b, nil)
}

// approved lets somebody in who writes under an approval.
func (d *Desk) approved(ctx context.Context, c identity.Caller, brand string, id uint64, mapping string) (*door.Visit, *approval.Approval, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActWrite)
	if err != nil {
		return nil, nil, err
	}
	a, err := d.Approvals.Use(ctx, v, id)
	if err == nil && a.Mapping != mapping {
		err = approval.ErrMapping
	}
	return v, a, err
}

// bring writes what one request asks for under an approval.
func (d *Desk) bring(ctx context.Context, v *door.Visit, a *approval.Approval, b *batch, need []ledger.Room) error {
	if len(b.at) == 0 {
		return nil
	}
	w := d.puts(v, b.puts)
	if b.appends != nil {
		w = d.appends(v, b.appends)
	}
	w.kind, w.under, w.need = entry.KindImport, a, need
	if err := w.begin(ctx); err != nil {
		return err
	}
	return w.finish(ctx)
}

// taken answers the faults of rows.
func (b *batch) taken() *api.Taken {
	out := &api.Taken{Results: make([]api.TakenResult, len(b.results))}
	for i := range b.results {
		r := &out.Results[i]
		if r.Outcome = Accepted.String(); b.results[i].Reject != nil {
			r.Outcome, r.Reject = Rejected.String(), b.results[i].Reject
		}
		for _, p := range b.results[i].Purchases {
			x := api.TakenResult{Outcome: Accepted.String()}
			if p.Reject != nil {
				x = api.TakenResult{Outcome: Rejected.String(), Reject: p.Reject}
			}
			r.Purchases = append(r.Purchases, x)
		}
	}
	return out
}
