package upkeep_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/govern/upkeep"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// tend works on what is left to do until the test ends.
func tend(t *testing.T, h *apptest.House) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Upkeep.Tend(ctx, slog.New(slog.NewTextHandler(io.Discard, nil)))
	}()
	t.Cleanup(func() { stop(); <-done })
}

// rotated waits until a rotation of gucci's has ended.
func rotated(t *testing.T, h *apptest.House, kind string) api.Rotation {
	t.Helper()
	for {
		list, err := h.Upkeep.Rotations(t.Context(), h.Local, "gucci")
		h.Must(err)
		for _, r := range list {
			if r.Kind == kind && !r.Ended.IsZero() {
				return r
			}
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the rotation does not end")
		case <-time.After(time.Millisecond):
		}
	}
}

// A rotation is in the log from its beginning to the end of the old key, and customers can
// be read all the time.
func TestARotationIsLogged(t *testing.T) {
	h := apptest.Open(t)
	alice := h.Person("alice", map[string]string{"gucci": "support-agent"})
	token := h.Put("gucci", api.Fields{"external_id": "C-1", "email": "zoe@example.com"})[0]
	tend(t, h)
	for kind, want := range map[string][]string{"kek": {"begin", "destroy-old"}, "index": {"begin", "open-to-index", "destroy-old"}} {
		from := h.Size("gucci")
		rot, err := h.Upkeep.Rotate(t.Context(), h.Local, "gucci", kind)
		if err != nil || rot.Version != 2 {
			t.Fatalf("%s: %+v, %v", kind, rot, err)
		}
		rotated(t, h, kind)
		var steps []string
		for _, line := range h.Logged("gucci", from) {
			if _, rest, ok := strings.Cut(line, "step="); ok && strings.HasPrefix(line, "rotation ") {
				step, _, _ := strings.Cut(rest, " ")
				steps = append(steps, step)
			}
		}
		if !slices.Equal(steps, want) {
			t.Errorf("%s: the log has %q", kind, h.Logged("gucci", from))
		}
		if _, err := h.Disclose.View(t.Context(), alice, "gucci", token, "customer-support", "", record.AllFields); err != nil {
			t.Errorf("after %s was rotated: %v", kind, err)
		}
		if found, err := h.Disclose.Search(t.Context(), alice, "gucci", api.SearchRequest{By: "email", Value: "zoe@example.com", Purpose: "customer-support"}); err != nil || len(found.Customers) != 1 {
			t.Errorf("searching after %s was rotated: %+v, %v", kind, found, err)
		}
		list, err := h.Upkeep.Keys(t.Context(), h.Local, "gucci")
		h.Must(err)
		for _, k := range list {
			if k.Kind == kind && (k.Version != 2 || !k.Current) {
				t.Errorf("of %s there is still %+v", kind, k)
			}
		}
	}
}

// Only administrators take care of a vault, and what cannot be done is not logged.
func TestWhoTakesCare(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	eve := h.Person("eve", map[string]string{"gucci": "incident-responder", "group": "incident-responder"})
	for name, do := range map[string]func(c identity.Caller) error{
		"keys":      func(c identity.Caller) error { _, err := h.Upkeep.Keys(ctx, c, "gucci"); return err },
		"rotations": func(c identity.Caller) error { _, err := h.Upkeep.Rotations(ctx, c, "gucci"); return err },
		"rotate":    func(c identity.Caller) error { _, err := h.Upkeep.Rotate(ctx, c, "gucci", "kek"); return err },
		"root":      func(c identity.Caller) error { _, err := h.Upkeep.RotateRoot(ctx, c); return err },
		"check":     func(c identity.Caller) error { _, err := h.Upkeep.Check(ctx, c, api.CheckPlace{}); return err },
		"mend":      func(c identity.Caller) error { _, err := h.Upkeep.Mend(ctx, c, api.MendRequest{}); return err },
	} {
		var denied *access.DeniedError
		if err := do(eve); !errors.As(err, &denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	from := h.Size("gucci")
	for _, kind := range []string{"log", "incident", "nothing"} {
		if _, err := h.Upkeep.Rotate(ctx, h.Local, "gucci", kind); !errors.Is(err, upkeep.ErrRequest) || !errors.Is(err, keys.ErrNoRotation) {
			t.Errorf("rotating %s: %v", kind, err)
		}
	}
	if h.Size("gucci") != from {
		t.Errorf("the log has %q", h.Logged("gucci", from))
	}
}

// The root key is replaced, the log says so, and the vault goes on under the new one.
func TestTheRootKeyIsReplaced(t *testing.T) {
	h := apptest.Open(t)
	token := h.Put("gucci", api.Fields{"external_id": "C-1", "email": "zoe@example.com"})[0]
	alice := h.Person("alice", map[string]string{"gucci": "support-agent"})
	from := h.Size("group")
	out, err := h.Upkeep.RotateRoot(t.Context(), h.Local)
	if err != nil || out.Keys == 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	if got := h.Logged("group", from); len(got) != 1 || !strings.Contains(got[0], "key=root") {
		t.Errorf("the log has %q", got)
	}
	if _, err := h.Disclose.View(t.Context(), alice, "gucci", token, "customer-support", "", record.AllFields); err != nil {
		t.Error(err)
	}
}

// A check of a vault that is well finds nothing; of one that is damaged it says where, and
// nothing of what was there.
func TestACheckSaysWhere(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	h.Put("gucci", api.Fields{"external_id": "C-1", "email": "zoe.unmistakable@example.com"}, api.Fields{"external_id": "C-2"})
	check := func() (faults []api.CheckFault) {
		t.Helper()
		for at, done := (api.CheckPlace{}), false; !done; {
			out, err := h.Upkeep.Check(ctx, h.Local, at)
			h.Must(err)
			faults, at, done = append(faults, out.Faults...), out.Next, out.Done
		}
		return faults
	}
	from := h.Size("group")
	if got := check(); len(got) != 0 {
		t.Errorf("a vault that is well: %+v", got)
	}
	if got := h.Logged("group", from); len(got) != 1 || !strings.Contains(got[0], "check=database") {
		t.Errorf("the log has %q", got)
	}
	if _, err := h.DB.Exec(ctx, `UPDATE customer_keys SET wrapped = (SELECT wrapped FROM customer_keys ORDER BY ord DESC LIMIT 1)`); err != nil {
		t.Fatal(err)
	}
	got := check()
	if len(got) == 0 || got[0].Ordinal == 0 {
		t.Fatalf("a damaged vault: %+v", got)
	}
	for _, f := range got {
		if strings.Contains(f.What, "unmistakable") || strings.Contains(f.What, "C-1") {
			t.Errorf("the check shows a value: %q", f.What)
		}
	}
	if _, err := h.Upkeep.Check(ctx, h.Local, api.CheckPlace{Ord: -1}); !errors.Is(err, upkeep.ErrRequest) {
		t.Errorf("a place that is none: %v", err)
	}
}

// Of a vault that is well nothing is mended, and nothing logged.
func TestAWellVaultIsNotMended(t *testing.T) {
	h := apptest.Open(t)
	from := h.Size("group")
	out, err := h.Upkeep.Mend(t.Context(), h.Local, api.MendRequest{})
	if err != nil || len(out.Faults) != 0 || len(out.Repairs) != 0 || h.Size("group") != from {
		t.Errorf("%+v, %v, with %q", out, err, h.Logged("group", from))
	}
}
