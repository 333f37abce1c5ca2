package detect

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/exercise/generate/work"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
)

func at(day, hour, second int) time.Time {
	return time.Unix(simBegin+int64(day)*86400+int64(hour)*3600+int64(second), 0).UTC()
}

func read(principal uint64, when time.Time, ord record.Ordinal) (*entry.Entry, []record.Ordinal) {
	return &entry.Entry{Kind: entry.KindDisclosure, Brand: 1, Principal: principal, Credential: principal, Lineage: principal, Role: access.SupportAgent,
		At: when, Purpose: "customer-support", Class: "clear", Level: "clear", Fields: record.Fields(record.Email), Count: 1}, []record.Ordinal{ord}
}

type canaries map[record.Ordinal]bool

func (d canaries) Refresh(context.Context, record.BrandID) error { return nil }

func (d canaries) Contains(_ record.BrandID, ord record.Ordinal) bool { return d[ord] }

func (d canaries) Marked(record.BrandID, string) int { return 0 }

func (d canaries) Bound(_ record.BrandID, ord record.Ordinal, export string) bool {
	return ord == 7 && export == "exp-1"
}

func TestEveryTouchOfACanaryIsAnAlarm(t *testing.T) {
	d := New(1, rules(t), canaries{7: true, 9: true})
	n := 0
	for i := range 10 {
		e, _ := read(3, at(0, 9, i), 7)
		alarms := d.Observe(uint64(i), e, []record.Ordinal{6, 7, 9})
		if len(alarms) != 1 || alarms[0].Rule != Canary || alarms[0].Grade != Critical || alarms[0].Customers != 2 {
			t.Fatalf("entry %d: %+v", i, alarms)
		}
		n++
	}
	e, ords := read(3, at(0, 9, 11), 8)
	if got := d.Observe(11, e, ords); len(got) > 0 {
		t.Fatalf("nobody touched a canary: %+v", got)
	}
	e.Class, e.Detail = "export", entry.ExportPart{Export: "exp-1"}
	if got := d.Observe(12, e, []record.Ordinal{6, 7}); slices.ContainsFunc(got, func(a Alarm) bool { return a.Rule == Canary }) {
		t.Fatalf("an approved export has canaries by intention: %+v", got)
	}
	for export, ord := range map[string]record.Ordinal{"exp-1": 9, "exp-2": 7} {
		e.Detail = entry.ExportPart{Export: export}
		if got := d.Observe(12, e, []record.Ordinal{6, ord}); len(got) != 1 || got[0].Rule != Canary {
			t.Fatalf("somebody named the canary %d for the export %s: %+v", ord, export, got)
		}
	}
	e.Kind, e.Class = entry.KindImport, "clear"
	if got := d.Observe(13, e, []record.Ordinal{7}); len(got) > 0 {
		t.Fatalf("an import shows nobody anything: %+v", got)
	}
}

func TestWhatIsNewIsSaid(t *testing.T) {
	t.Parallel()
	d := New(1, rules(t), nil)
	i := uint64(0)
	feed := func(e *entry.Entry, ords []record.Ordinal) []Rule {
		var out []Rule
		for _, a := range d.Observe(i, e, ords) {
			out = append(out, a.Rule)
		}
		i++
		return out
	}
	for day := range 30 {
		e, ords := read(3, at(day, 9, 0), 7)
		if got := feed(e, ords); len(got) > 0 {
			t.Fatalf("day %d: %v", day, got)
		}
	}
	for _, c := range []struct {
		change func(e *entry.Entry)
		want   []Rule
	}{
		{func(e *entry.Entry) {}, nil},
		{func(e *entry.Entry) { e.Purpose = "migration" }, []Rule{Purpose}},
		{func(e *entry.Entry) { e.Purpose = "migration" }, nil},
		{func(e *entry.Entry) { e.Fields = e.Fields.With(record.BirthDate) }, []Rule{Fields}},
		{func(e *entry.Entry) { e.Credential = 99 }, []Rule{Credential}},
		{func(e *entry.Entry) { e.Kind, e.Level = entry.KindSearch, "masked" }, []Rule{Action}},
		{func(e *entry.Entry) { e.At = at(31, 3, 0) }, []Rule{Hours}},
		{func(e *entry.Entry) { e.At = at(31, 4, 0) }, nil}, // beside an hour that is known now
	} {
		e, ords := read(3, at(30, 9, 0), 7)
		c.change(e)
		if got := feed(e, ords); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", e, got, c.want)
		}
	}
}

