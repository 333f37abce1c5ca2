package record_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

func drawCustomer(t *rapid.T) record.Customer {
	var c record.Customer
	for i := range c.Columns {
		text := rapid.StringN(0, 40, 200)
		switch record.Field(i) {
		case record.Phone:
			text = rapid.OneOf(text, rapid.StringMatching(`\+?[0-9() .-]{0,20}`))
		case record.BirthDate:
			text = rapid.OneOf(text, rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9]`))
		case record.CreatedAt:
			text = rapid.OneOf(text, rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](Z|\+01:00)`))
		}
		if record.Field(i).Text() {
			c.Columns[i] = text.Draw(t, "column")
		}
	}
	n := rapid.IntRange(0, 5).Draw(t, "attributes")
	for range n {
		if c.Attributes == nil {
			c.Attributes = map[string]string{}
		}
		c.Attributes[rapid.StringMatching(`[a-z_]{1,20}`).Draw(t, "name")] = rapid.StringN(0, 40, 200).Draw(t, "value")
	}
	return c
}

func TestCustomerRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawCustomer(t)
		var got record.Customer
		if err := record.DecodeCustomer(record.AppendCustomer(nil, &want), &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestPurchasesRoundTrip(t *testing.T) {
	products := map[uint64][2]string{3: {"SKU3", "Belt"}, 900: {"SKU900", "Coat"}}
	rapid.Check(t, func(t *rapid.T) {
		var want []record.Purchase
		var numbers []uint64
		for range rapid.IntRange(0, 40).Draw(t, "n") {
			p := record.Purchase{
				ID:       rapid.SampledFrom([]string{"", "C000000017-", "C000000017-é"}).Draw(t, "beginning") + rapid.StringN(1, 12, 40).Draw(t, "id"),
				At:       time.UnixMicro(rapid.Int64Range(-1<<50, 1<<52).Draw(t, "at")).UTC(),
				Quantity: rapid.Int64().Draw(t, "quantity"),
				Amount:   record.Amount{Units: rapid.Int64().Draw(t, "units"), Scale: rapid.Uint8Range(0, record.MaxScale).Draw(t, "scale")},
				Currency: rapid.SampledFrom([]string{"EUR", "USD", ""}).Draw(t, "currency"),
				Store:    rapid.SampledFrom([]string{"", "FR-1", "FR-2", "IT-9"}).Draw(t, "store"),
				SKU:      "one of a kind", Description: "engraved",
			}
			number := rapid.SampledFrom([]uint64{0, 3, 900}).Draw(t, "catalogued")
			if number != 0 {
				p.SKU, p.Description = products[number][0], products[number][1]
			}
			want, numbers = append(want, p), append(numbers, number)
		}
		b := record.AppendPurchases(nil, want, numbers)
		got, err := record.DecodePurchases(b, func(id uint64) (string, string, error) { return products[id][0], products[id][1], nil })
		if err != nil {
			t.Fatal(err)
		}
		if len(want)+len(got) > 0 {
			if d := cmp.Diff(want, got); d != "" {
				t.Fatal(d)
			}
		}
	})
}

func TestCorruptRecords(t *testing.T) {
	c := record.Customer{Attributes: map[string]string{"a": "1"}}
	c.Set(record.Email, "a@example.com")
	good := record.AppendCustomer(nil, &c)
	for name, b := range map[string][]byte{
		"empty":                 {},
		"another version":       append([]byte{record.ProfileVersion + 1}, good[1:]...),
		"cut":                   good[:len(good)-1],
		"trailing byte":         append(bytes.Clone(good), 0),
		"non-minimal count":     {record.ProfileVersion, 0x80, 0x00, 0},
		"a column that is none": {record.ProfileVersion, 0x80, 0x80, 0x01, 1, 'x', 0},
		"length over all":       {record.ProfileVersion, 1, 0xff, 0x07},
	} {
		got := record.Customer{Columns: [record.NumFields]string{"kept"}}
		if err := record.DecodeCustomer(b, &got); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if got.Columns[0] != "kept" {
			t.Errorf("%s: the customer was changed", name)
		}
	}
}

func FuzzDecodeCustomer(f *testing.F) {
	c := record.Customer{Attributes: map[string]string{"a": "1", "b": ""}}
	c.Set(record.City, "Łódź")
	c.Set(record.Phone, "+48 22 123 45 67")
	c.Set(record.BirthDate, "1984-02-29")
	c.Set(record.CreatedAt, "2024-05-31T12:00:07Z")
	f.Add(record.AppendCustomer(nil, &c))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c record.Customer
		if record.DecodeCustomer(b, &c) == nil && b[0] == record.ProfileVersion && !bytes.Equal(record.AppendCustomer(nil, &c), b) {
			t.Error("two encodings of one customer")
		}
	})
}

