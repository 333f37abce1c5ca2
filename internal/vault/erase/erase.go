// Package erase erases customers. An entry says whose erasure begins, and then their key is
// laid aside: from there on nobody reads, finds or counts them. After the brand's cooling
// time another entry says so, and the key is destroyed. In between an erasure can be taken
// back, which is an entry too. A brand with a cooling time of 0 destroys at once.
//
// From an entry on nothing refuses what it says; what a kill cuts off is carried out later.
// Before the key is gone, what the proofs of others need of the log is kept.
package erase

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// ErrErasing is returned where an erasure is logged and could not be carried out in time.
// It is not refused: FinishCutOff carries it out.
var ErrErasing = fault.Typed(fault.Unavailable, api.TypePartlyDone, "the erasure is logged and not carried out yet: the vault carries it out within minutes, also after a restart; send no other request for it")

// errWaiting is returned where rows of an erased customer could not be taken out of what
// waits to be written.
var errWaiting = fault.Typed(fault.Unavailable, api.TypePartlyDone, "the customer is erased, but rows of them wait to be written under a standing approval and could not be taken out: end the approval with `cloakroom change end-approval`")

// Waiting knows writes that were accepted and are not written yet.
type Waiting interface {
	// Forget returns what takes a customer out of them once the erasure has begun.
	Forget(ctx context.Context, brand record.BrandID, ord record.Ordinal) (drop func(context.Context) error, err error)
}

// Desk erases.
type Desk struct {
	DB      *db.DB
	Door    *door.Door
	Ledger  *ledger.Ledger
	Seal    *seal.Store
	Waiting Waiting

	acts      acts
	destroyed atomic.Bool // keys, since the files were scrubbed
}

// Scrub takes destroyed keys out of the database's own files, if any were destroyed since it
// last did, or if first: a server that was killed knows nothing of them. While a backup
// reads an older state it waits for the next call.
func (d *Desk) Scrub(ctx context.Context, first bool) error {
	if !d.destroyed.Swap(false) && !first {
		return nil
	}
	done, err := d.DB.Scrub(ctx)
	if !done {
		d.destroyed.Store(true)
	}
	return err
}

// Erase begins the erasure of a customer, or destroys their key at once where the brand has
// no cooling time. Where the customer asked for it, and was proven to be them, the answer
// has a code with which they alone take it back.
func (d *Desk) Erase(ctx context.Context, c identity.Caller, brand, token string, asked bool) (*api.Erased, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActErase)
	if err != nil {
		return nil, err
	}
	id := v.Brand.ID
	room := []ledger.Room{{Class: budget.Erase, N: 1}}
	if err := d.Ledger.Fits(ctx, v.Who, room, 1); err != nil { // before anybody is looked for
		if !ledger.Refused(err) {
			return nil, err
		}
		d.Ledger.RefusedByBudget(ctx, v.Who, entry.KindErasure.String(), err)
		return nil, err
	}
	ords, err := d.Seal.Resolve(ctx, id, []string{token})
	if err != nil {
		v.Refuse(ctx, "unknown-token")
		return nil, err
	}
	logKeys, err := d.Seal.LogKeys(ctx, id, ords)
	if err != nil {
		return nil, err
	}
	held, err := d.Ledger.Held(ctx, id, ords)
	if err != nil {
		return nil, err
	}
	x := d.erasing(id, logKeys)
	x.class = budget.Erase.String()
	b, err := x.one(ctx, v.Who, v.Brand.Cooling(), ords[0], asked)
	if err != nil {
		return nil, err
	}
	return &api.Erased{Receipt: receiptOf(v, b.receipt), Token: token, Due: b.due, TakeBackCode: b.code, Held: held.Has(ords[0])}, nil
}

func receiptOf(v *door.Visit, r ledger.Receipt) api.Receipt {
	return api.Receipt{Brand: v.Brand.Name, Entry: r.Entry(), CheckpointSize: r.CheckpointSize()}
}

// EraseFor logs and erases customers, each as if alone, for a visit that was let do so. It
// begins none after so long. It returns who is gone, those who were so before among them,
// also with an error.
func (d *Desk) EraseFor(ctx context.Context, v *door.Visit, ords []record.Ordinal, within time.Duration) (gone []record.Ordinal, err error) {
	enough := time.After(within)
	logKeys, err := d.Seal.LogKeys(ctx, v.Brand.ID, ords)
	if err != nil {
		return nil, err
	}
	x := d.erasing(v.Brand.ID, logKeys)
	for over := false; !over && len(gone) < len(ords); {
		ord := ords[len(gone)]
		if _, err = x.one(ctx, v.Who, v.Brand.Cooling(), ord, false); err != nil && !errors.Is(err, seal.ErrUnknownToken) && !errors.Is(err, seal.ErrNoCustomer) {
			break
		}
		gone, err = append(gone, ord), nil
		select {
		case <-enough:
			over = true
		default:
		}
	}
	return gone, err
}

