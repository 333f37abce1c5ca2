package seal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Sampled is one row of a list that somebody claims to have, as it was read: what it says
// of each field, and nothing where it says nothing.
type Sampled [record.NumColumns]string

// Compared is what a row of a sample is, held against the customers of a brand. It holds no
// value, neither of the row nor of the customer.
type Compared struct {
	// Ord is the customer; 0: the row is nobody's.
	Ord record.Ordinal
	// By are the fields that led to the customer.
	By record.FieldSet
	// Same are the fields with the value that the customer has now, Former those with one
	// that they had before, Other those with neither.
	Same, Former, Other record.FieldSet
	// Mixed: the row's identifiers are of several customers.
	Mixed bool
	// After and Before bound when the values of the row were all in force: those that the
	// vault keeps changes of. Zero is no bound.
	After, Before time.Time
}

const (
	sqlPostgresFindLookups = `SELECT value, ord FROM lookups WHERE value = ANY($1)`
	sqlFormerOf            = `SELECT ord, field, since, until, fingerprint FROM former_values WHERE ord = $1`
	sqlPostgresFormerOf    = `SELECT ord, field, since, until, fingerprint FROM former_values WHERE ord = ANY($1)`
)

// CompareAtOnce is how many rows of a sample are compared together.
const CompareAtOnce = 10_000

// asks are the fields by which a row of a sample finds its customer, the surest first.
var asks = [...]record.Field{record.ExternalID, record.Email, record.Phone}

// formerly is a value that a customer had, as it is kept.
type formerly struct {
	field        record.Field
	since, until int64
	fingerprint  int64
}

// Compare holds rows of a sample against the customers of a brand, given the receipt of the
// entry that counts every row. It opens the customers that the rows lead to, to compare,
// and gives nothing of them away.
func (s *Store) Compare(ctx context.Context, receipt ledger.Receipt, rows []Sampled) ([]Compared, error) {
	if !receipt.Valid() || receipt.Kind() != entry.KindClaim {
		return nil, ledger.ErrNotLogged
	}
	out := make([]Compared, 0, len(rows))
	for some := range slices.Chunk(rows, CompareAtOnce) {
		found, err := s.compare(ctx, receipt.Brand(), some)
		for n := 1; errors.Is(err, keys.ErrRotated) && n < rotations; n++ {
			found, err = s.compare(ctx, receipt.Brand(), some)
		}
		if err != nil {
			return nil, fmt.Errorf("comparing a sample: %w", err)
		}
		out = append(out, found...)
	}
	return out, nil
}

// indexAsk is a row that asks for an index value, by one of its fields.
type indexAsk struct {
	row   int
	field record.Field
}

