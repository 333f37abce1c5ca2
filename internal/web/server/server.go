// Package server is the HTTP API over a vault: it says who is calling, reads
// requests, and turns errors into answers. What requests do is done elsewhere.
//
// An answer never repeats what was sent: neither an error nor a log line holds a
// value of a request.
package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/sync/semaphore"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/customer/campaign"
	"github.com/cloakroom/cloakroom/internal/customer/message"
	"github.com/cloakroom/cloakroom/internal/govern/admin"
	"github.com/cloakroom/cloakroom/internal/govern/backup"
	"github.com/cloakroom/cloakroom/internal/govern/upkeep"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/idempotency"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/respond/claim"
	"github.com/cloakroom/cloakroom/internal/respond/contain"
	"github.com/cloakroom/cloakroom/internal/respond/incident"
	"github.com/cloakroom/cloakroom/internal/respond/scope"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/approval"
	"github.com/cloakroom/cloakroom/internal/vault/audit"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/erase"
	"github.com/cloakroom/cloakroom/internal/vault/export"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/signin"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
	"github.com/cloakroom/cloakroom/internal/watch/canary"
	"github.com/cloakroom/cloakroom/internal/watch/exposure"
	"github.com/cloakroom/cloakroom/internal/watch/notify"
	"github.com/cloakroom/cloakroom/internal/watch/witness"
	"github.com/cloakroom/cloakroom/internal/web/session"
)

// Timeout bounds every request.
const Timeout = 60 * time.Second

const (
	maxBody     = 1 << 20
	maxBulkBody = 64 << 20
	// maxBodies bounds the bodies above maxBody that are in memory at one time, by what of
	// them has arrived: those beyond wait until their own deadline.
	maxBodies = 160 << 20
	// maxShare bounds those of one principal, beside one that may be as large as any: so
	// that what one principal sends never fills maxBodies.
	maxShare = 16 << 20
	// maxFiles bounds the files of exports that are written at one time: each holds the
	// sealed records of a part.
	maxFiles = 4
)

// Desks are what the routes of the API call. None may be nil.
type Desks struct {
	Identity  *identity.Store
	Revisions *revision.Tracker
	Once      *idempotency.Store
	Ledger    *ledger.Ledger
	Disclose  *disclose.Desk
	Audit     *audit.Desk
	Intake    *intake.Desk
	Approved  *approval.Desk
	Exports   *export.Desk
	Exposure  *exposure.Desk
	Canaries  *canary.Desk
	Mails     *canary.MailDesk
	Alarms    *alarm.Desk
	Notify    *notify.Desk
	Admin     *admin.Desk
	Erase     *erase.Desk
	Upkeep    *upkeep.Desk
	Contain   *contain.Desk
	Scope     *scope.Desk
	Incident  *incident.Desk
	Claims    *claim.Desk
	Witness   *witness.Set
	Messages  *message.Desk
	Campaigns *campaign.Desk
	Changes   *change.Desk
	SignIn    *signin.Desk
	Backups   *backup.Desk
	Followers *follow.Runner
	// LogName names a log, also where the database does not answer.
	LogName func(ctx context.Context, brand record.BrandID) string
}

// Server answers for one vault.
type Server struct {
	vault    Desks
	log      *slog.Logger
	http     http.Handler
	api      huma.API
	metrics  *metrics
	failures *failures
	bodies   *rooms
	files    *semaphore.Weighted // files of exports that are written at one time
	timeout  time.Duration
	once     map[string]bool // the routes that change something, by pattern; false: the answer is not kept
	draining atomic.Bool     // it takes no more requests soon
	backups  backupsSeen
}

// New returns a server over the desks of a vault. It logs requests without their
// contents.
func New(d Desks, log *slog.Logger) *Server { return newServer(d, log, Timeout) }

