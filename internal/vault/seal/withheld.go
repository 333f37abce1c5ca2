package seal

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
)

// A row that a tombstone keeps out is answered as if it had been written: to whom sends it,
// somebody who was erased is a customer like any other. So that a second row is answered
// as a second row, and that a human can decide about it, a withheld row stays for a while,
// sealed under the key of tombstones. Of a row whose external id is that of an erased
// customer only the external id is kept and a code of the rest; of one with an address
// alone, which a spouse may share, the row.
const (
	withheldColumns = `id, brand, value, ord, key, sealed, created`

	sqlInsertWithheld  = `INSERT INTO withheld (` + withheldColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	sqlChangeWithheld  = `UPDATE withheld SET key = $3, sealed = $4 WHERE brand = $1 AND id = $2`
	sqlDropWithheld    = `DELETE FROM withheld WHERE brand = $1 AND id = $2`
	sqlDropWithheldOf  = `DELETE FROM withheld WHERE ord = $1 AND brand = $2`
	sqlDropOldWithheld = `DELETE FROM withheld WHERE brand = $1 AND created <= $2`
	sqlWithheldSize    = `SELECT count(*), coalesce(sum(length(sealed)), 0) FROM withheld WHERE brand = $1`
	sqlListWithheld    = `SELECT ` + withheldColumns + ` FROM withheld WHERE brand = $1 AND id > $2 ORDER BY id LIMIT $3`
	sqlReadWithheld    = `SELECT ` + withheldColumns + ` FROM withheld WHERE brand = $1 AND id = $2`

	sqlPostgresWithheld    = `SELECT ` + withheldColumns + ` FROM withheld WHERE brand = $2 AND value = ANY($1::bigint[])`
	sqlSQLiteWithheld      = `SELECT w.id, w.brand, w.value, w.ord, w.key, w.sealed, w.created FROM json_each($1) AS j JOIN withheld AS w ON w.brand = $2 AND w.value = j.value`
	sqlPostgresWithheldOrd = `SELECT ` + withheldColumns + ` FROM withheld WHERE brand = $2 AND ord = ANY($1::bigint[])`
	sqlSQLiteWithheldOrd   = `SELECT w.id, w.brand, w.value, w.ord, w.key, w.sealed, w.created FROM json_each($1) AS j JOIN withheld AS w ON w.brand = $2 AND w.ord = j.value`
)

const (
	// WithheldFor is how long a withheld row waits for a human: it may be of somebody who
	// wanted to be forgotten.
	WithheldFor = 30 * 24 * time.Hour
	// withheldMost and withheldBytes bound what is withheld at a brand.
	withheldMost  = 10_000
	withheldBytes = 64 << 20
)

var (
	// ErrNoWithheld is returned for a withheld row that is not there.
	ErrNoWithheld = fault.New(fault.NotFound, "no such withheld row: `cloakroom erasure withheld list` shows them")
	// ErrNotKept is returned where a row is to be admitted of which only the external id was
	// kept.
	ErrNotKept = fault.New(fault.Conflict, "this row has the external id of an erased customer, so nothing of it was kept: if they are a customer again, write it once more with --new-relationship")
)

// withheld is a row that stays out.
type withheld struct {
	id      int64
	brand   record.BrandID
	value   int64          // of the external id, 0: of one who is there
	ord     record.Ordinal // of the customer that the answers name
	key     int
	created time.Time
	content withheldContent

	isNew  bool // not stored yet
	unkept bool // there is no room for it
}

// withheldContent is what is sealed of it.
type withheldContent struct {
	Why  record.FieldSet `json:"why"`  // the fields whose values are on tombstones
	Live bool            `json:"live"` // a customer who is there would get these values
	By   uint64          `json:"by"`   // the principal who sent it first
	Set  record.FieldSet `json:"set"`
	Row  []byte          `json:"row"`            // the customer's binary form; with Code, of the external id alone
	Code []byte          `json:"code,omitempty"` // of the row that is not kept
	// Bought has, by a code of its id, a code of each purchase that was withheld with it.
	Bought map[int64]int64 `json:"bought,omitempty"`
}

