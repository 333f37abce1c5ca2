package approval

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Desk asks for approvals, lists and ends them.
type Desk struct {
	*Store
	Door    *door.Door
	Ledger  *ledger.Ledger
	Changes *change.Maker

	file     *change.Handle[asked, *api.WriteApproval]
	standing *change.Handle[asked, *api.WriteApproval]
}

// asked is what an approval is asked for.
type asked struct {
	ID      uint64          `json:"id,omitempty"` // of a file
	Service uint64          `json:"service"`
	Mapping string          `json:"mapping"`
	Files   string          `json:"files,omitempty"`
	Fields  record.FieldSet `json:"fields,omitempty"`
	Most    uint32          `json:"most"`
	Ends    time.Time       `json:"ends,omitzero"`
	Rows    string          `json:"rows,omitempty"` // digest of all chunks
	Totals  Totals          `json:"totals,omitzero"`
}

var (
	errMost   = fault.New(fault.Invalid, "an approval needs the most existing customers that may change: 1 or more")
	errEnd    = fault.New(fault.Invalid, "a standing approval ends within a year, and not in the past: give a later day with --until")
	errDigest = fault.New(fault.Invalid, "a digest is 64 hexadecimal digits of SHA-256, as `cloakroom change ask-import` sends it")
	errAlone  = fault.New(fault.Denied, "a service cannot approve its own writes, not even while acts take effect by one hand: let a person ask for it")
	errEmpty  = fault.New(fault.Invalid, "no rows were rehearsed: send the rows of the file first, as `cloakroom change ask-import` does")
	errFields = fault.New(fault.Invalid, "a standing approval names the fields that its writes may set: --fields email,phone")
)

// Register registers the acts that need a second person.
func (d *Desk) Register(c *change.Desk) {
	two := func(context.Context, change.Order, asked) (change.Need, error) { return change.Need{Two: true}, nil }
	d.file = change.Register(c, change.Act[asked, *api.WriteApproval]{
		Name: "approve-import", Action: access.ActWrite, Need: two, Text: d.text, Check: d.checkFile, Apply: d.apply,
	})
	d.standing = change.Register(c, change.Act[asked, *api.WriteApproval]{
		Name: "approve-writes", Action: access.ActAdminister, Need: two, Text: d.text, Check: d.checkStanding, Apply: d.apply,
	})
}

// text describes an approval. The totals of its rehearsal are for who may approve it.
func (d *Desk) text(ctx context.Context, o change.Order, p asked) (t change.Text, err error) {
	service, err := d.Door.Identity.Get(ctx, p.Service)
	if err != nil {
		return t, err
	}
	b, err := d.Door.Brands.Get(ctx, o.Who.Brand)
	if err != nil {
		return t, err
	}
	if p.ID == 0 {
		t.Title = fmt.Sprintf("Let %s write at %s until %s under a standing approval", service.Name, b.Name, p.Ends.UTC().Format(time.DateOnly))
		t.Lines = []string{fmt.Sprintf("at most %d existing customers changed a day", p.Most), "fields: " + p.Fields.String(), "mapping: sha256 " + p.Mapping}
		return t, nil
	}
	t.Title = fmt.Sprintf("Let %s import one file at %s, as approval %d, within %s of the approval", service.Name, b.Name, p.ID, days(FileValid))
	t.Lines = append(strings.Split(p.Files, " "), "mapping and flags: sha256 "+p.Mapping)
	t.Private = []string{
		fmt.Sprintf("rehearsed: %d rows, %d new customers, %d changed, %d unchanged, %d refused", p.Totals.Rows, p.Totals.New, p.Totals.Changed, p.Totals.Unchanged, p.Totals.Refused),
		fmt.Sprintf("at most %d existing customers may change", p.Most)}
	return t, nil
}

func days(t time.Duration) string { return fmt.Sprintf("%d days", int(t.Hours()/24)) }

