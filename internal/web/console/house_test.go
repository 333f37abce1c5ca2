package console_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/vault/change"
)

// house is a served vault with a console, and people who have been there for a day: one
// hand acts alone no more.
type house struct {
	*client.Client // the local administrator
	t              *testing.T
	vault          *app.Vault
	url            string // of the console, as http://localhost:PORT
	keys           map[string]string
	logged         *lockedBuffer
	inside         http.RoundTripper
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// hostile is markup, a script, both directions of writing, and a long word, in 60 characters.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)> שלום`

func newHouse(t *testing.T) *house {
	t.Helper()
	ctx := t.Context()
	var back atomic.Int64
	back.Store(int64(change.Seasoned + time.Hour))
	v, err := app.Open(ctx, t.TempDir(), app.Options{DB: db.Options{Clock: func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }}})
	if err != nil {
		t.Fatal(err)
	}
	v.Changes.Patience = time.Nanosecond // receivers of a test may never take an alarm
	h := &house{t: t, vault: v, keys: map[string]string{}, logged: &lockedBuffer{}}
	log := slog.New(slog.NewJSONHandler(h.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := app.NewServer(v, log)
	h.inside = s.Inside()
	pages, err := app.NewConsole(s, log)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(pages.Handler())
	h.url = strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	watching, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Watch(watching, slog.New(slog.NewTextHandler(io.Discard, nil)), "") }()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		stop()
		if err := errors.Join(<-done, v.Close()); err != nil {
			t.Error(err)
		}
	})
	h.Client = client.New("http://vault", "", &http.Client{Transport: s.Local()})
	for _, b := range []api.Brand{{Name: "gucci", Title: "Gucci"}, {Name: "mcqueen", Title: "Alexander McQueen"}} {
		_, err := h.CreateBrand(ctx, b)
		h.must(err)
	}
	for name, roles := range map[string]map[string]string{
		"alice": {"gucci": "support-agent"}, "trainee": {"gucci": "support-agent"}, "shop": {"gucci": "application"},
		"dana": {"gucci": "data-protection-officer", "mcqueen": "data-protection-officer"}, "ines": {"gucci": "incident-responder"}, "olaf": {"gucci": "incident-responder"},
		"adam": {"group": "administrator"}, "anna": {"gucci": "analyst"},
	} {
		_, err := h.CreatePrincipal(ctx, api.Principal{Name: name, Kind: "person", Roles: roles})
		h.must(err)
		c, err := h.CreateCredential(ctx, name, api.CredentialRequest{})
		h.must(err)
		h.keys[name] = c.Key
	}
	back.Store(0)
	if alone, err := v.Changes.Alone(ctx); err != nil || alone {
		t.Fatalf("one hand still acts alone: %v %v", alone, err)
	}
	return h
}

// as is the API with somebody's key.
func (h *house) as(name string) *client.Client {
	return client.New("http://vault", h.keys[name], &http.Client{Transport: h.inside})
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// customer puts somebody in, and returns their token.
func (h *house) customer(fields api.Fields) string {
	h.t.Helper()
	w, err := h.as("shop").Put(h.t.Context(), "gucci", api.PutRequest{Customers: []api.Fields{fields}})
	h.must(err)
	if w.Results[0].Token == "" {
		h.t.Fatalf("not taken: %+v", w.Results[0].Reject)
	}
	return w.Results[0].Token
}

// eventually waits for what follows from the log.
func (h *house) eventually(what string, ok func() bool) {
	h.t.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	h.t.Fatalf("never: %s", what)
}

// alarm raises one about a principal, and waits until it is there.
func (h *house) alarm(principal string) api.Alarm {
	h.t.Helper()
	a, err := h.as("ines").RaiseAlarm(h.t.Context(), "gucci", api.RaiseRequest{Severity: "high", Source: "staff", Principal: principal})
	h.must(err)
	return *a
}

// browser is somebody's HTTP client with cookies, which follows no redirect.
type browser struct {
	h      *house
	cookie string
}

func (h *house) signIn(name string) *browser {
	h.t.Helper()
	b := &browser{h: h}
	resp, _ := b.post("/sign-in", "key", h.keys[name])
	if resp.StatusCode != http.StatusSeeOther || b.cookie == "" {
		h.t.Fatalf("signing in as %s answered %d", name, resp.StatusCode)
	}
	return b
}

func (b *browser) send(r *http.Request) (*http.Response, string) {
	b.h.t.Helper()
	if b.cookie != "" {
		r.Header.Set("Cookie", b.cookie)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	b.h.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	b.h.must(err)
	for _, c := range resp.Cookies() {
		if c.Name == "__Host-session" {
			if b.cookie = c.Name + "=" + c.Value; c.MaxAge < 0 {
				b.cookie = ""
			}
		}
	}
	return resp, string(body)
}

func (b *browser) get(path string) (*http.Response, string) {
	b.h.t.Helper()
	r, err := http.NewRequestWithContext(b.h.t.Context(), http.MethodGet, b.h.url+path, nil)
	b.h.must(err)
	return b.send(r)
}

func (b *browser) post(path string, pairs ...string) (*http.Response, string) {
	b.h.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(b.h.t.Context(), http.MethodPost, b.h.url+path, strings.NewReader(form.Encode()))
	b.h.must(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.send(r)
}
