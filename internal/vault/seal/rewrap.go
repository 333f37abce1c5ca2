package seal

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
)

// ErrStuck is returned for a rotation that cannot end: customers do not open, and
// what they need would be destroyed.
var ErrStuck = fault.New(fault.Internal, "customers do not open, so the old key stays: `cloakroom db check` names them; restore or erase them, and rotate again")

const (
	sqlNextOrdinal  = `SELECT next FROM ordinals WHERE one = 1`
	sqlReadWrapped  = `SELECT kek, wrapped FROM customer_keys WHERE ord = $1 AND brand = $2`
	sqlWrappedBelow = `SELECT ord, kek, wrapped FROM customer_keys WHERE ord >= $1 AND ord < $2 AND brand = $3 AND kek < $4 ORDER BY ord`
	sqlCountOldKEK  = `SELECT count(*) FROM customer_keys WHERE ord >= $1 AND ord < $2 AND brand = $3 AND kek < $4`
	// Each ordinal of the range has a slot of 61 bytes in $2 (what it becomes) and $3
	// (what it has to be): one statement for thousands of customers, without a join.
	sqlSQLiteRewrap       = `UPDATE customer_keys SET kek = $1, wrapped = substr($2, (ord - $4) * 61 + 1, 61) WHERE ord >= $4 AND ord < $5 AND brand = $6 AND kek < $1 AND wrapped = substr($3, (ord - $4) * 61 + 1, 61)`
	sqlPostgresRewrap     = `UPDATE customer_keys SET kek = $1, wrapped = substr($2::bytea, ((ord - $4) * 61 + 1)::integer, 61) WHERE ord >= $4 AND ord < $5 AND brand = $6 AND kek < $1 AND wrapped = substr($3::bytea, ((ord - $4) * 61 + 1)::integer, 61)`
	sqlPostgresAsyncBatch = `SET LOCAL synchronous_commit = off`
)

// rewrapSpan is how many ordinals one transaction rewraps: enough to make its round
// trips and its flush cheap, few enough for writers on SQLite to wait little.
const rewrapSpan = 8192

// noteEvery is how often the position of a rotation is written down, and its lease
// renewed.
const noteEvery = 500 * time.Millisecond

// NextOrdinal is the first ordinal that no customer has had yet.
func (s *Store) NextOrdinal(ctx context.Context, q db.Queryer) (record.Ordinal, error) {
	var next int64
	if err := q.Row(ctx, sqlNextOrdinal).Scan(&next); err != nil {
		return 0, fmt.Errorf("reading the next ordinal: %w", err)
	}
	return record.Ordinal(next), nil
}

// rewrapped reads a customer's key again.
func (s *Store) rewrapped(ctx context.Context, brand record.BrandID, ord record.Ordinal) (keys.Key, int, []byte, error) {
	var kek int
	var wrapped []byte
	err := s.db.Row(ctx, sqlReadWrapped, int64(ord), int64(brand)).Scan(&kek, &wrapped)
	if errors.Is(err, db.ErrNoRows) {
		return keys.Key{}, 0, nil, ErrNoCustomer
	}
	if err != nil {
		return keys.Key{}, 0, nil, fmt.Errorf("reading a customer's key again: %w", err)
	}
	key, err := s.ring.Version(ctx, brand, keys.KEK, kek)
	return key, kek, wrapped, err
}

// span moves the customers of a range of ordinals, and says how many it moved and how
// many do not open.
type span func(ctx context.Context, from, to int64) (moved, failed int64, err error)

