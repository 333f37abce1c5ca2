package detect

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// How fast the past fades: a level keeps this much of its weight per hour or day that
// it counts. An hour of the week comes once a week, so its memory is about ten weeks.
const (
	fadeAll  = 0.997
	fadeDay  = 0.97
	fadeHour = 0.9
)

// How wide counts are before anything is known, and at least.
const (
	priorHours, leastHours = 1.0, 0.10
	priorDays, leastDays   = 0.5, 0.04
	priorWeeks, leastWeeks = 0.3, 0.02
)

// profile is what is kept of one principal: about one to twelve kilobytes.
type profile struct {
	role        string
	first, last int64 // hours since 1970
	active      int   // hours with customers
	activeDays  int

	// What is being counted.
	hour   int64
	inHour distinct
	day    int64
	days   [7]distinct // by day modulo 7; today's too
	dayOf  [7]int64
	inWeek distinct // the last seven days together

	// What is usual.
	all     level
	ofDay   [hoursPerDay]level
	ofWeek  [hoursPerWeek]level
	hours   spread
	dayAll  level
	weekday [7]level
	daily   spread
	weekAll level
	weekly  spread

	// The rule drift.
	drift       float64
	driftSquare level
	lately      level // customers in an hour, lately
	latelyUsual level
	frozenOn    int64 // the day on which learning stopped

	// The rule walk.
	recent  []uint32 // the newest distinct customers, oldest first
	fresh   int      // of them not looked at yet
	walking level    // share of neighbours, usually

	// What it ever did.
	purposes    []string
	actions     []string
	credentials []uint64
	young       young
	fields      [2]record.FieldSet // masked, clear
	seenAt      [hoursPerDay]int64 // the last hour with customers at this hour of the day

	refused [maxReasons]refusedCount
	raised  [maxEpisodes]episode
	highDay int64 // the last day on which it was above its own usual, for peers
	fullDay int64 // the last day on which a budget refused it, for crowd
	harms   harms
	month   month
}

// episode keeps a rule from saying the same at every entry: it speaks again when the
// number has doubled, or after a while, and soon after somebody closed what it said.
type episode struct {
	at     int64
	n      int
	on     bool
	last   int64    // when it spoke last
	closed bool     // and an alarm of it was closed since
	said   []uint64 // the entries of its alarms since the last that was closed, the newest
}

// maxSaid bounds the alarms of an episode that can be closed: numbers double no more often.
const maxSaid = 32

// regrown is by which part a number must have grown since an alarm that was closed, where
// its window has not begun again: a person who closed it has seen the number as it was, and is
// not to be notified of the next customer alone.
const regrown = 8

const (
	ofSurge = iota
	ofDrift
	ofDayRule
	ofWeekRule
	ofWalk
	ofMole
	maxEpisodes
)

// due reports whether to speak, at a time in any unit, of a number. window is what the
// number is counted in: one that begins again with the unit, or one that moves along.
func (e *episode) due(entry uint64, at, hold int64, n int, w window) bool {
	if e.on && at < e.at+hold && n < 2*e.n && !e.again(at, n, w) {
		return false
	}
	if !e.on || e.closed || at >= e.at+hold {
		e.at = at
	}
	if e.closed {
		e.said = nil
	}
	if len(e.said) == maxSaid {
		e.said = append(e.said[:0:0], e.said[1:]...)
	}
	e.on, e.n, e.last, e.closed, e.said = true, n, at, false, append(e.said, entry)
	return true
}

// window is how a number is counted in time.
type window int

const (
	restarts window = iota // with each hour or day
	moves                  // the last so many
)

// again reports whether what was closed has come again.
func (e *episode) again(at int64, n int, w window) bool {
	return e.closed && (w == restarts && at > e.last || n >= e.n+max(1, e.n/regrown))
}

// close notes that somebody closed the alarm of an entry.
func (e *episode) close(entry uint64) {
	e.closed = e.closed || slices.Contains(e.said, entry)
}

// close notes that somebody closed an alarm: what it was about speaks again when it comes
// again. The entry may be of anybody, and its person may be forgotten since.
func (d *Detector) close(id string) {
	number, rule, _ := strings.Cut(id, "-")
	at, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return
	}
	for _, p := range d.people {
		if i := slices.Index(episodes(), Rule(rule)); i >= 0 {
			p.raised[i].close(at)
		}
		for i := range p.refused {
			if Rule(rule) == Refusals {
				p.refused[i].episode.close(at)
			}
		}
		p.harms.close(Rule(rule), at)
	}
	if Rule(rule) == Budget {
		for _, p := range d.paced {
			for i := range p {
				p[i].episode.close(at)
			}
		}
	}
	for _, r := range d.roles {
		switch Rule(rule) {
		case Peers:
			r.high.episode.close(at)
		case Crowd:
			r.full.episode.close(at)
		}
	}
}

