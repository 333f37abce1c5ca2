package budget_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

var (
	allKinds   = []budget.HolderKind{budget.Lineage, budget.Principal, budget.Role, budget.Brand}
	allWindows = []budget.Window{budget.Hour, budget.Day, budget.Month}
)

// drawRules draws limits that need not fit each other: a day can be narrower than an
// hour, a role than a credential, and some are not set.
func drawRules(t *rapid.T) *budget.Rules {
	rules, err := budget.NewRules(drawList(t))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func drawList(t *rapid.T) []budget.Rule {
	var list []budget.Rule
	for _, kind := range allKinds {
		some := false
		for i, w := range allWindows {
			if rapid.IntRange(0, 2).Draw(t, "set") > 0 || i == 2 && !some {
				some = true
				list = append(list, budget.Rule{Kind: kind, Class: budget.Clear, Window: w,
					Limit: uint32(rapid.IntRange(0, []int{4, 9, 30}[i]).Draw(t, "limit"))})
			}
		}
	}
	return list
}

// newYear is when the histories begin.
var newYear = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// drawSeasons draws rules that also have seasons, and keeps shares for others.
func drawSeasons(t *rapid.T) *budget.Rules {
	list := drawList(t)
	for day := rapid.IntRange(1, 9).Draw(t, "first"); day < 60; day += rapid.IntRange(1, 20).Draw(t, "gap") {
		from := newYear.AddDate(0, 0, day)
		day += rapid.IntRange(1, 20).Draw(t, "length")
		season := budget.Season{From: budget.DateOf(from), Until: budget.DateOf(newYear.AddDate(0, 0, day))}
		for _, rule := range drawList(t) {
			rule.Season = season
			list = append(list, rule)
		}
	}
	var kept []budget.Reserve
	if rapid.Bool().Draw(t, "few") {
		kept = append(kept, budget.Reserve{Percent: 30, Few: uint32(rapid.IntRange(1, 3).Draw(t, "most"))})
	}
	if rapid.Bool().Draw(t, "role") {
		kept = append(kept, budget.Reserve{Role: "application", Percent: 40})
	}
	rules, err := budget.NewRules(list, kept...)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// person draws one of two principals of two lineages each, in one role.
func person(t *rapid.T) budget.Disclosure {
	principal := rapid.Uint64Range(1, 2).Draw(t, "principal")
	return budget.Disclosure{Principal: principal, Lineage: 10*principal + rapid.Uint64Range(0, 1).Draw(t, "lineage"),
		Role: "support-agent", Class: budget.Clear}
}

// holderOf returns who is stolen, of a disclosure by somebody.
func holderOf(kind budget.HolderKind, d budget.Disclosure) (budget.Holder, func(budget.Disclosure) bool) {
	switch kind {
	case budget.Lineage:
		return budget.Holder{Kind: kind, ID: d.Lineage}, func(o budget.Disclosure) bool { return o.Lineage == d.Lineage }
	case budget.Principal:
		return budget.Holder{Kind: kind, ID: d.Principal}, func(o budget.Disclosure) bool { return o.Principal == d.Principal }
	case budget.Role:
		return budget.Holder{Kind: kind, Role: d.Role}, func(o budget.Disclosure) bool { return o.Role == d.Role }
	}
	return budget.Holder{Kind: kind}, func(budget.Disclosure) bool { return true }
}

// Whatever happened before the theft, and whatever the thief and everybody else do after
// it, the holder never takes more than the bound that was shown at the moment of theft.
func TestNoHistoryTakesMoreThanTheBound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := drawSeasons(t)
		book := budget.NewBook(rules)
		clock := newYear
		var log []logged
		step := func(who budget.Disclosure, n int) {
			unit := []time.Duration{time.Minute, 20 * time.Minute, 8 * time.Hour}[rapid.IntRange(0, 2).Draw(t, "unit")]
			clock = clock.Add(time.Duration(rapid.Int64Range(0, 90).Draw(t, "jump")) * unit)
			for range n {
				who.Ords = append(who.Ords, record.Ordinal(rapid.IntRange(1, 200).Draw(t, "customer")))
			}
			g := book.Begin(clock)
			if g.Decide(who) == nil {
				g.Commit()
				log = append(log, logged{g.At(), who})
			}
		}
		for range rapid.IntRange(0, 15).Draw(t, "before") {
			step(person(t), 1)
		}
		holder, holds := holderOf(allKinds[rapid.IntRange(0, 3).Draw(t, "stolen")], person(t))
		stolen, bound := clock, rules.Bound(holder, 0, "support-agent", budget.Clear, clock)
		before := len(log)
		for range rapid.IntRange(1, 40).Draw(t, "after") {
			step(person(t), rapid.IntRange(1, 3).Draw(t, "n"))
		}
		for i, w := range allWindows {
			if n := distinctIn(log[before:], holds, stolen.Add(w.Length()), w.Length(), nil); uint64(n) > bound[i] {
				t.Fatalf("%s took %d in the %s after the theft; the bound was %d", holder, n, w, bound[i])
			}
		}
	})
}

