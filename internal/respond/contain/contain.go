// Package contain stops people, credentials, brands and files, and lets them resume. It is
// what a responder does first, and what a rule of detection does by itself.
//
// A containment goes the way of every change (package change), and one step further: its
// entry, the containment, the wait until no log can still take an entry of the target, and
// an entry that says how long that took. Lifting a containment takes two people, or its maker
// alone within 30 minutes.
package contain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/export"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
)

// ErrRequest is joined to errors that the request itself is to blame for.
var ErrRequest = fault.New(fault.Invalid, "invalid request")

// Desk contains.
type Desk struct {
	DB      *db.DB
	Door    *door.Door
	Ledger  *ledger.Ledger
	Changes *change.Maker
	Alarms  *alarm.Store
	// Second says who may confirm what another asked for.
	Second *change.Desk
	// Exports tells which end when something is contained.
	Exports *export.Store
	// PassWait bounds how long containing waits for one log. 0 means passWait.
	PassWait time.Duration
}

const (
	// maxContainments bounds one listing.
	maxContainments = 1000
	// A containment that ends by itself does so after leastFor to mostFor.
	leastFor, mostFor = time.Minute, 90 * 24 * time.Hour
	// maxNames bounds the names in the answer to one containment.
	maxNames = 1000
)

// Contain stops a lineage, a principal, a role, a brand, or a brand's exports: at that
// brand, or for the group at every brand. Once it returns, no server will log a disclosure to
// the target, not even for a request already in flight. The target is logged before it is
// stopped, and the duration afterwards. Where containing did not end well, the error is a
// *containment.OutcomeError, which says what is in force.
func (d *Desk) Contain(ctx context.Context, c identity.Caller, brand string, req api.ContainRequest) (*api.Containment, error) {
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	began := time.Now() // not the database's clock, which may be set back meanwhile
	v, err := d.Door.Admit(ctx, c, brand, access.ActContain)
	if err == nil && !req.DryRun {
		err = d.Door.Present(ctx, c, "contain", brand, req)
	}
	if err != nil {
		return nil, err
	}
	now, err := d.target(ctx, v, req)
	if err != nil {
		return nil, err
	}
	alarm, err := d.alarm(ctx, v, req.Alarm)
	if err != nil {
		return nil, err
	}
	now.By = v.Who.Principal
	out := &api.Containment{Kind: string(now.Kind), Target: now.Target, Role: now.Role, Keep: string(now.Keep), Elsewhere: now.elsewhere}
	at, err := d.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	if now.Until, err = until(at, req.ForSeconds); err != nil {
		return nil, err
	}
	if same, there, err := d.Door.Contained.Same(ctx, now.Containment, at); err != nil {
		return nil, err
	} else if there {
		return d.existing(ctx, now, same, req.DryRun, out)
	}
	undoers, err := d.undoers(ctx, v.Brand.ID, v.Policy)
	if err == nil {
		err = d.Door.Contained.Refuse(ctx, now.Containment, undoers)
	}
	if errors.Is(err, containment.ErrLast) {
		v.Refuse(ctx, "nobody-left-to-undo")
	}
	if err != nil {
		return nil, err
	}
	if req.DryRun {
		return out, d.impact(ctx, now.Containment, out)
	}
	if req.Alarm != "" {
		now.Alarm = alarm.ID()
	}
	now.Containment, out.TookMillis, err = d.begin(ctx, now.Containment, order{who: v.Who, ticket: req.Ticket, undoers: undoers, alarm: alarm, since: began})
	if err != nil {
		return nil, err
	}
	if err = d.impact(ctx, now.Containment, out); err != nil { // last: stopping a thief must not wait for a list
		return nil, &containment.OutcomeError{ID: now.ID, Err: err}
	}
	return d.shown(ctx, now.Containment, out), nil
}

// until returns when a containment ends by itself that is to last so many seconds from a
// time on; zero for none.
func until(now time.Time, seconds int64) (time.Time, error) {
	if seconds == 0 {
		return time.Time{}, nil
	}
	if seconds < int64(leastFor/time.Second) || seconds > int64(mostFor/time.Second) {
		return time.Time{}, fmt.Errorf("%w: a containment lasts from a minute to 90 days, or until it is undone", ErrRequest)
	}
	// In whole seconds, as in the log, and no shorter than was asked.
	return now.Add(time.Duration(seconds)*time.Second + time.Second - 1).Truncate(time.Second), nil
}