func FuzzDecodePurchases(f *testing.F) {
	f.Add(record.AppendPurchases(nil, []record.Purchase{{ID: "1", At: time.Unix(1, 0), SKU: "s", Quantity: 2, Amount: record.Amount{Units: 5, Scale: 1}, Currency: "EUR"}}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		ps, err := record.DecodePurchases(b, nil)
		if err == nil && b[0] == record.SegmentVersion && !bytes.Equal(record.AppendPurchases(nil, ps, nil), b) {
			t.Error("two encodings of one segment")
		}
	})
}

func TestAmount(t *testing.T) {
	for _, s := range []string{"0", "12.50", "-0.05", "1000000000.00", "7", "-3.141592653"} {
		a, err := record.ParseAmount(s)
		if err != nil || a.String() != s {
			t.Errorf("%s became %s (%v)", s, a, err)
		}
	}
	for _, s := range []string{"", "-", "1,5", "1.", ".5x", "1e3", "€5", "12.3456789012", "99999999999999999999", "1.-5"} {
		if _, err := record.ParseAmount(s); err == nil {
			t.Errorf("%q was read as an amount", s)
		}
	}
}

func TestNormalForms(t *testing.T) {
	for _, c := range []struct {
		f           record.Field
		in, country string
		want        string
	}{
		{record.Email, " Ana.Lima+Shop@BÜCHER.example ", "", "ana.lima+shop@xn--bcher-kva.example"},
		{record.Email, "ａ@example.com", "", "a@example.com"},
		{record.Phone, "06 12 34 56 78", "FR", "+33612345678"},
		{record.Phone, "0033 6 12 34 56 78", "", "+33612345678"},
		{record.ExternalID, " C  17 ", "", "C 17"},
	} {
		got, err := record.Normalize(c.f, c.in, c.country)
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v", c.f, got, err)
		}
	}
	for _, s := range []string{"", "nobody", "@example.com", "a@", "a b@example.com", "a@b@example.com", strings.Repeat("a", 300) + "@example.com"} {
		if _, err := record.NormalEmail(s); err == nil {
			t.Errorf("%q has a normal form", s)
		}
	}
}

func FuzzNormalEmail(f *testing.F) {
	f.Add("Ana@Example.com")
	f.Add("ß@straße.example")
	f.Fuzz(func(t *testing.T, s string) {
		once, err := record.NormalEmail(s)
		if err != nil {
			return
		}
		if twice, err := record.NormalEmail(once); err != nil || twice != once {
			t.Errorf("the normal form has another normal form: %q, %q, %v", once, twice, err)
		}
	})
}

// A number or customer number is stored and searched for in one form, however often
// it is normalised.
func FuzzNormalPhone(f *testing.F) {
	f.Add("+33 6 12 34 56 78", "")
	f.Add("06.12.34.56.78", "fr")
	f.Add("0044 20 7946 0018", "GB")
	f.Add("tel:+1-201-555-0123;ext=7", "US")
	f.Add("+4900000", "")
	f.Fuzz(func(t *testing.T, s, country string) {
		once, err := record.NormalPhone(s, country)
		if err != nil {
			return
		}
		if twice, err := record.NormalPhone(once, ""); err != nil || twice != once {
			t.Errorf("the normal form of a phone number has another normal form: %q, %q, %v", once, twice, err)
		}
	})
}

func FuzzNormalExternalID(f *testing.F) {
	f.Add("C 0001")
	f.Add("\ufb01\u00a0\u2460")
	f.Fuzz(func(t *testing.T, s string) {
		once, err := record.NormalExternalID(s)
		if err != nil {
			return
		}
		if twice, err := record.NormalExternalID(once); err != nil || twice != once {
			t.Errorf("the normal form of a customer number has another normal form: %q, %q, %v", once, twice, err)
		}
	})
}

func TestCheckNamesFieldNotValue(t *testing.T) {
	secret := "\x00secret"
	c := record.Customer{}
	c.Set(record.City, secret)
	err := c.Check()
	var fe *record.FieldError
	if !errors.As(err, &fe) || fe.Field != "city" || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	p := record.Purchase{ID: "1", At: time.Unix(1, 0), Currency: "euro"}
	if err := p.Check(); !errors.As(err, &fe) || fe.Field != "purchase.currency" {
		t.Errorf("got %v", err)
	}
}