// episodes are the rules that have an episode for each principal, in its order.
func episodes() []Rule { return []Rule{Surge, Drift, Day, Week, Walk, Mole} }

// role is what is kept of the principals of one role together.
type role struct {
	hours, days, weeks                level
	hourSpread, daySpread, weekSpread spread
	activeHours, activeDays           int
	walking                           level

	// The rules peers and crowd, for the running day.
	present   int
	daysKnown int
	high      crowd // are above their own usual
	full      crowd // were refused by a budget
}

// crowd is how many principals of a role had something happen to them on the running
// day, and how many usually have.
type crowd struct {
	today   int
	all     level
	on      [7]level // by weekday
	spread  spread
	episode episode
}

func (c *crowd) mean(day int64) float64 {
	return max(c.on[weekday(day)].mean(c.all.mean(0.5, 3), 3), 0.3)
}

func (c *crowd) alpha() float64 { return c.spread.alpha(0.5, 0.1) }

// unusual counts one more, and reports whether they are so many that it is to be said.
func (c *crowd) unusual(entry uint64, day int64, sigma float64, least int, known bool) bool {
	c.today++
	return known && c.today >= least && excess(c.today, c.mean(day), c.alpha()) >= sigma && c.episode.due(entry, day, 1, c.today, restarts)
}

// close makes the day part of what is usual.
func (c *crowd) close(day int64) {
	mean := c.mean(day)
	learned := clip(c.today, mean, c.alpha())
	// Against a mean near none every count is wild: a day with three or four would make
	// hundreds thinkable.
	c.spread.learn(c.today, max(mean, 1))
	c.all.learn(learned, fadeDay)
	c.on[weekday(day)].learn(learned, fadeHour)
	c.today = 0
}

// A role has a usual from so many active hours and days of its members on.
const (
	roleHours = 100
	roleDays  = 5
)

// usual is what a count is held against.
type usual struct {
	mean, alpha float64
	own         bool // of this principal; otherwise of its role
	known       bool // otherwise of nobody
}

func (s *sight) warm() bool {
	w := &s.d.rules.Warmup
	age, days := s.now.hour-s.p.first, int64(w.Days)*hoursPerDay
	// Who comes once a week has few hours and a usual all the same.
	return age >= days && s.p.active >= w.ActiveHours || age >= 2*days && s.p.active >= rareHours
}

// rareHours is how many active hours are enough after twice the days of warming up.
const rareHours = 4

func (p *profile) hourMean(hour int64, r *role) float64 {
	all := p.all.mean(r.hours.mean(1, 1), 1)
	day := p.ofDay[hourOfDay(hour)].mean(all, 3)
	return max(p.ofWeek[hourOfWeek(hour)].mean(day, 3), 0.2)
}

func (p *profile) dayMean(day int64, r *role) float64 {
	return max(p.weekday[weekday(day)].mean(p.dayAll.mean(r.days.mean(1, 1), 1), 3), 0.5)
}

// baseline takes what is usual for the principal, or while that is not known what is
// for its role.
func (s *sight) baseline(own, role func() (mean, alpha float64), enough bool) usual {
	var u usual
	switch {
	case s.warm():
		u.own, u.known = true, true
		u.mean, u.alpha = own()
	case enough:
		u.known = true
		u.mean, u.alpha = role()
	}
	return u
}

// whose says in words whose usual it is.
func (s *sight) whose(u usual) string {
	days := (s.now.hour - s.p.first) / hoursPerDay
	if u.own {
		return fmt.Sprintf("for this principal, from %s over %d days", some(s.p.active, "active hour", "active hours"), days)
	}
	none := fmt.Sprintf("no baseline yet for this principal (%d of %d days, %d of %d active hours)", days, s.d.rules.Warmup.Days, s.p.active, s.d.rules.Warmup.ActiveHours)
	if u.known {
		return none + "; the role's is used"
	}
	return none + ", nor for its role"
}

