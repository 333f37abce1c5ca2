package server_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/watch/canary"
)

// watch makes and sends alarms, as a server does.
func (h *house) watch(t *testing.T) {
	watching, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.vault.Watch(watching, slog.New(slog.NewTextHandler(io.Discard, nil)), "") }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Mail to a decoy is an alarm with the export that the decoy left in, and whoever sends
// or reports it learns nothing.
func TestMailToDecoys(t *testing.T) {
	t.Parallel()
	onEach(t, testMailToDecoys)
}

func testMailToDecoys(t *testing.T, h *house) {
	ctx := t.Context()
	h.watch(t)
	responder := h.as["incident-responder"]
	h.must(responder.Do(ctx, "POST", client.Path("brands", "gucci", "canaries"), api.CanaryRequest{Count: 40, Domain: "post.gucci.example", Now: true}, nil))
	bound, err := h.vault.Canaries.ForExport(ctx, 1, "exp-1", 20)
	h.must(err)
	var list []api.Canary
	h.must(responder.Do(ctx, "GET", client.Path("brands", "gucci", "canaries"), nil, &list))
	var left, stayed api.Canary // in the export, and not
	for _, c := range list {
		decoy, ok, err := h.vault.Mails.Canaries.ByAddress(ctx, 1, strings.ToLower(c.Email))
		if err != nil || !ok {
			continue // some have no address
		}
		if slices.Contains(bound, decoy.Ord) {
			left = c
		} else {
			stayed = c
		}
	}
	if left.Email == "" || stayed.Email == "" {
		t.Fatal("no decoys with addresses")
	}

	h.must(h.Do(ctx, "POST", "/v1/principals", api.Principal{Name: "decoy-mail", Kind: "service", Roles: map[string]string{"gucci": "mail-receiver"}}, nil))
	reporter, _ := h.newKey(t, "decoy-mail")
	path := client.Path("brands", "gucci", "canary-mail")
	for who, c := range map[string]*client.Client{"an agent": h.as["support-agent"], "a responder": responder, "the administrator": h.Client} {
		if err := c.Do(ctx, "POST", path, api.CanaryMailRequest{Recipients: []string{left.Email}}, nil); !isType(err, api.TypePolicyDenied) {
			t.Errorf("%s reported mail: %v", who, err)
		}
	}
	for _, p := range []string{"canaries", "canary-mail", "alarms"} {
		if err := reporter.Do(ctx, "GET", client.Path("brands", "gucci", p), nil, nil); !isType(err, api.TypePolicyDenied) {
			t.Errorf("who reports mail saw %s: %v", p, err)
		}
	}
	for _, bad := range []api.CanaryMailRequest{{}, {Recipients: []string{"a@b.example"}, Network: "192.0.2.7/32"}, {Recipients: []string{"a@b.example"}, SenderDomain: "Jan Jansen"}} {
		if err := reporter.Do(ctx, "POST", path, bad, nil); !isType(err, api.TypeInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}

	// Over SMTP, as it comes.
	from, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	var down atomic.Bool
	var logged lockedBuffer
	l := &canary.Listener{Brands: map[string]string{"post.gucci.example": "gucci"}, Log: slog.New(slog.NewTextHandler(&logged, nil)),
		Report: func(ctx context.Context, brand string, req api.CanaryMailRequest) error {
			if down.Load() {
				return io.ErrUnexpectedEOF
			}
			return reporter.Do(ctx, "POST", client.Path("brands", brand, "canary-mail"), req, nil)
		}}
	serving, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(serving, from) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	send := func(to ...string) error {
		return smtp.SendMail(from.Addr().String(), nil, "spam@thief.example", to, []byte("Message-ID: <one@thief.example>\r\nSubject: very secret words\r\n\r\nBuy.\r\n"))
	}
	if err := send("somebody@elsewhere.example"); err == nil || !strings.Contains(err.Error(), "550") {
		t.Errorf("mail for others was taken: %v", err)
	}
	mails := func() (out []entry.Entry) {
		for _, e := range h.entriesOf(entry.KindCanary) {
			if e.Change() == "mail" {
				out = append(out, e)
			}
		}
		return out
	}
	h.must(send("nobody.known@post.gucci.example"))
	if n := len(mails()); n != 0 {
		t.Fatalf("%d entries of mail to nobody", n)
	}
	h.must(send(strings.ToUpper(left.Email), "nobody.known@post.gucci.example"))
	got := mails()
	if len(got) != 1 || got[0].Texts()["export"] != "exp-1" || got[0].Texts()["network"] != "127.0.0.0/24" || got[0].Texts()["sender"] != "thief.example" || len(got[0].Texts()["message"]) != 64 || got[0].Count != 0 {
		t.Fatalf("%+v", got)
	}
	if text := fmt.Sprint(got); strings.Contains(text, left.Email) || strings.Contains(text, left.Token) || strings.Contains(text, "secret") {
		t.Errorf("the entry tells of the mail or the decoy: %s", text)
	}
	var page api.Alarms
	alarms := func() []api.Alarm {
		h.must(responder.Do(ctx, "GET", client.Path("brands", "gucci", "alarms"), nil, &page))
		return slices.DeleteFunc(page.Alarms, func(a api.Alarm) bool { return a.Rule != "canary-mail" })
	}
	eventually(t, "there is an alarm", func() bool { return len(alarms()) == 1 })
	if a := alarms()[0]; a.Severity != "critical" || a.Principal != 0 || !strings.Contains(a.Seen, "1 mail to a canary that only export exp-1 contained, from 127.0.0.0/24, sender at thief.example") {
		t.Errorf("%+v", a)
	}

	// A flood is counted, and grows nothing; it is logged when the hour ends.
	flood := api.CanaryMailRequest{Recipients: slices.Repeat([]string{left.Email}, 50), Network: "192.0.2.0/24", SenderDomain: "flood.example"}
	for range 2 {
		h.must(reporter.Do(ctx, "POST", path, flood, nil))
	}
	var same [2]api.CanaryMailAccepted
	h.must(reporter.Do(ctx, "POST", path, api.CanaryMailRequest{Recipients: []string{stayed.Email}}, &same[0]))
	h.must(reporter.Do(ctx, "POST", path, api.CanaryMailRequest{Recipients: []string{"x" + stayed.Email}}, &same[1]))
	if same[0] != same[1] {
		t.Errorf("answers differ: %+v", same)
	}
	if n := len(mails()); n != 2 {
		t.Fatalf("%d entries, want one for each decoy", n)
	}
	h.must(h.vault.Mails.Flush(ctx))
	if got := mails(); len(got) != 3 || got[2].Texts()["times"] != "100" {
		t.Fatalf("%+v", got)
	}
	eventually(t, "each is an alarm", func() bool { return len(alarms()) == 3 })
	if a := alarms(); !a[0].Repeat || a[1].Repeat || !strings.Contains(a[1].Seen, "no export contained") {
		t.Errorf("%+v", a)
	}

	// Which decoys they were is told to whoever may know.
	var told []api.CanaryMail
	h.must(responder.Do(ctx, "GET", path, nil, &told))
	if len(told) != 3 || told[0].Token != left.Token || told[0].Times != 100 || told[0].Export != "exp-1" || told[1].Token != stayed.Token || told[2].MessageHash == "" {
		t.Errorf("%+v", told)
	}
	// A vault that does not answer: the mail comes again.
	down.Store(true)
	if err := send(left.Email); err == nil || !strings.Contains(err.Error(), "451") {
		t.Errorf("mail was taken that nobody hears of: %v", err)
	}
	logged.mu.Lock()
	defer logged.mu.Unlock()
	if text := logged.b.String(); !strings.Contains(text, "did not take") || strings.Contains(text, "thief") || strings.Contains(text, left.Email) {
		t.Error("the listener's own log tells of the mail")
	}
}

var pageRounds = flag.Int("page-rounds", 0, "measure how long it takes from a look at a decoy to the pager, so often")

func TestPageComesSoon(t *testing.T) {
	t.Parallel()
	if *pageRounds == 0 {
		t.Skip("only with -page-rounds N")
	}
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		h.watch(t)
		responder := h.as["incident-responder"]
		h.must(responder.Do(ctx, "POST", client.Path("brands", "gucci", "canaries"), api.CanaryRequest{Count: 1, Now: true}, nil))
		var list []api.Canary
		h.must(responder.Do(ctx, "GET", client.Path("brands", "gucci", "canaries"), nil, &list))
		came := make(chan time.Duration, 100)
		pager := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			now := time.Now()
			var m struct {
				Data api.Alarm `json:"data"`
			}
			if err := json.NewDecoder(r.Body).Decode(&m); err == nil && m.Data.Rule == "canary" {
				came <- now.Sub(m.Data.At)
			}
		}))
		defer pager.Close()
		h.must(h.Do(ctx, "POST", client.Path("brands", "gucci", "receivers"), api.ReceiverRequest{Name: "pager", URL: pager.URL, Severity: "critical"}, nil))
		var all []time.Duration
		for i := range *pageRounds { // somebody else each time, or it would be told once
			name := fmt.Sprint("agent-", i)
			h.must(h.Do(ctx, "POST", "/v1/principals", api.Principal{Name: name, Kind: "person", Roles: map[string]string{"gucci": "support-agent"}}, nil))
			agent, _ := h.newKey(t, name)
			_, err := agent.Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{list[0].Token}, Fields: []string{"given_name"}, Purpose: "customer-support", Ticket: "CASE-1"})
			h.must(err)
			all = append(all, <-came)
		}
		slices.Sort(all)
		t.Logf("from the entry's commit to the pager, %d times: median %s, at most %s", len(all), all[len(all)/2].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond))
	})
}