func newServer(d Desks, log *slog.Logger, timeout time.Duration) *Server {
	s := &Server{
		vault: d, log: log, metrics: newMetrics(), failures: newFailures(log), bodies: newRooms(), files: semaphore.NewWeighted(maxFiles),
		timeout: timeout, once: map[string]bool{},
	}
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Cloakroom", "1")
	config.Info.Description = "A customer-data vault. Every error is RFC 9457 with a stable type."
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "/v1/openapi", "", ""
	config.CreateHooks = nil
	config.Formats = map[string]huma.Format{"application/json": s.jsonFormat(), "json": s.jsonFormat(), linesType: s.linesFormat()}
	config.Transformers = []huma.Transformer{s.plainErrors}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"key": {Type: "http", Scheme: "bearer"}}
	config.Security = []map[string][]string{{"key": {}}}
	s.api = humago.New(mux, config)
	s.routes()
	s.alarmRoutes()
	s.exportRoutes(mux)
	s.canaryRoutes()
	s.containRoutes()
	s.incidentRoutes(mux)
	s.claimRoutes(mux)
	s.witnessRoutes()
	s.changeRoutes()
	s.logRoutes(mux)
	s.backupRoutes()
	s.followerRoutes()
	s.metricsRoute(mux)
	s.SignIn().Routes(mux)
	s.http = s.identify(s.routed(mux))
	return s
}

// OpenAPI returns the description of the API as YAML.
func (s *Server) OpenAPI() ([]byte, error) { return s.api.OpenAPI().YAML() }

// headerRequest names a request in every answer, as the log does.
const headerRequest = "X-Request-Id"

// headerProof carries what a passkey gave for the act of a request.
const headerProof = session.ProofHeader

type requestKey struct{}

// SignIn returns what signs people in, for those that serve pages.
func (s *Server) SignIn() *session.Handler {
	return session.New(session.Desks{SignIn: s.vault.SignIn, Identity: s.vault.Identity, Revisions: s.vault.Revisions, End: s.vault.Admin.RevokeCredential, API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.http.ServeHTTP(w, r) })},
		func(ctx context.Context, w http.ResponseWriter, err error) { s.fail(w, s.problem(ctx, err)) })
}

// newRequest returns a name for a request: the server's own, since what a caller sends is
// never repeated.
func newRequest() string { return "req_" + strings.ToLower(rand.Text()[:20]) }

type identityKey struct{}
type localKey struct{}

// shown is what a request shows of who sends it: the zero value, that it comes from
// the machine itself.
type shown struct {
	key     identity.Key
	keyed   bool
	session identity.Secret
	signed  bool // in: session is shown, and no key
}

// open lists the paths that anybody may ask for.
func open(path string) bool {
	return path == redeemPath || path == session.Path || strings.HasPrefix(path, session.Path+"/") || path == "/v1/health" || path == "/v1/live" || path == "/v1/ready" || path == "/v1/openapi.json" || path == "/v1/openapi.yaml"
}

// identify sets the request's deadline, and turns away whom nobody knows before their
// request is read. Who is calling is found again where the request is decided.
func (s *Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
		defer cancel()
		request := newRequest()
		ctx = context.WithValue(ctx, requestKey{}, request)
		w.Header().Set(headerRequest, request)
		var c identity.Caller
		rec := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		in := r.WithContext(ctx)
		s.metrics.begin()
		w.Header().Set("Cache-Control", "no-store") // an answer is its caller's, and no proxy's
		w.Header().Set("X-Content-Type-Options", "nosniff")
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("a request failed", "method", r.Method, "route", pattern(in), "request_id", request) // what panicked may hold data
				if rec.wrote {
					panic(http.ErrAbortHandler) // so that what was cut does not seem whole
				}
				s.fail(rec, internal())
			}
			s.metrics.end(pattern(in), rec.status, time.Since(start))
			s.logged(ctx, in, c, rec.status, time.Since(start))
		}()
		if !open(r.URL.Path) {
			who, err := present(ctx, r)
			if err == nil {
				c, err = s.caller(s.vault.Revisions.Peek(ctx), who)
			}
			if err == nil && c.Export != "" && !downloads(r, c.Export) {
				err = identity.ErrLink
			}
			if err != nil {
				s.fail(rec, s.problem(ctx, err))
				return
			}
			in = r.WithContext(door.WithProof(context.WithValue(ctx, identityKey{}, who), r.Header.Get(headerProof)))
			if n := r.ContentLength; n < 0 || n > maxBody {
				u := &upload{ReadCloser: in.Body, rooms: s.bodies, ctx: ctx, conn: http.NewResponseController(rec), principal: c.Principal, granted: maxBody}
				in.Body = u
				defer u.done()
			}
		}
		next.ServeHTTP(rec, in)
	})
}

