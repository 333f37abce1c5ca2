package identity

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

// The tables whose rows the group's log has digests of, see package rights.
const (
	tablePrincipals  = "principals"
	tableRoles       = "roles"
	tableCredentials = "credentials"
)

const (
	principalColumns  = `p.id, p.name, p.kind, p.country, p.entity, p.created, p.disabled`
	credentialColumns = `c.id, c.principal, c.parent, c.root, c.hash, c.label, c.created, c.expires, c.revoked, c.scope, c.keyed`

	sqlCredentialByID = `SELECT ` + credentialColumns + ` FROM credentials c WHERE c.id = $1`
	sqlRevokedAt      = `SELECT ` + credentialColumns + ` FROM credentials c WHERE c.root = $1 AND c.revoked = $2`
	sqlRoleSince      = `SELECT role, since FROM roles WHERE principal = $1 AND brand = $2`
	sqlRolesOf        = `SELECT brand, role, since FROM roles WHERE principal = $1`
	sqlCredentialsOf  = `SELECT ` + credentialColumns + ` FROM credentials c WHERE c.principal = $1`
	sqlAllOwners      = `SELECT id, owner FROM principals WHERE owner <> 0 ORDER BY id`
	sqlAllPrincipals  = `SELECT ` + principalColumns + ` FROM principals p ORDER BY p.id`
	sqlAllRoles       = `SELECT principal, brand, role, since FROM roles ORDER BY principal, brand`
	sqlAllCredentials = `SELECT ` + credentialColumns + ` FROM credentials c ORDER BY c.id`

	sqlMendPrincipal = `INSERT INTO principals (id, name, kind, created, disabled, country, entity) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, kind = excluded.kind, created = excluded.created, disabled = excluded.disabled, country = excluded.country, entity = excluded.entity`
	sqlMendRole = `INSERT INTO roles (principal, brand, role, since) VALUES ($1, $2, $3, $4)
		ON CONFLICT (principal, brand) DO UPDATE SET role = excluded.role, since = excluded.since`
	sqlMendCredential = `INSERT INTO credentials (id, principal, parent, root, hash, label, created, expires, revoked, scope, keyed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (id) DO UPDATE SET principal = excluded.principal, parent = excluded.parent, root = excluded.root, hash = excluded.hash, label = excluded.label,
		created = excluded.created, expires = excluded.expires, revoked = excluded.revoked, scope = excluded.scope, keyed = excluded.keyed`
	sqlMendInvitation = `INSERT INTO invitations (hash, principal, credential, owner, label, key_expires, made_by, created, expires, used) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)
		ON CONFLICT (hash) DO UPDATE SET principal = excluded.principal, credential = excluded.credential, owner = excluded.owner, label = excluded.label,
		key_expires = excluded.key_expires, made_by = excluded.made_by, created = excluded.created, expires = excluded.expires, used = 0`
	sqlDropPrincipal  = `DELETE FROM principals WHERE id = $1`
	sqlDropCredential = `DELETE FROM credentials WHERE id = $1`
	sqlDropInvitation = `DELETE FROM invitations WHERE hash = $1`
)

// Mend writes a row as the log has it, or removes one that is gone. It reports false for a
// table of another store.
func (s *Store) Mend(ctx context.Context, q db.Queryer, _ record.BrandID, r rights.Row) (bool, error) {
	write, args := "", r.Cells
	if r.Gone || r.Table == tableInvitations {
		key, err := keyCells(&r)
		if err != nil {
			return true, err
		}
		if args = key; !r.Gone {
			args = append(key, r.Cells...)
		}
	}
	switch r.Table {
	case tablePrincipals:
		write = pick(r.Gone, sqlDropPrincipal, sqlMendPrincipal)
	case tableRoles:
		write = pick(r.Gone, sqlRemoveRole, sqlMendRole)
	case tableCredentials:
		write = pick(r.Gone, sqlDropCredential, sqlMendCredential)
	case tableInvitations:
		write = pick(r.Gone, sqlDropInvitation, sqlMendInvitation)
	case tableSessions:
		write = pick(r.Gone, sqlDropSession, sqlMendSession)
	case tablePasskeys:
		write = pick(r.Gone, sqlDropPasskey, sqlMendPasskey)
	case tableRecovery:
		if write = pick(r.Gone, sqlDropRecovery, sqlMendRecovery); r.Gone {
			args = []any{r.Key}
		}
	case tableOwners:
		if write = sqlSetOwner; r.Gone {
			args = append(args, int64(0))
		}
	default:
		return false, nil
	}
	if _, err := q.Exec(ctx, write, args...); err != nil {
		return true, fmt.Errorf("mending a row of %s: %w", r.Table, err)
	}
	return true, nil
}

