package seal

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// A customer whose erasure has begun has no row in customer_keys: whatever reads, finds or
// counts customers joins that table, and so misses them. Their key lies in cooling, wrapped
// in a place of its own: moved back by hand it does not open. Their sealed records stay
// where they are, dead without the key, and their index values are gone.
const (
	sqlLayAside      = `INSERT INTO cooling (ord, brand, kek, version, epoch, segments, wrapped, entry, begun, due, asked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`
	sqlHideCustomer  = `UPDATE customers SET erased = $2 WHERE ord = $1`
	sqlReadLaid      = `SELECT c.kek, c.version, c.epoch, c.segments, c.wrapped, c.entry, c.begun, c.due, c.asked, p.sealed FROM cooling c JOIN customers p ON p.ord = c.ord WHERE c.ord = $1 AND c.brand = $2`
	sqlEndLaid       = `DELETE FROM cooling WHERE ord = $1 AND entry = $2`
	sqlEmptyCustomer = `UPDATE customers SET sealed = NULL, bought = NULL, erased = $2 WHERE ord = $1`
	sqlShowCustomer  = `UPDATE customers SET erased = 0 WHERE ord = $1`
	sqlBackSecret    = `INSERT INTO customer_keys (ord, brand, kek, version, epoch, segments, wrapped) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	sqlNoteTakeBack  = `INSERT INTO take_backs (value, ord) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	sqlFindTakeBack  = `SELECT ord FROM take_backs WHERE value = $1`
	sqlDropTakeBack  = `DELETE FROM take_backs WHERE ord = $1`
	sqlListCooling   = `SELECT ord, brand, entry, begun, due, asked FROM cooling WHERE brand = $1 AND ord > $2 ORDER BY ord LIMIT $3`
	sqlCoolingDue    = `SELECT ord, brand, entry, begun, due, asked FROM cooling WHERE due <= $1 AND (due, ord) > ($2, $3) ORDER BY due, ord LIMIT $4`
	sqlCountCooling  = `SELECT count(*), coalesce(min(due), 0) FROM cooling WHERE brand = $1`
	sqlCountGone     = `SELECT count(*), coalesce(min(erased), 0) FROM customers WHERE brand = $1 AND erased > $2 AND sealed IS NULL`
	sqlCoolingBelow  = `SELECT ord, kek, wrapped FROM cooling WHERE brand = $1 AND kek < $2 AND ord > $3 ORDER BY ord LIMIT $4`
	sqlRewrapCooling = `UPDATE cooling SET kek = $2, wrapped = $3 WHERE ord = $1 AND wrapped = $4`
	sqlCountOldLaid  = `SELECT count(*) FROM cooling WHERE brand = $1 AND kek < $2`
	sqlReadLaidKey   = `SELECT kek, wrapped FROM cooling WHERE ord = $1 AND brand = $2`
)

var (
	// ErrTaken is returned where an erasure cannot be taken back because the customer's
	// external id is another customer's by now.
	ErrTaken = fault.New(fault.Conflict, "another customer has this external id by now: change theirs first, or let the erasure go on")
	// ErrAsked is returned where staff would take back what a customer asked for.
	ErrAsked = fault.New(fault.Denied, "the customer asked for this erasure: they alone take it back, with the code that they were sent and their address")
	// ErrNoTakeBack is one answer for a wrong code, a wrong address and an erasure that
	// cannot be taken back any more.
	ErrNoTakeBack = fault.New(fault.NotFound, "no erasure can be taken back with this code and address: check both; after the cooling time nothing can")
)

// Cooling is an erasure that has begun and whose key is not destroyed yet.
type Cooling struct {
	Brand record.BrandID
	Ord   record.Ordinal
	Entry uint64 // that began it
	Begun time.Time
	Due   time.Time
	Asked bool // by the customer, who alone takes it back
}

func scanCooling(r db.Row) (c Cooling, err error) {
	var ord, brand, index, begun, due, asked int64
	err = r.Scan(&ord, &brand, &index, &begun, &due, &asked)
	return Cooling{record.BrandID(brand), record.Ordinal(ord), uint64(index), time.UnixMicro(begun).UTC(), time.UnixMicro(due).UTC(), asked != 0}, err
}

func laidPlace(brand record.BrandID, ord record.Ordinal, kek int) []byte {
	b := append([]byte("cloakroom key laid aside 1"), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(brand))
	b = binary.BigEndian.AppendUint32(b, uint32(ord))
	return binary.BigEndian.AppendUint32(b, uint32(kek))
}

