package export

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// State is where an export stands.
type State string

// The states. The first three are open; the others last.
const (
	Gathering State = "gathering" // its filter is evaluated
	Requested State = "requested" // waits for an approval
	Approved  State = "approved"  // may be downloaded
	Refused   State = "refused"
	Stopped   State = "stopped"
	Expired   State = "expired"
	DryRun    State = "dry-run" // never stored
)

func (s State) open() bool { return s == Gathering || s == Requested || s == Approved }

// Export is an export as it is stored. Whom it is for, and its filter, are sealed.
type Export struct {
	Brand     record.BrandID
	ID        string
	State     State
	Who       identity.Who // who asked
	Form      string
	Format    string
	Fields    record.FieldSet
	Purpose   string
	Ticket    string
	Recipient string // in clear; see Store.named
	sealed    string // as it is stored
	Created   time.Time
	Expires   time.Time
	Position  record.Ordinal // up to which the filter was evaluated
	Bound     record.Ordinal // whom it does not reach: who joined later
	Customers int
	Filter    []byte
	Cohort    []byte
	Canaries  []byte
	DecidedBy uint64
	DecidedAt time.Time
	Began     time.Time // of the first download
}

// Store keeps exports.
type Store struct {
	// Rights is what rows are held against; nil for nothing, as in a test of this package.
	Rights rights.Log
	// Extract returns what an export's recipient is sealed by; nil where none is read.
	Extract func(ctx context.Context, brand record.BrandID, id string) (*seal.Extract, error)

	db *db.DB
}

// sealedMark begins a recipient that is sealed. Those of older releases are in clear: of an
// export that has not ended the log has a digest of the row, so that it stays as it is until
// then.
const sealedMark = "sealed 1 "

func sealRecipient(own *seal.Extract, recipient string) (string, error) {
	b, err := own.Seal("recipient", []byte(recipient))
	return sealedMark + base64.StdEncoding.EncodeToString(b), err
}

// named opens the recipient of an export.
func (s *Store) named(ctx context.Context, x *Export) error {
	text, is := strings.CutPrefix(x.sealed, sealedMark)
	if !is {
		x.Recipient = x.sealed
		return nil
	}
	own, err := s.Extract(ctx, x.Brand, x.ID)
	if err != nil {
		return err
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		b, err = own.Open("recipient", b)
	}
	if err != nil {
		return fmt.Errorf("opening the recipient of an export: %w", err)
	}
	x.Recipient = string(b)
	return nil
}

// SealRecipients seals the recipients of exports that have ended and that an older release
// stored in clear. A start runs it: after a kill the next one goes on.
func (s *Store) SealRecipients(ctx context.Context) error {
	for {
		var list []*Export
		err := s.db.Rows(ctx, func(r db.Row) error {
			x, err := scan(r)
			list = append(list, x)
			return err
		}, sqlInClear, listPage)
		if err != nil {
			return fmt.Errorf("reading recipients of exports: %w", err)
		}
		var stmts []db.Stmt
		for _, x := range list {
			own, err := s.Extract(ctx, x.Brand, x.ID)
			if err != nil {
				return err
			}
			text, err := sealRecipient(own, x.sealed)
			if err != nil {
				return err
			}
			stmts = append(stmts, db.Stmt{SQL: sqlSealRecipient, Args: []any{int64(x.Brand), x.ID, text, x.sealed}})
		}
		if err := s.db.Tx(ctx, func(q db.Queryer) error { return q.Batch(ctx, stmts) }); err != nil {
			return fmt.Errorf("sealing recipients of exports: %w", err)
		}
		if len(list) < listPage {
			return nil
		}
	}
}

// NewStore returns the store of a database.
func NewStore(d *db.DB) *Store { return &Store{db: d} }

// tableExports is the table of which a brand's log has the rows that are not ended.
const tableExports = "exports"

