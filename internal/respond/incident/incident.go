// Package incident tells the story of a breach: who leads, which brands are concerned, what
// people said happened and when, what the machine saw, whose data it was, and how it ended.
//
// Everything that it knows is in the log: an incident is the entries that tell of it, in
// the log of the brand that opened it, and the n-th that opens one is its incident n. A
// correction is another entry, so the old value stays. Texts are among the values of the
// entries, sealed at rest. People's words and what the log says by itself are kept apart.
//
// An incident of the group names brands. Their people see it as far as it is their brand's.
package incident

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/respond/duties"
	"github.com/cloakroom/cloakroom/internal/respond/notice"
	"github.com/cloakroom/cloakroom/internal/respond/scope"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
	"github.com/cloakroom/cloakroom/internal/watch/witness"
)

var (
	// ErrRequest is joined to errors that the request itself is to blame for.
	ErrRequest = fault.New(fault.Invalid, "invalid request")
	// ErrNone is returned for a number that no incident of the brand has.
	ErrNone = fault.New(fault.NotFound, "no such incident: `cloakroom incident list` shows them")
	// ErrClosed is returned for what cannot be done to a closed incident.
	ErrClosed = fault.New(fault.Conflict, "this incident is closed and its report is frozen: open another one")
	// ErrReplaced is returned for a correction of a version that is not the newest.
	ErrReplaced = fault.New(fault.Conflict, "this version of the fact was replaced already: read the incident again and correct the newest version")
)

// Desk keeps incidents.
type Desk struct {
	Door   *door.Door
	Ledger *ledger.Ledger
	Scopes *scope.Desk
	Alarms *alarm.Store
	// Disclose shows customers' data that evidence is asked to have.
	Disclose *disclose.Desk
	DB       *db.DB
	// Rules are the rules of duties of this release, with the operator's own.
	Rules func() (*duties.Book, error)
	// Forms are the forms and texts of notices of this release.
	Forms func() (*notice.Book, error)
	// Witness cosigns the checkpoints in evidence.
	Witness *witness.Set
	// CountAtOnce is how many customers one entry of a count names, and Step how long one
	// request counts. 0 means countAtOnce and stepTime.
	CountAtOnce int
	Step        time.Duration

	mu      sync.Mutex
	books   map[record.BrandID]*book
	counts  countings
	approve *change.Handle[approving, *api.Incident]
}

// read returns the book of a brand, up to date and locked.
func (d *Desk) read(ctx context.Context, brand record.BrandID) (*book, error) {
	d.mu.Lock()
	if d.books == nil {
		d.books = map[record.BrandID]*book{}
	}
	b := d.books[brand]
	if b == nil {
		b = &book{alarms: map[string][]uint64{}, counted: map[uint64]uint64{}}
		d.books[brand] = b
	}
	d.mu.Unlock()
	b.mu.Lock()
	if err := b.read(ctx, d.Ledger, brand); err != nil {
		b.mu.Unlock()
		return nil, err
	}
	return b, nil
}

// found is an incident that a caller may see.
type found struct {
	owner  brands.Brand
	n      uint64
	pages  pages
	marks  []uint64 // entries that name its alarm
	opened entry.IncidentOpened
	told   []told // its first entries, as far as they were read
	part   string // the caller's brand, where they see its part only
	visit  *door.Visit
}

// find returns an incident of a brand, or of the group where it names the brand.
func (d *Desk) find(ctx context.Context, c identity.Caller, brand, id string, action access.Action) (*found, error) {
	v, err := d.Door.Admit(ctx, c, brand, action)
	if err != nil {
		return nil, err
	}
	number, ofGroup := strings.CutPrefix(id, brands.GroupName+"-")
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return nil, ErrNone
	}
	f := &found{owner: v.Brand, n: n, visit: v}
	if ofGroup && brand != brands.GroupName {
		f.owner, f.part = brands.Brand{ID: record.Group, Name: brands.GroupName}, brand
	}
	b, err := d.read(ctx, f.owner.ID)
	if err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	if n == 0 || n > uint64(len(b.opened)) {
		return nil, ErrNone
	}
	f.pages = *b.opened[n-1]
	f.pages.entries, f.pages.evidence = slices.Clone(f.pages.entries), slices.Clone(f.pages.evidence)
	f.marks = slices.Clone(b.alarms[f.pages.alarm])
	if f.pages.alarm == "" {
		f.marks = nil
	}
	e, _, err := d.Ledger.Entry(ctx, f.owner.ID, f.pages.entries[0])
	if err != nil {
		return nil, err
	}
	f.told = []told{{at: f.pages.entries[0], Entry: e}}
	f.opened, _ = e.Detail.(entry.IncidentOpened)
	if f.part != "" && !slices.Contains(f.opened.Brands, f.part) {
		return nil, ErrNone // as one that does not exist
	}
	return f, nil
}

