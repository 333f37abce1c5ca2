package seal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Fault is something wrong in the database: where, and what. It holds no value.
type Fault struct {
	Table string
	Ord   record.Ordinal // 0: of no customer
	What  string
}

// Place is where an inspection stands, so that it can go on from there, in another
// request or after a stop. The zero Place is the beginning.
type Place struct {
	Phase     int
	Ord       int64 // the next ordinal; in the phases of indexes, the last one seen
	Value     int64
	Begun     bool // Value and Ord are of a row
	Customers int64
	Segments  int64
	Expected  int64 // index values that the customers should have
	Faults    int64
}

// The phases of an inspection.
const (
	inspectKeys = iota
	inspectCustomers
	inspectCounts
	inspectLookups
	inspectExternals
	inspectDone
)

// Done reports whether everything was looked at.
func (p Place) Done() bool { return p.Phase >= inspectDone }

const (
	sqlInspectBrands    = `SELECT id FROM brands ORDER BY id`
	sqlInspectLast      = `SELECT coalesce(max(ord), 0) FROM customers UNION ALL SELECT coalesce(max(ord), 0) FROM customer_keys UNION ALL SELECT coalesce(max(ord), 0) FROM purchases UNION ALL SELECT coalesce(max(ord), 0) FROM former_values UNION ALL SELECT coalesce(max(ord), 0) FROM cooling`
	sqlInspectCustomers = `SELECT ord, brand, erased, sealed, bought FROM customers WHERE ord >= $1 AND ord < $2`
	sqlInspectSecrets   = `SELECT ord, brand, kek, version, epoch, segments, wrapped FROM customer_keys WHERE ord >= $1 AND ord < $2`
	sqlInspectCooling   = `SELECT ord, brand, kek, version, epoch, segments, wrapped FROM cooling WHERE ord >= $1 AND ord < $2`
	sqlInspectSegments  = `SELECT ord, segment, sealed FROM purchases WHERE ord >= $1 AND ord < $2 ORDER BY ord, segment`
	sqlInspectFormer    = `SELECT DISTINCT ord FROM former_values WHERE ord >= $1 AND ord < $2`
	sqlCountLookups     = `SELECT count(*) FROM lookups`
	sqlCountExternals   = `SELECT count(*) FROM externals`
	sqlNextLookups      = `SELECT value, ord FROM lookups WHERE (value, ord) > ($1, $2) ORDER BY value, ord LIMIT $3`
	sqlFirstLookups     = `SELECT value, ord FROM lookups ORDER BY value, ord LIMIT $1`
	sqlNextExternals    = `SELECT value, ord FROM externals WHERE value > $1 ORDER BY value LIMIT $2`
	sqlFirstExternals   = `SELECT value, ord FROM externals ORDER BY value LIMIT $1`
	sqlInspectProfile   = `SELECT k.brand, k.kek, k.version, k.wrapped, c.sealed FROM customer_keys k JOIN customers c ON c.ord = k.ord WHERE k.ord = $1 AND c.erased = 0`
)

// inspectSpan is how many ordinals, or index rows, one step looks at: that bounds its
// memory.
const inspectSpan = 500

// Last is the greatest ordinal that stands in any table: how far an inspection goes.
func (s *Store) Last(ctx context.Context) (int64, error) {
	last := int64(0)
	err := s.db.Rows(ctx, func(r db.Row) error {
		var n int64
		err := r.Scan(&n)
		last = max(last, n)
		return err
	}, sqlInspectLast)
	if err != nil {
		return 0, fmt.Errorf("reading the last ordinal: %w", err)
	}
	return last, nil
}

// inspector makes one step.
type inspector struct {
	s      *Store
	q      db.Queryer
	place  *Place
	report func(Fault)
	keys   map[record.BrandID]*brandKeys
}

