package duties

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

// Case is a worked case of a rule: what is given, and what follows.
type Case struct {
	Why   string   `yaml:"why"`   // in words
	Given []string `yaml:"given"` // statements, as [Situation.State] reads them
	// At are facts with their times; the standard ones where it is left out.
	At    map[string]time.Time `yaml:"at,omitempty"`
	Filed map[string]time.Time `yaml:"filed,omitempty"` // notices of other rules that were sent
	Then  string               `yaml:"then"`            // a verdict
	// By is when the duty ends, "elapsed" where the law names no number, or "not started".
	By        string   `yaml:"by,omitempty"`
	Since     string   `yaml:"since,omitempty"` // when the clock began
	Kind      string   `yaml:"kind,omitempty"`  // of the deadline
	WaitFor   []string `yaml:"wait_for,omitempty"`
	Forbidden []string `yaml:"forbidden,omitempty"`
	Phased    bool     `yaml:"phased,omitempty"`
	// InForce decides as if the rule were in force, where it is not law yet.
	InForce bool   `yaml:"in_force,omitempty"`
	Says    string `yaml:"says,omitempty"` // words of the reason
}

// Standard are the times of facts that a case has which names none: each its own, so that
// a rule on the wrong clock ends at the wrong time.
func Standard() map[string]time.Time {
	out := map[string]time.Time{}
	for i, fact := range []string{
		"occurred-from", "leak-possible", "suspected", "detected", "discovered", "aware", "personal-data-hit", "confirmed",
		"determined", "assessed", "material", "persons-identified", "facts-clear", "handled",
	} {
		out[fact] = time.Date(2026, time.September, 14+i, 9+i%8, 15, 0, 0, time.UTC)
	}
	return out
}

// standardNow is the moment at which cases are decided.
var standardNow = time.Date(2026, time.October, 1, 12, 0, 0, 0, time.UTC)

// Prove runs the worked cases of every rule.
func (b *Book) Prove() error {
	for _, r := range b.order {
		if len(r.Cases) == 0 {
			return fmt.Errorf("%w: %s: %s: a rule has worked cases", ErrRules, r.law.file, r.ID)
		}
		if err := b.prove(r); err != nil {
			return err
		}
	}
	return nil
}

// prove runs the worked cases of one rule.
func (b *Book) prove(r *bound) error {
	for i := range r.Cases {
		if what := b.run(r, &r.Cases[i]); what != "" {
			return fmt.Errorf("%w: %s: %s: case %d (%s): %s", ErrRules, r.law.file, r.ID, i+1, r.Cases[i].Why, what)
		}
	}
	return nil
}

// run says how an answer differs from a case; nothing where it does not.
func (b *Book) run(r *bound, c *Case) string {
	s := NewSituation(standardNow)
	if err := s.State(c.Given...); err != nil {
		return err.Error()
	}
	at := c.At
	if at == nil {
		at = Standard()
	}
	for fact, when := range at {
		s.Clocks[fact] = []Moment{{When: when}}
		if when.After(s.Now) {
			s.Now = when
		}
	}
	for id, when := range c.Filed {
		s.Filed[id] = Filing{When: when}
	}
	if c.InForce {
		law := *r.Rule
		law.Status, law.ValidFrom = "", ""
		r = &bound{&law, r.law}
	}
	d := b.decide(r, s)
	if len(r.NotBefore) > 0 || r.With != "" || r.NoLaterThan != "" {
		list := []api.Duty{d}
		for _, id := range append(slices.Clone(r.NotBefore), r.With, r.NoLaterThan) {
			if o := b.byID[id]; o != nil {
				list = append(list, b.decide(o, s))
			}
		}
		b.arrange(list, s)
		d = list[0]
	}
	if d.Verdict != c.Then {
		return fmt.Sprintf("it is %s, not %s: %s", d.Verdict, c.Then, strings.Join(d.Why, "; "))
	}
	by := "elapsed"
	switch {
	case d.State == api.DutyNotComputable:
		by = "not computable"
	case d.State == api.DutyClockNotStarted:
		by = "not started"
	case !d.Due.IsZero():
		by = d.Due.Format(time.RFC3339)
		if want, err := time.Parse(time.RFC3339, c.By); err == nil && want.Equal(d.Due) {
			by = c.By
		}
	}
	switch {
	case c.Says != "" && !strings.Contains(strings.Join(d.Why, "; "), c.Says):
		return "its reason is another: " + strings.Join(d.Why, "; ")
	case c.By != "" && c.By != by:
		return fmt.Sprintf("it ends %s, not %s", by, c.By)
	case c.Since != "" && c.Since != d.Clock.Started.UTC().Format(time.RFC3339):
		return fmt.Sprintf("its clock began %s, not %s", d.Clock.Started.UTC().Format(time.RFC3339), c.Since)
	case c.Kind != "" && c.Kind != d.DeadlineKind:
		return fmt.Sprintf("its deadline is %s, not %s", d.DeadlineKind, c.Kind)
	case (c.By != "" || len(c.WaitFor) > 0) && !slices.Equal(c.WaitFor, d.WaitFor):
		return fmt.Sprintf("it waits for %v, not %v", d.WaitFor, c.WaitFor)
	case c.By != "" && !slices.Equal(c.Forbidden, d.Forbidden):
		return fmt.Sprintf("it forbids %v, not %v", d.Forbidden, c.Forbidden)
	case c.By != "" && c.Phased != d.Phased:
		return "whether it may come in phases differs"
	}
	return ""
}

// Questions lists the answers that a book's rules could ask for, with what they ask.
func Questions() map[string]string {
	out := map[string]string{maliciousName: question(maliciousName)}
	maps.Copy(out, flags)
	maps.Copy(out, events)
	for name, h := range harms {
		out[name] = h.question
	}
	return out
}
