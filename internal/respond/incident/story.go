package incident

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// told is an entry of an incident.
type told struct {
	at uint64
	entry.Entry
}

// tell reads the entries of an incident that were not read yet.
func (d *Desk) tell(ctx context.Context, f *found) error {
	for _, at := range f.pages.entries[len(f.told):] {
		e, _, err := d.Ledger.Entry(ctx, f.owner.ID, at)
		if err != nil {
			return err
		}
		f.told = append(f.told, told{at: at, Entry: e})
	}
	return nil
}

// Incident returns an incident as far as the caller may see it.
func (d *Desk) Incident(ctx context.Context, c identity.Caller, brand, id string) (*api.Incident, error) {
	f, err := d.find(ctx, c, brand, id, access.ActAudit)
	if err != nil {
		return nil, err
	}
	o := &f.opened
	out := &api.Incident{ID: f.id(), Owner: f.owner.Name, Title: o.Title, Source: o.Source, Alarm: o.Alarm, Lead: d.nameOf(ctx, o.Lead), Brands: o.Brands}
	if f.part != "" {
		out.Part, out.Brands, out.Alarm = true, []string{f.part}, ""
	}
	if err := d.tell(ctx, f); err != nil {
		return nil, err
	}
	for i := range f.told {
		e := &f.told[i]
		if i == 0 {
			out.Opened, out.OpenedBy = e.At, d.name(ctx, e.Principal)
		}
		switch x := e.Detail.(type) {
		case entry.IncidentOpened:
			out.Rules = x.Rules
		case entry.IncidentRules:
			out.Rules = x.Rules
		}
		if x, ok := e.Detail.(entry.IncidentClosed); ok {
			out.Closed, out.ClosedBy, out.Summary = e.At, d.name(ctx, e.Principal), x.Summary
			if f.part != "" {
				out.Summary = ""
			}
		}
		if what := f.step(&e.Entry); what != "" {
			out.Timeline = append(out.Timeline, d.event(ctx, f, e.at, &e.Entry, what))
		}
	}
	if out.Facts, err = d.facts(ctx, f); err != nil {
		return nil, err
	}
	if out.Scopes, err = d.scopes(ctx, f); err != nil {
		return nil, err
	}
	if f.part == "" {
		if err := d.marks(ctx, f, out); err != nil {
			return nil, err
		}
		if out.Evidence, err = d.files(ctx, f); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out.Timeline, func(a, b api.IncidentEvent) int { return a.At.Compare(b.At) })
	return out, nil
}

// step says in words what an entry did to the incident; nothing where the caller's brand
// has no part in it.
func (f *found) step(e *entry.Entry) string {
	switch x := e.Detail.(type) {
	case entry.IncidentOpened:
		return "incident opened"
	case entry.IncidentFact:
		if f.part != "" && x.Brand != f.part {
			return ""
		}
		switch {
		case x.Notice != 0:
			return fmt.Sprintf("notice filed: the version of entry %d", x.Notice)
		case x.Rule != "":
			return "notice of " + x.Rule + " filed"
		}
		if x.Corrects != 0 {
			return "fact " + x.Name + " corrected"
		}
		return "fact " + x.Name + " recorded"
	case entry.IncidentScoped:
		if _, ok := x.Parts[f.part]; f.part != "" && !ok {
			return ""
		}
		return fmt.Sprintf("scope version %d", x.Version)
	case entry.ScopeApproved:
		return fmt.Sprintf("scope version %d approved", x.Version)
	case entry.ScopeBroken:
		if f.part != "" && x.Brand != f.part {
			return ""
		}
		return fmt.Sprintf("scope version %d counted by country and region", x.Version)
	case entry.IncidentRules:
		return "rules of duties " + x.Rules + " taken"
	case entry.IncidentScored:
		if f.part != "" && x.Brand != f.part {
			return ""
		}
		return "severity " + x.Score + ", " + x.Band + ", signed"
	case entry.IncidentNotice:
		if f.part != "" && x.Brand != f.part {
			return ""
		}
		return "notice drafted: " + strings.TrimSpace(x.Form+" "+x.Rule) + " in " + x.Language + ", " + x.Phase
	case entry.IncidentNoticeReviewed:
		if f.part != "" {
			return ""
		}
		return fmt.Sprintf("notice of entry %d reviewed in %s", x.Notice, x.Language)
	case entry.ClaimBegun:
		if f.part != "" {
			return ""
		}
		return fmt.Sprintf("a sample of %d rows held against the customers", x.Rows)
	case entry.ClaimJudged:
		if f.part != "" {
			return ""
		}
		return "claim answered: " + x.Verdict
	case entry.IncidentClosed:
		return "incident closed"
	}
	return ""
}

