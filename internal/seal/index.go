package seal

import (
	"context"
	"crypto/cipher"
	"fmt"

	"github.com/cloakroom/cloakroom/internal/db"
	"github.com/cloakroom/cloakroom/internal/keys"
	"github.com/cloakroom/cloakroom/internal/record"
)

// brandKeys are the keys that writing and searching need.
type brandKeys struct {
	kek      keys.Key
	index    []byte
	history  []byte
	incident []byte // the group's: one person in several brands

	wrap  cipher.AEAD // under kek
	blind map[record.Field]blinders
}

// blinders make the indexes of one field.
type blinders struct{ index, incident *blinder }

func (s *Store) brandKeys(ctx context.Context, brand record.BrandID) (*brandKeys, error) {
	var out brandKeys
	var err error
	if out.kek, err = s.ring.Current(ctx, brand, keys.KEK); err != nil {
		return nil, err
	}
	for _, k := range []struct {
		brand record.BrandID
		kind  keys.Kind
		into  *[]byte
	}{{brand, keys.Index, &out.index}, {brand, keys.History, &out.history}, {record.Group, keys.Incident, &out.incident}} {
		key, err := s.ring.Current(ctx, k.brand, k.kind)
		if err != nil {
			return nil, err
		}
		*k.into = key.Bytes()
	}
	if out.wrap, err = gcm(out.kek.Bytes()); err != nil {
		return nil, err
	}
	out.blind = map[record.Field]blinders{record.ExternalID: {index: newBlinder(out.index, indexLabel(record.ExternalID))}}
	for _, f := range searchable() {
		out.blind[f] = blinders{newBlinder(out.index, indexLabel(f)), newBlinder(out.incident, indexLabel(f))}
	}
	return &out, nil
}

// searchable are the columns with a blind index in lookups. The external id has one
// in externals, where it is unique.
func searchable() []record.Field { return []record.Field{record.Email, record.Phone} }

// lookups returns the index values of a customer. A value without a normal form is
// kept and cannot be searched for.
func (k *brandKeys) lookups(c *record.Customer) map[int64]bool {
	out := map[int64]bool{}
	for _, f := range searchable() {
		if c.Get(f) == "" {
			continue
		}
		n, err := record.Normalize(f, c.Get(f), c.Get(record.Country))
		if err != nil {
			continue
		}
		b := k.blind[f]
		out[b.index.of(n)] = true
		out[b.incident.of(n)] = true
	}
	return out
}

func (k *brandKeys) external(id string) (int64, error) {
	n, err := record.NormalExternalID(id)
	if err != nil {
		return 0, err
	}
	return k.blind[record.ExternalID].index.of(n), nil
}

const (
	sqlFindExternal = `SELECT ord FROM externals WHERE value = $1`
	sqlFindLookup   = `SELECT ord FROM lookups WHERE value = $1 ORDER BY ord LIMIT $2`
)

// MaxFound bounds the customers that one search finds.
const MaxFound = 100

// Lookup returns the customers who may have a value: external id, e-mail or phone.
// Drop those who do not with Unopened.Confirm. The country serves phone numbers
// written without theirs. A value without a normal form is an error of record.
func (s *Store) Lookup(ctx context.Context, brand record.BrandID, f record.Field, value, country string) ([]record.Ordinal, error) {
	n, err := record.Normalize(f, value, country)
	if err != nil {
		return nil, err
	}
	key, err := s.ring.Current(ctx, brand, keys.Index)
	if err != nil {
		return nil, fmt.Errorf("searching: %w", err)
	}
	var out []record.Ordinal
	scan := func(r db.Row) error {
		var ord int64
		err := r.Scan(&ord)
		out = append(out, record.Ordinal(ord))
		return err
	}
	v := blind(key.Bytes(), indexLabel(f), n)
	if f == record.ExternalID {
		err = s.db.Rows(ctx, scan, sqlFindExternal, v)
	} else {
		err = s.db.Rows(ctx, scan, sqlFindLookup, v, MaxFound)
	}
	if err != nil {
		return nil, fmt.Errorf("searching: %w", err)
	}
	return out, nil
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
