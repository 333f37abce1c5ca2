package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

var (
	// ErrUnknownKey is returned for a key of no credential.
	ErrUnknownKey = fault.New(fault.Unauthenticated, "unknown API key")
	// ErrRevoked is returned for a credential that was revoked, or one made through it.
	ErrRevoked = fault.New(fault.Unauthenticated, "this credential was revoked")
	// ErrExpired is returned for a credential whose time is over.
	ErrExpired = fault.New(fault.Unauthenticated, "this credential has expired: ask an administrator for a new one")
	// ErrDisabled is returned for a principal that was disabled.
	ErrDisabled = fault.New(fault.Unauthenticated, "this principal is disabled")
	// ErrNoRole is returned for a caller without a role at a brand.
	ErrNoRole = fault.New(fault.NotFound, "you have no role at this brand: an administrator can grant one with `cloakroom principal role`")
	// ErrNoLineage is returned where there was nothing to revoke.
	ErrNoLineage = fault.New(fault.NotFound, "nothing was revoked: no such lineage, or already revoked; `cloakroom principal list` shows lineages")
	// ErrNoCredential is returned for a credential that there is not, or not any more.
	ErrNoCredential = fault.New(fault.NotFound, "no such credential, or it was revoked: `cloakroom principal list` shows all to administrators")
	// ErrLink is returned for a credential that is for one export, where it is shown for
	// anything else.
	ErrLink = fault.New(fault.Denied, "this key only downloads its export")
	// ErrChildren is returned where a lineage has as many living credentials as it may.
	ErrChildren = fault.Newf(fault.Conflict, "this lineage has %d living credentials, the most allowed: revoke those not in use with `cloakroom principal disconnect`", maxLineage)
	// ErrRevocations is returned where a lineage revoked as many of its own as it may for now.
	ErrRevocations = fault.Newf(fault.Conflict, "this lineage revoked credentials %d times within a minute: wait a minute, or let an administrator revoke the lineage", maxRevocations)
	// ErrNoPrincipal is returned for a principal that is not registered.
	ErrNoPrincipal = fault.New(fault.NotFound, "no such principal: `cloakroom principal list` shows all")
	// ErrExists is returned for a principal's name that is taken.
	ErrExists = fault.New(fault.Conflict, "a principal of this name already exists")
	// ErrName is returned for a name or kind that a principal cannot have.
	ErrName = fault.New(fault.Invalid, "a principal's name is 1 to 64 lower-case letters, digits, dots, hyphens and underscores, its kind person or service")
	// ErrParty is returned for a country or legal entity that cannot be one.
	ErrParty = fault.New(fault.Invalid, "a country is two capital letters such as IT, a legal entity up to 128 bytes without control characters")
)

// The kinds of principals.
const (
	Person  = "person"
	Service = "service"
)

// LocalAdministrator is the principal for whoever runs commands on the vault's own
// machine, under the account that owns its data.
const LocalAdministrator = "local-administrator"

// Principal is a person or service.
type Principal struct {
	ID       uint64
	Name     string
	Kind     string
	Country  string // where it works: ISO 3166-1, two letters; empty until set
	Entity   string // the legal entity that it works for; empty until set
	Created  time.Time
	Disabled time.Time // zero: not disabled
}

// Credential is one way in for a principal.
type Credential struct {
	ID      uint64
	Parent  uint64 // the credential through which it was made, 0: none
	Lineage uint64
	Kind    Proof
	Label   string
	Export  string // the one export that it is for, empty: not limited
	Created time.Time
	Expires time.Time // zero: never
	Revoked time.Time // zero: not revoked
	MadeBy  uint64    // who made it or had its holder invited; in lists alone, 0: not known
}

// Role is a principal's role at a brand; at record.Group it holds for every brand
// where no other is given.
type Role struct {
	Brand record.BrandID
	Role  string
}

