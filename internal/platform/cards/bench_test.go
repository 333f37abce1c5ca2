package cards

import "testing"

var benchTexts = []string{
	"Horsebit loafer", "ana.lima@example.com", "C-1000017,Ana,Lima,ana.lima@example.com,+33612345678,12 rue de la Paix,75002,Paris,FR",
	"C-1000017,C-1000017-3,2024-05-31T12:00:00Z,SKU-44120,Silk scarf,1,310.00,EUR,Paris,store",
}

func benchEach(b *testing.B, fn func(string) bool) {
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		fn(benchTexts[i%len(benchTexts)])
		i++
	}
}

func BenchmarkHarmless(b *testing.B) {
	b.Run("harmless", func(b *testing.B) { benchEach(b, Harmless) })
	b.Run("eight bytes at a time", func(b *testing.B) { benchEach(b, harmlessByEight) })
	f := New()
	b.Run("plausible", func(b *testing.B) { benchEach(b, func(s string) bool { return !f.plausible(s) }) })
}

func BenchmarkContains(b *testing.B) {
	f := New()
	b.Run("plausible first", func(b *testing.B) { benchEach(b, f.Contains) })
	b.Run("rules", func(b *testing.B) { benchEach(b, f.find) })
}

// Where a letter beyond ASCII is told from a digit by its range.
func BenchmarkLetters(b *testing.B) {
	f := New()
	texts := []string{"12 rue de la Libération, Évreux", "Łódź, ul. Piotrkowska 104", "東京都港区北青山3-6-1"}
	for name, fn := range map[string]func(string) bool{"plausible first": f.Contains, "rules": f.find} {
		b.Run(name, func(b *testing.B) {
			i := 0
			for b.Loop() {
				fn(texts[i%len(texts)])
				i++
			}
		})
	}
}

// harmlessByEight is Harmless with a first loop over eight bytes at a time.
func harmlessByEight(text string) bool {
	const every, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(text); i += 8 {
		w := uint64(text[i]) | uint64(text[i+1])<<8 | uint64(text[i+2])<<16 | uint64(text[i+3])<<24 |
			uint64(text[i+4])<<32 | uint64(text[i+5])<<40 | uint64(text[i+6])<<48 | uint64(text[i+7])<<56
		if (w|(w+every)|^((w|high)-every*' '))&high != 0 {
			return false
		}
	}
	for ; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return sparse(text)
}
