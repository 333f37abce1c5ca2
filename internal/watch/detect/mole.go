package detect

import (
	"fmt"
	"slices"
)

// moleWeeks are the weeks that make what the rule mole calls 30 days: five calendar weeks,
// the running one included, which is never less.
const moleWeeks = 5

// month counts the distinct customers of the last weeks.
type month struct {
	weeks  [moleWeeks]distinct
	weekOf [moleWeeks]int64
	all    distinct
	week   int64
	asked  int64 // the day on which it was last held against the role
	count  int   // and what was counted then
}

// turn begins a week.
func (m *month) turn(week int64) {
	if m.week == week {
		return
	}
	m.week = week
	slot := week % moleWeeks
	m.weeks[slot].clear()
	m.weekOf[slot] = week
	m.all.clear()
	for i := range m.weeks {
		if m.weekOf[i] > week-moleWeeks {
			m.all.merge(&m.weeks[i])
		}
	}
}

// mole compares what a principal met in 30 days with the median of the others of the role,
// for good: whoever steals from the first day on becomes their own usual, and not the
// role's.
func (s *sight) mole() {
	m, r := &s.p.month, s.d.rules.Mole
	m.turn((s.now.day + 3) / 7) // weeks begin on Mondays
	now := &m.weeks[m.week%moleWeeks]
	for _, ord := range s.ords {
		now.add(ord)
		m.all.add(ord)
	}
	now.absent += s.absent
	m.all.absent += s.absent
	n := m.all.count()
	if n < r.Floor || m.asked == s.now.day && n < 2*m.count {
		return
	}
	m.asked, m.count = s.now.day, n
	var others []int
	for _, q := range s.d.people {
		if q != s.p && q.role == s.p.role && m.week-q.month.week < moleWeeks {
			if c := q.month.all.count(); c > 0 {
				others = append(others, c)
			}
		}
	}
	if len(others) < r.Least {
		return
	}
	slices.Sort(others)
	median := others[len(others)/2]
	if float64(n) <= r.Times*float64(max(median, 1)) || !s.p.raised[ofMole].due(s.index, s.now.day, 7, n, moves) {
		return
	}
	s.raise(Mole, r.Grade, n,
		fmt.Sprintf("about %s in 30 days, the median of %d others with the role %s", customers(median), len(others), s.e.Role),
		fmt.Sprintf("%s in the 30 days up to %s: %s times that", customers(n), s.now.at.Format("2006-01-02"), figure(float64(n)/float64(max(median, 1)))))
}

func (m *month) code(c *coder) {
	for i := range m.weeks {
		m.weeks[i].code(c)
		code(c, &m.weekOf[i])
	}
	m.all.code(c)
	code(c, &m.week)
	code(c, &m.asked)
	code(c, &m.count)
}
