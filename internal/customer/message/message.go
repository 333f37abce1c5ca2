// Package message writes to customers for applications that never see an address, and
// keeps the queue from which all mail to customers is sent.
//
// # A message
//
// An application names a template and customers ([Desk.Send]). The policy says which
// fields may stand in mail for the purpose, the budget of the class message bounds how many
// customers are written to, and the entry names the carrier of the brand's mail as
// recipient. It is durable before a row is in the queue.
//
// # The queue
//
// Each mail is one row: a job, a person, and a version, which is 1 unless somebody had the
// mail sent once more. Its state moves forward only, as [State.may] says. "Finished" is not
// stored: it follows from the states.
//
// One server at a time sends a brand's mail, under a lease that each of its transactions
// renews. A mail is claimed in a transaction that commits before its DATA, so that after a
// crash it is known which mails may have left: those that are claimed and have no outcome.
// They are in doubt, listed, and never sent again by the vault. A person settles them.
//
// Each worker has one mail in flight, and the claims and outcomes of all workers commit
// together, so that a crash leaves no more in doubt than there are workers.
package message

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// State is the state of one mail. The numbers are stored: never renumber. Those below 3
// are not final.
type State int64

// The states.
const (
	Planned   State = 0
	Claimed   State = 1 // its DATA may have begun
	Deferred  State = 2 // refused for a time
	Accepted  State = 10
	Refused   State = 11 // permanently, by the mail server
	Bounced   State = 12 // accepted, and returned later
	NoAddress State = 13
	Held      State = 14 // the person is not to be written to
	Erased    State = 15
	InDoubt   State = 16 // it may have left, and nobody knows
)

var stateNames = map[State]string{
	Planned: "planned", Claimed: "claimed", Deferred: "deferred", Accepted: "accepted", Refused: "refused", Bounced: "bounced",
	NoAddress: "no-address", Held: "held", Erased: "erased", InDoubt: "in-doubt",
}

// String returns the state's name.
func (s State) String() string { return stateNames[s] }

// may says which states follow a state. A deferred mail that is claimed again counts
// another attempt, so that state and attempts together never go back.
func (s State) may(to State) bool {
	switch s {
	case Planned, Deferred:
		return to != Bounced && to != InDoubt && to != Planned && to != Accepted
	case Claimed:
		return to == Accepted || to == Deferred || to == Refused || to == InDoubt || to == Bounced
	case Accepted:
		return to == Bounced
	case InDoubt:
		return to == Accepted || to == Refused || to == Bounced
	}
	return false
}

// The kinds of jobs.
const (
	KindMessage  = "message"
	KindCampaign = "campaign"
)

// The states of a job. "Finished" is none of them.
const (
	Planning = "planning" // a campaign's rows are made
	Ready    = "ready"    // they are there, and wait for a second person
	Running  = "running"
	Paused   = "paused"
	Stopped  = "stopped" // permanently
)

var (
	// ErrNone is returned for an unknown message or campaign.
	ErrNone = fault.New(fault.NotFound, "no such message or campaign at this brand: `cloakroom message list` and `cloakroom campaign list` show them")
	// ErrNoTemplate is returned for an unknown template.
	ErrNoTemplate = fault.New(fault.NotFound, "no such template at this brand: `cloakroom message template list` shows them")
	// ErrSender is returned at a brand whose settings name no sender.
	ErrSender = fault.New(fault.Conflict, "the brand has no sender for its mail: set mail_from with `cloakroom settings set`")
	// ErrState is returned for what the state of a job or mail does not allow.
	ErrState = fault.New(fault.Conflict, "its state does not allow this: look at it with `cloakroom message show` or `cloakroom campaign show`")
	// ErrForged is returned for a job that the log does not hold up.
	ErrForged = fault.New(fault.Internal, "a message or campaign is not what the log says: it was changed in the database, and nothing of it is sent")
)

