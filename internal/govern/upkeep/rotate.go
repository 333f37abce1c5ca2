package upkeep

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Keys lists the keys of a brand, without what they are.
func (d *Desk) Keys(ctx context.Context, c identity.Caller, brand string) ([]api.Key, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	list, err := d.Ring.List(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	out := make([]api.Key, len(list))
	for i, k := range list {
		newest := i == len(list)-1 || list[i+1].Kind != k.Kind
		out[i] = api.Key{Kind: string(k.Kind), Version: k.Version, Created: k.Created, Current: newest}
	}
	return out, nil
}

// Rotations lists the rotations of a brand, oldest first.
func (d *Desk) Rotations(ctx context.Context, c identity.Caller, brand string) ([]api.Rotation, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	list, err := d.Ring.Rotations(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	out := make([]api.Rotation, len(list))
	for i, r := range list {
		out[i] = *rotationOf(v.Brand.Name, r)
	}
	return out, nil
}

func rotationOf(brand string, r *keys.Rotation) *api.Rotation {
	return &api.Rotation{
		Brand: brand, Kind: string(r.Kind), Version: r.Version, Position: r.Position, Bound: r.Bound,
		Done: r.Done, Failed: r.Failed, Stalled: r.Stalled(), Began: r.Began, Ended: r.Ended,
	}
}

// Rotate begins the rotation of a key, or goes on with one that has not ended. Tend
// does the work.
func (d *Desk) Rotate(ctx context.Context, c identity.Caller, brand, kind string) (*api.Rotation, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if !keys.Rotates(v.Brand.ID, keys.Kind(kind)) {
		return nil, fmt.Errorf("%w: %w", ErrRequest, keys.ErrNoRotation)
	}
	return d.rotate.Do(ctx, v, "", rotated{Brand: v.Brand.ID, Kind: kind})
}

func (d *Desk) beginRotation(ctx context.Context, who identity.Who, kind string) (*api.Rotation, error) {
	b, err := d.Door.Brands.Get(ctx, who.Brand)
	if err != nil {
		return nil, err
	}
	var rot *keys.Rotation
	_, err = d.Changes.Make(ctx, ledger.Event{Kind: entry.KindRotation, Who: who, Detail: entry.RotationBegun{Key: kind}}, func(q db.Queryer, at time.Time) error {
		next, err := d.Seal.NextOrdinal(ctx, q)
		if err != nil {
			return err
		}
		by := keys.Starter{Principal: who.Principal, Credential: who.Credential, Lineage: who.Lineage, Role: who.Role}
		rot, err = d.Ring.Rotate(ctx, q, who.Brand, keys.Kind(kind), next, by, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	select {
	case d.wake() <- struct{}{}:
	default:
	}
	return rotationOf(b.Name, rot), nil
}

// RotateRoot replaces the root key and destroys the old one: no copy of the database
// from before opens any more, whatever it holds.
func (d *Desk) RotateRoot(ctx context.Context, c identity.Caller) (*api.RootRotated, error) {
	v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	return d.rotateRoot.Do(ctx, v, "", rotated{Kind: "root"})
}

func (d *Desk) newRoot(ctx context.Context, who identity.Who) (*api.RootRotated, error) {
	n, err := d.Ring.RotateRoot(ctx, func(ctx context.Context) (time.Time, error) {
		r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindRotation, Who: who, Detail: entry.RotationBegun{Key: "root"}})
		return r.At(), err
	})
	return &api.RootRotated{Keys: n}, err
}

const (
	// tendEvery is how often a server looks for rotations that another left behind.
	tendEvery = 2 * time.Second
	// tendAgain is how long it waits after an error.
	tendAgain = 5 * time.Second
	// finishEvery is how often a server looks for erasures that were cut off, and how old
	// one is then: younger ones are in flight at another server.
	finishEvery = time.Minute
	// scrubEvery is how often it looks whether keys were destroyed that its files still hold:
	// they are gone within a minute, unless a backup runs.
	scrubEvery = 20 * time.Second
)

// Tend carries out what servers left behind that stopped, until the context ends: erasures
// that were logged and cut off, and rotations. It also works on rotations begun here. Of
// several servers one works on a rotation at a time.
func (d *Desk) Tend(ctx context.Context, log *slog.Logger) {
	finish := func(age time.Duration) {
		n, err := d.Erase.FinishCutOff(ctx, age)
		if n > 0 {
			log.Info("erasures that were logged and cut off were carried out", "customers", n)
		}
		if err != nil && ctx.Err() == nil {
			log.Error("carrying out erasures that were cut off", "cause", err)
		}
		n, err = d.Erase.DestroyCooled(ctx, 0)
		if n > 0 {
			log.Info("keys of erased customers were destroyed after their cooling time", "customers", n)
		}
		if err != nil && ctx.Err() == nil {
			log.Error("destroying keys of erased customers", "cause", err)
		}
		if err := d.Erase.DropTombstones(ctx); err != nil && ctx.Err() == nil {
			log.Error("removing tombstones whose time is over", "cause", err)
		}
	}
	scrub := func(first bool) {
		if err := d.Erase.Scrub(ctx, first); err != nil && ctx.Err() == nil {
			log.Error("taking destroyed keys out of the database's files", "cause", err)
		}
	}
	finish(0)
	scrub(true)
	finishing, scrubbing := time.NewTicker(finishEvery), time.NewTicker(scrubEvery)
	defer finishing.Stop()
	defer scrubbing.Stop()
	holder := rand.Text()
	defer d.Ring.Release(context.WithoutCancel(ctx), holder)
	if d.DB.Engine() == db.SQLite { // one process has it: whoever held a lease was killed
		if err := d.Ring.Abandoned(ctx); err != nil {
			log.Error("taking rotations over", "cause", err)
		}
	}
	for ctx.Err() == nil {
		wait := tendEvery
		rot, err := d.Ring.Claim(ctx, holder)
		switch {
		case err == nil && rot != nil:
			wait = 0
			if err = d.work(ctx, rot); err == nil {
				log.Info("a key was rotated", "brand", rot.Brand, "kind", rot.Kind, "version", rot.Version, "customers", rot.Done)
			}
		case err == nil:
			err = d.Ring.Forget(ctx)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, keys.ErrLease) {
			log.Error("rotating keys", "cause", err)
			wait = tendAgain
		}
		select {
		case <-ctx.Done():
		case <-d.wake():
		case <-finishing.C:
			finish(finishEvery)
		case <-scrubbing.C:
			scrub(false)
		case <-time.After(wait):
		}
	}
}

// wake is where Rotate says that there is work.
func (d *Desk) wake() chan struct{} {
	d.once.Do(func() { d.begun = make(chan struct{}, 1) })
	return d.begun
}

// work moves what is under old versions of a key to the newest and destroys them.
// What it does is in the log first, in the name of who began it.
func (d *Desk) work(ctx context.Context, rot *keys.Rotation) error {
	who := identity.Who{
		Caller: identity.Caller{Principal: rot.By.Principal, Credential: rot.By.Credential, Lineage: rot.By.Lineage},
		Role:   rot.By.Role, Brand: rot.Brand,
	}
	event := func(detail entry.Detail) (ledger.Receipt, error) {
		return d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindRotation, Who: who, Detail: detail})
	}
	switch rot.Kind {
	case keys.KEK:
		if err := d.Seal.Rewrap(ctx, rot); err != nil {
			return err
		}
	case keys.Index, keys.Incident:
		r, err := event(entry.OpenedToIndex{Key: string(rot.Kind), Version: rot.Version})
		if err != nil {
			return err
		}
		if err := d.Seal.Reindex(ctx, r, rot); err != nil {
			return err
		}
	default:
		return keys.ErrNoRotation
	}
	if _, err := event(entry.OldDestroyed{Key: string(rot.Kind), Version: rot.Version}); err != nil {
		return err
	}
	return d.Ring.Finish(ctx, rot)
}
