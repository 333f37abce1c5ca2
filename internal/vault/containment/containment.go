// Package containment stores containments of lineages, principals, roles, brands and exports.
// The door of a brand reads them; the callers of this package decide who may contain and undo.
//
// A containment removes no right, so an undo restores everything. It is in force from the
// revision it starts: a request decided before that revision logs nothing after it.
package containment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

var (
	// ErrContained is returned to a contained caller, and for a contained target. Where the
	// brand is known, [Refused] says more.
	ErrContained = fault.Typed(fault.Denied, api.TypeContained, "access suspended by security: contact your security team")
	// ErrNone is returned for an unknown containment.
	ErrNone = fault.New(fault.NotFound, "no such containment: `cloakroom contain list` shows all")
	// ErrState is returned for an undo request or confirmation that does not fit the
	// containment's state.
	ErrState = fault.New(fault.Conflict, "this containment cannot be undone now")
	// ErrReach covers both targets outside the brand and unknown ones, so that it reveals
	// nothing about other brands.
	ErrReach = fault.New(fault.NotFound, "no such principal or credential at this brand: for group staff use --brand group")
	// ErrLast is returned for a containment after which nobody else could undo one.
	ErrLast = fault.New(fault.Conflict, "after this, you would be the only person able to undo containments here. Give another person a role that contains (`cloakroom principal role`), have the group contain it, or have an administrator revoke the key: `cloakroom principal revoke LINEAGE`")
	// ErrUndoer is returned to a caller who may contain but not undo.
	ErrUndoer = fault.New(fault.Denied, "undoing needs two people, each registered before the containment or at least a day ago: services cannot undo")
	// ErrAsker is returned where the person who requested an undo may no longer undo.
	ErrAsker = fault.New(fault.Conflict, "the person who requested this undo is contained or may no longer contain: request the undo again with `cloakroom contain undo`")
	// ErrMost is returned once [Most] containments are in force.
	ErrMost = fault.Newf(fault.Conflict, "%d containments are in force, which is the limit: contain a role or a brand instead", Most)
)

// Most bounds the containments that hold at one time.
const Most = 10_000

// UndoWithin is how long an undo request can be confirmed. It is also the minimum age of a
// principal who requests or confirms an undo and was registered after the containment.
const UndoWithin = 24 * time.Hour

// AloneWithin is how long the person who made a containment may undo it alone.
const AloneWithin = 30 * time.Minute

// Kind is the kind of target.
type Kind string

// The kinds. Each holds at the brand whose containment it is, and the group's at every
// brand. The first two stop everything; a role and a brand stop clear fields, searches
// and files, and more by what they keep.
const (
	Lineage   Kind = "lineage"   // a credential, all made through it, its exports
	Principal Kind = "principal" // all credentials of one
	Role      Kind = "role"      // everybody of a role
	Brand     Kind = "brand"     // everybody
	Exports   Kind = "exports"   // files alone
)

// Keep is what stays allowed where a role or a brand is contained. Responders can contain,
// undo, audit and view alarms in any case.
type Keep string

// The values of Keep. Each keeps less than the one before it.
const (
	KeepMasked  Keep = "masked"  // masked views, tokens and writes: the shops go on selling
	KeepTokens  Keep = "tokens"  // tokens and writes
	KeepNothing Keep = "nothing" // neither
)

// Keeps returns them.
func Keeps() []Keep { return []Keep{KeepMasked, KeepTokens, KeepNothing} }

// Containment is one.
type Containment struct {
	ID     int64
	Brand  record.BrandID // whose log has it and where it holds: the group's everywhere
	Kind   Kind
	Target uint64 // the lineage or principal
	Role   string
	Keep   Keep   // of a role or brand
	Alarm  string // that it answers, of the brand; empty: none
	At     time.Time
	By     uint64 // the principal who contained; 0: a rule, for the alarm
	// Until is when it ends by itself, in whole seconds; zero: when it is undone.
	Until   time.Time
	Asked   time.Time
	AskedBy uint64
	AskedIn uint64 // the lineage that asked
	Ended   time.Time
	EndedBy uint64
}

