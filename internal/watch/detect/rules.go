package detect

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/vault/access"
)

//go:embed default.yaml
var defaultText string

// DefaultText returns the rules of a new brand, with what each means.
func DefaultText() string { return defaultText }

// MaxRules bounds the text of rules: it stands in one entry of the log.
const MaxRules = 32 << 10

// ErrRules is returned for text that is not a set of rules.
var ErrRules = fault.New(fault.Invalid, "invalid detection rules")

// Grade is the severity of an alarm.
type Grade uint8

// The severities.
const (
	Low Grade = iota + 1
	Medium
	High
	Critical
)

func gradeNames() []string { return []string{"low", "medium", "high", "critical"} }

// String returns the severity's name.
func (g Grade) String() string {
	if g < Low || g > Critical {
		return fmt.Sprintf("severity(%d)", uint8(g))
	}
	return gradeNames()[g-1]
}

// ParseGrade returns the severity of that name.
func ParseGrade(s string) (Grade, error) {
	if i := slices.Index(gradeNames(), s); i >= 0 {
		return Grade(i + 1), nil
	}
	return 0, fmt.Errorf("no such severity: use %s", strings.Join(gradeNames(), ", "))
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (g *Grade) UnmarshalYAML(n *yaml.Node) (err error) {
	if *g, err = ParseGrade(n.Value); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return nil
}

// Rule names a rule.
type Rule string

// The rules.
const (
	Canary     Rule = "canary"
	Surge      Rule = "surge"
	Drift      Rule = "drift"
	Day        Rule = "day"
	Week       Rule = "week"
	Walk       Rule = "walk"
	Purpose    Rule = "purpose"
	Fields     Rule = "fields"
	Action     Rule = "action"
	Credential Rule = "credential"
	Hours      Rule = "hours"
	Peers      Rule = "peers"
	Refusals   Rule = "refusals"
	CanaryMail Rule = "canary-mail"
	Crowd      Rule = "crowd"
	Overwrite  Rule = "overwrite"
	Erasures   Rule = "erasures"
	Emails     Rule = "emails"
	Rewrite    Rule = "rewrite"
	Probe      Rule = "probe"
	// Change is an act that needs two people, or a key that somebody made for another. No
	// file of rules switches it off.
	Change Rule = "second-person"
	// Epoch is a log that continues without entries that it had, or may have had. No file of
	// rules switches it off.
	Epoch  Rule = "log-epoch"
	Mole   Rule = "mole"
	Budget Rule = "budget"
	// Receiver is a test of a receiver that nobody confirmed. No file of rules switches it
	// off.
	Receiver Rule = "receiver"
	// Lost is a write that was accepted to wait, and is not written. No file of rules
	// switches it off.
	Lost Rule = "lost-write"
	// ByHand is an alarm that a person raised.
	ByHand Rule = "by-hand"
)

// many reports whether the rule is about many people, so that nobody's lineage is to blame.
func (r Rule) many() bool { return r == Peers || r == Crowd || r == Budget }

// AllRules returns every rule.
func AllRules() []Rule {
	return []Rule{Canary, Surge, Drift, Day, Week, Walk, Purpose, Fields, Action, Credential, Hours, Peers, Refusals, Crowd, CanaryMail, Overwrite, Erasures, Emails, Rewrite, Probe, Mole, Budget}
}

// Rules are the thresholds of one brand. See default.yaml for what each means.
type Rules struct {
	Warmup struct {
		Days        int `yaml:"days"`
		ActiveHours int `yaml:"active_hours"`
	} `yaml:"warmup"`
	ForgetDays int      `yaml:"forget_days"`
	Off        off      `yaml:"off"`
	Contain    contains `yaml:"contain"`

	Canary     graded `yaml:"canary"`
	CanaryMail graded `yaml:"canary-mail"`
	Surge      volume `yaml:"surge"`
	Drift      struct {
		graded `yaml:",inline"`

		Sigma  float64 `yaml:"sigma"`
		Weight float64 `yaml:"weight"`
		Floor  int     `yaml:"floor"`
	} `yaml:"drift"`
	Day  volume `yaml:"day"`
	Week volume `yaml:"week"`
	Walk struct {
		graded `yaml:",inline"`

		Sigma float64 `yaml:"sigma"`
		Gap   int     `yaml:"gap"`
		Least int     `yaml:"least"`
	} `yaml:"walk"`
	Purpose    graded `yaml:"purpose"`
	Fields     graded `yaml:"fields"`
	Action     graded `yaml:"action"`
	Credential struct {
		graded `yaml:",inline"`

		Together Grade `yaml:"together"`
	} `yaml:"credential"`
	Hours graded `yaml:"hours"`
	Crowd struct {
		graded `yaml:",inline"`

		Sigma float64 `yaml:"sigma"`
		Least int     `yaml:"least"`
	} `yaml:"crowd"`
	Peers struct {
		graded `yaml:",inline"`

		Sigma  float64 `yaml:"sigma"`
		Member float64 `yaml:"member_sigma"`
		Least  int     `yaml:"least"`
	} `yaml:"peers"`
	Refusals struct {
		graded `yaml:",inline"`

		PolicyDenied    int `yaml:"policy-denied"`
		BudgetExhausted int `yaml:"budget-exhausted"`
		UnknownToken    int `yaml:"unknown-token"`
		OtherBrand      int `yaml:"other-brand"`
		UnknownPurpose  int `yaml:"unknown-purpose"`
	} `yaml:"refusals"`

	Overwrite times  `yaml:"overwrite"`
	Erasures  times  `yaml:"erasures"`
	Emails    times  `yaml:"emails"`
	Probe     graded `yaml:"probe"`
	Mole      struct {
		graded `yaml:",inline"`

		Times float64 `yaml:"times"`
		Floor int     `yaml:"floor"`
		Least int     `yaml:"least"`
	} `yaml:"mole"`
	Budget struct {
		graded `yaml:",inline"`

		Share float64 `yaml:"share"`
	} `yaml:"budget"`
	Rewrite struct {
		graded `yaml:",inline"`

		Share float64 `yaml:"share"`
		Floor int     `yaml:"floor"`
	} `yaml:"rewrite"`

	text string
}

// times is a rule on days that have several times the usual.
type times struct {
	graded `yaml:",inline"`

	Floor int     `yaml:"floor"`
	Times float64 `yaml:"times"`
}

// graded is the severity of a rule's alarms. Rules in logs of before v0.1.0 name it grade.
type graded struct {
	Grade Grade `yaml:"severity"`
	Old   Grade `yaml:"grade"`
}

// current takes severities under their old name over to the new one.
func (r *Rules) current() {
	for _, g := range []*graded{&r.Canary, &r.CanaryMail, &r.Surge.graded, &r.Drift.graded, &r.Day.graded, &r.Week.graded, &r.Walk.graded,
		&r.Purpose, &r.Fields, &r.Action, &r.Credential.graded, &r.Hours, &r.Crowd.graded, &r.Peers.graded, &r.Refusals.graded,
		&r.Overwrite.graded, &r.Erasures.graded, &r.Emails.graded, &r.Rewrite.graded, &r.Probe, &r.Mole.graded, &r.Budget.graded} {
		if g.Old != 0 {
			g.Grade, g.Old = g.Old, 0
		}
	}
}

type volume struct {
	graded `yaml:",inline"`

	Sigma      float64 `yaml:"sigma"`
	Floor      int     `yaml:"floor"`
	NoBaseline int     `yaml:"no_baseline"`
}

// contains is from which grade on an alarm of a rule contains whose it is.
type contains map[Rule]Grade

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *contains) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: contain takes rules with a severity, such as {canary: critical}", n.Line)
	}
	*c = contains{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		rule, line := Rule(n.Content[i].Value), n.Content[i].Line
		switch {
		case !slices.Contains(AllRules(), rule):
			return fmt.Errorf("line %d: no such rule: use %v", line, AllRules())
		case rule.many():
			return fmt.Errorf("line %d: alarms of %s concern many people, so they cannot contain", line, rule)
		case rule == CanaryMail:
			return fmt.Errorf("line %d: alarms of %s name no credential, so they cannot contain", line, rule)
		}
		var g Grade
		if err := g.UnmarshalYAML(n.Content[i+1]); err != nil {
			return err
		}
		(*c)[rule] = g
	}
	return nil
}

