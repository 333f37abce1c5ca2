package seal

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// The prefixes of what stands for customers and purchases in an extract.
const (
	PseudonymPrefix = "ext_"
	purchasePrefix  = "buy_"
)

// Extract holds what belongs to one export alone: the pseudonyms of its customers, and
// the key under which the vault keeps whom it is for. All follows from the brand's
// export key and the export's id, and nothing of it is stored. So two extracts have no
// pseudonym in common, and whoever has the root key can say of a leaked row from which
// export it came, and whose it is.
type Extract struct {
	brand    record.BrandID
	id       string
	tokens   *tokenCipher // makes pseudonyms
	purchase []byte
	cohort   []byte
}

// EnsureExtracts makes the brand's export key where there is none.
func (s *Store) EnsureExtracts(ctx context.Context, brand record.BrandID) error {
	_, err := s.ring.Current(ctx, brand, keys.Export)
	if err == nil {
		return nil
	}
	return s.db.Tx(ctx, func(q db.Queryer) error {
		now, err := q.Now(ctx)
		if err == nil {
			_, err = s.ring.Ensure(ctx, q, brand, keys.Export, now)
		}
		return err
	})
}

// Extract returns what belongs to an export.
func (s *Store) Extract(ctx context.Context, brand record.BrandID, id string) (*Extract, error) {
	key, err := s.ring.Version(ctx, brand, keys.Export, 1)
	if err != nil {
		return nil, fmt.Errorf("reading the export key: %w", err)
	}
	own := derive(key.Bytes(), "cloakroom export 1\x00"+id)
	tokens, err := newTokenCipher(derive(own, "cloakroom extract pseudonyms 1"), 0, brand)
	if err != nil {
		return nil, err
	}
	tokens.prefix = PseudonymPrefix
	return &Extract{brand, id, tokens, derive(own, "cloakroom extract purchases 1"), derive(own, "cloakroom export cohort 1")}, nil
}

// Pseudonym stands for a customer in this export and nowhere else. It is made as a token
// is, under a key of the export's own.
func (x *Extract) Pseudonym(ord record.Ordinal) string { return x.tokens.encipher(ord) }

// Trace returns whom a pseudonym of this export stands for; false for any other text.
func (x *Extract) Trace(pseudonym string) (record.Ordinal, bool) {
	return x.tokens.decipher(pseudonym)
}

// Purchase stands for the number of a customer's purchase: the brand's own number would
// join any two files.
func (x *Extract) Purchase(ord record.Ordinal, id string) string {
	m := hmac.New(sha256.New, x.purchase)
	m.Write(binary.BigEndian.AppendUint32(nil, uint32(ord)))
	m.Write([]byte(id))
	return purchasePrefix + tokenEncoding.EncodeToString(m.Sum(nil)[:16])
}

// Shuffle returns the customers in an order that follows from the export alone, so that
// neither age nor origin shows in a customer's place in the file.
func (x *Extract) Shuffle(ords []record.Ordinal) []record.Ordinal {
	type placed struct {
		at  uint64
		ord record.Ordinal
	}
	list := make([]placed, len(ords))
	for i, ord := range ords {
		b := x.tokens.enciphered(ord)
		list[i] = placed{binary.BigEndian.Uint64(b[8:]), ord}
	}
	slices.SortFunc(list, func(a, b placed) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.ord, b.ord)) })
	out := make([]record.Ordinal, len(list))
	for i := range list {
		out[i] = list[i].ord
	}
	return out
}

func (x *Extract) aad(what string) []byte {
	b := append([]byte("cloakroom export record 1"), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(x.brand))
	return append(append(append(b, x.id...), 0), what...)
}

// Seal closes what the vault keeps of an export, such as whom it is for: in clear, the
// list beside its filter would say of each that they live in France.
func (x *Extract) Seal(what string, plain []byte) ([]byte, error) {
	return sealed(nil, x.cohort, plain, x.aad(what))
}

// Open opens what Seal closed; nothing stays nothing.
func (x *Extract) Open(what string, b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, nil
	}
	return opener.Open(x.cohort, b, x.aad(what))
}

// Filter says who is wanted. A condition that is not set is no condition.
type Filter struct {
	Countries     []string  // ISO 3166-1, one of them
	Regions       []string  // one of them, whatever the case
	CreatedFrom   string    // a day, inclusive
	CreatedBefore string    // a day, exclusive
	BoughtSince   time.Time // something was bought then or later
}

// Fields are the fields that the filter looks at.
func (f *Filter) Fields() record.FieldSet {
	var s record.FieldSet
	if len(f.Countries) > 0 {
		s = s.With(record.Country)
	}
	if len(f.Regions) > 0 {
		s = s.With(record.Region)
	}
	if f.CreatedFrom != "" || f.CreatedBefore != "" {
		s = s.With(record.CreatedAt)
	}
	if !f.BoughtSince.IsZero() {
		s = s.With(record.Purchases)
	}
	return s
}