// A new credential alone is of the lowest grade. What its principal never did, at once
// or within a day, makes it graver, once for each grade.
func TestANewCredentialThatDoesOtherThings(t *testing.T) {
	t.Parallel()
	other := func(e *entry.Entry) { e.Fields = e.Fields.With(record.Street) }
	night := func(e *entry.Entry) { e.At = at(30, 2, 0) }
	for name, c := range map[string]struct {
		entries []func(e *entry.Entry)
		want    string
	}{
		"at work":               {[]func(e *entry.Entry){func(*entry.Entry) {}}, "low"},
		"at night":              {[]func(e *entry.Entry){night}, "medium"},
		"at night, more fields": {[]func(e *entry.Entry){func(e *entry.Entry) { night(e); other(e) }}, "high"},
		"more fields later":     {[]func(e *entry.Entry){func(*entry.Entry) {}, other, other}, "low medium"},
		"at night twice":        {[]func(e *entry.Entry){night, func(e *entry.Entry) { e.At = at(30, 5, 0) }}, "medium"},
		"a day later":           {[]func(e *entry.Entry){func(*entry.Entry) {}, func(e *entry.Entry) { e.At = at(32, 9, 0); other(e) }}, "low"},
	} {
		d := New(1, rules(t), nil)
		for day := range 30 {
			e, ords := read(3, at(day, 9, 0), 7)
			d.Observe(uint64(day), e, ords)
		}
		var got []string
		for i, change := range c.entries {
			e, ords := read(3, at(30, 10, 0), 7)
			e.Credential = 99
			change(e)
			for _, a := range d.Observe(uint64(30+i), e, ords) {
				if a.Rule == Credential {
					got = append(got, a.Grade.String())
				}
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
}

func TestBurstsOfRefusals(t *testing.T) {
	t.Parallel()
	d := New(1, rules(t), nil)
	got := 0
	for i := range 40 {
		e := &entry.Entry{Kind: entry.KindRefusal, Brand: 1, Principal: 3, Role: access.SupportAgent, At: at(0, 9, 60*i),
			Detail: entry.Refused{Reason: "unknown-token", Times: 1}}
		for _, a := range d.Observe(uint64(i), e, nil) {
			if got++; a.Rule != Refusals || got == 1 && i != 9 {
				t.Errorf("after %d refusals: %+v", i+1, a)
			}
		}
	}
	if got != 3 { // at 10, 20 and 40
		t.Errorf("%d alarms for 40 refusals", got)
	}
	d = New(1, rules(t), nil)
	e := &entry.Entry{Kind: entry.KindRefusal, Brand: 1, Principal: 3, Role: "x", At: at(0, 9, 0), Detail: entry.Refused{Reason: "other-brand", Times: 50}}
	if got := d.Observe(0, e, nil); len(got) != 1 {
		t.Errorf("repeats that were counted together: %v", got)
	}
}

func TestSomebodyNewIsHeldAgainstTheRole(t *testing.T) {
	t.Parallel()
	s, d := trained(t, 40, nil)
	s.Workers = append(s.Workers, &work.Worker{ID: 99, Kind: work.Associate})
	for len(s.Workers) < 99 {
		s.Workers = append(s.Workers, &work.Worker{ID: 99, Kind: work.Associate})
	}
	first, alarms := attack(s, d, 99, 14, 300, func(i int) []record.Ordinal { return []record.Ordinal{record.Ordinal(i*7919%50_000 + 1)} }, Surge)
	if first < 0 || !strings.Contains(alarms[0].Usual, "no baseline yet") || !strings.Contains(alarms[0].Usual, "role") {
		t.Errorf("noticed after %d: %+v", first, alarms)
	}
	first, alarms = attack(s, New(1, rules(t), nil), 99, 14, 600, func(i int) []record.Ordinal { return []record.Ordinal{record.Ordinal(i*7919%50_000 + 1)} }, Surge)
	if most := rules(t).Surge.NoBaseline; first < most*9/10 || first > most*11/10 || !strings.Contains(alarms[0].Usual, "nor for its role") {
		t.Errorf("noticed after %d: %+v", first, alarms)
	}
}

func TestAReplaySaysTheSame(t *testing.T) {
	t.Parallel()
	var logs [2][]Alarm
	for i := range logs {
		s := newSimulation(3, 10, 5, 1, 1, 20_000)
		s.Workers[15].Rate = 5
		for _, w := range s.Workers[:3] {
			w.Extra = func(day, hour int, mean float64) int { return int(mean) * (day / 30) }
		}
		d := New(1, rules(t), canaries{17: true})
		s.run(60, func(j uint64, e *entry.Entry, ords []record.Ordinal) {
			logs[i] = append(logs[i], d.Observe(j, e, ords)...)
		})
	}
	if len(logs[0]) < 5 || !slices.Equal(logs[0], logs[1]) {
		t.Errorf("%d alarms, and another time %d or others", len(logs[0]), len(logs[1]))
	}
}

func TestIdlePrincipalsAreForgotten(t *testing.T) {
	t.Parallel()
	d := New(1, rules(t), nil)
	for p := range uint64(100) {
		e, ords := read(p+1, at(0, 9, 0), 7)
		d.Observe(p, e, ords)
	}
	for day := range 64 {
		e, ords := read(1, at(day, 10, 0), 7)
		d.Observe(uint64(100+day), e, ords)
	}
	if d.Principals() != 1 {
		t.Errorf("%d principals are remembered", d.Principals())
	}
}

func TestRulesInTheLogHoldFromThenOn(t *testing.T) {
	d := New(1, rules(t), canaries{7: true})
	feed := func(i uint64) int { e, ords := read(3, at(0, 9, 0), 7); return len(d.Observe(i, e, ords)) }
	if feed(0) != 1 {
		t.Fatal("no alarm")
	}
	d.Observe(1, &entry.Entry{Kind: entry.KindDetection, At: at(0, 9, 0), Detail: entry.DetectionRules{Rules: "off: [canary]"}}, nil)
	if feed(2) != 0 {
		t.Fatal("the rule was switched off")
	}
	d = New(1, rules(t), canaries{7: true})
	d.Pin()
	d.Observe(0, &entry.Entry{Kind: entry.KindDetection, At: at(0, 9, 0), Detail: entry.DetectionRules{Rules: "off: [canary]"}}, nil)
	if feed(1) != 1 {
		t.Fatal("rules that are tried are those of the log")
	}
}

func TestRulesAreReadStrictly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                              "",
		"surge: {sigma: 7}":             "",
		"off: [walk, marketing/day]":    "",
		"surge:\n  sigmaa: 7":           "line 2: field sigmaa is not known",
		"serge: {sigma: 7}":             "line 1: field serge is not known",
		"\nwalk: {grade: terrible}":     "line 2: no such severity",
		"off:\n- wolk":                  "line 2: no such rule",
		"off: [clerk/walk]":             "line 1: no such role",
		"off: walk":                     "off is a list",
		"contain: {canary: critical}":   "",
		"contain: [canary]":             "contain takes rules with a severity",
		"contain: {canaries: critical}": "line 1: no such rule",
		"contain:\n  canary: grave":     "line 2: no such severity",
		"contain: {peers: high}":        "line 1: alarms of peers concern many people",
		"contain: {canary-mail: high}":  "line 1: alarms of canary-mail name no credential",
		"surge: {sigma: lots}":          "line 1",
		"surge: {sigma: -1}":            "surge.sigma is -1",
		"surge: {sigma: .nan}":          "surge.sigma is NaN",
		"a: 1\n---\nb: 2":               "not known",
		"warmup: {days: 14}\n---\nb: 2": "more than one document",
		"surge: [":                      "line 1",
		strings.Repeat("#", MaxRules+1): "longer",
	} {
		r, err := ParseRules(text)
		if want == "" {
			if err != nil || r.Text() != text {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if !errors.Is(err, ErrRules) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	r, err := ParseRules("surge: {sigma: 7}")
	if err != nil || r.Surge.Sigma != 7 || r.Surge.Floor != rules(t).Surge.Floor {
		t.Errorf("what a file leaves out has its default: %+v, %v", r, err)
	}
}

// The tail is held against a sum of the probabilities themselves.
func TestTheTailOfTheNegativeBinomial(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		mean := rapid.Float64Range(0.05, 400).Draw(t, "mean")
		alpha := rapid.Float64Range(0.02, 20).Draw(t, "alpha")
		x := rapid.IntRange(0, 1000).Draw(t, "x")
		k, below := 1/alpha, 0.0
		logP := k * math.Log(k/(k+mean))
		for i := range x {
			below += math.Exp(logP)
			logP += math.Log((k + float64(i)) / float64(i+1) * mean / (mean + k))
		}
		got := math.Exp(logTail(x, mean, alpha))
		if math.Abs(got-(1-below)) > 1e-8 {
			t.Fatalf("P(X>=%d) is %g, and the sum says %g", x, got, 1-below)
		}
		if z := excess(x+1, mean, alpha); z < excess(x, mean, alpha)-1e-6 {
			t.Fatalf("more is less far: %g", z)
		}
	})
	if z := sigmas(math.Log(9.8659e-10)); math.Abs(z-6) > 1e-3 {
		t.Errorf("six sigmas are %g", z)
	}
	if z := sigmas(-800); math.Abs(z-39.87) > 0.02 {
		t.Errorf("far out: %g", z)
	}
}

func TestDistinctCountsAndMerges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 5000).Draw(t, "n")
		from := rapid.IntRange(1, 1<<30).Draw(t, "from")
		step := rapid.IntRange(1, 50).Draw(t, "step")
		var a, b, both distinct
		for i := range n {
			o := record.Ordinal(from + i*step)
			both.add(o)
			both.add(o)
			if i%3 == 0 {
				a.add(o)
			} else {
				b.add(o)
			}
		}
		got := both.count()
		if n <= exactUpTo && got != n || math.Abs(float64(got-n)) > 0.15*float64(n) {
			t.Fatalf("%d distinct were counted as %d", n, got)
		}
		a.merge(&b)
		if m := a.count(); m != got {
			t.Fatalf("together %d, apart %d", got, m)
		}
	})
}

