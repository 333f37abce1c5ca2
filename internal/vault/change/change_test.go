package change_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

func maker(h *apptest.House) *change.Maker {
	return &change.Maker{DB: h.DB, Ledger: h.Ledger, Brands: h.Disclose.Door.Brands}
}

func event(h *apptest.House, brand string) ledger.Event {
	return ledger.Event{Kind: entry.KindAdministration, Who: identity.Who{Caller: h.Local, Brand: h.Brand(brand)}, Detail: entry.Checked{Check: "test"}}
}

// A change has its entry's time, and is there with it: not before, and not without. It is
// said whether rights moved, so that somebody has to wait.
func TestAChangeAndItsEntryAreOne(t *testing.T) {
	h := apptest.Open(t)
	m, from := maker(h), h.Size("gucci")
	for _, moves := range []bool{false, true} {
		var at time.Time
		moved, err := m.Make(t.Context(), event(h, "gucci"), func(q db.Queryer, now time.Time) error {
			at = now
			if h.Size("gucci") != from {
				t.Error("it is logged before it is made")
			}
			if moves {
				return revision.Bump(t.Context(), q)
			}
			return nil
		})
		if err != nil || moved != moves || h.Size("gucci") != from+1 {
			t.Errorf("moved %v, %v; want %v", moved, err, moves)
		}
		e, _, err := h.Ledger.Entry(t.Context(), h.Brand("gucci"), from)
		if err != nil || !e.At.Equal(at) {
			t.Errorf("made at %v, logged at %v, %v", at, e.At, err)
		}
		from++
	}
}

// What cannot be made leaves no entry; what cannot be logged is not made.
func TestAChangeThatFails(t *testing.T) {
	h := apptest.Open(t)
	m, from := maker(h), h.Size("gucci")
	rev, err := h.Revisions.Read(t.Context())
	h.Must(err)
	wrong := errors.New("wrong")
	moved, err := m.Make(t.Context(), event(h, "gucci"), func(q db.Queryer, _ time.Time) error {
		return errors.Join(revision.Bump(t.Context(), q), wrong)
	})
	var unlogged *change.LogError
	if moved || !errors.Is(err, wrong) || errors.As(err, &unlogged) || h.Size("gucci") != from {
		t.Errorf("moved %v, %v, with %d entries", moved, err, h.Size("gucci")-from)
	}
	if n, err := h.Revisions.Read(t.Context()); err != nil || n != rev {
		t.Errorf("the change was kept: revision %d after %d, %v", n, rev, err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Make(over, event(h, "gucci"), func(db.Queryer, time.Time) error {
		t.Error("it is made and not logged")
		return nil
	})
	if !errors.As(err, &unlogged) || !errors.Is(err, context.Canceled) && !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("without a log: %v", err)
	}
}

// Passing a log that does not answer takes no longer than it may, names the log, and keeps
// nobody from passing the others.
func TestPassingNamesTheLogsThatDoNotAnswer(t *testing.T) {
	h := apptest.Open(t)
	m := maker(h)
	h.Must(m.Pass(t.Context(), h.Brand("gucci"), time.Minute))
	h.Must(m.Pass(t.Context(), record.Group, time.Minute))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var failed *change.PassError
	if err := m.Pass(over, h.Brand("gucci"), 0); !errors.As(err, &failed) {
		t.Fatalf("a context that is over: %v", err)
	}
	// The embedded database has one writer: while it is held, no log can be passed.
	held, release := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- h.DB.Tx(t.Context(), func(q db.Queryer) error {
			if err := revision.Bump(t.Context(), q); err != nil {
				return err
			}
			close(held)
			<-release
			return nil
		})
	}()
	<-held
	err := m.Pass(t.Context(), record.Group, 10*time.Millisecond)
	close(release)
	h.Must(<-done)
	if !errors.As(err, &failed) {
		t.Fatalf("got %v", err)
	}
	slices.Sort(failed.Logs)
	if got := slices.Compact(failed.Logs); !slices.Equal(got, []string{"balenciaga", "group", "gucci"}) {
		t.Errorf("the logs are %v", got)
	}
}
