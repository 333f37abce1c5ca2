package seal

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
)

// brandKeys are the keys that writing and searching need. Of the index keys more than
// one is there while they are rotated, the newest first: a value is indexed under the
// newest, and taken away under each.
type brandKeys struct {
	brand    record.BrandID
	kek      keys.Key
	index    []keys.Key
	history  []byte
	incident []keys.Key // the group's: one person in several brands

	wrap   cipher.AEAD                 // under kek
	blind  [record.NumColumns]blinders // those of searchable columns and of the external id
	memory *sync.Pool                  // the store's

	// tombstones is the version of the key of tombstones, as find asked; 0: the brand never
	// erased anybody, and a write pays nothing else for them.
	tombstones int
}

// blinders make the indexes of one field under the newest keys.
type blinders struct{ index, incident *blinder }

func (s *Store) brandKeys(ctx context.Context, brand record.BrandID) (*brandKeys, error) {
	out := brandKeys{brand: brand, memory: &s.memories}
	var err error
	if out.kek, err = s.ring.Current(ctx, brand, keys.KEK); err != nil {
		return nil, err
	}
	history, err := s.ring.Current(ctx, brand, keys.History)
	if err != nil {
		return nil, err
	}
	out.history = history.Bytes()
	if out.index, err = s.ring.All(ctx, brand, keys.Index); err != nil {
		return nil, err
	}
	if out.incident, err = s.ring.All(ctx, record.Group, keys.Incident); err != nil {
		return nil, err
	}
	if out.wrap, err = opener.GCM(out.kek.Bytes()); err != nil {
		return nil, err
	}
	for _, f := range append(searchable(), record.ExternalID) {
		out.blind[f] = blinders{newBlinder(out.index[0].Bytes(), indexLabel(f)), newBlinder(out.incident[0].Bytes(), indexLabel(f))}
	}
	return &out, nil
}

// indexUses are the index keys as a write has to find them when it is applied.
func (k *brandKeys) indexUses() []keys.Use {
	return []keys.Use{
		{Brand: k.brand, Kind: keys.Index, Version: k.index[0].Version},
		{Brand: record.Group, Kind: keys.Incident, Version: k.incident[0].Version},
	}
}

// moving reports whether some customers may still be indexed under an old key.
func (k *brandKeys) moving() bool { return len(k.index)+len(k.incident) > 2 }

// searchable are the columns with a blind index in lookups. The external id has one
// in externals, where it is unique.
func searchable() []record.Field { return []record.Field{record.Email, record.Phone} }

// indexed returns the index values of a customer under keys.
func indexed(c *record.Customer, under ...keys.Key) map[int64]bool {
	out := map[int64]bool{}
	for f, n := range normals(c) {
		for i := range under {
			out[blind(under[i].Bytes(), indexLabel(f), n)] = true
		}
	}
	return out
}

// normals yields the normal forms of what a customer can be searched by. A value
// without one is kept and cannot be searched for.
func normals(c *record.Customer) iter.Seq2[record.Field, string] {
	return func(yield func(record.Field, string) bool) {
		for _, f := range searchable() {
			if c.Get(f) == "" {
				continue
			}
			n, err := record.Normalize(f, c.Get(f), c.Get(record.Country))
			if err == nil && !yield(f, n) {
				return
			}
		}
	}
}

