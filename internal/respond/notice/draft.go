package notice

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/respond/duties"
)

// Moment is a time that a fact states.
type Moment struct {
	When  time.Time
	Entry uint64
}

// Measure is something that the log shows was done.
type Measure struct {
	At   time.Time
	What string
	Ref  api.NoticeRef
}

// Sent is a notice that was filed.
type Sent struct {
	At         time.Time
	To         string
	Recipients []string
	Place      string
	Ref        api.NoticeRef
}

// Case is what drafts are made of: what is known of one controller's part of an incident.
// Nothing in it is of one customer.
type Case struct {
	Incident, Brand, Controller string
	Owner                       string // whose log has the facts
	Country                     string
	Contact                     string // the organisation's address
	By                          string // who drafts
	Phase                       string
	Now                         time.Time
	Source                      string            // alarm, report or hand
	Opened                      uint64            // the incident's first entry
	Facts                       map[string]Moment // the earliest of each name
	Figures                     *api.ScopeFigures
	Version                     *api.ScopeVersion
	Classes                     []string
	ClassRefs                   []api.NoticeRef
	Residents                   map[string]int
	ResidentRefs                []api.NoticeRef
	Answers                     map[string]string // yes, no or unknown
	AnswerRefs                  map[string]api.NoticeRef
	Measures                    []Measure
	Sent                        []Sent
	Evidence                    []api.EvidenceFile
	Letter                      *api.NoticeLine // the newest draft of a letter
	Duty                        *api.Duty
}

// computed is a value with its entries.
type computed struct {
	value string
	refs  []api.NoticeRef
	note  string
}

// source computes a value of a kind.
type source struct {
	of func(c *Case, t *Text) (computed, bool)
	// shows are the contents that a law can forbid and that the value shows.
	shows []string
}

func (c *Case) ref(entry uint64, what string) api.NoticeRef {
	return api.NoticeRef{Log: c.Owner, Entry: entry, What: what}
}

// scopeRefs are the entries of the scope's figures.
func (c *Case) scopeRefs() []api.NoticeRef {
	if c.Figures == nil {
		return nil
	}
	return []api.NoticeRef{
		{Log: c.Figures.Brand, Entry: c.Figures.Entry, What: "figures of the scope"},
		c.ref(c.Version.Entry, fmt.Sprintf("scope version %d", c.Version.Version)),
	}
}

func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04") + " UTC" }

// fact is the first of some facts that somebody stated.
func (c *Case) fact(names ...string) (computed, bool) {
	for i, n := range names {
		if m, ok := c.Facts[n]; ok {
			out := computed{value: clock(m.When), refs: []api.NoticeRef{c.ref(m.Entry, "fact "+n)}}
			if i > 0 {
				out.note = "nobody stated the fact " + names[0] + ": this is " + n
			}
			return out, true
		}
	}
	return computed{}, false
}

func (c *Case) residentsIn(place string) (int, bool) {
	if c.Residents == nil {
		return 0, false
	}
	n := 0
	for p, k := range c.Residents {
		if p == place || strings.HasPrefix(p, place+"-") || place == "*" || place == "EU" && !strings.HasPrefix(p, "US") && p == "EU" {
			n += k
		}
	}
	return n, true
}

