package entry

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrValues is returned for values that are not those of their leaf.
var ErrValues = fault.New(fault.Internal, "the values are not those that the leaf has digests of")

// Secret is what the salts of an entry's values are derived from: random for each
// entry, kept with the values and erased with them.
type Secret [16]byte

// The values by their bit in the leaf's mask, which is their order in the tree. Their
// names are part of their digests. Never renumber.
const (
	valueAt = iota
	valuePrincipal
	valueCredential
	valueLineage
	valueTicket
	valueCountry
	valueEntity
	valueRecipient
	valueRecipientCountry
	valueRecipientEntity
	numValues
)

var valueNames = [numValues]string{
	"at", "principal", "credential", "lineage", "ticket", "country", "entity",
	"recipient", "recipient-country", "recipient-entity",
}

// The names under which values are shown, see [Entry.Show].
const (
	ShownAt     = "at"
	ShownTicket = "ticket"
)

// detailPrefix begins the name of a detail among the values.
const detailPrefix = "detail."

// hiddenValues is what lies beside a leaf of version 2, as the ledger seals it.
type hiddenValues struct {
	Secret           []byte            `cbor:"0,keyasint"`
	At               uint64            `cbor:"1,keyasint"` // microseconds since 1970
	Principal        uint64            `cbor:"2,keyasint,omitempty"`
	Credential       uint64            `cbor:"3,keyasint,omitempty"`
	Lineage          uint64            `cbor:"4,keyasint,omitempty"`
	Ticket           string            `cbor:"5,keyasint,omitempty"`
	Country          string            `cbor:"6,keyasint,omitempty"`
	Entity           string            `cbor:"7,keyasint,omitempty"`
	Recipient        string            `cbor:"8,keyasint,omitempty"`
	RecipientCountry string            `cbor:"9,keyasint,omitempty"`
	RecipientEntity  string            `cbor:"10,keyasint,omitempty"`
	Detail           map[string]string `cbor:"11,keyasint,omitempty"`
	// Kept has the rows of the leaf as they were written, in its order: the leaf's digests of
	// the rows stand for them, so that they have none among the values'.
	Kept [][]byte `cbor:"12,keyasint,omitempty"`
}

// value is one value with its name, as CBOR.
type value struct {
	name string
	cbor []byte
}

// list returns the values that are set, in the order of the tree, with the mask and the
// names of the details.
func (v *hiddenValues) list() (out []value, mask uint64, hidden []string) {
	out = make([]value, 0, 6+len(v.Detail))
	number := func(i int, n uint64) {
		if n != 0 {
			mask |= 1 << i
			out = append(out, value{valueNames[i], appendUint(nil, n)})
		}
	}
	text := func(i int, s string) {
		if s != "" {
			mask |= 1 << i
			out = append(out, value{valueNames[i], appendText(nil, s)})
		}
	}
	number(valueAt, v.At)
	number(valuePrincipal, v.Principal)
	number(valueCredential, v.Credential)
	number(valueLineage, v.Lineage)
	text(valueTicket, v.Ticket)
	text(valueCountry, v.Country)
	text(valueEntity, v.Entity)
	text(valueRecipient, v.Recipient)
	text(valueRecipientCountry, v.RecipientCountry)
	text(valueRecipientEntity, v.RecipientEntity)
	if len(v.Detail) > 0 {
		hidden = slices.Sorted(maps.Keys(v.Detail))
		for _, name := range hidden {
			out = append(out, value{detailPrefix + name, appendText(nil, v.Detail[name])})
		}
	}
	return out, mask, hidden
}

