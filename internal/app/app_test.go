package app

import (
	"errors"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// A vault that was made with an origin is administered without naming it again, and
// with another it does not start: its logs would seem to be tampered with.
func TestTheOriginIsChosenOnce(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	for i, origin := range []string{"vault.example.com", "", "vault.example.com"} {
		v, err := Open(ctx, dir, Options{Origin: origin})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Ledger.Verify(ctx, record.Group, nil); err != nil {
			t.Errorf("start %d: %v", i, err)
		}
		cp, err := v.Ledger.Checkpoint(ctx, record.Group)
		if err != nil || !strings.HasPrefix(string(cp), "vault.example.com/group\n") {
			t.Errorf("start %d: %q, %v", i, cp, err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	v, err := Open(ctx, dir, Options{Origin: "other.example.com"})
	if err == nil {
		v.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "named vault.example.com") {
		t.Errorf("another origin gave %v", err)
	}
}

func TestOneProcessOpensADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second opening gave %v", err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if v, err = Open(t.Context(), dir, Options{}); err != nil {
		t.Fatal(err)
	}
	v.Close()
}
