package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// maxRequests bounds one group commit, beside MaxCustomers.
const maxRequests = 256

// request is one entry that waits to be logged.
type request struct {
	entry       entry.Entry // without time, root, subjects
	revision    int64       // under which it was allowed; 0: not checked
	mark        revision.Mark
	class       budget.Class // of a release
	rooms       []Room
	rows        int
	most        budget.Limits
	ords        []record.Ordinal
	commit      Commit
	commitments [][32]byte
	counters    []uint32 // the counters that commitments were made with
	encoded     []byte
	salt        [saltBytes]byte
	secret      entry.Secret
	act         *act // what it does in the group's transaction, alone; nil for nothing
	month       int  // of the reader's stand-in that commitments were made with

	state  atomic.Int32 // waiting, taken, abandoned
	done   chan struct{}
	index  uint64
	size   uint64
	at     time.Time
	failed error
}

const (
	waiting int32 = iota
	taken
	abandoned
)

// chain is one brand's log as this server writes it.
type chain struct {
	l        *Ledger
	brand    record.BrandID
	queue    chan *request
	spill    *request // taken from the queue and too large for the last group
	ready    chan struct{}
	failed   error
	tampered error       // the committer's: once seen, nothing is written any more
	failing  bool        // the committer's: the last group was not written
	proj     *projection // set before ready is closed
	signer   note.Signer // of the first epoch
	signers  epochSigners
	secret   []byte // of the digests of rows, set before ready is closed
	tags     *tags  // of the targets of stops, set before ready is closed
	refusals refusals
	company  int                           // the committer's: above 0, other servers write this log too
	month    atomic.Pointer[keys.MonthKey] // that the last group was sealed with

	snapped   atomic.Uint64 // size of the newest snapshot known, or where one failed
	snapBytes atomic.Uint64 // of it
	snapping  atomic.Bool   // one is being written
	indexed   atomic.Uint64 // entries that the index covers as far as is known, or where writing it failed
	suspect   atomic.Uint64 // from where on the index has to be written again; trusted for nowhere
	indexing  atomic.Bool   // it is being written
	snaps     sync.WaitGroup

	// accepts: this chain begins the epoch of a loss that people accepted, and nothing else.
	// It is of no use before or after.
	accepts bool

	unwritable atomic.Bool // the last group was not committed
}

func newChain(l *Ledger, brand record.BrandID) *chain {
	c := &chain{
		l: l, brand: brand, queue: make(chan *request, l.opts.Queue), ready: make(chan struct{}),
		refusals: refusals{open: map[refusalKey]*refusal{}},
	}
	c.suspect.Store(trusted)
	return c
}

// load makes the projection: from the newest snapshot that holds, and the log since.
func (c *chain) load(ctx context.Context) error {
	p, err := c.replay(ctx)
	if err == nil {
		err = c.holdRead(ctx, p)
	}
	if err != nil {
		return unavailable(fmt.Errorf("reading the log of brand %d: %w", c.brand, err))
	}
	p.recent = &recent{from: p.size, to: p.size}
	p.moved = c.l.opts.Moved // rights that are in memory were held against what was read here, or later
	c.proj = p
	return nil
}

// readsOn is how often a projection that is behind what was kept reads on.
const readsOn = 20

// holdRead is holdSeen for a projection that took a while to read: Watch may have kept a
// newer head since, so that one that looks shorter reads on as long as the log has more.
func (c *chain) holdRead(ctx context.Context, p *projection) error {
	err := c.holdSeen(ctx, p)
	for n := 0; n < readsOn && errors.Is(err, ErrShorter); n++ {
		var s sight
		if failed := c.l.db.Batch(ctx, c.look(&s)); failed != nil {
			return failed
		}
		if s.size <= p.size {
			return err
		}
		if failed := c.catchUp(ctx, c.l.db, p, &s); failed != nil {
			return failed
		}
		err = c.holdSeen(ctx, p)
	}
	return err
}

