package detect

import (
	"fmt"
	"time"
)

// volumes are the rules on how many distinct customers: surge, drift, day, week, and
// peers, which looks at many principals' days.
func (s *sight) volumes() {
	p, r, rules := s.p, s.r, s.d.rules
	if s.take() {
		s.drift()
	}
	hour := s.baseline(
		func() (float64, float64) { return p.hourMean(p.hour, r), p.hours.alpha(priorHours, leastHours) },
		func() (float64, float64) { return r.hours.mean(1, 1), r.hourSpread.alpha(priorHours, leastHours) },
		r.activeHours >= roleHours)
	n := p.inHour.count()
	if over(n, hour, rules.Surge) && p.raised[ofSurge].due(s.index, s.now.hour, hold(hour, 1, 7*hoursPerDay), n, restarts) {
		s.raise(Surge, graver(rules.Surge.Grade, n, hour), n, s.wording(hour, "an hour", s.now.at.Format("Monday 15:00 UTC")),
			fmt.Sprintf("%s in the hour from %s UTC, within %d minutes", customers(n), s.now.at.Truncate(time.Hour).Format("2006-01-02 15:04"), s.now.at.Minute()+1))
	}
	day := s.baseline(
		func() (float64, float64) { return p.dayMean(p.day, r), p.daily.alpha(priorDays, leastDays) },
		func() (float64, float64) { return r.days.mean(1, 1), r.daySpread.alpha(priorDays, leastDays) },
		r.activeDays >= roleDays)
	n = p.days[p.day%7].count()
	if over(n, day, rules.Day) && p.raised[ofDayRule].due(s.index, s.now.day, hold(day, 1, 7), n, restarts) {
		s.raise(Day, graver(rules.Day.Grade, n, day), n, s.wording(day, "a day", s.now.at.Format("Monday")),
			fmt.Sprintf("%s on %s until %s UTC", customers(n), s.now.at.Format(time.DateOnly), s.now.at.Format("15:04")))
	}
	s.peers(n, day)
	week := s.baseline(
		func() (float64, float64) {
			return p.weekAll.mean(5*p.dayMean(p.day, r), 1), p.weekly.alpha(priorWeeks, leastWeeks)
		},
		func() (float64, float64) { return r.weeks.mean(1, 1), r.weekSpread.alpha(priorWeeks, leastWeeks) },
		r.activeDays >= roleDays && r.weeks.Weight > roleDays)
	n = p.inWeek.count()
	if over(n, week, rules.Week) && p.raised[ofWeekRule].due(s.index, s.now.day, 7, n, moves) {
		s.raise(Week, graver(rules.Week.Grade, n, week), n, s.wording(week, "seven days", ""),
			fmt.Sprintf("%s in the seven days up to %s", customers(n), s.now.at.Format(time.DateOnly)))
	}
}

// over reports whether a count is an alarm.
func over(n int, u usual, v volume) bool {
	if !u.known {
		return n >= v.NoBaseline
	}
	return n >= v.Floor && float64(n) > u.mean && excess(n, u.mean, u.alpha) >= v.Sigma
}

// hold is for how long a rule that has spoken is silent, unless numbers double. Where
// nothing is known, that is said once a week.
func hold(u usual, known, unknown int64) int64 {
	if u.known {
		return known
	}
	return unknown
}

// tenfold is how far beyond the rare a number is before its alarm is one grade graver.
const tenfold = 10

// graver raises a grade, short of a canary's, for a number far beyond any chance.
func graver(g Grade, n int, u usual) Grade {
	if u.known && g < High && n >= tenfold*atMost(u.mean, u.alpha) {
		return g + 1
	}
	return g
}

func (s *sight) wording(u usual, per, when string) string {
	if !u.known {
		return s.whose(u)
	}
	if when != "" {
		when = " (" + when + ")"
	}
	return fmt.Sprintf("about %s customers in %s%s, and more than %d in one of 1,000; %s", figure(u.mean), per, when, atMost(u.mean, u.alpha), s.whose(u))
}

// drift looks at the hours that have ended.
func (s *sight) drift() {
	p, rules := s.p, s.d.rules.Drift
	if !s.warm() {
		return
	}
	z := p.driftSigmas(rules.Weight)
	seen, expected := p.lately.mean(0, 0), p.latelyUsual.mean(0, 0)
	if z < rules.Sigma || seen < float64(rules.Floor) {
		return
	}
	const days = 7
	if p.raised[ofDrift].due(s.index, s.now.day, days, int(z), moves) {
		hours := int(1 / rules.Weight)
		n := p.inWeek.count()
		s.raise(Drift, rules.Grade, n,
			fmt.Sprintf("about %s customers in an active hour, at the times at which this principal was active lately", figure(expected)),
			fmt.Sprintf("about %s customers in an active hour, over the last %d or so: %s times the usual, again and again", figure(seen), hours, figure(seen/expected)))
	}
}

// peers counts, by role, who is above their own day.
func (s *sight) peers(n int, u usual) {
	p, r, rules := s.p, s.r, s.d.rules.Peers
	if !u.own || p.highDay == s.now.day || n < 2 || float64(n) <= u.mean || excess(n, u.mean, u.alpha) < rules.Member {
		return
	}
	p.highDay = s.now.day
	if !r.high.unusual(s.index, s.now.day, rules.Sigma, rules.Least, r.daysKnown >= s.d.rules.Warmup.Days) {
		return
	}
	mean, alpha := r.high.mean(s.now.day), r.high.alpha()
	met := 0
	for _, q := range s.d.people {
		if q.role == s.e.Role && q.highDay == s.now.day && q.day == s.now.day {
			met += q.days[q.day%7].count()
		}
	}
	s.raise(Peers, rules.Grade, met,
		fmt.Sprintf("about %s with the role %s are above their own usual on a %s, and more than %d on one day in 1,000", figure(mean), s.e.Role, s.now.at.Format("Monday"), atMost(mean, alpha)),
		fmt.Sprintf("%d of %d that were active today are, with %s together", r.high.today, r.present, customers(met)))
}

// refused counts, by role, whom budgets refuse: thieves with many stolen keys stay below
// what is unusual for each, and meet their budgets at one time.
func (s *sight) refused() {
	p, r, rules := s.p, s.r, s.d.rules.Crowd
	if p.fullDay == s.now.day {
		return
	}
	p.fullDay = s.now.day
	if !r.full.unusual(s.index, s.now.day, rules.Sigma, rules.Least, r.daysKnown >= s.d.rules.Warmup.Days) {
		return
	}
	mean := r.full.mean(s.now.day)
	s.raise(Crowd, rules.Grade, 0,
		fmt.Sprintf("about %s with the role %s are refused by a budget on a %s, and more than %d on one day in 1,000", figure(mean), s.e.Role, s.now.at.Format("Monday"), atMost(mean, r.full.alpha())),
		fmt.Sprintf("%d of %d that were active today were, until %s UTC", r.full.today, r.present, s.now.at.Format("15:04")))
}

// closeDay makes the running day part of what is usual.
func (r *role) closeDay(day int64) {
	if r.present > 0 {
		r.high.close(day)
		r.full.close(day)
		r.daysKnown++
	}
	r.high.today, r.full.today, r.present = 0, 0, 0
}
