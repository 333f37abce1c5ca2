package cards_test

import (
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"pgregory.net/rapid"
)

func TestFinds(t *testing.T) {
	f := cards.New()
	for _, s := range []string{
		"4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "4111.1111.1111.1111",
		"5555555555554444", "2223003122003222", "378282246310005", "3782 822463 10005",
		"30569309025904", "6011111111111117", "3530111333300000", "6200000000000005",
		"6759649826438453",
		"paid with 4111111111111111 by phone", "card:4111111111111111;", "4111111111111111 12/27",
		"4111 1111 1111 1111 123", "12/27 4111111111111111", "no. 1 4111111111111111",
		"4111\u00a01111\u00a01111\u00a01111", "4111\u20111111\u20111111\u20111111", "4111\u200b111111111111",
		"４１１１１１１１１１１１１１１１", "٤١١١١١١١١١١١١١١١", "4111\u202a1111\u202c1111\u20611111",
		"4\ufe0f\u20e31\ufe0f\u20e31\ufe0f\u20e31\ufe0f\u20e3 1111 1111 1111",

		// A "+" is a telephone number's, up to 15 digits.
		"+5555555555554444", "Mastercard+5555 5555 5555 4444", "order + 5555555555554444",
		"+33 6 12 34 56 78 5555555555554444", "+33612345678 5555 5555 5555 4444",
		"5555+5555+5555+4444",

		// As people type groups.
		"5555  5555  5555  4444", "5555   5555   5555   4444", "5555 5555  5555 4444", "5555 - 5555 - 5555 - 4444",
		"5555 -5555 - 5555- 4444", "5555, 5555, 5555, 4444", "5555,5555,5555,4444", "5555 / 5555 / 5555 / 4444",
		"5555 . 5555 . 5555 . 4444", "5555--5555--5555--4444", "5555|5555|5555|4444", "5555*5555*5555*4444",
		"5555;5555;5555;4444", "5555，5555，5555，4444", "3782  822463  10005", "3782, 822463, 10005",
		"3056 - 930902 - 5904", "5555\u00a0\u00a05555\u00a0\u00a05555\u00a0\u00a04444", "cards: 5555,5555,5555,4444,12/27",
		"6212 3456 7890 1234 502, and", "5555-5555 5555-4444",

		// Issuers of one country or region.
		"6771770000000002", "6799990100000000019", "5018000000000009", "6390000000000203", "5066991111111118", // Maestro, Elo
		"6362970000457013", "6062826786276634", "3841001111222233338", "5019717010103742", // Elo, Hipercard, Dankort
		"5895620000000002", "8600490744313347", "9860100000000008", "9704000000000018", "9704310000000000011",
		"2205000000000009", "9792030000000000", "2200700000000009", "6071000000000001",

		// With the expiry date, however near.
		"55555555555544441227", "5555555555554444122027", "555555555555444412/27", "555555555555444412/2027",
		"555555555555444412-27", "5555 5555 5555 444412/27", "5555 5555 5555 44441227", "37828224631000512/27",
		"3782822463100051227", "55555555555544441227123", "12/275555555555554444", "12/20275555555555554444",
		"5555-5555-5555-4444-12-27", "5555555555554444exp1227", "5555555555554444=27121010000012300000",
		"%B5555555555554444^DOE/JOHN^2712101",

		// Beside what is none.
		"DE89 3704 0044 0532 0130 00 5555 5555 5555 4444", "DE89370400440532013000, 5555555555554444",
		"10.0.0.1 5555555555554444", "0.5 5555555555554444", "4006381333931 5555555555554444",
		"no IBAN: DE00 5555 5555 5555 4444 00",
	} {
		if !f.Contains(s) {
			t.Errorf("missed %q", s)
		}
	}
}

