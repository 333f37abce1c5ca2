package identity

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
)

// TestAGrowingLineage: adding to a lineage makes nobody's request start over, and
// nothing that is added while it is revoked outlives it.
func TestAGrowingLineage(t *testing.T) {
	t.Parallel()
	now := time.Now()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		s := New(d)
		tracker := revision.New(d)
		thief, err := s.CreatePrincipal(ctx, d, "thief", Person, now)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			root, key, err := s.CreateCredential(ctx, d, thief, 0, "laptop", time.Time{}, now)
			if err != nil {
				t.Fatal(err)
			}
			before, err := tracker.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			keys := []Key{key}
			add := func(ctx context.Context) (k Key, err error) {
				err = d.Tx(ctx, func(q db.Queryer) error {
					_, k, err = s.CreateCredential(ctx, q, thief, root, "app", time.Time{}, now)
					return err
				})
				return k, err
			}
			k, err := add(ctx)
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, k)
			if after, err := tracker.Read(ctx); err != nil || after != before {
				t.Fatalf("revision %d, then %d, %v", before, after, err)
			}
			var mu sync.Mutex
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 50 {
						k, err := add(ctx)
						if errors.Is(err, ErrRevoked) {
							return
						}
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						keys = append(keys, k)
						mu.Unlock()
					}
				})
			}
			if err := d.Tx(ctx, func(q db.Queryer) error { _, err := s.Revoke(ctx, q, root, now); return err }); err != nil {
				t.Error(err)
			}
			wg.Wait()
			for _, k := range keys {
				if _, err := s.Authenticate(ctx, k); !errors.Is(err, ErrRevoked) {
					t.Fatalf("one of %d works after its lineage was revoked: %v", len(keys), err)
				}
			}
		}
	})
}
