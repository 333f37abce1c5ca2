package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/signin"
	"github.com/cloakroom/cloakroom/internal/vault/signin/signintest"
	"github.com/cloakroom/cloakroom/internal/web/session"
)

// browser is one browser before the house: it has at most one cookie.
type browser struct {
	h      *house
	cookie string
	header http.Header
}

// post sends JSON to a path of signing in, and reads the answer.
func (b *browser) post(path string, in any, out any) *http.Response {
	b.h.t.Helper()
	body, err := json.Marshal(in)
	b.h.must(err)
	return b.send("POST", path, "application/json", string(body), out)
}

func (b *browser) send(method, path, kind, body string, out any) *http.Response {
	b.h.t.Helper()
	r, err := http.NewRequestWithContext(b.h.t.Context(), method, b.h.url+session.Path+path, strings.NewReader(body))
	b.h.must(err)
	r.Header = b.header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Content-Type", kind)
	if b.cookie != "" {
		r.Header.Set("Cookie", session.CookieName+"="+b.cookie)
	}
	resp, err := http.DefaultClient.Do(r)
	b.h.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	b.h.must(err)
	for _, c := range resp.Cookies() {
		if c.Name == session.CookieName {
			b.cookie = c.Value
		}
	}
	if out != nil && resp.StatusCode == http.StatusOK {
		b.h.must(json.Unmarshal(text, out))
	}
	return resp
}

const consoleURL = "https://vault.example.com"

// register makes a passkey of somebody who is invited, and signs the browser in.
func (b *browser) register(name string, roles map[string]string) (*signintest.Authenticator, session.Shown) {
	b.h.t.Helper()
	var codes api.Invitations
	b.h.must(b.h.Do(b.h.t.Context(), "POST", "/v1/invitations", api.InviteRequest{People: []api.Invitee{{Name: name}}, Roles: roles}, &codes))
	var step signin.Step
	b.post("/register", map[string]string{"code": codes.Codes[0].Code}, &step)
	a := signintest.New(b.h.t, consoleURL)
	var shown session.Shown
	b.post("/register/finish", map[string]any{"ticket": step.Ticket, "label": "laptop", "response": a.Create(step.Options)}, &shown)
	if shown.Name != name || b.cookie == "" {
		b.h.t.Fatalf("signed in as %q", shown.Name)
	}
	return a, shown
}

func (b *browser) signIn(a *signintest.Authenticator) *http.Response {
	b.h.t.Helper()
	var step signin.Step
	b.post("/passkey", struct{}{}, &step)
	return b.post("/passkey/finish", map[string]any{"ticket": step.Ticket, "response": a.Get(step.Options)}, nil)
}

// api is the API as pages ask it for who is signed in.
func (b *browser) api(proof string) *client.Client {
	h := http.Header{}
	h.Set(session.ProofHeader, proof)
	return client.New(b.h.url, b.cookie, &http.Client{Transport: withHeader{h}})
}

type withHeader struct{ h http.Header }

// RoundTrip implements http.RoundTripper.
func (w withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for k, v := range w.h {
		r.Header[k] = v
	}
	return http.DefaultTransport.RoundTrip(r)
}

// proof shows a passkey for an act.
func (b *browser) proof(a *signintest.Authenticator, act string) string {
	b.h.t.Helper()
	var step signin.Step
	b.post("/step-up", map[string]string{"act": act}, &step)
	var p signin.Proof
	b.post("/step-up/finish", map[string]any{"ticket": step.Ticket, "response": a.Get(step.Options)}, &p)
	return p.Proof
}

// A browser signs in, acts by the API within its rights, is asked for the passkey where a
// thief would be stopped, and signs out. Nothing of it is in the server's log.
func TestABrowserSignsIn(t *testing.T) {
	t.Parallel()
	h, ctx := newHouse(t, ""), t.Context()
	h.must(h.vault.SignIn.Use(signin.Config{URLs: []string{consoleURL}}))
	b := &browser{h: h}
	a, _ := b.register("rosa", map[string]string{"gucci": access.IncidentResponder})
	first := b.cookie
	if got := b.signIn(a); got.StatusCode != http.StatusOK || b.cookie == first {
		t.Fatalf("status %d, cookie as before: %t", got.StatusCode, b.cookie == first)
	}
	var me api.Whoami
	h.must(b.api("").Do(ctx, "GET", "/v1/whoami", nil, &me))
	if me.Name != "rosa" {
		t.Errorf("the API knows %q", me.Name)
	}
	if err := (client.New(h.url, first, nil)).Do(ctx, "GET", "/v1/whoami", nil, nil); !isType(err, api.TypeUnauthenticated) {
		t.Errorf("the session before it is alive: %v", err)
	}
	stop := func(proof string) error {
		return b.api(proof).Do(ctx, "POST", "/v1/brands/gucci/containments", api.ContainRequest{Principal: access.Marketing}, nil)
	}
	err := stop("")
	if !isType(err, api.TypeStepUp) {
		t.Fatalf("contained by a session alone: %v", err)
	}
	act := err.(*api.Error).Act
	proof := b.proof(a, act)
	h.must(stop(proof))
	if err := b.api(proof).Do(ctx, "POST", "/v1/brands/gucci/containments", api.ContainRequest{Principal: access.SupportAgent}, nil); !isType(err, api.TypeStepUp) {
		t.Errorf("a proof for one person stops another: %v", err)
	}
	secret := b.cookie
	out := b.post("/end", struct{}{}, nil)
	if set := out.Header.Get("Set-Cookie"); !strings.Contains(set, "Max-Age=0") {
		t.Errorf("signing out leaves the cookie: %s", set)
	}
	if err := client.New(h.url, secret, nil).Do(ctx, "GET", "/v1/whoami", nil, nil); !isType(err, api.TypeUnauthenticated) {
		t.Errorf("a copy of the cookie works after signing out: %v", err)
	}
	h.logged.mu.Lock()
	defer h.logged.mu.Unlock()
	for _, private := range []string{first, secret, proof, act, "rosa"} {
		if bytes.Contains(h.logged.b.Bytes(), []byte(private)) {
			t.Errorf("the server's log has %q", private[:4])
		}
	}
}

