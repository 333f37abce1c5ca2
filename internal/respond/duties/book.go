package duties

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

//go:embed book.html
var bookText string

// Line is a rule as lists show it.
type Line struct {
	ID, Jurisdiction, Law, Article, To, Deadline, Status, ReadBy, Confidence string
}

// List returns the rules by jurisdiction.
func (b *Book) List() (out []Line) {
	for _, r := range b.order {
		l := Line{r.ID, r.place(), r.law.Law, r.Article, r.To, r.ends(), r.Status, r.ReadBy, r.Confidence}
		out = append(out, l)
	}
	return out
}

// ends puts a rule's deadline into words.
func (r *Rule) ends() string {
	switch {
	case r.With != "":
		return "with " + r.With
	case r.Deadline == nil:
		return "no number"
	}
	return fmt.Sprintf("%d %s (%s)", r.Deadline.N, strings.ReplaceAll(r.Deadline.Unit, "_", " "), r.Deadline.Kind)
}

// page is what the print shows of a rule.
type page struct {
	*Rule
	Law   *Law
	Where string
	Ends  string
	Tests []string
}

// WriteBook prints the rules as one HTML page: our reading and the article's address on the
// left, the rule on the right, worked cases below, and a box to sign. Of one rule where an
// id is given.
func (b *Book) WriteBook(w io.Writer, only string) error {
	t, err := template.New("book").Parse(bookText)
	if err != nil {
		return fmt.Errorf("reading the page of the rules: %w", err)
	}
	var in struct {
		Advice, Version              string
		Rules, Unread, Jurisdictions int
		Overlay                      []string
		Pages                        []page
		None                         []*Law
	}
	in.Advice, in.Version, in.Overlay = Advice, b.Version, b.Overlay
	in.Rules, in.Unread, in.Jurisdictions = b.Counts()
	for _, r := range b.order {
		if only != "" && r.ID != only {
			continue
		}
		p := page{Rule: r.Rule, Law: r.law, Where: r.law.Address, Ends: r.ends()}
		if r.Address != "" {
			p.Where = r.Address
		}
		for i := range r.When {
			p.Tests = append(p.Tests, b.inWords(&r.When[i]))
		}
		in.Pages = append(in.Pages, p)
	}
	for i := range b.laws {
		if b.laws[i].NoDuty != nil && only == "" {
			in.None = append(in.None, &b.laws[i])
		}
	}
	if err := t.Execute(w, in); err != nil {
		return fmt.Errorf("printing the rules: %w", err)
	}
	return nil
}

// inWords says when a condition holds.
func (b *Book) inWords(c *Condition) string {
	var out []string
	if len(c.Data) > 0 {
		var lists []string
		for _, s := range c.Data {
			for _, l := range b.sets[s] {
				lists = append(lists, words(l))
			}
		}
		out = append(out, "disclosed: "+strings.Join(compact(lists), ", or "))
	}
	if n := c.Count; n != nil {
		who := "persons living there"
		if n.Of == "total" {
			who = "persons in all"
		}
		out = append(out, fmt.Sprintf("%s %s %d", who, n.Op, n.N))
	}
	if c.Harm != "" {
		text := harms[c.Harm].question + " (" + c.Harm + ")"
		if harms[c.Harm].presumed {
			text += " Presumed until a person signs no."
		}
		out = append(out, text)
	}
	if c.Malicious != nil {
		out = append(out, question(maliciousName)+" "+map[bool]string{true: "Yes.", false: "No."}[*c.Malicious])
	}
	if c.Event != "" {
		out = append(out, events[c.Event]+" ("+c.Event+")")
	}
	return strings.Join(out, "; and ")
}

// ErrNoRule is returned for an id that no rule has.
var ErrNoRule = fault.New(fault.NotFound, "no such rule: `cloakroom duties list` shows them")

// Show returns a rule as its file has it.
func (b *Book) Show(id string) (string, error) {
	r := b.byID[id]
	if r == nil {
		return "", ErrNoRule
	}
	text, err := yaml.Marshal(Law{Law: r.law.Law, Jurisdiction: r.law.Jurisdiction, Zone: r.law.Zone, Address: r.law.Address, Rules: []Rule{*r.Rule}})
	if err != nil {
		return "", fmt.Errorf("writing the rule: %w", err)
	}
	return string(text), nil
}

// Classes lists the classes of fields with what they are.
func Classes() (out [][2]string) {
	for _, name := range slices.Sorted(maps.Keys(classes)) {
		out = append(out, [2]string{name, classes[name]})
	}
	return out
}

// Words says what a class of fields is; the class itself where it is unknown.
func Words(class string) string { return cmp.Or(classes[class], class) }

// Rules lists the rules as the API shows them.
func (b *Book) Rules() []api.DutyRule {
	out := []api.DutyRule{}
	for _, l := range b.List() {
		r := api.DutyRule{ID: l.ID, Jurisdiction: l.Jurisdiction, Law: l.Law, Article: l.Article, To: l.To, Deadline: l.Deadline, Status: l.Status, Confidence: l.Confidence, Overlay: slices.Contains(b.Overlay, l.ID)}
		if l.ReadBy != "none" {
			r.ReadBy = l.ReadBy
		}
		out = append(out, r)
	}
	return out
}