func (f *found) id() string {
	if f.owner.ID == record.Group {
		return brands.GroupName + "-" + strconv.FormatUint(f.n, 10)
	}
	return strconv.FormatUint(f.n, 10)
}

// changeable returns the incident for a step of it: by its owner's people, while it is open.
func (d *Desk) changeable(ctx context.Context, c identity.Caller, brand, id string, action access.Action) (*found, error) {
	f, err := d.find(ctx, c, brand, id, action)
	switch {
	case err != nil:
		return nil, err
	case f.part != "":
		return nil, fmt.Errorf("%w: this incident is the group's: ask its lead, or open one of your brand", ErrRequest)
	case f.pages.closed:
		return nil, ErrClosed
	}
	return f, nil
}

// Open opens an incident.
func (d *Desk) Open(ctx context.Context, c identity.Caller, brand string, req api.IncidentRequest) (*api.Incident, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActRespond)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	detail := entry.IncidentOpened{Title: req.Title, Source: req.Source, Alarm: req.Alarm, Lead: strconv.FormatUint(c.Principal, 10)}
	if detail.Brands, err = d.concerned(ctx, brand, req.Brands); err != nil {
		return nil, err
	}
	if req.Alarm != "" {
		p, err := alarm.ParseID(req.Alarm)
		if err != nil {
			return nil, err
		}
		if _, err := d.Alarms.Get(ctx, v.Brand.ID, p); err != nil {
			return nil, err
		}
		detail.Source = "alarm"
	}
	if detail.Rules, detail.Book, err = d.keep(); err != nil {
		return nil, err
	}
	if detail.Source == "" {
		detail.Source = "hand"
	}
	if req.Lead != "" {
		if err := ledger.CheckText("lead", req.Lead); err != nil {
			return nil, err
		}
		p, err := d.Door.Identity.ByName(ctx, req.Lead)
		if err != nil {
			return nil, err
		}
		if _, err := d.Door.Identity.Who(ctx, identity.Caller{Principal: p.ID}, v.Brand.ID); err != nil {
			return nil, identity.ErrNoPrincipal // as a name that nobody has
		}
		detail.Lead = strconv.FormatUint(p.ID, 10)
	}
	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: v.Who, Ticket: req.Ticket, Detail: detail})
	if err != nil {
		return nil, err
	}
	b, err := d.read(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	n := slices.IndexFunc(b.opened, func(p *pages) bool { return p.entries[0] == r.Entry() })
	b.mu.Unlock()
	return d.Incident(ctx, c, brand, strconv.Itoa(n+1))
}

// concerned returns the brands that an incident is about.
func (d *Desk) concerned(ctx context.Context, brand string, names []string) ([]string, error) {
	if brand != brands.GroupName {
		if len(names) > 0 {
			return nil, fmt.Errorf("%w: brands are chosen from the group: open it at brand %s, or leave brands out", ErrRequest, brands.GroupName)
		}
		return []string{brand}, nil
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: an incident of the group names its brands", ErrRequest)
	}
	for _, name := range names {
		if _, err := d.Door.Brands.ByName(ctx, name); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// Fact records what somebody says, or corrects it.
func (d *Desk) Fact(ctx context.Context, c identity.Caller, brand, id string, req api.FactRequest) (*api.Incident, error) {
	f, err := d.changeable(ctx, c, brand, id, access.ActAudit)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	if !slices.Contains(api.FactNames(), req.Name) {
		return nil, fmt.Errorf("%w: the name of a fact is one of %s", ErrRequest, strings.Join(api.FactNames(), ", "))
	}
	if err := d.stated(ctx, c, f, &req); err != nil {
		return nil, err
	}
	if req.When.IsZero() && req.Text == "" {
		return nil, fmt.Errorf("%w: a fact has a time, a text, or both", ErrRequest)
	}
	if req.Brand != "" && !slices.Contains(f.opened.Brands, req.Brand) {
		return nil, fmt.Errorf("%w: the brand of a fact is one of the incident's", ErrRequest)
	}
	if req.Corrects != 0 {
		facts, err := d.facts(ctx, f)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(facts, func(x api.Fact) bool { return x.Entry == req.Corrects })
		switch {
		case i < 0 || facts[i].Name != req.Name:
			return nil, fmt.Errorf("%w: corrects is the entry of a fact of this incident with the same name", ErrRequest)
		case facts[i].Replaced:
			return nil, ErrReplaced
		}
	}
	detail := entry.IncidentFact{Incident: f.n, Name: req.Name, Said: req.Said, Text: req.Text, Brand: req.Brand, Corrects: req.Corrects,
		Rule: req.Rule, Reference: req.Reference, Receipt: req.Receipt}
	if !req.When.IsZero() {
		detail.When = req.When.UTC().Format(time.RFC3339)
	}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: f.visit.Who, Ticket: req.Ticket, Detail: detail}); err != nil {
		return nil, err
	}
	return d.Incident(ctx, c, brand, id)
}

