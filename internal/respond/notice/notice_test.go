package notice

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/respond/duties"
)

func load(t testing.TB) *Book {
	t.Helper()
	b, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// everyDuty is every rule, held against nothing: what it asks for does not hang on a case.
func everyDuty(t testing.TB) []api.Duty {
	t.Helper()
	b, err := duties.Load()
	if err != nil {
		t.Fatal(err)
	}
	return b.Decide(duties.NewSituation(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)))
}

// records is a number that stands nowhere else in a draft.
const records = 73519

// known is a case of which everything is known.
func known() *Case {
	day := func(d, h int) time.Time { return time.Date(2026, 11, d, h, 0, 0, 0, time.UTC) }
	return &Case{
		Incident: "7", Brand: "gucci", Controller: "Gucci", Owner: "gucci", Country: "IT", Contact: "privacy@gucci.example", By: "dana", Phase: "initial", Now: day(30, 9),
		Source: "alarm", Opened: 11,
		Facts:     map[string]Moment{"occurred-from": {day(20, 1), 12}, "occurred-to": {day(28, 5), 13}, "discovered": {day(29, 8), 14}, "aware": {day(29, 9), 15}, "determined": {day(29, 10), 16}},
		Figures:   &api.ScopeFigures{Brand: "gucci", Entry: 20, Records: records, Disclosures: 2 * records, Entries: 44},
		Version:   &api.ScopeVersion{Version: 2, Entry: 21},
		Classes:   []string{"email", "name", "password_login"},
		ClassRefs: []api.NoticeRef{{Log: "gucci", Entry: 21, What: "scope version 2"}},
		Residents: map[string]int{"IT": 60000, "US-MA": 13519}, ResidentRefs: []api.NoticeRef{{Log: "gucci", Entry: 22, What: "fact residents"}},
		Answers: map[string]string{"malicious": "yes", "cyber_attack": "yes"}, AnswerRefs: map[string]api.NoticeRef{"malicious": {Log: "gucci", Entry: 23}, "cyber_attack": {Log: "gucci", Entry: 23}},
		Measures: []Measure{{At: day(29, 11), What: "the access was stopped", Ref: api.NoticeRef{Log: "gucci", Entry: 24}}},
		Sent:     []Sent{{At: day(29, 12), To: "individuals", Recipients: []string{"affected persons"}, Place: "EU", Ref: api.NoticeRef{Log: "gucci", Entry: 25}}},
		Evidence: []api.EvidenceFile{{Number: 26, At: day(29, 13), Digests: []string{strings.Repeat("ab", 32)}}},
		Letter:   &api.NoticeLine{Number: 27, Language: "it", Version: 1, Digest: strings.Repeat("cd", 32)},
	}
}

func request(b *Book, f *Form) *Request {
	r := &Request{Form: f, Language: f.Language, Words: map[string]string{}, Authors: map[string]string{}, Source: "release"}
	if f.Letter() {
		r.Text = b.Text(f.Language)
	}
	return r
}

func field(t *testing.T, n *api.Notice, id string) *api.NoticeField {
	t.Helper()
	i := slices.IndexFunc(n.Fields, func(x api.NoticeField) bool { return x.ID == id })
	if i < 0 {
		t.Fatalf("%s has no field %s", n.Form, id)
	}
	return &n.Fields[i]
}

// The forms of fifteen authorities, in files of our own; every rule of duties has a form,
// and every content that a rule lists is a field of it.
func TestEveryRuleHasAForm(t *testing.T) {
	b := load(t)
	for _, id := range []string{"edpb-common-template", "gb-ico-pdb", "fr-cnil-teleservice", "ie-dpc-webform", "it-garante", "es-aepd", "es-aepd-persons", "kr-pipc-kisa",
		"jp-ppc-form1", "ch-fdpic", "tr-kvkk-form", "za-ir-scn", "us-ok-ag", "us-pa-ag", "us-ct-ag", "eu-art33", FormContent, FormCustomers, FormPolice} {
		if b.Form(id) == nil {
			t.Errorf("no form %s", id)
		}
	}
	ids := map[string]bool{}
	all := everyDuty(t)
	for i := range all {
		d := &all[i]
		ids[d.Rule] = true
		f := b.FormOf(d)
		if f == nil || len(f.fieldsFor(d)) == 0 {
			t.Errorf("%s has no form, or one without fields", d.Rule)
			continue
		}
		for _, code := range d.Content {
			if !slices.ContainsFunc(b.Form(FormContent).Fields, func(x Field) bool { return x.ID == code }) {
				t.Errorf("%s asks for %s, and no field says so in words", d.Rule, code)
			}
		}
	}
	for _, f := range b.Forms() {
		for _, rule := range f.Rules {
			if !ids[rule] {
				t.Errorf("%s is for the unknown rule %s", f.ID, rule)
			}
		}
	}
}

