// Package server is the HTTP API over a vault: it says who is calling, reads
// requests, and turns errors into answers. What requests do is done elsewhere.
//
// An answer never repeats what was sent: neither an error nor a log line holds a
// value of a request.
package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/access"
	"github.com/cloakroom/cloakroom/internal/identity"
	"github.com/cloakroom/cloakroom/internal/vault"
)

// Timeout bounds every request.
const Timeout = 60 * time.Second

const (
	maxBody     = 1 << 20
	maxBulkBody = 64 << 20
)

// Server answers for one vault.
type Server struct {
	vault *vault.Vault
	log   *slog.Logger
	http  http.Handler
	api   huma.API
}

// New returns the server of a vault. It logs requests without their contents.
func New(v *vault.Vault, log *slog.Logger) *Server {
	s := &Server{vault: v, log: log}
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Cloakroom", "1")
	config.Info.Description = "A customer-data vault. Every error is RFC 9457 with a stable type."
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "/v1/openapi", "", ""
	config.CreateHooks = nil
	config.Transformers = []huma.Transformer{plainErrors}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"key": {Type: "http", Scheme: "bearer"}}
	config.Security = []map[string][]string{{"key": {}}}
	s.api = humago.New(mux, config)
	s.routes()
	s.alarmRoutes()
	s.logRoutes(mux)
	s.http = s.identify(mux)
	return s
}

// OpenAPI returns the description of the API as YAML.
func (s *Server) OpenAPI() ([]byte, error) { return s.api.OpenAPI().YAML() }

type callerKey struct{}
type localKey struct{}

// open lists the paths that anybody may ask for.
func open(path string) bool {
	return path == "/v1/health" || path == "/v1/openapi.json" || path == "/v1/openapi.yaml"
}

// identify finds out who is calling, and sets the request's deadline.
func (s *Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(r.Context(), Timeout)
		defer cancel()
		rec := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("a request failed", "method", r.Method, "route", r.Pattern) // what panicked may hold data
				if !rec.wrote {
					writeError(rec, internal())
				}
			}
			s.log.Debug("request", "method", r.Method, "status", rec.status, "took", time.Since(start).Round(time.Microsecond))
		}()
		if !open(r.URL.Path) {
			caller, err := s.caller(ctx, r)
			if err != nil {
				writeError(rec, problem(err))
				return
			}
			ctx = context.WithValue(ctx, callerKey{}, caller)
		}
		next.ServeHTTP(rec, r.WithContext(ctx))
	})
}

func (s *Server) caller(ctx context.Context, r *http.Request) (identity.Caller, error) {
	if local, _ := ctx.Value(localKey{}).(bool); local && r.Header.Get("Authorization") == "" {
		return s.vault.Identity.EnsureLocal(ctx, access.Administrator)
	}
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return identity.Caller{}, errNoKey
	}
	key, err := identity.ParseKey(text)
	if err != nil {
		return identity.Caller{}, err
	}
	return s.vault.Identity.Authenticate(ctx, key)
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

func (w *statusWriter) Write(b []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(b)
}

// plainErrors takes the values out of the errors that the framework makes.
func plainErrors(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	e := &api.Error{Type: api.TypeInvalid, Title: "The request is not valid", Status: m.Status}
	for _, d := range m.Errors {
		iv := api.InvalidValue{Message: d.Message}
		switch {
		case strings.HasPrefix(d.Message, "unexpected property"):
			iv.Message = "has a member that the API does not know"
		case strings.HasPrefix(d.Message, "expected "):
			iv.Location = d.Location
		default:
			iv.Message = "is not what the API describes"
		}
		e.Errors = append(e.Errors, iv)
	}
	switch {
	case m.Status == http.StatusRequestEntityTooLarge:
		e.Detail = "the request is too large: send fewer at a time"
	case len(e.Errors) == 0:
		e.Detail = "the body is not JSON of the shape that the API describes"
	}
	return e, nil
}

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
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return srv.Shutdown(grace)
}
