package seal

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// content opens what is kept of a customer, past the log: for tests of what is kept.
func (v *vault) content(id string) (c record.Customer, ps []record.Purchase, ok bool) {
	v.t.Helper()
	ctx := v.t.Context()
	ords, err := v.Lookup(ctx, brand, record.ExternalID, id, "")
	if err != nil {
		v.t.Fatal(err)
	}
	if len(ords) == 0 {
		return c, nil, false
	}
	found, err := v.fetch(ctx, brand, ords, true)
	if err != nil {
		v.t.Fatal(err)
	}
	r := found[ords[0]]
	if err := r.openProfile(brand, &c); err != nil {
		v.t.Fatal(err)
	}
	// A store that remembers nothing reads the catalogue from the database.
	if ps, err = r.openPurchases(brand, New(v.db, v.ring).products(ctx, brand)); err != nil {
		v.t.Fatal(err)
	}
	return c, ps, true
}

const (
	sqlTestCustomers = `SELECT count(*) FROM customers`
	sqlTestExternals = `SELECT count(*) FROM externals`
	sqlTestSecrets   = `SELECT count(*) FROM customer_keys`
	sqlTestLookups   = `SELECT count(*) FROM lookups`
	sqlTestSegments  = `SELECT (SELECT count(*) FROM purchases) + (SELECT count(bought) FROM customers)`
	sqlTestClaimed   = `SELECT coalesce(sum(segments), 0) FROM customer_keys`
	sqlTestProducts  = `SELECT count(*) FROM catalogue`
)

func anyPurchases(t *rapid.T, label string) []record.Purchase {
	return rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) record.Purchase {
		n := rapid.IntRange(0, 5).Draw(t, "product")
		return record.Purchase{
			ID: fmt.Sprint("o-", rapid.IntRange(0, 60).Draw(t, "id")), At: time.UnixMicro(rapid.Int64Range(0, 1e15).Draw(t, "at")).UTC(),
			SKU: fmt.Sprint("sku-", n), Description: fmt.Sprint("Thing ", n), Quantity: rapid.Int64Range(-1, 3).Draw(t, "quantity"),
			Amount: record.Amount{Units: rapid.Int64().Draw(t, "units"), Scale: 2}, Currency: "EUR",
			Store: rapid.SampledFrom([]string{"", "FR-1"}).Draw(t, "store"),
		}
	}), 0, 40, func(p record.Purchase) string { return p.ID }).Draw(t, label)
}

// What is written many at a time, by COPY where the engine has it, reads back as what
// is written one by one: new customers, known ones, purchases of both.
func TestManyAtOnceReadBackAsOneByOne(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		ctx := t.Context()
		round := 0
		rapid.Check(t, func(t *rapid.T) {
			round++
			if round > 4 { // each makes hundreds of customers
				return
			}
			one, many := fmt.Sprint("one-", round, "-"), fmt.Sprint("many-", round, "-")
			for step := range 2 {
				var puts []Put
				n := rapid.IntRange(copyAtLeast-1, 2*copyAtLeast).Draw(t, "size")
				for i := range n {
					c := customer(fmt.Sprint(many, i), fmt.Sprint("Name ", step, " ", rapid.IntRange(0, 2).Draw(t, "name")), fmt.Sprintf("m%d@example.com", i))
					puts = append(puts, Put{Set: record.AllFields, Customer: c, Purchases: anyPurchases(t, "purchases")})
				}
				if err := v.apply(v.PrepareCustomers(ctx, brand, puts)); err != nil {
					t.Fatal(err)
				}
				// Few at a time take the other way.
				const few = 10
				for some := range slices.Chunk(puts, few) {
					var plain []Put
					var rest []Append
					for _, p := range some {
						p.Customer.Set(record.ExternalID, one+strings.TrimPrefix(p.Customer.Get(record.ExternalID), many))
						rest = append(rest, Append{ExternalID: p.Customer.Get(record.ExternalID), Purchases: p.Purchases})
						p.Purchases = nil
						plain = append(plain, p)
					}
					if err := v.apply(v.PrepareCustomers(ctx, brand, plain)); err != nil {
						t.Fatal(err)
					}
					if err := v.apply(v.PreparePurchases(ctx, brand, rest)); err != nil {
						t.Fatal(err)
					}
				}
				// The same again, and purchases alone, many at once.
				p, err := v.PrepareCustomers(ctx, brand, puts)
				if err != nil || len(p.Ords()) != 0 {
					t.Fatalf("the same again changes %d customers, %v", len(p.Ords()), err)
				}
				more := anyPurchases(t, "more")
				var appends, single []Append
				for i := range puts {
					appends = append(appends, Append{ExternalID: fmt.Sprint(many, i), Purchases: more})
					single = append(single, Append{ExternalID: fmt.Sprint(one, i), Purchases: more})
				}
				if err := v.apply(v.PreparePurchases(ctx, brand, appends)); err != nil {
					t.Fatal(err)
				}
				for some := range slices.Chunk(single, few) {
					if err := v.apply(v.PreparePurchases(ctx, brand, some)); err != nil {
						t.Fatal(err)
					}
				}
				for i := range puts {
					a, as, _ := v.content(fmt.Sprint(one, i))
					b, bs, ok := v.content(fmt.Sprint(many, i))
					b.Set(record.ExternalID, a.Get(record.ExternalID))
					if !ok || a.Columns != b.Columns || !maps.Equal(a.Attributes, b.Attributes) {
						t.Fatalf("customer %d differs", i)
					}
					if !slices.EqualFunc(as, bs, func(x, y record.Purchase) bool { return same(&x, &y) }) {
						t.Fatalf("the %d and %d purchases of customer %d differ", len(as), len(bs), i)
					}
				}
			}
		})
		if v.count(sqlTestSegments) != v.count(sqlTestClaimed) || v.count(sqlTestProducts) == 0 {
			t.Errorf("%d segments where the keys say %d; %d products", v.count(sqlTestSegments), v.count(sqlTestClaimed), v.count(sqlTestProducts))
		}
	})
}

