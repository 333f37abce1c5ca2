// Package session is where browsers sign in: it answers the JSON of the steps of package
// signin, and keeps the session's secret in a cookie. Pages are served by others, who ask
// it who sends a request.
//
// # The cookie
//
// Its name begins with __Host-, so that a browser takes it only over TLS (or from localhost),
// for this host alone and every path, and no other host can set it. It is HttpOnly and
// SameSite=Strict. Its value is made when somebody has signed in and was never known before:
// a value that was put into a browser earlier signs nobody in.
//
// What is not noticed: a cookie that was copied from a browser, and is used elsewhere before
// it ends. Acts that such a thief would like most ask for the passkey again. A port is no
// part of a cookie's place: whatever else serves on the same host name is sent it, too.
package session

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/signin"
)

const (
	// Path begins every path of this package.
	Path = "/session"
	// CookieName names the cookie of a session.
	CookieName = "__Host-cloakroom"
	// ProofHeader carries what a passkey gave for the act of a request.
	ProofHeader = "Cloakroom-Proof"

	// maxBody bounds the body of a request.
	maxBody = 64 << 10
)

var (
	errBody  = fault.New(fault.Invalid, "the body is not the JSON object that docs/signin.md describes")
	errCross = fault.New(fault.Denied, "this request came from a page of another site: open the console itself")
)

// Desks are what signing in needs of a vault.
type Desks struct {
	SignIn    *signin.Desk
	Identity  *identity.Store
	Revisions *revision.Tracker
	// End revokes a credential for a caller.
	End func(ctx context.Context, c identity.Caller, credential uint64) (int, error)
	// API answers the requests that pages make for those who are signed in.
	API http.Handler
}

// Handler signs browsers in.
type Handler struct {
	desks Desks
	fail  func(ctx context.Context, w http.ResponseWriter, err error)
	cross *http.CrossOriginProtection
}

// New returns a handler. fail answers an error.
func New(d Desks, fail func(ctx context.Context, w http.ResponseWriter, err error)) *Handler {
	return &Handler{d, fail, http.NewCrossOriginProtection()}
}

// Routes adds the paths under Path.
func (h *Handler) Routes(mux *http.ServeMux) {
	route(h, mux, "POST "+Path+"/passkey", func(ctx context.Context, _ *visit, _ struct{}) (any, error) { return h.desks.SignIn.BeginSignIn(ctx) })
	route(h, mux, "POST "+Path+"/passkey/finish", h.signIn)
	route(h, mux, "POST "+Path+"/register", h.beginRegister)
	route(h, mux, "POST "+Path+"/register/finish", h.register)
	route(h, mux, "POST "+Path+"/step-up", h.beginStepUp)
	route(h, mux, "POST "+Path+"/step-up/finish", h.stepUp)
	route(h, mux, "POST "+Path+"/recovery-codes", h.recovery)
	route(h, mux, "GET "+Path, h.show)
	route(h, mux, "POST "+Path+"/end", h.end)
}

// visit is one request.
type visit struct {
	w http.ResponseWriter
	r *http.Request
}

// route adds a path whose body is a B. Requests of another site's pages are refused, and so
// is a body that a form could send.
func route[B any](h *Handler, mux *http.ServeMux, pattern string, fn func(ctx context.Context, v *visit, in B) (any, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		ctx := door.WithProof(r.Context(), r.Header.Get(ProofHeader))
		if h.cross.Check(r) != nil {
			h.fail(ctx, w, errCross)
			return
		}
		var in B
		if r.Method == http.MethodPost {
			if !read(w, r, &in) {
				h.fail(ctx, w, errBody)
				return
			}
		}
		var out any
		err := h.desks.Revisions.Decide(ctx, func(ctx context.Context) (err error) {
			out, err = fn(ctx, &visit{w, r}, in)
			return err
		})
		if err != nil {
			h.fail(ctx, w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		json.NewEncoder(w).Encode(out)
	})
}

// read reads a body that is one JSON object and nothing else, and no form's.
func read(w http.ResponseWriter, r *http.Request, in any) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return false
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if dec.Decode(in) != nil {
		return false
	}
	_, err = dec.Token()
	return errors.Is(err, io.EOF)
}

// Identify returns who is signed in where a request comes from.
func (h *Handler) Identify(ctx context.Context, r *http.Request) (identity.Caller, error) {
	secret, err := cookie(r)
	if err != nil {
		return identity.Caller{}, err
	}
	return h.desks.Identity.AuthenticateSession(ctx, secret)
}

func cookie(r *http.Request) (identity.Secret, error) {
	list := r.CookiesNamed(CookieName)
	if len(list) != 1 {
		return identity.Secret{}, identity.ErrMalformedSession
	}
	return identity.ParseSecret(list[0].Value)
}

// Transport returns the way to the API as the sender of a request: each request that goes by
// it carries the session, and the proof that the page was sent.
func (h *Handler) Transport(r *http.Request, proof string) (http.RoundTripper, error) {
	secret, err := cookie(r)
	if err != nil {
		return nil, err
	}
	if _, err := h.desks.Identity.AuthenticateSession(h.desks.Revisions.Peek(r.Context()), secret); err != nil {
		return nil, err
	}
	return carry{h.desks.API, secret, proof}, nil
}

