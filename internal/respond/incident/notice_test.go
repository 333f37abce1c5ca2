package incident_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/respond/incident"
	"github.com/cloakroom/cloakroom/internal/respond/notice"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// story is an incident of gucci with a scope, facts and a lead.
type story struct {
	h    *apptest.House
	t    *testing.T
	lead identity.Caller
}

func tell(t *testing.T, h *apptest.House) *story {
	t.Helper()
	ctx := t.Context()
	thief := h.Person("thief", map[string]string{"gucci": access.Application})
	s := &story{h, t, h.Person("lead", map[string]string{"gucci": access.IncidentResponder})}
	tokens := h.Put("gucci", customers(4)...)
	reveal(t, h, thief, "gucci", tokens[:3]...)
	_, err := h.Incident.Open(ctx, s.lead, "gucci", api.IncidentRequest{Title: "stolen key"})
	h.Must(err)
	_, err = h.Incident.Scope(ctx, s.lead, "gucci", "1", api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"thief"}}}})
	h.Must(err)
	now, err := h.DB.Now(ctx)
	h.Must(err)
	for _, f := range []api.FactRequest{
		{Name: "aware", When: now.Add(-5 * time.Hour)}, {Name: "occurred-from", When: now.Add(-50 * time.Hour)}, {Name: "contained", When: now.Add(-time.Hour)},
		{Name: "residents", Text: "IT=2,MY=1"}, {Name: "judged", Text: "malicious=yes,high_risk=yes,significant_harm=yes"},
	} {
		_, err := h.Incident.Fact(ctx, s.lead, "gucci", "1", f)
		h.Must(err)
	}
	return s
}

func (s *story) draft(req api.NoticeRequest) *api.Notice {
	s.t.Helper()
	n, err := s.h.Incident.DraftNotice(s.t.Context(), s.lead, "gucci", "1", req)
	s.h.Must(err)
	return n
}

func (s *story) file(n *api.Notice) (*api.Notice, error) {
	s.t.Helper()
	now, err := s.h.DB.Now(s.t.Context())
	s.h.Must(err)
	return s.h.Incident.FileNotice(s.t.Context(), s.lead, "gucci", "1", n.Number, api.NoticeFiled{When: now.Truncate(time.Second), Reference: "2026-4711", Receipt: strings.Repeat("ab", 32)})
}

func (s *story) review(n *api.Notice, by identity.Caller, name string) (*api.Notice, error) {
	return s.h.Incident.ReviewNotice(s.t.Context(), by, "gucci", "1", n.Number, api.NoticeReview{Digest: n.Digest, Reviewer: name})
}

func value(t *testing.T, n *api.Notice, id string) *api.NoticeField {
	t.Helper()
	i := slices.IndexFunc(n.Fields, func(x api.NoticeField) bool { return x.ID == id })
	if i < 0 {
		t.Fatalf("no field %s", id)
	}
	return &n.Fields[i]
}

