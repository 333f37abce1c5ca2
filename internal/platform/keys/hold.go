package keys

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Reason is what the root key is held for.
type Reason string

// The reasons. Any number of backups run at a time, and a rotation alone.
const (
	ForBackup   Reason = "backup"
	ForRotation Reason = "rotation"
)

var (
	// ErrBackup is returned where the root key cannot be rotated because a backup runs.
	ErrBackup = fault.New(fault.Conflict, "a backup is running")
	// ErrRootRotation is returned where the root key is being rotated.
	ErrRootRotation = fault.New(fault.Conflict, "the root key is being rotated")
	// ErrRootReleased is returned where another server took the root key from this one,
	// which was silent for too long.
	ErrRootReleased = fault.New(fault.Changed, "the database did not answer for so long that the root key may have been rotated meanwhile: begin again")
)

const (
	sqlPostgresLockRoot = sqlReadRoot + ` FOR UPDATE`
	sqlDropHolds        = `DELETE FROM root_holds WHERE until <= $1`
	sqlReadHolds        = `SELECT holder, what, since FROM root_holds ORDER BY since, holder`
	sqlHoldRoot         = `INSERT INTO root_holds (holder, what, since, until) VALUES ($1, $2, $3, $4)`
	sqlKeepHold         = `UPDATE root_holds SET until = $2 WHERE holder = $1`
	sqlReleaseHold      = `DELETE FROM root_holds WHERE holder = $1`
)

const (
	// holdLease is how long a server that was killed keeps the others out.
	holdLease = 20 * time.Second
	// holdEvery is how often a hold is renewed.
	holdEvery = 5 * time.Second
)

// RootHold keeps backups and rotations of the root key apart, at all servers of a
// database, until it is released. A backup that a rotation overtakes would hold keys that
// nothing opens any more.
type RootHold struct {
	r       *Ring
	holder  string
	release sync.Once
	cancel  context.CancelCauseFunc
	done    chan struct{}
}

// HoldRoot takes the root key for a reason. It is ErrBackup or ErrRootRotation where
// another reason has it. The returned context ends when the hold is lost, with
// ErrRootReleased as its cause.
func (r *Ring) HoldRoot(ctx context.Context, why Reason) (context.Context, *RootHold, error) {
	h := &RootHold{r: r, holder: r.process + "." + rand.Text(), done: make(chan struct{})}
	err := r.db.Tx(ctx, func(q db.Queryer) error {
		sql := sqlReadRoot // the transaction holds the one write lock already
		if q.Engine() == db.Postgres {
			sql = sqlPostgresLockRoot
		}
		var id string
		if err := q.Row(ctx, sql).Scan(&id); err != nil {
			return err
		}
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		if _, err := q.Exec(ctx, sqlDropHolds, now.UnixMicro()); err != nil {
			return err
		}
		var dead []db.Stmt
		var held error
		err = q.Rows(ctx, func(row db.Row) error {
			var holder, what string
			var since int64
			if err := row.Scan(&holder, &what, &since); err != nil {
				return err
			}
			if q.Engine() == db.SQLite && !strings.HasPrefix(holder, r.process+".") {
				// One process has the database: whoever held the root key was killed.
				dead = append(dead, db.Stmt{SQL: sqlReleaseHold, Args: []any{holder}})
				return nil
			}
			if held == nil && (why == ForRotation || Reason(what) == ForRotation) {
				held = heldBy(Reason(what), db.Time(since))
			}
			return nil
		}, sqlReadHolds)
		if err == nil {
			err = held
		}
		if err != nil {
			return err
		}
		return q.Batch(ctx, append(dead, db.Stmt{SQL: sqlHoldRoot, Args: []any{h.holder, string(why), now.UnixMicro(), now.Add(holdLease).UnixMicro()}}))
	})
	if err != nil {
		return nil, nil, fmt.Errorf("taking the root key for a %s: %w", why, err)
	}
	held, cancel := context.WithCancelCause(ctx)
	h.cancel = cancel
	go h.renew(held)
	return held, h, nil
}

func heldBy(what Reason, since time.Time) error {
	at := since.Format("2006-01-02 15:04:05 UTC")
	if what == ForBackup {
		return fmt.Errorf("%w since %s, and only the root key of that time opens it: wait for it, or stop it; the backup of a server that was killed counts for %s more", ErrBackup, at, holdLease)
	}
	return fmt.Errorf("%w since %s: wait for it; the rotation of a server that was killed counts for %s more", ErrRootRotation, at, holdLease)
}

func (h *RootHold) renew(ctx context.Context) {
	defer close(h.done)
	tick := time.NewTicker(holdEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// A database that does not answer now may answer in time: Check decides.
		if err := h.Check(ctx); errors.Is(err, ErrRootReleased) {
			h.cancel(err)
			return
		}
	}
}

// Check renews the hold. It is ErrRootReleased where another server has taken the root
// key since: then what was done with it may be worth nothing.
func (h *RootHold) Check(ctx context.Context) error { return h.check(ctx, h.r.db) }

func (h *RootHold) check(ctx context.Context, q db.Queryer) error {
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	n, err := q.Exec(ctx, sqlKeepHold, h.holder, now.Add(holdLease).UnixMicro())
	if err == nil && n != 1 {
		err = ErrRootReleased
	}
	if err != nil {
		return fmt.Errorf("holding the root key: %w", err)
	}
	return nil
}

// Release gives the root key up. What it cannot delete ends with its lease.
func (h *RootHold) Release(ctx context.Context) {
	h.release.Do(func() {
		h.cancel(nil)
		<-h.done
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), holdEvery)
		defer cancel()
		h.r.db.Exec(ctx, sqlReleaseHold, h.holder)
	})
}

// Opens is an error where a root opens no key of some brand in a state of the database.
// Where it opens one, another that does not open is damaged and not of another root.
func Opens(ctx context.Context, q db.Queryer, root Root) error {
	fails := map[record.BrandID]error{} // by brand; nil once a key opened
	err := q.Rows(ctx, func(row db.Row) error {
		var n name
		var brand int64
		var kind string
		var wrapped []byte
		if err := row.Scan(&brand, &kind, &n.version, &wrapped); err != nil {
			return err
		}
		n.brand, n.kind = record.BrandID(brand), Kind(kind)
		if was, seen := fails[n.brand]; !seen || was != nil {
			_, fails[n.brand] = root.Unwrap(ctx, wrapped, n.aad())
		}
		return nil
	}, sqlWrappedKeys)
	for brand, fail := range fails {
		if fail != nil && err == nil {
			err = fmt.Errorf("the keys of brand %d: %w", brand, fail)
		}
	}
	return err
}
