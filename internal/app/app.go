// Package app opens a vault: its database, its root key, and the desks that serve
// from them.
package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/cloakroom/cloakroom/internal/customer/campaign"
	"github.com/cloakroom/cloakroom/internal/customer/message"
	"github.com/cloakroom/cloakroom/internal/govern/admin"
	"github.com/cloakroom/cloakroom/internal/govern/upkeep"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/idempotency"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/respond/claim"
	"github.com/cloakroom/cloakroom/internal/respond/contain"
	"github.com/cloakroom/cloakroom/internal/respond/incident"
	"github.com/cloakroom/cloakroom/internal/respond/notice"
	"github.com/cloakroom/cloakroom/internal/respond/scope"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/approval"
	"github.com/cloakroom/cloakroom/internal/vault/audit"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/erase"
	"github.com/cloakroom/cloakroom/internal/vault/export"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
	"github.com/cloakroom/cloakroom/internal/vault/signin"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
	"github.com/cloakroom/cloakroom/internal/watch/canary"
	"github.com/cloakroom/cloakroom/internal/watch/exposure"
	"github.com/cloakroom/cloakroom/internal/watch/notify"
	"github.com/cloakroom/cloakroom/internal/watch/witness"
)

// The files of a data directory.
const (
	DatabaseFile = "vault.db"
	RootKeyFile  = keys.RootFile
	LockFile     = "lock"
	SocketFile   = "cloakroom.sock"
	SeenDir      = "checkpoints" // the newest checkpoint of each log, outside the database
)

var (
	// ErrInUse is returned where another process has the embedded database open.
	ErrInUse = errors.New("another process has this data directory open: talk to it, or stop it first")
	// ErrBegun is returned with MustBegin where a vault is already.
	ErrBegun = errors.New("there is a vault already")
	// ErrNoVault is returned with MustExist where no vault is.
	ErrNoVault = errors.New("there is no vault")
	// ErrEmptied is returned where a database holds no vault, and the data directory has kept
	// checkpoints of one.
	ErrEmptied = errors.New("there is no vault in the database, and this data directory belongs to one: name its database with --database, or restore a backup with `cloakroom restore`; the checkpoints that this server kept are evidence of what its logs held")
	// ErrRootKey is returned for a root key that is missing, or is another vault's.
	ErrRootKey = errors.New("not the root key of this vault")
)

// Beginning says whether a vault may be made.
type Beginning int

// What Open does where there is no vault, and where there is one.
const (
	MayBegin  Beginning = iota // makes one where none is
	MustBegin                  // refuses one that is there
	MustExist                  // makes nothing, not even a table
)

// ErrOrigin is returned where the vault's logs have another origin than the one given.
var ErrOrigin = errors.New("the logs of this vault have another origin, chosen when it was made: start it without --origin")

// Options configure a vault.
type Options struct {
	// Origin begins the names of the vault's logs, for good. Empty means the one that
	// the vault was begun with, and DefaultOrigin for a new one.
	Origin string
	// Database is a PostgreSQL connection string. Empty means the embedded database
	// in the data directory.
	Database string
	// RootKey is the file of the root key. Empty means RootKeyFile in the data
	// directory.
	RootKey string
	// Begin says whether a vault may be made.
	Begin  Beginning
	DB     db.Options
	Ledger ledger.Options
}

// DefaultOrigin is the origin of a vault that was not given one.
const DefaultOrigin = "cloakroom.local"

