package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/RoaringBitmap/roaring/v2"

	"github.com/cloakroom/cloakroom/internal/govern/admin"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/erase"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
	"github.com/cloakroom/cloakroom/internal/watch/canary"
)

// Options say what to restore, and where to.
type Options struct {
	From     string // a backup with data
	KeysFrom string // a later one with keys; empty: From
	LogFrom  string // a later one with a log; empty: where the keys are, or From
	// Identities is the text of an age key file that opens the keys.
	Identities []byte
	RootKey    string // file; empty: the one in Data, or in a backup
	Data       string // data directory of the vault to be
	Database   string // its PostgreSQL; empty: the embedded database
	// Checkpoints were kept elsewhere: the logs must continue them.
	Checkpoints [][]byte
	// AcceptLoss lets a checkpoint be of more than the backup has: the first entry of the
	// log's new epoch names it, and what is missing.
	AcceptLoss bool
	// DryRun checks everything and writes nothing to Data or Database.
	DryRun bool
	DB     db.Options
}

// Report says what a restore brought back, and what not.
type Report struct {
	DryRun    bool      `json:"dry_run,omitempty"`
	DataMade  time.Time `json:"data_of"`
	KeysMade  time.Time `json:"keys_of"`
	LogMade   time.Time `json:"log_of"`
	Customers uint64    `json:"customers"`     // brought back
	Erased    uint64    `json:"erased"`        // in the data, and erased after it
	Finished  uint64    `json:"erased_by_log"` // had a key still, and are erased now, as the log says
	Unlogged  uint64    `json:"missing_keys"`  // in the data, without a key, and the log does not say that they were erased
	Cooling   uint64    `json:"cooling"`       // whose erasure can still be taken back
	Later     uint64    `json:"later"`         // written for the first time after the data
	Logs      []LogRead `json:"logs"`
}

// LogRead is a log that was replayed.
type LogRead struct {
	Brand   string `json:"brand"`
	Entries uint64 `json:"entries"`
	// Kept is the size of the checkpoint, kept elsewhere, that it was held against.
	Kept uint64 `json:"kept_checkpoint,omitempty"`
	// Missing is how many entries are known to be lost: those of the newest checkpoint that
	// the data directory or the caller had, and that the backup does not have.
	Missing uint64 `json:"missing,omitempty"`
	// Epoch is the number of the epoch that the restore began.
	Epoch uint64 `json:"epoch,omitempty"`
}

// Target is the place that a backup is restored into: a prepared directory and
// database that hold no vault yet.
type Target interface {
	// Database returns the database, whose schema may be missing.
	Database() *db.DB
	// Begun reports whether the database, whose schema is there, is a vault already.
	Begun(context.Context) (bool, error)
	// Resume opens what was loaded as the vault of that origin, and makes nothing.
	Resume(ctx context.Context, origin string) (*Restored, error)
	// Close closes what Resume opened, and the database.
	Close() error
}

// Restored is what a restore needs of the vault that it brought back.
type Restored struct {
	Ledger   *ledger.Ledger
	Identity *identity.Store
	Admin    *admin.Desk // logs the restore
	Erase    *erase.Desk
	Seal     *seal.Store
	Canaries *canary.Store
	// Kept are checkpoints that the data directory had, of whatever logs.
	Kept [][]byte
	// Reseal lets the rights of the copy hold as they are, where its tables are older than
	// its logs.
	Reseal func(ctx context.Context) error
}

// Place says where a vault is restored.
type Place struct {
	Dir      string // the data directory
	Database string // a PostgreSQL database; empty: the embedded one in Dir
	RootKey  string // the root key's file; empty: the one in Dir
	DB       db.Options
}

// Prepare prepares the target in a place.
type Prepare func(context.Context, Place) (Target, error)

// ErrNotEmpty is returned for a target that holds a vault.
var ErrNotEmpty = fault.New(fault.Internal, "there is a vault already: restore into an empty directory or database, so that nothing is overwritten")

// batchRows is how many rows one transaction of a restore brings in.
const batchRows = 5000

