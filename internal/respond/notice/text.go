package notice

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/respond/duties"
)

// maxText bounds the file of a text: the size of an entry does.
const maxText = 32000

// Text is what a letter to customers says in one language. Words in braces are put in.
type Text struct {
	Language       string            `yaml:"language"`
	Name           string            `yaml:"name"` // of the language, in itself
	ReadBy         string            `yaml:"read_by"`
	Subject        string            `yaml:"subject"`
	Greeting       string            `yaml:"greeting"`
	Unreviewed     string            `yaml:"unreviewed"` // stands on the face until somebody has read it
	Heads          map[string]string `yaml:"heads"`
	Nature         string            `yaml:"nature"`
	NatureUndated  string            `yaml:"nature_undated"`
	Data           string            `yaml:"data"`
	Consequences   string            `yaml:"consequences"`
	Measures       string            `yaml:"measures"`
	Advice         string            `yaml:"advice"`
	AdvicePassword string            `yaml:"advice_password"` // where passwords were disclosed
	Contact        string            `yaml:"contact"`
	Closing        string            `yaml:"closing"`
	Months         []string          `yaml:"months"`
	Date           string            `yaml:"date"`
	Comma          string            `yaml:"comma"`
	Last           string            `yaml:"last"` // between the last two of a list
	Classes        map[string]string `yaml:"classes"`

	file string
}

// holes are the words in braces that each part of a text may and must have.
var holes = map[string][]string{
	"subject": {"brand"}, "nature": {"brand", "day"}, "nature_undated": {"brand"}, "data": {"data"},
	"measures": {"day"}, "contact": {"contact"}, "closing": {"brand"}, "date": {"d", "month|m", "y"},
}

var holeForm = regexp.MustCompile(`\{[^{}]*\}`)

// ReadText reads a text's file strictly.
func ReadText(file string) (*Text, error) {
	if len(file) > maxText {
		return nil, fmt.Errorf("%w: a text has at most %d bytes", ErrForms, maxText)
	}
	t := &Text{file: file}
	if err := decode("the text", []byte(file), t); err != nil {
		return nil, err
	}
	tag, err := Tag(t.Language)
	if err != nil {
		return nil, err
	}
	t.Language = tag
	parts := map[string]string{
		"name": t.Name, "subject": t.Subject, "greeting": t.Greeting, "unreviewed": t.Unreviewed, "nature": t.Nature,
		"nature_undated": t.NatureUndated, "data": t.Data, "consequences": t.Consequences, "measures": t.Measures, "advice": t.Advice,
		"advice_password": t.AdvicePassword, "contact": t.Contact, "closing": t.Closing, "date": t.Date, "comma": t.Comma, "last": t.Last,
	}
	for name, text := range parts {
		if text == "" {
			return nil, fmt.Errorf("%w: the text has no %s", ErrForms, name)
		}
		found := holeForm.FindAllString(text, -1)
		for _, want := range holes[name] {
			some := slices.ContainsFunc(strings.Split(want, "|"), func(w string) bool { return slices.Contains(found, "{"+w+"}") })
			if !some {
				return nil, fmt.Errorf("%w: %s has no {%s}", ErrForms, name, want)
			}
		}
		for _, h := range found {
			known := slices.ContainsFunc(holes[name], func(w string) bool { return slices.Contains(strings.Split(w, "|"), h[1:len(h)-1]) })
			if !known {
				return nil, fmt.Errorf("%w: %s has words in braces that it cannot have", ErrForms, name)
			}
		}
	}
	for _, head := range []string{"nature", "data", "consequences", "measures", "advice", "contact"} {
		if t.Heads[head] == "" {
			return nil, fmt.Errorf("%w: the text has no heading for %s", ErrForms, head)
		}
	}
	for _, c := range duties.Classes() {
		if t.Classes[c[0]] == "" && !slices.Contains(noValues, c[0]) {
			return nil, fmt.Errorf("%w: the text has no words for the class %s", ErrForms, c[0])
		}
	}
	if strings.Contains(t.Date, "{month}") && len(t.Months) != 12 {
		return nil, fmt.Errorf("%w: months has twelve names", ErrForms)
	}
	for _, words := range append([]string{t.Consequences, t.Advice, t.AdvicePassword, t.Greeting}, t.Nature, t.Data, t.Measures) {
		if err := CheckWords("the text", words, true); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// noValues are classes without a value of a customer.
var noValues = []string{"token_only", "ciphertext_key_safe"}

// Digest is that of the text's file.
func (t *Text) Digest() string {
	sum := sha256.Sum256([]byte(t.file))
	return hex.EncodeToString(sum[:])
}

// File is the text as its file has it.
func (t *Text) File() string { return t.file }

// Put puts words in place of those in braces.
func put(text string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		pairs[i] = "{" + pairs[i] + "}"
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func (t *Text) day(at time.Time) string {
	at = at.UTC()
	month := ""
	if len(t.Months) == 12 {
		month = t.Months[at.Month()-1]
	}
	return put(t.Date, "d", strconv.Itoa(at.Day()), "m", strconv.Itoa(int(at.Month())), "month", month, "y", strconv.Itoa(at.Year()))
}

// list joins what was disclosed.
func (t *Text) list(classes []string) string {
	var words []string
	for _, c := range classes {
		if w := t.Classes[c]; w != "" && !slices.Contains(noValues, c) {
			words = append(words, w)
		}
	}
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], t.Comma) + t.Last + words[n-1]
	}
	return strings.Join(words, "")
}