// Store reads and writes principals, roles and credentials.
type Store struct {
	// Rights is what rows are held against; nil for nothing, as in a test of this package.
	Rights rights.Log
	// Begin makes the local administrator together with the entry that says so; nil where
	// there is no log.
	Begin func(ctx context.Context, role string, fn func(q db.Queryer, at time.Time) error) error

	db       *db.DB
	accepted revision.Cache[[32]byte, accepted] // by the key's hash
	sessions revision.Cache[[32]byte, accepted] // by the hash of the session's secret
	touched  touched
	local    revision.Cache[string, Caller] // by role
	roles    revision.Cache[roleKey, string]
}

// accepted is a credential that is neither revoked nor disabled.
type accepted struct {
	caller  Caller
	expires int64 // microseconds, 0: never
	session Session
}

type roleKey struct {
	principal uint64
	brand     record.BrandID
}

// New returns the store of a database.
func New(d *db.DB) *Store { return &Store{db: d} }

const (
	sqlNextPrincipal    = `SELECT coalesce(max(id), 0) + 1 FROM principals`
	sqlInsertPrincipal  = `INSERT INTO principals (id, name, kind, created, disabled) VALUES ($1, $2, $3, $4, 0) ON CONFLICT DO NOTHING`
	sqlPrincipalByName  = `SELECT id, name, kind, country, entity, created, disabled FROM principals WHERE name = $1`
	sqlSetParty         = `UPDATE principals SET country = $2, entity = $3 WHERE id = $1`
	sqlDisablePrincipal = `UPDATE principals SET disabled = $2 WHERE id = $1 AND disabled = 0`
	sqlSetRole          = `INSERT INTO roles (principal, brand, role, since) VALUES ($1, $2, $3, $4) ON CONFLICT (principal, brand) DO UPDATE SET role = excluded.role,
		since = CASE WHEN roles.role = excluded.role THEN roles.since ELSE excluded.since END`
	sqlRemoveRole     = `DELETE FROM roles WHERE principal = $1 AND brand = $2`
	sqlFindRoles      = `SELECT brand, role, since FROM roles WHERE principal = $1 AND brand IN ($2, 0) ORDER BY brand DESC`
	sqlNextCredential = `SELECT coalesce(max(id), 0) + 1 FROM credentials`
	sqlCredentialRoot = `SELECT root, principal, revoked FROM credentials WHERE id = $1`
	sqlAncestry       = `WITH RECURSIVE up(parent, expires, revoked) AS (SELECT parent, expires, revoked FROM credentials WHERE id = $1
		UNION ALL SELECT c.parent, c.expires, c.revoked FROM credentials c JOIN up ON c.id = up.parent)
		SELECT coalesce(min(CASE WHEN expires > 0 THEN expires END), 0), coalesce(max(revoked), 0) FROM up`
	sqlAbove = `WITH RECURSIVE up(id, parent) AS (SELECT id, parent FROM credentials WHERE id = $1
		UNION ALL SELECT c.id, c.parent FROM credentials c JOIN up ON c.id = up.parent)
		SELECT ` + credentialColumns + ` FROM credentials c JOIN up ON up.id = c.id`
	sqlDescends = `WITH RECURSIVE up(id, parent) AS (SELECT id, parent FROM credentials WHERE id = $1
		UNION ALL SELECT c.id, c.parent FROM credentials c JOIN up ON c.id = up.parent)
		SELECT count(*) FROM up WHERE id = $2`
	sqlInsertCredential = `INSERT INTO credentials (id, principal, parent, root, hash, label, created, expires, revoked, scope) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9) ON CONFLICT DO NOTHING`
	sqlLockLineage      = `UPDATE credentials SET revoked = revoked WHERE id = $1`
	// Two ranges of an index: the dead are not read.
	sqlCountLineage    = `SELECT (SELECT count(*) FROM credentials WHERE root = $1 AND revoked = 0 AND expires = 0) + (SELECT count(*) FROM credentials WHERE root = $1 AND revoked = 0 AND expires > $2)`
	sqlRenewCredential = `UPDATE credentials SET hash = $2, keyed = $3 WHERE id = $1 AND revoked = 0 AND length(hash) = 32 RETURNING root`
	sqlRevokeLineage   = `UPDATE credentials SET revoked = $2 WHERE root = $1 AND revoked = 0`
	sqlRevokeOne       = `WITH RECURSIVE down(id) AS (SELECT id FROM credentials WHERE id = $1
		UNION ALL SELECT c.id FROM credentials c JOIN down ON c.parent = down.id WHERE c.root = $3 AND c.revoked = 0)
		UPDATE credentials SET revoked = $2 WHERE revoked = 0 AND root = $3 AND id IN (SELECT id FROM down)`
	sqlThrough = `WITH RECURSIVE down(id) AS (SELECT id FROM credentials WHERE id = $1
		UNION ALL SELECT c.id FROM credentials c JOIN down ON c.parent = down.id) SELECT id FROM down ORDER BY id LIMIT 1000`
	sqlRevocations     = `SELECT count(DISTINCT revoked) FROM credentials WHERE root = $1 AND revoked > $2`
	sqlAuthenticate    = `SELECT ` + credentialColumns + `, ` + principalColumns + ` FROM credentials c JOIN principals p ON p.id = c.principal WHERE c.hash = $1`
	sqlLive            = `SELECT c.parent, c.revoked, p.disabled FROM credentials c JOIN principals p ON p.id = c.principal WHERE c.id = $1`
	sqlLocalCredential = `SELECT c.id, c.root FROM credentials c WHERE c.principal = $1 AND c.label = $2 ORDER BY c.id LIMIT 1`
)

