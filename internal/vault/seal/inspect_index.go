package seal

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
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

const (
	sqlPostgresInspectLookups   = `SELECT value, ord FROM lookups WHERE value = ANY($1::bigint[]) AND ord >= $2 AND ord < $3`
	sqlSQLiteInspectLookups     = `SELECT l.value, l.ord FROM json_each($1) AS j JOIN lookups AS l ON l.value = j.value WHERE l.ord >= $2 AND l.ord < $3`
	sqlPostgresInspectExternals = `SELECT value, ord FROM externals WHERE value = ANY($1::bigint[]) AND ord >= $2 AND ord < $3`
	sqlSQLiteInspectExternals   = `SELECT e.value, e.ord FROM json_each($1) AS j JOIN externals AS e ON e.value = j.value WHERE e.ord >= $2 AND e.ord < $3`
)

// find marks those that are there.
func (i *inspector) find(ctx context.Context, postgres, sqlite string, list []want, from, to int64) error {
	var values []int64
	for n := range list {
		values = append(values, list[n].values...)
	}
	sql, arg := postgres, any(values)
	if i.q.Engine() == db.SQLite {
		text, err := json.Marshal(values)
		if err != nil {
			return err
		}
		sql, arg = sqlite, string(text)
	}
	type row struct{ value, ord int64 }
	there := map[row]bool{}
	err := i.q.Rows(ctx, func(r db.Row) error {
		var x row
		err := r.Scan(&x.value, &x.ord)
		there[x] = true
		return err
	}, sql, arg, from, to)
	for n := range list {
		x := &list[n]
		x.found = slices.ContainsFunc(x.values, func(v int64) bool { return there[row{v, int64(x.ord)}] })
	}
	return err
}

// check looks for each of those of a range of ordinals.
func (w *wanted) check(ctx context.Context, i *inspector, from, to int64) error {
	if err := i.find(ctx, sqlPostgresInspectLookups, sqlSQLiteInspectLookups, w.lookups, from, to); err != nil {
		return err
	}
	if err := i.find(ctx, sqlPostgresInspectExternals, sqlSQLiteInspectExternals, w.externals, from, to); err != nil {
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
