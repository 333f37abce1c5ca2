// Package rights holds the rows that grant or stop something against the log that says
// so: principals, credentials, roles, policies, purposes, containments, approvals.
//
// # How it works
//
// An act on rights and its log entry are one transaction. The store that writes a row
// says so with [Changed]; the entry carries the row's table and key, and a salted digest
// of all of it. So the rights follow from the logs, as budgets do: a map from table and
// key to a digest, which knows none of the tables.
//
// A store that reads a row into memory holds it against that map, with [Log]. A row that
// the log did not write, or wrote otherwise, is void: it grants nothing. A row that the
// log wrote and that is missing is void, too. What is decided from memory pays nothing.
//
// # Why a digest in the log, and not a code on the row
//
// A code (MAC) beside each row finds a forged row and a changed one. It does not find an
// older state of a row, whose code was valid once, nor a row that was deleted: a revoked
// key could be revived, and a containment lifted. The digest in the log finds all four.
// Its salt follows from the log's key, so no column is needed for it.
package rights

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/codec"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrVoid is returned where a right hangs on a row that is not what the log says.
var ErrVoid = fault.New(fault.Denied, "a record of your rights is not what the log says, so it grants nothing: somebody changed the database outside the vault; an administrator finds the record with `cloakroom doctor`")

// Row is a row of a table that grants or stops something, as a store reads or writes it.
type Row struct {
	Table string
	Key   string // names the row within its table; up to 64 of a-z A-Z 0-9 . - _
	// Cells are all that the row says: int64, string or []byte, in a fixed order.
	Cells []any
	// Gone says that the row was deleted, or grants and stops nothing any more.
	Gone bool
	// Hidden says that the key may be somebody's name: in the log stands a [Tag] for it.
	Hidden bool
	// Says tells an administrator what the row is. It is not in the digest.
	Says string
}

// place is the row's key in the log.
func (r *Row) place(secret []byte) string {
	if r.Hidden {
		return Tag(secret, r.Key)
	}
	return r.Key
}

// Key joins the parts of a row's key.
func Key(parts ...any) string {
	var b []byte
	for i, p := range parts {
		if i > 0 {
			b = append(b, '.')
		}
		b = fmt.Append(b, p)
	}
	return string(b)
}

const (
	saltLabel = "cloakroom rights salt 1\x00"
	tagLabel  = "cloakroom rights tag 1\x00"
)

// Digest is the salted digest of a row under the secret of its log: SHA-256 of a salt and
// of the row, where the salt is HMAC-SHA-256 of the row's place. Shown with its salt, one
// row can be held against the log without the secret.
func Digest(secret []byte, r Row) [32]byte {
	if r.Gone {
		return [32]byte{}
	}
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(saltLabel + r.Table + "\x00" + r.Key))
	h := sha256.New()
	h.Write(m.Sum(nil))
	h.Write(r.encode())
	return [32]byte(h.Sum(nil))
}

// Tag stands in a row's key for a name that may be somebody's.
func Tag(secret []byte, name string) string {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(tagLabel + name))
	return fmt.Sprintf("%x", m.Sum(nil)[:12])
}

// encode writes the cells: for each its type, and its number or its length and bytes.
func (r *Row) encode() []byte {
	var b []byte
	some := func(kind byte, s []byte) {
		b = binary.BigEndian.AppendUint64(append(b, kind), uint64(len(s)))
		b = append(b, s...)
	}
	for _, c := range r.Cells {
		switch c := c.(type) {
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, 'i'), uint64(c))
		case string:
			some('t', []byte(c))
		case []byte:
			some('b', c)
		default:
			panic(fmt.Sprintf("a cell of %s is a %T", r.Table, c)) // a store's own mistake, at its first use
		}
	}
	return b
}

// keep writes a row so that it can be made again: its key, and its cells.
func (r *Row) keep() string {
	return string(binary.AppendUvarint(nil, uint64(len(r.Key)))) + r.Key + string(r.encode())
}

// Again makes a row again from what its entry kept. It is the row that the log has a digest
// of, or none.
func Again(secret []byte, from entry.Row) (r Row, ok bool) {
	b := []byte(from.Kept)
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return r, false
	}
	b = b[size:]
	r = Row{Table: from.Table, Key: string(b[:n])}
	for b = b[n:]; len(b) >= 9; {
		kind, size := b[0], binary.BigEndian.Uint64(b[1:])
		switch b = b[9:]; {
		case kind == 'i':
			r.Cells = append(r.Cells, int64(size))
			continue
		case size > uint64(len(b)):
			return r, false
		case kind == 't':
			r.Cells = append(r.Cells, string(b[:size]))
		case kind == 'b':
			r.Cells = append(r.Cells, bytes.Clone(b[:size]))
		default:
			return r, false
		}
		b = b[size:]
	}
	return r, len(b) == 0 && !from.Gone() && Digest(secret, r) == from.Digest
}

