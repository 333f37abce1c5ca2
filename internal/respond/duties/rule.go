package duties

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// Law is a file: the rules of one law in one jurisdiction.
type Law struct {
	Law          string `yaml:"law"`
	Jurisdiction string `yaml:"jurisdiction"` // ISO 3166, with -XX for a state; EU for the EEA; US-* for states without a file; * everywhere
	Zone         string `yaml:"zone"`         // in which days end
	Address      string `yaml:"address"`      // of the official text
	Rules        []Rule `yaml:"rules,omitempty" json:",omitempty"`
	// NoDuty says that somebody looked and found no duty of a private retailer.
	NoDuty *NoDuty `yaml:"no_duty,omitempty" json:",omitempty"`

	file string
}

// NoDuty is what was found where no duty was found.
type NoDuty struct {
	Says       string   `yaml:"says"`
	ReadOn     string   `yaml:"read_on"`
	ReadBy     string   `yaml:"read_by"`
	Confidence string   `yaml:"confidence"`
	Sources    []string `yaml:"sources"`
}

// Rule is what one article asks for.
type Rule struct {
	ID           string      `yaml:"id"`
	Article      string      `yaml:"article"`
	Demands      string      `yaml:"demands"`                             // in our own words
	Address      string      `yaml:"address,omitempty" json:",omitempty"` // where it is not the law's
	Basis        string      `yaml:"basis"`                               // text, summary or memory: what was read
	Sources      []string    `yaml:"sources"`
	ReadOn       string      `yaml:"read_on"`
	ReadBy       string      `yaml:"read_by"` // a person's name, or none
	ValidFrom    string      `yaml:"valid_from,omitempty" json:",omitempty"`
	ValidUntil   string      `yaml:"valid_until,omitempty" json:",omitempty"`
	StillValidOn string      `yaml:"still_valid_on"`
	Status       string      `yaml:"status,omitempty" json:",omitempty"` // future, proposed or undated: it never fires
	Confidence   string      `yaml:"confidence"`
	To           string      `yaml:"to"`
	Recipients   []string    `yaml:"recipients"`
	Reach        string      `yaml:"reach,omitempty" json:",omitempty"` // entity, established, or for residents
	Entity       []string    `yaml:"entity,omitempty" json:",omitempty"`
	When         []Condition `yaml:"when"` // at least one
	Deadline     *Deadline   `yaml:"deadline,omitempty" json:",omitempty"`
	Clock        string      `yaml:"clock"`
	NotBefore    []string    `yaml:"not_before,omitempty" json:",omitempty"`
	With         string      `yaml:"with,omitempty" json:",omitempty"`
	NoLaterThan  string      `yaml:"no_later_than,omitempty" json:",omitempty"`
	Content      []string    `yaml:"content"`
	Forbidden    []string    `yaml:"forbidden,omitempty" json:",omitempty"`
	Phased       bool        `yaml:"phased,omitempty" json:",omitempty"`
	Extension    string      `yaml:"extension,omitempty" json:",omitempty"`
	Exceptions   []Exception `yaml:"exceptions,omitempty" json:",omitempty"`
	Notes        string      `yaml:"notes,omitempty" json:",omitempty"`
	Cases        []Case      `yaml:"cases" json:",omitempty"`
}

// Condition holds where everything that it names holds.
type Condition struct {
	Data      []string `yaml:"data,omitempty" json:",omitempty"` // sets of classes: one of them was disclosed
	Count     *Count   `yaml:"count,omitempty" json:",omitempty"`
	Harm      string   `yaml:"harm,omitempty" json:",omitempty"`
	Malicious *bool    `yaml:"malicious,omitempty" json:",omitempty"`
	Event     string   `yaml:"event,omitempty" json:",omitempty"`
}

// Count compares a number of persons: those of the rule's jurisdiction, or all.
type Count struct {
	Of string `yaml:"of"` // residents or total
	Op string `yaml:"op"` // > or >=
	N  int    `yaml:"n"`
}

// Deadline is a number that the law names. Without one the law asks for no undue delay.
type Deadline struct {
	N    int    `yaml:"n"`
	Unit string `yaml:"unit"` // hours, days, business_days or months
	Kind string `yaml:"kind"` // hard, outer (on top of "without undue delay"), or practice
	// Calendar says on which days business is done.
	Calendar string `yaml:"calendar,omitempty" json:",omitempty"`
}

// Exception lifts a duty where a person signs that it applies.
type Exception struct {
	ID   string `yaml:"id"`
	Cite string `yaml:"cite"`
	Says string `yaml:"says"`
}

// read reports whether a named person has read the rule.
func (r *Rule) read() bool { return r.ReadBy != "none" }

// decode reads a file strictly: what the types do not have is an error with its line.
func decode(name string, text []byte, to any) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("%w: %s: %s", ErrRules, name, fault.YAML(err))
	}
	return nil
}

var idForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// checkLaw refuses a law whose rules say what the engine would not understand.
func (b *Book) checkLaw(l *Law) error {
	fault := func(id, format string, args ...any) error {
		return fmt.Errorf("%w: %s: %s: %s", ErrRules, l.file, id, fmt.Sprintf(format, args...))
	}
	if _, err := time.LoadLocation(l.Zone); err != nil || l.Zone == "" {
		return fault(l.Law, "the zone is unknown")
	}
	if !official(l.Address) {
		return fault(l.Law, "the address is not one of https")
	}
	for i := range l.Rules {
		if what := b.checkRule(&l.Rules[i]); what != "" {
			return fault(l.Rules[i].ID, "%s", what)
		}
	}
	return nil
}