func (f *Filter) meets(c *record.Customer, bought []record.Purchase) bool {
	created := c.Get(record.CreatedAt) // a day, or a time that begins with one
	switch {
	case len(f.Countries) > 0 && !slices.Contains(f.Countries, c.Get(record.Country)),
		len(f.Regions) > 0 && !slices.ContainsFunc(f.Regions, func(r string) bool { return strings.EqualFold(r, c.Get(record.Region)) }),
		(f.CreatedFrom != "" || f.CreatedBefore != "") && created == "",
		created < f.CreatedFrom,
		f.CreatedBefore != "" && created >= f.CreatedBefore:
		return false
	}
	return f.BoughtSince.IsZero() || slices.ContainsFunc(bought, func(p record.Purchase) bool { return !p.At.Before(f.BoughtSince) })
}

const sqlCohort = `SELECT ord FROM customers WHERE brand = $1 AND ord > $2 AND ord < $3 AND erased = 0 ORDER BY ord LIMIT $4`

// matchPiece is how many customers are opened at a time.
const matchPiece = 1000

// Match opens up to most customers of a brand after an ordinal and below bound, and
// returns those who meet the filter, and the last one looked at; 0 when there are no
// more. The receipt is of an export's entry that names the filter's fields. Nothing of
// a profile leaves but whether it meets the filter, and who does not is forgotten.
func (s *Store) Match(ctx context.Context, receipt ledger.Receipt, after, bound record.Ordinal, most int, f *Filter) ([]record.Ordinal, record.Ordinal, error) {
	if !receipt.Valid() || receipt.Kind() != entry.KindExport || f.Fields()&^receipt.Fields() != 0 {
		return nil, 0, ledger.ErrNotLogged
	}
	brand := receipt.Brand()
	var all []record.Ordinal
	err := s.db.Rows(ctx, func(r db.Row) error {
		var ord int64
		err := r.Scan(&ord)
		all = append(all, record.Ordinal(ord))
		return err
	}, sqlCohort, int64(brand), int64(after), int64(bound), int64(most))
	if err != nil {
		return nil, 0, fmt.Errorf("reading who there is: %w", err)
	}
	last := record.Ordinal(0)
	if len(all) == most {
		last = all[len(all)-1]
	}
	if f.Fields() == 0 {
		gone, err := s.gone(ctx, brand, all)
		return slices.DeleteFunc(all, func(ord record.Ordinal) bool { return slices.Contains(gone, ord) }), last, err
	}
	bought := f.Fields().Has(record.Purchases)
	product := s.products(ctx, brand)
	var out []record.Ordinal
	for piece := range slices.Chunk(all, matchPiece) {
		found, err := s.fetch(ctx, brand, piece, bought)
		if err != nil {
			return nil, 0, err
		}
		met := make([]bool, len(piece))
		err = share(len(piece), func(i int) error {
			r := found[piece[i]]
			if r == nil {
				return nil // erased meanwhile
			}
			var c record.Customer
			if err := r.openProfile(brand, &c); err != nil {
				return err
			}
			var ps []record.Purchase
			if bought {
				var err error
				if ps, err = r.openPurchases(brand, product); err != nil {
					return err
				}
			}
			met[i] = f.meets(&c, ps)
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		for i, ord := range piece {
			if met[i] {
				out = append(out, ord)
			}
		}
	}
	return out, last, nil
}

// There is Fetch for those of the customers that are still there.
func (s *Store) There(ctx context.Context, brand record.BrandID, ords []record.Ordinal, fields record.FieldSet) (*Unopened, error) {
	u := &Unopened{brand: brand}
	for piece := range slices.Chunk(ords, matchPiece) {
		found, err := s.fetch(ctx, brand, piece, fields.Has(record.Purchases))
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			u.rows = append(u.rows, *r)
		}
	}
	slices.SortFunc(u.rows, func(a, b rows) int { return cmp.Compare(a.ord, b.ord) })
	return u, nil
}

// Only returns those of the customers that were fetched, in the order given: to open a
// few at a time.
func (u *Unopened) Only(ords []record.Ordinal) *Unopened {
	out := &Unopened{brand: u.brand, rows: make([]rows, 0, len(ords))}
	for _, ord := range ords {
		i, ok := slices.BinarySearchFunc(u.rows, ord, func(r rows, o record.Ordinal) int { return cmp.Compare(r.ord, o) })
		if ok {
			out.rows = append(out.rows, u.rows[i])
		}
	}
	return out
}
