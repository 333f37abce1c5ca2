package upkeep

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// returned finds customers whose erasure the log says and of whom a key is in the database,
// other than those whose erasure is being carried out: somebody has put their rows back.
// Nobody is served by them.
func (d *Desk) returned(ctx context.Context, brand record.BrandID) ([]record.Ordinal, error) {
	gone, err := d.Ledger.AllGone(ctx, brand)
	if err != nil || len(gone) == 0 {
		return nil, err
	}
	due, err := d.Ledger.ErasuresDue(ctx, 0) // before the keys: what is carried out meanwhile has none
	if err != nil {
		return nil, err
	}
	carried := map[record.Ordinal]bool{}
	for _, x := range due {
		carried[x.Ord] = carried[x.Ord] || x.Brand == brand
	}
	return d.Seal.Keyed(ctx, brand, slices.DeleteFunc(gone, func(ord record.Ordinal) bool { return carried[ord] }))
}

// checkErased names customers of whom rows were put back after their erasure.
func (d *Desk) checkErased(ctx context.Context, out *api.Checked) error {
	all, err := d.Door.Brands.List(ctx)
	if err != nil {
		return err
	}
	for _, b := range all {
		back, err := d.returned(ctx, b.ID)
		if err != nil {
			return err
		}
		for _, ord := range back {
			if len(out.Faults) == checkFaults {
				break
			}
			out.Faults = append(out.Faults, api.CheckFault{Table: "customer_keys", Ordinal: uint32(ord), What: "the log says that this customer is erased, and their rows are there: somebody put them back; they serve nobody; `cloakroom db mend` erases them"})
		}
	}
	return nil
}

// mendErased erases those again whose rows were put back, as the log says.
func (d *Desk) mendErased(ctx context.Context, out *api.Mended, dry bool) error {
	all, err := d.Door.Brands.List(ctx)
	if err != nil {
		return err
	}
	for _, b := range all {
		back, err := d.returned(ctx, b.ID)
		if err != nil {
			return err
		}
		if len(back) == 0 {
			continue
		}
		out.Faults = append(out.Faults, api.CheckFault{Table: "customer_keys", What: fmt.Sprintf("%s: rows of %d customers that are erased by the log", b.Name, len(back))})
		out.Repairs = append(out.Repairs, fmt.Sprintf("%s: %d customers erased again, as the log says", b.Name, len(back)))
		if dry {
			continue
		}
		_, err = d.Erase.FinishErasures(ctx, b.ID, func(_ ledger.Receipt, ord record.Ordinal) bool { return slices.Contains(back, ord) })
		if err != nil {
			return fmt.Errorf("erasing again at %s: %w", b.Name, err)
		}
	}
	return nil
}

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
	if out.Unrotated, out.Oldest, err = d.Seal.CountDestroyed(ctx, v.Brand.ID, since); err != nil {
		return nil, err
	}
	return out, d.held(ctx, v.Brand.ID, out)
}

// held adds what legal holds keep.
func (d *Desk) held(ctx context.Context, brand record.BrandID, out *api.ErasureState) error {
	holds, err := d.Ledger.LegalHolds(ctx, brand)
	if err != nil || len(holds) == 0 {
		return err
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	out.Holds = len(holds)
	for i := range holds {
		if holds[i].Overdue(now) {
			out.Overdue = append(out.Overdue, holds[i].ID)
		}
	}
	for after := record.Ordinal(0); ; {
		const page = 5000
		list, err := d.Seal.CoolingAfter(ctx, brand, after, page)
		if err != nil {
			return err
		}
		var ords []record.Ordinal
		for _, x := range list {
			after, ords = x.Ord, append(ords, x.Ord)
		}
		held, err := d.Ledger.Held(ctx, brand, ords)
		if err != nil {
			return err
		}
		out.Held += int64(held.Len())
		if len(list) < page {
			return nil
		}
	}
}