func (c *chain) replay(ctx context.Context) (*projection, error) {
	p, bytes, err := c.restore(ctx)
	if err != nil {
		return nil, err
	}
	c.snapped.Store(max(c.snapped.Load(), p.size))
	c.snapBytes.Store(max(c.snapBytes.Load(), bytes))
	var s sight
	if err := c.l.db.Batch(ctx, c.look(&s)); err != nil {
		return nil, err
	}
	return p, c.catchUp(ctx, c.l.db, p, &s)
}

// pageGroups is how many groups are read at a time: at most 256 leaves of 64 KiB
// each in the worst case, and a few hundred bytes each in practice.
const pageGroups = 64

// sight is what one look at a log finds: its head, and, if they were asked for, the
// first page of groups from the size on that is known already.
type sight struct {
	found bool
	size  uint64
	at    int64
	cp    []byte
	page  []group
}

// look returns the statement that fills a sight with the head.
func (c *chain) look(s *sight) []db.Stmt {
	*s = sight{}
	return []db.Stmt{{SQL: sqlReadHead, Args: []any{int64(c.brand)}, Scan: func(r db.Row) error {
		s.found = true
		return r.Scan(&s.size, &s.at, &s.cp)
	}}}
}

// lock returns the statement that keeps other servers from writing a brand's log until the
// transaction ends: none where a transaction holds the one write lock anyway.
func (l *Ledger) lock(brand record.BrandID) []db.Stmt {
	if l.db.Engine() == db.SQLite {
		return nil
	}
	return []db.Stmt{{SQL: sqlPostgresLockLog, Args: []any{int64(brand)}, Scan: func(db.Row) error { return nil }}}
}

// since returns the statement that reads a page of groups from a size on. After the one
// that locks the log it reads all that the lock's earlier holder committed.
func (c *chain) since(page *[]group, known uint64) db.Stmt {
	*page = nil
	return db.Stmt{SQL: sqlReadGroups, Args: []any{int64(c.brand), known, pageGroups}, Scan: func(r db.Row) error {
		var g group
		err := g.scan(r)
		*page = append(*page, g)
		return err
	}}
}

// catchUp applies what was appended since the projection's size, and holds the
// result against the head.
func (c *chain) catchUp(ctx context.Context, q db.Queryer, p *projection, s *sight) error {
	switch {
	case !s.found && (p.size > 0 || p.checkpoint != nil):
		return &shorterError{0, p.size}
	case !s.found:
		return ErrNoLog
	case s.size < p.size:
		return &shorterError{s.size, p.size}
	case s.size == p.size && p.checkpoint != nil && !bytes.Equal(s.cp, p.checkpoint):
		return fmt.Errorf("the log had %d entries and now says %d: %w", p.size, s.size, ErrTampered)
	}
	o := c.l.opener(ctx, q, c.brand)
	counted := erasableAt(s.at)
	for page := s.page; p.size < s.size; page = nil {
		if page == nil {
			if err := q.Batch(ctx, []db.Stmt{c.since(&page, p.size)}); err != nil {
				return err
			}
		}
		before := p.size
		for i := range page {
			if p.size < s.size {
				if err := p.apply(&page[i], o, counted); err != nil {
					return err
				}
			}
		}
		if p.size == before || p.size > s.size {
			return fmt.Errorf("the log has entries up to %d and its head says %d: %w", p.size, s.size, ErrTampered)
		}
	}
	if !bytes.Equal(s.cp, p.checkpoint) {
		root, err := p.grow().root()
		if err != nil {
			return err
		}
		want, err := c.sign(p.epochOf(), s.size, root)
		if err != nil {
			return fmt.Errorf("signing a checkpoint: %w", err)
		}
		if !bytes.Equal(want, s.cp) { // Ed25519 signatures are deterministic
			return fmt.Errorf("the checkpoint of size %d is not of these entries: %w", s.size, ErrTampered)
		}
	}
	p.checkpoint, p.at = s.cp, max(p.at, s.at)
	return nil
}