// boughtMost bounds Bought: of purchases beyond it a second one is answered as a first.
const boughtMost = 500

// buy says what a customer of the row would be told of purchases, which stay out as well.
func (w *wards) buy(x *withheld, purchases []record.Purchase) (outcomes []Outcome, changed bool) {
	outcomes = make([]Outcome, len(purchases))
	bought := maps.Clone(x.content.Bought)
	if bought == nil {
		bought = map[int64]int64{}
	}
	key := w.tombs.key.Bytes()
	for i := range purchases {
		id := blind(key, "cloakroom withheld purchase ids 1", purchases[i].ID)
		code := blind(key, "cloakroom withheld purchases 1", string(record.AppendPurchases(nil, purchases[i:i+1], nil)))
		switch have, there := bought[id]; {
		case there && have == code:
			outcomes[i] = Unchanged
			continue
		case there:
			outcomes[i] = Updated
		case len(bought) >= boughtMost:
			continue
		}
		bought[id], changed = code, true
	}
	x.content.Bought = bought
	return outcomes, changed
}

func (x *withheld) place() []byte {
	b := []byte("cloakroom withheld row 1\x00")
	for _, n := range []uint64{uint64(x.id), uint64(x.brand), uint64(x.value), uint64(x.ord), uint64(x.created.UnixMicro())} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func (x *withheld) sealed(t *tombs) ([]byte, error) {
	plain, err := json.Marshal(&x.content)
	if err != nil {
		return nil, fmt.Errorf("sealing a withheld row: %w", err)
	}
	return sealed(nil, derive(t.key.Bytes(), "cloakroom withheld rows 1"), plain, x.place())
}

// open opens what is sealed of a row under its key.
func (x *withheld) open(key, b []byte) error {
	plain, err := opener.Open(derive(key, "cloakroom withheld rows 1"), b, x.place())
	if err == nil {
		err = json.Unmarshal(plain, &x.content)
	}
	return err
}

// customer is what is kept of the row.
func (x *withheld) customer() (c record.Customer, err error) {
	if err := record.DecodeCustomer(x.content.Row, &c); err != nil {
		return c, fmt.Errorf("reading a withheld row: %w", err)
	}
	return c, nil
}

// scanWithheld reads rows; one that does not open was changed in the database, and is as if
// it were not there.
func (s *Store) scanWithheld(ctx context.Context, brand record.BrandID, into func(*withheld), of func(scan func(db.Row) error) error) error {
	type raw struct {
		x      withheld
		sealed []byte
	}
	var list []raw
	err := of(func(r db.Row) error {
		var one raw
		var b, ord, created int64
		err := r.Scan(&one.x.id, &b, &one.x.value, &ord, &one.x.key, &one.sealed, &created)
		one.x.brand, one.x.ord, one.x.created = record.BrandID(b), record.Ordinal(ord), db.Time(created)
		one.sealed = slices.Clone(one.sealed)
		if one.x.brand == brand {
			list = append(list, one)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reading withheld rows: %w", err)
	}
	for i := range list {
		x := &list[i].x
		key, err := s.ring.Version(ctx, brand, keys.Tombstone, x.key)
		if errors.Is(err, keys.ErrNoKey) {
			continue
		}
		if err != nil {
			return err
		}
		if x.open(key.Bytes(), list[i].sealed) == nil {
			into(x)
		}
	}
	return nil
}

func (s *Store) loadWithheld(ctx context.Context, brand record.BrandID, w *wards, ids, ords []int64) error {
	into := func(x *withheld) {
		w.of[x.ord] = x
		if x.value != 0 {
			w.held[x.value] = x
		}
	}
	err := s.scanWithheld(ctx, brand, into, func(scan func(db.Row) error) error {
		return s.many(ctx, sqlPostgresWithheld, sqlSQLiteWithheld, ids, scan, int64(brand))
	})
	if err == nil {
		err = s.scanWithheld(ctx, brand, into, func(scan func(db.Row) error) error {
			return s.many(ctx, sqlPostgresWithheldOrd, sqlSQLiteWithheldOrd, ords, scan, int64(brand))
		})
	}
	if err != nil {
		return err
	}
	if len(w.hits) == 0 { // nothing is added
		return nil
	}
	var n, bytes int64
	if err := s.db.Row(ctx, sqlWithheldSize, int64(brand)).Scan(&n, &bytes); err != nil {
		return fmt.Errorf("reading withheld rows: %w", err)
	}
	if bytes < withheldBytes {
		w.room.Store(withheldMost - n)
	}
	return nil
}

// hold decides over a put of somebody who is not there: nil lets it in, and another is the
// row that was withheld before, or is now. It has no ordinal yet if it is new.
func (w *wards) hold(p *Put) (*withheld, record.FieldSet) {
	v, ok := w.id(p.Customer.Get(record.ExternalID))
	if !ok {
		return nil, 0
	}
	why := w.met(p)
	if x := w.held[v]; x != nil && !x.content.Live {
		return x, why
	}
	if why == 0 {
		return nil, 0
	}
	return w.add(&withheld{value: v}), why
}

// earlier is the row that was withheld of an external id, or under an ordinal, of somebody
// who is not there.
func (w *wards) earlier(external string, ord record.Ordinal) *withheld {
	if w == nil {
		return nil
	}
	x := w.of[ord]
	if v, ok := w.id(external); ord == 0 && ok {
		x = w.held[v]
	}
	if x == nil || x.content.Live {
		return nil
	}
	return x
}

func (w *wards) add(x *withheld) *withheld {
	var id [8]byte
	rand.Read(id[:])
	x.id, x.isNew, x.unkept = int64(binary.BigEndian.Uint64(id[:])>>1), true, w.room.Add(-1) < 0
	return x
}

// lay lays a put over what is kept of a row, and says what a customer of that row would be
// told.
func (w *wards) lay(x *withheld, p *Put, why record.FieldSet, note *Note) (outcome Outcome, changed bool, err error) {
	before := x.content
	was := withheldContent{Why: before.Why | why, By: before.By, Bought: before.Bought}
	made := p.made()
	now := *made
	switch {
	case x.isNew:
		note.Unfound = unfound(made, p.Set)
		outcome, was.Set = Created, p.Set
	case before.Code != nil: // compared below
		note.Unfound = unfound(made, p.Set)
	default:
		old, err := x.customer()
		if err != nil {
			return 0, false, err
		}
		if old.Covers(p.Mark) {
			return Unchanged, false, nil
		}
		if now, err = p.laid(&old, note); err != nil {
			return 0, false, err
		}
		outcome, was.Set = Updated, before.Set|p.Set
		if now.Columns == old.Columns && maps.Equal(now.Attributes, old.Attributes) {
			outcome = Unchanged
		}
	}
	was.Row = record.AppendCustomer(nil, &now)
	if was.Why.Has(record.ExternalID) || before.Code != nil { // it is they: nothing of them is kept
		code := hmac.New(sha256.New, derive(w.tombs.key.Bytes(), "cloakroom withheld codes 1"))
		code.Write(was.Row)
		was.Code = code.Sum(nil)[:16]
		var id record.Customer
		id.Set(record.ExternalID, now.Get(record.ExternalID))
		if p.Ord != 0 && before.Row != nil { // a patch does not say it again
			was.Row = before.Row
		} else {
			was.Row = record.AppendCustomer(nil, &id)
		}
		was.Set = record.Fields(record.ExternalID)
		if !x.isNew && before.Code != nil {
			if outcome = Updated; hmac.Equal(was.Code, before.Code) {
				outcome = Unchanged
			}
		}
	}
	changed = x.isNew || outcome == Updated || was.Why != before.Why
	x.content = was
	return outcome, changed, nil
}

// lessen takes out of a put for a customer who is there the values that are on tombstones
// and that they do not have, into a row for a human. It returns nil where there are none.
func (w *wards) lessen(brand record.BrandID, r *rows, p *Put) (less *Put, x *withheld, outcome Outcome, err error) {
	why := w.met(p)
	if why == 0 {
		return nil, nil, 0, nil
	}
	var old record.Customer
	if err := r.openProfile(brand, &old); err != nil {
		return nil, nil, 0, err
	}
	if p.Ord == 0 && !sameExternal(&old, p.Customer.Get(record.ExternalID)) {
		return nil, nil, 0, errOtherExternal
	}
	if old.Covers(p.Mark) {
		return nil, nil, 0, nil
	}
	now, err := p.laid(&old, &Note{})
	if err != nil {
		return nil, nil, 0, nil // it is refused as it is
	}
	if why = changes(why, &old, &now); why == 0 {
		return nil, nil, 0, nil
	}
	var kept record.Customer
	outcome, set := Unchanged, why
	if x = w.of[r.ord]; x == nil {
		x = w.add(&withheld{ord: r.ord})
	} else if kept, err = x.customer(); err != nil {
		return nil, nil, 0, err
	} else {
		set |= x.content.Set
	}
	cut := *p
	for _, f := range why.List() {
		if kept.Get(f) != now.Get(f) {
			outcome = Updated
		}
		kept.Set(f, now.Get(f))
		cut.Customer.Set(f, "")
		cut.Set = cut.Set.Without(f)
	}
	x.content = withheldContent{Why: x.content.Why | why, Live: true, By: x.content.By, Set: set, Row: record.AppendCustomer(nil, &kept)}
	return &cut, x, outcome, nil
}

// guarding is what a write of customers does about those who stay out.
type guarding struct {
	w       *wards // nil: nobody is kept out
	p       *Prepared
	puts    []Put
	why     []record.FieldSet
	stays   []*withheld      // the rows of puts that stay out as a whole
	parts   []*withheld      // of puts whose values stay out in part
	again   []record.Ordinal // of puts that are let in again: whose token was given out
	changed []bool           // the row that is kept becomes another
}

func (p *Prepared) guard(w *wards, puts []Put) *guarding {
	n := len(puts)
	g := &guarding{w: w, p: p, puts: puts, stays: make([]*withheld, n), again: make([]record.Ordinal, n), changed: make([]bool, n)}
	if w != nil {
		p.tombs, p.held, p.whole = w.tombs, make([]bool, n), make([]bool, n)
		g.why, g.parts = make([]record.FieldSet, n), make([]*withheld, n)
	}
	return g
}

// keepsOut decides over a put of somebody who is not there.
func (g *guarding) keepsOut(i int) bool {
	if g.w == nil {
		return false
	}
	if g.puts[i].Returns {
		if g.w.met(&g.puts[i]) != 0 {
			g.p.returned++
		}
		if x := g.w.earlier(g.puts[i].Customer.Get(record.ExternalID), 0); x != nil {
			g.again[i], g.p.drops = x.ord, append(g.p.drops, x.id)
		}
		return false
	}
	if g.stays[i], g.why[i] = g.w.hold(&g.puts[i]); g.stays[i] == nil {
		return false
	}
	g.p.ords[i] = g.stays[i].ord
	return true
}

// nameless are the puts that stay out and need an ordinal, as if they were customers.
func (g *guarding) nameless() (out []int) {
	for i, x := range g.stays {
		if x != nil && x.isNew {
			out = append(out, i)
		}
	}
	return out
}

// patches reports whether a put is for somebody who has a withheld row and nothing else.
func (g *guarding) patches(i int) bool {
	if g.w == nil || g.puts[i].Returns {
		return false
	}
	if x := g.w.earlier("", g.puts[i].Ord); x != nil && g.puts[i].Ord != 0 {
		g.stays[i], g.why[i] = x, g.w.met(&g.puts[i])
		return true
	}
	return false
}

// answer says of a put that stays out what a customer would be told.
func (g *guarding) answer(i int) (err error) {
	x, put := g.stays[i], &g.puts[i]
	if x.isNew {
		x.ord, x.content.By = g.p.ords[i], put.By
	}
	g.p.held[i], g.p.whole[i] = true, true
	g.p.outcomes[i], g.changed[i], err = g.w.lay(x, put, g.why[i], &g.p.notes[i])
	if _, refused := errors.AsType[*record.FieldError](err); refused {
		g.p.held[i], g.p.whole[i], g.changed[i] = false, false, false
		g.p.fail(i, err)
		return nil
	}
	if err == nil && len(put.Purchases) > 0 {
		var more bool
		g.p.detail[i], more = g.w.buy(x, put.Purchases)
		g.changed[i] = g.changed[i] || more
	}
	return err
}

// lessen returns a put for somebody who is there without the values that stay out.
func (g *guarding) lessen(brand record.BrandID, r *rows, i int) (*Put, error) {
	put := &g.puts[i]
	if g.w == nil {
		return put, nil
	}
	if put.Returns {
		if x := g.w.of[r.ord]; x != nil {
			g.parts[i] = x
		}
		return put, nil
	}
	less, x, outcome, err := g.w.lessen(brand, r, put)
	if less == nil || err != nil {
		return put, err
	}
	if x.isNew {
		x.content.By = put.By
	}
	g.parts[i], g.p.held[i], g.changed[i] = x, true, outcome == Updated
	return less, nil
}

// done gathers the rows to keep.
func (g *guarding) done() {
	if g.w == nil {
		return
	}
	for i := range g.puts {
		x := g.stays[i]
		if x == nil {
			x = g.parts[i]
		}
		switch {
		case x == nil:
		case g.puts[i].Returns:
			g.p.drops = append(g.p.drops, x.id)
		case g.changed[i]:
			g.p.stays = append(g.p.stays, x)
		}
	}
}

// keepWithheld are the statements that keep withheld rows as they are now.
func (p *Prepared) keepWithheld(at time.Time) (stmts []db.Stmt, err error) {
	for _, x := range p.stays {
		if x.unkept {
			continue
		}
		if x.isNew {
			x.brand, x.created = p.brand, at.UTC().Truncate(time.Microsecond)
		}
		b, err := x.sealed(p.tombs)
		if err != nil {
			return nil, err
		}
		stmt := db.Stmt{SQL: sqlChangeWithheld, Args: []any{int64(p.brand), x.id, p.tombs.key.Version, b}}
		if x.isNew {
			stmt = db.Stmt{SQL: sqlInsertWithheld, Args: []any{x.id, int64(x.brand), x.value, int64(x.ord), p.tombs.key.Version, b, x.created.UnixMicro()}}
		}
		stmts = append(stmts, stmt)
	}
	for _, id := range p.drops {
		stmts = append(stmts, db.Stmt{SQL: sqlDropWithheld, Args: []any{int64(p.brand), id}})
	}
	return stmts, nil
}

// Withheld reports whether the i-th thing asked for stays out. What Outcome, Ord, Note and
// Purchases say of it is what a caller is told who may not learn that.
func (p *Prepared) Withheld(i int) bool { return p.held != nil && p.held[i] }

// Whole reports whether the i-th thing asked for stays out as a whole, its purchases too,
// and not only some values of a customer who is there.
func (p *Prepared) Whole(i int) bool { return p.whole != nil && p.whole[i] }

// Stays is how many of the things asked for stay out, and how many of them there was no
// room to keep.
func (p *Prepared) Stays() (all, unkept int) {
	for i := range p.held {
		if p.held[i] {
			all++
		}
	}
	for _, x := range p.stays {
		if x.unkept {
			unkept++
		}
	}
	return all, unkept
}

// Returned is how many of the things asked for were let in though a tombstone matched.
func (p *Prepared) Returned() int { return p.returned }

// Any reports whether there is something to apply.
func (p *Prepared) Any() bool { return len(p.changes)+len(p.stays)+len(p.drops) > 0 }

// Held is a withheld row, for a human to decide about.
type Held struct {
	ID         int64
	Ord        record.Ordinal
	ExternalID string
	Why        record.FieldSet // what a tombstone has of it
	Live       bool            // a customer who is there would get these values
	Kept       bool            // it can be admitted
	By         uint64          // the principal who sent it first
	Created    time.Time
}

func (x *withheld) held() (Held, error) {
	c, err := x.customer()
	return Held{x.id, x.ord, c.Get(record.ExternalID), x.content.Why, x.content.Live, x.content.Code == nil, x.content.By, x.created}, err
}

// ListWithheld returns rows that were withheld at a brand, at most so many, from an id on.
func (s *Store) ListWithheld(ctx context.Context, brand record.BrandID, after int64, limit int) (out []Held, next int64, err error) {
	n := 0
	var failed error
	err = s.scanWithheld(ctx, brand, func(x *withheld) {
		h, err := x.held()
		failed = errors.Join(failed, err)
		out = append(out, h)
	}, func(scan func(db.Row) error) error {
		return s.db.Rows(ctx, func(r db.Row) error {
			n++
			return scan(lastID{r, &next})
		}, sqlListWithheld, int64(brand), after, limit)
	})
	if n < limit {
		next = 0
	}
	return out, next, errors.Join(err, failed)
}

// lastID notes the id of a row that is scanned.
type lastID struct {
	db.Row
	id *int64
}

// Scan scans a row.
func (l lastID) Scan(dest ...any) error {
	err := l.Row.Scan(dest...)
	if id, ok := dest[0].(*int64); ok {
		*l.id = *id
	}
	return err
}

// Admitted returns what admits a withheld row: a put that no tombstone keeps out.
func (s *Store) Admitted(ctx context.Context, brand record.BrandID, id int64) (Put, error) {
	x, err := s.withheldRow(ctx, brand, id)
	if err != nil {
		return Put{}, err
	}
	if x.content.Code != nil {
		return Put{}, ErrNotKept
	}
	c, err := x.customer()
	if err != nil {
		return Put{}, err
	}
	p := Put{Set: x.content.Set, Customer: c, Merge: true, Returns: true}
	if x.content.Live {
		p.Ord = x.ord
	}
	return p, nil
}

func (s *Store) withheldRow(ctx context.Context, brand record.BrandID, id int64) (found *withheld, err error) {
	err = s.scanWithheld(ctx, brand, func(x *withheld) { found = x }, func(scan func(db.Row) error) error {
		return s.db.Rows(ctx, scan, sqlReadWithheld, int64(brand), id)
	})
	if err == nil && found == nil {
		err = ErrNoWithheld
	}
	return found, err
}

// RefuseWithheld drops a withheld row. Later rows of its external id stay out, and no human
// is asked about them, as long as the brand keeps tombstones.
func (s *Store) RefuseWithheld(ctx context.Context, brand record.BrandID, id int64, now time.Time) error {
	x, err := s.withheldRow(ctx, brand, id)
	if err != nil {
		return err
	}
	stmts := []db.Stmt{{SQL: sqlDropWithheld, Args: []any{int64(brand), id}}}
	if !x.content.Live {
		c, err := x.customer()
		if err != nil {
			return err
		}
		var named record.Customer
		named.Set(record.ExternalID, c.Get(record.ExternalID))
		more, err := s.bury(ctx, brand, &named, 0, now)
		if err != nil {
			return err
		}
		stmts = append(stmts, more...)
	}
	if err := s.db.Tx(ctx, func(q db.Queryer) error { return q.Batch(ctx, stmts) }); err != nil {
		return fmt.Errorf("refusing a withheld row: %w", err)
	}
	return nil
}
