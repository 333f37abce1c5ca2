package change

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Seasoned is how long somebody has had an approving role before they may be second: so
// long that others notice a new approver before the approver is of use to a thief.
const Seasoned = 24 * time.Hour

const (
	sqlSeparated = `SELECT at FROM separation WHERE one = 1`
	sqlSeparate  = `INSERT INTO separation (one, at, entry) VALUES (1, $1, $2) ON CONFLICT DO NOTHING`
)

// Person is somebody who may be second for a request at a brand.
type Person struct {
	Principal uint64
	Name      string
	Brand     record.BrandID // where they may: the request's brand, or another
}

// eligible returns who may be second at a brand for what is asked at a time: people with
// an approving role there for a day, under the policies of then and now, registered and
// with a key before, whom nothing contains.
func (d *Desk) eligible(ctx context.Context, brand record.BrandID, asked time.Time) ([]Person, error) {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	policy, _, err := d.Door.Access.Current(ctx, brand)
	if errors.Is(err, access.ErrNoPolicy) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	day := asked.Add(-Seasoned)
	before, err := d.Door.Access.At(ctx, brand, day)
	if err != nil {
		return nil, err
	}
	var out []Person
	err = d.Door.Identity.Officers(ctx, brand, now, func(o identity.Officer) error {
		who := identity.Who{Caller: identity.Caller{Principal: o.Principal}, Role: o.Role, Brand: brand}
		for _, p := range []*access.Policy{policy, before} {
			if _, err := p.Authorize(who, access.ActApprove, "", 0); err != nil {
				return nil
			}
		}
		if !o.Since.After(day) && !o.Created.After(day) && !o.Keyed.IsZero() && o.Keyed.Before(asked) {
			out = append(out, Person{o.Principal, o.Name, brand})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	free := out[:0]
	for _, p := range out {
		stop, err := d.Door.Contained.Of(ctx, identity.Who{Caller: identity.Caller{Principal: p.Principal}, Brand: brand})
		if err != nil {
			return nil, err
		}
		if stop.All {
			continue
		}
		// Ages are rows, too: of whom one is not what the log says, nobody knows the age.
		switch err := d.Door.Identity.Holds(ctx, p.Principal); {
		case errors.Is(err, rights.ErrVoid):
		case err != nil:
			return nil, err
		default:
			free = append(free, p)
		}
	}
	return free, nil
}

// seconds returns who may be second for a request of somebody: those of its brand, else
// those of any other. They approve a change and are shown no customer of the brand.
func (d *Desk) seconds(ctx context.Context, brand record.BrandID, requester uint64, asked time.Time) ([]Person, error) {
	list, err := d.eligible(ctx, brand, asked)
	if err != nil {
		return nil, err
	}
	own := func(p Person) bool { return p.Principal == requester }
	if list = slices.DeleteFunc(list, own); len(list) > 0 {
		return list, nil
	}
	every, err := d.Door.Brands.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range every {
		more, err := d.eligible(ctx, b.ID, asked)
		if errors.Is(err, ledger.ErrUnavailable) { // what a log that was cut says of them, nobody goes by
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, p := range more {
			if !own(p) && !slices.ContainsFunc(list, func(q Person) bool { return q.Principal == p.Principal }) {
				list = append(list, p)
			}
		}
	}
	return list, nil
}

// Alone reports whether acts still take effect by one hand. Once two people who may be
// second at one brand have existed, it never does again.
func (d *Desk) Alone(ctx context.Context) (bool, error) {
	d.mu.Lock()
	ever := d.ever
	d.mu.Unlock()
	if ever {
		return false, nil
	}
	var at int64
	err := d.DB.Row(ctx, sqlSeparated).Scan(&at)
	switch {
	case err == nil:
		d.noteEver()
		return false, nil
	case !errors.Is(err, db.ErrNoRows):
		return true, fmt.Errorf("reading whether two people have existed: %w", err)
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return true, err
	}
	every, err := d.Door.Brands.List(ctx)
	if err != nil {
		return true, err
	}
	group, err := d.Door.Brands.Get(ctx, record.Group)
	if err != nil {
		return true, err
	}
	cut := false
	for _, b := range append(every, group) {
		list, err := d.eligible(ctx, b.ID, now)
		if errors.Is(err, ledger.ErrShorter) { // who is missing may be two people
			cut = true
			continue
		}
		if err != nil {
			return true, err
		}
		if len(list) < 2 {
			continue
		}
		r, err := d.Ledger.Record(revision.Unbound(ctx), ledger.Event{Kind: entry.KindAdministration, Who: identity.Who{Brand: record.Group}, Detail: entry.TwoPeople{Brand: b.Name}})
		if err != nil {
			return true, err
		}
		if _, err := d.DB.Exec(ctx, sqlSeparate, r.At().UnixMicro(), int64(r.Entry())); err != nil {
			return true, fmt.Errorf("noting that two people exist: %w", err)
		}
		d.noteEver()
		return false, nil
	}
	return !cut, nil
}

func (d *Desk) noteEver() {
	d.mu.Lock()
	d.ever = true
	d.mu.Unlock()
}

// Standing says whether one hand acts alone, and which brands' receivers hear of the acts.
// A caller is told of the brands at which they have a role.
func (d *Desk) Standing(ctx context.Context, c identity.Caller) (*api.Separation, error) {
	alone, err := d.Alone(ctx)
	if err != nil {
		return nil, err
	}
	out := &api.Separation{Alone: alone, Receivers: []string{}}
	if d.Receivers == nil {
		return out, nil
	}
	every, err := d.Door.Brands.List(ctx)
	if err != nil {
		return nil, err
	}
	group, err := d.Door.Brands.Get(ctx, record.Group)
	if err != nil {
		return nil, err
	}
	for _, b := range append(every, group) {
		_, err := d.Door.Identity.Who(ctx, c, b.ID)
		if errors.Is(err, identity.ErrNoRole) {
			continue
		}
		if err != nil {
			return nil, err
		}
		n, err := d.Ledger.Size(ctx, b.ID)
		if err != nil {
			return nil, err
		}
		any, _, err := d.Receivers.Handed(ctx, []Place{{b.ID, n}})
		if err != nil {
			return nil, err
		}
		if any {
			out.Receivers = append(out.Receivers, b.Name)
		}
	}
	return out, nil
}
