package detect

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/exercise/generate/work"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// measure makes the test below a measurement: a larger brand, for longer.
var measure = flag.Bool("measure", false, "measure false alarms and detection at length, and print them")

const (
	learned  = 30 // the day from which alarms count as false
	theftDay = 90 // the day on which thefts begin
)

func rules(t testing.TB) *Rules {
	t.Helper()
	r, err := DefaultRules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// measured is what one run gave.
type measured struct {
	months float64        // of honest principals, after the first 30 days
	false_ map[string]int // by kind of worker and rule
	pages  map[string]bool
	days   map[string][]int64 // by kind of thief: after how many days; -1 for never
}

func run(t testing.TB, s *simulation, days int, thieves map[uint64]string) measured {
	t.Helper()
	d := New(1, rules(t), nil)
	m := measured{false_: map[string]int{}, pages: map[string]bool{}, days: map[string][]int64{}}
	caught := map[uint64]int64{}
	for _, w := range s.Workers {
		last := days
		if thieves[w.ID] != "" {
			last = min(days, theftDay)
		}
		m.months += float64(last-learned) / 30
	}
	s.run(days, func(i uint64, e *entry.Entry, ords []record.Ordinal) {
		day := (e.At.Unix() - simBegin) / 86400
		for _, a := range d.Observe(i, e, ords) {
			if a.Usual == "" || a.Seen == "" || a.Grade < Low {
				t.Fatalf("an alarm without words: %+v", a)
			}
			switch {
			case thieves[a.Principal] != "" && day >= theftDay:
				if _, ok := caught[a.Principal]; !ok && a.Grade >= Medium && a.Rule != Peers {
					caught[a.Principal] = day - theftDay
				}
			case day >= learned:
				m.false_[string(s.Workers[a.Principal-1].Kind)+" "+string(a.Rule)]++
				m.pages[a.Key] = true
			}
		}
	})
	for p, kind := range thieves {
		day, ok := caught[p]
		if !ok {
			day = -1
		}
		m.days[kind] = append(m.days[kind], day)
	}
	return m
}

func (m *measured) alarms() int {
	n := 0
	for _, c := range m.false_ {
		n += c
	}
	return n
}

func (m *measured) within(kind string, days int64) int {
	n := 0
	for _, d := range m.days[kind] {
		if d >= 0 && d < days {
			n++
		}
	}
	return n
}

func (m *measured) print(t testing.TB, title string) {
	t.Logf("%s: %d alarms (%d pages) in %.0f honest principal-months: %.2f each", title, m.alarms(), len(m.pages), m.months, float64(m.alarms())/m.months)
	for _, k := range slices.Sorted(maps.Keys(m.false_)) {
		t.Logf("  false: %-24s %d", k, m.false_[k])
	}
	for _, k := range slices.Sorted(maps.Keys(m.days)) {
		t.Logf("  thefts by %s: %d, noticed within 1, 3, 7, 14, 21 days: %d %d %d %d %d", k, len(m.days[k]), m.within(k, 1), m.within(k, 3), m.within(k, 7), m.within(k, 14), m.within(k, 21))
	}
}

// TestHonestTrafficIsQuietAndDoublingIsNoticed holds a brand at work for months, with
// some who take as much again as they need from a day on.
func TestHonestTrafficIsQuietAndDoublingIsNoticed(t *testing.T) {
	t.Parallel()
	associates, agents, seeds := 30, 10, uint64(1)
	if *measure {
		associates, agents, seeds = 100, 30, 3
	}
	for seed := range seeds {
		for _, times := range []float64{1, 3} {
			s := newSimulation(seed+11, associates, agents, 1, 1, 50_000)
			if !*measure {
				s.Workers[associates+agents].Rate = 20 // the application
			}
			thieves := map[uint64]string{}
			for _, w := range s.Workers {
				if w.ID%5 == 0 && (w.Kind == work.Associate || w.Kind == work.Agent) {
					thieves[w.ID] = string(w.Kind)
					w.Extra = func(day, hour int, mean float64) int {
						if day < theftDay {
							return 0
						}
						return work.Poisson(w.Rand, mean*times)
					}
				}
			}
			m := run(t, s, theftDay+21, thieves)
			m.print(t, fmt.Sprintf("seed %d, thefts of %v times one's usual on top", seed, times))
			if each := float64(m.alarms()) / m.months; each > 0.35 {
				t.Errorf("%.2f false alarms per principal-month", each)
			}
			all := len(thieves)
			if got := m.within("associate", 21) + m.within("agent", 21); times == 1 && got*10 < all*8 {
				t.Errorf("of %d who took twice their usual %d were noticed in 21 days", all, got)
			}
			if got := m.within("associate", 7) + m.within("agent", 7); times == 3 && got*10 < all*9 {
				t.Errorf("of %d who took four times their usual %d were noticed in 7 days", all, got)
			}
		}
	}
}

// trained is a detector that knows a small brand at work.
func trained(t testing.TB, days int, c Canaries) (*simulation, *Detector) {
	s := newSimulation(5, 12, 6, 1, 0, 50_000)
	s.Workers[18].Rate = 10
	d := New(1, rules(t), c)
	s.run(days, func(i uint64, e *entry.Entry, ords []record.Ordinal) { d.Observe(i, e, ords) })
	return s, d
}

// attack feeds one entry a second on day 40, from an hour on, and returns the alarms
// and after how many customers the first of the rule came.
func attack(s *simulation, d *Detector, by uint64, hour, entries int, ords func(i int) []record.Ordinal, rule Rule, as ...func(e *entry.Entry)) (first int, alarms []Alarm) {
	n := 0
	first = -1
	w := s.Workers[by-1]
	for i := range entries {
		list := ords(i)
		n += len(list)
		e := &entry.Entry{Kind: entry.KindDisclosure, Brand: 1, Principal: w.ID, Credential: w.ID, Lineage: w.ID, Role: roleOf(w),
			At: at(40, hour, i), Purpose: "customer-support", Class: "clear", Level: "clear", Fields: record.Fields(record.Email), Count: entry.Bucket(len(list))}
		for _, change := range as {
			change(e)
		}
		for _, a := range d.Observe(d.Next(), e, list) {
			alarms = append(alarms, a)
			if a.Rule == rule && first < 0 {
				first = n
			}
		}
	}
	return first, alarms
}

func TestASmashAndGrabIsNoticedAtOnce(t *testing.T) {
	t.Parallel()
	s, d := trained(t, 40, nil)
	o := record.Ordinal(0)
	first, alarms := attack(s, d, 13, 3, 60, func(int) []record.Ordinal {
		var list []record.Ordinal
		for range 333 {
			o += 7
			list = append(list, o%50_000+1)
		}
		slices.Sort(list)
		return slices.Compact(list)
	}, Surge)
	if first < 0 || first > 400 {
		t.Errorf("20,000 customers in a minute at night were noticed after %d", first)
	}
	var seen []string
	for _, a := range alarms {
		seen = append(seen, string(a.Rule))
	}
	if all := strings.Join(seen, " "); !strings.Contains(all, "hours") || !strings.Contains(all, "day") {
		t.Errorf("the rules that spoke: %s", all)
	}
	// A theft speaks again as it doubles, not with every entry.
	if len(alarms) > 40 {
		t.Errorf("%d alarms for one theft", len(alarms))
	}
}

func TestWalkingIsNoticedInWhateverOrder(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(i int) record.Ordinal{
		"upwards":   func(i int) record.Ordinal { return record.Ordinal(20_000 + i) },
		"downwards": func(i int) record.Ordinal { return record.Ordinal(20_000 - 2*i) },
		"shuffled":  func(i int) record.Ordinal { return record.Ordinal(20_000 + i*37%256) },
	} {
		s, d := trained(t, 40, nil)
		first, _ := attack(s, d, 13, 14, 200, func(i int) []record.Ordinal { return []record.Ordinal{next(i)} }, Walk)
		if first < 0 || first > 200 {
			t.Errorf("%s: noticed after %d customers", name, first)
		}
	}
	s, d := trained(t, 40, nil)
	if first, _ := attack(s, d, 13, 14, 200, func(i int) []record.Ordinal { return []record.Ordinal{record.Ordinal(i*7919%50_000 + 1)} }, Walk); first >= 0 {
		t.Errorf("200 customers from everywhere were called a walk after %d", first)
	}
	s, d = trained(t, 40, nil)
	if first, _ := attack(s, d, 13, 14, 1, func(int) []record.Ordinal {
		var list []record.Ordinal
		for i := range 500 {
			list = append(list, record.Ordinal(10_000+i))
		}
		return list
	}, Walk); first < 0 {
		t.Error("500 neighbours in one entry were not called a walk")
	}
}

// A thief who avoids what is shown in clear is noticed no later: every customer met
// counts, however they were.
func TestWhoOnlySearchesOrOnlyLooksMaskedIsNoticed(t *testing.T) {
	t.Parallel()
	for name, as := range map[string]func(e *entry.Entry){
		"clear": func(*entry.Entry) {},
		"masked": func(e *entry.Entry) {
			e.Class, e.Level, e.Fields = "masked", "masked", record.AllFields
		},
		"search": func(e *entry.Entry) {
			e.Kind, e.Class, e.Level, e.Fields = entry.KindSearch, "masked", "masked", record.AllFields
		},
	} {
		s, d := trained(t, 40, nil)
		// One at a time, from everywhere, at an hour at which the agent works.
		first, alarms := attack(s, d, 13, 14, 120, func(i int) []record.Ordinal { return []record.Ordinal{record.Ordinal(i*7919%50_000 + 1)} }, Surge, as)
		t.Logf("%s: surge after %d", name, first)
		if first < 0 {
			t.Errorf("%s: 120 customers in an hour, what the budget gives of those searched for or seen masked, were no surge: %+v", name, alarms)
		}
	}
}

func TestManyStolenAssociatesMoveTogether(t *testing.T) {
	t.Parallel()
	s := newSimulation(9, 60, 0, 0, 0, 50_000)
	for _, w := range s.Workers[:30] {
		w.Extra = func(day, hour int, mean float64) int {
			if day != 70 {
				return 0
			}
			return work.Poisson(w.Rand, mean*2.5)
		}
	}
	d := New(1, rules(t), nil)
	got := map[int64]Alarm{}
	s.run(72, func(i uint64, e *entry.Entry, ords []record.Ordinal) {
		for _, a := range d.Observe(i, e, ords) {
			if a.Rule == Peers {
				got[(e.At.Unix()-simBegin)/86400] = a
			}
		}
	})
	if len(got) != 1 || got[70].Customers < 100 {
		t.Errorf("peers moved together on days %v", got)
	}
}

// TestManyStolenKeysMeetTheirBudgetsTogether has stolen keys take no more each than a
// budget gives, at once, among people who have new credentials every month and whom
// budgets refuse now and then.
func TestManyStolenKeysMeetTheirBudgetsTogether(t *testing.T) {
	t.Parallel()
	associates, agents, seeds := 60, 10, uint64(1)
	if *measure {
		associates, agents, seeds = 400, 30, 3
	}
	const days, theft = 90, 80
	for seed := range seeds {
		s := newSimulation(seed+21, associates, agents, 0, 0, 50_000)
		s.renew, s.limits = 30, true
		for _, w := range s.Workers[:associates/5] {
			w.Extra = func(day, hour int, _ float64) int {
				if day != theft || hour < 9 || hour > 16 {
					return 0
				}
				return 60
			}
		}
		d := New(1, rules(t), nil)
		renewed, refused := map[uint64]bool{}, 0
		got := map[string]int{}
		var crowd *Alarm
		s.run(days, func(i uint64, e *entry.Entry, ords []record.Ordinal) {
			day := (e.At.Unix() - simBegin) / work.Day
			if day >= learned && e.Texts()["reason"] == "budget-exhausted" && day != theft {
				refused++
			}
			if day >= learned {
				renewed[e.Credential] = true
			}
			for _, a := range d.Observe(i, e, ords) {
				switch {
				case day < learned:
				case day != theft:
					got[string(a.Rule)+" "+a.Grade.String()]++
				case a.Rule == Crowd && crowd == nil:
					crowd = &a
				}
			}
		})
		t.Logf("seed %d: %d credentials, %d requests refused by budgets, in %d principal-months; alarms %v; on the day of the theft %+v",
			seed, len(renewed), refused, (associates+agents)*(days-learned)/30, got, crowd)
		if crowd == nil || crowd.Grade != High || crowd.Usual == "" || crowd.Seen == "" {
			t.Errorf("%d keys at their budgets: %+v", associates/5, crowd)
		}
		if n := got["crowd high"]; n > 1 {
			t.Errorf("%d false alarms of a crowd", n)
		}
		if n := got["credential medium"] + got["credential high"]; n*20 > len(renewed) || got["credential low"] == 0 {
			t.Errorf("%d of %d new credentials of honest people paged: %v", n, len(renewed), got)
		}
	}
}
