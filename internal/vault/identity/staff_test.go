package identity

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Everybody with a role is found, over several pages, with what their keys can do: the
// key of an export's link is one that does little.
func TestStaffAndWhatTheirKeysDo(t *testing.T) {
	t.Parallel()
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
				if err := s.FirstRole(t.Context(), q, id, 1, "analyst", now); err != nil {
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

// Whoever bears a role is found as their roles and credentials one by one have it, over
// several pages: a brand's own role counts before the group's.
func TestBearersOfARole(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	roles := []string{"analyst", "marketing"}
	const people = 2 * staffPage
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx, s, r := t.Context(), New(d), rand.New(rand.NewPCG(1, 2))
		err := d.Tx(ctx, func(q db.Queryer) error {
			for i := range people {
				id, err := s.CreatePrincipal(ctx, q, fmt.Sprint("p", i), Person, now)
				if err != nil {
					return err
				}
				for brand := range record.BrandID(3) {
					// Almost everybody is an analyst of brand 1, so that it takes two pages.
					if n := r.IntN(4); brand == 1 && n < 3 || n == 0 {
						if err := s.FirstRole(ctx, q, id, brand, roles[min(1, r.IntN(8)/7)], now); err != nil {
							return err
						}
					}
				}
				for range r.IntN(3) {
					expires := []time.Time{{}, now, now.Add(time.Hour)}[r.IntN(3)]
					key, _, err := s.CreateCredential(ctx, q, id, 0, "key", expires, now)
					if err == nil && r.IntN(4) == 0 {
						_, err = s.Revoke(ctx, q, key, now)
					}
					if err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		most := 0
		for brand := range record.BrandID(3) {
			for _, role := range roles {
				var got []Bearer
				if err := s.Bearers(ctx, brand, role, now, func(b Bearer) { got = append(got, b) }); err != nil {
					t.Fatal(err)
				}
				want := bearersOneByOne(t, s, brand, role, now)
				most = max(most, len(want))
				if len(want) == 0 || !reflect.DeepEqual(got, want) {
					t.Errorf("brand %d, %s: %d bearers, want %d", brand, role, len(got), len(want))
				}
			}
		}
		if most <= staffPage {
			t.Errorf("no role has more than a page of bearers: %d", most)
		}
	})
}

func bearersOneByOne(t *testing.T, s *Store, brand record.BrandID, role string, now time.Time) (out []Bearer) {
	for last := uint64(0); ; {
		page, err := s.List(t.Context(), last, staffPage)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return out
		}
		for _, p := range page {
			last = p.ID
			held, err := s.Roles(t.Context(), p.ID)
			if err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(held, func(a, b Role) int { return cmp.Compare(a.Brand, b.Brand) })
			has := false
			for _, r := range held {
				switch {
				case brand == record.Group:
					has = has || r.Role == role
				case r.Brand == record.Group || r.Brand == brand:
					has = r.Role == role
				}
			}
			if !has {
				continue
			}
			creds, err := s.Credentials(t.Context(), p.ID)
			if err != nil {
				t.Fatal(err)
			}
			b := Bearer{ID: p.ID, Name: p.Name}
			for _, c := range creds {
				if c.Revoked.IsZero() && (c.Expires.IsZero() || c.Expires.After(now)) {
					b.Usable++
				}
			}
			out = append(out, b)
		}
	}
}