func (c *chain) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // a long replay must not outlive Close
		select {
		case <-c.l.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	var err error
	if c.signer, err = c.l.signer(ctx, c.brand); err != nil {
		err = unavailable(fmt.Errorf("reading the checkpoint key of brand %d: %w", c.brand, err))
	} else if c.secret, err = rightsSecret(c.signer); err == nil {
		c.tags = &tags{secret: c.secret}
		err = c.load(ctx)
	}
	if err != nil {
		c.l.distress(c.brand, 0, err)
	} else {
		c.l.recovered(c.brand)
	}
	c.failed = err
	close(c.ready)
	if err != nil {
		return
	}
	if c.accepts {
		select {
		case r := <-c.queue:
			c.group(c.collect(nil, r)) // without stops that the log is owed: the entry is the first
		case <-c.l.quit:
			c.refuseRest()
		}
		return
	}
	c.indexSoon(ctx) // of a log that has none yet, or that others wrote
	window := c.l.opts.RefusalWindow
	if window < 0 {
		window = DefaultRefusalWindow // there is nothing to flush
	}
	tick := time.NewTicker(window)
	defer tick.Stop()
	for {
		if c.spill != nil {
			c.commit(c.collect(nil, nil))
			continue
		}
		select {
		case r := <-c.queue:
			runtime.Gosched() // whoever is about to queue is in this group then
			c.commit(c.collect(nil, r))
			c.snapshotSoon(ctx)
			c.indexSoon(ctx)
		case <-tick.C:
			c.flushRefusals()
		case <-c.l.quit:
			c.flushRefusals()
			c.refuseRest()
			c.snapshotLast()
			return
		}
	}
}

// collect adds what is queued to a group, up to the limits of one.
func (c *chain) collect(rs []*request, first *request) []*request {
	customers := 0
	for _, r := range rs {
		customers += len(r.ords)
	}
	add := func(r *request) bool {
		if len(rs) > 0 && (customers+len(r.ords) > MaxCustomers || r.act != nil || rs[0].act != nil) {
			c.spill = r
			return false
		}
		if r.state.CompareAndSwap(waiting, taken) {
			rs = append(rs, r)
			customers += len(r.ords)
		}
		return true
	}
	if r := c.spill; r != nil {
		c.spill = nil
		if !add(r) {
			return rs
		}
	}
	if first != nil && !add(first) {
		return rs
	}
	for len(rs) < maxRequests && (len(rs) == 0 || rs[0].act == nil) {
		select {
		case r := <-c.queue:
			if !add(r) {
				return rs
			}
		default:
			return rs
		}
	}
	return rs
}

func (c *chain) refuseRest() {
	for {
		select {
		case r := <-c.queue:
			if r.state.CompareAndSwap(waiting, taken) {
				r.failed = ErrClosed
				close(r.done)
			}
		default:
			return
		}
	}
}

