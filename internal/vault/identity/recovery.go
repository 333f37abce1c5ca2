package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

const (
	// RecoveryCodes is how many recovery codes a person gets at a time.
	RecoveryCodes = 10
	// RecoveryPrefix begins a recovery code.
	RecoveryPrefix = "ckb_"

	selectorChars = 10 // 50 bits that find a code's row; no secret
	recoveryChars = 16 // 80 bits that prove it

	// Argon2id as OWASP recommends it at least; the salt is random for each code.
	argonTime, argonMemory, argonThreads, argonBytes = 2, 19 << 10, 1, 32
)

// ErrRecovery is returned for a recovery code that was never given, was used, or was
// replaced by newer ones.
var ErrRecovery = fault.New(fault.Unauthenticated, "this recovery code was not accepted: each works once, and only the newest ten do")

// recovery is a row: a code that its holder may use once in the place of a passkey.
type recovery struct {
	selector  string
	principal uint64
	salt      []byte
	hash      []byte
	created   int64
}

const (
	recoveryColumns   = `selector, principal, salt, hash, created`
	sqlInsertRecovery = `INSERT INTO recovery_codes (` + recoveryColumns + `, used) VALUES ($1, $2, $3, $4, $5, 0)`
	sqlFindRecovery   = `SELECT ` + recoveryColumns + ` FROM recovery_codes WHERE selector = $1 AND used = 0`
	sqlRecoveryOf     = `SELECT ` + recoveryColumns + ` FROM recovery_codes WHERE principal = $1 AND used = 0 ORDER BY selector`
	sqlAllRecovery    = `SELECT ` + recoveryColumns + ` FROM recovery_codes WHERE used = 0 ORDER BY selector`
	sqlUseRecovery    = `UPDATE recovery_codes SET used = $2 WHERE selector = $1 AND used = 0`
	sqlDropRecovery   = `DELETE FROM recovery_codes WHERE selector = $1`
	sqlEndRecovery    = `DELETE FROM recovery_codes WHERE principal = $1`
	sqlMendRecovery   = `INSERT INTO recovery_codes (` + recoveryColumns + `, used) VALUES ($1, $2, $3, $4, $5, 0)
		ON CONFLICT (selector) DO UPDATE SET principal = excluded.principal, salt = excluded.salt, hash = excluded.hash, created = excluded.created, used = 0`
)

// tableRecovery is the table of which the group's log has the rows that can be used.
const tableRecovery = "recovery_codes"

func (x *recovery) row() rights.Row {
	return rights.Row{Table: tableRecovery, Key: x.selector, Cells: []any{x.selector, int64(x.principal), x.salt, x.hash, x.created}}
}

func (x *recovery) gone() rights.Row {
	r := x.row()
	r.Gone = true
	return r
}

func scanRecovery(r db.Row) (x recovery, err error) {
	var principal int64
	err = r.Scan(&x.selector, &principal, &x.salt, &x.hash, &x.created)
	x.principal = uint64(principal)
	return x, err
}

func slowHash(secret string, salt []byte) []byte {
	return argon2.IDKey([]byte(secret), salt, argonTime, argonMemory, argonThreads, argonBytes)
}

// RecoveryCode is a code in clear, cut into what finds it and what proves it.
type RecoveryCode struct{ selector, secret string }

// Selector finds the code's row. It is no secret.
func (c RecoveryCode) Selector() string { return c.selector }

// ParseRecovery reads a recovery code as somebody typed it: spaces, hyphens and case do not
// matter.
func ParseRecovery(text string) (RecoveryCode, error) {
	text = strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(strings.TrimSpace(text)))
	body, ok := strings.CutPrefix(text, RecoveryPrefix)
	odd := func(c rune) bool { return !(c >= 'a' && c <= 'z' || c >= '2' && c <= '7') }
	if !ok || len(body) != selectorChars+recoveryChars || strings.ContainsFunc(body, odd) {
		return RecoveryCode{}, ErrRecovery
	}
	return RecoveryCode{body[:selectorChars], body[selectorChars:]}, nil
}