// The cookie is bound to the host and to TLS, and is never one that somebody put there.
func TestACookieIsNotChosenByOthers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	h.must(h.vault.SignIn.Use(signin.Config{URLs: []string{consoleURL}}))
	thief := &browser{h: h}
	thief.register("thief", map[string]string{"gucci": access.Marketing})
	planted := thief.cookie
	b := &browser{h: h, cookie: planted}
	a, _ := b.register("nina", map[string]string{"gucci": access.SupportAgent})
	if b.cookie == planted {
		t.Error("a session that somebody put into the browser is kept")
	}
	var who session.Shown
	b.send("GET", "", "", "", &who)
	if who.Name != "nina" {
		t.Errorf("signed in as %q", who.Name)
	}
	b.cookie = "cks_" + strings.Repeat("a", 59)
	resp := b.signIn(a)
	set := resp.Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-cloakroom=cks_", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Strict"} {
		if !strings.Contains(set, want) {
			t.Errorf("the cookie lacks %q", want)
		}
	}
	if strings.Contains(set, "Domain") || strings.Contains(set, "Expires") {
		t.Error("the cookie is for other hosts, or outlives the browser")
	}
	two := &browser{h: h, cookie: b.cookie + "; " + session.CookieName + "=" + planted}
	if resp := two.send("GET", "", "", "", nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("of two cookies one is taken: %d", resp.StatusCode)
	}
}

// Pages of other sites, and forms, begin nothing.
func TestOtherSitesDoNotSignIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	h.must(h.vault.SignIn.Use(signin.Config{URLs: []string{consoleURL}}))
	b := &browser{h: h}
	b.register("nina", map[string]string{"gucci": access.SupportAgent})
	cross := &browser{h: h, cookie: b.cookie, header: http.Header{"Sec-Fetch-Site": {"cross-site"}}}
	foreign := &browser{h: h, cookie: b.cookie, header: http.Header{"Origin": {"https://evil.example"}}}
	for _, path := range []string{"/end", "/passkey", "/register", "/step-up"} {
		if got := cross.post(path, struct{}{}, nil); got.StatusCode != http.StatusForbidden {
			t.Errorf("%s from another site: %d", path, got.StatusCode)
		}
		if got := foreign.post(path, struct{}{}, nil); got.StatusCode != http.StatusForbidden {
			t.Errorf("%s from another origin: %d", path, got.StatusCode)
		}
		if got := b.send("POST", path, "text/plain", "{}", nil); got.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s as a form sends it: %d", path, got.StatusCode)
		}
		for _, junk := range []string{"", "[]", "{} {}", `{"unheard-of":1}`, strings.Repeat("[", 1<<17)} {
			if got := b.send("POST", path, "application/json", junk, nil); got.StatusCode != http.StatusUnprocessableEntity {
				t.Errorf("%s with junk: %d", path, got.StatusCode)
			}
		}
	}
	if got := b.send("GET", "", "", "", nil); got.StatusCode != http.StatusOK {
		t.Errorf("it signed somebody out: %d", got.StatusCode)
	}
}

// Whom a containment stops is refused with the session that they have, and gets no other.
func TestAContainedPersonDoesNotSignIn(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		h.must(h.vault.SignIn.Use(signin.Config{URLs: []string{consoleURL}}))
		b := &browser{h: h}
		a, shown := b.register("nina", map[string]string{"gucci": access.SupportAgent})
		find := func() error {
			_, err := b.api("").Search(ctx, "gucci", api.SearchRequest{By: "email", Value: "a@b.example", Purpose: "customer-support"})
			return err
		}
		h.must(find())
		h.must(h.as["incident-responder"].Do(ctx, "POST", "/v1/brands/gucci/containments", api.ContainRequest{Lineage: shown.Session}, nil))
		if err := find(); !isType(err, api.TypeContained) {
			t.Errorf("the open session: %v", err)
		}
		if got := (&browser{h: h}).signIn(a); got.StatusCode != http.StatusForbidden {
			t.Errorf("another sign-in: %d", got.StatusCode)
		}
	})
}