// Vault is an open vault.
type Vault struct {
	Disclose *disclose.Desk
	Audit    *audit.Desk
	Intake   *intake.Desk
	Approved *approval.Desk // writes that two people approved
	Exports  *export.Desk
	Admin    *admin.Desk
	Erase    *erase.Desk
	Upkeep   *upkeep.Desk
	Contain  *contain.Desk
	Scope    *scope.Desk
	Incident *incident.Desk
	// Messages and Campaigns write to customers; Post sends what they queue.
	Messages  *message.Desk
	Campaigns *campaign.Desk
	Post      *message.Sender
	Claims    *claim.Desk
	Witness   *witness.Set // cosigns the logs, while a server runs
	Changes   *change.Desk // acts that need a second person
	Alarms    *alarm.Desk
	Notify    *notify.Desk
	SignIn    *signin.Desk // people's sessions and passkeys
	Canaries  *canary.Desk
	Mails     *canary.MailDesk // of mail to canaries
	Exposure  *exposure.Desk
	Identity  *identity.Store
	Ledger    *ledger.Ledger
	DB        *db.DB
	// Revisions runs requests; see revision.Tracker.Decide.
	Revisions *revision.Tracker
	Once      *idempotency.Store // what writes with an idempotency key were answered
	Dir       string
	RootKey   string // the file of the root key
	New       bool   // this process made it
	// Followers make alarms of the logs, and Sender sends them, while a server runs them.
	Followers *follow.Runner
	Sender    *notify.Sender
	Reflex    *contain.Reflex // contains by the rules of detection, while a server runs it
	brands    *brands.Store
	stored    []*follow.Loop // what looks at alarms as soon as they are stored
	lock      *os.File
	seen      *ledger.Seen
	feed      *notify.Feed // of events, while a server writes one
	names     sync.Map     // of brands, as they were last read
	voided    sync.Map     // when a row that is not what its log says last raised an alarm
	// restoring: rows may be older than the logs, until the end of the restore seals them.
	restoring bool
}

