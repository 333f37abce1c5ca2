package identity

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// made is one credential of a test.
type made struct {
	id  uint64
	key Key
}

// family makes credentials of one principal.
type family struct {
	*Store
	t         *testing.T
	d         *db.DB
	principal uint64
}

func newFamily(t *testing.T, d *db.DB) *family {
	t.Helper()
	s := New(d)
	id, err := s.CreatePrincipal(t.Context(), d, "alice", Person, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &family{s, t, d, id}
}

func (f *family) try(parent uint64, expires, at time.Time) (m made, err error) {
	err = f.d.Tx(f.t.Context(), func(q db.Queryer) error {
		m.id, m.key, err = f.CreateCredential(f.t.Context(), q, f.principal, parent, "app", expires, at)
		return err
	})
	return m, err
}

func (f *family) child(parent uint64, expires, at time.Time) made {
	f.t.Helper()
	m, err := f.try(parent, expires, at)
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

func (f *family) expiry(m made) time.Time {
	f.t.Helper()
	list, err := f.Credentials(f.t.Context(), f.principal)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, c := range list {
		if c.ID == m.id {
			return c.Expires
		}
	}
	f.t.Fatalf("credential %d is not listed", m.id)
	return time.Time{}
}

// No credential outlives one that it was made through, whatever expiry was asked for.
func TestACredentialEndsWithItsParent(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Microsecond)
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		f := newFamily(t, d)
		root := f.child(0, now.Add(time.Hour), now)
		for _, c := range []struct {
			asked, want time.Time
		}{
			{time.Time{}, now.Add(time.Hour)},
			{now.Add(48 * time.Hour), now.Add(time.Hour)},
			{now.Add(time.Minute), now.Add(time.Minute)},
		} {
			m := f.child(root.id, c.asked, now)
			if got := f.expiry(m); !got.Equal(c.want) {
				t.Errorf("asked for %v: expires %v, want %v", c.asked, got, c.want)
			}
			if got := f.expiry(f.child(m.id, time.Time{}, now)); !got.Equal(c.want) {
				t.Errorf("through a child that expires %v: expires %v", c.want, got)
			}
		}
		if _, err := f.try(root.id, time.Time{}, now.Add(2*time.Hour)); !errors.Is(err, ErrExpired) {
			t.Errorf("through an expired parent: %v", err)
		}
		free := f.child(f.child(0, time.Time{}, now).id, time.Time{}, now)
		if got := f.expiry(free); !got.IsZero() {
			t.Errorf("through a parent without expiry: expires %v", got)
		}
	})
}

// Rows written before children took over the expiry of their parents end with it, too.
func TestAnOldChildEndsWithItsAncestors(t *testing.T) {
	t.Parallel()
	now := time.Now()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		f := newFamily(t, d)
		root := f.child(0, time.Time{}, now)
		middle := f.child(root.id, time.Time{}, now)
		last := f.child(middle.id, time.Time{}, now)
		if _, err := f.Authenticate(t.Context(), last.key); err != nil {
			t.Fatal(err)
		}
		for _, column := range []string{"expires", "revoked"} {
			want := map[string]error{"expires": ErrExpired, "revoked": ErrRevoked}[column]
			set := func(v int64) {
				t.Helper()
				if _, err := d.Exec(t.Context(), fmt.Sprintf(`UPDATE credentials SET %s = $1 WHERE id = $2`, column), v, int64(root.id)); err != nil {
					t.Fatal(err)
				}
			}
			set(1)
			for _, m := range []made{root, middle, last} {
				if _, err := f.Authenticate(t.Context(), m.key); !errors.Is(err, want) {
					t.Errorf("%s of the root: credential %d: %v", column, m.id, err)
				}
			}
			set(0)
		}
		if _, err := f.Authenticate(t.Context(), last.key); err != nil {
			t.Error(err)
		}
	})
}

// A full lineage has room again once a credential of it is revoked or has expired.
func TestOnlyLivingChildrenCount(t *testing.T) {
	t.Parallel()
	now := time.Now()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		f := newFamily(t, d)
		root := f.child(0, time.Time{}, now)
		var kids []made
		err := d.Tx(t.Context(), func(q db.Queryer) error {
			for i := range maxLineage - 1 {
				expires := time.Time{}
				if i == 0 {
					expires = now.Add(time.Minute)
				}
				id, key, err := f.CreateCredential(t.Context(), q, f.principal, root.id, "app", expires, now)
				if err != nil {
					return err
				}
				kids = append(kids, made{id, key})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		full := func(at time.Time) {
			t.Helper()
			if _, err := f.try(root.id, time.Time{}, at); !errors.Is(err, ErrChildren) {
				t.Errorf("a full lineage: %v", err)
			}
		}
		full(now)
		f.child(root.id, time.Time{}, now.Add(time.Hour)) // one has expired by then
		full(now.Add(time.Hour))
		err = d.Tx(t.Context(), func(q db.Queryer) error {
			_, err := f.RevokeOne(t.Context(), q, kids[1].id, now)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		f.child(root.id, time.Time{}, now.Add(time.Hour))
		full(now.Add(time.Hour))
	})
}

// Revoking one credential ends it and all made through it, and nothing else.
func TestRevokingOneCredential(t *testing.T) {
	t.Parallel()
	now := time.Now()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		f := newFamily(t, d)
		root := f.child(0, time.Time{}, now)
		a, b := f.child(root.id, time.Time{}, now), f.child(root.id, time.Time{}, now)
		below := f.child(f.child(a.id, time.Time{}, now).id, time.Time{}, now)
		revoke := func(m made) (n int, err error) {
			err = d.Tx(t.Context(), func(q db.Queryer) error {
				n, err = f.RevokeOne(t.Context(), q, m.id, now)
				return err
			})
			return n, err
		}
		if n, err := revoke(a); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		for _, m := range []made{a, below} {
			if _, err := f.Authenticate(t.Context(), m.key); !errors.Is(err, ErrRevoked) {
				t.Errorf("credential %d: %v", m.id, err)
			}
		}
		for _, m := range []made{root, b} {
			if _, err := f.Authenticate(t.Context(), m.key); err != nil {
				t.Errorf("credential %d: %v", m.id, err)
			}
		}
		if _, err := revoke(a); !errors.Is(err, ErrNoCredential) {
			t.Errorf("revoked twice: %v", err)
		}
		if _, err := revoke(made{id: 4711}); !errors.Is(err, ErrNoCredential) {
			t.Errorf("one that is not there: %v", err)
		}
		if _, err := f.try(a.id, time.Time{}, now); !errors.Is(err, ErrRevoked) {
			t.Errorf("a child of a revoked one: %v", err)
		}
	})
}