// Tx is the transaction of an act on rights: it gathers which rows the act changed.
type Tx struct {
	db.Queryer
	// Void returns which rows are not what the log of the act says, which is locked.
	Void func(f Found) []Void
	// Inherited returns the rows of that log that nobody has confirmed.
	Inherited func() []entry.Row
	rows      []Row
}

// Inherited returns the rows that nobody has confirmed, as the log of the act says whose
// transaction q is. Outside of an act there are none.
func Inherited(q db.Queryer) []entry.Row {
	if tx, ok := q.(*Tx); ok && tx.Inherited != nil {
		return tx.Inherited()
	}
	return nil
}

// Holds refuses rows that are not what the log of the act says whose transaction q is:
// for rows that an act hangs on, and that are of the same log. Outside of an act it
// refuses nothing.
func Holds(q db.Queryer, rows ...Row) error {
	if tx, ok := q.(*Tx); ok && tx.Void != nil && len(tx.Void(Found{Rows: rows})) > 0 {
		return ErrVoid
	}
	return nil
}

// Voids returns which rows are not what the log of the act says whose transaction q is.
// Outside of an act it says of none.
func Voids(q db.Queryer, f Found) []Void {
	if tx, ok := q.(*Tx); ok && tx.Void != nil {
		return tx.Void(f)
	}
	return nil
}

// Changed notes rows that a statement of the transaction q has just written, as they are
// now. Outside of an act that an entry tells of it does nothing, and the log knows nothing
// of the rows: they are void.
func Changed(q db.Queryer, rows ...Row) {
	if tx, ok := q.(*Tx); ok {
		tx.rows = append(tx.rows, rows...)
	}
}

// Entries returns what was changed, as an entry has it.
func (tx *Tx) Entries(secret []byte) []entry.Row {
	out := make([]entry.Row, 0, len(tx.rows))
	for _, r := range tx.rows {
		e := entry.Row{Table: r.Table, Key: r.place(secret), Digest: Digest(secret, r)}
		if !r.Gone {
			e.Kept = r.keep()
		}
		out = append(out, e)
	}
	return entry.SortRows(out)
}

// Found is what a store read. A row that is Gone was looked for, and is not there.
type Found struct {
	Rows []Row
	// Whole names tables of which Rows are all rows that grant or stop something at the
	// brand: one that the log knows and that is not among them is missing.
	Whole []string
	// All: Rows are those of every table.
	All bool
}

// Void is a row that is not what the log says.
type Void struct {
	Brand record.BrandID // in whose log it belongs
	Table string
	Key   string
	What  string
	Place string // the key in the log
}

// Log is where rows are held against what was logged: the ledger.
type Log interface {
	// Void reads rows of a brand's log and returns those that are void. read may be called
	// twice, the second time in a transaction that no act on rights can come into: what it
	// read last is what was held.
	Void(ctx context.Context, brand record.BrandID, read func(q db.Queryer) (Found, error)) ([]Void, error)
}

// Hold is Log.Void where there is a log; without one, as in a test of one store, it reads.
func Hold(ctx context.Context, l Log, d db.Queryer, brand record.BrandID, read func(q db.Queryer) (Found, error)) ([]Void, error) {
	if l == nil {
		_, err := read(d)
		return nil, err
	}
	return l.Void(ctx, brand, read)
}

// One is Hold for rows of which each has to be what the log says: else it is ErrVoid.
func One(ctx context.Context, l Log, d db.Queryer, brand record.BrandID, read func(q db.Queryer) ([]Row, error)) error {
	void, err := Hold(ctx, l, d, brand, func(q db.Queryer) (Found, error) {
		rows, err := read(q)
		return Found{Rows: rows}, err
	})
	if err == nil && len(void) > 0 {
		err = ErrVoid
	}
	return err
}

// The ways in which a row is not what the log says.
const (
	Forged  = "is in the database, and the log has no entry that wrote it"
	Altered = "was changed in the database, or put back from an older state"
	Missing = "is missing from the database"
)

// Book is what the log of one brand says of its rights: a projection of its entries. It
// is not safe for concurrent use.
type Book struct {
	tables map[string]map[string]known
	sealed bool // whether rows of before entries had digests were sealed
}

type known struct {
	digest    [32]byte
	inherited bool // sealed as it was found, and not confirmed by anybody
}

// NewBook returns what an empty log says.
func NewBook() *Book { return &Book{tables: map[string]map[string]known{}} }

