package erase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// again retries a step for as long as the context lasts while somebody else changes the
// customer, and takes one that is done already for done.
func (d *Desk) again(ctx context.Context, r ledger.Receipt, ord record.Ordinal, step func() error) error {
	for {
		err := step()
		switch {
		case (errors.Is(err, seal.ErrConflict) || errors.Is(err, keys.ErrRotated)) && ctx.Err() == nil:
			continue
		case errors.Is(err, seal.ErrNoCustomer): // another request or server did it
			return d.Ledger.ErasureEnded(ctx, d.DB, r, ord)
		}
		return err
	}
}

// dueAfter is when a key is destroyed that is laid aside now: with the first UTC day that
// begins after the cooling time. An entry says the day alone, as it does of its own time.
func dueAfter(now time.Time, cooling time.Duration) time.Time {
	const day = 24 * time.Hour
	return now.UTC().Add(cooling + day - 1).Truncate(day)
}

// layAside carries out the beginning of an erasure.
func (d *Desk) layAside(ctx context.Context, r ledger.Receipt, ord record.Ordinal, due time.Time, code string) error {
	return d.again(ctx, r, ord, func() error {
		return d.Seal.LayAside(ctx, r, ord, due, code, func(ctx context.Context, q db.Queryer) error { return d.Ledger.ErasureEnded(ctx, q, r, ord) })
	})
}

// takeBack carries out the taking back of an erasure.
func (d *Desk) takeBack(ctx context.Context, r ledger.Receipt, ord record.Ordinal) error {
	return d.again(ctx, r, ord, func() error {
		return d.Seal.TakeBack(ctx, r, ord, func(ctx context.Context, q db.Queryer) error { return d.Ledger.ErasureEnded(ctx, q, r, ord) })
	})
}

// carryOut does what an entry says of an erasure that begins or is taken back. A code that
// was to be given to the customer is lost with the answer: then two people take it back.
func (d *Desk) carryOut(ctx context.Context, r ledger.Receipt, detail entry.Detail, ord record.Ordinal) error {
	b, begins := detail.(entry.ErasureBegun)
	if !begins {
		return d.takeBack(ctx, r, ord)
	}
	due, err := time.Parse(time.DateOnly, b.Due)
	if err != nil {
		return fmt.Errorf("entry %d says no time at which the key is destroyed: %w", r.Entry(), ledger.ErrTampered)
	}
	return d.layAside(ctx, r, ord, due, "")
}

// destroyedAtOnce is how many erasures one step of DestroyCooled reads.
const destroyedAtOnce = 500

// DestroyCooled destroys the keys of erased customers whose cooling time is over, or will be
// within a time. It returns how many it destroyed; one that fails does not keep it from the
// others.
func (d *Desk) DestroyCooled(ctx context.Context, within time.Duration) (n int, err error) {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return 0, err
	}
	var errs []error
	for last := (seal.Cooling{}); ; {
		list, err := d.Seal.CoolingDue(ctx, now.Add(within), last, destroyedAtOnce)
		if err != nil {
			return n, errors.Join(append(errs, err)...)
		}
		by := map[record.BrandID][]seal.Cooling{}
		for _, c := range list {
			by[c.Brand] = append(by[c.Brand], c)
		}
		for brand, of := range by {
			done, err := d.destroy(ctx, identity.Who{Brand: brand}, of)
			if n += len(done); err != nil {
				errs = append(errs, fmt.Errorf("destroying keys of brand %d that lie aside: %w", brand, err))
			}
		}
		if len(list) < destroyedAtOnce {
			return n, errors.Join(errs...)
		}
		last = list[len(list)-1] // not the first again: those under a legal hold stay
	}
}

// DropTombstones removes tombstones whose time is over, and rows that were withheld for
// them and nobody decided about.
func (d *Desk) DropTombstones(ctx context.Context) error {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	list, err := d.Door.Brands.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, b := range list {
		errs = append(errs, d.Seal.DropTombstones(ctx, b.ID, now))
	}
	return errors.Join(errs...)
}

// destroy logs and ends erasures of one brand that cool, except those under a legal hold, and
// returns whose.
func (d *Desk) destroy(ctx context.Context, who identity.Who, list []seal.Cooling) (gone []record.Ordinal, err error) {
	ords := make([]record.Ordinal, len(list))
	for i, c := range list {
		ords[i] = c.Ord
	}
	held, err := d.Ledger.Held(ctx, who.Brand, ords)
	if err != nil {
		return nil, err
	}
	logKeys, err := d.Seal.LogKeys(ctx, who.Brand, ords)
	if err != nil {
		return nil, err
	}
	x := d.erasing(who.Brand, logKeys)
	var errs []error
	for _, c := range list {
		if held.Has(c.Ord) {
			continue
		}
		l, err := d.Seal.Laid(ctx, c.Brand, c.Ord)
		if errors.Is(err, seal.ErrNoCustomer) {
			continue // taken back, or another server destroyed it
		}
		if err == nil {
			var r ledger.Receipt
			ev := ledger.Event{Kind: entry.KindErasure, Who: who, Ords: l.Ords(), Commit: l.Commitment(), Detail: entry.ErasureCooled{Begun: c.Entry}}
			if r, err = d.Ledger.Record(ctx, ev); errors.Is(err, ledger.ErrNotCooling) || errors.Is(err, ledger.ErrHeld) {
				continue // an entry about it is carried out just now, or a hold was faster
			} else if err == nil {
				err = x.erase(ctx, r, c.Ord)
			}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		gone = append(gone, c.Ord)
	}
	return gone, errors.Join(errs...)
}

// Cooling lists the erasures of a brand that have begun and whose keys are not destroyed.
func (d *Desk) Cooling(ctx context.Context, c identity.Caller, brand string, q api.ErasureQuery) (*api.Erasures, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActErase)
	if err != nil {
		return nil, err
	}
	limit := min(q.Limit, maxListed)
	if limit <= 0 {
		limit = maxListed
	}
	list, err := d.Seal.CoolingAfter(ctx, v.Brand.ID, record.Ordinal(q.After), limit)
	if err != nil {
		return nil, err
	}
	ords := make([]record.Ordinal, len(list))
	for i, x := range list {
		ords[i] = x.Ord
	}
	held, err := d.Ledger.Held(ctx, v.Brand.ID, ords)
	if err != nil {
		return nil, err
	}
	out := &api.Erasures{Erasures: make([]api.Cooling, len(list))}
	for i, x := range list {
		token, err := d.Seal.Token(ctx, v.Brand.ID, x.Ord)
		if err != nil {
			return nil, err
		}
		out.Erasures[i] = api.Cooling{Token: token, Entry: x.Entry, Begun: x.Begun, Due: x.Due, ByCustomer: x.Asked, Held: held.Has(x.Ord)}
	}
	if len(list) == limit {
		out.Next = uint64(list[limit-1].Ord)
	}
	return out, nil
}

