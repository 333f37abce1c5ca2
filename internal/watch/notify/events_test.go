package notify

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
)

// What people do about alarms is told by webhook, mail and file, in one order with them.
func TestWhatPeopleDoIsTold(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		p.alarms(t, 1, 2, own)
		err := p.db.Tx(t.Context(), func(q db.Queryer) error {
			const event = `INSERT INTO alarm_events (brand, entry, what, at, grade, again, alarm_entry, alarm_rule, principal, containment, took, since, reason, ticket)
				VALUES ($1, $2, $3, 1700000000000000, 4, $4, $5, $6, 9, $7, 12, 0, $8, '')`
			id, b := int64(1), int64(p.brand)
			const containment = `INSERT INTO containments (id, brand, kind, target, role, keep, alarm, at, made_by, asked, asked_by, asked_in, ended, ended_by) VALUES ($1, $2, 'lineage', 7, '', '', '', 1, 9, 0, 0, 0, 0, 0)`
			return q.Batch(t.Context(), []db.Stmt{
				{SQL: containment, Args: []any{id, b}},
				{SQL: event, Args: []any{b, 3, "acknowledged", 0, 1, "canary", 0, ""}},
				{SQL: event, Args: []any{b, 4, "contained", 0, 0, "", 1, ""}},
				{SQL: event, Args: []any{b, 5, "closed", 0, 1, "canary", 0, "contained"}},
				{SQL: event, Args: []any{b, 6, "closed", 1, 2, "canary", 0, "mistaken"}}, // of a repeat
				{SQL: event, Args: []any{b, 7, "undone", 0, 0, "", 1, ""}},
				{SQL: event, Args: []any{b, 99, "undone", 0, 0, "", 1, ""}}, // not watched up to there
				{SQL: `UPDATE followers SET next = 8 WHERE follower = 'alarms' AND brand = $1`, Args: []any{b}},
			})
		})
		if err != nil {
			t.Fatal(err)
		}

		var mu sync.Mutex
		var types, ids []string
		bodies := map[string]string{}
		hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			var m message
			json.Unmarshal(text, &m)
			mu.Lock()
			defer mu.Unlock()
			types, ids = append(types, m.Type), append(ids, r.Header.Get("webhook-id"))
			bodies[m.Type] = string(text)
		}))
		defer hook.Close()
		office := newPostOffice(t)
		office.open(MailStartTLS)
		p.add(t, "pager", hook.URL)
		p.add(t, "soc", "mailto:soc@brand.example")
		s := p.senderBy(t, office.server(MailStartTLS))
		s.Contained = containment.New(p.db)
		for _, name := range []string{"pager", "soc"} {
			eventually(t, name+" has all", func() bool { r := p.state(t, name); return r.delivered == 6 && p.idle(t, name) })
		}
		mu.Lock()
		defer mu.Unlock()
		if got, want := fmt.Sprint(types), "[alarm.raised alarm.raised alarm.acknowledged containment.began alarm.closed containment.undone]"; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
		if ids[2] != "event_gucci_3-acknowledged" || ids[3] != "event_gucci_4-contained" {
			t.Errorf("%v", ids)
		}
		for typ, want := range map[string]string{
			TypeAcknowledged: `"acknowledged_by":9`, TypeClosed: `"reason":"contained"`, TypeBegan: `"kind":"lineage","target":7`, TypeUndone: `"id":1,`,
		} {
			if !strings.Contains(bodies[typ], want) {
				t.Errorf("%s without %s: %s", typ, want, bodies[typ])
			}
		}
		mails := office.letters()
		for i, want := range []string{"critical alarm", "critical alarm", "acknowledged: critical alarm", "contained: lineage 7 (containment 1)", "closed: critical alarm", "containment undone: lineage 7"} {
			if got := mails[i].head.Get("Subject"); !strings.HasPrefix(got, "[gucci] "+want) {
				t.Errorf("%q, want %q", got, want)
			}
		}
		if mails[2].head.Get("In-Reply-To") != mails[0].head.Get("Message-Id") || mails[2].head.Get("Message-Id") == mails[0].head.Get("Message-Id") {
			t.Error("what became of an alarm does not stand under it")
		}

		file := filepath.Join(t.TempDir(), "events.jsonl")
		f, err := OpenFeed(file, brands.New(p.db), alarm.NewStore(p.db))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.Contained = containment.New(p.db)
		for range 2 {
			if err := f.round(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(text)) {
			var e struct {
				Type     int `json:"type_uid"`
				Status   int `json:"status_id"`
				Metadata struct {
					UID string `json:"uid"`
				} `json:"metadata"`
				Command string `json:"command_uid"`
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(e.Type, "/", e.Status, " ", e.Metadata.UID, " ", e.Command))
		}
		want := []string{
			"200401/1 gucci/1-canary ", "200401/1 gucci/2-canary ", "200402/2 gucci/3-acknowledged ", "700101/1 gucci/4-contained gucci/containment/1",
			"200403/4 gucci/5-closed ", "200403/3 gucci/6-closed ", "700103/1 gucci/7-undone gucci/containment/1",
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// Whoever is notified of a containment that ends by itself is told when.
func TestTheEndOfAContainmentIsTold(t *testing.T) {
	t.Parallel()
	n := notice{brand: "gucci", Notice: alarm.Notice{Event: &alarm.Event{What: alarm.WhatContained, Containment: 1}}}
	if strings.Contains(n.text(), "until") || !n.containment().Until.IsZero() {
		t.Errorf("without an end: %s", n.text())
	}
	n.contained.Until = time.Date(2026, 5, 1, 4, 30, 0, 0, time.UTC)
	if !strings.Contains(n.text(), "2026-05-01T04:30:00Z") || !n.containment().Until.Equal(n.contained.Until) {
		t.Errorf("with an end: %s", n.text())
	}
}
