// Package backup writes a vault to files and brings one back from them.
//
// # Parts
//
// A backup is a directory of parts, all of one state of the database, taken while
// servers go on serving. They are files of their own because they live and die
// separately:
//
//   - data: the sealed customers and what finds them. Opens nothing. Keep it for long.
//   - keys: every wrapped key, encrypted to the recipients that the operator names
//     (age). Keep only the newest: an older one is what an erasure has to outlive.
//   - log: the logs, with their signed checkpoints. Budgets follow from them.
//   - admin: brands, principals, policies. Small, and part of every backup.
//   - the root key, encrypted to the recipients too, only where it was asked for.
//
// manifest.json is written last, and the directory gets its name after that: what a
// kill leaves behind never looks whole.
//
// # Restoring
//
// [Restore] takes data of one backup with keys and log of a later one. Who was erased
// in between has no key any more, and so is not brought back. Every log is replayed
// against what was signed before the vault opens, and an erasure that the log holds is
// carried out where it was not.
//
// The form of the files is the same for every engine.
package backup

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/cloakroom/cloakroom/internal/govern/admin"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Format is the version of a backup's files.
const Format = 1

// The files of a backup.
const (
	ManifestFile = "manifest.json"
	RootKeyFile  = "root.key.age"
)

// unfinished ends the name of a backup that is being written.
const unfinished = ".unfinished"

// ErrRequest is joined to errors that the request for a backup is to blame for.
var ErrRequest = fault.New(fault.Invalid, "invalid backup request")

// Request says what to back up, and where to.
type Request struct {
	Dir         string    // made; must not hold anything
	Parts       []db.Part // nil: all; admin is always among them
	Recipients  []string  // age recipients, needed with keys and with the root key
	WithRootKey bool
}

// Progress is how far a backup or a restore is.
type Progress struct {
	Part, Table string
	Rows        uint64 // of the table, so far
	All         uint64 // of the table; 0 if not known
	Bytes       int64  // of the part's file, so far
}

// Manifest says what a backup holds.
type Manifest struct {
	Format      int       `json:"format"`
	Vault       string    `json:"vault"`  // the same for every backup of one vault
	Backup      string    `json:"backup"` // of this one alone
	Schema      int       `json:"schema"`
	Made        time.Time `json:"made"`
	NextOrdinal int64     `json:"next_ordinal"`
	Parts       []File    `json:"parts"`
	RootKey     *File     `json:"root_key,omitempty"`
	Logs        []Log     `json:"logs"`
	Keys        []Key     `json:"keys"`
	Recipients  []string  `json:"recipients,omitempty"`
}

// Key names a brand's key, without what it is.
type Key struct {
	Brand   record.BrandID `json:"brand"`
	Kind    keys.Kind      `json:"kind"`
	Version int            `json:"version"`
}

// File is one file of a backup.
type File struct {
	Part   db.Part           `json:"part,omitempty"`
	Name   string            `json:"file"`
	Bytes  int64             `json:"bytes"`
	SHA256 string            `json:"sha256"`
	Rows   map[string]uint64 `json:"rows,omitempty"` // by table
}

// Log is the head of a brand's log at the time of the backup.
type Log struct {
	Brand       record.BrandID `json:"brand"`
	Name        string         `json:"name"`
	Size        uint64         `json:"size"`
	Checkpoint  string         `json:"checkpoint"`
	VerifierKey string         `json:"verifier_key"`
}

// file returns the file of a part, nil if the backup has none.
func (m *Manifest) file(p db.Part) *File {
	for i := range m.Parts {
		if m.Parts[i].Part == p {
			return &m.Parts[i]
		}
	}
	return nil
}

func (m *Manifest) log(brand record.BrandID) *Log {
	for i := range m.Logs {
		if m.Logs[i].Brand == brand {
			return &m.Logs[i]
		}
	}
	return nil
}

// versionsTable stands in the data part in place of customer_keys and of coolingTable: what
// a customer's records need to open, without the key.
const versionsTable = "customer_versions"

// coolingTable holds the keys of customers whose erasure has begun, and takeBacksTable how
// they take it back. Copies made by older releases do not have them.
const (
	coolingTable   = "cooling"
	takeBacksTable = "take_backs"
)

// keyless are the columns of customer_keys that go into versionsTable.
var keyless = []string{"ord", "brand", "version", "epoch", "segments"}