// What a form's file says and the types do not know is an error with its line.
func TestFormsAreReadStrictly(t *testing.T) {
	const good = "id: x\ntitle: t\nauthority: a\njurisdiction: EU\ncitation: c\nseen: s\nread_on: '2026-11-29'\nread_by: none\nconfidence: low\nlanguage: en\nfields:\n  - {id: a, asks: q, kind: text, fill: [human]}\n"
	read := func(text string) string {
		f := &Form{}
		if err := decode("x.yaml", []byte(text), f); err != nil {
			return err.Error()
		}
		return f.check()
	}
	if what := read(good); what != "" {
		t.Fatal(what)
	}
	for name, c := range map[string][2]string{
		"an unknown member":    {"title: t", "titel: t"},
		"an unknown kind":      {"kind: text", "kind: txt"},
		"an unknown source":    {"fill: [human]", "fill: [log], from: moon"},
		"a source without log": {"fill: [human]", "fill: [log]"},
		"a strange answer":     {"fill: [human]", "fill: [case], from: phase, options: [one], answers: {initial: two}"},
		"no language":          {"language: en", "language: '???'"},
		"twice":                {"fill: [human]}", "fill: [human]}\n  - {id: a, asks: q, kind: text, fill: [human]}"},
	} {
		if what := read(strings.Replace(good, c[0], c[1], 1)); what == "" {
			t.Errorf("%s is read", name)
		}
	}
	if what := read(strings.Replace(good, "title: t", "titel: t", 1)); !strings.Contains(what, "line 2") {
		t.Errorf("no line: %s", what)
	}
}

// Each figure has its entries; what is missing is marked and counted.
func TestADraftCountsWhatIsMissing(t *testing.T) {
	b := load(t)
	n, err := Draft(known(), request(b, b.Form("gb-ico-pdb")))
	if err != nil {
		t.Fatal(err)
	}
	if x := field(t, n, "n_subjects"); x.State != api.NoticeComputed || x.Value != fmt.Sprint(records) || len(x.From) != 2 || x.From[0].Entry != 20 || x.From[1].Entry != 21 {
		t.Errorf("%+v", x)
	}
	if x := field(t, n, "cat_data"); x.Value != "basic identifiers, identification data (user names and passwords)" {
		t.Errorf("classes in the form's words: %+v", x)
	}
	if x := field(t, n, "discovered"); x.Value != "2026-11-29 08:00 UTC" || x.From[0].Entry != 14 {
		t.Errorf("%+v", x)
	}
	if x := field(t, n, "what_happened"); x.State != api.NoticeConfirm {
		t.Errorf("%+v", x)
	}
	if x := field(t, n, "consequences"); x.State != api.NoticeMissing || x.Value != "" {
		t.Errorf("%+v", x)
	}
	if n.Counts != (api.NoticeCounts{Fields: 21, Computed: 13, Confirm: 6, Missing: 8}) {
		t.Errorf("%+v: %s", n.Counts, Summary(&n.Counts))
	}
	if n.Complete || !strings.Contains(strings.Join(n.Face, "\n"), "NOT THE WHOLE FORM") {
		t.Errorf("the face: %q", n.Face)
	}
	// Of nothing that is known, nothing is invented.
	empty := &Case{Incident: "1", Brand: "gucci", Controller: "Gucci", Phase: "initial", Now: time.Now(), Facts: map[string]Moment{}}
	for _, f := range b.Forms() {
		if f.Pick {
			continue
		}
		n, err := Draft(empty, request(b, f))
		if err != nil {
			t.Fatal(f.ID, err)
		}
		for i := range n.Fields {
			if x := &n.Fields[i]; regexp.MustCompile(`[0-9]`).MatchString(x.Value) {
				t.Errorf("%s, %s: a figure from nowhere: %q", f.ID, x.ID, x.Value)
			}
		}
	}
	// Words of a person.
	r := request(b, b.Form("gb-ico-pdb"))
	r.Words["consequences"], r.Authors["consequences"] = "Deceptive mail.", "dana"
	if n, err = Draft(known(), r); err != nil || field(t, n, "consequences").State != api.NoticeWritten || n.Counts.Written != 1 || n.Counts.Missing != 7 {
		t.Errorf("%v %+v", err, n.Counts)
	}
	r.Words["shoes"] = "black"
	if _, err = Draft(known(), r); !errors.Is(err, ErrForms) {
		t.Errorf("words for no field: %v", err)
	}
	delete(r.Words, "shoes")
	for i := range 20 {
		r.Words[r.Form.Fields[i].ID] = strings.Repeat("x", maxWords)
	}
	if _, err = Draft(known(), r); !errors.Is(err, ErrForms) {
		t.Errorf("a draft that no entry holds: %v", err)
	}
}