func TestLeavesAlone(t *testing.T) {
	f := cards.New()
	for name, s := range map[string]string{
		"wrong check digit":        "4111111111111112",
		"telephone":                "+49 1512 3456789",
		"telephone of 15 digits":   "+378282246310005",
		"EAN-13":                   "4006381333931",
		"order number":             "ORDER 2024-000123456789",
		"IBAN":                     "DE89 3704 0044 0532 0130 00",
		"timestamp":                "2026-11-24T10:49:00.123456Z",
		"run longer than a card":   "41111111111111110000",
		"card inside a longer run": "994111111111111111",
		"words between":            "4111 1111 then 1111 1111",
		"empty":                    "",

		"Visa of 13 digits":                "4222222222222",
		"article number beginning with 4":  "4003994155486",
		"article number with a quantity":   "4003994155486 100 ml",
		"two article numbers":              "4003994155486 4006381333931",
		"article numbers in a list":        "4003994155486,4006381333931,5000112637922",
		"shop's id of 13 digits":           "4444333322226",
		"IPv4 address behind a number":     "5555 555.55.55.55 4444",
		"IPv4 address that reads as one":   "4111 111.111.111.111",
		"IPv4 address before a number":     "411.11 or 41.111.111.111 11111",
		"two IPv4 addresses":               "203.0.113.195 198.51.100.178",
		"fraction of a measure":            "scale(0, -0.5555555555554444)",
		"fraction, with a comma":           "0,5555555555554444 kg",
		"fraction of a percentage":         "width: 1.5555555555554444%",
		"coordinate":                       "5.555555555554444",
		"coordinates":                      "48.8566140000000, 2.3522219000000",
		"IBAN with a card's digits":        "DK2450009054018132",
		"IBAN in groups":                   "AT66 3591 8656 7444 2054, Bank Austria",
		"IBAN in lower case with a label":  "iban:at604382219405261119",
		"IBAN with hyphens":                "DK09-5000-6970-3097-01",
		"two Spanish mobiles":              "612345678 676543217",
		"two German telephones":            "0171 1234567 / 0172 7654321",
		"two French telephones":            "06 12 34 56 78 / 07 98 76 54 32",
		"two Hong Kong telephones":         "5123 4567/6123 4561",
		"registration number of a company": "36.123.456/0001-06",
		"list of years":                    "2019, 2020, 2021, 2022",
		"groups of three":                  "4,111,111,111,111,111",
		"groups of unlike gaps":            "5555 5555, 5555 - 4444",
		"words of digits and letters":      "5555a5555b5555c4444",
		"a list of numbers":                "5,5,5,5,5,5,5,5,5,5,5,5,4,4,4,4",
		"run and no date":                  "55555555555544441327",
		"run and a date long past":         "55555555555544441299",
		"digits glued in front":            "15555555555554444",
	} {
		if f.Contains(s) {
			t.Errorf("%s was taken for a card", name)
		}
	}
}

// However a card is grouped and whatever words stand around it, it is found.
func TestGrouping(t *testing.T) {
	f := cards.New()
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.SampledFrom([]string{"4111111111111111", "378282246310005", "5555555555554444"}).Draw(t, "number")
		sep := rapid.SampledFrom([]string{" ", "-", ".", "/", "_", "\u2013"}).Draw(t, "separator")
		var b strings.Builder
		for i, r := range number {
			if i > 0 && rapid.Bool().Draw(t, "break") {
				b.WriteString(sep)
			}
			b.WriteRune(r)
		}
		if whole, part, ok := strings.Cut(b.String(), "."); ok && len(whole) <= 3 && !strings.Contains(part, ".") {
			return // a decimal number
		}
		for group := range strings.SplitSeq(b.String(), sep) {
			if len(group) == 13 && b.Len() > 13 {
				return // may be an article number with further digits beside it
			}
		}
		// Letters on both sides can be an IBAN.
		text := rapid.StringMatching(`([a-z ,;:]{0,20}:)?`).Draw(t, "before") + b.String() + rapid.StringMatching(`[a-z ,;:]{0,20}`).Draw(t, "after")
		if !f.Contains(text) {
			t.Fatalf("missed %q", text)
		}
	})
}

// Letters before a card do not make an IBAN of it, although they pass its check.
func TestLettersAreNoIBAN(t *testing.T) {
	f := cards.New()
	tried := 0
	for a := 'a'; a <= 'z'; a++ {
		for _, tail := range []string{"555555555555444 4", "411111111111111 1", "5555555555554444", "4111111111111111"} {
			for _, country := range []string{"dk", "be", "no", "fi", "SI", "NL"} {
				for b := 'a' - 1; b <= 'z'; b++ {
					before := country + string(a)
					if b >= 'a' {
						before += string(b)
					}
					if tried++; !f.Contains(before + tail) {
						t.Errorf("missed %q", before+tail)
					}
				}
			}
		}
	}
	if tried != 26*27*4*6 {
		t.Errorf("%d texts", tried)
	}
}

