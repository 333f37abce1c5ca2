package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/vault/change"
)

// coolingSet is a cooling time that is asked for.
type coolingSet struct {
	Days int `json:"days"`
	Was  int `json:"was"`
}

// coolingNeeds asks for a second person where keys would be destroyed sooner: otherwise one
// hand sets it to 0 and erases everybody.
func (d *Desk) coolingNeeds(_ context.Context, _ change.Order, p coolingSet) (change.Need, error) {
	return change.Need{Two: p.Days < p.Was}, nil
}

func (d *Desk) coolingText(ctx context.Context, o change.Order, p coolingSet) (change.Text, error) {
	b, err := d.Door.Brands.Get(ctx, o.Who.Brand)
	return change.Text{Title: fmt.Sprintf("Destroy the keys of erased customers of %s after %d days, not %d", b.Name, p.Days, p.Was)}, err
}

// coolingFits refuses a request that was made for another cooling time.
func (d *Desk) coolingFits(ctx context.Context, o change.Order, p coolingSet) error {
	b, err := d.Door.Brands.Whole(ctx, o.Who.Brand)
	if err == nil && b.Cooling != time.Duration(p.Was)*24*time.Hour {
		err = fmt.Errorf("%w: the cooling time is another by now", change.ErrChanged)
	}
	return err
}

func (d *Desk) giveCooling(ctx context.Context, o change.Order, p coolingSet) (*api.ErasureCooling, error) {
	err := d.changeAs(ctx, o.Who, entry.KindAdministration, entry.CoolingSet{Days: p.Days, Were: p.Was}, func(q db.Queryer, _ time.Time) error {
		return d.Door.Brands.SetCooling(ctx, q, o.Who.Brand, time.Duration(p.Days)*24*time.Hour)
	})
	if err != nil {
		return nil, err
	}
	return &api.ErasureCooling{Days: p.Days}, nil
}