// laid is a customer whose key lies aside.
type laid struct {
	rows
	Cooling
}

// Laid is a customer whose erasure is cooling, to be taken back. It shows nothing of them.
type Laid struct{ *laid }

// Ords is the customer.
func (l Laid) Ords() []record.Ordinal { return []record.Ordinal{l.rows.ord} }

// Commitment is that of entries about the customer.
func (l Laid) Commitment() ledger.Commit {
	return func(_ int, c entry.Committed) [32]byte { return entry.Commitment(l.secret.logKey(), c) }
}

// laid reads a customer whose key lies aside, ErrNoCustomer if there is none.
func (s *Store) laid(ctx context.Context, brand record.BrandID, ord record.Ordinal) (*laid, error) {
	l := &laid{rows: rows{ord: ord}, Cooling: Cooling{Brand: brand, Ord: ord}}
	var index, begun, due, asked int64
	err := s.db.Row(ctx, sqlReadLaid, int64(ord), int64(brand)).Scan(&l.kek, &l.version, &l.epoch, &l.segments, &l.wrapped, &index, &begun, &due, &asked, &l.profile)
	if errors.Is(err, db.ErrNoRows) {
		return nil, ErrNoCustomer
	}
	if err != nil {
		return nil, fmt.Errorf("reading a key that lies aside: %w", err)
	}
	l.Entry, l.Begun, l.Due, l.Asked = uint64(index), time.UnixMicro(begun).UTC(), time.UnixMicro(due).UTC(), asked != 0
	l.secret, err = s.unlay(ctx, brand, ord, l.kek, l.wrapped)
	return l, err
}

// unlay opens a key that lies aside.
func (s *Store) unlay(ctx context.Context, brand record.BrandID, ord record.Ordinal, kek int, wrapped []byte) (secret, error) {
	key, err := s.ring.Version(ctx, brand, keys.KEK, kek)
	if errors.Is(err, keys.ErrNoKey) { // it was wrapped under a newer one since it was read
		if err := s.db.Row(ctx, sqlReadLaidKey, int64(ord), int64(brand)).Scan(&kek, &wrapped); errors.Is(err, db.ErrNoRows) {
			return secret{}, ErrNoCustomer
		} else if err != nil {
			return secret{}, fmt.Errorf("reading a key that lies aside: %w", err)
		}
		key, err = s.ring.Version(ctx, brand, keys.KEK, kek)
	}
	if err != nil {
		return secret{}, fmt.Errorf("opening a key that lies aside: %w", err)
	}
	plain, err := opener.Open(key.Bytes(), wrapped, laidPlace(brand, ord, kek))
	if err == nil && len(plain) != keyBytes {
		err = ErrDamaged
	}
	if err != nil {
		return secret{}, fmt.Errorf("opening a key that lies aside: %w", err)
	}
	return secret(plain), nil
}

// laidLogKeys adds the log keys of those whose keys lie aside to those that out has.
func (s *Store) laidLogKeys(ctx context.Context, brand record.BrandID, ords []record.Ordinal, out map[record.Ordinal][]byte) error {
	missing := slices.DeleteFunc(slices.Clone(ords), func(ord record.Ordinal) bool { return out[ord] != nil })
	type row struct {
		ord     record.Ordinal
		kek     int
		wrapped []byte
	}
	for some := range slices.Chunk(missing, presentPiece) {
		var found []row
		var stmts []db.Stmt
		for _, ord := range some {
			stmts = append(stmts, db.Stmt{SQL: sqlReadLaidKey, Args: []any{int64(ord), int64(brand)}, Scan: func(r db.Row) error {
				x := row{ord: ord}
				err := r.Scan(&x.kek, &x.wrapped)
				x.wrapped = slices.Clone(x.wrapped)
				found = append(found, x)
				return err
			}})
		}
		if err := s.db.Batch(ctx, stmts); err != nil {
			return fmt.Errorf("reading keys that lie aside: %w", err)
		}
		for _, x := range found {
			key, err := s.unlay(ctx, brand, x.ord, x.kek, x.wrapped)
			if errors.Is(err, ErrNoCustomer) {
				continue
			}
			if err != nil {
				return err
			}
			out[x.ord] = key.logKey()
		}
	}
	return nil
}

