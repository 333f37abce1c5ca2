package record_test

import (
	"math"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Marks are kept with a customer and with a purchase, and no field shows them.
func TestMarks(t *testing.T) {
	t.Parallel()
	var c record.Customer
	c.Set(record.GivenName, "Ana")
	c.Set(record.Standing, record.Minor)
	shop, till := record.NewMark("shop", 7), record.NewMark("till", -3)
	for _, m := range []record.Mark{shop, till, record.NewMark("far", math.MinInt64), record.NewMark("near", math.MaxInt64)} {
		if c.Covers(m) {
			t.Errorf("%+v is covered before it is there", m)
		}
		c.Mark(m)
	}
	var back record.Customer
	if err := record.DecodeCustomer(record.AppendCustomer(nil, &c), &back); err != nil || back.Columns != c.Columns {
		t.Fatalf("%+v, %v", back, err)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	for m, want := range map[record.Mark]bool{
		shop: true, record.NewMark("shop", 6): true, record.NewMark("shop", 8): false, till: true, record.NewMark("till", -2): false,
		record.NewMark("other", -9): false, {}: false,
	} {
		if back.Covers(m) != want {
			t.Errorf("%+v: covered %v", m, !want)
		}
	}
	for f := range record.NumFields {
		if v := back.Get(f); v != "" && f != record.GivenName && f != record.Standing {
			t.Errorf("%s shows %q", f, v)
		}
	}
	for i := range 100 {
		c.Mark(record.NewMark(string(rune('a'+i)), int64(i)))
	}
	if err := c.Check(); err != nil || !c.Covers(record.NewMark(string(rune('a'+99)), 99)) {
		t.Errorf("a hundred sources: %v", err)
	}

	p := []record.Purchase{
		{ID: "1", At: time.Unix(1, 0).UTC(), Quantity: 1, Amount: record.Amount{Units: 1, Scale: 2}, Mark: shop},
		{ID: "2", At: time.Unix(2, 0).UTC(), Quantity: 1, Amount: record.Amount{Units: 1, Scale: 2}},
	}
	got, err := record.DecodePurchases(record.AppendPurchases(nil, p, nil), nil)
	if err != nil || len(got) != 2 || got[0] != p[0] || got[1] != p[1] {
		t.Errorf("%+v, %v", got, err)
	}
}
