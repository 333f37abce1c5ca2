package incident

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/respond/notice"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

var (
	// ErrNoNotice is returned for a number that no draft of the incident has.
	ErrNoNotice = fault.New(fault.NotFound, "no such notice: `cloakroom notice list` shows the drafts of an incident")
	// ErrUnreviewed is returned for a filed mark on a version that no named person has
	// reviewed in its language.
	ErrUnreviewed = fault.New(fault.Conflict, "no named person has reviewed this version in its language: `cloakroom notice review` records who has")
	// ErrOtherVersion is returned for a review of something else than what is there.
	ErrOtherVersion = fault.New(fault.Conflict, "the digest is of another version: read the newest one, and review that")
)

// Phases of a notice.
const (
	phaseInitial  = "initial"
	phaseFollowUp = "follow-up"
)

// person refuses a caller who is no person.
func (d *Desk) person(ctx context.Context, c identity.Caller) (string, error) {
	p, err := d.Door.Identity.Get(ctx, c.Principal)
	if err != nil {
		return "", err
	}
	if p.Kind != identity.Person {
		return "", ErrPerson
	}
	return p.Name, nil
}

// reviewer is the name under which a review is recorded: the one that is given, or the
// caller's, who is a person.
func (d *Desk) reviewer(ctx context.Context, c identity.Caller, ticket, named string) (string, error) {
	if err := errors.Join(door.Ticket(ticket), ledger.CheckText("reviewer", named)); err != nil {
		return "", err
	}
	name, err := d.person(ctx, c)
	return cmp.Or(strings.TrimSpace(named), name), err
}

// drafts returns the drafts of an incident that the caller may see, the oldest first.
func (d *Desk) drafts(ctx context.Context, f *found) ([]*api.Notice, error) {
	facts, err := d.facts(ctx, f)
	if err != nil {
		return nil, err
	}
	var out []*api.Notice
	versions := map[string]int{}
	for i := range f.told {
		e := &f.told[i]
		switch x := e.Detail.(type) {
		case entry.IncidentNotice:
			key := strings.Join([]string{x.Brand, x.Form, x.Rule, x.Language}, "\x00")
			versions[key]++
			if f.part != "" && x.Brand != f.part {
				continue
			}
			n := &api.Notice{}
			if err := json.Unmarshal([]byte(x.Values), n); err != nil {
				return nil, fmt.Errorf("reading entry %d: %w", e.at, err)
			}
			n.Number, n.Version, n.At, n.By, n.Digest = e.at, versions[key], e.At, d.name(ctx, e.Principal), x.Digest
			out = append(out, n)
		case entry.IncidentNoticeReviewed:
			for _, n := range out {
				if n.Number == x.Notice && n.Digest == x.Digest {
					n.Reviews = append(n.Reviews, api.NoticeReviewed{Entry: e.at, At: e.At, By: d.name(ctx, e.Principal), Reviewer: x.Reviewer, Language: x.Language})
				}
			}
		}
	}
	for _, n := range out {
		for i := range facts {
			if x := &facts[i]; x.Name == factFiled && x.Notice == n.Number && !x.Replaced {
				n.Filed = append(n.Filed, api.DutyFiling{At: x.When, Said: x.Said, Reference: x.Reference, Receipt: x.Receipt, Notice: x.Notice, Digest: x.Digest, Entry: x.Entry})
			}
		}
		if reviewed(n) {
			notice.Reviewed(n)
		} else {
			n.Blocks = append(n.Blocks, fmt.Sprintf("no named person has reviewed this version in %s: cloakroom notice review", n.Language))
		}
	}
	return out, nil
}

// reviewed reports whether a named person has read a version in its language: the version
// itself, or beforehand the text that it is made of and to which nobody added words.
func reviewed(n *api.Notice) bool {
	if slices.ContainsFunc(n.Reviews, func(r api.NoticeReviewed) bool { return r.Language == n.Language && r.Reviewer != "" }) {
		return true
	}
	return n.Text != nil && n.Text.Reviewer != "" && n.Text.Language == n.Language && n.Counts.Written == 0
}

