package disclose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

var (
	// ErrNotApproved is returned for a version of a scope that nobody approved.
	ErrNotApproved = fault.New(fault.Conflict, "this version of the scope is not approved: `cloakroom incident approve` asks a second person")
	// ErrOutside is returned for a customer whom the approved version does not have.
	ErrOutside = fault.New(fault.Denied, "a customer outside the approved version of the scope: make and approve another version")
	// ErrSet is returned where the log no longer tells whom a version has.
	ErrSet = fault.New(fault.Conflict, "the customers of this version cannot be found again, because values of entries were erased since: make and approve another version")
)

// ForResponse is the purpose for which the vault opens customers to count them.
const ForResponse = "incident-response"

// CountPlaces counts where the customers of a cohort live.
const CountPlaces = "breakdown"

// Cohort is whom an approved version of a scope has at one brand. Only the log makes one:
// [Desk.Cohort]. It bounds what the vault opens to count them.
type Cohort struct {
	brand  record.BrandID
	detail entry.ScopeOpened
	most   budget.Limits
	ords   []record.Ordinal
}

// Len is how many customers it has.
func (c *Cohort) Len() int { return len(c.ords) }

// Part returns up to most customers from a place on.
func (c *Cohort) Part(from, most int) []record.Ordinal {
	from = min(from, len(c.ords))
	return c.ords[from:min(from+most, len(c.ords))]
}

func (c *Cohort) has(ord record.Ordinal) bool {
	_, ok := slices.BinarySearch(c.ords, ord)
	return ok
}

var errEnd = errors.New("the end of the scope")

// Cohort reads whom an approved version has at the visited brand: from the entry of the
// approval in the incident's log over the version to the figures in the brand's own log,
// whose digest the set has to have.
func (d *Desk) Cohort(ctx context.Context, v *door.Visit, owner record.BrandID, ownerName string, approval uint64) (*Cohort, error) {
	e, _, err := d.Ledger.Entry(ctx, owner, approval)
	if err != nil {
		return nil, err
	}
	approved, ok := e.Detail.(entry.ScopeApproved)
	if !ok {
		return nil, ErrNotApproved
	}
	if e, _, err = d.Ledger.Entry(ctx, owner, approved.Scope); err != nil {
		return nil, err
	}
	version, ok := e.Detail.(entry.IncidentScoped)
	if !ok || version.Incident != approved.Incident {
		return nil, ErrNotApproved
	}
	text, ok := version.Parts[v.Brand.Name]
	if !ok {
		return nil, ErrOutside
	}
	var p api.ScopeFigures
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, fmt.Errorf("reading entry %d: %w", approved.Scope, err)
	}
	if e, _, err = d.Ledger.Entry(ctx, v.Brand.ID, p.Entry); err != nil {
		return nil, err
	}
	figures, ok := e.Detail.(entry.IncidentScope)
	if !ok || e.Bare() {
		return nil, ErrSet
	}
	c := &Cohort{brand: v.Brand.ID, detail: entry.ScopeOpened{Incident: approved.Incident, Owner: ownerName, Figures: p.Entry}}
	c.most[budget.Month].Set, c.most[budget.Month].Limit = true, uint32(figures.Records)
	return c, d.gather(ctx, c, &figures)
}

// gather finds the customers of figures again, by their filter in the log of their size.
func (d *Desk) gather(ctx context.Context, c *Cohort, figures *entry.IncidentScope) error {
	var req api.ScopeRequest
	if err := json.Unmarshal([]byte(figures.Filter), &req); err != nil {
		return fmt.Errorf("reading the filter of a scope: %w", err)
	}
	f, err := evidence.NewFilter(&req)
	if err != nil {
		return err
	}
	tally := evidence.NewTally(f)
	err = d.Ledger.Scan(ctx, c.brand, 0, func(index uint64, e entry.Entry, ords []record.Ordinal) error {
		if index >= figures.Size {
			return errEnd
		}
		if index%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		_, err := tally.Add(&e, ords)
		return err
	})
	if err != nil && !errors.Is(err, errEnd) {
		return fmt.Errorf("finding the customers of a scope: %w", err)
	}
	if tally.Digest() != figures.Digest {
		return ErrSet
	}
	c.ords = slices.Collect(tally.Set().All())
	return nil
}

// Batch are customers of a cohort, fetched and unopened.
type Batch struct {
	cohort *Cohort
	what   string
	fields record.FieldSet
	ords   []record.Ordinal
	sealed *seal.Unopened
}

// fieldsOf are what each count opens.
var fieldsOf = map[string]record.FieldSet{
	CountPlaces: record.Fields(record.Country, record.Region, record.Standing),
}

// Fetch reads the sealed rows of customers of a cohort, to count something of them. One
// outside it fails all.
func (d *Desk) Fetch(ctx context.Context, c *Cohort, what string, ords []record.Ordinal) (*Batch, error) {
	for _, ord := range ords {
		if !c.has(ord) {
			return nil, ErrOutside
		}
	}
	u, err := d.Seal.There(ctx, c.brand, ords, fieldsOf[what])
	if err != nil {
		return nil, err
	}
	return &Batch{c, what, fieldsOf[what], ords, u}, nil
}

// open logs that the customers of a batch are opened, and opens them. The visitor needs the
// right to respond, and nothing else: no containment of the brand and no rule of a budget
// stops its own response. What bounds it is the approved version. From is how many of the
// cohort came before, and counts what they came to, for a server that resumes.
func (d *Desk) open(ctx context.Context, v *door.Visit, b *Batch, ticket string, from int, counts string) ([]seal.Profile, error) {
	if v.Brand.ID != b.cohort.brand {
		return nil, ErrOutside
	}
	g, err := v.Authorize(ctx, access.ActRespond, ForResponse, b.fields)
	if err != nil || len(b.sealed.Ords()) == 0 {
		return nil, err
	}
	detail := b.cohort.detail
	detail.What, detail.From, detail.Counts = b.what, uint64(from), counts
	rel := ledger.Release{Grant: g, Class: budget.Scope, Ticket: ticket, Ords: b.sealed.Ords(), Detail: detail, Most: b.cohort.most}
	hold, err := d.Ledger.Hold(ctx, rel)
	if err != nil {
		return nil, err
	}
	r, err := d.Ledger.Append(ctx, hold, b.sealed.Commitment(b.fields))
	if err != nil {
		return nil, err
	}
	return d.Seal.Open(ctx, opener.Allow(), r, b.sealed)
}
