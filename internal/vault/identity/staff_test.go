package identity

import (
	"fmt"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// Everybody with a role is found, over several pages, with what their keys can do: the
// key of an export's link is one that does little.
func TestStaffAndWhatTheirKeysDo(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	soon := now.Add(time.Hour)
	kinds := []struct {
		name        string
		over        time.Time // when the key itself ends
		make        func(s *Store, d db.Queryer, id, root uint64) error
		live, links bool
	}{
		{"nothing more", now, func(*Store, db.Queryer, uint64, uint64) error { return nil }, false, false},
		{"a session", soon, func(s *Store, q db.Queryer, id, root uint64) error {
			_, _, err := s.CreateCredential(t.Context(), q, id, root, "app", soon, now)
			return err
		}, true, false},
		{"a link", now, func(s *Store, q db.Queryer, id, root uint64) error {
			_, _, err := s.CreateLink(t.Context(), q, id, root, "exp-1", soon, now)
			return err
		}, false, true},
		{"both", soon, func(s *Store, q db.Queryer, id, root uint64) error {
			if _, _, err := s.CreateCredential(t.Context(), q, id, root, "app", soon, now); err != nil {
				return err
			}
			_, _, err := s.CreateLink(t.Context(), q, id, root, "exp-1", soon, now)
			return err
		}, true, true},
		{"a link that is over", now, func(s *Store, q db.Queryer, id, root uint64) error {
			_, _, err := s.CreateLink(t.Context(), q, id, root, "exp-1", now, now)
			return err
		}, false, false},
		{"a link of what was revoked", now, func(s *Store, q db.Queryer, id, root uint64) error {
			if _, _, err := s.CreateLink(t.Context(), q, id, root, "exp-1", soon, now); err != nil {
				return err
			}
			_, err := s.Revoke(t.Context(), q, root, now)
			return err
		}, false, false},
	}
	const people, keyEach = 2*staffPage + 7, staffPage / 10
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		s := New(d)
		err := d.Tx(t.Context(), func(q db.Queryer) error {
			for i := range people {
				id, err := s.CreatePrincipal(t.Context(), q, fmt.Sprint("p", i), Person, now)
				if err != nil {
					return err
				}
				if err := s.FirstRole(t.Context(), q, id, 1, "analyst"); err != nil {
					return err
				}
				if i%keyEach != 0 {
					continue
				}
				k := &kinds[i/keyEach%len(kinds)]
				root, _, err := s.CreateCredential(t.Context(), q, id, 0, "key", k.over, now)
				if err != nil {
					return err
				}
				if err := k.make(s, q, id, root); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		staff, err := s.Staff(t.Context(), 1, now)
		if err != nil {
			t.Fatal(err)
		}
		if len(staff) != people {
			t.Fatalf("%d of %d people", len(staff), people)
		}
		for i, p := range staff {
			if p.Name != fmt.Sprint("p", i) {
				t.Fatalf("%d. is %s", i, p.Name)
			}
			if i%keyEach != 0 {
				if len(p.Lineages) != 0 {
					t.Errorf("%s, who has no key, has %v", p.Name, p.Lineages)
				}
				continue
			}
			k := &kinds[i/keyEach%len(kinds)]
			if len(p.Lineages) != 1 || p.Lineages[0].Live != k.live || p.Lineages[0].Links != k.links || p.Lineages[0].Label != "key" {
				t.Errorf("%s, whose key is over at %v, with %s: %+v", p.Name, k.over, k.name, p.Lineages)
			}
		}
	})
}
