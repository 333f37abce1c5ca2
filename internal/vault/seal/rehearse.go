package seal

import (
	"context"
	"errors"
	"maps"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Rehearsal is what a write would do. Nothing of it can be applied, and nothing is
// reserved, catalogued or changed for it.
type Rehearsal struct {
	Outcomes  []Outcome
	Notes     []Note
	Errs      []error
	Purchases [][]Outcome // of purchases
	Withheld  []bool      // which stay out; see Prepared.Withheld
}

// Unchanged is how many of the things asked for are as asked already.
func (r *Rehearsal) Unchanged() (n int) {
	for _, o := range r.Outcomes {
		if o == Unchanged {
			n++
		}
	}
	return n
}

func newRehearsal(n int) *Rehearsal {
	return &Rehearsal{make([]Outcome, n), make([]Note, n), make([]error, n), make([][]Outcome, n), make([]bool, n)}
}

// Nobody says which of some customers are to be taken for nobody.
type Nobody func(context.Context, []record.Ordinal) (map[record.Ordinal]bool, error)

// present returns the records of those who are there, by what was asked for; nil for
// nobody.
func (s *Store) present(ctx context.Context, brand record.BrandID, n int, out *Rehearsal, nobody Nobody, purchases bool, id func(i int) (string, record.Ordinal)) (*brandKeys, []asked, []*rows, error) {
	k, found, err := s.find(ctx, brand, n, true, func(i int) (string, bool) {
		text, ord := id(i)
		return text, ord == 0
	})
	if err != nil {
		return nil, nil, nil, err
	}
	ords := make([]record.Ordinal, n)
	var known []record.Ordinal
	for i := range found {
		_, ords[i] = id(i)
		if ords[i] == 0 {
			ords[i], out.Errs[i] = found[i].ord, found[i].err
		}
		if ords[i] != 0 {
			known = append(known, ords[i])
		}
	}
	hidden := map[record.Ordinal]bool{}
	if nobody != nil && len(known) > 0 {
		if hidden, err = nobody(ctx, known); err != nil {
			return nil, nil, nil, err
		}
	}
	have, err := s.fetch(ctx, brand, known, purchases)
	if err != nil {
		return nil, nil, nil, err
	}
	all := make([]*rows, n)
	for i, ord := range ords {
		if given := func() bool { _, o := id(i); return o != 0 }(); given || !hidden[ord] {
			all[i] = have[ord]
		}
	}
	return k, found, all, nil
}

// RehearseCustomers says what PrepareCustomers and Apply would do.
func (s *Store) RehearseCustomers(ctx context.Context, brand record.BrandID, puts []Put, nobody Nobody) (*Rehearsal, error) {
	out := newRehearsal(len(puts))
	k, found, all, err := s.present(ctx, brand, len(puts), out, nobody, false, func(i int) (string, record.Ordinal) {
		return puts[i].Customer.Get(record.ExternalID), puts[i].Ord
	})
	if err != nil {
		return nil, err
	}
	w, err := s.wards(ctx, k, puts, found)
	if err != nil {
		return nil, err
	}
	return out, share(len(puts), func(i int) error {
		put := &puts[i]
		if stays, err := rehearseWard(w, put, all[i], out, i); stays || err != nil {
			return err
		}
		switch {
		case out.Errs[i] != nil:
		case all[i] == nil && put.Ord != 0:
			out.Errs[i] = ErrNoCustomer
		case all[i] == nil:
			out.Notes[i].Unfound = unfound(put.made(), put.Set)
		default:
			var old record.Customer
			if err := all[i].openProfile(brand, &old); err != nil {
				return err
			}
			if put.Ord == 0 && !sameExternal(&old, put.Customer.Get(record.ExternalID)) {
				out.Errs[i] = errOtherExternal
				break
			}
			if w != nil {
				_, x, _, err := w.lessen(brand, all[i], put)
				if out.Withheld[i] = x != nil; err != nil {
					return err
				}
			}
			now, err := put.laid(&old, &out.Notes[i])
			if _, refused := errors.AsType[*record.FieldError](err); refused {
				out.Errs[i] = err
				break
			}
			if err != nil {
				return err
			}
			out.Outcomes[i] = Updated
			if now.Columns == old.Columns && maps.Equal(now.Attributes, old.Attributes) {
				out.Outcomes[i] = Unchanged
			}
		}
		if out.Errs[i] != nil {
			out.Outcomes[i] = Failed
		}
		return nil
	})
}

// rehearseWard answers for a put that would stay out.
func rehearseWard(w *wards, put *Put, r *rows, out *Rehearsal, i int) (stays bool, err error) {
	if w == nil || r != nil || out.Errs[i] != nil || put.Known || put.Returns {
		return false, nil
	}
	x, why := w.earlier("", put.Ord), w.met(put)
	if put.Ord == 0 {
		x, why = w.hold(put)
	}
	if x == nil {
		return false, nil
	}
	out.Outcomes[i], _, err = w.lay(x, put, why, &out.Notes[i])
	if _, refused := errors.AsType[*record.FieldError](err); refused {
		out.Outcomes[i], out.Errs[i], err = Failed, err, nil
	}
	out.Withheld[i] = err == nil && out.Errs[i] == nil
	return true, err
}

// RehearsePurchases says what PreparePurchases and Apply would do.
func (s *Store) RehearsePurchases(ctx context.Context, brand record.BrandID, asked []Append, nobody Nobody) (*Rehearsal, error) {
	out := newRehearsal(len(asked))
	k, _, all, err := s.present(ctx, brand, len(asked), out, nobody, true, func(i int) (string, record.Ordinal) {
		return asked[i].ExternalID, asked[i].Ord
	})
	if err != nil {
		return nil, err
	}
	w, err := s.wardsOfAppends(ctx, k, asked)
	if err != nil {
		return nil, err
	}
	product := s.products(ctx, brand)
	return out, share(len(asked), func(i int) error {
		r := all[i]
		if r != nil && asked[i].Ord == 0 {
			var c record.Customer
			if err := r.openProfile(brand, &c); err != nil {
				return err
			}
			if !sameExternal(&c, asked[i].ExternalID) {
				r = nil
			}
		}
		if x := w.earlier(asked[i].ExternalID, asked[i].Ord); r == nil && x != nil && out.Errs[i] == nil {
			var more bool
			out.Purchases[i], more = w.buy(x, asked[i].Purchases)
			if out.Withheld[i], out.Outcomes[i] = true, Unchanged; more {
				out.Outcomes[i] = Updated
			}
			return nil
		}
		if r == nil && out.Errs[i] == nil {
			out.Errs[i] = ErrNoCustomer
		}
		if out.Errs[i] != nil {
			out.Outcomes[i] = Failed
			return nil
		}
		kept, err := r.openPurchases(brand, product)
		if err != nil {
			return err
		}
		_, out.Purchases[i], _ = merge(kept, asked[i].Purchases)
		out.Outcomes[i] = Unchanged
		for _, o := range out.Purchases[i] {
			if o != Unchanged {
				out.Outcomes[i] = Updated
			}
		}
		return nil
	})
}