// lookups appends the index values of a customer as they are written now, each once, to
// an empty slice.
func (k *brandKeys) lookups(out []int64, c *record.Customer) []int64 {
	for f, n := range normals(c) {
		b := &k.blind[f]
		for _, v := range [...]int64{b.index.of(n), b.incident.of(n)} {
			if !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return out
}

// everyLookup returns also those under keys that are being replaced.
func (k *brandKeys) everyLookup(c *record.Customer) map[int64]bool {
	return indexed(c, slices.Concat(k.index, k.incident)...)
}

// externals returns the index values of an external id: as it is written now, and
// after that those under keys that are being replaced.
func (k *brandKeys) externals(id string) ([]int64, error) {
	if len(k.index) > 1 {
		return externals(id, k.index...)
	}
	v, err := k.external(id)
	if err != nil {
		return nil, err
	}
	return []int64{v}, nil
}

// external returns the index value of an external id as it is written now.
func (k *brandKeys) external(id string) (int64, error) {
	n, err := record.NormalExternalID(id)
	if err != nil {
		return 0, err
	}
	return k.blind[record.ExternalID].index.of(n), nil
}

func externals(id string, under ...keys.Key) ([]int64, error) {
	n, err := record.NormalExternalID(id)
	if err != nil {
		return nil, err
	}
	out := make([]int64, len(under))
	for i := range under {
		out[i] = blind(under[i].Bytes(), indexLabel(record.ExternalID), n)
	}
	return out, nil
}

const (
	sqlFindExternal = `SELECT ord FROM externals WHERE value = $1`
	sqlFindLookup   = `SELECT ord FROM lookups WHERE value = $1 ORDER BY ord LIMIT $2`
)

// MaxFound bounds the customers that one search finds.
const MaxFound = 100

// rotations bounds how often a search begins anew because its key was rotated.
const rotations = 5

// Lookup returns the customers who may have a value: external id, e-mail or phone.
// Drop those who do not with Unopened.Confirm. The country serves phone numbers
// written without theirs. A value without a normal form is an error of record.
//
// While the index key is rotated it asks under the old and the new one.
func (s *Store) Lookup(ctx context.Context, brand record.BrandID, f record.Field, value, country string) ([]record.Ordinal, error) {
	n, err := record.Normalize(f, value, country)
	if err != nil {
		return nil, err
	}
	for range rotations {
		index, err := s.ring.All(ctx, brand, keys.Index)
		if err != nil {
			return nil, fmt.Errorf("searching: %w", err)
		}
		var out []record.Ordinal
		var stmts []db.Stmt
		// The old one first: who is moved in between is then found under the new one.
		for i := range slices.Backward(index) {
			stmt := db.Stmt{SQL: sqlFindLookup, Args: []any{blind(index[i].Bytes(), indexLabel(f), n), MaxFound}}
			if f == record.ExternalID {
				stmt = db.Stmt{SQL: sqlFindExternal, Args: stmt.Args[:1]}
			}
			stmt.Scan = func(r db.Row) error {
				var ord int64
				err := r.Scan(&ord)
				out = append(out, record.Ordinal(ord))
				return err
			}
			stmts = append(stmts, stmt)
		}
		newest := 0
		if err := s.db.Batch(ctx, append(stmts, keys.Newest(brand, keys.Index, &newest))); err != nil {
			return nil, fmt.Errorf("searching: %w", err)
		}
		if newest != index[0].Version {
			continue // customers may have been moved to a key that was not asked under
		}
		if len(index) > 1 {
			slices.Sort(out)
			out = slices.Compact(out)
		}
		return out[:min(len(out), MaxFound)], nil
	}
	return nil, fmt.Errorf("searching: %w", keys.ErrRotated)
}

// sqlPostgresFindExternals finds many in one statement.
const sqlPostgresFindExternals = `SELECT value, ord FROM externals WHERE value = ANY($1)`

// asked is whom one thing to write is about.
type asked struct {
	ord   record.Ordinal // 0: nobody yet
	value int64          // of the external id, as it is written now
	err   error          // the external id has no normal form
}

// find returns the keys to write with, and the customers by their external ids: of n
// things to write, those for which id says that one was given.
func (s *Store) find(ctx context.Context, brand record.BrandID, n int, look bool, id func(i int) (string, bool)) (*brandKeys, []asked, error) {
	for range rotations {
		k, err := s.brandKeys(ctx, brand)
		if err != nil {
			return nil, nil, err
		}
		out := make([]asked, n)
		var stmts []db.Stmt
		var all []int64
		of := map[int64]int{} // of all, which thing to write each belongs to
		for i := range out {
			text, given := id(i)
			if !given {
				continue
			}
			if !look && len(k.index) == 1 {
				out[i].value, out[i].err = k.external(text)
				continue
			}
			var values []int64
			if values, out[i].err = k.externals(text); out[i].err != nil {
				continue
			}
			out[i].value = values[0]
			for _, v := range values {
				if s.db.Engine() == db.Postgres && n >= copyAtLeast {
					if _, taken := of[v]; !taken {
						all, of[v] = append(all, v), i
					}
					continue
				}
				stmts = append(stmts, db.Stmt{SQL: sqlFindExternal, Args: []any{v}, Scan: func(r db.Row) error {
					var ord int64
					err := r.Scan(&ord)
					out[i].ord = record.Ordinal(ord)
					return err
				}})
			}
		}
		if len(all) > 0 {
			stmts = append(stmts, db.Stmt{SQL: sqlPostgresFindExternals, Args: []any{all}, Scan: func(r db.Row) error {
				var v, ord int64
				err := r.Scan(&v, &ord)
				out[of[v]].ord = record.Ordinal(ord)
				return err
			}})
		}
		if !look && len(k.index) == 1 {
			if err := s.db.Batch(ctx, []db.Stmt{keys.Newest(brand, keys.Tombstone, &k.tombstones)}); err != nil {
				return nil, nil, fmt.Errorf("looking for tombstones: %w", err)
			}
			return k, out, nil
		}
		stmts = append(stmts, keys.Newest(brand, keys.Tombstone, &k.tombstones))
		collide(out, func(i int) bool { _, given := id(i); return given })
		newest := 0
		err = s.db.Snapshot(ctx, func(q db.Queryer) error {
			return q.Batch(ctx, append(stmts, keys.Newest(brand, keys.Index, &newest)))
		})
		if err != nil {
			return nil, nil, fmt.Errorf("finding customers by external id: %w", err)
		}
		if newest == k.index[0].Version {
			return k, out, nil
		}
	}
	return nil, nil, fmt.Errorf("finding customers by external id: %w", keys.ErrRotated)
}

// collide refuses the later of two things to write whose external ids have one index
// value: each id stands once in a write.
func collide(out []asked, given func(i int) bool) {
	seen := make(map[int64]bool, len(out))
	for i := range out {
		switch {
		case out[i].err != nil || !given(i):
		case seen[out[i].value]:
			out[i] = asked{value: out[i].value, err: errOtherExternal}
		default:
			seen[out[i].value] = true
		}
	}
}

// matches reports whether the customer really has the value that a search was for.
func (u *Unopened) matches(i int, f record.Field, value, country string) (bool, error) {
	want, err := record.Normalize(f, value, country)
	if err != nil {
		return false, err
	}
	var c record.Customer
	if err := u.rows[i].openProfile(u.brand, &c); err != nil {
		return false, err
	}
	got, err := record.Normalize(f, c.Get(f), c.Get(record.Country))
	return err == nil && got == want, nil
}

// Confirm drops the customers whom a search found by chance, so that only those who
// have the value are logged and shown. It tells nothing else of what it opens.
func (u *Unopened) Confirm(f record.Field, value, country string) error {
	kept := u.rows[:0]
	for i := range u.rows {
		ok, err := u.matches(i, f, value, country)
		if err != nil {
			return err
		}
		if ok {
			kept = append(kept, u.rows[i])
		}
	}
	u.rows = kept
	return nil
}

// FindExternals returns the customers of a brand who have one of some external ids. It does
// not say which. An id without a normal form is nobody's.
func (s *Store) FindExternals(ctx context.Context, brand record.BrandID, ids []string) (out []record.Ordinal, err error) {
	for some := range slices.Chunk(ids, findAtOnce) {
		found, err := s.findExternals(ctx, brand, some)
		for n := 1; errors.Is(err, keys.ErrRotated) && n < rotations; n++ {
			found, err = s.findExternals(ctx, brand, some)
		}
		if err != nil {
			return nil, fmt.Errorf("finding customers by external id: %w", err)
		}
		out = append(out, found...)
	}
	return out, nil
}

// findAtOnce is how many external ids one batch of FindExternals asks for.
const findAtOnce = 500

func (s *Store) findExternals(ctx context.Context, brand record.BrandID, ids []string) (out []record.Ordinal, err error) {
	k, err := s.brandKeys(ctx, brand)
	if err != nil {
		return nil, err
	}
	var stmts []db.Stmt
	for _, id := range ids {
		values, err := k.externals(id)
		if err != nil {
			continue
		}
		for _, v := range slices.Backward(values) { // as Lookup does: the old key first
			stmts = append(stmts, db.Stmt{SQL: sqlFindExternal, Args: []any{v}, Scan: func(r db.Row) error {
				var ord int64
				err := r.Scan(&ord)
				out = append(out, record.Ordinal(ord))
				return err
			}})
		}
	}
	newest := 0
	if err := s.db.Batch(ctx, append(stmts, keys.Newest(brand, keys.Index, &newest))); err != nil {
		return nil, err
	}
	if newest != k.index[0].Version {
		return nil, keys.ErrRotated // customers may have been moved to a key that was not asked under
	}
	return out, nil
}