// A notice is drafted from what the log says, is sent only once a named person has read that
// version in its language, and the mark starts the clocks that hang on it.
func TestANoticeIsSentOnlyReviewed(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		s := tell(t, h)
		n := s.draft(api.NoticeRequest{Rule: "my-pdpa-commissioner", Texts: map[string]string{"consequences": "Deceptive mail."}})
		if n.Form != "content" || n.Version != 1 || n.Phase != "initial" || len(n.Digest) != 64 || len(n.Blocks) == 0 || n.Counts.Computed == 0 || n.Counts.Missing == 0 {
			t.Fatalf("%+v", n)
		}
		list, err := h.Incident.Notices(ctx, s.lead, "gucci", "1")
		h.Must(err)
		if len(list.Drafts) != 1 || list.Drafts[0].Reviewed || !slices.ContainsFunc(list.Wanted, func(w api.NoticeWanted) bool {
			return w.Rule == "my-pdpa-commissioner" && w.Newest == n.Number
		}) {
			t.Errorf("%+v", list)
		}
		if _, err := s.file(n); !errors.Is(err, incident.ErrUnreviewed) {
			t.Errorf("sent without a reviewer: %v", err)
		}
		if _, err := s.review(&api.Notice{Number: n.Number, Digest: strings.Repeat("00", 32)}, s.lead, ""); !errors.Is(err, incident.ErrOtherVersion) {
			t.Errorf("a review of something else: %v", err)
		}
		if _, err := s.review(&api.Notice{Number: 1, Digest: n.Digest}, s.lead, ""); !errors.Is(err, incident.ErrNoNotice) {
			t.Errorf("a review of no draft: %v", err)
		}
		if n, err = s.review(n, s.lead, "Giulia Rossi, counsel"); err != nil || len(n.Blocks) > 0 || n.Reviews[0].Reviewer != "Giulia Rossi, counsel" || n.Reviews[0].By != "lead" {
			t.Fatalf("%v %+v", err, n)
		}
		if strings.Contains(strings.Join(n.Face, "\n"), "NOT REVIEWED") {
			t.Errorf("it says that nobody has read it: %q", n.Face)
		}
		// Another version is another text: nobody has read it.
		next := s.draft(api.NoticeRequest{Rule: "my-pdpa-commissioner"})
		if next.Version != 2 || len(next.Reviews) != 0 || value(t, next, "consequences").Words != "Deceptive mail." || value(t, next, "consequences").By != "lead" {
			t.Errorf("%+v", next)
		}
		if _, err := s.file(next); !errors.Is(err, incident.ErrUnreviewed) {
			t.Errorf("sent without a reviewer of this version: %v", err)
		}
		if n, err = s.file(n); err != nil || len(n.Filed) != 1 || n.Filed[0].Digest != n.Digest || n.Filed[0].Reference != "2026-4711" {
			t.Fatalf("%v %+v", err, n.Filed)
		}
		d, err := h.Incident.Duties(ctx, s.lead, "gucci", "1", api.DutiesRequest{})
		h.Must(err)
		if x := ruleOf(t, &d.Controllers[0], "my-pdpa-commissioner"); x.State != api.DutyFiled || x.Filed.Notice != n.Number || x.Filed.Digest != n.Digest {
			t.Errorf("%+v", x.Filed)
		}
		if x := ruleOf(t, &d.Controllers[0], "my-pdpa-subjects"); x.State != api.DutyRunning || x.Due.IsZero() {
			t.Errorf("the clock that hangs on it: %+v", x)
		}
		// What follows is a later phase, and lists what changed since the version that was sent.
		follow := s.draft(api.NoticeRequest{Rule: "my-pdpa-commissioner", Texts: map[string]string{"consequences": "None so far."}})
		if follow.Since != n.Number || !slices.ContainsFunc(follow.Changed, func(c api.NoticeChange) bool { return c.Field == "consequences" && c.After == "None so far." }) {
			t.Errorf("%+v", follow.Changed)
		}
		x, err := h.Incident.Incident(ctx, s.lead, "gucci", "1")
		h.Must(err)
		text := ""
		for _, e := range x.Timeline {
			text += e.What + "\n"
		}
		for _, want := range []string{"notice drafted: content my-pdpa-commissioner in en, initial", "reviewed in en", "notice filed: the version of entry"} {
			if !strings.Contains(text, want) {
				t.Errorf("the timeline has no %q:\n%s", want, text)
			}
		}
		// Nothing changes once the report is frozen.
		_, err = h.Incident.Close(ctx, s.lead, "gucci", "1", api.CloseIncidentRequest{Summary: "done"})
		h.Must(err)
		for _, err := range []error{
			func() error { _, err := s.file(follow); return err }(), func() error { _, err := s.review(follow, s.lead, ""); return err }(),
			func() error {
				_, err := h.Incident.DraftNotice(ctx, s.lead, "gucci", "1", api.NoticeRequest{Form: "police"})
				return err
			}(),
		} {
			if !errors.Is(err, incident.ErrClosed) {
				t.Errorf("after the closing: %v", err)
			}
		}
	})
}