const (
	// A row that never changes is the lock, and each group brings a head: were one row both,
	// each commit would walk all its versions that a transaction held open still sees.
	sqlPostgresLockLog = `SELECT brand FROM log_heads WHERE brand = $1 FOR UPDATE`
	sqlDropTips        = `DELETE FROM log_tips WHERE brand = $1 AND size < $2`
	sqlInsertGroup     = `INSERT INTO log_groups (brand, first, count, at, entries, hashes, subjects, vals) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	sqlKeepCheckpoint  = `INSERT INTO log_checkpoints (brand, size, at, checkpoint) VALUES ($1, $2, $3, $4)`
)

// checkpointEvery is how many entries lie, at least, between two checkpoints that
// are kept for good.
const checkpointEvery = 4096

// tipsEvery is how many entries lie, at least, between two removals of heads that newer
// ones have replaced. A reader of the newest head meets none of the others.
const tipsEvery = 64

// companyGroups is for how many groups after the last one before which another server
// had written, the entries of others are asked for together with the lock. A server
// alone does not ask: PostgreSQL plans that statement anew each time, for as long as
// all the others of the transaction take. The first that others write then costs one
// round trip more.
const companyGroups = 16

// commit logs a group in one transaction of two round trips and answers its requests.
// What queues while the first is under way joins the group.
func (c *chain) commit(rs []*request) {
	if len(rs) == 0 {
		return
	}
	if err := c.settle(); err != nil {
		for _, r := range rs {
			r.failed = err
			close(r.done)
		}
		return
	}
	c.group(rs)
}

// group is commit without what the log is owed.
func (c *chain) group(rs []*request) {
	ctx, cancel := context.WithTimeout(context.Background(), c.l.opts.Timeout)
	defer cancel()
	began := time.Now()
	d, err := c.attempt(ctx, &rs)
	if m, ok := errors.AsType[*noMonthError](err); ok { // nothing was written: the first of a month makes its key
		if _, err = c.l.ring.EnsureMonth(ctx, c.brand, m.month); err == nil {
			d, err = c.attempt(ctx, &rs)
		}
	}
	if failed, ok := errors.AsType[*actError](err); ok && len(rs) == 1 { // rolled back: nothing happened
		rs[0].failed = failed.err
		close(rs[0].done)
		return
	}
	if err != nil {
		c.unwritable.Store(true)
		if c.tampered == nil { // kept as it was found: wrapped once
			err = unavailable(fmt.Errorf("writing the log of brand %d: %w", c.brand, err))
			if errors.Is(err, ErrTampered) {
				c.tampered = err
			}
		}
		c.failing = true
		c.l.distress(c.brand, c.proj.size, err)
		for _, r := range rs {
			r.failed = err
			close(r.done)
		}
		return
	}
	d.adopt()
	if c.failing {
		c.failing = false
		c.l.recovered(c.brand)
	}
	// Before anybody is answered: what was answered is in the log of whoever reads it next,
	// or that one notices.
	if c.accepts { // what was seen is put aside first
		close(rs[0].done)
		return
	}
	if err := c.l.opts.Seen.note(c.brand, c.proj.size, c.proj.checkpoint); err != nil {
		c.failing = true
		c.l.distress(c.brand, c.proj.size, err)
	}
	c.committed(len(d.rs), time.Since(began))
	for _, r := range rs {
		close(r.done)
	}
	if fed := c.l.opts.Committed; fed != nil && len(d.rs) > 0 {
		fed(c.brand, d.entries())
	}
}

// noMonthError says that the key is missing that seals a month's values.
type noMonthError struct{ month int }

func (e *noMonthError) Error() string {
	return fmt.Sprintf("the entries key of %d is not made yet", e.month)
}

// attempt runs the transaction of a group.
func (c *chain) attempt(ctx context.Context, rs *[]*request) (d *draft, err error) {
	if err = c.tampered; err == nil && !c.accepts {
		err = c.l.stopped(c.brand)
	}
	if err == nil {
		var s sight
		var now time.Time
		var rev int64
		err = c.l.db.Pipeline(ctx, func() []db.Stmt {
			first := append(c.l.lock(c.brand), c.look(&s)...)
			if c.company > 0 {
				first = append(first, c.since(&s.page, c.proj.size))
			}
			return append(first, db.Stmt{Now: &now}, revision.Stmt(&rev))
		}, func(q db.Queryer) (_ []db.Stmt, err error) {
			if c.company = max(0, c.company-1); s.size > c.proj.size {
				c.company = companyGroups
			}
			if apart := c.l.apart(now); apart.Abs() > db.MaxApart {
				return nil, fmt.Errorf("the database's clock is %s from this server's: %w", apart.Round(time.Second), ErrClock)
			}
			if err = c.catchUp(ctx, q, c.proj, &s); err != nil {
				return nil, err
			}
			if c.company == 0 {
				runtime.Gosched() // nobody else waits for the lock meanwhile
			}
			*rs = c.collect(*rs, nil)
			if d, err = c.draft(ctx, q, c.proj, *rs, now, rev); err != nil {
				return nil, err
			}
			return d.store(), nil
		})
	}
	return d, err
}
