// Package console is the pages on which staff and officers work: customers, approvals,
// what is watched, incidents, the log, settings.
//
// A page asks the API, within the process and with the credential of the person who asked
// for the page. So nothing is decided here: rights, budgets, the log before the
// disclosure, second persons and what a request may look like are the API's, for a browser
// as for a program, and each page names the command that does the same. The package
// imports the API's client and nothing of the vault.
//
// Personal data stands in no address, title or log line: what somebody looks for is sent in
// the body of a form. GET changes nothing.
package console

import (
	"context"
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/web/page"
)

//go:embed all:pages
var pages embed.FS

// Timeout bounds every request but a live part's.
const Timeout = 60 * time.Second

// ErrNobody is what a Gate returns for a request that carries no session in force.
var ErrNobody = errors.New("not signed in")

// Gate says who sends a request. What it returns carries a credential to the API, which
// decides what the credential may do.
type Gate interface {
	// Caller returns the way to the API as the sender of a request, or ErrNobody. The
	// transport puts the sender's credential into each request.
	Caller(r *http.Request) (http.RoundTripper, error)
	// SignIn is the path of the page where people sign in. It takes the path to return to
	// as the parameter next.
	SignIn() string
	// SignOut ends the session of a request, and takes it from the browser.
	SignOut(w http.ResponseWriter, r *http.Request)
	// Routes adds the pages of the gate: that of SignIn, and what it sends its forms to.
	Routes(mux *http.ServeMux, c *Console)
}

// Console serves the pages.
type Console struct {
	gate Gate
	site *page.Site
	log  *slog.Logger
	http http.Handler
	live *streams
}

// New returns the console behind a gate.
func New(gate Gate, log *slog.Logger) (*Console, error) {
	folder, err := fs.Sub(pages, "pages")
	if err != nil {
		return nil, err
	}
	site, err := page.New(folder, french(), template.FuncMap{"newest": newest, "live": alive})
	if err != nil {
		return nil, err
	}
	c := &Console{gate: gate, site: site, log: log, live: newStreams()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+page.AssetsPath, site.ServeAsset)
	mux.HandleFunc("POST /sign-out", c.signOut)
	mux.HandleFunc("POST /language", c.language)
	gate.Routes(mux, c)
	c.handle(mux, "GET /{$}", home)
	c.customerPages(mux)
	c.approvalPages(mux)
	c.watchPages(mux)
	c.containPages(mux)
	c.incidentPages(mux)
	c.logPages(mux)
	c.handle(mux, "GET /b/{brand}/settings", settings)
	c.handle(mux, "/", func(*visit) error {
		return &api.Error{Type: api.TypeNotFound, Title: "Page not found", Status: http.StatusNotFound}
	})
	c.http = page.Secure(c.recovered(mux))
	return c, nil
}

// Handler returns what answers requests.
func (c *Console) Handler() http.Handler { return c.http }

// Serve answers on a listener until the context ends, and then lets what runs finish.
func (c *Console) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: c.http, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ReadTimeout: 30 * time.Second,
		WriteTimeout: 2 * Timeout, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	c.live.end() // their pages connect again
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return srv.Shutdown(grace)
}

// recovered answers a request whose page panicked. What panicked may hold data: neither
// the answer nor the log repeats it.
func (c *Console) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				c.log.Error("a page failed", "method", r.Method, "route", r.Pattern)
				http.Error(w, "This page failed. The server's log says which.", http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// visit is one request of somebody who is signed in.
type visit struct {
	*page.Words
	c     *Console
	w     http.ResponseWriter
	r     *http.Request
	ctx   context.Context
	api   *client.Client
	me    *api.Whoami
	shops []api.Brand // the brands at which they have a role
	brand string      // the one that the page is about; empty for none
}

// handle registers a page for people who are signed in.
func (c *Console) handle(mux *http.ServeMux, pattern string, fn func(*visit) error) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v, err := c.visit(w, r)
		if errors.Is(err, ErrNobody) {
			c.toSignIn(w, r)
			return
		}
		if err == nil {
			ctx, cancel := context.WithTimeout(v.ctx, Timeout)
			defer cancel()
			v.ctx = ctx
			err = fn(v)
		}
		if err != nil {
			c.fail(v, err)
		}
	})
}

