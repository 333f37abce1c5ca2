package upkeep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/canary"
)

// Mend repairs what the vault can repair by itself, or in a dry run says what it would
// repair. It shows and changes nothing of any customer.
func (d *Desk) Mend(ctx context.Context, c identity.Caller, req api.MendRequest) (*api.Mended, error) {
	v, err := d.Door.Admit(ctx, c, brands.GroupName, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	out := &api.Mended{Faults: []api.CheckFault{}, Repairs: []string{}}
	if err := d.mendRights(ctx, v.Who, out, req.DryRun); err != nil {
		return nil, err
	}
	ctx = revision.Unbound(ctx) // mending rights moved it
	if err := d.mendErased(ctx, out, req.DryRun); err != nil {
		return nil, err
	}
	o, err := d.Seal.Ordinals(ctx)
	if err != nil {
		return nil, err
	}
	fault := o.Fault()
	if fault == "" {
		return out, nil
	}
	out.Faults = append(out.Faults, api.CheckFault{Table: ordinalsTable, What: fault})
	last, err := d.lastOrdinal(ctx)
	if err != nil {
		return nil, err
	}
	next := o.Mended(last)
	if next == o.Next {
		return out, nil
	}
	out.Repairs = append(out.Repairs, fmt.Sprintf("the next ordinal: from %d to %d, above every customer in the tables, in the logs and among the canaries", o.Next, next))
	if req.DryRun {
		return out, nil
	}
	detail := entry.Mended{Table: ordinalsTable, From: o.Next, To: next}
	_, err = d.Changes.Make(ctx, ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Detail: detail}, func(q db.Queryer, _ time.Time) error {
		return d.Seal.SetNextOrdinal(ctx, q, o.Next, next)
	})
	return out, err
}

const ordinalsTable = "ordinals"

// lastOrdinal returns the greatest ordinal that any log or list of canaries names. It reads
// every log.
func (d *Desk) lastOrdinal(ctx context.Context) (last record.Ordinal, err error) {
	all, err := d.Door.Brands.List(ctx)
	if err != nil {
		return 0, err
	}
	for _, b := range all {
		listed, err := d.Canaries.Last(ctx, b.ID)
		if err != nil && !errors.Is(err, canary.ErrDamaged) && !errors.Is(err, keys.ErrNoKey) { // which checkCanaries reports
			return 0, err
		}
		last = max(last, listed)
		err = d.Ledger.Scan(ctx, b.ID, 0, func(_ uint64, _ entry.Entry, ords []record.Ordinal) error {
			if customers, _ := record.Customers(ords); len(customers) > 0 {
				last = max(last, customers[len(customers)-1])
			}
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("the log of %s: %w", b.Name, err)
		}
	}
	return last, nil
}

// checkOrdinals looks at the counter from which new customers get their ordinals.
func (d *Desk) checkOrdinals(ctx context.Context, out *api.Checked) error {
	o, err := d.Seal.Ordinals(ctx)
	if err != nil {
		return err
	}
	if fault := o.Fault(); fault != "" {
		out.Faults = append(out.Faults, api.CheckFault{Table: ordinalsTable, What: fault})
	}
	return nil
}
