package console_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/web/console"
)

// events opens the live part of the watch and returns its lines; the channel is closed when
// the stream ends.
func (b *browser) events(ctx context.Context) (*http.Response, <-chan string) {
	b.h.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.h.url+"/b/gucci/watch/live", nil)
	b.h.must(err)
	r.Header.Set("Cookie", b.cookie)
	resp, err := http.DefaultTransport.RoundTrip(r)
	b.h.must(err)
	lines := make(chan string, 64)
	go func() {
		defer close(lines)
		defer resp.Body.Close()
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return resp, lines
}

// until waits for a line, and reports false where the stream ended before it.
func until(lines <-chan string, want string) bool {
	for l := range lines {
		if strings.HasPrefix(l, want) {
			return true
		}
	}
	return false
}

// An alarm reaches an open page; containment, and the end of a session, end it.
func TestALivePageHearsOfAlarmsUntilItsSessionEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	b := h.signIn("ines")
	resp, lines := b.events(ctx)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	if !until(lines, ": ") { // it has looked once
		t.Fatal("the stream ended at once")
	}
	h.alarm("trainee")
	if !until(lines, "event: changed") {
		t.Fatal("the page did not hear of the alarm")
	}
	_, err := h.as("olaf").Contain(ctx, "gucci", api.ContainRequest{Principal: "ines"})
	h.must(err)
	if !until(lines, "event: gone") {
		t.Error("the page of somebody contained stays live")
	}
	if _, open := <-lines; open && until(lines, "event:") {
		t.Error("the stream continues after its end")
	}

	other := h.signIn("olaf")
	_, lines = other.events(ctx)
	if !until(lines, ": ") {
		t.Fatal("the stream ended at once")
	}
	other.post("/sign-out")
	if !until(lines, "event: gone") {
		t.Error("the page of somebody who signed out stays live")
	}
	if resp, _ := other.events(ctx); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a session: %d", resp.StatusCode)
	}
	if resp, lines := h.signIn("alice").events(ctx); resp.StatusCode == http.StatusOK && !until(lines, "event: gone") {
		t.Error("somebody who sees no alarms hears of them")
	}
}

// A server that stops ends its streams at once, so that it need not wait for them.
func TestAServerEndsItsStreams(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	pages, err := app.NewConsole(app.NewServer(h.vault, quiet), quiet)
	h.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	h.url = "http://" + l.Addr().String()
	serving, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- pages.Serve(serving, l) }()
	_, lines := h.signIn("ines").events(t.Context())
	if !until(lines, ": ") {
		t.Fatal("the stream ended at once")
	}
	stop()
	if until(lines, "event:") {
		t.Error("an event at the end")
	}
	if err := <-done; err != nil {
		t.Errorf("the server waited for its streams: %v", err)
	}
}

var _ console.Gate = (*console.Keys)(nil)