// walk runs fn over the ordinals that a rotation has left, on all cores, and notes
// how far everything below has been done. It may do a range twice, after a kill.
func (s *Store) walk(ctx context.Context, rot *keys.Rotation, width int64, fn span) error {
	type result struct{ from, moved, failed int64 }
	workers := runtime.GOMAXPROCS(0)
	ranges, results := make(chan int64), make(chan result, workers)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(ranges)
		for from := rot.Position; from < rot.Bound; from += width {
			select {
			case ranges <- from:
			case <-gctx.Done():
				return gctx.Err()
			}
		}
		return nil
	})
	work, wctx := errgroup.WithContext(gctx)
	for range workers {
		work.Go(func() error {
			for from := range ranges {
				m, f, err := fn(wctx, from, min(from+width, rot.Bound))
				if err != nil {
					return err
				}
				select {
				case results <- result{from, m, f}:
				case <-wctx.Done():
					return wctx.Err()
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(results)
		return work.Wait()
	})
	g.Go(func() error {
		at, moved, failed, noted := rot.Position, int64(0), int64(0), time.Now()
		ahead := map[int64]result{}
		for r := range results {
			ahead[r.from] = r
			for {
				r, ok := ahead[at]
				if !ok {
					break
				}
				delete(ahead, at)
				at, moved, failed = min(at+width, rot.Bound), moved+r.moved, failed+r.failed
			}
			if time.Since(noted) > noteEvery {
				if err := s.ring.Advance(gctx, rot, at, moved, failed); err != nil {
					return err
				}
				moved, failed, noted = 0, 0, time.Now()
			}
		}
		if gctx.Err() != nil {
			return gctx.Err()
		}
		return s.ring.Advance(gctx, rot, at, moved, failed)
	})
	return g.Wait()
}

// Rewrap wraps every customer's key of a brand under the brand's newest KEK. When it
// returns nil none is left under an older one. Reads and writes go on meanwhile; it
// never undoes one. Killed, it goes on from the position that the rotation notes.
func (s *Store) Rewrap(ctx context.Context, rot *keys.Rotation) error {
	all, err := s.ring.All(ctx, rot.Brand, keys.KEK)
	if err != nil {
		return err
	}
	w := wrapper{s: s, brand: rot.Brand, to: rot.Version, aeads: map[int]cipher.AEAD{}}
	for _, k := range all {
		if w.aeads[k.Version], err = opener.GCM(k.Bytes()); err != nil {
			return err
		}
	}
	if w.aeads[rot.Version] == nil {
		return fmt.Errorf("wrapping customers' keys anew: %w", keys.ErrNoKey)
	}
	for {
		whole := rot.Position == 0
		if err := s.walk(ctx, rot, rewrapSpan, w.span); err != nil {
			return fmt.Errorf("wrapping customers' keys anew: %w", err)
		}
		left, err := s.underOldKEK(ctx, rot)
		if err != nil {
			return err
		}
		laid, err := s.rewrapLaid(ctx, rot)
		if err != nil {
			return fmt.Errorf("wrapping keys that lie aside anew: %w", err)
		}
		if left += laid; left == 0 {
			return nil
		}
		if whole {
			return errors.Join(ErrStuck, s.ring.Stall(ctx, rot, left))
		}
		rot.Position, rot.Failed = 0, 0
	}
}

// countSpan bounds one statement that counts.
const countSpan = 1 << 20

func (s *Store) underOldKEK(ctx context.Context, rot *keys.Rotation) (int64, error) {
	next, err := s.NextOrdinal(ctx, s.db)
	if err != nil {
		return 0, err
	}
	left := int64(0)
	for from := int64(0); from < int64(next); from += countSpan {
		var n int64
		if err := s.db.Row(ctx, sqlCountOldKEK, from, from+countSpan, int64(rot.Brand), rot.Version).Scan(&n); err != nil {
			return 0, fmt.Errorf("counting the keys that are left: %w", err)
		}
		left += n
	}
	return left, nil
}

// wrapper rewraps ranges of customers of one brand.
type wrapper struct {
	s     *Store
	brand record.BrandID
	to    int
	aeads map[int]cipher.AEAD // by version of the KEK
}

func (w *wrapper) span(ctx context.Context, from, to int64) (moved, failed int64, err error) {
	was, fresh := make([]byte, (to-from)*wrappedBytes), make([]byte, (to-from)*wrappedBytes)
	some := false
	err = w.s.db.Rows(ctx, func(r db.Row) error {
		var ord int64
		var kek int
		var wrapped []byte
		if err := r.Scan(&ord, &kek, &wrapped); err != nil {
			return err
		}
		slot := (ord - from) * wrappedBytes
		if !w.rewrap(fresh[slot:slot:slot+wrappedBytes], record.Ordinal(ord), kek, wrapped) {
			failed++
			return nil
		}
		copy(was[slot:], wrapped)
		some = true
		return nil
	}, sqlWrappedBelow, from, to, int64(w.brand), w.to)
	if err != nil || !some {
		return 0, failed, err
	}
	err = w.s.db.Tx(ctx, func(q db.Queryer) (err error) {
		sql := sqlSQLiteRewrap
		if q.Engine() == db.Postgres {
			sql = sqlPostgresRewrap
			// Not flushed one by one: what a crash of the database loses is done again,
			// because the commit that destroys the old key is flushed, and all before it.
			if _, err := q.Exec(ctx, sqlPostgresAsyncBatch); err != nil {
				return err
			}
		}
		moved, err = q.Exec(ctx, sql, w.to, fresh, was, from, to, int64(w.brand))
		return err
	})
	return moved, failed, err
}

// rewrap opens a wrapped key in its place under the old KEK and closes it in the
// place under the new one, appended to dst.
func (w *wrapper) rewrap(dst []byte, ord record.Ordinal, kek int, wrapped []byte) bool {
	old := w.aeads[kek]
	if old == nil || len(wrapped) != wrappedBytes {
		return false
	}
	plain, err := opener.OpenBy(old, wrapped, wrapPlace(w.brand, ord, kek))
	if err != nil {
		return false
	}
	dst = append(dst, Version)
	nonce := dst[1 : 1+nonceBytes]
	rand.Read(nonce)
	w.aeads[w.to].Seal(dst[:1+nonceBytes], nonce, plain, wrapPlace(w.brand, ord, w.to))
	clear(plain)
	return true
}