func official(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// checkRule says what is wrong with a rule; nothing where it is well.
func (b *Book) checkRule(r *Rule) string {
	one := func(what, got string, of ...string) string {
		if slices.Contains(of, got) {
			return ""
		}
		return fmt.Sprintf("%s is %q: one of %s", what, got, strings.Join(of, ", "))
	}
	days := func(list ...string) string {
		for _, d := range list {
			if _, err := time.Parse(time.DateOnly, d); d != "" && err != nil {
				return "a day is written as 2026-11-29"
			}
		}
		return ""
	}
	for _, what := range []string{
		one("basis", r.Basis, "text", "summary", "memory"),
		one("status", r.Status, "", "future", "proposed", "undated"),
		one("confidence", r.Confidence, "high", "medium", "low"),
		one("to", r.To, "regulator", "individuals", "controller", "register", "law_enforcement", "csirt", "market", "credit_bureaus", "contract"),
		one("reach", r.Reach, "", "entity", "established"),
		days(r.ReadOn, r.ValidFrom, r.ValidUntil, r.StillValidOn),
	} {
		if what != "" {
			return what
		}
	}
	switch {
	case !idForm.MatchString(r.ID):
		return "an id is of small letters, digits and hyphens"
	case r.Article == "" || r.Demands == "" || r.ReadOn == "" || r.ReadBy == "" || r.StillValidOn == "":
		return "article, demands, read_on, read_by and still_valid_on are needed"
	case len(r.Recipients) == 0 || len(r.When) == 0:
		return "recipients and when are needed"
	case r.Address != "" && !official(r.Address):
		return "the address is not one of https"
	}
	for _, name := range r.Entity {
		if flags[name] == "" {
			return fmt.Sprintf("the entity %q is unknown", name)
		}
	}
	for _, c := range r.When {
		if what := b.checkCondition(&c); what != "" {
			return what
		}
	}
	for _, x := range r.Exceptions {
		if !idForm.MatchString(x.ID) || x.Says == "" || x.Cite == "" {
			return "an exception has an id, its citation and what it says"
		}
	}
	return b.checkTime(r)
}

func (b *Book) checkCondition(c *Condition) string {
	if len(c.Data) == 0 && c.Harm == "" && c.Event == "" && c.Malicious == nil && c.Count == nil {
		return "a condition that always holds"
	}
	for _, s := range c.Data {
		if b.sets[s] == nil {
			return fmt.Sprintf("the set %q is unknown", s)
		}
	}
	switch {
	case c.Harm != "" && harms[c.Harm].question == "":
		return fmt.Sprintf("the harm %q is unknown", c.Harm)
	case c.Event != "" && events[c.Event] == "":
		return fmt.Sprintf("the event %q is unknown", c.Event)
	case c.Count != nil && (c.Count.Of != "residents" && c.Count.Of != "total" || c.Count.Op != ">" && c.Count.Op != ">=" || c.Count.N < 1):
		return "a count is of residents or total, > or >=, a number from 1"
	}
	return ""
}

// checkTime refuses a deadline that could not be computed, and orders to rules that there
// are not.
func (b *Book) checkTime(r *Rule) string {
	if id, ok := strings.CutPrefix(r.Clock, filedClock); ok {
		if b.byID[id] == nil {
			return fmt.Sprintf("the clock hangs on the unknown rule %q", id)
		}
	} else if clocks[r.Clock].facts == nil {
		return fmt.Sprintf("the clock %q is unknown", r.Clock)
	}
	for _, id := range append(slices.Clone(r.NotBefore), r.With, r.NoLaterThan) {
		if id != "" && b.byID[id] == nil {
			return fmt.Sprintf("the order names the unknown rule %q", id)
		}
	}
	d := r.Deadline
	switch {
	case d == nil:
		return ""
	case d.N < 1:
		return "a deadline has a number from 1; leave it out where the law names none"
	case !slices.Contains([]string{"hours", "days", "business_days", "months"}, d.Unit):
		return fmt.Sprintf("the unit %q is unknown", d.Unit)
	case !slices.Contains([]string{"hard", "outer", "practice"}, d.Kind):
		return fmt.Sprintf("the kind of the deadline is %q: one of hard, outer, practice", d.Kind)
	case (d.Unit == "business_days") != (d.Calendar != ""):
		return "business days have a calendar, and nothing else has"
	case d.Calendar != "" && calendar(d.Calendar) == nil:
		return fmt.Sprintf("the calendar %q is unknown", d.Calendar)
	case r.With != "":
		return "what is due with another rule has no number of its own"
	}
	return ""
}

// checkCycles refuses rules that wait for each other.
func (b *Book) checkCycles() error {
	const (
		unseen = iota
		onPath
		done
	)
	state := map[string]int{}
	var walk func(id string, path []string) error
	walk = func(id string, path []string) error {
		path = append(path, id)
		switch state[id] {
		case done:
			return nil
		case onPath:
			return fmt.Errorf("%w: rules wait for each other: %s", ErrRules, strings.Join(path[slices.Index(path, id):], " -> "))
		}
		state[id] = onPath
		r := b.byID[id]
		after := append(slices.Clone(r.NotBefore), r.With)
		if other, ok := strings.CutPrefix(r.Clock, filedClock); ok {
			after = append(after, other)
		}
		for _, other := range after {
			if other != "" {
				if err := walk(other, path); err != nil {
					return err
				}
			}
		}
		state[id] = done
		return nil
	}
	for _, r := range b.order {
		if err := walk(r.ID, nil); err != nil {
			return err
		}
	}
	return nil
}