// What a law forbids is in no field of any form's draft, and the draft says that it was left
// out: one national template breaks the law of Massachusetts.
func TestForbiddenContentIsLeftOut(t *testing.T) {
	b := load(t)
	all := everyDuty(t)
	seen := 0
	for i := range all {
		d := &all[i]
		if len(d.Forbidden) == 0 {
			continue
		}
		seen++
		for _, f := range b.Forms() {
			c := known()
			c.Duty = d
			n, err := Draft(c, request(b, f))
			if err != nil {
				t.Fatal(d.Rule, f.ID, err)
			}
			p, err := Print(n, "html")
			if err != nil {
				t.Fatal(err)
			}
			page := string(p.Content)
			if slices.Contains(d.Forbidden, "n_residents") && (strings.Contains(page, fmt.Sprint(records)) || strings.Contains(page, "13519")) {
				t.Errorf("%s by %s tells the number", d.Rule, f.ID)
			}
			if slices.Contains(d.Forbidden, "nature") && (strings.Contains(page, "confidentiality:") || strings.Contains(page, "had been seen")) {
				t.Errorf("%s by %s tells the nature", d.Rule, f.ID)
			}
			if !strings.Contains(strings.Join(n.Face, "\n"), "LEFT OUT") {
				t.Errorf("%s by %s does not say what was left out", d.Rule, f.ID)
			}
		}
	}
	if seen < 2 {
		t.Errorf("%d rules forbid something", seen)
	}
	ma := slices.IndexFunc(all, func(d api.Duty) bool { return d.Rule == "us-ma-subjects" })
	c := known()
	c.Duty = &all[ma]
	n, err := Draft(c, request(b, b.Form(FormCustomers)))
	if err != nil || field(t, n, "nature").State != api.NoticeLeftOut || n.Counts.LeftOut != 1 || field(t, n, "data").State != api.NoticeComputed {
		t.Errorf("%v %+v", err, n.Counts)
	}
}

