package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/access"
	"github.com/cloakroom/cloakroom/internal/admit"
	"github.com/cloakroom/cloakroom/internal/brands"
	"github.com/cloakroom/cloakroom/internal/contain"
	"github.com/cloakroom/cloakroom/internal/db"
	"github.com/cloakroom/cloakroom/internal/detect"
	"github.com/cloakroom/cloakroom/internal/entry"
	"github.com/cloakroom/cloakroom/internal/identity"
	"github.com/cloakroom/cloakroom/internal/ledger"
	"github.com/cloakroom/cloakroom/internal/record"
	"github.com/cloakroom/cloakroom/internal/revision"
)

// changeUndo is the change of the log's entry that lets something go on.
const changeUndo = "undo"

// maxContainments bounds one listing.
const maxContainments = 1000

// Contain stops a lineage, a principal, a role, a brand, or a brand's exports: at the
// brand that it is asked of, and asked of the group at every brand. When it returns, no
// server logs a disclosure there any more to what is contained, whatever was under way.
// The log has what was stopped before it is, and afterwards how long it took. Where it did
// not end well, the error is a *contain.OutcomeError, which says what holds.
func (d *Desk) Contain(ctx context.Context, c identity.Caller, brand string, req api.ContainRequest) (*api.Containment, error) {
	if !entry.ValidTicket(req.Ticket) {
		return nil, admit.ErrTicket
	}
	began := time.Now() // not the database's clock, which may be set back meanwhile
	v, err := d.visit(ctx, c, brand, access.ActContain)
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
	out := &api.Containment{Kind: string(now.Kind), Target: now.Target, Role: now.Role, Elsewhere: now.elsewhere}
	if same, there, err := d.Door.Contained.Same(ctx, now.Containment); err != nil {
		return nil, err
	} else if there {
		return d.holds(ctx, now, same, req.DryRun, out)
	}
	undoers, err := d.undoers(ctx, v)
	if err == nil {
		err = d.Door.Contained.Refuse(ctx, now.Containment, undoers)
	}
	if errors.Is(err, contain.ErrLast) {
		v.Refuse(ctx, "nobody-left-to-undo")
	}
	if err != nil {
		return nil, err
	}
	if req.DryRun {
		return out, d.stops(ctx, now, out)
	}
	detail := map[string]string{"change": "contain", "kind": string(now.Kind)}
	if now.Target != 0 {
		detail["target"] = strconv.FormatUint(now.Target, 10)
	}
	if now.Role != "" {
		detail["role"] = now.Role
	}
	if req.Alarm != "" {
		detail["alarm"] = alarm.ID()
	}
	begun := false
	err = d.step(ctx, v, req.Ticket, detail, func(q db.Queryer, at time.Time) (err error) {
		c := now.Containment
		c.At = at
		now.Containment, begun, err = d.Door.Contained.Begin(ctx, q, c, v.Who, undoers)
		return err
	})
	if err == nil {
		err = d.pass(ctx, v.Brand.ID, now.ID)
	}
	if err != nil {
		return nil, err
	}
	if begun {
		out.TookMillis = max(1, time.Since(began).Milliseconds())
		err = d.took(ctx, v, req, now.ID, out.TookMillis, alarm)
	}
	if err == nil {
		err = d.stops(ctx, now, out) // last: a thief is not to wait for a list
	}
	if err != nil {
		return nil, &contain.OutcomeError{ID: now.ID, Err: err}
	}
	return d.shown(ctx, now.Containment, out), nil
}

// alarm finds the alarm that a containment answers, where it answers one.
func (d *Desk) alarm(ctx context.Context, v *admit.Visit, id string) (a detect.Stored, err error) {
	if id == "" {
		return a, nil
	}
	p, err := detect.ParseID(id)
	if err != nil {
		return a, err
	}
	return d.Alarms.Get(ctx, v.Brand.ID, p)
}

// took logs that something is stopped, and how long it took.
func (d *Desk) took(ctx context.Context, v *admit.Visit, req api.ContainRequest, id, millis int64, alarm detect.Stored) error {
	done := map[string]string{"change": "contained", "id": strconv.FormatInt(id, 10), "took-ms": strconv.FormatInt(millis, 10)}
	if req.Alarm != "" {
		now, err := d.DB.Now(ctx)
		if err != nil {
			return err
		}
		if since := now.Sub(alarm.At); since >= 0 { // the clock may have been set back
			done["since-alarm-ms"] = strconv.FormatInt(since.Milliseconds(), 10)
		}
	}
	_, err := d.Ledger.Record(revision.Unbound(ctx), ledger.Event{Kind: entry.KindContainment, Who: v.Who, Ticket: req.Ticket, Detail: done})
	return err
}

