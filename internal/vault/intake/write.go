package intake

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/approval"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// Desk takes customers and purchases in: checked as the rows of a file are, logged,
// and then sealed into the database.
type Desk struct {
	Door     *door.Door
	Ledger   *ledger.Ledger
	Seal     *seal.Store
	Canaries Canaries // may be nil
	// Approvals are those of two people, and Queue holds what finds no room under one.
	Approvals *approval.Desk
	Queue     *Queue
}

const (
	// conflicts bounds how often a write is prepared anew because another changed the
	// same customer.
	conflicts = 20
	// conflictWait is the longest wait after a first conflict; each doubles it, up to 64
	// times. It is drawn at random: writers that wait alike meet again.
	conflictWait = 2 * time.Millisecond
)

// Put writes customers by external id: those who are not there are made. Each row is
// answered; a refused one does not stop the others.
func (d *Desk) Put(ctx context.Context, c identity.Caller, brand string, req api.PutRequest) (*api.Written, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActWrite)
	if err != nil {
		return nil, err
	}
	if req.NewRelationship != "" {
		if err := ledger.CheckText("reason", req.NewRelationship); err != nil {
			return nil, err
		}
	}
	b := putBatch(v, &req)
	b.dry = req.DryRun
	return d.put(ctx, v, b)
}

// putBatch checks the rows of a request.
func putBatch(v *door.Visit, req *api.PutRequest) *batch {
	b := newBatch(len(req.Customers))
	b.relationship = req.NewRelationship
	seen := map[string]bool{}
	for i, fields := range req.Customers {
		row := customerOf(v.Brand.Own, fields, (*checker).customer)
		id, _ := record.NormalExternalID(row.Customer.Get(record.ExternalID))
		switch {
		case row.Reject != nil:
			b.reject(i, row.Reject)
		case seen[id]:
			b.reject(i, twice())
		default:
			seen[id] = true
			b.puts = append(b.puts, seal.Put{Set: row.Set, Customer: row.Customer, Merge: req.MergeAttributes, Country: v.Brand.Settings.PhoneCountry})
			b.at = append(b.at, i)
			b.unfound = append(b.unfound, row.Notes.Unfound)
		}
	}
	return b
}

// Patch changes fields of one customer.
func (d *Desk) Patch(ctx context.Context, c identity.Caller, brand, token string, fields api.Fields) (*api.Written, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActWrite)
	if err != nil {
		return nil, err
	}
	ords, err := d.Seal.Resolve(ctx, v.Brand.ID, []string{token})
	if err != nil {
		v.Refuse(ctx, "unknown-token")
		return nil, err
	}
	row := customerOf(v.Brand.Own, fields, (*checker).fields)
	b := newBatch(1)
	switch {
	case row.Reject != nil:
		b.reject(0, row.Reject)
	case row.Set.Has(record.ExternalID) && row.Customer.Get(record.ExternalID) == "":
		b.reject(0, &Reject{Field: record.ExternalID.String(), Code: CodeMissingExternalID, Reason: "cannot be empty"})
	default:
		b.puts, b.at = []seal.Put{{Ord: ords[0], Set: row.Set, Customer: row.Customer, Country: v.Brand.Settings.PhoneCountry}}, []int{0}
		b.unfound = []record.FieldSet{row.Notes.Unfound}
	}
	out, err := d.put(ctx, v, b)
	if err == nil && out.Results[0].Reject != nil && out.Results[0].Reject.Code == CodeNoCustomer {
		return nil, &seal.TokenError{}
	}
	return out, err
}

// SetStanding replaces the standing of one customer. The log entry is of this field alone
// and has the ticket of the case in which somebody decided it.
func (d *Desk) SetStanding(ctx context.Context, c identity.Caller, brand, token string, req api.StandingRequest) (*api.Written, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActWrite)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	if err := v.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	ords, err := d.Seal.Resolve(ctx, v.Brand.ID, []string{token})
	if err != nil {
		v.Refuse(ctx, "unknown-token")
		return nil, err
	}
	b := newBatch(1)
	put := seal.Put{Ord: ords[0], Set: record.Fields(record.Standing)}
	if words := strings.Join(req.Standing, ","); words != "" {
		read, err := record.ReadStanding(words)
		if err != nil {
			return nil, fmt.Errorf("standing %w", err)
		}
		put.Customer.Set(record.Standing, read)
	}
	b.puts, b.at = []seal.Put{put}, []int{0}
	w := d.puts(v, b.puts)
	w.ticket = req.Ticket
	out, err := d.write(ctx, v, b, w)
	if err == nil && out.Results[0].Reject != nil && out.Results[0].Reject.Code == CodeNoCustomer {
		return nil, &seal.TokenError{}
	}
	return out, err
}

