package export

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// What is sealed of an export.
const (
	sealedCohort   = "cohort"
	sealedCanaries = "decoys"
	sealedFilter   = "filter"
)

func sealFilter(own *seal.Extract, f *api.ExportFilter) ([]byte, error) {
	text, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("writing the filter: %w", err)
	}
	return own.Seal(sealedFilter, text)
}

func openList(own *seal.Extract, what string, b []byte) ([]record.Ordinal, error) {
	plain, err := own.Open(what, b)
	if err != nil {
		return nil, fmt.Errorf("opening the list of an export: %w", err)
	}
	return entry.DecodeSubjects(plain)
}

// Gather evaluates the next step of an export's filter. Whoever asked calls it until the
// export is not gathering any more; a step that was cut short is done again. How many
// match is not told before the end, and for an extract not of a few.
func (d *Desk) Gather(ctx context.Context, c identity.Caller, brand, id string) (*api.Export, error) {
	v, x, err := d.own(ctx, c, brand, id)
	if err != nil {
		return nil, err
	}
	if x.State != Gathering {
		return d.shown(ctx, v, x)
	}
	own, err := d.Seal.Extract(ctx, x.Brand, x.ID)
	if err != nil {
		return nil, err
	}
	text, err := own.Open(sealedFilter, x.Filter)
	if err != nil {
		return nil, fmt.Errorf("opening the filter of an export: %w", err)
	}
	var in api.ExportFilter
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("reading the filter of an export: %w", err)
	}
	f, err := filterOf(&in)
	if err != nil {
		return nil, err
	}
	if _, err := authorize(ctx, v, x.Form, x.Purpose, x.Fields|f.Fields()); err != nil {
		return nil, err
	}
	found, last, err := d.match(ctx, v, x, f)
	if err != nil {
		return nil, err
	}
	if d.Canaries != nil {
		if err := d.Canaries.Refresh(ctx, x.Brand); err != nil {
			return nil, err
		}
		found = slices.DeleteFunc(found, func(ord record.Ordinal) bool { return d.Canaries.Contains(x.Brand, ord) })
	}
	have, err := openList(own, sealedCohort, x.Cohort)
	if err != nil {
		return nil, err
	}
	have = append(have, found...) // each step's are above those before
	from := x.Position
	x.Position, x.Customers = last, len(have)
	if last == 0 {
		x.Position = x.Bound
		if in.Sample > 0 && in.Sample < len(have) {
			have = own.Shuffle(have)[:in.Sample]
			slices.Sort(have)
			x.Customers = len(have)
		}
		if err := enough(x.Form, len(have)); err != nil || len(have) == 0 {
			if err == nil {
				err = bad("nobody meets the filter")
			}
			x.State, x.Customers, x.Cohort = Refused, 0, nil
			serr := d.frozen(ctx, v, x, from, entry.ExportRefused{ExportFacts: x.facts()})
			if serr != nil && !errors.Is(serr, errOvertaken) {
				return nil, serr
			}
			return nil, err
		}
		x.State = Requested
	}
	if x.Cohort, err = own.Seal(sealedCohort, entry.EncodeSubjects(have)); err != nil {
		return nil, err
	}
	if x.State == Requested {
		err = d.frozen(ctx, v, x, from, entry.ExportFrozen{ExportFacts: x.facts()})
	} else if ok, gerr := d.Store.gathered(ctx, d.DB, x, from); gerr != nil || !ok {
		err = cmp.Or(gerr, errOvertaken)
	}
	if errors.Is(err, errOvertaken) { // another call did this step, or it was stopped
		return d.Show(ctx, c, brand, id)
	}
	if err != nil {
		return nil, err
	}
	return d.shown(ctx, v, x)
}

// frozen ends the gathering of an export: with its entry, its list changes no more.
func (d *Desk) frozen(ctx context.Context, v *door.Visit, x *Export, from record.Ordinal, detail entry.Detail) error {
	return d.change(ctx, v, x, detail, func(q db.Queryer, _ time.Time) error {
		ok, err := d.Store.gathered(ctx, q, x, from)
		if err == nil && !ok {
			err = errOvertaken
		}
		return err
	})
}

// keptOrders bounds the exports whose order is in memory.
const keptOrders = 4

// order returns who leaves, canaries among them, in the order of the file.
func (d *Desk) order(ctx context.Context, x *Export) ([]record.Ordinal, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o, ok := d.orders[x.ID]; ok {
		return o, nil
	}
	own, err := d.Seal.Extract(ctx, x.Brand, x.ID)
	if err != nil {
		return nil, err
	}
	all, err := openList(own, sealedCohort, x.Cohort)
	if err != nil {
		return nil, err
	}
	canaries, err := openList(own, sealedCanaries, x.Canaries)
	if err != nil {
		return nil, err
	}
	all = append(all, canaries...)
	slices.Sort(all)
	out := own.Shuffle(slices.Compact(all))
	if d.orders == nil || len(d.orders) >= keptOrders {
		d.orders = map[string][]record.Ordinal{}
	}
	d.orders[x.ID] = out
	return out, nil
}

func parts(n int) int { return (n + PartCustomers - 1) / PartCustomers }