// sources are what forms take values from.
var sources = map[string]source{
	"phase": {of: func(c *Case, _ *Text) (computed, bool) { return computed{value: c.Phase}, true }},
	"controller": {of: func(c *Case, _ *Text) (computed, bool) {
		out := computed{value: c.Controller}
		if c.Country != "" {
			out.value += ", " + c.Country
		} else {
			out.note = "the brand's settings name no country: cloakroom settings set --country"
		}
		return out, true
	}},
	"reporter": {of: func(c *Case, _ *Text) (computed, bool) {
		return computed{value: c.By + ", for " + c.Controller, note: "the person who drafted it"}, c.By != ""
	}},
	"contact": {of: func(c *Case, _ *Text) (computed, bool) {
		return computed{value: c.Contact, note: "from the brand's settings; name the person"}, c.Contact != ""
	}},
	"occurred": {of: func(c *Case, _ *Text) (computed, bool) { return c.occurred() }},
	"duration": {of: func(c *Case, _ *Text) (computed, bool) {
		from, ok := c.Facts["occurred-from"]
		to, both := c.Facts["occurred-to"]
		if !ok || !both || to.When.Before(from.When) {
			return computed{}, false
		}
		return computed{value: span(to.When.Sub(from.When)), refs: []api.NoticeRef{c.ref(from.Entry, "fact occurred-from"), c.ref(to.Entry, "fact occurred-to")}}, true
	}},
	"discovered": {of: func(c *Case, _ *Text) (computed, bool) { return c.fact("discovered", "detected", "aware") }},
	"aware":      {of: func(c *Case, _ *Text) (computed, bool) { return c.fact("aware", "discovered", "detected") }},
	"determined": {of: func(c *Case, _ *Text) (computed, bool) { return c.fact("determined") }},
	"found": {of: func(c *Case, _ *Text) (computed, bool) {
		words := map[string]string{"alarm": "By an alarm of the vault.", "report": "By a report of a person."}[c.Source]
		return computed{value: words, refs: []api.NoticeRef{c.ref(c.Opened, "the incident's first entry")}}, words != ""
	}},
	"groups": {of: func(*Case, *Text) (computed, bool) { return computed{value: "customers"}, true }},
	"persons": {shows: []string{"n_residents"}, of: func(c *Case, _ *Text) (computed, bool) {
		if c.Figures == nil {
			return computed{}, false
		}
		return computed{value: fmt.Sprint(c.Figures.Records), refs: c.scopeRefs(), note: "distinct customers"}, true
	}},
	"records": {shows: []string{"n_residents"}, of: func(c *Case, _ *Text) (computed, bool) {
		if c.Figures == nil {
			return computed{}, false
		}
		return computed{value: fmt.Sprint(c.Figures.Records), refs: c.scopeRefs(), note: fmt.Sprintf("records of customers; they were disclosed %d times", c.Figures.Disclosures)}, true
	}},
	"subjects": {shows: []string{"n_residents"}, of: func(c *Case, _ *Text) (computed, bool) {
		if c.Figures == nil {
			return computed{}, false
		}
		out := computed{value: fmt.Sprintf("Customers: %d.", c.Figures.Records), refs: c.scopeRefs()}
		if len(c.Residents) > 0 {
			var list []string
			for _, p := range slices.Sorted(maps.Keys(c.Residents)) {
				list = append(list, fmt.Sprintf("%s %d", p, c.Residents[p]))
			}
			out.value += " By place: " + strings.Join(list, ", ") + "."
			out.refs = append(out.refs, c.ResidentRefs...)
		} else {
			out.note = "nobody stated where they live"
		}
		return out, true
	}},
	"counts": {shows: []string{"n_residents"}, of: func(c *Case, _ *Text) (computed, bool) {
		if c.Figures == nil {
			return computed{}, false
		}
		return computed{value: fmt.Sprintf("%d customers, %d records", c.Figures.Records, c.Figures.Records), refs: c.scopeRefs()}, true
	}},
	"residents": {shows: []string{"n_residents"}, of: func(c *Case, _ *Text) (computed, bool) {
		if c.Duty == nil {
			return computed{}, false
		}
		n, ok := c.residentsIn(c.Duty.Jurisdiction)
		return computed{value: fmt.Sprint(n), refs: c.ResidentRefs, note: "in " + c.Duty.Jurisdiction}, ok
	}},
	"classes": {of: func(c *Case, _ *Text) (computed, bool) {
		return computed{value: inWords(c.Classes), refs: c.ClassRefs}, len(c.Classes) > 0
	}},
	"data": {shows: []string{"n_residents"}, of: func(c *Case, _ *Text) (computed, bool) {
		if c.Figures == nil || len(c.Classes) == 0 {
			return computed{}, false
		}
		return computed{value: fmt.Sprintf("%s, of %d records.", inWords(c.Classes), c.Figures.Records), refs: append(c.scopeRefs(), c.ClassRefs...)}, true
	}},
	"nature":   {shows: []string{"nature"}, of: func(c *Case, _ *Text) (computed, bool) { return c.nature() }},
	"incident": {shows: []string{"nature", "n_residents"}, of: func(c *Case, _ *Text) (computed, bool) { return c.incident() }},
	"cia": {shows: []string{"nature"}, of: func(c *Case, _ *Text) (computed, bool) {
		return computed{value: "confidentiality", refs: c.scopeRefs()}, c.Figures != nil
	}},
	"cyber":     {shows: []string{"nature"}, of: func(c *Case, _ *Text) (computed, bool) { return c.answer("cyber_attack") }},
	"malicious": {shows: []string{"nature"}, of: func(c *Case, _ *Text) (computed, bool) { return c.answer("malicious") }},
	"measures": {of: func(c *Case, _ *Text) (computed, bool) {
		var out computed
		var lines []string
		for _, m := range c.Measures {
			lines = append(lines, clock(m.At)+": "+m.What+".")
			out.refs = append(out.refs, m.Ref)
		}
		out.value = strings.Join(lines, "\n")
		return out, len(lines) > 0
	}},
	"communication": {of: func(c *Case, _ *Text) (computed, bool) {
		return c.sent("individuals", "The people concerned were notified")
	}},
	"filings": {of: func(c *Case, _ *Text) (computed, bool) { return c.sent("", "Notified") }},
	"notice_dates": {of: func(c *Case, _ *Text) (computed, bool) {
		var out computed
		var days []string
		for _, s := range c.Sent {
			if s.To == "individuals" && (c.Duty == nil || s.Place == c.Duty.Jurisdiction) {
				days = append(days, s.At.UTC().Format(time.DateOnly))
				out.refs = append(out.refs, s.Ref)
			}
		}
		out.value = strings.Join(days, ", ")
		return out, len(days) > 0
	}},
	"letter": {of: func(c *Case, _ *Text) (computed, bool) {
		if c.Letter == nil {
			return computed{}, false
		}
		return computed{value: fmt.Sprintf("Letter in %s, version %d, SHA-256 %s", c.Letter.Language, c.Letter.Version, c.Letter.Digest),
			refs: []api.NoticeRef{c.ref(c.Letter.Number, "the letter's draft")}, note: "attach it: cloakroom notice show"}, true
	}},
	"late": {of: func(c *Case, _ *Text) (computed, bool) {
		if c.Duty == nil || c.Duty.Due.IsZero() || c.Duty.Late || c.Now.After(c.Duty.Due) {
			return computed{}, false
		}
		return computed{value: "Not late: due by " + clock(c.Duty.Due) + ".", refs: []api.NoticeRef{c.ref(c.Duty.Clock.Entry, "the fact that began the clock")}, note: "as of " + clock(c.Now)}, true
	}},
	"evidence": {of: func(c *Case, _ *Text) (computed, bool) {
		var out computed
		var lines []string
		for i := range c.Evidence {
			for _, d := range c.Evidence[i].Digests {
				lines = append(lines, fmt.Sprintf("File of evidence %d, made %s, SHA-256 of its manifest %s.", c.Evidence[i].Number, clock(c.Evidence[i].At), d))
				out.refs = append(out.refs, c.ref(c.Evidence[i].Number, "the file's first entry"))
			}
		}
		out.value = strings.Join(lines, "\n")
		return out, len(lines) > 0
	}},

	"text-nature": {shows: []string{"nature"}, of: func(c *Case, t *Text) (computed, bool) {
		for _, name := range []string{"discovered", "detected", "aware"} {
			if m, ok := c.Facts[name]; ok {
				return computed{value: put(t.Nature, "brand", c.Controller, "day", t.day(m.When)), refs: []api.NoticeRef{c.ref(m.Entry, "fact "+name)}}, true
			}
		}
		return computed{value: put(t.NatureUndated, "brand", c.Controller)}, true
	}},
	"text-data": {of: func(c *Case, t *Text) (computed, bool) {
		list := t.list(c.Classes)
		return computed{value: put(t.Data, "data", list), refs: c.ClassRefs}, list != ""
	}},
	"text-consequences": {of: func(_ *Case, t *Text) (computed, bool) { return computed{value: t.Consequences}, true }},
	"text-measures": {of: func(c *Case, t *Text) (computed, bool) {
		if len(c.Measures) == 0 {
			return computed{}, false
		}
		last := c.Measures[len(c.Measures)-1]
		return computed{value: put(t.Measures, "day", t.day(last.At)), refs: []api.NoticeRef{last.Ref}}, true
	}},
	"text-advice": {of: func(c *Case, t *Text) (computed, bool) {
		out := computed{value: t.Advice, refs: nil}
		if slices.Contains(c.Classes, "password_login") {
			out.value += "\n" + t.AdvicePassword
			out.refs = c.ClassRefs
		}
		return out, true
	}},
	"text-contact": {of: func(c *Case, t *Text) (computed, bool) {
		return computed{value: put(t.Contact, "contact", c.Contact)}, c.Contact != ""
	}},
}

