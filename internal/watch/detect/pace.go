package detect

import (
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// paced are the classes that the rule budget follows: those of daily work.
var paced = [...]budget.Class{budget.Clear, budget.Masked, budget.Search, budget.Write}

// paces are how fast a role, or the brand, uses what it shares, by class as in paced.
type paces [len(paced)]pace

// pace counts the distinct customers of a day of UTC, and how many of them were counted
// when each of the last two hours began.
type pace struct {
	day, hour int64
	today     distinct
	began     [2]int // before this hour, and before the one before it
	episode   episode
}

// turn begins a day or an hour.
func (p *pace) turn(now moment) {
	switch {
	case p.day != now.day:
		p.today.clear()
		p.began = [2]int{}
	case p.hour+1 == now.hour:
		p.began = [2]int{p.today.count(), p.began[0]}
	case p.hour != now.hour:
		p.began = [2]int{p.today.count(), p.today.count()}
	}
	p.day, p.hour = now.day, now.hour
}

// usedUp returns when a limit is reached at the pace of this hour and the one before it,
// and whether that is on this day.
func (p *pace) usedUp(n, limit int, now moment) (time.Time, bool) {
	span := time.Duration(now.at.Unix()%3600)*time.Second + time.Hour
	if h := hourOfDay(now.hour); h == 0 {
		span -= time.Hour // the day has no hour before
	}
	grown := n - p.began[1]
	if grown <= 0 || span <= 0 {
		return time.Time{}, false
	}
	at := now.at.Add(time.Duration(float64(limit-n) / float64(grown) * float64(span)))
	return at, momentOf(at).day == now.day
}

// budgets takes the budgets that hold from an entry on.
func (d *Detector) budgets(text string) {
	if rules, err := budget.DecodeRules([]byte(text)); err == nil { // a newer release's may not be ours
		d.limits, d.limitsText = rules, text
	}
}

// paces follow the budgets of the role and of the brand. Those of one person are the
// person's own: their refusals say it.
func (s *sight) paces() {
	if s.d.limits == nil {
		return
	}
	class, ords, absent := s.e.Class, s.ords, s.absent
	if w, ok := entry.WroteOf(s.e.Detail); ok {
		if w.By != "" { // an approval has its own budget, and the machine's owner none
			return
		}
		changed, err := w.ChangedOf(s.ords)
		if err != nil {
			return
		}
		class, ords, absent = budget.Write.String(), changed, 0
	} else if !s.released() {
		return
	}
	for i, c := range paced {
		if c.String() != class {
			continue
		}
		for _, h := range [...]budget.Holder{{Kind: budget.Role, Role: s.e.Role}, {Kind: budget.Brand}} {
			all := s.d.paced[h.Role]
			if all == nil {
				all = &paces{}
				s.d.paced[h.Role] = all
			}
			p := &all[i]
			p.turn(s.now)
			for _, ord := range ords {
				p.today.add(ord)
			}
			p.today.absent += absent
			s.pace(p, h, c)
		}
	}
}

// pace raises an alarm while there is time to act: to stop who takes so many, or to approve
// a larger budget.
func (s *sight) pace(p *pace, h budget.Holder, c budget.Class) {
	l := s.d.limits.Resolve(h.Kind, s.e.Principal, s.e.Role, c, budget.DateOf(s.now.at))[budget.Day]
	n, limit, r := p.today.count(), int(l.Limit), s.d.rules.Budget
	if !l.Set || limit == 0 || float64(n) < r.Share*float64(limit) || !p.episode.due(s.index, s.now.day, 1, n, restarts) {
		return
	}
	forecast := "at this pace it lasts for the day"
	if at, today := p.usedUp(n, limit, s.now); today {
		forecast = "at this pace it is used up at " + at.UTC().Format("15:04") + " UTC"
	}
	s.raiseAbout(Budget, h.String()+" "+c.String(), r.Grade, n, fmt.Sprintf("less than %.0f %% of the %s budget of %s in a day", 100*r.Share, c, h),
		fmt.Sprintf("%d of %d customers on %s until %s UTC: %s", n, limit, s.now.at.Format(time.DateOnly), s.now.at.Format("15:04"), forecast))
}

func (p *paces) code(c *coder) {
	for i := range p {
		x := &p[i]
		code(c, &x.day)
		code(c, &x.hour)
		x.today.code(c)
		code(c, &x.began[0])
		code(c, &x.began[1])
		x.episode.code(c)
	}
}