// take counts the customers of an entry, and closes hours and days that have ended.
func (s *sight) take() (newHour bool) {
	p, now := s.p, s.now
	if now.hour != p.hour {
		newHour = p.active > 0 || p.inHour.count() > 0
		s.closeHour()
		p.hour = now.hour
		p.inHour.clear()
	}
	if now.day != p.day {
		s.closeDay()
		p.day = now.day
		slot := now.day % 7
		p.days[slot].clear()
		p.dayOf[slot] = now.day
		p.inWeek.clear()
		for i := range p.days {
			if p.dayOf[i] > now.day-7 {
				p.inWeek.merge(&p.days[i])
			}
		}
		s.r.present++
	}
	today := &p.days[now.day%7]
	for _, o := range s.ords {
		p.inHour.add(o)
		today.add(o)
		p.inWeek.add(o)
	}
	p.inHour.absent += s.absent
	today.absent += s.absent
	p.inWeek.absent += s.absent
	return newHour
}

func (s *sight) closeHour() {
	p, r := s.p, s.r
	x := p.inHour.count()
	if x == 0 {
		return
	}
	mean := p.hourMean(p.hour, r)
	alpha := p.hours.alpha(priorHours, leastHours)
	w := s.d.rules.Drift.Weight
	if s.warm() {
		p.drift = (1-w)*p.drift + w*score(x, mean, alpha)
		// Busy and quiet days follow each other, so that the mean moves more than that
		// of independent hours would. Its own past says by how much.
		square := p.drift * p.drift
		p.driftSquare.learn(min(square, 9*w/(2-w)), 0.99)
	}
	p.lately.learn(float64(x), 1-w)
	p.latelyUsual.learn(mean, 1-w)
	if p.frozen(s.now.day, s.warm(), w) {
		return
	}
	learned := clip(x, mean, alpha)
	p.hours.learn(x, mean)
	p.all.learn(learned, fadeAll)
	p.ofDay[hourOfDay(p.hour)].learn(learned, fadeDay)
	p.ofWeek[hourOfWeek(p.hour)].learn(learned, fadeHour)
	p.active++
	roleMean := r.hours.mean(float64(x), 1)
	r.hourSpread.learn(x, roleMean)
	r.hours.learn(clip(x, roleMean, r.hourSpread.alpha(priorHours, leastHours)), 0.999)
	r.activeHours++
}

func (s *sight) closeDay() {
	p, r := s.p, s.r
	if p.dayOf[p.day%7] != p.day {
		return
	}
	x := p.days[p.day%7].count()
	if x == 0 {
		return
	}
	mean := p.dayMean(p.day, r)
	if p.frozenOn != 0 && s.now.day-p.frozenOn < freezeDays {
		return
	}
	learned := clip(x, mean, p.daily.alpha(priorDays, leastDays))
	p.daily.learn(x, mean)
	p.dayAll.learn(learned, fadeDay)
	p.weekday[weekday(p.day)].learn(learned, fadeHour)
	p.activeDays++
	if week := p.inWeek.count(); p.activeDays > 4 {
		mean := p.weekAll.mean(float64(week), 1)
		alpha := p.weekly.alpha(priorWeeks, leastWeeks)
		p.weekly.learn(week, mean)
		p.weekAll.learn(clip(week, mean, alpha), fadeDay)
		roleMean := r.weeks.mean(float64(week), 1)
		r.weekSpread.learn(week, roleMean)
		r.weeks.learn(clip(week, roleMean, r.weekSpread.alpha(priorWeeks, leastWeeks)), 0.999)
	}
	roleMean := r.days.mean(float64(x), 1)
	r.daySpread.learn(x, roleMean)
	r.days.learn(clip(x, roleMean, r.daySpread.alpha(priorDays, leastDays)), 0.999)
	r.activeDays++
}

// driftSigmas is how far the mean of the deviations is from none.
func (p *profile) driftSigmas(w float64) float64 {
	free := w / (2 - w) // the variance of a mean of independent deviations
	return p.drift / math.Sqrt(max(free, p.driftSquare.mean(free, 60)))
}

// Above freezeSigmas of drift nothing is learned, for at most freezeDays: a theft does
// not become usual while it is looked into, and a new task does in the end.
const (
	freezeSigmas = 2.5
	freezeDays   = 21
)

func (p *profile) frozen(day int64, warm bool, w float64) bool {
	switch {
	case !warm || p.driftSigmas(w) < freezeSigmas:
		p.frozenOn = 0
	case p.frozenOn == 0:
		p.frozenOn = day
	}
	return p.frozenOn != 0 && day-p.frozenOn < freezeDays
}
