package campaign_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/customer/campaign"
	"github.com/cloakroom/cloakroom/internal/customer/message"
	"github.com/cloakroom/cloakroom/internal/customer/message/messagetest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// house is a vault in which a thief saw customers, and an incident whose scope they are.
type house struct {
	*apptest.House
	t       *testing.T
	office  *messagetest.Office
	ines    identity.Caller
	officer identity.Caller
	tokens  []string
}

func notice() api.MailTemplate {
	return api.MailTemplate{Name: "notice", Purpose: "incident-response", Variants: []api.MailVariant{
		{Language: "en", Subject: "About your data at {{brand}}", Text: "Dear {{given_name|customer}},\n\nsomebody saw your data. Your code is {{code}}: https://www.gucci.example/real\n"},
		{Language: "it", Subject: "I tuoi dati", Text: "Gentile {{given_name|cliente}},\n\nqualcuno ha visto i tuoi dati. Codice {{code}}\n"},
	}}
}

func newHouse(t *testing.T, h *apptest.House, people []api.Fields, seen int) *house {
	t.Helper()
	x := &house{House: h, t: t, office: messagetest.Open(t)}
	ctx := t.Context()
	from, languages := `"Gucci" <privacy@gucci.example>`, []string{"en"}
	_, err := h.Admin.SetSettings(ctx, h.Local, "gucci", api.SettingsChange{Version: 1, MailFrom: &from, Languages: languages}, true)
	h.Must(err)
	_, err = h.Messages.SetTemplate(ctx, h.Local, "gucci", api.TemplateRequest{Template: notice()})
	h.Must(err)
	list := budget.DefaultRules().List()
	for i := range list {
		if c := list[i].Class; c == budget.Clear || c == budget.Search || c == budget.Write {
			list[i].Limit = 1 << 20
		}
	}
	rules, err := budget.NewRules(list)
	h.Must(err)
	_, err = h.Admin.SetRules(ctx, h.Local, "gucci", api.BudgetRules{Rules: string(rules.Encode())}, true)
	h.Must(err)
	for chunk := range slices.Chunk(people, 1000) {
		x.tokens = append(x.tokens, h.Put("gucci", chunk...)...)
	}
	thief := h.Person("thief", map[string]string{"gucci": access.Application})
	for chunk := range slices.Chunk(x.tokens[:seen], 500) {
		_, err := h.Disclose.Reveal(ctx, thief, "gucci", api.RevealRequest{Tokens: chunk, Fields: []string{"email"}, Purpose: "order-fulfilment"})
		h.Must(err)
	}
	x.officer, x.ines = h.TwoPeople()
	_, err = h.Incident.Open(ctx, x.ines, "gucci", api.IncidentRequest{Title: "stolen key"})
	h.Must(err)
	_, err = h.Incident.Scope(ctx, x.ines, "gucci", "1", api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"thief"}}}})
	h.Must(err)
	h.Post.Use(x.office.Post(), 1_000_000)
	return x
}

func people(n int) (out []api.Fields) {
	for i := range n {
		f := api.Fields{"external_id": fmt.Sprint("C-", i), "given_name": "Noor", "email": fmt.Sprintf("noor%d@mail.example", i)}
		switch i % 10 {
		case 1:
			f["locale"] = "it-IT"
		case 2:
			f["locale"] = "ja"
		case 3:
			delete(f, "email")
		case 4:
			f["standing"] = "deceased"
		case 5:
			f["standing"] = "minor"
		}
		out = append(out, f)
	}
	return out
}

func (x *house) pass() { x.t.Helper(); x.Must(x.Post.Pass(x.t.Context())) }

// plan plans a campaign, and returns it ready.
func (x *house) plan() *api.MailJob {
	x.t.Helper()
	j, err := x.Campaigns.Create(x.t.Context(), x.ines, "gucci", api.CampaignRequest{Incident: "1", ScopeVersion: 1, Template: "notice"})
	x.Must(err)
	x.pass()
	return x.show(j.Number)
}

// show shows a campaign.
func (x *house) show(id uint64) *api.MailJob {
	x.t.Helper()
	j, err := x.Campaigns.Show(x.t.Context(), x.ines, "gucci", id)
	x.Must(err)
	return j
}

// approve has the second person approve what the first asked for.
func (x *house) approve(_ *api.MailJob, err error) {
	x.t.Helper()
	var waits *change.PendingError
	if !errors.As(err, &waits) {
		x.t.Fatalf("one hand was enough: %v", err)
	}
	_, err = x.Changes.Approve(x.t.Context(), x.officer, waits.ID)
	x.Must(err)
}

func (x *house) start(id uint64) {
	x.t.Helper()
	x.approve(x.Campaigns.Request(x.t.Context(), x.ines, "gucci", id, api.JobStepRequest{}))
}