type restore struct {
	Options
	*sources
	report     Report
	identities []age.Identity
	origin     string
	v          Target
	restored   *Restored // once its logs are loaded
	tables     map[string]db.Table
	in, keyed  *roaring.Bitmap                     // customers of the data; customers with a key
	laid, cold *roaring.Bitmap                     // customers whose key lies aside; those of them in the data
	live       *roaring.Bitmap                     // in the data and with a key
	again      map[record.BrandID][]record.Ordinal // who cooled in the data and is there now
	erased     *roaring.Bitmap                     // as the log says
	lost       map[record.BrandID][]byte           // the newest checkpoint known of what is not in the backup
	due        *roaring.Bitmap                     // whose erasure was logged and not carried out when the keys were copied
	progress   func(Progress)
}

// Restore brings a vault back, into a place that has none. Everything is checked first;
// and until the logs are found to be what was signed, the place is marked as not whole,
// so that no vault opens there. After a kill, run it again: it begins anew.
func Restore(ctx context.Context, o Options, prepare Prepare, progress func(Progress)) (_ *Report, err error) {
	r := &restore{Options: o, in: roaring.New(), keyed: roaring.New(), laid: roaring.New(), again: map[record.BrandID][]record.Ordinal{}, erased: roaring.New(), due: roaring.New(), lost: map[record.BrandID][]byte{}, progress: progress}
	if r.progress == nil {
		r.progress = func(Progress) {}
	}
	if r.sources, err = o.open(); err != nil {
		return nil, err
	}
	r.report = Report{DryRun: o.DryRun, DataMade: r.data.Made, KeysMade: r.keys.Made, LogMade: r.log.Made}
	if r.origin, err = r.log.origin(); err != nil {
		return nil, err
	}
	if r.identities, err = age.ParseIdentities(bytes.NewReader(o.Identities)); err != nil {
		return nil, errors.New("the identity is not an age key file: it holds a line AGE-SECRET-KEY-1..., as `age-keygen` writes it")
	}
	rootKey, at, err := r.rootKey()
	if err != nil {
		return nil, err
	}
	if err := r.sources.check(ctx, r.progress); err != nil {
		return nil, err
	}
	if err := r.tryRoot(ctx, rootKey); err != nil { // before the directory is touched
		return nil, err
	}
	if err := r.people(ctx); err != nil {
		return nil, err
	}
	if o.DryRun {
		if r.Data, err = os.MkdirTemp("", "cloakroom-dry-run-"); err != nil {
			return nil, fmt.Errorf("making a place to check the log in: %w", err)
		}
		defer func(dir string) { err = errors.Join(err, os.RemoveAll(dir)) }(r.Data)
		r.Database = ""
	}
	place := Place{Dir: r.Data, Database: r.Database, DB: o.DB}
	if o.DryRun {
		place.RootKey = at // no copy of it, which a kill would leave behind
	}
	if r.v, err = prepare(ctx, place); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.v.Close()) }()
	if err := r.empty(ctx); err != nil {
		return nil, err
	}
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	if place.RootKey == "" {
		if err := placeRootKey(filepath.Join(r.Data, keys.RootFile), rootKey); err != nil {
			return nil, err
		}
	}
	if err := r.verify(ctx); err != nil {
		return nil, err
	}
	if o.DryRun {
		return &r.report, nil
	}
	return &r.report, r.finish(ctx)
}

// origin returns what the names of the vault's logs begin with.
func (s *source) origin() (string, error) {
	group := s.Manifest.log(record.Group)
	if group == nil {
		return "", fmt.Errorf("%w: the manifest of %s has no log of the group", ErrDamaged, s.dir)
	}
	line, _, _ := strings.Cut(group.Checkpoint, "\n")
	name, _ := entry.SplitOrigin(line)
	origin, ok := strings.CutSuffix(name, "/"+group.Name)
	if !ok {
		return "", fmt.Errorf("%w: the group's checkpoint in the manifest of %s names no log", ErrDamaged, s.dir)
	}
	return origin, nil
}

