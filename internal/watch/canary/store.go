// Package canary makes customers that nobody is, and knows which they are. Nobody has
// a reason to look at one, so whoever does is an alarm at the first.
//
// A canary is written as every customer is, under keys of its own, and nothing in its
// row, its keys or its index says what it is. Which ordinals are canaries is one blob per
// brand, sealed under a key of this use and padded. It is durable before the canaries are
// there for anybody, so that no look at one can be missed.
//
// # With imports
//
// The log keeps the customers of each entry in clear, so canaries must have no entry of
// their own. What a brand wants of them is an order, sealed with the list; package intake
// asks [Store.Mix] of each import, and canaries go in among its customers, in its entry.
//
// # Likeness
//
// Canaries are made after a invent.Likeness: of the import's own rows, which are in
// memory in clear anyway, or of customers that [Desk.Place] has the vault open inside
// package seal, under the receipt of an entry about canaries. Neither is a way past the
// log to a profile: a Likeness keeps tallies, of what at least three customers have in
// common, in memory, and gives nothing out but invented customers.
//
// # Mail to them
//
// Nobody knows a canary's address but the vault: whoever writes to one has what left it.
// Whatever receives the mail ([Listener], or another program) knows no canaries. It
// reports every mail for their domains and is answered the same, and as late, whether an
// address is a canary's or not. For a canary there is an entry in the brand's log, of
// which detection makes an alarm at once, with the export that the canary left in. The
// entry holds the sealed canary, the sender's approximate network and a hash of the
// Message-ID; nothing else of the mail.
//
// The first mail to a canary is logged before it is answered. Those of the next hour are
// counted and logged together when it ends: a spammer cannot grow the log. A server that
// is killed loses the count of that hour, never the first.
package canary

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	// pad is what the size of the list is a multiple of, before it is sealed: how long the
	// blob is says within some sixty how many canaries there are.
	pad = 4 << 10
	// maxListed bounds the list of a brand, retired canaries included.
	maxListed = 100_000
	// conflicts bounds how often the list is changed anew because another changed it.
	conflicts = 50
)

// ErrDamaged is returned for a list that does not open: changed, or of another brand.
var ErrDamaged = fault.New(fault.Internal, "the list of canaries does not open: it was changed, or put in another's place; restore it")

const (
	sqlCanaryVersion = `SELECT version FROM canaries WHERE brand = $1`
	sqlReadCanaries  = `SELECT version, key, sealed FROM canaries WHERE brand = $1`
	sqlFirstCanaries = `INSERT INTO canaries (brand, version, key, sealed) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`
	sqlNextCanaries  = `UPDATE canaries SET version = $2, key = $3, sealed = $4 WHERE brand = $1 AND version = $2 - 1`
)

// Canary is one customer of the list.
type Canary struct {
	Ord        record.Ordinal `json:"o"`
	ExternalID string         `json:"x"`
	Email      string         `json:"m,omitempty"` // as it is written in the profile; none has two canaries
	Country    string         `json:"c,omitempty"`
	Had        int            `json:"n,omitempty"` // how many purchases were made for it
	Retired    bool           `json:"r,omitempty"` // and kept: the log speaks of it
	Export     string         `json:"e,omitempty"` // the one export that it stands in the file of
}

// Store keeps which customers are canaries. It is safe for concurrent use.
type Store struct {
	// Draw, if set before the store is used, draws how many canaries go in with an import
	// and where among its customers: numbers from 0 below n, by one goroutine at a time.
	// Only a simulation that is to be the same again sets it, in its own process; whoever
	// knows what it draws knows the canaries. Nil is the process's own randomness.
	Draw func(n int) int

	db   *db.DB
	ring *keys.Ring

	mu     sync.RWMutex
	sets   map[record.BrandID]set
	mixers map[record.BrandID]*mixer
}

// state is what is sealed of a brand.
type state struct {
	Order    *order   `json:"order,omitempty"`
	Canaries []Canary `json:"decoys"`
}