func many(prefix, name string, n int) (puts []Put) {
	for i := range n {
		puts = append(puts, Put{Set: record.AllFields, Customer: customer(fmt.Sprint(prefix, i), name, fmt.Sprintf("%s%d@example.com", prefix, i)), Purchases: purchases(3)})
	}
	return puts
}

// Two writers of many: the slower one is told, and leaves nothing behind.
func TestManyAtOnceConflictLeavesNothing(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		ctx := t.Context()
		first, err := v.PrepareCustomers(ctx, brand, many("C", "Ann", 40))
		if err != nil {
			t.Fatal(err)
		}
		second, err := v.PrepareCustomers(ctx, brand, slices.Concat(many("D", "Bea", 40), many("C", "Bea", 1)))
		if err != nil {
			t.Fatal(err)
		}
		if err := v.apply(first, nil); err != nil {
			t.Fatal(err)
		}
		counts := func() [5]int64 {
			return [5]int64{v.count(sqlTestCustomers), v.count(sqlTestExternals), v.count(sqlTestSecrets), v.count(sqlTestLookups), v.count(sqlTestSegments)}
		}
		before := counts()
		if err := v.apply(second, nil); !errors.Is(err, ErrConflict) {
			t.Errorf("the second writer got %v", err)
		}
		if got := counts(); got != before || got[0] != 40 || got[1] != 40 {
			t.Errorf("%v rows after the conflict, %v before", got, before)
		}
		var appends []Append
		for i := range 40 {
			appends = append(appends, Append{ExternalID: fmt.Sprint("C", i), Purchases: purchases(9)[3:]})
		}
		late, err := v.PreparePurchases(ctx, brand, appends)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.apply(v.PreparePurchases(ctx, brand, []Append{{ExternalID: "C7", Purchases: purchases(20)[10:]}})); err != nil {
			t.Fatal(err)
		}
		before = counts()
		if err := v.apply(late, nil); !errors.Is(err, ErrConflict) {
			t.Errorf("late purchases got %v", err)
		}
		if got := counts(); got != before || got[4] != v.count(sqlTestClaimed) {
			t.Errorf("%v rows after the conflict, %v before", got, before)
		}
	})
}

func buyers(prefix, description string, n int) (puts []Put) {
	for _, p := range many(prefix, "Ann", n) {
		p.Purchases = []record.Purchase{{ID: "1", At: time.UnixMicro(1), SKU: "S", Description: description, Quantity: 1}, {ID: "2", At: time.UnixMicro(2), SKU: "S", Description: description, Quantity: 1}}
		puts = append(puts, p)
	}
	return puts
}

// What is written for one customer, or two, stays in their records: it must be gone
// when they are.
func TestOnlyWhatSeveralBoughtIsCatalogued(t *testing.T) {
	t.Parallel()
	v := newVault(t, dbtest.SQLite(t, db.Options{}))
	ctx := t.Context()
	if err := v.apply(v.PrepareCustomers(ctx, brand, buyers("A", "engraved for Ann", 2))); err != nil {
		t.Fatal(err)
	}
	if n := v.count(sqlTestProducts); n != 0 {
		t.Errorf("%d products that two customers bought are catalogued", n)
	}
	if err := v.apply(v.PrepareCustomers(ctx, brand, buyers("B", "Loafer", 3))); err != nil {
		t.Fatal(err)
	}
	if n := v.count(sqlTestProducts); n != 1 {
		t.Errorf("%d products after three customers bought one", n)
	}
	if _, ps, _ := v.content("B0"); len(ps) != 2 || ps[0].Description != "Loafer" {
		t.Errorf("the catalogued purchases came back otherwise: %v", ps)
	}
}