// Open opens a vault, and makes it where there is none and o.Begin lets it: the data
// directory with mode 0700, the root key with mode 0600.
//
// The embedded database belongs to one process at a time, which holds the directory's
// lock. Over PostgreSQL any number of processes may have the vault open, also with one
// data directory; all need the same root key, and one that has another is refused.
func Open(ctx context.Context, dir string, o Options) (*Vault, error) {
	if o.Database == "" {
		_, err := os.Stat(filepath.Join(dir, DatabaseFile))
		if _, kerr := os.Stat(filepath.Join(dir, RootKeyFile)); err != nil && kerr == nil {
			return nil, fmt.Errorf("%s has a root key and no database beside it: name the PostgreSQL database that it belongs to with --database, or restore %s", dir, DatabaseFile)
		}
	}
	v, err := Prepare(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	if o.Begin == MustExist {
		err = v.there(ctx)
	}
	if err == nil {
		err = v.DB.Migrate(ctx)
	}
	if err == nil {
		err = v.Start(ctx, o)
	}
	if err == nil {
		err = v.checkRules()
	}
	if err == nil {
		err = v.Upkeep.SealRows(ctx)
	}
	if err == nil {
		err = v.Admin.Finish(ctx)
	}
	if err == nil {
		err = v.Disclose.Seal.Mend(ctx)
	}
	if err == nil {
		err = v.Exports.Store.SealRecipients(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// there refuses a database without a vault. One whose restore was killed has no schema
// yet, perhaps, and is told apart.
func (v *Vault) there(ctx context.Context) error {
	if unfinished, err := v.DB.Unfinished(ctx); err != nil {
		return err
	} else if unfinished {
		return db.ErrUnfinished
	}
	version, err := v.DB.Version(ctx)
	if err == nil && version == 0 {
		if err = v.emptied(); err == nil {
			err = ErrNoVault
		}
	}
	return err
}

// emptied returns ErrEmptied for a database without a vault, where the data directory kept
// checkpoints of one.
func (v *Vault) emptied() error {
	seen, err := ledger.ReadSeen(filepath.Join(v.Dir, SeenDir))
	if err == nil && !seen.Empty() {
		err = ErrEmptied
	}
	return err
}

// Prepare opens the directory and the database of a vault, the embedded one locked, and
// nothing else: for who brings the database into being. Start then makes it a vault.
func Prepare(ctx context.Context, dir string, o Options) (_ *Vault, err error) {
	if o.Begin != MustExist {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the data directory: %w", err)
		}
	}
	v := &Vault{Dir: dir, RootKey: rootKey(dir, o)}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.Close())
		}
	}()
	if o.Database == "" {
		err = v.openEmbedded(ctx, o)
	} else {
		err = v.openPostgres(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Vault) openEmbedded(ctx context.Context, o Options) (err error) {
	file := filepath.Join(v.Dir, DatabaseFile)
	if v.lock, err = lock(filepath.Join(v.Dir, LockFile)); err != nil {
		return err
	}
	// The engine gives its write-ahead log the mode of the database.
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("making the database: %w", err)
	}
	v.DB, err = db.OpenSQLite(ctx, file, o.DB)
	return err
}

func (v *Vault) openPostgres(ctx context.Context, o Options) (err error) {
	if _, err := os.Stat(filepath.Join(v.Dir, DatabaseFile)); err == nil {
		return fmt.Errorf("%s holds an embedded vault: a PostgreSQL database needs a data directory of its own; name another with --data", v.Dir)
	}
	v.DB, err = db.OpenPostgres(ctx, o.Database, o.DB)
	return err
}

// Start makes what is not there yet and puts the vault together. Of several processes
// that open one fresh database, one begins; the others see that it did. So a root key
// is made with the vault and never beside one that has its own.
func (v *Vault) Start(ctx context.Context, o Options) error {
	o.RootKey = v.RootKey
	var root keys.Root
	begun := false
	err := v.DB.Alone(ctx, func(q db.Queryer) error {
		var head []byte
		err := q.Row(ctx, sqlGroupHead).Scan(&head)
		if begun = err == nil; begun {
			o.Origin, err = origin(head, o.Origin)
			return err
		}
		if !errors.Is(err, db.ErrNoRows) {
			return fmt.Errorf("reading the database: %w", err)
		}
		if err := v.emptied(); err != nil {
			return err
		}
		if o.Begin == MustExist {
			return ErrNoVault
		}
		if root, err = keys.OpenFile(o.RootKey, true); err == nil {
			err = v.keep()
		}
		if err != nil {
			return err
		}
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		first := o
		if first.Origin == "" {
			first.Origin = DefaultOrigin
		}
		v.assemble(root, first)
		return v.Admin.Begin(ctx, q, brands.Brand{ID: record.Group, Name: brands.GroupName}, now)
	})
	switch {
	case err != nil:
		return fmt.Errorf("beginning the vault: %w", err)
	case !begun:
		v.New = true
		return nil
	case o.Begin == MustBegin:
		return ErrBegun
	}
	if root, err = keys.OpenFile(o.RootKey, false); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the vault was begun with a root key and %s is not there: copy it from a server or a safe that has it, mode 0600, or name it with --root-key: %w", o.RootKey, ErrRootKey)
	}
	if err != nil {
		return err
	}
	if _, err := keys.NewRing(v.DB, root).Current(ctx, record.Group, keys.Log); errors.Is(err, keys.ErrUnwrap) {
		return fmt.Errorf("%s opens none of the vault's keys: copy the one that the vault was begun with over it, or name it with --root-key: %w", o.RootKey, ErrRootKey)
	} else if err != nil {
		return err
	}
	if err := v.keep(); err != nil {
		return err
	}
	v.assemble(root, o)
	return nil
}

// keep begins to keep checkpoints in the data directory, now that it is a vault's.
func (v *Vault) keep() (err error) {
	v.seen, err = ledger.OpenSeen(filepath.Join(v.Dir, SeenDir))
	return err
}

// sqlGroupHead reads the first line that every checkpoint of the group begins with.
const sqlGroupHead = `SELECT checkpoint FROM log_tips WHERE brand = 0 ORDER BY size DESC LIMIT 1`

