// Package exposure says for every credential, principal, role and brand how many people
// it could take if it was stolen now, how many it uses, and which budget would have done;
// and, before budgets or a policy are changed, how those bounds change.
//
// # What could be taken
//
// The bound counts distinct customers in the hour, the day and the 30 days after a
// theft. It follows from the budgets ([budget.Rules.Bound]), from what the policy lets a
// role do at all, and from what was contained, revoked or disabled. Each class of
// release has a budget of its own, and a thief takes other customers by each: what a
// holder could take is the sum over the classes that it may use.
//
// # What is used
//
// The figures follow the log ([budget.History]), in memory on each server: a request only
// reads them. A server that has just started, and not caught up yet, answers with what
// was used up to where it has come, and says when that was. They are the brand's own:
// nothing that is counted, kept or told of one brand is of another.
package exposure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

var (
	// ErrNobody is returned for a principal who neither has nor had a part in a brand. It
	// is the same whether there is such a principal elsewhere.
	ErrNobody = fault.New(fault.NotFound, "no principal of this name has a role here or used one in the last 30 days")
	// ErrGroup is returned for the group itself.
	ErrGroup = fault.New(fault.Invalid, "the group has no customers: name a brand, or none for all of them")
)

// Desk tells what could be stolen.
type Desk struct {
	Door   *door.Door
	Ledger *ledger.Ledger
	DB     *db.DB

	followers *follow.Runner
	mu        sync.Mutex
	figures   map[record.BrandID]*figures // of mu
}

// New returns the desk of a server whose followers bring it the figures.
func New(door *door.Door, l *ledger.Ledger, d *db.DB, r *follow.Runner) *Desk {
	out := &Desk{Door: door, Ledger: l, DB: d, figures: map[record.BrandID]*figures{}}
	out.follow(r)
	return out
}

// Ask narrows what is told. The zero Ask is for everything.
type Ask struct {
	Principal string // and its lineages, its role and the brand
	Kind      string // lineage, principal, role or brand
	Class     string // sort by this class, and leave out who has nothing of it
	Top       int    // no more rows; 0: all
}

// Brand tells what could be stolen at a brand. Whoever may not audit is told of their own
// credentials, without how much anybody uses.
func (d *Desk) Brand(ctx context.Context, c identity.Caller, brand string, ask Ask) (*api.Exposure, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	if v.Brand.ID == record.Group {
		return nil, ErrGroup
	}
	own := !audits(v)
	if own && ask.Principal != "" && ask.Principal != c.Name {
		_, err := v.Authorize(ctx, access.ActAudit, "", 0) // refused, and logged
		return nil, err
	}
	return d.tell(ctx, []*door.Visit{v}, own, ask)
}

// All tells of all brands where the caller may audit; if there is none, of their own
// credentials at every brand.
func (d *Desk) All(ctx context.Context, c identity.Caller, ask Ask) (*api.Exposure, error) {
	list, err := d.Door.Brands.List(ctx)
	if err != nil {
		return nil, err
	}
	var audited, others []*door.Visit
	for _, b := range list {
		if b.ID == record.Group {
			continue
		}
		v, err := d.Door.Enter(ctx, c, b.Name)
		switch {
		case errors.Is(err, brands.ErrNoBrand):
		case err != nil:
			return nil, err
		case audits(v):
			audited = append(audited, v)
		default:
			others = append(others, v)
		}
	}
	if len(audited) > 0 {
		return d.tell(ctx, audited, false, ask)
	}
	if ask.Principal != "" && ask.Principal != c.Name {
		return nil, ErrNobody
	}
	return d.tell(ctx, others, true, ask)
}

func audits(v *door.Visit) bool {
	_, err := v.Policy.Authorize(v.Who, access.ActAudit, "", 0)
	return err == nil
}