// A crowd at its own budgets is noticed by anyone who has seen a few refused on some days, and
// a role's budget that is used up for everybody neither is one nor hides the next.
func TestACrowdIsOfThoseWhomTheirOwnBudgetsRefuse(t *testing.T) {
	t.Parallel()
	const people, known, robbed = 80, 20, 21
	d := New(1, rules(t), nil)
	crowds := map[string]int{} // by whose budget: at which refusal of the day
	refuse := func(day, from, to int, whose string) {
		for p := from; p < to; p++ {
			e := &entry.Entry{Kind: entry.KindRefusal, Brand: 1, Principal: uint64(p), Credential: uint64(p), Role: access.SupportAgent, At: at(day, 15, p),
				Detail: entry.Refused{Reason: "budget-exhausted", Times: 1, Budget: whose}}
			for _, a := range d.Observe(d.Next(), e, nil) {
				if a.Rule == Crowd && crowds[whose] == 0 {
					crowds[whose] = p
				}
			}
		}
	}
	few := map[int]int{5: 4, 8: 2, 10: 1, 12: 5, 13: 4}
	for day := range robbed + 1 {
		for p := 1; p <= people; p++ {
			e, ords := read(uint64(p), at(day, 9, p), record.Ordinal(p))
			d.Observe(d.Next(), e, ords)
		}
		refuse(day, 1, 1+few[day], "principal")
		switch day {
		case known - 1:
			refuse(day, 1, people, "role")
			refuse(day, 1, people, "brand")
		case robbed:
			refuse(day, 1, 40, "lineage")
		}
	}
	if n := crowds["lineage"]; len(crowds) != 1 || n < 6 || n > 13 {
		t.Errorf("crowds by whose budget refused: %v", crowds)
	}
}

