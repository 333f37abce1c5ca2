package budget

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

// A text comes out of its pieces whole or not at all, whatever else is written between
// them, however often they are read again, and through a snapshot at any place.
func TestPartsGiveTheWholeTextOrNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		texts := []string{
			strings.Repeat("a", rapid.IntRange(PartBytes+1, 4*PartBytes).Draw(t, "a")),
			strings.Repeat("b", rapid.IntRange(PartBytes+1, 4*PartBytes).Draw(t, "b")),
		}
		cut := [][]entry.BudgetPart{Cut(texts[0]), Cut(texts[1])}
		next := [2]int{}
		var p Parts
		at, taken := 0, 0 // whose pieces are gathered, and how many
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			who := rapid.IntRange(0, 1).Draw(t, "who")
			i := next[who] % len(cut[who])
			if rapid.IntRange(0, 4).Draw(t, "stray") == 0 {
				i = rapid.IntRange(0, len(cut[who])-1).Draw(t, "piece")
			}
			next[who] = i + 1
			again, err := ParseParts(p.String())
			if err != nil {
				t.Fatal(err)
			}
			p = again.Clone()
			text, whole := p.Take(cut[who][i])
			switch {
			case i == 0:
				at, taken = who, 1
			case taken > 0 && who == at && i < taken:
			case taken > 0 && who == at && i == taken:
				taken++
			default:
				taken = 0
			}
			if want := taken == len(cut[at]); whole != want || whole && text != texts[at] {
				t.Fatalf("whole %v, not %v, of %d bytes", whole, want, len(text))
			}
			if whole {
				taken = 0
			}
		}
	})
}

// A piece that was changed makes no text, and one that says of itself what cannot be none.
func TestAChangedPartIsNone(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("lineage any clear hour 5\n", 4000)
	if Cut(text[:PartBytes]) != nil {
		t.Error("a text that fits was cut")
	}
	for name, change := range map[string]func(x []entry.BudgetPart) []entry.BudgetPart{
		"text":    func(x []entry.BudgetPart) []entry.BudgetPart { x[1].Rules = strings.ToUpper(x[1].Rules); return x },
		"dropped": func(x []entry.BudgetPart) []entry.BudgetPart { return append(x[:1], x[2:]...) },
		"order":   func(x []entry.BudgetPart) []entry.BudgetPart { x[0], x[1] = x[1], x[0]; return x },
		"longer":  func(x []entry.BudgetPart) []entry.BudgetPart { x[1].Rules += strings.Repeat("x", PartBytes); return x },
		"of":      func(x []entry.BudgetPart) []entry.BudgetPart { x[2].Of = 1 << 30; return x },
	} {
		var p Parts
		for _, x := range change(Cut(text)) {
			if _, whole := p.Take(x); whole {
				t.Errorf("%s: taken", name)
			}
		}
	}
	for _, s := range []string{"x", "ab 1 2", "ab 0 2\n", "ab 2 2\ntext", "ab x 2\n", "ab 1 2 \ntext"} {
		if _, err := ParseParts(s); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}
