package keys

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Month is the version of the Entries key that seals what is logged at a time: the UTC
// month, as in 202611. Each month has a key of its own, so that destroying it erases
// what was sealed in that month from every copy of the log.
func Month(at time.Time) int {
	at = at.UTC()
	return at.Year()*100 + int(at.Month())
}

func nextMonth(month int) int {
	return Month(time.Date(month/100, time.Month(month%100)+1, 1, 0, 0, 0, 0, time.UTC))
}

// MonthKey seals and opens the values of a brand's log entries. It prints without its
// bytes.
type MonthKey struct {
	Version int
	aead    cipher.AEAD
	reader  []byte
}

// The labels from which the two keys of a month are derived.
const (
	monthValuesLabel = "cloakroom entry values 1"
	monthReaderLabel = "cloakroom entry readers 1"
)

// Seal seals values, with a random nonce in front.
func (k MonthKey) Seal(dst, plain, aad []byte) []byte { return k.aead.Seal(dst, nil, plain, aad) }

// Open opens what Seal sealed. It is ErrUnwrap where that was changed or moved.
func (k MonthKey) Open(sealed, aad []byte) ([]byte, error) {
	plain, err := k.aead.Open(nil, nil, sealed, aad)
	if err != nil {
		return nil, ErrUnwrap
	}
	return plain, nil
}

// Reader returns what stands for a principal in the commitments of a month's entries.
// Without the month's key nobody finds a principal's by trying.
func (k MonthKey) Reader(principal uint64) (out [16]byte) {
	m := hmac.New(sha256.New, k.reader)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], principal)
	m.Write(b[:])
	var sum [sha256.Size]byte
	copy(out[:], m.Sum(sum[:0]))
	return out
}

// String hides the key.
func (k MonthKey) String() string { return fmt.Sprintf("entries key of %d", k.Version) }

// GoString hides the key from %#v.
func (k MonthKey) GoString() string { return k.String() }

func derived(key Key, label string) []byte {
	m := hmac.New(sha256.New, key.bytes[:])
	m.Write([]byte(label))
	return m.Sum(nil)
}

// MonthKey returns the Entries key of a month; ErrNoKey where it is destroyed, or not
// made yet.
func (r *Ring) MonthKey(ctx context.Context, brand record.BrandID, month int) (MonthKey, error) {
	return r.MonthKeyIn(ctx, r.db, brand, month)
}

// MonthKeyIn is MonthKey, read through a transaction that made no key.
func (r *Ring) MonthKeyIn(ctx context.Context, q db.Queryer, brand record.BrandID, month int) (MonthKey, error) {
	n := name{brand, Entries, month}
	r.mu.RLock()
	k, ok := r.months[n]
	r.mu.RUnlock()
	if ok {
		return k, nil
	}
	key, err := r.readIn(ctx, q, brand, Entries, sqlReadKey, int64(brand), string(Entries), month)
	if err != nil {
		return MonthKey{}, err
	}
	aead, err := GCM(derived(key, monthValuesLabel))
	if err != nil {
		return MonthKey{}, err
	}
	k = MonthKey{month, aead, derived(key, monthReaderLabel)}
	r.mu.Lock()
	r.opened[n], r.months[n] = key, k
	r.mu.Unlock()
	return k, nil
}

const (
	sqlInsertMonth  = `INSERT INTO brand_keys (brand, kind, version, wrapped, created) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
	sqlDestroyMonth = `DELETE FROM brand_keys WHERE brand = $1 AND kind = $2 AND version = $3`
)

// EnsureMonth makes the Entries key of a month where there is none, and the one of the
// month after, in a transaction of its own: so that keys which were backed up before a
// month began open the log of that month, too. Of several servers that do so at once one
// makes them.
func (r *Ring) EnsureMonth(ctx context.Context, brand record.BrandID, month int) (MonthKey, error) {
	k, err := r.MonthKey(ctx, brand, month)
	if !errors.Is(err, ErrNoKey) {
		return k, err
	}
	err = r.db.Tx(ctx, func(q db.Queryer) error {
		at, err := q.Now(ctx)
		if err != nil {
			return err
		}
		if err := r.adopt(ctx, q); err != nil {
			return err
		}
		for _, m := range []int{month, nextMonth(month)} {
			plain := make([]byte, keyBytes)
			rand.Read(plain)
			wrapped, err := r.root.Wrap(ctx, plain, name{brand, Entries, m}.aad())
			if err != nil {
				return err
			}
			if _, err = q.Exec(ctx, sqlInsertMonth, int64(brand), string(Entries), m, wrapped, at.UnixMicro()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return MonthKey{}, fmt.Errorf("making the entries key of %d: %w", month, err)
	}
	return r.MonthKey(ctx, brand, month)
}

// DestroyMonth destroys the Entries key of a month, in the database and in this server.
// Others drop it within seconds, see Forget. The caller has seen to it that nothing that
// is to stay is sealed with it.
func (r *Ring) DestroyMonth(ctx context.Context, brand record.BrandID, month int) error {
	if _, err := r.db.Exec(ctx, sqlDestroyMonth, int64(brand), string(Entries), month); err != nil {
		return fmt.Errorf("destroying the entries key of %d: %w", month, err)
	}
	return r.Forget(ctx)
}
