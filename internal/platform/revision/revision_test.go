package revision_test

import (
	"context"
	"errors"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
)

func bump(t *testing.T, d *db.DB) {
	t.Helper()
	if err := d.Tx(t.Context(), func(q db.Queryer) error { return revision.Bump(t.Context(), q) }); err != nil {
		t.Fatal(err)
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		tr := revision.New(d)
		if _, err := tr.Read(ctx); err != nil {
			t.Fatal(err)
		}
		t.Run("what a change overtook runs again", func(t *testing.T) {
			var seen []int64
			denied := errors.New("denied")
			err := tr.Decide(ctx, func(ctx context.Context) error {
				if seen = append(seen, revision.Of(ctx)); len(seen) == 1 {
					bump(t, d)
					return denied
				}
				return nil
			})
			if err != nil || len(seen) != 2 || seen[1] != seen[0]+1 {
				t.Fatalf("%v under %v", err, seen)
			}
		})
		t.Run("what is logged does not", func(t *testing.T) {
			runs := 0
			err := tr.Decide(ctx, func(ctx context.Context) error {
				runs++
				revision.Logged(ctx)
				bump(t, d)
				return revision.ErrMoved
			})
			if runs != 1 || !errors.Is(err, revision.ErrMoved) {
				t.Fatalf("%v after %d runs", err, runs)
			}
		})
		t.Run("an error that still holds is the answer", func(t *testing.T) {
			denied := errors.New("denied")
			if err := tr.Decide(ctx, func(context.Context) error { return denied }); !errors.Is(err, denied) {
				t.Fatal(err)
			}
		})
		t.Run("changes without end are told", func(t *testing.T) {
			err := tr.Decide(ctx, func(context.Context) error { bump(t, d); return nil })
			if !errors.Is(err, revision.ErrMoved) {
				t.Fatal(err)
			}
		})
		t.Run("a database that does not answer gives nothing away", func(t *testing.T) {
			gone, cancel := context.WithCancel(ctx)
			if err := tr.Decide(gone, func(context.Context) error { cancel(); return nil }); err == nil {
				t.Fatal("answered without a check")
			}
		})
	})
}

func TestACacheKeepsNothingOld(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	tr := revision.New(d)
	var c revision.Cache[string, int]
	world := 1
	get := func(ctx context.Context, during func()) int {
		v, err := c.Get(ctx, "k", func() (int, error) {
			v := world
			if during != nil {
				during()
			}
			return v, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	under := func(fn func(ctx context.Context)) {
		t.Helper()
		err := tr.Decide(t.Context(), func(ctx context.Context) error { revision.Logged(ctx); fn(ctx); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	change := func() {
		world++
		bump(t, d)
		if _, err := tr.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if get(t.Context(), nil) != 1 {
		t.Fatal("without a revision")
	}
	under(func(ctx context.Context) { get(ctx, nil) })
	world = 100 // without a revision: nobody may see it
	under(func(ctx context.Context) {
		if v := get(ctx, nil); v != 1 {
			t.Fatalf("not kept: %d", v)
		}
	})
	world = 1
	change()
	under(func(old context.Context) {
		if v := get(old, nil); v != 2 {
			t.Fatalf("under the next revision: %d", v)
		}
		change()
		// A load that began before a change ends after somebody has seen the change.
		c = revision.Cache[string, int]{}
		get(old, func() { change(); under(func(ctx context.Context) { get(ctx, nil) }) })
		under(func(ctx context.Context) {
			if v := get(ctx, nil); v != 4 {
				t.Fatalf("an old value was kept: %d", v)
			}
		})
	})
}
