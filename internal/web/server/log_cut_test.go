package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
)

const (
	sqlTestBrandHead = `SELECT size, checkpoint FROM log_heads WHERE brand = 1`
	sqlTestCutLog    = `DELETE FROM log_groups WHERE brand = 1 AND first >= $1`
	sqlTestCutHead   = `UPDATE log_heads SET size = $1, checkpoint = $2 WHERE brand = 1`
)

// watching runs what a server runs beside its requests, until the test ends.
func (h *house) watching(events string) {
	h.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.vault.Watch(ctx, slog.New(slog.NewTextHandler(io.Discard, nil)), events) }()
	h.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
	})
}

// rulePager is a receiver that remembers what it was told.
func rulePager(t *testing.T) (url string, told func(rule string) bool) {
	var mu sync.Mutex
	var rules []string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct{ Data api.Alarm }
		json.NewDecoder(r.Body).Decode(&m)
		mu.Lock()
		defer mu.Unlock()
		rules = append(rules, m.Data.Rule+" "+m.Data.Severity)
	}))
	t.Cleanup(s.Close)
	return s.URL, func(rule string) bool {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range rules {
			if r == rule {
				return true
			}
		}
		return false
	}
}

// A failover loses entries. The running server notices without a request, alarms from
// memory, says why in its health, and releases nothing. So does one that starts over what is
// left, while the other brands are served.
func TestACutLogIsNotAcceptedInSilence(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		w, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
		h.must(err)
		reveal := func() error {
			_, err := h.as["support-agent"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{w.Results[0].Token}, Fields: []string{"email"}, Purpose: "customer-support", Ticket: "T-1"})
			return err
		}
		h.must(reveal())
		var size uint64
		var cp []byte
		h.must(h.vault.DB.Row(ctx, sqlTestBrandHead).Scan(&size, &cp))
		brand, toldBrand := rulePager(t)
		group, toldGroup := rulePager(t)
		h.must(h.Do(ctx, "POST", client.Path("brands", "gucci", "receivers"), api.ReceiverRequest{Name: "soc", URL: brand}, nil))
		h.must(h.Do(ctx, "POST", client.Path("brands", "group", "receivers"), api.ReceiverRequest{Name: "soc", URL: group}, nil))
		for range 5 {
			h.must(reveal())
		}
		events := filepath.Join(t.TempDir(), "events.jsonl")
		h.watching(events)
		eventually(t, "the log is looked through", func() bool {
			logs, err := h.Logs(ctx)
			return err == nil && logs[1].Verified > size
		})
		if health, err := h.Health(ctx); err != nil || health.Status != "ok" {
			t.Fatal(health, err)
		}

		cut := func() {
			for _, c := range []struct {
				sql  string
				args []any
			}{{sqlTestCutLog, []any{int64(size)}}, {sqlTestCutHead, []any{int64(size), cp}}} {
				if _, err := h.vault.DB.Exec(ctx, c.sql, c.args...); err != nil {
					t.Fatal(err)
				}
			}
		}
		cut()
		eventually(t, "everybody is alarmed", func() bool {
			b, _ := os.ReadFile(events)
			return toldBrand("log-shorter critical") && toldGroup("log-shorter critical") && strings.Contains(string(b), "log-shorter")
		})
		if err := reveal(); !isType(err, api.TypeLogUnavailable) || !strings.Contains(err.Error(), "doctor") {
			t.Errorf("over a log that was cut: %v", err)
		}
		for who, c := range map[string]*client.Client{"local": h.Client, "stranger": client.New(h.url, "", nil)} {
			_, err := c.Health(ctx)
			var e *api.Error
			if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || !strings.Contains(e.Detail, "shorter") && !strings.Contains(e.Detail, "has seen it with") {
				t.Errorf("health, %s: %v", who, err)
			}
			if who == "stranger" && (strings.Contains(e.Detail, "gucci") || strings.ContainsAny(e.Detail, "0123456789")) {
				t.Errorf("health tells a stranger %q", e.Detail)
			}
		}
		_, err = h.as["analyst"].Logs(ctx)
		if err == nil {
			t.Error("a brand's analyst reads the state of every log")
		}
		logs, err := h.Logs(ctx)
		if err != nil || logs[1].Brand != "gucci" || logs[1].State != "shorter" || logs[1].Size != size || logs[1].Seen <= size || logs[0].State != "ok" || logs[2].State != "ok" {
			t.Errorf("%+v, %v", logs, err)
		}
	})
}