// finishedAtOnce is how many erasures are finished with one reading of the log.
const finishedAtOnce = 1000

// FinishErasures carries out what the log says of erasures and what is not so: a restored
// copy may be older than its log. Of a brand's customers only those are touched that due
// names. It returns how many it erased for good.
func (d *Desk) FinishErasures(ctx context.Context, brand record.BrandID, due func(step ledger.Receipt, ord record.Ordinal) bool) (n int, err error) {
	type found struct {
		receipt ledger.Receipt
		ord     record.Ordinal
		logKey  []byte
	}
	type step struct {
		receipt ledger.Receipt
		detail  entry.Detail
	}
	var list []found
	seen := map[record.Ordinal]bool{}
	last := map[record.Ordinal]step{} // of erasures that begin or are taken back
	err = d.Ledger.Erasures(ctx, brand, func(r ledger.Receipt, detail entry.Detail, ords []record.Ordinal) error {
		if r.Kind() != entry.KindErasure {
			for _, ord := range ords {
				last[ord] = step{r, detail}
			}
			return nil
		}
		ords = slices.DeleteFunc(slices.Clone(ords), func(ord record.Ordinal) bool { return seen[ord] || !due(r, ord) })
		logKeys, err := d.Seal.LogKeys(ctx, brand, ords)
		for ord, key := range logKeys {
			list = append(list, found{r, ord, key})
			seen[ord] = true
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	for ord, s := range last {
		if seen[ord] || !due(s.receipt, ord) {
			continue
		}
		if err := d.carryOut(ctx, s.receipt, s.detail, ord); err != nil {
			return 0, err
		}
	}
	for some := range slices.Chunk(list, finishedAtOnce) {
		logKeys := map[record.Ordinal][]byte{}
		for _, y := range some {
			logKeys[y.ord] = y.logKey
		}
		x := d.erasing(brand, logKeys)
		for _, y := range some {
			if err := x.erase(ctx, y.receipt, y.ord); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

// FinishCutOff carries out the erasures that were logged at least so long ago and that a
// kill, or a database that did not answer, cut off. A write that came in between does not
// save the customer: the log said that they are erased. It returns how many it erased; an
// erasure that fails does not keep it from the others.
func (d *Desk) FinishCutOff(ctx context.Context, age time.Duration) (n int, err error) {
	list, err := d.Ledger.ErasuresDue(ctx, age)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, due := range list {
		erased, err := d.finish(ctx, due)
		if err != nil {
			errs = append(errs, fmt.Errorf("carrying out the erasure of entry %d of brand %d: %w", due.Entry, due.Brand, err))
		}
		if erased {
			n++
		}
	}
	return n, errors.Join(errs...)
}

// finish carries out one step of an erasure that is due, and reports whether a customer was
// erased for good who was still there.
func (d *Desk) finish(ctx context.Context, due ledger.Due) (bool, error) {
	r, detail, err := d.Ledger.Erasure(ctx, due)
	if err != nil {
		return false, err
	}
	if r.Kind() != entry.KindErasure {
		return false, d.carryOut(ctx, r, detail, due.Ord)
	}
	logKeys, err := d.Seal.LogKeys(ctx, due.Brand, []record.Ordinal{due.Ord})
	if err != nil {
		return false, err
	}
	x := d.erasing(due.Brand, logKeys)
	return len(logKeys) > 0, x.erase(ctx, r, due.Ord)
}

// erasing erases customers of one brand, one after another. What the proofs of others
// need is in the log, which it reads once for all of them and then only what was added.
type erasing struct {
	d       *Desk
	brand   record.BrandID
	class   string                    // the budget that they count against; empty: none
	logKeys map[record.Ordinal][]byte // of those who are still to be erased
	read    uint64                    // the size up to which the log was read
	kept    map[record.Ordinal][]ledger.Kept
}

func (d *Desk) erasing(brand record.BrandID, logKeys map[record.Ordinal][]byte) *erasing {
	return &erasing{d: d, brand: brand, logKeys: logKeys, kept: map[record.Ordinal][]ledger.Kept{}}
}

// patience is how long an erasure that is logged may take, also when nobody waits for the
// answer any more.
const patience = 10 * time.Second

// begun is an erasure that was logged.
type begun struct {
	receipt ledger.Receipt
	due     time.Time // zero: the key is destroyed
	code    string    // empty: nobody has one
}

// one logs the erasure of a customer, or its beginning, and carries it out. A key under a
// legal hold is laid aside also at a brand without a cooling time.
func (x *erasing) one(ctx context.Context, who identity.Who, cooling time.Duration, ord record.Ordinal, asked bool) (begun, error) {
	drop, err := x.d.Waiting.Forget(ctx, x.brand, ord)
	if err != nil {
		return begun{}, err
	}
	b, err := x.step(ctx, who, cooling, ord, asked)
	if errors.Is(err, ledger.ErrHeld) {
		b, err = x.step(ctx, who, time.Nanosecond, ord, asked) // due with the next day
	}
	if err != nil && !errors.Is(err, ErrErasing) {
		return b, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if failed := drop(ctx); failed != nil {
		err = errors.Join(err, fmt.Errorf("%w: %w", errWaiting, failed))
	}
	return b, err
}

// step is one. From the entry on nothing refuses it: what stops it here leaves it to
// FinishCutOff, and is ErrErasing.
func (x *erasing) step(ctx context.Context, who identity.Who, cooling time.Duration, ord record.Ordinal, asked bool) (b begun, err error) {
	u, err := x.d.Seal.Fetch(ctx, x.brand, []record.Ordinal{ord}, 0)
	if err != nil {
		return b, err
	}
	ev := ledger.Event{Kind: entry.KindErasure, Who: who, Class: x.class, Ords: u.Ords(), Commit: u.Commitment(0)}
	if cooling > 0 {
		now, err := x.d.DB.Now(ctx)
		if err != nil {
			return b, err
		}
		b.due = dueAfter(now, cooling)
		by := entry.ByStaff
		if asked {
			b.code, by = seal.NewCode(), entry.ByCustomer
		}
		ev.Kind, ev.Detail = entry.KindErasureBegun, entry.ErasureBegun{Due: b.due.Format(time.DateOnly), By: by}
	}
	b.receipt, err = x.d.Ledger.Record(ctx, ev)
	if errors.Is(err, ledger.ErrErased) { // another request was faster
		err = seal.ErrNoCustomer
	}
	if err != nil {
		return b, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if b.due.IsZero() {
		err = x.erase(ctx, b.receipt, ord)
	} else {
		err = x.d.layAside(ctx, b.receipt, ord, b.due, b.code)
	}
	if err != nil {
		return b, fmt.Errorf("%w: %w", ErrErasing, err)
	}
	return b, nil
}

// erase destroys a customer's key, and keeps before what the proofs of others need of the
// entries up to the erasure's. Entries logged later, by requests that had already read the
// customer, carry this data themselves. It retries for as long as the context lasts when
// somebody else changes the customer.
func (x *erasing) erase(ctx context.Context, r ledger.Receipt, ord record.Ordinal) error {
	for {
		// The log is not read inside the transaction: that would hold one connection while
		// it waits for another, and idle for longer than the database lets a transaction.
		if err := x.catchUp(ctx); err != nil {
			return err
		}
		err := x.d.Seal.Erase(ctx, r, ord, func(ctx context.Context, q db.Queryer, _ []byte) error {
			if err := x.d.Ledger.Keep(ctx, q, x.brand, ord, x.kept[ord]); err != nil {
				return err
			}
			return x.d.Ledger.ErasureEnded(ctx, q, r, ord)
		})
		switch {
		case (errors.Is(err, seal.ErrConflict) || errors.Is(err, keys.ErrRotated)) && ctx.Err() == nil:
			continue
		case errors.Is(err, seal.ErrNoCustomer): // another request or server erased them
			err = x.d.Ledger.ErasureEnded(ctx, x.d.DB, r, ord)
		}
		if err != nil {
			return err
		}
		x.d.destroyed.Store(true)
		delete(x.kept, ord)
		delete(x.logKeys, ord)
		return nil
	}
}

// catchUp reads what was logged since the log was read.
func (x *erasing) catchUp(ctx context.Context) error {
	more, size, err := x.d.Ledger.Commitments(ctx, x.brand, x.read, x.logKeys)
	if err != nil {
		return err
	}
	for ord, kept := range more {
		x.kept[ord] = append(x.kept[ord], kept...)
	}
	x.read = size
	return nil
}