func (r *Request) check() ([]age.Recipient, error) {
	bad := func(format string, args ...any) ([]age.Recipient, error) {
		return nil, fmt.Errorf("%w: "+format, append([]any{ErrRequest}, args...)...)
	}
	if len(r.Parts) == 0 {
		r.Parts = []db.Part{db.PartData, db.PartKeys, db.PartLog}
	}
	for i, p := range r.Parts {
		if p != db.PartData && p != db.PartAdmin && p != db.PartKeys && p != db.PartLog {
			return bad("part %d: there is no part of this name; there are data, keys and log", i+1)
		}
	}
	if r.Dir == "" || filepath.Base(r.Dir) == "." || filepath.Base(r.Dir) == "/" {
		return bad("name a directory that is not there yet")
	}
	r.Dir = filepath.Clean(r.Dir)
	if left, err := os.ReadDir(r.Dir); err == nil && len(left) > 0 {
		return bad("%s is not empty: name a new directory for each backup", r.Dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return bad("%w", err)
	}
	var out []age.Recipient
	for i, s := range r.Recipients {
		list, err := age.ParseRecipients(strings.NewReader(s))
		if err != nil || len(list) != 1 {
			return bad("recipient %d is not an age recipient: `age-keygen` prints one that begins with age1", i+1)
		}
		out = append(out, list...)
	}
	if len(out) == 0 && (slices.Contains(r.Parts, db.PartKeys) || r.WithRootKey) {
		return bad("keys leave the vault encrypted only: name at least one recipient (age1...), as `age-keygen` prints it")
	}
	return out, nil
}

// Source is the open vault that a backup is made of.
type Source struct {
	DB     *db.DB
	Ring   *keys.Ring
	Ledger *ledger.Ledger
	Admin  *admin.Desk // logs the backup
	// RootKey is the file of the root key.
	RootKey string
}

// vaultID names a vault in its backups, by a key that it was born with.
func vaultID(ctx context.Context, v *Source) (string, error) {
	seed, err := v.Ring.Version(ctx, record.Group, keys.Log, 1)
	if err != nil {
		return "", fmt.Errorf("naming the vault: %w", err)
	}
	_, vkey, err := ledger.NewSigner("cloakroom-vault", seed.Bytes())
	if err != nil {
		return "", fmt.Errorf("naming the vault: %w", err)
	}
	h := sha256.Sum256([]byte(vkey))
	return hex.EncodeToString(h[:16]), nil
}

// Write makes a backup of one state of the vault. It streams: memory does not grow
// with the vault. progress may be nil. While the root key is being rotated it is refused
// with keys.ErrRootRotation.
func Write(ctx context.Context, v *Source, req Request, progress func(Progress)) (*Manifest, error) {
	if _, err := req.check(); err != nil {
		return nil, err
	}
	held, hold, err := v.Ring.HoldRoot(ctx, keys.ForBackup)
	if err != nil {
		return nil, err
	}
	defer hold.Release(ctx)
	return write(held, hold, v, req, progress)
}

// write is Write for who holds the root key.
func write(ctx context.Context, hold *keys.RootHold, v *Source, req Request, progress func(Progress)) (_ *Manifest, err error) {
	recipients, err := req.check()
	if err != nil {
		return nil, err
	}
	m := &Manifest{Format: Format, Backup: rand.Text(), Recipients: req.Recipients}
	if m.Vault, err = vaultID(ctx, v); err != nil {
		return nil, err
	}
	dir := req.Dir + unfinished
	if err := sweep(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the backup's directory: %w", err)
	}
	defer func() {
		if lost := context.Cause(ctx); err != nil && errors.Is(lost, keys.ErrRootReleased) {
			err = lost
		}
		if err != nil {
			err = errors.Join(err, sweep(dir))
		}
	}()
	err = v.DB.LongSnapshot(ctx, func(q db.Queryer) error {
		if err := m.describe(ctx, q); err != nil {
			return err
		}
		tables, err := db.Tables(ctx, q)
		if err != nil {
			return err
		}
		for _, p := range []db.Part{db.PartData, db.PartAdmin, db.PartKeys, db.PartLog} {
			if p != db.PartAdmin && !slices.Contains(req.Parts, p) {
				continue
			}
			f, err := writePart(ctx, q, m, dir, p, tables, recipients, progress)
			if err != nil {
				return err
			}
			m.Parts = append(m.Parts, *f)
		}
		return opens(ctx, q, v.RootKey)
	})
	if err == nil {
		err = hold.Check(ctx)
	}
	if err != nil {
		return nil, err
	}
	for i := range m.Logs {
		l := &m.Logs[i]
		if l.VerifierKey, err = v.Ledger.VerifierKey(ctx, l.Brand); err != nil {
			return nil, err
		}
		if _, err := ledger.CheckpointRoot(l.VerifierKey, []byte(l.Checkpoint)); err != nil {
			return nil, fmt.Errorf("the log of %s: %w (was the vault opened with another --origin?)", l.Name, err)
		}
	}
	if req.WithRootKey {
		if m.RootKey, err = writeRootKey(v.RootKey, dir, recipients); err != nil {
			return nil, err
		}
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	if err := writeFile(filepath.Join(dir, ManifestFile), append(text, '\n')); err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return nil, err
	}
	// An empty directory of that name gives way; one that was filled meanwhile does not.
	if err := os.Rename(dir, req.Dir); err != nil {
		return nil, fmt.Errorf("giving the backup its name: %w", err)
	}
	return m, syncDir(filepath.Dir(req.Dir))
}

// opens refuses a copy whose keys the root key in its file does not open. The file is read
// anew: what this server opened before may have been wrapped by a root key that is gone.
func opens(ctx context.Context, q db.Queryer, rootKey string) error {
	root, err := keys.OpenFile(rootKey, false)
	if err == nil {
		err = keys.Opens(ctx, q, root)
	}
	if err != nil {
		return fmt.Errorf("the root key %s does not open what was backed up, so the backup is worth nothing; make another: %w", rootKey, err)
	}
	return nil
}

const (
	sqlHeads       = `SELECT t.brand, t.size, t.checkpoint FROM log_tips t WHERE t.size = (SELECT max(m.size) FROM log_tips m WHERE m.brand = t.brand) ORDER BY t.brand`
	sqlBrandNames  = `SELECT id, name FROM brands`
	sqlKeyVersions = `SELECT brand, kind, version FROM brand_keys ORDER BY brand, kind, version`
	sqlNextOrdinal = `SELECT next FROM ordinals WHERE one = 1`
)

// describe fills in what the manifest says of the snapshot's state.
func (m *Manifest) describe(ctx context.Context, q db.Queryer) error {
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	m.Made = now
	if m.Schema, err = db.SchemaVersion(ctx, q); err != nil {
		return err
	}
	if err := q.Row(ctx, sqlNextOrdinal).Scan(&m.NextOrdinal); err != nil {
		return fmt.Errorf("reading the ordinals: %w", err)
	}
	names := map[record.BrandID]string{record.Group: brands.GroupName}
	err = q.Rows(ctx, func(r db.Row) error {
		var id int64
		var name string
		err := r.Scan(&id, &name)
		names[record.BrandID(id)] = name
		return err
	}, sqlBrandNames)
	if err != nil {
		return fmt.Errorf("reading the brands: %w", err)
	}
	err = q.Rows(ctx, func(r db.Row) error {
		var brand, size int64
		var cp []byte
		err := r.Scan(&brand, &size, &cp)
		m.Logs = append(m.Logs, Log{Brand: record.BrandID(brand), Name: names[record.BrandID(brand)], Size: uint64(size), Checkpoint: string(cp)})
		return err
	}, sqlHeads)
	if err != nil {
		return fmt.Errorf("reading the heads of the logs: %w", err)
	}
	err = q.Rows(ctx, func(r db.Row) error {
		var k Key
		var brand int64
		var kind string
		err := r.Scan(&brand, &kind, &k.Version)
		k.Brand, k.Kind = record.BrandID(brand), keys.Kind(kind)
		m.Keys = append(m.Keys, k)
		return err
	}, sqlKeyVersions)
	if err != nil {
		return fmt.Errorf("reading which keys there are: %w", err)
	}
	return nil
}

func writePart(ctx context.Context, q db.Queryer, m *Manifest, dir string, p db.Part, tables []db.Table, recipients []age.Recipient, progress func(Progress)) (_ *File, err error) {
	f := &File{Part: p, Name: string(p) + ".zst", Rows: map[string]uint64{}}
	if p == db.PartKeys {
		f.Name += ".age"
	} else {
		recipients = nil
	}
	w, err := newPartWriter(filepath.Join(dir, f.Name), header{Format, m.Vault, m.Backup, p, m.Schema}, recipients)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.abort()) }()
	// Versions come first: who reads the data needs to know first who is in it.
	tables = slices.Clone(tables)
	slices.SortStableFunc(tables, func(a, b db.Table) int {
		return strings.Compare(order(a.Name), order(b.Name))
	})
	var laid [][]any // of versionsTable, of customers whose erasure cools: few, and those of weeks
	if p == db.PartData {
		if laid, err = laidVersions(ctx, q, tables); err != nil {
			return nil, err
		}
	}
	for _, t := range tables {
		as := t.Name
		pick := t.Columns
		switch {
		case p == db.PartData && t.Name == "customer_keys":
			as, pick = versionsTable, keyless
		case t.Part != p:
			continue
		}
		at := make([]int, len(pick))
		for i, c := range pick {
			at[i] = slices.Index(t.Columns, c)
		}
		if err := w.begin(as, pick); err != nil {
			return nil, err
		}
		drawn := time.Now()
		err := db.ReadTable(ctx, q, t, func(row []any) error {
			out := make([]any, len(at))
			for i, j := range at {
				out[i] = row[j]
			}
			for as == versionsTable && len(laid) > 0 && laid[0][0].(int64) < out[0].(int64) {
				if err := w.row(laid[0]); err != nil {
					return err
				}
				laid = laid[1:]
			}
			if progress != nil && time.Since(drawn) > progressEvery {
				drawn = time.Now()
				progress(Progress{Part: string(p), Table: as, Rows: w.count, Bytes: w.sum.n})
			}
			return w.row(out)
		})
		for as == versionsTable && err == nil && len(laid) > 0 {
			err = w.row(laid[0])
			laid = laid[1:]
		}
		if err != nil {
			return nil, err
		}
		f.Rows[as] = w.count
		if err := w.end(); err != nil {
			return nil, err
		}
		if progress != nil {
			progress(Progress{Part: string(p), Table: as, Rows: f.Rows[as], All: f.Rows[as], Bytes: w.sum.n})
		}
	}
	if err := w.finish(); err != nil {
		return nil, err
	}
	f.Bytes, f.SHA256 = w.sum.n, hex.EncodeToString(w.sum.hash.Sum(nil))
	return f, nil
}