func (d *Desk) tell(ctx context.Context, visits []*door.Visit, own bool, ask Ask) (*api.Exposure, error) {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the database's clock: %w", err)
	}
	out := &api.Exposure{At: now, Since: now.Add(-budget.Month.Length()), Own: own, Rows: []api.ExposureRow{}}
	found := false
	for _, v := range visits {
		asked := ask
		m := &measured{at: now}
		if own {
			asked.Principal = v.Who.Name
		} else if m, err = d.uses(ctx, v.Brand.ID, now); err != nil {
			return nil, err
		}
		if !own && (out.UsesAt.IsZero() || m.at.Before(out.UsesAt)) {
			out.UsesAt = m.at
		}
		rows, known, err := d.rows(ctx, v, now, own, asked, m.uses)
		if err != nil {
			return nil, err
		}
		found = found || known
		out.Rows = append(out.Rows, rows...)
	}
	if ask.Principal != "" && !found {
		return nil, ErrNobody
	}
	order(out.Rows, ask.Class)
	out.Total = len(out.Rows)
	if ask.Top > 0 && ask.Top < out.Total {
		out.Rows = out.Rows[:ask.Top]
	}
	return out, nil
}

// rows returns those of a brand, and whether the principal that was asked for is there.
func (d *Desk) rows(ctx context.Context, v *door.Visit, now time.Time, own bool, ask Ask, uses map[budget.Holder]budget.Uses) ([]api.ExposureRow, bool, error) {
	people, err := d.people(ctx, v.Brand.ID, now)
	if err != nil {
		return nil, false, err
	}
	t, err := d.terms(ctx, v, now)
	if err != nil {
		return nil, false, err
	}
	list := bounds(t, people)
	if !own {
		if list, err = d.withFormer(ctx, list, uses); err != nil {
			return nil, false, err
		}
	}
	role, known := "", false
	for i := range list {
		if h := &list[i]; h.Kind == budget.Principal && h.name == ask.Principal {
			role, known = h.role, true
		}
	}
	if ask.Principal != "" && !known {
		return nil, false, nil
	}
	var out []api.ExposureRow
	for i := range list {
		h := &list[i]
		switch {
		case ask.Kind != "" && ask.Kind != h.Kind.String():
			continue
		case own && h.Kind > budget.Principal: // of others, too
			continue
		case ask.Principal != "" && h.Kind <= budget.Principal && h.name != ask.Principal:
			continue
		case ask.Principal != "" && h.Kind == budget.Role && h.role != role:
			continue
		}
		use, used := uses[h.Holder]
		if h.Kind == budget.Lineage && h.state == stateNoKey && !used {
			continue // revoked or expired, and not used since
		}
		r := row(v.Brand.Name, h, use, own)
		if own {
			if err := d.now(ctx, v.Brand.ID, h.Holder, &r); err != nil {
				return nil, false, err
			}
		}
		if of(&r, ask.Class) != nil {
			out = append(out, r)
		}
	}
	return out, known, nil
}

// withFormer adds who took somebody and has no part in the brand any more.
func (d *Desk) withFormer(ctx context.Context, list []held, uses map[budget.Holder]budget.Uses) ([]held, error) {
	here := make(map[budget.Holder]bool, len(list))
	for i := range list {
		here[list[i].Holder] = true
	}
	for h := range uses {
		if here[h] {
			continue
		}
		one := held{Holder: h, role: h.Role, state: stateNoRole}
		if h.Kind == budget.Principal {
			one.principal = h.ID
		}
		if h.Kind == budget.Lineage {
			_, principal, err := d.Door.Identity.Lineage(ctx, h.ID)
			if err != nil && !errors.Is(err, identity.ErrNoCredential) {
				return nil, err
			}
			one.principal = principal
		}
		if one.principal != 0 {
			p, err := d.Door.Identity.Get(ctx, one.principal)
			if err != nil && !errors.Is(err, identity.ErrNoPrincipal) {
				return nil, err
			}
			one.name = p.Name
		}
		list = append(list, one)
	}
	return list, nil
}

