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

	begins bool // an epoch, see beginning
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
	// maxRowsKept bounds the bytes of the rows in the values of an entry, and of its details.
	maxRowsKept = 56 << 10
	keptMore    = 9 // of a row in the values, beside itself
)

// run does what a request does beside being logged, and gives its entry the rows.
func (d *draft) run(ctx context.Context, q db.Queryer, r *request) error {
	if r.act.look != nil {
		if err := r.act.look(q); err != nil {
			return &actError{err}
		}
		return nil
	}
	if r.revision != 0 && (r.revision != d.rev || r.mark.Renewed()) {
		r.failed = revision.ErrMoved
		return nil
	}
	if r.act.seals && d.p.rights.Sealed() {
		r.failed = ErrSealed
		return nil
	}
	tx := &rights.Tx{Queryer: q, Inherited: d.p.rights.Inherited, Void: func(f rights.Found) []rights.Void { return d.p.rights.Hold(d.c.secret, d.c.brand, f) }}
	if err := r.act.make(tx, d.at); err != nil {
		return &actError{err}
	}
	var after int64
	if err := q.Batch(ctx, []db.Stmt{revision.Stmt(&after)}); err != nil {
		return err
	}
	r.act.moved = after != d.rev
	r.entry.Rows = tx.Entries(d.c.secret)
	if r.act.begins {
		d.begin(r)
	}
	return nil
}

// cut returns how many of the rows fit so many bytes of a leaf, and of its values. Of a row
// that no values have room for, only the digest is kept.
func cut(rows []entry.Row, most, kept int) int {
	for i := range rows {
		r := &rows[i]
		if i == 0 && len(r.Kept)+keptMore > kept {
			r.Kept = ""
		}
		most, kept = most-rowBytes-len(r.Table)-len(r.Key), kept-len(r.Kept)-keptMore
		if i > 0 && (most < 0 || kept < 0 || i == entry.MaxRows) {
			return i
		}
	}
	return len(rows)
}