// batch is what one request writes; at says which of its rows each put is.
type batch struct {
	results []api.WriteResult
	puts    []seal.Put
	appends []seal.Append
	at      []int
	unfound []record.FieldSet // of each put, seen before it was compared with what is kept
	dry     bool
	// relationship is why customers who were erased are let in; empty: they are not.
	relationship string
}

func newBatch(n int) *batch { return &batch{results: make([]api.WriteResult, n)} }

func (b *batch) reject(i int, r *Reject) { b.results[i] = rejected(r) }

func rejected(r *Reject) api.WriteResult {
	out := &api.Reject{Field: r.Field, Code: r.Code, Reason: r.Reason}
	for _, f := range r.Also {
		out.Also = append(out.Also, api.Fault{Field: f.Field, Code: f.Code, Reason: f.Reason})
	}
	return api.WriteResult{Outcome: Rejected.String(), Reject: out}
}

func twice() *Reject {
	return &Reject{Code: CodeBadRow, Reason: "is there already in this request"}
}

// String returns the outcome's name in the API.
func (o Outcome) String() string {
	return [...]string{"new", "updated", "unchanged", "rejected", "withheld", "accepted"}[o]
}

func (d *Desk) put(ctx context.Context, v *door.Visit, b *batch) (*api.Written, error) {
	if b.dry {
		return d.rehearse(ctx, v, b)
	}
	w := d.puts(v, b.puts)
	w.returns(b.puts, b.relationship)
	return d.write(ctx, v, b, w)
}

// returns lets in customers who were erased, with a reason.
func (w *pending) returns(puts []seal.Put, reason string) {
	if w.relationship = reason; reason != "" {
		for i := range puts {
			puts[i].Returns = true
		}
	}
}

// puts is the write of customers.
func (d *Desk) puts(v *door.Visit, puts []seal.Put) *pending {
	w := &pending{d: d, v: v, kind: entry.KindWrite, rows: len(puts), rooms: []budget.Class{budget.Search, budget.Write}}
	for i := range puts {
		puts[i].By = v.Who.Principal
		w.fields |= puts[i].Set
		if len(puts[i].Purchases) > 0 {
			w.fields = w.fields.With(record.Purchases)
		}
	}
	w.prepare = func(ctx context.Context) (*seal.Prepared, error) {
		return w.prepareCustomers(ctx, puts)
	}
	w.tells = func(i int) bool { // of a new customer it tells what the caller said
		if puts[i].Ord != 0 && puts[i].Set.Has(record.ExternalID) {
			return true // whether somebody has this number, found or not
		}
		return w.p.Err(i) == nil && w.p.Outcome(i) != seal.Created && (puts[i].Ord == 0 || w.p.Outcome(i) == seal.Unchanged)
	}
	return w
}

// appends is the write of purchases.
func (d *Desk) appends(v *door.Visit, appends []seal.Append) *pending {
	w := &pending{d: d, v: v, kind: entry.KindWrite, fields: record.Fields(record.Purchases), rows: len(appends), rooms: []budget.Class{budget.Search}}
	w.prepare = func(ctx context.Context) (*seal.Prepared, error) {
		return w.preparePurchases(ctx, appends)
	}
	w.tells = func(i int) bool { // found or not
		return appends[i].Ord == 0 || slices.Contains(w.p.Purchases(i), seal.Unchanged)
	}
	return w
}

// pending is a write on its way: begin seals and logs it, finish puts it into the
// database. Nothing of it is kept before finish.
type pending struct {
	d       *Desk
	v       *door.Visit
	kind    entry.Kind
	fields  record.FieldSet
	ticket  string
	prepare func(ctx context.Context) (*seal.Prepared, error)
	mixing  mixing
	plain   bool             // no canary goes in, or gives way
	rows    int              // that it was asked for
	tells   func(i int) bool // whether the answer tells of a row that somebody is a customer, or not
	rooms   []budget.Class   // that it may count in
	bounded bool             // by its principal's budgets
	owner   bool             // the machine's owner writes
	under   *approval.Approval
	need    []ledger.Room // of the approval's budget
	first   *firstLoad
	unseen  bool // customers were sealed without looking for them

	relationship string // why customers who were erased are let in

	p       *seal.Prepared
	receipt ledger.Receipt // not valid where nothing changes
}

