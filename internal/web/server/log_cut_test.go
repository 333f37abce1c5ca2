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

	"golang.org/x/mod/sumdb/note"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const (
	sqlTestBrandHead = `SELECT size, checkpoint FROM log_tips WHERE brand = 1 ORDER BY size DESC LIMIT 1`
	sqlTestCutLog    = `DELETE FROM log_groups WHERE brand = 1 AND first >= $1`
	sqlTestCutTips   = `DELETE FROM log_tips WHERE brand = 1`
	sqlTestCutHead   = `INSERT INTO log_tips (brand, size, at, checkpoint) SELECT 1, $1, max(at), $2 FROM log_groups WHERE brand = 1`
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
		reveal, size, cp := h.disclosing()
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

		h.cut(size, cp)
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
		if _, err := h.as["analyst"].Logs(ctx); err == nil {
			t.Error("a brand's analyst reads the state of every log")
		}
		logs, err := h.Logs(ctx)
		if err != nil || logs[1].Brand != "gucci" || logs[1].State != "shorter" || logs[1].Size != size || logs[1].Seen <= size || logs[0].State != "ok" || logs[2].State != "ok" {
			t.Errorf("%+v, %v", logs, err)
		}
	})
}

// elsewhere is the ledger of another server, which has seen nothing.
func (h *house) elsewhere() *ledger.Ledger {
	ring := h.vault.Admin.Ring
	l := ledger.Open(h.vault.DB, ring, func(ctx context.Context, id record.BrandID) (note.Signer, error) {
		seed, err := ring.Current(ctx, id, keys.Log)
		if err != nil {
			return nil, err
		}
		return h.vault.Admin.Signer("gucci", seed.Bytes())
	}, ledger.Options{})
	h.t.Cleanup(func() {
		if err := l.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return l
}

// disclosing makes a customer of gucci and reveals them once. It returns what does so again,
// and the head of the log as it is then.
func (h *house) disclosing() (reveal func() error, size uint64, checkpoint []byte) {
	h.t.Helper()
	ctx := h.t.Context()
	w, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err)
	reveal = func() error {
		_, err := h.as["support-agent"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{w.Results[0].Token}, Fields: []string{"email"}, Purpose: "customer-support", Ticket: "T-1"})
		return err
	}
	h.must(reveal())
	h.must(h.vault.DB.Row(ctx, sqlTestBrandHead).Scan(&size, &checkpoint))
	return reveal, size, checkpoint
}

// cut puts the log of gucci back to what a standby had of it.
func (h *house) cut(size uint64, checkpoint []byte) {
	h.t.Helper()
	for _, c := range []struct {
		sql  string
		args []any
	}{{sqlTestCutLog, []any{int64(size)}}, {sqlTestCutTips, nil}, {sqlTestCutHead, []any{int64(size), checkpoint}}} {
		if _, err := h.vault.DB.Exec(h.t.Context(), c.sql, c.args...); err != nil {
			h.t.Fatal(err)
		}
	}
}

// A server that found the log shorter notices that another began a new epoch without the
// entries. It follows only once its operator has confirmed that over its own socket.
func TestAServerFollowsANewEpochWhenItsOperatorConfirms(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		_, err := h.FollowLog(ctx, "gucci")
		if !isType(err, api.TypeConflict) {
			t.Errorf("a log that is well: %v", err)
		}
		reveal, size, cp := h.disclosing()
		for range 5 {
			h.must(reveal())
		}
		events := filepath.Join(t.TempDir(), "events.jsonl")
		h.watching(events)
		state := func(want string) api.LogState {
			t.Helper()
			var l api.LogState
			eventually(t, "the log is "+want, func() bool {
				logs, err := h.Logs(ctx)
				h.must(err)
				l = logs[1]
				return l.State == want
			})
			return l
		}
		h.cut(size, cp)
		state("shorter")
		if _, err := h.FollowLog(ctx, "gucci"); !isType(err, api.TypeConflict) {
			t.Errorf("nothing to follow yet: %v", err)
		}
		_, err = h.elsewhere().BeginEpoch(ctx, identity.Who{Brand: 1}, ledger.Beginning{Cause: entry.CauseRestore, By: entry.ByOwner})
		h.must(err)
		if l := state("parted"); l.Size < size || l.Seen < size+5 || !strings.Contains(l.What, "log follow") {
			t.Errorf("%+v", l)
		}
		eventually(t, "it alarms", func() bool {
			b, _ := os.ReadFile(events)
			return strings.Contains(string(b), "log-parted")
		})
		if err := reveal(); !isType(err, api.TypeLogUnavailable) {
			t.Errorf("before anybody confirmed: %v", err)
		}
		for _, who := range []string{"support-agent", "incident-responder", "analyst"} {
			if _, err := h.as[who].FollowLog(ctx, "gucci"); !isType(err, api.TypePolicyDenied) {
				t.Errorf("%s confirms from afar: %v", who, err)
			}
		}
		out, err := h.FollowLog(ctx, "gucci")
		h.must(err)
		if out.Brand != "gucci" || len(out.Files) == 0 {
			t.Errorf("%+v", out)
		}
		for _, f := range out.Files {
			if b, err := os.ReadFile(f); err != nil || !strings.Contains(string(b), "/gucci\n") {
				t.Errorf("evidence: %v, %q", err, b)
			}
		}
		if l := state("followed"); !strings.Contains(l.What, "restart") {
			t.Errorf("%+v", l)
		}
		if err := reveal(); !isType(err, api.TypeLogUnavailable) {
			t.Errorf("before a restart: %v", err)
		}
	})
}
