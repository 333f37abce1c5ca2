package server_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/watch/notify"
)

// A responder who relies on a pager tests it: the answer is the machine's, the code is
// proof that somebody read it. The vault does the same each month, and says when nobody
// answers.
func TestAReceiverIsTested(t *testing.T) {
	t.Parallel()
	onEach(t, testAReceiverIsTested)
}

const (
	sqlTestedBefore = `UPDATE receivers SET tested = tested - $1`
	sqlTestedOnce   = `UPDATE receivers SET tested = 1, confirmed = 1 WHERE name = 'soc'`
)

func testAReceiverIsTested(t *testing.T, h *house) {
	ctx := t.Context()
	h.watch(t)
	responder := h.as["incident-responder"]
	var status atomic.Int64
	codes := make(chan string, 10)
	pager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m struct {
			Type string `json:"type"`
			Data struct {
				Test bool   `json:"test"`
				Code string `json:"code"`
				Text string `json:"text"`
			} `json:"data"`
		}
		if err := json.Unmarshal(body, &m); err != nil {
			t.Error(err)
		}
		w.WriteHeader(int(status.Load()))
		if m.Type != notify.TypeTest {
			return
		}
		if !m.Data.Test || !strings.HasPrefix(m.Data.Text, "TEST") || !strings.Contains(m.Data.Text, "alarm receiver confirm --brand gucci pager "+m.Data.Code) {
			t.Errorf("no test: %s", body)
		}
		codes <- m.Data.Code
	}))
	defer pager.Close()
	status.Store(http.StatusAccepted)
	_, err := h.CreateReceiver(ctx, "gucci", api.ReceiverRequest{Name: "pager", URL: pager.URL})
	h.must(err)

	for _, role := range []string{"support-agent", "marketing", "data-protection-officer"} {
		if _, err := h.as[role].TestReceiver(ctx, "gucci", "pager"); !isType(err, api.TypePolicyDenied) {
			t.Errorf("a %s tested a receiver: %v", role, err)
		}
	}
	if _, err := responder.TestReceiver(ctx, "gucci", "nobody"); !isType(err, api.TypeNotFound) {
		t.Errorf("nobody was tested: %v", err)
	}
	r, err := responder.TestReceiver(ctx, "gucci", "pager")
	h.must(err)
	if r.TestStatus != http.StatusAccepted || r.TestFault != "" || r.Tested.IsZero() || !r.Confirmed.IsZero() || r.Delivered != 0 {
		t.Errorf("a test that was taken: %+v", r)
	}
	code := <-codes
	if _, err := responder.ConfirmReceiver(ctx, "gucci", "pager", api.ReceiverConfirmation{Code: "aaaaaaaa"}); !isType(err, api.TypeInvalid) {
		t.Errorf("a wrong code: %v", err)
	}
	r, err = responder.ConfirmReceiver(ctx, "gucci", "pager", api.ReceiverConfirmation{Code: code})
	h.must(err)
	if r.Confirmed.IsZero() || r.ConfirmedBy != "incident-responder" {
		t.Errorf("a test that was read: %+v", r)
	}
	list, err := responder.Receivers(ctx, "gucci") // who is alarmed sees by what
	h.must(err)
	if len(list) != 1 || list[0].ConfirmedBy != "incident-responder" {
		t.Errorf("a responder sees %+v", list)
	}

	// One that refuses: the same words as an alarm would meet.
	status.Store(http.StatusServiceUnavailable)
	if r, err = h.TestReceiver(ctx, "gucci", "pager"); err != nil || r.TestStatus != http.StatusServiceUnavailable || !strings.Contains(r.TestFault, "503") || !r.Confirmed.IsZero() {
		t.Errorf("a test that was refused: %+v, %v", r, err)
	}
	again := <-codes
	if _, err := responder.ConfirmReceiver(ctx, "gucci", "pager", api.ReceiverConfirmation{Code: code}); !isType(err, api.TypeInvalid) {
		t.Errorf("the code of an older test: %v", err)
	}
	_, err = responder.ConfirmReceiver(ctx, "gucci", "pager", api.ReceiverConfirmation{Code: " " + strings.ToUpper(again) + "\n"})
	h.must(err)

	// A month later, and then nobody answers.
	log := slog.New(slog.DiscardHandler)
	tend := func(ago time.Duration) {
		t.Helper()
		_, err := h.vault.DB.Exec(ctx, sqlTestedBefore, ago.Microseconds())
		h.must(err)
		h.must(h.vault.Notify.Tend(ctx, log))
	}
	status.Store(http.StatusOK)
	tend(29 * 24 * time.Hour)
	if len(codes) != 0 {
		t.Error("a receiver was tested before its month was over")
	}
	tend(2 * 24 * time.Hour)
	<-codes
	tend(2 * 24 * time.Hour)
	if a := silent(t, h); len(a) != 0 {
		t.Errorf("an alarm before its time: %+v", a)
	}
	tend(2 * 24 * time.Hour)
	eventually(t, "there is an alarm", func() bool { return len(silent(t, h)) == 1 })
	h.must(h.vault.Notify.Tend(ctx, log))
	if a := silent(t, h); len(a) != 1 || a[0].Severity != "high" || !strings.Contains(a[0].Seen, "nobody confirmed the test of the receiver pager in 4 days") {
		t.Errorf("the alarm of a test that nobody read: %+v", a)
	}
	if len(codes) != 0 {
		t.Error("it was tested again meanwhile")
	}

	// A server without a mail server leaves what is reached by mail to another one.
	_, err = h.CreateReceiver(ctx, "gucci", api.ReceiverRequest{Name: "soc", URL: "mailto:soc@gucci.example"})
	h.must(err)
	_, err = h.vault.DB.Exec(ctx, sqlTestedOnce)
	h.must(err)
	h.must(h.vault.Notify.Tend(ctx, log))
	list, err = responder.Receivers(ctx, "gucci")
	h.must(err)
	for _, r := range list {
		if r.Name == "soc" && r.Tested.UnixMicro() != 1 {
			t.Errorf("a test that cannot be sent was begun: %+v", r)
		}
	}
}