// Close closes an incident. What was recorded before is its report from then on.
func (d *Desk) Close(ctx context.Context, c identity.Caller, brand, id string, req api.CloseIncidentRequest) (*api.Incident, error) {
	f, err := d.changeable(ctx, c, brand, id, access.ActRespond)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	detail := entry.IncidentClosed{Incident: f.n, Summary: req.Summary}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: f.visit.Who, Ticket: req.Ticket, Detail: detail}); err != nil {
		return nil, err
	}
	return d.Incident(ctx, c, brand, id)
}

// Scope counts whose data the entries that match concern, and makes it the next version of
// the incident's scope.
func (d *Desk) Scope(ctx context.Context, c identity.Caller, brand, id string, req api.ScopeRequest) (*api.IncidentScope, error) {
	f, err := d.changeable(ctx, c, brand, id, access.ActRespond)
	if err != nil {
		return nil, err
	}
	if len(req.Brands) > 0 {
		return nil, fmt.Errorf("%w: the brands are the incident's: leave brands out", ErrRequest)
	}
	if f.owner.ID == record.Group {
		req.Brands = f.opened.Brands
	}
	before, err := d.scopes(ctx, f)
	if err != nil {
		return nil, err
	}
	earlier := map[string]scope.Earlier{}
	if len(before) > 0 {
		last := before[len(before)-1]
		for _, p := range last.Parts {
			earlier[p.Brand] = scope.Earlier{Size: p.Size, Filter: last.Filter}
		}
	}
	a, err := d.Scopes.Since(ctx, c, brand, req, earlier)
	if err != nil {
		return nil, err
	}
	detail := entry.IncidentScoped{Incident: f.n, Version: f.pages.last + 1, Filter: a.Filter, Parts: map[string]string{}}
	for i := range a.Scope.Brands {
		p := figures(&a.Scope.Brands[i], a.Changes)
		text, err := json.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("writing a version of the scope: %w", err)
		}
		detail.Parts[p.Brand] = string(text)
	}
	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: f.visit.Who, Ticket: req.Ticket, Detail: detail})
	if err != nil {
		return nil, err
	}
	if f, err = d.find(ctx, c, brand, id, access.ActRespond); err != nil {
		return nil, err
	}
	list, err := d.scopes(ctx, f)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(v api.ScopeVersion) bool { return v.Entry == r.Entry() })
	if i < 0 {
		return nil, ErrClosed // while it was counted
	}
	return &api.IncidentScope{Version: list[i], Scope: *a.Scope}, nil
}

// figures returns those of a brand, with what they change of the version before. All of
// them are new where there is none.
func figures(b *api.BrandScope, changes map[string]scope.Change) api.ScopeFigures {
	out := api.ScopeFigures{Brand: b.Brand, Size: b.Size, Entry: b.Entry, Entries: b.Entries, Disclosures: b.Disclosures, Records: b.Records, Added: b.Records, Fields: b.Fields, Reached: b.Reached}
	if x, ok := changes[b.Brand]; ok {
		out.Added, out.Removed = x.Added, x.Removed
	}
	return out
}

// List returns the incidents of a brand, the newest first, and those of the group that
// name it.
func (d *Desk) List(ctx context.Context, c identity.Caller, brand string) ([]api.Incident, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAudit)
	if err != nil {
		return nil, err
	}
	out := []api.Incident{}
	for _, prefix := range []string{"", brands.GroupName + "-"} {
		owner := v.Brand.ID
		if prefix != "" {
			if owner == record.Group {
				continue
			}
			owner = record.Group
		}
		b, err := d.read(ctx, owner)
		if err != nil {
			return nil, err
		}
		count := len(b.opened)
		b.mu.Unlock()
		for n := count; n > 0; n-- {
			x, err := d.Incident(ctx, c, brand, prefix+strconv.Itoa(n))
			if errors.Is(err, ErrNone) {
				continue
			}
			if err != nil {
				return nil, err
			}
			out = append(out, *x)
		}
	}
	return out, nil
}