func (w *pending) begin(ctx context.Context) (err error) {
	paid := false
	for attempt := 1; ; attempt++ {
		rooms := w.need
		if w.bounded {
			if rooms, paid, err = w.room(ctx, paid); err != nil {
				return err
			}
		}
		w.receipt = ledger.Receipt{}
		if w.p, err = w.prepare(ctx); err != nil {
			return err
		}
		err = w.log(ctx, rooms)
		if errors.Is(err, ledger.ErrErased) && attempt < conflicts {
			continue // an erasure began meanwhile
		}
		if err == nil || !w.bounded || paid || w.rows == 1 || !ledger.Refused(err) {
			return err
		}
		// Another request used the room meanwhile.
	}
}

// finish applies the write, and prepares and logs it again after a conflict. The log says of
// each try that failed that it did.
func (w *pending) finish(ctx context.Context) error {
	for attempt := 1; w.p.Any(); attempt++ {
		err := w.d.Seal.Apply(ctx, w.receipt, w.p)
		if err == nil {
			break
		}
		err = w.d.Ledger.Failed(ctx, w.v.Who, w.receipt, err)
		if !errors.Is(err, seal.ErrConflict) || attempt == conflicts || errors.Is(err, ledger.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(conflictWait << min(attempt-1, 6))):
		}
		if err := w.begin(ctx); err != nil {
			return err
		}
	}
	return nil
}

// write brings in what one request asks for, and answers it.
func (d *Desk) write(ctx context.Context, v *door.Visit, b *batch, w *pending) (*api.Written, error) {
	out := &api.Written{Results: b.results}
	w.bounded, w.owner = !v.Who.Owner, v.Who.Owner
	if len(b.at) == 0 {
		return out, nil
	}
	if len(b.results) > 1 {
		w.kind = entry.KindImport
	}
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	if err := w.finish(ctx); err != nil {
		return nil, err
	}
	if w.p.Any() { // as if none of it stayed out
		out.Receipt = &api.Receipt{Brand: v.Brand.Name, Entry: w.receipt.Entry(), CheckpointSize: w.receipt.CheckpointSize()}
	}
	if v.Who.Owner {
		out.Withheld = withheldOf(len(b.at), w.p.Withheld, w.p.Outcome, w.p.Purchases)
	}
	return out, d.answer(ctx, v, b, w.p)
}

// withheldOf counts what stays out of n things that were asked for, by what is answered of
// each. It is for the machine's owner: to anybody else a total of one row tells of that row.
func withheldOf(n int, stays func(int) bool, outcome func(int) seal.Outcome, purchases func(int) []seal.Outcome) *api.Withheld {
	var out api.Withheld
	for i := range n {
		if !stays(i) {
			continue
		}
		addOutcome(&out.Rows, outcome(i))
		for _, o := range purchases(i) {
			addOutcome(&out.Purchases, o)
		}
	}
	if out == (api.Withheld{}) {
		return nil
	}
	return &out
}

func addOutcome(c *api.WithheldAs, o seal.Outcome) {
	switch o {
	case seal.Created:
		c.New++
	case seal.Updated:
		c.Updated++
	default:
		c.Unchanged++
	}
}

// failure is why a customer or their purchases could not be written.
func failure(err error) *Reject {
	code := CodeBadField
	switch {
	case errors.Is(err, seal.ErrNoCustomer):
		code = CodeNoCustomer
	case errors.Is(err, seal.ErrNumberTaken):
		code = CodeTaken
	}
	return &Reject{Field: record.ExternalID.String(), Code: code, Reason: err.Error()}
}

func (d *Desk) answer(ctx context.Context, v *door.Visit, b *batch, p *seal.Prepared) error {
	for j, i := range b.at {
		r := &b.results[i]
		if err := p.Err(j); err != nil {
			*r = rejected(failure(err))
			continue
		}
		r.Outcome = Outcome(p.Outcome(j)).String()
		b.note(r, j, p.Note(j))
		if ord := p.Ord(j); ord != 0 {
			token, err := d.Seal.Token(ctx, v.Brand.ID, ord)
			if err != nil {
				return err
			}
			r.Token = token
		}
		if b.appends != nil {
			boughtOutcomes(r.Purchases, p.Purchases(j))
		}
	}
	return nil
}

// note adds what is to be known of the j-th put.
func (b *batch) note(r *api.WriteResult, j int, n seal.Note) {
	if b.unfound != nil {
		n.Unfound |= b.unfound[j]
	}
	r.Cleared, r.Emptied, r.Unfindable = n.Values, n.Cleared.Names(), n.Unfound.Names()
}

// boughtOutcomes fills in what became of the purchases that were not refused.
func boughtOutcomes(results []api.WriteResult, outcomes []seal.Outcome) {
	k := 0
	for n := range results {
		if results[n].Outcome == "" {
			results[n].Outcome = Outcome(outcomes[k]).String()
			k++
		}
	}
}

