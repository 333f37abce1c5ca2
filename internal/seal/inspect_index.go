package seal

import (
	"context"
	"errors"
	"slices"

	"github.com/cloakroom/cloakroom/internal/db"
	"github.com/cloakroom/cloakroom/internal/keys"
	"github.com/cloakroom/cloakroom/internal/record"
)

// want is a value under which a customer has to be found: under one of these, because
// while a key is rotated it is the old one's or the new one's.
type want struct {
	ord    record.Ordinal
	values []int64
	found  bool
}

// wanted are the index rows that customers should have.
type wanted struct{ lookups, externals []want }

func (w *wanted) add(k *brandKeys, ord record.Ordinal, c *record.Customer) {
	seen := map[int64]bool{}
	for _, under := range [][]keys.Key{k.index, k.incident} {
		for _, f := range searchable() {
			n, err := record.Normalize(f, c.Get(f), c.Get(record.Country))
			if c.Get(f) == "" || err != nil {
				continue
			}
			x := want{ord: ord}
			for i := range under {
				x.values = append(x.values, blind(under[i].Bytes(), indexLabel(f), n))
			}
			if !seen[x.values[0]] {
				seen[x.values[0]] = true
				w.lookups = append(w.lookups, x)
			}
		}
	}
	if values, err := k.externals(c.Get(record.ExternalID)); err == nil {
		w.externals = append(w.externals, want{ord: ord, values: values})
	}
}

// check asks for each, in one round trip.
func (w *wanted) check(ctx context.Context, i *inspector) error {
	var stmts []db.Stmt
	for n := range w.lookups {
		x := &w.lookups[n]
		for _, v := range x.values {
			stmts = append(stmts, db.Stmt{SQL: sqlInspectLookup, Args: []any{v, int64(x.ord)}, Scan: func(r db.Row) error {
				var rows int
				err := r.Scan(&rows)
				x.found = x.found || rows > 0
				return err
			}})
		}
	}
	for n := range w.externals {
		x := &w.externals[n]
		for _, v := range x.values {
			stmts = append(stmts, db.Stmt{SQL: sqlInspectExternal, Args: []any{v}, Scan: func(r db.Row) error {
				var ord int64
				err := r.Scan(&ord)
				x.found = x.found || record.Ordinal(ord) == x.ord
				return err
			}})
		}
	}
	if err := i.q.Batch(ctx, stmts); err != nil {
		return err
	}
	for _, x := range w.lookups {
		if !x.found {
			i.report(Fault{"lookups", x.ord, "an index entry is missing: a search by e-mail or phone does not find this customer"})
		}
	}
	for _, x := range w.externals {
		if !x.found {
			i.report(Fault{"externals", x.ord, "the external id leads to nobody, or to another customer"})
		}
	}
	return nil
}

// index looks at the next rows of an index: each has to lead to a customer who has
// the value.
func (i *inspector) index(ctx context.Context, table, first, next string, has func(k *brandKeys, c *record.Customer, v int64) bool) error {
	type row struct{ value, ord int64 }
	var all []row
	sql, args := first, []any{inspectSpan}
	if i.place.Begun {
		sql, args = next, []any{i.place.Value, i.place.Ord, inspectSpan}
		if table == "externals" {
			args = []any{i.place.Value, inspectSpan}
		}
	}
	err := i.q.Rows(ctx, func(r db.Row) error {
		var x row
		err := r.Scan(&x.value, &x.ord)
		all = append(all, x)
		return err
	}, sql, args...)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		i.place.Phase, i.place.Begun, i.place.Value, i.place.Ord = i.place.Phase+1, false, 0, 0
		return nil
	}
	last := all[len(all)-1]
	i.place.Begun, i.place.Value, i.place.Ord = true, last.value, last.ord
	profiles := make([]*seen, len(all))
	var stmts []db.Stmt
	for n, x := range all {
		stmts = append(stmts, db.Stmt{SQL: sqlInspectProfile, Args: []any{x.ord}, Scan: func(r db.Row) error {
			var brand int64
			s := &seen{rows: rows{ord: record.Ordinal(x.ord)}}
			err := r.Scan(&brand, &s.kek, &s.version, &s.wrapped, &s.profile)
			s.brand, s.wrapped, s.profile = record.BrandID(brand), slices.Clone(s.wrapped), slices.Clone(s.profile)
			profiles[n] = s
			return err
		}})
	}
	if err := i.q.Batch(ctx, stmts); err != nil {
		return err
	}
	for n, x := range all {
		s, ord := profiles[n], record.Ordinal(x.ord)
		if s == nil || i.keys[s.brand] == nil {
			i.report(Fault{table, ord, "an index entry that leads to nobody"})
			continue
		}
		var c record.Customer
		s.secret, err = i.s.unwrap(ctx, s.brand, ord, s.kek, s.wrapped)
		if err == nil {
			err = s.openProfile(s.brand, &c)
		}
		switch {
		case errors.Is(err, ErrDamaged), errors.Is(err, keys.ErrNoKey), errors.Is(err, ErrNoCustomer):
			continue // reported with the customer
		case err != nil:
			return err
		case !has(i.keys[s.brand], &c, x.value):
			i.report(Fault{table, ord, "an index entry of a value that the customer does not have"})
		}
	}
	return nil
}
