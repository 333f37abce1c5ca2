package message

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const (
	// Workers is how many mails are handed over at a time, and so the most that one crash
	// leaves in doubt.
	Workers = 8
	// chunk is how many people are opened together.
	chunk = 200
	// pace is how often the queue is looked at when nobody wakes the sender.
	pace = 2 * time.Second
	// lease is for how long a server has a brand's mail; each commit renews it.
	lease = 30 * time.Second
	// renewEvery renews it while a mail server is slow.
	renewEvery = lease / 3
	// away is how long a mail server that does not answer is left alone.
	away = 30 * time.Second
	// contained is after how long it is looked again whether somebody is contained still.
	contained = 5 * time.Minute
	// maxAttempts is after how many temporary errors a mail is refused: two and a half days.
	maxAttempts = 18
	// DefaultRate is how many mails go to one mailbox provider in a second.
	DefaultRate = 20
)

// backoff is how long after a temporary error a mail is retried.
func backoff(attempt int) time.Duration {
	return min(5*time.Minute<<min(attempt-1, 6), 4*time.Hour)
}

// Sender sends what is in the queue.
type Sender struct {
	*follow.Loop
	Store    *Store
	Door     *door.Door
	Ledger   *ledger.Ledger
	Disclose *disclose.Desk
	// Place names this host and data directory. A job that was started at another is not
	// sent here.
	Place string
	// Shared says that several servers may have one database: then a message, which is no
	// campaign, is sent by any of them.
	Shared bool
	// Members returns the people of an approved campaign, by the log.
	Members func(ctx context.Context, j *Job) (*entry.Set, error)
	// Plan makes rows of a campaign that is planned.
	Plan func(ctx context.Context, j *Job, keep func(q db.Queryer) error) error

	leases  *follow.Leases
	posted  atomic.Pointer[Post]
	limit   throttle
	members map[uint64]*entry.Set // of campaigns that this server sends; the loop alone has them
}

// NewSender returns a sender.
func NewSender(s *Store, d *door.Door, l *ledger.Ledger, x *disclose.Desk) *Sender {
	return &Sender{Loop: follow.NewLoop(pace), Store: s, Door: d, Ledger: l, Disclose: x, leases: follow.NewLeases(s.db), limit: throttle{perSecond: DefaultRate}, members: map[uint64]*entry.Set{}}
}

// Use sets how mail leaves, from now on; nil sends none. The rate is for each mailbox
// provider; 0 means DefaultRate.
func (s *Sender) Use(p *Post, perSecond int) {
	if perSecond == 0 {
		perSecond = DefaultRate
	}
	s.limit.mu.Lock()
	s.limit.perSecond = perSecond
	s.limit.mu.Unlock()
	s.posted.Store(p)
	s.Wake()
}

func (s *Sender) post() *Post {
	p := s.posted.Load()
	if p == nil || p.Server == nil {
		return nil
	}
	return p
}

// recipient is who gets a mail's values: the operator of the mail server.
func (s *Sender) recipient() ledger.Recipient {
	if p := s.post(); p != nil {
		return ledger.Recipient{Name: "mail:" + p.Server.Host}
	}
	return ledger.Recipient{Name: "mail"}
}

// Recipient is recipient, for campaigns.
func (s *Sender) Recipient() ledger.Recipient { return s.recipient() }

// Run sends until the context ends.
func (s *Sender) Run(ctx context.Context, log *slog.Logger) error {
	return s.Loop.Run(ctx, log, "mail to customers was not sent; it is retried", s.Pass)
}