// row is what the log has a digest of. How far the filter is, and what it found until then,
// is not: the list is sealed, and frozen by an entry. Nor is the first download.
func (x *Export) row() rights.Row {
	customers, cohort := int64(x.Customers), x.Cohort
	if x.State == Gathering {
		customers, cohort = 0, nil
	}
	return rights.Row{Table: tableExports, Key: x.ID, Gone: !x.State.open(), Cells: []any{
		int64(x.Brand), x.ID, string(x.State), int64(x.Who.Principal), int64(x.Who.Credential), int64(x.Who.Lineage), x.Who.Role,
		x.Form, x.Format, int64(x.Fields), x.Purpose, x.Ticket, x.sealed, db.Micros(x.Created), db.Micros(x.Expires), int64(x.Bound),
		customers, x.Filter, cohort, x.Canaries, int64(x.DecidedBy), db.Micros(x.DecidedAt)}}
}

// changed notes the row of an export that the transaction has just changed.
func (s *Store) changed(ctx context.Context, q db.Queryer, brand record.BrandID, id string) error {
	x, err := scan(q.Row(ctx, sqlGet, int64(brand), id))
	if err != nil {
		return fmt.Errorf("reading an export: %w", err)
	}
	rights.Changed(q, x.row())
	return nil
}

// Granted hands fn every export that is not ended, with the brand whose log has it.
func (s *Store) Granted(ctx context.Context, q db.Queryer, fn func(brand record.BrandID, r rights.Row)) error {
	err := q.Rows(ctx, func(r db.Row) error {
		x, err := scan(r)
		granted := x.row()
		granted.Says = fmt.Sprintf("export %s, %s, asked for by principal %d", x.ID, x.State, x.Who.Principal)
		fn(x.Brand, granted)
		return err
	}, sqlAllOpen)
	if err != nil {
		return fmt.Errorf("reading the exports: %w", err)
	}
	return nil
}

