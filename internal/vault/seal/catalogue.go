package seal

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
)

const (
	// catalogueBuyers is how many customers of one write must have bought a product
	// before it is catalogued. The catalogue outlives them, so what was written for
	// one customer, a name in a description, must stay in that customer's records.
	catalogueBuyers = 3
	// catalogueKept bounds the products held in memory, of all brands together.
	catalogueKept = 1 << 16
	// cataloguePage is how many products are read when one is missing.
	cataloguePage = 256
	// catalogueBatch is of how many products the catalogue is asked in one round trip.
	catalogueBatch = 256
	// catalogueAttempts bounds how often numbers are sought for new products while
	// other servers take the same ones.
	catalogueAttempts = 50
)

// product is what the catalogue holds of a product.
type product struct{ sku, description string }

// products looks a product of one brand up by its number.
type products func(id uint64) (sku, description string, err error)

// catalogue remembers products of the database. What it has is never wrong: a number
// always means the same product.
type catalogue struct {
	mu       sync.RWMutex
	numbers  map[brandProduct]uint64
	products map[brandNumber]product
}

type brandProduct struct {
	brand record.BrandID
	product
}

type brandNumber struct {
	brand record.BrandID
	id    uint64
}

func newCatalogue() *catalogue {
	return &catalogue{numbers: map[brandProduct]uint64{}, products: map[brandNumber]product{}}
}

func (c *catalogue) keep(brand record.BrandID, id uint64, p product) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p = product{strings.Clone(p.sku), strings.Clone(p.description)} // not the file that it was read from
	if len(c.products) >= catalogueKept {
		clear(c.products)
		clear(c.numbers)
	}
	c.products[brandNumber{brand, id}] = p
	c.numbers[brandProduct{brand, p}] = id
}

func (c *catalogue) get(brand record.BrandID, id uint64) (product, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	p, ok := c.products[brandNumber{brand, id}]
	return p, ok
}

const (
	sqlReadProducts   = `SELECT id, sealed FROM catalogue WHERE brand = $1 AND id >= $2 AND id < $3`
	sqlFindProduct    = `SELECT id, sealed FROM catalogue WHERE brand = $1 AND value = $2`
	sqlLastProduct    = `SELECT coalesce(max(id), 0) FROM catalogue WHERE brand = $1`
	sqlInsertProduct  = `INSERT INTO catalogue (brand, id, value, sealed) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`
	productKeyLabel   = "cloakroom catalogue key 1"
	productIndexLabel = "cloakroom catalogue index 1"
)

// products reads the catalogue through the memory.
func (s *Store) products(ctx context.Context, brand record.BrandID) products {
	return func(id uint64) (string, string, error) {
		if p, ok := s.catalogue.get(brand, id); ok {
			return p.sku, p.description, nil
		}
		first := id - id%cataloguePage
		var want *product
		var key []productKey
		err := s.db.Rows(ctx, func(r db.Row) error {
			var at uint64
			var b []byte
			err := r.Scan(&at, &b)
			if err != nil {
				return err
			}
			if key == nil {
				if key, err = s.productKeys(ctx, brand); err != nil {
					return err
				}
			}
			p, err := openProduct(key, brand, at, b)
			if err != nil {
				return err
			}
			s.catalogue.keep(brand, at, p)
			if at == id {
				want = &p
			}
			return nil
		}, sqlReadProducts, int64(brand), first, first+cataloguePage)
		if err != nil {
			return "", "", fmt.Errorf("reading the catalogue: %w", err)
		}
		if want == nil {
			return "", "", fmt.Errorf("a product is missing from the catalogue: %w", ErrDamaged)
		}
		return want.sku, want.description, nil
	}
}

// productKey is one version of a brand's catalogue key.
type productKey struct{ seal, index []byte }

// productKeys returns all versions, the current one first.
func (s *Store) productKeys(ctx context.Context, brand record.BrandID) ([]productKey, error) {
	k, err := s.ring.Current(ctx, brand, keys.Catalogue)
	if err != nil {
		return nil, err
	}
	var out []productKey
	for v := k.Version; ; v-- {
		out = append(out, productKey{derive(k.Bytes(), productKeyLabel), k.Bytes()})
		if v == 1 {
			return out, nil
		}
		if k, err = s.ring.Version(ctx, brand, keys.Catalogue, v-1); err != nil {
			return nil, err
		}
	}
}

// productPlace is the additional data of a product: which brand's, and its number.
func productPlace(brand record.BrandID, id uint64) []byte {
	b := append([]byte("cloakroom product 1"), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(brand))
	return binary.BigEndian.AppendUint64(b, id)
}

func openProduct(ks []productKey, brand record.BrandID, id uint64, b []byte) (product, error) {
	for _, k := range ks {
		plain, err := opener.Open(k.seal, b, productPlace(brand, id))
		if errors.Is(err, ErrDamaged) {
			continue // perhaps of another version of the key
		}
		var p product
		if err == nil {
			p.sku, p.description, err = record.DecodeProduct(plain)
		}
		if err != nil {
			return product{}, damaged(err)
		}
		return p, nil
	}
	return product{}, fmt.Errorf("product %d of the catalogue: %w", id, ErrDamaged)
}

