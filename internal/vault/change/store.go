package change

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// State is where a request stands.
type State string

// The states. The first two are open; the others last.
const (
	Asked     State = "asked"    // waits for a second person
	Approved  State = "approved" // takes effect once its alarm reached somebody
	Done      State = "done"
	Refused   State = "refused"
	Withdrawn State = "withdrawn"
	Expired   State = "expired"
	Failed    State = "failed" // approved, and could not be made
)

func (s State) open() bool { return s == Asked || s == Approved }

// The marks say how an act took effect, where it did not go the whole way.
const (
	MarkAlone      = "alone"       // by one hand, before two people existed
	MarkNoReceiver = "no-receiver" // nobody receives the alarms
	MarkBreakGlass = "break-glass" // by one hand, after a delay
	MarkUnsent     = "unsent"      // no receiver took the alarm in time
)

// request is a row.
type request struct {
	ID        string
	Act       string
	State     State
	Mark      string
	Who       identity.Who // who asked, and at which brand
	Ticket    string
	Key       int    // version of the key that seals Payload
	Payload   []byte // sealed
	Entry     uint64 // that records the request
	Created   time.Time
	Expires   time.Time
	Second    uint64 // who approved or refused
	SecondIn  uint64 // in which lineage
	Decided   time.Time
	DecidedIn uint64 // the entry of the decision
	Done      time.Time
	Reason    string
	Places    string    // of its entries in other logs
	Glass     time.Time // from when on it may take effect by one hand; zero: not
	GlassIn   uint64    // the entry that says so
	Acked     uint64    // who acknowledged that
	AckedIn   uint64    // the entry that says so
}

