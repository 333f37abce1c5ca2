package seal

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
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
	return s.PreparePurchasesBut(ctx, brand, asked, nil)
}

// PreparePurchasesBut is PreparePurchases where some of those who are named by external id
// are to be taken for nobody.
func (s *Store) PreparePurchasesBut(ctx context.Context, brand record.BrandID, asked []Append, nobody Nobody) (*Prepared, error) {
	k, found, err := s.find(ctx, brand, len(asked), true, func(i int) (string, bool) {
		return asked[i].ExternalID, asked[i].Ord == 0
	})
	if err != nil {
		return nil, err
	}
	p := newPrepared(brand, len(asked))
	w, err := s.wardsOfAppends(ctx, k, asked)
	if err != nil {
		return nil, err
	}
	stays := make([]*withheld, len(asked))
	if w != nil {
		p.tombs, p.held, p.whole = w.tombs, make([]bool, len(asked)), make([]bool, len(asked))
	}
	for i := range asked {
		if found[i].err != nil {
			p.fail(i, found[i].err)
			continue
		}
		p.ords[i] = found[i].ord
	}
	if nobody != nil {
		hidden, err := nobody(ctx, slices.DeleteFunc(slices.Clone(p.ords), func(ord record.Ordinal) bool { return ord == 0 }))
		if err != nil {
			return nil, err
		}
		for i := range p.ords {
			if hidden[p.ords[i]] {
				p.ords[i] = 0
			}
		}
	}
	var known []record.Ordinal
	for i := range asked {
		if asked[i].Ord != 0 {
			p.ords[i] = asked[i].Ord
		}
		if p.ords[i] != 0 {
			known = append(known, p.ords[i])
		}
	}
	have, err := s.fetch(ctx, brand, known, true)
	if err != nil {
		return nil, err
	}
	pk, err := s.packer(ctx, brand, len(asked), func(i int) []record.Purchase { return asked[i].Purchases })
	if err != nil {
		return nil, err
	}
	err = p.each(len(asked), func(i int) (*change, error) {
		r := have[p.ords[i]]
		if r != nil && asked[i].Ord == 0 {
			var c record.Customer
			if err := r.openProfile(brand, &c); err != nil {
				return nil, err
			}
			if !sameExternal(&c, asked[i].ExternalID) {
				r, p.ords[i] = nil, 0 // nobody has this id: it shares the index value of another
			}
		}
		if r == nil {
			if x := w.earlier(asked[i].ExternalID, asked[i].Ord); x != nil && p.errs[i] == nil {
				var more bool
				p.detail[i], more = w.buy(x, asked[i].Purchases)
				p.ords[i], p.held[i], p.whole[i], p.outcomes[i] = x.ord, true, true, Unchanged
				if more {
					p.outcomes[i], stays[i] = Updated, x
				}
				return nil, nil
			}
			if p.errs[i] == nil {
				p.fail(i, ErrNoCustomer)
			}
			return nil, nil
		}
		c, outcomes, err := pk.append(r, asked[i].Purchases)
		p.detail[i], p.outcomes[i] = outcomes, Unchanged
		if c != nil {
			p.outcomes[i] = Updated
		}
		return c, err
	})
	p.stays = slices.DeleteFunc(stays, func(x *withheld) bool { return x == nil })
	return p, err
}

// packer packs purchases into segments. It is safe for concurrent use.
type packer struct {
	brand    record.BrandID
	products products
	known    map[product]uint64 // numbers of those in the catalogue
	numbers  [][]uint64         // of each customer's new purchases, 0: none
	created  []Outcome          // as many as a customer can need, and of all of them
	memory   *sync.Pool         // the store's
}