// laidVersions reads the rows of versionsTable of customers whose erasure cools, ascending.
func laidVersions(ctx context.Context, q db.Queryer, tables []db.Table) (out [][]any, err error) {
	i := slices.IndexFunc(tables, func(t db.Table) bool { return t.Name == coolingTable })
	if i < 0 {
		return nil, nil
	}
	err = db.ReadTable(ctx, q, tables[i], func(row []any) error {
		short := make([]any, len(keyless))
		for n, c := range keyless {
			short[n] = row[slices.Index(tables[i].Columns, c)]
		}
		out = append(out, short)
		return nil
	})
	return out, err
}

func order(table string) string {
	if table == "customer_keys" {
		return "0"
	}
	return "1"
}

// progressEvery is how often progress is told within a table.
const progressEvery = 100 * time.Millisecond

func writeRootKey(path, dir string, recipients []age.Recipient) (*File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the root key: %w", err)
	}
	var b strings.Builder
	w, err := age.Encrypt(&b, recipients...)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = writeFile(filepath.Join(dir, RootKeyFile), []byte(b.String()))
	}
	if err != nil {
		return nil, fmt.Errorf("writing the root key, encrypted: %w", err)
	}
	h := sha256.Sum256([]byte(b.String()))
	return &File{Name: RootKeyFile, Bytes: int64(b.Len()), SHA256: hex.EncodeToString(h[:])}, nil
}

// sweep removes what a killed backup left behind, and nothing that is not a backup's.
func sweep(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		n := e.Name()
		if n == ManifestFile || n == RootKeyFile || strings.HasSuffix(n, ".zst") || strings.HasSuffix(n, ".zst.age") {
			err = errors.Join(err, os.Remove(filepath.Join(dir, n)))
		}
	}
	if err == nil {
		err = os.Remove(dir)
	}
	if err != nil {
		return fmt.Errorf("clearing what an unfinished backup left: %w", err)
	}
	return nil
}

func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("making the backup durable: %w", err)
	}
	return nil
}