// CodeLetters is how long a take-back code is: 120 bits.
const CodeLetters = 24

var codeEncoding = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

// NewCode makes a code that takes one erasure back, in groups that can be read aloud.
func NewCode() string {
	var b [CodeLetters * 5 / 8]byte
	rand.Read(b[:])
	text := codeEncoding.EncodeToString(b[:])
	var groups []string
	for part := range slices.Chunk([]byte(text), 4) {
		groups = append(groups, string(part))
	}
	return strings.Join(groups, "-")
}

// plainCode is a code as it was made, however it was typed.
func plainCode(code string) string {
	return strings.Map(func(c rune) rune {
		if c == '-' || c == ' ' {
			return -1
		}
		return c
	}, strings.ToLower(code))
}

// takeBack is what a code and an address make. The code is a key of 120 bits, so that
// nobody finds it by trying, with the database and every key of the vault.
func takeBack(brand record.BrandID, code string, f record.Field, normal string) []byte {
	h := hmac.New(sha256.New, []byte(plainCode(code)))
	h.Write(binary.BigEndian.AppendUint16([]byte("cloakroom take-back 1\x00"), uint16(brand)))
	fmt.Fprintf(h, "\x00%s\x00%s", f, normal)
	return h.Sum(nil)
}

// addressed are the fields by which a customer can be written to, and which stand for
// "the address" when an erasure is taken back.
func addressed() []record.Field { return []record.Field{record.Email, record.Phone, record.PostalCode} }

// normalAddress is a field's value as it is compared.
func normalAddress(f record.Field, value, country string) (string, error) {
	n, err := record.Normalize(f, value, country)
	if f == record.PostalCode {
		n = plainCode(n)
	}
	return n, err
}

// LayAside begins the erasure of a customer: from its commit on nobody reads, finds or
// counts them. With a code, the customer alone takes it back, with the code and an address.
// The receipt is of the entry that begins it. ended runs inside the transaction.
func (s *Store) LayAside(ctx context.Context, receipt ledger.Receipt, ord record.Ordinal, due time.Time, code string, ended func(ctx context.Context, q db.Queryer) error) error {
	if !receipt.Recorded(ord) || receipt.Kind() != entry.KindErasureBegun {
		return ledger.ErrNotLogged
	}
	brand := receipt.Brand()
	k, err := s.brandKeys(ctx, brand)
	if err != nil {
		return err
	}
	found, err := s.fetchAny(ctx, brand, []record.Ordinal{ord}, false)
	if err != nil {
		return err
	}
	r := found[ord]
	if r == nil {
		return ErrNoCustomer
	}
	wrapped, err := sealed(nil, k.kek.Bytes(), r.secret[:], laidPlace(brand, ord, k.kek.Version))
	if err != nil {
		return fmt.Errorf("laying a key aside: %w", err)
	}
	asked := int64(0)
	if code != "" {
		asked = 1
	}
	c, stmts, err := k.unindex(brand, r)
	if err != nil {
		return err
	}
	add := func(sql string, args ...any) { stmts = append(stmts, db.Stmt{SQL: sql, Args: args}) }
	var kek int
	var laid []byte
	switch err := s.db.Row(ctx, sqlReadLaidKey, int64(ord), int64(brand)).Scan(&kek, &laid); {
	case err == nil: // it lies aside already, and somebody has put rows back
		code = ""
	case !errors.Is(err, db.ErrNoRows):
		return fmt.Errorf("looking for a key that lies aside: %w", err)
	default:
		add(sqlLayAside, int64(ord), int64(brand), k.kek.Version, r.version, r.epoch, r.segments, wrapped, receipt.Entry(), receipt.At().UnixMicro(), due.UnixMicro(), asked)
	}
	add(sqlHideCustomer, int64(ord), receipt.At().UnixMicro())
	add(sqlDropWithheldOf, int64(ord), int64(brand))
	stones, err := s.bury(ctx, brand, c, ord, due)
	if err != nil {
		return err
	}
	stmts = append(stmts, stones...)
	if code != "" && c != nil {
		for _, f := range addressed() {
			if n, err := normalAddress(f, c.Get(f), c.Get(record.Country)); err == nil && c.Get(f) != "" {
				add(sqlNoteTakeBack, takeBack(brand, code, f, n), int64(ord))
			}
		}
	}
	err = s.db.Tx(ctx, func(q db.Queryer) error {
		if err := s.hold(ctx, q, append(k.indexUses(), keys.Use{Brand: brand, Kind: keys.KEK, Version: k.kek.Version})); err != nil {
			return err
		}
		if err := changeOne(ctx, q, sqlEraseSecret, int64(ord), int64(r.version)); err != nil {
			return err
		}
		if err := q.Batch(ctx, stmts); err != nil {
			return err
		}
		return ended(ctx, q)
	})
	if err != nil {
		return fmt.Errorf("laying a customer's key aside: %w", err)
	}
	return nil
}