// maxListed is how many erasures one answer lists.
const maxListed = 1000

// TakeBack takes back what a customer asked for, given the code that they were sent and an
// address of theirs. Nothing of them is looked up before: a wrong pair is answered as for
// somebody who was never a customer, and is logged.
func (d *Desk) TakeBack(ctx context.Context, c identity.Caller, brand string, req api.TakeBackRequest) (*api.Erased, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActErase)
	if err != nil {
		return nil, err
	}
	ord, err := d.Seal.FindTakeBack(ctx, v.Brand.ID, req.Code, req.Address, req.Country)
	if err != nil {
		if errors.Is(err, seal.ErrNoTakeBack) {
			v.Refuse(ctx, "no-take-back")
		}
		return nil, err
	}
	r, err := d.undo(ctx, v.Who, ord, entry.ByCustomer)
	if errors.Is(err, seal.ErrNoCustomer) || errors.Is(err, ledger.ErrNotCooling) {
		err = seal.ErrNoTakeBack
	}
	if err != nil {
		return nil, err
	}
	token, err := d.Seal.Token(ctx, v.Brand.ID, ord)
	if err != nil {
		return nil, err
	}
	return &api.Erased{Receipt: receiptOf(v, r), Token: token}, nil
}

// ErrAsked is returned where staff would take back what a customer asked for.
var ErrAsked = seal.ErrAsked

// Undo takes back erasures that staff began, once two people want it. It returns who is
// there again. What a customer asked for stays erased, with ErrAsked.
func (d *Desk) Undo(ctx context.Context, who identity.Who, ords []record.Ordinal) (back []record.Ordinal, err error) {
	var errs []error
	for _, ord := range ords {
		l, err := d.Seal.Laid(ctx, who.Brand, ord)
		if errors.Is(err, seal.ErrNoCustomer) {
			continue
		}
		if err == nil && l.Asked {
			err = ErrAsked
		}
		if err == nil {
			_, err = d.undo(ctx, who, ord, entry.ByStaff)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		back = append(back, ord)
	}
	return back, errors.Join(errs...)
}

// undo logs that an erasure is taken back and does it.
func (d *Desk) undo(ctx context.Context, who identity.Who, ord record.Ordinal, by string) (r ledger.Receipt, err error) {
	l, err := d.Seal.Laid(ctx, who.Brand, ord)
	if err != nil {
		return r, err
	}
	if err := d.Seal.Untaken(ctx, l); err != nil {
		return r, err
	}
	r, err = d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindErasureUndone, Who: who, Ords: l.Ords(), Commit: l.Commitment(), Detail: entry.ErasureUndone{By: by}})
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := d.takeBack(ctx, r, ord); err != nil {
		return r, fmt.Errorf("%w: %w", ErrErasing, err)
	}
	return r, nil
}

// DestroyNow destroys the keys of customers who are there and of those whose erasure cools,
// once two people want it. It returns whose it destroyed. Where a legal hold keeps one of the
// keys it is ledger.ErrHeld, and none is destroyed.
func (d *Desk) DestroyNow(ctx context.Context, who identity.Who, ords []record.Ordinal) (gone []record.Ordinal, err error) {
	if err := d.unheld(ctx, who.Brand, ords); err != nil {
		return nil, err
	}
	logKeys, err := d.Seal.LogKeys(ctx, who.Brand, ords)
	if err != nil {
		return nil, err
	}
	x := d.erasing(who.Brand, logKeys)
	var cooling []seal.Cooling
	for _, ord := range ords {
		l, err := d.Seal.Laid(ctx, who.Brand, ord)
		switch {
		case err == nil:
			cooling = append(cooling, l.Cooling)
			continue
		case !errors.Is(err, seal.ErrNoCustomer):
			return gone, err
		}
		b, err := x.one(ctx, who, 0, ord, false)
		switch {
		case errors.Is(err, seal.ErrUnknownToken) || errors.Is(err, seal.ErrNoCustomer): // gone already
		case err != nil:
			return gone, err
		case b.due.IsZero(): // else a hold was faster
			gone = append(gone, ord)
		}
	}
	some, err := d.destroy(ctx, who, cooling)
	return append(gone, some...), err
}
