package idempotency

import (
	"errors"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
)

func TestARequestIsDoneOnce(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		s := New(d)
		request := [32]byte{1}
		if a, err := s.Begin(ctx, 7, "k", request); a != nil || err != nil {
			t.Fatalf("the first of a key: %+v, %v", a, err)
		}
		if _, err := s.Begin(ctx, 7, "k", request); !errors.Is(err, ErrRunning) {
			t.Errorf("while it runs: %v", err)
		}
		if a, err := s.Begin(ctx, 8, "k", request); a != nil || err != nil {
			t.Errorf("the same key of another principal: %+v, %v", a, err)
		}
		if err := s.Finish(ctx, 7, "k", Answer{201, []byte("done")}); err != nil {
			t.Fatal(err)
		}
		if err := s.Drop(ctx, 7, "k"); err != nil { // what is done stays done
			t.Fatal(err)
		}
		a, err := s.Begin(ctx, 7, "k", request)
		if err != nil || a == nil || a.Status != 201 || string(a.Body) != "done" {
			t.Errorf("once it is done: %+v, %v", a, err)
		}
		if _, err := s.Begin(ctx, 7, "k", [32]byte{2}); !errors.Is(err, ErrOther) {
			t.Errorf("another request with the key: %v", err)
		}
		if err := s.Drop(ctx, 8, "k"); err != nil {
			t.Fatal(err)
		}
		if a, err := s.Begin(ctx, 8, "k", [32]byte{2}); a != nil || err != nil {
			t.Errorf("after one that was not done: %+v, %v", a, err)
		}
		for _, key := range []string{"", "a b", "ä", strings.Repeat("x", MaxKey+1)} {
			if _, err := s.Begin(ctx, 7, key, request); !errors.Is(err, ErrKey) {
				t.Errorf("the key %q gave %v", key, err)
			}
		}
	})
}

// age makes every answer older.
const age = `UPDATE write_answers SET at = at - $1`

// A request whose server died with it may have been done. Nobody does it again under its
// key, until the key is forgotten.
func TestALostRequestIsNotDoneAgainAndOldOnesGo(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		s := New(d)
		for _, key := range []string{"lost", "unknown"} {
			if _, err := s.Begin(ctx, 7, key, [32]byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Unknown(ctx, 7, "unknown"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Begin(ctx, 7, "unknown", [32]byte{1}); !errors.Is(err, ErrUnknown) {
			t.Errorf("an unknown outcome: %v", err)
		}
		if _, err := s.Begin(ctx, 7, "lost", [32]byte{1}); !errors.Is(err, ErrRunning) {
			t.Errorf("in progress: %v", err)
		}
		if _, err := d.Exec(ctx, age, Stale.Microseconds()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if a, err := s.Begin(ctx, 7, "lost", [32]byte{1}); !errors.Is(err, ErrUnknown) {
				t.Errorf("a lost request: %+v, %v", a, err)
			}
		}
		if _, err := d.Exec(ctx, age, Kept.Microseconds()+1_000_000); err != nil {
			t.Fatal(err)
		}
		if a, err := s.Begin(ctx, 7, "lost", [32]byte{2}); a != nil || err != nil {
			t.Errorf("after a day: %+v, %v", a, err)
		}
	})
}

// An answer is repeated under the rights that it was given under, and no others.
func TestAnAnswerIsNotRepeatedOnceRightsChanged(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		s := New(d)
		if _, err := s.Begin(ctx, 7, "k", [32]byte{1}); err != nil {
			t.Fatal(err)
		}
		if err := s.Finish(ctx, 7, "k", Answer{Status: 200, Body: []byte("answer")}); err != nil {
			t.Fatal(err)
		}
		if a, err := s.Begin(ctx, 7, "k", [32]byte{1}); err != nil || string(a.Body) != "answer" {
			t.Fatalf("%+v, %v", a, err)
		}
		if err := d.Tx(ctx, func(q db.Queryer) error { return revision.Bump(ctx, q) }); err != nil {
			t.Fatal(err)
		}
		if a, err := s.Begin(ctx, 7, "k", [32]byte{1}); !errors.Is(err, ErrRights) {
			t.Errorf("%+v, %v", a, err)
		}
	})
}
