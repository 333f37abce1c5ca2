package backup_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/govern/backup"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// Whatever is wrong with the files is said, and nothing is restored.
func TestDamagedBackups(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	h, c := newHouse(t, "sqlite", 40), newCustody(t)
	c.backup(h, "full")
	other := newHouse(t, "sqlite", 40)
	c.backup(other, "other")
	copyOf := func(t *testing.T) string {
		to := filepath.Join(t.TempDir(), "copy")
		must(t, os.CopyFS(to, os.DirFS(c.dir("full"))))
		return to
	}
	refused := func(t *testing.T, o backup.Options, want string) {
		t.Helper()
		for _, o.DryRun = range []bool{true, false} {
			_, err := app.Restore(ctx, o, nil)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			if list, _ := os.ReadDir(o.Data); len(list) > 0 {
				t.Errorf("something was restored: %v", list)
			}
		}
	}
	for _, f := range []string{"data.zst", "admin.zst", "keys.zst.age", "log.zst", backup.RootKeyFile} {
		for what, spoil := range map[string]func(path string, b []byte) error{
			"changed": func(path string, b []byte) error {
				b[len(b)/2] ^= 1
				return os.WriteFile(path, b, 0o600)
			},
			"cut": func(path string, b []byte) error { return os.WriteFile(path, b[:len(b)-7], 0o600) },
			"missing": func(path string, _ []byte) error {
				return os.Remove(path)
			},
		} {
			t.Run(f+" "+what, func(t *testing.T) {
				o := c.options(h, "sqlite", "full")
				o.From = copyOf(t)
				path := filepath.Join(o.From, f)
				b, err := os.ReadFile(path)
				must(t, err)
				must(t, spoil(path, b))
				refused(t, o, f)
			})
		}
	}
	t.Run("cut, and the manifest made to fit", func(t *testing.T) {
		o := c.options(h, "sqlite", "full")
		o.From = copyOf(t)
		forge(t, o.From, "log.zst", func(b []byte) []byte {
			dec, err := zstd.NewReader(nil)
			must(t, err)
			plain, err := dec.DecodeAll(b, nil)
			must(t, err)
			enc, err := zstd.NewWriter(nil)
			must(t, err)
			return enc.EncodeAll(plain[:len(plain)-7], nil)
		})
		_, err := app.Restore(ctx, o, nil)
		if !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), "before its end") {
			t.Errorf("got %v", err)
		}
		if _, err := app.Open(ctx, o.Data, app.Options{}); !errors.Is(err, db.ErrUnfinished) {
			t.Errorf("half a vault opens: %v", err)
		}
	})
	t.Run("a file of another vault, and the manifest made to fit", func(t *testing.T) {
		o := c.options(h, "sqlite", "full")
		o.From = copyOf(t)
		forge(t, o.From, "data.zst", func([]byte) []byte {
			b, err := os.ReadFile(filepath.Join(c.dir("other"), "data.zst"))
			must(t, err)
			return b
		})
		refused(t, o, "another backup")
	})
	t.Run("parts of two vaults", func(t *testing.T) {
		o := c.options(h, "sqlite", "full")
		o.KeysFrom = c.dir("other")
		refused(t, o, "two different vaults")
	})
	t.Run("another root key", func(t *testing.T) {
		o := c.options(h, "sqlite", "full")
		o.RootKey = filepath.Join(other.dir, app.RootKeyFile)
		_, err := app.Restore(ctx, o, nil)
		if err == nil || !strings.Contains(err.Error(), "root key") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("another identity", func(t *testing.T) {
		o := c.options(h, "sqlite", "full")
		o.Identities = []byte(newCustody(t).id.String())
		o.RootKey = filepath.Join(h.dir, app.RootKeyFile)
		refused(t, o, "other recipients")
		o.Identities = []byte("hello")
		refused(t, o, "age key file")
	})
	t.Run("no manifest", func(t *testing.T) {
		o := c.options(h, "sqlite", "full")
		o.From = copyOf(t)
		must(t, os.Remove(filepath.Join(o.From, backup.ManifestFile)))
		refused(t, o, "never finished")
	})
	t.Run("no root key", func(t *testing.T) {
		c.backup(h, "without", db.PartData, db.PartKeys, db.PartLog)
		refused(t, c.options(h, "sqlite", "without"), "root key is missing")
	})
	t.Run("no data", func(t *testing.T) {
		c.backup(h, "small", db.PartKeys, db.PartLog)
		refused(t, c.options(h, "sqlite", "small"), "no data part")
	})
}

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// forge changes a file of a backup, and its manifest with it.
func forge(t *testing.T, dir, file string, change func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, file)
	b, err := os.ReadFile(path)
	must(t, err)
	b = change(b)
	must(t, os.WriteFile(path, b, 0o600))
	text, err := os.ReadFile(filepath.Join(dir, backup.ManifestFile))
	must(t, err)
	var m backup.Manifest
	must(t, json.Unmarshal(text, &m))
	i := slices.IndexFunc(m.Parts, func(f backup.File) bool { return f.Name == file })
	m.Parts[i].Bytes, m.Parts[i].SHA256 = int64(len(b)), digest(b)
	text, err = json.Marshal(m)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, backup.ManifestFile), text, 0o600))
}

// What stops in the middle leaves nothing that looks whole, and is done again.
func TestStoppedInTheMiddle(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		h, c := newHouse(t, engine, 40), newCustody(t)
		want := h.everybody()
		for _, at := range []string{"data lookups", "keys customer_keys", "log log_groups"} {
			ctx, stop := context.WithCancel(t.Context())
			_, err := backup.Write(ctx, h.v.BackupSource(), backup.Request{Dir: c.dir("full"), Recipients: []string{c.id.Recipient().String()}, WithRootKey: true}, func(p backup.Progress) {
				if p.Part+" "+p.Table == at {
					stop()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: %v", at, err)
			}
			if list, _ := os.ReadDir(c.root); len(list) > 0 {
				t.Fatalf("%s left %v", at, list)
			}
		}
		c.backup(h, "full")
		must(t, h.v.Close())
		o := c.options(h, engine, "full")
		for _, at := range []string{"data lookups", "keys customer_keys", "log log_groups", "replaying the log gucci"} {
			ctx, stop := context.WithCancel(t.Context())
			_, err := app.Restore(ctx, o, func(p backup.Progress) {
				if p.Part+" "+p.Table == at {
					stop()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: %v", at, err)
			}
			if _, err := app.Open(t.Context(), o.Data, app.Options{Database: o.Database}); !errors.Is(err, db.ErrUnfinished) || !strings.Contains(err.Error(), "restore") {
				t.Fatalf("%s: what was not restored whole opens: %v", at, err)
			}
		}
		r, _ := c.restored(h, o)
		if got := r.everybody(); !maps.Equal(got, want) {
			t.Errorf("%d customers", len(got))
		}
	})
}

// A disk that fills up fails the backup, clears up after it, and harms nobody else.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := dbtest.SmallDisk(t, 64<<10)
	h, c := newHouse(t, "sqlite", 200), newCustody(t)
	_, err := backup.Write(t.Context(), h.v.BackupSource(), backup.Request{Dir: filepath.Join(disk.Dir, "full"), Recipients: []string{c.id.Recipient().String()}}, nil)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	if list, err := os.ReadDir(disk.Dir); err != nil || len(list) > 0 {
		t.Errorf("%v is left, %v", list, err)
	}
	if n := len(h.everybody()); n != 200 {
		t.Errorf("%d customers", n)
	}
}