// holds answers with a containment of the same that is there already. Whoever asks again
// may have been told that the first try did not wait, and so this waits.
func (d *Desk) holds(ctx context.Context, a aim, same contain.Containment, dry bool, out *api.Containment) (*api.Containment, error) {
	if !dry {
		if err := d.pass(ctx, same.Brand, same.ID); err != nil {
			return nil, err
		}
	}
	if err := d.stops(ctx, a, out); err != nil {
		return nil, &contain.OutcomeError{ID: same.ID, Err: err}
	}
	return d.shown(ctx, same, out), nil
}

// step logs a step of a containment's life, and makes it. An error that is no refusal is a
// *contain.OutcomeError.
func (d *Desk) step(ctx context.Context, v *admit.Visit, ticket string, detail map[string]string, fn func(q db.Queryer, at time.Time) error) error {
	undone := detail["change"] == changeUndo

	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindContainment, Who: v.Who, Ticket: ticket, Detail: detail})
	if errors.Is(err, revision.ErrMoved) { // it is decided anew
		return err
	}
	if err != nil { // it may be in the log: that alone stops nobody
		return &contain.OutcomeError{Undone: undone, Err: fmt.Errorf("logging it: %v", err)}
	}
	err = d.DB.Tx(ctx, func(q db.Queryer) error { return fn(q, r.At()) })
	if err != nil && !contain.IsRefusal(err) {
		err = &contain.OutcomeError{Undone: undone, Err: err}
	}
	return err
}

// passWait bounds how long containing waits for one log, and passAll for all of them: the
// answer must come while somebody waits for it.
const (
	passWait = 5 * time.Second
	passAll  = 15 * time.Second
)

// pass waits for what is under way in the log of a brand, and for the group's in every
// log. One that cannot be passed holds up no other.
func (d *Desk) pass(ctx context.Context, brand record.BrandID, id int64) error {
	failed := &contain.OutcomeError{ID: id}
	b, err := d.Door.Brands.Get(ctx, brand)
	all := []brands.Brand{b}
	if err == nil && brand == record.Group {
		var more []brands.Brand
		more, err = d.Door.Brands.List(ctx)
		all = append(all, more...)
	}
	if err != nil {
		failed.Err, failed.Logs = err, []string{"every brand"}
		return failed
	}
	wait := passWait
	if d.PassWait > 0 {
		wait = d.PassWait
	}
	ctx, cancel := context.WithTimeout(ctx, passAll)
	defer cancel()
	for _, b := range all {
		one, cancel := context.WithTimeout(ctx, wait)
		err := d.Ledger.Fence(one, b.ID)
		cancel()
		if err != nil {
			failed.Err, failed.Logs = err, append(failed.Logs, b.Name)
		}
	}
	if failed.Err != nil {
		return failed
	}
	return nil
}

// aim is what a request means to stop.
type aim struct {
	contain.Containment
	person    uint64 // whose lineage it is, or who
	elsewhere bool   // they have a role at another brand, too
}

// target says what a request means, and refuses that somebody stops themselves: a slip
// of the hand would take the one who was to help.
func (d *Desk) target(ctx context.Context, v *admit.Visit, req api.ContainRequest) (a aim, err error) {
	a.Brand = v.Brand.ID
	n := 0
	if req.Credential != 0 {
		n++
		a.Kind = contain.Lineage
		a.Target, a.person, err = d.Door.Identity.Lineage(ctx, req.Credential)
	}
	if req.Principal != "" {
		n++
		var p identity.Principal
		p, err = d.Door.Identity.ByName(ctx, req.Principal)
		a.Kind, a.Target, a.person = contain.Principal, p.ID, p.ID
	}
	if req.Role != "" {
		n++
		a.Kind, a.Role = contain.Role, req.Role
		err = knownRole(req.Role)
	}
	if req.Brand {
		n++
		a.Kind = contain.Brand
	}
	if req.AllExports {
		n++
		a.Kind = contain.Exports
	}
	switch {
	case n != 1:
		return a, fmt.Errorf("%w: name one of credential, principal, role, brand, all_exports", ErrRequest)
	case a.Kind != contain.Lineage && a.Kind != contain.Principal:
		return a, err
	case a.Kind == contain.Lineage && a.Target == v.Who.Lineage, a.Kind == contain.Principal && a.Target == v.Who.Principal:
		return a, fmt.Errorf("%w: that is you: let somebody else contain it", ErrRequest)
	}
	if err = d.reach(ctx, v, &a, err); err != nil {
		return a, err
	}
	local, err := d.Door.Identity.EnsureLocal(ctx, access.Administrator)
	if err != nil {
		return a, err
	}
	if a.Kind == contain.Principal && a.Target == local.Principal || a.Kind == contain.Lineage && a.Target == local.Lineage {
		return a, fmt.Errorf("%w: whoever owns the machine cannot be contained from outside", ErrRequest)
	}
	return a, nil
}

