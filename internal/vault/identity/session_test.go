package identity

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// The secret of a session is no key, a key is none of a session, and neither prints.
func TestASessionIsNoKey(t *testing.T) {
	t.Parallel()
	now := time.Now()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		s := New(d)
		nina, err := s.CreatePrincipal(ctx, d, "nina", Person, now)
		if err != nil {
			t.Fatal(err)
		}
		root, key, err := s.CreateCredential(ctx, d, nina, 0, "laptop", time.Time{}, now)
		if err != nil {
			t.Fatal(err)
		}
		x, secret, err := s.BeginSession(ctx, d, nina, root, Session{Method: ProofPasskey, Idle: time.Hour}, now.Add(time.Hour), now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseKey(secret.Reveal()); !errors.Is(err, ErrMalformedKey) {
			t.Errorf("a session as a key: %v", err)
		}
		if _, err := ParseSecret(key.Reveal()); !errors.Is(err, ErrMalformedSession) {
			t.Errorf("a key as a session: %v", err)
		}
		if again, err := ParseSecret(secret.Reveal()); err != nil || again != secret {
			t.Errorf("a secret is not read again: %v", err)
		}
		// Whatever text is shown as the other.
		if _, err := s.Authenticate(ctx, Key(secret)); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("a session's text as a key: %v", err)
		}
		if _, err := s.AuthenticateSession(ctx, Secret(key)); !errors.Is(err, ErrNoSession) {
			t.Errorf("a key's text as a session: %v", err)
		}
		err = d.Tx(ctx, func(q db.Queryer) error {
			_, _, err := s.Renew(ctx, q, x.Credential, now)
			return err
		})
		if !errors.Is(err, ErrNoCredential) {
			t.Errorf("a session got a key: %v", err)
		}
		c, err := s.AuthenticateSession(ctx, secret)
		if err != nil || c.Session != x.Credential || c.Lineage != root {
			t.Errorf("%+v, %v", c, err)
		}
		if text := fmt.Sprintf("%v %+v %#v", secret, secret, secret); strings.Contains(text, secret.text) {
			t.Error("a secret prints")
		}
	})
}

// Roles that a provider did not switch on are none, for the session and for keys made
// through it.
func TestRolesThatAreSwitchedOff(t *testing.T) {
	t.Parallel()
	now := time.Now()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		s := New(d)
		nina, err := s.CreatePrincipal(ctx, d, "nina", Person, now)
		if err == nil {
			err = errors.Join(s.FirstRole(ctx, d, nina, 1, "support-agent", now), s.FirstRole(ctx, d, nina, 2, "auditor", now))
		}
		if err != nil {
			t.Fatal(err)
		}
		root, _, err := s.CreateCredential(ctx, d, nina, 0, "provider", time.Time{}, now)
		if err != nil {
			t.Fatal(err)
		}
		x, secret, err := s.BeginSession(ctx, d, nina, root, Session{Method: ProofSubject, Idle: time.Hour,
			Only: OnlyRoles([]Role{{1, "support-agent"}, {2, "administrator"}})}, now.Add(time.Hour), now)
		if err != nil {
			t.Fatal(err)
		}
		_, child, err := s.CreateCredential(ctx, d, nina, x.Credential, "cli", time.Time{}, now)
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.AuthenticateSession(ctx, secret)
		if err != nil {
			t.Fatal(err)
		}
		byKey, err := s.Authenticate(ctx, child)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []Caller{c, byKey} {
			if who, err := s.Who(ctx, c, 1); err != nil || who.Role != "support-agent" {
				t.Errorf("the role that is on: %+v, %v", who, err)
			}
			if who, err := s.Who(ctx, c, 2); !errors.Is(err, ErrNoRole) {
				t.Errorf("a role that is off, or that a group would give: %+v, %v", who, err)
			}
		}
		if c.Only = OnlyRoles(nil); c.lets(1, "support-agent") {
			t.Error("no role switched on is all of them")
		}
	})
}
