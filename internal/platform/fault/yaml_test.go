package fault_test

import (
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

type yamlText struct {
	Limit int               `yaml:"limit"`
	Rules map[string]bool   `yaml:"rules"`
	Names []string          `yaml:"names"`
	Texts map[string]string `yaml:"texts"`
}

func decodeYAML(text string) error {
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	var out yamlText
	return d.Decode(&out)
}

func TestYAMLSaysWhereAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	const pasted = "grace.known@mail.example"
	for text, want := range map[string]string{
		"limit: " + pasted:   "line 1: another kind of value belongs here",
		"\nlimt: 3":          "line 2: field limt is not known",
		pasted + ": 3":       "line 1: this name is not known",
		"limit: 1\nlimit: 2": "line 2: this name stands on line 1 already",
		"rules: {" + pasted + ": maybe}\nnames: {}": "line 1: another kind of value belongs here; line 2: another kind of value belongs here",
		"names: *" + pasted:                         "did not find expected alphabetic or numeric character",
		"limit: 1: 2":                               "mapping values are not allowed in this context",
	} {
		err := decodeYAML(text)
		if err == nil {
			t.Fatalf("%q was read", text)
		}
		if got := fault.YAML(err); got != want || strings.Contains(got, "grace") {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
}

// Whatever stands where it does not belong, it is not repeated.
func TestYAMLRepeatsNoText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[A-Z]{3}[A-Za-z0-9@.:'"{} *&!%-]{3,20}`).Draw(t, "secret")
		form := rapid.SampledFrom([]string{"limit: %", "%: 1", "rules: {%: true}", "names: %", "names: [%, %]", "texts: {a: %, a: %}", "&% limit: *%", "!!% x", "\"%\": 1", "limit: \"%\""}).Draw(t, "form")
		err := decodeYAML(strings.ReplaceAll(form, "%", secret))
		if err == nil {
			return
		}
		if got := fault.YAML(err); strings.Contains(got, secret[:4]) {
			t.Fatalf("%q repeats the text", got)
		}
	})
}