// contain reports whether an alarm contains whose it is.
func (r *Rules) contain(rule Rule, g Grade) bool {
	least, ok := r.Contain[rule]
	return ok && g >= least
}

// off lists what is switched off.
type off map[string]bool

// UnmarshalYAML implements yaml.Unmarshaler.
func (o *off) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: off is a list of rules", n.Line)
	}
	*o = off{}
	for _, item := range n.Content {
		rule := item.Value
		if role, r, ok := strings.Cut(rule, "/"); ok {
			if !slices.Contains(access.Roles(), role) {
				return fmt.Errorf("line %d: no such role: use %s", item.Line, strings.Join(access.Roles(), ", "))
			}
			rule = r
		}
		if !slices.Contains(AllRules(), Rule(rule)) {
			return fmt.Errorf("line %d: no such rule: use %v", item.Line, AllRules())
		}
		(*o)[item.Value] = true
	}
	return nil
}

// DefaultRules returns what DefaultText says.
func DefaultRules() (*Rules, error) {
	r := &Rules{text: defaultText}
	d := yaml.NewDecoder(strings.NewReader(defaultText))
	d.KnownFields(true)
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("reading the default rules: %w", err)
	}
	return r, nil
}

// ParseRules reads rules strictly: what the file leaves out has its default, and a
// name, grade or number that cannot be is ErrRules with its line.
func ParseRules(text string) (*Rules, error) {
	if len(text) > MaxRules {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrRules, MaxRules)
	}
	r, err := DefaultRules()
	if err != nil {
		return nil, err
	}
	d := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	d.KnownFields(true)
	if err := d.Decode(r); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s", ErrRules, fault.YAML(err))
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one document", ErrRules)
	}
	r.current()
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRules, err)
	}
	r.text = text
	return r, nil
}

