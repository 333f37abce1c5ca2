// Package keys keeps the keys of each brand: random, versioned, one per use, and
// stored only as wrapped by a [Root] that lies outside the database. So a stolen
// database opens nothing.
//
// A [Ring] hands them out. What is sealed with them is not its business.
package keys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
)

// Root wraps and unwraps the keys of brands. The additional data says which key it
// is; unwrapping with other data fails.
type Root interface {
	Wrap(ctx context.Context, plain, aad []byte) ([]byte, error)
	Unwrap(ctx context.Context, wrapped, aad []byte) ([]byte, error)
	// Adopt makes the root key with this name the one that Wrap uses, and reports
	// whether it is there.
	Adopt(ctx context.Context, id string) bool
}

// Kind is what a key is for. One key never serves two kinds.
type Kind string

// The kinds of keys.
const (
	KEK       Kind = "kek"       // wraps the brand's customer keys
	Token     Kind = "token"     // enciphers ordinals into tokens
	Index     Kind = "index"     // blind indexes
	History   Kind = "history"   // fingerprints of former values
	Log       Kind = "log"       // seed of the Ed25519 key that signs checkpoints
	Catalogue Kind = "catalogue" // the brand's products
	Incident  Kind = "incident"  // the group's index of persons across brands
	Alarm     Kind = "alarm"     // secrets and addresses of those who are told of alarms; made with the first
	Export    Kind = "export"    // pseudonyms of extracts, and whom an export is for; made with the first
	Canary    Kind = "canary"    // which customers are canaries; made with the first
	Change    Kind = "change"    // requests for acts that need a second person; made with the first
	SignIn    Kind = "signin"    // what browsers carry between two steps of signing in; made with the first
	Tombstone Kind = "tombstone" // what erased customers are known again by, and rows withheld for it; made with the first
	Mail      Kind = "mail"      // codes and Message-IDs of mail to customers; made with the first
	Entries   Kind = "entries"   // the values of log entries, one for each UTC month; see Month
)

// Kinds returns the kinds of keys that a brand has. The group has a log and the incident
// index, and no customers.
func Kinds(brand record.BrandID) []Kind {
	if brand == record.Group {
		return []Kind{Log, Incident}
	}
	return []Kind{KEK, Token, Index, History, Log, Catalogue}
}

// ErrNoKey is returned for a brand, kind or version that has no key.
var ErrNoKey = fault.New(fault.Internal, "no such key")

// Key is one unwrapped key. It prints without its bytes.
type Key struct {
	Version int // from 1
	bytes   [keyBytes]byte
}

// Bytes returns a copy of the 32 bytes.
func (k Key) Bytes() []byte { return append([]byte(nil), k.bytes[:]...) }

// String hides the key.
func (k Key) String() string { return fmt.Sprintf("key version %d", k.Version) }

// GoString hides the key from %#v.
func (k Key) GoString() string { return k.String() }

// Ring reads and makes the keys of brands. It is safe for concurrent use.
type Ring struct {
	db      *db.DB
	root    Root
	process string                    // a name that no other ring has
	current revision.Cache[name, Key] // by brand and kind, version 0

	mu     sync.RWMutex
	opened map[name]Key      // every key unwrapped so far, by version
	months map[name]MonthKey // made from those
}

type name struct {
	brand   record.BrandID
	kind    Kind
	version int
}

// NewRing returns a ring over the database whose keys root wraps.
func NewRing(d *db.DB, root Root) *Ring {
	return &Ring{db: d, root: root, process: rand.Text(), opened: map[name]Key{}, months: map[name]MonthKey{}}
}

const (
	sqlInsertKey  = `INSERT INTO brand_keys (brand, kind, version, wrapped, created) VALUES ($1, $2, $3, $4, $5)`
	sqlCurrentKey = `SELECT version, wrapped FROM brand_keys WHERE brand = $1 AND kind = $2 ORDER BY version DESC LIMIT 1`
	sqlReadKey    = `SELECT version, wrapped FROM brand_keys WHERE brand = $1 AND kind = $2 AND version = $3`
)

// Create makes the first version of every key of a brand, inside the caller's
// transaction.
func (r *Ring) Create(ctx context.Context, q db.Queryer, brand record.BrandID, at time.Time) error {
	for _, kind := range Kinds(brand) {
		if err := r.first(ctx, q, brand, kind, at); err != nil {
			return err
		}
	}
	return nil
}

// first makes the first version of a key.
func (r *Ring) first(ctx context.Context, q db.Queryer, brand record.BrandID, kind Kind, at time.Time) error {
	plain := make([]byte, keyBytes)
	rand.Read(plain)
	return r.insert(ctx, q, name{brand, kind, 1}, plain, at)
}