// Alive refuses a request whose sender is not signed in any more: for pages that stay open.
func (h *Handler) Alive(r *http.Request) error {
	return h.desks.Revisions.Decide(context.WithoutCancel(r.Context()), func(ctx context.Context) error {
		_, err := h.Identify(ctx, r)
		return err
	})
}

// SignOut ends the session of a request, and takes it from the browser. Where the vault does
// not answer, the browser has forgotten it all the same.
func (h *Handler) SignOut(w http.ResponseWriter, r *http.Request) error {
	clearCookie(w)
	return h.desks.Revisions.Decide(r.Context(), func(ctx context.Context) error {
		c, err := h.Identify(ctx, r)
		if err != nil {
			return nil // there is nothing to end
		}
		_, err = h.desks.End(ctx, c, c.Credential)
		return err
	})
}

// SetCookie gives a browser the session that has just begun.
func SetCookie(w http.ResponseWriter, s *signin.Signed) {
	http.SetCookie(w, &http.Cookie{Name: CookieName, Value: s.Secret.Reveal(), Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

func clearCookie(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: CookieName, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

// answer is a step's answer: what an authenticator gave, as PublicKeyCredential.toJSON writes
// it.
type answer struct {
	Ticket   string          `json:"ticket"`
	Label    string          `json:"label"`
	Response json.RawMessage `json:"response"`
}

// Shown is a session as its holder sees it.
type Shown struct {
	Name     string    `json:"name"`
	Session  uint64    `json:"session"`
	Expires  time.Time `json:"expires,omitzero"`
	Recovery []string  `json:"recovery_codes,omitempty"`
}

// began ends a session that the browser had before, and sets the cookie of the new one. An
// earlier one that cannot be ended, such as a contained person's, keeps nobody out: it ends
// by itself.
func (h *Handler) began(ctx context.Context, v *visit, s *signin.Signed) (any, error) {
	if c, err := h.Identify(ctx, v.r); err == nil {
		_, _ = h.desks.End(revision.Unbound(ctx), c, c.Credential)
	}
	SetCookie(v.w, s)
	return &Shown{Name: s.Name, Session: s.Session, Expires: s.Expires, Recovery: s.Recovery}, nil
}

func (h *Handler) signIn(ctx context.Context, v *visit, in answer) (any, error) {
	s, err := h.desks.SignIn.SignIn(ctx, in.Ticket, in.Response)
	if err != nil {
		return nil, err
	}
	return h.began(ctx, v, s)
}

// right is by what somebody registers a passkey: an invitation's code, a recovery code, or,
// where both are empty, the session that they have.
type right struct {
	Code     string `json:"code"`
	Recovery string `json:"recovery"`
}

func (h *Handler) beginRegister(ctx context.Context, v *visit, in right) (any, error) {
	switch {
	case in.Code != "" && in.Recovery != "":
		return nil, errBody
	case in.Code != "":
		return h.desks.SignIn.BeginInvited(ctx, in.Code)
	case in.Recovery != "":
		return h.desks.SignIn.BeginRecovery(ctx, in.Recovery, Network(v.r))
	}
	c, err := h.Identify(ctx, v.r)
	if err != nil {
		return nil, err
	}
	return h.desks.SignIn.BeginAnother(ctx, c)
}

func (h *Handler) register(ctx context.Context, v *visit, in answer) (any, error) {
	c, err := h.Identify(ctx, v.r)
	if err != nil {
		c = identity.Caller{}
	}
	s, err := h.desks.SignIn.Register(ctx, c, in.Ticket, in.Label, in.Response)
	if err != nil {
		return nil, err
	}
	return h.began(ctx, v, s)
}

// wanted is what a passkey is asked for.
type wanted struct {
	Act string `json:"act"`
}

func (h *Handler) beginStepUp(ctx context.Context, v *visit, in wanted) (any, error) {
	c, err := h.Identify(ctx, v.r)
	if err != nil {
		return nil, err
	}
	return h.desks.SignIn.BeginStepUp(ctx, c, in.Act)
}

func (h *Handler) stepUp(ctx context.Context, v *visit, in answer) (any, error) {
	c, err := h.Identify(ctx, v.r)
	if err != nil {
		return nil, err
	}
	return h.desks.SignIn.StepUp(ctx, c, in.Ticket, in.Response)
}

// codes are recovery codes, shown once.
type codes struct {
	Codes []string `json:"recovery_codes"`
}

func (h *Handler) recovery(ctx context.Context, v *visit, _ struct{}) (any, error) {
	c, err := h.Identify(ctx, v.r)
	if err != nil {
		return nil, err
	}
	list, err := h.desks.SignIn.MakeRecovery(ctx, c)
	return &codes{list}, err
}

func (h *Handler) show(ctx context.Context, v *visit, _ struct{}) (any, error) {
	c, err := h.Identify(ctx, v.r)
	if err != nil {
		return nil, err
	}
	return &Shown{Name: c.Name, Session: c.Session}, nil
}

func (h *Handler) end(_ context.Context, v *visit, _ struct{}) (any, error) {
	return struct{}{}, h.SignOut(v.w, v.r)
}

// Network returns the network that a request comes from: of IPv6 what one customer of a
// provider has.
func Network(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	bits := 32
	if a = a.Unmap(); a.Is6() {
		bits = 56
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}
