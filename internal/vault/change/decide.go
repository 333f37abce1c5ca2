package change

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// officer returns the visit of a caller who approves at a request's brand, however new, or
// who may be second from another brand because nobody there may; ErrNone for everybody
// else.
func (d *Desk) officer(ctx context.Context, c identity.Caller, x *request) (*door.Visit, error) {
	who, err := d.Door.Identity.Who(ctx, c, x.Who.Brand)
	if err != nil && !errors.Is(err, identity.ErrNoRole) {
		return nil, err
	}
	from := x.Who.Brand
	approves := false
	if err == nil {
		p, _, err := d.Door.Access.Current(ctx, from)
		if err != nil {
			return nil, err
		}
		_, denied := p.Authorize(who, access.ActApprove, "", 0)
		approves = denied == nil
	}
	if !approves {
		list, err := d.seconds(ctx, from, x.Who.Principal, x.Created)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(list, func(p Person) bool { return p.Principal == c.Principal })
		if i < 0 {
			return nil, ErrNone
		}
		from = list[i].Brand
	}
	b, err := d.Door.Brands.Get(ctx, from)
	if err != nil {
		return nil, err
	}
	return d.Door.Admit(ctx, c, b.Name, access.ActApprove)
}

// mayBeSecond checks that a caller may be second for a request: another person, whose key
// is older than it, among those whom seconds names.
func (d *Desk) mayBeSecond(ctx context.Context, c identity.Caller, x *request, v *door.Visit) error {
	refuse := func(reason string, err error) error {
		v.Refuse(ctx, reason)
		return err
	}
	if x.Who.Principal == c.Principal || x.Who.Lineage == c.Lineage {
		return refuse("change-own", ErrOwn)
	}
	keyed, err := d.Door.Identity.Keyed(ctx, c.Credential)
	if err != nil {
		return err
	}
	list, err := d.seconds(ctx, x.Who.Brand, x.Who.Principal, x.Created)
	if err != nil {
		return err
	}
	if !keyed.Before(x.Created) || !slices.ContainsFunc(list, func(p Person) bool { return p.Principal == c.Principal }) {
		return refuse("change-young", ErrYoung)
	}
	return nil
}

// Second checks that a visitor may be the second person for what somebody asked for at a
// time, in a wing that keeps its requests itself: exports and undoing. In the alone phase
// it is enough that they are another.
func (d *Desk) Second(ctx context.Context, v *door.Visit, askedBy, askedIn uint64, asked time.Time) error {
	x := &request{Who: identity.Who{Caller: identity.Caller{Principal: askedBy, Lineage: askedIn}, Brand: v.Brand.ID}, Created: asked}
	alone, err := d.Alone(ctx)
	if err != nil {
		return err
	}
	if alone && askedBy != v.Who.Principal && askedIn != v.Who.Lineage {
		return nil
	}
	return d.mayBeSecond(ctx, v.Who.Caller, x, v)
}

// live refuses a request that is over.
func (d *Desk) live(ctx context.Context, x *request) error {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	if x.State == Asked && !now.Before(x.Expires) {
		x.State = Expired
		if err := d.move(ctx, d.DB, x, Asked); err != nil && !errors.Is(err, ErrState) {
			return err
		}
	}
	if x.State == Expired {
		return ErrExpired
	}
	return nil
}