// The quick look says of every rune inside a number what the rules say: a card at the end
// of another run makes them be asked.
func TestQuickLookAtEveryRune(t *testing.T) {
	f := cards.New()
	found := 0
	for r := range rune(0x1ffff) {
		for _, text := range []string{"41111111" + string(r) + "11111111", "4111 1111 1111 111" + string(r)} {
			got := f.Contains(text)
			if got {
				found++
			}
			if got != f.Contains(text+"\n00000000000000000000\n") {
				t.Fatalf("the quick look leaves out a card in %q", text)
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d of the texts have a card: the test is blind", found)
	}
}

func FuzzContains(f *testing.F) {
	finder := cards.New()
	f.Add("4111 1111 1111 1111 12/27")
	f.Add("+33 6 12 34 56 78")
	f.Fuzz(func(t *testing.T, s string) {
		if finder.Contains(s) && !finder.Contains("x "+s) {
			t.Errorf("a word in front hides a card in %q", s)
		}
		if finder.Contains(s) != finder.Contains(s+"\n00000000000000000000\n") { // the long run is no card, and makes every text worth a look
			t.Errorf("the quick look leaves out a card in %q", s)
		}
	})
}

// A quick look says of texts made of what cards are made of what the rules say of them.
func TestQuickLook(t *testing.T) {
	f := cards.New()
	unlikely := 0
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("0123456789012345678901234567890123456789  --./_,;+a\"é\t\x1f\u200b٤~ "))).Draw(t, "text")
		if at := rapid.IntRange(-20, len(text)).Draw(t, "at"); at >= 0 {
			text = text[:at] + rapid.SampledFrom([]string{"5555555555554444", "5555  5555 - 5555, 4444", "5555 , 5555 , 5555 , 4444", "3 7 8 2 8 2 2 4 6 3 1 0 0 0 5"}).Draw(t, "card") + text[at:]
		}
		if !f.Contains(text) {
			unlikely++
		}
		if f.Contains(text) != f.Search(text) {
			t.Fatalf("the quick look leaves out a card in %q", text)
		}
	})
	if unlikely < 10 {
		t.Errorf("only %d texts have no card: the test is blind", unlikely)
	}
}

// However many numbers stand before a card and behind it, it is found, and none is made
// of them.
func TestLongChains(t *testing.T) {
	f := cards.New()
	for n := range 200 {
		before, after := strings.Repeat("1 ", n), strings.Repeat(" 1", n)
		for _, card := range []string{"5555555555554444", "5555 5555 5555 4444", "5555  5555  5555  4444", "5 5 5 5 5 5 5 5 5 5 5 5 4 4 4 4"} {
			if !f.Contains(before + card + after) {
				t.Fatalf("missed %q between %d numbers", card, n)
			}
		}
		for _, none := range []string{"+33 6 12 34 56 78", "203.0.113.195", "0.5555555555554444", "DK24 5000 9054 0181 32"} {
			if f.Contains(before + none + after) {
				t.Fatalf("%q between %d numbers is a card", none, n)
			}
		}
	}
}

// A brand's own numbers pass in the fields that it named, beside no other card.
func TestOwn(t *testing.T) {
	own := cards.NewOwn([]string{"600649", "60065"}, []string{"external_id", "attr.loyalty"})
	for text, want := range map[string]bool{
		"6006490000000012":                      true,
		"6006 4900 0000 0012":                   true,
		"6006490000000012, 6006490000000020":    true,
		"6006490000000012 5555555555554444":     false,
		"5555555555554444":                      false,
		"6006400000000011":                      false,
		"60064900000000121227":                  true, // however it is written
		"member 6006490000000012, card on file": true,
	} {
		if own.Lets("external_id", text) != want || own.Lets("attr.loyalty", text) != want {
			t.Errorf("%q is let in: %v", text, !want)
		}
		if own.Lets("attr.note", text) || own.Lets("email", text) {
			t.Errorf("%q is let in everywhere", text)
		}
	}
	var none *cards.Own
	if none.Lets("external_id", "6006490000000012") {
		t.Error("a brand without a declaration lets cards in")
	}
}

// Nobody's own are the ranges of the international credit card schemes, and what names
// too many numbers or only one.
func TestCheckPrefix(t *testing.T) {
	for prefix, want := range map[string]cards.Prefix{
		"600649": cards.PrefixFine, "900000": cards.PrefixFine, "500000": cards.PrefixFine, "600649000000": cards.PrefixFine,
		"220000": cards.PrefixFine, "310000": cards.PrefixFine, "350000": cards.PrefixFine,
		"": cards.PrefixDigits, "60064": cards.PrefixDigits, "6006490000001": cards.PrefixDigits, "60064x": cards.PrefixDigits,
		"６００６４９": cards.PrefixDigits, "6006 49": cards.PrefixDigits, "-600649": cards.PrefixDigits,
		"400000": cards.PrefixBank, "411111": cards.PrefixBank, "510000": cards.PrefixBank, "559999123456": cards.PrefixBank,
		"222100": cards.PrefixBank, "272099": cards.PrefixBank, "340000": cards.PrefixBank, "379999": cards.PrefixBank,
		"300000": cards.PrefixBank, "309500": cards.PrefixBank, "360000": cards.PrefixBank, "352800": cards.PrefixBank,
		"358999": cards.PrefixBank, "620000": cards.PrefixBank,
	} {
		if got := cards.CheckPrefix(prefix); got != want {
			t.Errorf("%q %s", prefix, got)
		}
	}
}
