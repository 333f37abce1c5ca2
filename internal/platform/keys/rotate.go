package keys

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
)

var (
	// ErrNoRotation is returned for a kind of key that cannot be rotated.
	ErrNoRotation = fault.New(fault.Internal, "keys of this kind are not rotated: a brand has kek, index and token, the group has incident")
	// ErrRotated is returned where a key was rotated since it was read: read it again.
	ErrRotated = fault.New(fault.Conflict, "the key was rotated concurrently: retry")
	// ErrLease is returned to one who works on a rotation that another has taken over.
	ErrLease = fault.New(fault.Internal, "another server works on this rotation")
	// ErrGenerations is returned when a token key has no generation left.
	ErrGenerations = fault.New(fault.Conflict, "the token key has no generation left: a token holds its generation in one byte")
)

// maxTokenVersion is what the generation byte of a token can say.
const maxTokenVersion = 255

// Rotation is the replacement of a key by its next version. Until it has ended both
// are there: what is made is made with the new one, and what is there is moved to it,
// customer by customer, by one server at a time.
type Rotation struct {
	Brand    record.BrandID
	Kind     Kind
	Version  int       // the new one
	Position int64     // all customers below this ordinal have been moved
	Bound    int64     // the first ordinal that was never under the old key
	Done     int64     // customers moved; short by a moment's work after a kill
	Failed   int64     // that do not open
	Began    time.Time // by the database's clock
	Ended    time.Time // zero: not yet
	By       Starter
	holder   string
}

// Starter is who began a rotation, so that its end is logged in their name.
type Starter struct {
	Principal, Credential, Lineage uint64
	Role                           string
}

// Rotates reports whether keys of this kind can be rotated at a brand.
func Rotates(brand record.BrandID, kind Kind) bool {
	if brand == record.Group {
		return kind == Incident
	}
	return kind == KEK || kind == Index || kind == Token
}

const (
	sqlLockKeys         = `SELECT version FROM brand_keys WHERE brand = $1 AND kind = $2 ORDER BY version`
	sqlPostgresLockKeys = sqlLockKeys + ` FOR UPDATE`
	sqlHoldKey          = `SELECT version FROM brand_keys WHERE brand = $1 AND kind = $2 AND version = $3`
	sqlPostgresHoldKey  = sqlHoldKey + ` FOR KEY SHARE`
	sqlNewestVersion    = `SELECT coalesce(max(version), 0) FROM brand_keys WHERE brand = $1 AND kind = $2`
	sqlAllKeys          = `SELECT version, wrapped FROM brand_keys WHERE brand = $1 AND kind = $2 ORDER BY version DESC`
	sqlListKeys         = `SELECT kind, version, created FROM brand_keys WHERE brand = $1 ORDER BY kind, version`
	sqlEveryKey         = `SELECT brand, kind, version FROM brand_keys`
	sqlDestroyKeys      = `DELETE FROM brand_keys WHERE brand = $1 AND kind = $2 AND version < $3`
	rotationColumns     = `brand, kind, version, position, bound, done, failed, began, ended, principal, credential, lineage, role`
	sqlInsertRotation   = `INSERT INTO rotations (` + rotationColumns + `, holder, lease) VALUES ($1, $2, $3, 0, $4, 0, 0, $5, $6, $7, $8, $9, $10, '', 0)`
	sqlOpenRotation     = `SELECT ` + rotationColumns + ` FROM rotations WHERE brand = $1 AND kind = $2 AND ended = 0`
	sqlListRotations    = `SELECT ` + rotationColumns + ` FROM rotations WHERE brand = $1 ORDER BY began, kind, version`
	sqlWaitingRotations = `SELECT ` + rotationColumns + ` FROM rotations WHERE ended = 0 AND (failed = 0 OR position < bound) AND (holder = $1 OR lease < $2) ORDER BY began, brand, kind`
	sqlClaimRotation    = `UPDATE rotations SET holder = $4, lease = $5 WHERE brand = $1 AND kind = $2 AND version = $3 AND ended = 0 AND (failed = 0 OR position < bound) AND (holder = $4 OR lease < $6)`
	sqlAdvanceRotation  = `UPDATE rotations SET position = $4, done = done + $5, failed = $6, lease = $7 WHERE brand = $1 AND kind = $2 AND version = $3 AND ended = 0 AND holder = $8`
	sqlReviveRotation   = `UPDATE rotations SET position = 0, failed = 0 WHERE brand = $1 AND kind = $2 AND version = $3 AND ended = 0 AND failed > 0`
	sqlEndRotation      = `UPDATE rotations SET ended = $4 WHERE brand = $1 AND kind = $2 AND version = $3 AND ended = 0 AND holder = $5`
	sqlReleaseAll       = `UPDATE rotations SET lease = 0 WHERE ended = 0`
	sqlReleaseRotations = `UPDATE rotations SET lease = 0 WHERE holder = $1 AND ended = 0`
)