// destroy ends an erasure that has cooled.
func (s *Store) destroy(ctx context.Context, receipt ledger.Receipt, ord record.Ordinal, keep func(ctx context.Context, q db.Queryer, logKey []byte) error) error {
	brand := receipt.Brand()
	l, err := s.laid(ctx, brand, ord)
	if err != nil {
		return err
	}
	stones, err := s.remain(ctx, brand, l, receipt.At())
	if err != nil {
		return err
	}
	err = s.db.Tx(ctx, func(q db.Queryer) error {
		if err := keep(ctx, q, l.secret.logKey()); err != nil {
			return err
		}
		if err := changeOne(ctx, q, sqlEndLaid, int64(ord), l.Entry); err != nil {
			return err
		}
		return q.Batch(ctx, append([]db.Stmt{
			{SQL: sqlDropTakeBack, Args: []any{int64(ord)}},
			{SQL: sqlClearSegments, Args: []any{int64(ord)}},
			{SQL: sqlEraseFormer, Args: []any{int64(ord)}},
			{SQL: sqlEmptyCustomer, Args: []any{int64(ord), receipt.At().UnixMicro()}},
		}, stones...))
	})
	if err != nil {
		return fmt.Errorf("destroying a key that lay aside: %w", err)
	}
	return nil
}

// remain returns the statements by which the tombstones of a customer stay without their
// ordinal. Those of one whose profile does not open any more stay as they are.
func (s *Store) remain(ctx context.Context, brand record.BrandID, l *laid, at time.Time) ([]db.Stmt, error) {
	var c record.Customer
	switch err := l.openProfile(brand, &c); {
	case errors.Is(err, ErrDamaged):
		return nil, nil
	case err != nil:
		return nil, err
	}
	stones, err := s.bury(ctx, brand, &c, 0, at)
	return append([]db.Stmt{{SQL: sqlUnbury, Args: []any{int64(l.rows.ord), int64(brand)}}}, stones...), err
}

// Laid returns a customer whose erasure is cooling. It is ErrNoCustomer for anybody else.
func (s *Store) Laid(ctx context.Context, brand record.BrandID, ord record.Ordinal) (Laid, error) {
	l, err := s.laid(ctx, brand, ord)
	return Laid{l}, err
}

// FindTakeBack returns the customer whose erasure a code and an address take back: an
// e-mail address, a phone number or a postal code. The country serves numbers without
// theirs. Whatever is wrong, it is ErrNoTakeBack.
func (s *Store) FindTakeBack(ctx context.Context, brand record.BrandID, code, address, country string) (record.Ordinal, error) {
	found := record.Ordinal(0)
	var stmts []db.Stmt
	for _, f := range addressed() {
		n, err := normalAddress(f, address, country)
		if err != nil {
			n = "" // asked all the same: every answer takes as long
		}
		stmts = append(stmts, db.Stmt{SQL: sqlFindTakeBack, Args: []any{takeBack(brand, code, f, n)}, Scan: func(r db.Row) error {
			var ord int64
			err := r.Scan(&ord)
			found = record.Ordinal(ord)
			return err
		}})
	}
	if err := s.db.Batch(ctx, stmts); err != nil {
		return 0, fmt.Errorf("looking for an erasure to take back: %w", err)
	}
	if found == 0 {
		return 0, ErrNoTakeBack
	}
	return found, nil
}