// MakeRecovery makes the recovery codes of a principal inside the caller's transaction, in the
// place of those that they had. The codes are not kept. prepared comes from PrepareRecovery,
// because slow hashes are not made while a log is locked.
func (s *Store) MakeRecovery(ctx context.Context, q db.Queryer, principal uint64, prepared Recovery, at time.Time) error {
	err := q.Rows(ctx, func(r db.Row) error {
		x, err := scanRecovery(r)
		rights.Changed(q, x.gone())
		return err
	}, sqlRecoveryOf, int64(principal))
	if err != nil {
		return fmt.Errorf("reading recovery codes: %w", err)
	}
	if _, err := q.Exec(ctx, sqlEndRecovery, int64(principal)); err != nil {
		return fmt.Errorf("ending recovery codes: %w", err)
	}
	for _, x := range prepared.rows {
		x.principal, x.created = principal, at.UnixMicro()
		if _, err := q.Exec(ctx, sqlInsertRecovery, x.selector, int64(principal), x.salt, x.hash, x.created); err != nil {
			return fmt.Errorf("storing recovery codes: %w", err)
		}
		rights.Changed(q, x.row())
	}
	return nil
}

// Recovery are new recovery codes: in clear for their holder, and hashed.
type Recovery struct {
	Codes []string
	rows  []recovery
}

// PrepareRecovery makes codes that nothing knows yet.
func PrepareRecovery() (out Recovery) {
	for range RecoveryCodes {
		text := strings.ToLower(rand.Text()) // 26 characters of base32
		x := recovery{selector: text[:selectorChars], salt: make([]byte, 16)}
		rand.Read(x.salt)
		x.hash = slowHash(text[selectorChars:selectorChars+recoveryChars], x.salt)
		out.Codes, out.rows = append(out.Codes, RecoveryPrefix+text[:selectorChars+recoveryChars]), append(out.rows, x)
	}
	return out
}

// Recovers returns whose a recovery code is that can be used.
func (s *Store) Recovers(ctx context.Context, code RecoveryCode) (Principal, error) {
	x, p, err := s.recovery(ctx, code.selector)
	if err != nil {
		return p, err
	}
	if subtle.ConstantTimeCompare(slowHash(code.secret, x.salt), x.hash) != 1 || !p.Disabled.IsZero() {
		return p, ErrRecovery
	}
	return p, nil
}

func (s *Store) recovery(ctx context.Context, selector string) (x recovery, p Principal, err error) {
	err = rights.One(ctx, s.Rights, s.db, record.Group, func(q db.Queryer) (_ []rights.Row, err error) {
		if x, err = scanRecovery(q.Row(ctx, sqlFindRecovery, selector)); err == nil {
			p, err = scanPrincipal(q.Row(ctx, sqlPrincipalByID, int64(x.principal)))
		}
		if errors.Is(err, db.ErrNoRows) {
			return nil, ErrRecovery
		}
		if err != nil {
			return nil, fmt.Errorf("reading a recovery code: %w", err)
		}
		return []rights.Row{x.row(), p.row()}, nil
	})
	return x, p, err
}

// UseRecovery ends a recovery code inside the caller's transaction, once.
func (s *Store) UseRecovery(ctx context.Context, q db.Queryer, selector string, at time.Time) error {
	x, err := scanRecovery(q.Row(ctx, sqlFindRecovery, selector))
	if errors.Is(err, db.ErrNoRows) {
		return ErrRecovery
	}
	if err != nil {
		return fmt.Errorf("reading a recovery code: %w", err)
	}
	n, err := q.Exec(ctx, sqlUseRecovery, selector, at.UnixMicro())
	if err == nil && n == 0 {
		err = ErrRecovery
	}
	if err != nil {
		return fmt.Errorf("using a recovery code: %w", err)
	}
	rights.Changed(q, x.gone())
	return nil
}

// RecoveryLeft returns how many recovery codes a principal can still use.
func (s *Store) RecoveryLeft(ctx context.Context, principal uint64) (n int, err error) {
	err = s.db.Rows(ctx, func(r db.Row) error {
		_, err := scanRecovery(r)
		n++
		return err
	}, sqlRecoveryOf, int64(principal))
	if err != nil {
		return 0, fmt.Errorf("reading recovery codes: %w", err)
	}
	return n, nil
}
