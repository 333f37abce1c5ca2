package upkeep

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Mender is a store whose rows of rights can be made again.
type Mender interface {
	// Mend writes a row of a brand's log as the log has it, or removes one that is gone. It
	// reports false where it cannot.
	Mend(ctx context.Context, q db.Queryer, brand record.BrandID, r rights.Row) (bool, error)
}

// mending is what becomes of one row that is not what its log says.
type mending struct {
	void rights.Void
	row  rights.Row // as it is to be
	how  string     // "" where nothing can be done
	why  string     // then
}

// What becomes of a row.
const (
	rebuilt = "made again as its entry says"
	removed = "removed, because no entry wrote it"
	endedIt = "ended, because its entry does not hold it any more"
)

// mendedAtOnce bounds the rows of one entry.
const mendedAtOnce = 200

// mendRights makes rows of rights again that are not what the logs say, and removes those
// that no entry wrote. Of the others it ends those that only give; what stops somebody, or
// by its absence widens what they may do, stays void until a person acts.
func (d *Desk) mendRights(ctx context.Context, who identity.Who, out *api.Mended, dry bool) error {
	voids, err := d.voids(ctx)
	if err != nil {
		return err
	}
	byBrand := map[record.BrandID][]rights.Void{}
	var order []record.BrandID
	for _, v := range voids {
		if byBrand[v.Brand] == nil {
			order = append(order, v.Brand)
		}
		byBrand[v.Brand] = append(byBrand[v.Brand], v)
	}
	for _, brand := range order {
		list, err := d.plan(ctx, brand, byBrand[brand])
		if err != nil {
			return err
		}
		var todo []mending
		for _, m := range list {
			out.Faults = append(out.Faults, voidFault(&m.void, m.why))
			if m.how != "" {
				todo = append(todo, m)
				out.Repairs = append(out.Repairs, fmt.Sprintf("%s: row %s, %s", m.void.Table, m.void.Key, m.how))
			}
		}
		for len(todo) > 0 && !dry {
			n := min(len(todo), mendedAtOnce)
			if err := d.mendRows(ctx, who, brand, todo[:n]); err != nil {
				return fmt.Errorf("mending the rights of brand %d: %w", brand, err)
			}
			ctx, todo = revision.Unbound(ctx), todo[n:]
		}
	}
	return nil
}

// plan says what becomes of void rows of one log.
func (d *Desk) plan(ctx context.Context, brand record.BrandID, void []rights.Void) ([]mending, error) {
	again, err := d.Ledger.Again(ctx, brand, void)
	if errors.Is(err, ledger.ErrNoLog) {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	known, err := d.Ledger.Sizes(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]mending, 0, len(void))
	for _, v := range void {
		m := mending{void: v, row: rights.Row{Table: v.Table, Key: v.Key, Gone: true}}
		row, kept := again[v]
		_, logged := known[brand]
		switch {
		case !logged:
			m.why = "its brand has no log, so nobody can say when it came: remove it from the database"
		case !mends[v.Table]:
			m.why = "rows of this table are not made again: " + endedBy[v.Table]
		case v.What == rights.Forged:
			m.how = removed
		case kept:
			m.how, m.row = rebuilt, row
		case v.Table == rowsCredentials || v.Table == rowsPrincipals || v.Table == "owners" || v.Table == "invitations":
			m.how = endedIt
		case v.Table == rowsRoles:
			m.why = "its entry does not hold it any more: set the role again with `cloakroom principal role`"
		case v.Table == "policies":
			m.why = "its entry does not hold it any more: nothing leaves at the brand until a policy is applied, `cloakroom policy apply`"
		case v.Table == "containments":
			m.why = "its entry does not hold it any more: nothing leaves at the brand until the row is restored from a backup"
		default:
			m.why = "its entry does not hold it any more: restore the row from a backup"
		}
		out = append(out, m)
	}
	return out, nil
}

// mends are the tables of which rows are made again.
var mends = map[string]bool{
	"brands": true, "settings": true, "brand-settings": true, rowsPurposes: true, rowsPrincipals: true, rowsRoles: true, rowsCredentials: true,
	"owners": true, "invitations": true, "policies": true, "containments": true,
}

// mendRows mends rows of one log, with an entry in it. A row that came to fit since is
// written as it is.
func (d *Desk) mendRows(ctx context.Context, who identity.Who, brand record.BrandID, list []mending) error {
	var detail entry.RowsMended
	for _, m := range list {
		name := m.void.Table + "/" + m.void.Key
		switch m.how {
		case rebuilt:
			detail.Rebuilt = append(detail.Rebuilt, name)
		case removed:
			detail.Removed = append(detail.Removed, name)
		default:
			detail.Ended = append(detail.Ended, name)
		}
	}
	who.Brand = brand
	moved, err := d.Changes.Make(ctx, ledger.Event{Kind: entry.KindAdministration, Who: who, Detail: detail}, func(q db.Queryer, _ time.Time) error {
		for _, m := range list {
			if err := d.mendRow(ctx, q, brand, m); err != nil {
				return err
			}
		}
		return revision.Bump(ctx, q)
	})
	if err == nil && moved {
		err = d.Changes.Pass(ctx, brand, 0)
	}
	return err
}

func (d *Desk) mendRow(ctx context.Context, q db.Queryer, brand record.BrandID, m mending) error {
	if m.how == removed { // by somebody who was granted it meanwhile it is no longer forged
		gone := rights.Row{Table: m.void.Table, Key: m.void.Key, Gone: true}
		if len(rights.Voids(q, rights.Found{Rows: []rights.Row{gone}})) > 0 {
			return nil
		}
	}
	for _, s := range d.Menders {
		done, err := s.Mend(ctx, q, brand, m.row)
		if err != nil || done {
			if err == nil && m.how == endedIt {
				rights.Changed(q, m.row)
			}
			return err
		}
	}
	return fmt.Errorf("%w: no store makes %s/%s again", ErrRequest, m.void.Table, strconv.Quote(m.void.Key))
}