// Inspect looks at the next part of the database, as of one moment, and returns where
// to go on. It opens records, tells nobody what is in them, and changes nothing. It
// may run beside everything else.
func (s *Store) Inspect(ctx context.Context, at Place, report func(Fault)) (Place, error) {
	next := at
	last, err := s.Last(ctx)
	if err != nil {
		return at, err
	}
	brands, err := s.brandsOf(ctx)
	if err != nil {
		return at, err
	}
	if at.Phase == inspectKeys {
		next = Place{Phase: inspectCustomers}
		err := s.inspectKeys(ctx, brands, func(f Fault) {
			next.Faults++
			report(f)
		})
		return next, err
	}
	for range rotations {
		i := inspector{s: s, place: &next, keys: map[record.BrandID]*brandKeys{}}
		var faults []Fault
		i.report = func(f Fault) { faults = append(faults, f) }
		for _, b := range brands {
			if i.keys[b], err = s.brandKeys(ctx, b); err != nil {
				return at, err
			}
		}
		same := true
		err := s.db.Snapshot(ctx, func(q db.Queryer) error {
			next, faults, same, i.q = at, nil, true, q
			var stmts []db.Stmt
			newest := map[record.BrandID]*int{}
			for _, b := range brands {
				newest[b] = new(int)
				stmts = append(stmts, keys.Newest(b, keys.Index, newest[b]))
			}
			group := 0
			if err := q.Batch(ctx, append(stmts, keys.Newest(record.Group, keys.Incident, &group))); err != nil {
				return err
			}
			for _, b := range brands {
				same = same && *newest[b] == i.keys[b].index[0].Version && group == i.keys[b].incident[0].Version
			}
			if !same {
				return nil
			}
			return i.step(ctx, last)
		})
		if err != nil {
			return at, fmt.Errorf("checking the database: %w", err)
		}
		if same {
			for _, f := range faults {
				report(f)
			}
			next.Faults += int64(len(faults))
			return next, nil
		}
	}
	return at, fmt.Errorf("checking the database: %w", keys.ErrRotated)
}

func (s *Store) brandsOf(ctx context.Context) ([]record.BrandID, error) {
	var out []record.BrandID
	err := s.db.Rows(ctx, func(r db.Row) error {
		var id int64
		err := r.Scan(&id)
		out = append(out, record.BrandID(id))
		return err
	}, sqlInspectBrands)
	if err != nil {
		return nil, fmt.Errorf("listing brands: %w", err)
	}
	return out, nil
}

// inspectKeys opens every key of every brand.
func (s *Store) inspectKeys(ctx context.Context, brands []record.BrandID, report func(Fault)) error {
	for _, b := range append([]record.BrandID{record.Group}, brands...) {
		there := map[keys.Kind]bool{}
		list, err := s.ring.List(ctx, b)
		if err != nil {
			return err
		}
		for _, k := range list {
			there[k.Kind] = true
			_, err := s.ring.Version(ctx, b, k.Kind, k.Version)
			if errors.Is(err, keys.ErrUnwrap) {
				report(Fault{Table: "brand_keys", What: fmt.Sprintf("the %s key of brand %d, version %d, does not open", k.Kind, b, k.Version)})
			} else if err != nil && !errors.Is(err, keys.ErrNoKey) {
				return err
			}
		}
		for _, kind := range keys.Kinds(b) {
			if !there[kind] {
				report(Fault{Table: "brand_keys", What: fmt.Sprintf("brand %d has no %s key", b, kind)})
			}
		}
	}
	return nil
}

func (i *inspector) step(ctx context.Context, last int64) error {
	switch i.place.Phase {
	case inspectCustomers:
		if err := i.customers(ctx, i.place.Ord, i.place.Ord+inspectSpan); err != nil {
			return err
		}
		if i.place.Ord += inspectSpan; i.place.Ord > last {
			i.place.Phase = inspectCounts
		}
	case inspectCounts:
		// What a customer should have is there. If there are no more rows than that, there
		// is none that should not be, and nobody needs to look at each. While others write
		// the numbers may differ, and with faults they say nothing: then each is looked at.
		var lookups, externals int64
		if err := i.q.Row(ctx, sqlCountLookups).Scan(&lookups); err != nil {
			return err
		}
		if err := i.q.Row(ctx, sqlCountExternals).Scan(&externals); err != nil {
			return err
		}
		i.place.Phase, i.place.Ord = inspectLookups, 0
		if i.place.Faults == 0 && lookups+externals == i.place.Expected {
			i.place.Phase = inspectDone
		}
	case inspectLookups:
		return i.index(ctx, "lookups", sqlFirstLookups, sqlNextLookups, func(k *brandKeys, c *record.Customer, v int64) bool {
			return k.everyLookup(c)[v]
		})
	case inspectExternals:
		return i.index(ctx, "externals", sqlFirstExternals, sqlNextExternals, func(k *brandKeys, c *record.Customer, v int64) bool {
			values, err := k.externals(c.Get(record.ExternalID))
			return err == nil && slices.Contains(values, v)
		})
	}
	return nil
}