// rootKey finds the root key: as it was given, in its place already, or in a backup.
// Where it is in a file of its own, it names that.
func (r *restore) rootKey() (text []byte, file string, err error) {
	path := r.RootKey
	if path == "" {
		path = filepath.Join(r.Data, keys.RootFile)
	}
	if r.Data == "" && r.RootKey == "" {
		return nil, "", errors.New("name the data directory that the vault is to have")
	}
	text, err = os.ReadFile(path)
	if err == nil {
		return text, path, nil
	}
	if r.RootKey != "" || !errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("reading the root key: %w", err)
	}
	for _, s := range []*source{r.keys, r.data} {
		if s.RootKey == nil {
			continue
		}
		f := *s.RootKey
		f.Name = RootKeyFile
		if err := s.digest(context.Background(), &f, nil); err != nil {
			return nil, "", err
		}
		sealed, err := os.Open(s.path(&f))
		if err != nil {
			return nil, "", fmt.Errorf("reading the root key: %w", err)
		}
		defer sealed.Close()
		plain, err := age.Decrypt(sealed, r.identities...)
		if err != nil {
			return nil, "", fmt.Errorf("the root key in %s: %w", s.dir, ErrIdentity)
		}
		text, err := io.ReadAll(io.LimitReader(plain, 1<<16))
		if err != nil {
			return nil, "", fmt.Errorf("%w: the root key in %s: %w", ErrDamaged, s.dir, err)
		}
		return text, "", nil
	}
	return nil, "", fmt.Errorf("the root key is missing, and without it nothing in the backup can be read: put it into %s, or name it with --root-key", filepath.Join(r.Data, keys.RootFile))
}

