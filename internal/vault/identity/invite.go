package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

// CodeValid is how long an invitation's code can be redeemed.
const CodeValid = 24 * time.Hour

// codePrefix begins a code, so that people and scanners know one.
const codePrefix = "cki_"

// ErrCode is returned for a code that was never given, was redeemed, or is over.
var ErrCode = fault.New(fault.NotFound, "no such invitation: codes are for one use within 24 hours; let yourself be invited again")

// Invitation lets its holder make a key: a new one of a principal, or one in the place of
// a credential's.
type Invitation struct {
	Principal  uint64
	Credential uint64 // whose key the new one takes the place of; 0: none
	Owner      uint64 // who alone may redeem it, with a key of their own; 0: whoever has the code
	Label      string
	KeyExpires time.Time // of the new key; zero: never
	MadeBy     uint64    // who asked for it
}

const (
	sqlInvite       = `INSERT INTO invitations (hash, principal, credential, owner, label, key_expires, made_by, created, expires, used) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)`
	invitedColumns  = `hash, principal, credential, owner, label, key_expires, made_by, created, expires`
	sqlInvited      = `SELECT ` + invitedColumns + ` FROM invitations WHERE hash = $1 AND used = 0 AND expires > $2`
	sqlOldInvites   = `SELECT ` + invitedColumns + ` FROM invitations WHERE used = 0 AND expires < $1`
	sqlOpenInvites  = `SELECT ` + invitedColumns + ` FROM invitations WHERE used = 0 AND principal = $1`
	sqlAllInvites   = `SELECT ` + invitedColumns + ` FROM invitations WHERE used = 0`
	sqlUseInvite    = `UPDATE invitations SET used = $2 WHERE hash = $1 AND used = 0 AND expires > $2`
	sqlDropInvites  = `UPDATE invitations SET used = $2 WHERE principal = $1 AND used = 0`
	sqlSweepInvites = `DELETE FROM invitations WHERE expires < $1`
	sqlMadeBy       = `UPDATE credentials SET made_by = $2 WHERE id = $1`
	sqlSetOwner     = `UPDATE principals SET owner = $2 WHERE id = $1`
	sqlGetOwner     = `SELECT owner FROM principals WHERE id = $1`
)

func codeHash(code string) []byte {
	h := sha256.Sum256([]byte(code))
	return h[:]
}

// Invite makes an invitation and returns its code, which is not kept.
func (s *Store) Invite(ctx context.Context, q db.Queryer, i Invitation, at time.Time) (string, error) {
	code := codePrefix + strings.ToLower(rand.Text())
	if err := endInvites(ctx, q, sqlOldInvites, at.Add(-30*24*time.Hour).UnixMicro()); err != nil {
		return "", err
	}
	if _, err := q.Exec(ctx, sqlSweepInvites, at.Add(-30*24*time.Hour).UnixMicro()); err != nil {
		return "", fmt.Errorf("sweeping invitations: %w", err)
	}
	_, err := q.Exec(ctx, sqlInvite, codeHash(code), int64(i.Principal), int64(i.Credential), int64(i.Owner), i.Label, db.Micros(i.KeyExpires), int64(i.MadeBy), at.UnixMicro(), at.Add(CodeValid).UnixMicro())
	if err != nil {
		return "", fmt.Errorf("inviting: %w", err)
	}
	r := invited{i, codeHash(code), at.UnixMicro(), at.Add(CodeValid).UnixMicro()}
	rights.Changed(q, r.row())
	return code, nil
}

// Invited returns the invitation of a code that can be redeemed at a time.
func (s *Store) Invited(ctx context.Context, q db.Queryer, code string, now time.Time) (Invitation, error) {
	i, err := scanInvited(q.Row(ctx, sqlInvited, codeHash(code), now.UnixMicro()))
	if errors.Is(err, db.ErrNoRows) {
		return i.Invitation, ErrCode
	}
	if err != nil {
		return i.Invitation, fmt.Errorf("reading an invitation: %w", err)
	}
	return i.Invitation, rights.Holds(q, i.row())
}

// invited is an Invitation with the rest of its row.
type invited struct {
	Invitation
	hash             []byte
	created, expires int64
}

// tableInvitations is the table of which the group's log has the rows that can be redeemed.
const tableInvitations = "invitations"

func (i *invited) row() rights.Row {
	return rights.Row{Table: tableInvitations, Key: hex.EncodeToString(i.hash), Cells: []any{
		int64(i.Principal), int64(i.Credential), int64(i.Owner), i.Label, db.Micros(i.KeyExpires), int64(i.MadeBy), i.created, i.expires}}
}