// Text returns the rules as they were written.
func (r *Rules) Text() string { return r.text }

func (r *Rules) check() error {
	between := func(name string, x, low, high float64) error {
		if !(x >= low && x <= high) {
			return fmt.Errorf("%s is %v: from %v to %v", name, x, low, high)
		}
		return nil
	}
	return errors.Join(
		between("warmup.days", float64(r.Warmup.Days), 1, 60),
		between("warmup.active_hours", float64(r.Warmup.ActiveHours), 1, 500),
		between("forget_days", float64(r.ForgetDays), 14, 400),
		between("surge.sigma", r.Surge.Sigma, 2, 30),
		between("surge.floor", float64(r.Surge.Floor), 1, 1e9),
		between("surge.no_baseline", float64(r.Surge.NoBaseline), 1, 1e9),
		between("drift.sigma", r.Drift.Sigma, 2, 30),
		between("drift.weight", r.Drift.Weight, 0.005, 0.5),
		between("drift.floor", float64(r.Drift.Floor), 1, 1e9),
		between("day.sigma", r.Day.Sigma, 2, 30),
		between("day.floor", float64(r.Day.Floor), 1, 1e9),
		between("day.no_baseline", float64(r.Day.NoBaseline), 1, 1e9),
		between("week.sigma", r.Week.Sigma, 2, 30),
		between("week.floor", float64(r.Week.Floor), 1, 1e9),
		between("week.no_baseline", float64(r.Week.NoBaseline), 1, 1e9),
		between("walk.sigma", r.Walk.Sigma, 2, 30),
		between("walk.gap", float64(r.Walk.Gap), 1, 64),
		between("walk.least", float64(r.Walk.Least), 4, walkWindow),
		between("peers.sigma", r.Peers.Sigma, 2, 30),
		between("peers.member_sigma", r.Peers.Member, 1, 30),
		between("peers.least", float64(r.Peers.Least), 2, 1e6),
		between("crowd.sigma", r.Crowd.Sigma, 2, 30),
		between("crowd.least", float64(r.Crowd.Least), 2, 1e6),
		between("overwrite.floor", float64(r.Overwrite.Floor), 1, 1e9),
		between("overwrite.times", r.Overwrite.Times, 1, 1000),
		between("erasures.floor", float64(r.Erasures.Floor), 1, 1e9),
		between("erasures.times", r.Erasures.Times, 1, 1000),
		between("emails.floor", float64(r.Emails.Floor), 1, 1e9),
		between("emails.times", r.Emails.Times, 1, 1000),
		between("mole.times", r.Mole.Times, 1.5, 1000),
		between("mole.floor", float64(r.Mole.Floor), 1, 1e9),
		between("mole.least", float64(r.Mole.Least), 2, 1e6),
		between("budget.share", r.Budget.Share, 0.1, 1),
		between("rewrite.floor", float64(r.Rewrite.Floor), 1, 1e9),
		between("rewrite.share", r.Rewrite.Share, 0.001, 1),
		between("refusals.policy-denied", float64(r.Refusals.PolicyDenied), 0, 1e9),
		between("refusals.budget-exhausted", float64(r.Refusals.BudgetExhausted), 0, 1e9),
		between("refusals.unknown-token", float64(r.Refusals.UnknownToken), 0, 1e9),
		between("refusals.other-brand", float64(r.Refusals.OtherBrand), 0, 1e9),
		between("refusals.unknown-purpose", float64(r.Refusals.UnknownPurpose), 0, 1e9),
	)
}

// on reports whether a rule holds for a role.
func (r *Rules) on(rule Rule, role string) bool {
	return !r.Off[string(rule)] && !r.Off[role+"/"+string(rule)]
}

// refusals returns the threshold of a reason; 0 for none.
func (r *Rules) refusals(reason string) int {
	switch reason {
	case "policy-denied":
		return r.Refusals.PolicyDenied
	case "budget-exhausted":
		return r.Refusals.BudgetExhausted
	case "unknown-token":
		return r.Refusals.UnknownToken
	case "other-brand":
		return r.Refusals.OtherBrand
	case "unknown-purpose":
		return r.Refusals.UnknownPurpose
	}
	return 0
}
