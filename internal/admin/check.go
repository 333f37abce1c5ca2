package admin

import (
	"context"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/access"
	"github.com/cloakroom/cloakroom/internal/brands"
	"github.com/cloakroom/cloakroom/internal/entry"
	"github.com/cloakroom/cloakroom/internal/identity"
	"github.com/cloakroom/cloakroom/internal/ledger"
	"github.com/cloakroom/cloakroom/internal/seal"
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
	v, err := d.visit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if at.Phase < 0 || at.Ord < 0 {
		return nil, ErrRequest
	}
	if at == (api.CheckPlace{}) {
		if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Detail: map[string]string{"change": "none", "check": "database"}}); err != nil {
			return nil, err
		}
	}
	out := &api.Checked{Faults: []api.CheckFault{}}
	if out.Last, err = d.Seal.Last(ctx); err != nil {
		return nil, err
	}
	place := seal.Place(at)
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
	out.Next, out.Done = api.CheckPlace(place), place.Done()
	return out, nil
}