const (
	// maxLineage bounds the living credentials of one lineage.
	maxLineage = 1000
	// maxRevocations bounds how often a lineage may revoke some of its own within a
	// minute. Each revocation makes requests in flight start over, at every brand.
	maxRevocations = 20
)

// attempts bounds how often a number is drawn anew because another server took it.
const attempts = 20

// ValidName reports whether a principal may have a name.
func ValidName(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
	})
}

// CreatePrincipal registers a principal inside the caller's transaction.
func (s *Store) CreatePrincipal(ctx context.Context, q db.Queryer, name, kind string, at time.Time) (uint64, error) {
	if !ValidName(name) || kind != Person && kind != Service {
		return 0, ErrName
	}
	for range attempts {
		var id int64
		if err := q.Row(ctx, sqlNextPrincipal).Scan(&id); err != nil {
			return 0, fmt.Errorf("numbering a principal: %w", err)
		}
		n, err := q.Exec(ctx, sqlInsertPrincipal, id, name, kind, at.UnixMicro())
		if err != nil {
			return 0, fmt.Errorf("registering the principal %s: %w", name, err)
		}
		if n == 1 {
			p := Principal{ID: uint64(id), Name: name, Kind: kind, Created: at}
			rights.Changed(q, p.row())
			return p.ID, nil
		}
		if _, err := scanPrincipal(q.Row(ctx, sqlPrincipalByName, name)); err == nil {
			return 0, fmt.Errorf("%s: %w", name, ErrExists)
		}
	}
	return 0, errors.New("registering a principal: too many concurrent registrations; retry")
}

// maxEntity bounds the name of a legal entity.
const maxEntity = 128

// SetParty says where a principal works and for which legal entity, for the entries of
// what it does from then on.
func (s *Store) SetParty(ctx context.Context, q db.Queryer, principal uint64, country, entity string) error {
	letters := func(c rune) bool { return c < 'A' || c > 'Z' }
	if country != "" && (len(country) != 2 || strings.ContainsFunc(country, letters)) || len(entity) > maxEntity || strings.ContainsFunc(entity, unicode.IsControl) {
		return ErrParty
	}
	if _, err := q.Exec(ctx, sqlSetParty, int64(principal), country, entity); err != nil {
		return fmt.Errorf("setting where a principal works: %w", err)
	}
	if err := changedPrincipal(ctx, q, principal); err != nil {
		return err
	}
	return revision.Bump(ctx, q)
}

