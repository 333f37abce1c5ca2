package server_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/watch/notify"
)

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(2 * time.Minute)
	for !cond() {
		select {
		case <-late:
			t.Fatalf("it never came that %s", what)
		case <-tick.C:
		}
	}
}

// The way of an alarm: seen, told, acknowledged, closed, and all of it in the log.
func TestTheWayOfAnAlarm(t *testing.T) {
	t.Parallel()
	onEach(t, testTheWayOfAnAlarm)
}

func testTheWayOfAnAlarm(t *testing.T, h *house) {
	events := filepath.Join(t.TempDir(), "events.jsonl")
	watching, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.vault.Watch(watching, slog.New(slog.NewTextHandler(io.Discard, nil)), events) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	ctx := t.Context()
	responder, officer, agent := h.as["incident-responder"], h.as["data-protection-officer"], h.as["support-agent"]
	alarms := func(rest ...string) string {
		return client.Path(append([]string{"brands", "gucci", "alarms"}, rest...)...)
	}
	detection := client.Path("brands", "gucci", "detection")

	// Rules: the administrator sets them, strictly; the responder sees them.
	err := h.Do(ctx, "PUT", detection, api.DetectionRules{Rules: "surge:\n  sigmaa: 3"}, nil)
	if !isType(err, api.TypeInvalid) || !strings.Contains(err.Error(), "line 2: field sigmaa is not known") {
		t.Fatalf("rules with a misspelt name: %v", err)
	}
	const text = "surge: {no_baseline: 3}"
	h.must(h.Do(ctx, "PUT", detection, api.DetectionRules{Rules: text}, nil))
	if err := responder.Do(ctx, "PUT", detection, api.DetectionRules{}, nil); !isType(err, api.TypePolicyDenied) {
		t.Errorf("a responder set rules: %v", err)
	}
	var rules api.DetectionRules
	h.must(responder.Do(ctx, "GET", detection, nil, &rules))
	if rules.Rules != text {
		t.Errorf("the rules are %q", rules.Rules)
	}

	// A receiver, whose secret is told once.
	type delivery struct {
		header http.Header
		body   []byte
	}
	got := make(chan delivery, 10)
	pager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- delivery{r.Header, b}
	}))
	defer pager.Close()
	receivers := client.Path("brands", "gucci", "receivers")
	if err := h.Do(ctx, "POST", receivers, api.ReceiverRequest{Name: "pager", URL: "http://pager.example/secret-path"}, nil); !isType(err, api.TypeInvalid) || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("alarms would cross the network in clear: %v", err)
	}
	if err := responder.Do(ctx, "POST", receivers, api.ReceiverRequest{Name: "pager", URL: pager.URL}, nil); !isType(err, api.TypePolicyDenied) {
		t.Errorf("a responder added a receiver: %v", err)
	}
	var made api.Receiver
	h.must(h.Do(ctx, "POST", receivers, api.ReceiverRequest{Name: "pager", URL: pager.URL + "/secret-path"}, &made))
	if err := h.Do(ctx, "POST", receivers, api.ReceiverRequest{Name: "pager", URL: pager.URL}, nil); !isType(err, api.TypeConflict) {
		t.Errorf("a receiver's name was given twice: %v", err)
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(made.Secret, notify.SecretPrefix))
	if err != nil || len(secret) != 32 {
		t.Fatalf("the secret has %d bytes, %v", len(secret), err)
	}

	// Three customers in an hour, where nothing is usual yet.
	var put []api.Fields
	for i := range 3 {
		put = append(put, api.Fields{"external_id": fmt.Sprint("W-", i), "email": fmt.Sprintf("w%d@example.com", i)})
	}
	w, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: put})
	h.must(err)
	for i, r := range w.Results {
		_, err := agent.Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{r.Token}, Fields: []string{"email"}, Purpose: "customer-support", Ticket: fmt.Sprint("CASE-", i)})
		h.must(err)
	}
	var list api.Alarms
	eventually(t, "there is an alarm", func() bool {
		h.must(responder.Do(ctx, "GET", alarms()+"?state=new", nil, &list))
		// One hand made the principals: that is an alarm each, and not what this is about.
		list.Alarms = slices.DeleteFunc(list.Alarms, func(a api.Alarm) bool { return a.Rule == "second-person" })
		return len(list.Alarms) == 1
	})
	a := list.Alarms[0]
	if a.Rule != "surge" || a.Name != "support-agent" || a.Customers != 3 || !strings.Contains(a.Usual, "no baseline yet") || a.State != "new" {
		t.Fatalf("%+v", a)
	}

	d := <-got
	sec, err := strconv.ParseInt(d.header.Get("webhook-timestamp"), 10, 64)
	h.must(err)
	if d.header.Get("webhook-signature") != notify.Sign(secret, d.header.Get("webhook-id"), time.Unix(sec, 0), d.body) || !strings.Contains(string(d.body), a.ID) {
		t.Errorf("what was sent is not signed, or of another alarm: %s", d.body)
	}
	var served []api.Receiver
	eventually(t, "the delivery is noted", func() bool {
		h.must(h.Do(ctx, "GET", receivers, nil, &served))
		return served[0].Delivered == 1
	})
	if served[0].Secret != "" || strings.Contains(served[0].Host, "/") {
		t.Errorf("secrets are told again: %+v", served[0])
	}
	eventually(t, "the event is in the file", func() bool {
		text, err := os.ReadFile(events)
		return err == nil && strings.Contains(string(text), `"class_uid":2004`) && strings.Contains(string(text), a.ID)
	})

	// Who may see and who may close.
	h.must(officer.Do(ctx, "GET", alarms(a.ID), nil, &a))
	for role, c := range map[string]*client.Client{"officer": officer, "agent": agent, "administrator": h.Client} {
		if err := c.Do(ctx, "POST", alarms(a.ID, "close"), api.CloseRequest{Reason: "expected"}, nil); !isType(err, api.TypePolicyDenied) {
			t.Errorf("the %s closed an alarm: %v", role, err)
		}
	}
	for role, c := range map[string]*client.Client{"agent": agent, "administrator": h.Client} {
		if err := c.Do(ctx, "GET", alarms(), nil, nil); !isType(err, api.TypePolicyDenied) {
			t.Errorf("the %s saw alarms: %v", role, err)
		}
	}
	h.must(responder.Do(ctx, "POST", alarms(a.ID, "ack"), struct{}{}, &a))
	if a.State != "acknowledged" {
		t.Errorf("%+v", a)
	}
	for reason, ok := range map[string]bool{"": false, "Zoë Durand asked for it": false} {
		if err := responder.Do(ctx, "POST", alarms(a.ID, "close"), api.CloseRequest{Reason: reason}, nil); (err == nil) != ok || err != nil && strings.Contains(err.Error(), "Durand") {
			t.Errorf("closed because of %q: %v", reason, err)
		}
	}
	h.must(responder.Do(ctx, "POST", alarms(a.ID, "close"), api.CloseRequest{Reason: "exercise", Ticket: "DRILL-1"}, &a))
	if a.State != "closed" || a.Reason != "exercise" || a.Ticket != "DRILL-1" || a.ClosedBy == 0 {
		t.Errorf("%+v", a)
	}
	if err := responder.Do(ctx, "POST", alarms(a.ID, "ack"), struct{}{}, nil); !isType(err, api.TypeConflict) {
		t.Errorf("a closed alarm was acknowledged: %v", err)
	}
	for _, id := range []string{"99999-surge", "nonsense"} {
		if err := responder.Do(ctx, "GET", alarms(id), nil, nil); !isType(err, api.TypeNotFound) {
			t.Errorf("alarm %s: %v", id, err)
		}
	}
	h.must(responder.Do(ctx, "GET", alarms()+"?state=open", nil, &list))
	list.Alarms = slices.DeleteFunc(list.Alarms, func(a api.Alarm) bool { return a.Rule == "second-person" })
	if len(list.Alarms) != 0 {
		t.Errorf("open: %+v", list.Alarms)
	}
	var cp api.Checkpoint
	h.must(officer.Do(ctx, "GET", client.Path("brands", "gucci", "log"), nil, &cp))
	var e api.Entry
	found := false
	for i := range cp.Size {
		h.must(officer.Do(ctx, "GET", client.Path("brands", "gucci", "log", "entries", fmt.Sprint(i)), nil, &e))
		found = found || e.Kind == "detection" && e.Detail["change"] == "alarm-close" && e.Detail["alarm"] == a.ID && e.Detail["reason"] == "exercise"
	}
	if !found {
		t.Error("the log does not say who closed the alarm")
	}

	// A replay says the same, other rules say other things, and neither changes any.
	replay := func(req api.ReplayRequest) (out api.Replayed) {
		h.must(responder.Do(ctx, "POST", client.Path("brands", "gucci", "detection", "replay"), req, &out))
		return out
	}
	if r := replay(api.ReplayRequest{}); r.Count != 1 || r.Alarms[0].ID != a.ID || r.Rules["surge"] != 1 {
		t.Errorf("%+v", r)
	}
	if r := replay(api.ReplayRequest{Rules: "off: [surge]"}); r.Count != 0 {
		t.Errorf("%+v", r)
	}
	if r := replay(api.ReplayRequest{Rules: "surge: {no_baseline: 2}", From: a.At.Add(-time.Hour), To: time.Now().Add(time.Hour)}); r.Count != 1 || r.Alarms[0].Customers != 2 {
		t.Errorf("%+v", r)
	}
	if r := replay(api.ReplayRequest{From: time.Now().Add(time.Hour)}); r.Count != 0 {
		t.Errorf("%+v", r)
	}
	h.must(h.Do(ctx, "DELETE", receivers+"/pager", nil, nil))
	if err := h.Do(ctx, "DELETE", receivers+"/pager", nil, nil); !isType(err, api.TypeNotFound) {
		t.Errorf("a receiver was removed twice: %v", err)
	}
	if all := h.logged.b.String(); strings.Contains(all, "secret-path") || strings.Contains(all, made.Secret) {
		t.Error("the vault's own log holds a receiver's secret")
	}
}