func lineOf(n *api.Notice) api.NoticeLine {
	return api.NoticeLine{Number: n.Number, Brand: n.Brand, Form: n.Form, Rule: n.Rule, Language: n.Language, Phase: n.Phase, Version: n.Version,
		At: n.At, By: n.By, Digest: n.Digest, Counts: n.Counts, Reviewed: reviewed(n), Filed: len(n.Filed) > 0}
}

// Notices lists an incident's drafts, and the duties that are due and not filed.
func (d *Desk) Notices(ctx context.Context, c identity.Caller, brand, id string) (*api.Notices, error) {
	f, err := d.find(ctx, c, brand, id, access.ActAudit)
	if err != nil {
		return nil, err
	}
	list, err := d.drafts(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &api.Notices{Incident: f.id(), Advice: notice.Advice, Drafts: []api.NoticeLine{}, Wanted: []api.NoticeWanted{}}
	for _, n := range list {
		out.Drafts = append(out.Drafts, lineOf(n))
	}
	b, _, err := d.bookOf(ctx, f, "")
	if err != nil {
		return nil, err
	}
	forms, err := d.Forms()
	if err != nil {
		return nil, err
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range f.controllers() {
		k, err := d.situation(ctx, f, name, now)
		if err != nil {
			return nil, err
		}
		all := b.Decide(k.Situation)
		for i := range all {
			x := &all[i]
			if x.Verdict != api.DutyDue || x.Filed != nil || x.To == "register" {
				continue
			}
			w := api.NoticeWanted{Brand: name, Rule: x.Rule, Form: forms.FormOf(x).ID, To: x.To, Recipients: x.Recipients, Due: x.Due, State: x.State, Forbidden: x.Forbidden}
			for _, n := range list {
				if n.Brand == name && n.Rule == x.Rule {
					w.Newest = n.Number
				}
			}
			out.Wanted = append(out.Wanted, w)
		}
	}
	slices.SortStableFunc(out.Wanted, func(a, b api.NoticeWanted) int {
		if a.Due.IsZero() != b.Due.IsZero() {
			if a.Due.IsZero() {
				return 1
			}
			return -1
		}
		return a.Due.Compare(b.Due)
	})
	return out, nil
}

// Notice returns one draft.
func (d *Desk) Notice(ctx context.Context, c identity.Caller, brand, id string, number uint64) (*api.Notice, error) {
	f, err := d.find(ctx, c, brand, id, access.ActAudit)
	if err != nil {
		return nil, err
	}
	return d.draft(ctx, f, number)
}

func (d *Desk) draft(ctx context.Context, f *found, number uint64) (*api.Notice, error) {
	list, err := d.drafts(ctx, f)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(list, func(n *api.Notice) bool { return n.Number == number }); i >= 0 {
		return list[i], nil
	}
	return nil, ErrNoNotice
}

// PrintNotice returns one draft as a file.
func (d *Desk) PrintNotice(ctx context.Context, c identity.Caller, brand, id string, number uint64, as string) (*api.NoticePrint, error) {
	n, err := d.Notice(ctx, c, brand, id, number)
	if err != nil {
		return nil, err
	}
	return notice.Print(n, as)
}

// DraftNotice drafts the next version of a notice.
func (d *Desk) DraftNotice(ctx context.Context, c identity.Caller, brand, id string, req api.NoticeRequest) (*api.Notice, error) {
	f, err := d.changeable(ctx, c, brand, id, access.ActAudit)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	for name, words := range req.Texts {
		if err := errors.Join(ledger.CheckText("texts", name), ledger.CheckText("texts", words)); err != nil {
			return nil, err
		}
	}
	if req.Brand, err = f.controller(req.Brand); err != nil {
		return nil, err
	}
	forms, err := d.Forms()
	if err != nil {
		return nil, err
	}
	cs, form, err := d.noticeCase(ctx, f, forms, &req)
	if err != nil {
		return nil, err
	}
	cs.By = d.name(ctx, c.Principal)
	r := &notice.Request{Form: form, Language: form.Language, Words: map[string]string{}, Authors: map[string]string{}}
	if req.Language != "" {
		if r.Language, err = notice.Tag(req.Language); err != nil {
			return nil, err
		}
	}
	if form.Letter() {
		if r.Text, r.Source, r.Reviewer, err = d.textOf(ctx, req.Brand, r.Language); err != nil {
			return nil, err
		}
	}
	list, err := d.drafts(ctx, f)
	if err != nil {
		return nil, err
	}
	d.follow(list, cs, r, req.Phase)
	if err := words(form, r, req.Texts, cs.By); err != nil {
		return nil, err
	}
	n, err := notice.Draft(cs, r)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("writing a draft: %w", err)
	}
	detail := entry.IncidentNotice{Incident: f.n, Brand: n.Brand, Form: n.Form, Rule: n.Rule, Language: n.Language, Phase: n.Phase, Digest: n.Digest, Values: string(text)}
	receipt, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: f.visit.Who, Ticket: req.Ticket, Detail: detail})
	if err != nil {
		return nil, err
	}
	return d.Notice(ctx, c, brand, id, receipt.Entry())
}

