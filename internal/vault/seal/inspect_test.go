package seal

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
)

// inspect returns every fault, and where the inspection ended.
func (v *vault) inspect() (faults []string, at Place) {
	v.t.Helper()
	var err error
	for !at.Done() {
		if at, err = v.Inspect(v.t.Context(), at, func(f Fault) { faults = append(faults, fmt.Sprintf("%s %d %s", f.Table, f.Ord, f.What)) }); err != nil {
			v.t.Fatal(err)
		}
	}
	return faults, at
}

const (
	sqlTestBreakSegment  = `UPDATE purchases SET sealed = (SELECT sealed FROM customers WHERE ord = 3) WHERE ord = 3 AND segment = 0`
	sqlTestDropSegment3  = `DELETE FROM purchases WHERE ord = 3 AND segment = 1`
	sqlTestSegments9     = `UPDATE customer_keys SET segments = 9 WHERE ord = 3`
	sqlTestBreakProfile  = `UPDATE customers SET sealed = (SELECT sealed FROM customers c WHERE c.ord = 4) WHERE ord = 3`
	sqlTestBreakKey      = `UPDATE customer_keys SET wrapped = (SELECT wrapped FROM customer_keys k WHERE k.ord = 4) WHERE ord = 3`
	sqlTestWrongKEK      = `UPDATE customer_keys SET kek = 7 WHERE ord = 3`
	sqlTestDropKey       = `DELETE FROM customer_keys WHERE ord = 3`
	sqlTestDropCustomer  = `DELETE FROM customers WHERE ord = 3`
	sqlTestOtherBrand    = `UPDATE customers SET brand = 2 WHERE ord = 3`
	sqlTestNoBrand       = `UPDATE customers SET brand = 77 WHERE ord = 3`
	sqlTestDropLookup    = `DELETE FROM lookups WHERE value = (SELECT min(value) FROM lookups WHERE ord = 3)`
	sqlTestDropExternal  = `DELETE FROM externals WHERE ord = 3`
	sqlTestMoveExternal  = `UPDATE externals SET ord = 4 WHERE ord = 3`
	sqlTestAddLookup     = `INSERT INTO lookups (value, ord) VALUES (12345, 3)`
	sqlTestAddLookup99   = `INSERT INTO lookups (value, ord) VALUES (12345, 99)`
	sqlTestAddExternal99 = `INSERT INTO externals (value, ord) VALUES (12345, 99)`
	sqlTestNextOrdinal   = `UPDATE ordinals SET next = 5`
	sqlTestEraseHalf     = `UPDATE customers SET erased = 5 WHERE ord = 3`
	sqlTestFormer99      = `INSERT INTO former_values (ord, field, until, since, fingerprint) VALUES (99, 1, 2, 1, 5)`
	sqlTestPurchase99    = `INSERT INTO purchases (ord, segment, sealed) SELECT 99, 0, sealed FROM customers WHERE ord = 3`
	sqlTestBreakBrandKey = `UPDATE brand_keys SET wrapped = (SELECT wrapped FROM brand_keys b WHERE b.brand = 2 AND b.kind = 'history') WHERE brand = 1 AND kind = 'catalogue'`
	sqlTestDropBrandKey  = `DELETE FROM brand_keys WHERE brand = 1 AND kind = 'catalogue'`
)

