package identity

import (
	"errors"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

func TestPrincipalsRolesAndCredentials(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	dbtest.Each(t, db.Options{Clock: func() time.Time { return now }}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		s := New(d)
		alice, err := s.CreatePrincipal(ctx, d, "alice", Person, now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreatePrincipal(ctx, d, "alice", Person, now); !errors.Is(err, ErrExists) {
			t.Error(err)
		}
		for _, name := range []string{"", "Alice", "a b", "a@b"} {
			if _, err := s.CreatePrincipal(ctx, d, name, Person, now); !errors.Is(err, ErrName) {
				t.Errorf("%q: %v", name, err)
			}
		}
		root, key, err := s.CreateCredential(ctx, d, alice, 0, "laptop", time.Time{}, now)
		if err != nil {
			t.Fatal(err)
		}
		child, childKey, err := s.CreateCredential(ctx, d, alice, root, "export", now.Add(time.Hour), now)
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Authenticate(ctx, childKey)
		if err != nil || c.Principal != alice || c.Credential != child || c.Lineage != root || c.Name != "alice" {
			t.Errorf("%+v, %v", c, err)
		}
		if _, err := s.Authenticate(ctx, NewKey()); !errors.Is(err, ErrUnknownKey) {
			t.Error(err)
		}
		if _, err := s.Authenticate(ctx, Key{}); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("the empty key: %v", err)
		}
		if _, err := s.Who(ctx, c, 1); !errors.Is(err, ErrNoRole) {
			t.Error(err)
		}
		if err := errors.Join(s.SetRole(ctx, d, alice, record.Group, "analyst", now), s.SetRole(ctx, d, alice, 2, "marketing", now)); err != nil {
			t.Fatal(err)
		}
		for brand, want := range map[record.BrandID]string{1: "analyst", 2: "marketing"} {
			if w, err := s.Who(ctx, c, brand); err != nil || w.Role != want || w.Brand != brand {
				t.Errorf("%+v, %v", w, err)
			}
		}
		late := New(d)
		_, old, err := s.CreateCredential(ctx, d, alice, 0, "old", now.Add(-24*time.Hour), now.Add(-48*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if d.Engine() == db.SQLite { // PostgreSQL's clock is later than any of these
			if _, err := late.Authenticate(ctx, old); !errors.Is(err, ErrExpired) {
				t.Error(err)
			}
		}
		if n, err := s.Revoke(ctx, d, root, now); n != 2 || err != nil {
			t.Errorf("revoking ended %d, %v", n, err)
		}
		for _, k := range []Key{key, childKey} {
			if _, err := s.Authenticate(ctx, k); !errors.Is(err, ErrRevoked) {
				t.Error(err)
			}
		}
		a, err := s.EnsureLocal(ctx, "administrator")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := s.EnsureLocal(ctx, "administrator"); err != nil || a != b {
			t.Errorf("the local administrator is made twice: %+v %+v %v", a, b, err)
		}
		if w, err := s.Who(ctx, a, 3); err != nil || w.Role != "administrator" {
			t.Errorf("%+v, %v", w, err)
		}
		if l, err := s.Credentials(ctx, alice); err != nil || len(l) != 3 {
			t.Errorf("%v, %v", l, err)
		}
		if err := s.Disable(ctx, d, alice, now); err != nil {
			t.Error(err)
		}
	})
}
