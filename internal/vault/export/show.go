package export

import (
	"context"
	"strconv"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// Show returns one export.
func (d *Desk) Show(ctx context.Context, c identity.Caller, brand, id string) (*api.Export, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	x, err := d.find(ctx, v, id)
	if err != nil {
		return nil, err
	}
	return d.shown(ctx, v, x)
}

// List returns the newest exports of a brand that the caller may see.
func (d *Desk) List(ctx context.Context, c identity.Caller, brand string) (*api.Exports, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	out := &api.Exports{Contained: v.FilesStopped(), Exports: []api.Export{}}
	of := v.Who.Principal
	if d.may(v, access.ActApprove) || d.may(v, access.ActAudit) {
		of = 0
	}
	list, err := d.Store.list(ctx, v.Brand.ID, of)
	if err != nil {
		return nil, err
	}
	for _, x := range list {
		out.Exports = append(out.Exports, d.show(ctx, x))
	}
	return out, nil
}

func (d *Desk) show(ctx context.Context, x *Export) api.Export {
	out := api.Export{
		ID: x.ID, State: string(x.State), Form: x.Form, Format: x.Format, Fields: x.Fields.Names(), Purpose: x.Purpose, Ticket: x.Ticket,
		Recipient: x.Recipient, Role: x.Who.Role, Created: x.Created, Expires: x.Expires, Customers: x.Customers, DecidedAt: x.DecidedAt,
		Gathered: 100, Files: files(x.Fields), Requester: d.name(ctx, x.Who.Principal),
	}
	if x.State == DryRun {
		out.ID = ""
	}
	switch {
	case x.State == Gathering:
		out.Customers = 0 // it is nobody's yet
		out.Gathered = int(100 * uint64(x.Position) / uint64(max(x.Bound, 1)))
	case len(x.Cohort) > 0:
		out.Cohort = x.digest()
	}
	if len(x.Filter) > 0 && x.State != Approved {
		out.Customers = (out.Customers + countStep - 1) / countStep * countStep
	}
	if x.DecidedBy != 0 {
		out.DecidedBy = d.name(ctx, x.DecidedBy)
	}
	return out
}

func (d *Desk) name(ctx context.Context, principal uint64) string {
	if p, err := d.Door.Identity.Get(ctx, principal); err == nil {
		return p.Name
	}
	return strconv.FormatUint(principal, 10)
}

// shown adds what one export alone is shown with: its parts, and what the budgets leave
// to who asked for it.
func (d *Desk) shown(ctx context.Context, v *door.Visit, x *Export) (*api.Export, error) {
	out := d.show(ctx, x)
	if x.State == Approved {
		order, err := d.order(ctx, x)
		if err != nil {
			return nil, err
		}
		out.Parts = parts(len(order))
	}
	room, err := d.room(ctx, v.Brand.ID, x.Who)
	if err != nil {
		return nil, err
	}
	out.Room = api.ExportRoom{Hour: room[budget.Hour], Day: room[budget.Day], Month: room[budget.Month]}
	return &out, nil
}

// room returns how many customers more the budgets let somebody export in each window.
// Those who left in it already cost nothing again.
func (d *Desk) room(ctx context.Context, brand record.BrandID, who identity.Who) ([3]uint64, error) {
	rules, err := d.Ledger.Rules(ctx, brand)
	if err != nil {
		return [3]uint64{}, err
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return [3]uint64{}, err
	}
	out := [3]uint64{^uint64(0) >> 1, ^uint64(0) >> 1, ^uint64(0) >> 1}
	for _, h := range []budget.Holder{{Kind: budget.Lineage, ID: who.Lineage}, {Kind: budget.Principal, ID: who.Principal}, {Kind: budget.Role, Role: who.Role}, {Kind: budget.Brand}} {
		limits := rules.Resolve(h.Kind, who.Principal, who.Role, budget.Export, budget.DateOf(now))
		if limits == (budget.Limits{}) {
			return [3]uint64{}, nil // refused
		}
		used, err := d.Ledger.Usage(ctx, brand, h)
		if err != nil {
			return out, err
		}
		for _, u := range used {
			if l := limits[u.Window]; u.Class == budget.Export && l.Set {
				out[u.Window] = min(out[u.Window], uint64(max(int64(l.Limit)-int64(u.Count), 0)))
			}
		}
	}
	return out, nil
}
