package budget

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Date is a day in UTC, counted from 1970-01-01. Day 0 is before every season.
type Date int32

// DateOf returns the day of a time.
func DateOf(t time.Time) Date { return Date(dayOf(t.UnixMicro())) }

// lastDate is after every season.
const lastDate = Date(1<<31 - 1)

// String returns the day as YYYY-MM-DD.
func (d Date) String() string { return time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly) }

// Season is the days on which a rule holds: from From, and not on Until any more. Approved
// beforehand, it begins and ends by itself. The zero Season is always.
type Season struct{ From, Until Date }

// String returns the form that rules have: 2026-11-20..2026-12-01.
func (s Season) String() string { return s.From.String() + ".." + s.Until.String() }

func (s Season) valid() bool { return s == Season{} || 0 < s.From && s.From < s.Until }

func (s Season) has(d Date) bool { return s.From <= d && d < s.Until }

func readSeason(text string) (s Season, err error) {
	from, until, ok := strings.Cut(text, "..")
	a, err := time.Parse(time.DateOnly, from)
	b, err2 := time.Parse(time.DateOnly, until)
	if !ok || err != nil || err2 != nil {
		return Season{}, fmt.Errorf("%w: a season is its first day and the day after its last: 2026-11-20..2026-12-01", ErrRules)
	}
	return Season{DateOf(a), DateOf(b)}, nil
}

// maxPeriods bounds how many times the limits of one set of rules change.
const maxPeriods = 200

// period is a run of days on which the same rules of seasons hold.
type period struct {
	from   Date // up to the next period
	limits scopes
}

// periodsOf returns the periods that the seasons of rules make.
func periodsOf(list []Rule) ([]period, error) {
	var days []Date
	for _, rule := range list {
		if rule.Season != (Season{}) {
			days = append(days, rule.Season.From, rule.Season.Until)
		}
	}
	slices.Sort(days)
	days = slices.Compact(days)
	if len(days) > maxPeriods {
		return nil, fmt.Errorf("%w: the seasons begin and end on more than %d days", ErrRules, maxPeriods)
	}
	var out []period
	for _, day := range days {
		p := period{from: day, limits: scopes{}}
		for _, rule := range list {
			if rule.Season != (Season{}) && rule.Season.has(day) && !p.limits.set(rule) {
				return nil, fmt.Errorf("%w: two seasons that meet have limits for the same", ErrRules)
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// inSeason returns what seasons set on a day.
func (r *Rules) inSeason(on Date) scopes {
	if len(r.periods) == 0 {
		return nil
	}
	i, found := slices.BinarySearchFunc(r.periods, on, func(p period, d Date) int { return int(p.from) - int(d) })
	if !found {
		i--
	}
	if i < 0 {
		return nil
	}
	return r.periods[i].limits
}

// days returns those from a day up to another on which limits may differ from the day
// before: the first of them, and where seasons begin or end after it.
func (r *Rules) days(from, to Date) []Date {
	out := []Date{from}
	for _, p := range r.periods {
		if from < p.from && p.from <= to {
			out = append(out, p.from)
		}
	}
	return out
}
