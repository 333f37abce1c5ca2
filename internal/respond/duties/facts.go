package duties

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// ErrStatement is joined to errors of statements about a case.
var ErrStatement = fault.New(fault.Invalid, "this statement is not understood")

// truth is what is known of a condition.
type truth int8

const (
	no truth = iota - 1
	unknown
	yes
)

func (t truth) and(o truth) truth { return min(t, o) }
func (t truth) or(o truth) truth  { return max(t, o) }

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// Moment is a fact with a time, as somebody stated it.
type Moment struct {
	When  time.Time
	Entry uint64
	Said  string
	// Was is the time that it had before it was corrected; zero where it was not.
	Was time.Time
}

// Filing is a notice that somebody sent.
type Filing struct {
	When      time.Time
	Entry     uint64
	Said      string
	Reference string
	Receipt   string // digest of what the recipient answered
	Notice    uint64 // the version of the notice that was sent; 0 where none was drafted here
	Digest    string // of that version
}

// Elsewhere is the jurisdiction of residents whose country nobody knows.
const Elsewhere = "??"

// Situation is what is known of one controller's part of a breach at one moment.
type Situation struct {
	Now       time.Time
	Classes   map[string]bool // nil: nobody has said what was disclosed
	Residents map[string]int  // by jurisdiction; nil: nobody has said
	Total     int             // of persons; the sum of the residents where it is smaller
	said      map[string][]bool
	Clocks    map[string][]Moment
	Filed     map[string]Filing // by rule
}

// NewSituation returns one of which nothing is known.
func NewSituation(now time.Time) *Situation {
	return &Situation{Now: now, said: map[string][]bool{}, Clocks: map[string][]Moment{}, Filed: map[string]Filing{}}
}

var placeForm = regexp.MustCompile(`^(\?\?|[A-Z]{2}(-[A-Z0-9]{1,4})?)$`)

// maxResidents bounds what somebody may state: more people than live.
const maxResidents = 10_000_000_000

// State adds statements: a class of fields (`email`), residents of a jurisdiction (`IT=1200`;
// `??` where it is not known), all persons (`total=5000`), and answers to questions
// (`high_risk=no`), among them exceptions of a rule (`eu-gdpr-34-subjects:encrypted=yes`). A class
// with a sign in front adds to those that are there (`+dob`) or takes one away (`-phone`).
// An error names the form, and not what was written.
func (s *Situation) State(statements ...string) error {
	for i, text := range statements {
		name, value, given := strings.Cut(strings.TrimSpace(text), "=")
		class := strings.TrimLeft(name, "+-")
		switch {
		case !given && Known(class) && len(name)-len(class) <= 1:
			if s.Classes == nil {
				s.Classes = map[string]bool{}
			}
			if name[0] == '-' {
				delete(s.Classes, class)
			} else {
				s.Classes[class] = true
			}
		case given && (placeForm.MatchString(name) || name == "total"):
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 || n > maxResidents {
				return fmt.Errorf("%w: statement %d: a number of persons is from 0 to %d", ErrStatement, i+1, int64(maxResidents))
			}
			if name == "total" {
				s.Total = max(s.Total, int(n))
				continue
			}
			if s.Residents == nil {
				s.Residents = map[string]int{}
			}
			s.Residents[name] = max(s.Residents[name], int(n)) // of two statements the larger counts
		case given && (question(name) != "" || strings.Contains(name, ":") && exceptionForm.MatchString(name)):
			switch value {
			case "yes", "no":
				s.said[name] = append(s.said[name], value == "yes")
			case "unknown":
				delete(s.said, name)
			default:
				return fmt.Errorf("%w: statement %d: an answer is yes, no or unknown", ErrStatement, i+1)
			}
		default:
			return fmt.Errorf("%w: statement %d: write a class of fields (email), residents (IT=1200), total=N, or an answer (high_risk=yes); `cloakroom duties words` lists them", ErrStatement, i+1)
		}
	}
	return nil
}

