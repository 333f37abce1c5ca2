// Package entry defines the leaf of a brand's log: what one entry says, and its one
// binary form.
//
// An entry names no customer. It carries a Merkle root over one commitment for each
// customer concerned, and a salted digest of the list of their ordinals. Who holds
// the customer's log key can show that the customer is in the entry; who holds the
// list and its salt can show the whole list; a stranger learns neither.
//
// # Binary form
//
// A leaf is one CBOR map (RFC 8949) with integer keys, in core deterministic
// encoding. Reading is strict: what would not be written again byte for byte is
// [ErrMalformed]. Two different leaves never mean the same entry, so that a proof of
// a leaf is a proof of the entry.
package entry

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/fxamacker/cbor/v2"
)

// ErrMalformed is returned for bytes that are not an entry in its one form.
var ErrMalformed = errors.New("not a log entry in canonical form")

// Version is the version of the leaf's form, its first member.
const Version = 1

// MaxLeaf bounds a leaf, because entry bundles of C2SP tlog-tiles carry a length of
// 16 bits.
const MaxLeaf = 1<<16 - 1

// Kind is what an entry records. The numbers are part of the log: never renumber.
type Kind uint8

// The kinds of entries.
const (
	KindDisclosure     Kind = iota + 1 // fields of customers released
	KindSearch                         // customers looked for by a value
	KindWrite                          // a customer put, patched, or purchases added
	KindImport                         // one chunk of an import
	KindErasure                        // a customer erased (GDPR Art. 17)
	KindRefusal                        // a request refused, repeats together
	KindAudit                          // somebody asked who read a customer
	KindAdministration                 // brands, principals, credentials, purposes
	KindPolicy                         // a policy activated
	KindBudget                         // budget rules activated
	KindRotation                       // a key rotated, or an old one destroyed
	KindDetection                      // detection rules activated, an alarm acknowledged or closed
	KindExport                         // a file asked for, approved, refused, stopped; its customers are disclosures
	KindContainment                    // somebody or something stopped, or let go on again
	KindCanary                         // decoy customers placed or retired, mail to one received
)

var kindNames = [...]string{
	KindDisclosure:     "disclosure",
	KindSearch:         "search",
	KindWrite:          "write",
	KindImport:         "import",
	KindErasure:        "erasure",
	KindRefusal:        "refusal",
	KindAudit:          "audit",
	KindAdministration: "administration",
	KindPolicy:         "policy",
	KindBudget:         "budget",
	KindRotation:       "rotation",
	KindDetection:      "detection",
	KindExport:         "export",
	KindContainment:    "containment",
	KindCanary:         "canary",
}

// String returns the kind's name.
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// ParseKind returns the kind of that name.
func ParseKind(name string) (Kind, error) {
	if i := slices.Index(kindNames[:], name); i > 0 && name != "" {
		return Kind(i), nil
	}
	return 0, fmt.Errorf("unknown kind of entry %q; known are %q", name, kindNames[1:])
}

// Entry is what one leaf says. At is kept to the microsecond.
type Entry struct {
	Kind       Kind
	At         time.Time
	Brand      record.BrandID
	Principal  uint64
	Credential uint64
	Lineage    uint64
	Role       string
	Purpose    string
	Ticket     string
	Class      string // the budget it counted against: clear, masked, search, export, or none
	Fields     record.FieldSet
	Level      string // how the fields were shown: clear, masked or extract
	Count      uint8  // Bucket of the number of customers
	Nonce      [16]byte
	Root       [32]byte // over the customers' commitments; zero without customers
	Subjects   [32]byte // SubjectsDigest; zero without customers
	Detail     Detail   // of the kind; nil for none
}

// searchClass is the Class of what counts against the budget of searches.
const searchClass = "search"

// Absent returns how many searches that found nobody the entry counts for in its budget.
// Such an entry names no customer. In an entry of an earlier release a customer's ordinal
// stands for the search: see [record.Customers].
func (e *Entry) Absent() int {
	if e.Kind == KindSearch && e.Class == searchClass && e.Count == 0 {
		return 1
	}
	return 0
}