// Anyone who tries values from a list is as unusual as anyone who takes customers: a search that
// found nobody counts as one, each time, whichever release logged it.
func TestSearchesForNobodyAreVolume(t *testing.T) {
	t.Parallel()
	surges := map[string][]Alarm{}
	for _, kind := range []string{"customers", "nobody", "nobody, as earlier releases logged it"} {
		d := New(1, rules(t), nil)
		index := uint64(0)
		observe := func(when time.Time, ord record.Ordinal) []Alarm {
			e, ords := read(3, when, ord)
			e.Kind, e.Class, e.Level = entry.KindSearch, "search", "masked"
			switch kind {
			case "nobody":
				e.Count, ords = 0, nil
			case "nobody, as earlier releases logged it":
				ords = []record.Ordinal{record.FirstNobody + ord}
			}
			index++
			return d.Observe(index, e, ords)
		}
		for day := range 40 {
			for i := range 8 {
				observe(at(day, 9+i%2, i), record.Ordinal(1000*day+10*i+1))
			}
		}
		for i := range 300 {
			for _, a := range observe(at(41, 9, i), record.Ordinal(500_000+1000*i)) {
				a.Entry, a.Key = 0, ""
				if a.Rule == Surge {
					surges[kind] = append(surges[kind], a)
				}
			}
		}
	}
	want := surges["customers"]
	if len(want) == 0 {
		t.Fatal("300 customers in an hour are no surge")
	}
	for kind, got := range surges {
		if len(got) != len(want) || got[0] != want[0] {
			t.Errorf("%s: %+v, not %+v", kind, got, want)
		}
	}
	if len(surges) != 3 {
		t.Errorf("surges of %d kinds", len(surges))
	}
}

