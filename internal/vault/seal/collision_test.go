package seal

import (
	"errors"
	"fmt"
	"hash"
	"sync"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// alike is a hash that is one for every value: two external ids with one index value
// cannot be found otherwise.
type alike struct{ hash.Hash }

func (alike) Reset()                      {}
func (alike) Write(b []byte) (int, error) { return len(b), nil }
func (alike) Sum(b []byte) []byte         { return append(b, "12345678"...) }

// A customer whose external id has the index value of another's is refused: it would be
// written over the other.
func TestAnIndexValueIsNoExternalID(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	v := newVault(t, d)
	v.put(customer("A-1", "Anna", "anna@example.com"))
	have, err := v.fetch(t.Context(), brand, []record.Ordinal{1}, false)
	if err != nil {
		t.Fatal(err)
	}
	k, err := v.brandKeys(t.Context(), brand)
	if err != nil {
		t.Fatal(err)
	}
	k.blind[record.ExternalID].index = &blinder{sync.Pool{New: func() any { return &mac{h: alike{}} }}}
	for id, want := range map[string]error{"A-1": nil, "B-1": errOtherExternal} {
		c, err := k.update(brand, have[1], &Put{Set: record.AllFields, Customer: customer(id, "Bela", "bela@example.com")}, &Note{})
		if !errors.Is(err, want) || want != nil && c != nil {
			t.Errorf("%s, over A-1: changes %v, %v", id, c != nil, err)
		}
	}
}

// An index row that leads an external id to another customer changes neither of them, by
// whatever is written, one or many at a time.
func TestAPlantedCollisionChangesNobody(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, copyAtLeast} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) { plantedCollision(t, d, n) })
		})
	}
}

func plantedCollision(t *testing.T, d *db.DB, n int) {
	ctx := t.Context()
	v := newVault(t, d)
	v.put(customer("A-1", "Anna", "anna@example.com"))
	v.put(customer("B-1", "Bela", "bela@example.com"))
	k, err := v.brandKeys(ctx, brand)
	if err != nil {
		t.Fatal(err)
	}
	value, err := k.external("B-1")
	if err != nil {
		t.Fatal(err)
	}
	found, err := v.Lookup(ctx, brand, record.ExternalID, "A-1", "")
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	v.exec(`UPDATE externals SET ord = $2 WHERE value = $1`, value, int64(found[0]))
	puts := []Put{{Set: record.AllFields, Customer: customer("B-1", "Zora", "zora@example.com")}}
	bought := []Append{{ExternalID: "B-1", Purchases: purchases(3)}}
	for i := range n - 1 {
		id := fmt.Sprint("C-", i)
		puts = append(puts, Put{Set: record.AllFields, Customer: customer(id, "Cleo", "cleo@example.com")})
		bought = append(bought, Append{ExternalID: id, Purchases: purchases(1)})
	}
	p, err := v.PrepareCustomers(ctx, brand, puts)
	if err != nil {
		t.Fatal(err)
	}
	if p.Outcome(0) != Failed || !errors.Is(p.Err(0), errOtherExternal) || len(p.Ords()) != n-1 {
		t.Errorf("%d puts: %v, %v, %d change", n, p.Outcome(0), p.Err(0), len(p.Ords()))
	}
	if p, err = v.PreparePurchases(ctx, brand, bought); err != nil {
		t.Fatal(err)
	}
	if p.Outcome(0) != Failed || !errors.Is(p.Err(0), ErrNoCustomer) || len(p.Ords()) != 0 {
		t.Errorf("purchases of %d: %v, %v, %d change", n, p.Outcome(0), p.Err(0), len(p.Ords()))
	}
}

// Two new customers of one write whose external ids have one index value: the first is
// written, and the second says why it is not.
func TestACollisionWithinOneWrite(t *testing.T) {
	t.Parallel()
	out := []asked{{value: 5}, {value: 7}, {value: 5}, {value: 5, err: record.ErrExternalID}, {}}
	given := func(i int) bool { return i != 4 }
	collide(out, given)
	for i, want := range []error{nil, nil, errOtherExternal, record.ErrExternalID, nil} {
		if !errors.Is(out[i].err, want) {
			t.Errorf("%d: %v, want %v", i, out[i].err, want)
		}
	}
}
