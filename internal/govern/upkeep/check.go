package upkeep

import (
	"context"
	"errors"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
	"github.com/cloakroom/cloakroom/internal/watch/canary"
)

const (
	// checkFor is how long one request checks: far below a request's deadline.
	checkFor = 2 * time.Second
	// checkFaults ends a request early, to bound its answer.
	checkFaults = 200
)

// Check looks at the next part of the database for what is damaged, missing or too
// much. It tells where and never what is there. Its beginning is logged; to begin in
// the middle gets nobody more.
func (d *Desk) Check(ctx context.Context, c identity.Caller, at api.CheckPlace) (*api.Checked, error) {
	v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if at.Phase < 0 || at.Ord < 0 {
		return nil, ErrRequest
	}
	if at == (api.CheckPlace{}) {
		if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Detail: entry.Checked{Check: "database"}}); err != nil {
			return nil, err
		}
	}
	out := &api.Checked{Faults: []api.CheckFault{}}
	if at == (api.CheckPlace{}) {
		if err := d.checkOrdinals(ctx, out); err != nil {
			return nil, err
		}
		if err := d.checkCanaries(ctx, out); err != nil {
			return nil, err
		}
		if err := d.checkErased(ctx, out); err != nil {
			return nil, err
		}
		void, err := d.checkRights(ctx)
		if err != nil {
			return nil, err
		}
		out.Faults = append(out.Faults, void...)
	}
	if out.Last, err = d.Seal.Last(ctx); err != nil {
		return nil, err
	}
	place, before := seal.Place(at), int64(len(out.Faults))
	enough := time.After(checkFor)
	for over := false; !over && !place.Done() && len(out.Faults) < checkFaults; {
		place, err = d.Seal.Inspect(ctx, place, func(f seal.Fault) {
			out.Faults = append(out.Faults, api.CheckFault{Table: f.Table, Ordinal: uint32(f.Ord), What: f.What})
		})
		if err != nil {
			return nil, err
		}
		select {
		case <-enough:
			over = true
		default:
		}
	}
	place.Faults += before
	out.Next, out.Done = api.CheckPlace(place), place.Done()
	return out, nil
}

// checkCanaries looks whether the lists of canaries open. That a brand has one is no secret.
func (d *Desk) checkCanaries(ctx context.Context, out *api.Checked) error {
	all, err := d.Door.Brands.List(ctx)
	if err != nil {
		return err
	}
	for _, b := range all {
		err := d.Canaries.Check(ctx, b.ID)
		if errors.Is(err, canary.ErrDamaged) || errors.Is(err, keys.ErrNoKey) {
			out.Faults = append(out.Faults, api.CheckFault{Table: "canaries", What: "the list of canaries of " + b.Name + " does not open: reads of canaries raise no alarm and imports fail; restore the list"})
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