// logged writes one line about a request: whose it was, for which brand, how it ended and
// how long it took, and nothing that the caller wrote. Of open paths, which are probed every few
// seconds, it writes only with the level debug.
func (s *Server) logged(ctx context.Context, r *http.Request, c identity.Caller, status int, took time.Duration) {
	level := slog.LevelInfo
	if open(r.URL.Path) && status < 300 {
		level = slog.LevelDebug
	}
	if !s.log.Enabled(ctx, level) {
		return
	}
	args := []any{"request_id", ctx.Value(requestKey{}), "method", r.Method, "route", pattern(r), "status", status, "duration_ms", float64(took.Microseconds()) / 1000}
	if c.Principal != 0 {
		args = append(args, "principal", c.Principal)
		if name := r.PathValue("brand"); name != "" { // the caller's word, until a brand has this name
			if b, err := s.vault.Disclose.Door.Brands.ByName(s.vault.Revisions.Peek(ctx), name); err == nil {
				args = append(args, "brand", b.Name)
			}
		}
	}
	s.log.Log(ctx, level, "request", args...)
}

// downloads reports whether a request shows an export or fetches a file of it. A
// credential's export never changes, so that it is enough to ask once.
func downloads(r *http.Request, export string) bool {
	at := strings.Split(r.URL.Path, "/") // "", v1, brands, NAME, exports, ID, ...
	return r.Method == http.MethodGet && len(at) >= 6 && at[1] == "v1" && at[2] == "brands" && at[4] == "exports" && at[5] == export
}

func present(ctx context.Context, r *http.Request) (shown, error) {
	if local, _ := ctx.Value(localKey{}).(bool); local && r.Header.Get("Authorization") == "" {
		return shown{}, nil
	}
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return shown{}, errNoKey
	}
	if strings.HasPrefix(text, identity.SecretPrefix) {
		secret, err := identity.ParseSecret(text)
		return shown{session: secret, signed: true}, err
	}
	key, err := identity.ParseKey(text)
	return shown{key: key, keyed: true}, err
}

func (s *Server) caller(ctx context.Context, who shown) (identity.Caller, error) {
	if who.signed {
		return s.vault.Identity.AuthenticateSession(ctx, who.session)
	}
	if !who.keyed {
		return s.vault.Identity.EnsureLocal(ctx, access.Administrator)
	}
	return s.vault.Identity.Authenticate(ctx, who.key)
}

