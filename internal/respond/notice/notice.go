// Package notice drafts what a breach makes due: notifications to authorities, letters to
// customers, a complaint to law enforcement. It fills in what the log, the facts of an
// incident and the brand's settings say, each value with the entries that it comes from,
// and marks and counts what a person still has to write.
//
// # No customers
//
// A draft holds numbers, kinds of data, places and times. A [Case] has no field for
// anything of a customer, and words that a person writes are refused where they look like
// an address, a telephone number, a token or a card ([CheckWords]).
//
// # Forms
//
// A form is a file of our own: what it asks in our words, in the form's order, what of it was
// seen and who has read it. Where not all of a form was seen, every draft says so.
//
// # Texts
//
// A letter to customers is made of the text of its language. Nobody has reviewed the texts
// of this release: each says so on its face until a named person has read it.
package notice

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"
	"gopkg.in/yaml.v3"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/respond/duties"
)

//go:embed forms/*.yaml texts/*.yaml
var embedded embed.FS

// Advice stands on every draft.
const Advice = "This is a draft and not legal advice. A person reads it, completes it and sends it; the vault sends nothing."

var (
	// ErrForms is joined to errors of files of forms and texts.
	ErrForms = fault.New(fault.Invalid, "a form or a text does not hold")
	// ErrNoForm is returned for an id that no form has.
	ErrNoForm = fault.New(fault.NotFound, "no such form: `cloakroom notice forms` lists them")
	// ErrNoText is returned for a language without a text.
	ErrNoText = fault.New(fault.NotFound, "no text in this language: `cloakroom notice text list` shows those with one, `cloakroom notice text load` adds one")
)

// The forms that drafts have where no form names their rule.
const (
	FormContent   = "content"   // the contents that the rule lists
	FormCustomers = "customers" // a letter
	FormPolice    = "police"    // a complaint
)

// Form is what a recipient asks for.
type Form struct {
	ID           string   `yaml:"id"`
	Title        string   `yaml:"title"`
	Authority    string   `yaml:"authority"`
	Jurisdiction string   `yaml:"jurisdiction"`
	Citation     string   `yaml:"citation"`
	SeenIn       []string `yaml:"seen_in"`
	Seen         string   `yaml:"seen"` // what of it was seen
	ReadOn       string   `yaml:"read_on"`
	ReadBy       string   `yaml:"read_by"` // a person's name, or none
	Confidence   string   `yaml:"confidence"`
	Language     string   `yaml:"language"` // in which it is filed
	Complete     bool     `yaml:"complete"` // all of its fields were seen
	Status       string   `yaml:"status"`   // draft: it is not in use
	To           string   `yaml:"to"`       // individuals: a letter; law_enforcement
	Rules        []string `yaml:"rules"`    // of duties
	Pick         bool     `yaml:"pick"`     // a draft has the fields that its rule's content names
	Fields       []Field  `yaml:"fields"`
}

// Field is one thing that a form asks.
type Field struct {
	ID      string            `yaml:"id"`
	Asks    string            `yaml:"asks"` // in our own words
	Kind    string            `yaml:"kind"`
	Fill    []string          `yaml:"fill"` // log, case, config, human
	From    string            `yaml:"from"` // where the vault takes the value from
	Options []string          `yaml:"options"`
	Answers map[string]string `yaml:"answers"` // the option by what the vault has; * for the rest
	Contact bool              `yaml:"contact"` // addresses of the organisation stand here
}

// Book is the forms and texts of this release.
type Book struct {
	forms []*Form
	texts map[string]*Text
}