// origin returns what the names of the vault's logs begin with. A server with another
// would take every checkpoint for a forgery.
func origin(head []byte, wanted string) (string, error) {
	line, _, _ := strings.Cut(string(head), "\n")
	log, _ := entry.SplitOrigin(line)
	have, ok := strings.CutSuffix(log, "/"+brands.GroupName)
	switch {
	case !ok:
		return "", fmt.Errorf("the head of the group's log does not name it: %w", ledger.ErrTampered)
	case wanted != "" && wanted != have:
		return "", fmt.Errorf("%w: they are named %s/BRAND", ErrOrigin, have)
	}
	return have, nil
}

func (v *Vault) assemble(root keys.Root, o Options) {
	ring := keys.NewRing(v.DB, root)
	bs := brands.New(v.DB)
	v.Identity = identity.New(v.DB)
	signer := func(brand string, seed []byte) (note.Signer, error) {
		s, _, err := ledger.NewSigner(o.Origin+"/"+brand, seed)
		return s, err
	}
	alarms := alarm.NewStore(v.DB)
	v.brands = bs
	feed := follow.NewFeed()
	v.Sender = notify.NewSender(v.DB, ring, bs, alarms)
	v.Revisions = revision.New(v.DB)
	o.Ledger.Committed, o.Ledger.Seen, o.Ledger.Void, o.Ledger.Moved = feed.Committed, v.seen, v.void, v.Revisions.Renew
	v.Ledger = ledger.Open(v.DB, ring, func(ctx context.Context, id record.BrandID) (note.Signer, error) {
		b, err := bs.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		seed, err := ring.Current(ctx, id, keys.Log)
		if err != nil {
			return nil, err
		}
		return signer(b.Name, seed.Bytes())
	}, o.Ledger)
	contained := containment.New(v.DB)
	policies := access.NewStore(v.DB)
	exports := export.NewStore(v.DB)
	approvals := approval.NewStore(v.DB, ring)
	mails := message.NewStore(v.DB, ring)
	if !v.restoring {
		bs.Rights, v.Identity.Rights, contained.Rights, policies.Rights, exports.Rights, approvals.Rights, mails.Rights = v.Ledger, v.Ledger, v.Ledger, v.Ledger, v.Ledger, v.Ledger, v.Ledger
	}
	granted := []upkeep.Granted{bs.Granted, v.Identity.Granted, policies.Granted, contained.Granted, exports.Granted, notify.Granted, approvals.Granted, mails.Granted}
	v.Sender.Contained = contained
	door := &door.Door{Contained: contained, Brands: bs, Identity: v.Identity, Access: policies, Ledger: v.Ledger, Revisions: v.Revisions}
	v.Alarms = &alarm.Desk{Door: door, Ledger: v.Ledger, Store: alarms}
	v.Notify = &notify.Desk{Door: door, Ledger: v.Ledger, Ring: ring, DB: v.DB, Alarms: alarms, Sender: v.Sender}
	v.Changes = &change.Desk{Door: door, Ledger: v.Ledger, DB: v.DB, Ring: ring, Revisions: v.Revisions, Loop: change.NewLoop()}
	v.Changes.Receivers = v.Notify
	v.Alarms.Register(v.Changes)
	v.Notify.Register(v.Changes)
	store := seal.New(v.DB, ring)
	exports.Extract = store.Extract
	store.Remembers = func(ctx context.Context, brand record.BrandID) (time.Duration, error) {
		b, err := bs.Whole(ctx, brand)
		return b.Tombstones(), err
	}
	if !v.restoring {
		store.Gone = v.Ledger.Gone
	}
	v.Once = idempotency.New(v.DB)
	v.Disclose = &disclose.Desk{Door: door, Ledger: v.Ledger, Seal: store}
	v.Audit = &audit.Desk{Door: door, Ledger: v.Ledger, Seal: store, Disclose: v.Disclose}
	v.Exports = &export.Desk{Door: door, Ledger: v.Ledger, Seal: store, Disclose: v.Disclose, DB: v.DB, Store: exports, Second: v.Changes}
	v.Intake = &intake.Desk{Door: door, Ledger: v.Ledger, Seal: store}
	v.Followers = follow.New(v.DB, v.Ledger, feed)
	v.Exposure = exposure.New(door, v.Ledger, v.DB, v.Followers)
	canaries := canary.NewStore(v.DB, ring)
	changes := &change.Maker{DB: v.DB, Ledger: v.Ledger, Brands: bs}
	v.SignIn = &signin.Desk{DB: v.DB, Ring: ring, Ledger: v.Ledger, Door: door, Changes: changes}
	door.Presence = v.SignIn
	v.Approved = &approval.Desk{Store: approvals, Door: door, Ledger: v.Ledger, Changes: changes}
	v.Approved.Register(v.Changes)
	v.Intake.Approvals, v.Intake.Queue = v.Approved, intake.NewQueue(v.DB, ring)
	v.Admin = &admin.Desk{DB: v.DB, Ring: ring, Door: door, Ledger: v.Ledger, Changes: changes, Exposure: v.Exposure, Signer: signer}
	v.Admin.Register(v.Changes)
	v.Identity.Begin = v.Admin.BeginLocal
	v.Erase = &erase.Desk{DB: v.DB, Door: door, Ledger: v.Ledger, Seal: store, Waiting: v.Intake}
	v.Erase.Register(v.Changes)
	v.Upkeep = &upkeep.Desk{DB: v.DB, Ring: ring, Door: door, Ledger: v.Ledger, Changes: changes, Seal: store, Erase: v.Erase, Canaries: canaries, Granted: granted,
		Menders: []upkeep.Mender{bs, v.Identity, policies, contained, mails}}
	v.Upkeep.Register(v.Changes)
	v.Contain = &contain.Desk{DB: v.DB, Door: door, Ledger: v.Ledger, Changes: changes, Alarms: alarms, Exports: v.Exports.Store, Second: v.Changes}
	v.Reflex = contain.NewReflex(v.Contain)
	v.Scope = &scope.Desk{Door: door, Ledger: v.Ledger}
	v.Witness = witness.New(v.Ledger)
	v.Incident = &incident.Desk{Door: door, Ledger: v.Ledger, Scopes: v.Scope, Alarms: alarms, Disclose: v.Disclose, DB: v.DB, Rules: sync.OnceValues(v.rules), Forms: sync.OnceValues(notice.Load), Witness: v.Witness}
	v.Incident.Register(v.Changes)
	v.Post = message.NewSender(mails, door, v.Ledger, v.Disclose)
	v.Post.Place, v.Post.Shared = v.place(), v.DB.Engine() == db.Postgres
	v.Messages = &message.Desk{Store: mails, Door: door, Ledger: v.Ledger, Disclose: v.Disclose, Seal: store, Changes: changes, Sender: v.Post}
	v.Messages.Register(v.Changes)
	v.Erase.Waiting = queues{v.Intake, mails}
	v.Campaigns = &campaign.Desk{Messages: v.Messages, Incident: v.Incident, Door: door, Ledger: v.Ledger, Disclose: v.Disclose, Changes: changes, DB: v.DB}
	v.Campaigns.Register(v.Changes)
	v.stored = []*follow.Loop{v.Reflex.Loop, v.Sender.Loop}
	alarm.Watch(v.Followers, alarms, canaries, func(record.BrandID) {
		for _, l := range v.stored {
			l.Wake()
		}
	})
	v.Alarms.Canaries = canaries
	v.Intake.Canaries = canaries
	v.Canaries = &canary.Desk{Door: door, Ledger: v.Ledger, Seal: store, Intake: v.Intake, Store: canaries, Erase: v.Erase.EraseFor}
	v.Canaries.Register(v.Changes)
	v.Claims = &claim.Desk{Door: door, Ledger: v.Ledger, Seal: store, Canaries: canaries, Incidents: v.Incident}
	v.Claims.Register(v.Changes)
	v.Mails = &canary.MailDesk{Door: door, Ledger: v.Ledger, DB: v.DB, Ring: ring, Seal: store, Canaries: canaries, Alarms: alarms}
	v.Exports.Marker, v.Exports.Canaries = v.Canaries, canaries
}