// A closed alarm of a rule that counts comes again with the same principal, long before
// the number has doubled, and does not come for the next customer alone. While it is open,
// only a doubled number speaks.
func TestAClosedAlarmThatCountsComesAgain(t *testing.T) {
	t.Parallel()
	d := New(1, rules(t), nil)
	i := uint64(0)
	feed := func(e *entry.Entry, ords []record.Ordinal) []Alarm {
		i++
		return d.Observe(i, e, ords)
	}
	closes := func(a Alarm, when time.Time) {
		id := strconv.FormatUint(a.Entry, 10) + "-" + string(a.Rule)
		feed(&entry.Entry{Kind: entry.KindDetection, Brand: 1, Principal: 8, Role: access.IncidentResponder, At: when,
			Detail: entry.AlarmClosed{Alarm: id, Reason: "mistaken"}}, nil)
	}
	ord := record.Ordinal(0)
	// until reads one customer after another, and returns after how many the rule spoke.
	until := func(day, hour int, rule Rule, most int) (int, Alarm) {
		for n := 1; n <= most; n++ {
			ord += 1000
			e, ords := read(3, at(day, hour, n), ord)
			for _, a := range feed(e, ords) {
				if a.Rule == rule {
					return n, a
				}
			}
		}
		return 0, Alarm{}
	}
	first, a := until(0, 9, Surge, 500)
	if first == 0 {
		t.Fatal("no surge")
	}
	if n, _ := until(0, 9, Surge, first/2); n != 0 {
		t.Errorf("an open alarm spoke again after %d of %d more", n, first)
	}
	closes(a, at(0, 9, 1800))
	d = copied(t, d) // also where another server takes over
	n, again := until(0, 9, Surge, 500)
	if n == 0 || n > first/2 {
		t.Fatalf("a closed alarm came again after %d more, and the first after %d", n, first)
	}
	if m, _ := until(0, 9, Surge, first/16); m != 0 {
		t.Errorf("it came again twice, after %d", m)
	}
	closes(again, at(0, 9, 3000))
	if n, _ := until(0, 10, Surge, 2*first); n == 0 {
		t.Error("closed, it did not come again in the next hour")
	}

	// Refusals, in the hour.
	refused := func(n int) (got []Alarm) {
		for range n {
			got = append(got, feed(&entry.Entry{Kind: entry.KindRefusal, Brand: 1, Principal: 4, Role: access.SupportAgent, At: at(1, 9, 0),
				Detail: entry.Refused{Reason: "unknown-token", Times: 1}}, nil)...)
		}
		return got
	}
	one := refused(12)
	if len(one) != 1 {
		t.Fatalf("%+v", one)
	}
	closes(one[0], at(1, 9, 1))
	if two := refused(5); len(two) != 1 || two[0].Key != one[0].Key {
		t.Errorf("closed refusals: %+v", two)
	}
	// One of another principal that is closed changes nothing.
	closes(Alarm{Entry: one[0].Entry - 1, Rule: Refusals}, at(1, 9, 2))
	if more := refused(5); len(more) != 0 {
		t.Errorf("another's closed alarm: %+v", more)
	}
}

// A log that goes on without entries is an alarm that nobody can switch off.
func TestANewEpochIsAnAlarm(t *testing.T) {
	d := New(1, rules(t), nil)
	e := &entry.Entry{Kind: entry.KindEpoch, Brand: 1, At: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC),
		Detail: entry.EpochBegun{Epoch: 2, Name: "2-0a0b0c0d", Cause: entry.CauseAcceptLoss, By: entry.ByTwoPeople, Missing: 11}}
	alarms := d.Observe(40, e, nil)
	if len(alarms) != 1 || alarms[0].Rule != Epoch || alarms[0].Grade != Critical || !strings.Contains(alarms[0].Seen, "11 entries are known to be lost") {
		t.Errorf("%+v", alarms)
	}
}
