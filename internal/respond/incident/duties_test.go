package incident_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/respond/duties"
	"github.com/cloakroom/cloakroom/internal/respond/incident"
	"github.com/cloakroom/cloakroom/internal/respond/severity"
	"github.com/cloakroom/cloakroom/internal/vault/access"
)

func ruleOf(t *testing.T, x *api.ControllerDuties, rule string) *api.Duty {
	t.Helper()
	for i := range x.Duties {
		if x.Duties[i].Rule == rule {
			return &x.Duties[i]
		}
	}
	t.Fatalf("no rule %s", rule)
	return nil
}

// Two brands of one incident are two controllers: each has its own people, clocks, filed
// notices and scores; what is said of the incident holds for both.
func TestDutiesOfTwoControllers(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		thief := h.Person("thief", map[string]string{"gucci": access.Application, "balenciaga": access.Application})
		lead := h.Person("lead", map[string]string{"group": access.IncidentResponder})
		officer := h.Person("officer", map[string]string{"gucci": access.DataProtectionOfficer})
		gucci, balenciaga := h.Put("gucci", customers(6)...), h.Put("balenciaga", customers(3)...)
		reveal(t, h, thief, "gucci", gucci[:3]...)
		reveal(t, h, thief, "balenciaga", balenciaga[:2]...)
		x, err := h.Incident.Open(ctx, lead, "group", api.IncidentRequest{Title: "connected app", Brands: []string{"gucci", "balenciaga"}})
		h.Must(err)
		if x.Rules == "" {
			t.Error("the incident keeps no rules")
		}
		_, err = h.Incident.Scope(ctx, lead, "group", "1", api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"thief"}}}})
		h.Must(err)
		now, err := h.DB.Now(ctx)
		h.Must(err)
		fact := func(req api.FactRequest) uint64 {
			t.Helper()
			x, err := h.Incident.Fact(ctx, lead, "group", "1", req)
			h.Must(err)
			return x.Facts[len(x.Facts)-1].Entry
		}
		late, early := now.Add(-80*time.Hour).Truncate(time.Second), now.Add(-10*time.Hour).Truncate(time.Second)
		first := fact(api.FactRequest{Name: "aware", When: early, Brand: "gucci"})
		fact(api.FactRequest{Name: "aware", When: early, Brand: "balenciaga"})
		fact(api.FactRequest{Name: "residents", Text: "IT=3, RU=1", Brand: "gucci", Said: "Dana, from the shop"})
		fact(api.FactRequest{Name: "residents", Text: "JP=2", Brand: "balenciaga"})
		fact(api.FactRequest{Name: "judged", Text: "malicious=yes"})

		of := func(req api.DutiesRequest) (gucci, balenciaga *api.ControllerDuties) {
			t.Helper()
			out, err := h.Incident.Duties(ctx, lead, "group", "1", req)
			h.Must(err)
			if out.Advice != duties.Advice || !out.Book.Pinned || out.Book.Unread != out.Book.Rules || len(out.Controllers) != 2 {
				t.Fatalf("%+v", out)
			}
			return &out.Controllers[1], &out.Controllers[0]
		}
		g, b := of(api.DutiesRequest{})
		if d := ruleOf(t, g, "eu-gdpr-33-sa"); d.Verdict != api.DutyDue || !d.Due.Equal(early.Add(72*time.Hour)) || !d.AskCounsel {
			t.Errorf("gucci: %+v", d)
		}
		if d := ruleOf(t, b, "eu-gdpr-33-sa"); d.Verdict != api.DutyOpen {
			t.Errorf("balenciaga, of which nobody said where it is established: %+v", d)
		}
		if d := ruleOf(t, b, "jp-appi-prelim"); d.Verdict != api.DutyDue {
			t.Errorf("balenciaga in Japan: %+v", d)
		}
		if d := ruleOf(t, g, "jp-appi-prelim"); d.Verdict != api.DutyNotMet || !d.AskCounsel {
			t.Errorf("gucci in Japan: %+v", d)
		}
		if len(g.UnreadHere) != 1 || g.UnreadHere[0] != "RU" || len(b.UnreadHere) != 0 {
			t.Errorf("read by nobody: %v, %v", g.UnreadHere, b.UnreadHere)
		}
		if len(g.Questions) == 0 || g.Persons != 4 {
			t.Errorf("%d questions, %d persons", len(g.Questions), g.Persons)
		}
		// A correction moves the deadline into the past; what it was stays visible.
		fact(api.FactRequest{Name: "aware", When: late, Brand: "gucci", Corrects: first})
		g, b = of(api.DutiesRequest{})
		if d := ruleOf(t, g, "eu-gdpr-33-sa"); d.State != api.DutyLate || !d.MovedFrom.Equal(early.Add(72*time.Hour)) {
			t.Errorf("after the correction: %+v", d)
		}
		if d := ruleOf(t, b, "jp-appi-prelim"); d.State != api.DutyRunning {
			t.Errorf("the other controller's clock moved: %+v", d)
		}
		// What if: nothing is recorded.
		g, _ = of(api.DutiesRequest{WhatIf: []string{"+name", "+dob", "US-WA=600"}})
		if d := ruleOf(t, g, "us-wa-subjects"); d.Verdict != api.DutyDue || len(g.Changed) == 0 {
			t.Errorf("what if: %+v", d)
		}
		g, _ = of(api.DutiesRequest{})
		if d := ruleOf(t, g, "us-wa-subjects"); d.Verdict != api.DutyNotMet {
			t.Errorf("a question stayed: %+v", d)
		}
		// A filed mark, by a person, starts the clock of what hangs on it.
		fact(api.FactRequest{Name: "residents", Text: "MY=5", Brand: "gucci"})
		fact(api.FactRequest{Name: "judged", Text: "significant_harm=yes", Brand: "gucci"})
		g, _ = of(api.DutiesRequest{})
		if d := ruleOf(t, g, "my-pdpa-subjects"); d.Verdict != api.DutyDue || d.State != api.DutyClockNotStarted {
			t.Errorf("before the filing: %+v", d)
		}
		receipt := strings.Repeat("ab", 32)
		fact(api.FactRequest{Name: "filed", Rule: "my-pdpa-commissioner", When: early, Reference: "MY-77", Receipt: receipt, Brand: "gucci"})
		g, _ = of(api.DutiesRequest{})
		if d := ruleOf(t, g, "my-pdpa-subjects"); d.State != api.DutyRunning || d.Due.IsZero() {
			t.Errorf("after the filing: %+v", d)
		}
		if d := ruleOf(t, g, "my-pdpa-commissioner"); d.Filed == nil || d.Filed.Reference != "MY-77" || d.Filed.Receipt != receipt || d.Filed.Said != "lead" {
			t.Errorf("the filed mark: %+v", d.Filed)
		}
		// The brand's people see their part alone.
		part, err := h.Incident.Duties(ctx, officer, "gucci", "group-1", api.DutiesRequest{})
		h.Must(err)
		if len(part.Controllers) != 1 || part.Controllers[0].Brand != "gucci" {
			t.Errorf("the brand's part: %+v", part.Controllers)
		}

		for _, bad := range []api.FactRequest{
			{Name: "residents", Text: "high_risk=yes"}, {Name: "judged", Text: "email"}, {Name: "disclosed", Text: "shoes"}, {Name: "residents"},
			{Name: "filed", Rule: "no-such-rule", When: now}, {Name: "filed", Rule: "my-pdpa-subjects"}, {Name: "note", Text: "x", Rule: "my-pdpa-subjects"},
			{Name: "filed", Rule: "my-pdpa-subjects", When: now, Receipt: "abc"},
		} {
			if _, err := h.Incident.Fact(ctx, lead, "group", "1", bad); !errors.Is(err, incident.ErrRequest) && !errors.Is(err, duties.ErrStatement) {
				t.Errorf("%+v: %v", bad, err)
			}
		}

		// Each score is a version of its own; below the proposal needs a reason.
		half := 0.5
		sign := api.SeveritySign{SeverityRequest: api.SeverityRequest{Brand: "gucci", Recipients: "unknown"}}
		if _, err := h.Incident.SignSeverity(ctx, lead, "group", "1", api.SeveritySign{}); !errors.Is(err, incident.ErrRequest) {
			t.Errorf("a score of two brands: %v", err)
		}
		_, err = h.Incident.SignSeverity(ctx, lead, "group", "1", sign)
		h.Must(err)
		sign.EI = &half
		if _, err := h.Incident.SignSeverity(ctx, lead, "group", "1", sign); !errors.Is(err, severity.ErrRequest) {
			t.Errorf("lower without a reason: %v", err)
		}
		sign.Reason = "addresses of one office"
		s, err := h.Incident.SignSeverity(ctx, lead, "group", "1", sign)
		h.Must(err)
		if len(s.Signed) != 2 || s.Signed[0].Score != 2 || s.Signed[1].Version != 2 || s.Signed[1].Score != 1.5 || len(s.Signed[1].Lowered) != 1 || s.Signed[1].By != "lead" || len(s.Signed[0].Fields) == 0 {
			t.Errorf("%+v", s.Signed)
		}
		h.Restart()
		again, err := h.Incident.Severity(ctx, officer, "gucci", "group-1", api.SeverityRequest{})
		h.Must(err)
		if len(again.Signed) != 2 || len(again.Proposed) != 1 {
			t.Errorf("after a restart, the brand sees %+v", again)
		}
	})
}

