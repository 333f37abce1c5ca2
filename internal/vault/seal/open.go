package seal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// rows are one customer's sealed rows.
type rows struct {
	ord      record.Ordinal
	kek      int
	wrapped  []byte
	secret   secret // of wrapped
	version  uint64
	epoch    uint32
	segments int
	profile  []byte
	packed   [][]byte // the segments in order; read if purchases were asked for
}

// Unopened are sealed rows of customers of one brand. It gives no value away.
type Unopened struct {
	brand record.BrandID
	rows  []rows
}

// Ords are the customers, ascending.
func (u *Unopened) Ords() []record.Ordinal {
	out := make([]record.Ordinal, len(u.rows))
	for i := range u.rows {
		out[i] = u.rows[i].ord
	}
	return out
}

// Commitment returns a ledger.Commit for entries over these fields.
func (u *Unopened) Commitment(fields record.FieldSet) ledger.Commit {
	return func(i int, c entry.Committed) [32]byte {
		c.Fields = fields
		return entry.Commitment(u.rows[i].secret.logKey(), c)
	}
}

// Fetch reads the sealed rows of customers, in one state of the database. One that
// is not there is a *TokenError with its index; nothing is returned then.
func (s *Store) Fetch(ctx context.Context, brand record.BrandID, ords []record.Ordinal, fields record.FieldSet) (*Unopened, error) {
	u := &Unopened{brand: brand}
	found, err := s.fetch(ctx, brand, ords, fields.Has(record.Purchases))
	if err != nil {
		return nil, err
	}
	for i, ord := range ords {
		r, ok := found[ord]
		if !ok {
			return nil, &TokenError{i}
		}
		u.rows = append(u.rows, *r)
	}
	slices.SortFunc(u.rows, func(a, b rows) int { return int(int64(a.ord) - int64(b.ord)) })
	u.rows = slices.CompactFunc(u.rows, func(a, b rows) bool { return a.ord == b.ord })
	return u, nil
}

// fetch reads those of the customers that there are: in the database, and by the log.
func (s *Store) fetch(ctx context.Context, brand record.BrandID, ords []record.Ordinal, purchases bool) (map[record.Ordinal]*rows, error) {
	out, err := s.fetchAny(ctx, brand, ords, purchases)
	if err != nil || len(out) == 0 {
		return out, err
	}
	gone, err := s.gone(ctx, brand, slices.Collect(maps.Keys(out)))
	for _, ord := range gone {
		delete(out, ord)
	}
	return out, err
}

// gone returns those of some customers whose rows stand for nobody.
func (s *Store) gone(ctx context.Context, brand record.BrandID, ords []record.Ordinal) ([]record.Ordinal, error) {
	if s.Gone == nil {
		return nil, nil
	}
	gone, err := s.Gone(ctx, brand, ords)
	if err != nil {
		return nil, fmt.Errorf("asking the log who is erased: %w", err)
	}
	return gone, nil
}

// fetchAny is fetch for the steps of an erasure, and for proofs about others: it reads
// whatever rows there are.
func (s *Store) fetchAny(ctx context.Context, brand record.BrandID, ords []record.Ordinal, purchases bool) (map[record.Ordinal]*rows, error) {
	read := s.fetchSQLite
	if s.db.Engine() == db.Postgres {
		read = s.fetchPostgres
	}
	out, err := read(ctx, brand, ords, purchases)
	if err != nil {
		return nil, fmt.Errorf("reading sealed records: %w", err)
	}
	u := unwrapper{s: s, brand: brand}
	for ord, r := range out {
		if r.secret, err = u.unwrap(ctx, ord, r.kek, r.wrapped); err != nil {
			return nil, err
		}
		if purchases && len(r.packed) != r.segments {
			return nil, fmt.Errorf("a segment of purchases is missing or too many: %w", ErrDamaged)
		}
	}
	return out, nil
}