// Job is a message to some customers, or a campaign to all in a scope.
type Job struct {
	ID       uint64
	Brand    record.BrandID
	Kind     string
	State    string
	Reason   string // why it is paused or stopped
	Template string
	Version  int
	Purpose  string
	Ticket   string
	// Who asked for it.
	Principal, Credential, Lineage uint64
	Role                           string
	Incident                       string // of a campaign
	Scope                          uint64 // the entry that counted its people
	People                         uint64
	Place                          string // the host and directory on which it was started
	Printer                        string // the print house that its letters may be handed to
	Epoch                          string // of the log then
	Held                           time.Time
	Reached                        record.Ordinal // how far its rows are made
	Created                        time.Time
}

// tables of which a brand's log has rows.
const (
	tableTemplates = "mail-templates"
	tableJobs      = "mail-jobs"
)

// row is what the log has a digest of, for a campaign. How far its rows are made is not.
func (j *Job) row() rights.Row {
	return rights.Row{Table: tableJobs, Key: rights.Key(j.ID), Gone: j.State != Running, Says: fmt.Sprintf("campaign %d", j.ID), Cells: []any{
		int64(j.ID), int64(j.Brand), j.Kind, j.State, j.Template, int64(j.Version), j.Purpose, int64(j.Principal), j.Role, j.Incident, int64(j.Scope), int64(j.People), j.Place, j.Printer, j.Epoch}}
}