// A service signs no judgement and files no notice.
func TestAPersonSigns(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	lead := h.Person("lead", map[string]string{"gucci": access.IncidentResponder})
	_, err := h.Admin.CreatePrincipal(ctx, h.Local, api.Principal{Name: "robot", Kind: "service", Roles: map[string]string{"gucci": access.IncidentResponder}})
	h.Must(err)
	robot := h.Key("robot")
	_, err = h.Incident.Open(ctx, lead, "gucci", api.IncidentRequest{Title: "x"})
	h.Must(err)
	_, err = h.Incident.Fact(ctx, lead, "gucci", "1", api.FactRequest{Name: "disclosed", Text: "name,email"})
	h.Must(err)
	for _, req := range []api.FactRequest{{Name: "judged", Text: "high_risk=no"}, {Name: "filed", Rule: "eu-gdpr-33-sa", When: time.Unix(1e9, 0)}} {
		if _, err := h.Incident.Fact(ctx, robot, "gucci", "1", req); !errors.Is(err, incident.ErrPerson) {
			t.Errorf("%+v: %v", req, err)
		}
	}
	if _, err := h.Incident.SignSeverity(ctx, robot, "gucci", "1", api.SeveritySign{}); !errors.Is(err, incident.ErrPerson) {
		t.Errorf("a service signed: %v", err)
	}
	if _, err := h.Incident.Fact(ctx, robot, "gucci", "1", api.FactRequest{Name: "detected", When: time.Unix(1e9, 0)}); err != nil {
		t.Errorf("a service states when it detected: %v", err)
	}
}

