package incident

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/respond/duties"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// ErrPerson is returned to a service that would sign what a person has to.
var ErrPerson = fault.New(fault.Denied, "a judgement, and that a notice was filed, are stated by a person, not by a service")

// Facts whose text is read as statements about the case.
const (
	factDisclosed = "disclosed" // classes of fields
	factResidents = "residents" // persons by jurisdiction
	factJudged    = "judged"    // answers to questions
	factFiled     = "filed"     // a notice was sent
)

// keep returns the rules that an incident keeps from its first day.
func (d *Desk) keep() (version, book string, err error) {
	b, err := d.Rules()
	if err != nil {
		return "", "", err
	}
	if book, err = b.Keep(); err != nil {
		return "", "", err
	}
	return b.Version, book, nil
}

// split takes a list of statements apart.
func split(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}

// stated refuses a fact that deadlines would hang on and that cannot be read.
func (d *Desk) stated(ctx context.Context, c identity.Caller, f *found, req *api.FactRequest) error {
	if req.Name != factFiled && req.Rule+req.Reference+req.Receipt != "" {
		return fmt.Errorf("%w: a rule, a reference and a receipt are those of the fact %s", ErrRequest, factFiled)
	}
	switch req.Name {
	case factDisclosed, factResidents, factJudged:
		if req.Text == "" {
			return fmt.Errorf("%w: the fact %s has a text of statements, such as name,email or IT=1200,FR=300", ErrRequest, req.Name)
		}
		s := duties.NewSituation(time.Time{})
		if err := s.State(split(req.Text)...); err != nil {
			return err
		}
		if req.Name != s.Kind() {
			return fmt.Errorf("%w: the fact %s has statements of another kind: disclosed names classes of fields, residents persons by jurisdiction, judged answers", ErrRequest, req.Name)
		}
	case factFiled:
		if req.Rule == "" {
			return nil // in words, without a clock
		}
		if req.When.IsZero() {
			return fmt.Errorf("%w: say when the notice was filed", ErrRequest)
		}
		if raw, err := hex.DecodeString(req.Receipt); req.Receipt != "" && (err != nil || len(raw) != 32) {
			return fmt.Errorf("%w: a receipt is a SHA-256 in hexadecimal", ErrRequest)
		}
		b, _, err := d.bookOf(ctx, f, "")
		if err != nil {
			return err
		}
		if !b.Has(req.Rule) {
			return fmt.Errorf("%w: the incident's rules have no rule of this id: `cloakroom duties list` shows them", ErrRequest)
		}
	default:
		return nil
	}
	if req.Name == factJudged || req.Name == factFiled {
		p, err := d.Door.Identity.Get(ctx, c.Principal)
		if err != nil {
			return err
		}
		if p.Kind != identity.Person {
			return ErrPerson
		}
	}
	return nil
}

// bookOf returns the rules that an incident keeps, those of this release, or an earlier
// version that it kept; and whether the incident keeps them now.
func (d *Desk) bookOf(ctx context.Context, f *found, which string) (*duties.Book, bool, error) {
	if err := d.tell(ctx, f); err != nil {
		return nil, false, err
	}
	type kept struct{ version, book string }
	var all []kept
	for i := range f.told {
		switch x := f.told[i].Detail.(type) {
		case entry.IncidentOpened:
			all = append(all, kept{x.Rules, x.Book})
		case entry.IncidentRules:
			all = append(all, kept{x.Rules, x.Book})
		}
	}
	all = slices.DeleteFunc(all, func(k kept) bool { return k.book == "" })
	last := ""
	if len(all) > 0 {
		last = all[len(all)-1].version
	}
	if which == "" {
		which = "pinned"
	}
	if which == "pinned" && last != "" {
		which = last
	}
	now, err := d.Rules()
	if err != nil {
		return nil, false, err
	}
	if which == "current" || which == "pinned" || strings.HasPrefix(now.Version, which) && len(which) >= 4 {
		return now, now.Version == last, nil
	}
	for i := len(all) - 1; i >= 0; i-- {
		if len(which) >= 4 && strings.HasPrefix(all[i].version, which) {
			b, err := duties.Kept(all[i].book)
			return b, all[i].version == last, err
		}
	}
	return nil, false, fmt.Errorf("%w: a version of the rules is pinned, current, or one that the incident kept", ErrRequest)
}