const (
	sqlTestSwapProducts = `UPDATE catalogue SET sealed = (SELECT sealed FROM catalogue o WHERE o.id = 3 - catalogue.id)`
	sqlTestDropProducts = `DELETE FROM catalogue`
)

func TestATamperedCatalogueSaysSo(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{sqlTestSwapProducts, sqlTestDropProducts} {
		v := newVault(t, dbtest.SQLite(t, db.Options{}))
		ctx := t.Context()
		if err := v.apply(v.PrepareCustomers(ctx, brand, append(buyers("A", "Loafer", 3), buyers("B", "Bag", 3)...))); err != nil {
			t.Fatal(err)
		}
		v.exec(sql)
		v.Store = New(v.d, v.ring)
		if _, err := v.read(record.AllFields, 1); !errors.Is(err, ErrDamaged) {
			t.Errorf("after %s reading gave %v", sql, err)
		}
	}
}

// Servers that meet the same products at the same time end with one number for each.
func TestServersAgreeOnProducts(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		const servers, products = 4, 30
		numbers := make([]map[product]uint64, servers)
		var wg sync.WaitGroup
		for s := range servers {
			wg.Go(func() {
				store := New(d, v.ring)
				numbers[s] = map[product]uint64{}
				for from := range products {
					var wanted []product
					for i := range 5 {
						wanted = append(wanted, product{"S", fmt.Sprint("Thing ", (from*(s+1)+i)%products)})
					}
					if err := store.number(context.Background(), brand, wanted, numbers[s]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for _, n := range numbers[1:] {
			for p, id := range n {
				if other, ok := numbers[0][p]; ok && other != id {
					t.Errorf("a product has the numbers %d and %d", id, other)
				}
			}
		}
		if n := v.count(sqlTestProducts); n != products {
			t.Errorf("%d rows for %d products", n, products)
		}
	})
}

// productVector is one product of the catalogue, with every secret.
type productVector struct {
	Brand       record.BrandID `json:"brand"`
	Number      uint64         `json:"number"`
	Key         string         `json:"catalogue_key"`
	SealKey     string         `json:"seal_key"`
	SKU         string         `json:"sku"`
	Description string         `json:"description"`
	Plain       string         `json:"plain"`
	AAD         string         `json:"aad"`
	Sealed      string         `json:"sealed"`
	Index       int64          `json:"index"`
	Segment     string         `json:"segment_plain"` // purchases that refer to it
}

func TestCatalogueVectors(t *testing.T) {
	t.Parallel()
	const path = "testdata/catalogue.json"
	if *update {
		v := productVector{Brand: 3, Number: 300, Key: hex.EncodeToString(slices.Repeat([]byte{6}, keyBytes)), SKU: "GU1", Description: "Loafer"}
		k := productKey{derive(unhex(t, v.Key), productKeyLabel), unhex(t, v.Key)}
		plain, aad := record.AppendProduct(nil, v.SKU, v.Description), productPlace(v.Brand, v.Number)
		b, err := sealed(nil, k.seal, plain, aad)
		if err != nil {
			t.Fatal(err)
		}
		bought := []record.Purchase{{ID: "o-1", At: time.UnixMicro(1).UTC(), SKU: v.SKU, Description: v.Description, Quantity: 1, Amount: record.Amount{Scale: 2}}}
		v.SealKey, v.Plain, v.AAD, v.Sealed = hex.EncodeToString(k.seal), hex.EncodeToString(plain), hex.EncodeToString(aad), hex.EncodeToString(b)
		v.Index = blind(k.index, productIndexLabel, string(plain))
		v.Segment = hex.EncodeToString(record.AppendPurchases(nil, bought, []uint64{v.Number}))
		text, err := json.MarshalIndent(v, "", "  ")
		if err == nil {
			err = os.WriteFile(path, append(text, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v productVector
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	k := productKey{derive(unhex(t, v.Key), productKeyLabel), unhex(t, v.Key)}
	p, err := openProduct([]productKey{k}, v.Brand, v.Number, unhex(t, v.Sealed))
	if err != nil || p != (product{v.SKU, v.Description}) || hex.EncodeToString(k.seal) != v.SealKey || hex.EncodeToString(productPlace(v.Brand, v.Number)) != v.AAD {
		t.Errorf("the product does not open: %v", err)
	}
	if got := blind(k.index, productIndexLabel, string(unhex(t, v.Plain))); got != v.Index {
		t.Errorf("the index is %d", got)
	}
	ps, err := record.DecodePurchases(unhex(t, v.Segment), func(id uint64) (string, string, error) {
		if id != v.Number {
			return "", "", errors.New("another number")
		}
		return p.sku, p.description, nil
	})
	if err != nil || len(ps) != 1 || ps[0].Description != v.Description {
		t.Errorf("the purchase does not decode: %v", err)
	}
}
