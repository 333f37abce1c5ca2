package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

// Profile says who a principal is in words for people, such as the team Gucci Client Service
// in Milan: customers read it where they are shown who read their data. It grants nothing.
type Profile struct {
	Display string // name for people
	Team    string
	Place   string
}

// maxProfile bounds each text of a profile, in characters.
const maxProfile = 64

// ErrProfile is returned for a text that cannot be part of a profile.
var ErrProfile = fault.Newf(fault.Invalid, "a display name, a team and a place are each one line of up to %d characters, without spaces around it", maxProfile)

// tableProfiles are the columns of principals that say who they are to customers: a row of
// its own in the group's log, because earlier releases had none.
const tableProfiles = "profiles"

const (
	sqlSetProfile  = `UPDATE principals SET display = $2, team = $3, place = $4 WHERE id = $1`
	sqlGetProfile  = `SELECT display, team, place FROM principals WHERE id = $1`
	sqlAllProfiles = `SELECT id, display, team, place FROM principals ORDER BY id`
)

// Check refuses a profile with a text that cannot be shown on one line.
func (p Profile) Check() error {
	for _, text := range []string{p.Display, p.Team, p.Place} {
		odd := func(c rune) bool { return !unicode.IsPrint(c) }
		if utf8.RuneCountInString(text) > maxProfile || !utf8.ValidString(text) || strings.ContainsFunc(text, odd) || strings.TrimSpace(text) != text {
			return ErrProfile
		}
	}
	return nil
}

// Empty reports whether nothing is said of the principal.
func (p Profile) Empty() bool { return p == Profile{} }

func (p Profile) row(principal uint64) rights.Row {
	return rights.Row{Table: tableProfiles, Key: rights.Key(principal), Gone: p.Empty(),
		Cells: []any{int64(principal), p.Display, p.Team, p.Place}}
}

// SetProfile says who a principal is, inside the caller's transaction.
func (s *Store) SetProfile(ctx context.Context, q db.Queryer, principal uint64, p Profile) error {
	if err := p.Check(); err != nil {
		return err
	}
	if _, err := q.Exec(ctx, sqlSetProfile, int64(principal), p.Display, p.Team, p.Place); err != nil {
		return fmt.Errorf("saying who a principal is: %w", err)
	}
	rights.Changed(q, p.row(principal))
	return nil
}

// Profile returns who a principal is. One that the log does not know is rights.ErrVoid:
// nobody poses as another team by a change in the database.
func (s *Store) Profile(ctx context.Context, principal uint64) (p Profile, err error) {
	err = rights.One(ctx, s.Rights, s.db, record.Group, func(q db.Queryer) ([]rights.Row, error) {
		err := q.Row(ctx, sqlGetProfile, int64(principal)).Scan(&p.Display, &p.Team, &p.Place)
		if err != nil && !errors.Is(err, db.ErrNoRows) {
			return nil, fmt.Errorf("reading who a principal is: %w", err)
		}
		return []rights.Row{p.row(principal)}, nil
	})
	return p, err
}