// Lease is how long a server may be silent before another takes its rotation over.
// Two at once would do no harm, only the same work twice.
const Lease = 10 * time.Second

func scanRotation(row db.Row) (*Rotation, error) {
	var r Rotation
	var brand, began, ended int64
	var kind string
	err := row.Scan(&brand, &kind, &r.Version, &r.Position, &r.Bound, &r.Done, &r.Failed, &began, &ended,
		&r.By.Principal, &r.By.Credential, &r.By.Lineage, &r.By.Role)
	if err != nil {
		return nil, err
	}
	r.Brand, r.Kind, r.Began = record.BrandID(brand), Kind(kind), time.UnixMicro(began).UTC()
	if ended != 0 {
		r.Ended = time.UnixMicro(ended).UTC()
	}
	return &r, nil
}

// Rotate makes the next version of a key, inside the caller's transaction, and the
// rotation that moves the customers below the ordinal bound to it. Where one of this
// key has not ended it goes on with that; one that stood still starts over. It waits
// for the transactions that hold the old version, so that afterwards nothing is made
// with it any more.
func (r *Ring) Rotate(ctx context.Context, q db.Queryer, brand record.BrandID, kind Kind, bound record.Ordinal, by Starter, at time.Time) (*Rotation, error) {
	if !Rotates(brand, kind) {
		return nil, ErrNoRotation
	}
	newest, err := r.lockKeys(ctx, q, brand, kind)
	if err != nil {
		return nil, err
	}
	switch old, err := scanRotation(q.Row(ctx, sqlOpenRotation, int64(brand), string(kind))); {
	case err == nil:
		if _, err := q.Exec(ctx, sqlReviveRotation, int64(brand), string(kind), old.Version); err != nil {
			return nil, fmt.Errorf("going on with the rotation of the %s key: %w", kind, err)
		}
		if old.Failed > 0 {
			old.Position, old.Failed = 0, 0
		}
		return old, nil
	case !errors.Is(err, db.ErrNoRows):
		return nil, fmt.Errorf("reading the rotations of the %s key: %w", kind, err)
	}
	if kind == Token && newest >= maxTokenVersion {
		return nil, ErrGenerations
	}
	plain := make([]byte, keyBytes)
	rand.Read(plain)
	n := name{brand, kind, newest + 1}
	if err := r.insert(ctx, q, n, plain, at); err != nil {
		return nil, err
	}
	out := &Rotation{Brand: brand, Kind: kind, Version: n.version, Bound: int64(bound), Began: at, By: by}
	ended := int64(0)
	if kind == Token { // a token says its generation: there is nothing to move
		out.Ended, out.Bound, ended = at, 0, at.UnixMicro()
	}
	_, err = q.Exec(ctx, sqlInsertRotation, int64(brand), string(kind), n.version, out.Bound, at.UnixMicro(), ended,
		int64(by.Principal), int64(by.Credential), int64(by.Lineage), by.Role)
	if err != nil {
		return nil, fmt.Errorf("storing the rotation of the %s key: %w", kind, err)
	}
	// The newest version is one of the things that are remembered by revision.
	return out, revision.Bump(ctx, q)
}

// lockKeys waits for whoever holds a version, keeps others from it until the
// transaction ends, and returns the newest.
func (r *Ring) lockKeys(ctx context.Context, q db.Queryer, brand record.BrandID, kind Kind) (newest int, err error) {
	sql := sqlLockKeys
	if q.Engine() == db.Postgres {
		sql = sqlPostgresLockKeys
	}
	err = q.Rows(ctx, func(row db.Row) error { return row.Scan(&newest) }, sql, int64(brand), string(kind))
	if err == nil && newest == 0 {
		err = ErrNoKey
	}
	if err != nil {
		return 0, fmt.Errorf("locking the %s key of brand %d: %w", kind, brand, err)
	}
	return newest, nil
}

