package server

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// What the tests beside this package reach into.
const (
	MaxBody   = maxBody
	MaxBodies = maxBodies
)

// NewWithin is New with another bound on every request.
func NewWithin(d Desks, log *slog.Logger, timeout time.Duration) *Server {
	return newServer(d, log, timeout)
}

// Handler returns what answers requests.
func (s *Server) Handler() http.Handler { return s.http }

// Open reports whether anybody may ask for a path.
func Open(path string) bool { return open(path) }

// Described returns the description of the API.
func (s *Server) Described() *huma.OpenAPI { return s.api.OpenAPI() }

// Problem returns the answer to an error.
var Problem = problem

// TakeBodies takes all room for large bodies until it is given back.
func (s *Server) TakeBodies(ctx context.Context) error { return s.bodies.Acquire(ctx, maxBodies) }

// GiveBodies gives all room for large bodies back.
func (s *Server) GiveBodies() { s.bodies.Release(maxBodies) }
