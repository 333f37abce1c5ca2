// Package approval keeps what two people approved about writes: one file, with the most
// existing customers that it may change, or the writes of one service through one mapping,
// with the most a day and an end date.
//
// A write under an approval costs the budget of the approval alone, and its answer says
// nothing that depends on who is a customer: a stolen service key learns nothing by it.
//
// # A file
//
// Somebody begins an approval with the digests of the files and of the mapping, and sends
// the rows ([Desk.Rehearsed]): the vault counts what they would change, and keeps a code
// of each chunk of customers. Then they ask for it: the approver alone is shown the
// totals. Once it is in force, the service sends the same chunks under its number.
//
// # A standing approval
//
// An administrator asks for it. What finds no room under it waits sealed, see package
// intake.
package approval

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/door"
)

// Kind says what was approved.
type Kind string

// The kinds.
const (
	File     Kind = "file"     // the rows of one import
	Standing Kind = "standing" // the writes of a service through a mapping, until a day
)

// State is the state of an approval.
type State string

// The states. Only an approval in force lets somebody write.
const (
	Draft   State = "draft"    // its rows are rehearsed
	Asked   State = "asked"    // it waits for a second person
	InForce State = "in-force" // until its end
	Ended   State = "ended"    // before its time
)

const (
	// FileValid is how long the approval of a file is in force: less than the longest window
	// of budgets, so that its whole use is counted.
	FileValid = 7 * 24 * time.Hour
	// MaxStanding is the longest time of a standing approval.
	MaxStanding = 366 * 24 * time.Hour
	// draftValid is how long a draft lasts.
	draftValid = 24 * time.Hour
	// maxDrafts bounds the drafts of a principal.
	maxDrafts = 20
	// MaxChunks bounds the chunks of a file.
	MaxChunks = 20_000
)

var (
	// ErrNone is returned for an unknown approval, and for one of somebody else.
	ErrNone = fault.New(fault.NotFound, "no such approval for you at this brand: `cloakroom change approvals` lists yours")
	// ErrEnded is returned for an approval that is not in force.
	ErrEnded = fault.New(fault.Conflict, "this approval is not in force: `cloakroom change approvals` shows its state and end; ask for another one")
	// ErrRows is returned for rows that the approved file does not have.
	ErrRows = fault.New(fault.Denied, "these rows are not of the file that was approved: import the same files with the same mapping and flags, or ask for another approval with `cloakroom change ask-import`")
	// ErrMapping is returned for writes through another mapping, or of other fields.
	ErrMapping = fault.New(fault.Denied, "the approval is for another mapping or for fewer fields: import with the mapping that was approved, or ask for another approval with `cloakroom change ask-writes`")
	// ErrDrafts is returned to a principal with too many drafts.
	ErrDrafts = fault.Newf(fault.Conflict, "you have %d approvals that wait for a rehearsal, which is the limit: end some with `cloakroom change end-approval`, or wait a day", maxDrafts)
	// ErrChunks is returned for a file with too many rows.
	ErrChunks = fault.Newf(fault.Invalid, "an approved file may have %d chunks at most: split the file", MaxChunks)
)

// Totals are the figures of a rehearsal, which its approver alone is shown.
type Totals struct {
	Rows      int64 `json:"rows"`
	New       int64 `json:"new"`
	Changed   int64 `json:"changed"`
	Unchanged int64 `json:"unchanged"`
	Refused   int64 `json:"refused"`
}

// Approval is one.
type Approval struct {
	ID        uint64
	Brand     record.BrandID
	Kind      Kind
	State     State
	Principal uint64 // who writes under it
	AskedBy   uint64
	Mapping   string // digest
	Files     string // digests, of a file
	Fields    record.FieldSet
	Most      uint32 // existing customers that it may change: in all, or on a day
	Created   time.Time
	Ends      time.Time
	Totals    Totals // of the rehearsal
}

// Limits is the budget of the approval.
func (a *Approval) Limits() (l budget.Limits) {
	w := budget.Month
	if a.Kind == Standing {
		w = budget.Day
	}
	l[w].Limit, l[w].Set = a.Most, true
	return l
}

// tableApprovals is the table of which a brand's log has the rows in force.
const tableApprovals = "write_approvals"

// row is what the log has a digest of. The figures of the rehearsal are not: they stand in
// the request, sealed.
func (a *Approval) row() rights.Row {
	return rights.Row{Table: tableApprovals, Key: rights.Key(a.ID), Gone: a.State != InForce, Cells: []any{
		int64(a.ID), int64(a.Brand), string(a.Kind), string(a.State), int64(a.Principal), int64(a.AskedBy), a.Mapping, a.Files, int64(a.Fields), int64(a.Most),
		db.Micros(a.Created), db.Micros(a.Ends)}}
}

