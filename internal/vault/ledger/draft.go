package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// draft is a group that is not committed yet.
type draft struct {
	c       *chain
	p       *projection
	tree    *grow
	books   *budget.Group
	rev     int64
	at      time.Time
	g       group
	cp      []byte
	rs      []*request // those accepted
	es      []entry.Entry
	fates   map[record.Ordinal]fate // of those whom the group itself moves
	stopped stops                   // what the group itself stops
	holding entry.Set               // whom the group itself puts under a legal hold
	kept    []db.Stmt               // commitments of who was erased before their entry came, and steps of erasures that are due
	month   keys.MonthKey
	epoch   string // that the group's checkpoint is of
}

func (c *chain) draft(ctx context.Context, q db.Queryer, p *projection, rs []*request, now time.Time, rev int64) (*draft, error) {
	books := p.book.Begin(fromMicros(max(now.UnixMicro(), p.at)))
	d := &draft{c: c, p: p, tree: p.grow(), books: books, rev: rev, at: fromMicros(books.At().UnixMicro()), epoch: p.epochOf()}
	if err := d.key(ctx, q); err != nil {
		return nil, err
	}
	d.g = group{first: p.size, at: d.at.UnixMicro()}
	d.room(rs)
	running := map[record.Ordinal]uint32{}
	for _, r := range rs {
		r.failed = nil
		if r.act != nil {
			if err := d.run(ctx, q, r); err != nil {
				return nil, err
			}
			if r.failed != nil || r.act.looks {
				continue
			}
		}
		if err := d.add(r, running); err != nil {
			return nil, err
		}
	}
	if len(d.rs) == 0 {
		return d, nil
	}
	root, err := d.tree.root()
	if err != nil {
		return nil, err
	}
	d.g.hashes, d.g.count = d.tree.hashes, len(d.rs)
	d.cp, err = c.sign(d.epoch, d.tree.size, root)
	if err != nil {
		return nil, fmt.Errorf("signing a checkpoint: %w", err)
	}
	return d, nil
}

// key finds the key that seals the group's values.
func (d *draft) key(ctx context.Context, q db.Queryer) error {
	month := keys.Month(d.at)
	k, err := d.c.l.ring.MonthKeyIn(ctx, q, d.c.brand, month)
	if errors.Is(err, keys.ErrNoKey) {
		return &noMonthError{month}
	}
	if err != nil {
		return err
	}
	d.month = k
	if last := d.c.month.Load(); last == nil || last.Version != month {
		d.c.month.Store(&k)
	}
	return nil
}

// usualLeaf and usualValues are about what a release has, in bytes.
const (
	usualLeaf   = 240
	usualValues = 128
)

// room makes as much room as the group will take, about: growing into it would make and
// drop as much again.
func (d *draft) room(rs []*request) {
	subjects := 0
	for _, r := range rs {
		subjects += 4 + saltBytes + len(r.encoded)
	}
	d.g.leaves, d.g.subjects = make([]byte, 0, len(rs)*usualLeaf), make([]byte, 0, subjects)
	d.g.values = make([]byte, 0, len(rs)*usualValues)
	d.tree.hashes = make([]byte, 0, (2*len(rs)+10)*tlog.HashSize) // two for each leaf, and those that complete older trees
	d.rs, d.es = make([]*request, 0, len(rs)), make([]entry.Entry, 0, len(rs))
}

// add decides one request. What it refuses is answered alone; an error refuses the
// whole group.
func (d *draft) add(r *request, running map[record.Ordinal]uint32) error {
	if r.revision != 0 && (r.revision != d.rev || r.mark.Renewed()) {
		r.failed = revision.ErrMoved // what allowed it was taken away, perhaps
		return nil
	}
	e := r.entry
	e.At = d.at
	if d.stops(&e) {
		r.failed = ErrStopped
		return nil
	}
	if r.failed = d.refused(&e, r.ords); r.failed != nil {
		return nil
	}
	if asked, err := r.asks(&e); err != nil {
		r.failed = err
		return nil
	} else if len(asked) > 0 {
		err := d.books.DecideAll(asked)
		if errors.Is(err, budget.ErrStale) {
			return err
		}
		if err != nil {
			r.failed = err
			return nil
		}
	}
	if len(r.ords) > 0 {
		stale := r.month != d.month.Version
		if stale {
			r.month = d.month.Version
			r.entry.Reader = d.month.Reader(e.Principal)
			e.Reader = r.entry.Reader
		}
		for i, ord := range r.ords {
			n := d.p.counter(ord) + running[ord]
			if n != r.counters[i] || stale {
				r.commitments[i], r.counters[i] = r.commit(i, e.Committed(n)), n
			}
			if released(e.Kind) {
				running[ord]++
			}
		}
		e.Root = entry.Root(r.commitments)
	}
	return d.place(r, e)
}

// write adds an entry that names no customers.
func (d *draft) write(r *request) error {
	e := r.entry
	e.At = d.at
	return d.place(r, e)
}