// controller chooses one of the brands of an incident.
func (f *found) controller(brand string) (string, error) {
	names := f.controllers()
	switch {
	case brand == "" && len(names) == 1:
		return names[0], nil
	case brand == "":
		return "", fmt.Errorf("%w: say for which brand: each is a controller of its own", ErrRequest)
	case !slices.Contains(names, brand):
		return "", fmt.Errorf("%w: the brand is one of the incident's", ErrRequest)
	}
	return brand, nil
}

// follow holds a draft against the versions before it. Words that persons wrote into the
// newest stay.
func (d *Desk) follow(list []*api.Notice, cs *notice.Case, r *notice.Request, phase string) {
	rule := ""
	if cs.Duty != nil {
		rule = cs.Duty.Rule
	}
	var last, sent *api.Notice
	for _, n := range list {
		if n.Brand == cs.Brand && n.Form == r.Form.ID && n.Rule == rule && n.Language == r.Language {
			last = n
			if len(n.Filed) > 0 {
				sent = n
			}
		}
		if n.Brand == cs.Brand && notice.IsLetter(n) && !r.Form.Letter() {
			l := lineOf(n)
			cs.Letter = &l
		}
	}
	cs.Phase = cmp.Or(phase, phaseInitial)
	if last == nil {
		return
	}
	for i := range last.Fields {
		if x := &last.Fields[i]; x.Words != "" {
			r.Words[x.ID], r.Authors[x.ID] = x.Words, x.By
		}
	}
	r.Since = last
	if sent != nil {
		r.Since = sent
	}
	switch {
	case phase != "":
	case len(last.Filed) > 0 && last.Phase == phaseInitial:
		cs.Phase = phaseFollowUp
	default:
		cs.Phase = last.Phase
	}
}

// words takes what a person wrote, and refuses what looks like data of a customer.
func words(form *notice.Form, r *notice.Request, texts map[string]string, by string) error {
	for name, text := range texts {
		contact := slices.ContainsFunc(form.Fields, func(x notice.Field) bool { return x.ID == name && x.Contact })
		if text = strings.TrimSpace(text); text == "" {
			delete(r.Words, name)
			continue
		}
		if err := notice.CheckWords("texts", text, contact); err != nil {
			return err
		}
		if r.Words[name] != text {
			r.Words[name], r.Authors[name] = text, by
		}
	}
	return nil
}