// Stop says what is stopped for somebody.
type Stop struct {
	All    bool // whatever they do
	Clear  bool // clear fields, searches, files
	Files  bool // files
	Masked bool // masked views
	Writes bool // writes and erasures
}

func (s *Stop) keep(k Keep) {
	s.Clear = true
	s.Masked = s.Masked || k == KeepTokens || k == KeepNothing
	s.Writes = s.Writes || k == KeepNothing
}

// Store reads and writes containments.
type Store struct {
	// Rights is what rows are held against; nil for nothing, as in a test of this package.
	Rights rights.Log

	db     *db.DB
	active revision.Cache[record.BrandID, []Containment] // of that brand's log alone
}

// New returns the store of a database.
func New(d *db.DB) *Store { return &Store{db: d} }

const (
	columns = `id, brand, kind, target, role, keep, alarm, at, made_by, asked, asked_by, asked_in, ended, ended_by, until`

	sqlNext     = `SELECT coalesce(max(id), 0) + 1 FROM containments`
	sqlInsert   = `INSERT INTO containments (id, brand, kind, target, role, keep, alarm, at, made_by, asked, asked_by, asked_in, ended, ended_by, until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, 0, 0, 0, $10)`
	sqlSince    = `SELECT coalesce(max(id), 0) FROM containments WHERE brand IN ($1, 0) AND kind = 'lineage' AND target = $2 AND at >= $3 AND until = 0 AND (made_by = 0 OR ended = 0 AND at <= $4 OR ended > 0 AND asked_by <> ended_by)`
	sqlActiveOf = `SELECT ` + columns + ` FROM containments WHERE brand = $1 AND ended = 0 ORDER BY id LIMIT 10001`
	sqlActive   = `SELECT ` + columns + ` FROM containments WHERE ended = 0 ORDER BY id LIMIT 10000`
	sqlGet      = `SELECT ` + columns + ` FROM containments WHERE brand = $1 AND id = $2`
	sqlList     = `SELECT ` + columns + ` FROM containments WHERE brand = $1 ORDER BY id DESC LIMIT $2`
	sqlAsk      = `UPDATE containments SET asked = $3, asked_by = $4, asked_in = $5 WHERE brand = $1 AND id = $2 AND ended = 0`
	sqlEnd      = `UPDATE containments SET ended = $3, ended_by = $4 WHERE brand = $1 AND id = $2 AND ended = 0 AND asked = $5 AND asked_by <> $4`
	sqlEndAlone = `UPDATE containments SET ended = $3, ended_by = $4, asked = $3, asked_by = $4, asked_in = $5 WHERE brand = $1 AND id = $2 AND ended = 0 AND made_by = $4 AND at > $6 AND at <= $3`
	sqlDrop     = `DELETE FROM containments WHERE id = $1`
	sqlMend     = `INSERT INTO containments (` + columns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT (id) DO UPDATE SET brand = excluded.brand, kind = excluded.kind, target = excluded.target, role = excluded.role, keep = excluded.keep, alarm = excluded.alarm,
		at = excluded.at, made_by = excluded.made_by, asked = excluded.asked, asked_by = excluded.asked_by, asked_in = excluded.asked_in, ended = excluded.ended,
		ended_by = excluded.ended_by, until = excluded.until`
	sqlExpire = `UPDATE containments SET ended = until WHERE brand = $1 AND id = $2 AND ended = 0`
)

// mendCells is how many cells a row with an end has.
const mendCells = 15

func scan(r db.Row) (c Containment, err error) {
	var brand, target, at, by, asked, askedBy, askedIn, ended, endedBy, until int64
	err = r.Scan(&c.ID, &brand, (*string)(&c.Kind), &target, &c.Role, (*string)(&c.Keep), &c.Alarm, &at, &by, &asked, &askedBy, &askedIn, &ended, &endedBy, &until)
	c.Until = db.Time(until)
	c.Brand, c.Target, c.At, c.By = record.BrandID(brand), uint64(target), db.Time(at), uint64(by)
	c.Asked, c.AskedBy, c.AskedIn, c.Ended, c.EndedBy = db.Time(asked), uint64(askedBy), uint64(askedIn), db.Time(ended), uint64(endedBy)
	return c, err
}

func list(ctx context.Context, q db.Queryer, sql string, args ...any) (out []Containment, err error) {
	err = q.Rows(ctx, func(r db.Row) error {
		c, err := scan(r)
		out = append(out, c)
		return err
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading what is contained: %w", err)
	}
	return out, nil
}

// tableContainments is the table of which a brand's log has the rows in force.
const tableContainments = "containments"

func (c *Containment) row() rights.Row {
	r := rights.Row{Table: tableContainments, Key: rights.Key(c.ID), Gone: !c.Ended.IsZero(), Cells: []any{
		c.ID, int64(c.Brand), string(c.Kind), int64(c.Target), c.Role, string(c.Keep), c.Alarm, db.Micros(c.At), int64(c.By),
		db.Micros(c.Asked), int64(c.AskedBy), int64(c.AskedIn), db.Micros(c.Ended), int64(c.EndedBy)}}
	if !c.Until.IsZero() { // rows from before there were ends have their digests in the log
		r.Cells = append(r.Cells, db.Micros(c.Until))
	}
	return r
}

// Over reports whether a containment has ended by itself.
func (c *Containment) Over(now time.Time) bool { return !c.Until.IsZero() && !now.Before(c.Until) }

// inForce returns those that have not ended by themselves.
func inForce(all []Containment, now time.Time) []Containment {
	if !slices.ContainsFunc(all, func(c Containment) bool { return c.Over(now) }) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(c Containment) bool { return c.Over(now) })
}

// Active returns what holds at a brand: its own, and the group's.
func (s *Store) Active(ctx context.Context, brand record.BrandID) ([]Containment, error) {
	all, err := s.ofLog(ctx, record.Group)
	if err != nil {
		return nil, err
	}
	if brand != record.Group {
		more, err := s.ofLog(ctx, brand)
		if err != nil {
			return nil, err
		}
		all = slices.Concat(all, more)
	}
	if !slices.ContainsFunc(all, func(c Containment) bool { return !c.Until.IsZero() }) {
		return all, nil
	}
	// What is logged is decided by the committers, under the clock of the log itself.
	now, err := s.db.Estimate(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading whether a containment has ended: %w", err)
	}
	return inForce(all, now), nil
}

// ofLog returns what holds by one log. A row that the log does not know holds nothing. For
// one that the log knows and that is changed or missing, nobody can say whom it stopped: so
// nothing that anybody could be shown leaves, until it is mended.
func (s *Store) ofLog(ctx context.Context, brand record.BrandID) ([]Containment, error) {
	return s.active.Get(ctx, brand, func() (active []Containment, err error) {
		void, err := rights.Hold(ctx, s.Rights, s.db, brand, func(q db.Queryer) (rights.Found, error) {
			active, err = list(ctx, q, sqlActiveOf, int64(brand))
			f := rights.Found{Whole: []string{tableContainments}}
			for i := range active {
				f.Rows = append(f.Rows, active[i].row())
			}
			return f, err
		})
		if err != nil || len(void) == 0 {
			return active, err
		}
		lost := false
		for _, v := range void {
			lost = lost || v.What != rights.Forged
			active = slices.DeleteFunc(active, func(c Containment) bool { return rights.Key(c.ID) == v.Key })
		}
		if lost {
			active = append(active, Containment{Brand: brand, Kind: Brand, Keep: KeepNothing})
		}
		return active, nil
	})
}

// Granted hands fn every containment in force, with the brand whose log has it.
func (s *Store) Granted(ctx context.Context, q db.Queryer, fn func(brand record.BrandID, r rights.Row)) error {
	active, err := list(ctx, q, sqlActive)
	for i := range active {
		c := &active[i]
		r := c.row()
		r.Says = fmt.Sprintf("containment of a %s", c.Kind)
		if c.Target != 0 {
			r.Says += fmt.Sprintf(" %d", c.Target)
		} else if c.Role != "" {
			r.Says += " " + c.Role
		}
		fn(c.Brand, r)
	}
	return err
}

// Mend writes a containment as the log has it, or removes one that is gone. It reports false
// for a table of another store.
func (s *Store) Mend(ctx context.Context, q db.Queryer, _ record.BrandID, r rights.Row) (bool, error) {
	if r.Table != tableContainments {
		return false, nil
	}
	var err error
	if r.Gone {
		id, perr := strconv.ParseInt(r.Key, 10, 64)
		if perr != nil {
			return true, fmt.Errorf("the key of a containment: %w", perr)
		}
		_, err = q.Exec(ctx, sqlDrop, id)
	} else {
		args := r.Cells
		if len(args) == mendCells-1 {
			args = append(slices.Clip(args), int64(0)) // it has no end
		}
		_, err = q.Exec(ctx, sqlMend, args...)
	}
	if err != nil {
		return true, fmt.Errorf("mending a containment: %w", err)
	}
	return true, nil
}

// Of says what is stopped for a caller at a brand.
func (s *Store) Of(ctx context.Context, who identity.Who) (Stop, error) {
	active, err := s.Active(ctx, who.Brand)
	if err != nil {
		return Stop{All: true}, err
	}
	return of(active, who), nil
}

func of(active []Containment, who identity.Who) (stop Stop) {
	for i := range active {
		c := &active[i]
		if c.Brand != who.Brand && c.Brand != record.Group {
			continue
		}
		switch c.Kind {
		case Lineage:
			stop.All = stop.All || c.Target == who.Lineage
		case Principal:
			stop.All = stop.All || c.Target == who.Principal
		case Role:
			if c.Role == who.Role {
				stop.keep(c.Keep)
			}
		case Brand:
			stop.keep(c.Keep)
		case Exports:
			stop.Files = true
		}
	}
	return stop
}

// Undoer is a person who may contain at a brand, and so undo, with the lineages of the
// credentials that they can use.
type Undoer struct {
	Principal uint64
	Lineages  []uint64
	// Administers says that they may also administer where they contain.
	Administers bool
}

// counted leaves out of the undoers at the group those who may administer it: they can make
// others. Otherwise an administrator who may contain, too, could not be contained by the one
// responder that there is. Where all may administer, all count.
func counted(undoers []Undoer, brand record.BrandID) []Undoer {
	others := slices.DeleteFunc(slices.Clone(undoers), func(u Undoer) bool { return u.Administers })
	if brand != record.Group || len(others) == 0 {
		return undoers
	}
	return others
}

// left counts the undoers at a brand who are not contained themselves, ignoring `except`.
func left(undoers []Undoer, active []Containment, brand record.BrandID, except uint64) (n int) {
	for _, u := range undoers {
		free := func(lineage uint64) bool {
			return !of(active, identity.Who{Caller: identity.Caller{Principal: u.Principal, Lineage: lineage}, Brand: brand}).All
		}
		if u.Principal != except && slices.ContainsFunc(u.Lineages, free) {
			n++
		}
	}
	return n
}

// locksOut reports whether a containment leaves no undoer, or none but its own author: a
// stolen key must not be the only one left.
func locksOut(c Containment, active []Containment, undoers []Undoer) bool {
	after, undoers := append(slices.Clone(active), c), counted(undoers, c.Brand)
	if left(undoers, after, c.Brand, 0) == 0 {
		return true
	}
	return left(undoers, after, c.Brand, c.By) == 0 && left(undoers, active, c.Brand, c.By) > 0
}

// Refuse returns [ErrLast] where Begin would return it now.
func (s *Store) Refuse(ctx context.Context, c Containment, undoers []Undoer) error {
	active, err := s.Active(ctx, c.Brand)
	if err == nil && locksOut(c, active, undoers) {
		err = ErrLast
	}
	return err
}

// Same returns a containment that is already in force and makes c needless, and false for
// none.
func (s *Store) Same(ctx context.Context, c Containment, now time.Time) (Containment, bool, error) {
	active, err := s.Active(ctx, c.Brand)
	if err != nil {
		return c, false, err
	}
	i := slices.IndexFunc(active, c.needless(now))
	if i < 0 {
		return c, false, nil
	}
	return active[i], true, nil
}

// needless returns whether a containment in force does all that c would. One that its maker
// may still undo alone does not serve anybody else: what a second person or a rule stopped
// is not lifted by the first person alone.
func (c *Containment) needless(now time.Time) func(Containment) bool {
	return func(o Containment) bool {
		longer := o.Until.IsZero() || !c.Until.IsZero() && !o.Until.Before(c.Until)
		return c.SameTarget(o) && c.Keep == o.Keep && longer && (o.By == c.By || !o.mayEndAlone(o.By, now))
	}
}

// SameTarget reports whether two containments stop the same target at the same brand.
func (c *Containment) SameTarget(o Containment) bool {
	return c.Brand == o.Brand && c.Kind == o.Kind && c.Target == o.Target && c.Role == o.Role
}

// mayEndAlone reports whether a principal may still undo a containment alone. A containment
// by a rule has no maker.
func (c *Containment) mayEndAlone(principal uint64, now time.Time) bool {
	return c.By != 0 && c.By == principal && !now.Before(c.At) && now.Sub(c.At) < AloneWithin
}

// MayUndoAlone reports whether one of the undoers, with a lineage of their own, made a
// containment less than [AloneWithin] ago.
func (c *Containment) MayUndoAlone(undoers []Undoer, principal, lineage uint64, registered, now time.Time) bool {
	return c.mayEndAlone(principal, now) && c.MayUndo(undoers, principal, lineage, registered, now) == nil
}

// Begin makes a containment inside the caller's transaction and returns it, or one that is
// already in force and makes it needless. It returns [ErrLast] where no undoer would be left, and
// [ErrContained] where the caller was contained meanwhile.
func (s *Store) Begin(ctx context.Context, q db.Queryer, c Containment, who identity.Who, undoers []Undoer) (_ Containment, begun bool, err error) {
	if err := revision.Bump(ctx, q); err != nil { // first: from here on there is no other
		return c, false, err
	}
	active, err := logged(ctx, q, c.Brand)
	if err != nil {
		return c, false, err
	}
	if err := s.expire(ctx, q, active, c.Brand, c.At); err != nil {
		return c, false, err
	}
	if active = inForce(active, c.At); of(active, who).All {
		return c, false, ErrContained
	}
	if i := slices.IndexFunc(active, c.needless(c.At)); i >= 0 {
		return active[i], false, nil
	}
	if locksOut(c, active, undoers) {
		return c, false, ErrLast
	}
	if len(active) >= Most {
		return c, false, ErrMost
	}
	if err := q.Row(ctx, sqlNext).Scan(&c.ID); err != nil {
		return c, false, fmt.Errorf("containing: %w", err)
	}
	_, err = q.Exec(ctx, sqlInsert, c.ID, int64(c.Brand), string(c.Kind), int64(c.Target), c.Role, string(c.Keep), c.Alarm, c.At.UnixMicro(), int64(c.By), db.Micros(c.Until))
	if err != nil {
		return c, false, fmt.Errorf("containing: %w", err)
	}
	rights.Changed(q, c.row())
	return c, true, nil
}

// logged reads the containments that did not end in the transaction of an act at a brand. A row of
// the brand that its log did not write so ends nothing, and serves nobody.
func logged(ctx context.Context, q db.Queryer, brand record.BrandID) ([]Containment, error) {
	all, err := list(ctx, q, sqlActive)
	return slices.DeleteFunc(all, func(o Containment) bool { return o.Brand == brand && rights.Holds(q, o.row()) != nil }), err
}

// expire notes of a brand's containments that have ended by themselves that they did, so
// that they are not read any more. They stop nobody before that either.
func (s *Store) expire(ctx context.Context, q db.Queryer, active []Containment, brand record.BrandID, at time.Time) error {
	for i := range active {
		c := active[i]
		if c.Brand != brand || !c.Over(at) {
			continue
		}
		if _, err := q.Exec(ctx, sqlExpire, int64(brand), c.ID); err != nil {
			return fmt.Errorf("ending what was contained: %w", err)
		}
		c.Ended = c.Until
		rights.Changed(q, c.row())
	}
	return nil
}

// MayUndo checks that a principal is one of the undoers, uses a lineage of their own, and
// was not registered to undo this containment.
func (c *Containment) MayUndo(undoers []Undoer, principal, lineage uint64, registered, now time.Time) error {
	i := slices.IndexFunc(undoers, func(u Undoer) bool { return u.Principal == principal })
	if i < 0 || !slices.Contains(undoers[i].Lineages, lineage) || !registered.Before(c.At) && now.Sub(registered) < UndoWithin {
		return ErrUndoer
	}
	return nil
}

// Since returns the number of the newest containment of a lineage that holds or held at a
// brand and was made at a time or after it, also where two people undid it; 0 for none. One
// that its maker undid alone, or still may, does not count.
func (s *Store) Since(ctx context.Context, brand record.BrandID, lineage uint64, at, now time.Time) (id int64, err error) {
	if err := s.db.Row(ctx, sqlSince, int64(brand), int64(lineage), at.UnixMicro(), now.Add(-AloneWithin).UnixMicro()).Scan(&id); err != nil {
		return 0, fmt.Errorf("reading what was contained: %w", err)
	}
	return id, nil
}

// Get returns one.
func (s *Store) Get(ctx context.Context, brand record.BrandID, id int64) (c Containment, err error) {
	err = rights.One(ctx, s.Rights, s.db, brand, func(q db.Queryer) (_ []rights.Row, err error) {
		c, err = scan(q.Row(ctx, sqlGet, int64(brand), id))
		if errors.Is(err, db.ErrNoRows) {
			return nil, ErrNone
		}
		if err != nil {
			return nil, fmt.Errorf("reading what is contained: %w", err)
		}
		return []rights.Row{c.row()}, nil
	})
	return c, err
}

// List returns the newest of a brand, up to a limit, also those that ended.
func (s *Store) List(ctx context.Context, brand record.BrandID, limit int) ([]Containment, error) {
	return list(ctx, s.db, sqlList, int64(brand), limit)
}

// Ask stores an undo request and returns the updated containment. A second request
// replaces the first.
func (s *Store) Ask(ctx context.Context, q db.Queryer, c Containment, who identity.Who, at time.Time) (Containment, error) {
	n, err := q.Exec(ctx, sqlAsk, int64(c.Brand), c.ID, at.UnixMicro(), int64(who.Principal), int64(who.Lineage))
	if err == nil && n == 0 {
		err = ErrState
	}
	c.Asked, c.AskedBy, c.AskedIn = at, who.Principal, who.Lineage
	rights.Changed(q, c.row())
	return c, err
}

// End undoes a containment as requested, or alone by the person who made it. It returns the
// containment, and the others of the same target that stay in force. It fails where one of
// the two people is contained by then.
func (s *Store) End(ctx context.Context, q db.Queryer, c Containment, by identity.Who, alone bool, at time.Time) (_ Containment, rest []Containment, err error) {
	if err := revision.Bump(ctx, q); err != nil {
		return c, nil, err
	}
	active, err := logged(ctx, q, c.Brand)
	if err != nil {
		return c, nil, err
	}
	if active = inForce(active, at); of(active, by).All {
		return c, nil, ErrContained
	}
	if c.Over(at) {
		return c, nil, ErrState
	}
	var n int64
	if alone {
		n, err = q.Exec(ctx, sqlEndAlone, int64(c.Brand), c.ID, at.UnixMicro(), int64(by.Principal), int64(by.Lineage), at.Add(-AloneWithin).UnixMicro())
		c.Asked, c.AskedBy, c.AskedIn = at, by.Principal, by.Lineage
	} else {
		if of(active, identity.Who{Caller: identity.Caller{Principal: c.AskedBy, Lineage: c.AskedIn}, Brand: c.Brand}).All {
			return c, nil, ErrAsker
		}
		n, err = q.Exec(ctx, sqlEnd, int64(c.Brand), c.ID, at.UnixMicro(), int64(by.Principal), c.Asked.UnixMicro())
	}
	if err == nil && n == 0 {
		err = ErrState
	}
	c.Ended, c.EndedBy = at, by.Principal
	rights.Changed(q, c.row())
	rest = slices.DeleteFunc(active, func(o Containment) bool { return o.ID == c.ID || !c.SameTarget(o) })
	return c, rest, err
}