// Use says with which version of a key something was prepared.
type Use struct {
	Brand   record.BrandID
	Kind    Kind
	Version int
}

// Hold keeps keys from being rotated until the caller's transaction ends. It is
// ErrRotated where one of the versions is not the newest any more.
func (r *Ring) Hold(ctx context.Context, q db.Queryer, uses ...Use) error {
	if len(uses) == 0 {
		return nil
	}
	sql := sqlHoldKey
	if q.Engine() == db.Postgres {
		sql = sqlPostgresHoldKey
	}
	newest, held := make([]int, len(uses)), make([]int, len(uses))
	var stmts []db.Stmt
	for i, u := range uses {
		stmts = append(stmts,
			db.Stmt{SQL: sql, Args: []any{int64(u.Brand), string(u.Kind), u.Version}, Scan: func(row db.Row) error { return row.Scan(&held[i]) }},
			// A second statement: the first may have waited for a rotation, whose row it did not see.
			db.Stmt{SQL: sqlNewestVersion, Args: []any{int64(u.Brand), string(u.Kind)}, Scan: func(row db.Row) error { return row.Scan(&newest[i]) }})
	}
	if err := q.Batch(ctx, stmts); err != nil {
		return fmt.Errorf("holding keys: %w", err)
	}
	for i, u := range uses {
		if held[i] != u.Version || newest[i] != u.Version {
			return ErrRotated
		}
	}
	return nil
}

// Newest is a statement that reads the newest version of a key, for a batch whose
// other statements have to be of the time before a rotation or after it.
func Newest(brand record.BrandID, kind Kind, into *int) db.Stmt {
	return db.Stmt{SQL: sqlNewestVersion, Args: []any{int64(brand), string(kind)}, Scan: func(row db.Row) error { return row.Scan(into) }}
}

// All returns every version of a key, the newest first. More than one is there while
// a rotation runs; token keys stay for ever.
func (r *Ring) All(ctx context.Context, brand record.BrandID, kind Kind) ([]Key, error) {
	var out []Key
	var wrapped [][]byte
	err := r.db.Rows(ctx, func(row db.Row) error {
		var k Key
		var w []byte
		if err := row.Scan(&k.Version, &w); err != nil {
			return err
		}
		out, wrapped = append(out, k), append(wrapped, slices.Clone(w))
		return nil
	}, sqlAllKeys, int64(brand), string(kind))
	if err == nil && len(out) == 0 {
		err = ErrNoKey
	}
	if err != nil {
		return nil, fmt.Errorf("reading the %s keys of brand %d: %w", kind, brand, err)
	}
	for i := range out {
		n := name{brand, kind, out[i].Version}
		if out[i], err = r.unwrap(ctx, n, wrapped[i]); err != nil {
			return nil, err
		}
		r.mu.Lock()
		r.opened[n] = out[i]
		r.mu.Unlock()
	}
	return out, nil
}

// Listed is a key as it is listed: without what it is.
type Listed struct {
	Kind    Kind
	Version int
	Created time.Time
}

// List lists the keys of a brand.
func (r *Ring) List(ctx context.Context, brand record.BrandID) ([]Listed, error) {
	var out []Listed
	err := r.db.Rows(ctx, func(row db.Row) error {
		var l Listed
		var kind string
		var created int64
		err := row.Scan(&kind, &l.Version, &created)
		l.Kind, l.Created = Kind(kind), time.UnixMicro(created).UTC()
		out = append(out, l)
		return err
	}, sqlListKeys, int64(brand))
	if err != nil {
		return nil, fmt.Errorf("listing the keys of brand %d: %w", brand, err)
	}
	return out, nil
}

// Rotations lists the rotations of a brand, oldest first.
func (r *Ring) Rotations(ctx context.Context, brand record.BrandID) ([]*Rotation, error) {
	out, err := r.rotations(ctx, r.db, sqlListRotations, int64(brand))
	if err != nil {
		return nil, fmt.Errorf("listing the rotations of brand %d: %w", brand, err)
	}
	return out, nil
}

func (r *Ring) rotations(ctx context.Context, q db.Queryer, sql string, args ...any) ([]*Rotation, error) {
	var out []*Rotation
	err := q.Rows(ctx, func(row db.Row) error {
		rot, err := scanRotation(row)
		out = append(out, rot)
		return err
	}, sql, args...)
	return out, err
}