// decide runs what a request asks for, for whoever sends it, under rights that hold
// when it is answered. On the open paths there is no caller.
func (s *Server) decide(ctx context.Context, fn func(ctx context.Context, c identity.Caller) error) error {
	who, known := ctx.Value(identityKey{}).(shown)
	if !known {
		return fn(ctx, identity.Caller{})
	}
	return s.vault.Revisions.Decide(ctx, func(ctx context.Context) error {
		c, err := s.caller(ctx, who)
		if err != nil {
			return err
		}
		return fn(ctx, c)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (w *statusWriter) WriteHeader(status int) {
	w.status, w.wrote = status, true
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets the deadline of a body be set below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) Write(b []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(b)
}

// plainErrors takes the values out of the errors that the framework makes.
func (s *Server) plainErrors(ctx huma.Context, _ string, v any) (any, error) {
	request, _ := ctx.Context().Value(requestKey{}).(string)
	if e, ok := v.(*api.Error); ok {
		return complete(e, request), nil
	}
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	e := &api.Error{Type: api.TypeInvalid, Title: "Invalid request", Status: m.Status}
	for _, d := range m.Errors {
		if place, ok := strings.CutPrefix(d.Message, notText+": "); ok {
			e.Errors = refuseText(place).Errors
			break
		}
		if m.Status == http.StatusUnsupportedMediaType {
			e.Errors = []api.InvalidValue{{Message: "Content-Type must be application/json"}}
			break
		}
		e.Errors = append(e.Errors, s.invalid(ctx.Operation(), d))
	}
	switch {
	case m.Status == http.StatusRequestTimeout:
		e.Type, e.Title, e.Errors = api.TypeTimeout, "Timeout", nil
		e.Detail = "the body did not arrive in time: send smaller requests"
	case m.Status == http.StatusRequestEntityTooLarge:
		e.Detail = "the request is too large: send smaller requests"
	case len(e.Errors) == 0:
		e.Detail = "the body is missing or not the JSON object that /v1/openapi.yaml describes"
	}
	s.metrics.failed(e.Type)
	return complete(e, request), nil
}

// unexpected begins the framework's message about a property that a request does not have.
const unexpected = "unexpected property"

// invalid is what one of the framework's errors says, without the value.
func (s *Server) invalid(op *huma.Operation, d *huma.ErrorDetail) api.InvalidValue {
	iv := api.InvalidValue{Message: d.Message}
	switch {
	case strings.HasPrefix(d.Message, unexpected):
		s.unknownProperty(&iv, op, d.Location)
	case strings.HasPrefix(d.Message, "expected "):
		iv.Location = d.Location
		iv.Pointer = pointer(d.Location)
	case strings.HasPrefix(d.Message, "required query parameter"):
		name := strings.TrimPrefix(d.Location, "query.")
		iv.Location, iv.Message = "query."+name, "query parameter `"+name+"` is required"
	case strings.HasPrefix(d.Message, malformed):
		iv.Location = "body"
	default:
		iv.Message = "Invalid value"
	}
	return iv
}

// malformed begins the message about a body that is no JSON.
const malformed = "Malformed JSON at byte "

// unmarshal reads JSON, and says where it is malformed without quoting it. A body is read
// twice: as any value, which is held against the description, and as a request. Repeated
// members are looked for in the first.
func unmarshal(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return errors.New(malformed + strconv.FormatInt(syntax.Offset, 10))
	}
	if err != nil {
		return err
	}
	if _, first := v.(*any); !first {
		return nil
	}
	if at := repeated(data); at >= 0 {
		return errors.New(malformed + strconv.Itoa(at) + ": a member is repeated, or differs from another only in case")
	}
	return nil
}

// known returns a location up to its first name that no request of the API has: such a
// name is the caller's and may be personal data.
func (s *Server) known(location string) string {
	parts := strings.Split(location, ".")
	for i, p := range parts {
		name, _, _ := strings.Cut(p, "[")
		if i > 0 && !s.names(name) {
			return strings.Join(parts[:i], ".")
		}
	}
	return location
}

// Handler returns what answers requests, for a server of somebody else's: no request that
// comes by it is the local administrator's.
func (s *Server) Handler() http.Handler { return s.http }

// Serve answers on a listener until the context ends, and then lets what runs
// finish. Over a Unix socket, whoever runs as the account of this process, or as
// root, is the local administrator.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: s.http, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ReadTimeout: 2 * Timeout,
		WriteTimeout: 3 * Timeout, MaxHeaderBytes: 16 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if uc, ok := c.(*net.UnixConn); ok {
				uid, err := peerUID(uc)
				return context.WithValue(ctx, localKey{}, err == nil && (uid == 0 || uid == os.Getuid()))
			}
			return ctx
		},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.vault.Backups.Stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return srv.Shutdown(grace)
}