// order is who contains, and why.
type order struct {
	who     identity.Who
	by      string // a rule; empty: who
	ticket  string
	undoers []containment.Undoer
	alarm   alarm.Stored
	since   time.Time // when it was ordered, by this machine's clock
}

// begin logs a containment, makes it, waits for the requests in flight, and logs how long
// all that took. Of two that begin the same one, only the first logs how long.
func (d *Desk) begin(ctx context.Context, c containment.Containment, o order) (_ containment.Containment, millis int64, err error) {
	detail := entry.ContainmentBegun{Kind: string(c.Kind), Target: c.Target, Role: c.Role, Keep: string(c.Keep), Alarm: c.Alarm, By: o.by, Until: entry.Moment(c.Until)}
	begun := false
	stop := stopOf(c)
	if active, aerr := d.Door.Contained.Active(ctx, c.Brand); aerr == nil { // else the new one alone
		stop = stopAll(c, active)
	}
	d.Changes.Stop(ctx, o.who, o.ticket, c.Brand, stop)
	asked := c
	settle := func() { // what is not made stops nobody: the logs obey what is in force without it
		if active, serr := d.Door.Contained.Active(ctx, asked.Brand); serr == nil {
			d.Changes.Stop(ctx, o.who, o.ticket, asked.Brand, stopAfter(asked, active))
		}
	}
	defer func() {
		if containment.IsRefusal(err) {
			settle()
		}
	}()
	err = d.step(ctx, o.who, o.ticket, detail, func(q db.Queryer, at time.Time) (err error) {
		next := c
		next.At = at
		c, begun, err = d.Door.Contained.Begin(ctx, q, next, o.who, o.undoers)
		return err
	})
	if err == nil && !begun && !c.Until.Equal(stop.Until) { // another one serves, with its own stop
		settle()
	}
	if err == nil {
		err = d.pass(ctx, o.who.Brand, c.ID)
	}
	if err != nil || !begun {
		return c, 0, err
	}
	millis = max(1, time.Since(o.since).Milliseconds())
	if err = d.took(ctx, o, c, millis); err != nil {
		err = &containment.OutcomeError{ID: c.ID, Err: err}
	}
	return c, millis, err
}

// stopAll is what the logs obey of a containment beside those in force: one that keeps more
// does not weaken another of the same target and end.
func stopAll(c containment.Containment, active []containment.Containment) ledger.Stop {
	for _, o := range active {
		if o.SameTarget(c) && o.Until.Equal(c.Until) && slices.Index(containment.Keeps(), o.Keep) > slices.Index(containment.Keeps(), c.Keep) {
			c = o
		}
	}
	return stopOf(c)
}

// stopOf is what the logs obey of a containment.
func stopOf(c containment.Containment) ledger.Stop {
	s := ledger.Stop{Cause: "contained", Kind: string(c.Kind), Target: c.Target, Role: c.Role, Keep: string(c.Keep), Until: c.Until}
	if c.Brand == record.Group {
		s.Cause = "contained-group"
	}
	return s
}

// alarm returns the alarm that the containment responds to, if any.
func (d *Desk) alarm(ctx context.Context, v *door.Visit, id string) (a alarm.Stored, err error) {
	if id == "" {
		return a, nil
	}
	p, err := alarm.ParseID(id)
	if err != nil {
		return a, err
	}
	return d.Alarms.Get(ctx, v.Brand.ID, p)
}

// took logs that the target is stopped, and how long that took.
func (d *Desk) took(ctx context.Context, o order, c containment.Containment, millis int64) error {
	done := entry.Contained{ID: c.ID, Took: time.Duration(millis) * time.Millisecond, Until: entry.Moment(c.Until)}
	if !o.alarm.At.IsZero() {
		now, err := d.DB.Now(ctx)
		if err != nil {
			return err
		}
		if since := now.Sub(o.alarm.At); since >= 0 { // the clock may have been set back
			done.Since = since
		}
	}
	_, err := d.Ledger.Record(revision.Unbound(ctx), ledger.Event{Kind: entry.KindContainment, Who: o.who, Ticket: o.ticket, Detail: done})
	return err
}

