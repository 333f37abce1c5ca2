package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Officer is a person with a role at a brand and the ages of what they act by. Whether the
// role approves is the policy's to say.
type Officer struct {
	Principal uint64
	Name      string
	Role      string    // at the brand, or by the group
	Since     time.Time // since when they have the role; zero: since before that was kept
	Created   time.Time // when they were registered
	Keyed     time.Time // since when their oldest usable key exists; zero: they have none
}

const (
	sqlOfficers = `SELECT p.id, p.name, p.created, coalesce(own.role, grp.role), coalesce(own.since, grp.since),
		(SELECT coalesce(min(CASE WHEN c.keyed > 0 THEN c.keyed ELSE c.created END), 0) FROM credentials c
			WHERE c.principal = p.id AND c.parent = 0 AND c.scope = '' AND c.revoked = 0 AND (c.expires = 0 OR c.expires > $2))
		FROM principals p
		LEFT JOIN roles own ON own.principal = p.id AND own.brand = $1 LEFT JOIN roles grp ON grp.principal = p.id AND grp.brand = 0
		WHERE p.kind = $3 AND p.disabled = 0 AND p.name <> $4 AND coalesce(own.role, grp.role) IS NOT NULL ORDER BY p.id`
	sqlKeyed = `WITH RECURSIVE up(id, parent, created, keyed) AS (SELECT id, parent, created, keyed FROM credentials WHERE id = $1
		UNION ALL SELECT c.id, c.parent, c.created, c.keyed FROM credentials c JOIN up ON c.id = up.parent)
		SELECT max(CASE WHEN keyed > 0 THEN keyed WHEN parent = 0 THEN created ELSE 0 END) FROM up`
)

// Officers hands fn each person with a role at a brand, by itself or by the group's, as
// they are at a time, in order of their numbers. The local administrator is none of them:
// the owner of the machine is behind it, and no one person. An error of fn ends it.
func (s *Store) Officers(ctx context.Context, brand record.BrandID, now time.Time, fn func(Officer) error) error {
	err := s.db.Rows(ctx, func(r db.Row) error {
		var o Officer
		var id, created, since, keyed int64
		if err := r.Scan(&id, &o.Name, &created, &o.Role, &since, &keyed); err != nil {
			return err
		}
		o.Principal, o.Created, o.Since, o.Keyed = uint64(id), db.Time(created), db.Time(since), db.Time(keyed)
		return fn(o)
	}, sqlOfficers, int64(brand), now.UnixMicro(), Person, LocalAdministrator)
	if err != nil {
		return fmt.Errorf("reading who may be second: %w", err)
	}
	return nil
}

// Keyed returns since when a credential's key belongs to its holder alone: when the first
// credential of its lineage was made, or when a key on the way to it was last replaced. A
// session that the holder made later is as old as what it was made through.
func (s *Store) Keyed(ctx context.Context, credential uint64) (time.Time, error) {
	var keyed *int64
	err := s.db.Row(ctx, sqlKeyed, int64(credential)).Scan(&keyed)
	if errors.Is(err, db.ErrNoRows) || err == nil && keyed == nil {
		return time.Time{}, ErrNoCredential
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the age of a key: %w", err)
	}
	return db.Time(*keyed), nil
}