// SetRole gives a principal its one role at a brand, from a time on. A role that the
// principal has already keeps its time.
func (s *Store) SetRole(ctx context.Context, q db.Queryer, principal uint64, brand record.BrandID, role string, at time.Time) error {
	// The role that is there may keep its time, and is written into the log as it is.
	var was string
	var since int64
	switch err := q.Row(ctx, sqlRoleSince, int64(principal), int64(brand)).Scan(&was, &since); {
	case errors.Is(err, db.ErrNoRows):
	case err != nil:
		return fmt.Errorf("giving a role: %w", err)
	default:
		if err := rights.Holds(q, roleRow(principal, brand, was, since)); err != nil {
			return err
		}
	}
	if err := s.FirstRole(ctx, q, principal, brand, role, at); err != nil {
		return err
	}
	return revision.Bump(ctx, q)
}

// FirstRole gives a role to a principal that the same transaction registered: it takes
// nothing away from anybody, and so begins no revision.
func (s *Store) FirstRole(ctx context.Context, q db.Queryer, principal uint64, brand record.BrandID, role string, at time.Time) error {
	if _, err := q.Exec(ctx, sqlSetRole, int64(principal), int64(brand), role, at.UnixMicro()); err != nil {
		return fmt.Errorf("giving a role: %w", err)
	}
	var is string
	var since int64 // of a role that was there already, its own
	if err := q.Row(ctx, sqlRoleSince, int64(principal), int64(brand)).Scan(&is, &since); err != nil {
		return fmt.Errorf("giving a role: %w", err)
	}
	rights.Changed(q, roleRow(principal, brand, role, since))
	return nil
}

// RemoveRole takes a principal's role at a brand; ErrNoRole if it has none.
func (s *Store) RemoveRole(ctx context.Context, q db.Queryer, principal uint64, brand record.BrandID) error {
	n, err := q.Exec(ctx, sqlRemoveRole, int64(principal), int64(brand))
	if err != nil {
		return fmt.Errorf("taking a role: %w", err)
	}
	if n == 0 {
		return ErrNoRole
	}
	rights.Changed(q, noRole(principal, brand))
	return revision.Bump(ctx, q)
}

// Disable ends every credential of a principal at once.
func (s *Store) Disable(ctx context.Context, q db.Queryer, principal uint64, at time.Time) error {
	n, err := q.Exec(ctx, sqlDisablePrincipal, int64(principal), at.UnixMicro())
	if err == nil && n == 0 {
		err = ErrNoPrincipal
	}
	if err != nil {
		return fmt.Errorf("disabling a principal: %w", err)
	}
	if err := changedPrincipal(ctx, q, principal); err != nil {
		return err
	}
	return revision.Bump(ctx, q)
}

// CreateCredential makes a credential inside the caller's transaction and returns
// its key, which is not kept. parent is the credential through which it is made, or
// 0; a child is of its parent's lineage and principal, and ends with it at the latest.
// A zero expires means never.
func (s *Store) CreateCredential(ctx context.Context, q db.Queryer, principal, parent uint64, label string, expires, at time.Time) (uint64, Key, error) {
	return s.createKey(ctx, q, principal, parent, label, "", expires, at)
}

// CreateLink makes a credential as CreateCredential does, through parent, that can
// download one export and do nothing else. It ends with the export, whose end two people
// approved, and not with the session that asked for it; revoking the session ends it.
func (s *Store) CreateLink(ctx context.Context, q db.Queryer, principal, parent uint64, export string, expires, at time.Time) (uint64, Key, error) {
	return s.createKey(ctx, q, principal, parent, export, export, expires, at)
}

func (s *Store) createKey(ctx context.Context, q db.Queryer, principal, parent uint64, label, export string, expires, at time.Time) (uint64, Key, error) {
	key := NewKey()
	hash := key.Hash()
	id, err := s.insertCredential(ctx, q, principal, parent, hash[:], label, export, expires, at)
	return id, key, err
}