// undoers returns who may contain at the visit's brand, and so undo, with a credential
// that can be used. The local administrator is not among them.
func (d *Desk) undoers(ctx context.Context, v *admit.Visit) (out []contain.Undoer, err error) {
	local, err := d.Door.Identity.EnsureLocal(ctx, access.Administrator)
	if err != nil {
		return nil, err
	}
	err = d.Door.Identity.People(ctx, v.Brand.ID, func(id uint64, role string) error {
		who := identity.Who{Caller: identity.Caller{Principal: id}, Role: role, Brand: v.Brand.ID}
		if _, err := v.Policy.Authorize(who, access.ActContain, "", 0); err == nil && id != local.Principal {
			out = append(out, contain.Undoer{Principal: id})
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
			if usable(&c, now) {
				out[i].Lineages = append(out[i].Lineages, c.Lineage)
			}
		}
	}
	return out, nil
}

func usable(c *identity.Credential, now time.Time) bool {
	return c.Revoked.IsZero() && (c.Expires.IsZero() || c.Expires.After(now))
}

// reach refuses what is not the visit's brand to stop, in the words in which it refuses
// what there is not: found is the error of looking for it. The group may stop anybody.
func (d *Desk) reach(ctx context.Context, v *admit.Visit, a *aim, found error) error {
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
		return contain.ErrReach
	}
	return nil
}

// stopped reports whether a caller is stopped by the group, or wherever they have a role.
func (d *Desk) stopped(ctx context.Context, who identity.Who) (bool, error) {
	stop, err := d.Door.Contained.Of(ctx, who)
	if err != nil || stop.All {
		return true, err
	}
	roles, err := d.Door.Identity.Roles(ctx, who.Principal)
	if err != nil {
		return true, err
	}
	for _, r := range roles {
		who.Brand, who.Role = r.Brand, r.Role
		if stop, err = d.Door.Contained.Of(ctx, who); err != nil || !stop.All {
			return stop.All, err
		}
	}
	return len(roles) > 0, nil
}