// wire is the leaf. Members that are empty are left out.
type wire struct {
	Version    uint64            `cbor:"0,keyasint"`
	Kind       uint8             `cbor:"1,keyasint"`
	At         int64             `cbor:"2,keyasint"`
	Brand      uint16            `cbor:"3,keyasint"`
	Principal  uint64            `cbor:"4,keyasint,omitempty"`
	Credential uint64            `cbor:"5,keyasint,omitempty"`
	Lineage    uint64            `cbor:"6,keyasint,omitempty"`
	Role       string            `cbor:"7,keyasint,omitempty"`
	Purpose    string            `cbor:"8,keyasint,omitempty"`
	Ticket     string            `cbor:"9,keyasint,omitempty"`
	Class      string            `cbor:"10,keyasint,omitempty"`
	Fields     uint32            `cbor:"11,keyasint,omitempty"`
	Level      string            `cbor:"12,keyasint,omitempty"`
	Count      uint8             `cbor:"13,keyasint,omitempty"`
	Nonce      []byte            `cbor:"14,keyasint,omitempty"`
	Root       []byte            `cbor:"15,keyasint,omitempty"`
	Subjects   []byte            `cbor:"16,keyasint,omitempty"`
	Detail     map[string]string `cbor:"17,keyasint,omitempty"`
}

// Limits on the texts of an entry.
const (
	MaxText   = 64       // role, purpose, ticket, class, level, and a detail's name
	MaxDetail = 48 << 10 // all of Detail together
)

func (e *Entry) check() error {
	if e.Kind == 0 || int(e.Kind) >= len(kindNames) {
		return fmt.Errorf("unknown kind %d", e.Kind)
	}
	if us := e.At.UnixMicro(); us <= 0 {
		return errors.New("no time after 1970")
	}
	if e.Fields&^record.AllFields != 0 {
		return errors.New("unknown field")
	}
	for _, s := range []string{e.Role, e.Purpose, e.Class, e.Level, e.Ticket} {
		if !plain(s) {
			return errors.New("a text is longer than 64 bytes or has other characters than letters, digits, dot, hyphen and underscore")
		}
	}
	if e.Count > 64 {
		return errors.New("a count bucket above 64")
	}
	if (e.Root == [32]byte{}) != (e.Subjects == [32]byte{}) || (e.Root == [32]byte{}) != (e.Count == 0) {
		return errors.New("root, subjects and count do not go together")
	}
	return nil
}

// checkDetail checks a detail as it is written.
func checkDetail(texts map[string]string) error {
	total := 0
	for k, v := range texts {
		if k == "" || !plain(k) {
			return errors.New("a detail without a proper name")
		}
		total += len(k) + len(v)
	}
	if total > MaxDetail {
		return fmt.Errorf("details of more than %d bytes", MaxDetail)
	}
	return nil
}