// append returns nil where nothing changes.
func (pk *packer) append(r *rows, purchases []record.Purchase) (*change, []Outcome, error) {
	kept, err := r.openPurchases(pk.brand, pk.products)
	if err != nil {
		return nil, nil, err
	}
	stored := len(kept)
	kept, outcomes, replaced := merge(kept, purchases)
	if !slices.ContainsFunc(outcomes, func(o Outcome) bool { return o != Unchanged }) {
		return nil, outcomes, nil
	}
	c := &change{ord: r.ord, secret: r.secret, version: r.version, epoch: r.epoch, segments: r.segments}
	if c.aead, err = opener.GCM(c.secret.dek()); err != nil {
		return nil, nil, fmt.Errorf("sealing purchases: %w", err)
	}
	added := kept[stored:]
	full := (len(kept) + segmentPurchases - 1) / segmentPurchases
	if replaced || r.segments+(len(added)+segmentPurchases-1)/segmentPurchases > full+slack {
		c.rewrite, added = true, kept
	}
	pk.seal(c, added, pk.numbered(added))
	return c, outcomes, nil
}

// numbered returns the numbers of products in the catalogue.
func (pk *packer) numbered(ps []record.Purchase) []uint64 {
	out := make([]uint64, len(ps))
	for i := range ps {
		out[i] = pk.known[product{ps[i].SKU, ps[i].Description}]
	}
	return out
}

// pack packs the purchases of a new customer, the i-th.
func (pk *packer) pack(c *change, i int, purchases []record.Purchase) ([]Outcome, error) {
	if len(purchases) == 0 {
		return nil, nil
	}
	if record.DistinctIDs(purchases) {
		pk.seal(c, purchases, pk.numbers[i])
		return pk.created[:len(purchases):len(purchases)], nil
	}
	kept, outcomes, _ := merge(nil, purchases)
	pk.seal(c, kept, pk.numbered(kept))
	return outcomes, nil
}

// seal adds segments to a change: after those there are, or in place of all.
func (pk *packer) seal(c *change, added []record.Purchase, numbers []uint64) {
	epoch, first := c.epoch, c.segments
	if c.rewrite {
		epoch, first = epoch+1, 0
	}
	if len(added) <= segmentPurchases {
		c.packed = c.one[:0]
	}
	m := pk.memory.Get().(*memory)
	defer pk.memory.Put(m)
	for i := 0; len(added) > 0; i++ {
		n := min(len(added), segmentPurchases)
		m.plain = record.AppendPurchases(m.plain[:0], added[:n], numbers[:n])
		b := m.closed(c.aead, m.plain, appendPlace(m.place[:0], pk.brand, c.ord, purchaseRecord, segmentNumber(epoch, first+i)))
		c.packed, added, numbers = append(c.packed, b), added[n:], numbers[n:]
	}
}

// merge lays purchases over those kept, by purchase id. Those not kept yet come after
// them. replaced says that one of those kept became another.
func merge(kept, purchases []record.Purchase) (all []record.Purchase, outcomes []Outcome, replaced bool) {
	outcomes = make([]Outcome, len(purchases))
	stored := len(kept)
	if stored == 0 && record.DistinctIDs(purchases) {
		return purchases, outcomes, false
	}
	at := make(map[string]int, len(kept)+len(purchases))
	for i := range kept {
		at[kept[i].ID] = i
	}
	for i, p := range purchases {
		p.At = p.At.UTC().Truncate(time.Microsecond)
		j, known := at[p.ID]
		switch {
		case !known:
			at[p.ID] = len(kept)
			kept = append(kept, p)
		case kept[j].Mark.Covers(p.Mark), p.Mark.Source == 0 && same(&kept[j], &p):
			outcomes[i] = Unchanged
		default:
			if p.Mark.Source == 0 {
				p.Mark = kept[j].Mark
			}
			outcomes[i] = Updated
			replaced = replaced || j < stored
			kept[j] = p
		}
	}
	return kept, outcomes, replaced
}

func same(a, b *record.Purchase) bool {
	x, y := *a, *b
	x.At, y.At = time.Time{}, time.Time{}
	x.Mark, y.Mark = record.Mark{}, record.Mark{}
	return x == y && a.At.Equal(b.At)
}
