package keys_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
)

// Backups run beside each other, a rotation of the root key beside nothing; and nobody who
// was killed keeps the others out.
func TestTheRootKeyIsHeld(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	dbtest.Each(t, db.Options{Clock: func() time.Time { return time.UnixMicro(now.Load()) }}, func(t *testing.T, d *db.DB) {
		now.Store(time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC).UnixMicro())
		f, err := keys.OpenFile(filepath.Join(t.TempDir(), "root.key"), true)
		if err != nil {
			t.Fatal(err)
		}
		one := keys.NewRing(d, f)
		other := one
		if d.Engine() == db.Postgres {
			other = keys.NewRing(d, f)
		}
		hold := func(r *keys.Ring, why keys.Reason, want error) *keys.RootHold {
			t.Helper()
			ctx, cancel := context.WithCancel(t.Context())
			t.Cleanup(cancel)
			_, h, err := r.HoldRoot(ctx, why)
			if !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), "since 2026-03-01 12:30:00 UTC") {
				t.Fatalf("for a %s: got %v, want %v", why, err, want)
			}
			return h
		}
		rotate := func(r *keys.Ring, during func()) error {
			_, err := r.RotateRoot(t.Context(), func(context.Context) (time.Time, error) {
				during()
				return time.UnixMicro(1), nil
			})
			return err
		}
		first := hold(one, keys.ForBackup, nil)
		second := hold(other, keys.ForBackup, nil)
		hold(other, keys.ForRotation, keys.ErrBackup)
		first.Release(t.Context())
		first.Release(t.Context())
		logged := false
		if err := rotate(other, func() { logged = true }); !errors.Is(err, keys.ErrBackup) || logged {
			t.Errorf("rotated beside the second backup: %v, and logged: %v", err, logged)
		}
		second.Release(t.Context())
		err = rotate(one, func() {
			hold(other, keys.ForBackup, keys.ErrRootRotation)
			hold(other, keys.ForRotation, keys.ErrRootRotation)
		})
		if err != nil {
			t.Fatal(err)
		}

		killed := hold(one, keys.ForBackup, nil)
		if d.Engine() == db.Postgres {
			hold(other, keys.ForRotation, keys.ErrBackup) // it may live
			now.Add(time.Minute.Microseconds())
		} else {
			other = keys.NewRing(d, f) // the next process that has the database
		}
		// A rotation that was silent while a backup began does not go through.
		var backup *keys.RootHold
		err = rotate(other, func() {
			now.Add(time.Minute.Microseconds())
			backup = hold(other, keys.ForBackup, nil)
		})
		if !errors.Is(err, keys.ErrRootReleased) {
			t.Errorf("a backup was overtaken: %v", err)
		}
		if err := backup.Check(t.Context()); err != nil {
			t.Errorf("the backup that runs: %v", err)
		}
		if err := killed.Check(t.Context()); !errors.Is(err, keys.ErrRootReleased) {
			t.Errorf("the one who was silent goes on: %v", err)
		}
	})
}