// Pass sends what is due now.
func (s *Sender) Pass(ctx context.Context) error {
	var failed error
	for ctx.Err() == nil {
		now, err := s.Store.db.Now(ctx)
		if err != nil {
			return err
		}
		var jobs []*Job
		err = s.Store.db.Rows(ctx, func(r db.Row) error {
			j, err := scanJob(r)
			jobs = append(jobs, j)
			return err
		}, sqlOpenJobs, now.UnixMicro())
		if err != nil {
			return fmt.Errorf("reading the queue of mail: %w", err)
		}
		moved := false
		for _, j := range jobs {
			did, err := s.job(ctx, j)
			moved = moved || did && err == nil
			failed = errors.Join(failed, err)
		}
		if !moved || failed != nil {
			return failed
		}
	}
	return ctx.Err()
}

// work is the lease on a brand's mail.
func work(brand record.BrandID) follow.Work { return follow.Work{Name: "mail", Brand: brand} }

// job does a piece of a job, if this server has the brand's lease.
func (s *Sender) job(ctx context.Context, j *Job) (did bool, err error) {
	if j.State == Running && s.post() == nil {
		return false, nil
	}
	held, err := s.leases.Take(ctx, work(j.Brand), lease)
	if err != nil || !held {
		return false, err
	}
	keep := func(q db.Queryer) error { return s.leases.KeepIn(ctx, q, work(j.Brand), lease) }
	ctx, cancel := context.WithCancel(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		_ = follow.NewLoop(renewEvery).Run(ctx, slog.New(slog.DiscardHandler), "", func(ctx context.Context) error { return s.Store.db.Tx(ctx, keep) })
	}()
	defer func() { cancel(); <-renewed }()
	if why, err := s.elsewhere(ctx, j); err != nil || why != "" {
		if err == nil {
			err = s.pause(ctx, j, why)
		}
		return false, err
	}
	if j.State == Planning {
		if s.Plan == nil {
			return false, nil
		}
		return true, s.Plan(ctx, j, keep)
	}
	did, err = s.send(ctx, j, keep)
	if errors.Is(err, ErrForged) || errors.Is(err, ErrNoTemplate) || errors.Is(err, access.ErrEvaluation) {
		return false, errors.Join(err, s.pause(ctx, j, err.Error()))
	}
	return did, err
}

// elsewhere says why a job is not this server's to send: the log began a new epoch since,
// as after a restore, or the job was started on another host or copy.
func (s *Sender) elsewhere(ctx context.Context, j *Job) (string, error) {
	epoch, err := s.Ledger.VerifierKey(ctx, j.Brand)
	if err != nil {
		return "", err
	}
	switch {
	case j.Epoch != epoch:
		return "restored: the log continues in a new epoch, so it is not known who was written to since the backup", nil
	case j.Place != s.Place && (j.Kind == KindCampaign || !s.Shared):
		return "another host or copy: it was started elsewhere, and may be sent there", nil
	}
	return "", nil
}

// pause pauses a job by the vault itself, and says why.
func (s *Sender) pause(ctx context.Context, j *Job, why string) error {
	from, x := j.State, *j
	x.State, x.Reason = Paused, why
	ev := Step(&x, identity.Who{Brand: j.Brand}, "pause")
	delete(s.members, j.ID)
	_, _, err := s.Ledger.Change(ctx, ev, func(q db.Queryer, _ time.Time) error { return s.Store.Move(ctx, q, &x, from) })
	return err
}

// piece is what is sent together.
type piece struct {
	*Sender
	job      *Job
	brand    *brands.Brand
	template *Template
	from     *sender
	stamps   *stamps
	post     *Post
	grant    access.Grant
	commits  *commits
}