// placeRootKey writes the root key where the vault looks for it, unless it is there.
func placeRootKey(path string, text []byte) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, text) {
		return nil
	}
	tmp := path + unfinished
	err := os.Remove(tmp)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		if err = writeFile(tmp, text); err == nil {
			err = os.Link(tmp, path) // never over another key
			err = errors.Join(err, os.Remove(tmp))
		}
	}
	if err != nil {
		return fmt.Errorf("placing the root key: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func (r *restore) part(s *source, p db.Part) (*partReader, *File, error) {
	f, err := s.need(p)
	if err != nil {
		return nil, nil, err
	}
	pr, err := openPart(s.path(f), header{Format, s.Vault, s.Backup, p, s.Schema}, r.identities)
	return pr, f, err
}

// people finds out who is in the data and who has a key, from both parts.
func (r *restore) people(ctx context.Context) error {
	for _, x := range []struct {
		s    *source
		p    db.Part
		into map[string]*roaring.Bitmap
	}{
		{r.data, db.PartData, map[string]*roaring.Bitmap{versionsTable: r.in}},
		{r.keys, db.PartKeys, map[string]*roaring.Bitmap{"customer_keys": r.keyed, coolingTable: r.laid, erasuresTable: r.due}},
	} {
		pr, _, err := r.part(x.s, x.p)
		if err != nil {
			return err
		}
		err = eachOf(ctx, pr, slices.Collect(maps.Keys(x.into)), func(row []any) error {
			ord, err := pr.int(row, "ord")
			if err == nil {
				x.into[pr.table].Add(uint32(ord))
			}
			return err
		})
		if err = errors.Join(err, pr.close()); err != nil {
			return err
		}
	}
	r.live = roaring.And(r.in, r.keyed)
	r.cold = roaring.And(r.in, r.laid)
	r.report.Customers, r.report.Cooling = r.live.GetCardinality(), r.cold.GetCardinality()
	r.report.Erased = r.in.GetCardinality() - r.report.Customers - r.report.Cooling
	r.report.Later = r.keyed.GetCardinality() - r.report.Customers
	return nil
}

// eachOf hands fn the rows of some tables, and reads no further than it has to.
func eachOf(ctx context.Context, pr *partReader, tables []string, fn func(row []any) error) error {
	for n := 0; ; n++ {
		row, err := pr.next()
		if err == io.EOF {
			return nil
		}
		wanted := slices.Contains(tables, pr.table)
		if err == nil && !wanted && !slices.ContainsFunc(tables, func(t string) bool { return pr.counts[t] == 0 }) {
			return nil
		}
		if err == nil && n%1000 == 0 {
			err = ctx.Err()
		}
		if err == nil && wanted {
			err = fn(row)
		}
		if err != nil {
			return err
		}
	}
}

// int returns a value of a row that is a whole number.
func (r *partReader) int(row []any, column string) (int64, error) {
	for i, c := range r.columns {
		if c == column {
			if v, ok := row[i].(int64); ok {
				return v, nil
			}
		}
	}
	return 0, r.damaged("a row of %s has no %s", r.table, column)
}

// errTried ends the reading of keys once one was tried.
var errTried = errors.New("a key was tried")

// tryRoot refuses a root key that opens no key of the backup.
func (r *restore) tryRoot(ctx context.Context, rootKey []byte) error {
	pr, _, err := r.part(r.keys, db.PartKeys)
	if err != nil {
		return err
	}
	err = eachOf(ctx, pr, []string{"brand_keys"}, func(row []any) error {
		brand, err := pr.int(row, "brand")
		version, verr := pr.int(row, "version")
		if err = errors.Join(err, verr); err != nil {
			return err
		}
		kind, _ := row[slices.Index(pr.columns, "kind")].(string)
		wrapped, _ := row[slices.Index(pr.columns, "wrapped")].([]byte)
		if err := keys.OpensRow(rootKey, record.BrandID(brand), keys.Kind(kind), int(version), wrapped); err != nil {
			if errors.Is(err, keys.ErrUnwrap) {
				return fmt.Errorf("this root key opens none of the keys in %s: nothing was written; name the one that the vault had then with --root-key: %w", r.keys.dir, err)
			}
			return err
		}
		return errTried
	})
	if errors.Is(err, errTried) {
		err = nil
	}
	return errors.Join(err, pr.close())
}

// empty refuses a target that has a vault. What an earlier restore left half done is
// no vault.
func (r *restore) empty(ctx context.Context) error {
	unfinished, err := r.v.Database().Unfinished(ctx)
	if err != nil || unfinished {
		return err
	}
	version, err := db.SchemaVersion(ctx, r.v.Database())
	if err != nil || version == 0 {
		return err
	}
	begun, err := r.v.Begun(ctx)
	if err == nil && begun {
		err = ErrNotEmpty
	}
	return err
}

// verify replays every log against what was signed, and reads from them who was erased
// and which ordinals were given.
func (r *restore) verify(ctx context.Context) error {
	if begun, err := r.v.Begun(ctx); err != nil || !begun {
		return errors.Join(err, fmt.Errorf("%w: the log part in %s holds no log of the group", ErrDamaged, r.log.dir))
	}
	var err error
	if r.restored, err = r.v.Resume(ctx, r.origin); err != nil {
		return err
	}
	next, err := r.nextOrdinal(ctx)
	if err != nil {
		return err
	}
	used := make([]bool, len(r.Checkpoints))
	finish, begun, back := roaring.New(), roaring.New(), roaring.New()
	for _, l := range r.log.Logs {
		was, err := r.restored.Ledger.Checkpoint(ctx, l.Brand)
		if err == nil && string(was) != l.Checkpoint {
			err = fmt.Errorf("%w: its head is not the one in the manifest", ErrDamaged)
		}
		if err != nil {
			return fmt.Errorf("the log of %s: %w", l.Name, err)
		}
		r.progress(Progress{Part: "replaying the log", Table: l.Name, All: l.Size})
		olders := [][]byte{nil}
		if o := r.data.Manifest.log(l.Brand); o != nil && o.Size > 0 {
			olders = [][]byte{[]byte(o.Checkpoint)}
		}
		read := LogRead{Brand: l.Name, Entries: l.Size}
		for _, older := range olders {
			if err := r.replay(ctx, l.Brand, older); err != nil {
				return fmt.Errorf("the log of %s: %w", l.Name, err)
			}
		}
		if err := r.kept(ctx, &l, &read, used); err != nil {
			return err
		}
		err = r.restored.Ledger.Scan(ctx, l.Brand, 0, func(index uint64, e entry.Entry, ords []record.Ordinal) error {
			// Earlier releases logged a search that found nobody under an ordinal of its
			// own: it is no customer's, and one of them would leave none for new customers.
			customers, _ := record.Customers(ords)
			for _, ord := range customers {
				next = max(next, int64(ord)+1)
				if e.Kind == entry.KindErasure {
					r.erased.Add(uint32(ord))
				}
				if !r.unfinished(e.Kind, l.Brand, index, ord) {
					continue
				}
				switch e.Kind {
				case entry.KindErasure:
					finish.Add(uint32(ord))
				case entry.KindErasureBegun:
					begun.Add(uint32(ord))
					back.Remove(uint32(ord))
				case entry.KindErasureUndone:
					back.Add(uint32(ord))
					begun.Remove(uint32(ord))
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("the log of %s: %w", l.Name, err)
		}
		r.report.Logs = append(r.report.Logs, read)
	}
	for i, ok := range used {
		if !ok {
			name, _, _ := strings.Cut(string(r.Checkpoints[i]), "\n")
			return fmt.Errorf("the checkpoint that you kept is of the log %q, and there is no such log in this backup", name)
		}
	}
	gone := roaring.AndNot(roaring.AndNot(r.in, r.live), r.cold)
	r.report.Unlogged = roaring.AndNot(gone, r.erased).GetCardinality()
	begun.AndNot(finish)
	back.AndNot(finish)
	begun.And(r.live)
	back.And(r.cold)
	r.report.Customers += back.GetCardinality() - begun.GetCardinality() - roaring.And(r.live, finish).GetCardinality()
	r.report.Cooling += begun.GetCardinality() - back.GetCardinality() - roaring.And(r.cold, finish).GetCardinality()
	r.report.Finished = roaring.And(roaring.Or(r.live, r.cold), finish).GetCardinality()
	if r.DryRun {
		return nil
	}
	// An ordinal is given once, whatever was lost.
	return r.v.Database().Tx(ctx, func(q db.Queryer) error {
		t := r.tables["ordinals"]
		if err := db.ClearTable(ctx, q, t); err != nil {
			return err
		}
		return db.LoadTable(ctx, q, t, []string{"one", "next"}, [][]any{{int64(1), next}})
	})
}

// nextOrdinal returns an ordinal above every one that was given, as far as the backups and
// what was loaded from them say; the logs say more.
func (r *restore) nextOrdinal(ctx context.Context) (int64, error) {
	next, plausible := max(int64(last(r.keyed)), int64(last(r.in)))+1, true
	for _, s := range []*source{r.data, r.keys, r.log} {
		if s.NextOrdinal <= int64(record.FirstNobody) {
			next = max(next, s.NextOrdinal)
		} else {
			plausible = false // a backup of a vault whose counter an earlier restore ruined
		}
	}
	if plausible {
		return next, nil
	}
	// The list of canaries names ordinals that were reserved and never logged.
	for _, l := range r.log.Logs {
		listed, err := r.restored.Canaries.Last(ctx, l.Brand)
		if err != nil && !errors.Is(err, canary.ErrDamaged) && !errors.Is(err, keys.ErrNoKey) { // which `db check` reports
			return 0, fmt.Errorf("reading the decoys of %s: %w", l.Name, err)
		}
		next = max(next, int64(listed)+1)
	}
	return next, nil
}

func last(b *roaring.Bitmap) uint32 {
	if b.IsEmpty() {
		return 0
	}
	return b.Maximum()
}

// erasuresTable holds the erasures that were logged and not carried out. Copies made by
// older releases do not have it.
const erasuresTable = "log_erasures"

// unfinished reports whether a step of an erasure has to be carried out on the copy, if
// the customer is there. Whom the log erased is nobody, whatever the copy has of them. Of
// the beginning of an erasure, and of one taken back, the keys are of one state of the
// vault: what was logged after it has to be carried out; what was logged before it, where
// that state says that it was due, or cannot tell.
func (r *restore) unfinished(kind entry.Kind, brand record.BrandID, index uint64, ord record.Ordinal) bool {
	l := r.keys.Manifest.log(brand)
	_, tells := r.keys.file(db.PartKeys).Rows[erasuresTable]
	return kind == entry.KindErasure || !tells || l == nil || index >= l.Size || r.due.Contains(uint32(ord))
}

// finish carries out the erasures that the log holds, logs that the vault was restored,
// and lets it open. The first entry of each log is that of its new epoch.
func (r *restore) finish(ctx context.Context) error {
	if err := r.beginEpochs(ctx); err != nil {
		return err
	}
	for brand, ords := range r.again {
		if err := r.restored.Seal.Reappear(ctx, brand, ords); err != nil {
			return err
		}
	}
	finished := uint64(0)
	for _, l := range r.log.Logs {
		n, err := r.restored.Erase.FinishErasures(ctx, l.Brand, func(s ledger.Receipt, ord record.Ordinal) bool {
			return r.unfinished(s.Kind(), l.Brand, s.Entry(), ord)
		})
		if err != nil {
			return fmt.Errorf("erasing again who the log of %s says was erased: %w", l.Name, err)
		}
		finished += uint64(n)
	}
	r.report.Finished = finished
	who, err := r.restored.Identity.EnsureLocal(ctx, access.Administrator)
	if err != nil {
		return err
	}
	_, err = r.restored.Admin.Announce(ctx, who, entry.Restored{Data: r.data.Backup, Keys: r.keys.Backup, Log: r.log.Backup})
	if err != nil {
		return err
	}
	if err := r.restored.Reseal(ctx); err != nil {
		return err
	}
	return r.v.Database().EndRestore(ctx)
}