const (
	requestColumns = `id, brand, act, state, mark, principal, credential, lineage, role, ticket, key, payload, entry, created, expires, second, second_in, decided, decided_in, done, reason, places, glass, glass_in, acked, acked_in`

	sqlInsertChange = `INSERT INTO changes (` + requestColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)`
	sqlGetChange    = `SELECT ` + requestColumns + ` FROM changes WHERE id = $1`
	sqlListChanges  = `SELECT ` + requestColumns + ` FROM changes ORDER BY created DESC, id LIMIT $1`
	sqlOpenChanges  = `SELECT ` + requestColumns + ` FROM changes WHERE state IN ('asked', 'approved') AND principal = $1 ORDER BY created`
	sqlDueChanges   = `SELECT ` + requestColumns + ` FROM changes WHERE state = 'approved' ORDER BY created LIMIT $1`
	sqlMoveChange   = `UPDATE changes SET state = $2, mark = $3, second = $4, second_in = $5, decided = $6, decided_in = $7, reason = $8, glass = $9, glass_in = $10, acked = $11, acked_in = $12 WHERE id = $1 AND state = $13`
	sqlPlaceChange  = `UPDATE changes SET places = $2 WHERE id = $1`
	sqlGlassDue     = `SELECT ` + requestColumns + ` FROM changes WHERE state = 'asked' AND glass > 0 AND glass <= $1 ORDER BY created LIMIT $2`
	sqlFinishChange = `UPDATE changes SET state = 'done', mark = $2, done = $3 WHERE id = $1 AND state = 'approved'`
)

// Reading the list and the work that is due is bounded.
const (
	maxListed = 500
	maxDue    = 100
)

func scanRequest(r db.Row) (*request, error) {
	x := &request{}
	var brand, principal, credential, lineage, key, at, created, expires, second, secondIn, decided, decidedIn, done, glass, glassIn, acked, ackedIn int64
	var state string
	err := r.Scan(&x.ID, &brand, &x.Act, &state, &x.Mark, &principal, &credential, &lineage, &x.Who.Role, &x.Ticket, &key, &x.Payload, &at,
		&created, &expires, &second, &secondIn, &decided, &decidedIn, &done, &x.Reason, &x.Places, &glass, &glassIn, &acked, &ackedIn)
	x.Glass, x.GlassIn, x.Acked, x.AckedIn = db.Time(glass), uint64(glassIn), uint64(acked), uint64(ackedIn)
	x.State, x.Key, x.Entry = State(state), int(key), uint64(at)
	x.Who.Brand, x.Who.Principal, x.Who.Credential, x.Who.Lineage = record.BrandID(brand), uint64(principal), uint64(credential), uint64(lineage)
	x.Created, x.Expires, x.Decided, x.Done = db.Time(created), db.Time(expires), db.Time(decided), db.Time(done)
	x.Second, x.SecondIn, x.DecidedIn = uint64(second), uint64(secondIn), uint64(decidedIn)
	return x, err
}

func (d *Desk) insert(ctx context.Context, q db.Queryer, x *request) error {
	_, err := q.Exec(ctx, sqlInsertChange, x.ID, int64(x.Who.Brand), x.Act, string(x.State), x.Mark, int64(x.Who.Principal), int64(x.Who.Credential), int64(x.Who.Lineage),
		x.Who.Role, x.Ticket, x.Key, x.Payload, int64(x.Entry), x.Created.UnixMicro(), x.Expires.UnixMicro(), int64(x.Second), int64(x.SecondIn), db.Micros(x.Decided), int64(x.DecidedIn), db.Micros(x.Done), x.Reason,
		x.Places, db.Micros(x.Glass), int64(x.GlassIn), int64(x.Acked), int64(x.AckedIn))
	if err != nil {
		return fmt.Errorf("storing a request: %w", err)
	}
	return nil
}

func (d *Desk) get(ctx context.Context, id string) (*request, error) {
	x, err := scanRequest(d.DB.Row(ctx, sqlGetChange, id))
	if errors.Is(err, db.ErrNoRows) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("reading a request: %w", err)
	}
	return x, nil
}

func (d *Desk) rows(ctx context.Context, sql string, args ...any) (out []*request, err error) {
	err = d.DB.Rows(ctx, func(r db.Row) error {
		x, err := scanRequest(r)
		out = append(out, x)
		return err
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the requests: %w", err)
	}
	return out, nil
}

// move changes the state of a request that has the state from; ErrState where another was
// faster.
func (d *Desk) move(ctx context.Context, q db.Queryer, x *request, from State) error {
	n, err := q.Exec(ctx, sqlMoveChange, x.ID, string(x.State), x.Mark, int64(x.Second), int64(x.SecondIn), db.Micros(x.Decided), int64(x.DecidedIn), x.Reason,
		db.Micros(x.Glass), int64(x.GlassIn), int64(x.Acked), int64(x.AckedIn), string(from))
	if err != nil {
		return fmt.Errorf("deciding a request: %w", err)
	}
	if n == 0 {
		return ErrState
	}
	return nil
}

// additional binds what is sealed to its request.
func (x *request) additional() []byte {
	return []byte("cloakroom change 1\x00" + x.ID + "\x00" + x.Act)
}

// seal closes what is asked for under the brand's key, which is made with the first.
func (d *Desk) seal(ctx context.Context, x *request, plain []byte, at time.Time) error {
	var k keys.Key
	err := d.DB.Tx(ctx, func(q db.Queryer) (err error) {
		k, err = d.Ring.Ensure(ctx, q, x.Who.Brand, keys.Change, at)
		return err
	})
	if err != nil {
		return err
	}
	aead, err := keys.GCM(k.Bytes())
	if err != nil {
		return err
	}
	x.Key, x.Payload = k.Version, aead.Seal(nil, nil, plain, x.additional())
	return nil
}

func (d *Desk) open(ctx context.Context, x *request) ([]byte, error) {
	k, err := d.Ring.Version(ctx, x.Who.Brand, keys.Change, x.Key)
	if err != nil {
		return nil, err
	}
	aead, err := keys.GCM(k.Bytes())
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, x.Payload, x.additional())
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}

func (x *request) digest() string {
	h := sha256.Sum256(x.Payload)
	return hex.EncodeToString(h[:])
}