func (r *rows) openProfile(brand record.BrandID, into *record.Customer) error {
	plain, err := opener.Open(r.secret.dek(), r.profile, place(brand, r.ord, profileRecord, r.version))
	if err == nil {
		err = record.DecodeCustomer(plain, into)
	}
	if err != nil {
		return fmt.Errorf("%s record: %w", profileRecord, damaged(err))
	}
	return nil
}

func (r *rows) openPurchases(brand record.BrandID, product products) ([]record.Purchase, error) {
	var out []record.Purchase
	dek := r.secret.dek()
	for i, b := range r.packed {
		plain, err := opener.Open(dek, b, place(brand, r.ord, purchaseRecord, segmentNumber(r.epoch, i)))
		var ps []record.Purchase
		if err == nil {
			ps, err = record.DecodePurchases(plain, product)
		}
		if err != nil {
			return nil, fmt.Errorf("%s record: %w", purchaseRecord, damaged(err))
		}
		out = append(out, ps...)
	}
	return out, nil
}

func damaged(err error) error {
	if errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// Profile is an opened customer, limited to what the receipt released.
type Profile struct {
	ord       record.Ordinal
	token     string
	fields    record.FieldSet
	customer  record.Customer
	purchases []record.Purchase
}

// Ord is the customer's ordinal.
func (p *Profile) Ord() record.Ordinal { return p.ord }

// Token is the customer's token.
func (p *Profile) Token() string { return p.token }

// Value returns a column, or nothing if the receipt does not cover it.
func (p *Profile) Value(f record.Field) string {
	if !p.fields.Has(f) {
		return ""
	}
	return p.customer.Get(f)
}

// Attributes returns the attributes, or nothing if the receipt does not cover them.
func (p *Profile) Attributes() map[string]string {
	if !p.fields.Has(record.Attributes) {
		return nil
	}
	return maps.Clone(p.customer.Attributes)
}

// Purchases returns the purchases in the order they were kept, or nothing if the
// receipt does not cover them.
func (p *Profile) Purchases() []record.Purchase {
	if !p.fields.Has(record.Purchases) {
		return nil
	}
	return p.purchases
}

// Open opens what was fetched, with the receipt of the entry that says so: for
// another brand, or a customer that the entry does not name, it is
// ledger.ErrNotLogged. The permit is what keeps everybody but disclose from it.
func (s *Store) Open(ctx context.Context, by opener.Permit, receipt ledger.Receipt, u *Unopened) ([]Profile, error) {
	if !by.Valid() || !receipt.Valid() || receipt.Brand() != u.brand {
		return nil, ledger.ErrNotLogged
	}
	fields := receipt.Fields()
	tokens, err := s.tokens(ctx, u.brand)
	if err != nil {
		return nil, fmt.Errorf("making tokens: %w", err)
	}
	product := s.products(ctx, u.brand)
	out := make([]Profile, len(u.rows))
	err = share(len(u.rows), func(i int) error {
		r := &u.rows[i]
		if !receipt.Covers(r.ord) {
			return ledger.ErrNotLogged
		}
		p := &out[i]
		p.ord, p.fields = r.ord, fields
		p.token = tokens.encipher(r.ord)
		if err := r.openProfile(u.brand, &p.customer); err != nil {
			return err
		}
		if !fields.Has(record.Purchases) {
			return nil
		}
		if len(r.packed) != r.segments {
			return errors.New("purchases were not fetched")
		}
		var err error
		p.purchases, err = r.openPurchases(u.brand, product)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// LogKeys returns the log keys of those of the customers that there are, to prove
// what entries say of them. Those whose erasure cools are among them: others' proofs need
// them until the key is destroyed.
func (s *Store) LogKeys(ctx context.Context, brand record.BrandID, ords []record.Ordinal) (map[record.Ordinal][]byte, error) {
	found, err := s.fetchAny(ctx, brand, ords, false)
	if err != nil {
		return nil, err
	}
	out := make(map[record.Ordinal][]byte, len(found))
	for ord, r := range found {
		out[ord] = r.secret.logKey()
	}
	return out, s.laidLogKeys(ctx, brand, ords, out)
}
