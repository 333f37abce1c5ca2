package seal

import (
	"context"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// table is how a test copies one.
type table struct {
	columns     int
	out, in, no string
}

func keyTables() []table {
	return []table{
		{5, `SELECT brand, kind, version, wrapped, created FROM brand_keys`, `INSERT INTO brand_keys (brand, kind, version, wrapped, created) VALUES ($1, $2, $3, $4, $5)`, `DELETE FROM brand_keys`},
		{3, `SELECT one, id, changed FROM root_key`, `INSERT INTO root_key (one, id, changed) VALUES ($1, $2, $3)`, `DELETE FROM root_key`},
	}
}

func dataTables() []table {
	return []table{
		{6, `SELECT ord, brand, updated, erased, sealed, bought FROM customers`, `INSERT INTO customers (ord, brand, updated, erased, sealed, bought) VALUES ($1, $2, $3, $4, $5, $6)`, `DELETE FROM customers`},
		{7, `SELECT ord, brand, kek, version, epoch, segments, wrapped FROM customer_keys`, `INSERT INTO customer_keys (ord, brand, kek, version, epoch, segments, wrapped) VALUES ($1, $2, $3, $4, $5, $6, $7)`, `DELETE FROM customer_keys`},
		{3, `SELECT ord, segment, sealed FROM purchases`, `INSERT INTO purchases (ord, segment, sealed) VALUES ($1, $2, $3)`, `DELETE FROM purchases`},
	}
}

func copyTables(t *testing.T, to, from *db.DB, tables []table) {
	t.Helper()
	ctx := t.Context()
	for _, x := range tables {
		var rows [][]any
		err := from.Rows(ctx, func(r db.Row) error {
			row := make([]any, x.columns)
			into := make([]any, x.columns)
			for i := range row {
				into[i] = &row[i]
			}
			err := r.Scan(into...)
			rows = append(rows, row)
			return err
		}, x.out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.Exec(ctx, x.no); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if _, err := to.Exec(ctx, x.in, row...); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Promise: after an erasure and both rotations no copy of the database, with every
// key that still exists, gives the customer back.
func TestNoOlderCopyOpensAfterBothRotations(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		ctx := t.Context()
		v.putMany(0, 20)
		if err := v.apply(v.PreparePurchases(ctx, brand, []Append{{ExternalID: "C-3", Purchases: purchases(40)}})); err != nil {
			t.Fatal(err)
		}
		fresh := func() *db.DB {
			if d.Engine() == db.SQLite {
				return dbtest.SQLite(t, db.Options{})
			}
			return dbtest.Postgres(t, db.Options{})
		}
		old := fresh()
		copyTables(t, old, d, append(keyTables(), dataTables()...))
		if err := v.erase(4); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Fetch(ctx, brand, []record.Ordinal{4}, 0); err == nil {
			t.Fatal("an erased customer is found")
		}

		// opens counts the customers of a database who open with the root key of today.
		opens := func(d *db.DB) (n int) {
			s := New(d, keys.NewRing(d, v.root))
			for ord := record.Ordinal(1); ord <= 20; ord++ {
				u, err := s.Fetch(ctx, brand, []record.Ordinal{ord}, record.AllFields)
				var c record.Customer
				if err == nil && u.rows[0].openProfile(brand, &c) == nil && c.Get(record.Email) != "" {
					n++
				}
			}
			return n
		}
		// mixed is the old customers under the keys of today's database.
		mixed := func() *db.DB {
			m := fresh()
			copyTables(t, m, old, dataTables())
			copyTables(t, m, d, keyTables())
			return m
		}
		expect := func(when string, copied, under int) {
			t.Helper()
			if n := opens(old); n != copied {
				t.Errorf("%s: %d customers of the old copy open, not %d", when, n, copied)
			}
			if n := opens(mixed()); n != under {
				t.Errorf("%s: %d customers of the old copy open under the keys of today's database, not %d", when, n, under)
			}
			if n := opens(d); n != 19 {
				t.Errorf("%s: %d customers of today open, not 19", when, n)
			}
		}
		expect("before", 20, 20)
		if err := v.finish(ctx, v.begin(brand, keys.KEK)); err != nil {
			t.Fatal(err)
		}
		expect("after the KEK's", 20, 0)
		if _, err := v.ring.RotateRoot(ctx, func(context.Context) (time.Time, error) { return time.UnixMicro(9), nil }); err != nil {
			t.Fatal(err)
		}
		expect("after the root key's too", 0, 0)
	})
}