func (s *Store) compare(ctx context.Context, brand record.BrandID, rows []Sampled) ([]Compared, error) {
	k, err := s.brandKeys(ctx, brand)
	if err != nil {
		return nil, err
	}
	external, lookup := map[int64][]indexAsk{}, map[int64][]indexAsk{}
	for i := range rows {
		for _, f := range asks {
			n, err := normalOf(&rows[i], f)
			if err != nil {
				continue // nobody has it
			}
			for j := range k.index {
				into := lookup
				if f == record.ExternalID {
					into = external
				}
				v := k.blind[f].index.of(n)
				if j > 0 {
					v = blind(k.index[j].Bytes(), indexLabel(f), n)
				}
				into[v] = append(into[v], indexAsk{i, f})
			}
		}
	}
	leads := make([]map[record.Ordinal]record.FieldSet, len(rows))
	lead := func(to []indexAsk, ord record.Ordinal) {
		for _, a := range to {
			if leads[a.row] == nil {
				leads[a.row] = map[record.Ordinal]record.FieldSet{}
			}
			if len(leads[a.row]) < MaxFound {
				leads[a.row][ord] = leads[a.row][ord].With(a.field)
			}
		}
	}
	newest := 0
	stmts := append(s.finds(external, sqlFindExternal, sqlPostgresFindExternals, lead), s.finds(lookup, sqlFindLookup, sqlPostgresFindLookups, lead)...)
	if err := s.db.Batch(ctx, append(stmts, keys.Newest(brand, keys.Index, &newest))); err != nil {
		return nil, err
	}
	if newest != k.index[0].Version {
		return nil, keys.ErrRotated // customers may have been moved to a key that was not asked under
	}
	var ords []record.Ordinal
	for _, l := range leads {
		for ord := range l {
			ords = append(ords, ord)
		}
	}
	slices.Sort(ords)
	ords = slices.Compact(ords)
	sealed, err := s.fetch(ctx, brand, ords, false)
	if err != nil {
		return nil, err
	}
	history, err := s.histories(ctx, ords)
	if err != nil {
		return nil, err
	}
	opened := make(map[record.Ordinal]*record.Customer, len(sealed))
	out := make([]Compared, len(rows))
	for i, l := range leads {
		x, all := &out[i], record.FieldSet(0)
		for ord, by := range l {
			r := sealed[ord]
			if r == nil {
				continue // an index can outlive an erasure
			}
			c := opened[ord]
			if c == nil {
				c = &record.Customer{}
				if err := r.openProfile(brand, c); err != nil {
					return nil, err
				}
				opened[ord] = c
			}
			if by = confirmed(&rows[i], c, by); by == 0 {
				continue // found by chance
			}
			all |= by
			if is, was := strength(by), strength(x.By); is > was || is == was && ord < x.Ord {
				x.Ord, x.By = ord, by
			}
		}
		if x.Ord != 0 {
			x.Mixed = all&^x.By != 0
			k.hold(x, &rows[i], opened[x.Ord], history[x.Ord])
		}
	}
	return out, nil
}

// strength orders what leads to a customer: the external id, the address, the number, and
// more of them before fewer.
func strength(by record.FieldSet) (n int) {
	for i, f := range asks {
		if by.Has(f) {
			n += 4 - i
		}
	}
	return n
}

// finds are the statements that look index values up.
func (s *Store) finds(of map[int64][]indexAsk, one, many string, lead func([]indexAsk, record.Ordinal)) (stmts []db.Stmt) {
	if len(of) == 0 {
		return nil
	}
	if s.db.Engine() == db.Postgres {
		values := make([]int64, 0, len(of))
		for v := range of {
			values = append(values, v)
		}
		return []db.Stmt{{SQL: many, Args: []any{values}, Scan: func(r db.Row) error {
			var v, ord int64
			err := r.Scan(&v, &ord)
			lead(of[v], record.Ordinal(ord))
			return err
		}}}
	}
	for v, to := range of {
		args := []any{v}
		if one == sqlFindLookup {
			args = append(args, MaxFound)
		}
		stmts = append(stmts, db.Stmt{SQL: one, Args: args, Scan: func(r db.Row) error {
			var ord int64
			err := r.Scan(&ord)
			lead(to, record.Ordinal(ord))
			return err
		}})
	}
	return stmts
}

// histories reads the former values of customers.
func (s *Store) histories(ctx context.Context, ords []record.Ordinal) (map[record.Ordinal][]formerly, error) {
	out := map[record.Ordinal][]formerly{}
	if len(ords) == 0 {
		return out, nil
	}
	scan := func(r db.Row) error {
		var ord, field int64
		var x formerly
		err := r.Scan(&ord, &field, &x.since, &x.until, &x.fingerprint)
		x.field = record.Field(field)
		out[record.Ordinal(ord)] = append(out[record.Ordinal(ord)], x)
		return err
	}
	var stmts []db.Stmt
	if s.db.Engine() == db.Postgres {
		list := make([]int64, len(ords))
		for i, ord := range ords {
			list[i] = int64(ord)
		}
		stmts = append(stmts, db.Stmt{SQL: sqlPostgresFormerOf, Args: []any{list}, Scan: scan})
	} else {
		for _, ord := range ords {
			stmts = append(stmts, db.Stmt{SQL: sqlFormerOf, Args: []any{int64(ord)}, Scan: scan})
		}
	}
	if err := s.db.Batch(ctx, stmts); err != nil {
		return nil, fmt.Errorf("reading former values: %w", err)
	}
	return out, nil
}

