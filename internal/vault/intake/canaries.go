package intake

import (
	"context"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// Canaries mixes canaries among those that callers bring in, and has them give way
// to customers of their numbers. Package canary does.
type Canaries interface {
	// Mix returns who is to go in among the customers of one import; nil for nobody. Once
	// their ordinals are reserved, and before the import is logged, known is told them, in
	// the order of Puts, 0 for those who are not taken; again where the import has to be
	// prepared anew.
	Mix(ctx context.Context, brand record.BrandID, puts []seal.Put) (among *seal.Among, known func(context.Context, []record.Ordinal) error, err error)
	// Buy returns the purchases that canaries make with those of one import: customers who
	// never buy again would be told apart by that. Before they are logged, known is called.
	Buy(ctx context.Context, brand record.BrandID, appends []seal.Append) (more []seal.Append, known func(context.Context) error, err error)
	// GiveWay returns the writes by which those of the customers who are canaries take other
	// external ids, already noted; none where nobody is one.
	GiveWay(ctx context.Context, brand record.BrandID, ords []record.Ordinal) ([]seal.Put, error)
	// Mark returns a sealed number of canaries that a write met, of one length whatever the
	// number and wherever there are canaries: it stands in the write's entry, for detection.
	Mark(brand record.BrandID, met int) string
	// Giving returns which of the customers are decoys that would give way.
	Giving(ctx context.Context, brand record.BrandID, ords []record.Ordinal) (map[record.Ordinal]bool, error)
}

// draws bounds how often another number is sought for a canary.
const draws = 20

// mixing is what of a write concerns canaries.
type mixing struct {
	asked bool
	among *seal.Among
	known func(context.Context, []record.Ordinal) error
	more  []seal.Append
	noted func(context.Context) error
	met   int // canaries whose numbers the caller used; one that got purchases counts double
}

// prepareCustomers prepares customers, canaries among them where an import is due some. A
// canary whose number a caller uses gives way first, so that the caller is answered as if
// nobody had it: otherwise a customer would become a canary, and the answer would tell.
func (w *pending) prepareCustomers(ctx context.Context, puts []seal.Put) (*seal.Prepared, error) {
	d, brand := w.d, w.v.Brand.ID
	if d.Canaries == nil || w.plain {
		return w.sealed(ctx, puts, nil)
	}
	m := &w.mixing
	if !m.asked && w.kind == entry.KindImport {
		var err error
		if m.among, m.known, err = d.Canaries.Mix(ctx, brand, puts); err != nil {
			return nil, err
		}
		m.asked = true
	}
	var ahead []seal.Put // canaries whose numbers customers take who are there already
	var taken []record.Ordinal
	for i := range puts {
		if puts[i].Ord == 0 || !puts[i].Set.Has(record.ExternalID) {
			continue
		}
		ords, err := d.Seal.Lookup(ctx, brand, record.ExternalID, puts[i].Customer.Get(record.ExternalID), "")
		if err != nil {
			continue // no number: it is refused below
		}
		if len(ords) == 1 && ords[0] != puts[i].Ord {
			taken = append(taken, ords[0])
		}
	}
	ahead, err := d.way(ctx, brand, taken)
	if err != nil {
		return nil, err
	}
	m.met = len(ahead)
	among := seal.Giving(m.among, ahead)
	for range conflicts {
		p, err := w.sealed(ctx, puts, among)
		if err != nil {
			return nil, err
		}
		ords := named(p, len(puts), func(i int) bool { return puts[i].Ord == 0 })
		// In the entry of the write, in which nobody sees it.
		way, err := d.way(ctx, brand, ords)
		if err != nil {
			return nil, err
		}
		if len(way) > 0 {
			m.met += len(way)
			among = seal.Giving(among, way)
			continue
		}
		if m.among == nil {
			return p, nil
		}
		mixed := make([]record.Ordinal, len(m.among.Puts))
		for i := range mixed {
			if p.Err(len(puts)+i) == nil {
				mixed[i] = p.Ord(len(puts) + i)
			}
		}
		return p, m.known(ctx, mixed)
	}
	return nil, seal.ErrConflict
}

// preparePurchases prepares purchases. For who names a canary by its number there is
// nobody of that number: the canary stays as it is, and detection is told.
func (w *pending) preparePurchases(ctx context.Context, appends []seal.Append) (*seal.Prepared, error) {
	d, brand, m := w.d, w.v.Brand.ID, &w.mixing
	if d.Canaries == nil {
		return d.Seal.PreparePurchases(ctx, brand, appends)
	}
	if !m.asked && w.kind == entry.KindImport {
		var err error
		if m.more, m.noted, err = d.Canaries.Buy(ctx, brand, appends); err != nil {
			return nil, err
		}
		m.asked = true
	}
	all := appends
	if len(m.more) > 0 {
		all = slices.Concat(appends, m.more)
	}
	p, err := d.Seal.PreparePurchasesBut(ctx, brand, all, func(ctx context.Context, ords []record.Ordinal) (map[record.Ordinal]bool, error) {
		hidden, err := d.Canaries.Giving(ctx, brand, ords)
		m.met = 2 * len(hidden)
		return hidden, err
	})
	if err != nil {
		return nil, err
	}
	if m.noted != nil {
		if err := m.noted(ctx); err != nil {
			return nil, err
		}
		m.noted = nil
	}
	return p, nil
}

// named are those who were found by their numbers.
func named(p *seal.Prepared, n int, byNumber func(i int) bool) (out []record.Ordinal) {
	for i := range n {
		if byNumber(i) && p.Err(i) == nil && p.Outcome(i) != seal.Created {
			out = append(out, p.Ord(i))
		}
	}
	return out
}

// way returns how those of the customers who are canaries take numbers that nobody has.
func (d *Desk) way(ctx context.Context, brand record.BrandID, ords []record.Ordinal) ([]seal.Put, error) {
	if len(ords) == 0 {
		return nil, nil
	}
	for range draws {
		puts, err := d.Canaries.GiveWay(ctx, brand, ords)
		if err != nil || len(puts) == 0 {
			return nil, err
		}
		taken := false
		for i := range puts {
			have, err := d.Seal.Lookup(ctx, brand, record.ExternalID, puts[i].Customer.Get(record.ExternalID), "")
			if err != nil {
				return nil, err
			}
			taken = taken || len(have) > 0
		}
		if !taken {
			return puts, nil
		}
	}
	return nil, seal.ErrConflict
}