// noticeCase gathers what a draft is made of, and chooses its form.
func (d *Desk) noticeCase(ctx context.Context, f *found, forms *notice.Book, req *api.NoticeRequest) (*notice.Case, *notice.Form, error) {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, nil, err
	}
	k, err := d.situation(ctx, f, req.Brand, now)
	if err != nil {
		return nil, nil, err
	}
	b, _, err := d.bookOf(ctx, f, "")
	if err != nil {
		return nil, nil, err
	}
	all := b.Decide(k.Situation)
	form := forms.Form(req.Form)
	if form == nil && req.Form != "" {
		return nil, nil, notice.ErrNoForm
	}
	if form != nil && req.Rule == "" && len(form.Rules) > 0 {
		req.Rule = form.Rules[0]
	}
	br, err := d.Door.Brands.ByName(ctx, req.Brand)
	if err != nil {
		return nil, nil, err
	}
	cs := &notice.Case{
		Incident: f.id(), Brand: req.Brand, Owner: f.owner.Name, Controller: cmp.Or(br.Title, br.Name), Country: br.Settings.Country,
		Contact: cmp.Or(br.Settings.MailReplyTo, br.Settings.MailFrom), Now: now, Source: f.opened.Source, Opened: f.pages.entries[0],
		Facts: map[string]notice.Moment{}, Figures: k.figures, Version: k.version, Residents: k.Residents,
		Answers: map[string]string{}, AnswerRefs: map[string]api.NoticeRef{},
	}
	for i := range all {
		if all[i].Rule == req.Rule && req.Rule != "" {
			cs.Duty = &all[i]
		}
	}
	switch {
	case req.Rule != "" && cs.Duty == nil:
		return nil, nil, fmt.Errorf("%w: the incident's rules have no rule of this id: `cloakroom duties list` shows them", ErrRequest)
	case form == nil && cs.Duty == nil:
		return nil, nil, fmt.Errorf("%w: a notice has a form or a rule: `cloakroom notice list` shows the duties that are due", ErrRequest)
	case form == nil:
		form = forms.FormOf(cs.Duty)
	}
	d.statedIn(cs, f, k)
	for i := range all {
		x := &all[i]
		if x.Filed != nil {
			cs.Sent = append(cs.Sent, notice.Sent{At: x.Filed.At, To: x.To, Recipients: x.Recipients, Place: x.Jurisdiction, Ref: api.NoticeRef{Log: f.owner.Name, Entry: x.Filed.Entry, What: "filed " + x.Rule}})
		}
	}
	slices.SortStableFunc(cs.Sent, func(a, b notice.Sent) int { return a.At.Compare(b.At) })
	if cs.Measures, err = d.measures(ctx, f, k); err != nil {
		return nil, nil, err
	}
	if cs.Evidence, err = d.files(ctx, f); err != nil {
		return nil, nil, err
	}
	return cs, form, nil
}

// statedIn adds times, classes, residents and answers with their entries.
func (d *Desk) statedIn(cs *notice.Case, f *found, k *known) {
	for name, list := range k.Clocks {
		for _, m := range list {
			if old, ok := cs.Facts[name]; !ok || m.When.Before(old.When) {
				cs.Facts[name] = notice.Moment{When: m.When, Entry: m.Entry}
			}
		}
	}
	for class := range k.Classes {
		cs.Classes = append(cs.Classes, class)
	}
	slices.Sort(cs.Classes)
	add := func(list []api.NoticeRef, r api.NoticeRef) []api.NoticeRef {
		if slices.Contains(list, r) {
			return list
		}
		return append(list, r)
	}
	for i := range k.given {
		g := &k.given[i]
		ref := api.NoticeRef{Log: f.owner.Name, Entry: g.Entry, What: g.From}
		name, _, answer := strings.Cut(g.Statement, "=")
		switch {
		case g.Entry == 0 || name == "total":
		case g.From == "fact "+factResidents:
			cs.ResidentRefs = add(cs.ResidentRefs, ref)
		case answer:
			cs.Answers[name], cs.AnswerRefs[name] = k.Answer(name), ref
		case k.Classes[name]:
			cs.ClassRefs = add(cs.ClassRefs, ref)
		}
	}
}

