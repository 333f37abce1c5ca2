package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

// MaxPasskeys bounds the usable passkeys of a principal.
const MaxPasskeys = 20

var (
	// ErrNoPasskey is returned for an unknown passkey, and for one that ended.
	ErrNoPasskey = fault.New(fault.Unauthenticated, "this passkey was not accepted: use another, a recovery code, or let yourself be invited again")
	// ErrPasskeys is returned for a principal with as many passkeys as one may have.
	ErrPasskeys = fault.Newf(fault.Conflict, "you have %d passkeys, the most allowed: end one with `cloakroom principal disconnect`", MaxPasskeys)
	// ErrPasskeyKnown is returned for an authenticator that is registered already.
	ErrPasskeyKnown = fault.New(fault.Conflict, "this passkey is registered already: sign in with it")
)

// Passkey is a credential by which a person signs: the public key that an authenticator made,
// and what it counts.
type Passkey struct {
	Credential uint64
	Principal  uint64
	Lineage    uint64
	Label      string
	Created    time.Time
	Expires    time.Time
	Record     string // the public key and what was said with it, as JSON
	Counter    uint32 // the highest that the authenticator showed
}

const (
	sqlInsertPasskey = `INSERT INTO passkeys (credential, record, counter) VALUES ($1, $2, $3)`
	sqlAllPasskeys   = `SELECT credential, record, counter FROM passkeys ORDER BY credential`
	sqlPasskey       = `SELECT credential, record, counter FROM passkeys WHERE credential = $1`
	sqlCountPasskey  = `UPDATE passkeys SET counter = $3 WHERE credential = $1 AND counter = $2`
	sqlUsablePasskey = `SELECT ` + credentialColumns + ` FROM credentials c JOIN passkeys k ON k.credential = c.id
		WHERE c.principal = $1 AND c.revoked = 0 AND (c.expires = 0 OR c.expires > $2) ORDER BY c.id LIMIT 100`
	sqlDropPasskey = `DELETE FROM passkeys WHERE credential = $1`
	sqlMendPasskey = `INSERT INTO passkeys (credential, record, counter) VALUES ($1, $2, $3)
		ON CONFLICT (credential) DO UPDATE SET record = excluded.record, counter = excluded.counter`
)

// tablePasskeys is the table of which the group's log has the rows.
const tablePasskeys = "passkeys"

func (x *Passkey) row() rights.Row {
	return rights.Row{Table: tablePasskeys, Key: rights.Key(x.Credential), Cells: []any{int64(x.Credential), x.Record, int64(x.Counter)}}
}

func scanPasskey(r db.Row) (x Passkey, err error) {
	var id, counter int64
	err = r.Scan(&id, &x.Record, &counter)
	x.Credential, x.Counter = uint64(id), uint32(counter)
	return x, err
}

// AddPasskey registers a passkey of a principal inside the caller's transaction, by the id
// that its authenticator knows it by. It is the first of a lineage.
func (s *Store) AddPasskey(ctx context.Context, q db.Queryer, principal uint64, raw []byte, x Passkey, expires, at time.Time) (Passkey, error) {
	have, err := credentials(ctx, q, sqlUsablePasskey, int64(principal), at.UnixMicro())
	if err != nil {
		return x, err
	}
	if len(have) >= MaxPasskeys {
		return x, ErrPasskeys
	}
	hash := marked(passkeyMark, string(raw))
	var c credential
	var p Principal
	if err := scanBoth(q.Row(ctx, sqlAuthenticate, hash), &c, &p); !errors.Is(err, db.ErrNoRows) {
		if err != nil {
			return x, fmt.Errorf("registering a passkey: %w", err)
		}
		return x, ErrPasskeyKnown
	}
	x.Credential, err = s.insertCredential(ctx, q, principal, 0, hash, x.Label, "", expires, at)
	if err != nil {
		return x, err
	}
	if _, err := q.Exec(ctx, sqlInsertPasskey, int64(x.Credential), x.Record, int64(x.Counter)); err != nil {
		return x, fmt.Errorf("registering a passkey: %w", err)
	}
	rights.Changed(q, x.row())
	x.Principal, x.Lineage, x.Created, x.Expires = principal, x.Credential, at, expires
	return x, nil
}

// Passkey returns the passkey of the id that its authenticator knows it by, and whose it is.
// It is ErrNoPasskey where that may not sign in.
func (s *Store) Passkey(ctx context.Context, raw []byte) (x Passkey, p Principal, err error) {
	hash := marked(passkeyMark, string(raw))
	var c credential
	err = rights.One(ctx, s.Rights, s.db, record.Group, func(q db.Queryer) ([]rights.Row, error) {
		err := scanBoth(q.Row(ctx, sqlAuthenticate, hash), &c, &p)
		if err == nil {
			x, err = scanPasskey(q.Row(ctx, sqlPasskey, int64(c.ID)))
		}
		if errors.Is(err, db.ErrNoRows) {
			return nil, ErrNoPasskey
		}
		if err != nil {
			return nil, fmt.Errorf("reading a passkey: %w", err)
		}
		return []rights.Row{c.row(), p.row(), x.row()}, nil
	})
	if err != nil {
		return x, p, err
	}
	now, err := s.db.Estimate(ctx)
	if err == nil && (!c.Revoked.IsZero() || !p.Disabled.IsZero() || !c.Expires.IsZero() && !c.Expires.After(now)) {
		err = ErrNoPasskey
	}
	x.Principal, x.Lineage, x.Label, x.Created, x.Expires = p.ID, c.Lineage, c.Label, c.Created, c.Expires
	return x, p, err
}

// Passkeys returns the usable passkeys of a principal.
func (s *Store) Passkeys(ctx context.Context, principal uint64) (out []Passkey, err error) {
	now, err := s.db.Estimate(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading passkeys: %w", err)
	}
	err = rights.One(ctx, s.Rights, s.db, record.Group, func(q db.Queryer) ([]rights.Row, error) {
		list, err := credentials(ctx, q, sqlUsablePasskey, int64(principal), now.UnixMicro())
		if err != nil {
			return nil, err
		}
		out = nil
		var rows []rights.Row
		for i := range list {
			c := &list[i]
			x, err := scanPasskey(q.Row(ctx, sqlPasskey, int64(c.ID)))
			if err != nil {
				return nil, fmt.Errorf("reading a passkey: %w", err)
			}
			x.Principal, x.Lineage, x.Label, x.Created, x.Expires = principal, c.Lineage, c.Label, c.Created, c.Expires
			out, rows = append(out, x), append(rows, c.row(), x.row())
		}
		return rows, nil
	})
	return out, err
}

// Counted notes what a passkey counts now, inside the caller's transaction. Where another
// signature was faster, it is revision.ErrMoved, and the request is to be made again.
func (s *Store) Counted(ctx context.Context, q db.Queryer, x Passkey, counter uint32) error {
	if x.Counter == counter {
		return nil
	}
	n, err := q.Exec(ctx, sqlCountPasskey, int64(x.Credential), int64(x.Counter), int64(counter))
	if err != nil {
		return fmt.Errorf("noting what a passkey counts: %w", err)
	}
	if n == 0 {
		return revision.ErrMoved
	}
	if err := rights.Holds(q, x.row()); err != nil {
		return err
	}
	x.Counter = counter
	rights.Changed(q, x.row())
	return nil
}