// Untaken returns ErrTaken where another customer has the external id of one whose erasure
// is to be taken back.
func (s *Store) Untaken(ctx context.Context, l Laid) error {
	k, err := s.brandKeys(ctx, l.Brand)
	if err != nil {
		return err
	}
	var c record.Customer
	if err := l.openProfile(l.Brand, &c); err != nil {
		return err
	}
	values, err := k.externals(c.Get(record.ExternalID))
	if err != nil {
		return err
	}
	taken := false
	var stmts []db.Stmt
	for _, v := range values {
		stmts = append(stmts, db.Stmt{SQL: sqlFindExternal, Args: []any{v}, Scan: func(r db.Row) error {
			var ord int64
			err := r.Scan(&ord)
			taken = taken || record.Ordinal(ord) != l.Ord
			return err
		}})
	}
	if err := s.db.Batch(ctx, stmts); err != nil {
		return fmt.Errorf("looking whose an external id is: %w", err)
	}
	if taken {
		return ErrTaken
	}
	return nil
}

// TakeBack undoes an erasure that has begun: the customer is there as before, under the
// same token. The receipt is of the entry that says so. ended runs inside the transaction.
func (s *Store) TakeBack(ctx context.Context, receipt ledger.Receipt, ord record.Ordinal, ended func(ctx context.Context, q db.Queryer) error) error {
	if !receipt.Recorded(ord) || receipt.Kind() != entry.KindErasureUndone {
		return ledger.ErrNotLogged
	}
	brand := receipt.Brand()
	l, err := s.laid(ctx, brand, ord)
	if err != nil {
		return err
	}
	k, err := s.brandKeys(ctx, brand)
	if err != nil {
		return err
	}
	wrapped, err := sealed(nil, k.kek.Bytes(), l.secret[:], wrapPlace(brand, ord, k.kek.Version))
	if err != nil {
		return fmt.Errorf("taking an erasure back: %w", err)
	}
	index, err := k.indexes(brand, &l.rows)
	if err != nil {
		return err
	}
	stmts := append([]db.Stmt{
		{SQL: sqlBackSecret, Args: []any{int64(ord), int64(brand), k.kek.Version, l.version, l.epoch, l.segments, wrapped}},
		{SQL: sqlShowCustomer, Args: []any{int64(ord)}},
		{SQL: sqlDropTakeBack, Args: []any{int64(ord)}},
		{SQL: sqlUnbury, Args: []any{int64(ord), int64(brand)}},
	}, index...)
	err = s.db.Tx(ctx, func(q db.Queryer) error {
		if err := s.hold(ctx, q, append(k.indexUses(), keys.Use{Brand: brand, Kind: keys.KEK, Version: k.kek.Version})); err != nil {
			return err
		}
		if err := changeOne(ctx, q, sqlEndLaid, int64(ord), l.Entry); err != nil {
			return err
		}
		if err := q.Batch(ctx, stmts); err != nil {
			return err
		}
		return ended(ctx, q)
	})
	if err != nil {
		return fmt.Errorf("taking an erasure back: %w", err)
	}
	return nil
}

// indexes returns the statements that index a customer again. An external id that became
// another customer's meanwhile stays theirs; one whose profile does not open has no index.
func (k *brandKeys) indexes(brand record.BrandID, r *rows) (stmts []db.Stmt, err error) {
	var c record.Customer
	switch err := r.openProfile(brand, &c); {
	case errors.Is(err, ErrDamaged):
		return nil, nil
	case err != nil:
		return nil, err
	}
	for _, v := range k.lookups(nil, &c) {
		stmts = append(stmts, db.Stmt{SQL: sqlInsertLookup, Args: []any{v, int64(r.ord)}})
	}
	if v, err := k.external(c.Get(record.ExternalID)); err == nil {
		stmts = append(stmts, db.Stmt{SQL: sqlInsertExternal, Args: []any{v, int64(r.ord)}})
	}
	return stmts, nil
}

// Reappear indexes customers again whose rows in a restored copy are of a time when their
// erasure cooled.
func (s *Store) Reappear(ctx context.Context, brand record.BrandID, ords []record.Ordinal) error {
	k, err := s.brandKeys(ctx, brand)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(ords, presentPiece) {
		found, err := s.fetchAny(ctx, brand, some, false)
		if err != nil {
			return err
		}
		var all []db.Stmt
		for _, ord := range some {
			if r := found[ord]; r != nil {
				stmts, err := k.indexes(brand, r)
				if err != nil {
					return err
				}
				all = append(all, stmts...)
			}
		}
		if err := s.db.Tx(ctx, func(q db.Queryer) error { return q.Batch(ctx, all) }); err != nil {
			return fmt.Errorf("indexing customers again: %w", err)
		}
	}
	return nil
}