// send sends a piece of a job.
func (s *Sender) send(ctx context.Context, j *Job, keep func(q db.Queryer) error) (did bool, err error) {
	now, err := s.Store.db.Now(ctx)
	if err != nil {
		return false, err
	}
	p := &piece{Sender: s, job: j, post: s.post()}
	p.commits = newCommits(s.Store.db, keep)
	defer p.commits.close()
	// What is claimed here was claimed by a sender that is gone: this one has the lease, and
	// nothing in flight.
	left, err := s.Store.mails(ctx, sqlLeft, int64(j.ID))
	if err != nil {
		return false, err
	}
	for _, m := range left {
		p.commits.later(m, InDoubt, outcome{reason: "the server stopped while it was handed over"}, now)
	}
	if err := p.commits.flush(); err != nil {
		return false, err
	}
	waiting, err := s.Store.mails(ctx, sqlWaiting, int64(j.ID), now.UnixMicro(), chunk)
	if err != nil || len(waiting) == 0 {
		return len(left) > 0, err
	}
	b, err := s.Door.Brands.Whole(ctx, j.Brand)
	if err != nil {
		return false, err
	}
	p.brand = &b
	if p.from, err = p.post.sender(b.Settings.MailFrom, b.Settings.MailReplyTo); err != nil {
		return false, err
	}
	if p.template, err = s.Store.Template(ctx, j.Brand, j.Template, j.Version, p.from.domain); err != nil {
		return false, err
	}
	if p.stamps, err = s.Store.stamps(ctx, j.Brand); err != nil {
		return false, err
	}
	if j.Kind == KindCampaign {
		if err := p.member(ctx, waiting); err != nil {
			return false, err
		}
	}
	who, stop, err := p.who(ctx, waiting[0])
	if err != nil {
		return false, err
	}
	if stop {
		return false, p.putOff(ctx, waiting, now.Add(contained), nil)
	}
	policy, _, err := s.Door.Access.Current(ctx, j.Brand)
	if err != nil {
		return false, err
	}
	if p.grant, err = policy.Authorize(who, access.ActMessage, j.Purpose, p.template.Fields()); err != nil {
		return false, s.pause(ctx, j, "the policy does not allow it any more: "+err.Error())
	}
	return true, p.chunk(ctx, waiting, now)
}

// member refuses a campaign of which a row is of nobody in its scope.
func (p *piece) member(ctx context.Context, list []*mail) error {
	if err := p.Store.Holds(ctx, p.job); err != nil {
		return errors.Join(ErrForged, err)
	}
	set := p.members[p.job.ID]
	if set == nil {
		var err error
		if set, err = p.Members(ctx, p.job); err != nil {
			return err
		}
		p.members[p.job.ID] = set
	}
	for _, m := range list {
		if !set.Has(m.ord) {
			return ErrForged
		}
	}
	return nil
}

// who is in whose name mail is sent: a campaign's in the vault's own, under the role that
// its second person approved; a message's in that of the principal in its entry, as
// long as they are there and not contained.
func (p *piece) who(ctx context.Context, first *mail) (who identity.Who, stop bool, err error) {
	if p.job.Kind == KindCampaign {
		return identity.Who{Brand: p.job.Brand, Role: p.job.Role}, false, nil
	}
	_, e, err := p.Ledger.Released(ctx, p.job.Brand, uint64(first.entry))
	if err != nil {
		return who, false, err
	}
	who, err = p.Door.Identity.Who(ctx, identity.Caller{Principal: e.Principal, Credential: e.Credential, Lineage: e.Lineage}, p.job.Brand)
	if errors.Is(err, identity.ErrNoRole) {
		return who, false, errors.Join(ErrForged, err)
	}
	if err != nil {
		return who, false, err
	}
	at, err := p.Door.Contained.Of(ctx, who)
	return who, at.All || at.Clear, err
}

// ours refuses an entry that is not of this job.
func (p *piece) ours(e *entry.Entry) error {
	m, ok := e.Detail.(entry.Mailed)
	if !ok || m.Job != p.job.ID || m.Template != p.job.Versioned() || m.Campaign != (p.job.Kind == KindCampaign) || m.Count || m.Print {
		return ErrForged
	}
	return nil
}

// opened is somebody's opened fields, under the entry that discloses them.
type opened struct {
	customer *api.Customer
	entry    int64
}