// checkAsker refuses a service that would be the only hand.
func (d *Desk) checkAsker(ctx context.Context, o change.Order) error {
	if !strings.Contains(o.Mark, change.MarkAlone) {
		return nil
	}
	p, err := d.Door.Identity.Get(ctx, o.Who.Principal)
	if err == nil && p.Kind == identity.Service {
		err = errAlone
	}
	return err
}

func (d *Desk) checkFile(ctx context.Context, o change.Order, p asked) error {
	if err := d.checkAsker(ctx, o); err != nil {
		return err
	}
	a, err := d.get(ctx, d.db, o.Who.Brand, p.ID)
	if err != nil {
		return err
	}
	if a.State != Asked && a.State != Draft || a.AskedBy != o.Who.Principal {
		return change.ErrChanged
	}
	rows, err := d.digest(ctx, p.ID)
	if err == nil && rows != p.Rows {
		err = change.ErrChanged
	}
	return err
}

func (d *Desk) checkStanding(ctx context.Context, o change.Order, p asked) error {
	if err := d.checkAsker(ctx, o); err != nil {
		return err
	}
	now, err := d.db.Now(ctx)
	if err == nil && (!p.Ends.After(now) || p.Ends.After(now.Add(MaxStanding))) {
		err = errEnd
	}
	return err
}

// apply puts an approval in force with its entry.
func (d *Desk) apply(ctx context.Context, o change.Order, p asked) (*api.WriteApproval, error) {
	var a *Approval
	detail := entry.WritesApproved{Approval: p.ID, Service: p.Service, Most: p.Most, Mapping: p.Mapping, Files: p.Files, Kind: string(Standing), Ends: p.Ends.UTC().Format(time.RFC3339)}
	if p.ID != 0 {
		detail.Kind, detail.Ends = string(File), ""
	}
	ev := ledger.Event{Kind: entry.KindAdministration, Who: o.Who, Ticket: o.Ticket, Fields: p.Fields, Detail: detail}
	_, err := d.Changes.Make(ctx, ev, func(q db.Queryer, at time.Time) (err error) {
		if p.ID == 0 {
			a = &Approval{Brand: o.Who.Brand, Kind: Standing, State: InForce, Principal: p.Service, AskedBy: o.Who.Principal, Mapping: p.Mapping, Fields: p.Fields,
				Most: p.Most, Created: at, Ends: p.Ends}
			return d.insert(ctx, q, a)
		}
		if a, err = d.get(ctx, q, o.Who.Brand, p.ID); err != nil {
			return err
		}
		if a.Principal != p.Service || a.Mapping != p.Mapping || a.Files != p.Files {
			return change.ErrChanged
		}
		a.Most, a.Ends = p.Most, at.Add(FileValid)
		return d.move(ctx, q, a, InForce)
	})
	if err != nil {
		return nil, err
	}
	return d.shown(ctx, a, false)
}

func digested(s string) error {
	if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return errDigest
	}
	return nil
}

// service returns whose writes an approval is for; empty is the visitor's own.
func (d *Desk) service(ctx context.Context, v *door.Visit, name string) (uint64, error) {
	if name == "" {
		return v.Who.Principal, nil
	}
	p, err := d.Door.Identity.ByName(ctx, name)
	if err != nil {
		return 0, err
	}
	if _, err := d.Door.Identity.Who(ctx, identity.Caller{Principal: p.ID}, v.Brand.ID); err != nil {
		return 0, fmt.Errorf("the service has no role at this brand: %w", err)
	}
	return p.ID, nil
}