// Promise: the check finds each of these, and nothing where nothing is wrong.
func TestInspectFindsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	type plant struct {
		name string
		sql  []string
		want []string // beginnings of all that is to be found
	}
	plants := []plant{
		{"a segment of something else", []string{sqlTestBreakSegment}, []string{"purchases 3 a segment does not open"}},
		{"a segment gone", []string{sqlTestDropSegment3}, []string{"purchases 3 1 segments are there and 2 should be"}},
		{"a wrong count of segments", []string{sqlTestSegments9}, []string{"purchases 3 2 segments are there and 9 should be"}},
		{"another customer's profile", []string{sqlTestBreakProfile}, []string{"customers 3 the profile does not open"}},
		{"another customer's key", []string{sqlTestBreakKey}, []string{"customer_keys 3 the key does not open"}},
		{"a KEK that is not there", []string{sqlTestWrongKEK}, []string{"customer_keys 3 the key does not open"}},
		{"a customer without key", []string{sqlTestDropKey}, []string{"customers 3 a customer without a key", "externals 3 an index entry that leads to nobody", "lookups 3 an index entry that leads to nobody"}},
		{"a key without customer", []string{sqlTestDropCustomer}, []string{"customer_keys 3 a key of no customer", "externals 3 an index entry that leads to nobody", "lookups 3 an index entry that leads to nobody"}},
		{"a customer in another brand", []string{sqlTestOtherBrand}, []string{"customers 3 a customer of no brand"}},
		{"a customer of no brand", []string{sqlTestNoBrand}, []string{"customers 3 a customer of no brand"}},
		{"a lookup gone", []string{sqlTestDropLookup}, []string{"lookups 3 an index entry is missing"}},
		{"an external id gone", []string{sqlTestDropExternal}, []string{"externals 3 the external id leads to nobody"}},
		{"an external id of another", []string{sqlTestMoveExternal}, []string{"externals 3 the external id leads to nobody", "externals 4 an index entry of a value that the customer does not have"}},
		{"a lookup too many", []string{sqlTestAddLookup}, []string{"lookups 3 an index entry of a value that the customer does not have"}},
		{"a lookup of nobody", []string{sqlTestAddLookup99}, []string{"lookups 99 an index entry that leads to nobody"}},
		{"an external id of nobody", []string{sqlTestAddExternal99}, []string{"externals 99 an index entry that leads to nobody"}},
		{"a lookup changed", []string{sqlTestDropLookup, sqlTestAddLookup}, []string{"lookups 3 an index entry is missing", "lookups 3 an index entry of a value that the customer does not have"}},
		{"ordinals that will be given twice", []string{sqlTestNextOrdinal}, []string{"ordinals 5 ", "ordinals 6 "}},
		{"half an erasure", []string{sqlTestEraseHalf}, []string{"customer_keys 3 the key of an erased customer is still there", "customers 3 an erased customer has a record", "purchases 3 an erased customer has purchases", "externals 3 an index entry that leads to nobody", "lookups 3 an index entry that leads to nobody"}},
		{"former values of nobody", []string{sqlTestFormer99}, []string{"former_values 99 former values of nobody", "ordinals 99"}},
		{"purchases of nobody", []string{sqlTestPurchase99}, []string{"purchases 99 purchases of no customer", "ordinals 99"}},
		{"a brand's key changed", []string{sqlTestBreakBrandKey}, []string{"brand_keys 0 the catalogue key of brand 1, version 1, does not open"}},
		{"a brand's key gone", []string{sqlTestDropBrandKey}, []string{"brand_keys 0 brand 1 has no catalogue key"}},
	}
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		for _, b := range []int{1, 2} {
			v.exec(sqlTestBrand, b, fmt.Sprint("brand-", b))
		}
		v.putMany(0, 6)
		if err := v.apply(v.PreparePurchases(t.Context(), brand, []Append{{ExternalID: "C-2", Purchases: purchases(40)}})); err != nil {
			t.Fatal(err)
		}
		if err := v.erase(2); err != nil {
			t.Fatal(err)
		}
		well, at := v.inspect()
		if len(well) > 0 || at.Customers != 5 || at.Segments != 2 || at.Expected != 25 {
			t.Fatalf("nothing is wrong, and it found %v, %+v", well, at)
		}
		rot := v.begin(brand, keys.Index) // half moved, nothing is wrong either
		if _, _, err := v.spanOf(rot)(t.Context(), 0, 4); err != nil {
			t.Fatal(err)
		}
		if half, at := v.inspect(); len(half) > 0 || at.Expected != 25 {
			t.Fatalf("while an index is moved it found %v, %+v", half, at)
		}
		if err := v.finish(t.Context(), rot); err != nil {
			t.Fatal(err)
		}
		all := append(keyTables(), dataTables()...)
		all = append(all,
			table{2, `SELECT value, ord FROM lookups`, `INSERT INTO lookups (value, ord) VALUES ($1, $2)`, `DELETE FROM lookups`},
			table{2, `SELECT value, ord FROM externals`, `INSERT INTO externals (value, ord) VALUES ($1, $2)`, `DELETE FROM externals`},
			table{2, `SELECT one, next FROM ordinals`, `INSERT INTO ordinals (one, next) VALUES ($1, $2)`, `DELETE FROM ordinals`},
			table{5, `SELECT ord, field, until, since, fingerprint FROM former_values`, `INSERT INTO former_values (ord, field, until, since, fingerprint) VALUES ($1, $2, $3, $4, $5)`, `DELETE FROM former_values`})
		good := dbtest.SQLite(t, db.Options{})
		copyTables(t, good, d, all)
		for _, p := range plants {
			t.Run(p.name, func(t *testing.T) {
				v.Store = New(d, keys.NewRing(d, v.root)) // that has no key in memory
				for _, s := range p.sql {
					v.exec(s)
				}
				got, _ := v.inspect()
				for _, w := range p.want {
					if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
						t.Errorf("it did not find %q, only %q", w, got)
					}
				}
				for _, g := range got {
					if !slices.ContainsFunc(p.want, func(w string) bool { return strings.HasPrefix(g, w) }) {
						t.Errorf("it found %q", g)
					}
				}
				copyTables(t, d, good, all)
			})
		}
		v.Store = New(d, keys.NewRing(d, v.root))
		if got, _ := v.inspect(); len(got) > 0 {
			t.Errorf("everything was put back, and it finds %q", got)
		}
	})
}

const sqlTestBrand = `INSERT INTO brands (id, name, title, created) VALUES ($1, $2, $2, 1)`
