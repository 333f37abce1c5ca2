package follow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	sqlBegin   = `INSERT INTO followers (follower, brand, next, holder, until) VALUES ($1, $2, 0, '', 0) ON CONFLICT DO NOTHING`
	sqlCursor  = `SELECT next, holder, until FROM followers WHERE follower = $1 AND brand = $2`
	sqlCursors = `SELECT follower, brand, next, holder, until FROM followers`
	// The cursor moves only from where its mover saw it, and not while another server
	// has the lease.
	sqlMove  = `UPDATE followers SET next = $4, holder = $5, until = $6 WHERE follower = $1 AND brand = $2 AND next = $3 AND (holder = $5 OR until <= $7)`
	sqlLeave = `UPDATE followers SET until = 0 WHERE holder = $1`
)

// rowKey names a row of followers.
type rowKey struct {
	follower string
	brand    record.BrandID
}

// cursor is a row of followers.
type cursor struct {
	next   uint64
	holder string
	until  time.Time
	known  bool      // it is news
	began  time.Time // this machine's clock: before it was read
}

// Next returns the entry that a follower stores next, as the database has it: the
// outputs of those before it are stored.
func Next(ctx context.Context, q db.Queryer, follower string, brand record.BrandID) (uint64, error) {
	row, err := read(ctx, q, follower, brand)
	return row.next, err
}

func read(ctx context.Context, q db.Queryer, follower string, brand record.BrandID) (cursor, error) {
	var next, until int64
	c := cursor{known: true, began: time.Now()}
	err := q.Row(ctx, sqlCursor, follower, int64(brand)).Scan(&next, &c.holder, &until)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return c, fmt.Errorf("reading the cursor of %s in log %d: %w", follower, brand, err)
	}
	c.next, c.until = uint64(next), time.UnixMicro(until)
	return c, nil
}

func (r *Runner) cursor(ctx context.Context, follower string, brand record.BrandID) (cursor, error) {
	return read(ctx, r.db, follower, brand)
}

func (r *Runner) cursors(ctx context.Context) (map[rowKey]cursor, error) {
	out := map[rowKey]cursor{}
	err := r.db.Rows(ctx, func(row db.Row) error {
		var k rowKey
		var brand, next, until int64
		var c cursor
		err := row.Scan(&k.follower, &brand, &next, &c.holder, &until)
		k.brand, c.next, c.until = record.BrandID(brand), uint64(next), time.UnixMicro(until)
		out[k] = c
		return err
	}, sqlCursors)
	if err != nil {
		return nil, fmt.Errorf("reading the cursors of followers: %w", err)
	}
	return out, nil
}

// errMoved says that the cursor stands elsewhere or another server has the lease.
var errMoved = errors.New("another server has moved the cursor")

// move moves a cursor inside a transaction, and takes or renews the lease with it. It
// is the transaction's first statement: the row is the lock.
func move(ctx context.Context, q db.Queryer, follower string, brand record.BrandID, from, to uint64, server string) error {
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	stmts := make([]db.Stmt, 0, 2)
	if from == 0 {
		stmts = append(stmts, db.Stmt{SQL: sqlBegin, Args: []any{follower, int64(brand)}})
	}
	var moved int64
	stmts = append(stmts, db.Stmt{SQL: sqlMove, Affected: &moved,
		Args: []any{follower, int64(brand), int64(from), int64(to), server, now.Add(Lease).UnixMicro(), now.UnixMicro()}})
	if err := q.Batch(ctx, stmts); err != nil {
		return err
	}
	if moved != 1 {
		return errMoved
	}
	return nil
}