// Begin begins the approval of a file: its rows are to be rehearsed, and then asked for.
func (d *Desk) Begin(ctx context.Context, c identity.Caller, brand string, req api.FileApproval) (*api.WriteApproval, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActWrite)
	if err != nil {
		return nil, err
	}
	files := ""
	for _, f := range []struct{ what, digest string }{{"customers", req.Customers}, {"purchases", req.Purchases}, {"", req.Mapping}} {
		if f.digest == "" && f.what != "" {
			continue
		}
		if err := digested(f.digest); err != nil {
			return nil, err
		}
		if f.what != "" {
			files = strings.TrimSpace(files + " " + f.what + ":sha256:" + f.digest)
		}
	}
	a := &Approval{Brand: v.Brand.ID, Kind: File, State: Draft, AskedBy: v.Who.Principal, Mapping: req.Mapping, Files: files, Most: uint32(min(req.Most, math.MaxInt32))}
	if a.Principal, err = d.service(ctx, v, req.Service); err != nil {
		return nil, err
	}
	if a.Created, err = d.db.Now(ctx); err != nil {
		return nil, err
	}
	a.Ends = a.Created.Add(draftValid)
	var n int64
	if err := d.db.Row(ctx, sqlDrafts, int64(a.AskedBy), a.Created.Add(-draftValid).UnixMicro()).Scan(&n); err != nil {
		return nil, fmt.Errorf("counting drafts: %w", err)
	}
	if n >= maxDrafts {
		return nil, ErrDrafts
	}
	if err := d.sweep(ctx, a.Created); err != nil {
		return nil, err
	}
	if err := d.db.Tx(ctx, func(q db.Queryer) error { return d.insert(ctx, q, a) }); err != nil {
		return nil, err
	}
	return d.shown(ctx, a, false)
}

// Drafted returns a visitor's draft, to which rows may be added.
func (d *Desk) Drafted(ctx context.Context, v *door.Visit, id uint64) (*Approval, error) {
	a, err := d.get(ctx, d.db, v.Brand.ID, id)
	if err != nil {
		return nil, err
	}
	if a.AskedBy != v.Who.Principal {
		return nil, ErrNone
	}
	now, err := d.db.Now(ctx)
	if err != nil {
		return nil, err
	}
	if a.State != Draft || !now.Before(a.Ends) {
		return nil, ErrEnded
	}
	return a, nil
}

// Rehearsed adds to a draft what a rehearsal of rows found. rows are customers in one
// form; nil for purchases, which an approval does not name row by row: they change no
// profile.
func (d *Desk) Rehearsed(ctx context.Context, a *Approval, rows []byte, t Totals) error {
	if rows == nil {
		return d.rehearsed(ctx, a, nil, t)
	}
	var n int64
	if err := d.db.Row(ctx, sqlCountChunks, int64(a.ID)).Scan(&n); err != nil {
		return fmt.Errorf("counting the rows of an approval: %w", err)
	}
	if n >= MaxChunks {
		return ErrChunks
	}
	code, err := d.code(ctx, a, rows)
	if err != nil {
		return err
	}
	return d.rehearsed(ctx, a, code, t)
}

// Request asks another person to approve a rehearsed file.
func (d *Desk) Request(ctx context.Context, c identity.Caller, brand string, id uint64, req api.ApprovalRequest) (*api.WriteApproval, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActWrite)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	a, err := d.get(ctx, d.db, v.Brand.ID, id)
	if err != nil {
		return nil, err
	}
	if a.AskedBy != v.Who.Principal {
		return nil, ErrNone
	}
	if a.Totals.Rows == 0 && strings.Contains(a.Files, "customers:") {
		return nil, errEmpty
	}
	switch a.State {
	case Draft:
		// Nothing is added to it from here on.
		if err := d.db.Tx(ctx, func(q db.Queryer) error { return d.move(ctx, q, a, Asked) }); err != nil {
			return nil, err
		}
	case Asked:
	default:
		return nil, ErrEnded
	}
	p := asked{ID: a.ID, Service: a.Principal, Mapping: a.Mapping, Files: a.Files, Most: a.Most, Totals: a.Totals}
	if p.Most == 0 {
		p.Most = uint32(min(max(a.Totals.Changed, 1), math.MaxInt32))
	}
	if p.Rows, err = d.digest(ctx, a.ID); err != nil {
		return nil, err
	}
	return d.file.Do(ctx, v, req.Ticket, p)
}

