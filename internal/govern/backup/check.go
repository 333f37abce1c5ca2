package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
)

// source is a directory that a restore reads, with its manifest.
type source struct {
	dir string
	*Manifest
}

func (s *source) path(f *File) string { return filepath.Join(s.dir, f.Name) }

// openSource reads the manifest of a backup.
func openSource(dir string) (*source, error) {
	text, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has no %s: it is no backup, or one that was never finished", ErrDamaged, dir, ManifestFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	m := &Manifest{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%w: the %s of %s cannot be read: %w", ErrDamaged, ManifestFile, dir, err)
	}
	if m.Format != Format {
		return nil, fmt.Errorf("the backup in %s has the format %d and this program reads %d: use the release that wrote it, or a newer one", dir, m.Format, Format)
	}
	if m.Schema > db.LatestSchema() {
		return nil, fmt.Errorf("the backup in %s has schema version %d and this program knows %d: use the release that wrote it, or a newer one", dir, m.Schema, db.LatestSchema())
	}
	for i := range m.Parts {
		if f := &m.Parts[i]; filepath.Base(f.Name) != f.Name {
			return nil, fmt.Errorf("%w: the manifest of %s names a file outside of it", ErrDamaged, dir)
		}
	}
	return &source{dir, m}, nil
}

// need returns a part's file.
func (s *source) need(p db.Part) (*File, error) {
	f := s.file(p)
	if f == nil {
		return nil, fmt.Errorf("the backup in %s has no %s part: name one that has", s.dir, p)
	}
	return f, nil
}

// digest holds a file against its manifest, byte by byte.
func (s *source) digest(ctx context.Context, f *File, progress func(Progress)) error {
	file, err := os.Open(s.path(f))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is missing: the backup was not copied whole", ErrDamaged, s.path(f))
	}
	if err != nil {
		return fmt.Errorf("reading a part: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("reading a part: %w", err)
	}
	if info.Size() != f.Bytes {
		return fmt.Errorf("%w: %s has %d bytes and was written with %d: it was cut, or is another file", ErrDamaged, s.path(f), info.Size(), f.Bytes)
	}
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for n := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		k, err := file.Read(buf)
		h.Write(buf[:k])
		if n += int64(k); progress != nil && k > 0 {
			progress(Progress{Part: "checking " + string(f.Part), Bytes: n})
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("reading a part: %w", err)
		}
	}
	if hex.EncodeToString(h.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%w: %s is not what was written: its bytes were changed", ErrDamaged, s.path(f))
	}
	return nil
}

// sources are where the parts of a restore come from.
type sources struct {
	data, keys, log *source // admin comes with the keys
}

// open reads the manifests and holds them against each other.
func (o *Options) open() (*sources, error) {
	data, err := openSource(o.From)
	if err != nil {
		return nil, err
	}
	s := &sources{data, data, data}
	if o.KeysFrom != "" {
		if s.keys, err = openSource(o.KeysFrom); err != nil {
			return nil, err
		}
		if s.log = s.keys; s.log.file(db.PartLog) == nil {
			s.log = data
		}
	}
	if o.LogFrom != "" {
		if s.log, err = openSource(o.LogFrom); err != nil {
			return nil, err
		}
	}
	for _, part := range []struct {
		s *source
		p db.Part
	}{{s.data, db.PartData}, {s.keys, db.PartAdmin}, {s.keys, db.PartKeys}, {s.log, db.PartLog}} {
		if _, err := part.s.need(part.p); err != nil {
			return nil, err
		}
		if part.s.Vault != s.data.Vault {
			return nil, fmt.Errorf("%s and %s are backups of two different vaults: their parts do not belong together", s.data.dir, part.s.dir)
		}
	}
	if err := notOlder(s.data, s.keys, "keys"); err != nil {
		return nil, err
	}
	if err := notOlder(s.keys, s.log, "log"); err != nil {
		return nil, err
	}
	if err := s.indexes(); err != nil {
		return nil, err
	}
	for _, l := range s.log.Logs {
		if s.keys.Manifest.log(l.Brand) == nil {
			return nil, fmt.Errorf("the brand %s has a log in %s and no keys in %s: it is newer than those keys, and a backup of keys and log together is needed", l.Name, s.log.dir, s.keys.dir)
		}
	}
	return s, nil
}

