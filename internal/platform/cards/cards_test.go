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
		"4222222222222", "6759649826438453",
		"paid with 4111111111111111 by phone", "card:4111111111111111;", "4111111111111111 12/27",
		"4111 1111 1111 1111 123", "12/27 4111111111111111", "no. 1 4111111111111111",
		"4111\u00a01111\u00a01111\u00a01111", "4111\u20111111\u20111111\u20111111", "4111\u200b111111111111",
		"４１１１１１１１１１１１１１１１", "٤١١١١١١١١١١١١١١١",
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
		text := rapid.StringMatching(`[a-z ,;:]{0,20}`).Draw(t, "before") + b.String() + rapid.StringMatching(`[a-z ,;:]{0,20}`).Draw(t, "after")
		if !f.Contains(text) {
			t.Fatalf("missed %q", text)
		}
	})
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

// What is harmless at a glance is harmless by the rules, whole and in every part.
func TestHarmless(t *testing.T) {
	f := cards.New()
	harmless := 0
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("0123456789012345678901234567890123456789  --./_,;a\"é\t\x1f\x7f~ "))).Draw(t, "text")
		if at := rapid.IntRange(-20, len(text)).Draw(t, "at"); at >= 0 {
			text = text[:at] + rapid.SampledFrom([]string{"4111111111111111", "4111 1111-1111.1111", "3 7 8 2 8 2 2 4 6 3 1 0 0 0 5"}).Draw(t, "card") + text[at:]
		}
		if !cards.Harmless(text) {
			return
		}
		harmless++
		for from := range len(text) {
			for to := from + 13; to <= len(text); to++ {
				if f.Contains(text[from:to]) {
					t.Fatalf("%q is called harmless", text[from:to])
				}
			}
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q is called printable ASCII", text)
		}
	})
	if harmless < 10 {
		t.Errorf("only %d texts were harmless: the test is blind", harmless)
	}
	for _, s := range []string{"", "x", "A1,Ana,Lima,ana@example.com,+33123456789,1984-05-31,2024-05-31T12:00:00Z,\"Bag, black\",1250.00,EUR"} {
		if !cards.Harmless(s) {
			t.Errorf("%q is not harmless", s)
		}
	}
}