// packer returns what packs the purchases of n customers. Products that enough of
// them bought are catalogued first: a number that is in a record is in the database.
func (s *Store) packer(ctx context.Context, brand record.BrandID, n int, of func(i int) []record.Purchase) (*packer, error) {
	pk := &packer{
		brand: brand, products: s.products(ctx, brand), known: map[product]uint64{},
		numbers: make([][]uint64, n), memory: &s.memories,
	}
	type tally struct {
		product
		number          uint64
		customers, last int
	}
	total, most := 0, 0
	for i := range n {
		total, most = total+len(of(i)), max(most, len(of(i)))
	}
	pk.created = make([]Outcome, most)
	var tallies []tally
	// Where each is in tallies: the first of a SKU, which nearly always is the only one, and
	// by themselves the others.
	first, at := map[string]int{}, map[product]int{}
	all := make([]uint64, 0, total)
	s.catalogue.mu.RLock()
	for i := range n {
		bought, from := of(i), len(all)
		for j := range bought {
			x := product{bought[j].SKU, bought[j].Description}
			k, seen := first[x.sku]
			if !seen {
				first[x.sku] = len(tallies)
			} else if tallies[k].description != x.description {
				if k, seen = at[x]; !seen {
					at[x] = len(tallies)
				}
			}
			if !seen {
				k = len(tallies)
				tallies = append(tallies, tally{product: x, number: s.catalogue.numbers[brandProduct{brand, x}]})
			}
			if t := &tallies[k]; !seen || t.last != i {
				t.customers, t.last = t.customers+1, i
			}
			all = append(all, uint64(k)) // its number when all have theirs
		}
		pk.numbers[i] = all[from:]
	}
	s.catalogue.mu.RUnlock()
	var wanted []product
	for _, t := range tallies {
		switch {
		case t.number != 0:
			pk.known[t.product] = t.number
		case t.customers >= catalogueBuyers && t.product != product{}:
			wanted = append(wanted, t.product)
		}
	}
	// In one order everywhere: who waits for another server's product holds none that
	// this one waits for.
	slices.SortFunc(wanted, func(a, b product) int {
		return cmp.Or(cmp.Compare(a.sku, b.sku), cmp.Compare(a.description, b.description))
	})
	if err := s.number(ctx, brand, wanted, pk.known); err != nil {
		return nil, fmt.Errorf("cataloguing products: %w", err)
	}
	for k := range tallies {
		tallies[k].number = pk.known[tallies[k].product]
	}
	for j, k := range all {
		all[j] = tallies[k].number
	}
	return pk, nil
}

// number finds the numbers of products, and gives numbers to those that have none.
// One whose index falls together with another product's stays without.
func (s *Store) number(ctx context.Context, brand record.BrandID, wanted []product, known map[product]uint64) error {
	if len(wanted) == 0 {
		return nil
	}
	ks, err := s.productKeys(ctx, brand)
	if err != nil {
		return err
	}
	aead, err := opener.GCM(ks[0].seal)
	if err != nil {
		return err
	}
	index := newBlinder(ks[0].index, productIndexLabel)
	for range catalogueAttempts {
		var missing []product
		for some := range slices.Chunk(wanted, catalogueBatch) {
			rest, err := s.findProducts(ctx, brand, some, ks, index, known)
			if err != nil {
				return err
			}
			missing = append(missing, rest...)
		}
		if wanted = missing; len(wanted) == 0 {
			return nil
		}
		err := s.db.Tx(ctx, func(q db.Queryer) error {
			var last uint64
			if err := q.Row(ctx, sqlLastProduct, int64(brand)).Scan(&last); err != nil {
				return err
			}
			stmts := make([]db.Stmt, len(wanted))
			for i, x := range wanted {
				id, plain := last+1+uint64(i), record.AppendProduct(nil, x.sku, x.description)
				stmts[i] = db.Stmt{SQL: sqlInsertProduct, Args: []any{int64(brand), id, index.of(string(plain)), closed(aead, nil, plain, productPlace(brand, id))}}
			}
			return q.Batch(ctx, stmts)
		})
		if err != nil {
			return err
		}
	}
	return errors.New("other servers catalogue products without end: try again")
}

// findProducts notes the numbers of those products that have one, and returns the rest.
func (s *Store) findProducts(ctx context.Context, brand record.BrandID, wanted []product, ks []productKey, index *blinder, known map[product]uint64) (missing []product, err error) {
	stmts := make([]db.Stmt, len(wanted))
	there := make([]bool, len(wanted))
	for i, x := range wanted {
		stmts[i] = db.Stmt{SQL: sqlFindProduct, Args: []any{int64(brand), index.of(string(record.AppendProduct(nil, x.sku, x.description)))}, Scan: func(r db.Row) error {
			var id uint64
			var b []byte
			err := r.Scan(&id, &b)
			if err != nil {
				return err
			}
			got, err := openProduct(ks, brand, id, b)
			if err != nil {
				return err
			}
			if there[i] = true; got == x {
				s.catalogue.keep(brand, id, x)
				known[x] = id
			}
			return nil
		}}
	}
	if err := s.db.Batch(ctx, stmts); err != nil {
		return nil, err
	}
	for i, x := range wanted {
		if !there[i] {
			missing = append(missing, x)
		}
	}
	return missing, nil
}