// queues are the queues in which something of a customer waits.
type queues []erase.Waiting

// Forget implements erase.Waiting.
func (l queues) Forget(ctx context.Context, brand record.BrandID, ord record.Ordinal) (func(context.Context) error, error) {
	var drops []func(context.Context) error
	for _, w := range l {
		drop, err := w.Forget(ctx, brand, ord)
		if err != nil {
			return nil, err
		}
		drops = append(drops, drop)
	}
	return func(ctx context.Context) error {
		var failed error
		for _, drop := range drops {
			failed = errors.Join(failed, drop(ctx))
		}
		return failed
	}, nil
}

// Begun reports whether the database, whose schema is there, is a vault already.
func (v *Vault) Begun(ctx context.Context) (bool, error) {
	var head []byte
	err := v.DB.Row(ctx, sqlGroupHead).Scan(&head)
	if errors.Is(err, db.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the database: %w", err)
	}
	return true, nil
}

func rootKey(dir string, o Options) string {
	if o.RootKey != "" {
		return o.RootKey
	}
	return filepath.Join(dir, RootKeyFile)
}

// OwnSocket reports whether this process may serve the socket of the data directory.
// It may where it holds the directory's lock, which it keeps until Close: so of
// several servers over PostgreSQL with one directory the first has the socket.
func (v *Vault) OwnSocket() (bool, error) {
	if v.lock != nil {
		return true, nil
	}
	f, err := lock(filepath.Join(v.Dir, LockFile))
	if errors.Is(err, ErrInUse) {
		return false, nil
	}
	v.lock = f
	return err == nil, err
}