const (
	columns   = `brand, id, state, principal, credential, lineage, role, form, format, fields, purpose, ticket, recipient, created, expires, position, bound, customers, filter, cohort, decoys, decided_by, decided_at, began`
	openState = `state IN ('gathering', 'requested', 'approved')`
	listPage  = 200

	sqlInsert  = `INSERT INTO exports (` + columns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)`
	sqlGet     = `SELECT ` + columns + ` FROM exports WHERE brand = $1 AND id = $2`
	sqlList    = `SELECT ` + columns + ` FROM exports WHERE brand = $1 AND ($2 = 0 OR principal = $2) ORDER BY created DESC, id LIMIT $3`
	sqlAllOpen = `SELECT ` + columns + ` FROM exports WHERE ` + openState + ` ORDER BY brand, id`
	sqlOpen    = `SELECT count(*) FROM exports WHERE lineage = $1 AND ` + openState + ` AND expires > $2`
	sqlFilters = `SELECT count(*) FROM exports WHERE lineage = $1 AND created > $2 AND length(filter) > 0`
	// Of a state that has ended the log has no row.
	sqlInClear       = `SELECT ` + columns + ` FROM exports WHERE state IN ('refused', 'stopped', 'expired') AND recipient LIKE 'age1%' ORDER BY brand, id LIMIT $1`
	sqlSealRecipient = `UPDATE exports SET recipient = $3 WHERE brand = $1 AND id = $2 AND recipient = $4`

	sqlGather  = `UPDATE exports SET state = $3, position = $4, customers = $5, cohort = $6 WHERE brand = $1 AND id = $2 AND state = 'gathering' AND position = $7`
	sqlDecide  = `UPDATE exports SET state = $3, decoys = $4, decided_by = $5, decided_at = $6 WHERE brand = $1 AND id = $2 AND state = 'requested'`
	sqlMove    = `UPDATE exports SET state = $3, decided_by = $4, decided_at = $5 WHERE brand = $1 AND id = $2 AND ` + openState
	sqlBegin   = `UPDATE exports SET began = $3 WHERE brand = $1 AND id = $2 AND began = 0`
	sqlWaiting = `SELECT coalesce(sum(CASE WHEN state <> 'approved' THEN 1 ELSE 0 END), 0), coalesce(sum(CASE WHEN state = 'approved' AND began = 0 THEN 1 ELSE 0 END), 0), coalesce(sum(CASE WHEN state = 'approved' AND began <> 0 THEN 1 ELSE 0 END), 0)
		FROM exports WHERE ` + openState + ` AND ($1 = 0 OR brand = $1) AND ($2 = 0 OR lineage = $2) AND ($3 = 0 OR principal = $3) AND ($4 = '' OR role = $4) AND expires > $5`
)

func some(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (s *Store) insert(ctx context.Context, q db.Queryer, x *Export) error {
	_, err := q.Exec(ctx, sqlInsert, int64(x.Brand), x.ID, string(x.State), int64(x.Who.Principal), int64(x.Who.Credential), int64(x.Who.Lineage), x.Who.Role,
		x.Form, x.Format, int64(x.Fields), x.Purpose, x.Ticket, x.sealed, db.Micros(x.Created), db.Micros(x.Expires), int64(x.Position), int64(x.Bound),
		int64(x.Customers), some(x.Filter), some(x.Cohort), some(x.Canaries), int64(x.DecidedBy), db.Micros(x.DecidedAt), db.Micros(x.Began))
	if err != nil {
		return fmt.Errorf("storing an export: %w", err)
	}
	rights.Changed(q, x.row())
	return nil
}

func scan(r db.Row) (*Export, error) {
	x := &Export{}
	var brand, principal, credential, lineage, fields, created, expires, position, bound, customers, by, at, began int64
	var state string
	err := r.Scan(&brand, &x.ID, &state, &principal, &credential, &lineage, &x.Who.Role, &x.Form, &x.Format, &fields, &x.Purpose, &x.Ticket, &x.sealed,
		&created, &expires, &position, &bound, &customers, &x.Filter, &x.Cohort, &x.Canaries, &by, &at, &began)
	x.Brand, x.State, x.Fields = record.BrandID(brand), State(state), record.FieldSet(fields)
	x.Who.Brand, x.Who.Principal, x.Who.Credential, x.Who.Lineage = x.Brand, uint64(principal), uint64(credential), uint64(lineage)
	x.Created, x.Expires, x.Position, x.Bound, x.Customers = db.Time(created), db.Time(expires), record.Ordinal(position), record.Ordinal(bound), int(customers)
	x.DecidedBy, x.DecidedAt, x.Began = uint64(by), db.Time(at), db.Time(began)
	return x, err
}

func (s *Store) get(ctx context.Context, brand record.BrandID, id string) (x *Export, err error) {
	err = rights.One(ctx, s.Rights, s.db, brand, func(q db.Queryer) (_ []rights.Row, err error) {
		x, err = scan(q.Row(ctx, sqlGet, int64(brand), id))
		if errors.Is(err, db.ErrNoRows) {
			return nil, ErrNoExport
		}
		if err != nil {
			return nil, fmt.Errorf("reading an export: %w", err)
		}
		return []rights.Row{x.row()}, nil
	})
	if err != nil {
		return nil, err
	}
	return x, s.named(ctx, x)
}

// filters counts what a lineage asked for by a filter since a time, ended exports included.
func (s *Store) filters(ctx context.Context, lineage uint64, since time.Time) (n int, err error) {
	if err := s.db.Row(ctx, sqlFilters, int64(lineage), since.UnixMicro()).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting the filters of exports: %w", err)
	}
	return n, nil
}

func (s *Store) list(ctx context.Context, brand record.BrandID, of uint64) ([]*Export, error) {
	var out []*Export
	err := s.db.Rows(ctx, func(r db.Row) error {
		x, err := scan(r)
		out = append(out, x)
		return err
	}, sqlList, int64(brand), int64(of), listPage)
	if err != nil {
		return nil, fmt.Errorf("listing exports: %w", err)
	}
	for _, x := range out {
		if err := s.named(ctx, x); err != nil && !errors.Is(err, seal.ErrDamaged) { // then it names nobody
			return nil, err
		}
	}
	return out, nil
}

// open counts the exports of a lineage that are not ended.
func (s *Store) open(ctx context.Context, lineage uint64) (n int, err error) {
	now, err := s.db.Now(ctx)
	if err == nil {
		err = s.db.Row(ctx, sqlOpen, int64(lineage), now.UnixMicro()).Scan(&n)
	}
	if err != nil {
		return 0, fmt.Errorf("counting exports: %w", err)
	}
	return n, nil
}

// gathered stores how far a filter is, unless somebody else went on meanwhile.
func (s *Store) gathered(ctx context.Context, q db.Queryer, x *Export, from record.Ordinal) (bool, error) {
	n, err := q.Exec(ctx, sqlGather, int64(x.Brand), x.ID, string(x.State), int64(x.Position), int64(x.Customers), some(x.Cohort), int64(from))
	if err != nil {
		return false, fmt.Errorf("storing how far an export is: %w", err)
	}
	if n == 0 {
		return false, nil
	}
	return true, s.changed(ctx, q, x.Brand, x.ID)
}

func (s *Store) decide(ctx context.Context, q db.Queryer, x *Export, to State, canaries []byte, by uint64, at time.Time) (int64, error) {
	n, err := q.Exec(ctx, sqlDecide, int64(x.Brand), x.ID, string(to), some(canaries), int64(by), db.Micros(at))
	if err != nil {
		return 0, fmt.Errorf("deciding on an export: %w", err)
	}
	if n == 0 {
		return 0, nil
	}
	return n, s.changed(ctx, q, x.Brand, x.ID)
}

func (s *Store) move(ctx context.Context, q db.Queryer, x *Export, to State, by uint64, at time.Time) (int64, error) {
	n, err := q.Exec(ctx, sqlMove, int64(x.Brand), x.ID, string(to), int64(by), db.Micros(at))
	if err != nil {
		return 0, fmt.Errorf("ending an export: %w", err)
	}
	if n == 0 {
		return 0, nil
	}
	return n, s.changed(ctx, q, x.Brand, x.ID)
}

func (s *Store) begin(ctx context.Context, x *Export, at time.Time) error {
	if _, err := s.db.Exec(ctx, sqlBegin, int64(x.Brand), x.ID, db.Micros(at)); err != nil {
		return fmt.Errorf("noting the first download: %w", err)
	}
	return nil
}

// stop ends an open export inside the transaction that logs it. The caller waits with Ledger.Fence after the commit: no file begins after that.
func (s *Store) stop(ctx context.Context, q db.Queryer, x *Export, by uint64, at time.Time) error {
	if err := revision.Bump(ctx, q); err != nil {
		return err
	}
	_, err := s.move(ctx, q, x, Stopped, by, at)
	return err
}

// Which says which open exports: those for which all that is set holds.
type Which struct {
	Brand     record.BrandID // record.Group: of every brand
	Lineage   uint64
	Principal uint64
	Role      string
}

// Open is how many exports are open.
type Open struct {
	Requested int // waits for an approval, or is gathered
	Approved  int // nothing of it left
	Leaving   int // a file of it left, or is about to
}

// Open counts exports that a containment would stop.
func (s *Store) Open(ctx context.Context, w Which, now time.Time) (o Open, err error) {
	err = s.db.Row(ctx, sqlWaiting, int64(w.Brand), int64(w.Lineage), int64(w.Principal), w.Role, db.Micros(now)).Scan(&o.Requested, &o.Approved, &o.Leaving)
	if err != nil {
		return o, fmt.Errorf("counting exports: %w", err)
	}
	return o, nil
}