// sums are how many people are in each state.
func sums(j *api.MailJob) map[string]int64 {
	out := map[string]int64{}
	for _, c := range j.States {
		out[c.State] += c.People
		out["all"] += c.People
	}
	return out
}

// Everybody in the approved version of the scope is written to once, and nobody else, in
// their language, while the whole brand is contained, and beside the brand's own budgets.
func TestACampaign(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		x := newHouse(t, h, people(30), 20)
		ctx := t.Context()
		j := x.plan()
		if s := sums(j); j.State != message.Ready || j.People != 20 || s["planned"] != 14 || s["no-address"] != 2 || s["held"] != 4 || len(x.office.Got()) != 0 {
			t.Fatalf("%+v", j)
		}
		var langs []string
		for _, c := range j.States {
			if c.State == "planned" {
				langs = append(langs, fmt.Sprint(c.Language, c.People))
			}
		}
		if !slices.Equal(langs, []string{"en *12", "it2"}) {
			t.Errorf("%v", langs)
		}
		// What is planned and not approved sends nothing, and the requester does not approve.
		x.pass()
		_, err := x.Campaigns.Request(ctx, x.ines, "gucci", j.Number, api.JobStepRequest{})
		var waits *change.PendingError
		if !errors.As(err, &waits) {
			t.Fatal(err)
		}
		if _, err := h.Changes.Approve(ctx, x.ines, waits.ID); !errors.Is(err, change.ErrOwn) {
			t.Errorf("the requester approves: %v", err)
		}
		shown, err := h.Changes.Show(ctx, x.officer, waits.ID)
		h.Must(err)
		text := strings.Join(shown.Lines, "\n")
		for _, want := range []string{"2 people get the it text", "because there is none in their language", "2 people: no-address", "no given name", "longest", "right to left", "no purchases"} {
			if !strings.Contains(text, want) {
				t.Errorf("the approver does not see %q in\n%s", want, text)
			}
		}
		if strings.Contains(text, "@mail.example") {
			t.Error("the approver sees a customer's address")
		}
		_, err = h.Changes.Approve(ctx, x.officer, waits.ID)
		h.Must(err)
		// Everything is contained, and the notices go out all the same.
		_, err = h.Contain.Contain(ctx, x.ines, "gucci", api.ContainRequest{Brand: true, Keep: "nothing"})
		h.Must(err)
		used := func() int {
			list, err := h.Ledger.Usage(ctx, h.Brand("gucci"), budget.Holder{Kind: budget.Brand})
			h.Must(err)
			n := 0
			for _, u := range list {
				n += u.Count
			}
			return n
		}
		before := used()
		x.pass()
		if now := used(); now != before {
			t.Errorf("the campaign used %d of the brand's own budgets", now-before)
		}
		j = x.show(j.Number)
		if s := sums(j); !j.Finished || s["accepted"] != 14 || s["all"] != 20 {
			t.Errorf("%+v", j)
		}
		got := x.office.Count()
		for i := range 30 {
			want := 0
			if i < 20 && (i%10 < 3 || i%10 > 5) {
				want = 1
			}
			if n := got[fmt.Sprintf("noor%d@mail.example", i)]; n != want {
				t.Errorf("person %d got %d mails, want %d", i, n, want)
			}
		}
		// The log says who was written to, and through whom.
		disclosed := 0
		h.Must(h.Ledger.Scan(ctx, h.Brand("gucci"), 0, func(_ uint64, e entry.Entry, ords []record.Ordinal) error {
			if m, ok := e.Detail.(entry.Mailed); ok && !m.Count {
				if e.Recipient != "mail:127.0.0.1" || e.Class != "campaign" || !m.Campaign || e.Actor != entry.ActorSystem {
					t.Errorf("%+v", e)
				}
				disclosed += len(ords)
			}
			return nil
		}))
		if disclosed != 14 {
			t.Errorf("%d people in entries", disclosed)
		}
		lines, err := h.Campaigns.Lines(ctx, x.ines, "gucci", j.Number, 0, "accepted", false)
		h.Must(err)
		for _, l := range lines.Lines {
			if l.Row == 0 || l.Token != "" || l.Queue == "" || l.Entry == 0 {
				t.Errorf("%+v", l)
			}
		}
	})
}

var mailCode = regexp.MustCompile(`[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{2,4}`)

