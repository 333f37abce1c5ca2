package erase

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

var (
	// ErrNoHold is returned for a hold that is not in force at the brand.
	ErrNoHold = fault.New(fault.NotFound, "no such legal hold in force: `cloakroom hold list` shows them")
	// ErrHoldRequest is returned for a request for a hold that lacks a part.
	ErrHoldRequest = fault.New(fault.Invalid, "this cannot be a legal hold")
)

// MaxHoldText bounds the ground of a hold and the reason of its release, in bytes.
const MaxHoldText = 1000

// holding is a legal hold that is asked for: of customers, or of those about whom the log
// has entries on the days of a period.
type holding struct {
	Ords   []record.Ordinal `json:"ords,omitempty"`
	Named  int              `json:"named,omitempty"` // how many customers the request named
	From   string           `json:"from,omitempty"`
	To     string           `json:"to,omitempty"`
	Ground string           `json:"ground"`
	Review string           `json:"review"`
}

// releasing is the end of a hold that is asked for.
type releasing struct {
	Hold   string `json:"hold"`
	Reason string `json:"reason"`
}

// PlaceHold asks for a legal hold, with a second person: keys of its customers are not
// destroyed until it is released. Whether an external id was found is not answered.
func (d *Desk) PlaceHold(ctx context.Context, c identity.Caller, brand string, req api.HoldRequest) (*api.Hold, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActErase)
	if err != nil {
		return nil, err
	}
	p := holding{From: req.From, To: req.To, Ground: req.Ground, Review: req.Review, Named: len(req.Tokens) + len(req.ExternalIDs)}
	if err := d.checkHold(ctx, p); err != nil {
		return nil, err
	}
	if len(req.Tokens) > 0 {
		if p.Ords, err = d.resolve(ctx, v, req.Tokens); err != nil {
			return nil, err
		}
	}
	found, err := d.Seal.FindExternals(ctx, v.Brand.ID, req.ExternalIDs)
	if err != nil {
		return nil, err
	}
	p.Ords = append(p.Ords, found...)
	slices.Sort(p.Ords)
	p.Ords = slices.Compact(p.Ords)
	return d.acts.hold.Do(ctx, v, req.Ticket, p)
}

// checkHold refuses a hold that lacks a part.
func (d *Desk) checkHold(ctx context.Context, p holding) error {
	bad := func(what string) error { return fmt.Errorf("%w: %s", ErrHoldRequest, what) }
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	if err := holdText("ground", p.Ground); err != nil {
		return err
	}
	switch review, err := time.Parse(time.DateOnly, p.Review); {
	case err != nil:
		return bad("review is a day such as 2027-03-31")
	case !review.After(now):
		return bad("the day of its review is over: name a later one")
	}
	switch {
	case (p.Named > 0) == (p.From != "" || p.To != ""):
		return bad("name customers, or the first and last day of a period")
	case p.Named > 0:
		return nil
	}
	from, err := time.Parse(time.DateOnly, p.From)
	if err != nil {
		return bad("from is a day such as 2026-11-01")
	}
	to, err := time.Parse(time.DateOnly, p.To)
	if err != nil {
		return bad("to is a day such as 2026-11-30")
	}
	if to.Before(from) || to.After(now) {
		return bad("a period ends not before it begins, and not after today")
	}
	return nil
}

func holdText(what, s string) error {
	if s == "" || len(s) > MaxHoldText {
		return fmt.Errorf("%w: give a %s of 1 to %d bytes", ErrHoldRequest, what, MaxHoldText)
	}
	return ledger.CheckText(what, s)
}

func (p holding) whom() string {
	if p.From != "" {
		return fmt.Sprintf("everybody in the log from %s to %s", p.From, p.To)
	}
	return fmt.Sprintf("the %d customers named", p.Named)
}

func (d *Desk) textOfHold(ctx context.Context, o change.Order, p holding) (change.Text, error) {
	b, err := d.Door.Brands.Get(ctx, o.Who.Brand)
	if err != nil {
		return change.Text{}, err
	}
	return change.Text{Title: fmt.Sprintf("Place a legal hold at %s: no key of %s is destroyed until it is released", b.Name, p.whom()),
		Lines: []string{"ground: " + p.Ground, "to be reviewed by " + p.Review}}, nil
}

func (d *Desk) textOfRelease(ctx context.Context, o change.Order, p releasing) (change.Text, error) {
	b, err := d.Door.Brands.Get(ctx, o.Who.Brand)
	if err != nil {
		return change.Text{}, err
	}
	return change.Text{Title: fmt.Sprintf("Release the legal hold %s at %s: keys whose cooling time is over are destroyed within minutes", p.Hold, b.Name),
		Lines: []string{"reason: " + p.Reason}}, nil
}

// heldAtOnce is how many customers one entry of a hold concerns at most.
const heldAtOnce = ledger.MaxCustomers / 2