var exceptionForm = regexp.MustCompile(`^[a-z0-9-]{1,60}:[a-z0-9-]{1,40}$`)

// Clone returns a copy, to ask what if.
func (s *Situation) Clone() *Situation {
	out := *s
	out.said = map[string][]bool{}
	for k, v := range s.said {
		out.said[k] = slices.Clone(v)
	}
	if s.Classes != nil {
		out.Classes = map[string]bool{}
		for k := range s.Classes {
			out.Classes[k] = true
		}
	}
	if s.Residents != nil {
		out.Residents = map[string]int{}
		for k, v := range s.Residents {
			out.Residents[k] = v
		}
	}
	return &out
}

// WhatIf is a copy in which an answer takes the place of what was said.
func (s *Situation) WhatIf(statements ...string) (*Situation, error) {
	out := s.Clone()
	for _, text := range statements {
		name, _, _ := strings.Cut(strings.TrimSpace(text), "=")
		delete(out.said, name)
		delete(out.Residents, name)
		if name == "total" {
			out.Total = 0
		}
	}
	return out, out.State(statements...)
}

// answer is what was said to a question: nothing where two said the opposite.
func (s *Situation) answer(name string) (t truth, contradicted bool) {
	list := s.said[name]
	switch {
	case len(list) == 0:
		return unknown, false
	case slices.Contains(list, true) && slices.Contains(list, false):
		return unknown, true
	}
	return truthOf(list[0]), false
}

// residents bounds how many persons live in a jurisdiction: at least those that were stated
// there, at most also those of whom only the country above it, or nothing, is known.
func (b *Book) residents(s *Situation, place string) (low, high int, known bool) {
	if s.Residents == nil {
		return 0, 0, false
	}
	switch place {
	case "*":
		n := s.persons()
		return n, n, true
	case "EU":
		for _, p := range eea {
			low += s.Residents[p]
		}
		low += s.Residents["EU"]
	case "US-*":
		for p, n := range s.Residents {
			if strings.HasPrefix(p, "US-") && !b.hasRules(p) {
				low += n
			}
		}
		high = s.Residents["US"]
	default:
		for p, n := range s.Residents {
			if p == place || strings.HasPrefix(p, place+"-") {
				low += n
			}
		}
		if country, _, state := strings.Cut(place, "-"); state {
			high = s.Residents[country]
		}
	}
	return low, low + high + s.Residents[Elsewhere], true
}

// hasRules reports whether a jurisdiction has a rule of its own.
func (b *Book) hasRules(place string) bool {
	return slices.ContainsFunc(b.laws, func(l Law) bool { return l.Jurisdiction == place && len(l.Rules) > 0 })
}

func (s *Situation) persons() int {
	sum := 0
	for _, n := range s.Residents {
		sum += n
	}
	return max(sum, s.Total)
}

// Kind says of which kind all statements are: disclosed, residents or judged; nothing where
// they are mixed.
func (s *Situation) Kind() string {
	kind, kinds := "", 0
	for name, is := range map[string]bool{"disclosed": s.Classes != nil, "residents": s.Residents != nil || s.Total > 0, "judged": len(s.said) > 0} {
		if is {
			kind = name
			kinds++
		}
	}
	if kinds != 1 {
		return ""
	}
	return kind
}

// Persons is how many persons are concerned, as far as anybody said.
func (s *Situation) Persons() int { return s.persons() }

// Answer is what was said to a question: yes, no, or unknown.
func (s *Situation) Answer(name string) string {
	switch t, _ := s.answer(name); t {
	case yes:
		return "yes"
	case no:
		return "no"
	}
	return "unknown"
}

// Ask puts into words what an open duty asks by a name.
func Ask(name string) string {
	switch name {
	case "residents":
		return "How many persons live where? State the fact residents, such as IT=1200,FR=300."
	case "disclosed":
		return "Which fields were disclosed? Count the scope, or state the fact disclosed."
	}
	return question(name)
}

// Has reports whether a rule has that id.
func (b *Book) Has(id string) bool { return b.byID[id] != nil }
