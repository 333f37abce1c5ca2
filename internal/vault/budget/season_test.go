package budget_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// head is how a text of rules begins.
func head(t *testing.T) string {
	t.Helper()
	text := string(budget.DefaultRules().Encode())
	lines := strings.SplitAfterN(text, "\n", 3)
	return lines[0] + lines[1]
}

func parse(t *testing.T, lines ...string) *budget.Rules {
	t.Helper()
	r, err := budget.ParseRules([]byte(head(t) + strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A season's rules hold on its days alone, and it ends by itself.
func TestASeasonBeginsAndEndsByItself(t *testing.T) {
	t.Parallel()
	r := parse(t, "brand any clear day 5", "role any clear day 9", "principal any clear day 9", "lineage any clear day 9",
		"brand any clear day 8 2026-11-20..2026-12-01 # black friday")
	for at, want := range map[string]int{"2026-11-19T23:59:59Z": 5, "2026-11-20T00:00:00Z": 8, "2026-11-30T23:59:59Z": 8, "2026-12-01T00:00:00Z": 5} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if n := takes(budget.NewBook(r), now, budget.Disclosure{Principal: 1, Lineage: 1, Role: "support-agent", Class: budget.Clear}, 20); n != want {
			t.Errorf("%d were taken at %s, not %d", n, at, want)
		}
	}
	before := time.Date(2026, 11, 19, 12, 0, 0, 0, time.UTC)
	b := r.Bound(budget.Holder{Kind: budget.Brand}, 0, "", budget.Clear, before)
	if b[budget.Hour] != 5 || b[budget.Day] != 8 {
		t.Errorf("the bound of the day before is %v: of a season that begins within 24 hours it has the limit", b)
	}
}

// takes lets somebody take customers one by one, and returns how many they got.
func takes(b *budget.Book, at time.Time, who budget.Disclosure, most int) int {
	for n := range most {
		who.Ords = []record.Ordinal{record.Ordinal(1000*who.Principal) + record.Ordinal(n)}
		g := b.Begin(at)
		if g.Decide(who) != nil {
			return n
		}
		g.Commit()
	}
	return most
}

// Sixty stolen keys of one role leave who has taken nobody today room to work, and
// deliveries go on.
func TestAReserveIsForWhoTookFew(t *testing.T) {
	t.Parallel()
	list := []string{"lineage any clear day 50", "principal any clear day 50", "role any clear day 1000", "brand any clear day 1200"}
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	work := func(kept ...string) (honest, delivery int) {
		b := budget.NewBook(parse(t, append(kept, list...)...))
		for key := range uint64(60) {
			takes(b, at, budget.Disclosure{Principal: 100 + key, Lineage: 100 + key, Role: "support-agent", Class: budget.Clear}, 50)
		}
		return takes(b, at, budget.Disclosure{Principal: 1, Lineage: 1, Role: "support-agent", Class: budget.Clear}, 50),
			takes(b, at, budget.Disclosure{Principal: 2, Lineage: 2, Role: "application", Class: budget.Clear}, 1000)
	}
	if honest, _ := work(); honest != 0 {
		t.Errorf("without a reserve, %d were left: the attack attacks nothing", honest)
	}
	honest, delivery := work("reserve few:3 25", "reserve role:application 20")
	if honest != 3 || delivery < 50 {
		t.Errorf("%d customers were left for who took nobody, %d for deliveries", honest, delivery)
	}
	b := budget.NewBook(parse(t, append(list, "reserve few:3 25")...))
	who := budget.Disclosure{Principal: 1, Lineage: 1, Role: "support-agent", Class: budget.Clear}
	for p := range uint64(20) {
		who.Principal, who.Lineage = 10+p, 10+p
		takes(b, at, who, 50)
	}
	who.Principal, who.Lineage, who.Ords = 26, 26, []record.Ordinal{77}
	g := b.Begin(at)
	var full *budget.ExhaustedError
	if err := g.Decide(who); !errors.As(err, &full) || full.Kept != 250 && full.Kept != 300 || !strings.Contains(err.Error(), "reserved for others") {
		t.Errorf("the refusal does not name what is reserved: %v", err)
	}
}

// Rules that somebody wrote in any order come back in one form, and bad lines are named.
func TestRulesOfSeasonsAreRead(t *testing.T) {
	t.Parallel()
	r := parse(t, "", "# ours", "lineage  any clear day 9", "brand any clear day 8 2026-11-20..2026-12-01", "reserve few:10 20")
	again, err := budget.DecodeRules(r.Encode())
	if err != nil || string(again.Encode()) != string(r.Encode()) {
		t.Fatalf("%v\n%s", err, r.Encode())
	}
	for line, says := range map[string]string{
		"brand any clear day 8 2026-12-01..2026-11-20":                                               "a season ends after",
		"brand any clear day 8 november":                                                             "a season is its first day",
		"brand any clear day 8 2026-11-20..2026-12-01\nbrand any clear day 9 2026-11-25..2026-12-25": "two seasons that meet",
		"reserve few:0 20":                                 "a reserve is",
		"reserve few:10 95":                                "a reserve is 1 to 90 percent",
		"reserve few:10 50\nreserve role:analyst 50":       "more than 90 percent",
		"reserve role:analyst 20\nreserve role:analyst 10": "two reserves",
		"brand any clear fortnight 8":                      "(line 3)",
	} {
		if _, err := budget.ParseRules([]byte(head(t) + line + "\n")); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// Whoever gains by a season, or because less is kept for others, is named with the day.
func TestGainsOfSeasonsAndReserves(t *testing.T) {
	t.Parallel()
	base := []string{"brand any clear day 100", "reserve few:10 20"}
	for _, c := range []struct {
		after []string
		want  string
	}{
		{base, "[]"},
		{append(base, "brand any clear day 150 2026-11-20..2026-12-01"), "[clear of brand, any per day from 2026-11-20 on: 120 instead of 80]"},
		{append(base, "brand any clear day 90 2026-11-20..2026-12-01"), "[]"},
		{append(base, "brand any clear day 150 2025-11-20..2025-12-01"), "[]"}, // over
		{base[:1], "[clear of brand, any per day: 100 instead of 80]"},
		{[]string{base[0], "reserve few:50 20"}, "[reserved for principals who took few: up to 50 customers a day instead of 10]"},
		{append(base, "reserve role:application 10"), "[]"},
	} {
		got := budget.Gains(parse(t, base...), parse(t, c.after...), nil, budget.DateOf(newYear))
		if fmt.Sprint(got) != c.want {
			t.Errorf("%q: %v, not %s", c.after, got, c.want)
		}
	}
}

func FuzzRules(f *testing.F) {
	f.Add(string(budget.DefaultRules().Encode()))
	f.Add("cloakroom budget rules 2\nclasses clear\nbrand any clear day 8 2026-11-20..2026-12-01\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := budget.ParseRules([]byte(text))
		if err != nil {
			return
		}
		again, err := budget.DecodeRules(r.Encode())
		if err != nil || string(again.Encode()) != string(r.Encode()) {
			t.Fatalf("not the same: %v", err)
		}
	})
}

// With shares kept for others nobody takes more than the limit, and who took few is never
// refused by the budget of many while that has room.
func TestReservesHold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules, err := budget.NewRules([]budget.Rule{
			{Kind: budget.Lineage, Class: budget.Clear, Window: budget.Day, Limit: 40}, {Kind: budget.Principal, Class: budget.Clear, Window: budget.Day, Limit: 40},
			{Kind: budget.Role, Class: budget.Clear, Window: budget.Day, Limit: 40}, {Kind: budget.Brand, Class: budget.Clear, Window: budget.Day, Limit: 50},
		}, budget.Reserve{Percent: 25, Few: 2})
		if err != nil {
			t.Fatal(err)
		}
		b, taken := budget.NewBook(rules), map[uint64]int{}
		all := 0
		for range rapid.IntRange(1, 90).Draw(t, "requests") {
			who := rapid.Uint64Range(1, 9).Draw(t, "who")
			g := b.Begin(newYear)
			err := g.Decide(budget.Disclosure{Principal: who, Lineage: who, Role: "support-agent", Class: budget.Clear, Ords: []record.Ordinal{record.Ordinal(all + 1)}})
			few := taken[who]+1 <= 2
			switch {
			case err == nil && (all >= 40 || !few && all >= 30):
				t.Fatalf("%d were taken of 40, %d are kept", all, 10)
			case err != nil && (few && all < 40 || all < 30):
				t.Fatalf("refused after %d of all and %d of their own: %v", all, taken[who], err)
			case err == nil:
				g.Commit()
				all++
				taken[who]++
			}
		}
	})
}