// A corrected address gets the mail once more, under a code of its own; nobody outside of
// the scope gets one.
func TestACorrectedAddress(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		x := newHouse(t, h, people(4), 2)
		ctx := t.Context()
		x.office.Behave = func(to string, _ int) messagetest.What {
			if to == "noor0@mail.example" {
				return 550
			}
			return messagetest.Take
		}
		j := x.plan()
		x.start(j.Number)
		x.pass()
		if s := sums(x.show(j.Number)); s["refused"] != 1 || s["accepted"] != 1 {
			t.Fatalf("%v", s)
		}
		h.Put("gucci", api.Fields{"external_id": "C-0", "given_name": "Noor", "email": "right@mail.example"})
		_, err := h.Campaigns.Settle(ctx, x.ines, "gucci", j.Number, api.SettleRequest{Token: x.tokens[0], As: "again"})
		h.Must(err)
		if _, err := h.Campaigns.Settle(ctx, x.ines, "gucci", j.Number, api.SettleRequest{Token: x.tokens[3], As: "again"}); !errors.Is(err, message.ErrNone) {
			t.Errorf("somebody outside of the scope: %v", err)
		}
		x.pass()
		if n := x.office.Count()["right@mail.example"]; n != 1 {
			t.Errorf("%d mails", n)
		}
		codes := map[string]bool{}
		for _, g := range x.office.Got() {
			code := mailCode.FindString(strings.ReplaceAll(string(g.Raw), "=\r\n", ""))
			if code == "" {
				t.Fatalf("no code in %s", g.Raw)
			}
			codes[code] = true
		}
		if len(codes) != 2 {
			t.Errorf("codes are not each mail's own: %v", codes)
		}
	})
}

// A row that somebody writes into the database is of nobody in the scope: the campaign
// pauses, and nothing leaves. Nor does a campaign that nobody approved run.
func TestNobodyOutsideTheScope(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		x := newHouse(t, h, people(4), 2)
		ctx := t.Context()
		j := x.plan()
		_, err := h.DB.Exec(ctx, `UPDATE mail_jobs SET state = 'running' WHERE id = $1`, int64(j.Number))
		h.Must(err)
		_ = h.Post.Pass(ctx)
		if n := len(x.office.Got()); n != 0 {
			t.Fatalf("%d mails of a campaign that nobody approved", n)
		}
		_, err = h.DB.Exec(ctx, `UPDATE mail_jobs SET state = 'ready' WHERE id = $1`, int64(j.Number))
		h.Must(err)
		x.start(j.Number)
		_, err = h.DB.Exec(ctx, `INSERT INTO mails (job, ord, version, state, attempts, due, entry, lang, mid, code, queue, reason, bounce, print, changed)
			SELECT job, (SELECT max(ord) FROM customers), 1, 0, 0, due, 0, lang, mid, code, '', '', '', 0, changed FROM mails WHERE job = $1 AND ord = (SELECT min(ord) FROM mails WHERE job = $1)`, int64(j.Number))
		h.Must(err)
		_ = h.Post.Pass(ctx)
		if j = x.show(j.Number); j.State != message.Paused || len(x.office.Got()) != 0 {
			t.Errorf("%+v, %d mails", j, len(x.office.Got()))
		}
	})
}

// On another host, or after a restore, a campaign pauses by itself and says why, and two
// people let it go on; a hold keeps it until its day.
func TestACampaignPauses(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		x := newHouse(t, h, people(4), 2)
		ctx := t.Context()
		j := x.plan()
		x.start(j.Number)
		there := h.Post.Place
		for _, c := range []struct {
			why  string
			make func()
		}{
			{"another host", func() { h.Post.Place = "somewhere else" }},
			{"restored", func() {
				_, err := h.Ledger.BeginEpoch(ctx, identity.Who{Caller: h.Local, Brand: h.Brand("gucci"), Role: access.Administrator}, ledger.Beginning{Cause: entry.CauseRestore, By: entry.ByOwner})
				h.Must(err)
			}},
		} {
			c.make()
			x.pass()
			if j = x.show(j.Number); j.State != message.Paused || !strings.HasPrefix(j.Reason, c.why) || len(x.office.Got()) != 0 {
				t.Fatalf("%+v, %d mails", j, len(x.office.Got()))
			}
			h.Post.Place = there
			if c.why == "another host" {
				x.approve(h.Campaigns.Resume(ctx, x.ines, "gucci", j.Number, api.JobStepRequest{}))
			}
		}
		now, err := h.DB.Now(ctx)
		h.Must(err)
		_, err = h.Campaigns.Hold(ctx, x.ines, "gucci", j.Number, api.JobStepRequest{Until: now.Add(48 * time.Hour), Reason: "prosecutor"})
		h.Must(err)
		if _, err := h.Campaigns.Resume(ctx, x.ines, "gucci", j.Number, api.JobStepRequest{}); !errors.Is(err, campaign.ErrHeld) {
			t.Errorf("resumed under a hold: %v", err)
		}
		h.Later(49 * time.Hour)
		x.approve(h.Campaigns.Resume(ctx, x.ines, "gucci", j.Number, api.JobStepRequest{}))
		x.pass()
		if j = x.show(j.Number); !j.Finished || len(x.office.Got()) != 2 {
			t.Errorf("%+v, %d mails", j, len(x.office.Got()))
		}
	})
}

