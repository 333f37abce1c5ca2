package contain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// undoer authorises a caller to request or confirm an undo. The local administrator may
// request one, so that somebody always can.
func (d *Desk) undoer(ctx context.Context, c identity.Caller, brand string, confirm bool) (*door.Visit, error) {
	local, err := d.Door.Identity.EnsureLocal(ctx, access.Administrator)
	if err != nil {
		return nil, err
	}
	if !confirm && c == local {
		return d.Door.Enter(ctx, c, brand)
	}
	return d.Door.Admit(ctx, c, brand, access.ActContain)
}

// people checks that the caller may undo, and for a confirmation, that the requester still
// may. Alone is whether the caller may undo without another person.
func (d *Desk) people(ctx context.Context, v *door.Visit, x *containment.Containment, confirm bool, now time.Time) (alone bool, err error) {
	local, err := d.Door.Identity.EnsureLocal(ctx, access.Administrator)
	if err != nil {
		return false, err
	}
	undoers, err := d.undoers(ctx, v.Brand.ID, v.Policy)
	if err != nil {
		return false, err
	}
	may := func(principal, lineage uint64) (alone bool, err error) {
		if lineage == local.Lineage { // may request; see undoer
			return false, nil
		}
		p, err := d.Door.Identity.Get(ctx, principal)
		if err != nil {
			return false, err
		}
		return x.MayUndoAlone(undoers, principal, lineage, p.Created, now), x.MayUndo(undoers, principal, lineage, p.Created, now)
	}
	if alone, err = may(v.Who.Principal, v.Who.Lineage); err != nil {
		v.Refuse(ctx, "may-not-undo")
		return false, err
	}
	if confirm && !x.Asked.IsZero() && x.AskedBy != v.Who.Principal && x.AskedIn != v.Who.Lineage {
		if err = d.Second.Second(ctx, v, x.AskedBy, x.AskedIn, x.Asked); err != nil {
			return false, err
		}
		if _, err = may(x.AskedBy, x.AskedIn); errors.Is(err, containment.ErrUndoer) {
			err = containment.ErrAsker
		}
	}
	return alone && !confirm, err
}

// UndoContainment undoes a containment that the caller made within the last
// [containment.AloneWithin], and requests the undo of any other. With confirm, it confirms a
// request: by another principal with another lineage, within [containment.UndoWithin].
func (d *Desk) UndoContainment(ctx context.Context, c identity.Caller, brand string, id int64, confirm bool) (*api.Containment, error) {
	v, err := d.undoer(ctx, c, brand, confirm)
	if err == nil {
		err = d.Door.Present(ctx, c, "contain-undo", brand, strconv.FormatInt(id, 10), strconv.FormatBool(confirm))
	}
	if err != nil {
		return nil, err
	}
	x, err := d.Door.Contained.Get(ctx, v.Brand.ID, id)
	if err != nil {
		return nil, err
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	alone, err := d.people(ctx, v, &x, confirm, now)
	if err != nil {
		return nil, err
	}
	var detail entry.Detail = entry.UndoAsked{ID: id}
	switch {
	case !x.Ended.IsZero(), x.Over(now):
		return nil, fmt.Errorf("%w: already ended", containment.ErrState)
	case confirm && (x.Asked.IsZero() || now.Sub(x.Asked) > containment.UndoWithin):
		return nil, fmt.Errorf("%w: no undo request in the last %d hours; request one with `cloakroom contain undo`", containment.ErrState, containment.UndoWithin/time.Hour)
	case confirm && (x.AskedBy == v.Who.Principal || x.AskedIn == v.Who.Lineage):
		v.Refuse(ctx, "undo-alone")
		return nil, fmt.Errorf("%w: you requested this undo; a second responder must confirm it", containment.ErrState)
	case confirm, alone:
		detail = entry.ContainmentUndone{ID: id, Alone: alone}
	}
	var done containment.Containment
	var rest []containment.Containment
	err = d.step(ctx, v.Who, "", detail, func(q db.Queryer, at time.Time) (err error) {
		if confirm || alone {
			done, rest, err = d.Door.Contained.End(ctx, q, x, v.Who, alone, at)
		} else {
			done, err = d.Door.Contained.Ask(ctx, q, x, v.Who, at)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if confirm || alone {
		d.Changes.Stop(ctx, v.Who, "", x.Brand, stopAfter(x, rest))
	}
	return d.shown(ctx, done, &api.Containment{}), nil
}

// stopAfter is what the logs obey without a containment: the end of its stop, or what others
// of the same target and end still stop.
func stopAfter(x containment.Containment, rest []containment.Containment) ledger.Stop {
	i := slices.IndexFunc(rest, func(o containment.Containment) bool { return x.SameTarget(o) && o.Until.Equal(x.Until) })
	if i < 0 { // each end is a stop of its own
		stop := stopOf(x)
		stop.Over = true
		return stop
	}
	return stopAll(rest[i], rest)
}