// place adds an entry to the group. One that cannot be written is answered alone.
func (d *draft) place(r *request, e entry.Entry) error {
	rest := e.Rows
	if r.act != nil {
		kept := maxRowsKept
		for name, text := range e.Texts() {
			kept -= len(name) + len(text)
		}
		n := cut(rest, maxFirstRows, kept)
		e.Rows, rest = rest[:n], rest[n:]
		if s, ok := e.Detail.(entry.RowsSealed); ok {
			s.Rows, s.More = n, s.More || len(rest) > 0
			e.Detail = s
		}
	} else {
		rest = nil
	}
	leaf, values, err := entry.Marshal(&e, r.secret)
	if err != nil {
		if err = fmt.Errorf("writing the entry: %w", err); r.act != nil {
			return &actError{err} // what it did is rolled back
		}
		r.failed = err
		return nil
	}
	if err := d.tree.add(leaf); err != nil {
		return err
	}
	d.g.leaves = appendLeaf(d.g.leaves, leaf)
	d.g.subjects = appendSubjects(d.g.subjects, r.salt, r.encoded)
	d.g.values = appendValues(d.g.values, sealValues(d.month, d.c.brand, d.tree.size-1, values))
	r.index, r.at = d.tree.size-1, d.at
	d.rs, d.es = append(d.rs, r), append(d.es, e)
	if e.Kind == entry.KindContainment {
		if d.stopped == nil {
			d.stopped = stops{}
		}
		d.stopped.note(e.Detail, d.at)
	}
	if _, ok := e.Detail.(entry.HoldPlaced); ok {
		d.holding.Add(r.ords...)
	}
	if erases(e.Kind) {
		d.move(e.Kind, r.ords)
		d.due(r)
	}
	d.keep(r)
	return d.more(r, rest)
}

// asks is what a request asks of the budgets.
func (r *request) asks(e *entry.Entry) ([]budget.Disclosure, error) {
	if released(e.Kind) {
		return []budget.Disclosure{{
			Lineage: e.Lineage, Principal: e.Principal, Role: e.Role, Class: r.class, Ords: r.ords, Absent: e.Absent(), Rows: r.rows,
			Approval: entry.ApprovalOf(e.Detail), Most: r.most,
		}}, nil
	}
	out, err := countsOf(e, r.ords)
	if err != nil {
		return nil, fmt.Errorf("counting an entry: %w", err)
	}
	for i := range out {
		out[i].Rows, out[i].Most = r.rows, r.most
	}
	for _, room := range r.rooms {
		i := slices.IndexFunc(out, func(d budget.Disclosure) bool { return d.Class == room.Class })
		if i < 0 {
			i = len(out)
			out = append(out, budget.Disclosure{Lineage: e.Lineage, Principal: e.Principal, Role: e.Role, Class: room.Class, Rows: r.rows, Approval: room.Approval, Most: room.Most})
		}
		out[i].Room = room.N
	}
	// One order, so that of several budgets without room a refusal always names the same.
	slices.SortFunc(out, func(a, b budget.Disclosure) int { return cmp.Compare(a.Class, b.Class) })
	return out, nil
}

// keep keeps what the proofs of others need of who is in an entry beside them and was
// erased before it came: whoever asked for it had read them before. The erasure keeps what
// was logged until it was, and nothing after.
func (d *draft) keep(r *request) {
	if len(r.ords) < 2 {
		return
	}
	for i, ord := range r.ords {
		if d.p.erased.Has(ord) || d.fates[ord] == fateErased {
			d.kept = append(d.kept, keepStmt(d.c.brand, ord, Kept{r.index, r.commitments[i]}))
		}
	}
}

// store returns the statements that write the group: none if nothing was accepted.
// The primary keys of log_groups and log_tips are the last guard against two at one place.
func (d *draft) store() []db.Stmt {
	if len(d.rs) == 0 {
		return nil
	}
	brand, size := int64(d.c.brand), d.tree.size
	stmts := []db.Stmt{
		{SQL: sqlInsertGroup, Args: []any{brand, d.g.first, d.g.count, d.g.at, d.g.leaves, d.g.hashes, notNil(d.g.subjects), d.g.values}},
		{SQL: sqlInsertTip, Args: []any{brand, size, d.g.at, d.cp}},
	}
	stmts = append(stmts, d.kept...)
	if d.g.first/tipsEvery != size/tipsEvery {
		stmts = append(stmts, db.Stmt{SQL: sqlDropTips, Args: []any{brand, size}})
	}
	if d.g.first/checkpointEvery != size/checkpointEvery {
		stmts = append(stmts, db.Stmt{SQL: sqlKeepCheckpoint, Args: []any{brand, size, d.g.at, d.cp}})
	}
	return stmts
}

// adopt counts the group in the projection, after its commit.
func (d *draft) adopt() {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.books.Commit()
	for i, r := range d.rs {
		r.size = d.tree.size
		if err := d.p.note(r.index, d.es[i], r.ords); err != nil {
			r.failed = err // unreachable: budget rules are checked before they queue
		}
	}
	if len(d.rs) == 0 {
		return
	}
	d.tree.adopt()
	d.p.at, d.p.checkpoint, d.p.known = d.g.at, d.cp, d.p.size
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
