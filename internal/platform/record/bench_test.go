package record

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Each way that is written by hand stands beside the one by the rules. What the comments
// of the former say of their gain was measured here; one that gains nothing goes.

func both[T any](b *testing.B, values []T, plain, rules func(T)) {
	for name, fn := range map[string]func(T){"plain": plain, "rules": rules} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				fn(values[i%len(values)])
				i++
			}
		})
	}
}

func BenchmarkEmail(b *testing.B) {
	both(b, []string{"ana.lima@example.com", "j.doe@mail.example.co.uk", "Zoe.Martin+shop@Gmail.com"},
		func(s string) { NormalEmail(s) }, func(s string) { slowEmail(s) })
}

func BenchmarkPhone(b *testing.B) {
	both(b, []string{"+33612345678", "+44 7911 123456", "+39 347 123 4567", "+14155550123"},
		func(s string) { NormalPhone(s, "") }, func(s string) { slowPhone(s, "") })
}

func BenchmarkExternalID(b *testing.B) {
	both(b, []string{"C-1000017", "0000123456", "FR/2024/000123"},
		func(s string) { NormalExternalID(s) }, func(s string) { slowExternalID(s) })
}

func BenchmarkAmount(b *testing.B) {
	both(b, []string{"790.00", "1250", "19.95", "123456.78"},
		func(s string) { ParseAmount(s) }, func(s string) { slowAmount(s) })
}

func BenchmarkTime(b *testing.B) {
	both(b, []string{"2024-05-31T12:00:00Z", "2019-12-01T23:59:59Z"},
		func(s string) { t, _ := PlainTime(s); runtime.KeepAlive(t) }, func(s string) { t, _ := time.Parse(time.RFC3339, s); runtime.KeepAlive(t) })
}

func BenchmarkDay(b *testing.B) {
	both(b, []string{"1984-05-31", "2001-02-28"},
		func(s string) { d, _ := dayOf(s); runtime.KeepAlive(d) }, func(s string) { t, _ := time.Parse(time.DateOnly, s); runtime.KeepAlive(t) })
}

func BenchmarkText(b *testing.B) {
	both(b, []string{"Horsebit loafer", "12 rue de la Paix", "Paris", "ana.lima@example.com"},
		func(s string) { textReason(s, MaxValueBytes) }, func(s string) { slowReason(s) })
}

func BenchmarkFold(b *testing.B) {
	both(b, []string{"Ana Lima", "PARIS", "12 Rue de la Paix"},
		func(s string) { fold(s) }, func(s string) { slowFold(s) })
}

func BenchmarkDistinctIDs(b *testing.B) {
	for _, n := range []int{3, 10, 24, 60, 1000} {
		ps := make([]Purchase, n)
		for i := range ps {
			ps[i].ID = fmt.Sprintf("C-1000017-%04d", (i*7919)%n)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			both(b, [][]Purchase{ps}, func(ps []Purchase) { DistinctIDs(ps) },
				func(ps []Purchase) {
					seen := make(map[string]bool, len(ps))
					for i := range ps {
						seen[ps[i].ID] = true
					}
				})
		})
	}
}

func slowReason(v string) bool {
	return !utf8.ValidString(v) || strings.TrimSpace(v) != v || strings.ContainsFunc(v, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' })
}

func slowFold(s string) string {
	folder := cases.Fold()
	once := norm.NFKC.String(folder.String(norm.NFKC.String(s)))
	return spaces(norm.NFKC.String(folder.String(once)))
}
