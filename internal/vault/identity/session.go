package identity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

// Proof is how the holder of a credential proves that it is theirs.
type Proof string

// The proofs. What a credential's row keeps in the place of a secret says which it is: a
// session is never taken for a key, nor the other way round.
const (
	ProofKey     Proof = "key"     // an API key
	ProofPasskey Proof = "passkey" // a signature of an authenticator
	ProofSession Proof = "session" // a secret in a cookie
	ProofSubject Proof = "subject" // a token of an identity provider
	ProofNone    Proof = "local"   // being at the machine
)

// The first byte of what is stored for a proof other than a key, whose 32 bytes have none.
const (
	passkeyMark = 1
	sessionMark = 2
	subjectMark = 3
)

func proofOf(hash []byte) Proof {
	switch {
	case len(hash) == sha256.Size:
		return ProofKey
	case len(hash) != 1+sha256.Size:
	case hash[0] == passkeyMark:
		return ProofPasskey
	case hash[0] == sessionMark:
		return ProofSession
	case hash[0] == subjectMark:
		return ProofSubject
	}
	return ProofNone
}

func marked(mark byte, parts ...string) []byte {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return h.Sum([]byte{mark})
}

// SecretPrefix begins the secret of every session.
const SecretPrefix = "cks_"

var (
	// ErrMalformedSession is returned for text that cannot be the secret of a session.
	ErrMalformedSession = fault.New(fault.Unauthenticated, "you are not signed in: the session in the cookie is none; sign in again")
	// ErrNoSession is returned for the secret of no session, and of one that ended.
	ErrNoSession = fault.New(fault.Unauthenticated, "you are not signed in any more: sign in again")
	// ErrIdle is returned where nobody used a session for as long as it may rest.
	ErrIdle = fault.New(fault.Unauthenticated, "your session rested for too long: sign in again")
)

// Secret is the secret of a session in clear. It prints as its prefix only.
type Secret struct{ text string }

// NewSecret makes a secret of 256 random bits.
func NewSecret() Secret { return Secret{newText(SecretPrefix)} }

// ParseSecret reads a secret and checks its shape, as ParseKey does.
func ParseSecret(text string) (Secret, error) {
	if !wellFormed(SecretPrefix, text) {
		return Secret{}, ErrMalformedSession
	}
	return Secret{text}, nil
}

// Reveal returns the secret's text, for the one cookie that carries it.
func (s Secret) Reveal() string { return s.text }

// String hides the secret.
func (s Secret) String() string { return SecretPrefix + "…" }

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

func (s Secret) hash() []byte { return marked(sessionMark, s.text) }

// Session is what a credential is that signing in made: a child of the passkey, or of the
// subject of an identity provider, by which its holder signed in.
type Session struct {
	Credential uint64
	Method     Proof         // passkey or subject
	Idle       time.Duration // it ends when nobody used it for so long
	Provider   []byte        // names the provider's own session; empty for none
	Only       string        // roles that are switched on, see Caller.Only
}

const (
	sqlInsertSession = `INSERT INTO sessions (credential, method, idle, provider, roles, seen) VALUES ($1, $2, $3, $4, $5, $6)`
	sessionColumns   = `credential, method, idle, provider, roles`
	sqlSession       = `SELECT ` + sessionColumns + ` FROM sessions WHERE credential = $1`
	sqlAllSessions   = `SELECT ` + sessionColumns + ` FROM sessions ORDER BY credential`
	sqlProvided      = `SELECT s.credential FROM sessions s JOIN credentials c ON c.id = s.credential WHERE s.provider = $1 AND c.revoked = 0 ORDER BY s.credential LIMIT 1000`
	sqlSeen          = `SELECT seen FROM sessions WHERE credential = $1`
	sqlTouch         = `UPDATE sessions SET seen = $2 WHERE credential = $1 AND seen < $2`
	// What ended a week ago, and through which nothing was made that may still be used.
	sqlEnded = `SELECT ` + credentialColumns + ` FROM sessions s JOIN credentials c ON c.id = s.credential
		WHERE (c.revoked > 0 AND c.revoked < $1 OR c.expires > 0 AND c.expires < $1) AND c.id < $2
		AND NOT EXISTS (SELECT 1 FROM credentials d WHERE d.root = c.root AND d.parent = c.id) ORDER BY c.id LIMIT 50`
	sqlDropSession = `DELETE FROM sessions WHERE credential = $1`
	sqlMendSession = `INSERT INTO sessions (credential, method, idle, provider, roles, seen) VALUES ($1, $2, $3, $4, $5, 0)
		ON CONFLICT (credential) DO UPDATE SET method = excluded.method, idle = excluded.idle, provider = excluded.provider, roles = excluded.roles`
)

