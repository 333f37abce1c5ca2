package record_test

import (
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// segmentVectors hold one customer's purchases in every version of the segment.
// docs/record-format.md names them: what is in them must be read for ever.
var segmentVectors = map[byte]string{
	1: "0104710c433030303030303031372d31c0ea96fc0cac02b0d209034555520446522d310573746f7265420c433030303030303031372d3280e90f015a08656e67726176656404000a00066f6e6c696e65330c433030303030303031372d3282c0ddeec102ac02afd2090446522d310573746f72653917522d32303235303430312d3030303030303030303030318180f6ba870aac02b0d209035553440446522d32",
	2: "0204710c433030303030303031372d31c0ea96fc0cac02b0d2090003455552000446522d31000573746f726542b13280e90f015a08656e67726176656404000a0100066f6e6c696e6533c082c0ddeec102ac02afd2090202390f08522d32303235303430312d3030303030303030303030318180f6ba870aac02b0d2090003555344000446522d32",
}

// profileVectors hold one customer's profile in every version, as segmentVectors do.
var profileVectors = map[byte]string{
	1: "019b3004432d3137045a6fc3ab0f7a6f65406578616d706c652e636f6d112b333320362031322033342035362037380a313938342d30322d323914323032342d30352d33315431323a30303a30375a010473697a65023432",
	2: "029b3004432d3137045a6fc3ab0f7a6f65406578616d706c652e636f6d0011b33a6a12a34a56a780000b0d6e000eddebb2c7010473697a65023432",
}

func TestProfileVectors(t *testing.T) {
	want := record.Customer{Attributes: map[string]string{"size": "42"}}
	for f, v := range map[record.Field]string{
		record.ExternalID: "C-17", record.GivenName: "Zoë", record.Email: "zoe@example.com", record.Phone: "+33 6 12 34 56 78",
		record.BirthDate: "1984-02-29", record.CreatedAt: "2024-05-31T12:00:07Z",
	} {
		want.Set(f, v)
	}
	if got := hex.EncodeToString(record.AppendCustomer(nil, &want)); got != profileVectors[record.ProfileVersion] {
		t.Errorf("the profile is written as %s", got)
	}
	for version, text := range profileVectors {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		var got record.Customer
		if err := record.DecodeCustomer(b, &got); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("version %d: %s", version, d)
		}
		if err := record.DecodeCustomer(append(b, 0), &got); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("version %d: with a byte more: %v", version, err)
		}
	}
}

// A phone number, a day or a time has one form, packed where it can be. The bits of the
// columns: phone 4, birth_date 11, created_at 12.
func TestProfileForms(t *testing.T) {
	for _, c := range []struct {
		name, bytes string
		f           record.Field
		value       string // "": refused
	}{
		{"a phone number of an odd number of characters", "0210" + "0005" + "b12340" + "00", record.Phone, "+1234"},
		{"a phone number of an even one", "0210" + "0004" + "b123" + "00", record.Phone, "+123"},
		{"a short one as a text", "0210" + "03" + "2b3132" + "00", record.Phone, "+12"},
		{"an extension", "0210" + "06" + "2b3132783334" + "00", record.Phone, "+12x34"},
		{"a number that could be packed", "0210" + "04" + "2b313233" + "00", record.Phone, ""},
		{"a short one packed", "0210" + "0003" + "b120" + "00", record.Phone, ""},
		{"something after the last character", "0210" + "0005" + "b12341" + "00", record.Phone, ""},
		{"a number cut off", "0210" + "0009" + "b123" + "00", record.Phone, ""},
		{"the first day", "028010" + "00000000" + "00", record.BirthDate, "0001-01-01"},
		{"the last day", "028010" + "0037b9da" + "00", record.BirthDate, "9999-12-31"},
		{"a day after the last", "028010" + "0037b9db" + "00", record.BirthDate, ""},
		{"a day that could be packed", "028010" + "0a" + "313938342d30322d3239" + "00", record.BirthDate, ""},
		{"no day", "028010" + "0a" + "313938352d30322d3239" + "00", record.BirthDate, "1985-02-29"},
		{"the year 0", "028010" + "0a" + "303030302d30322d3239" + "00", record.BirthDate, "0000-02-29"},
		{"the last second", "028020" + "00497786387f" + "00", record.CreatedAt, "9999-12-31T23:59:59Z"},
		{"a second after the last", "028020" + "004977863880" + "00", record.CreatedAt, ""},
		{"a day as a time", "028020" + "0a" + "323032342d30352d3331" + "00", record.CreatedAt, "2024-05-31"},
		{"a packed text", "0201" + "0005" + "00", record.ExternalID, ""},
	} {
		b, err := hex.DecodeString(c.bytes)
		if err != nil {
			t.Fatal(err)
		}
		var got, want record.Customer
		switch err := record.DecodeCustomer(b, &got); {
		case c.value == "":
			if !errors.Is(err, record.ErrCorrupt) {
				t.Errorf("%s: %v, %v", c.name, got, err)
			}
			continue
		case err != nil:
			want.Set(c.f, c.value)
			t.Errorf("%s: %v; it is written as %x", c.name, err, record.AppendCustomer(nil, &want))
			continue
		}
		want.Set(c.f, c.value)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		if again := hex.EncodeToString(record.AppendCustomer(nil, &got)); again != c.bytes {
			t.Errorf("%s is written as %s", c.name, again)
		}
	}
}

