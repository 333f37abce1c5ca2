package seal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// A tombstone is what an erased customer is known again by: the HMAC of their external id,
// e-mail address or phone number, under a key that serves nothing else. It stands from the
// beginning of an erasure, with the customer's ordinal, so that taking the erasure back
// removes it. When the key is destroyed the ordinal goes, and a tombstone says no more of
// which customer it is.
const (
	sqlBury           = `INSERT INTO tombstones (value, ord, brand, until) VALUES ($1, $2, $3, $4) ON CONFLICT (value, ord) DO UPDATE SET until = excluded.until WHERE tombstones.until < excluded.until`
	sqlUnbury         = `DELETE FROM tombstones WHERE ord = $1 AND brand = $2`
	sqlDropTombstones = `DELETE FROM tombstones WHERE brand = $1 AND until <= $2`

	sqlPostgresTombstones = `SELECT value FROM tombstones WHERE value = ANY($1::bigint[])`
	sqlSQLiteTombstones   = `SELECT t.value FROM json_each($1) AS j JOIN tombstones AS t ON t.value = j.value`
)

// buried are the fields whose values make tombstones.
func buried() []record.Field { return []record.Field{record.ExternalID, record.Email, record.Phone} }

func tombstoneLabel(f record.Field) string { return "cloakroom tombstone 1 " + f.String() }

// tombs makes the values of tombstones of one brand.
type tombs struct {
	key  keys.Key
	of   [record.NumColumns]*blinder
	rows *blinder // values of external ids by which rows that were withheld are found
}

func newTombs(key keys.Key) *tombs {
	t := &tombs{key: key, rows: newBlinder(key.Bytes(), "cloakroom withheld 1")}
	for _, f := range buried() {
		t.of[f] = newBlinder(key.Bytes(), tombstoneLabel(f))
	}
	return t
}

// value is that of one field, if it has a normal form.
func (t *tombs) value(f record.Field, c *record.Customer, country string) (int64, bool) {
	text := c.Get(f)
	if text == "" {
		return 0, false
	}
	n, err := record.Normalize(f, text, country)
	if err != nil {
		return 0, false
	}
	return t.of[f].of(n), true
}

// bury returns the statements that lay a customer's tombstones, none where the brand keeps
// none. They stand until a time of the brand's choice after the key is destroyed. The
// ordinal is 0 once it is.
func (s *Store) bury(ctx context.Context, brand record.BrandID, c *record.Customer, ord record.Ordinal, destroyed time.Time) ([]db.Stmt, error) {
	keep, err := s.remembers(ctx, brand)
	if c == nil || keep == 0 || err != nil {
		return nil, err
	}
	t, err := s.tombs(ctx, brand, destroyed)
	if err != nil {
		return nil, err
	}
	const day = 24 * time.Hour
	until := destroyed.Add(keep + day).Truncate(day).UnixMicro() // a day says nothing of which erasure it was
	var stmts []db.Stmt
	for _, f := range buried() {
		if v, ok := t.value(f, c, c.Get(record.Country)); ok {
			stmts = append(stmts, db.Stmt{SQL: sqlBury, Args: []any{v, int64(ord), int64(brand), until}})
		}
	}
	return stmts, nil
}

// remembers is how long a brand keeps tombstones.
func (s *Store) remembers(ctx context.Context, brand record.BrandID) (time.Duration, error) {
	if s.Remembers == nil {
		return 0, nil
	}
	keep, err := s.Remembers(ctx, brand)
	if err != nil {
		return 0, fmt.Errorf("reading how long tombstones are kept: %w", err)
	}
	return keep, nil
}

