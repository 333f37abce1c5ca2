package change

import (
	"context"
	"errors"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// found returns a request, and whether the caller asked for it or may be second. For
// everybody else there is none.
func (d *Desk) found(ctx context.Context, c identity.Caller, id string) (x *request, v *door.Visit, err error) {
	if x, err = d.get(ctx, id); err != nil {
		return nil, nil, err
	}
	if x.Who.Principal == c.Principal {
		return x, nil, nil
	}
	v, err = d.officer(ctx, c, x)
	return x, v, err
}

// Show returns a request to its requester and to those who may approve it.
func (d *Desk) Show(ctx context.Context, c identity.Caller, id string) (*api.Change, error) {
	x, v, err := d.found(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return d.shown(ctx, x, v != nil)
}

// List returns the newest requests that the caller asked for or may see as an approver.
func (d *Desk) List(ctx context.Context, c identity.Caller) ([]api.Change, error) {
	list, err := d.rows(ctx, sqlListChanges, maxListed)
	if err != nil {
		return nil, err
	}
	sees := map[record.BrandID]bool{}
	out := []api.Change{}
	for _, x := range list {
		see, known := sees[x.Who.Brand]
		if !known {
			_, err := d.officer(ctx, c, x)
			if err != nil && !errors.Is(err, ErrNone) {
				return nil, err
			}
			see = err == nil
			sees[x.Who.Brand] = see
		}
		if !see && x.Who.Principal != c.Principal {
			continue
		}
		s, err := d.shown(ctx, x, see && x.Who.Principal != c.Principal)
		if err != nil {
			return nil, err
		}
		out = append(out, *s)
	}
	return out, nil
}

// shown shows a request; its private lines to somebody who may approve it alone.
func (d *Desk) shown(ctx context.Context, x *request, officer bool) (*api.Change, error) {
	name := func(id uint64) string {
		if p, err := d.Door.Identity.Get(ctx, id); id != 0 && err == nil {
			return p.Name
		}
		return ""
	}
	b, err := d.Door.Brands.Get(ctx, x.Who.Brand)
	if err != nil {
		return nil, err
	}
	out := &api.Change{ID: x.ID, Brand: b.Name, Act: x.Act, State: string(x.State), Mark: x.Mark, Ticket: x.Ticket, Reason: x.Reason, AskedBy: name(x.Who.Principal),
		Asked: x.Created, Expires: x.Expires, Second: name(x.Second), Decided: x.Decided, Done: x.Done, Entry: x.Entry, Acknowledged: name(x.Acked)}
	if !x.State.open() {
		return out, nil
	}
	if err := d.verify(ctx, x); err != nil {
		out.Conflict = err.Error()
		return out, nil
	}
	a, err := d.act(x.Act)
	if err != nil {
		out.Conflict = err.Error()
		return out, nil
	}
	payload, err := d.open(ctx, x)
	if err != nil {
		return nil, err
	}
	o := Order{ID: x.ID, Who: x.Who, Ticket: x.Ticket}
	t, err := a.text(ctx, o, payload)
	if err != nil {
		return nil, err
	}
	if out.Title, out.Lines = t.Title, t.Lines; officer {
		out.Lines = append(out.Lines, t.Private...)
	}
	if err := a.check(ctx, o, payload); err != nil {
		out.Conflict = err.Error()
	}
	switch {
	case x.State == Asked && !x.Glass.IsZero():
		out.Waits, out.Glass = "a second person, or "+x.Glass.UTC().Format("2006-01-02 15:04 UTC")+", when it takes effect by one hand", x.Glass
		if n, nerr := a.need(ctx, o, payload); nerr == nil && n.Widens && x.Acked == 0 {
			out.Waits += " if another person has acknowledged it"
		}
		out.May, err = d.names(ctx, x)
	case x.State == Asked:
		out.Waits = "a second person"
		out.May, err = d.names(ctx, x)
	default:
		out.Waits = "a receiver of its alarm"
		if a.toAsker {
			out.Waits = "its requester, who asks for the same once more"
		}
	}
	return out, err
}