func vectorPurchases() []record.Purchase {
	at := time.Date(2025, 3, 1, 10, 0, 0, 0, time.UTC)
	return []record.Purchase{
		{ID: "C000000017-1", At: at, SKU: "GU1", Description: "Loafer", Quantity: 1, Amount: record.Amount{Units: 79000, Scale: 2}, Currency: "EUR", Store: "FR-1", Channel: "store"},
		{ID: "C000000017-2", At: at.Add(36 * time.Hour), SKU: "Z", Description: "engraved", Quantity: 2, Amount: record.Amount{Units: 5}, Currency: "EUR", Channel: "online"},
		{ID: "C000000017-2", At: at.Add(48*time.Hour + time.Microsecond), SKU: "GU1", Description: "Loafer", Quantity: 1, Amount: record.Amount{Units: -79000, Scale: 2}, Currency: "EUR", Store: "FR-1", Channel: "store"},
		{ID: "R-20250401-000000000001", At: at, SKU: "GU1", Description: "Loafer", Quantity: 1, Amount: record.Amount{Units: 79000, Scale: 2}, Currency: "USD", Store: "FR-2", Channel: "store"},
	}
}

func TestSegmentVectors(t *testing.T) {
	want := vectorPurchases()
	b := record.AppendPurchases(nil, want, []uint64{300, 0, 300, 300})
	if got := hex.EncodeToString(b); got != segmentVectors[record.SegmentVersion] {
		t.Errorf("the segment is written as %s", got)
	}
	product := func(id uint64) (string, string, error) {
		if id != 300 {
			return "", "", errors.New("another number")
		}
		return "GU1", "Loafer", nil
	}
	for version, text := range segmentVectors {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := record.DecodePurchases(b, product)
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("version %d: %s", version, d)
		}
		if _, err := record.DecodePurchases(append(b, 0), product); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("version %d: with a byte more: %v", version, err)
		}
	}
}

// One content has one form: longer forms of what could be said shorter are refused.
func TestSegmentForms(t *testing.T) {
	good := record.AppendPurchases(nil, []record.Purchase{
		{ID: "ab1", At: time.Unix(1, 0), Quantity: 1, Amount: record.Amount{Scale: 2}, Store: "s"},
		{ID: "ab2", At: time.Unix(1, 0), Quantity: 1, Amount: record.Amount{Scale: 2}},
	}, []uint64{1, 1})
	want := "0202" + "7b" + "03" + "616231" + "02" + "01" + "00" + "000173" + "7b" + "21" + "32" + "00" + "01" + "00" + "01"
	if hex.EncodeToString(good) != want {
		t.Fatalf("written as %x", good)
	}
	for name, s := range map[string]string{
		"less shared than is":    "0202" + "7b" + "03" + "616231" + "02" + "01" + "00" + "000173" + "7b" + "12" + "6232" + "00" + "01" + "00" + "01",
		"more shared than there": "0202" + "7b" + "03" + "616231" + "02" + "01" + "00" + "000173" + "7b" + "41" + "32" + "00" + "01" + "00" + "01",
		"a known text again":     "0202" + "7b" + "03" + "616231" + "02" + "01" + "00" + "000173" + "7b" + "21" + "32" + "00" + "01" + "00" + "0000",
		"a text of no number":    "0202" + "7b" + "03" + "616231" + "02" + "01" + "00" + "000173" + "7b" + "21" + "32" + "00" + "01" + "00" + "03",
		"the text before":        "0202" + "7b" + "03" + "616231" + "02" + "01" + "00" + "000173" + "7b" + "21" + "32" + "00" + "01" + "00" + "02",
		"a later version":        "03" + want[2:],
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := record.DecodePurchases(b, func(uint64) (string, string, error) { return "", "", nil }); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