// Stand asks another person for a standing approval.
func (d *Desk) Stand(ctx context.Context, c identity.Caller, brand string, req api.StandingApproval) (*api.WriteApproval, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	p := asked{Mapping: req.Mapping, Most: uint32(min(max(req.Most, 0), math.MaxInt32)), Ends: req.Until.UTC()}
	if p.Most == 0 {
		return nil, errMost
	}
	if err := digested(req.Mapping); err != nil {
		return nil, err
	}
	if p.Fields, err = record.ParseFields(req.Fields); err != nil || p.Fields == 0 {
		return nil, errFields
	}
	if p.Service, err = d.service(ctx, v, req.Service); err != nil {
		return nil, err
	}
	return d.standing.Do(ctx, v, req.Ticket, p)
}

// End ends an approval, by one hand: the requester, the service that writes under it, or
// an administrator. No write under it is logged after End returned.
func (d *Desk) End(ctx context.Context, c identity.Caller, brand string, id uint64) (*api.WriteApproval, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	a, err := d.get(ctx, d.db, v.Brand.ID, id)
	if err != nil || a.AskedBy != v.Who.Principal && a.Principal != v.Who.Principal && !d.sees(v, access.ActAdminister) {
		return nil, ErrNone
	}
	if a.State == Ended {
		return nil, ErrEnded
	}
	ev := ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Detail: entry.WritesEnded{Approval: id}}
	_, err = d.Changes.Make(ctx, ev, func(q db.Queryer, _ time.Time) error {
		if err := revision.Bump(ctx, q); err != nil {
			return err
		}
		return d.move(ctx, q, a, Ended)
	})
	if err != nil {
		return nil, err
	}
	if err := d.Changes.Pass(ctx, v.Brand.ID, 0); err != nil {
		return nil, err
	}
	return d.shown(revision.Unbound(ctx), a, false)
}

// sees reports whether the policy lets a visitor do something; a refusal is not logged.
func (d *Desk) sees(v *door.Visit, action access.Action) bool {
	_, err := v.Policy.Authorize(v.Who, action, "", 0)
	return err == nil
}

// List returns the newest approvals: all to people with the action audit, with what was
// used of each, and to anybody else their own, without figures.
func (d *Desk) List(ctx context.Context, c identity.Caller, brand string) ([]api.WriteApproval, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	audit, of := d.sees(v, access.ActAudit), int64(v.Who.Principal)
	if audit {
		of = 0
	}
	var list []*Approval
	err = d.db.Rows(ctx, func(r db.Row) error {
		a, err := scan(r)
		list = append(list, a)
		return err
	}, sqlList, int64(v.Brand.ID), of)
	if err != nil {
		return nil, fmt.Errorf("reading the approvals of writes: %w", err)
	}
	out := []api.WriteApproval{}
	for _, a := range list {
		s, err := d.shown(ctx, a, audit)
		if err != nil {
			return nil, err
		}
		out = append(out, *s)
	}
	return out, nil
}

// shown shows an approval. Figures that hang on who is a customer are for audit alone.
func (d *Desk) shown(ctx context.Context, a *Approval, audit bool) (*api.WriteApproval, error) {
	out := &api.WriteApproval{Number: a.ID, Kind: string(a.Kind), State: string(a.State), Mapping: a.Mapping, Created: a.Created, Ends: a.Ends}
	if a.Files != "" {
		out.Files = strings.Split(a.Files, " ")
	}
	if a.Fields != 0 {
		out.Fields = a.Fields.Names()
	}
	name := func(id uint64) string {
		if p, err := d.Door.Identity.Get(ctx, id); err == nil {
			return p.Name
		}
		return ""
	}
	out.Service, out.AskedBy = name(a.Principal), name(a.AskedBy)
	if a.Kind == Standing {
		out.Most = int64(a.Most)
	}
	if !audit {
		return out, nil
	}
	out.Most = int64(a.Most)
	used, err := d.Ledger.Usage(ctx, a.Brand, budget.Holder{Kind: budget.Approval, ID: a.ID})
	if err != nil {
		return nil, err
	}
	for _, u := range used {
		if u.Class == budget.Write && a.Limits()[u.Window].Set {
			n := int64(u.Count)
			out.Changed = &n
		}
	}
	return out, nil
}
