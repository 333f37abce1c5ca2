package incident

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// ErrNoVersion is returned for a version that the incident's scope does not have.
var ErrNoVersion = fault.New(fault.NotFound, "no such version of the scope: `cloakroom incident show` lists them")

// approving is a version of a scope that waits for a second person.
type approving struct {
	Incident string `json:"incident"`
	Version  uint64 `json:"version"`
	Scope    uint64 `json:"scope"` // the entry of the version
	Records  int    `json:"records"`
	Brands   []record.BrandID
}

// Register registers the acts of incidents that need a second person.
func (d *Desk) Register(c *change.Desk) {
	two := func(context.Context, change.Order, approving) (change.Need, error) {
		return change.Need{Two: true}, nil
	}
	d.approve = change.Register(c, change.Act[approving, *api.Incident]{
		Name: "scope-approve", Action: access.ActRespond, Need: two, Apply: d.applyApproval, Check: d.stillVersion,
		Text: func(_ context.Context, _ change.Order, p approving) (change.Text, error) {
			return change.Text{
				Title: fmt.Sprintf("Approve version %d of the scope of incident %s: %d customers", p.Version, p.Incident, p.Records),
				Lines: []string{"The vault may open country, region and standing of these customers to count where they live. Nobody is shown a value."},
			}, nil
		},
		Brands: func(p approving) []record.BrandID { return p.Brands },
	})
}

// version returns a version of a scope: the newest of those that fit where n is 0.
func version(list []api.ScopeVersion, n uint64, fits func(*api.ScopeVersion) bool) *api.ScopeVersion {
	for i := len(list) - 1; i >= 0; i-- {
		if v := &list[i]; n == v.Version || n == 0 && fits(v) {
			return v
		}
	}
	return nil
}

// ApproveScope asks a second person to approve a version of an incident's scope. Approved, it
// bounds what the vault opens for the response.
func (d *Desk) ApproveScope(ctx context.Context, c identity.Caller, brand, id string, req api.ScopeApproval) (*api.Incident, error) {
	f, err := d.changeable(ctx, c, brand, id, access.ActRespond)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	list, err := d.scopes(ctx, f)
	if err != nil {
		return nil, err
	}
	v := version(list, req.Version, func(*api.ScopeVersion) bool { return true })
	if v == nil {
		return nil, ErrNoVersion
	}
	if v.Approval != 0 {
		return d.Incident(ctx, c, brand, id)
	}
	p := approving{Incident: id, Version: v.Version, Scope: v.Entry, Records: v.Records}
	for _, name := range f.opened.Brands {
		b, err := d.Door.Brands.ByName(ctx, name)
		if err != nil {
			return nil, err
		}
		p.Brands = append(p.Brands, b.ID)
	}
	return d.approve.Do(ctx, f.visit, req.Ticket, p)
}

// stillVersion refuses an approval of a version that is not there, or whose incident was
// closed since.
func (d *Desk) stillVersion(ctx context.Context, o change.Order, p approving) error {
	f, list, err := d.ordered(ctx, o, p)
	if err != nil {
		return err
	}
	if f.pages.closed {
		return ErrClosed
	}
	if v := version(list, p.Version, nil); v == nil || v.Entry != p.Scope {
		return ErrNoVersion
	}
	return nil
}

// ordered returns the incident of an act, as its requester sees it.
func (d *Desk) ordered(ctx context.Context, o change.Order, p approving) (*found, []api.ScopeVersion, error) {
	b, err := d.Door.Brands.Get(ctx, o.Who.Brand)
	if err != nil {
		return nil, nil, err
	}
	f, err := d.find(ctx, o.Who.Caller, b.Name, p.Incident, access.ActRespond)
	if err != nil {
		return nil, nil, err
	}
	list, err := d.scopes(ctx, f)
	return f, list, err
}

func (d *Desk) applyApproval(ctx context.Context, o change.Order, p approving) (*api.Incident, error) {
	f, _, err := d.ordered(ctx, o, p)
	if err != nil {
		return nil, err
	}
	detail := entry.ScopeApproved{Incident: f.n, Version: p.Version, Scope: p.Scope, Second: secondOf(o)}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: o.Who, Ticket: o.Ticket, Detail: detail}); err != nil {
		return nil, err
	}
	return d.Incident(ctx, o.Who.Caller, f.owner.Name, strconv.FormatUint(f.n, 10))
}

func secondOf(o change.Order) string {
	if o.Second.Principal == 0 {
		return ""
	}
	return strconv.FormatUint(o.Second.Principal, 10)
}

// later adds what an entry says of an earlier version of the scope.
func (d *Desk) later(ctx context.Context, f *found, e *told, list []api.ScopeVersion) error {
	of := func(scope uint64) *api.ScopeVersion {
		if i := slices.IndexFunc(list, func(v api.ScopeVersion) bool { return v.Entry == scope }); i >= 0 {
			return &list[i]
		}
		return nil
	}
	switch x := e.Detail.(type) {
	case entry.ScopeApproved:
		if v := of(x.Scope); v != nil && v.Approval == 0 {
			v.Approved, v.Approval, v.ApprovedBy = e.At, e.at, []string{d.name(ctx, e.Principal)}
			if second := d.nameOf(ctx, x.Second); second != "" {
				v.ApprovedBy = append(v.ApprovedBy, second)
			}
		}
	case entry.ScopeBroken:
		v := of(x.Scope)
		if v == nil || f.part != "" && x.Brand != f.part || e.Bare() {
			return nil
		}
		b, err := readBreakdown(x.Values)
		if err != nil {
			return fmt.Errorf("reading entry %d: %w", e.at, err)
		}
		b.Entry = e.at
		if !slices.ContainsFunc(v.Breakdown, func(y api.Breakdown) bool { return y.Brand == b.Brand }) {
			v.Breakdown = append(v.Breakdown, *b)
		}
	}
	return nil
}
