package detect

import (
	"fmt"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

// What a principal does to customers on a day, as the rules overwrite, erasures and emails
// count it.
const (
	ofOverwrite = iota
	ofErasures
	ofEmails
	ofProbes
	maxHarms
)

// harm is one of them.
type harm struct {
	today   distinct
	usual   level // of a day with any
	episode episode
}

// harms are what a principal, or with owner anyone who has the machine, did on a day.
type harms struct {
	day int64
	of  [maxHarms]harm
}

// turn closes the day that is over. What is far beyond the usual teaches little.
func (h *harms) turn(day int64) {
	if h.day == day {
		return
	}
	h.day = day
	for i := range h.of {
		x := &h.of[i]
		if n := x.today.count(); n > 0 {
			most := max(2*x.usual.mean(float64(n), 2), 10)
			x.usual.learn(min(float64(n), most), fadeDay)
		}
		x.today.clear()
	}
}

// writes are the rules on what changes and destroys. An approval has its own limit, and
// anyone who has the machine is held against what is stored.
func (s *sight) writes() {
	h := &s.p.harms
	h.turn(s.now.day)
	rules := s.d.rules
	if s.e.Kind == entry.KindErasureUndone {
		s.d.stored += len(s.ords)
		return
	}
	if _, cooled := s.e.Detail.(entry.ErasureCooled); cooled {
		return // counted when it began
	}
	if s.e.Kind == entry.KindErasure || s.e.Kind == entry.KindErasureBegun {
		s.d.stored -= len(s.ords)
		for _, ord := range s.ords {
			h.of[ofErasures].today.add(ord)
		}
		if s.e.Class != "" {
			s.harm(&h.of[ofErasures], Erasures, rules.Erasures, "erased")
		}
		return
	}
	w, ok := entry.WroteOf(s.e.Detail)
	if !ok { // an older release says only whom it concerned
		if s.e.Kind == entry.KindImport {
			s.d.stored += len(s.ords)
		}
		return
	}
	s.d.stored += w.New
	if s.d.canaries != nil && w.Mark != "" {
		s.probe(&h.of[ofProbes], s.d.canaries.Marked(s.d.brand, w.Mark))
	}
	changed, err := w.ChangedOf(s.ords)
	if w.Changed == 0 || err != nil {
		return
	}
	for _, ord := range changed {
		h.of[ofOverwrite].today.add(ord)
	}
	if w.By == entry.ByOwner {
		s.rewrite(&h.of[ofOverwrite])
		return
	}
	if w.By == "" {
		s.harm(&h.of[ofOverwrite], Overwrite, rules.Overwrite, "changed")
	}
	if w.Mails > 0 {
		h.of[ofEmails].today.absent += w.Mails // who they are is not said
		s.harm(&h.of[ofEmails], Emails, rules.Emails, "given another e-mail address")
	}
}

// probeLeast is how many canaries by number a day takes before it is an alarm: a new
// customer may get the number of one by chance, and purchases for nobody are not made.
const probeLeast = 2

// probe raises an alarm where somebody goes through customer numbers by writing.
func (s *sight) probe(x *harm, met int) {
	if met == 0 {
		return
	}
	x.today.absent += met
	if n := x.today.count(); n >= probeLeast && x.episode.due(s.index, s.now.day, 1, n, restarts) {
		s.raise(Probe, s.d.rules.Probe.Grade, 0, "no writes to the numbers of canaries",
			"writes or rehearsals named customers who are nobody: somebody goes through a list of numbers")
	}
}

// harm raises an alarm where a day has more than some times the principal's usual.
func (s *sight) harm(x *harm, rule Rule, r times, what string) {
	n, mean := x.today.count(), x.usual.mean(0, 1)
	if n < r.Floor || float64(n) < r.Times*mean || !x.episode.due(s.index, s.now.day, 1, n, restarts) {
		return
	}
	usual := fmt.Sprintf("about %s %s on a day that has any", figure(mean), what)
	if mean == 0 {
		usual = "none before"
	}
	s.raise(rule, r.Grade, n, usual,
		fmt.Sprintf("%s %s on %s until %s UTC", customers(n), what, s.now.at.Format("2006-01-02"), s.now.at.Format("15:04")))
}

// rewrite raises an alarm where anyone who has the machine changes a large share of what is
// stored in a day.
func (s *sight) rewrite(x *harm) {
	r, n, stored := s.d.rules.Rewrite, x.today.count(), max(s.d.stored, 1)
	if n < r.Floor || float64(n) < r.Share*float64(stored) || !x.episode.due(s.index, s.now.day, 1, n, restarts) {
		return
	}
	s.raise(Rewrite, r.Grade, n, fmt.Sprintf("less than %s %% of about %d stored profiles in a day", figure(100*r.Share), stored),
		fmt.Sprintf("%s changed by the machine's owner on %s until %s UTC", customers(n), s.now.at.Format("2006-01-02"), s.now.at.Format("15:04")))
}

// close notes that somebody closed an alarm on what changes and destroys.
func (h *harms) close(rule Rule, entry uint64) {
	switch rule {
	case Erasures:
		h.of[ofErasures].episode.close(entry)
	case Overwrite, Rewrite:
		h.of[ofOverwrite].episode.close(entry)
	case Emails:
		h.of[ofEmails].episode.close(entry)
	case Probe:
		h.of[ofProbes].episode.close(entry)
	}
}

func (h *harms) code(c *coder) {
	code(c, &h.day)
	for i := range h.of {
		x := &h.of[i]
		x.today.code(c)
		x.usual.code(c)
		x.episode.code(c)
	}
}