// existing answers with a containment that is already in force and does the same. It waits for
// requests in flight, because the first try may have failed to.
func (d *Desk) existing(ctx context.Context, a aim, same containment.Containment, dry bool, out *api.Containment) (*api.Containment, error) {
	if !dry {
		if err := d.pass(ctx, same.Brand, same.ID); err != nil {
			return nil, err
		}
	}
	if err := d.impact(ctx, a.Containment, out); err != nil {
		return nil, &containment.OutcomeError{ID: same.ID, Err: err}
	}
	return d.shown(ctx, same, out), nil
}

// step logs a change of a containment, then makes it. An error that is no refusal is a
// *containment.OutcomeError.
func (d *Desk) step(ctx context.Context, who identity.Who, ticket string, detail entry.Detail, fn func(q db.Queryer, at time.Time) error) error {
	_, undone := detail.(entry.ContainmentUndone)
	_, begins := detail.(entry.ContainmentBegun)
	_, err := d.Changes.Make(ctx, ledger.Event{Kind: entry.KindContainment, Who: who, Ticket: ticket, Detail: detail}, fn)
	var unlogged *change.LogError
	switch {
	case err == nil, errors.Is(err, revision.ErrMoved): // the request is decided again
		return err
	case errors.As(err, &unlogged):
		return &containment.OutcomeError{Undone: undone, Stopped: begins, Err: fmt.Errorf("logging it: %w", err)}
	case !containment.IsRefusal(err):
		return &containment.OutcomeError{Undone: undone, Stopped: begins, Err: err}
	}
	return err
}

// passWait bounds how long containing waits for one log, and passAll for all of them: the
// answer must come while somebody waits for it.
const (
	passWait = 5 * time.Second
	passAll  = 15 * time.Second
)

// pass waits for the requests in flight in the brand's log, and for the group in every log.
func (d *Desk) pass(ctx context.Context, brand record.BrandID, id int64) error {
	wait := passWait
	if d.PassWait > 0 {
		wait = d.PassWait
	}
	ctx, cancel := context.WithTimeout(ctx, passAll)
	defer cancel()
	err := d.Changes.Pass(ctx, brand, wait)
	var failed *change.PassError
	if errors.As(err, &failed) {
		return &containment.OutcomeError{ID: id, Logs: failed.Logs, Err: failed.Err}
	}
	return err
}

func (d *Desk) shown(ctx context.Context, c containment.Containment, out *api.Containment) *api.Containment {
	name := func(id uint64) string {
		p, err := d.Door.Identity.Get(ctx, id)
		if id == 0 || err != nil {
			return ""
		}
		return p.Name
	}
	out.ID, out.Kind, out.Target, out.Role, out.At, out.By = c.ID, string(c.Kind), c.Target, c.Role, c.At, name(c.By)
	out.Keep, out.Alarm = string(c.Keep), c.Alarm
	if c.By == 0 {
		_, rule, _ := strings.Cut(c.Alarm, "-")
		out.By = "rule " + rule
	}
	out.Until = c.Until
	if now, err := d.DB.Estimate(ctx); err == nil && c.Ended.IsZero() && c.Over(now) {
		c.Ended = c.Until
	}
	out.Asked, out.AskedBy, out.Ended, out.EndedBy = c.Asked, name(c.AskedBy), c.Ended, name(c.EndedBy)
	return out
}

// Containments returns the newest of a brand.
func (d *Desk) Containments(ctx context.Context, c identity.Caller, brand string) ([]api.Containment, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActContain)
	if err != nil {
		return nil, err
	}
	list, err := d.Door.Contained.List(ctx, v.Brand.ID, maxContainments)
	if err != nil {
		return nil, err
	}
	out := []api.Containment{}
	for i := range list {
		out = append(out, *d.shown(ctx, list[i], &api.Containment{}))
	}
	return out, nil
}

// Containment returns one, with whom it stops.
func (d *Desk) Containment(ctx context.Context, c identity.Caller, brand string, id int64) (*api.Containment, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActContain)
	if err != nil {
		return nil, err
	}
	x, err := d.Door.Contained.Get(ctx, v.Brand.ID, id)
	if err != nil {
		return nil, err
	}
	out := d.shown(ctx, x, &api.Containment{})
	if !out.Ended.IsZero() {
		return out, nil
	}
	return out, d.impact(ctx, x, out)
}