// people returns everybody with a role at a brand, and what is stopped for each lineage.
func (d *Desk) people(ctx context.Context, brand record.BrandID, now time.Time) ([]person, error) {
	staff, err := d.Door.Identity.Staff(ctx, brand, now)
	if err != nil {
		return nil, err
	}
	group, _, err := d.Door.Access.Current(ctx, record.Group)
	if err != nil {
		return nil, err
	}
	reach := group.Reach(nil)
	out := make([]person, len(staff))
	for i, s := range staff {
		p := &out[i]
		p.Staff, p.stops = s, make([]containment.Stop, len(s.Lineages))
		p.administers = s.Group != "" && reach(s.ID, s.Group).Administer
		for j, l := range s.Lineages {
			if !l.Live && !l.Links {
				continue
			}
			who := identity.Who{Caller: identity.Caller{Principal: s.ID, Lineage: l.ID}, Role: s.Role, Brand: brand}
			if p.stops[j], err = d.Door.Contained.Of(ctx, who); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (d *Desk) terms(ctx context.Context, v *door.Visit, now time.Time) (*terms, error) {
	rules, err := d.Ledger.Rules(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	purposes, err := d.purposes(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	return &terms{now, rules, v.Policy.Reach(purposes)}, nil
}

func (d *Desk) purposes(ctx context.Context, brand record.BrandID) ([]string, error) {
	list, err := d.Door.Brands.Purposes(ctx, brand)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range list {
		if p.Retired.IsZero() {
			out = append(out, p.Name)
		}
	}
	return out, nil
}

// now tells what a holder uses now, by class.
func (d *Desk) now(ctx context.Context, brand record.BrandID, h budget.Holder, r *api.ExposureRow) error {
	used, err := d.Ledger.Usage(ctx, brand, h)
	if err != nil {
		return err
	}
	for i := range r.Classes {
		c := &r.Classes[i]
		var n budget.Counts
		for _, u := range used {
			if u.Class.String() == c.Class && u.Class.Effect() == budget.Takes {
				n[u.Window] = uint32(u.Count)
			}
		}
		c.Now = counts(n)
	}
	return nil
}

// row shows a holder.
func row(brand string, h *held, u budget.Uses, own bool) api.ExposureRow {
	r := api.ExposureRow{Held: heldOf(brand, h), State: h.state, Administers: h.administers, Classes: []api.ClassFigures{}}
	var would budget.Bound
	for c := range h.bound {
		bound, use := h.bound[c], u.Class[c]
		if budget.Class(c).Effect() == budget.Takes {
			would = would.Plus(happy(use, bound))
		}
		if bound == (budget.Bound{}) && use.Steps == 0 {
			continue
		}
		f := api.ClassFigures{Class: budget.Class(c).String(), Figures: api.Figures{Bound: windows(bound)}}
		if !own {
			used(&f.Figures, use, bound, happy(use, bound))
		}
		r.Classes = append(r.Classes, f)
	}
	bound := h.bound.together()
	r.Bound, r.Destroy = windows(bound), windows(h.bound.destroyed())
	if !own {
		used(&r.Figures, u.Together, bound, would)
		r.Few = u.Together.Steps < enough
	}
	return r
}

func used(f *api.Figures, u budget.Use, bound, would budget.Bound) {
	wouldDo, left := windows(would), windows(gap(bound, u.P99))
	f.Now, f.Steps, f.P99, f.Most, f.WouldDo, f.Gap = counts(u.Now), u.Steps, counts(u.P99), counts(u.Most), &wouldDo, &left
}

// of returns the figures of a row that it is sorted by: of a class, or of all.
func of(r *api.ExposureRow, class string) *api.Figures {
	if class == "" {
		return &r.Figures
	}
	for i := range r.Classes {
		if r.Classes[i].Class == class {
			return &r.Classes[i].Figures
		}
	}
	return nil
}

// order sorts by the gap in 30 days, then in a day, then in an hour; without gaps, by
// the bound.
func order(rows []api.ExposureRow, class string) {
	key := func(r *api.ExposureRow) api.Windows {
		f := of(r, class)
		if f.Gap != nil {
			return *f.Gap
		}
		return f.Bound
	}
	slices.SortStableFunc(rows, func(a, b api.ExposureRow) int {
		x, y := key(&a), key(&b)
		return cmp.Or(cmp.Compare(y.Month, x.Month), cmp.Compare(y.Day, x.Day), cmp.Compare(y.Hour, x.Hour),
			cmp.Compare(a.Brand, b.Brand), cmp.Compare(b.Kind, a.Kind), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Role, b.Role))
	})
}

func heldOf(brand string, h *held) api.Held {
	return api.Held{Brand: brand, Kind: h.Kind.String(), ID: h.ID, Principal: h.name, Role: h.role, Label: h.label}
}

func windows(b budget.Bound) api.Windows {
	return api.Windows{Hour: b[budget.Hour], Day: b[budget.Day], Month: b[budget.Month]}
}

func counts(c budget.Counts) *api.Windows {
	return &api.Windows{Hour: uint64(c[budget.Hour]), Day: uint64(c[budget.Day]), Month: uint64(c[budget.Month])}
}
