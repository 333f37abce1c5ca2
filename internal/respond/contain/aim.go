package contain

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// aim is what a request means to stop.
type aim struct {
	containment.Containment
	person    uint64 // whose lineage it is, or who
	elsewhere bool   // they have a role at another brand, too
}

// target says what a request means, and refuses that somebody stops themselves: a slip
// of the hand would take the one who was to help.
func (d *Desk) target(ctx context.Context, v *door.Visit, req api.ContainRequest) (a aim, err error) {
	a.Brand = v.Brand.ID
	n := 0
	if req.Lineage != 0 {
		n++
		a.Kind = containment.Lineage
		a.Target, a.person, err = d.Door.Identity.Lineage(ctx, req.Lineage)
	}
	if req.Principal != "" {
		n++
		var p identity.Principal
		p, err = d.Door.Identity.ByName(ctx, req.Principal)
		a.Kind, a.Target, a.person = containment.Principal, p.ID, p.ID
	}
	if req.Role != "" {
		n++
		a.Kind, a.Role = containment.Role, req.Role
		if !slices.Contains(access.Roles(), req.Role) {
			err = fmt.Errorf("%w: no such role: use %v", ErrRequest, access.Roles())
		}
	}
	if req.Brand {
		n++
		a.Kind = containment.Brand
	}
	if req.AllExports {
		n++
		a.Kind = containment.Exports
	}
	wide := a.Kind == containment.Role || a.Kind == containment.Brand
	if a.Keep = containment.Keep(req.Keep); wide && a.Keep == "" {
		a.Keep = containment.KeepMasked
	}
	switch {
	case n != 1:
		return a, fmt.Errorf("%w: name one of lineage, principal, role, brand, all_exports", ErrRequest)
	case !wide && a.Keep != "", wide && !slices.Contains(containment.Keeps(), a.Keep):
		return a, fmt.Errorf("%w: keep is masked, tokens or nothing, and applies to a role or the brand only", ErrRequest)
	case a.Kind != containment.Lineage && a.Kind != containment.Principal:
		return a, err
	case a.Kind == containment.Lineage && a.Target == v.Who.Lineage, a.Kind == containment.Principal && a.Target == v.Who.Principal:
		return a, fmt.Errorf("%w: you cannot contain yourself; ask another responder", ErrRequest)
	}
	if err = d.reach(ctx, v, &a, err); err != nil {
		return a, err
	}
	local, err := d.Door.Identity.EnsureLocal(ctx, access.Administrator)
	if err != nil {
		return a, err
	}
	if a.Kind == containment.Principal && a.Target == local.Principal || a.Kind == containment.Lineage && a.Target == local.Lineage {
		return a, fmt.Errorf("%w: the local administrator cannot be contained, because access to the machine needs no credential", ErrRequest)
	}
	return a, nil
}

// undoers returns the people who may contain, and so undo, at a brand by its policy, with
// their usable lineages. The local administrator is not among them.
func (d *Desk) undoers(ctx context.Context, brand record.BrandID, policy *access.Policy) (out []containment.Undoer, err error) {
	local, err := d.Door.Identity.EnsureLocal(ctx, access.Administrator)
	if err != nil {
		return nil, err
	}
	err = d.Door.Identity.People(ctx, brand, func(id uint64, role string) error {
		who := identity.Who{Caller: identity.Caller{Principal: id}, Role: role, Brand: brand}
		if _, err := policy.Authorize(who, access.ActContain, "", 0); err == nil && id != local.Principal {
			_, err := policy.Authorize(who, access.ActAdminister, "", 0)
			out = append(out, containment.Undoer{Principal: id, Administers: err == nil})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	for i := range out {
		creds, err := d.Door.Identity.Credentials(ctx, out[i].Principal)
		if err != nil {
			return nil, err
		}
		for _, c := range creds {
			if c.Export == "" && usable(&c, now) { // an export's link lets nobody in here
				out[i].Lineages = append(out[i].Lineages, c.Lineage)
			}
		}
	}
	return out, nil
}

// reach refuses targets outside the visit's brand with the same error as unknown ones; found
// is the error of the lookup. The group may contain anybody.
func (d *Desk) reach(ctx context.Context, v *door.Visit, a *aim, found error) error {
	if v.Brand.ID == record.Group {
		return found
	}
	if found != nil && !errors.Is(found, identity.ErrNoCredential) && !errors.Is(found, identity.ErrNoPrincipal) {
		return found
	}
	roles, err := d.Door.Identity.Roles(ctx, a.person) // also of nobody: it takes as long
	if err != nil {
		return err
	}
	here, group := false, false
	for _, r := range roles {
		switch r.Brand {
		case v.Brand.ID:
			here = true
		case record.Group:
			group = true
		default:
			a.elsewhere = true
		}
	}
	if !here || group {
		v.Refuse(ctx, "not-ours-to-contain")
		return containment.ErrReach
	}
	return nil
}
