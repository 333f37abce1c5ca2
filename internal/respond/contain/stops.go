package contain

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/export"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// impact lists who a containment affects, their usable credentials, their recent disclosures
// and the exports that end with it.
func (d *Desk) impact(ctx context.Context, c containment.Containment, out *api.Containment) error {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	if err := d.stopsPeople(ctx, c, now, out); err != nil {
		return err
	}
	which := export.Which{Brand: c.Brand, Role: c.Role}
	holder := budget.Holder{Kind: budget.Brand}
	switch c.Kind {
	case containment.Lineage:
		which.Lineage, holder = c.Target, budget.Holder{Kind: budget.Lineage, ID: c.Target}
	case containment.Principal:
		which.Principal, holder = c.Target, budget.Holder{Kind: budget.Principal, ID: c.Target}
	case containment.Role:
		holder = budget.Holder{Kind: budget.Role, Role: c.Role}
	}
	open, err := d.Exports.Open(ctx, which, now)
	if err != nil {
		return err
	}
	if open != (export.Open{}) {
		out.Exports = &api.ContainedExports{Requested: open.Requested, Approved: open.Approved, Leaving: open.Leaving}
	}
	return d.stopsShown(ctx, c, holder, out)
}

// stopsShown counts what a holder was shown lately in the ways that a containment stops.
func (d *Desk) stopsShown(ctx context.Context, c containment.Containment, holder budget.Holder, out *api.Containment) error {
	at := []brands.Brand{{ID: c.Brand}}
	if c.Brand == record.Group {
		var err error
		if at, err = d.Door.Brands.List(ctx); err != nil {
			return err
		}
	}
	byClass := map[budget.Class]*api.ContainedClass{}
	for _, b := range at {
		used, err := d.Ledger.Usage(ctx, b.ID, holder)
		if err != nil {
			return err
		}
		for _, u := range used {
			goesOn := c.Kind == containment.Exports && u.Class != budget.Export || c.Keep == containment.KeepMasked && u.Class == budget.Masked
			if u.Count == 0 || goesOn || u.Window != budget.Hour && u.Window != budget.Day {
				continue
			}
			x := byClass[u.Class]
			if x == nil {
				x = &api.ContainedClass{Class: u.Class.String()}
				byClass[u.Class] = x
			}
			if u.Window == budget.Hour {
				x.Hour += u.Count
			} else {
				x.Day += u.Count
			}
		}
	}
	for _, class := range slices.Sorted(maps.Keys(byClass)) {
		out.Shown = append(out.Shown, *byClass[class])
	}
	return nil
}

// stopsPeople names the people and services that a containment of them stops: of a whole
// brand nobody is listed.
func (d *Desk) stopsPeople(ctx context.Context, c containment.Containment, now time.Time, out *api.Containment) error {
	id := c.Target
	switch c.Kind {
	case containment.Lineage:
		var err error
		if _, id, err = d.Door.Identity.Lineage(ctx, c.Target); err != nil { // it has the number of its first credential
			return err
		}
	case containment.Principal:
	case containment.Role:
		return d.Door.Identity.Bearers(ctx, c.Brand, c.Role, now, func(b identity.Bearer) {
			out.Credentials += b.Usable
			if len(out.Principals) < maxNames {
				out.Principals = append(out.Principals, b.Name)
			}
		})
	default:
		return nil
	}
	p, err := d.Door.Identity.Get(ctx, id)
	if err != nil {
		return err
	}
	creds, err := d.Door.Identity.Credentials(ctx, p.ID)
	if err != nil {
		return err
	}
	for _, cr := range creds {
		if c.Kind == containment.Lineage && cr.Lineage != c.Target {
			continue
		}
		if usable(&cr, now) {
			out.Credentials++
		}
	}
	out.Principals = append(out.Principals, p.Name)
	return nil
}

func usable(c *identity.Credential, now time.Time) bool {
	return c.Revoked.IsZero() && (c.Expires.IsZero() || c.Expires.After(now))
}