// Words that look like something of a customer are refused, however they are written, and
// the refusal does not repeat them.
func TestWordsThatLookLikeACustomer(t *testing.T) {
	for _, bad := range []string{
		"the mails of zoe.martin@example.com", "zoe＠example.com", "zoe(at)example.com", "zoe\u200b@example.com", "call +39 055 123 4567", "0039 055 1234567", "call 055 123 45678",
		"０９０ １２３４ ５６７８", "cus_01hzxk8f7q2m9d3v5b6n8p0rst", "4111 1111 1111 1111",
	} {
		err := CheckWords("consequences", bad, false)
		if !errors.Is(err, ErrWords) {
			t.Errorf("%q: %v", bad, err)
		} else if strings.Contains(err.Error(), bad) || strings.Contains(err.Error(), "zoe") || strings.Contains(err.Error(), "4111") {
			t.Errorf("the refusal repeats it: %v", err)
		}
	}
	for _, good := range []string{
		"On 2026-11-29 at 08:30 UTC we saw 73519 records.", "On 01/12/2026 10:00 it ended.", "Art. 33(3)(a) and 34", "Between 01.12.2026 and 05.12.2026 23:59", "2,100 of 7,400,000 customers",
		"SHA-256 " + strings.Repeat("ab", 32), "case 2026-4711", "", "0 to 5 days",
	} {
		if err := CheckWords("consequences", good, false); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	if err := CheckWords("contact", "Dana Doe, dpo@gucci.example, +39 055 123 4567", true); err != nil {
		t.Errorf("the organisation's own: %v", err)
	}
	if err := CheckWords("contact", "cus_01hzxk8f7q2m9d3v5b6n8p0rst", true); !errors.Is(err, ErrWords) {
		t.Errorf("a token among contacts: %v", err)
	}
	if err := CheckWords("x", strings.Repeat("a", maxWords+1), false); !errors.Is(err, ErrForms) {
		t.Errorf("too long: %v", err)
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z][a-z0-9._-]{0,12}`).Draw(t, "name")
		host := rapid.StringMatching(`[a-z]{2,10}\.(example|com|co\.jp)`).Draw(t, "host")
		before := rapid.SampledFrom([]string{"", "write to ", "<", "(", "„", "「", "\n"}).Draw(t, "before")
		if err := CheckWords("x", before+name+"@"+host, false); !errors.Is(err, ErrWords) {
			t.Fatalf("%q: %v", before+name+"@"+host, err)
		}
		digits := rapid.StringMatching(`\+[1-9][0-9]{1,2}[ .-]?[0-9]{3}[ .-]?[0-9]{4,6}`).Draw(t, "phone")
		if err := CheckWords("x", before+digits, false); !errors.Is(err, ErrWords) {
			t.Fatalf("%q: %v", digits, err)
		}
	})
}

// Nine languages; each draft says on its face, in its language, that nobody has read it.
func TestLettersInEveryLanguage(t *testing.T) {
	b := load(t)
	want := []string{"de", "en", "es", "fr", "it", "ja", "ko", "pt", "zh"}
	if got := b.Languages(); !slices.Equal(got, want) {
		t.Fatalf("texts in %v", got)
	}
	for _, lang := range want {
		r := request(b, b.Form(FormCustomers))
		r.Language, r.Text = lang, b.Text(lang)
		n, err := Draft(known(), r)
		if err != nil {
			t.Fatal(lang, err)
		}
		if !strings.HasPrefix(n.Face[0], r.Text.Unreviewed) || n.Written != lang {
			t.Errorf("%s: its face: %q", lang, n.Face)
		}
		for _, x := range n.Fields {
			if x.Value == "" || strings.ContainsAny(x.Value+x.Asks+n.Subject+n.Closing, "{}") {
				t.Errorf("%s, %s: %q", lang, x.ID, x.Value)
			}
		}
		if x := field(t, n, "nature").Value; !strings.Contains(x, "29") || !strings.Contains(x, "2026") || !strings.Contains(x, "Gucci") {
			t.Errorf("%s: %q", lang, x)
		}
		if x := field(t, n, "advice").Value; !strings.Contains(x, r.Text.AdvicePassword) {
			t.Errorf("%s: nothing about passwords, which were disclosed", lang)
		}
		if strings.Contains(fmt.Sprint(n.Fields), fmt.Sprint(records)) {
			t.Errorf("%s: a letter tells the number of people", lang)
		}
		r.Reviewer = "Giulia Rossi"
		if n, err = Draft(known(), r); err != nil || strings.Contains(strings.Join(n.Face, "\n"), r.Text.Unreviewed) {
			t.Errorf("%s: reviewed, and says not: %q", lang, n.Face)
		}
	}
	// In a language without a text nothing is drafted; a form is, and says that it is not translated.
	r := request(b, b.Form(FormCustomers))
	r.Language, r.Text = "tr", nil
	if _, err := Draft(known(), r); !errors.Is(err, ErrNoText) {
		t.Errorf("%v", err)
	}
	n, err := Draft(known(), request(b, b.Form("it-garante")))
	if err != nil || !strings.Contains(strings.Join(n.Face, "\n"), "NOT TRANSLATED: this draft is in en and is sent in it") {
		t.Errorf("%v %q", err, n.Face)
	}
}

// A text that would leave a hole, or that names somebody, is refused.
func TestTextsAreReadStrictly(t *testing.T) {
	file := load(t).Text("en").File()
	if _, err := ReadText(file); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2]string{
		"an unknown member":  {"greeting:", "greetings:"},
		"a lost brand":       {"subject: 'A breach of your personal data at {brand}'", "subject: 'A breach'"},
		"a strange hole":     {"closing: '{brand}'", "closing: '{brand} {customer}'"},
		"no words for one":   {"  phone: 'your telephone number'\n", ""},
		"eleven months":      {"January, ", ""},
		"no heading":         {"  advice: 'What you can do'\n", ""},
		"a strange language": {"language: en", "language: '12'"},
	} {
		changed := strings.Replace(file, c[0], c[1], 1)
		if changed == file {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := ReadText(changed); !errors.Is(err, ErrForms) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadText(file + strings.Repeat("#", maxText)); !errors.Is(err, ErrForms) {
		t.Errorf("a long one: %v", err)
	}
}

func TestLanguagesOfCountries(t *testing.T) {
	for place, want := range map[string]string{"IT": "it", "JP": "ja", "KR": "ko", "CN": "zh", "BR": "pt", "CH": "de fr it", "US-MA": "en", "CA-QC": "en fr", "EU": "", "??": "", "": ""} {
		if got := strings.Join(LanguagesOf(place), " "); got != want {
			t.Errorf("%q: %q, not %q", place, got, want)
		}
	}
}

// A later phase lists what changed since the version that was filed.
func TestPhasesListWhatChanged(t *testing.T) {
	b := load(t)
	first, err := Draft(known(), request(b, b.Form("eu-art33")))
	if err != nil {
		t.Fatal(err)
	}
	first.Number = 40
	c := known()
	c.Phase, c.Figures.Records = "follow-up", records+5
	r := request(b, b.Form("eu-art33"))
	r.Since, r.Words["consequences"] = first, "Deceptive mail."
	n, err := Draft(c, r)
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for _, x := range n.Changed {
		changed = append(changed, x.Field)
	}
	if got := strings.Join(changed, " "); got != "phase n_subjects n_records consequences" || n.Since != 40 {
		t.Errorf("%q since %d", got, n.Since)
	}
	if n.Digest == first.Digest || len(n.Digest) != 64 {
		t.Error("two versions have one digest")
	}
}

// Names and words in a print are escaped, whatever they hold.
func TestHostileNames(t *testing.T) {
	b := load(t)
	hostile := []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, "]]>&amp;<!--", "\x00\x01\x1b[2J", "{{.}}", `</text:p><text:p>`, "\u202egnirts", "'; DROP TABLE", strings.Repeat("W", 400)}
	for _, f := range b.Forms() {
		if f.Pick {
			continue
		}
		each := []string{strings.Join(hostile, " ")}
		if f.ID == FormCustomers || f.ID == FormPolice {
			each = hostile
		}
		for _, h := range each {
			c := known()
			c.Controller, c.By, c.Contact = h, h, h
			c.Measures[0].What = h
			r := request(b, f)
			r.Words[f.Fields[0].ID], r.Authors[f.Fields[0].ID] = h, h
			n, err := Draft(c, r)
			if err != nil {
				t.Fatal(f.ID, err)
			}
			p, err := Print(n, "html")
			if err != nil {
				t.Fatal(err)
			}
			doc, err := html.Parse(bytes.NewReader(p.Content))
			if err != nil {
				t.Fatal(err)
			}
			for x := range doc.Descendants() {
				if x.Type == html.ElementNode && (x.Data == "script" || x.Data == "img") {
					t.Errorf("%s: %q became an element", f.ID, h)
				}
				for _, a := range x.Attr {
					if strings.HasPrefix(a.Key, "on") {
						t.Errorf("%s: %q became a handler", f.ID, h)
					}
				}
			}
			p, err = Print(n, "odt")
			if err != nil {
				t.Fatal(err)
			}
			checkODT(t, p.Content)
		}
	}
	n, err := Draft(known(), request(b, b.Form("police")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Print(n, "exe"); !errors.Is(err, ErrPrint) {
		t.Errorf("%v", err)
	}
	if _, err := Print(n, "json"); err != nil {
		t.Error(err)
	}
}

// checkODT holds a file against what readers of the format look for.
func checkODT(t *testing.T, file []byte) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if z.File[0].Name != "mimetype" || z.File[0].Method != zip.Store || !bytes.Contains(file[:80], []byte("mimetype"+odtType)) {
		t.Error("the first part is not its type, as it is")
	}
	for _, f := range z.File[1:] {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(r)
		paragraphs := 0
		for {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			if s, ok := tok.(xml.StartElement); ok && s.Name.Local == "p" {
				paragraphs++
			}
		}
		r.Close()
		if f.Name == "content.xml" && paragraphs < 5 {
			t.Errorf("%d paragraphs", paragraphs)
		}
	}
}