// tombs returns a brand's key of tombstones, made if it is not there.
func (s *Store) tombs(ctx context.Context, brand record.BrandID, now time.Time) (*tombs, error) {
	key, err := s.ring.Current(ctx, brand, keys.Tombstone)
	if errors.Is(err, keys.ErrNoKey) {
		err = s.db.Tx(ctx, func(q db.Queryer) (err error) {
			key, err = s.ring.Ensure(ctx, q, brand, keys.Tombstone, now)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key of tombstones: %w", err)
	}
	return newTombs(key), nil
}

// DropTombstones removes a brand's tombstones whose time is over, and rows that were
// withheld and nobody decided about.
func (s *Store) DropTombstones(ctx context.Context, brand record.BrandID, now time.Time) error {
	if _, err := s.db.Exec(ctx, sqlDropTombstones, int64(brand), now.UnixMicro()); err != nil {
		return fmt.Errorf("removing tombstones: %w", err)
	}
	if _, err := s.db.Exec(ctx, sqlDropOldWithheld, int64(brand), now.Add(-WithheldFor).UnixMicro()); err != nil {
		return fmt.Errorf("removing rows that were withheld: %w", err)
	}
	return nil
}

// wards are what a write has to know of those who stay out: which values of its puts are on
// tombstones, and which of its customers had rows withheld before.
type wards struct {
	tombs *tombs
	hits  map[int64]bool
	held  map[int64]*withheld          // by the value of the external id
	of    map[record.Ordinal]*withheld // by the ordinal
	room  atomic.Int64                 // for more rows
}

// many asks for rows with one of some values: in one statement on either engine.
func (s *Store) many(ctx context.Context, postgres, sqlite string, values []int64, scan func(db.Row) error, more ...any) error {
	if len(values) == 0 {
		return nil
	}
	if s.db.Engine() == db.Postgres {
		return s.db.Rows(ctx, scan, postgres, append([]any{values}, more...)...)
	}
	text, err := json.Marshal(values)
	if err != nil {
		return err
	}
	return s.db.Rows(ctx, scan, sqlite, append([]any{string(text)}, more...)...)
}

// wards looks which of the puts of a write concern those who stay out. It is nil where the brand
// keeps nobody out.
func (s *Store) wards(ctx context.Context, k *brandKeys, puts []Put, found []asked) (*wards, error) {
	if k.tombstones == 0 {
		return nil, nil
	}
	t, err := s.tombs(ctx, k.brand, time.Time{})
	if err != nil {
		return nil, err
	}
	w := &wards{tombs: t, hits: map[int64]bool{}, held: map[int64]*withheld{}, of: map[record.Ordinal]*withheld{}}
	var values, ids, ords []int64
	for i := range puts {
		for v := range w.said(&puts[i]) {
			values = append(values, v)
		}
		ord := puts[i].Ord
		if ord == 0 {
			ord = found[i].ord
		}
		if ord != 0 {
			ords = append(ords, int64(ord))
		} else if v, ok := w.id(puts[i].Customer.Get(record.ExternalID)); ok {
			ids = append(ids, v)
		}
	}
	slices.Sort(values)
	err = s.many(ctx, sqlPostgresTombstones, sqlSQLiteTombstones, slices.Compact(values), func(r db.Row) error {
		var v int64
		err := r.Scan(&v)
		w.hits[v] = true
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for tombstones: %w", err)
	}
	return w, s.loadWithheld(ctx, k.brand, w, ids, ords)
}

// wardsOfAppends is wards for purchases: those of somebody with a withheld row stay out,
// too.
func (s *Store) wardsOfAppends(ctx context.Context, k *brandKeys, asked []Append) (*wards, error) {
	if k.tombstones == 0 {
		return nil, nil
	}
	t, err := s.tombs(ctx, k.brand, time.Time{})
	if err != nil {
		return nil, err
	}
	w := &wards{tombs: t, held: map[int64]*withheld{}, of: map[record.Ordinal]*withheld{}}
	var ids, ords []int64
	for i := range asked {
		if asked[i].Ord != 0 {
			ords = append(ords, int64(asked[i].Ord))
		} else if v, ok := w.id(asked[i].ExternalID); ok {
			ids = append(ids, v)
		}
	}
	return w, s.loadWithheld(ctx, k.brand, w, ids, ords)
}

// id is the value by which rows of an external id that were withheld are found.
func (w *wards) id(external string) (int64, bool) {
	n, err := record.NormalExternalID(external)
	if err != nil {
		return 0, false
	}
	return w.tombs.rows.of(n), true
}

// said are the values of what a put says, and of which field each is.
func (w *wards) said(p *Put) map[int64]record.Field {
	out := map[int64]record.Field{}
	c := p.made()
	for _, f := range buried() {
		if !p.Set.Has(f) && (f != record.ExternalID || p.Ord != 0) {
			continue
		}
		country := c.Get(record.Country)
		if country == "" {
			country = p.Country
		}
		if v, ok := w.tombs.value(f, c, country); ok {
			out[v] = f
		}
	}
	return out
}

// met are the fields of a put whose values are on tombstones.
func (w *wards) met(p *Put) (out record.FieldSet) {
	if len(w.hits) == 0 {
		return 0
	}
	for v, f := range w.said(p) {
		if w.hits[v] {
			out = out.With(f)
		}
	}
	return out
}

// changes are those of some fields in which a put would give a customer a value that they
// do not have.
func changes(fields record.FieldSet, old, now *record.Customer) (out record.FieldSet) {
	for _, f := range fields.List() {
		was, err := record.Normalize(f, old.Get(f), old.Get(record.Country))
		is, err2 := record.Normalize(f, now.Get(f), now.Get(record.Country))
		if err != nil || err2 != nil || was != is {
			out = out.With(f)
		}
	}
	return out
}