func pick(gone bool, drop, write string) string {
	if gone {
		return drop
	}
	return write
}

// keyCells are the columns of a row's key.
func keyCells(r *rights.Row) (out []any, err error) {
	switch r.Table {
	case tableInvitations:
		hash, err := hex.DecodeString(r.Key)
		return []any{hash}, err
	case tablePrincipals, tableRoles, tableCredentials, tableOwners, tableSessions, tablePasskeys:
	default:
		return nil, nil
	}
	for part := range strings.SplitSeq(r.Key, ".") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("the key of a row of %s: %w", r.Table, err)
		}
		out = append(out, n)
	}
	return out, nil
}

// credential is a Credential with the rest of its row.
type credential struct {
	Credential
	principal uint64
	hash      []byte
	keyed     int64
}

func (p *Principal) row() rights.Row {
	return rights.Row{Table: tablePrincipals, Key: rights.Key(p.ID),
		Cells: []any{int64(p.ID), p.Name, p.Kind, db.Micros(p.Created), db.Micros(p.Disabled), p.Country, p.Entity}}
}

func roleRow(principal uint64, brand record.BrandID, role string, since int64) rights.Row {
	return rights.Row{Table: tableRoles, Key: rights.Key(principal, uint16(brand)), Cells: []any{int64(principal), int64(brand), role, since}}
}

func noRole(principal uint64, brand record.BrandID) rights.Row {
	return rights.Row{Table: tableRoles, Key: rights.Key(principal, uint16(brand)), Gone: true}
}

func (c *credential) row() rights.Row {
	return rights.Row{Table: tableCredentials, Key: rights.Key(c.ID),
		Cells: []any{int64(c.ID), int64(c.principal), int64(c.Parent), int64(c.Lineage), c.hash, c.Label,
			db.Micros(c.Created), db.Micros(c.Expires), db.Micros(c.Revoked), c.Export, c.keyed}}
}

// numbers are the columns of a credential and of a principal that are not kept as they are.
type numbers struct {
	id, principal, root, parent, created, expires, revoked int64
	pid, pcreated, pdisabled                               int64
}

func (n *numbers) credential(c *credential) []any {
	return []any{&n.id, &n.principal, &n.parent, &n.root, &c.hash, &c.Label, &n.created, &n.expires, &n.revoked, &c.Export, &c.keyed}
}

func (n *numbers) principals(p *Principal) []any {
	return []any{&n.pid, &p.Name, &p.Kind, &p.Country, &p.Entity, &n.pcreated, &n.pdisabled}
}

func (n *numbers) set(c *credential) {
	c.ID, c.principal, c.Parent, c.Lineage = uint64(n.id), uint64(n.principal), uint64(n.parent), uint64(n.root)
	c.Created, c.Expires, c.Revoked, c.Kind = db.Time(n.created), db.Time(n.expires), db.Time(n.revoked), proofOf(c.hash)
}

// scanBoth reads a credential and whose it is.
func scanBoth(r db.Row, c *credential, p *Principal) error {
	var n numbers
	if err := r.Scan(append(n.credential(c), n.principals(p)...)...); err != nil {
		return err
	}
	n.set(c)
	p.ID, p.Created, p.Disabled = uint64(n.pid), db.Time(n.pcreated), db.Time(n.pdisabled)
	return nil
}

func scanCredential(r db.Row) (c credential, err error) {
	var n numbers
	if err := r.Scan(n.credential(&c)...); err != nil {
		return c, err
	}
	n.set(&c)
	return c, nil
}