// appendHead writes a CBOR head in its shortest form.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return append(b, major|25, byte(n>>8), byte(n))
	case n < 1<<32:
		return append(b, major|26, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, major|27, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func appendUint(b []byte, n uint64) []byte { return appendHead(b, 0, n) }
func appendText(b []byte, s string) []byte { return append(appendHead(b, 3<<5, uint64(len(s))), s...) }

// saltLabel begins what a salt is derived from.
const saltLabel = "cloakroom entry salt 1\x00"

// saltOf derives the salt of one value: HMAC-SHA-256 under the entry's secret.
func saltOf(secret []byte, name string) [32]byte {
	var b [128]byte
	msg := append(append(b[:0], saltLabel...), name...)
	return mac(secret, msg)
}

// valueDigest commits to one value: SHA-256 of its salt, its name, a zero byte and its
// CBOR.
func valueDigest(salt [32]byte, name string, cbor []byte) [32]byte {
	var room [128]byte
	b := append(room[:0], salt[:]...)
	b = append(append(b, name...), 0)
	return sha256.Sum256(append(b, cbor...))
}

func digests(secret []byte, list []value) [][32]byte {
	out := make([][32]byte, len(list))
	for i, v := range list {
		out[i] = valueDigest(saltOf(secret, v.name), v.name, v.cbor)
	}
	return out
}

const day = 24 * 60 * 60 * 1e6 // microseconds

// Day returns the UTC day of a time in days since 1970.
func Day(at time.Time) uint32 { return uint32(at.UnixMicro() / day) }

// Moment writes a time into a detail: RFC 3339 in UTC, in whole seconds; empty for none.
func Moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// MomentTime reads what [Moment] wrote; the zero time for anything else.
func MomentTime(m string) time.Time {
	t, err := time.Parse(time.RFC3339, m)
	if err != nil {
		return time.Time{}
	}
	return t
}

// DayTime returns the beginning of a UTC day.
func DayTime(d uint32) time.Time { return time.UnixMicro(int64(d) * day).UTC() }

// Marshal returns the leaf of an entry, of version 2, and its values, which are to be
// kept sealed. An entry that Unmarshal would refuse is an error.
func Marshal(e *Entry, secret Secret) (leaf, values []byte, err error) {
	failed := func(err error) ([]byte, []byte, error) {
		return nil, nil, fmt.Errorf("writing a log entry: %w", err)
	}
	clear, sealed, err := encodeDetail(e.Kind, e.Detail)
	if err == nil {
		err = errors.Join(e.check(), checkDetail(clear), checkDetail(sealed))
	}
	if err == nil && !e.Kind.Known() {
		err = fmt.Errorf("unknown kind %d", e.Kind)
	}
	if err != nil {
		return failed(err)
	}
	e.Critical = e.critical()
	v := hiddenValues{
		Secret: secret[:], At: uint64(e.At.UnixMicro()), Principal: e.Principal, Credential: e.Credential, Lineage: e.Lineage,
		Ticket: e.Ticket, Country: e.Country, Entity: e.Entity, Recipient: e.Recipient,
		RecipientCountry: e.RecipientCountry, RecipientEntity: e.RecipientEntity, Detail: sealed, Kept: keptRows(e.Rows),
	}
	list, mask, hidden := v.list()
	e.version, e.mask, e.hidden, e.values = Version, mask, hidden, Root(digests(v.Secret, list))
	if leaf, err = encode(e.wire(clear)); err != nil {
		return failed(err)
	}
	values = v.encode(list, mask, hidden)
	if len(leaf) > MaxLeaf || len(values) > MaxLeaf {
		return failed(fmt.Errorf("%d bytes, with %d of values, are more than the %d of a leaf", len(leaf), len(values), MaxLeaf))
	}
	return leaf, values, nil
}

// encode writes the values as the library would, from those that list has encoded: it is
// done for every release. A test holds that both agree.
func (v *hiddenValues) encode(list []value, mask uint64, hidden []string) []byte {
	n := bits.OnesCount64(mask)
	size := 40 + len(v.Secret)
	for _, row := range v.Kept {
		size += len(row) + 9
	}
	for _, x := range list {
		size += len(x.cbor) + len(x.name) + 4
	}
	b := make([]byte, 0, size)
	members := uint64(1 + n)
	if len(hidden) > 0 {
		members++
	}
	if len(v.Kept) > 0 {
		members++
	}
	b = appendHead(b, 5<<5, members)
	b = append(appendHead(append(b, 0), 2<<5, uint64(len(v.Secret))), v.Secret...)
	i := 0
	for bit := range numValues {
		if mask>>bit&1 != 0 {
			b = append(appendUint(b, uint64(bit+1)), list[i].cbor...)
			i++
		}
	}
	if len(hidden) > 0 {
		b = v.encodeDetail(b, hidden)
	}
	if len(v.Kept) > 0 {
		b = appendHead(appendUint(b, numValues+2), 4<<5, uint64(len(v.Kept)))
		for _, row := range v.Kept {
			b = append(appendHead(b, 2<<5, uint64(len(row))), row...)
		}
	}
	return b
}

func (v *hiddenValues) encodeDetail(b []byte, hidden []string) []byte {
	b = appendHead(appendUint(b, numValues+1), 5<<5, uint64(len(hidden)))
	// Deterministic encoding sorts names by length first: their encodings ascend.
	order := slices.Clone(hidden)
	slices.SortFunc(order, func(a, b string) int { return cmp.Or(len(a)-len(b), cmp.Compare(a, b)) })
	for _, name := range order {
		b = appendText(appendText(b, name), v.Detail[name])
	}
	return b
}

func (e *Entry) wire(clear map[string]string) *wire2 {
	return &wire2{
		Version: Version, Kind: uint8(e.Kind), Day: Day(e.At), Brand: uint16(e.Brand),
		Role: e.Role, Purpose: e.Purpose, Class: e.Class, Fields: uint32(e.Fields), Level: e.Level, Count: e.Count,
		Nonce: unzero(e.Nonce[:]), Root: unzero(e.Root[:]), Subjects: unzero(e.Subjects[:]), Detail: clear,
		Critical: e.Critical, Actor: uint8(e.Actor), Mask: e.mask, Hidden: e.hidden, Values: e.values[:],
		Rows: wireRows(e.Rows),
	}
}

func unmarshal2(leaf []byte) (Entry, error) {
	malformed := func(why string) (Entry, error) { return Entry{}, fmt.Errorf("%w: %s", ErrMalformed, why) }
	var w wire2
	if err := decoding.Unmarshal(leaf, &w); err != nil {
		return malformed("not the CBOR map of an entry")
	}
	e := Entry{
		Kind: Kind(w.Kind), Critical: w.Critical, At: DayTime(w.Day), Brand: record.BrandID(w.Brand), Actor: Actor(w.Actor),
		Role: w.Role, Purpose: w.Purpose, Class: w.Class, Fields: record.FieldSet(w.Fields), Level: w.Level, Count: w.Count,
		Detail:  decodeDetail(Kind(w.Kind), w.Detail, nil),
		version: Version, bare: true, mask: w.Mask, hidden: w.Hidden,
	}
	if copy(e.Nonce[:], w.Nonce) != len(w.Nonce) || copy(e.Root[:], w.Root) != len(w.Root) ||
		copy(e.Subjects[:], w.Subjects) != len(w.Subjects) || copy(e.values[:], w.Values) != len(w.Values) {
		return malformed("a nonce or hash that is too long")
	}
	var ok bool
	if e.Rows, ok = readRows(w.Rows); !ok {
		return malformed("rows without proper digests")
	}
	if err := errors.Join(e.check(), checkDetail(w.Detail)); err != nil {
		return malformed(err.Error())
	}
	switch {
	case e.mask&1 == 0 || e.mask>>numValues != 0 || e.values == [32]byte{}:
		return malformed("values that this version of the leaf does not have")
	case e.Kind.Known() && e.Critical != e.critical():
		return malformed("a critical mark that its kind does not have")
	case !slices.IsSorted(e.hidden) || len(slices.Compact(slices.Clone(e.hidden))) != len(e.hidden):
		return malformed("names of values out of order")
	}
	for _, name := range e.hidden {
		if _, twice := w.Detail[name]; twice || name == "" || !plain(name) {
			return malformed("a value without a proper name")
		}
	}
	again, err := encode(e.wire(w.Detail))
	if err != nil {
		return malformed(err.Error())
	}
	if !bytes.Equal(again, leaf) {
		return malformed("another encoding of the same entry")
	}
	return e, nil
}

// Open gives an entry that was read from a leaf of version 2 its values, as they were
// unsealed. It holds them against the leaf's mask, names and day. That they have the
// leaf's digests is [Entry.Check]'s matter: who can seal them could also hash them.
func (e *Entry) Open(values []byte) error {
	v, err := e.read(values)
	if err != nil {
		return err
	}
	_, mask, hidden := v.list()
	if mask != e.mask || !slices.Equal(hidden, e.hidden) || uint32(v.At/day) != Day(e.At) || len(v.Kept) > 0 && len(v.Kept) != len(e.Rows) {
		return ErrValues
	}
	for i, row := range v.Kept {
		e.Rows[i].Kept = string(row)
	}
	e.At = time.UnixMicro(int64(v.At)).UTC()
	e.Principal, e.Credential, e.Lineage, e.Ticket = v.Principal, v.Credential, v.Lineage, v.Ticket
	e.Country, e.Entity = v.Country, v.Entity
	e.Recipient, e.RecipientCountry, e.RecipientEntity = v.Recipient, v.RecipientCountry, v.RecipientEntity
	if len(v.Detail) > 0 {
		clear, _, err := encodeDetail(e.Kind, e.Detail)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrValues, err)
		}
		e.Detail = decodeDetail(e.Kind, clear, v.Detail)
	}
	if err := e.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrValues, err)
	}
	e.bare = false
	return nil
}

