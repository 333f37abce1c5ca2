package server

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// gatherFailures is for how long repeats of one failure are counted and not logged.
	gatherFailures = 10 * time.Second
	// maxFailures bounds the failures that are told apart within that time: those beyond
	// it are told apart by operation and type alone.
	maxFailures = 256
	// maxCause bounds what a line of the process log says of a cause.
	maxCause = 2000
)

// failures logs failed requests: each kind when it comes first, its repeats together. A
// log that was found changed refuses every request, thousands a second.
type failures struct {
	log   *slog.Logger
	after func(func()) // runs a function when gatherFailures is over

	mu   sync.Mutex
	seen map[failure]int // repeats since the line that was logged
}

// failure is what one line says.
type failure struct{ operation, typ, cause string }

func newFailures(log *slog.Logger) *failures {
	return &failures{log: log, seen: map[failure]int{}, after: func(fn func()) { time.AfterFunc(gatherFailures, fn) }}
}

// add logs a failure of a request, or counts it where the same was logged a moment ago.
func (f *failures) add(operation, typ, request string, cause error) {
	text := cause.Error()
	if len(text) > maxCause {
		text = fmt.Sprintf("%s ... (%d bytes)", text[:maxCause], len(text))
	}
	k := failure{operation, typ, text}
	f.mu.Lock()
	n, gathered := f.seen[k]
	if !gathered && len(f.seen) >= maxFailures {
		k.cause = ""
		n, gathered = f.seen[k]
	}
	if gathered {
		f.seen[k] = n + 1
		f.mu.Unlock()
		return
	}
	f.seen[k] = 0
	f.mu.Unlock()
	f.log.Error("a request failed", "operation", operation, "type", typ, "request_id", request, "cause", text)
	f.after(func() { f.tell(k) })
}

// tell logs how often a failure came again.
func (f *failures) tell(k failure) {
	f.mu.Lock()
	n := f.seen[k]
	delete(f.seen, k)
	f.mu.Unlock()
	if n > 0 {
		f.log.Error("a request failed again", "operation", k.operation, "type", k.typ, "cause", k.cause, "times", n, "within", gatherFailures.String())
	}
}