// seen is what the tables hold of one ordinal.
type seen struct {
	rows
	customer, hasKey bool
	erased           bool
	laid             bool // the key lies aside
	former           bool
	brand, keyBrand  record.BrandID
	kek              int
	wrapped          []byte
	numbers          []int // of the segments
}

// customers looks at everything of a range of ordinals.
func (i *inspector) customers(ctx context.Context, from, to int64) error {
	all, err := i.read(ctx, from, to)
	if err != nil {
		return err
	}
	var next int64
	if err := i.q.Row(ctx, sqlNextOrdinal).Scan(&next); err != nil {
		return err
	}
	var w wanted
	for _, x := range all {
		fault := func(table, what string) { i.report(Fault{table, x.ord, what}) }
		if int64(x.ord) >= next || x.ord == 0 {
			fault("ordinals", "an ordinal that was not given out yet: it would be given twice")
		}
		switch {
		case x.laid:
			if err := i.cooling(ctx, x, fault); err != nil {
				return err
			}
			continue
		case x.customer && x.erased:
			x.checkErased(fault)
			continue
		case !x.customer && x.hasKey:
			fault("customer_keys", "a key of no customer")
			continue
		case !x.customer:
			if len(x.packed) > 0 {
				fault("purchases", "purchases of no customer")
			}
			if x.former {
				fault("former_values", "former values of nobody")
			}
			continue
		case !x.hasKey:
			fault("customers", "a customer without a key: they cannot be opened")
			continue
		}
		i.place.Customers++
		i.place.Segments += int64(len(x.packed))
		if err := i.customer(ctx, x, &w, fault); err != nil {
			return err
		}
	}
	i.place.Expected += int64(len(w.lookups)) + int64(len(w.externals))
	return w.check(ctx, i, from, to)
}

// cooling opens everything of a customer whose erasure cools.
func (i *inspector) cooling(ctx context.Context, x *seen, fault func(table, what string)) error {
	if !x.customer || x.keyBrand != x.brand {
		fault("cooling", "a key laid aside of no customer, or of another brand's")
		return nil
	}
	if x.hasKey || !x.erased {
		fault("cooling", "the erasure of a customer cools who is there still")
	}
	var err error
	x.secret, err = i.s.unlay(ctx, x.brand, x.ord, x.kek, x.wrapped)
	switch {
	case errors.Is(err, ErrDamaged), errors.Is(err, keys.ErrNoKey):
		fault("cooling", "the key laid aside does not open")
		return nil
	case errors.Is(err, ErrNoCustomer):
		return nil // destroyed or taken back since
	case err != nil:
		return err
	}
	_, _, err = i.opens(ctx, x, fault)
	return err
}

func (x *seen) checkErased(fault func(table, what string)) {
	if x.hasKey {
		fault("customer_keys", "the key of an erased customer is still there")
	}
	if len(x.profile) > 0 {
		fault("customers", "an erased customer has a record still")
	}
	if len(x.packed) > 0 {
		fault("purchases", "an erased customer has purchases still")
	}
	if x.former {
		fault("former_values", "an erased customer has former values still")
	}
}

