package keys_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// dying is a root whose rotation ends where a kill would have ended it.
type dying struct {
	*keys.File
	at string
}

// logged is when a rotation is logged.
func logged(second int64) func(context.Context) (time.Time, error) {
	return func(context.Context) (time.Time, error) { return time.Unix(second, 0), nil }
}

var errKilled = errors.New("killed here")

func (d *dying) Succeed(ctx context.Context, inForce string) (string, bool, error) {
	next, committed, err := d.File.Succeed(ctx, inForce)
	if err == nil && d.at == "before the transaction" {
		err = errKilled
	}
	return next, committed, err
}

func (d *dying) WrapNext(ctx context.Context, plain, aad []byte) ([]byte, error) {
	if d.at == "in the transaction" {
		return nil, errKilled
	}
	return d.File.WrapNext(ctx, plain, aad)
}

func (d *dying) Retire(ctx context.Context, id string) error {
	if d.at == "after the transaction" {
		return errKilled
	}
	return d.File.Retire(ctx, id)
}

// Promise: killed at any point, the rotation of the root key leaves a vault that
// opens; and once it has ended, the old root key opens nothing.
func TestRootRotationSurvivesAKillAnywhere(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"before the transaction", "in the transaction", "after the transaction", "nowhere"} {
		t.Run(at, func(t *testing.T) {
			dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
				ctx := t.Context()
				path := filepath.Join(t.TempDir(), "root.key")
				open := func() *keys.File {
					t.Helper()
					f, err := keys.OpenFile(path, false)
					if err != nil {
						t.Fatal(err)
					}
					return f
				}
				f, err := keys.OpenFile(path, true)
				if err != nil {
					t.Fatal(err)
				}
				first := keys.NewRing(d, f)
				if err := d.Tx(ctx, func(q db.Queryer) error { return first.Create(ctx, q, 1, time.Unix(1, 0)) }); err != nil {
					t.Fatal(err)
				}
				want, err := first.Current(ctx, 1, keys.KEK)
				if err != nil {
					t.Fatal(err)
				}
				copied := filepath.Join(t.TempDir(), "root.key") // an operator's copy of the old one
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(copied, b, 0o600); err != nil {
					t.Fatal(err)
				}
				for range 2 { // the second time with a root that was in force before
					if _, err := keys.NewRing(d, &dying{open(), at}).RotateRoot(ctx, logged(2)); err != nil && !errors.Is(err, errKilled) {
						t.Fatal(err)
					}
					if k, err := keys.NewRing(d, open()).Current(ctx, 1, keys.KEK); err != nil || k != want {
						t.Fatalf("after the kill a new server does not open the vault: %v", err)
					}
					// A brand made then is wrapped by what stays.
					brand := record.BrandID(2)
					if k, err := keys.NewRing(d, open()).Current(ctx, brand, keys.KEK); err != nil {
						if err := d.Tx(ctx, func(q db.Queryer) error { return keys.NewRing(d, open()).Create(ctx, q, brand, time.Unix(3, 0)) }); err != nil {
							t.Fatal(err)
						}
					} else if k.Version != 1 {
						t.Fatal(k)
					}
					if n, err := keys.NewRing(d, open()).RotateRoot(ctx, logged(4)); err != nil || n == 0 && at != "after the transaction" {
						t.Fatalf("run again it wrapped %d, %v", n, err)
					}
					text, err := os.ReadFile(path)
					if err != nil || strings.Count(string(text), "\n") != 1 || string(text) == string(b) {
						t.Fatalf("the file has %d lines, %v", strings.Count(string(text), "\n"), err)
					}
				}
				for _, brand := range []record.BrandID{1, 2} {
					if _, err := keys.NewRing(d, open()).Current(ctx, brand, keys.KEK); err != nil {
						t.Errorf("brand %d does not open: %v", brand, err)
					}
				}
				// A server that runs goes on with the file as it is now.
				if k, err := first.Current(ctx, 2, keys.KEK); err != nil || k.Version != 1 {
					t.Errorf("a running server did not read its file again: %v", err)
				}
				old, err := keys.OpenFile(copied, false)
				if err != nil {
					t.Fatal(err)
				}
				stale := keys.NewRing(d, old)
				if _, err := stale.Current(ctx, 1, keys.KEK); !errors.Is(err, keys.ErrUnwrap) {
					t.Errorf("the old root key still opens: %v", err)
				}
				// Another host with the old file must not store a key that would be lost.
				err = d.Tx(ctx, func(q db.Queryer) error { return stale.Create(ctx, q, 3, time.Unix(5, 0)) })
				if !errors.Is(err, keys.ErrOtherRoot) {
					t.Errorf("a key was wrapped by the old root key: %v", err)
				}
				if _, err := stale.RotateRoot(ctx, logged(6)); !errors.Is(err, keys.ErrOtherRoot) {
					t.Errorf("the root key was rotated by a server that has an old one: %v", err)
				}
			})
		})
	}
}

// Promise: nothing of the old root key stays where it was.
func TestTheOldRootKeyIsOverwritten(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	dir := t.TempDir()
	path := filepath.Join(dir, "root.key")
	f, err := keys.OpenFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	same, err := os.Open(path) // the file that was, under no name
	if err != nil {
		t.Fatal(err)
	}
	defer same.Close()
	if _, err := keys.NewRing(d, f).RotateRoot(t.Context(), logged(1)); err != nil {
		t.Fatal(err)
	}
	was := make([]byte, len(old))
	if _, err := same.ReadAt(was, 0); err != nil || strings.Trim(string(was), "\x00") != "" {
		t.Errorf("the old file holds its key still, %v", err)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	now, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(now), strings.Fields(string(old))[1]) {
		t.Errorf("the new file holds the old key, %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
