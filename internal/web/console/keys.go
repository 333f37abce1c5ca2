package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/web/page"
)

const (
	// SessionLength bounds a session from its beginning: a working day.
	SessionLength = 12 * time.Hour
	// SessionIdle ends a session that nobody used, such as on a laptop left open.
	SessionIdle = 30 * time.Minute
	// MaxSessions bounds the memory of sessions.
	MaxSessions = 4096
	// MaxOwn bounds those of one principal, so that nobody can fill the others' room: the
	// one that was unused for longest makes place.
	MaxOwn = 8
)

// cookieName names the session's cookie. The prefix binds it to this host and to TLS.
const cookieName = "__Host-session"

// Keys is the Gate of API keys: somebody types a key once, and a session is made through
// it, which is a credential of its own in the key's lineage. So it shares the key's
// budgets, ends with it, is listed and revoked like every other, and is contained with it on
// every server. The key itself is kept nowhere, and neither key nor session is in a cookie:
// that is a random number under which this process holds the session.
//
// Sessions are in memory: those of a server that was restarted sign in again, and the
// credentials that they had run out within SessionLength.
type Keys struct {
	api http.RoundTripper // to the API, without a key
	now func() time.Time

	mu       sync.Mutex
	sessions map[[sha256.Size]byte]*session // by the hash of the cookie
}

// session is one browser that is signed in. Keys.mu guards what changes.
type session struct {
	key        string // of the session's credential
	credential uint64
	principal  uint64
	begun      time.Time
	used       time.Time
}

// NewKeys returns a gate over a transport to the API.
func NewKeys(api http.RoundTripper) *Keys {
	return &Keys{api: api, now: time.Now, sessions: map[[sha256.Size]byte]*session{}}
}

// SignIn implements Gate.
func (k *Keys) SignIn() string { return "/sign-in" }

// Caller implements Gate.
func (k *Keys) Caller(r *http.Request) (http.RoundTripper, error) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return nil, ErrNobody
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.sessions[sha256.Sum256([]byte(c.Value))]
	now := k.now()
	if s == nil || k.over(s, now) {
		return nil, ErrNobody
	}
	s.used = now
	return carry{k.api, s.key}, nil
}

func (k *Keys) over(s *session, now time.Time) bool {
	return now.Sub(s.begun) > SessionLength || now.Sub(s.used) > SessionIdle
}

// carry is a transport that carries a key.
type carry struct {
	to  http.RoundTripper
	key string
}

// RoundTrip implements http.RoundTripper.
func (c carry) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+c.key)
	return c.to.RoundTrip(r)
}

// add keeps a session and returns the value of its cookie; false where there is no room.
func (k *Keys) add(s *session) (string, bool) {
	value := rand.Text() + rand.Text() // 260 bits
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	s.begun, s.used = now, now
	own := 0
	var oldest [sha256.Size]byte
	for id, x := range k.sessions {
		if k.over(x, now) {
			delete(k.sessions, id)
			continue
		}
		if x.principal == s.principal {
			if own++; own == 1 || x.used.Before(k.sessions[oldest].used) {
				oldest = id
			}
		}
	}
	if own >= MaxOwn {
		delete(k.sessions, oldest)
	}
	if len(k.sessions) >= MaxSessions {
		return "", false
	}
	k.sessions[sha256.Sum256([]byte(value))] = s
	return value, true
}

// SignOut implements Gate. It revokes the session's credential.
func (k *Keys) SignOut(w http.ResponseWriter, r *http.Request) {
	k.end(r)
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

// end ends the session that a browser has, and revokes its credential.
func (k *Keys) end(r *http.Request) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return
	}
	id := sha256.Sum256([]byte(c.Value))
	k.mu.Lock()
	s := k.sessions[id]
	delete(k.sessions, id)
	k.mu.Unlock()
	if s != nil {
		// Where the vault does not answer, the credential runs out by itself, and nobody holds
		// its key any more.
		_, _ = k.as(s.key).RevokeCredential(context.WithoutCancel(r.Context()), s.credential)
	}
}

func (k *Keys) as(key string) *client.Client {
	return client.New("http://vault", "", &http.Client{Transport: carry{k.api, key}})
}

// Routes implements Gate.
func (k *Keys) Routes(mux *http.ServeMux, c *Console) {
	mux.HandleFunc("GET /sign-in", func(w http.ResponseWriter, r *http.Request) {
		k.form(w, r, c, page.NewForm("next", r.URL.Query().Get("next")), http.StatusOK)
	})
	mux.HandleFunc("POST /sign-in", func(w http.ResponseWriter, r *http.Request) {
		f, err := page.Read(w, r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		words := c.site.Words(c.site.Language(r))
		key := f.Need("key", words.Say("Type your key"))
		if key != "" {
			if value, ok := k.begin(r.Context(), f, words, key); ok {
				k.end(r) // a session that the browser had before: its cookie is replaced
				http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
				to := f.Get("next")
				if !page.Local(to) {
					to = "/"
				}
				http.Redirect(w, r, to, http.StatusSeeOther)
				return
			}
		}
		k.form(w, r, c, f, http.StatusUnprocessableEntity)
	})
}

// begin makes a session through a key.
func (k *Keys) begin(ctx context.Context, f *page.Form, words *page.Words, key string) (string, bool) {
	if len(key) > 200 || strings.ContainsAny(key, "\r\n\x00") {
		f.Wrong("key", words.Say("This is not a key of this vault"))
		return "", false
	}
	with := k.as(key)
	me, err := with.Whoami(ctx)
	var made *api.Credential
	if err == nil {
		made, err = with.Connect(ctx, api.CredentialRequest{Label: "console", ValidFor: SessionLength.String()})
	}
	switch {
	case ofType(err, api.TypeUnauthenticated):
		f.Wrong("key", words.Say("This is not a key of this vault, or it was revoked"))
		return "", false
	case ofType(err, api.TypeContained):
		f.Wrong("", words.Say("Your access is suspended. Call your security team."))
		return "", false
	case err != nil:
		f.Wrong("", words.Say("The vault cannot sign you in now: %s", err.Error()))
		return "", false
	}
	value, ok := k.add(&session{key: made.Key, credential: made.ID, principal: me.Principal})
	if !ok {
		f.Wrong("", words.Say("Too many people are signed in to this server. Retry in a minute."))
	}
	return value, ok
}

// form shows the page; the key that was typed is never shown again.
func (k *Keys) form(w http.ResponseWriter, r *http.Request, c *Console, f *page.Form, status int) {
	words := c.site.Words(c.site.Language(r))
	next := f.Get("next")
	if !page.Local(next) {
		next = ""
	}
	back := "/sign-in"
	if next != "" {
		back += "?" + url.Values{"next": {next}}.Encode()
	}
	c.show(w, words, status, "sign_in", &struct {
		Frame
		Form *page.Form
		Next string
	}{Frame{Lang: words.Lang, Title: words.Say("Sign in"), Back: back, Commands: []string{"cloakroom login --server https://vault.example:7460"}}, f, next})
}
