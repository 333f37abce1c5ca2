package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// The rights of a brand follow from its log, see package rights: an act and its entry are
// one transaction, which holds the lock of the log. So under that lock, rows and log
// agree, unless somebody changed the database outside the vault.

// rightsSecret derives what the digests of a log's rows are salted with. It hangs on the
// log's key alone, so that a log which goes on under another name keeps its digests.
func rightsSecret(s note.Signer) ([]byte, error) {
	sig, err := s.Sign([]byte("cloakroom rights secret 1\n")) // no checkpoint begins like it
	if err != nil {
		return nil, fmt.Errorf("deriving the secret of rights: %w", err)
	}
	sum := sha256.Sum256(sig)
	return sum[:], nil
}

// act is what a request does in its group's transaction. Such a request is a group by
// itself: where it fails, it fails alone.
type act struct {
	make  func(q db.Queryer, at time.Time) error // changes rows
	look  func(q db.Queryer) error               // reads rows
	looks bool                                   // nothing is logged
	seals bool                                   // only where rows of before were not sealed
	moved bool                                   // make began a revision
}

// actError is the error of an act: its transaction was rolled back.
type actError struct{ err error }

func (e *actError) Error() string { return e.err.Error() }

func (e *actError) Unwrap() error { return e.err }

// maxFirstRows and maxMoreRows bound the bytes of the rows in the entry of an act, beside
// its details, and in each of those that continue it.
const (
	maxFirstRows = 12 << 10
	maxMoreRows  = 48 << 10
	rowBytes     = 40 // of a row in a leaf, beside its table and key
)

// run does what a request does beside being logged, and gives its entry the rows.
func (d *draft) run(ctx context.Context, q db.Queryer, r *request) error {
	if r.act.look != nil {
		if err := r.act.look(q); err != nil {
			return &actError{err}
		}
		return nil
	}
	if r.revision != 0 && r.revision != d.rev {
		r.failed = revision.ErrMoved
		return nil
	}
	if r.act.seals && d.p.rights.Sealed() {
		r.failed = ErrSealed
		return nil
	}
	tx := &rights.Tx{Queryer: q}
	if err := r.act.make(tx, d.at); err != nil {
		return &actError{err}
	}
	var after int64
	if err := q.Batch(ctx, []db.Stmt{revision.Stmt(&after)}); err != nil {
		return err
	}
	r.act.moved = after != d.rev
	r.entry.Rows = tx.Entries(d.c.secret)
	return nil
}

// cut returns how many of the rows fit so many bytes.
func cut(rows []entry.Row, most int) int {
	for i, r := range rows {
		if most -= rowBytes + len(r.Table) + len(r.Key); most < 0 || i == entry.MaxRows {
			return max(i, 1)
		}
	}
	return len(rows)
}

// more adds the rows of an act that its own entry has no room for, as entries after it.
func (d *draft) more(r *request, rows []entry.Row) error {
	for len(rows) > 0 {
		n := cut(rows, maxMoreRows)
		e := r.entry
		e.Kind, e.Purpose, e.Ticket, e.Fields = entry.KindAdministration, "", "", 0
		e.Detail, e.Rows = entry.RowsContinued{Of: r.index}, rows[:n]
		if s, ok := r.entry.Detail.(entry.RowsSealed); ok {
			e.Detail = entry.RowsSealed{Rows: n, More: s.More || len(rows) > n}
		}
		next := d.c.request(e, nil, nil)
		if err := d.write(next); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// granted takes what an entry says of rights into the projection.
func (p *projection) granted(index uint64, e *entry.Entry) {
	switch e.Detail.(type) {
	case entry.RowsSealed:
		p.rights.Apply(e.Rows, true)
		p.rights.Seal()
		return
	case entry.RowsAdopted:
		p.rights.Adopt()
	}
	if index == 0 && len(e.Rows) > 0 {
		p.rights.Seal() // a log that began with digests has no rows from before
	}
	p.rights.Apply(e.Rows, false)
}

// ErrSealed is returned where a log has sealed its rows of before already.
var ErrSealed = fault.New(fault.Conflict, "the rows of earlier releases are sealed already")

// Change logs an event and makes the change that it tells of, in one transaction: neither
// is there without the other. fn may run several times, as that of [db.DB.Tx]; the rows
// that it notes with [rights.Changed] are in the entry. An error of fn is returned as it
// is, and nothing happened. moved reports whether fn began a revision.
func (l *Ledger) Change(ctx context.Context, ev Event, fn func(q db.Queryer, at time.Time) error) (r Receipt, moved bool, err error) {
	return l.change(ctx, ev, &act{make: fn})
}

func (l *Ledger) change(ctx context.Context, ev Event, a *act) (Receipt, bool, error) {
	req, c, err := l.event(ctx, ev)
	if err != nil {
		return Receipt{}, false, err
	}
	req.act = a
	if err := c.await(ctx, req); err != nil {
		return Receipt{}, false, err
	}
	revision.Logged(ctx)
	return req.receipt(), a.moved, nil
}

// Void implements [rights.Log]. It trusts this server's projection where that is as new as
// the log, and asks under the log's lock where a row does not fit.
func (l *Ledger) Void(ctx context.Context, brand record.BrandID, read func(q db.Queryer) (rights.Found, error)) ([]rights.Void, error) {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return nil, err
	}
	found, err := read(l.db)
	if err != nil {
		return nil, err
	}
	size, err := l.Size(ctx, brand)
	if err != nil {
		return nil, err
	}
	c.proj.mu.RLock()
	fits := size == c.proj.known && len(c.proj.rights.Hold(c.secret, brand, found)) == 0
	c.proj.mu.RUnlock()
	if fits {
		return nil, nil
	}
	var void []rights.Void
	err = c.under(ctx, func(q db.Queryer) error {
		found, err := read(q)
		if err == nil {
			void = c.proj.rights.Hold(c.secret, brand, found)
		}
		return err
	})
	if err == nil && len(void) > 0 && l.opts.Void != nil {
		l.opts.Void(slices.Clone(void))
	}
	return void, err
}

// under runs fn under the lock of the log, with a projection that has all of it.
func (c *chain) under(ctx context.Context, fn func(q db.Queryer) error) error {
	r := &request{act: &act{look: fn, looks: true}, done: make(chan struct{})}
	return c.await(ctx, r)
}

// SealRows seals the rows of a log in which entries of before had no digests: they stay in
// force as they are, and inherited until somebody confirms them. Of a log that has sealed
// its rows it changes nothing.
func (l *Ledger) SealRows(ctx context.Context, brand record.BrandID, read func(q db.Queryer) ([]rights.Row, error)) error {
	ev := Event{Kind: entry.KindAdministration, Who: identity.Who{Brand: brand}, Detail: entry.RowsSealed{}}
	_, _, err := l.change(ctx, ev, &act{seals: true, make: func(q db.Queryer, _ time.Time) error {
		rows, err := read(q)
		rights.Changed(q, rows...)
		return err
	}})
	if errors.Is(err, ErrSealed) {
		return nil
	}
	return err
}