func (s *Store) insertCredential(ctx context.Context, q db.Queryer, principal, parent uint64, hash []byte, label, export string, expires, at time.Time) (uint64, error) {
	var root int64
	if parent != 0 {
		var owner, revoked int64
		if err := q.Row(ctx, sqlCredentialRoot, int64(parent)).Scan(&root, &owner, &revoked); err != nil {
			return 0, fmt.Errorf("reading the credential's parent: %w", err)
		}
		if err := lockLineage(ctx, q, root); err != nil {
			return 0, err
		}
		if err := q.Row(ctx, sqlCredentialRoot, int64(parent)).Scan(&root, &owner, &revoked); err != nil {
			return 0, fmt.Errorf("reading the credential's parent again: %w", err)
		}
		if revoked != 0 {
			return 0, ErrRevoked
		}
		if uint64(owner) != principal {
			return 0, errors.New("a credential belongs to the principal of the one through which it is made")
		}
		latest, gone, err := ancestry(ctx, q, int64(parent))
		switch {
		case err != nil:
			return 0, err
		case gone:
			return 0, ErrRevoked
		case export != "":
		case !latest.IsZero() && !latest.After(at):
			return 0, ErrExpired
		default:
			expires = Earlier(expires, latest)
		}
		var have int64
		if err := q.Row(ctx, sqlCountLineage, root, at.UnixMicro()).Scan(&have); err != nil {
			return 0, fmt.Errorf("counting the credentials of a lineage: %w", err)
		}
		if have >= maxLineage {
			return 0, ErrChildren
		}
	}
	until := db.Micros(expires)
	for range attempts {
		var id int64
		if err := q.Row(ctx, sqlNextCredential).Scan(&id); err != nil {
			return 0, fmt.Errorf("numbering a credential: %w", err)
		}
		r := root
		if parent == 0 {
			r = id
		}
		n, err := q.Exec(ctx, sqlInsertCredential, id, int64(principal), int64(parent), r, hash, label, at.UnixMicro(), until, export)
		if err != nil {
			return 0, fmt.Errorf("storing a credential: %w", err)
		}
		if n == 1 {
			c := credential{
				Credential: Credential{ID: uint64(id), Parent: parent, Lineage: uint64(r), Label: label, Export: export, Created: at, Expires: expires},
				principal:  principal, hash: hash,
			}
			rights.Changed(q, c.row())
			return c.ID, nil
		}
	}
	return 0, errors.New("storing a credential: too many concurrent creations; retry")
}

// ancestry returns when the first of a credential and those through which it was made
// expires, zero for never, and whether one of them is revoked. Rows from before children
// took over their parents' expiry need it, and whoever changes a parent's row.
func ancestry(ctx context.Context, q db.Queryer, credential int64) (latest time.Time, revoked bool, err error) {
	var expires, gone int64
	if err := q.Row(ctx, sqlAncestry, credential).Scan(&expires, &gone); err != nil {
		return time.Time{}, false, fmt.Errorf("reading through what a credential was made: %w", err)
	}
	return db.Time(expires), gone != 0, nil
}

// Latest returns when what is made through a credential ends at the latest, zero for never.
func (s *Store) Latest(ctx context.Context, q db.Queryer, credential uint64) (time.Time, error) {
	latest, _, err := ancestry(ctx, q, int64(credential))
	return latest, err
}

// Earlier returns the earlier of two ends of time, where zero means never.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// lockLineage waits for whoever else adds to a lineage or revokes it. So who adds sees
// that it is revoked, or who revokes sees what was added. Adding begins no revision:
// a thief who adds without end would make every other request start over.
func lockLineage(ctx context.Context, q db.Queryer, root int64) error {
	if _, err := q.Exec(ctx, sqlLockLineage, root); err != nil {
		return fmt.Errorf("locking a lineage: %w", err)
	}
	return nil
}