// marks adds what the log says of the incident's alarm, until it was closed.
func (d *Desk) marks(ctx context.Context, f *found, out *api.Incident) error {
	for _, at := range f.marks {
		e, _, err := d.Ledger.Entry(ctx, f.owner.ID, at)
		if err != nil {
			return err
		}
		if !out.Closed.IsZero() && e.At.After(out.Closed) {
			continue
		}
		what := ""
		switch x := e.Detail.(type) {
		case entry.AlarmAcknowledged:
			what = "alarm " + x.Alarm + " acknowledged"
		case entry.AlarmClosed:
			what = "alarm " + x.Alarm + " closed: " + x.Reason
		case entry.ContainmentBegun:
			what = "containment of a " + x.Kind + " for alarm " + x.Alarm
		}
		out.Timeline = append(out.Timeline, d.event(ctx, f, at, &e, what))
	}
	return nil
}

func (d *Desk) event(ctx context.Context, f *found, at uint64, e *entry.Entry, what string) api.IncidentEvent {
	return api.IncidentEvent{At: e.At, Entry: at, Brand: f.owner.Name, By: d.name(ctx, e.Principal), What: what}
}

// facts returns every version of the facts that the caller may see.
func (d *Desk) facts(ctx context.Context, f *found) ([]api.Fact, error) {
	if err := d.tell(ctx, f); err != nil {
		return nil, err
	}
	out := []api.Fact{}
	var err error
	for i := range f.told {
		e := &f.told[i]
		x, ok := e.Detail.(entry.IncidentFact)
		if !ok || f.part != "" && x.Brand != f.part {
			continue
		}
		fact := api.Fact{Entry: e.at, At: e.At, By: d.name(ctx, e.Principal), Name: x.Name, Said: x.Said, Text: x.Text, Brand: x.Brand, Corrects: x.Corrects,
			Rule: x.Rule, Reference: x.Reference, Receipt: x.Receipt, Notice: x.Notice, Digest: x.Digest}
		fact.Said = cmp.Or(fact.Said, fact.By)
		if fact.When, err = time.Parse(time.RFC3339, cmp.Or(x.When, time.Time{}.Format(time.RFC3339))); err != nil {
			return nil, fmt.Errorf("reading entry %d: %w", e.at, err)
		}
		if i := slices.IndexFunc(out, func(y api.Fact) bool { return y.Entry == x.Corrects }); x.Corrects != 0 && i >= 0 {
			fact.Concurrent = out[i].Replaced
			out[i].Replaced = true
		}
		out = append(out, fact)
	}
	return out, nil
}

// scopes returns the versions of the scope, with the parts that the caller may see. Of two
// with one number, made at once, the later counts on.
func (d *Desk) scopes(ctx context.Context, f *found) ([]api.ScopeVersion, error) {
	if err := d.tell(ctx, f); err != nil {
		return nil, err
	}
	out := []api.ScopeVersion{}
	for i := range f.told {
		e := &f.told[i]
		x, ok := e.Detail.(entry.IncidentScoped)
		if !ok {
			if err := d.later(ctx, f, e, out); err != nil {
				return nil, err
			}
			continue
		}
		v := api.ScopeVersion{Version: uint64(len(out) + 1), Entry: e.at, At: e.At, By: d.name(ctx, e.Principal), Filter: x.Filter, Parts: []api.ScopeFigures{}}
		for brand, text := range x.Parts {
			if f.part != "" && brand != f.part {
				continue
			}
			var p api.ScopeFigures
			if err := json.Unmarshal([]byte(text), &p); err != nil {
				return nil, fmt.Errorf("reading entry %d: %w", e.at, err)
			}
			v.Parts = append(v.Parts, p)
			v.Records += p.Records
			v.Persons.AtLeast = max(v.Persons.AtLeast, p.Records)
		}
		v.Persons.AtMost = v.Records
		if f.part != "" {
			v.Filter = "" // it may name people of other brands
		}
		slices.SortFunc(v.Parts, func(a, b api.ScopeFigures) int { return cmp.Compare(a.Brand, b.Brand) })
		out = append(out, v)
	}
	return out, nil
}

func (d *Desk) nameOf(ctx context.Context, number string) string {
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return ""
	}
	return d.name(ctx, n)
}

func (d *Desk) name(ctx context.Context, id uint64) string {
	if id == 0 {
		return ""
	}
	if p, err := d.Door.Identity.Get(ctx, id); err == nil {
		return p.Name
	}
	return "principal " + strconv.FormatUint(id, 10)
}
