// Package erase erases customers: an entry says who, and then the customer's key is
// destroyed. From the entry on nothing refuses an erasure; what a kill cuts off is carried
// out later. Before the key is gone, what the proofs of others need of the log is kept.
package erase

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// Desk erases.
type Desk struct {
	DB     *db.DB
	Door   *door.Door
	Ledger *ledger.Ledger
	Seal   *seal.Store
}

// Erase erases a customer. It cannot be undone.
func (d *Desk) Erase(ctx context.Context, c identity.Caller, brand, token string) (*api.Erased, error) {
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
	x := d.erasing(id, logKeys)
	x.class = budget.Erase.String()
	r, err := x.one(ctx, v, ords[0])
	if err != nil {
		return nil, err
	}
	return &api.Erased{Receipt: api.Receipt{Brand: v.Brand.Name, Entry: r.Entry(), CheckpointSize: r.CheckpointSize()}, Token: token}, nil
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
		if _, err = x.one(ctx, v, ord); err != nil && !errors.Is(err, seal.ErrUnknownToken) && !errors.Is(err, seal.ErrNoCustomer) {
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

// FinishErasures erases the customers of a brand whose erasure is in the log and who
// are there all the same: a restored copy that is older than its log has them. Of those
// customers only the ones that due names are erased. It returns how many it erased.
func (d *Desk) FinishErasures(ctx context.Context, brand record.BrandID, due func(entry uint64, ord record.Ordinal) bool) (n int, err error) {
	type found struct {
		receipt ledger.Receipt
		ord     record.Ordinal
		logKey  []byte
	}
	var list []found
	seen := map[record.Ordinal]bool{}
	err = d.Ledger.Erasures(ctx, brand, func(r ledger.Receipt, ords []record.Ordinal) error {
		ords = slices.DeleteFunc(slices.Clone(ords), func(ord record.Ordinal) bool { return seen[ord] || !due(r.Entry(), ord) })
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

// finish carries out one erasure that is due, and reports whether the customer was still
// there.
func (d *Desk) finish(ctx context.Context, due ledger.Due) (bool, error) {
	r, err := d.Ledger.Erasure(ctx, due)
	if err != nil {
		return false, err
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

// one logs the erasure of a customer and carries it out. From the entry on nothing refuses
// it: what stops it here leaves it to FinishCutOff, and is ErrErasing.
func (x *erasing) one(ctx context.Context, v *door.Visit, ord record.Ordinal) (r ledger.Receipt, err error) {
	u, err := x.d.Seal.Fetch(ctx, x.brand, []record.Ordinal{ord}, 0)
	if err != nil {
		return r, err
	}
	r, err = x.d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindErasure, Who: v.Who, Class: x.class, Ords: u.Ords(), Commit: u.Commitment(0)})
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := x.erase(ctx, r, ord); err != nil {
		return r, fmt.Errorf("%w: %w", ErrErasing, err)
	}
	return r, nil
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
			return x.d.Ledger.ErasureEnded(ctx, q, x.brand, ord)
		})
		switch {
		case (errors.Is(err, seal.ErrConflict) || errors.Is(err, keys.ErrRotated)) && ctx.Err() == nil:
			continue
		case errors.Is(err, seal.ErrNoCustomer): // another request or server erased them
			err = x.d.Ledger.ErasureEnded(ctx, x.d.DB, x.brand, ord)
		}
		if err != nil {
			return err
		}
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
