package server

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Failures fill the process log with one line for the first of a kind and one for its
// repeats, however many there are and however long or different their causes.
func TestRepeatedFailuresAreGathered(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var later []func()
	f := newFailures(slog.New(slog.NewTextHandler(&out, nil)))
	f.after = func(fn func()) { later = append(later, fn) }
	lines := func() string {
		defer out.Reset()
		return out.String()
	}
	changed := errors.New("the log was changed from outside")
	for range 10_000 {
		f.add("reveal", "log-unavailable", "req_1", changed)
	}
	f.add("search", "log-unavailable", "req_1", changed)
	if got := lines(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "changed from outside") {
		t.Errorf("10,001 failures of two operations were logged as:\n%s", got)
	}
	for _, fn := range later {
		fn()
	}
	later = nil
	if got := lines(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "times=9999") {
		t.Errorf("the repeats were logged as:\n%s", got)
	}
	f.add("reveal", "log-unavailable", "req_1", changed)
	if got := lines(); strings.Count(got, "\n") != 1 {
		t.Errorf("the next one was logged as:\n%s", got)
	}
	for i := range 10_000 {
		f.add("reveal", "internal", "req_1", fmt.Errorf("%d: %s", i, strings.Repeat("x", 100_000)))
	}
	if n := out.Len(); n > 2*maxFailures*maxCause {
		t.Errorf("10,000 different failures of 100 kB each made %d bytes of log", n)
	}
}