// Claim takes a rotation that nobody works on, or whose server fell silent; nil if
// there is none. The holder is a name that no other process has.
func (r *Ring) Claim(ctx context.Context, holder string) (*Rotation, error) {
	var out *Rotation
	now, err := r.db.Now(ctx)
	if err != nil {
		return nil, err
	}
	list, err := r.rotations(ctx, r.db, sqlWaitingRotations, holder, now.UnixMicro())
	if err != nil || len(list) == 0 {
		return nil, err // mostly there is none, and no transaction needed
	}
	err = r.db.Tx(ctx, func(q db.Queryer) error {
		out = nil
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		for _, rot := range list {
			n, err := q.Exec(ctx, sqlClaimRotation, int64(rot.Brand), string(rot.Kind), rot.Version, holder, now.Add(Lease).UnixMicro(), now.UnixMicro())
			if err != nil {
				return err
			}
			if n == 1 {
				rot.holder, out = holder, rot
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("taking over a rotation: %w", err)
	}
	return out, nil
}

// Release gives up what a holder works on, so that another need not wait for its
// lease to end.
func (r *Ring) Release(ctx context.Context, holder string) error {
	_, err := r.db.Exec(ctx, sqlReleaseRotations, holder)
	return err
}

// Stalled reports whether a rotation stands still: it has been everywhere, and some
// customers do not open.
func (rot *Rotation) Stalled() bool {
	return rot.Ended.IsZero() && rot.Failed > 0 && rot.Position >= rot.Bound
}

// Abandoned ends every lease. Only for one who knows that no other process is there,
// as the embedded database's lock says.
func (r *Ring) Abandoned(ctx context.Context) error {
	_, err := r.db.Exec(ctx, sqlReleaseAll)
	return err
}

// Advance notes how far a rotation has come, how many more it moved and how many more
// do not open, and renews the lease.
func (r *Ring) Advance(ctx context.Context, rot *Rotation, position, done, failed int64) error {
	return r.note(ctx, rot, position, done, rot.Failed+failed)
}

// Stall notes that so many customers do not open: the rotation stands still until it
// is asked for again, and the old key stays.
func (r *Ring) Stall(ctx context.Context, rot *Rotation, failed int64) error {
	return r.note(ctx, rot, rot.Bound, 0, failed)
}

func (r *Ring) note(ctx context.Context, rot *Rotation, position, done, failed int64) error {
	err := r.db.Tx(ctx, func(q db.Queryer) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		n, err := q.Exec(ctx, sqlAdvanceRotation, int64(rot.Brand), string(rot.Kind), rot.Version, position, done, failed, now.Add(Lease).UnixMicro(), rot.holder)
		if err == nil && n != 1 {
			err = ErrLease
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("noting how far a rotation has come: %w", err)
	}
	rot.Position, rot.Done, rot.Failed = position, rot.Done+done, failed
	return nil
}

// Finish destroys the old versions of a key and ends the rotation. The caller has
// seen to it that nothing is left under them.
func (r *Ring) Finish(ctx context.Context, rot *Rotation) error {
	err := r.db.Tx(ctx, func(q db.Queryer) error {
		if _, err := r.lockKeys(ctx, q, rot.Brand, rot.Kind); err != nil {
			return err
		}
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		n, err := q.Exec(ctx, sqlEndRotation, int64(rot.Brand), string(rot.Kind), rot.Version, now.UnixMicro(), rot.holder)
		if err == nil && n != 1 {
			err = ErrLease
		}
		if err != nil {
			return err
		}
		_, err = q.Exec(ctx, sqlDestroyKeys, int64(rot.Brand), string(rot.Kind), rot.Version)
		return err
	})
	if err != nil {
		return fmt.Errorf("destroying the old %s key: %w", rot.Kind, err)
	}
	return r.Forget(ctx)
}

// Forget drops from memory what is not in the database any more, so that a destroyed
// key does not live on in a server that once used it.
func (r *Ring) Forget(ctx context.Context) error {
	there := map[name]bool{}
	err := r.db.Rows(ctx, func(row db.Row) error {
		var brand int64
		var kind string
		var version int
		err := row.Scan(&brand, &kind, &version)
		there[name{record.BrandID(brand), Kind(kind), version}] = true
		return err
	}, sqlEveryKey)
	if err != nil {
		return fmt.Errorf("reading which keys there are: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range r.opened {
		if !there[n] {
			delete(r.opened, n)
			delete(r.months, n)
		}
	}
	return nil
}
