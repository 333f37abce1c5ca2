package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// What the tests beside this package reach into.
const (
	MaxBody     = maxBody
	MaxBulkBody = maxBulkBody
)

// NewWithin is New with another bound on every request.
func NewWithin(d Desks, log *slog.Logger, timeout time.Duration) *Server {
	return newServer(d, log, timeout)
}

// Open reports whether anybody may ask for a path.
func Open(path string) bool { return open(path) }

// Described returns the description of the API.
func (s *Server) Described() *huma.OpenAPI { return s.api.OpenAPI() }

// Problem returns the answer to an error.
var Problem = problem

// TakeBodies takes all room for large bodies, and the lane, until they are given back.
func (s *Server) TakeBodies(ctx context.Context) error {
	full, err := s.bodies.all.take(ctx, maxBodies-maxBulkBody)
	if err != nil {
		return err
	}
	lane, err := s.bodies.all.take(ctx, 1)
	if err == nil && (full || !lane) {
		err = errors.New("room was taken by the lane")
	}
	return err
}

// GiveBodies gives back what TakeBodies took.
func (s *Server) GiveBodies() { s.bodies.all.give(maxBodies-maxBulkBody, true) }

// OneShareIsTaken reports whether a principal's uploads hold all the room they may.
func (s *Server) OneShareIsTaken() bool {
	s.bodies.mu.Lock()
	defer s.bodies.mu.Unlock()
	for _, share := range s.bodies.share {
		share.mu.Lock()
		defer share.mu.Unlock()
		return share.taken && share.free == 0
	}
	return false
}