func (e *Entry) read(values []byte) (v hiddenValues, err error) {
	if decodingErr != nil {
		return v, decodingErr
	}
	if e.version != Version || decoding.Unmarshal(values, &v) != nil || len(v.Secret) != len(Secret{}) {
		return v, fmt.Errorf("%w: they cannot be read", ErrValues)
	}
	return v, nil
}

// Check reports whether values are those that the leaf has digests of.
func (e *Entry) Check(values []byte) error {
	v, err := e.read(values)
	if err != nil {
		return err
	}
	list, mask, hidden := v.list()
	if mask != e.mask || !slices.Equal(hidden, e.hidden) || Root(digests(v.Secret, list)) != e.values {
		return ErrValues
	}
	return nil
}

// Shown is one value of an entry, opened alone: without the others, and without the
// secret that theirs salts are derived from.
type Shown struct {
	Name  string
	Value []byte // CBOR
	Salt  [32]byte
	Path  [][32]byte
}

// Show opens some of an entry's values: [ShownAt], [ShownTicket] and so on. Names that
// the entry has no value of are passed over.
func (e *Entry) Show(values []byte, names ...string) ([]Shown, error) {
	v, err := e.read(values)
	if err != nil {
		return nil, err
	}
	list, _, _ := v.list()
	all := digests(v.Secret, list)
	if Root(all) != e.values {
		return nil, ErrValues
	}
	var out []Shown
	for i, x := range list {
		if !slices.Contains(names, x.name) {
			continue
		}
		path, err := Prove(all, i)
		if err != nil {
			return nil, err
		}
		out = append(out, Shown{x.name, x.cbor, saltOf(v.Secret, x.name), path})
	}
	return out, nil
}

