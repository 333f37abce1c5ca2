package change

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// DefaultGlass is how long an act by broken glass waits, so that people who are told of it
// can refuse it.
const DefaultGlass = 4 * time.Hour

// ErrSocket is returned where broken glass would answer a code over the network.
var ErrSocket = fault.New(fault.Denied, "by broken glass, this change is made, and a code is shown, at the vault's own machine alone: ask for the change and break glass there")

// BreakGlass makes a change take effect by one hand after a delay: for its requester, with
// a reason, told to everybody at once. Where the act widens reading, another person has to
// acknowledge it. Asked again after the delay, it takes effect; a server looks too.
func (d *Desk) BreakGlass(ctx context.Context, c identity.Caller, id string, req api.BreakGlassRequest) (*api.Change, error) {
	if err := ledger.CheckText("reason", req.Reason); err != nil {
		return nil, err
	}
	x, err := d.get(ctx, id)
	if err == nil && x.Who.Principal != c.Principal {
		err = ErrNone
	}
	if err == nil {
		err = d.live(ctx, x)
	}
	if err == nil {
		err = d.verify(ctx, x)
	}
	if err == nil {
		err = d.Door.Present(ctx, c, "change-break-glass", x.ID, x.digest())
	}
	if err != nil {
		return nil, err
	}
	if x.State != Asked && !(x.State == Approved && x.Mark == MarkBreakGlass) {
		return nil, fmt.Errorf("%w: it is already %s", ErrState, x.State)
	}
	a, err := d.act(x.Act)
	if err != nil {
		return nil, err
	}
	payload, err := d.open(ctx, x)
	if err != nil {
		return nil, err
	}
	if a.answers && c.Name != identity.LocalAdministrator {
		return nil, ErrSocket
	}
	if x.Glass.IsZero() {
		who, err := d.asker(ctx, a, x)
		if err != nil {
			return nil, err
		}
		delay, err := d.delay(ctx, x.Who.Brand)
		if err != nil {
			return nil, err
		}
		now, err := d.DB.Now(ctx)
		if err != nil {
			return nil, err
		}
		due := now.Add(delay)
		r, err := d.log(ctx, who, x.Ticket, entry.ChangeGlass{ChangeFacts: entry.ChangeFacts{Change: x.ID, Act: x.Act}, Due: due.UTC().Format(time.RFC3339), Reason: req.Reason})
		if err != nil {
			return nil, err
		}
		x.Glass, x.GlassIn, x.Reason = due, r.Entry(), req.Reason
		unbound := revision.Unbound(ctx)
		if err := d.move(unbound, d.DB, x, Asked); err != nil {
			return nil, err
		}
		if err := d.notice(unbound, a, x, payload, "break-glass"); err != nil {
			return nil, err
		}
		return d.shown(unbound, x, false)
	}
	out, err := d.broken(ctx, a, x, payload)
	if err != nil {
		return nil, err
	}
	shown, err := d.shown(revision.Unbound(ctx), x, false)
	if err == nil && a.answers && x.State == Done && out != nil {
		shown.Answer, err = json.Marshal(out)
	}
	return shown, err
}

// delay is how long broken glass waits at a brand: as the brand says, or where it says
// nothing, and at the group, as this server does.
func (d *Desk) delay(ctx context.Context, brand record.BrandID) (time.Duration, error) {
	usual := cmp.Or(d.Glass, DefaultGlass)
	if brand == record.Group {
		return usual, nil
	}
	b, err := d.Door.Brands.Whole(ctx, brand)
	if err != nil {
		return 0, err
	}
	return cmp.Or(b.Glass(), usual), nil
}