// A draft holds nothing of a customer: neither what it computes nor what a person may write
// into it. What it holds is in the entry, and a log that is read as strings has it no more.
func TestADraftHoldsNoCustomer(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	s := tell(t, h)
	forms, err := notice.Load()
	h.Must(err)
	people := customers(4)
	for _, f := range forms.Forms() {
		req := api.NoticeRequest{Form: f.ID}
		if f.Pick {
			req.Rule = "us-ma-ag"
		}
		n := s.draft(req)
		for _, as := range []string{"html", "json"} {
			p, err := h.Incident.PrintNotice(ctx, s.lead, "gucci", "1", n.Number, as)
			h.Must(err)
			for _, c := range people {
				for field, v := range c {
					if len(v) > 3 && strings.Contains(string(p.Content), v) {
						t.Errorf("%s as %s has a customer's %s", f.ID, as, field)
					}
				}
			}
			if strings.Contains(string(p.Content), "cus_") {
				t.Errorf("%s has a token", f.ID)
			}
		}
		e, _, err := h.Ledger.Entry(ctx, h.Brand("gucci"), n.Number)
		h.Must(err)
		if d, ok := e.Detail.(entry.IncidentNotice); !ok || d.Digest != n.Digest || d.Incident != 1 {
			t.Errorf("%s: its entry: %+v", f.ID, e.Detail)
		}
	}
	for _, bad := range []string{"ask zoe@example.com", "ask +39 055 123 4567", "cus_01hzxk8f7q2m9d3v5b6n8p0rst"} {
		_, err := h.Incident.DraftNotice(ctx, s.lead, "gucci", "1", api.NoticeRequest{Form: "eu-art33", Texts: map[string]string{"consequences": bad}})
		if !errors.Is(err, notice.ErrWords) || strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if n := s.draft(api.NoticeRequest{Form: "eu-art33", Texts: map[string]string{"dpo_contact": "Dana Doe, dpo@gucci.example"}}); value(t, n, "dpo_contact").State != api.NoticeWritten {
		t.Error("the organisation's own contact is refused")
	}
	for _, bad := range []api.NoticeRequest{{}, {Form: "no-such"}, {Rule: "no-such"}, {Form: "eu-art33", Brand: "balenciaga"}, {Form: "content"}, {Form: "customers", Language: "??"}, {Form: "customers", Language: "tr"}, {Form: "eu-art33", Texts: map[string]string{"shoes": "x"}}} {
		if _, err := h.Incident.DraftNotice(ctx, s.lead, "gucci", "1", bad); err == nil {
			t.Errorf("%+v is drafted", bad)
		}
	}
}

// A brand's own text takes the place of ours. A letter made of a text that a named person
// has read can be sent at once; words that somebody adds have to be read, too; a text that
// is loaded again has to be read again.
func TestTextsAreReviewedBeforehand(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	s := tell(t, h)
	letter := api.NoticeRequest{Form: "customers", Rule: "eu-gdpr-34-subjects", Language: "it"}
	n := s.draft(letter)
	if n.Text.Source != "release" || !strings.HasPrefix(n.Face[0], "NON REVISIONATO") {
		t.Errorf("%+v", n)
	}
	if _, err := s.file(n); !errors.Is(err, incident.ErrUnreviewed) {
		t.Errorf("a letter that nobody has read: %v", err)
	}
	ours, err := h.Incident.NoticeText(ctx, s.lead, "gucci", "it")
	h.Must(err)
	mine := strings.Replace(ours.Text, "Gentile cliente,", "Cara cliente, caro cliente,", 1)
	loaded, err := h.Incident.LoadNoticeText(ctx, s.lead, "gucci", api.NoticeTextRequest{Text: mine})
	h.Must(err)
	if loaded.Source != "brand" || loaded.Reviewer != "" || loaded.Digest == ours.Digest {
		t.Errorf("%+v", loaded)
	}
	if _, err := h.Incident.ReviewNoticeText(ctx, s.lead, "gucci", "it", api.NoticeTextReview{Digest: ours.Digest}); !errors.Is(err, incident.ErrOtherVersion) {
		t.Errorf("a review of the text before: %v", err)
	}
	_, err = h.Incident.ReviewNoticeText(ctx, s.lead, "gucci", "it", api.NoticeTextReview{Digest: loaded.Digest, Reviewer: "Giulia Rossi"})
	h.Must(err)
	list, err := h.Incident.NoticeTexts(ctx, s.lead, "gucci")
	h.Must(err)
	wants := func(lang string) *api.NoticeLanguage {
		if i := slices.IndexFunc(list.Wanted, func(w api.NoticeLanguage) bool { return w.Language == lang }); i >= 0 {
			return &list.Wanted[i]
		}
		return nil
	}
	if it, ms := wants("it"), wants("ms"); it == nil || !it.Reviewed || ms == nil || ms.Reviewed || ms.Why[0] != "incident 1: people in MY" {
		t.Errorf("%+v", list.Wanted)
	}
	n = s.draft(letter)
	if n.Greeting != "Cara cliente, caro cliente," || n.Text.Reviewer != "Giulia Rossi" || len(n.Blocks) != 0 || strings.HasPrefix(n.Face[0], "NON") {
		t.Errorf("%+v", n)
	}
	more := s.draft(api.NoticeRequest{Form: "customers", Rule: "eu-gdpr-34-subjects", Language: "it", Texts: map[string]string{"nature": "Una chiave era stata rubata."}})
	if _, err := s.file(more); !errors.Is(err, incident.ErrUnreviewed) {
		t.Errorf("words that nobody has read: %v", err)
	}
	if _, err = s.file(n); err != nil {
		t.Error(err)
	}
	if more, err = s.review(more, s.lead, "Giulia Rossi"); err != nil || len(more.Blocks) > 0 || len(more.Face) != 1 || !strings.HasPrefix(more.Face[0], "1 of 6 fields") {
		t.Errorf("%v: a letter that was read in full: %q", err, more.Face)
	}
	// The next text is another: what was drafted before stays as it was.
	_, err = h.Incident.LoadNoticeText(ctx, s.lead, "gucci", api.NoticeTextRequest{Text: ours.Text})
	h.Must(err)
	again := s.draft(api.NoticeRequest{Form: "customers", Rule: "eu-gdpr-34-subjects", Language: "it", Texts: map[string]string{"nature": ""}})
	if _, err := s.file(again); !errors.Is(err, incident.ErrUnreviewed) {
		t.Errorf("a text that was loaded again: %v", err)
	}
	// The other brand has none of it.
	other := h.Person("other", map[string]string{"balenciaga": access.IncidentResponder})
	if x, err := h.Incident.NoticeText(ctx, other, "balenciaga", "it"); err != nil || x.Source != "release" {
		t.Errorf("%v %+v", err, x)
	}
	h.Restart()
	if x, err := h.Incident.NoticeText(ctx, s.lead, "gucci", "it"); err != nil || x.Source != "brand" || x.Reviewer != "" {
		t.Errorf("after a restart: %v %+v", err, x)
	}
	// A brand's own text that names somebody, or has a hole, is refused.
	for _, bad := range []string{strings.Replace(mine, "{brand}", "", 1), "language: it\n", strings.Repeat("x", 100)} {
		if _, err := h.Incident.LoadNoticeText(ctx, s.lead, "gucci", api.NoticeTextRequest{Text: bad}); !errors.Is(err, notice.ErrForms) {
			t.Errorf("%v", err)
		}
	}
}

// Two controllers of one incident: each notice is one brand's, its people see their own, and
// a mark starts that brand's clocks alone.
func TestNoticesOfTwoControllers(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	lead := h.Person("lead", map[string]string{"group": access.IncidentResponder})
	officer := h.Person("officer", map[string]string{"gucci": access.DataProtectionOfficer})
	_, err := h.Incident.Open(ctx, lead, "group", api.IncidentRequest{Title: "connected app", Brands: []string{"gucci", "balenciaga"}})
	h.Must(err)
	now, err := h.DB.Now(ctx)
	h.Must(err)
	for _, f := range []api.FactRequest{{Name: "aware", When: now.Add(-5 * time.Hour)}, {Name: "disclosed", Text: "name,email"}, {Name: "residents", Text: "MY=1"}, {Name: "judged", Text: "significant_harm=yes"}} {
		for _, b := range []string{"gucci", "balenciaga"} {
			f.Brand = b
			_, err := h.Incident.Fact(ctx, lead, "group", "1", f)
			h.Must(err)
		}
	}
	draft := func(brand string) *api.Notice {
		t.Helper()
		n, err := h.Incident.DraftNotice(ctx, lead, "group", "1", api.NoticeRequest{Rule: "my-pdpa-commissioner", Brand: brand})
		h.Must(err)
		return n
	}
	if _, err := h.Incident.DraftNotice(ctx, lead, "group", "1", api.NoticeRequest{Rule: "my-pdpa-commissioner"}); !errors.Is(err, incident.ErrRequest) {
		t.Errorf("a notice of nobody: %v", err)
	}
	g, b := draft("gucci"), draft("balenciaga")
	if g.Controller == b.Controller || g.Version != 1 || b.Version != 1 {
		t.Errorf("%+v %+v", g, b)
	}
	part, err := h.Incident.Notices(ctx, officer, "gucci", "group-1")
	h.Must(err)
	if len(part.Drafts) != 1 || part.Drafts[0].Brand != "gucci" || slices.ContainsFunc(part.Wanted, func(w api.NoticeWanted) bool { return w.Brand != "gucci" }) {
		t.Errorf("the brand's part: %+v", part)
	}
	if _, err := h.Incident.Notice(ctx, officer, "gucci", "group-1", b.Number); !errors.Is(err, incident.ErrNoNotice) {
		t.Errorf("another brand's notice: %v", err)
	}
	_, err = h.Incident.ReviewNotice(ctx, lead, "group", "1", g.Number, api.NoticeReview{Digest: g.Digest})
	h.Must(err)
	_, err = h.Incident.FileNotice(ctx, lead, "group", "1", g.Number, api.NoticeFiled{When: now.Truncate(time.Second)})
	h.Must(err)
	d, err := h.Incident.Duties(ctx, lead, "group", "1", api.DutiesRequest{})
	h.Must(err)
	for i := range d.Controllers {
		x := ruleOf(t, &d.Controllers[i], "my-pdpa-commissioner")
		if filed := x.Filed != nil; filed != (d.Controllers[i].Brand == "gucci") {
			t.Errorf("%s: filed %t", d.Controllers[i].Brand, filed)
		}
	}
}