// AddPurchases adds purchases to customers, named by external id or token. One that
// is there already under its purchase id is replaced if it differs.
func (d *Desk) AddPurchases(ctx context.Context, c identity.Caller, brand string, req api.PurchasesRequest) (*api.Written, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActWrite)
	if err != nil {
		return nil, err
	}
	b, err := d.purchaseBatch(ctx, v, &req)
	if err != nil {
		return nil, err
	}
	if b.dry = req.DryRun; b.dry {
		return d.rehearse(ctx, v, b)
	}
	return d.write(ctx, v, b, d.appends(v, b.appends))
}

// purchaseBatch checks the purchases of a request.
func (d *Desk) purchaseBatch(ctx context.Context, v *door.Visit, req *api.PurchasesRequest) (b *batch, err error) {
	b = newBatch(len(req.Customers))
	seen := map[string]bool{}
	for i, asked := range req.Customers {
		a := seal.Append{}
		switch {
		case (asked.Token == "") == (asked.ExternalID == ""):
			b.reject(i, &Reject{Code: CodeBadRow, Reason: "needs either the token or the external_id of the customer"})
			continue
		case asked.Token != "":
			if a.Ord, err = d.resolve(ctx, v, asked.Token); err != nil {
				return nil, err
			}
		default:
			if a.ExternalID, err = record.NormalExternalID(asked.ExternalID); err != nil {
				b.reject(i, &Reject{Field: record.ExternalID.String(), Code: CodeBadField, Reason: err.Error()})
				continue
			}
		}
		key := fmt.Sprint(a.Ord, " ", a.ExternalID)
		if a.Ord.Nobody() {
			key = asked.Token
		}
		if seen[key] {
			b.reject(i, twice())
			continue
		}
		seen[key] = true
		a.Purchases, b.results[i].Purchases = purchasesOf(asked.Purchases)
		b.appends, b.at = append(b.appends, a), append(b.at, i)
	}
	return b, nil
}

// purchasesOf checks purchases. The results have an outcome where one was refused.
func purchasesOf(asked []api.Purchase) ([]record.Purchase, []api.WriteResult) {
	c := newChecker(purchaseTable(), nil)
	results := make([]api.WriteResult, len(asked))
	var out []record.Purchase
	at := map[string]int{} // of each id, the first in out
	for i, p := range asked {
		cells := []cell{{slot: colExternalID, text: "-"}} // the customer is known
		add := func(slot int, text string) {
			if text = strings.TrimSpace(text); text != "" {
				cells = append(cells, cell{slot: slot, text: text})
			}
		}
		add(colPurchaseID, p.ID)
		add(colAt, p.At)
		add(colSKU, p.SKU)
		add(colDescription, p.Description)
		if p.Quantity != nil {
			add(colQuantity, strconv.FormatInt(*p.Quantity, 10))
		}
		add(colAmount, p.Amount)
		add(colCurrency, p.Currency)
		add(colStore, p.Store)
		add(colChannel, p.Channel)
		var got PurchaseRow
		c.purchase(&row{cells: cells}, &got)
		if got.Reject != nil {
			results[i] = rejected(got.Reject)
			continue
		}
		if first, there := at[got.Purchase.ID]; there {
			if out[first] == got.Purchase {
				results[i].Outcome = Unchanged.String()
			} else {
				results[i] = rejected(&Reject{Field: "purchase_id", Code: CodeRepeated, Reason: "differs from another purchase of this request, which has the same purchase id"})
			}
			continue
		}
		at[got.Purchase.ID] = len(out)
		out = append(out, got.Purchase)
	}
	return out, results
}

// customerOf checks one customer's fields as a row of a file.
func customerOf(own *cards.Own, fields api.Fields, check func(*checker, *row, *CustomerRow)) (out CustomerRow) {
	t := customerTable()
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	var cells []cell
	clear := false
	for _, name := range names {
		text := strings.TrimSpace(fields[name])
		if name == record.Attributes.String() && text == "" {
			clear = true
			continue
		}
		slot, ok := t.find(name)
		if !ok {
			return CustomerRow{Reject: &Reject{Code: CodeUnknownColumn, Reason: "names a field that there is not; known are " + t.known()}}
		}
		cells = append(cells, cell{slot: slot, attr: strings.TrimPrefix(name, attrPrefix), text: text})
	}
	c := newChecker(t, own)
	c.Empty = EmptyClear // the caller named the field
	check(c, &row{cells: cells}, &out)
	if clear && out.Reject == nil {
		out.Set = out.Set.With(record.Attributes)
	}
	return out
}