func (d *Desk) about(b *duties.Book, pinned bool) (api.DutyBook, error) {
	out := api.DutyBook{Version: b.Version, Pinned: pinned, Overlay: b.Overlay}
	out.Rules, out.Unread, out.Jurisdictions = b.Counts()
	now, err := d.Rules()
	if err == nil && now.Version != b.Version {
		out.Newer = now.Version
	}
	return out, err
}

// Duties says which duties an incident brings each of its controllers.
func (d *Desk) Duties(ctx context.Context, c identity.Caller, brand, id string, req api.DutiesRequest) (*api.Duties, error) {
	f, err := d.find(ctx, c, brand, id, access.ActAudit)
	if err != nil {
		return nil, err
	}
	b, pinned, err := d.bookOf(ctx, f, req.Book)
	if err != nil {
		return nil, err
	}
	out := &api.Duties{Incident: f.id(), Advice: duties.Advice, WhatIf: req.WhatIf}
	if out.Book, err = d.about(b, pinned); err != nil {
		return nil, err
	}
	if out.At, err = d.DB.Now(ctx); err != nil {
		return nil, err
	}
	for _, name := range f.controllers() {
		k, err := d.situation(ctx, f, name, out.At)
		if err != nil {
			return nil, err
		}
		s := k.Situation
		x := api.ControllerDuties{Brand: name, Given: k.given}
		if len(req.WhatIf) > 0 {
			asked, err := s.WhatIf(req.WhatIf...)
			if err != nil {
				return nil, err
			}
			x.Changed = b.WhatChanges(s, asked)
			s = asked
		}
		x.Duties, x.Persons = b.Decide(s), s.Persons()
		x.UnreadHere, x.NoDuty = b.Unread(s)
		x.Questions = questions(x.Duties)
		out.Controllers = append(out.Controllers, x)
	}
	return out, nil
}

// CompareDuties says what another version of the rules changes for an incident.
func (d *Desk) CompareDuties(ctx context.Context, c identity.Caller, brand, id string, req api.DutiesCompare) (*api.DutiesCompared, error) {
	f, err := d.find(ctx, c, brand, id, access.ActAudit)
	if err != nil {
		return nil, err
	}
	out := &api.DutiesCompared{Incident: f.id(), Advice: duties.Advice, Changed: map[string][]api.DutyChange{}}
	before, pinned, err := d.bookOf(ctx, f, req.Before)
	if err != nil {
		return nil, err
	}
	if out.Before, err = d.about(before, pinned); err != nil {
		return nil, err
	}
	after, pinned, err := d.bookOf(ctx, f, cmp.Or(req.After, "current"))
	if err != nil {
		return nil, err
	}
	if out.After, err = d.about(after, pinned); err != nil {
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
		out.Changed[name] = duties.Compare(before, after, k.Situation)
	}
	return out, nil
}

// TakeRules makes an incident keep the rules of this release in place of its own.
func (d *Desk) TakeRules(ctx context.Context, c identity.Caller, brand, id string, req api.RulesRequest) (*api.Incident, error) {
	f, err := d.changeable(ctx, c, brand, id, access.ActAudit)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	detail := entry.IncidentRules{Incident: f.n, Reason: req.Reason}
	if detail.Rules, detail.Book, err = d.keep(); err != nil {
		return nil, err
	}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: f.visit.Who, Ticket: req.Ticket, Detail: detail}); err != nil {
		return nil, err
	}
	return d.Incident(ctx, c, brand, id)
}

