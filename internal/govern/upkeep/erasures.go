package upkeep

import (
	"context"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// Erasures says what is left of erasures at a brand: those that can be taken back, and the
// keys that were destroyed and that full copies of the database still open, because the
// brand's KEK and the root key were not both rotated since.
func (d *Desk) Erasures(ctx context.Context, c identity.Caller, brand string) (*api.ErasureState, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	out := &api.ErasureState{}
	if out.Cooling, out.NextDue, err = d.Seal.CountCooling(ctx, v.Brand.ID); err != nil {
		return nil, err
	}
	since, err := d.Ring.RootChanged(ctx)
	if err != nil {
		return nil, err
	}
	list, err := d.Ring.Rotations(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	var kek time.Time // when the newest began that has ended
	for _, r := range list {
		if r.Kind == keys.KEK && !r.Ended.IsZero() && r.Began.After(kek) {
			kek = r.Began
		}
	}
	if kek.Before(since) {
		since = kek
	}
	if since.IsZero() {
		since = time.UnixMicro(0)
	}
	out.Unrotated, out.Oldest, err = d.Seal.CountDestroyed(ctx, v.Brand.ID, since)
	return out, err
}
