package server

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// metrics counts requests. Its labels are the patterns of our own routes, statuses
// and the types of errors: nothing that a request brings, so nothing of a customer.
type metrics struct {
	started time.Time

	mu      sync.Mutex
	running int
	routes  map[string]*routeCount // by pattern; empty: no route
	errors  map[string]uint64      // by type
}

type routeCount struct {
	statuses map[int]uint64
	within   []uint64 // by bound of durations
	count    uint64
	seconds  float64
}

func newMetrics() *metrics {
	return &metrics{started: time.Now(), routes: map[string]*routeCount{}, errors: map[string]uint64{}}
}

// durations are the bounds of the histogram in seconds: from a masked view on the
// embedded engine to the longest that a request may take.
func durations() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 60}
}

func (m *metrics) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running++
}

func (m *metrics) end(pattern string, status int, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running--
	r := m.routes[pattern]
	if r == nil {
		r = &routeCount{statuses: map[int]uint64{}, within: make([]uint64, len(durations()))}
		m.routes[pattern] = r
	}
	r.statuses[status]++
	r.count++
	r.seconds += took.Seconds()
	for i, bound := range durations() {
		if took.Seconds() <= bound {
			r.within[i]++
		}
	}
}

func (m *metrics) failed(typ string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.errors[typ]++
}

// text is in the Prometheus exposition format 0.0.4.
func (m *metrics) text() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b bytes.Buffer
	head := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	patterns := slices.Sorted(maps.Keys(m.routes))
	head("cloakroom_requests_total", "counter", "Requests answered.")
	for _, p := range patterns {
		for _, status := range slices.Sorted(maps.Keys(m.routes[p].statuses)) {
			fmt.Fprintf(&b, "cloakroom_requests_total{route=%q,status=\"%d\"} %d\n", p, status, m.routes[p].statuses[status])
		}
	}
	head("cloakroom_request_seconds", "histogram", "How long requests took.")
	for _, p := range patterns {
		r := m.routes[p]
		for i, bound := range durations() {
			fmt.Fprintf(&b, "cloakroom_request_seconds_bucket{route=%q,le=\"%g\"} %d\n", p, bound, r.within[i])
		}
		fmt.Fprintf(&b, "cloakroom_request_seconds_bucket{route=%q,le=\"+Inf\"} %d\n", p, r.count)
		fmt.Fprintf(&b, "cloakroom_request_seconds_sum{route=%q} %g\ncloakroom_request_seconds_count{route=%q} %d\n", p, r.seconds, p, r.count)
	}
	head("cloakroom_errors_total", "counter", "Errors answered, by type.")
	for _, typ := range slices.Sorted(maps.Keys(m.errors)) {
		fmt.Fprintf(&b, "cloakroom_errors_total{type=%q} %d\n", typ, m.errors[typ])
	}
	head("cloakroom_requests_running", "gauge", "Requests that are not answered yet.")
	fmt.Fprintf(&b, "cloakroom_requests_running %d\n", m.running)
	head("cloakroom_start_time_seconds", "gauge", "When the server started, in seconds since 1970.")
	fmt.Fprintf(&b, "cloakroom_start_time_seconds %d\n", m.started.Unix())
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	head("cloakroom_memory_bytes", "gauge", "Memory that the server took from the system.")
	fmt.Fprintf(&b, "cloakroom_memory_bytes %d\n", mem.Sys)
	head("cloakroom_goroutines", "gauge", "Goroutines.")
	fmt.Fprintf(&b, "cloakroom_goroutines %d\n", runtime.NumGoroutine())
	return b.Bytes()
}

// metricsRoute shows the counts to whoever may watch the group's log: how much a
// brand does is no stranger's business.
func (s *Server) metricsRoute(mux *http.ServeMux) {
	s.describe("/v1/metrics", "metrics", "Counts of requests and errors, in the Prometheus text format", "text/plain")
	mux.HandleFunc("GET /v1/metrics", func(w http.ResponseWriter, r *http.Request) {
		err := s.decide(r.Context(), func(ctx context.Context, c identity.Caller) error {
			_, err := s.vault.Admin.Watch(ctx, c, brands.GroupName)
			return err
		})
		if err != nil {
			s.fail(w, s.problem(r.Context(), err))
			return
		}
		s.writeMetrics(r.Context(), w)
	})
}

// pattern shortens what the mux says of a route: a method and a path of our own.
func pattern(r *http.Request) string { return strings.TrimSpace(r.Pattern) }
