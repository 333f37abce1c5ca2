package follow

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	sqlTake   = `UPDATE followers SET holder = $3, until = $4 WHERE follower = $1 AND brand = $2 AND (holder = $3 OR until <= $5)`
	sqlRenew  = `UPDATE followers SET until = $4 WHERE follower = $1 AND brand = $2 AND holder = $3`
	sqlGiveUp = `DELETE FROM followers WHERE follower = $1 AND brand = $2 AND holder = $3 AND next = 0`
	sqlHeld   = `SELECT follower, brand FROM followers WHERE until > $1`
)

// ErrLost is returned where another server has the lease.
var ErrLost = fault.New(fault.Internal, "another server has the lease")

// Work is a piece of work that one server at a time does for a brand.
type Work struct {
	Name  string
	Brand record.BrandID
}

// Leases takes leases for one server, in the same table in which followers have theirs.
// They go by the database's clock.
type Leases struct {
	db     *db.DB
	server string
}

// NewLeases returns leases for one server, under a name of their own.
func NewLeases(d *db.DB) *Leases { return &Leases{d, rand.Text()} }

// Take takes or renews a lease, and reports whether this server has it.
func (l *Leases) Take(ctx context.Context, w Work, lease time.Duration) (held bool, err error) {
	err = l.db.Tx(ctx, func(q db.Queryer) error {
		err := l.TakeIn(ctx, q, w, lease)
		held = err == nil
		if errors.Is(err, ErrLost) {
			return nil
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("taking the lease on %s: %w", w.Name, err)
	}
	return held, nil
}

// TakeIn takes or renews a lease inside a transaction, or fails with ErrLost.
func (l *Leases) TakeIn(ctx context.Context, q db.Queryer, w Work, lease time.Duration) error {
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	var n int64
	err = q.Batch(ctx, []db.Stmt{
		{SQL: sqlBegin, Args: []any{w.Name, int64(w.Brand)}},
		{SQL: sqlTake, Args: []any{w.Name, int64(w.Brand), l.server, now.Add(lease).UnixMicro(), now.UnixMicro()}, Affected: &n},
	})
	if err == nil && n != 1 {
		err = ErrLost
	}
	return err
}

// KeepIn renews a lease that this server took, or with 0 gives it up, inside a
// transaction that writes under it. It fails with ErrLost if another server took it
// since.
func (l *Leases) KeepIn(ctx context.Context, q db.Queryer, w Work, lease time.Duration) error {
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	sql, args := sqlRenew, []any{w.Name, int64(w.Brand), l.server, now.Add(lease).UnixMicro()}
	if lease == 0 {
		sql, args = sqlGiveUp, args[:3]
	}
	n, err := q.Exec(ctx, sql, args...)
	if err == nil && n != 1 {
		err = ErrLost
	}
	return err
}

// Held returns the work on which any server has a lease.
func (l *Leases) Held(ctx context.Context) (map[Work]bool, error) {
	now, err := l.db.Now(ctx)
	if err != nil {
		return nil, err
	}
	out := map[Work]bool{}
	err = l.db.Rows(ctx, func(r db.Row) error {
		var w Work
		var brand int64
		err := r.Scan(&w.Name, &brand)
		w.Brand = record.BrandID(brand)
		out[w] = true
		return err
	}, sqlHeld, now.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("reading the leases: %w", err)
	}
	return out, nil
}