// Approve lets a change take effect. Where it waits for a receiver of its alarm, the
// answer says so, and asking again looks again.
func (d *Desk) Approve(ctx context.Context, c identity.Caller, id string) (*api.Change, error) {
	x, err := d.get(ctx, id)
	if err != nil {
		return nil, err
	}
	v, err := d.officer(ctx, c, x)
	if errors.Is(err, ErrNone) && x.Who.Principal == c.Principal {
		err = ErrOwn
	}
	if err != nil {
		return nil, err
	}
	a, err := d.act(x.Act)
	if err == nil {
		err = d.mayBeSecond(ctx, c, x, v)
	}
	if err == nil {
		err = d.Door.Present(ctx, c, "change-approve", x.ID, x.digest())
	}
	if err == nil {
		err = d.live(ctx, x)
	}
	if err == nil {
		err = d.verify(ctx, x)
	}
	if err != nil {
		return nil, err
	}
	again := x.State == Approved && x.Second == c.Principal
	if x.State != Asked && !again {
		return nil, fmt.Errorf("%w: it is already %s", ErrState, x.State)
	}
	payload, err := d.open(ctx, x)
	if err != nil {
		return nil, err
	}
	release, ok := d.claim(x.ID)
	if !ok {
		return nil, fmt.Errorf("%w: it is about to take effect", ErrState)
	}
	defer release()
	if !again {
		who, err := d.asker(ctx, a, x)
		if err == nil {
			err = a.check(ctx, Order{ID: x.ID, Who: who, Second: v.Who, Ticket: x.Ticket}, payload)
		}
		if err != nil {
			return nil, err
		}
		r, err := d.log(ctx, at(v.Who, x.Who.Brand), x.Ticket, entry.ChangeApproved{ChangeFacts: entry.ChangeFacts{Change: x.ID, Act: x.Act}})
		if err != nil {
			return nil, err
		}
		x.State, x.Second, x.SecondIn, x.Decided, x.DecidedIn = Approved, c.Principal, c.Lineage, r.At(), r.Entry()
		if err := d.move(revision.Unbound(ctx), d.DB, x, Asked); err != nil {
			return nil, err
		}
	}
	var out any
	if !a.toAsker {
		if out, err = d.take(ctx, a, x, payload); err != nil {
			return nil, err
		}
	}
	shown, err := d.shown(revision.Unbound(ctx), x, false)
	if err == nil && a.answers && x.State == Done && out != nil {
		shown.Answer, err = json.Marshal(out)
	}
	return shown, err
}

// at is who acts, in the log of a brand.
func at(who identity.Who, brand record.BrandID) identity.Who {
	who.Brand = brand
	return who
}

// Refuse ends a request for a second person; Withdraw for the requester.
func (d *Desk) Refuse(ctx context.Context, c identity.Caller, id string) (*api.Change, error) {
	x, err := d.get(ctx, id)
	if err != nil {
		return nil, err
	}
	v, err := d.officer(ctx, c, x)
	if errors.Is(err, ErrNone) && x.Who.Principal == c.Principal || err == nil && x.Who.Principal == c.Principal {
		err = ErrOwn
	}
	if err != nil {
		return nil, err
	}
	return d.end(ctx, x, at(v.Who, x.Who.Brand), Refused, entry.ChangeRefused{ChangeFacts: entry.ChangeFacts{Change: x.ID, Act: x.Act}})
}

// Withdraw ends a request for its requester.
func (d *Desk) Withdraw(ctx context.Context, c identity.Caller, id string) (*api.Change, error) {
	x, err := d.get(ctx, id)
	if err == nil && x.Who.Principal != c.Principal {
		if _, err = d.officer(ctx, c, x); err == nil {
			err = fmt.Errorf("%w: the requester withdraws; you refuse with `cloakroom change refuse`", ErrState)
		}
	}
	if err != nil {
		return nil, err
	}
	who := identity.Who{Caller: c, Brand: x.Who.Brand, Role: x.Who.Role}
	return d.end(ctx, x, who, Withdrawn, entry.ChangeWithdrawn{ChangeFacts: entry.ChangeFacts{Change: x.ID, Act: x.Act}})
}

func (d *Desk) end(ctx context.Context, x *request, who identity.Who, to State, detail entry.Detail) (*api.Change, error) {
	if err := d.live(ctx, x); err != nil {
		return nil, err
	}
	from := x.State
	if !from.open() {
		return nil, fmt.Errorf("%w: it is already %s", ErrState, x.State)
	}
	r, err := d.log(ctx, who, x.Ticket, detail)
	if err != nil {
		return nil, err
	}
	x.State, x.Decided, x.DecidedIn = to, r.At(), r.Entry()
	if to == Refused {
		x.Second, x.SecondIn = who.Principal, who.Lineage
	}
	unbound := revision.Unbound(ctx)
	if err := d.move(unbound, d.DB, x, from); err != nil {
		return nil, err
	}
	return d.shown(unbound, x, false)
}