func (c *Case) answer(name string) (computed, bool) {
	a := c.Answers[name]
	if a == "" || a == "unknown" {
		return computed{}, false
	}
	return computed{value: a, refs: []api.NoticeRef{c.AnswerRefs[name]}}, true
}

func (c *Case) sent(to, words string) (computed, bool) {
	var out computed
	var lines []string
	for _, s := range c.Sent {
		if to == "" || s.To == to {
			lines = append(lines, fmt.Sprintf("%s on %s: %s.", words, s.At.UTC().Format(time.DateOnly), strings.Join(s.Recipients, ", ")))
			out.refs = append(out.refs, s.Ref)
		}
	}
	out.value = strings.Join(lines, "\n")
	return out, len(lines) > 0
}

// nature says what the log shows, and no more: data left through the vault.
func (c *Case) nature() (computed, bool) {
	if c.Figures == nil {
		return computed{}, false
	}
	out := computed{value: "Loss of confidentiality: data of customers was disclosed through the vault to somebody without a right to it.", refs: c.scopeRefs()}
	if a, ok := c.answer("malicious"); ok {
		out.value += map[string]string{"yes": " It was done with an unlawful purpose.", "no": " No unlawful purpose was found."}[a.value]
		out.refs = append(out.refs, a.refs...)
	}
	return out, true
}