// insert stores a new key, wrapped by the root key that wraps all the others now.
func (r *Ring) insert(ctx context.Context, q db.Queryer, n name, plain []byte, at time.Time) error {
	if err := r.adopt(ctx, q); err != nil {
		return err
	}
	wrapped, err := r.root.Wrap(ctx, plain, n.aad())
	if err != nil {
		return fmt.Errorf("wrapping the %s key: %w", n.kind, err)
	}
	if _, err := q.Exec(ctx, sqlInsertKey, int64(n.brand), string(n.kind), n.version, wrapped, at.UnixMicro()); err != nil {
		return fmt.Errorf("storing the %s key: %w", n.kind, err)
	}
	return nil
}

// Ensure returns the newest version of a key that a brand gets with its first use,
// and makes it inside the caller's transaction where there is none.
func (r *Ring) Ensure(ctx context.Context, q db.Queryer, brand record.BrandID, kind Kind, at time.Time) (Key, error) {
	k, err := r.CurrentIn(ctx, q, brand, kind)
	if !errors.Is(err, ErrNoKey) {
		return k, err
	}
	if err := r.first(ctx, q, brand, kind, at); err != nil {
		return Key{}, err
	}
	return r.CurrentIn(ctx, q, brand, kind)
}

// Current returns the newest version, which everything new is made with: the one of
// the request's revision, or of now where there is none, so that a rotation by another
// server is seen at once.
func (r *Ring) Current(ctx context.Context, brand record.BrandID, kind Kind) (Key, error) {
	return r.current.Get(ctx, name{brand: brand, kind: kind}, func() (Key, error) {
		return r.read(ctx, brand, kind, sqlCurrentKey, int64(brand), string(kind))
	})
}

// Version returns one version of a key: what was made with it says which.
func (r *Ring) Version(ctx context.Context, brand record.BrandID, kind Kind, version int) (Key, error) {
	r.mu.RLock()
	k, ok := r.opened[name{brand, kind, version}]
	r.mu.RUnlock()
	if ok {
		return k, nil
	}
	return r.read(ctx, brand, kind, sqlReadKey, int64(brand), string(kind), version)
}

// CurrentIn is Current inside the transaction that made the key.
func (r *Ring) CurrentIn(ctx context.Context, q db.Queryer, brand record.BrandID, kind Kind) (Key, error) {
	return r.readIn(ctx, q, brand, kind, sqlCurrentKey, int64(brand), string(kind))
}

func (r *Ring) read(ctx context.Context, brand record.BrandID, kind Kind, sql string, args ...any) (Key, error) {
	k, err := r.readIn(ctx, r.db, brand, kind, sql, args...)
	if err != nil {
		return Key{}, err
	}
	r.mu.Lock()
	r.opened[name{brand, kind, k.Version}] = k
	r.mu.Unlock()
	return k, nil
}

// readIn keeps nothing: what it reads may never be committed.
// Opens unwraps the current key of a brand and kind as if it had not been opened before: it
// fails where the root key of this server is not the vault's any more.
func (r *Ring) Opens(ctx context.Context, brand record.BrandID, kind Kind) error {
	var version int
	var wrapped []byte
	if err := r.db.Row(ctx, sqlCurrentKey, int64(brand), string(kind)).Scan(&version, &wrapped); err != nil {
		return fmt.Errorf("reading the %s key of brand %d: %w", kind, brand, err)
	}
	_, err := r.root.Unwrap(ctx, wrapped, name{brand, kind, version}.aad())
	return err
}

func (r *Ring) readIn(ctx context.Context, q db.Queryer, brand record.BrandID, kind Kind, sql string, args ...any) (Key, error) {
	var version int
	var wrapped []byte
	if err := q.Row(ctx, sql, args...).Scan(&version, &wrapped); err != nil {
		if errors.Is(err, db.ErrNoRows) {
			err = ErrNoKey
		}
		return Key{}, fmt.Errorf("reading the %s key of brand %d: %w", kind, brand, err)
	}
	return r.unwrap(ctx, name{brand, kind, version}, wrapped)
}

// unwrap spares what was unwrapped before.
func (r *Ring) unwrap(ctx context.Context, n name, wrapped []byte) (Key, error) {
	r.mu.RLock()
	k, ok := r.opened[n]
	r.mu.RUnlock()
	if ok {
		return k, nil
	}
	plain, err := r.root.Unwrap(ctx, wrapped, n.aad())
	if err != nil {
		return Key{}, fmt.Errorf("unwrapping the %s key of brand %d: %w", n.kind, n.brand, err)
	}
	if len(plain) != keyBytes {
		return Key{}, fmt.Errorf("unwrapping the %s key of brand %d: %w", n.kind, n.brand, ErrUnwrap)
	}
	k = Key{Version: n.version}
	copy(k.bytes[:], plain)
	return k, nil
}

// aad binds a wrapped key to its brand, kind and version, so that a row moved to
// another place does not open.
func (n name) aad() []byte {
	b := []byte("cloakroom brand key 1\x00")
	b = binary.BigEndian.AppendUint16(b, uint16(n.brand))
	b = binary.BigEndian.AppendUint32(b, uint32(n.version))
	return append(b, n.kind...)
}

// GCM returns AES-GCM under a key, with a random nonce of its own in front of each
// ciphertext (crypto/cipher.NewGCMWithRandomNonce): at most 2^32 messages a key.
func GCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