// visit finds out who sends a request. The visit that it returns with another error than
// ErrNobody can show the error and nothing else.
func (c *Console) visit(w http.ResponseWriter, r *http.Request) (*visit, error) {
	v := &visit{Words: c.site.Words(c.site.Language(r)), c: c, w: w, r: r, ctx: r.Context(), me: &api.Whoami{}}
	way, err := c.gate.Caller(r)
	if err != nil {
		return v, err
	}
	v.api = client.New("http://vault", "", &http.Client{Transport: way})
	if v.me, err = v.api.Whoami(v.ctx); err != nil {
		v.me = &api.Whoami{}
		if ofType(err, api.TypeUnauthenticated) { // it was revoked, contained or ran out
			return v, ErrNobody
		}
		return v, err
	}
	if v.shops, err = v.api.Brands(v.ctx); err != nil {
		return v, err
	}
	v.brand = r.PathValue("brand")
	return v, nil
}

func ofType(err error, types ...string) bool {
	e, ok := errors.AsType[*api.Error](err)
	return ok && slices.Contains(types, e.Type)
}

// toSignIn sends a browser to where people sign in. What somebody had typed into a form is
// kept: the page holds it, and sends it once they are signed in again.
func (c *Console) toSignIn(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		to := c.gate.SignIn()
		if r.URL.Path != "/" {
			to += "?" + url.Values{"next": {r.URL.RequestURI()}}.Encode()
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	f, err := page.Read(w, r)
	if err != nil {
		f = page.NewForm()
	}
	words := c.site.Words(c.site.Language(r))
	c.show(w, words, http.StatusUnauthorized, "ended", &struct {
		Frame
		To     string
		SignIn string
		Form   *page.Form
	}{Frame{Title: words.Say("Your session has ended"), Lang: words.Lang}, r.URL.RequestURI(), c.gate.SignIn(), f})
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	c.gate.SignOut(w, r)
	// Nothing of the session stays in the browser, not even in its cache.
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	http.Redirect(w, r, c.gate.SignIn(), http.StatusSeeOther)
}

func (c *Console) language(w http.ResponseWriter, r *http.Request) {
	f, err := page.Read(w, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	page.ChooseLanguage(w, f.Get("language"))
	to := f.Get("back")
	if !page.Local(to) {
		to = "/"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// Frame is what every page shows around its own part.
type Frame struct {
	Lang  string
	Title string
	// Who is signed in: a name, and the role at the brand.
	Who, Role string
	Brand     string
	Section   string
	Brands    []Link
	Sections  []Link
	// Back is where the choice of a language returns to; empty after a form, which it
	// would send again.
	Back string
	// Commands do the same as the page.
	Commands []string
	// ReloadTo is where a browser without scripts goes after a minute, so that it shows what
	// was revealed no longer.
	ReloadTo string
}

// Link is a place to go to.
type Link struct {
	Name, To string
	Here     bool
}

// frame makes the frame of a page.
func (v *visit) frame(section, title string, commands ...string) Frame {
	f := Frame{Lang: v.Lang, Title: title, Who: v.me.Name, Brand: v.brand, Section: section, Commands: commands}
	if f.Role = v.me.Roles[v.brand]; f.Role == "" {
		f.Role = v.me.Roles[group]
	}
	if v.r.Method == http.MethodGet {
		f.Back = v.r.URL.RequestURI()
	}
	at := v.brand
	if at == "" {
		at = v.first()
	}
	same := section
	if same == "" || same == "approvals" {
		same = "customers"
	}
	for _, b := range v.shops {
		f.Brands = append(f.Brands, Link{title1(b), "/b/" + url.PathEscape(b.Name) + "/" + same, b.Name == v.brand})
	}
	if v.me.Roles[group] != "" {
		f.Brands = append(f.Brands, Link{v.Say("Group"), "/b/" + group + "/" + same, v.brand == group})
	}
	if at != "" {
		base := "/b/" + url.PathEscape(at) + "/"
		f.Sections = []Link{
			{v.Say("Customers"), base + "customers", section == "customers"},
			{v.Say("Watch"), base + "watch", section == "watch"},
			{v.Say("Incidents"), base + "incidents", section == "incidents"},
			{v.Say("Approvals"), "/approvals", section == "approvals"},
			{v.Say("Log"), base + "log", section == "log"},
			{v.Say("Settings"), base + "settings", section == "settings"},
		}
	}
	return f
}

// group is the brand that stands for all.
const group = "group"

func title1(b api.Brand) string {
	if b.Title != "" {
		return b.Title
	}
	return b.Name
}

// first is the brand that somebody begins at.
func (v *visit) first() string {
	if len(v.shops) > 0 {
		return v.shops[0].Name
	}
	if v.me.Roles[group] != "" {
		return group
	}
	return ""
}

// at makes a path at the brand of the visit.
func (v *visit) at(segments ...string) string {
	var b strings.Builder
	b.WriteString("/b/" + url.PathEscape(v.brand))
	for _, s := range segments {
		b.WriteString("/" + url.PathEscape(s))
	}
	return b.String()
}

// newest is the last version of a scope, or nil.
func newest(versions []api.ScopeVersion) *api.ScopeVersion {
	if len(versions) == 0 {
		return nil
	}
	return &versions[len(versions)-1]
}

// alive counts the credentials that were not revoked.
func alive(list []api.Credential) (n int) {
	for i := range list {
		if list[i].Revoked.IsZero() {
			n++
		}
	}
	return n
}

// home leads to where somebody's role works.
func home(v *visit) error {
	at := v.first()
	if at == "" {
		return &api.Error{Type: api.TypePolicyDenied, Title: "No role", Status: http.StatusForbidden, Detail: "you have no role at any brand", Hint: "an administrator grants one: cloakroom principal role"}
	}
	to := "customers"
	role := v.me.Roles[at]
	if role == "" {
		role = v.me.Roles[group]
	}
	switch role {
	case "incident-responder":
		to = "watch"
	case "administrator":
		to = "settings"
	}
	http.Redirect(v.w, v.r, "/b/"+url.PathEscape(at)+"/"+to, http.StatusSeeOther)
	return nil
}

// show answers with a page.
func (v *visit) show(name string, data any) error {
	return v.c.site.Render(v.w, v.Lang, http.StatusOK, name, data)
}

// wrong answers with a page whose form has faults.
func (v *visit) wrong(name string, data any) error {
	return v.c.site.Render(v.w, v.Lang, http.StatusUnprocessableEntity, name, data)
}

func (c *Console) show(w http.ResponseWriter, words *page.Words, status int, name string, data any) {
	if err := c.site.Render(w, words.Lang, status, name, data); err != nil {
		c.log.Error("a page failed", "cause", err)
		http.Error(w, "This page failed. The server's log says which.", http.StatusInternalServerError)
	}
}

// to leads to another page after something was done, so that loading it again repeats
// nothing.
func (v *visit) to(path string) error {
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
	return nil
}

// form reads the form of the request, and returns a context in which its write is done
// once, however often it is sent: each form that changes something carries a key.
func (v *visit) form() (*page.Form, context.Context, error) {
	f, err := page.Read(v.w, v.r)
	if err != nil {
		return page.NewForm(), v.ctx, &api.Error{Type: api.TypeInvalid, Title: "Malformed form", Status: http.StatusBadRequest, Detail: err.Error()}
	}
	if key := f.Get("once"); key != "" {
		return f, client.Once(v.ctx, key+f.Get("verb")), nil // each button of a form is an act of its own
	}
	return f, v.ctx, nil
}

// fail shows an error on a page.
func (c *Console) fail(v *visit, err error) {
	e, ok := errors.AsType[*api.Error](err)
	if !ok {
		e = &api.Error{Type: api.TypeInternal, Title: "Internal error", Status: http.StatusInternalServerError}
		if !errors.Is(err, context.Canceled) {
			c.log.Error("a page failed", "route", v.r.Pattern, "cause", err)
		}
	}
	status := e.Status
	if status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	c.show(v.w, v.Words, status, "error", &struct {
		Frame
		Error *api.Error
	}{v.frame("", v.Word(e.Title)), e})
}

// place moves what the API found wrong in a request to the fields of a form; what has no
// field concerns the form. It reports false for an error that is not about the form.
func (v *visit) place(f *page.Form, err error, ids map[string]string) bool {
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Status < 400 || e.Status >= 500 || e.Status == http.StatusUnauthorized {
		return false
	}
	for _, x := range e.Errors {
		f.Wrong(ids[strings.TrimPrefix(x.Location, "body.")], x.Message)
	}
	if len(e.Errors) == 0 {
		text := e.Detail
		if text == "" {
			text = e.Title
		}
		f.Wrong(ids[e.Type], text)
		if e.Hint != "" {
			f.Wrong("", e.Hint)
		}
	}
	return true
}