// Somebody calls: the alarm pages as one that the vault raised.
func TestAnAlarmByHand(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		h.watch(t)
		responder, p := h.as["incident-responder"], newPager(t)
		_, err := h.CreateReceiver(ctx, "gucci", api.ReceiverRequest{Name: "first", URL: p.url})
		h.must(err)
		if _, err := h.as["support-agent"].RaiseAlarm(ctx, "gucci", api.RaiseRequest{Severity: "high", Source: "call"}); !isType(err, api.TypePolicyDenied) {
			t.Errorf("an agent raised an alarm: %v", err)
		}
		if _, err := responder.RaiseAlarm(ctx, "gucci", api.RaiseRequest{Severity: "high", Source: "call", Principal: "nobody"}); !isType(err, api.TypeNotFound) {
			t.Errorf("an alarm about nobody: %v", err)
		}
		a, err := responder.RaiseAlarm(ctx, "gucci", api.RaiseRequest{Severity: "critical", Source: "claim", Principal: "support-agent", Ticket: "INC-8"})
		h.must(err)
		if a.Rule != "by-hand" || a.Seen != "somebody claims to have data" || a.Severity != "critical" || a.Name != "support-agent" || a.State != "new" {
			t.Errorf("%+v", a)
		}
		eventually(t, "somebody was paged", func() bool { return p.pages() == a.ID })
		stored, err := responder.Alarm(ctx, "gucci", a.ID)
		h.must(err)
		if stored.Seen != a.Seen || stored.Name != a.Name || stored.Key != a.Key {
			t.Errorf("stored as %+v, answered as %+v", stored, a)
		}
	})
}

func silent(t *testing.T, h *house) []api.Alarm {
	t.Helper()
	var list api.Alarms
	h.must(h.as["incident-responder"].Do(t.Context(), "GET", "/v1/brands/gucci/alarms", nil, &list))
	return slices.DeleteFunc(list.Alarms, func(a api.Alarm) bool { return a.Rule != "receiver" })
}
