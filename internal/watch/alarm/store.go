package alarm

import (
	"context"
	"errors"
	"fmt"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrNoAlarm is returned for an alarm that there is not.
var ErrNoAlarm = fault.New(fault.NotFound, "no such alarm: `cloakroom alarm list` shows all")

// State is where an alarm stands.
type State string

// The states.
const (
	Unseen       State = "new"
	Acknowledged State = "acknowledged"
	Closed       State = "closed"
)

// Stored is an alarm with its life so far. The entries are those of the brand's log
// that say who changed it; 0 for none.
type Stored struct {
	detect.Alarm
	Repeat      bool   // an alarm with the same key is open: only receivers added since are notified
	Repeats     int    // how many alarms repeated this one while it was open
	Earlier     uint64 // the alarm's entry that this one repeats, or that it comes after; 0 for none
	AckEntry    uint64
	AckedBy     uint64
	AckedAt     time.Time
	CloseEntry  uint64
	ClosedBy    uint64
	ClosedAt    time.Time
	Reason      string // why it was closed
	CloseTicket string
}

// ClosedBefore reports whether the alarm was closed when an entry was logged.
func (s *Stored) ClosedBefore(entry uint64) bool { return s.CloseEntry != 0 && s.CloseEntry < entry }

// State is where the alarm stands.
func (s *Stored) State() State {
	switch {
	case s.CloseEntry != 0:
		return Closed
	case s.AckEntry != 0:
		return Acknowledged
	}
	return Unseen
}

// Place is where an alarm stands in the order of a brand's alarms.
type Place struct {
	Entry uint64      `json:"entry"`
	Rule  detect.Rule `json:"rule"`
}

// ParseID reads an alarm's ID.
func ParseID(id string) (Place, error) {
	n, rule, ok := strings.Cut(id, "-")
	index, err := strconv.ParseUint(n, 10, 63)
	if !ok || err != nil {
		return Place{}, ErrNoAlarm
	}
	return Place{index, detect.Rule(rule)}, nil
}

// Store keeps alarms, and where each brand's rules stand.
type Store struct{ db *db.DB }

// NewStore returns the store of a database.
func NewStore(d *db.DB) *Store { return &Store{d} }

const (
	alarmColumns = `entry, rule, at, grade, principal, lineage, role, customers, usual, seen, dedup, again, ack_entry, acked_by, acked_at, close_entry, closed_by, closed_at, reason, ticket, repeats, earlier`

	sqlInsertAlarm = `INSERT INTO alarms (brand, entry, rule, at, grade, principal, lineage, role, customers, usual, seen, dedup, again, ack_entry, acked_by, acked_at, close_entry, closed_by, closed_at, reason, ticket, contain, topic, earlier, prior)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
			$13, 0, 0, 0, 0, 0, 0, '', '', $14, $15, $16, $17)
		ON CONFLICT DO NOTHING`
	sqlRepeated = `UPDATE alarms SET repeats = repeats + $4 WHERE brand = $1 AND entry = $2 AND rule = $3`
	// The first to acknowledge and the first to close hold, in the order of the log,
	// whatever the order in which servers come to say so.
	sqlAckAlarm   = `UPDATE alarms SET ack_entry = $4, acked_by = $5, acked_at = $6 WHERE brand = $1 AND entry = $2 AND rule = $3 AND (ack_entry = 0 OR ack_entry > $4)`
	sqlCloseAlarm = `UPDATE alarms SET close_entry = $4, closed_by = $5, closed_at = $6, reason = $7, ticket = $8 WHERE brand = $1 AND entry = $2 AND rule = $3 AND (close_entry = 0 OR close_entry > $4)`
	sqlReadAlarm  = `SELECT ` + alarmColumns + ` FROM alarms WHERE brand = $1 AND entry = $2 AND rule = $3`
	sqlAfterAlarm = `SELECT ` + alarmColumns + ` FROM alarms WHERE brand = $1 AND (entry > $2 OR entry = $2 AND rule > $3) AND grade >= $4
		AND (again <= $5 OR prior < $6 AND entry >= $6) ORDER BY entry, rule LIMIT $7`
	sqlToContain  = `SELECT brand, ` + alarmColumns + ` FROM alarms WHERE contain = 1 ORDER BY brand, entry LIMIT $1`
	sqlAnswered   = `UPDATE alarms SET contain = $4 WHERE brand = $1 AND entry = $2 AND rule = $3`
	sqlListAlarms = `SELECT ` + alarmColumns + ` FROM alarms WHERE brand = $1 AND (entry < $2 OR entry = $2 AND rule < $3) AND grade >= $4
		AND ($5 = '' OR $5 = 'closed' AND close_entry <> 0 OR $5 = 'acknowledged' AND close_entry = 0 AND ack_entry <> 0
			OR $5 = 'new' AND close_entry = 0 AND ack_entry = 0 OR $5 = 'open' AND close_entry = 0)
		ORDER BY entry DESC, rule DESC LIMIT $6`

	sqlOpenAlarms = `SELECT grade, count(*) FROM alarms WHERE close_entry = 0 GROUP BY grade`
	sqlRuleAlarms = `SELECT ` + alarmColumns + ` FROM alarms WHERE brand = $1 AND rule = $2 ORDER BY entry DESC LIMIT $3`

	sqlBeginRules = `INSERT INTO alarm_cursors (brand, next, rules, holder, until) VALUES ($1, 0, 0, '', 0) ON CONFLICT DO NOTHING`
	sqlReadRules  = `SELECT rules FROM alarm_cursors WHERE brand = $1`
	sqlNoteRules  = `UPDATE alarm_cursors SET rules = $2 WHERE brand = $1 AND rules < $2`
)

func scanAlarm(brand record.BrandID, r db.Row) (Stored, error) {
	s := Stored{Alarm: detect.Alarm{Brand: brand}}
	var at, grade, principal, lineage, customers, again, acked, closed, earlier int64
	var rule string
	var ackedBy, closedBy, ackEntry, closeEntry int64
	err := r.Scan(&s.Entry, &rule, &at, &grade, &principal, &lineage, &s.Role, &customers, &s.Usual, &s.Seen, &s.Key, &again,
		&ackEntry, &ackedBy, &acked, &closeEntry, &closedBy, &closed, &s.Reason, &s.CloseTicket, &s.Repeats, &earlier)
	s.Rule, s.Grade, s.At = detect.Rule(rule), detect.Grade(grade), time.UnixMicro(at).UTC()
	s.Principal, s.Lineage, s.Customers, s.Repeat = uint64(principal), uint64(lineage), int(customers), again != 0
	s.AckEntry, s.AckedBy, s.CloseEntry, s.ClosedBy, s.Earlier = uint64(ackEntry), uint64(ackedBy), uint64(closeEntry), uint64(closedBy), uint64(earlier)
	if acked != 0 {
		s.AckedAt = time.UnixMicro(acked).UTC()
	}
	if closed != 0 {
		s.ClosedAt = time.UnixMicro(closed).UTC()
	}
	return s, err
}

// Get returns one alarm.
func (s *Store) Get(ctx context.Context, brand record.BrandID, p Place) (Stored, error) {
	a, err := scanAlarm(brand, s.db.Row(ctx, sqlReadAlarm, int64(brand), int64(p.Entry), string(p.Rule)))
	if errors.Is(err, db.ErrNoRows) {
		return a, ErrNoAlarm
	}
	if err != nil {
		return a, fmt.Errorf("reading an alarm: %w", err)
	}
	return a, nil
}

func (s *Store) read(ctx context.Context, brand record.BrandID, sql string, args ...any) ([]Stored, error) {
	var out []Stored
	err := s.db.Rows(ctx, func(r db.Row) error {
		a, err := scanAlarm(brand, r)
		out = append(out, a)
		return err
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the alarms of brand %d: %w", brand, err)
	}
	return out, nil
}

// Answer is what became of an alarm for which the rules contain.
type Answer int

// The answers. Until there is one, the alarm is due.
const (
	Contained    Answer = 2
	NotContained Answer = 3 // it may not be; the log says why
)

// ToContain returns alarms of any brand for which somebody is to be contained, and was
// not yet.
func (s *Store) ToContain(ctx context.Context, limit int) (out []Stored, err error) {
	err = s.db.Rows(ctx, func(r db.Row) error {
		var brand int64
		a, err := scanAlarm(0, db.Around(r, []any{&brand}, nil))
		a.Brand = record.BrandID(brand)
		out = append(out, a)
		return err
	}, sqlToContain, limit)
	if err != nil {
		return nil, fmt.Errorf("reading for which alarms to contain: %w", err)
	}
	return out, nil
}

// Answered notes what became of an alarm. It may be noted twice.
func (s *Store) Answered(ctx context.Context, a *detect.Alarm, what Answer) error {
	if _, err := s.db.Exec(ctx, sqlAnswered, int64(a.Brand), int64(a.Entry), string(a.Rule), int64(what)); err != nil {
		return fmt.Errorf("noting what became of an alarm: %w", err)
	}
	return nil
}

// ByRule returns the newest alarms of a rule, newest first.
func (s *Store) ByRule(ctx context.Context, brand record.BrandID, rule detect.Rule, limit int) ([]Stored, error) {
	return s.read(ctx, brand, sqlRuleAlarms, int64(brand), string(rule), limit)
}

// lastPlace is beyond every alarm.
func lastPlace() Place { return Place{Entry: 1<<63 - 1} }

// List returns the alarms of a brand before a place, newest first. state is a State,
// "open" for those not closed, or empty for all.
func (s *Store) List(ctx context.Context, brand record.BrandID, before Place, least detect.Grade, state string, limit int) ([]Stored, error) {
	return s.read(ctx, brand, sqlListAlarms, int64(brand), int64(before.Entry), string(before.Rule), int64(least), state, limit)
}

// change is a step of an alarm's life, from an entry of the log.
type change struct {
	entry          uint64
	at             time.Time
	by             uint64
	alarm          Place
	closed         bool
	reason, ticket string
}

func (c *change) stmt(brand record.BrandID) db.Stmt {
	args := []any{int64(brand), int64(c.alarm.Entry), string(c.alarm.Rule), int64(c.entry), int64(c.by), c.at.UnixMicro()}
	if c.closed {
		return db.Stmt{SQL: sqlCloseAlarm, Args: append(args, c.reason, c.ticket)}
	}
	return db.Stmt{SQL: sqlAckAlarm, Args: args}
}

// Newest returns the newest alarms of a brand, at most so many.
func (s *Store) Newest(ctx context.Context, brand record.BrandID, most int) ([]Stored, error) {
	return s.List(ctx, brand, lastPlace(), detect.Low, "", most)
}

// apply makes a change that is in the log. It may be made twice.
func (s *Store) apply(ctx context.Context, brand record.BrandID, c change) error {
	return s.db.Tx(ctx, func(q db.Queryer) error { return q.Batch(ctx, []db.Stmt{c.stmt(brand)}) })
}

// noteRules remembers at which entry the rules stand that hold.
func (s *Store) noteRules(ctx context.Context, brand record.BrandID, index uint64) error {
	return s.db.Tx(ctx, func(q db.Queryer) error {
		return q.Batch(ctx, rulesStmts(brand, index))
	})
}

func rulesStmts(brand record.BrandID, index uint64) []db.Stmt {
	return []db.Stmt{{SQL: sqlBeginRules, Args: []any{int64(brand)}}, {SQL: sqlNoteRules, Args: []any{int64(brand), int64(index)}}}
}

// Reached returns the entry of a brand's log from which on nothing was watched yet: the
// alarms of those before it are stored.
func (s *Store) Reached(ctx context.Context, brand record.BrandID) (uint64, error) {
	return follow.Next(ctx, s.db, follower, brand)
}

// rulesAt returns the entry with a brand's rules, 0 for the default ones.
func (s *Store) rulesAt(ctx context.Context, brand record.BrandID) (uint64, error) {
	var at int64
	err := s.db.Row(ctx, sqlReadRules, int64(brand)).Scan(&at)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return 0, fmt.Errorf("reading where the rules of brand %d stand: %w", brand, err)
	}
	return uint64(at), nil
}

// batch is what entries from one index to another gave.
type batch struct {
	from, to uint64
	alarms   []detect.Alarm
	changes  []change
	events   []Event // containments; what became of alarms is made of the changes
	rules    uint64
}

// insertChunk bounds the statements of one round trip.
const insertChunk = 500

// put stores a batch, inside the transaction that moves the cursor past its entries: so
// each alarm is stored once, however many servers watch and whatever dies when.
func (s *Store) put(ctx context.Context, q db.Queryer, brand record.BrandID, b *batch) error {
	links, repeats, err := linksOf(ctx, q, brand, b)
	if err != nil {
		return err
	}
	var stmts []db.Stmt
	for i := range b.alarms {
		a, l := &b.alarms[i], links[i]
		again, due := 0, 0
		if l.repeat {
			again = 1
		}
		if a.Contain {
			due = 1
		}
		stmts = append(stmts, db.Stmt{SQL: sqlInsertAlarm, Args: []any{
			int64(brand), int64(a.Entry), string(a.Rule), a.At.UnixMicro(), int64(a.Grade), int64(a.Principal), int64(a.Lineage), a.Role,
			int64(a.Customers), a.Usual, a.Seen, a.Key, again, due, a.Topic(), int64(l.earlier), int64(l.prior),
		}})
	}
	for p, n := range repeats {
		stmts = append(stmts, db.Stmt{SQL: sqlRepeated, Args: []any{int64(brand), int64(p.Entry), string(p.Rule), n}})
	}
	if err := inChunks(ctx, q, stmts); err != nil {
		return err
	}
	steps, err := stepsOf(ctx, q, brand, b.changes)
	if err != nil {
		return err
	}
	stmts = stmts[:0]
	for i := range b.changes {
		stmts = append(stmts, b.changes[i].stmt(brand))
	}
	for _, e := range append(steps, b.events...) {
		stmts = append(stmts, e.stmt())
	}
	if b.rules > 0 {
		stmts = append(stmts, rulesStmts(brand, b.rules)...)
	}
	return inChunks(ctx, q, stmts)
}

func inChunks(ctx context.Context, q db.Queryer, stmts []db.Stmt) error {
	for chunk := range slices.Chunk(stmts, insertChunk) {
		if err := q.Batch(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

// Open counts the alarms of all brands that are not closed, by severity.
func (s *Store) Open(ctx context.Context) (map[string]int64, error) {
	out := map[string]int64{detect.Low.String(): 0, detect.Medium.String(): 0, detect.High.String(): 0, detect.Critical.String(): 0}
	err := s.db.Rows(ctx, func(r db.Row) error {
		var grade, n int64
		if err := r.Scan(&grade, &n); err != nil {
			return err
		}
		out[detect.Grade(grade).String()] = n
		return nil
	}, sqlOpenAlarms)
	if err != nil {
		return nil, fmt.Errorf("counting open alarms: %w", err)
	}
	return out, nil
}
