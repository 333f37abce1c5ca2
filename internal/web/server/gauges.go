package server

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/build"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// backupsSeen is when the last backup began, as far as the group's log was read for it.
type backupsSeen struct {
	mu   sync.Mutex
	next uint64
	last time.Time
}

// lastBackup returns when the last backup of the vault began, by the group's log; the zero
// time if none did.
func (s *Server) lastBackup(ctx context.Context) (time.Time, error) {
	b := &s.backups
	b.mu.Lock()
	defer b.mu.Unlock()
	err := s.vault.Ledger.Scan(ctx, record.Group, b.next, func(index uint64, e entry.Entry, _ []record.Ordinal) error {
		if _, ok := e.Detail.(entry.BackedUp); ok {
			b.last = e.At
		}
		b.next = index + 1
		return nil
	})
	return b.last, err
}

// exposition writes the Prometheus text format.
type exposition struct{ bytes.Buffer }

func (x *exposition) metric(name, kind, help string) {
	fmt.Fprintf(x, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (x *exposition) value(name, kind, help string, v float64) {
	x.metric(name, kind, help)
	fmt.Fprintf(x, "%s %g\n", name, v)
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// gauges are what an operator is woken for. A part that cannot be read is left out, and
// counted in cloakroom_scrape_errors, so that the rest is still seen.
func (s *Server) gauges(ctx context.Context) []byte {
	x, failed := &exposition{}, 0
	try := func(err error) bool {
		if err != nil {
			failed++
		}
		return err == nil
	}
	b := build.Info()
	x.metric("cloakroom_build_info", "gauge", "The release that runs; always 1.")
	fmt.Fprintf(x, "cloakroom_build_info{version=%q,commit=%q,go=%q} 1\n", b.Version, b.Commit, b.Go)
	if open, err := s.vault.Alarms.Store.Open(ctx); try(err) {
		x.metric("cloakroom_alarms_open", "gauge", "Alarms that are not closed, by severity.")
		for _, severity := range slices.Sorted(maps.Keys(open)) {
			fmt.Fprintf(x, "cloakroom_alarms_open{severity=%q} %d\n", severity, open[severity])
		}
	}
	if n, err := s.vault.Notify.Failing(ctx); try(err) {
		x.value("cloakroom_receivers_failing", "gauge", "Receivers of alarms that did not take the last one.", float64(n))
	}
	l := s.vault.Ledger.Stats()
	x.value("cloakroom_log_writable", "gauge", "Whether the last commit of every log succeeded.", flag(l.Writable))
	x.value("cloakroom_log_groups_total", "counter", "Groups of entries that this server committed.", float64(l.Groups))
	x.value("cloakroom_log_group_entries_total", "counter", "Entries in these groups: their size is the ratio.", float64(l.Entries))
	x.value("cloakroom_log_group_seconds_total", "counter", "How long their commits took together.", l.Took.Seconds())
	if n, err := s.vault.Ledger.Logged(ctx); try(err) {
		x.value("cloakroom_log_entries", "gauge", "Entries of all logs.", float64(n))
	}
	if at, err := s.lastBackup(ctx); try(err) && !at.IsZero() {
		x.value("cloakroom_backup_last_timestamp_seconds", "gauge", "When the last backup began, in seconds since 1970; absent before the first.", float64(at.Unix()))
	}
	if stuck, err := s.stuckRotations(ctx); try(err) {
		x.value("cloakroom_rotations_stuck", "gauge", "Rotations of keys that do not go on by themselves.", float64(stuck))
	}
	p := s.vault.Upkeep.DB.Pool()
	x.value("cloakroom_pool_in_use", "gauge", "Connections to the database in use.", float64(p.InUse))
	x.value("cloakroom_pool_open", "gauge", "Connections to the database.", float64(p.Open))
	x.value("cloakroom_pool_limit", "gauge", "Maximum number of connections to the database.", float64(p.Most))
	x.value("cloakroom_pool_waits_total", "counter", "How often a request waited for a connection.", float64(p.Waited))
	before := time.Now()
	if now, err := s.vault.Upkeep.DB.Now(ctx); try(err) {
		x.value("cloakroom_clock_offset_seconds", "gauge", "This machine's clock less the database's.", before.Add(time.Since(before)/2).Sub(now).Seconds())
	}
	if v, err := s.vault.Upkeep.DB.Version(ctx); try(err) {
		x.value("cloakroom_schema_version", "gauge", "Version of the database's schema.", float64(v))
	}
	x.value("cloakroom_scrape_errors", "gauge", "Groups of these metrics that could not be read now.", float64(failed))
	s.process(x)
	return x.Bytes()
}

func (s *Server) stuckRotations(ctx context.Context) (n int, err error) {
	list, err := s.vault.Admin.Door.Brands.List(ctx)
	if err != nil {
		return 0, err
	}
	ids := []record.BrandID{record.Group}
	for _, b := range list {
		ids = append(ids, b.ID)
	}
	for _, id := range ids {
		rotations, err := s.vault.Upkeep.Ring.Rotations(ctx, id)
		if err != nil {
			return 0, err
		}
		for _, r := range rotations {
			if r.Stalled() {
				n++
			}
		}
	}
	return n, nil
}

// process has the names that every exporter uses.
func (s *Server) process(x *exposition) {
	x.value("process_start_time_seconds", "gauge", "Start time of the process since the epoch, in seconds.", float64(s.metrics.started.Unix()))
	x.value("go_goroutines", "gauge", "Number of goroutines.", float64(runtime.NumGoroutine()))
	x.metric("go_info", "gauge", "Go environment.")
	fmt.Fprintf(x, "go_info{version=%q} 1\n", runtime.Version())
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	x.value("go_memstats_heap_alloc_bytes", "gauge", "Heap bytes allocated and in use.", float64(mem.HeapAlloc))
	x.value("go_memstats_sys_bytes", "gauge", "Bytes obtained from the system.", float64(mem.Sys))
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		x.value("process_open_fds", "gauge", "Number of open file descriptors.", float64(len(fds)))
	}
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest) // from the state on, which is the third field of proc(5)
	if len(f) < 22 {
		return
	}
	field := func(i int) float64 {
		v, _ := strconv.ParseFloat(f[i-3], 64)
		return v
	}
	const ticks = 100 // of a second: the kernel's USER_HZ, fixed on every architecture that Go has
	x.value("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", (field(14)+field(15))/ticks)
	x.value("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", field(23))
	x.value("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", field(24)*float64(os.Getpagesize()))
}

// Metrics answers GET /metrics without a key: for a listener on this machine alone, where
// whoever reads it sees counts and no customer.
func (s *Server) Metrics() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), scrapeTimeout)
		defer cancel()
		s.writeMetrics(ctx, w)
	})
	return mux
}

// ServeMetrics answers GET /metrics on a listener until the context ends; without one it
// does nothing.
func (s *Server) ServeMetrics(ctx context.Context, l net.Listener) error {
	if l == nil {
		return nil
	}
	srv := &http.Server{Handler: s.Metrics(), ReadHeaderTimeout: scrapeTimeout, ReadTimeout: scrapeTimeout, WriteTimeout: 2 * scrapeTimeout, MaxHeaderBytes: 16 << 10}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return srv.Close()
	}
}

// scrapeTimeout bounds what a scrape waits for the database.
const scrapeTimeout = 8 * time.Second

func (s *Server) writeMetrics(ctx context.Context, w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Write(s.metrics.text())
	if lags, err := s.vault.Followers.Lags(ctx); err == nil {
		w.Write(lagText(lags))
	}
	w.Write(s.gauges(ctx))
}
