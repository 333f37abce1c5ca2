// Package vault opens a vault: its database, its root key, and the desks that serve
// from them.
package vault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/mod/sumdb/note"

	"github.com/cloakroom/cloakroom/internal/access"
	"github.com/cloakroom/cloakroom/internal/admin"
	"github.com/cloakroom/cloakroom/internal/admit"
	"github.com/cloakroom/cloakroom/internal/brands"
	"github.com/cloakroom/cloakroom/internal/db"
	"github.com/cloakroom/cloakroom/internal/disclose"
	"github.com/cloakroom/cloakroom/internal/identity"
	"github.com/cloakroom/cloakroom/internal/intake"
	"github.com/cloakroom/cloakroom/internal/keys"
	"github.com/cloakroom/cloakroom/internal/ledger"
	"github.com/cloakroom/cloakroom/internal/record"
	"github.com/cloakroom/cloakroom/internal/seal"
)

// The files of a data directory.
const (
	DatabaseFile = "vault.db"
	RootKeyFile  = "root.key"
	LockFile     = "lock"
	SocketFile   = "cloakroom.sock"
)

// ErrInUse is returned where another process has the data directory open.
var ErrInUse = errors.New("another process has this data directory open: talk to it, or stop it first")

// Options configure a vault.
type Options struct {
	// Origin begins the names of the vault's logs. Empty means DefaultOrigin.
	Origin string
	// Database is a PostgreSQL connection string. Empty means the embedded database
	// in the data directory.
	Database string
	DB       db.Options
	Ledger   ledger.Options
}

// DefaultOrigin is the origin of a vault that was not given one.
const DefaultOrigin = "cloakroom.local"

// Vault is an open vault.
type Vault struct {
	Disclose *disclose.Desk
	Intake   *intake.Desk
	Admin    *admin.Desk
	Identity *identity.Store
	Ledger   *ledger.Ledger
	DB       *db.DB
	Dir      string
	lock     *os.File
}

// Open opens the vault of a data directory, and makes both where there are none: the
// directory with mode 0700, the root key with mode 0600.
func Open(ctx context.Context, dir string, o Options) (_ *Vault, err error) {
	if o.Origin == "" {
		o.Origin = DefaultOrigin
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	v := &Vault{Dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.Close())
		}
	}()
	if v.lock, err = lock(filepath.Join(dir, LockFile)); err != nil {
		return nil, err
	}
	if o.Database == "" {
		// The engine gives its write-ahead log the mode of the database.
		f, err := os.OpenFile(filepath.Join(dir, DatabaseFile), os.O_CREATE|os.O_RDWR, 0o600)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("making the database: %w", err)
		}
	}
	if o.Database != "" {
		v.DB, err = db.OpenPostgres(ctx, o.Database, o.DB)
	} else {
		v.DB, err = db.OpenSQLite(ctx, filepath.Join(dir, DatabaseFile), o.DB)
	}
	if err != nil {
		return nil, err
	}
	if err := v.DB.Migrate(ctx); err != nil {
		return nil, err
	}
	begun, err := begun(ctx, v.DB)
	if err != nil {
		return nil, err
	}
	// A key is made with the vault and never beside one that has lost its own.
	root, err := keys.OpenFile(filepath.Join(dir, RootKeyFile), !begun)
	if err != nil {
		return nil, err
	}
	v.assemble(root, o)
	if err := v.Disclose.Seal.Mend(ctx); err != nil {
		return nil, err
	}
	if !begun {
		err = v.DB.Tx(ctx, func(q db.Queryer) error {
			now, err := q.Now(ctx)
			if err != nil {
				return err
			}
			return v.Admin.Begin(ctx, q, brands.Brand{ID: record.Group, Name: brands.GroupName}, 0, now)
		})
		if err != nil {
			return nil, fmt.Errorf("beginning the vault: %w", err)
		}
	}
	return v, nil
}

func (v *Vault) assemble(root keys.Root, o Options) {
	ring := keys.NewRing(v.DB, root)
	bs := brands.New(v.DB)
	v.Identity = identity.New(v.DB)
	signer := func(brand string, seed []byte) (note.Signer, error) {
		s, _, err := ledger.NewSigner(o.Origin+"/"+brand, seed)
		return s, err
	}
	v.Ledger = ledger.Open(v.DB, func(ctx context.Context, id record.BrandID) (note.Signer, error) {
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
	door := &admit.Door{Brands: bs, Identity: v.Identity, Access: access.NewStore(v.DB), Ledger: v.Ledger}
	store := seal.New(v.DB, ring)
	v.Disclose = &disclose.Desk{Door: door, Ledger: v.Ledger, Seal: store}
	v.Intake = &intake.Desk{Door: door, Ledger: v.Ledger, Seal: store}
	v.Admin = &admin.Desk{DB: v.DB, Ring: ring, Door: door, Ledger: v.Ledger, Seal: store, Signer: signer}
}

const sqlBegun = `SELECT count(*) FROM log_heads WHERE brand = 0`

func begun(ctx context.Context, d *db.DB) (bool, error) {
	var n int
	if err := d.Row(ctx, sqlBegun).Scan(&n); err != nil {
		return false, fmt.Errorf("reading the database: %w", err)
	}
	return n > 0, nil
}

// Close ends what runs, and closes the database.
func (v *Vault) Close() error {
	var errs []error
	if v.Ledger != nil {
		errs = append(errs, v.Ledger.Close())
	}
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