func credentials(ctx context.Context, q db.Queryer, sql string, args ...any) (out []credential, err error) {
	err = q.Rows(ctx, func(r db.Row) error {
		c, err := scanCredential(r)
		out = append(out, c)
		return err
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	return out, nil
}

// changedPrincipal notes a principal that the transaction has just changed.
func changedPrincipal(ctx context.Context, q db.Queryer, id uint64) error {
	p, err := scanPrincipal(q.Row(ctx, sqlPrincipalByID, int64(id)))
	if err != nil {
		return fmt.Errorf("reading a principal: %w", err)
	}
	rights.Changed(q, p.row())
	return nil
}

// changedCredentials notes credentials that the transaction has just changed.
func changedCredentials(ctx context.Context, q db.Queryer, sql string, args ...any) error {
	list, err := credentials(ctx, q, sql, args...)
	for i := range list {
		rights.Changed(q, list[i].row())
	}
	return err
}

// Holds refuses a principal of whom any row is not what the log says, for decisions that
// hang on the ages of rows.
func (s *Store) Holds(ctx context.Context, principal uint64) error {
	return rights.One(ctx, s.Rights, s.db, record.Group, func(q db.Queryer) ([]rights.Row, error) {
		p, err := scanPrincipal(q.Row(ctx, sqlPrincipalByID, int64(principal)))
		if err != nil {
			return nil, fmt.Errorf("reading a principal: %w", err)
		}
		rows := []rights.Row{p.row()}
		err = q.Rows(ctx, func(r db.Row) error {
			var brand, since int64
			var role string
			err := r.Scan(&brand, &role, &since)
			rows = append(rows, roleRow(principal, record.BrandID(brand), role, since))
			return err
		}, sqlRolesOf, int64(principal))
		if err != nil {
			return nil, fmt.Errorf("reading the roles of a principal: %w", err)
		}
		list, err := credentials(ctx, q, sqlCredentialsOf, int64(principal))
		for i := range list {
			rows = append(rows, list[i].row())
		}
		return rows, err
	})
}

// day writes the day of a time.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// ended writes since when something is over, if it is.
func ended(what string, at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return what + " " + day(at)
}

// Granted hands fn every row that grants something, all of the group's log.
func (s *Store) Granted(ctx context.Context, q db.Queryer, fn func(brand record.BrandID, r rights.Row)) error {
	names := map[uint64]string{}
	// hand tells beside the row what it is.
	hand := func(r rights.Row, says string, args ...any) {
		r.Says = fmt.Sprintf(says, args...)
		fn(record.Group, r)
	}
	named := func(id uint64) string { return cmp.Or(names[id], fmt.Sprintf("principal %d", id)) }
	err := q.Rows(ctx, func(r db.Row) error {
		p, err := scanPrincipal(r)
		names[p.ID] = p.Name
		hand(p.row(), "%s %s, registered %s%s", p.Kind, p.Name, day(p.Created), ended(", disabled", p.Disabled))
		return err
	}, sqlAllPrincipals)
	if err == nil {
		err = q.Rows(ctx, func(r db.Row) error {
			var principal, brand, since int64
			var role string
			err := r.Scan(&principal, &brand, &role, &since)
			at := "the group"
			if brand != int64(record.Group) {
				at = fmt.Sprintf("brand %d", brand)
			}
			hand(roleRow(uint64(principal), record.BrandID(brand), role, since), "%s is %s at %s, since %s", named(uint64(principal)), role, at, day(db.Time(since)))
			return err
		}, sqlAllRoles)
	}
	if err == nil {
		err = q.Rows(ctx, func(r db.Row) error {
			c, err := scanCredential(r)
			hand(c.row(), "%s %q of %s, made %s%s", c.Kind, c.Label, named(c.principal), day(c.Created), ended(", revoked", c.Revoked))
			return err
		}, sqlAllCredentials)
	}
	if err == nil {
		err = q.Rows(ctx, func(r db.Row) error {
			var service, owner int64
			err := r.Scan(&service, &owner)
			hand(ownerRow(uint64(service), uint64(owner)), "%s redeems the keys of %s", named(uint64(owner)), named(uint64(service)))
			return err
		}, sqlAllOwners)
	}
	if err == nil {
		err = q.Rows(ctx, func(r db.Row) error {
			var id int64
			var p Profile
			err := r.Scan(&id, &p.Display, &p.Team, &p.Place)
			fn(record.Group, p.row(uint64(id)))
			return err
		}, sqlAllProfiles)
	}
	if err == nil {
		err = q.Rows(ctx, func(r db.Row) error {
			i, err := scanInvited(r)
			hand(i.row(), "invitation of %s", named(i.Principal))
			return err
		}, sqlAllInvites)
	}
	if err == nil {
		err = grantedSignIn(ctx, q, hand)
	}
	if err != nil {
		return fmt.Errorf("reading who has which rights: %w", err)
	}
	return nil
}