// open logs and opens those who are still there.
func (p *piece) open(ctx context.Context, list []*mail) (map[record.Ordinal]opened, error) {
	by := map[int64][]record.Ordinal{}
	var all []record.Ordinal
	for _, m := range list {
		by[m.entry] = append(by[m.entry], m.ord)
		all = append(all, m.ord)
	}
	slices.Sort(all)
	u, err := p.Disclose.Seal.There(ctx, p.job.Brand, slices.Compact(all), p.grant.Fields())
	if err != nil {
		return nil, err
	}
	out := map[record.Ordinal]opened{}
	for index, ords := range by {
		slices.Sort(ords)
		part := u.Only(slices.Compact(ords))
		if len(part.Ords()) == 0 {
			continue
		}
		var r *disclose.Released
		if index == 0 { // of a campaign: it is disclosed when its turn comes
			var most budget.Limits
			most[budget.Month].Limit, most[budget.Month].Set = uint32(p.job.People), true
			r, err = p.Disclose.Release(ctx, part, nil, ledger.Release{Grant: p.grant, Class: budget.Campaign, Ticket: p.job.Ticket, Recipient: p.recipient(), Most: most,
				Detail: entry.Mailed{Job: p.job.ID, Template: p.job.Versioned(), Campaign: true}})
		} else {
			var e entry.Entry
			if r, e, err = p.Disclose.Resume(ctx, p.grant, uint64(index)); err == nil {
				err = p.ours(&e)
			}
		}
		if err != nil {
			return nil, err
		}
		customers, err := r.Open(ctx, part)
		if err != nil {
			return nil, err
		}
		for i, ord := range part.Ords() {
			out[ord] = opened{&customers[i], int64(r.Entry())}
		}
	}
	return out, nil
}

// letter is a mail that is ready to be handed over.
type letter struct {
	*mail
	to, host string
	text     []byte
}

// chunk opens, decides and hands over.
func (p *piece) chunk(ctx context.Context, list []*mail, now time.Time) error {
	customers, err := p.open(ctx, list)
	if err != nil {
		return err
	}
	var ready []*letter
	for _, m := range list {
		o, ok := customers[m.ord]
		if !ok {
			p.commits.later(m, Erased, outcome{}, now)
			continue
		}
		m.entry = o.entry
		if why, err := p.withheld(ctx, m, o.customer); err != nil {
			return err
		} else if why != "" {
			p.commits.later(m, Held, outcome{reason: why}, now)
			continue
		}
		x := &letter{mail: m}
		if x.to, x.host, ok = address(o.customer.Fields[record.Email.String()]); !ok {
			p.commits.later(m, NoAddress, outcome{}, now)
			continue
		}
		v, _ := p.template.pick(o.customer.Fields[record.Locale.String()], p.brand.Settings.Languages)
		r, err := v.render(values(o.customer, p.brand.Title, p.stamps.code(m.job, m.ord, m.version)))
		if err != nil {
			return err
		}
		if x.text, err = p.from.letter(x.to, r, p.stamps.id(m.job, m.ord, m.version), now); err != nil {
			p.commits.later(m, NoAddress, outcome{reason: "the address is refused"}, now)
			continue
		}
		ready = append(ready, x)
	}
	late, err := p.hand(ctx, ready, now)
	if ferr := p.commits.flush(); err == nil || errors.Is(ferr, follow.ErrLost) {
		err = ferr
	}
	if len(late) > 0 {
		for until, some := range late {
			err = errors.Join(err, p.putOff(ctx, some, now.Add(until), customers))
		}
	}
	return err
}

// withheld says why somebody is not to be written to.
func (p *piece) withheld(ctx context.Context, m *mail, c *api.Customer) (string, error) {
	if why := Standing(c, p.job.Kind == KindCampaign); why != "" {
		return why, nil
	}
	if p.template.Channel == "" {
		return "", nil
	}
	out, err := p.Store.optOuts(ctx, p.job.Brand, m.ord)
	if err != nil {
		return "", err
	}
	for _, o := range out.Channels {
		if o.Channel == p.template.Channel || o.Channel == AllChannels {
			return "opted-out", nil
		}
	}
	return "", nil
}