// CoolingAfter returns at most so many erasures of a brand that cool, from an ordinal on.
func (s *Store) CoolingAfter(ctx context.Context, brand record.BrandID, after record.Ordinal, limit int) ([]Cooling, error) {
	return s.coolings(ctx, sqlListCooling, int64(brand), int64(after), limit)
}

// CoolingDue returns erasures of all brands whose key is to be destroyed by a time, at most
// so many, the oldest first, those after the last of the call before.
func (s *Store) CoolingDue(ctx context.Context, by time.Time, last Cooling, limit int) ([]Cooling, error) {
	return s.coolings(ctx, sqlCoolingDue, by.UnixMicro(), db.Micros(last.Due), int64(last.Ord), limit)
}

func (s *Store) coolings(ctx context.Context, sql string, args ...any) ([]Cooling, error) {
	out := []Cooling{}
	err := s.db.Rows(ctx, func(r db.Row) error {
		c, err := scanCooling(r)
		out = append(out, c)
		return err
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading which erasures cool: %w", err)
	}
	return out, nil
}

// CountCooling is how many erasures of a brand cool, and when the first is due.
func (s *Store) CountCooling(ctx context.Context, brand record.BrandID) (n int64, first time.Time, err error) {
	var due int64
	if err := s.db.Row(ctx, sqlCountCooling, int64(brand)).Scan(&n, &due); err != nil {
		return 0, first, fmt.Errorf("counting the erasures that cool: %w", err)
	}
	if n > 0 {
		first = time.UnixMicro(due).UTC()
	}
	return n, first, nil
}

// CountDestroyed is how many keys of customers of a brand were destroyed after a time, and
// when the first of them was.
func (s *Store) CountDestroyed(ctx context.Context, brand record.BrandID, after time.Time) (n int64, first time.Time, err error) {
	var at int64
	if err := s.db.Row(ctx, sqlCountGone, int64(brand), after.UnixMicro()).Scan(&n, &at); err != nil {
		return 0, first, fmt.Errorf("counting destroyed keys: %w", err)
	}
	if n > 0 {
		first = time.UnixMicro(at).UTC()
	}
	return n, first, nil
}

// laidAtOnce is how many keys that lie aside one step of a rotation reads.
const laidAtOnce = 500

// rewrapLaid wraps the keys of a brand that lie aside under the newest KEK, and returns how
// many do not open. None comes under an older one meanwhile: a request that lays one aside holds
// the newest.
func (s *Store) rewrapLaid(ctx context.Context, rot *keys.Rotation) (left int64, err error) {
	type row struct {
		ord     record.Ordinal
		kek     int
		wrapped []byte
	}
	to, err := s.ring.Version(ctx, rot.Brand, keys.KEK, rot.Version)
	if err != nil {
		return 0, err
	}
	for after := record.Ordinal(0); ; {
		var some []row
		err := s.db.Rows(ctx, func(r db.Row) error {
			var x row
			var ord int64
			err := r.Scan(&ord, &x.kek, &x.wrapped)
			x.ord, x.wrapped = record.Ordinal(ord), slices.Clone(x.wrapped)
			some = append(some, x)
			return err
		}, sqlCoolingBelow, int64(rot.Brand), rot.Version, int64(after), laidAtOnce)
		if err != nil {
			return 0, err
		}
		var stmts []db.Stmt
		for _, x := range some {
			after = x.ord
			key, err := s.unlay(ctx, rot.Brand, x.ord, x.kek, x.wrapped)
			if errors.Is(err, ErrNoCustomer) || errors.Is(err, ErrDamaged) || errors.Is(err, keys.ErrNoKey) {
				continue // counted below where it is still there
			}
			if err != nil {
				return 0, err
			}
			wrapped, err := sealed(nil, to.Bytes(), key[:], laidPlace(rot.Brand, x.ord, rot.Version))
			if err != nil {
				return 0, err
			}
			stmts = append(stmts, db.Stmt{SQL: sqlRewrapCooling, Args: []any{int64(x.ord), rot.Version, wrapped, x.wrapped}})
		}
		if err := s.db.Tx(ctx, func(q db.Queryer) error { return q.Batch(ctx, stmts) }); err != nil {
			return 0, err
		}
		if len(some) < laidAtOnce {
			break
		}
	}
	err = s.db.Row(ctx, sqlCountOldLaid, int64(rot.Brand), rot.Version).Scan(&left)
	return left, err
}
