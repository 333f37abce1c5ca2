package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
)

func TestASessionIsACredentialThatEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	b := h.signIn("alice")
	if resp, body := b.get("/b/gucci/customers"); resp.StatusCode != http.StatusOK || !strings.Contains(body, "Find a customer") {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	// It is listed as every credential, in the lineage of the key.
	sessions := func(name string) (out []api.Credential) {
		list, err := h.Principals(ctx, 0)
		h.must(err)
		for _, p := range list {
			for _, c := range p.Credentials {
				if p.Name == name && c.Label == "console" && c.Revoked.IsZero() {
					out = append(out, c)
				}
			}
		}
		return out
	}
	if list := sessions("alice"); len(list) != 1 || list[0].Lineage == list[0].ID || list[0].Expires.IsZero() {
		t.Fatalf("the session is not a credential of the key's lineage that ends: %+v", list)
	}
	if strings.Contains(b.cookie, "ckr_") || strings.Contains(b.cookie, h.keys["alice"]) {
		t.Error("the key is in the cookie")
	}
	stolen := *b
	if resp, _ := b.post("/sign-out"); resp.StatusCode != http.StatusSeeOther || b.cookie != "" || resp.Header.Get("Clear-Site-Data") == "" {
		t.Errorf("signing out answered %d, %v", resp.StatusCode, resp.Header)
	}
	if len(sessions("alice")) != 0 {
		t.Error("signing out left the session's credential valid")
	}
	if resp, _ := stolen.get("/b/gucci/customers"); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("a cookie that was copied before the sign-out answered %d", resp.StatusCode)
	}

	// Contained: the open session shows nothing more, and says what happened.
	b = h.signIn("trainee")
	_, err := h.as("ines").Contain(ctx, "gucci", api.ContainRequest{Principal: "trainee"})
	h.must(err)
	if resp, body := b.post("/b/gucci/customers", "by", "external_id", "value", "C-1", "purpose", "customer-support"); resp.StatusCode == http.StatusOK || !strings.Contains(body, "suspended") {
		t.Errorf("a contained session was answered %d: %s", resp.StatusCode, body)
	}

	// A key that was revoked takes its sessions along.
	b = h.signIn("anna")
	list := sessions("anna")
	_, err = h.RevokeLineage(ctx, list[0].Lineage)
	h.must(err)
	if resp, _ := b.get("/b/gucci/customers"); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("after its key was revoked, a session answered %d", resp.StatusCode)
	}
}

func TestSignInRefusesWhatIsNoKey(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, key := range []string{"", "ckr_nothing", hostile, strings.Repeat("k", 5000)} {
		b := &browser{h: h}
		resp, body := b.post("/sign-in", "key", key)
		if resp.StatusCode != http.StatusUnprocessableEntity || b.cookie != "" || !strings.Contains(body, `href="#key"`) {
			t.Errorf("a wrong key of %d bytes answered %d", len(key), resp.StatusCode)
		}
		if len(key) > 8 && strings.Contains(body, key[:8]) {
			t.Error("what was typed for a key is shown again")
		}
	}
	b := &browser{h: h}
	for next, want := range map[string]string{"/b/gucci/log": "/b/gucci/log", "//elsewhere.example/": "/", "https://elsewhere.example/": "/", `/\elsewhere.example`: "/"} {
		if resp, _ := b.post("/sign-in", "key", h.keys["ines"], "next", next); resp.Header.Get("Location") != want {
			t.Errorf("after signing in, %q leads to %q", next, resp.Header.Get("Location"))
		}
	}
	for name, key := range h.keys {
		if strings.Contains(h.logged.String(), key) {
			t.Errorf("the key of %s is in the log", name)
		}
	}
}

// What another site sends in somebody's name is refused before anything is read.
func TestOtherOriginsAreRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.signIn("ines")
	for name, set := range map[string]func(http.Header){
		"cross-site": func(x http.Header) { x.Set("Sec-Fetch-Site", "cross-site") },
		"same-site":  func(x http.Header) { x.Set("Sec-Fetch-Site", "same-site") },
		"an old one": func(x http.Header) { x.Set("Origin", "https://elsewhere.example") },
	} {
		for _, path := range []string{"/sign-in", "/sign-out", "/b/gucci/contain/now", "/b/gucci/customers", "/language"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+path, strings.NewReader("what=brand"))
			h.must(err)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			set(r.Header)
			if resp, _ := b.send(r); resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s: POST %s answered %d", name, path, resp.StatusCode)
			}
		}
	}
	list, err := h.as("ines").Containments(t.Context(), "gucci")
	if err != nil || len(list) != 0 {
		t.Errorf("something was contained: %v %v", list, err)
	}
}

// A session that ends while somebody types loses nothing of it.
func TestNothingTypedIsLost(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := &browser{h: h}
	resp, body := b.post("/b/gucci/customers", "by", "email", "value", "zoe@example.com", "ticket", "CASE-9")
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, `value="zoe@example.com"`) || !strings.Contains(body, `value="CASE-9"`) || !strings.Contains(body, `action="/b/gucci/customers"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, _ := b.get("/b/gucci/log?kind=write"); resp.Header.Get("Location") != "/sign-in?next=%2Fb%2Fgucci%2Flog%3Fkind%3Dwrite" {
		t.Errorf("the way back: %q", resp.Header.Get("Location"))
	}
}

// Names, addresses and keys stand in no address, title or log line.
func TestNoPersonalDataInAddressesTitlesOrLogs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.customer(api.Fields{"external_id": "Z-1", "given_name": "Unmistakable", "email": "unmistakable@example.com"})
	b := h.signIn("alice")
	resp, body := b.post("/b/gucci/customers", "by", "email", "value", "unmistakable@example.com", "purpose", "customer-support", "ticket", "CASE-1")
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, "1 customer found") {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	title := body[strings.Index(body, "<title>"):strings.Index(body, "</title>")]
	if strings.Contains(strings.ToLower(title+h.logged.String()), "unmistakable") {
		t.Errorf("in the title or the log: %s", title)
	}
	for _, name := range []string{"Cache-Control", "Content-Security-Policy", "X-Content-Type-Options", "Cross-Origin-Opener-Policy"} {
		if resp.Header.Get(name) == "" {
			t.Errorf("no header %s", name)
		}
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		t.Error("a page may be kept")
	}
	for _, m := range []string{"email", "unmistakable", "value="} {
		if strings.Contains(resp.Request.URL.String(), m) {
			t.Errorf("the address holds %s", m)
		}
	}
}
