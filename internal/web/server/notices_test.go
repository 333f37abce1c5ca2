package server_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

// The answer to a breach over HTTP, from the incident to the filed mark; the Go client calls
// every operation. Roles without the right to audit learn nothing.
func TestNotices(t *testing.T) {
	onEach(t, notices)
}

func notices(t *testing.T, h *house) {
	ctx := t.Context()
	lead, agent := h.as["incident-responder"], h.as["support-agent"]
	_, err := lead.OpenIncident(ctx, "gucci", api.IncidentRequest{Title: "stolen key"})
	h.must(err)
	for _, f := range []api.FactRequest{{Name: "disclosed", Text: "name,email"}, {Name: "residents", Text: "IT=3"}, {Name: "aware", When: time.Now().Add(-time.Hour).Truncate(time.Second)}} {
		_, err := lead.StateFact(ctx, "gucci", "1", f)
		h.must(err)
	}
	n, err := lead.DraftNotice(ctx, "gucci", "1", api.NoticeRequest{Rule: "it-garante-portal"})
	h.must(err)
	if n.Form != "it-garante" || n.Language != "it" || !strings.Contains(strings.Join(n.Face, "\n"), "NOT TRANSLATED") {
		t.Errorf("%+v", n)
	}
	filed := api.NoticeFiled{When: time.Now().Truncate(time.Second)}
	if _, err := lead.FileNotice(ctx, "gucci", "1", n.Number, filed); !isType(err, api.TypeConflict) {
		t.Errorf("sent without a reviewer: %v", err)
	}
	_, err = lead.ReviewNotice(ctx, "gucci", "1", n.Number, api.NoticeReview{Reviewer: "Giulia Rossi", Digest: n.Digest})
	h.must(err)
	n, err = lead.FileNotice(ctx, "gucci", "1", n.Number, filed)
	h.must(err)
	if len(n.Filed) != 1 || len(n.Reviews) != 1 || len(n.Blocks) != 0 {
		t.Errorf("%+v", n)
	}
	same, err := lead.Notice(ctx, "gucci", "1", n.Number)
	h.must(err)
	if same.Digest != n.Digest {
		t.Error("another draft")
	}
	for as, begins := range map[string]string{"html": "<!doctype html>", "odt": "PK\x03\x04", "json": "{"} {
		p, err := lead.PrintNotice(ctx, "gucci", "1", n.Number, as)
		h.must(err)
		if !strings.HasPrefix(string(p.Content), begins) || !strings.HasSuffix(p.Name, "."+as) {
			t.Errorf("%s: %q", as, p.Name)
		}
	}
	list, err := lead.Notices(ctx, "gucci", "1")
	h.must(err)
	if len(list.Drafts) != 1 || !list.Drafts[0].Filed || len(list.Wanted) == 0 {
		t.Errorf("%+v", list)
	}
	text, err := lead.NoticeText(ctx, "gucci", "fr")
	h.must(err)
	loaded, err := lead.LoadNoticeText(ctx, "gucci", api.NoticeTextRequest{Text: text.Text})
	h.must(err)
	_, err = lead.ReviewNoticeText(ctx, "gucci", "fr", api.NoticeTextReview{Digest: loaded.Digest, Reviewer: "Luc Martin"})
	h.must(err)
	texts, err := lead.NoticeTexts(ctx, "gucci")
	h.must(err)
	if len(texts.Texts) != 9 || len(texts.Wanted) == 0 {
		t.Errorf("%+v", texts)
	}
	rules, err := lead.DutyRules(ctx, "gucci")
	h.must(err)
	if len(rules.Rules) != rules.Book.Rules || rules.Book.Unread != rules.Book.Rules || rules.Advice == "" {
		t.Errorf("%+v", rules.Book)
	}
	for name, call := range map[string]func(context.Context) error{
		"list": func(ctx context.Context) error { _, err := agent.Notices(ctx, "gucci", "1"); return err },
		"show": func(ctx context.Context) error { _, err := agent.Notice(ctx, "gucci", "1", n.Number); return err },
		"draft": func(ctx context.Context) error {
			_, err := agent.DraftNotice(ctx, "gucci", "1", api.NoticeRequest{Form: "police"})
			return err
		},
		"print": func(ctx context.Context) error {
			_, err := agent.PrintNotice(ctx, "gucci", "1", n.Number, "html")
			return err
		},
		"filed": func(ctx context.Context) error {
			_, err := agent.FileNotice(ctx, "gucci", "1", n.Number, filed)
			return err
		},
		"texts": func(ctx context.Context) error { _, err := agent.NoticeTexts(ctx, "gucci"); return err },
		"load": func(ctx context.Context) error {
			_, err := agent.LoadNoticeText(ctx, "gucci", api.NoticeTextRequest{Text: text.Text})
			return err
		},
		"review": func(ctx context.Context) error {
			_, err := agent.ReviewNoticeText(ctx, "gucci", "fr", api.NoticeTextReview{Digest: loaded.Digest})
			return err
		},
		"rules": func(ctx context.Context) error { _, err := agent.DutyRules(ctx, "gucci"); return err },
	} {
		if err := call(ctx); !isType(err, api.TypePolicyDenied) {
			t.Errorf("%s by a support agent: %v", name, err)
		}
	}
}
