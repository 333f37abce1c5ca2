package admin

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/access"
	"github.com/cloakroom/cloakroom/internal/admit"
	"github.com/cloakroom/cloakroom/internal/db"
	"github.com/cloakroom/cloakroom/internal/entry"
	"github.com/cloakroom/cloakroom/internal/identity"
	"github.com/cloakroom/cloakroom/internal/ledger"
	"github.com/cloakroom/cloakroom/internal/record"
	"github.com/cloakroom/cloakroom/internal/seal"
)

// Erase erases a customer. It cannot be undone.
func (d *Desk) Erase(ctx context.Context, c identity.Caller, brand, token string) (*api.Erased, error) {
	v, err := d.visit(ctx, c, brand, access.ActErase)
	if err != nil {
		return nil, err
	}
	id := v.Brand.ID
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
	r, err := x.one(ctx, v, ords[0])
	if err != nil {
		return nil, err
	}
	return &api.Erased{Receipt: api.Receipt{Brand: v.Brand.Name, Entry: r.Entry(), CheckpointSize: r.CheckpointSize()}, Token: token}, nil
}

// EraseFor logs and erases customers, each as if alone, for a visit that was let do so. It
// begins none after so long. It returns who is gone, those who were so before among them,
// also with an error.
func (d *Desk) EraseFor(ctx context.Context, v *admit.Visit, ords []record.Ordinal, within time.Duration) (gone []record.Ordinal, err error) {
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
// are there all the same: a restored copy that is older than its log has them. It
// returns how many it erased.
func (d *Desk) FinishErasures(ctx context.Context, brand record.BrandID) (n int, err error) {
	type due struct {
		receipt ledger.Receipt
		ord     record.Ordinal
		logKey  []byte
	}
	var list []due
	found := map[record.Ordinal]bool{}
	err = d.Ledger.Erasures(ctx, brand, func(r ledger.Receipt, ords []record.Ordinal) error {
		logKeys, err := d.Seal.LogKeys(ctx, brand, ords)
		for ord, key := range logKeys {
			if !found[ord] {
				list = append(list, due{r, ord, key})
			}
			found[ord] = true
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

// erasing erases customers of one brand, one after another. What the proofs of others
// need is in the log, which it reads once for all of them and then only what was added.
type erasing struct {
	d       *Desk
	brand   record.BrandID
	logKeys map[record.Ordinal][]byte // of those who are still to be erased
	read    uint64                    // the size up to which the log was read
	kept    map[record.Ordinal][]ledger.Kept
}

func (d *Desk) erasing(brand record.BrandID, logKeys map[record.Ordinal][]byte) *erasing {
	return &erasing{d: d, brand: brand, logKeys: logKeys, kept: map[record.Ordinal][]ledger.Kept{}}
}

// one logs the erasure of a customer and does it.
func (x *erasing) one(ctx context.Context, v *admit.Visit, ord record.Ordinal) (r ledger.Receipt, err error) {
	u, err := x.d.Seal.Fetch(ctx, x.brand, []record.Ordinal{ord}, 0)
	if err != nil {
		return r, err
	}
	r, err = x.d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindErasure, Who: v.Who, Ords: u.Ords(), Commit: u.Commitment(0)})
	if err != nil {
		return r, err
	}
	return r, x.erase(ctx, r, ord)
}

// erase destroys a customer's key, and keeps before what the proofs of others need of the
// entries up to the erasure's. Later ones, of whoever had read the customer before the key
// was gone, bring it along.
func (x *erasing) erase(ctx context.Context, r ledger.Receipt, ord record.Ordinal) error {
	// The log is not read inside the transaction: that would hold one connection while it
	// waits for another, and idle for longer than the database lets a transaction.
	if err := x.catchUp(ctx); err != nil {
		return err
	}
	err := x.d.Seal.Erase(ctx, r, ord, func(ctx context.Context, q db.Queryer, _ []byte) error {
		return x.d.Ledger.Keep(ctx, q, x.brand, ord, x.kept[ord])
	})
	if err != nil {
		return err
	}
	delete(x.kept, ord)
	delete(x.logKeys, ord)
	return nil
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
