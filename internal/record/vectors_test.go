package record_test

import (
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cloakroom/cloakroom/internal/record"
)

// segmentVectors hold one customer's purchases in every version of the segment.
// docs/record-format.md names them: what is in them must be read for ever.
var segmentVectors = map[byte]string{
	1: "0104710c433030303030303031372d31c0ea96fc0cac02b0d209034555520446522d310573746f7265420c433030303030303031372d3280e90f015a08656e67726176656404000a00066f6e6c696e65330c433030303030303031372d3282c0ddeec102ac02afd2090446522d310573746f72653917522d32303235303430312d3030303030303030303030318180f6ba870aac02b0d209035553440446522d32",
	2: "0204710c433030303030303031372d31c0ea96fc0cac02b0d2090003455552000446522d31000573746f726542b13280e90f015a08656e67726176656404000a0100066f6e6c696e6533c082c0ddeec102ac02afd2090202390f08522d32303235303430312d3030303030303030303030318180f6ba870aac02b0d2090003555344000446522d32",
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
