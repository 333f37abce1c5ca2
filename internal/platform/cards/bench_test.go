package cards_test

import (
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
)

// cells are the values of a customer in an import.
var cells = []string{
	"A0012345", "Anna", "Lindqvist", "anna.lindqvist@example.com", "+46701234567", "Storgatan 12", "Stockholm", "11455", "SE",
	"1984-05-31", "sv", "2024-05-31T12:00:00Z", "gold",
}

// BenchmarkRow shows what an imported row costs.
func BenchmarkRow(b *testing.B) {
	f := cards.New()
	look := func(name string, fn func() bool) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if fn() {
					b.Fatal("a card")
				}
			}
		})
	}
	look("Contains", func() bool { return any(f.Contains) })
	look("without the quick look", func() bool { return any(f.Search) })
}

func any(has func(string) bool) bool {
	for _, c := range cells {
		if has(c) {
			return true
		}
	}
	return false
}

// BenchmarkContains shows what the quick look saves on texts of several kinds, and what
// it costs where it decides nothing.
func BenchmarkContains(b *testing.B) {
	f := cards.New()
	for name, text := range map[string]string{
		"name":      "Anna-Maria Lindqvist von Rosen",
		"cyrillic":  "Анна Сергеевна Каренина-Облонская",
		"address":   "Storgatan 12, 3 tr, 114 55 Stockholm, Sweden",
		"telephone": "+46 70 123 45 67",
		"long id":   "20241124104900123456",
		"card":      "4111111111111111",
		"note":      "Called on 2024-05-31 about order 2024-000123456789, size 38, prefers e-mail; comes again in the second week of June, with her sister.",
	} {
		for way, has := range map[string]func(string) bool{"Contains": f.Contains, "without the quick look": f.Search} {
			b.Run(name+"/"+way, func(b *testing.B) {
				for b.Loop() {
					has(text)
				}
			})
		}
	}
}