// controllers are the brands of which the caller may see the part.
func (f *found) controllers() []string {
	if f.part != "" {
		return []string{f.part}
	}
	return f.opened.Brands
}

// classOf says to which class of the rules a field belongs. What attributes hold the vault
// cannot know: they count as preferences.
var classOf = map[string][]string{
	"external_id": {"customer_no"}, "given_name": {"name"}, "family_name": {"name"}, "email": {"email"}, "phone": {"phone"},
	"street": {"postal"}, "postal_code": {"postal"}, "city": {"postal"}, "birth_date": {"dob"}, "attributes": {"preferences"},
	"purchases": {"purchase_history", "purchase_total"},
}

// classesOf are the classes that a scope's figures show. What was only masked is no value.
func classesOf(p *api.ScopeFigures) []string {
	if p.Records == 0 || len(p.Fields) == 0 {
		return nil
	}
	if p.Reached != nil && p.Reached["clear"] == 0 && p.Reached["extract"] == 0 {
		return []string{"token_only"}
	}
	var out []string
	for _, f := range p.Fields {
		if f.Records > 0 {
			for name := range strings.SplitSeq(f.Name, ",") { // a row is a set of fields
				out = append(out, classOf[name]...)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// stated are the jurisdictions of which a fact says how many persons live there: a person's
// word stands in place of the count, and in no other jurisdiction.
func stated(facts []api.Fact, brand string) map[string]bool {
	out := map[string]bool{}
	for i := range facts {
		x := &facts[i]
		if x.Name != factResidents || x.Replaced || x.Brand != "" && x.Brand != brand {
			continue
		}
		for _, s := range split(x.Text) {
			place, _, _ := strings.Cut(s, "=")
			out[place] = true
		}
	}
	return out
}

// regions are the countries whose regions have rules of their own.
var regions = []string{"US", "CA"}

// residentsOf are the statements of a breakdown about who lives where. Those who could not be
// opened live somewhere.
func residentsOf(b *api.Breakdown, but map[string]bool) []string {
	sums := map[string]int{duties.Elsewhere: b.Records - b.Opened}
	for _, p := range b.Places {
		place := cmp.Or(p.Country, duties.Elsewhere)
		if slices.Contains(regions, p.Country) && p.Region != "" && p.Region != disclose.Other {
			place += "-" + p.Region
		}
		sums[place] += p.Records
	}
	var out []string
	for place, n := range sums {
		if n > 0 && !but[place] {
			out = append(out, fmt.Sprintf("%s=%d", place, n))
		}
	}
	slices.Sort(out)
	return out
}

// newest returns the newest figures of a brand, and their version's entry.
func (d *Desk) newest(ctx context.Context, f *found, brand string) (*api.ScopeFigures, *api.ScopeVersion, error) {
	scopes, err := d.scopes(ctx, f)
	if err != nil || len(scopes) == 0 {
		return nil, nil, err
	}
	v := &scopes[len(scopes)-1]
	for i := range v.Parts {
		if v.Parts[i].Brand == brand {
			return &v.Parts[i], v, nil
		}
	}
	return nil, nil, nil
}

// known is what is known of one controller's part.
type known struct {
	*duties.Situation
	given   []api.DutyInput
	facts   []api.Fact        // all that the caller may see, also of other controllers
	figures *api.ScopeFigures // of the newest version of the scope; nil without one
	version *api.ScopeVersion
}

// situation gathers what is known of one controller's part: from the log, from the newest
// scope, and from facts of the incident that are of this brand or of all.
func (d *Desk) situation(ctx context.Context, f *found, brand string, now time.Time) (*known, error) {
	k := &known{Situation: duties.NewSituation(now), given: []api.DutyInput{}}
	s := k.Situation
	state := func(from, said string, at uint64, statements ...string) error {
		for _, x := range statements {
			k.given = append(k.given, api.DutyInput{Statement: x, From: from, Said: said, Entry: at})
		}
		return s.State(statements...)
	}
	var err error
	if k.facts, err = d.facts(ctx, f); err != nil {
		return nil, err
	}
	facts := k.facts
	judged := strings.Builder{}
	for i := range facts {
		if x := &facts[i]; x.Name == factJudged && !x.Replaced && (x.Brand == "" || x.Brand == brand) {
			judged.WriteString(" " + strings.ReplaceAll(x.Text, ",", " "))
		}
	}
	if !strings.Contains(judged.String()+" ", " controller=") {
		if err := state("the vault: each brand is the controller of its customers' data", "", 0, "controller=yes"); err != nil {
			return nil, err
		}
	}
	if k.figures, k.version, err = d.newest(ctx, f, brand); err != nil {
		return nil, err
	}
	if p, v := k.figures, k.version; p != nil {
		from := fmt.Sprintf("scope version %d", v.Version)
		if err := state(from, v.By, v.Entry, append(classesOf(p), fmt.Sprintf("total=%d", p.Records))...); err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(v.Breakdown, func(b api.Breakdown) bool { return b.Brand == brand }); i >= 0 {
			b := &v.Breakdown[i]
			if err := state("breakdown of "+from, "", b.Entry, residentsOf(b, stated(facts, brand))...); err != nil {
				return nil, err
			}
		}
	}
	was := map[uint64]time.Time{}
	for i := range facts {
		x := &facts[i]
		was[x.Entry] = x.When
		if x.Replaced || x.Brand != "" && x.Brand != brand {
			continue
		}
		switch x.Name {
		case factDisclosed, factResidents, factJudged:
			if err := state("fact "+x.Name, x.Said, x.Entry, split(x.Text)...); err != nil {
				return nil, fmt.Errorf("reading entry %d: %w", x.Entry, err)
			}
		case factFiled:
			if old, ok := s.Filed[x.Rule]; x.Rule != "" && (!ok || x.When.Before(old.When)) {
				s.Filed[x.Rule] = duties.Filing{When: x.When, Entry: x.Entry, Said: x.Said, Reference: x.Reference, Receipt: x.Receipt, Notice: x.Notice, Digest: x.Digest}
			}
		default:
			if !x.When.IsZero() {
				m := duties.Moment{When: x.When, Entry: x.Entry, Said: x.Said, Was: was[x.Corrects]}
				s.Clocks[x.Name] = append(s.Clocks[x.Name], m)
				k.given = append(k.given, api.DutyInput{Statement: x.Name + " " + x.When.UTC().Format(time.RFC3339), From: "fact " + x.Name, Said: x.Said, Entry: x.Entry})
			}
		}
	}
	return k, nil
}

// RuleList lists the rules of this release with the operator's own.
func (d *Desk) RuleList(ctx context.Context, c identity.Caller, brand string) (*api.DutyRules, error) {
	if _, err := d.Door.Admit(ctx, c, brand, access.ActAudit); err != nil {
		return nil, err
	}
	b, err := d.Rules()
	if err != nil {
		return nil, err
	}
	out := &api.DutyRules{Advice: duties.Advice, Rules: b.Rules()}
	out.Book, err = d.about(b, false)
	return out, err
}

// questions gathers what the open duties ask, those on which most rules hang first.
func questions(list []api.Duty) []api.DutyQuestion {
	out := []api.DutyQuestion{}
	for i := range list {
		for _, name := range list[i].Asks {
			k := slices.IndexFunc(out, func(q api.DutyQuestion) bool { return q.Name == name })
			if k < 0 {
				k = len(out)
				out = append(out, api.DutyQuestion{Name: name, Asks: duties.Ask(name)})
			}
			out[k].Rules = append(out[k].Rules, list[i].Rule)
		}
	}
	slices.SortStableFunc(out, func(a, b api.DutyQuestion) int { return cmp.Compare(len(b.Rules), len(a.Rules)) })
	return out
}
