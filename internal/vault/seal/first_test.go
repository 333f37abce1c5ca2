package seal

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	sqlTestBesides    = `SELECT count(*) FROM customers WHERE bought IS NOT NULL AND ord = $1`
	sqlTestApart      = `SELECT count(*) FROM purchases WHERE ord = $1`
	sqlTestCopyFirst  = `INSERT INTO purchases (ord, segment, sealed) SELECT ord, 0, bought FROM customers WHERE ord = $1`
	sqlTestNoFirst    = `UPDATE customers SET bought = NULL WHERE ord = $1`
	sqlTestGetFirst   = `SELECT bought FROM customers WHERE ord = $1`
	sqlTestOtherFirst = `UPDATE customers SET bought = $2 WHERE ord = $1`
)

// A customer's first segment stands beside the profile or, as releases before this one
// wrote it, in a row of its own; never in both.
func TestTheFirstSegmentStandsInOneOfTwoPlaces(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		ctx := t.Context()
		v.exec(sqlTestBrand, 1, "brand-1")
		v.exec(sqlTestBrand, 2, "brand-2")
		for _, n := range []int{1, copyAtLeast} { // by statements, and on PostgreSQL by COPY
			prefix := fmt.Sprint("N", n, "-")
			puts := many(prefix, "Ann", n)
			for i := range puts {
				puts[i].Purchases = purchases(3 + 40*(i%2))
			}
			puts[0].Purchases = purchases(40)
			if err := v.apply(v.PrepareCustomers(ctx, brand, puts)); err != nil {
				t.Fatal(err)
			}
			id := prefix + "0"
			ords, err := v.Lookup(ctx, brand, record.ExternalID, id, "")
			if err != nil {
				t.Fatal(err)
			}
			ord := ords[0]
			expect := func(when string, beside, apart int64, want []record.Purchase) {
				t.Helper()
				if b, a := v.count(sqlTestBesides, int64(ord)), v.count(sqlTestApart, int64(ord)); b != beside || a != apart {
					t.Errorf("%d, %s: %d segments beside the profile and %d apart, not %d and %d", n, when, b, a, beside, apart)
				}
				if _, got, ok := v.content(id); !ok || !reflect.DeepEqual(got, want) {
					t.Errorf("%d, %s: %d purchases came back, or others than the %d that were put", n, when, len(got), len(want))
				}
				if faults, _ := v.inspect(); len(faults) > 0 {
					t.Errorf("%d, %s: the check found %v", n, when, faults)
				}
			}
			add := func(ps []record.Purchase) {
				t.Helper()
				if err := v.apply(v.PreparePurchases(ctx, brand, []Append{{ExternalID: id, Purchases: ps}})); err != nil {
					t.Fatal(err)
				}
			}
			expect("made", 1, 1, purchases(40))
			v.exec(sqlTestCopyFirst, int64(ord))
			if _, err := v.fetch(ctx, brand, ords, true); !errors.Is(err, ErrDamaged) {
				t.Errorf("%d: a first segment in both places gave %v", n, err)
			}
			if faults, _ := v.inspect(); len(faults) == 0 {
				t.Errorf("%d: the check found nothing where the first segment is in both places", n)
			}
			v.exec(sqlTestNoFirst, int64(ord))
			expect("as it was once", 0, 2, purchases(40))
			add(purchases(50)[40:])
			expect("more", 0, 3, purchases(50))
			other := purchases(50)
			other[7].Description = "another"
			add(other[7:8])
			expect("packed anew", 1, 1, other)
			if n == 1 {
				continue
			}
			v.exec(sqlTestNoFirst, int64(ord))
			if _, err := v.read(record.AllFields, ord); !errors.Is(err, ErrDamaged) {
				t.Errorf("no first segment gave %v", err)
			}
			var others []byte
			if err := d.Row(ctx, sqlTestGetFirst, int64(ord+1)).Scan(&others); err != nil {
				t.Fatal(err)
			}
			v.exec(sqlTestOtherFirst, int64(ord), others)
			if _, err := v.read(record.AllFields, ord); !errors.Is(err, ErrDamaged) {
				t.Errorf("another customer's first segment gave %v", err)
			}
			if err := v.erase(ord + 1); err != nil {
				t.Fatal(err)
			}
			if left := v.count(sqlTestBesides, int64(ord+1)) + v.count(sqlTestApart, int64(ord+1)); left != 0 {
				t.Errorf("%d segments of an erased customer are left", left)
			}
		}
	})
}