const (
	columns = `id, brand, kind, state, principal, asked_by, mapping, files, fields, most, created, ends, row_count, made, changed, unchanged, refused`

	sqlInsert = `INSERT INTO write_approvals (` + columns + `) VALUES ((SELECT coalesce(max(id), 0) + 1 FROM write_approvals), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING RETURNING id`
	sqlGet    = `SELECT ` + columns + ` FROM write_approvals WHERE brand = $1 AND id = $2`
	sqlList   = `SELECT ` + columns + ` FROM write_approvals WHERE brand = $1 AND ($2 = 0 OR principal = $2 OR asked_by = $2) ORDER BY id DESC LIMIT 200`
	sqlForced = `SELECT ` + columns + ` FROM write_approvals WHERE state = 'in-force' ORDER BY brand, id`
	sqlDrafts = `SELECT count(*) FROM write_approvals WHERE asked_by = $1 AND state = 'draft' AND created > $2`
	sqlCount  = `UPDATE write_approvals SET row_count = row_count + $3, made = made + $4, changed = changed + $5, unchanged = unchanged + $6, refused = refused + $7 WHERE brand = $1 AND id = $2 AND state = 'draft'`
	sqlMove   = `UPDATE write_approvals SET state = $4, most = $5, ends = $6 WHERE brand = $1 AND id = $2 AND state = $3`

	sqlAddChunk    = `INSERT INTO approved_chunks (approval, code) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	sqlHasChunk    = `SELECT count(*) FROM approved_chunks WHERE approval = $1 AND code = $2`
	sqlCountChunks = `SELECT count(*) FROM approved_chunks WHERE approval = $1`
	sqlChunks      = `SELECT code FROM approved_chunks WHERE approval = $1 ORDER BY code`
	sqlSweepChunks = `DELETE FROM approved_chunks WHERE approval NOT IN (SELECT id FROM write_approvals WHERE kind = 'file' AND state <> 'ended' AND created > $1)`
)

func scan(r db.Row) (*Approval, error) {
	a := &Approval{}
	var id, brand, principal, asked, fields, most, created, ends int64
	err := r.Scan(&id, &brand, (*string)(&a.Kind), (*string)(&a.State), &principal, &asked, &a.Mapping, &a.Files, &fields, &most, &created, &ends,
		&a.Totals.Rows, &a.Totals.New, &a.Totals.Changed, &a.Totals.Unchanged, &a.Totals.Refused)
	a.ID, a.Brand, a.Principal, a.AskedBy = uint64(id), record.BrandID(brand), uint64(principal), uint64(asked)
	a.Fields, a.Most, a.Created, a.Ends = record.FieldSet(fields), uint32(most), db.Time(created), db.Time(ends)
	return a, err
}

// Store keeps approvals.
type Store struct {
	// Rights is what rows are held against; nil for nothing, as in a test of this package.
	Rights rights.Log

	db   *db.DB
	ring *keys.Ring
}

// NewStore returns the store of a database.
func NewStore(d *db.DB, ring *keys.Ring) *Store { return &Store{db: d, ring: ring} }

// Granted hands fn every approval in force, with the brand whose log has it.
func (s *Store) Granted(ctx context.Context, q db.Queryer, fn func(brand record.BrandID, r rights.Row)) error {
	err := q.Rows(ctx, func(r db.Row) error {
		a, err := scan(r)
		granted := a.row()
		granted.Says = fmt.Sprintf("approval %d of writes by principal %d, asked for by principal %d", a.ID, a.Principal, a.AskedBy)
		fn(a.Brand, granted)
		return err
	}, sqlForced)
	if err != nil {
		return fmt.Errorf("reading the approvals of writes: %w", err)
	}
	return nil
}

// numberAttempts is how often a number is chosen again because another server took it.
const numberAttempts = 20

func (s *Store) insert(ctx context.Context, q db.Queryer, a *Approval) error {
	for range numberAttempts {
		var id int64
		err := q.Row(ctx, sqlInsert, int64(a.Brand), string(a.Kind), string(a.State), int64(a.Principal), int64(a.AskedBy), a.Mapping, a.Files, int64(a.Fields), int64(a.Most),
			db.Micros(a.Created), db.Micros(a.Ends)).Scan(&id)
		if errors.Is(err, db.ErrNoRows) {
			continue
		}
		if err != nil {
			return fmt.Errorf("storing an approval of writes: %w", err)
		}
		a.ID = uint64(id)
		rights.Changed(q, a.row())
		return nil
	}
	return fault.New(fault.Unavailable, "too many approvals are made at once: retry in a moment")
}

func (s *Store) get(ctx context.Context, q db.Queryer, brand record.BrandID, id uint64) (*Approval, error) {
	a, err := scan(q.Row(ctx, sqlGet, int64(brand), int64(id)))
	if errors.Is(err, db.ErrNoRows) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("reading an approval of writes: %w", err)
	}
	return a, nil
}

// move changes the state of an approval, and what is set with it.
func (s *Store) move(ctx context.Context, q db.Queryer, a *Approval, to State) error {
	n, err := q.Exec(ctx, sqlMove, int64(a.Brand), int64(a.ID), string(a.State), string(to), int64(a.Most), db.Micros(a.Ends))
	if err != nil {
		return fmt.Errorf("changing an approval of writes: %w", err)
	}
	if n == 0 {
		return ErrEnded
	}
	a.State = to
	rights.Changed(q, a.row())
	return nil
}

// Use returns the approval that a visitor writes under. It is in force, theirs, and what
// the log says of it.
func (s *Store) Use(ctx context.Context, v *door.Visit, id uint64) (*Approval, error) {
	a, err := s.Taken(ctx, v, id)
	if err != nil {
		return nil, err
	}
	now, err := s.db.Now(ctx)
	if err == nil && !now.Before(a.Ends) {
		err = ErrEnded
	}
	return a, err
}

// Taken is Use for a write that was accepted while the approval was in force: it may be
// written after the last day, and not after somebody ended the approval.
func (s *Store) Taken(ctx context.Context, v *door.Visit, id uint64) (a *Approval, err error) {
	err = rights.One(ctx, s.Rights, s.db, v.Brand.ID, func(q db.Queryer) (_ []rights.Row, err error) {
		if a, err = s.get(ctx, q, v.Brand.ID, id); err != nil {
			return nil, err
		}
		if a.State != InForce {
			return nil, nil
		}
		return []rights.Row{a.row()}, nil
	})
	if err != nil {
		return nil, err
	}
	if a.Principal != v.Who.Principal {
		return nil, ErrNone
	}
	if a.State != InForce {
		return nil, ErrEnded
	}
	return a, nil
}

// code is a code of a chunk's rows that nobody makes without the brand's key: a row that
// somebody adds to the database approves nothing.
func (s *Store) code(ctx context.Context, a *Approval, rows []byte) ([]byte, error) {
	now, err := s.db.Now(ctx)
	if err != nil {
		return nil, err
	}
	var k keys.Key
	err = s.db.Tx(ctx, func(q db.Queryer) (err error) {
		k, err = s.ring.Ensure(ctx, q, a.Brand, keys.Change, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	m := hmac.New(sha256.New, k.Bytes())
	fmt.Fprintf(m, "cloakroom approved rows 1\x00%d\x00", a.ID)
	m.Write(rows)
	return m.Sum(nil), nil
}

// Holds refuses rows that the approved file does not have. rows are their bytes in one
// form, as they were rehearsed.
func (s *Store) Holds(ctx context.Context, a *Approval, rows []byte) error {
	code, err := s.code(ctx, a, rows)
	if err != nil {
		return err
	}
	var n int64
	if err := s.db.Row(ctx, sqlHasChunk, int64(a.ID), code).Scan(&n); err != nil {
		return fmt.Errorf("reading the rows of an approval: %w", err)
	}
	if n == 0 {
		return ErrRows
	}
	return nil
}

// digest is one digest of all the chunks of a file.
func (s *Store) digest(ctx context.Context, id uint64) (string, error) {
	var all [][]byte
	err := s.db.Rows(ctx, func(r db.Row) error {
		var code []byte
		err := r.Scan(&code)
		all = append(all, slices.Clone(code))
		return err
	}, sqlChunks, int64(id))
	if err != nil {
		return "", fmt.Errorf("reading the rows of an approval: %w", err)
	}
	h := sha256.New()
	for _, code := range all {
		h.Write(code)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// rehearsed adds a chunk to a draft. A chunk that is there already is not counted again.
func (s *Store) rehearsed(ctx context.Context, a *Approval, code []byte, t Totals) error {
	return s.db.Tx(ctx, func(q db.Queryer) error {
		if code != nil {
			n, err := q.Exec(ctx, sqlAddChunk, int64(a.ID), code)
			if err != nil {
				return fmt.Errorf("storing the rows of an approval: %w", err)
			}
			if n == 0 {
				return nil
			}
		}
		n, err := q.Exec(ctx, sqlCount, int64(a.Brand), int64(a.ID), t.Rows, t.New, t.Changed, t.Unchanged, t.Refused)
		if err != nil {
			return fmt.Errorf("counting a rehearsal: %w", err)
		}
		if n == 0 {
			return ErrEnded
		}
		return nil
	})
}

// sweep drops chunks of files that can no longer be imported. Approvals stay: their numbers
// stand in the log.
func (s *Store) sweep(ctx context.Context, now time.Time) error {
	if _, err := s.db.Exec(ctx, sqlSweepChunks, now.Add(-3*FileValid).UnixMicro()); err != nil {
		return fmt.Errorf("dropping the rows of old approvals: %w", err)
	}
	return nil
}