// place returns where the value of a name stands in the tree, and how many there are.
func (e *Entry) place(name string) (i, n int, ok bool) {
	n = bits.OnesCount64(e.mask) + len(e.hidden)
	if at := slices.Index(valueNames[:], name); at >= 0 {
		return bits.OnesCount64(e.mask & (1<<at - 1)), n, e.mask>>at&1 != 0
	}
	short, is := strings.CutPrefix(name, detailPrefix)
	at, found := slices.BinarySearch(e.hidden, short)
	return bits.OnesCount64(e.mask) + at, n, is && found
}

// Reveal checks a value that is shown alone against the leaf that the entry was read
// from, and sets it: At and Ticket, the others are only checked.
func (e *Entry) Reveal(s Shown) error {
	i, n, ok := e.place(s.Name)
	if !ok {
		return fmt.Errorf("%w: the leaf has no value %q", ErrProof, s.Name)
	}
	if err := VerifyPath(e.values, n, i, valueDigest(s.Salt, s.Name, s.Value), s.Path); err != nil {
		return fmt.Errorf("the value %q: %w", s.Name, err)
	}
	switch s.Name {
	case ShownAt:
		var us uint64
		if err := decoding.Unmarshal(s.Value, &us); err != nil || uint32(us/day) != Day(e.At) {
			return fmt.Errorf("%w: the time is not one of the leaf's day", ErrProof)
		}
		e.At = time.UnixMicro(int64(us)).UTC()
	case ShownTicket:
		if err := decoding.Unmarshal(s.Value, &e.Ticket); err != nil {
			return fmt.Errorf("%w: the ticket is not a text", ErrProof)
		}
	}
	return nil
}

// Shows reports whether the leaf has a value of that name.
func (e *Entry) Shows(name string) bool {
	_, _, ok := e.place(name)
	return ok
}