// Standing says which word of a customer's standing keeps mail from them. Notices to minors
// and to represented people go to those who stand for them, by letter.
func Standing(c *api.Customer, campaign bool) string {
	for word := range strings.SplitSeq(c.Fields[record.Standing.String()], ",") {
		switch word {
		case record.Deceased, record.DoNotWrite:
			return word
		case record.Minor, record.Represented:
			if campaign {
				return word
			}
		}
	}
	return ""
}

// hand hands letters over, several at a time, and returns those whose turn is later, by how
// much later.
func (p *piece) hand(ctx context.Context, ready []*letter, now time.Time) (late map[time.Duration][]*mail, err error) {
	late = map[time.Duration][]*mail{}
	var mu sync.Mutex
	postpone := func(m *mail, by time.Duration) {
		mu.Lock()
		late[by] = append(late[by], m)
		mu.Unlock()
	}
	var down atomic.Bool
	queue := make(chan *letter, len(ready))
	for _, x := range ready {
		queue <- x
	}
	close(queue)
	g, ctx := errgroup.WithContext(ctx)
	for range min(Workers, len(ready)) {
		g.Go(func() error {
			l := &line{post: p.post}
			defer l.close()
			for x := range queue {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if down.Load() {
					postpone(x.mail, away)
					continue
				}
				if w := p.limit.wait(x.host, time.Now()); w > 0 {
					postpone(x.mail, w.Truncate(100*time.Millisecond)+100*time.Millisecond)
					continue
				}
				claimed := false
				o, err := l.hand(ctx, p.from.address, x.to, x.text, func() error {
					err := p.commits.claim(x.mail, now)
					claimed = err == nil
					return err
				})
				switch {
				case errors.Is(err, errConnection):
					down.Store(true)
					postpone(x.mail, away)
					continue
				case errors.Is(err, errElsewhere):
					continue // somebody stopped it, or settled it
				case err != nil:
					return err
				}
				attempts := x.attempts
				if !claimed {
					attempts++
				}
				due := now
				if o.state == Deferred {
					if due = now.Add(backoff(attempts)); attempts >= maxAttempts {
						o.state, o.reason = Refused, "given up: "+o.reason
					}
				}
				p.commits.after(x.mail, o, attempts, due, now)
			}
			return nil
		})
	}
	return late, g.Wait()
}

// putOff lets mails wait. Those who are opened already keep the entry that says so.
func (p *piece) putOff(ctx context.Context, list []*mail, until time.Time, customers map[record.Ordinal]opened) error {
	return p.Store.db.Tx(ctx, func(q db.Queryer) error {
		if err := p.commits.keep(q); err != nil {
			return err
		}
		for _, m := range list {
			index := m.entry
			if o, ok := customers[m.ord]; ok {
				index = o.entry
			}
			if _, err := q.Exec(ctx, sqlPutOff, int64(m.job), int64(m.ord), int64(m.version), until.UnixMicro(), index); err != nil {
				return fmt.Errorf("putting a mail off: %w", err)
			}
		}
		return nil
	})
}

// errElsewhere is where a mail is not in the state any more in which it was read.
var errElsewhere = errors.New("the state of the mail changed")

// move is one change of a mail's state.
type move struct {
	m    mail // as it is after
	from State
	done chan error // of a claim; nil: nobody waits
}

// commits commits moves of all workers together: whatever queued while the last commit ran.
type commits struct {
	db    *db.DB
	keep  func(q db.Queryer) error
	queue chan *move
	idle  chan chan error
	quit  chan struct{}
	wg    sync.WaitGroup
}

func newCommits(d *db.DB, keep func(q db.Queryer) error) *commits {
	c := &commits{db: d, keep: keep, queue: make(chan *move, 4*chunk+1000), idle: make(chan chan error), quit: make(chan struct{})}
	c.wg.Go(c.run)
	return c
}