// tableSessions is the table of which the group's log has the rows. When a session was last
// used is not in the digest.
const tableSessions = "sessions"

func (x *Session) row() rights.Row {
	return rights.Row{Table: tableSessions, Key: rights.Key(x.Credential),
		Cells: []any{int64(x.Credential), string(x.Method), x.Idle.Microseconds(), x.Provider, x.Only}}
}

func scanSession(r db.Row) (x Session, err error) {
	var id, idle int64
	var method string
	err = r.Scan(&id, &method, &idle, &x.Provider, &x.Only)
	x.Credential, x.Method, x.Idle = uint64(id), Proof(method), time.Duration(idle)*time.Microsecond
	return x, err
}

func session(ctx context.Context, q db.Queryer, credential uint64) (Session, error) {
	x, err := scanSession(q.Row(ctx, sqlSession, int64(credential)))
	if errors.Is(err, db.ErrNoRows) {
		return x, ErrNoSession
	}
	if err != nil {
		return x, fmt.Errorf("reading a session: %w", err)
	}
	return x, nil
}

// through returns the session that a credential is, or was made through; 0 for none.
func through(c *credential, above []credential) uint64 {
	if c.Kind == ProofSession {
		return c.ID
	}
	for i := range above {
		if above[i].Kind == ProofSession {
			return above[i].ID
		}
	}
	return 0
}

// BeginSession makes a session of a principal through the credential by which they signed in, inside
// the caller's transaction. It ends with that one at the latest. Sessions that ended a week
// ago are removed with it.
func (s *Store) BeginSession(ctx context.Context, q db.Queryer, principal, parent uint64, x Session, expires, at time.Time) (Session, Secret, error) {
	secret := NewSecret()
	id, err := s.insertCredential(ctx, q, principal, parent, secret.hash(), "session by "+string(x.Method), "", expires, at)
	if err != nil {
		return x, secret, err
	}
	x.Credential = id
	if x.Provider == nil {
		x.Provider = []byte{}
	}
	if _, err := q.Exec(ctx, sqlInsertSession, int64(id), string(x.Method), x.Idle.Microseconds(), x.Provider, x.Only, at.UnixMicro()); err != nil {
		return x, secret, fmt.Errorf("storing a session: %w", err)
	}
	rights.Changed(q, x.row())
	return x, secret, s.sweepSessions(ctx, q, id, at)
}

// sweepSessions removes sessions that ended. The newest credential always stays: numbers are
// not given twice.
func (s *Store) sweepSessions(ctx context.Context, q db.Queryer, newest uint64, at time.Time) error {
	ended, err := credentials(ctx, q, sqlEnded, at.Add(-7*24*time.Hour).UnixMicro(), int64(newest))
	if err != nil {
		return err
	}
	for i := range ended {
		c := &ended[i]
		if _, err := q.Exec(ctx, sqlDropSession, int64(c.ID)); err != nil {
			return fmt.Errorf("removing a session that ended: %w", err)
		}
		if _, err := q.Exec(ctx, sqlDropCredential, int64(c.ID)); err != nil {
			return fmt.Errorf("removing a session that ended: %w", err)
		}
		x := Session{Credential: c.ID}
		gone, goneToo := x.row(), c.row()
		gone.Gone, goneToo.Gone = true, true
		rights.Changed(q, gone, goneToo)
	}
	return nil
}