// stops says whom a containment of people or credentials stops.
func (d *Desk) stops(ctx context.Context, a aim, out *api.Containment) error {
	c := a.Containment
	if c.Kind == contain.Brand || c.Kind == contain.Exports {
		return nil
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	if c.Kind == contain.Role {
		return d.stopsRole(ctx, c, now, out)
	}
	p, err := d.Door.Identity.Get(ctx, a.person)
	if err != nil {
		return err
	}
	return d.stopsPerson(ctx, c, p, now, out)
}

func (d *Desk) stopsRole(ctx context.Context, c contain.Containment, now time.Time, out *api.Containment) error {
	for after := uint64(0); ; {
		people, err := d.Door.Identity.List(ctx, after, maxPrincipals)
		if err != nil {
			return err
		}
		for _, p := range people {
			after = p.ID
			who, err := d.Door.Identity.Who(ctx, identity.Caller{Principal: p.ID}, c.Brand)
			if errors.Is(err, identity.ErrNoRole) || err == nil && who.Role != c.Role {
				continue
			}
			if err == nil {
				err = d.stopsPerson(ctx, c, p, now, out)
			}
			if err != nil {
				return err
			}
		}
		if len(people) < maxPrincipals {
			return nil
		}
	}
}

func (d *Desk) stopsPerson(ctx context.Context, c contain.Containment, p identity.Principal, now time.Time, out *api.Containment) error {
	creds, err := d.Door.Identity.Credentials(ctx, p.ID)
	if err != nil {
		return err
	}
	for _, cr := range creds {
		if c.Kind == contain.Lineage && cr.Lineage != c.Target {
			continue
		}
		if usable(&cr, now) {
			out.Credentials++
		}
	}
	if len(out.Principals) < maxPrincipals {
		out.Principals = append(out.Principals, p.Name)
	}
	return nil
}

func (d *Desk) shown(ctx context.Context, c contain.Containment, out *api.Containment) *api.Containment {
	name := func(id uint64) string {
		p, err := d.Door.Identity.Get(ctx, id)
		if id == 0 || err != nil {
			return ""
		}
		return p.Name
	}
	out.ID, out.Kind, out.Target, out.Role, out.At, out.By = c.ID, string(c.Kind), c.Target, c.Role, c.At, name(c.By)
	out.Asked, out.AskedBy, out.Ended, out.EndedBy = c.Asked, name(c.AskedBy), c.Ended, name(c.EndedBy)
	return out
}

// Containments returns the newest of a brand.
func (d *Desk) Containments(ctx context.Context, c identity.Caller, brand string) ([]api.Containment, error) {
	v, err := d.visit(ctx, c, brand, access.ActContain)
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

// undoer lets a caller in who may ask for an undoing, or confirm one. Whoever sits at the
// machine may ask, so that somebody always can.
func (d *Desk) undoer(ctx context.Context, c identity.Caller, brand string, confirm bool) (*admit.Visit, error) {
	local, err := d.Door.Identity.EnsureLocal(ctx, access.Administrator)
	if err != nil {
		return nil, err
	}
	if !confirm && c == local {
		return d.Door.Enter(ctx, c, brand)
	}
	return d.visit(ctx, c, brand, access.ActContain)
}

// people checks that a caller may undo, and to confirm, that whoever asked still may.
func (d *Desk) people(ctx context.Context, v *admit.Visit, x *contain.Containment, confirm bool, now time.Time) error {
	local, err := d.Door.Identity.EnsureLocal(ctx, access.Administrator)
	if err != nil {
		return err
	}
	undoers, err := d.undoers(ctx, v)
	if err != nil {
		return err
	}
	may := func(principal, lineage uint64) error {
		if lineage == local.Lineage { // it may ask; see undoer
			return nil
		}
		p, err := d.Door.Identity.Get(ctx, principal)
		if err != nil {
			return err
		}
		return x.MayUndo(undoers, principal, lineage, p.Created, now)
	}
	if err = may(v.Who.Principal, v.Who.Lineage); err != nil {
		v.Refuse(ctx, "may-not-undo")
		return err
	}
	if confirm && !x.Asked.IsZero() {
		if err = may(x.AskedBy, x.AskedIn); errors.Is(err, contain.ErrUndoer) {
			err = contain.ErrAsker
		}
	}
	return err
}

// UndoContainment asks that something goes on again, or with confirm lets it: that takes
// another principal, by another lineage, within [contain.UndoWithin].
func (d *Desk) UndoContainment(ctx context.Context, c identity.Caller, brand string, id int64, confirm bool) (*api.Containment, error) {
	v, err := d.undoer(ctx, c, brand, confirm)
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
	if err := d.people(ctx, v, &x, confirm, now); err != nil {
		return nil, err
	}
	detail := map[string]string{"change": "undo-ask", "id": strconv.FormatInt(id, 10)}
	change := d.Door.Contained.Ask
	switch {
	case !x.Ended.IsZero():
		return nil, fmt.Errorf("%w: it was undone already", contain.ErrState)
	case confirm && (x.Asked.IsZero() || now.Sub(x.Asked) > contain.UndoWithin):
		return nil, fmt.Errorf("%w: nobody asked for it within %s: `cloakroom contain undo`", contain.ErrState, contain.UndoWithin)
	case confirm && (x.AskedBy == v.Who.Principal || x.AskedIn == v.Who.Lineage):
		v.Refuse(ctx, "undo-alone")
		return nil, fmt.Errorf("%w: another person has to confirm what you asked for", contain.ErrState)
	case confirm:
		detail["change"] = changeUndo
		change = d.Door.Contained.End
	}
	var done contain.Containment
	err = d.step(ctx, v, "", detail, func(q db.Queryer, at time.Time) (err error) {
		done, err = change(ctx, q, x, v.Who, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d.shown(ctx, done, &api.Containment{}), nil
}
