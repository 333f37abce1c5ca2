package upkeep

import (
	"context"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// ErrExpiring is returned while values of a log are being erased, also to the caller who
// asked for it and could not wait.
var ErrExpiring = fault.New(fault.Conflict, "values of this log are being erased: retry to see the result")

// ErrKept is returned for a day whose values the brand's settings still keep.
var ErrKept = fault.New(fault.Invalid, "values of log entries of that day are still kept: name an earlier day")

// expireWithin bounds one run, which goes through the whole log.
const expireWithin = 2 * time.Hour

// Expire erases the values of a brand's log entries of the days before one: who acted,
// when exactly, and every text that may name somebody. See [ledger.Ledger.EraseValues].
// The log says so first. A run continues when its caller stops waiting.
func (d *Desk) Expire(ctx context.Context, c identity.Caller, brand string, req api.ExpireRequest) (*api.Expired, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	before, err := time.Parse(time.DateOnly, req.Before)
	if err != nil {
		return nil, fmt.Errorf("%w: before is a day such as 2026-01-31", ErrRequest)
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the database's clock: %w", err)
	}
	if v.Brand.ID != record.Group && now.Before(before.Add(v.Brand.Retention())) {
		return nil, fmt.Errorf("%w: this brand keeps them for %d days (retention_days in `cloakroom settings show`)", ErrKept, v.Brand.Settings.RetentionDays)
	}
	if _, running := d.expiring.LoadOrStore(v.Brand.ID, true); running {
		return nil, ErrExpiring
	}
	type result struct {
		done ledger.Erased
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		defer d.expiring.Delete(v.Brand.ID)
		run, cancel := context.WithTimeout(context.WithoutCancel(ctx), expireWithin)
		defer cancel()
		done, err := d.expire(run, v.Who, v.Brand.ID, before, req.DryRun)
		ended <- result{done, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ErrExpiring
	case r := <-ended:
		if r.err != nil {
			return nil, r.err
		}
		return &api.Expired{Before: r.done.Before.Format(time.DateOnly), Entries: r.done.Entries, Kept: r.done.Kept, Already: r.done.Already, Keys: r.done.Keys}, nil
	}
}

func (d *Desk) expire(ctx context.Context, who identity.Who, brand record.BrandID, before time.Time, dry bool) (ledger.Erased, error) {
	plan, err := d.Ledger.EraseValues(ctx, brand, before, true)
	if err != nil || dry || plan.Entries == 0 && len(plan.Keys) == 0 {
		return plan, err
	}
	detail := entry.ValuesErased{Before: before.Format(time.DateOnly)}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAdministration, Who: who, Detail: detail}); err != nil {
		return ledger.Erased{}, err
	}
	return d.Ledger.EraseValues(ctx, brand, before, false)
}