// measures are what the log shows was done: containments for the incident's alarm, and
// the times at which somebody stated that it was contained or handled.
func (d *Desk) measures(ctx context.Context, f *found, k *known) ([]notice.Measure, error) {
	var out []notice.Measure
	if f.part == "" {
		for _, at := range f.marks {
			e, _, err := d.Ledger.Entry(ctx, f.owner.ID, at)
			if err != nil {
				return nil, err
			}
			if x, ok := e.Detail.(entry.ContainmentBegun); ok {
				out = append(out, notice.Measure{At: e.At, What: "a " + x.Kind + " was contained: the vault releases nothing to it", Ref: api.NoticeRef{Log: f.owner.Name, Entry: at, What: "containment"}})
			}
		}
	}
	for _, name := range []string{"contained", "handled"} {
		for _, m := range k.Clocks[name] {
			what := map[string]string{"contained": "the access was stopped", "handled": "the handling of the incident ended"}[name]
			out = append(out, notice.Measure{At: m.When, What: what, Ref: api.NoticeRef{Log: f.owner.Name, Entry: m.Entry, What: "fact " + name}})
		}
	}
	slices.SortStableFunc(out, func(a, b notice.Measure) int { return a.At.Compare(b.At) })
	return out, nil
}

// ReviewNotice records that a named person has read a version in its language.
func (d *Desk) ReviewNotice(ctx context.Context, c identity.Caller, brand, id string, number uint64, req api.NoticeReview) (*api.Notice, error) {
	f, err := d.changeable(ctx, c, brand, id, access.ActAudit)
	if err != nil {
		return nil, err
	}
	reviewer, err := d.reviewer(ctx, c, req.Ticket, req.Reviewer)
	if err != nil {
		return nil, err
	}
	n, err := d.draft(ctx, f, number)
	if err != nil {
		return nil, err
	}
	if n.Digest != req.Digest {
		return nil, ErrOtherVersion
	}
	detail := entry.IncidentNoticeReviewed{Incident: f.n, Notice: n.Number, Digest: n.Digest, Language: n.Language, Reviewer: reviewer}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: f.visit.Who, Ticket: req.Ticket, Detail: detail}); err != nil {
		return nil, err
	}
	return d.Notice(ctx, c, brand, id, number)
}

// FileNotice marks a version as sent. It is refused while no named person has reviewed that
// version in its language.
func (d *Desk) FileNotice(ctx context.Context, c identity.Caller, brand, id string, number uint64, req api.NoticeFiled) (*api.Notice, error) {
	f, err := d.changeable(ctx, c, brand, id, access.ActAudit)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(door.Ticket(req.Ticket), ledger.CheckText("reference", req.Reference), ledger.CheckText("said", req.Said)); err != nil {
		return nil, err
	}
	if _, err := d.person(ctx, c); err != nil {
		return nil, err
	}
	if raw, err := hex.DecodeString(req.Receipt); req.Receipt != "" && (err != nil || len(raw) != 32) {
		return nil, fmt.Errorf("%w: a receipt is a SHA-256 in hexadecimal", ErrRequest)
	}
	if req.When.IsZero() {
		return nil, fmt.Errorf("%w: say when the notice was filed", ErrRequest)
	}
	n, err := d.draft(ctx, f, number)
	if err != nil {
		return nil, err
	}
	if !reviewed(n) {
		return nil, ErrUnreviewed
	}
	detail := entry.IncidentFact{Incident: f.n, Name: factFiled, When: req.When.UTC().Format(time.RFC3339), Said: req.Said, Rule: n.Rule, Reference: req.Reference, Receipt: req.Receipt, Notice: n.Number, Digest: n.Digest}
	if f.owner.ID == record.Group {
		detail.Brand = n.Brand
	}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: f.visit.Who, Ticket: req.Ticket, Detail: detail}); err != nil {
		return nil, err
	}
	return d.Notice(ctx, c, brand, id, number)
}