// plain keeps free text, and with it personal data, out of the log's own columns.
func plain(s string) bool {
	if len(s) > MaxText {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// ValidTicket reports whether a ticket may stand in an entry: up to 64 letters,
// digits, dots, hyphens and underscores, so that no name or address gets into the
// log by way of a ticket.
func ValidTicket(s string) bool { return plain(s) }

// The modes are made once: making one costs more than an entry. A leaf has one level
// of nesting and few members; the limits are far below what the library allows.
var (
	encoding, encodingErr = cbor.CoreDetEncOptions().EncMode()
	decoding, decodingErr = cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   4,
		MaxMapPairs:       4096,
		MaxArrayElements:  16,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode()
)

// Marshal returns the leaf. An entry that Unmarshal would refuse is an error.
func Marshal(e Entry) ([]byte, error) {
	detail, sealed, err := encodeDetail(e.Kind, e.Detail)
	if err != nil {
		return nil, fmt.Errorf("writing a log entry: %w", err)
	}
	if detail == nil {
		detail = sealed
	} else {
		maps.Copy(detail, sealed)
	}
	if err := errors.Join(e.check(), checkDetail(detail)); err != nil {
		return nil, fmt.Errorf("writing a log entry: %w", err)
	}
	b, err := encode(&wire{
		Version: Version, Kind: uint8(e.Kind), At: e.At.UnixMicro(), Brand: uint16(e.Brand),
		Principal: e.Principal, Credential: e.Credential, Lineage: e.Lineage,
		Role: e.Role, Purpose: e.Purpose, Ticket: e.Ticket, Class: e.Class,
		Fields: uint32(e.Fields), Level: e.Level, Count: e.Count,
		Nonce: unzero(e.Nonce[:]), Root: unzero(e.Root[:]), Subjects: unzero(e.Subjects[:]), Detail: detail,
	})
	if err != nil {
		return nil, fmt.Errorf("writing a log entry: %w", err)
	}
	if len(b) > MaxLeaf {
		return nil, fmt.Errorf("writing a log entry: %d bytes are more than the %d of a leaf", len(b), MaxLeaf)
	}
	return b, nil
}

// encode writes in the one form in which reading is strict.
func encode(v any) ([]byte, error) {
	if encodingErr != nil {
		return nil, encodingErr
	}
	return encoding.Marshal(v)
}

func unzero(b []byte) []byte {
	for _, c := range b {
		if c != 0 {
			return b
		}
	}
	return nil
}

// Unmarshal reads a leaf strictly: unknown, repeated or out of order members, other
// than shortest forms and trailing bytes are ErrMalformed.
func Unmarshal(leaf []byte) (Entry, error) {
	malformed := func(why string) (Entry, error) { return Entry{}, fmt.Errorf("%w: %s", ErrMalformed, why) }
	if len(leaf) > MaxLeaf {
		return malformed("too long")
	}
	if decodingErr != nil {
		return Entry{}, fmt.Errorf("reading a log entry: %w", decodingErr)
	}
	var w wire
	if err := decoding.Unmarshal(leaf, &w); err != nil {
		return malformed("not the CBOR map of an entry")
	}
	if w.Version != Version {
		return malformed(fmt.Sprintf("version %d; this program reads version %d", w.Version, Version))
	}
	e := Entry{
		Kind: Kind(w.Kind), At: time.UnixMicro(w.At).UTC(), Brand: record.BrandID(w.Brand),
		Principal: w.Principal, Credential: w.Credential, Lineage: w.Lineage,
		Role: w.Role, Purpose: w.Purpose, Ticket: w.Ticket, Class: w.Class,
		Fields: record.FieldSet(w.Fields), Level: w.Level, Count: w.Count,
		Detail: decodeDetail(Kind(w.Kind), w.Detail, nil),
	}
	if copy(e.Nonce[:], w.Nonce) != len(w.Nonce) || copy(e.Root[:], w.Root) != len(w.Root) ||
		copy(e.Subjects[:], w.Subjects) != len(w.Subjects) {
		return malformed("a nonce or hash that is too long")
	}
	if err := errors.Join(e.check(), checkDetail(w.Detail)); err != nil {
		return malformed(err.Error())
	}
	w.Nonce, w.Root, w.Subjects = unzero(e.Nonce[:]), unzero(e.Root[:]), unzero(e.Subjects[:])
	again, err := encode(&w)
	if err != nil {
		return malformed(err.Error())
	}
	if !bytes.Equal(again, leaf) {
		return malformed("another encoding of the same entry")
	}
	return e, nil
}

// Bucket returns the size class of a number of customers: the number of bits it
// takes, so that an entry tells a batch from a single read and no more.
func Bucket(n int) uint8 { return uint8(bits.Len(uint(n))) }

// Commitment binds a customer to an entry: HMAC-SHA-256 under the customer's own log
// key of the entry's nonce, the fields, and how many disclosures of this customer
// came before. Without the key it says nothing; a counter that skips shows a
// disclosure withheld.
func Commitment(logKey []byte, nonce [16]byte, fields record.FieldSet, counter uint32) [32]byte {
	var msg [24]byte
	copy(msg[:], nonce[:])
	binary.BigEndian.PutUint32(msg[16:], uint32(fields))
	binary.BigEndian.PutUint32(msg[20:], counter)
	if len(logKey) > sha256.BlockSize {
		m := hmac.New(sha256.New, logKey)
		m.Write(bytes.Clone(msg[:])) // which alone goes to the heap then
		return [32]byte(m.Sum(nil))
	}
	// The same without the memory that crypto/hmac takes: there is one of these for
	// each customer of an import. A test holds that both agree.
	var inner [sha256.BlockSize + len(msg)]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner[:], logKey)
	copy(outer[:], logKey)
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	copy(inner[sha256.BlockSize:], msg[:])
	sum := sha256.Sum256(inner[:])
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}
