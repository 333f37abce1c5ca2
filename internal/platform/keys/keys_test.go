package keys_test

import (
	"bytes"
	"errors"
	"fmt"
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

func root(t *testing.T) *keys.File {
	t.Helper()
	f, err := keys.OpenFile(filepath.Join(t.TempDir(), "root.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "root.key")
	if _, err := keys.OpenFile(path, false); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a missing key was opened: %v", err)
	}
	first, err := keys.OpenFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	wrapped, err := first.Wrap(t.Context(), []byte("plain"), []byte("place"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := keys.OpenFile(path, true) // must not make another key
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := again.Unwrap(t.Context(), wrapped, []byte("place")); err != nil || string(plain) != "plain" {
		t.Fatalf("got %q, %v", plain, err)
	}
	if _, err := again.Unwrap(t.Context(), wrapped, []byte("elsewhere")); !errors.Is(err, keys.ErrUnwrap) {
		t.Errorf("opened in another place: %v", err)
	}
	for i := range wrapped {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		if _, err := again.Unwrap(t.Context(), bad, []byte("place")); !errors.Is(err, keys.ErrUnwrap) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	for n := range wrapped {
		if _, err := again.Unwrap(t.Context(), wrapped[:n], []byte("place")); !errors.Is(err, keys.ErrUnwrap) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.OpenFile(path, true); err == nil || !strings.Contains(err.Error(), "chmod 0600 "+path) {
		t.Errorf("a key that others may read: %v", err)
	}
}

func TestFileRefusesWhatIsNoKey(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"another file": "hello\n",
		"short":        "cloakroom-root-key-1 c2hvcnQ=\n",
		"not base64":   "cloakroom-root-key-1 !!!!\n",
	} {
		path := filepath.Join(t.TempDir(), "root.key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.OpenFile(path, true); !errors.Is(err, keys.ErrKeyFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRing(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		r := root(t)
		ring := keys.NewRing(d, r)
		for _, brand := range []record.BrandID{record.Group, 1, 2} {
			if err := d.Tx(ctx, func(q db.Queryer) error { return ring.Create(ctx, q, brand, time.Unix(1, 0)) }); err != nil {
				t.Fatal(err)
			}
		}
		seen := map[string]bool{}
		for _, kind := range []keys.Kind{keys.KEK, keys.Token, keys.Index, keys.History, keys.Log, keys.Catalogue} {
			for _, brand := range []record.BrandID{1, 2} {
				k, err := ring.Current(ctx, brand, kind)
				if err != nil {
					t.Fatal(err)
				}
				seen[string(k.Bytes())] = true
				if strings.Contains(fmt.Sprintf("%v %+v %#v %x", k, k, k, k), fmt.Sprintf("%x", k.Bytes()[:4])) {
					t.Error("printing a key shows it")
				}
				same, err := keys.NewRing(d, r).Version(ctx, brand, kind, 1)
				if err != nil || same != k {
					t.Errorf("a second ring has another %s key: %v", kind, err)
				}
			}
		}
		if len(seen) != 12 {
			t.Errorf("%d different keys of 12", len(seen))
		}
		if _, err := ring.Current(ctx, record.Group, keys.KEK); !errors.Is(err, keys.ErrNoKey) {
			t.Errorf("the group has a KEK: %v", err)
		}
		if _, err := keys.NewRing(d, root(t)).Current(ctx, 1, keys.KEK); !errors.Is(err, keys.ErrUnwrap) {
			t.Errorf("another root key opened it: %v", err)
		}
		// A row put in another brand's place must not open: the brands would share a key.
		if _, err := d.Exec(ctx, `UPDATE brand_keys SET wrapped = (SELECT wrapped FROM brand_keys WHERE brand = 1 AND kind = 'kek') WHERE brand = 2 AND kind = 'kek'`); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.NewRing(d, r).Current(ctx, 2, keys.KEK); !errors.Is(err, keys.ErrUnwrap) {
			t.Errorf("a moved key opened: %v", err)
		}
	})
}