// set is the state of a brand as it was read; nobody changes it.
type set struct {
	version   int64
	order     *order
	list      []Canary
	ords      map[record.Ordinal]int // of list
	addresses map[string]int         // of list, by the normal form of the address
	marks     *keys.Key              // seals how many canaries a write met
}

// NewStore returns a store that knows of nothing before it is refreshed.
func NewStore(d *db.DB, ring *keys.Ring) *Store {
	return &Store{db: d, ring: ring, sets: map[record.BrandID]set{}, mixers: map[record.BrandID]*mixer{}}
}

// Contains reports whether a customer is a canary or was one, as of the last Refresh.
func (s *Store) Contains(brand record.BrandID, ord record.Ordinal) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, is := s.sets[brand].ords[ord]
	return is
}

// Bound reports whether a canary is the one of an export, as of the last Refresh.
func (s *Store) Bound(brand record.BrandID, ord record.Ordinal, export string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	have := s.sets[brand]
	i, is := have.ords[ord]
	return is && export != "" && have.list[i].Export == export
}

// Refresh reads which customers are canaries, if that changed: one row by its key.
func (s *Store) Refresh(ctx context.Context, brand record.BrandID) error {
	var version int64
	err := s.db.Row(ctx, sqlCanaryVersion, int64(brand)).Scan(&version)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return fmt.Errorf("reading the version of the canaries: %w", err)
	}
	s.mu.RLock()
	have := s.sets[brand].version
	s.mu.RUnlock()
	if have == version {
		return nil
	}
	if version < have {
		return ErrDamaged // an older row was put back
	}
	st, version, err := s.read(ctx, s.db, brand)
	if err != nil {
		return err
	}
	next := set{version, st.Order, st.Canaries, make(map[record.Ordinal]int, len(st.Canaries)), map[string]int{}, nil}
	k, err := s.ring.Current(ctx, brand, keys.Canary)
	if err != nil {
		return err
	}
	next.marks = &k
	for i, d := range st.Canaries {
		next.ords[d.Ord] = i
		if n, err := record.NormalEmail(d.Email); err == nil {
			next.addresses[n] = i
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sets[brand] = next
	return nil
}

// Mark implements intake.Canaries.
func (s *Store) Mark(brand record.BrandID, met int) string {
	s.mu.RLock()
	k := s.sets[brand].marks
	s.mu.RUnlock()
	var b [markBytes]byte
	crand.Read(b[:])
	if k == nil { // there are no canaries, which the mark does not tell either
		return base64.StdEncoding.EncodeToString(b[:])
	}
	aead, err := keys.GCM(k.Bytes())
	if err != nil { // unreachable: the list was opened with it
		return base64.StdEncoding.EncodeToString(b[:])
	}
	plain := binary.BigEndian.AppendUint32(nil, uint32(met))
	return base64.StdEncoding.EncodeToString(aead.Seal(nil, nil, plain, markPlace(brand)))
}

// Marked returns how many canaries a write met, as Mark sealed it; 0 for what no Mark
// sealed.
func (s *Store) Marked(brand record.BrandID, mark string) int {
	s.mu.RLock()
	k := s.sets[brand].marks
	s.mu.RUnlock()
	b, err := base64.StdEncoding.DecodeString(mark)
	if k == nil || err != nil || len(b) != markBytes {
		return 0
	}
	aead, err := keys.GCM(k.Bytes())
	if err != nil {
		return 0
	}
	plain, err := aead.Open(nil, nil, b, markPlace(brand))
	if err != nil || len(plain) != 4 {
		return 0
	}
	return int(binary.BigEndian.Uint32(plain))
}

// markBytes is what a sealed number takes: nonce, number and tag.
const markBytes = 12 + 4 + 16

// markPlace binds a mark to its brand and use.
func markPlace(brand record.BrandID) []byte {
	return binary.BigEndian.AppendUint16([]byte("cloakroom canary mark 1\x00"), uint16(brand))
}

// ByAddress returns the canary of a brand, retired ones included, that has an e-mail
// address in its normal form, and with it the export that it left in, if any. It reads
// what is stored first: a canary is found as soon as it is there for anybody.
func (s *Store) ByAddress(ctx context.Context, brand record.BrandID, normal string) (Canary, bool, error) {
	if err := s.Refresh(ctx, brand); err != nil {
		return Canary{}, false, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	have := s.sets[brand]
	i, ok := have.addresses[normal]
	if !ok {
		return Canary{}, false, nil
	}
	return have.list[i], true, nil
}

// Last returns the greatest ordinal that a brand's canaries have or had, 0 if there are none.
// The list also names ordinals that were reserved for an import that failed.
func (s *Store) Last(ctx context.Context, brand record.BrandID) (last record.Ordinal, err error) {
	st, _, err := s.read(ctx, s.db, brand)
	if err != nil {
		return 0, err
	}
	for _, d := range st.Canaries {
		last = max(last, d.Ord)
	}
	return last, nil
}

// Check reports whether what is stored of a brand opens; it tells nothing of it.
func (s *Store) Check(ctx context.Context, brand record.BrandID) error {
	_, _, err := s.read(ctx, s.db, brand)
	return err
}

// read returns what is stored, and version 0 where nothing is.
func (s *Store) read(ctx context.Context, q db.Queryer, brand record.BrandID) (st *state, version int64, err error) {
	st = &state{}
	var key int
	var sealed []byte
	err = q.Row(ctx, sqlReadCanaries, int64(brand)).Scan(&version, &key, &sealed)
	if errors.Is(err, db.ErrNoRows) {
		return st, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading the canaries: %w", err)
	}
	k, err := s.ring.Version(ctx, brand, keys.Canary, key)
	if err != nil {
		return nil, 0, err
	}
	aead, err := keys.GCM(k.Bytes())
	if err != nil {
		return nil, 0, err
	}
	plain, err := aead.Open(nil, nil, sealed, place(brand, version))
	if err != nil {
		return nil, 0, ErrDamaged
	}
	into := any(st)
	if plain[0] == '[' { // as it was before there were orders
		into = &st.Canaries
	}
	if err := json.Unmarshal(plain, into); err != nil {
		return nil, 0, ErrDamaged // the decoder's error could quote it
	}
	return st, version, nil
}

// change changes what is stored as fn does, and is durable when it returns. Where others
// changed it meanwhile fn is called again.
func (s *Store) change(ctx context.Context, brand record.BrandID, at time.Time, fn func(*state) error) error {
	for range conflicts {
		st, version, err := s.read(ctx, s.db, brand)
		if err == nil {
			err = fn(st)
		}
		if err != nil {
			return err
		}
		done := false
		err = s.db.Tx(ctx, func(q db.Queryer) error {
			done = false
			k, err := s.ring.Ensure(ctx, q, brand, keys.Canary, at)
			if err != nil {
				return err
			}
			sealed, err := seal(k, brand, version+1, st)
			if err != nil {
				return err
			}
			sql := sqlNextCanaries
			if version == 0 {
				sql = sqlFirstCanaries
			}
			n, err := q.Exec(ctx, sql, int64(brand), version+1, k.Version, sealed)
			done = n == 1
			return err
		})
		if err != nil {
			return fmt.Errorf("storing the canaries: %w", err)
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("%w: others change the canaries; try again", ErrRequest)
}

func seal(k keys.Key, brand record.BrandID, version int64, st *state) ([]byte, error) {
	plain, err := json.Marshal(st)
	if err != nil {
		return nil, err
	}
	short := pad - len(plain)%pad
	plain = append(plain, bytes.Repeat([]byte{' '}, short)...)
	aead, err := keys.GCM(k.Bytes())
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plain, place(brand, version)), nil
}

// place binds a list to its brand and version.
func place(brand record.BrandID, version int64) []byte {
	b := binary.BigEndian.AppendUint16([]byte("cloakroom canaries 1\x00"), uint16(brand))
	return binary.BigEndian.AppendUint64(b, uint64(version))
}