// Watch makes and sends alarms until the context ends. With a path it appends them as
// events to that file, too.
func (v *Vault) Watch(ctx context.Context, log *slog.Logger, events string) error {
	g, ctx := errgroup.WithContext(ctx)
	if events != "" {
		f, err := notify.OpenFeed(events, v.brands, v.Alarms.Store)
		if err != nil {
			return err
		}
		defer f.Close()
		f.Contained = v.Sender.Contained
		v.stored, v.feed = append(v.stored, f.Loop), f
		g.Go(func() error { return f.Run(ctx, log) })
	}
	g.Go(func() error { return v.Ledger.Watch(ctx, log, v.logs, func(f ledger.Fault) { v.urgent(ctx, log, f) }) })
	g.Go(func() error {
		return v.Witness.Run(ctx, log, v.logs, func(x witness.State) { v.unwitnessed(ctx, log, x) })
	})
	g.Go(func() error { return v.Followers.Run(ctx, log) })
	g.Go(func() error { return v.Sender.Run(ctx, log) })
	g.Go(func() error { return v.Notify.Run(ctx, log) })
	g.Go(func() error { return v.Reflex.Run(ctx, log) })
	g.Go(func() error { return v.Mails.Run(ctx, log) })
	g.Go(func() error { return v.Changes.Run(ctx, log) })
	g.Go(func() error { return v.Intake.Run(ctx, log) })
	g.Go(func() error { return v.Post.Run(ctx, log) })
	return g.Wait()
}

// Close ends what runs, and closes the database.
func (v *Vault) Close() error {
	var errs []error
	if v.Ledger != nil {
		errs = append(errs, v.Ledger.Close())
	}
	errs = append(errs, v.seen.Close())
	if v.DB != nil {
		errs = append(errs, v.DB.Close())
	}
	if v.lock != nil {
		errs = append(errs, v.lock.Close())
	}
	return errors.Join(errs...)
}

// lock holds a file until it is closed, or the process ends in whatever way.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	return f, nil
}
