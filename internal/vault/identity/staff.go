package identity

import (
	"context"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Staff is a principal who has a role at a brand, with the lineages by which they come.
type Staff struct {
	ID       uint64
	Name     string
	Role     string // at the brand, or by the group
	Group    string // the role at the group, "" for none
	Disabled bool
	Lineages []StaffLineage // ascending
}

// StaffLineage is a credential and all made through it.
type StaffLineage struct {
	ID    uint64
	Label string
	Live  bool // one of its keys, other than links to exports, is neither revoked nor expired
	Links bool // one of its links to exports is neither
}

const (
	sqlStaff = `SELECT p.id, p.name, p.disabled, coalesce(own.role, ''), coalesce(grp.role, '') FROM principals p
		LEFT JOIN roles own ON own.principal = p.id AND own.brand = $1 LEFT JOIN roles grp ON grp.principal = p.id AND grp.brand = 0
		WHERE p.id > $2 AND coalesce(own.role, grp.role) IS NOT NULL ORDER BY p.id LIMIT $3`
	sqlStaffLineages = `SELECT principal, root, max(CASE WHEN id = root THEN label ELSE '' END), max(CASE WHEN scope = '' AND revoked = 0 AND (expires = 0 OR expires > $3) THEN 1 ELSE 0 END),
		max(CASE WHEN scope <> '' AND revoked = 0 AND (expires = 0 OR expires > $3) THEN 1 ELSE 0 END)
		FROM credentials WHERE principal >= $1 AND principal <= $2 GROUP BY principal, root ORDER BY principal, root`
)

// staffPage is how many principals are read at a time.
const staffPage = 1000

// Staff returns everybody with a role at a brand, as they are at a time.
func (s *Store) Staff(ctx context.Context, brand record.BrandID, now time.Time) ([]Staff, error) {
	var out []Staff
	last := uint64(0)
	for {
		var page []Staff
		err := s.db.Rows(ctx, func(r db.Row) error {
			var id, disabled int64
			var p Staff
			err := r.Scan(&id, &p.Name, &disabled, &p.Role, &p.Group)
			p.ID, p.Disabled = uint64(id), disabled != 0
			if p.Role == "" {
				p.Role = p.Group
			}
			page = append(page, p)
			return err
		}, sqlStaff, int64(brand), int64(last), staffPage)
		if err != nil {
			return nil, fmt.Errorf("listing who has a role: %w", err)
		}
		if len(page) == 0 {
			return out, nil
		}
		first := page[0].ID
		last = page[len(page)-1].ID
		at := 0
		err = s.db.Rows(ctx, func(r db.Row) error {
			var principal, root, live, links int64
			var l StaffLineage
			if err := r.Scan(&principal, &root, &l.Label, &live, &links); err != nil {
				return err
			}
			l.ID, l.Live, l.Links = uint64(root), live != 0, links != 0
			for at < len(page) && page[at].ID < uint64(principal) {
				at++
			}
			if at < len(page) && page[at].ID == uint64(principal) { // others have a role elsewhere
				page[at].Lineages = append(page[at].Lineages, l)
			}
			return nil
		}, sqlStaffLineages, int64(first), int64(last), now.UnixMicro())
		if err != nil {
			return nil, fmt.Errorf("listing their lineages: %w", err)
		}
		out = append(out, page...)
	}
}

// Bearer is a principal who has a role, with the number of credentials that let them in.
type Bearer struct {
	ID     uint64
	Name   string
	Usable int
}

const (
	usableOf = `(SELECT count(*) FROM credentials c WHERE c.principal = p.id AND c.revoked = 0 AND (c.expires = 0 OR c.expires > $4))`

	sqlBearers = `SELECT p.id, p.name, ` + usableOf + ` FROM principals p
		LEFT JOIN roles own ON own.principal = p.id AND own.brand = $5 LEFT JOIN roles grp ON grp.principal = p.id AND grp.brand = 0
		WHERE p.id > $1 AND coalesce(own.role, grp.role) = $2 ORDER BY p.id LIMIT $3`
	sqlBearersAnywhere = `SELECT p.id, p.name, ` + usableOf + ` FROM principals p
		WHERE p.id > $1 AND EXISTS (SELECT 1 FROM roles r WHERE r.principal = p.id AND r.role = $2) ORDER BY p.id LIMIT $3`
)

// Bearers hands fn each principal who has a role at a brand, by itself or by the group's,
// in order of their numbers; for the group, each who has it anywhere. It reads a page of
// them at a time.
func (s *Store) Bearers(ctx context.Context, brand record.BrandID, role string, now time.Time, fn func(Bearer)) error {
	for last := uint64(0); ; {
		sql, args := sqlBearersAnywhere, []any{int64(last), role, staffPage, now.UnixMicro()}
		if brand != record.Group {
			sql, args = sqlBearers, append(args, int64(brand))
		}
		n := 0
		err := s.db.Rows(ctx, func(r db.Row) error {
			var id int64
			var b Bearer
			err := r.Scan(&id, &b.Name, &b.Usable)
			if b.ID = uint64(id); err == nil {
				fn(b)
			}
			n, last = n+1, b.ID
			return err
		}, sql, args...)
		if err != nil {
			return fmt.Errorf("listing who has the role: %w", err)
		}
		if n < staffPage {
			return nil
		}
	}
}
