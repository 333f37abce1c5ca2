package seal

import (
	"context"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/record"
)

// segmentPurchases is how many purchases a full segment holds.
const segmentPurchases = 32

// slack is how many segments beyond those needed a customer may have before all are
// packed anew.
const slack = 4

// PreparePurchases compares purchases with those kept, by purchase id, and seals
// what is new. A purchase that differs from the kept one of its id replaces it. Each
// customer may stand once. Values must have passed record.Purchase.Check.
func (s *Store) PreparePurchases(ctx context.Context, brand record.BrandID, asked []Append) (*Prepared, error) {
	_, found, err := s.find(ctx, brand, len(asked), func(i int) (string, bool) {
		return asked[i].ExternalID, asked[i].Ord == 0
	})
	if err != nil {
		return nil, err
	}
	p := &Prepared{
		brand: brand, outcomes: make([]Outcome, len(asked)), errs: make([]error, len(asked)), detail: make([][]Outcome, len(asked)),
	}
	ords := make([]record.Ordinal, len(asked))
	for i := range asked {
		ords[i] = found[i].ord
		if found[i].err != nil {
			p.fail(i, found[i].err)
		}
	}
	var known []record.Ordinal
	for i := range asked {
		if asked[i].Ord != 0 {
			ords[i] = asked[i].Ord
		}
		if ords[i] != 0 {
			known = append(known, ords[i])
		}
	}
	have, err := s.fetch(ctx, brand, known, true)
	if err != nil {
		return nil, err
	}
	for i := range asked {
		r := have[ords[i]]
		if r == nil {
			if p.errs[i] == nil {
				p.fail(i, ErrNoCustomer)
			}
			continue
		}
		c, outcomes, err := r.append(brand, asked[i].Purchases)
		if err != nil {
			return nil, err
		}
		p.detail[i], p.outcomes[i] = outcomes, Unchanged
		if c != nil {
			p.outcomes[i] = Updated
			p.changes = append(p.changes, *c)
		}
	}
	p.ords = ords
	p.sort()
	return p, nil
}

// append returns nil where nothing changes.
func (r *rows) append(brand record.BrandID, purchases []record.Purchase) (*change, []Outcome, error) {
	kept, err := r.openPurchases(brand)
	if err != nil {
		return nil, nil, err
	}
	at := make(map[string]int, len(kept))
	for i := range kept {
		at[kept[i].ID] = i
	}
	outcomes := make([]Outcome, len(purchases))
	stored := len(kept)
	changed, replaced := false, false
	for i, p := range purchases {
		p.At = p.At.UTC().Truncate(time.Microsecond)
		j, known := at[p.ID]
		switch {
		case !known:
			at[p.ID] = len(kept)
			kept = append(kept, p)
			changed = true
		case same(&kept[j], &p):
			outcomes[i] = Unchanged
		default:
			outcomes[i] = Updated
			replaced = replaced || j < stored
			kept[j], changed = p, true
		}
	}
	if !changed {
		return nil, outcomes, nil
	}
	c := &change{ord: r.ord, secret: r.secret, version: r.version, epoch: r.epoch, segments: r.segments}
	added := kept[stored:]
	full := (len(kept) + segmentPurchases - 1) / segmentPurchases
	if replaced || r.segments+(len(added)+segmentPurchases-1)/segmentPurchases > full+slack {
		c.rewrite, added = true, kept
	}
	epoch, first := c.epoch, c.segments
	if c.rewrite {
		epoch, first = epoch+1, 0
	}
	dek := r.secret.dek()
	for i := 0; len(added) > 0; i++ {
		n := min(len(added), segmentPurchases)
		plain := record.AppendPurchases(nil, added[:n], noProduct)
		b, err := sealed(nil, dek, plain, place(brand, r.ord, purchaseRecord, segmentNumber(epoch, first+i)))
		if err != nil {
			return nil, nil, fmt.Errorf("sealing purchases: %w", err)
		}
		c.packed, added = append(c.packed, b), added[n:]
	}
	return c, outcomes, nil
}

func noProduct(record.Purchase) (uint64, bool) { return 0, false }

func same(a, b *record.Purchase) bool {
	x, y := *a, *b
	x.At, y.At = time.Time{}, time.Time{}
	return x == y && a.At.Equal(b.At)
}