// AuthenticateSession returns who holds the secret of a session that is in use.
func (s *Store) AuthenticateSession(ctx context.Context, secret Secret) (Caller, error) {
	hash := secret.hash()
	a, err := s.sessions.Get(ctx, [32]byte(hash[1:]), func() (accepted, error) { return s.accept(ctx, hash) })
	if errors.Is(err, ErrUnknownKey) {
		err = ErrNoSession
	}
	if err != nil {
		return Caller{}, err
	}
	now, err := s.db.Estimate(ctx)
	if err != nil {
		return Caller{}, fmt.Errorf("authenticating: %w", err)
	}
	if a.expires != 0 && a.expires <= now.UnixMicro() {
		return Caller{}, ErrNoSession
	}
	if err := s.awake(ctx, &a.session, now); err != nil {
		return Caller{}, err
	}
	return a.caller, nil
}

// Resting reports whether a session rested for longer than it may.
func (s *Store) Resting(ctx context.Context, x Session, now time.Time) (bool, error) {
	var seen int64
	err := s.db.Row(ctx, sqlSeen, int64(x.Credential)).Scan(&seen)
	if errors.Is(err, db.ErrNoRows) {
		return true, nil
	}
	if err != nil {
		return true, fmt.Errorf("reading when a session was used: %w", err)
	}
	return now.Sub(db.Time(seen)) >= x.Idle, nil
}

// awake refuses a session that rested for too long, and else notes that it is used: at most
// once a minute, since each time is a write. A session that was refused stays so.
func (s *Store) awake(ctx context.Context, x *Session, now time.Time) error {
	if s.touched.within(x.Credential, now, min(time.Minute, x.Idle/4)) {
		return nil
	}
	resting, err := s.Resting(ctx, *x, now)
	if err != nil {
		return err
	}
	if resting {
		return ErrIdle
	}
	if _, err := s.db.Exec(ctx, sqlTouch, int64(x.Credential), now.UnixMicro()); err != nil {
		return fmt.Errorf("noting that a session is used: %w", err)
	}
	s.touched.note(x.Credential, now)
	return nil
}

// Provided returns the living sessions of a provider's own session.
func (s *Store) Provided(ctx context.Context, provider []byte) (ids []uint64, err error) {
	if len(provider) == 0 {
		return nil, nil
	}
	err = s.db.Rows(ctx, func(r db.Row) error {
		var id int64
		err := r.Scan(&id)
		ids = append(ids, uint64(id))
		return err
	}, sqlProvided, provider)
	if err != nil {
		return nil, fmt.Errorf("reading the sessions of a provider's: %w", err)
	}
	return ids, nil
}

// Signed returns what a session is, for those who list credentials.
func (s *Store) Signed(ctx context.Context, credential uint64) (x Session, err error) {
	err = rights.One(ctx, s.Rights, s.db, record.Group, func(q db.Queryer) (_ []rights.Row, err error) {
		x, err = session(ctx, q, credential)
		return []rights.Row{x.row()}, err
	})
	x.Provider = bytes.Clone(x.Provider)
	return x, err
}

// maxTouched bounds the sessions of which a server keeps when it last noted a use.
const maxTouched = 1 << 14

// touched is when this server last noted that sessions were used. It is safe for concurrent
// use.
type touched struct {
	mu sync.Mutex
	at map[uint64]time.Time
}

func (t *touched) within(id uint64, now time.Time, span time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.at[id]
	return ok && now.Sub(at) < span
}

func (t *touched) note(id uint64, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil || len(t.at) >= maxTouched {
		t.at = map[uint64]time.Time{}
	}
	t.at[id] = now
}

// grantedSignIn hands on every row by which people sign in.
func grantedSignIn(ctx context.Context, q db.Queryer, hand func(r rights.Row, says string, args ...any)) error {
	err := q.Rows(ctx, func(r db.Row) error {
		x, err := scanSession(r)
		hand(x.row(), "session of credential %d", x.Credential)
		return err
	}, sqlAllSessions)
	if err == nil {
		err = q.Rows(ctx, func(r db.Row) error {
			x, err := scanPasskey(r)
			hand(x.row(), "passkey of credential %d", x.Credential)
			return err
		}, sqlAllPasskeys)
	}
	if err == nil {
		err = q.Rows(ctx, func(r db.Row) error {
			x, err := scanRecovery(r)
			hand(x.row(), "recovery code of principal %d", x.principal)
			return err
		}, sqlAllRecovery)
	}
	return err
}
