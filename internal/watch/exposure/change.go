package exposure

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/door"
)

// Change says whose bound changes under other rules or another policy, the greatest
// growth first; nil means that those that hold stay. Only what the policy allows counts:
// who may not reveal, and then may, goes from nothing to their budget.
func (d *Desk) Change(ctx context.Context, v *door.Visit, rules *budget.Rules, policy *access.Policy) ([]api.BoundChange, error) {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the database's clock: %w", err)
	}
	people, err := d.people(ctx, v.Brand.ID, now)
	if err != nil {
		return nil, err
	}
	before, err := d.terms(ctx, v, now)
	if err != nil {
		return nil, err
	}
	after := *before
	if rules != nil {
		after.rules = rules
	}
	if policy != nil {
		purposes, err := d.purposes(ctx, v.Brand.ID)
		if err != nil {
			return nil, err
		}
		after.reach = policy.Reach(purposes)
	}
	return changes(v.Brand.Name, bounds(before, people), bounds(&after, people)), nil
}

// changes compares the bounds of the same holders, in one order.
func changes(brand string, before, after []held) []api.BoundChange {
	out := []api.BoundChange{}
	for i := range before {
		b, a := &before[i], &after[i]
		if b.bound == a.bound {
			continue
		}
		ch := api.BoundChange{Held: heldOf(brand, b), Before: windows(b.bound.together()), After: windows(a.bound.together())}
		for c := range b.bound {
			if b.bound[c] != a.bound[c] {
				ch.Classes = append(ch.Classes, api.ClassChange{Class: budget.Class(c).String(), Before: windows(b.bound[c]), After: windows(a.bound[c])})
			}
		}
		out = append(out, ch)
	}
	growth := func(before, after uint64) int64 { return int64(after) - int64(before) }
	slices.SortStableFunc(out, func(a, b api.BoundChange) int {
		return cmp.Or(cmp.Compare(growth(b.Before.Month, b.After.Month), growth(a.Before.Month, a.After.Month)),
			cmp.Compare(growth(b.Before.Day, b.After.Day), growth(a.Before.Day, a.After.Day)),
			cmp.Compare(growth(b.Before.Hour, b.After.Hour), growth(a.Before.Hour, a.After.Hour)))
	})
	return out
}