// Apply takes the rows of an entry. Inherited ones stand as they were found.
func (b *Book) Apply(rows []entry.Row, inherited bool) {
	for _, r := range rows {
		if r.Gone() {
			delete(b.tables[r.Table], r.Key)
			continue
		}
		if b.tables[r.Table] == nil {
			b.tables[r.Table] = map[string]known{}
		}
		b.tables[r.Table][r.Key] = known{r.Digest, inherited}
	}
}

// lasting are the tables whose rows servers keep in memory, and from which something is taken
// away by changing or removing a row. Of policies the newest row counts.
var lasting = map[string]bool{"principals": true, "roles": true, "credentials": true, "brands": true, "settings": true, "purposes": true}

// Moves reports whether the rows of an entry may take something away that servers keep in
// memory: of those that only add, servers keep nothing. It is asked before they are applied.
func (b *Book) Moves(rows []entry.Row) bool {
	for i := range rows {
		r := &rows[i]
		if r.Table == "policies" && len(b.tables[r.Table]) > 0 {
			return true
		}
		if k, ok := b.tables[r.Table][r.Key]; ok && lasting[r.Table] && k.digest != r.Digest {
			return true
		}
	}
	return false
}

// Sealed reports whether the rows of earlier releases were sealed, and Seal notes it.
func (b *Book) Sealed() bool { return b.sealed }

// Seal notes that the rows of earlier releases are sealed.
func (b *Book) Seal() { b.sealed = true }

// Adopt confirms every row that was sealed as it was found.
func (b *Book) Adopt() {
	for _, t := range b.tables {
		for key, k := range t {
			k.inherited = false
			t[key] = k
		}
	}
}

// Hold returns which rows are not what the log says.
func (b *Book) Hold(secret []byte, brand record.BrandID, f Found) (void []Void) {
	if f.All {
		f.Whole = b.Tables()
	}
	seen := map[entry.Row]bool{}
	for _, r := range f.Rows {
		key := r.place(secret)
		if len(f.Whole) > 0 && !r.Gone {
			seen[entry.Row{Table: r.Table, Key: key}] = true
		}
		k, there := b.tables[r.Table][key]
		what := Forged
		switch {
		case r.Gone && !there, there && !r.Gone && Digest(secret, r) == k.digest:
			continue
		case r.Gone:
			what = Missing
		case there:
			what = Altered
		}
		void = append(void, Void{brand, r.Table, r.Key, what, key})
	}
	for _, table := range f.Whole {
		for key := range b.tables[table] {
			if !seen[entry.Row{Table: table, Key: key}] {
				void = append(void, Void{brand, table, key, Missing, key})
			}
		}
	}
	return void
}

// Inherited returns the rows that were sealed as they were found and that nobody has
// confirmed or changed since.
func (b *Book) Inherited() (out []entry.Row) {
	for table, keys := range b.tables {
		for key, k := range keys {
			if k.inherited {
				out = append(out, entry.Row{Table: table, Key: key, Digest: k.digest})
			}
		}
	}
	return entry.SortRows(out)
}

// Unadopted returns those of the rows that were sealed as they were found, that are still
// so, and that nobody has confirmed.
func (b *Book) Unadopted(secret []byte, rows []Row) (out []Row) {
	for _, r := range rows {
		if k, ok := b.tables[r.Table][r.place(secret)]; ok && k.inherited && k.digest == Digest(secret, r) {
			out = append(out, r)
		}
	}
	return out
}

// Encode writes the book for a snapshot of its log.
func (b *Book) Encode(w *bufio.Writer) {
	flag := func(set bool) {
		if set {
			codec.Put(w, 1)
		} else {
			codec.Put(w, 0)
		}
	}
	flag(b.sealed)
	codec.Put(w, uint64(len(b.tables)))
	for _, table := range slices.Sorted(maps.Keys(b.tables)) {
		keys := b.tables[table]
		codec.PutText(w, table)
		codec.Put(w, uint64(len(keys)))
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			k := keys[key]
			codec.PutText(w, key)
			flag(k.inherited)
			w.Write(k.digest[:])
		}
	}
}

var errBook = errors.New("not what a log says of its rights")

// Decode reads what Encode wrote.
func Decode(r *bufio.Reader) (*Book, error) {
	in := codec.NewReader(r, errBook)
	text := func() string { return string(in.Text(entry.MaxText)) }
	b := NewBook()
	b.sealed = in.Number(1) == 1
	for range in.Number(1 << 10) {
		table := text()
		keys := map[string]known{}
		for range in.Number(1 << 32) {
			key, k := text(), known{inherited: in.Number(1) == 1}
			in.Fill(k.digest[:])
			if err := in.Err(); err != nil {
				return nil, err
			}
			keys[key] = k
		}
		b.tables[table] = keys
	}
	return b, in.Err()
}

// Tables returns the tables of which the log knows rows.
func (b *Book) Tables() []string { return slices.Sorted(maps.Keys(b.tables)) }