const (
	jobColumns = `id, brand, kind, state, reason, template, version, purpose, ticket, principal, credential, lineage, role, incident, scope, people, place, printer, epoch, held, reached, created`

	sqlInsertJob = `INSERT INTO mail_jobs (` + jobColumns + `) VALUES ((SELECT coalesce(max(id), 0) + 1 FROM mail_jobs), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) ON CONFLICT DO NOTHING RETURNING id`
	sqlGetJob    = `SELECT ` + jobColumns + ` FROM mail_jobs WHERE id = $1`
	sqlListJobs  = `SELECT ` + jobColumns + ` FROM mail_jobs WHERE brand = $1 AND kind = $2 AND id < $3 ORDER BY id DESC LIMIT $4`
	sqlForced    = `SELECT ` + jobColumns + ` FROM mail_jobs WHERE kind = 'campaign' AND state = 'running' ORDER BY id`
	sqlOpenJobs  = `SELECT ` + jobColumns + ` FROM mail_jobs WHERE state = 'planning' OR state = 'running' AND id IN (SELECT job FROM mails WHERE state < 3 AND due <= $1) ORDER BY id LIMIT 100`
	sqlMoveJob   = `UPDATE mail_jobs SET state = $3, reason = $4, place = $5, epoch = $6, held = $7, people = $8, printer = $9 WHERE id = $1 AND state = $2`
	sqlReach     = `UPDATE mail_jobs SET reached = $2 WHERE id = $1`

	sqlInsertTemplate = `INSERT INTO mail_templates (brand, name, version, purpose, text, created, author) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	sqlNewest         = `SELECT coalesce(max(version), 0) FROM mail_templates WHERE brand = $1 AND name = $2`
	sqlGetTemplate    = `SELECT brand, name, version, purpose, text, created, author FROM mail_templates WHERE brand = $1 AND name = $2 AND version = $3`
	sqlListTemplates  = `SELECT t.brand, t.name, t.version, t.purpose, t.text, t.created, t.author FROM mail_templates t WHERE t.brand = $1 AND t.version = (SELECT max(n.version) FROM mail_templates n WHERE n.brand = t.brand AND n.name = t.name) ORDER BY t.name LIMIT 500`
	sqlAllTemplates   = `SELECT brand, name, version, purpose, text, created, author FROM mail_templates ORDER BY brand, name, version`
	sqlMendTemplate   = `INSERT INTO mail_templates (brand, name, version, purpose, text, created, author) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (brand, name, version) DO UPDATE SET purpose = excluded.purpose, text = excluded.text, created = excluded.created, author = excluded.author`

	mailColumns = `job, ord, version, state, attempts, due, entry, lang, mid, code, queue, reason, bounce, print, changed`

	sqlInsertMail = `INSERT INTO mails (` + mailColumns + `) VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8, $9, '', $10, '', 0, $11) ON CONFLICT DO NOTHING`
	sqlWaiting    = `SELECT ` + mailColumns + ` FROM mails WHERE job = $1 AND state IN (0, 2) AND due <= $2 ORDER BY due, ord, version LIMIT $3`
	sqlLeft       = `SELECT ` + mailColumns + ` FROM mails WHERE job = $1 AND state = 1 ORDER BY ord, version LIMIT 1000`
	sqlPageMails  = `SELECT ` + mailColumns + ` FROM mails WHERE job = $1 AND ord > $2 AND ($3 = -1 OR state = $3) ORDER BY ord, version LIMIT $4`
	sqlMailsOf    = `SELECT ` + mailColumns + ` FROM mails WHERE job = $1 AND ord = $2 ORDER BY version DESC`
	sqlMailByID   = `SELECT ` + mailColumns + ` FROM mails WHERE mid = $1`
	sqlMoveMail   = `UPDATE mails SET state = $5, attempts = $6, due = $7, entry = $8, queue = $9, reason = $10, changed = $11 WHERE job = $1 AND ord = $2 AND version = $3 AND state = $4`
	sqlPutOff     = `UPDATE mails SET due = $4, entry = $5 WHERE job = $1 AND ord = $2 AND version = $3 AND state IN (0, 2)`
	sqlEarly      = `UPDATE mails SET bounce = $2, changed = $3 WHERE mid = $1 AND state = 1`
	sqlReturned   = `UPDATE mails SET state = 12, bounce = $2, changed = $3 WHERE mid = $1 AND state IN (10, 16)`
	sqlCounts     = `SELECT state, lang, count(*) FROM mails WHERE job = $1 AND version = 1 GROUP BY state, lang ORDER BY state, lang`
	sqlAgain      = `SELECT count(*) FROM mails WHERE job = $1 AND version > 1`
	sqlPrint      = `UPDATE mails SET print = $4, changed = $5 WHERE job = $1 AND ord = $2 AND version = $3 AND print < $4`

	sqlForgetMails  = `UPDATE mails SET state = 15, changed = $2 WHERE ord = $1 AND state IN (0, 2)`
	sqlSweepOptOuts = `DELETE FROM mail_optouts WHERE ord IN (SELECT ord FROM customers WHERE sealed IS NULL)`

	sqlOptOut  = `INSERT INTO mail_optouts (brand, ord, channel, since) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`
	sqlOptIn   = `DELETE FROM mail_optouts WHERE ord = $2 AND brand = $1 AND channel = $3`
	sqlOptOuts = `SELECT channel, since FROM mail_optouts WHERE ord = $2 AND brand = $1 ORDER BY channel`
)

// Store keeps templates, jobs, mails and opt-outs.
type Store struct {
	// Rights is what rows are held against; nil for nothing, as while a copy is restored.
	Rights rights.Log

	db   *db.DB
	ring *keys.Ring

	mu    sync.Mutex
	known map[templateKey]*Template // checked, of versions, which never change
}

type templateKey struct {
	brand   record.BrandID
	name    string
	version int
	domain  string
}

// NewStore returns the store of a database.
func NewStore(d *db.DB, ring *keys.Ring) *Store {
	return &Store{db: d, ring: ring, known: map[templateKey]*Template{}}
}

// storedTemplate is a version of a template as it is stored.
type storedTemplate struct {
	brand         record.BrandID
	name          string
	version       int64
	purpose, text string
	created       int64
	author        int64
}

func scanTemplate(r db.Row) (x storedTemplate, err error) {
	var brand int64
	err = r.Scan(&brand, &x.name, &x.version, &x.purpose, &x.text, &x.created, &x.author)
	x.brand = record.BrandID(brand)
	return x, err
}

func (x *storedTemplate) cells() []any {
	return []any{int64(x.brand), x.name, x.version, x.purpose, x.text, x.created, x.author}
}

func (x *storedTemplate) row() rights.Row {
	return rights.Row{Table: tableTemplates, Key: rights.Key(x.name, x.version), Cells: x.cells(), Says: fmt.Sprintf("template %s, version %d", x.name, x.version)}
}

// Granted hands fn every template, and every campaign that runs.
func (s *Store) Granted(ctx context.Context, q db.Queryer, fn func(brand record.BrandID, r rights.Row)) error {
	err := q.Rows(ctx, func(r db.Row) error {
		x, err := scanTemplate(r)
		fn(x.brand, x.row())
		return err
	}, sqlAllTemplates)
	if err == nil {
		err = q.Rows(ctx, func(r db.Row) error {
			j, err := scanJob(r)
			fn(j.Brand, j.row())
			return err
		}, sqlForced)
	}
	if err != nil {
		return fmt.Errorf("reading templates and campaigns: %w", err)
	}
	return nil
}

// Mend writes a template as the log has it. A campaign is not mended: it stays void, and is
// asked for again.
func (s *Store) Mend(ctx context.Context, q db.Queryer, _ record.BrandID, r rights.Row) (bool, error) {
	if r.Table != tableTemplates || r.Gone {
		return false, nil
	}
	n, err := q.Exec(ctx, sqlMendTemplate, r.Cells...)
	if err != nil {
		return true, fmt.Errorf("mending a template: %w", err)
	}
	return n > 0, nil
}

func scanJob(r db.Row) (*Job, error) {
	j := &Job{}
	var id, brand, version, principal, credential, lineage, scope, people, held, reached, created int64
	err := r.Scan(&id, &brand, &j.Kind, &j.State, &j.Reason, &j.Template, &version, &j.Purpose, &j.Ticket, &principal, &credential, &lineage, &j.Role, &j.Incident,
		&scope, &people, &j.Place, &j.Printer, &j.Epoch, &held, &reached, &created)
	j.ID, j.Brand, j.Version, j.Principal, j.Credential, j.Lineage = uint64(id), record.BrandID(brand), int(version), uint64(principal), uint64(credential), uint64(lineage)
	j.Scope, j.People, j.Reached, j.Held, j.Created = uint64(scope), uint64(people), record.Ordinal(reached), db.Time(held), db.Time(created)
	return j, err
}

// Template returns a version of a template as the log has it; 0 is the newest. The domain
// is that which its links may lead to now.
func (s *Store) Template(ctx context.Context, brand record.BrandID, name string, version int, domain string) (*Template, error) {
	var x storedTemplate
	err := rights.One(ctx, s.Rights, s.db, brand, func(q db.Queryer) ([]rights.Row, error) {
		v := int64(version)
		if v == 0 {
			if err := q.Row(ctx, sqlNewest, int64(brand), name).Scan(&v); err != nil {
				return nil, fmt.Errorf("reading a template: %w", err)
			}
		}
		var err error
		x, err = scanTemplate(q.Row(ctx, sqlGetTemplate, int64(brand), name, v))
		if errors.Is(err, db.ErrNoRows) {
			return nil, ErrNoTemplate
		}
		if err != nil {
			return nil, fmt.Errorf("reading a template: %w", err)
		}
		return []rights.Row{x.row()}, nil
	})
	if err != nil {
		return nil, err
	}
	key := templateKey{brand, name, int(x.version), domain}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.known[key]; t != nil {
		return t, nil
	}
	t, err := decode(x.text, domain)
	if err != nil {
		return nil, err
	}
	t.Version = int(x.version)
	if len(s.known) > 1000 {
		clear(s.known)
	}
	s.known[key] = t
	return t, nil
}

// numberAttempts is how often a number is chosen again because another server took it.
const numberAttempts = 20

func (s *Store) insertJob(ctx context.Context, q db.Queryer, j *Job) error {
	for range numberAttempts {
		var id int64
		err := q.Row(ctx, sqlInsertJob, int64(j.Brand), j.Kind, j.State, j.Reason, j.Template, int64(j.Version), j.Purpose, j.Ticket, int64(j.Principal), int64(j.Credential), int64(j.Lineage),
			j.Role, j.Incident, int64(j.Scope), int64(j.People), j.Place, j.Printer, j.Epoch, db.Micros(j.Held), int64(j.Reached), db.Micros(j.Created)).Scan(&id)
		if errors.Is(err, db.ErrNoRows) {
			continue
		}
		if err != nil {
			return fmt.Errorf("storing a message: %w", err)
		}
		j.ID = uint64(id)
		return nil
	}
	return fault.New(fault.Unavailable, "too many messages are made at once: retry in a moment")
}

// Begin stores a new job, outside of the log: nothing of it is sent while it is planned.
func (s *Store) Begin(ctx context.Context, j *Job) error {
	return s.db.Tx(ctx, func(q db.Queryer) error { return s.insertJob(ctx, q, j) })
}

// Job returns a job of a brand.
func (s *Store) Job(ctx context.Context, q db.Queryer, brand record.BrandID, id uint64, kind string) (*Job, error) {
	if q == nil {
		q = s.db
	}
	j, err := scanJob(q.Row(ctx, sqlGetJob, int64(id)))
	if errors.Is(err, db.ErrNoRows) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("reading a message: %w", err)
	}
	if j.Brand != brand || j.Kind != kind {
		return nil, ErrNone
	}
	return j, nil
}

// Jobs returns the newest jobs of a kind.
func (s *Store) Jobs(ctx context.Context, brand record.BrandID, kind string) (out []*Job, err error) {
	err = s.db.Rows(ctx, func(r db.Row) error {
		j, err := scanJob(r)
		out = append(out, j)
		return err
	}, sqlListJobs, int64(brand), kind, int64(1)<<62, 200)
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	return out, nil
}

// Move changes the state of a job. The row of a campaign is in the entry of the change.
func (s *Store) Move(ctx context.Context, q db.Queryer, j *Job, from string) error {
	n, err := q.Exec(ctx, sqlMoveJob, int64(j.ID), from, j.State, j.Reason, j.Place, j.Epoch, db.Micros(j.Held), int64(j.People), j.Printer)
	if err != nil {
		return fmt.Errorf("changing a message: %w", err)
	}
	if n == 0 {
		return ErrState
	}
	if j.Kind == KindCampaign {
		rights.Changed(q, j.row())
	}
	return nil
}

// Holds refuses a campaign that runs and is not what the log says.
func (s *Store) Holds(ctx context.Context, j *Job) error {
	return rights.One(ctx, s.Rights, s.db, j.Brand, func(q db.Queryer) ([]rights.Row, error) {
		now, err := s.Job(ctx, q, j.Brand, j.ID, j.Kind)
		if err != nil {
			return nil, err
		}
		if now.State != Running {
			return nil, ErrState
		}
		return []rights.Row{now.row()}, nil
	})
}

// mail is one row.
type mail struct {
	job      uint64
	ord      record.Ordinal
	version  int
	state    State
	attempts int
	due      int64
	entry    int64 // that discloses it; 0: none yet
	lang     string
	mid      []byte
	code     []byte
	queue    string
	reason   string
	bounce   string
	print    int64
	changed  int64
}

func scanMail(r db.Row) (*mail, error) {
	m := &mail{}
	var job, ord, version, state, attempts int64
	err := r.Scan(&job, &ord, &version, &state, &attempts, &m.due, &m.entry, &m.lang, &m.mid, &m.code, &m.queue, &m.reason, &m.bounce, &m.print, &m.changed)
	m.job, m.ord, m.version, m.state, m.attempts = uint64(job), record.Ordinal(ord), int(version), State(state), int(attempts)
	m.mid, m.code = slices.Clone(m.mid), slices.Clone(m.code)
	return m, err
}

func (s *Store) mails(ctx context.Context, sql string, args ...any) (out []*mail, err error) {
	err = s.db.Rows(ctx, func(r db.Row) error {
		m, err := scanMail(r)
		out = append(out, m)
		return err
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading mails: %w", err)
	}
	return out, nil
}

// Forget returns what takes a customer out of the queue once their erasure has begun. Their
// opt-outs stay while the erasure can be taken back; those of people whose key is destroyed
// go with the next erasure.
func (s *Store) Forget(_ context.Context, _ record.BrandID, ord record.Ordinal) (drop func(context.Context) error, err error) {
	return func(ctx context.Context) error {
		now, err := s.db.Now(ctx)
		if err != nil {
			return err
		}
		return s.db.Tx(ctx, func(q db.Queryer) error {
			if _, err := q.Exec(ctx, sqlForgetMails, int64(ord), now.UnixMicro()); err != nil {
				return fmt.Errorf("taking a customer out of the queue of mail: %w", err)
			}
			if _, err := q.Exec(ctx, sqlSweepOptOuts); err != nil {
				return fmt.Errorf("dropping the opt-outs of erased customers: %w", err)
			}
			return nil
		})
	}, nil
}

// stamps are what a mail is known again by.
type stamps struct{ key []byte }

func (s *Store) stamps(ctx context.Context, brand record.BrandID) (*stamps, error) {
	now, err := s.db.Now(ctx)
	if err != nil {
		return nil, err
	}
	var k keys.Key
	err = s.db.Tx(ctx, func(q db.Queryer) (err error) {
		k, err = s.ring.Ensure(ctx, q, brand, keys.Mail, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &stamps{k.Bytes()}, nil
}

func (s *stamps) sum(label string, parts ...uint64) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte("cloakroom mail " + label + "\x00"))
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, p))
	}
	return h.Sum(nil)
}

// id is the mail's Message-ID, the same whenever it is made.
func (s *stamps) id(job uint64, ord record.Ordinal, version int) []byte {
	return s.sum("id 1", job, uint64(ord), uint64(version))[:16]
}

// letters of a code: none that is taken for another.
const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// code is what the mail carries, for the person to ask whether it is real: 50 bits, which
// nobody makes without the brand's key. Another version has another.
func (s *stamps) code(job uint64, ord record.Ordinal, version int) string {
	n := binary.BigEndian.Uint64(s.sum("code 1", job, uint64(ord), uint64(version)))
	var b strings.Builder
	for i := range 10 {
		if i == 4 || i == 8 {
			b.WriteByte('-')
		}
		b.WriteByte(letters[n>>(5*i)&31])
	}
	return b.String()
}

// find is what the row keeps of a code: it tells nobody the code.
func (s *stamps) find(code string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte("cloakroom mail find 1\x00" + code))
	return h.Sum(nil)[:16]
}

// insert is the statement that puts a mail in the queue.
func (s *stamps) insert(m *mail) db.Stmt {
	m.mid, m.code = s.id(m.job, m.ord, m.version), s.find(s.code(m.job, m.ord, m.version))
	return db.Stmt{SQL: sqlInsertMail, Args: []any{int64(m.job), int64(m.ord), int64(m.version), int64(m.state), m.due, m.entry, m.lang, m.mid, m.code, m.reason, m.changed}}
}

// Counts returns how many people of a job are in each state, by language.
func (s *Store) Counts(ctx context.Context, job uint64) (out []api.MailCount, err error) {
	out = []api.MailCount{}
	err = s.db.Rows(ctx, func(r db.Row) error {
		var state, n int64
		var c api.MailCount
		err := r.Scan(&state, &c.Language, &n)
		c.State, c.People = State(state).String(), n
		out = append(out, c)
		return err
	}, sqlCounts, int64(job))
	if err != nil {
		return nil, fmt.Errorf("counting mails: %w", err)
	}
	return out, nil
}

func decode(text, domain string) (*Template, error) {
	var t api.MailTemplate
	if err := unmarshal(text, &t); err != nil {
		return nil, err
	}
	return check(t, domain)
}

// Step is the event that logs a step of a job.
func Step(j *Job, who identity.Who, what string) ledger.Event {
	return ledger.Event{Kind: entry.KindAdministration, Who: who, Ticket: j.Ticket, Purpose: j.Purpose,
		Detail: entry.CampaignStep{Job: j.ID, Step: what, Incident: j.Incident, Scope: j.Scope, Template: j.Versioned(), People: j.People, Reason: j.Reason}}
}

// Versioned names the template of a job with its version, as entries do.
func (j *Job) Versioned() string { return versioned(j.Template, j.Version) }

func versioned(name string, version int) string { return fmt.Sprintf("%s/%d", name, version) }

// Row is a new row of a job, as planning makes it.
type Row struct {
	Ord    record.Ordinal
	State  State
	Lang   string
	Reason string
}

// AddRows makes rows of a job, and notes how far they reach, in one transaction that also
// keeps the lease. An existing row stays.
func (s *Store) AddRows(ctx context.Context, j *Job, rows []Row, reached record.Ordinal, keep func(q db.Queryer) error) error {
	keys, err := s.stamps(ctx, j.Brand)
	if err != nil {
		return err
	}
	now, err := s.db.Now(ctx)
	if err != nil {
		return err
	}
	return s.db.Tx(ctx, func(q db.Queryer) error {
		if err := keep(q); err != nil {
			return err
		}
		var stmts []db.Stmt
		for _, r := range rows {
			stmts = append(stmts, keys.insert(&mail{job: j.ID, ord: r.Ord, version: 1, state: r.State, due: now.UnixMicro(), lang: r.Lang, reason: r.Reason, changed: now.UnixMicro()}))
		}
		stmts = append(stmts, db.Stmt{SQL: sqlReach, Args: []any{int64(j.ID), int64(reached)}})
		if err := q.Batch(ctx, stmts); err != nil {
			return fmt.Errorf("planning mails: %w", err)
		}
		return nil
	})
}

// Choose says which text somebody gets and whether they get one at all, of their opened
// fields: as the sender will decide.
func (t *Template) Choose(c *api.Customer, languages []string) Row {
	v, theirs := t.pick(c.Fields[record.Locale.String()], languages)
	r := Row{State: Planned, Lang: v.name}
	if !theirs {
		r.Lang += " *" // the brand's default: nobody waits for a translation
	}
	if r.Reason = Standing(c, true); r.Reason != "" {
		r.State = Held
	} else if _, _, ok := address(c.Fields[record.Email.String()]); !ok {
		r.State = NoAddress
	}
	return r
}

// Letters returns the newest mails of people after a row who have no working mail and may
// get a letter.
func (s *Store) Letters(ctx context.Context, job uint64, after record.Ordinal, limit int) (out []Letter, err error) {
	list, err := s.mails(ctx, sqlLetters, int64(job), int64(after), limit)
	for _, m := range list {
		why := m.state.String()
		if m.state == Held {
			why = m.reason
		}
		out = append(out, Letter{m.ord, m.version, why})
	}
	return out, err
}

// Letter is somebody who is to get a letter.
type Letter struct {
	Ord     record.Ordinal
	Version int
	Why     string
}

const sqlLetters = `SELECT ` + mailColumns + ` FROM mails m WHERE job = $1 AND ord > $2 AND print < 2 AND (state IN (11, 12, 13) OR state = 14 AND reason IN ('minor', 'represented'))
	AND NOT EXISTS (SELECT 1 FROM mails n WHERE n.job = m.job AND n.ord = m.ord AND n.version > m.version) ORDER BY ord LIMIT $3`

// The states of a letter.
const (
	Handed   = 1
	Printed  = 2
	Returned = 3
)

// Print moves letters to a later state, and returns how many moved.
func (s *Store) Print(ctx context.Context, q db.Queryer, job uint64, list []Letter, to int, at time.Time) (moved int, err error) {
	for _, l := range list {
		n, err := q.Exec(ctx, sqlPrint, int64(job), int64(l.Ord), int64(l.Version), int64(to), at.UnixMicro())
		if err != nil {
			return 0, fmt.Errorf("storing the state of a letter: %w", err)
		}
		moved += int(n)
	}
	return moved, nil
}

// Newest returns the newest version of somebody's mail, 0 for none.
func (s *Store) Newest(ctx context.Context, job uint64, ord record.Ordinal) (int, error) {
	list, err := s.mails(ctx, sqlMailsOf, int64(job), int64(ord))
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return list[0].version, nil
}

// Text is what a letter says, with its code.
func (s *Store) Text(ctx context.Context, t *Template, job uint64, ord record.Ordinal, version int, c *api.Customer, b *brands.Brand) (r *Rendered, code string, err error) {
	keys, err := s.stamps(ctx, b.ID)
	if err != nil {
		return nil, "", err
	}
	v, _ := t.pick(c.Fields[record.Locale.String()], b.Settings.Languages)
	code = keys.code(job, ord, version)
	r, err = v.render(values(c, b.Title, code))
	return r, code, err
}
