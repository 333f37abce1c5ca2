package budget_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

type logged struct {
	at time.Time
	d  budget.Disclosure
}

// distinctIn counts by brute force whom a holder got in (at-length, at].
func distinctIn(log []logged, holds func(budget.Disclosure) bool, at time.Time, length time.Duration, more []record.Ordinal) int {
	seen := map[record.Ordinal]bool{}
	for _, e := range log {
		if holds(e.d) && e.at.After(at.Add(-length)) && !e.at.After(at) {
			for _, o := range e.d.Ords {
				seen[o] = true
			}
		}
	}
	for _, o := range more {
		seen[o] = true
	}
	return len(seen)
}

// Random histories of reveals, re-reads, groups that fail to commit, restarts (the
// book rebuilt from the log) and clocks that jump, forward by minutes, hours and days
// and back by as much: no trailing window, of 30 days too, ever holds more than its
// limit, and no refusal is more than one bucket early.
func TestWindowsHold(t *testing.T) {
	t.Parallel()
	limits := map[budget.HolderKind][3]uint32{
		budget.Lineage: {3, 5, 7}, budget.Principal: {4, 6, 8}, budget.Role: {5, 9, 11}, budget.Brand: {6, 10, 13},
	}
	windows := [3]budget.Window{budget.Hour, budget.Day, budget.Month}
	lengths := [3]time.Duration{time.Hour, 24 * time.Hour, 30 * 24 * time.Hour}
	var list []budget.Rule
	for kind, l := range limits {
		for i, w := range windows {
			list = append(list, budget.Rule{Kind: kind, Class: budget.Clear, Window: w, Limit: l[i]})
		}
	}
	rules, err := budget.NewRules(list)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		book := budget.NewBook(rules)
		var log []logged
		clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		for range rapid.IntRange(1, 60).Draw(t, "groups") {
			unit := []time.Duration{time.Minute, time.Minute, time.Minute, 20 * time.Minute, 8 * time.Hour}[rapid.IntRange(0, 4).Draw(t, "unit")]
			clock = clock.Add(time.Duration(rapid.Int64Range(-20, 90).Draw(t, "jump"))*unit + time.Duration(rapid.Int64Range(0, 59).Draw(t, "seconds"))*time.Second)
			g := book.Begin(clock)
			pending := log
			for range rapid.IntRange(1, 3).Draw(t, "requests") {
				principal := rapid.Uint64Range(1, 3).Draw(t, "principal")
				d := budget.Disclosure{
					Principal: principal, Lineage: 10*principal + rapid.Uint64Range(0, 1).Draw(t, "credential"),
					Role: []string{"", "support-agent", "support-agent", "analyst"}[principal], Class: budget.Clear,
				}
				for range rapid.IntRange(1, 4).Draw(t, "n") {
					d.Ords = append(d.Ords, record.Ordinal(rapid.IntRange(1, 18).Draw(t, "customer")))
				}
				holders := map[budget.HolderKind]func(budget.Disclosure) bool{
					budget.Lineage:   func(o budget.Disclosure) bool { return o.Lineage == d.Lineage },
					budget.Principal: func(o budget.Disclosure) bool { return o.Principal == d.Principal },
					budget.Role:      func(o budget.Disclosure) bool { return o.Role == d.Role },
					budget.Brand:     func(budget.Disclosure) bool { return true },
				}
				over := func(early time.Duration) bool {
					for kind, holds := range holders {
						for i := range windows {
							if distinctIn(pending, holds, g.At(), lengths[i]+early, d.Ords) > int(limits[kind][i]) {
								return true
							}
						}
					}
					return false
				}
				err := g.Decide(d)
				var exhausted *budget.ExhaustedError
				switch {
				case err == nil:
					if over(0) {
						t.Fatalf("a window went over its limit")
					}
					pending = append(pending[:len(pending):len(pending)], logged{g.At(), d})
				case !errors.As(err, &exhausted):
					t.Fatal(err)
				case !over(budget.BucketLength):
					t.Fatalf("refused more than one bucket early: %v", err)
				}
			}
			if rapid.IntRange(0, 4).Draw(t, "commit") > 0 {
				log = pending
				g.Commit()
			}
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				book = budget.NewBook(rules)
				for _, e := range log {
					e.d.At = e.at
					if err := book.Apply(e.d); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	})
}

func TestNoRuleRefuses(t *testing.T) {
	t.Parallel()
	d := budget.Disclosure{Principal: 1, Lineage: 1, Role: "analyst", At: time.Unix(1e9, 0), Ords: []record.Ordinal{1}}
	var none *budget.NoRuleError
	if err := budget.NewBook(nil).Check(d); !errors.As(err, &none) {
		t.Errorf("a book without rules said %v", err)
	}
}

func TestDefaultRulesReadBack(t *testing.T) {
	t.Parallel()
	text := budget.DefaultRules().Encode()
	again, err := budget.DecodeRules(text)
	if err != nil || string(again.Encode()) != string(text) {
		t.Errorf("the default rules do not read back: %v", err)
	}
}

func FuzzDecodeRules(f *testing.F) {
	f.Add(budget.DefaultRules().Encode())
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := budget.DecodeRules(text); err == nil && string(r.Encode()) != string(text) {
			t.Error("two texts for one set of rules")
		}
	})
}