// Renew gives a credential another key in the place of the one that it had, and returns
// its lineage. What was made through it is untouched. One that never had a key, as the
// local administrator's, gets none.
func (s *Store) Renew(ctx context.Context, q db.Queryer, credential uint64, at time.Time) (lineage uint64, key Key, err error) {
	list, err := credentials(ctx, q, sqlCredentialByID, int64(credential))
	if err != nil {
		return 0, Key{}, err
	}
	for i := range list { // what the log says of it again is what it said
		if err := rights.Holds(q, list[i].row()); err != nil {
			return 0, Key{}, err
		}
	}
	key = NewKey()
	hash := key.Hash()
	var root int64
	err = q.Row(ctx, sqlRenewCredential, int64(credential), hash[:], at.UnixMicro()).Scan(&root)
	if errors.Is(err, db.ErrNoRows) {
		return 0, Key{}, ErrNoCredential
	}
	if err != nil {
		return 0, Key{}, fmt.Errorf("renewing a credential: %w", err)
	}
	if err := changedCredentials(ctx, q, sqlCredentialByID, int64(credential)); err != nil {
		return 0, Key{}, err
	}
	return uint64(root), key, revision.Bump(ctx, q)
}

// Lineage returns the lineage of a credential, and whose it is.
func (s *Store) Lineage(ctx context.Context, credential uint64) (lineage, principal uint64, err error) {
	var root, owner, revoked int64
	err = s.db.Row(ctx, sqlCredentialRoot, int64(credential)).Scan(&root, &owner, &revoked)
	if errors.Is(err, db.ErrNoRows) {
		return 0, 0, ErrNoCredential
	}
	if err != nil {
		return 0, 0, fmt.Errorf("reading a credential: %w", err)
	}
	return uint64(root), uint64(owner), nil
}

// Live returns why a credential that was let in once would not be now: ErrRevoked or
// ErrDisabled. That its time is over is not looked at.
func (s *Store) Live(ctx context.Context, credential uint64) error {
	var parent, revoked, disabled int64
	err := s.db.Row(ctx, sqlLive, int64(credential)).Scan(&parent, &revoked, &disabled)
	above := false
	if err == nil && parent != 0 {
		_, above, err = ancestry(ctx, s.db, parent)
	}
	switch {
	case errors.Is(err, db.ErrNoRows):
		return ErrNoCredential
	case err != nil:
		return fmt.Errorf("reading a credential: %w", err)
	case revoked != 0 || above:
		return ErrRevoked
	case disabled != 0:
		return ErrDisabled
	}
	return nil
}

// Revoke ends a lineage: a credential and all made through it. It returns how many
// there were.
func (s *Store) Revoke(ctx context.Context, q db.Queryer, lineage uint64, at time.Time) (int, error) {
	if err := revision.Bump(ctx, q); err != nil {
		return 0, err
	}
	if err := lockLineage(ctx, q, int64(lineage)); err != nil {
		return 0, err
	}
	n, err := q.Exec(ctx, sqlRevokeLineage, int64(lineage), at.UnixMicro())
	if err != nil {
		return 0, fmt.Errorf("revoking a lineage: %w", err)
	}
	return int(n), changedCredentials(ctx, q, sqlRevokedAt, int64(lineage), at.UnixMicro())
}

// RevokeOne ends a credential and all made through it, and returns how many those were:
// ErrNoCredential where there was nothing to end. The rest of the lineage goes on.
func (s *Store) RevokeOne(ctx context.Context, q db.Queryer, credential uint64, at time.Time) (int, error) {
	if err := revision.Bump(ctx, q); err != nil {
		return 0, err
	}
	var root, owner, revoked int64
	err := q.Row(ctx, sqlCredentialRoot, int64(credential)).Scan(&root, &owner, &revoked)
	if errors.Is(err, db.ErrNoRows) {
		return 0, ErrNoCredential
	}
	if err != nil {
		return 0, fmt.Errorf("reading a credential: %w", err)
	}
	if err := lockLineage(ctx, q, root); err != nil {
		return 0, err
	}
	n, err := q.Exec(ctx, sqlRevokeOne, int64(credential), at.UnixMicro(), root)
	if err != nil {
		return 0, fmt.Errorf("revoking a credential: %w", err)
	}
	if n == 0 {
		return 0, ErrNoCredential
	}
	return int(n), changedCredentials(ctx, q, sqlRevokedAt, root, at.UnixMicro())
}