// loaded is a text of a brand with its review.
type loaded struct {
	api.NoticeText
	*notice.Text
}

// texts returns the texts of a brand by language: its own, and those of this release in
// languages of which it has none.
func (d *Desk) texts(ctx context.Context, brand string) (map[string]*loaded, error) {
	forms, err := d.Forms()
	if err != nil {
		return nil, err
	}
	br, err := d.Door.Brands.ByName(ctx, brand)
	if err != nil {
		return nil, err
	}
	b, err := d.read(ctx, br.ID)
	if err != nil {
		return nil, err
	}
	entries := slices.Clone(b.texts)
	b.mu.Unlock()
	out := map[string]*loaded{}
	for _, lang := range forms.Languages() {
		t := forms.Text(lang)
		out[lang] = &loaded{api.NoticeText{Language: lang, Name: t.Name, Source: "release", Digest: t.Digest()}, t}
	}
	var reviews []told
	for _, at := range entries {
		e, _, err := d.Ledger.Entry(ctx, br.ID, at)
		if err != nil {
			return nil, err
		}
		switch x := e.Detail.(type) {
		case entry.NoticeText:
			t, err := notice.ReadText(x.Text)
			if err != nil {
				return nil, fmt.Errorf("reading entry %d: %w", at, err)
			}
			out[x.Language] = &loaded{api.NoticeText{Language: x.Language, Name: t.Name, Source: "brand", Digest: t.Digest(), Loaded: at}, t}
		case entry.NoticeTextReviewed:
			reviews = append(reviews, told{at: at, Entry: e})
		}
	}
	for i := range reviews {
		x, _ := reviews[i].Detail.(entry.NoticeTextReviewed)
		if t := out[x.Language]; t != nil && t.NoticeText.Digest == x.Digest {
			t.Reviewer, t.ReviewedAt, t.Entry = x.Reviewer, reviews[i].At, reviews[i].at
		}
	}
	return out, nil
}

// textOf returns the text for a language: that of its region, or of the language.
func (d *Desk) textOf(ctx context.Context, brand, lang string) (*notice.Text, string, string, error) {
	all, err := d.texts(ctx, brand)
	if err != nil {
		return nil, "", "", err
	}
	short, _, _ := strings.Cut(lang, "-")
	for _, name := range []string{lang, short} {
		if t := all[name]; t != nil {
			return t.Text, t.Source, t.Reviewer, nil
		}
	}
	return nil, "", "", notice.ErrNoText
}