func scanInvited(r db.Row) (i invited, err error) {
	var principal, credential, owner, expires, by int64
	err = r.Scan(&i.hash, &principal, &credential, &owner, &i.Label, &expires, &by, &i.created, &i.expires)
	i.Principal, i.Credential, i.Owner, i.KeyExpires, i.MadeBy = uint64(principal), uint64(credential), uint64(owner), db.Time(expires), uint64(by)
	return i, err
}

// endInvites notes invitations that the transaction ends.
func endInvites(ctx context.Context, q db.Queryer, sql string, args ...any) error {
	err := q.Rows(ctx, func(r db.Row) error {
		i, err := scanInvited(r)
		gone := i.row()
		gone.Gone = true
		rights.Changed(q, gone)
		return err
	}, sql, args...)
	if err != nil {
		return fmt.Errorf("reading invitations: %w", err)
	}
	return nil
}

// Redeem makes the key of an invitation, once. The key that it takes the place of ends.
func (s *Store) Redeem(ctx context.Context, q db.Queryer, code string, at time.Time) (id, lineage uint64, key Key, err error) {
	i, err := s.Invited(ctx, q, code, at)
	if err != nil {
		return 0, 0, key, err
	}
	if err := s.UseCode(ctx, q, code, at); err != nil {
		return 0, 0, key, err
	}
	if i.Credential != 0 {
		lineage, key, err = s.Renew(ctx, q, i.Credential, at)
		return i.Credential, lineage, key, err
	}
	id, key, err = s.CreateCredential(ctx, q, i.Principal, 0, i.Label, i.KeyExpires, at)
	return id, id, key, err
}

// UseCode ends an invitation because it was redeemed, once.
func (s *Store) UseCode(ctx context.Context, q db.Queryer, code string, at time.Time) error {
	n, err := q.Exec(ctx, sqlUseInvite, codeHash(code), at.UnixMicro())
	if err == nil && n == 0 {
		err = ErrCode
	}
	if err != nil {
		return fmt.Errorf("redeeming an invitation: %w", err)
	}
	rights.Changed(q, rights.Row{Table: tableInvitations, Key: hex.EncodeToString(codeHash(code)), Gone: true})
	return nil
}

// Uninvite ends the invitations of a principal that nobody redeemed.
func (s *Store) Uninvite(ctx context.Context, q db.Queryer, principal uint64, at time.Time) error {
	if err := endInvites(ctx, q, sqlOpenInvites, int64(principal)); err != nil {
		return err
	}
	if _, err := q.Exec(ctx, sqlDropInvites, int64(principal), at.UnixMicro()); err != nil {
		return fmt.Errorf("ending invitations: %w", err)
	}
	return nil
}

// SetMaker notes who made a credential.
func (s *Store) SetMaker(ctx context.Context, q db.Queryer, credential, by uint64) error {
	if _, err := q.Exec(ctx, sqlMadeBy, int64(credential), int64(by)); err != nil {
		return fmt.Errorf("noting who made a key: %w", err)
	}
	return nil
}

// SetOwner registers the person who holds the keys of a service.
func (s *Store) SetOwner(ctx context.Context, q db.Queryer, service, owner uint64) error {
	if _, err := q.Exec(ctx, sqlSetOwner, int64(service), int64(owner)); err != nil {
		return fmt.Errorf("registering the owner of a service: %w", err)
	}
	rights.Changed(q, ownerRow(service, owner))
	return nil
}

// Owner returns who holds the keys of a service, 0 for nobody.
func (s *Store) Owner(ctx context.Context, service uint64) (uint64, error) {
	var owner int64
	err := rights.One(ctx, s.Rights, s.db, record.Group, func(q db.Queryer) ([]rights.Row, error) {
		if err := q.Row(ctx, sqlGetOwner, int64(service)).Scan(&owner); err != nil && !errors.Is(err, db.ErrNoRows) {
			return nil, fmt.Errorf("reading the owner of a service: %w", err)
		}
		return []rights.Row{ownerRow(service, uint64(owner))}, nil
	})
	return uint64(owner), err
}

// ownerRow is the column of principals that says who holds the keys of a service.
// tableOwners stands for the column of principals that names who redeems a service's keys.
const tableOwners = "owners"

func ownerRow(service, owner uint64) rights.Row {
	return rights.Row{Table: tableOwners, Key: rights.Key(service), Cells: []any{int64(service), int64(owner)}, Gone: owner == 0}
}