// Through returns a credential and all made through it: of the first of a lineage, the
// lineage. It returns none for an unknown credential.
func (s *Store) Through(ctx context.Context, credential uint64) (ids []uint64, err error) {
	err = s.db.Rows(ctx, func(r db.Row) error {
		var id int64
		err := r.Scan(&id)
		ids = append(ids, uint64(id))
		return err
	}, sqlThrough, int64(credential))
	if err != nil {
		return nil, fmt.Errorf("reading what was made through a credential: %w", err)
	}
	return ids, nil
}

// Made reports whether a credential is another, or was made through it.
func (s *Store) Made(ctx context.Context, credential, through uint64) (bool, error) {
	var n int64
	if err := s.db.Row(ctx, sqlDescends, int64(credential), int64(through)).Scan(&n); err != nil {
		return false, fmt.Errorf("reading through what a credential was made: %w", err)
	}
	return n != 0, nil
}

// MayRevoke returns ErrRevocations where a lineage revoked so many of its own lately that
// it has to wait.
func (s *Store) MayRevoke(ctx context.Context, q db.Queryer, lineage uint64, at time.Time) error {
	var n int64
	if err := q.Row(ctx, sqlRevocations, int64(lineage), at.Add(-time.Minute).UnixMicro()).Scan(&n); err != nil {
		return fmt.Errorf("counting revocations: %w", err)
	}
	if n >= maxRevocations {
		return ErrRevocations
	}
	return nil
}

// Authenticate returns who holds a key. The database finds the hash of the key, not
// the key: how long it takes tells nothing of use.
func (s *Store) Authenticate(ctx context.Context, key Key) (Caller, error) {
	hash := key.Hash()
	a, err := s.accepted.Get(ctx, hash, func() (accepted, error) { return s.accept(ctx, hash[:]) })
	if err != nil || a.expires == 0 {
		return a.caller, err
	}
	now, err := s.db.Estimate(ctx)
	if err != nil {
		return Caller{}, fmt.Errorf("authenticating: %w", err)
	}
	if a.expires <= now.UnixMicro() {
		return Caller{}, ErrExpired
	}
	return a.caller, nil
}

// accept reads the credential of a hash, whose it is, and through what it was made.
func (s *Store) accept(ctx context.Context, hash []byte) (a accepted, err error) {
	var c credential
	var p Principal
	var above []credential
	err = rights.One(ctx, s.Rights, s.db, record.Group, func(q db.Queryer) ([]rights.Row, error) {
		err := scanBoth(q.Row(ctx, sqlAuthenticate, hash), &c, &p)
		above, a = nil, accepted{}
		if errors.Is(err, db.ErrNoRows) {
			return nil, ErrUnknownKey
		}
		if err == nil && c.Parent != 0 {
			above, err = credentials(ctx, q, sqlAbove, int64(c.Parent))
		}
		if err != nil {
			return nil, fmt.Errorf("authenticating: %w", err)
		}
		rows := []rights.Row{c.row(), p.row()}
		for i := range above {
			rows = append(rows, above[i].row())
		}
		if id := through(&c, above); id != 0 {
			if a.session, err = session(ctx, q, id); err != nil {
				return nil, err
			}
			rows = append(rows, a.session.row())
		}
		return rows, nil
	})
	switch {
	case err != nil:
		return accepted{}, err
	case !c.Revoked.IsZero():
		return accepted{}, ErrRevoked
	case !p.Disabled.IsZero():
		return accepted{}, ErrDisabled
	}
	for i := range above {
		if !above[i].Revoked.IsZero() {
			return accepted{}, ErrRevoked
		}
		if c.Export == "" { // a link ends with its export
			c.Expires = Earlier(c.Expires, above[i].Expires)
		}
	}
	a.expires = db.Micros(c.Expires)
	a.caller = Caller{Name: p.Name, Country: p.Country, Entity: p.Entity, Export: c.Export, Principal: p.ID, Credential: c.ID, Lineage: c.Lineage,
		Session: a.session.Credential, Only: a.session.Only}
	return a, nil
}

