package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
)

// The command asks again while the server counts, says on a terminal how far it is, and
// ends with what the server says at last, or with its own end.
func TestCountedAsksAgain(t *testing.T) {
	unfinished := &api.Error{Type: api.TypeUnfinished, Detail: "counted 640,000 of 1,000,000 entries of gucci"}
	refused := &api.Error{Type: api.TypePolicyDenied}
	for _, last := range []error{nil, refused} {
		var err strings.Builder
		asked := 0
		got := counted(t.Context(), Streams{Err: &err, Terminal: true}, func() error {
			if asked++; asked < 3 {
				return unfinished
			}
			return last
		})
		if !errors.Is(got, last) || asked != 3 || strings.Count(err.String(), "counted 640,000 of 1,000,000 entries of gucci") != 2 || !strings.HasSuffix(err.String(), "\r\x1b[K") {
			t.Errorf("asked %d times: %v, %q", asked, got, err.String())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	forever := &api.Error{Type: api.TypeUnfinished, RetryIn: 3600}
	if err := counted(ctx, Streams{Err: &strings.Builder{}}, func() error { return forever }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
