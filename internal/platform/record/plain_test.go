package record

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// The quick look at a value never says what the full rules do not.
func TestPlainFormsAreTheNormalForms(t *testing.T) {
	plainly := 0
	agree := func(t *rapid.T, what, s string, quick, full string, err error) {
		plainly++
		if err != nil || quick != full {
			t.Fatalf("%s %q: %q at a glance, %q by the rules, %v", what, s, quick, full, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		country := rapid.SampledFrom([]string{"", "FR", "US", "IT", "BR", "AR", "GB", "RU"}).Draw(t, "country")
		for range 20 {
			phone := rapid.OneOf(
				rapid.StringMatching(`\+[1-9][0-9]{5,14}`),
				rapid.StringMatching(`\+(1|7|20|30|33|39|44|49|52|54|55|61|81|82|86|91|380|852|971|598)( [0-9]{1,4}){2,4}`),
				rapid.StringMatching(`\+[0-9 ]{6,18}`),
			).Draw(t, "phone")
			if n, ok := plainPhone(phone); ok {
				full, err := slowPhone(phone, country)
				agree(t, "phone", phone, n, full, err)
			}
			mail := rapid.OneOf(
				rapid.StringMatching(`[A-Za-z0-9._+-]{1,10}@[A-Za-z0-9.]{1,12}\.[a-z]{2,4}`),
				rapid.StringMatching(`[a-z@.A-Z0-9-]{1,20}`),
				rapid.StringMatching(`[a-z]@(xn|x|ab|A)?-{0,2}[a-z0-9-]{0,3}(-[a-z]{1,3}){0,2}\.?[a-zA-Z]{1,2}-?`),
			).Draw(t, "email")
			if n, ok := plainEmail(mail); ok {
				full, err := slowEmail(mail)
				agree(t, "email", mail, n, full, err)
			}
			id := rapid.StringMatching(`[A-Za-z0-9 ~!-]{0,12}`).Draw(t, "id")
			if n, err := NormalExternalID(id); err == nil {
				full, err := slowExternalID(id)
				agree(t, "external id", id, n, full, err)
			}
		}
	})
	if plainly < 500 {
		t.Errorf("only %d values were plain: the test is blind", plainly)
	}
	for _, s := range []string{"+33 6 12 34 56 78", "+14155550123", "+54 9 11 2345 6789"} {
		if _, ok := plainPhone(s); !ok {
			t.Errorf("%s is not plain", s)
		}
	}
	for _, s := range []string{"Ana.Lima+shop@Example.com", "ana@my-shop.Example-mail.com"} {
		if _, ok := plainEmail(s); !ok {
			t.Errorf("%s is not plain", s)
		}
	}
}

// Folding at a glance is folding by the rules.
func TestFoldsByTheRules(t *testing.T) {
	slow := func(s string) string {
		folder := cases.Fold()
		s = norm.NFKC.String(folder.String(norm.NFKC.String(s)))
		return spaces(norm.NFKC.String(folder.String(s)))
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(
			rapid.Custom(func(t *rapid.T) string {
				return string(rapid.SliceOfN(rapid.ByteRange(0, 0x7f), 0, 40).Draw(t, "ascii"))
			}),
			rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("aAéÉßẞſǅﬁ\u0345\u0301\u00a8 \u00a0Ω"))),
		).Draw(t, "text")
		if got, want := fold(s), slow(s); got != want {
			t.Fatalf("%q is folded to %q, and %q by the rules", s, got, want)
		}
	})
}

// An amount is the same whichever way it is read.
func TestPlainAmountsAreAmounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.StringMatching(`[0-9]{1,12}(\.[0-9]{0,10})?`), rapid.StringMatching(`[-+0-9.]{0,20}`)).Draw(t, "amount")
		a, ok := plainAmount(s)
		if want, err := slowAmount(s); ok && (err != nil || a != want) {
			t.Fatalf("%q is %v at a glance, %v by the rules, %v", s, a, want, err)
		}
	})
	if a, ok := plainAmount("1250.00"); !ok || a.String() != "1250.00" {
		t.Error("a usual amount is not plain")
	}
}

// A day or time that is read at a glance is what package time reads.
func TestPlainTimesAreTimes(t *testing.T) {
	plainly := 0
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(
			rapid.StringMatching(`(0000|0001|2023|2024|9999)-(0[0-9]|1[0-3])-([0-2][0-9]|3[0-2])`),
			rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]Z`),
			rapid.StringMatching(`[0-9 +-]{4}-0[0-9]-0[0-9][T ]0[0-9]:0[0-9]:[0-9,.]{2}[Z+]`),
		).Draw(t, "time")
		if _, ok := dayOf(s); ok {
			plainly++
			if _, err := time.Parse(time.DateOnly, s); err != nil {
				t.Fatal(err)
			}
		}
		if at, ok := PlainTime(s); ok {
			plainly++
			if want, err := time.Parse(time.RFC3339, s); err != nil || at != want {
				t.Fatalf("%s is %v at a glance, %v by the rules, %v", s, at, want, err)
			}
		}
	})
	if plainly == 0 {
		t.Error("no time was plain: the test is blind")
	}
}

// A time is looked at by its seconds alone only where its year says the same.
func TestTimesInYears(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		edge := rapid.SampledFrom([]int64{minMicro / 1e6, maxMicro / 1_000_000, 0}).Draw(t, "edge")
		at := time.Unix(edge+rapid.Int64Range(-2*daySeconds, 2*daySeconds).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		at = at.In(rapid.SampledFrom([]*time.Location{time.UTC, time.FixedZone("east", daySeconds), time.FixedZone("far", -400*daySeconds)}).Draw(t, "zone"))
		year, us := at.Year(), at.UnixMicro()
		if want := !at.IsZero() && year >= 1 && year <= 9999 && us >= minMicro && us <= maxMicro; inYears(at) != want {
			t.Fatalf("%v: %v, want %v", at, !want, want)
		}
	})
}

// Ids are told apart whichever way many of them are compared.
func TestDistinctIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`(A|B|1)?-?[0-9]{8}`), rapid.StringMatching(`[A-Z]{0,2}[0-9]{1,9}`))
		ids := rapid.SliceOfN(text, 0, 60).Draw(t, "ids")
		seen := map[string]bool{}
		ps := make([]Purchase, len(ids))
		for i, id := range ids {
			ps[i].ID, seen[id] = id, true
		}
		if got := DistinctIDs(ps); got != (len(seen) == len(ids)) {
			t.Fatalf("%q: %v", ids, got)
		}
	})
}

// Each day has its number, and there is no day that package time does not know.
func TestDaysAreCounted(t *testing.T) {
	var days uint64
	for at := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 10000; at = at.AddDate(0, 0, 1) {
		y, m, d := at.Date()
		if y%100 > 4 && y%100 < 96 && m > 3 {
			days++
			continue
		}
		if got, ok := dayOf(at.Format(time.DateOnly)); !ok || got != days {
			t.Fatalf("%v is day %d, want %d, %v", at, got, days, ok)
		}
		if days++; at.AddDate(0, 0, 1).Day() != 1 {
			continue
		}
		for d++; d < 40; d++ {
			if _, ok := dayOf(fmt.Sprintf("%04d-%02d-%02d", y, m, d)); ok {
				t.Fatalf("there is no %04d-%02d-%02d", y, m, d)
			}
		}
	}
	if days != maxDays {
		t.Errorf("%d days, want %d", days, maxDays)
	}
}