// Who returns a caller in its role at a brand: the brand's own, else the group's.
func (s *Store) Who(ctx context.Context, c Caller, brand record.BrandID) (Who, error) {
	role, err := s.roles.Get(ctx, roleKey{c.Principal, brand}, func() (string, error) { return s.role(ctx, c.Principal, brand) })
	if err != nil {
		return Who{}, err
	}
	if !c.lets(brand, role) {
		return Who{}, ErrNoRole
	}
	return Who{Caller: c, Brand: brand, Role: role}, nil
}

func (s *Store) role(ctx context.Context, principal uint64, brand record.BrandID) (role string, err error) {
	err = rights.One(ctx, s.Rights, s.db, record.Group, func(q db.Queryer) ([]rights.Row, error) {
		role = ""
		type have struct {
			role  string
			since int64
		}
		found := map[record.BrandID]have{}
		err := q.Rows(ctx, func(r db.Row) error {
			var b int64
			var given have
			err := r.Scan(&b, &given.role, &given.since)
			found[record.BrandID(b)] = given
			return err
		}, sqlFindRoles, int64(principal), int64(brand))
		if err != nil {
			return nil, fmt.Errorf("reading a role: %w", err)
		}
		var rows []rights.Row
		for _, b := range []record.BrandID{brand, record.Group} { // where the brand's own was deleted, the group's does not count
			given, ok := found[b]
			if !ok {
				rows = append(rows, noRole(principal, b))
				continue
			}
			rows = append(rows, roleRow(principal, b, given.role, given.since))
			if role == "" {
				role = given.role
			}
		}
		return rows, nil
	})
	if err == nil && role == "" {
		err = ErrNoRole
	}
	return role, err
}

const localLabel = "local"

// EnsureLocal returns the local administrator, whose credential has no key. role is
// its role at the group, given when it is first made.
func (s *Store) EnsureLocal(ctx context.Context, role string) (Caller, error) {
	return s.local.Get(ctx, role, func() (Caller, error) { return s.ensureLocal(ctx, role) })
}

func (s *Store) ensureLocal(ctx context.Context, role string) (Caller, error) {
	c, err := s.findLocal(ctx)
	if errors.Is(err, db.ErrNoRows) {
		begin := s.Begin
		if begin == nil {
			begin = s.unlogged
		}
		if err = begin(ctx, role, func(q db.Queryer, at time.Time) error { return s.createLocal(ctx, q, role, at) }); err == nil || errors.Is(err, ErrExists) {
			c, err = s.findLocal(ctx) // another server was faster, perhaps
		}
	}
	if err != nil {
		return Caller{}, fmt.Errorf("finding the local administrator: %w", err)
	}
	return c, nil
}

// unlogged begins where there is no log.
func (s *Store) unlogged(ctx context.Context, _ string, fn func(q db.Queryer, at time.Time) error) error {
	return s.db.Tx(ctx, func(q db.Queryer) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		return fn(q, now)
	})
}

func (s *Store) findLocal(ctx context.Context) (Caller, error) {
	var id, root int64
	p, err := scanPrincipal(s.db.Row(ctx, sqlPrincipalByName, LocalAdministrator))
	if err == nil {
		err = s.db.Row(ctx, sqlLocalCredential, int64(p.ID), localLabel).Scan(&id, &root)
	}
	return Caller{Name: LocalAdministrator, Owner: true, Principal: p.ID, Credential: uint64(id), Lineage: uint64(root)}, err
}

func (s *Store) createLocal(ctx context.Context, q db.Queryer, role string, at time.Time) error {
	id, err := s.CreatePrincipal(ctx, q, LocalAdministrator, Person, at)
	if err == nil {
		err = s.FirstRole(ctx, q, id, record.Group, role, at)
	}
	if err == nil { // no key has an empty hash
		_, err = s.insertCredential(ctx, q, id, 0, []byte{}, localLabel, "", time.Time{}, at)
	}
	return err
}