const mine = `law: House rule
jurisdiction: EU
zone: Europe/Paris
address: https://intranet.example/
rules:
  - id: house-eu
    article: rule 1
    demands: Call the press office.
    basis: text
    sources: [intranet]
    read_on: '2026-11-29'
    read_by: Dana Doe
    still_valid_on: '2026-11-29'
    confidence: high
    to: contract
    recipients: [press office]
    when: [{data: [any_personal]}]
    deadline: {n: 2, unit: hours, kind: hard}
    clock: awareness
    content: [nature]
    cases: [{why: fires, given: [name, FR=1], then: due}]
`

// An incident keeps the rules of its first day: what an operator adds later changes it only
// when somebody takes the new rules, and the difference can be seen before.
func TestAnIncidentKeepsItsRules(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	lead := h.Person("lead", map[string]string{"gucci": access.IncidentResponder})
	x, err := h.Incident.Open(ctx, lead, "gucci", api.IncidentRequest{Title: "x"})
	h.Must(err)
	old := x.Rules
	for _, req := range []api.FactRequest{{Name: "disclosed", Text: "name"}, {Name: "residents", Text: "FR=5"}, {Name: "aware", When: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)}} {
		_, err := h.Incident.Fact(ctx, lead, "gucci", "1", req)
		h.Must(err)
	}
	dir := filepath.Join(h.Dir, app.RulesDir)
	h.Must(os.Mkdir(dir, 0o700))
	h.Must(os.WriteFile(filepath.Join(dir, "house.yaml"), []byte(mine), 0o600))
	h.Restart()
	out, err := h.Incident.Duties(ctx, lead, "gucci", "1", api.DutiesRequest{})
	h.Must(err)
	if out.Book.Version != old || !out.Book.Pinned || out.Book.Newer == "" {
		t.Errorf("%+v", out.Book)
	}
	diff, err := h.Incident.CompareDuties(ctx, lead, "gucci", "1", api.DutiesCompare{})
	h.Must(err)
	if c := diff.Changed["gucci"]; len(c) != 1 || c[0].Rule != "house-eu" || c[0].After != api.DutyDue || !c[0].Rules || diff.After.Overlay[0] != "house-eu" {
		t.Errorf("%+v", diff)
	}
	x, err = h.Incident.TakeRules(ctx, lead, "gucci", "1", api.RulesRequest{Reason: "the house rule"})
	h.Must(err)
	if x.Rules == old {
		t.Error("the rules were not taken")
	}
	out, err = h.Incident.Duties(ctx, lead, "gucci", "1", api.DutiesRequest{})
	h.Must(err)
	if d := ruleOf(t, &out.Controllers[0], "house-eu"); d.ReadBy != "Dana Doe" || d.AskCounsel || d.State != api.DutyLate {
		t.Errorf("%+v", d)
	}
	diff, err = h.Incident.CompareDuties(ctx, lead, "gucci", "1", api.DutiesCompare{Before: old, After: "pinned"})
	h.Must(err)
	if len(diff.Changed["gucci"]) != 1 || diff.Before.Version != old {
		t.Errorf("against the first version: %+v", diff)
	}
	// Rules that do not hold stop the start, and name the line.
	h.Must(os.WriteFile(filepath.Join(dir, "house.yaml"), []byte(strings.Replace(mine, "clock:", "klock:", 1)), 0o600))
	h.Must(h.Close())
	v, err := app.Open(ctx, h.Dir, app.Options{})
	if err == nil {
		v.Close()
	}
	if !errors.Is(err, duties.ErrRules) || !strings.Contains(err.Error(), "house.yaml: line 19: field klock is not known") {
		t.Errorf("rules that do not hold: %v", err)
	}
	h.Must(os.RemoveAll(dir))
	v, err = app.Open(ctx, h.Dir, app.Options{})
	h.Must(err)
	h.Vault = v
}