// applyHold logs a hold. One that is made again after a kill logs the same.
func (d *Desk) applyHold(ctx context.Context, o change.Order, p holding) (*api.Hold, error) {
	ords := p.Ords
	if p.From != "" {
		var err error
		if ords, err = d.inLog(ctx, o.Who.Brand, p.From, p.To); err != nil {
			return nil, err
		}
	}
	detail := entry.HoldPlaced{Hold: holdID(o), Review: p.Review, Named: p.Named, From: p.From, To: p.To, Ground: p.Ground}
	for first := true; first || len(ords) > 0; first = false {
		some := ords[:min(len(ords), heldAtOnce)]
		ords = ords[len(some):]
		logKeys, err := d.Seal.LogKeys(ctx, o.Who.Brand, some)
		if err != nil {
			return nil, err
		}
		there := slices.DeleteFunc(slices.Clone(some), func(ord record.Ordinal) bool { return logKeys[ord] == nil })
		commit := func(i int, c entry.Committed) [32]byte { return entry.Commitment(logKeys[there[i]], c) }
		if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindHold, Who: o.Who, Ticket: o.Ticket, Detail: detail, Ords: there, Commit: commit}); err != nil {
			return nil, err
		}
	}
	return d.holdShown(ctx, o.Who.Brand, detail.Hold)
}

// holdID is the id of the hold that a request asks for.
func holdID(o change.Order) string { return "hold_" + strings.TrimPrefix(o.ID, "chg_") }

// errAfter ends the reading of a log behind the last day of a period.
var errAfter = errors.New("after the period")

// inLog returns the customers about whom the log has entries on the days of a period.
func (d *Desk) inLog(ctx context.Context, brand record.BrandID, from, to string) ([]record.Ordinal, error) {
	var set entry.Set
	err := d.Ledger.Scan(ctx, brand, 0, func(_ uint64, e entry.Entry, ords []record.Ordinal) error {
		switch day := e.At.UTC().Format(time.DateOnly); {
		case day > to:
			return errAfter
		case day >= from:
			customers, _ := record.Customers(ords)
			set.Add(customers...)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errAfter) {
		return nil, err
	}
	return slices.Collect(set.All()), nil
}

// ReleaseHold asks to end a legal hold, with a second person.
func (d *Desk) ReleaseHold(ctx context.Context, c identity.Caller, brand, id string, req api.HoldRelease) (*api.Hold, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActErase)
	if err != nil {
		return nil, err
	}
	if err := holdText("reason", req.Reason); err != nil {
		return nil, err
	}
	return d.acts.release.Do(ctx, v, req.Ticket, releasing{Hold: id, Reason: req.Reason})
}

func (d *Desk) applyRelease(ctx context.Context, o change.Order, p releasing) (*api.Hold, error) {
	x, err := d.holdShown(ctx, o.Who.Brand, p.Hold)
	if err != nil {
		return nil, err
	}
	_, err = d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindHold, Who: o.Who, Ticket: o.Ticket, Detail: entry.HoldReleased{Hold: p.Hold, Reason: p.Reason}})
	if err != nil {
		return nil, err
	}
	x.Released = true
	return x, nil
}

// holdNamed returns a hold in force at a brand.
func (d *Desk) holdNamed(ctx context.Context, brand record.BrandID, id string) (ledger.LegalHold, error) {
	list, err := d.Ledger.LegalHolds(ctx, brand)
	if err != nil {
		return ledger.LegalHold{}, err
	}
	i := slices.IndexFunc(list, func(x ledger.LegalHold) bool { return x.ID == id })
	if i < 0 {
		return ledger.LegalHold{}, ErrNoHold
	}
	return list[i], nil
}

func (d *Desk) holdShown(ctx context.Context, brand record.BrandID, id string) (*api.Hold, error) {
	x, err := d.holdNamed(ctx, brand, id)
	if err != nil {
		return nil, err
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	return d.shownHold(ctx, brand, x, now)
}

// shownHold says what the first entry of a hold says of it.
func (d *Desk) shownHold(ctx context.Context, brand record.BrandID, x ledger.LegalHold, now time.Time) (*api.Hold, error) {
	e, _, err := d.Ledger.Entry(ctx, brand, x.Entry)
	if err != nil {
		return nil, err
	}
	p, ok := e.Detail.(entry.HoldPlaced)
	if !ok {
		return nil, fmt.Errorf("entry %d does not place a hold: %w", x.Entry, ledger.ErrTampered)
	}
	out := &api.Hold{ID: x.ID, Entry: x.Entry, Placed: e.At, Ground: p.Ground, Review: p.Review, Named: p.Named, From: p.From, To: p.To, Overdue: x.Overdue(now)}
	if by, err := d.Door.Identity.Get(ctx, e.Principal); err == nil && e.Principal != 0 {
		out.By = by.Name
	}
	return out, nil
}

// Holds lists the legal holds in force at a brand.
func (d *Desk) Holds(ctx context.Context, c identity.Caller, brand string) (*api.Holds, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActErase)
	if err != nil {
		return nil, err
	}
	list, err := d.Ledger.LegalHolds(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	out := &api.Holds{Holds: []api.Hold{}}
	for _, x := range list {
		h, err := d.shownHold(ctx, v.Brand.ID, x, now)
		if err != nil {
			return nil, err
		}
		out.Holds = append(out.Holds, *h)
	}
	return out, nil
}

// unheld refuses where a legal hold keeps the key of one of some customers.
func (d *Desk) unheld(ctx context.Context, brand record.BrandID, ords []record.Ordinal) error {
	held, err := d.Ledger.Held(ctx, brand, ords)
	if err == nil && held.Len() > 0 {
		err = ledger.ErrHeld
	}
	return err
}