// Whom no mail reaches gets a letter: by a print house that two people approved.
func TestLetters(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		list := people(10)
		for i := range list {
			list[i]["street"], list[i]["city"] = fmt.Sprint(i, " Rue de Rivoli"), "Paris"
		}
		x := newHouse(t, h, list, 10)
		ctx := t.Context()
		j := x.plan()
		x.start(j.Number)
		x.pass()
		req := api.PrintRequest{Recipient: "Stamperia Rossi", Country: "IT"}
		if _, err := h.Campaigns.Letters(ctx, x.ines, "gucci", j.Number, req); !errors.Is(err, campaign.ErrPrinter) {
			t.Errorf("one hand: %v", err)
		}
		x.approve(h.Campaigns.PrintHouse(ctx, x.ines, "gucci", j.Number, req))
		page, err := h.Campaigns.Letters(ctx, x.ines, "gucci", j.Number, req)
		h.Must(err)
		var why []string
		for _, l := range page.Letters {
			why = append(why, l.Why)
			if l.Fields["city"] != "Paris" || l.Code == "" || !strings.Contains(l.Text, l.Code) || l.Fields["email"] != "" {
				t.Errorf("%+v", l)
			}
		}
		if !slices.Equal(why, []string{"no-address", "minor"}) {
			t.Fatalf("%v: who is dead gets none", why)
		}
		a, err := h.Campaigns.Printed(ctx, x.ines, "gucci", j.Number, api.PrintedRequest{Rows: []uint64{page.Letters[0].Row}, As: "printed"})
		h.Must(err)
		if a.Letters != 1 {
			t.Errorf("%+v", a)
		}
		lines, err := h.Campaigns.Lines(ctx, x.ines, "gucci", j.Number, 0, "no-address", false)
		h.Must(err)
		if len(lines.Lines) != 1 || lines.Lines[0].Print != "printed" {
			t.Errorf("%+v", lines)
		}
	})
}

// However often the server dies while a campaign is sent, and whatever the mail server does,
// the states add up to the scope, nobody gets two mails, and those of whom the mail server says
// nothing are in doubt: counted at the receiving end.
func TestStatesAddUpAfterEveryKill(t *testing.T) {
	if testing.Short() {
		t.Skip()
	}
	t.Parallel()
	const all = 1000
	h := apptest.Open(t)
	x := newHouse(t, h, people(all), all)
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	x.office.Behave = func(to string, n int) messagetest.What {
		var i int
		fmt.Sscanf(to, "noor%d@", &i)
		switch {
		case i%97 == 0 && n == 1:
			return 451
		case i%101 == 0:
			return 550
		case i%103 == 0:
			return messagetest.DropBefore
		case i%107 == 0:
			return messagetest.DropAfter
		}
		return messagetest.Take
	}
	j := x.plan()
	x.start(j.Number)
	kills := 0
	for range 6 {
		done := make(chan error, 1)
		go func() { done <- h.Post.Pass(t.Context()) }()
		time.Sleep(time.Duration(20+r.IntN(150)) * time.Millisecond)
		h.Cut(done)
		h.Post.Use(x.office.Post(), 1_000_000)
		kills++
		if s := sums(x.show(j.Number)); s["all"] != all {
			t.Fatalf("after kill %d: %v", kills, s)
		}
		h.Later(time.Minute)
	}
	for range 4 {
		x.pass()
		h.Later(10 * time.Minute)
	}
	j = x.show(j.Number)
	s := sums(j)
	got := x.office.Count()
	if !j.Finished || s["all"] != all {
		t.Errorf("%v", s)
	}
	took := int64(len(got))
	if took < s["accepted"] || took > s["accepted"]+s["in-doubt"] {
		t.Errorf("the mail server took mail for %d people; accepted %d, in doubt %d", took, s["accepted"], s["in-doubt"])
	}
	for to, n := range got {
		if n != 1 {
			t.Errorf("%s got %d mails", to, n)
		}
	}
	// Two kinds of failure leave a mail in doubt by themselves; a kill leaves one a worker.
	own := int64(0)
	for i := range all {
		if k := i % 10; k >= 3 && k <= 5 {
			continue
		}
		if i%97 != 0 && i%101 != 0 && (i%103 == 0 || i%107 == 0) {
			own++
		}
	}
	if s["in-doubt"] > own+int64(kills*message.Workers) {
		t.Errorf("%d in doubt after %d kills", s["in-doubt"], kills)
	}
	t.Logf("%d kills: %v, %d taken", kills, s, took)
}