// broken makes an act by broken glass, if its time has come and nobody is missing.
func (d *Desk) broken(ctx context.Context, a registered, x *request, payload []byte) (any, error) {
	now, err := d.DB.Now(ctx)
	if err != nil || now.Before(x.Glass) {
		return nil, err
	}
	if x.State == Asked {
		need, err := a.need(ctx, Order{ID: x.ID, Who: x.Who}, payload)
		if err != nil || need.Widens && x.Acked == 0 {
			return nil, err
		}
		x.State, x.Mark, x.Decided, x.DecidedIn = Approved, MarkBreakGlass, now, x.GlassIn
		if err := d.glassHolds(ctx, x, need); err != nil {
			return nil, err
		}
		if err := d.move(ctx, d.DB, x, Asked); err != nil {
			return nil, err
		}
	}
	return d.take(ctx, a, x, payload)
}

// glassHolds holds a row by broken glass against the log: who broke it, when, and who
// acknowledged it.
func (d *Desk) glassHolds(ctx context.Context, x *request, need Need) error {
	e, _, err := d.Ledger.Entry(ctx, x.Who.Brand, x.GlassIn)
	if err != nil {
		return errors.Join(ErrForged, err)
	}
	broke, ok := e.Detail.(entry.ChangeGlass) // which says until when, whatever the setting is by now
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	if !ok || broke.Change != x.ID || e.Principal != x.Who.Principal || now.Before(entry.MomentTime(broke.Due)) || entry.MomentTime(broke.Due).IsZero() {
		return ErrForged
	}
	if !need.Widens {
		return nil
	}
	if e, _, err = d.Ledger.Entry(ctx, x.Who.Brand, x.AckedIn); err != nil {
		return errors.Join(ErrForged, err)
	}
	ack, ok := e.Detail.(entry.ChangeAcknowledged)
	if !ok || ack.Change != x.ID || e.Principal == x.Who.Principal || e.Principal != x.Acked {
		return ErrForged
	}
	return nil
}

// Acknowledge says that another person knows that glass was broken: somebody with a role
// at the brand, and a key, from before the request.
func (d *Desk) Acknowledge(ctx context.Context, c identity.Caller, id string) (*api.Change, error) {
	x, err := d.get(ctx, id)
	if err != nil {
		return nil, err
	}
	b, err := d.Door.Brands.Get(ctx, x.Who.Brand)
	if err != nil {
		return nil, err
	}
	if x.Who.Principal == c.Principal || x.Who.Lineage == c.Lineage {
		return nil, ErrOwn
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	old := false
	err = d.Door.Identity.Officers(ctx, x.Who.Brand, now, func(o identity.Officer) error {
		old = old || o.Principal == c.Principal && o.Since.Before(x.Created) && o.Created.Before(x.Created)
		return nil
	})
	if err != nil {
		return nil, err
	}
	v, err := d.officer(ctx, c, x) // those who may approve may be of another brand
	if errors.Is(err, ErrNone) && old {
		v, err = d.Door.Enter(ctx, c, b.Name)
	}
	if err != nil {
		return nil, err
	}
	keyed, err := d.Door.Identity.Keyed(ctx, c.Credential)
	if err != nil {
		return nil, err
	}
	if !keyed.Before(x.Created) {
		return nil, ErrYoung
	}
	if err := d.Door.Present(ctx, c, "change-acknowledge", x.ID, x.digest()); err != nil {
		return nil, err
	}
	if x.State != Asked || x.Glass.IsZero() {
		return nil, fmt.Errorf("%w: nobody broke glass for it, or it is over", ErrState)
	}
	if x.Acked == 0 {
		r, err := d.log(ctx, at(v.Who, x.Who.Brand), x.Ticket, entry.ChangeAcknowledged{ChangeFacts: entry.ChangeFacts{Change: x.ID, Act: x.Act}})
		if err != nil {
			return nil, err
		}
		x.Acked, x.AckedIn = c.Principal, r.Entry()
		if err := d.move(revision.Unbound(ctx), d.DB, x, Asked); err != nil {
			return nil, err
		}
	}
	return d.shown(revision.Unbound(ctx), x, false)
}