// incident is the nature with its time and numbers.
func (c *Case) incident() (computed, bool) {
	out, ok := c.nature()
	if !ok {
		return out, false
	}
	out.value += fmt.Sprintf(" %d disclosures of %d records in %d log entries.", c.Figures.Disclosures, c.Figures.Records, c.Figures.Entries)
	if x, ok := c.occurred(); ok {
		out.value += " It happened: " + x.value + "."
		out.refs = append(out.refs, x.refs...)
	}
	if x, ok := c.fact("discovered", "detected", "aware"); ok {
		out.value += " It was found: " + x.value + "."
		out.refs = append(out.refs, x.refs...)
	}
	return out, true
}

func (c *Case) occurred() (computed, bool) {
	from, ok := c.fact("occurred-from")
	if to, both := c.fact("occurred-to"); ok && both {
		from.value += " to " + to.value
		from.refs = append(from.refs, to.refs...)
	}
	return from, ok
}

func span(d time.Duration) string {
	if d < 48*time.Hour {
		return fmt.Sprintf("%d hours", int(d.Round(time.Hour).Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// Request is what a draft is asked for.
type Request struct {
	Form     *Form
	Language string
	Text     *Text             // of the language; nil where there is none
	Source   string            // of the text: release or brand
	Reviewer string            // of the text
	Words    map[string]string // what persons wrote
	Authors  map[string]string // who
	Since    *api.Notice       // the version that this one is held against
}

// letter reports whether a form is a letter, which is made of a text.
func (f *Form) letter() bool { return f.To == "individuals" }

// Letter reports whether drafts of a form are letters to customers.
func (f *Form) Letter() bool { return f.letter() }

// Draft fills in a form.
func Draft(c *Case, r *Request) (*api.Notice, error) {
	f := r.Form
	n := &api.Notice{
		Incident: c.Incident, Brand: c.Brand, Controller: c.Controller, Form: f.ID, Title: f.Title, Authority: f.Authority, Citation: f.Citation, To: f.To,
		Language: r.Language, Written: "en", Phase: c.Phase, Advice: Advice, Complete: f.Complete, Seen: f.Seen,
		Recipients: []string{}, Face: []string{}, Fields: []api.NoticeField{}, Changed: []api.NoticeChange{}, Reviews: []api.NoticeReviewed{}, Filed: []api.DutyFiling{}, Blocks: []string{},
	}
	if f.ReadBy != "none" {
		n.FormReadBy = f.ReadBy
	}
	var forbidden []string
	if d := c.Duty; d != nil {
		n.Rule, n.Recipients, n.Demands, n.To, n.Deadline, n.Due = d.Rule, d.Recipients, d.Demands, d.To, d.Deadline, d.Due
		n.Citation = d.Law + ", " + d.Article
		forbidden = d.Forbidden
		if f.Pick {
			n.Title = "Notice for " + d.Rule
		}
	}
	if f.letter() {
		if r.Text == nil {
			return nil, ErrNoText
		}
		n.Written = r.Text.Language
		n.Subject, n.Greeting = put(r.Text.Subject, "brand", c.Controller), r.Text.Greeting
		n.Closing = put(r.Text.Closing, "brand", c.Controller)
		n.Text = &api.NoticeTextUsed{Language: r.Text.Language, Source: r.Source, Digest: r.Text.Digest(), Reviewer: r.Reviewer}
	}
	fields := f.fieldsFor(c.Duty)
	if len(fields) == 0 {
		return nil, fmt.Errorf("%w: this form takes its fields from a rule: name one", ErrForms)
	}
	for i := range fields {
		n.Fields = append(n.Fields, fill(c, r, &fields[i], forbidden))
	}
	for id := range r.Words {
		if !slices.ContainsFunc(fields, func(x Field) bool { return x.ID == id }) {
			return nil, fmt.Errorf("%w: a text is for no field of the form: `cloakroom notice forms %s` lists them", ErrForms, f.ID)
		}
	}
	for i := range n.Fields {
		n.Counts.Fields++
		x := &n.Fields[i]
		if x.Value != "" {
			n.Counts.Computed++
		}
		switch x.State {
		case api.NoticeConfirm:
			n.Counts.Confirm++
		case api.NoticeWritten:
			n.Counts.Written++
		case api.NoticeMissing:
			n.Counts.Missing++
		case api.NoticeLeftOut:
			n.Counts.LeftOut++
		}
	}
	n.Face = face(n, f, r, forbidden)
	if r.Since != nil {
		n.Since, n.Changed = r.Since.Number, changes(r.Since, n)
	}
	return n, digest(n)
}

// fill fills in a field.
func fill(c *Case, r *Request, x *Field, forbidden []string) api.NoticeField {
	out := api.NoticeField{ID: x.ID, Asks: x.Asks, Kind: x.Kind, Options: x.Options, State: api.NoticeMissing}
	if r.Form.letter() && r.Text != nil {
		if head := r.Text.Heads[strings.TrimPrefix(x.From, "text-")]; head != "" {
			out.Asks = head
		}
	}
	if code := forbids(x, forbidden); code != "" {
		out.State, out.Note = api.NoticeLeftOut, "the law forbids it in this notice: "+code
		return out
	}
	src := sources[x.From]
	if src.of != nil {
		if v, ok := src.of(c, r.Text); ok && v.value != "" {
			out.Value, out.From, out.Note, out.State = x.choose(v.value, c), v.refs, v.note, api.NoticeComputed
			if x.human() {
				out.State = api.NoticeConfirm
			}
		}
	}
	if w := r.Words[x.ID]; w != "" {
		out.Words, out.By, out.State = w, r.Authors[x.ID], api.NoticeWritten
	}
	return out
}

// choose puts a value into the choices of the form.
func (x *Field) choose(value string, c *Case) string {
	if len(x.Answers) == 0 {
		return value
	}
	if x.From == "classes" {
		var out []string
		for _, class := range c.Classes {
			a := x.Answers[class]
			if a == "" {
				a = x.Answers["*"]
			}
			if a != "" && !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
		return strings.Join(out, ", ")
	}
	return cmp.Or(x.Answers[value], x.Answers["*"], value)
}

// forbids names the content of a field that a law forbids; nothing where it forbids none.
func forbids(x *Field, forbidden []string) string {
	for _, code := range forbidden {
		if x.ID == code || slices.Contains(sources[x.From].shows, code) || slices.Contains(same[code], x.ID) {
			return code
		}
	}
	return ""
}

// same are fields that a person fills in and that say what a law forbids by another name.
var same = map[string][]string{
	"nature":      {"nature_plain", "circumstances", "when_how", "cause", "root_cause", "facts", "facts_cause", "overview", "synopsis", "details", "description", "summary", "incident", "type", "source"},
	"n_residents": {"residents_count", "n_subjects", "n_notified", "n_records", "n_total", "counts", "extent", "scope", "n_minors_elderly"},
}

// face is what stands on top of every print of a draft.
func face(n *api.Notice, f *Form, r *Request, forbidden []string) []string {
	out := []string{}
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if f.Status == "draft" {
		say("NOT IN USE: this form is a draft of the authorities.")
	}
	if f.letter() && r.Reviewer == "" {
		say("%s%s", r.Text.Unreviewed, unreadText)
	}
	if base(n.Written) != base(n.Language) {
		say("NOT TRANSLATED: this draft is in %s and is sent in %s. A named person who knows that language reviews what is sent.", n.Written, n.Language)
	} else if !f.letter() || r.Reviewer == "" {
		say(notReviewed+"%s: it cannot be marked as filed before a named person has reviewed this version.", n.Language)
	}
	if !f.Complete {
		say("NOT THE WHOLE FORM: the recipient's form has more fields than were seen. Fill in the rest on the form itself. Seen: %s", f.Seen)
	}
	if f.ReadBy == "none" && !f.letter() {
		say("No named person has held these fields against the form.")
	}
	for _, code := range forbidden {
		say("LEFT OUT: the law forbids this notice to say %q. What persons write into other fields must not say it either.", strings.ReplaceAll(code, "_", " "))
	}
	if n.Counts.Missing > 0 {
		say("%d of %d fields are still to be written by a person.", n.Counts.Missing, n.Counts.Fields)
	}
	return out
}

// notReviewed begins the line of a face that a review ends.
const notReviewed = "NOT REVIEWED in "

// unreadText ends the line that says so in the language of a letter's text.
const unreadText = " (NOT REVIEWED)"

// Reviewed takes from the face of a draft what is no longer so once a named person has read
// that version.
func Reviewed(n *api.Notice) {
	n.Face = slices.DeleteFunc(n.Face, func(line string) bool {
		return strings.HasPrefix(line, notReviewed) || strings.HasSuffix(line, unreadText)
	})
}

// changes lists what differs between two versions.
func changes(was, is *api.Notice) []api.NoticeChange {
	out := []api.NoticeChange{}
	shown := func(x *api.NoticeField) string {
		if x.State == api.NoticeLeftOut {
			return "left out"
		}
		return strings.TrimSpace(x.Value + "\n" + x.Words)
	}
	old := map[string]string{}
	for i := range was.Fields {
		old[was.Fields[i].ID] = shown(&was.Fields[i])
	}
	for i := range is.Fields {
		x := &is.Fields[i]
		if before, after := old[x.ID], shown(x); before != after {
			out = append(out, api.NoticeChange{Field: x.ID, Asks: x.Asks, Before: before, After: after})
		}
		delete(old, x.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(old)) {
		if old[id] != "" {
			out = append(out, api.NoticeChange{Field: id, Asks: id, Before: old[id]})
		}
	}
	return out
}

// digest names what a draft says, and refuses one that an entry could not hold.
func digest(n *api.Notice) error {
	text, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("writing a draft: %w", err)
	}
	if len(text) > maxDraft {
		return fmt.Errorf("%w: the draft has more than %d bytes: write less", ErrForms, maxDraft)
	}
	sum := sha256.Sum256(text)
	n.Digest = hex.EncodeToString(sum[:])
	return nil
}

// inWords names classes of fields.
func inWords(classes []string) string {
	var out []string
	for _, c := range classes {
		out = append(out, duties.Words(c))
	}
	return strings.Join(out, ", ")
}