// NoticeTexts lists a brand's texts, and the languages that its customers need.
func (d *Desk) NoticeTexts(ctx context.Context, c identity.Caller, brand string) (*api.NoticeTexts, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAudit)
	if err != nil {
		return nil, err
	}
	if v.Brand.ID == record.Group {
		return nil, fmt.Errorf("%w: the group has no customers: name a brand", ErrRequest)
	}
	all, err := d.texts(ctx, brand)
	if err != nil {
		return nil, err
	}
	out := &api.NoticeTexts{Texts: []api.NoticeText{}, Wanted: []api.NoticeLanguage{}}
	for _, t := range all {
		out.Texts = append(out.Texts, t.NoticeText)
	}
	slices.SortFunc(out.Texts, func(a, b api.NoticeText) int { return cmp.Compare(a.Language, b.Language) })
	want := func(lang, why string) {
		i := slices.IndexFunc(out.Wanted, func(w api.NoticeLanguage) bool { return w.Language == lang })
		if i < 0 {
			t := all[lang]
			if short, _, _ := strings.Cut(lang, "-"); t == nil {
				t = all[short]
			}
			out.Wanted = append(out.Wanted, api.NoticeLanguage{Language: lang, Why: []string{}, Reviewed: t != nil && t.Reviewer != ""})
			i = len(out.Wanted) - 1
		}
		if w := &out.Wanted[i]; !slices.Contains(w.Why, why) {
			w.Why = append(w.Why, why)
		}
	}
	for _, lang := range v.Brand.Settings.Languages {
		want(lang, "the brand's settings")
	}
	for _, lang := range notice.LanguagesOf(v.Brand.Settings.Country) {
		want(lang, "the brand's country")
	}
	incidents, err := d.List(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	for i := range incidents {
		for k := range incidents[i].Facts {
			x := &incidents[i].Facts[k]
			if x.Name != factResidents || x.Replaced || x.Brand != "" && x.Brand != brand {
				continue
			}
			for _, s := range split(x.Text) {
				place, n, ok := strings.Cut(s, "=")
				if people, err := strconv.ParseInt(n, 10, 64); !ok || err != nil || people == 0 {
					continue
				}
				for _, lang := range notice.LanguagesOf(place) {
					want(lang, "incident "+incidents[i].ID+": people in "+place)
				}
			}
		}
	}
	return out, nil
}

// NoticeText returns a brand's text of a language, with its file.
func (d *Desk) NoticeText(ctx context.Context, c identity.Caller, brand, lang string) (*api.NoticeText, error) {
	if _, err := d.Door.Admit(ctx, c, brand, access.ActAudit); err != nil {
		return nil, err
	}
	return d.text(ctx, brand, lang)
}

func (d *Desk) text(ctx context.Context, brand, lang string) (*api.NoticeText, error) {
	lang, err := notice.Tag(lang)
	if err != nil {
		return nil, err
	}
	all, err := d.texts(ctx, brand)
	if err != nil {
		return nil, err
	}
	t := all[lang]
	if t == nil {
		return nil, notice.ErrNoText
	}
	out := t.NoticeText
	out.Text = t.File()
	return &out, nil
}

// LoadNoticeText takes a brand's own text of a language in place of the one before. It has
// to be reviewed again.
func (d *Desk) LoadNoticeText(ctx context.Context, c identity.Caller, brand string, req api.NoticeTextRequest) (*api.NoticeText, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActRespond)
	if err != nil {
		return nil, err
	}
	if v.Brand.ID == record.Group {
		return nil, fmt.Errorf("%w: the group has no customers: name a brand", ErrRequest)
	}
	if err := errors.Join(door.Ticket(req.Ticket), ledger.CheckText("text", req.Text)); err != nil {
		return nil, err
	}
	t, err := notice.ReadText(req.Text)
	if err != nil {
		return nil, err
	}
	detail := entry.NoticeText{Language: t.Language, Digest: t.Digest(), Text: req.Text}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: v.Who, Ticket: req.Ticket, Detail: detail}); err != nil {
		return nil, err
	}
	return d.text(ctx, brand, t.Language)
}

// ReviewNoticeText records that a named person has read the text of a language.
func (d *Desk) ReviewNoticeText(ctx context.Context, c identity.Caller, brand, lang string, req api.NoticeTextReview) (*api.NoticeText, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActRespond)
	if err != nil {
		return nil, err
	}
	reviewer, err := d.reviewer(ctx, c, req.Ticket, req.Reviewer)
	if err != nil {
		return nil, err
	}
	t, err := d.text(ctx, brand, lang)
	if err != nil {
		return nil, err
	}
	if t.Digest != req.Digest {
		return nil, ErrOtherVersion
	}
	detail := entry.NoticeTextReviewed{Language: t.Language, Digest: t.Digest, Reviewer: reviewer}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: v.Who, Ticket: req.Ticket, Detail: detail}); err != nil {
		return nil, err
	}
	return d.text(ctx, brand, t.Language)
}