// customer opens everything of one, and notes which index rows they should have.
func (i *inspector) customer(ctx context.Context, x *seen, w *wanted, fault func(table, what string)) error {
	k := i.keys[x.brand]
	if k == nil || x.keyBrand != x.brand {
		fault("customers", "a customer of no brand, or with a key of another one")
		return nil
	}
	var err error
	x.secret, err = i.s.unwrap(ctx, x.brand, x.ord, x.kek, x.wrapped)
	switch {
	case errors.Is(err, ErrDamaged), errors.Is(err, keys.ErrNoKey):
		fault("customer_keys", "the key does not open")
		return nil
	case errors.Is(err, ErrNoCustomer):
		return nil // erased since, and the old KEK with them
	case err != nil:
		return err
	}
	c, ok, err := i.opens(ctx, x, fault)
	if err == nil && ok {
		w.add(k, x.ord, c)
	}
	return err
}

// opens opens the records of a customer, and returns the profile if it is what it should be.
func (i *inspector) opens(ctx context.Context, x *seen, fault func(table, what string)) (_ *record.Customer, ok bool, err error) {
	if len(x.packed) != x.segments {
		fault("purchases", fmt.Sprintf("%d segments are there and %d should be", len(x.packed), x.segments))
	}
	for n, at := range x.numbers {
		if n != at {
			fault("purchases", fmt.Sprintf("segment %d is missing", n))
			break
		}
	}
	if _, err := x.openPurchases(x.brand, i.s.products(ctx, x.brand)); err != nil {
		if !errors.Is(err, ErrDamaged) {
			return nil, false, err
		}
		fault("purchases", "a segment does not open, or is not what it should be")
	}
	var c record.Customer
	if err := x.openProfile(x.brand, &c); err != nil {
		fault("customers", "the profile does not open, or is not what it should be")
		return nil, false, nil
	}
	return &c, true, nil
}

// scanKey reads a customer's key.
func scanKey(r db.Row, at func(ord int64) *seen) (*seen, error) {
	var ord, brand int64
	var wrapped []byte
	var x seen
	if err := r.Scan(&ord, &brand, &x.kek, &x.version, &x.epoch, &x.segments, &wrapped); err != nil {
		return &x, err
	}
	y := at(ord)
	y.keyBrand, y.kek, y.wrapped = record.BrandID(brand), x.kek, slices.Clone(wrapped)
	y.version, y.epoch, y.segments = x.version, x.epoch, x.segments
	return y, nil
}

func (i *inspector) read(ctx context.Context, from, to int64) ([]*seen, error) {
	by := map[record.Ordinal]*seen{}
	at := func(ord int64) *seen {
		o := record.Ordinal(ord)
		if by[o] == nil {
			by[o] = &seen{rows: rows{ord: o}}
		}
		return by[o]
	}
	span := []any{from, to}
	err := i.q.Batch(ctx, []db.Stmt{
		{SQL: sqlInspectCustomers, Args: span, Scan: func(r db.Row) error {
			var ord, brand, erased int64
			var sealed, bought []byte
			if err := r.Scan(&ord, &brand, &erased, &sealed, &bought); err != nil {
				return err
			}
			x := at(ord)
			if bought != nil {
				x.numbers, x.packed = []int{0}, [][]byte{slices.Clone(bought)}
			}
			x.customer, x.brand, x.erased, x.profile = true, record.BrandID(brand), erased != 0, slices.Clone(sealed)
			return nil
		}},
		{SQL: sqlInspectSecrets, Args: span, Scan: func(r db.Row) error {
			x, err := scanKey(r, at)
			x.hasKey = true
			return err
		}},
		{SQL: sqlInspectCooling, Args: span, Scan: func(r db.Row) error {
			x, err := scanKey(r, at)
			x.laid = true
			return err
		}},
		{SQL: sqlInspectSegments, Args: span, Scan: func(r db.Row) error {
			var ord int64
			var n int
			var sealed []byte
			if err := r.Scan(&ord, &n, &sealed); err != nil {
				return err
			}
			x := at(ord)
			x.numbers, x.packed = append(x.numbers, n), append(x.packed, slices.Clone(sealed))
			return nil
		}},
		{SQL: sqlInspectFormer, Args: span, Scan: func(r db.Row) error {
			var ord int64
			err := r.Scan(&ord)
			at(ord).former = true
			return err
		}},
	})
	if err != nil {
		return nil, err
	}
	out := make([]*seen, 0, len(by))
	for _, x := range by {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *seen) int { return int(int64(a.ord) - int64(b.ord)) })
	return out, nil
}
