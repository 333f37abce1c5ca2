package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// tombstonesSet is a time of tombstones that is asked for.
type tombstonesSet struct {
	Days int `json:"days"`
	Was  int `json:"was"`
}

// SetTombstones sets how long a brand remembers whom it erased.
func (d *Desk) SetTombstones(ctx context.Context, c identity.Caller, brand string, req api.ErasureTombstones) (*api.ErasureTombstones, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if v.Brand.ID == record.Group {
		return nil, fmt.Errorf("%w: the group has no customers: name a brand", ErrRequest)
	}
	if keep := time.Duration(req.Days) * 24 * time.Hour; req.Days < 0 || keep > brands.MaxTombstones {
		return nil, brands.ErrTombstones
	}
	return d.acts.tombstones.Do(ctx, v, "", tombstonesSet{Days: req.Days, Was: int(v.Brand.Tombstones / (24 * time.Hour))})
}

// Tombstones returns how long a brand remembers whom it erased, to anybody with a role there.
func (d *Desk) Tombstones(ctx context.Context, c identity.Caller, brand string) (*api.ErasureTombstones, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	return &api.ErasureTombstones{Days: int(v.Brand.Tombstones / (24 * time.Hour))}, nil
}

// tombstonesNeeds asks for a second person where erased customers could come back sooner.
func (d *Desk) tombstonesNeeds(_ context.Context, _ change.Order, p tombstonesSet) (change.Need, error) {
	return change.Need{Two: p.Days < p.Was}, nil
}

func (d *Desk) tombstonesText(ctx context.Context, o change.Order, p tombstonesSet) (change.Text, error) {
	b, err := d.Door.Brands.Get(ctx, o.Who.Brand)
	return change.Text{Title: fmt.Sprintf("Keep erased customers of %s out for %d days, not %d", b.Name, p.Days, p.Was)}, err
}

// tombstonesFit refuses a request that was made for another time.
func (d *Desk) tombstonesFit(ctx context.Context, o change.Order, p tombstonesSet) error {
	b, err := d.Door.Brands.Whole(ctx, o.Who.Brand)
	if err == nil && b.Tombstones != time.Duration(p.Was)*24*time.Hour {
		err = fmt.Errorf("%w: the time of tombstones is another by now", change.ErrChanged)
	}
	return err
}

func (d *Desk) giveTombstones(ctx context.Context, o change.Order, p tombstonesSet) (*api.ErasureTombstones, error) {
	err := d.changeAs(ctx, o.Who, entry.KindAdministration, entry.TombstonesSet{Days: p.Days, Were: p.Was}, func(q db.Queryer, _ time.Time) error {
		return d.Door.Brands.SetTombstones(ctx, q, o.Who.Brand, time.Duration(p.Days)*24*time.Hour)
	})
	if err != nil {
		return nil, err
	}
	return &api.ErasureTombstones{Days: p.Days}, nil
}