func (c *commits) close() {
	close(c.quit)
	c.wg.Wait()
}

func (c *commits) run() {
	var failed error
	for {
		var batch []*move
		var waits chan error
		select {
		case m := <-c.queue:
			batch = append(batch, m)
		case waits = <-c.idle:
		case <-c.quit:
			return
		}
		for more := true; more; {
			select {
			case m := <-c.queue:
				batch = append(batch, m)
			default:
				more = false
			}
		}
		if len(batch) > 0 {
			if err := c.commit(batch); err != nil {
				failed = err
			}
		}
		if waits != nil {
			waits <- failed
		}
	}
}

// commit makes moves in one transaction that renews the lease. It runs to its end although
// the server stops: an outcome that is not stored is a mail in doubt.
func (c *commits) commit(batch []*move) error {
	ctx, cancel := context.WithTimeout(context.Background(), lease/2)
	defer cancel()
	var moved []bool
	err := c.db.Tx(ctx, func(q db.Queryer) error {
		moved = moved[:0]
		if err := c.keep(q); err != nil {
			return err
		}
		for _, x := range batch {
			n, err := x.make(ctx, q)
			if err != nil {
				return fmt.Errorf("storing the state of a mail: %w", err)
			}
			moved = append(moved, n > 0)
		}
		return nil
	})
	for i, x := range batch {
		if x.done == nil {
			continue
		}
		switch {
		case err != nil:
			x.done <- err
		case !moved[i]:
			x.done <- errElsewhere
		default:
			x.done <- nil
		}
	}
	return err
}

func (x *move) make(ctx context.Context, q db.Queryer) (int64, error) {
	m, to := &x.m, x.m.state
	if !x.from.may(to) {
		return 0, fmt.Errorf("a mail does not move from %s to %s", x.from, to)
	}
	args := func(from, to State) []any {
		return []any{int64(m.job), int64(m.ord), int64(m.version), int64(from), int64(to), int64(m.attempts), m.due, m.entry, m.queue, m.reason, m.changed}
	}
	n, err := q.Exec(ctx, sqlMoveMail, args(x.from, to)...)
	if err == nil && n == 0 && x.from == Claimed && InDoubt.may(to) {
		n, err = q.Exec(ctx, sqlMoveMail, args(InDoubt, to)...) // another server took this one for dead
	}
	if err == nil && n > 0 && to == Accepted { // its bounce may have come first
		_, err = q.Exec(ctx, sqlCameBack, int64(m.job), int64(m.ord), int64(m.version))
	}
	return n, err
}

const sqlCameBack = `UPDATE mails SET state = 12 WHERE job = $1 AND ord = $2 AND version = $3 AND state = 10 AND bounce <> ''`

// claim commits that a mail's DATA may begin.
func (c *commits) claim(m *mail, now time.Time) error {
	x := &move{m: *m, from: m.state, done: make(chan error, 1)}
	x.m.state, x.m.attempts, x.m.changed = Claimed, m.attempts+1, now.UnixMicro()
	c.queue <- x
	if err := <-x.done; err != nil {
		return err
	}
	m.state, m.attempts = Claimed, m.attempts+1
	return nil
}

// after notes what became of a mail. It commits with the next claim, or at the end.
func (c *commits) after(m *mail, o outcome, attempts int, due, now time.Time) {
	x := &move{m: *m, from: m.state}
	x.m.state, x.m.queue, x.m.reason, x.m.attempts, x.m.due, x.m.changed = o.state, o.queue, o.reason, attempts, due.UnixMicro(), now.UnixMicro()
	c.queue <- x
}

// later notes what is decided without the mail server.
func (c *commits) later(m *mail, to State, o outcome, now time.Time) {
	o.state = to
	c.after(m, o, m.attempts, now, now)
}

// flush waits until everything that was noted is committed.
func (c *commits) flush() error {
	done := make(chan error, 1)
	c.idle <- done
	return <-done
}
