package upkeep

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

// Granted hands fn the rows of a store that grant or stop something, each with the brand
// in whose log it is.
type Granted func(ctx context.Context, q db.Queryer, fn func(brand record.BrandID, r rights.Row)) error

// rows reads the rows of every store, by brand.
func (d *Desk) rows(ctx context.Context, q db.Queryer) (map[record.BrandID][]rights.Row, error) {
	out := map[record.BrandID][]rights.Row{}
	for _, granted := range d.Granted {
		err := granted(ctx, q, func(brand record.BrandID, r rights.Row) {
			if !r.Gone {
				out[brand] = append(out[brand], r)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// SealRows seals the rights that a vault of an earlier release has, so that they stay in
// force as they are and nothing else comes into force beside them. It does so once for
// each brand; a vault that began with this release has nothing to seal.
func (d *Desk) SealRows(ctx context.Context) error {
	list, err := d.Ledger.Unsealed(ctx)
	if err != nil {
		return err
	}
	for _, brand := range list { // the group first: it knows the brands
		err := d.Ledger.SealRows(ctx, brand, func(q db.Queryer) ([]rights.Row, error) {
			rows, err := d.rows(ctx, q)
			return rows[brand], err
		})
		if err != nil {
			return fmt.Errorf("sealing the rights of brand %d as they are: %w", brand, err)
		}
	}
	return nil
}

// ResealRows seals the rights of a copy that was restored as they are, where they are not
// what its logs say: a backup's tables may be older than its logs.
func (d *Desk) ResealRows(ctx context.Context) error {
	sizes, err := d.Ledger.Sizes(ctx)
	if err != nil {
		return err
	}
	for _, brand := range slices.Sorted(maps.Keys(sizes)) {
		err := d.Ledger.ResealRows(ctx, brand, func(q db.Queryer) ([]rights.Row, error) {
			rows, err := d.rows(ctx, q)
			return rows[brand], err
		})
		if err != nil {
			return fmt.Errorf("sealing the rights of brand %d as they were restored: %w", brand, err)
		}
	}
	return nil
}

// voids returns the rows that are not what their logs say, of every log and of none.
func (d *Desk) voids(ctx context.Context) (out []rights.Void, err error) {
	sizes, err := d.Ledger.Sizes(ctx)
	if err != nil {
		return nil, err
	}
	all, err := d.rows(ctx, d.DB)
	if err != nil {
		return nil, err
	}
	logs := slices.Collect(maps.Keys(sizes))
	for brand := range all {
		if _, ok := sizes[brand]; !ok {
			logs = append(logs, brand)
		}
	}
	slices.Sort(logs)
	for _, brand := range logs {
		first := true
		void, err := d.Ledger.Void(ctx, brand, func(q db.Queryer) (rights.Found, error) {
			rows := all
			if !first { // under the lock of the log
				if rows, err = d.rows(ctx, q); err != nil {
					return rights.Found{}, err
				}
			}
			first = false
			return rights.Found{Rows: rows[brand], All: true}, nil
		})
		if err != nil {
			return nil, err
		}
		out = append(out, void...)
	}
	return out, nil
}

// checkRights names every row that is not what its log says.
func (d *Desk) checkRights(ctx context.Context) (out []api.CheckFault, err error) {
	void, err := d.voids(ctx)
	for i := range void {
		out = append(out, voidFault(&void[i], ""))
	}
	return out, err
}

// voidFault says that a row is void, and why it cannot be mended.
func voidFault(v *rights.Void, why string) api.CheckFault {
	of := "the group"
	if v.Brand != record.Group {
		of = fmt.Sprintf("brand %d", v.Brand)
	}
	if why != "" {
		why = "; " + why
	}
	return api.CheckFault{Table: v.Table, What: fmt.Sprintf("row %s of %s %s: the row is void, it grants nothing%s", v.Key, of, v.What, why)}
}