// Load reads the forms and texts of this release.
func Load() (*Book, error) {
	b := &Book{texts: map[string]*Text{}}
	err := each("forms", func(name string, text []byte) error {
		f := &Form{}
		if err := decode(name, text, f); err != nil {
			return err
		}
		if what := f.check(); what != "" {
			return fmt.Errorf("%w: %s: %s", ErrForms, name, what)
		}
		if f.ID+".yaml" != name || b.Form(f.ID) != nil {
			return fmt.Errorf("%w: %s: a form's file has its id as name", ErrForms, name)
		}
		b.forms = append(b.forms, f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = each("texts", func(name string, text []byte) error {
		t, err := ReadText(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.texts[t.Language] = t
		return nil
	})
	return b, err
}

func each(dir string, fn func(name string, text []byte) error) error {
	list, err := fs.ReadDir(embedded, dir)
	if err != nil {
		return fmt.Errorf("reading %s: %w", dir, err)
	}
	for _, f := range list {
		text, err := fs.ReadFile(embedded, dir+"/"+f.Name())
		if err != nil {
			return fmt.Errorf("reading %s: %w", dir, err)
		}
		if err := fn(f.Name(), text); err != nil {
			return err
		}
	}
	return nil
}

// decode reads a file strictly: what the types do not have is an error with its line.
func decode(name string, text []byte, to any) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("%w: %s: %s", ErrForms, name, fault.YAML(err))
	}
	return nil
}

var (
	formForm  = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	fieldForm = regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*$`)
	kinds     = []string{"text", "number", "date", "datetime", "choice", "multi", "yesno", "file", "unknown"}
)

// check says what is wrong with a form; nothing where it is well.
func (f *Form) check() string {
	switch {
	case !formForm.MatchString(f.ID) || f.Title == "" || f.Authority == "" || f.Citation == "" || f.Seen == "" || f.ReadBy == "" || f.Jurisdiction == "":
		return "id, title, authority, jurisdiction, citation, seen and read_by are needed"
	case !slices.Contains([]string{"high", "medium", "low"}, f.Confidence):
		return "the confidence is high, medium or low"
	case !slices.Contains([]string{"", "draft"}, f.Status):
		return "the status is draft, or left out"
	case !slices.Contains([]string{"", "individuals", "law_enforcement"}, f.To):
		return "to is individuals or law_enforcement, or left out"
	case len(f.Fields) == 0:
		return "a form has fields"
	}
	if _, err := time.Parse(time.DateOnly, f.ReadOn); err != nil {
		return "read_on is a day such as 2026-11-29"
	}
	if _, err := language.Parse(f.Language); err != nil {
		return "the language is a tag such as it"
	}
	seen := map[string]bool{}
	for i := range f.Fields {
		x := &f.Fields[i]
		if seen[x.ID] {
			return "the field " + x.ID + " stands twice"
		}
		seen[x.ID] = true
		if what := x.check(); what != "" {
			return x.ID + ": " + what
		}
	}
	return ""
}

func (x *Field) check() string {
	switch {
	case !fieldForm.MatchString(x.ID) || x.Asks == "":
		return "a field has an id and what it asks"
	case !slices.Contains(kinds, x.Kind):
		return "the kind is unknown"
	case len(x.Fill) == 0:
		return "fill says who fills it in"
	case x.From != "" && sources[x.From].of == nil:
		return "from is unknown"
	case x.From == "" && !slices.Equal(x.Fill, []string{"human"}):
		return "what a person alone fills in has no from, and everything else has one"
	case len(x.Answers) > 0 && (len(x.Options) == 0 || x.From == ""):
		return "answers choose among options"
	}
	for _, w := range x.Fill {
		if !slices.Contains([]string{"log", "case", "config", "human"}, w) {
			return "fill is log, case, config or human"
		}
	}
	for _, a := range x.Answers {
		if !slices.Contains(x.Options, a) {
			return "an answer is one of the options"
		}
	}
	return ""
}

// human reports whether a person has a say in a field.
func (x *Field) human() bool { return slices.Contains(x.Fill, "human") }

// Form returns a form; nil where none has the id.
func (b *Book) Form(id string) *Form {
	for _, f := range b.forms {
		if f.ID == id {
			return f
		}
	}
	return nil
}

// Forms lists the forms.
func (b *Book) Forms() []*Form { return b.forms }

// FormOf chooses the form for a duty.
func (b *Book) FormOf(d *api.Duty) *Form {
	for _, f := range b.forms {
		if slices.Contains(f.Rules, d.Rule) {
			return f
		}
	}
	switch d.To {
	case "individuals":
		return b.Form(FormCustomers)
	case "law_enforcement":
		return b.Form(FormPolice)
	}
	return b.Form(FormContent)
}

// fieldsFor are the fields of a form in a draft for a duty. Of a form that lists contents
// they are those that the duty asks for, in its order; each one that the form does not know
// is for a person.
func (f *Form) fieldsFor(d *api.Duty) []Field {
	if !f.Pick {
		return f.Fields
	}
	if d == nil {
		return nil
	}
	var out []Field
	for _, code := range d.Content {
		i := slices.IndexFunc(f.Fields, func(x Field) bool { return x.ID == code })
		if i >= 0 {
			out = append(out, f.Fields[i])
		} else {
			out = append(out, Field{ID: code, Asks: strings.ReplaceAll(code, "_", " "), Kind: "text", Fill: []string{"human"}})
		}
	}
	return out
}

// Text returns the text of a language of this release; nil where it has none.
func (b *Book) Text(lang string) *Text {
	if t := b.texts[lang]; t != nil {
		return t
	}
	return b.texts[base(lang)]
}

// Languages are those with a text of this release.
func (b *Book) Languages() []string { return slices.Sorted(maps.Keys(b.texts)) }

// Tag returns a language in its usual spelling.
func Tag(lang string) (string, error) {
	t, err := language.Parse(lang)
	if err != nil {
		return "", fmt.Errorf("%w: a language is a tag such as it or pt-BR", ErrForms)
	}
	return t.String(), nil
}

// base is the language of a tag, without its region.
func base(lang string) string {
	t, err := language.Parse(lang)
	if err != nil {
		return lang
	}
	b, _ := t.Base()
	return b.String()
}

// several are countries where people are written to in more than one language.
var several = map[string][]string{
	"BE": {"nl", "fr", "de"}, "CA": {"en", "fr"}, "CH": {"de", "fr", "it"}, "FI": {"fi", "sv"}, "HK": {"zh", "en"},
	"IE": {"en"}, "IN": {"en", "hi"}, "LU": {"fr", "de"}, "MO": {"zh", "pt"}, "MT": {"mt", "en"}, "PH": {"en", "fil"}, "SG": {"en", "zh"}, "ZA": {"en"},
}

// LanguagesOf are the languages in which people of a jurisdiction are written to.
func LanguagesOf(place string) []string {
	country, _, _ := strings.Cut(place, "-")
	if list := several[country]; list != nil {
		return list
	}
	if place == "CA-QC" {
		return []string{"fr"}
	}
	t, err := language.Parse("und-" + country)
	if err != nil || country == "EU" || country == duties.Elsewhere {
		return nil
	}
	b, sure := t.Base()
	if sure == language.No {
		return nil
	}
	return []string{b.String()}
}