// A thief who is alone and takes whatever fits as soon as it fits takes exactly the
// bound, by whatever was stolen: it is not only an upper one.
func TestTheBoundIsReached(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := drawRules(t)
		who := budget.Disclosure{Principal: 1, Lineage: 10, Role: "support-agent", Class: budget.Clear}
		bound := rules.Bound(budget.Holder{Kind: budget.Lineage, ID: 10}, 1, "support-agent", budget.Clear, newYear)
		book := budget.NewBook(rules)
		stolen := time.Date(2026, 1, 1, 0, 4, 59, 0, time.UTC) // the end of a bucket
		next := record.Ordinal(1)
		var taken []time.Time
		for at := stolen; at.Before(stolen.Add(budget.Month.Length())); {
			who.Ords = []record.Ordinal{next}
			g := book.Begin(at)
			err := g.Decide(who)
			var exhausted *budget.ExhaustedError
			switch {
			case err == nil:
				g.Commit()
				taken = append(taken, at)
				next++
				continue
			case !errors.As(err, &exhausted):
				t.Fatal(err)
			case exhausted.Retry == 0:
				at = stolen.Add(budget.Month.Length())
			default:
				at = at.Add(exhausted.Retry)
			}
		}
		for i, w := range allWindows {
			n := uint64(0)
			for _, at := range taken {
				if at.Before(stolen.Add(w.Length())) {
					n++
				}
			}
			if n != bound[i] {
				t.Fatalf("the thief took %d in the first %s; the bound was %d", n, w, bound[i])
			}
		}
	})
}

func TestTheBoundOfTheDefaultRules(t *testing.T) {
	t.Parallel()
	rules := budget.DefaultRules()
	for _, c := range []struct {
		holder budget.Holder
		role   string
		class  budget.Class
		want   budget.Bound
	}{
		{budget.Holder{Kind: budget.Lineage, ID: 7}, "support-agent", budget.Clear, budget.Bound{40, 150, 1500}},
		{budget.Holder{Kind: budget.Principal, ID: 7}, "application", budget.Clear, budget.Bound{1000, 5000, 50000}},
		{budget.Holder{Kind: budget.Role, Role: "application"}, "application", budget.Clear, budget.Bound{2000, 10000, 100000}},
		{budget.Holder{Kind: budget.Brand}, "", budget.Masked, budget.Bound{10000, 50000, 500000}},
		{budget.Holder{Kind: budget.Lineage, ID: 7}, "support-agent", budget.Export, budget.Bound{}},
	} {
		if got := rules.Bound(c.holder, 7, c.role, c.class, newYear); got != c.want {
			t.Errorf("%s of %s, %s: %d, want %d", c.holder, c.role, c.class, got, c.want)
		}
	}
	if got := (&budget.Rules{}).Bound(budget.Holder{Kind: budget.Brand}, 0, "", budget.Clear, newYear); got != (budget.Bound{}) {
		t.Errorf("a brand without rules could lose %d", got)
	}
}
