package identity

import (
	"context"
	"errors"
	"fmt"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

const (
	sqlPrincipalByID   = `SELECT id, name, kind, country, entity, created, disabled FROM principals WHERE id = $1`
	sqlListPrincipals  = `SELECT id, name, kind, country, entity, created, disabled FROM principals WHERE id > $1 ORDER BY id LIMIT $2`
	sqlListRoles       = `SELECT brand, role FROM roles WHERE principal = $1 ORDER BY brand`
	sqlPeople          = `SELECT p.id, r.role FROM roles r JOIN principals p ON p.id = r.principal WHERE r.brand IN ($1, 0) AND p.kind = $2 AND p.disabled = 0 ORDER BY p.id, r.brand DESC`
	sqlListCredentials = `SELECT id, parent, root, label, created, expires, revoked, scope, made_by, hash FROM credentials WHERE principal = $1 ORDER BY id`
)

func scanPrincipal(r db.Row) (Principal, error) {
	var p Principal
	var id, created, disabled int64
	if err := r.Scan(&id, &p.Name, &p.Kind, &p.Country, &p.Entity, &created, &disabled); err != nil {
		return p, err
	}
	p.ID, p.Created, p.Disabled = uint64(id), db.Time(created), db.Time(disabled)
	return p, nil
}

// ByName returns a principal.
func (s *Store) ByName(ctx context.Context, name string) (Principal, error) {
	return s.principal(ctx, sqlPrincipalByName, name)
}

// Get returns a principal by its number.
func (s *Store) Get(ctx context.Context, id uint64) (Principal, error) {
	return s.principal(ctx, sqlPrincipalByID, int64(id))
}

// principal reads one, and refuses one that the log does not know so.
func (s *Store) principal(ctx context.Context, sql string, by any) (p Principal, err error) {
	err = rights.One(ctx, s.Rights, s.db, record.Group, func(q db.Queryer) (_ []rights.Row, err error) {
		p, err = scanPrincipal(q.Row(ctx, sql, by))
		if errors.Is(err, db.ErrNoRows) {
			return nil, ErrNoPrincipal
		}
		if err != nil {
			return nil, fmt.Errorf("reading a principal: %w", err)
		}
		return []rights.Row{p.row()}, nil
	})
	return p, err
}

// List returns up to limit principals after a number, in order of it.
func (s *Store) List(ctx context.Context, after uint64, limit int) ([]Principal, error) {
	var out []Principal
	err := s.db.Rows(ctx, func(r db.Row) error {
		p, err := scanPrincipal(r)
		out = append(out, p)
		return err
	}, sqlListPrincipals, int64(after), limit)
	if err != nil {
		return nil, fmt.Errorf("listing principals: %w", err)
	}
	return out, nil
}

// Roles returns the roles of a principal.
func (s *Store) Roles(ctx context.Context, id uint64) ([]Role, error) {
	var out []Role
	err := s.db.Rows(ctx, func(r db.Row) error {
		var brand int64
		var role Role
		err := r.Scan(&brand, &role.Role)
		role.Brand = record.BrandID(brand)
		out = append(out, role)
		return err
	}, sqlListRoles, int64(id))
	if err != nil {
		return nil, fmt.Errorf("listing roles: %w", err)
	}
	return out, nil
}

// People hands fn each person who is not disabled and has a role at a brand, by itself or
// by the group's, in order of their numbers. An error of fn ends it.
func (s *Store) People(ctx context.Context, brand record.BrandID, fn func(principal uint64, role string) error) error {
	var last int64
	err := s.db.Rows(ctx, func(r db.Row) error {
		var id int64
		var role string
		if err := r.Scan(&id, &role); err != nil {
			return err
		}
		if id == last { // the brand's own role came first
			return nil
		}
		last = id
		return fn(uint64(id), role)
	}, sqlPeople, int64(brand), Person)
	if err != nil {
		return fmt.Errorf("reading who has a role: %w", err)
	}
	return nil
}

// Credentials returns the credentials of a principal.
func (s *Store) Credentials(ctx context.Context, id uint64) ([]Credential, error) {
	var out []Credential
	err := s.db.Rows(ctx, func(r db.Row) error {
		var c Credential
		var hash []byte
		var n, parent, root, created, expires, revoked, by int64
		err := r.Scan(&n, &parent, &root, &c.Label, &created, &expires, &revoked, &c.Export, &by, &hash)
		c.Kind = proofOf(hash)
		c.ID, c.Parent, c.Lineage, c.MadeBy = uint64(n), uint64(parent), uint64(root), uint64(by)
		c.Created, c.Expires, c.Revoked = db.Time(created), db.Time(expires), db.Time(revoked)
		out = append(out, c)
		return err
	}, sqlListCredentials, int64(id))
	if err != nil {
		return nil, fmt.Errorf("listing credentials: %w", err)
	}
	return out, nil
}
