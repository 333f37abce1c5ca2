package detect

import (
	"fmt"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// How many purposes, kinds of action and credentials of a principal are remembered;
// the oldest give way.
const (
	maxPurposes    = 64
	maxActions     = 32
	maxCredentials = 128
)

// known reports whether somebody was there long enough for something to be new.
func (s *sight) known() bool {
	return s.now.hour-s.p.first >= int64(s.d.rules.Warmup.Days)*hoursPerDay
}

// novelties are the rules on what this principal never did before.
func (s *sight) novelties() {
	p, e, rules := s.p, s.e, s.d.rules
	known := s.known()
	days := (s.now.hour - p.first) / hoursPerDay
	since := func(what string) string { return fmt.Sprintf("%s, in %d days", what, days) }
	if e.Purpose != "" && remember(&p.purposes, e.Purpose, maxPurposes) && known {
		s.signs = append(s.signs, "the purpose "+e.Purpose)
		s.raise(Purpose, rules.Purpose.Grade, s.count(), since(list(p.purposes[:len(p.purposes)-1], "no purpose")),
			"the purpose "+e.Purpose+", for the first time")
	}
	if a := action(e); remember(&p.actions, a, maxActions) && known {
		s.raise(Action, rules.Action.Grade, s.count(), since(list(p.actions[:len(p.actions)-1], "nothing")), a+", for the first time")
	}
	if e.Credential != 0 && remember(&p.credentials, e.Credential, maxCredentials) && known {
		p.young = young{credential: e.Credential, until: s.now.hour + youth}
		s.added = true
	}
	if e.Kind != entry.KindDisclosure {
		return
	}
	level := 0
	if e.Level == "clear" {
		level = 1
	}
	added := e.Fields &^ p.fields[level]
	if added != 0 && p.fields[level] != 0 && known {
		s.signs = append(s.signs, added.String()+" "+e.Level)
		s.raise(Fields, rules.Fields.Grade, s.count(), since(p.fields[level].String()+" "+e.Level),
			added.String()+" "+e.Level+", for the first time")
	}
	p.fields[level] |= e.Fields
}

// youth is for how many hours a credential is held against what its principal did
// before: anyone who consented to an app, or lost a key, is not there at the first minute.
const youth = 24

// young is the newest credential of a principal.
type young struct {
	credential uint64
	until      int64 // hours since 1970
	told       Grade
}

// credential is the rule on credentials that were never used before. One alone is a new
// password or app. One that does what its principal never did, or when, may be in other
// hands: the grade is together's, and with two such signs one more.
func (s *sight) credential() {
	p, rules := s.p, &s.d.rules.Credential
	y := &p.young
	if y.credential == 0 || y.credential != s.e.Credential || s.now.hour >= y.until {
		return
	}
	g, what := rules.Grade, "for the first time"
	if len(s.signs) > 0 {
		g, what = rules.Together, "new, and with it for the first time "+strings.Join(s.signs, "; ")
	}
	if len(s.signs) > 1 && g < High {
		g++
	}
	if !s.added && (len(s.signs) == 0 || g <= y.told) {
		return
	}
	y.told = g
	s.raise(Credential, g, s.count(), fmt.Sprintf("%s, in %d days", some(len(p.credentials)-1, "other credential", "other credentials"), (s.now.hour-p.first)/hoursPerDay),
		fmt.Sprintf("credential %d of the lineage %d, %s", s.e.Credential, s.e.Lineage, what))
}

func list(of []string, none string) string {
	if len(of) == 0 {
		return none
	}
	return strings.Join(of, ", ")
}

// action is the kind of an entry as the rule sees it.
func action(e *entry.Entry) string {
	switch e.Kind {
	case entry.KindDisclosure:
		return e.Kind.String() + " " + e.Level
	case entry.KindAdministration:
		return e.Kind.String() + " " + e.Change()
	}
	return e.Kind.String()
}

// hoursMemory is how long an hour of the day stays known, in hours: four weeks.
const hoursMemory = 28 * hoursPerDay

// hours notices work at an hour of the day at which, and beside which, this principal
// did not work for four weeks. Hours are UTC; the hour beside covers summer time.
func (s *sight) hours() {
	p := s.p
	h := hourOfDay(s.now.hour)
	before := p.seenAt[h]
	if before == s.now.hour {
		return
	}
	if s.warm() {
		seen := false
		for _, beside := range []int{h + hoursPerDay - 1, h, h + 1} {
			last := p.seenAt[beside%hoursPerDay]
			seen = seen || last != 0 && s.now.hour-last <= hoursMemory
		}
		if !seen {
			s.signs = append(s.signs, "work at "+s.now.at.Format("15:04")+" UTC")
			s.raise(Hours, s.d.rules.Hours.Grade, s.count(), "nothing between "+clock(h-1)+" and "+clock(h+2)+" UTC in four weeks",
				"customers at "+s.now.at.Format("15:04")+" UTC on a "+s.now.at.Format("Monday"))
		}
	}
	p.seenAt[h] = s.now.hour
}

func clock(h int) string { return fmt.Sprintf("%02d:00", (h+hoursPerDay)%hoursPerDay) }

// maxReasons is how many reasons of refusals there are.
const maxReasons = 5

func reasons() [maxReasons]string {
	return [maxReasons]string{"policy-denied", "budget-exhausted", "unknown-token", "other-brand", "unknown-purpose"}
}

type refusedCount struct {
	hour    int64
	n       int
	usual   level // in an hour with any
	episode episode
}

// refusals counts what was refused, in the hour.
func (s *sight) refusals() {
	refused, _ := s.e.Detail.(entry.Refused)
	reason, times := refused.Reason, max(refused.Times, 1)
	for i, known := range reasons() {
		threshold := s.d.rules.refusals(known)
		if known != reason {
			continue
		}
		c := &s.p.refused[i]
		if c.hour != s.now.hour {
			if c.n > 0 {
				c.usual.learn(min(float64(c.n), float64(threshold)), 0.95)
			}
			c.hour, c.n = s.now.hour, 0
		}
		if known == "budget-exhausted" && s.ownBudget() {
			s.refused()
		}
		c.n += times
		mean := c.usual.mean(0, 2)
		if threshold == 0 || c.n < threshold || float64(c.n) < 3*mean || !c.episode.due(s.index, s.now.hour, 1, c.n, restarts) {
			return
		}
		s.raise(Refusals, s.d.rules.Refusals.Grade, 0,
			fmt.Sprintf("about %s of these in an hour that has any; the rule speaks from %d on", figure(mean), threshold),
			fmt.Sprintf("%s as %s in the hour from %s UTC", some(c.n, "request was refused", "requests were refused"), reason, clock(hourOfDay(s.now.hour))))
		return
	}
}

// ownBudget reports whether the budget that refused is the principal's own: that of a role
// or a brand refuses everybody at once when it is used up, no matter who used it. Entries of older
// releases do not say.
func (s *sight) ownBudget() bool {
	refused, _ := s.e.Detail.(entry.Refused)
	whose := refused.Budget
	return whose != budget.Role.String() && whose != budget.Brand.String()
}