// normalOf is the normal form of what a row says of a field.
func normalOf(r *Sampled, f record.Field) (string, error) {
	v := strings.TrimSpace(r[f])
	if v == "" {
		return "", errNoValue
	}
	return record.Normalize(f, v, strings.ToUpper(strings.TrimSpace(r[record.Country])))
}

var errNoValue = fault.New(fault.Internal, "the row says nothing of this field")

// confirmed returns those of the fields in which the row has what the customer has.
func confirmed(r *Sampled, c *record.Customer, by record.FieldSet) (out record.FieldSet) {
	for _, f := range asks {
		if by.Has(f) && sameValue(r, c, f) {
			out = out.With(f)
		}
	}
	return out
}

// sameValue reports whether row and customer agree in a field, however it is spelt.
func sameValue(r *Sampled, c *record.Customer, f record.Field) bool {
	if r[f] == c.Get(f) {
		return true
	}
	want, err := normalOf(r, f)
	if err != nil {
		return false
	}
	got, err := record.Normalize(f, c.Get(f), c.Get(record.Country))
	return err == nil && got == want
}

// hold compares a row with the customer that it led to.
func (k *brandKeys) hold(x *Compared, r *Sampled, c *record.Customer, history []formerly) {
	var after, before int64
	for f := record.Field(0); f < record.NumColumns; f++ {
		v := strings.TrimSpace(r[f])
		if v == "" {
			continue
		}
		// A copy in another case still has the number, although it leads to nobody.
		if sameValue(r, c, f) || f == record.ExternalID && strings.EqualFold(v, c.Get(f)) {
			x.Same = x.Same.With(f)
			for _, h := range history {
				if h.field == f {
					after = max(after, h.until)
				}
			}
			continue
		}
		was := k.formerly(f, x.Ord, v, history)
		if was == nil {
			x.Other = x.Other.With(f)
			continue
		}
		x.Former = x.Former.With(f)
		after = max(after, was.since)
		if before == 0 || was.until < before {
			before = was.until
		}
	}
	if after > 0 {
		x.After = time.UnixMicro(after).UTC()
	}
	if before > 0 {
		x.Before = time.UnixMicro(before).UTC()
	}
}

// formerly returns which former value a row has, if it has one. The vault keeps a
// fingerprint of the value as it was written, so other spellings are tried beside.
func (k *brandKeys) formerly(f record.Field, ord record.Ordinal, v string, history []formerly) *formerly {
	var tried []int64
	for i := range history {
		if history[i].field != f {
			continue
		}
		if tried == nil {
			for _, as := range [...]string{v, strings.ToLower(v), cases.Title(language.Und).String(strings.ToLower(v))} {
				tried = append(tried, blind(k.history, formerLabel(f, ord), as))
			}
		}
		if slices.Contains(tried, history[i].fingerprint) {
			return &history[i]
		}
	}
	return nil
}

// Blur is by how much a figure about a set of customers is shifted where it is not to be
// told exactly: from -4 to 4, always the same for one set, so that asking again, or
// beside rows of strangers, does not average it out.
func (s *Store) Blur(ctx context.Context, brand record.BrandID, set *entry.Set) (int, error) {
	k, err := s.ring.Current(ctx, brand, keys.Index)
	if err != nil {
		return 0, fmt.Errorf("blurring a figure: %w", err)
	}
	sum := sha256.Sum256(set.Encode())
	return int(uint64(blind(k.Bytes(), "cloakroom claim blur 1", hex.EncodeToString(sum[:])))%9) - 4, nil
}