// notOlder refuses to mix parts the wrong way round: with keys older than the data,
// whoever was new in between would be taken for erased. The logs say which is older;
// where they are alike, the database's clock does.
func notOlder(older, newer *source, what string) error {
	if older == newer {
		return nil
	}
	for _, was := range older.Logs {
		is := newer.Manifest.log(was.Brand)
		if is == nil || is.Size < was.Size || newer.Made.Before(older.Made) {
			return fmt.Errorf("the %s in %s are older than what is in %s: take the newest there are", what, newer.dir, older.dir)
		}
	}
	if older.Schema > newer.Schema {
		return fmt.Errorf("the %s in %s are of an older release than what is in %s: take the newest there are", what, newer.dir, older.dir)
	}
	return nil
}

// indexes refuses keys under which the data's search indexes mean nothing: customers
// would be there and not be found, and an import would make them twice.
func (s *sources) indexes() error {
	for _, k := range s.data.Keys {
		if (k.Kind == keys.Index || k.Kind == keys.Incident) && !slices.Contains(s.keys.Keys, k) {
			name := fmt.Sprint("brand ", k.Brand)
			if l := s.data.Manifest.log(k.Brand); l != nil {
				name = l.Name
			}
			return fmt.Errorf("the %s key of %s was rotated after the data in %s was backed up, and the keys in %s do not fit its search indexes any more: take data that was backed up after the rotation; or restore data and keys of %s, and name %s with --log-from, so that who was erased since stays erased",
				k.Kind, name, s.data.dir, s.keys.dir, s.data.dir, s.log.dir)
		}
	}
	return nil
}

// check reads every file that a restore needs, before anything is written.
func (s *sources) check(ctx context.Context, progress func(Progress)) error {
	for _, part := range []struct {
		s *source
		p db.Part
	}{{s.data, db.PartData}, {s.keys, db.PartAdmin}, {s.keys, db.PartKeys}, {s.log, db.PartLog}} {
		f, err := part.s.need(part.p)
		if err != nil {
			return err
		}
		if err := part.s.digest(ctx, f, progress); err != nil {
			return err
		}
	}
	return nil
}

// Verify reads a backup byte by byte against its manifest. It needs no key, and so says nothing
// of what the keys open: a restore with --dry-run does.
func Verify(ctx context.Context, dir string, progress func(Progress)) (*Manifest, error) {
	s, err := openSource(dir)
	if err != nil {
		return nil, err
	}
	for i := range s.Parts {
		if err := s.digest(ctx, &s.Parts[i], progress); err != nil {
			return nil, err
		}
	}
	if s.RootKey != nil {
		f := *s.RootKey
		f.Name = RootKeyFile
		if err := s.digest(ctx, &f, progress); err != nil {
			return nil, err
		}
	}
	return s.Manifest, nil
}

// Outdated returns the backups beside the newest one that need not be kept: those with the
// same parts of the same vault, beyond the newest keep of them and older than before. Zero
// values keep all.
func Outdated(newest string, keep int, before time.Time) ([]string, error) {
	now, err := openSource(newest)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Dir(newest))
	if err != nil {
		return nil, fmt.Errorf("looking for older backups: %w", err)
	}
	var list []*source
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		s, err := openSource(filepath.Join(filepath.Dir(newest), e.Name()))
		if err != nil || s.Vault != now.Vault || !slices.Equal(s.names(), now.names()) {
			continue // not ours to judge
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *source) int { return b.Made.Compare(a.Made) })
	var out []string
	for i, s := range list {
		beyond, old := keep > 0 && i >= keep, !before.IsZero() && s.Made.Before(before)
		if (beyond && (before.IsZero() || old) || keep == 0 && old) && s.Backup != now.Backup {
			out = append(out, s.dir)
		}
	}
	return out, nil
}

// names are the parts that a backup has.
func (m *Manifest) names() []string {
	var out []string
	for i := range m.Parts {
		out = append(out, string(m.Parts[i].Part))
	}
	slices.Sort(out)
	return out
}
