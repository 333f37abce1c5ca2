package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrOtherRoot is returned where the database's keys were wrapped anew under a root
// key that this server does not have.
var ErrOtherRoot = fault.New(fault.Unavailable, "the root key was rotated by another server: copy its root.key over the one of this server")

const (
	sqlReadRoot         = `SELECT id FROM root_key WHERE one = 1`
	sqlPostgresHoldRoot = sqlReadRoot + ` FOR SHARE`
	sqlRootChanged      = `SELECT changed FROM root_key WHERE one = 1`
	sqlChangeRoot       = `UPDATE root_key SET id = $1, changed = $2 WHERE one = 1 AND id = $3`
	sqlWrappedKeys      = `SELECT brand, kind, version, wrapped FROM brand_keys ORDER BY brand, kind, version`
	sqlRewrapKey        = `UPDATE brand_keys SET wrapped = $4 WHERE brand = $1 AND kind = $2 AND version = $3`
)

// adopt has the root key wrap that the database says, and keeps it from being
// rotated until the transaction ends: a key wrapped by an older one would be lost.
func (r *Ring) adopt(ctx context.Context, q db.Queryer) error {
	sql := sqlReadRoot
	if q.Engine() == db.Postgres {
		sql = sqlPostgresHoldRoot
	}
	var id string
	if err := q.Row(ctx, sql).Scan(&id); err != nil {
		return fmt.Errorf("reading which root key is in force: %w", err)
	}
	if id != "" && !r.root.Adopt(ctx, id) {
		return ErrOtherRoot
	}
	return nil
}

// Successor is a root that can be replaced by another. [File] is one.
type Successor interface {
	Root
	// Succeed makes the next root key, or goes on with one that a rotation that did
	// not end has made, durable beside the one in force, whose name is given ("": the
	// only one so far). Both unwrap from then on; Wrap is the old one's. It returns the
	// next one's name, and whether the one in force is that already: then only Retire
	// is left to do.
	Succeed(ctx context.Context, inForce string) (next string, committed bool, err error)
	// WrapNext wraps with the next one.
	WrapNext(ctx context.Context, plain, aad []byte) ([]byte, error)
	// Retire destroys all but the named root key.
	Retire(ctx context.Context, id string) error
}

// RotateRoot replaces the root key: all keys of all brands are wrapped anew in one
// transaction, and then the old root key is destroyed. Killed at any point it leaves
// a vault that opens; run again, it goes on. It returns how many keys it wrapped.
//
// It is refused while a backup runs. begin runs when nothing refuses it any more: it logs
// the rotation, and returns when that was.
func (r *Ring) RotateRoot(ctx context.Context, begin func(ctx context.Context) (time.Time, error)) (int, error) {
	root, ok := r.root.(Successor)
	if !ok {
		return 0, errors.New("this root key is not kept by the vault: rotate it where it is kept")
	}
	ctx, hold, err := r.HoldRoot(ctx, ForRotation)
	if err != nil {
		return 0, err
	}
	defer hold.Release(ctx)
	at, err := begin(ctx)
	if err != nil {
		return 0, err
	}
	var inForce string
	if err := r.db.Row(ctx, sqlReadRoot).Scan(&inForce); err != nil {
		return 0, fmt.Errorf("reading which root key is in force: %w", err)
	}
	if inForce != "" && !root.Adopt(ctx, inForce) {
		return 0, ErrOtherRoot
	}
	next, committed, err := root.Succeed(ctx, inForce)
	if err != nil {
		return 0, fmt.Errorf("making the next root key: %w", err)
	}
	// A crash from here on leaves a file with both.
	n := 0
	if !committed {
		if n, err = r.rewrapAll(ctx, hold, root, inForce, next, at); err != nil {
			return 0, fmt.Errorf("wrapping keys under the next root key: %w", err)
		}
	}
	// The database knows the next one only. A crash from here on leaves the old one in
	// the file, where it opens older copies of the database until Retire is run.
	if err := root.Retire(ctx, next); err != nil {
		return n, fmt.Errorf("the keys are wrapped anew, and the old root key is still in its file; run it again: %w", err)
	}
	return n, nil
}

func (r *Ring) rewrapAll(ctx context.Context, hold *RootHold, root Successor, inForce, next string, at time.Time) (int, error) {
	type row struct {
		n       name
		wrapped []byte
	}
	var rows []row
	err := r.db.Tx(ctx, func(q db.Queryer) error {
		rows = nil
		// The update first: it waits for those who are storing keys, and what they stored
		// is then seen below.
		n, err := q.Exec(ctx, sqlChangeRoot, next, at.UnixMicro(), inForce)
		if err == nil && n != 1 {
			err = ErrOtherRoot
		}
		if err == nil {
			err = hold.check(ctx, q) // a backup that began since has copied the keys as they are
		}
		if err != nil {
			return err
		}
		err = q.Rows(ctx, func(rd db.Row) error {
			var x row
			var brand int64
			var kind string
			if err := rd.Scan(&brand, &kind, &x.n.version, &x.wrapped); err != nil {
				return err
			}
			x.n.brand, x.n.kind = record.BrandID(brand), Kind(kind)
			rows = append(rows, x)
			return nil
		}, sqlWrappedKeys)
		if err != nil {
			return err
		}
		var stmts []db.Stmt
		for _, x := range rows {
			plain, err := root.Unwrap(ctx, x.wrapped, x.n.aad())
			if err != nil {
				return fmt.Errorf("the %s key of brand %d: %w", x.n.kind, x.n.brand, err)
			}
			wrapped, err := root.WrapNext(ctx, plain, x.n.aad())
			if err != nil {
				return err
			}
			stmts = append(stmts, db.Stmt{SQL: sqlRewrapKey, Args: []any{int64(x.n.brand), string(x.n.kind), x.n.version, wrapped}})
		}
		return q.Batch(ctx, stmts)
	})
	if errors.Is(err, db.ErrOutcomeUnknown) {
		var id string
		if rerr := r.db.Row(ctx, sqlReadRoot).Scan(&id); rerr == nil && id == next {
			err = nil
		}
	}
	return len(rows), err
}

// RootChanged is when the root key was last rotated, the beginning of 1970 if it never was.
func (r *Ring) RootChanged(ctx context.Context) (time.Time, error) {
	var at int64
	if err := r.db.Row(ctx, sqlRootChanged).Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("reading when the root key was rotated: %w", err)
	}
	return time.UnixMicro(at).UTC(), nil
}