// more adds the rows of an act that its own entry has no room for, as entries after it.
func (d *draft) more(r *request, rows []entry.Row) error {
	for len(rows) > 0 {
		n := cut(rows, maxMoreRows, maxRowsKept)
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
	if p.moved != nil && len(e.Rows) > 0 && p.rights.Moves(e.Rows) {
		p.moved()
	}
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
	if err != nil && !errors.Is(err, ErrNoLog) {
		return nil, err
	}
	found, rerr := read(l.db)
	if rerr != nil {
		return nil, rerr
	}
	if err != nil { // what is of no log, nobody granted
		void := rights.NewBook().Hold(nil, brand, found)
		l.found(void)
		return void, nil
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
	if err == nil {
		l.found(void)
	}
	return void, err
}

// found tells the server what is not what the log says.
func (l *Ledger) found(void []rights.Void) {
	if len(void) > 0 && l.opts.Void != nil {
		l.opts.Void(slices.Clone(void))
	}
}

// under runs fn under the lock of the log, with a projection that has all of it.
func (c *chain) under(ctx context.Context, fn func(q db.Queryer) error) error {
	r := &request{act: &act{look: fn, looks: true}, done: make(chan struct{})}
	return c.await(ctx, r)
}

const (
	sqlUnsealed  = `SELECT brand FROM unsealed_rights ORDER BY brand`
	sqlSealedNow = `DELETE FROM unsealed_rights WHERE brand = $1`
)

// Unsealed returns the brands whose rows a migration left to be sealed.
func (l *Ledger) Unsealed(ctx context.Context) (out []record.BrandID, err error) {
	err = l.db.Rows(ctx, func(r db.Row) error {
		var brand int64
		err := r.Scan(&brand)
		out = append(out, record.BrandID(brand))
		return err
	}, sqlUnsealed)
	if err != nil {
		return nil, fmt.Errorf("reading which rights are to be sealed: %w", err)
	}
	return out, nil
}

// SealRows seals the rows of a log in which entries of before had no digests: they stay in
// force as they are, and inherited until somebody confirms them. A log seals its rows once:
// that is in the log, so that nobody brings rows into it later.
func (l *Ledger) SealRows(ctx context.Context, brand record.BrandID, read func(q db.Queryer) ([]rights.Row, error)) error {
	ev := Event{Kind: entry.KindAdministration, Who: identity.Who{Brand: brand}, Detail: entry.RowsSealed{}}
	_, _, err := l.change(ctx, ev, &act{seals: true, make: func(q db.Queryer, _ time.Time) error {
		rows, err := read(q)
		rights.Changed(q, rows...)
		return err
	}})
	if err == nil || errors.Is(err, ErrSealed) {
		_, err = l.db.Exec(ctx, sqlSealedNow, int64(brand))
	}
	return err
}

// ResealRows seals what differs from the log, as it stands in a copy that was restored: its
// rows may be older than its log. What was sealed is inherited until somebody confirms it.
func (l *Ledger) ResealRows(ctx context.Context, brand record.BrandID, read func(q db.Queryer) ([]rights.Row, error)) error {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return err
	}
	differing := func(q db.Queryer) (out []rights.Row, err error) {
		rows, err := read(q)
		if err != nil {
			return nil, err
		}
		book := c.proj.rights
		for _, v := range book.Hold(c.secret, brand, rights.Found{Rows: rows, All: true}) {
			if v.What == rights.Missing {
				out = append(out, rights.Row{Table: v.Table, Key: v.Key, Gone: true})
			}
			for _, r := range rows {
				if v.What != rights.Missing && r.Table == v.Table && r.Key == v.Key {
					out = append(out, r)
				}
			}
		}
		return out, nil
	}
	differs := false
	err = c.under(ctx, func(q db.Queryer) error {
		rows, err := differing(q)
		differs = len(rows) > 0
		return err
	})
	if err != nil || !differs {
		return err
	}
	ev := Event{Kind: entry.KindAdministration, Who: identity.Who{Brand: brand}, Detail: entry.RowsSealed{}}
	_, _, err = l.change(ctx, ev, &act{make: func(q db.Queryer, _ time.Time) error {
		rows, err := differing(q)
		rights.Changed(q, rows...)
		return err
	}})
	return err
}

// Unadopted returns those of a brand's rows that were sealed as they were found and that
// nobody has confirmed or changed since, and what the log says of all such rows.
func (l *Ledger) Unadopted(ctx context.Context, brand record.BrandID, rows []rights.Row) (found []rights.Row, all []entry.Row, err error) {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return nil, nil, err
	}
	err = c.under(ctx, func(db.Queryer) error {
		all = c.proj.rights.Inherited()
		found = c.proj.rights.Unadopted(c.secret, rows)
		return nil
	})
	return found, all, err
}

// Again makes void rows of a brand again, as the log says that they are, from what its
// entries kept of them. Of a row that the log does not know, or of whose entry the values
// are erased or older than this, it makes none. It reads the whole log.
func (l *Ledger) Again(ctx context.Context, brand record.BrandID, void []rights.Void) (map[rights.Void]rights.Row, error) {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return nil, err
	}
	wanted := map[entry.Row]rights.Void{}
	for _, v := range void {
		if v.What != rights.Forged {
			wanted[entry.Row{Table: v.Table, Key: v.Place}] = v
		}
	}
	out := map[rights.Void]rights.Row{}
	if len(wanted) == 0 {
		return out, nil
	}
	err = l.Scan(ctx, brand, 0, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
		for _, r := range e.Rows {
			v, ok := wanted[entry.Row{Table: r.Table, Key: r.Key}]
			if !ok {
				continue
			}
			delete(out, v) // a later entry says otherwise
			if row, ok := rights.Again(c.secret, r); ok {
				out[v] = row
			}
		}
		return nil
	})
	return out, err
}
