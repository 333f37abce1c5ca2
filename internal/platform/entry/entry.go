// Package entry defines the leaf of a brand's log: what one entry says, and its one
// binary form.
//
// An entry names no customer. It carries a Merkle root over one commitment for each
// customer concerned, and a salted digest of the list of their ordinals. The holder of
// the customer's log key can show that the customer is in the entry; the holder of the
// list and its salt can show the whole list; a stranger learns neither.
//
// # Values
//
// An entry names no member of staff either. Its exact time, its principal and every
// text that may name somebody are values: they lie beside the leaf, sealed by the
// ledger, and the leaf has a Merkle root over one salted digest for each. One value can
// be shown alone, see [Entry.Show], and all of them can be erased, see [RetentionOf]:
// the leaf, and with it the tree, stays as it is. Leaves of version 1, which earlier
// releases wrote, have everything in clear.
//
// # Binary form
//
// A leaf is one CBOR map (RFC 8949) with integer keys, in core deterministic
// encoding. Reading is strict: what would not be written again byte for byte is
// [ErrMalformed]. Two different leaves never mean the same entry, so that a proof of
// a leaf is a proof of the entry. docs/log-format.md describes both versions.
package entry

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrMalformed is returned for bytes that are not an entry in its one form.
var ErrMalformed = fault.New(fault.Internal, "not a log entry in canonical form")

// ErrNewer is returned for a leaf in a form that this release does not know.
var ErrNewer = fault.New(fault.Unavailable, "written by a newer version of Cloakroom: upgrade this server")

// The versions of the leaf's form, its first member.
const (
	Version1 = 1 // everything in clear; read, and written no more
	Version  = 2
)

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
	KindCanary                         // canaries placed or retired, mail to one received
	KindOutcome                        // what became of an act that an earlier entry announced
	KindErasureBegun                   // a customer's key laid aside, to be destroyed after a time
	KindErasureUndone                  // an erasure taken back while the key lay aside
	KindIncident                       // whose data was concerned was asked, and each step of an incident
	KindEpoch                          // the log continues after a restore or a loss, under a new origin
	KindHold                           // a legal hold placed or released
	KindClaim                          // a list that somebody claims to have was held against the customers

	lastOfVersion1 = KindCanary
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
	KindOutcome:        "outcome",
	KindErasureBegun:   "erasure-begun",
	KindErasureUndone:  "erasure-undone",
	KindIncident:       "incident",
	KindEpoch:          "epoch",
	KindHold:           "hold",
	KindClaim:          "claim",
}

// criticalKinds move budgets or rights: a server that does not know such an entry
// cannot decide what comes after it.
var criticalKinds = [...]bool{
	KindDisclosure: true, KindSearch: true, KindErasure: true, KindAdministration: true,
	KindPolicy: true, KindBudget: true, KindContainment: true, KindOutcome: false,
	KindErasureBegun: true, KindErasureUndone: true, KindIncident: false, KindEpoch: true, KindHold: true,
	KindClaim: true,
}

// Known reports whether this release knows the kind.
func (k Kind) Known() bool { return k > 0 && int(k) < len(kindNames) }

// String returns the kind's name.
func (k Kind) String() string {
	if !k.Known() {
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

// Actor says who acted.
type Actor uint8

// The actors.
const (
	ActorPrincipal Actor = iota // a person of staff, or a service
	ActorSubject                // the customer
	ActorSystem                 // the vault by itself, as a rule told it to
)

var actorNames = [...]string{ActorPrincipal: "principal", ActorSubject: "data-subject", ActorSystem: "system"}

// String returns the actor's name.
func (a Actor) String() string {
	if int(a) < len(actorNames) {
		return actorNames[a]
	}
	return fmt.Sprintf("actor(%d)", uint8(a))
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

// Claimed returns how many rows of a sample the entry counts against the budget of claims:
// each of them, found or not. One that two people approved counts against none.
func (e *Entry) Claimed() int {
	if b, ok := e.Detail.(ClaimBegun); ok && e.Class != "" {
		return b.Rows
	}
	return 0
}

// Row names a row that an act on rights changed, with a salted digest of the whole row
// after the act. The digest of a row that is gone, or grants nothing any more, is zero.
type Row struct {
	Table  string
	Key    string
	Digest [32]byte
	// Kept is the row as it was written, from which it can be made again: sealed beside the
	// leaf, and empty where it is erased or was too long.
	Kept string
}

// Gone reports whether the act ended the row.
func (r *Row) Gone() bool { return r.Digest == [32]byte{} }

// Counted is the level of fields that the vault opened to count customers, and showed to
// nobody.
const Counted = "counted"

// MaxRows bounds the rows of one entry: with MaxText bytes for each name they fit a leaf.
const MaxRows = 1200

// Entry is what one leaf says, with its values. At is kept to the microsecond.
type Entry struct {
	Kind     Kind
	Critical bool // it moves budgets or rights; Marshal sets it
	Brand    record.BrandID
	Actor    Actor
	Role     string
	Purpose  string
	Class    string // the budget it counted against: clear, masked, search, export, or none
	Fields   record.FieldSet
	Level    string // how the fields were shown: clear, masked, extract or counted
	Count    uint8  // Bucket of the number of customers
	Nonce    [16]byte
	Root     [32]byte // over the customers' commitments; zero without customers
	Subjects [32]byte // SubjectsDigest; zero without customers
	Rows     []Row    // that the act changed, ascending by table and key

	// The values: of an entry whose values are erased, At is the beginning of the UTC
	// day and the others are zero.
	At               time.Time
	Principal        uint64
	Credential       uint64
	Lineage          uint64
	Ticket           string
	Country, Entity  string // of the reader: country and legal entity
	Recipient        string
	RecipientCountry string
	RecipientEntity  string
	Detail           Detail // of the kind, in part values; nil for none

	// Reader stands for the principal in the commitments of the customers, see
	// [Commitment]: the ledger derives it and keeps it when the values are erased.
	Reader [16]byte

	version uint8    // of the leaf that it was read from
	bare    bool     // read from a leaf without its values
	mask    uint64   // which values the leaf has a digest of
	hidden  []string // names of the details among the values, ascending
	values  [32]byte // root over the digests
}

// Bare reports whether the entry was read without its values: its leaf has some, and
// they are erased or were not at hand.
func (e *Entry) Bare() bool { return e.bare }

// LeafVersion is the version of the leaf that the entry was read from.
func (e *Entry) LeafVersion() int { return int(e.version) }

// Newer reports whether the entry is of a kind that this release does not know.
func (e *Entry) Newer() bool { return !e.Kind.Known() }

// wire1 is the leaf of version 1. Members that are empty are left out.
type wire1 struct {
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

// wire2 is the leaf of version 2. Keys that version 1 has mean what they mean there,
// except 2, which is the day.
type wire2 struct {
	Version  uint64            `cbor:"0,keyasint"`
	Kind     uint8             `cbor:"1,keyasint"`
	Day      uint32            `cbor:"2,keyasint"` // UTC days since 1970
	Brand    uint16            `cbor:"3,keyasint"`
	Role     string            `cbor:"7,keyasint,omitempty"`
	Purpose  string            `cbor:"8,keyasint,omitempty"`
	Class    string            `cbor:"10,keyasint,omitempty"`
	Fields   uint32            `cbor:"11,keyasint,omitempty"`
	Level    string            `cbor:"12,keyasint,omitempty"`
	Count    uint8             `cbor:"13,keyasint,omitempty"`
	Nonce    []byte            `cbor:"14,keyasint,omitempty"`
	Root     []byte            `cbor:"15,keyasint,omitempty"`
	Subjects []byte            `cbor:"16,keyasint,omitempty"`
	Detail   map[string]string `cbor:"17,keyasint,omitempty"`
	Critical bool              `cbor:"18,keyasint,omitempty"`
	Actor    uint8             `cbor:"19,keyasint,omitempty"`
	Mask     uint64            `cbor:"20,keyasint"`           // bit by bit, the values of valueNames
	Hidden   []string          `cbor:"21,keyasint,omitempty"` // names of the details among the values
	Values   []byte            `cbor:"22,keyasint"`
	// Rows holds digests by table and key, an empty one for a row that is gone.
	Rows map[string]map[string][]byte `cbor:"23,keyasint,omitempty"`
}

// Limits on the texts of an entry.
const (
	MaxText   = 64       // role, purpose, ticket, class, level, and a detail's name
	MaxDetail = 48 << 10 // all of Detail together
	MaxParty  = 256      // a recipient, a legal entity
)

func (e *Entry) check() error {
	if e.Kind == 0 {
		return errors.New("no kind")
	}
	if us := e.At.UnixMicro(); us < 0 || us == 0 && !e.bare {
		return errors.New("no time after 1970")
	}
	if e.Fields&^record.AllFields != 0 {
		return errors.New("unknown field")
	}
	for _, s := range []string{e.Role, e.Purpose, e.Class, e.Level, e.Ticket, e.Country} {
		if !plain(s) {
			return errors.New("a text is longer than 64 bytes or has other characters than letters, digits, dot, hyphen and underscore")
		}
	}
	for _, s := range []string{e.Entity, e.Recipient, e.RecipientCountry, e.RecipientEntity} {
		if len(s) > MaxParty || !utf8.ValidString(s) {
			return fmt.Errorf("a recipient or legal entity of more than %d bytes, or not in UTF-8", MaxParty)
		}
	}
	if err := checkRows(e.Rows); err != nil {
		return err
	}
	if e.Count > 64 {
		return errors.New("a count bucket above 64")
	}
	if (e.Root == [32]byte{}) != (e.Subjects == [32]byte{}) || (e.Root == [32]byte{}) != (e.Count == 0) {
		return errors.New("root, subjects and count do not go together")
	}
	return nil
}

func checkRows(rows []Row) error {
	if len(rows) > MaxRows {
		return fmt.Errorf("more than %d rows", MaxRows)
	}
	for i := range rows {
		r := &rows[i]
		if r.Table == "" || r.Key == "" || !plain(r.Table) || !plain(r.Key) {
			return errors.New("a row without a proper table and key")
		}
		if i > 0 && compareRows(rows[i-1], *r) >= 0 {
			return errors.New("rows out of order")
		}
	}
	return nil
}

func compareRows(a, b Row) int {
	return cmp.Or(strings.Compare(a.Table, b.Table), strings.Compare(a.Key, b.Key))
}

// SortRows puts rows into the order in which an entry has them. Of several of one place
// the last stays.
func SortRows(rows []Row) []Row {
	slices.SortStableFunc(rows, compareRows)
	out := rows[:0]
	for i, r := range rows {
		if i+1 == len(rows) || compareRows(r, rows[i+1]) != 0 {
			out = append(out, r)
		}
	}
	return out
}

// keptRows are the rows as the values have them: none where none is kept.
func keptRows(rows []Row) [][]byte {
	some := false
	out := make([][]byte, len(rows))
	for i := range rows {
		out[i] = []byte(rows[i].Kept)
		some = some || rows[i].Kept != ""
	}
	if !some {
		return nil
	}
	return out
}

// wireRows are rows as a leaf has them.
func wireRows(rows []Row) map[string]map[string][]byte {
	if len(rows) == 0 {
		return nil
	}
	out := map[string]map[string][]byte{}
	for i := range rows {
		r := &rows[i]
		if out[r.Table] == nil {
			out[r.Table] = map[string][]byte{}
		}
		out[r.Table][r.Key] = []byte{}
		if !r.Gone() {
			out[r.Table][r.Key] = r.Digest[:]
		}
	}
	return out
}

// readRows reads what wireRows wrote, and false of anything else.
func readRows(w map[string]map[string][]byte) (rows []Row, ok bool) {
	for table, keys := range w {
		if len(keys) == 0 {
			return nil, false
		}
		for key, digest := range keys {
			r := Row{Table: table, Key: key}
			if n := copy(r.Digest[:], digest); len(digest) != 0 && (n != len(digest) || n != len(r.Digest) || r.Gone()) {
				return nil, false
			}
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, compareRows)
	return rows, true
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
	decoding, decodingErr = strict(cbor.ExtraDecErrorUnknownField).DecMode()
	anyMember, anyErr     = strict(cbor.ExtraDecErrorNone).DecMode()
)

func strict(unknown cbor.ExtraDecErrorCond) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: unknown,
		MaxNestedLevels:   4,
		MaxMapPairs:       4096,
		MaxArrayElements:  4096,
		UTF8:              cbor.UTF8RejectInvalid,
	}
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

// head is what leaves of every version have.
type head struct {
	Version uint64 `cbor:"0,keyasint"`
}

// Unmarshal reads a leaf strictly: unknown, repeated or out of order members, other
// than shortest forms and trailing bytes are ErrMalformed. A leaf of a later version is
// ErrNewer. The values of a leaf of version 2 are [Entry.Open]'s.
func Unmarshal(leaf []byte) (Entry, error) {
	malformed := func(why string) (Entry, error) { return Entry{}, fmt.Errorf("%w: %s", ErrMalformed, why) }
	if len(leaf) > MaxLeaf {
		return malformed("too long")
	}
	if err := errors.Join(decodingErr, anyErr); err != nil {
		return Entry{}, fmt.Errorf("reading a log entry: %w", err)
	}
	// Every leaf begins with its version: key 0 comes first in deterministic encoding.
	switch {
	case len(leaf) > 2 && leaf[1] == 0 && leaf[2] == Version:
		return unmarshal2(leaf)
	case len(leaf) > 2 && leaf[1] == 0 && leaf[2] == Version1:
		return unmarshal1(leaf)
	}
	var h head
	if err := anyMember.Unmarshal(leaf, &h); err == nil && h.Version > Version {
		return Entry{}, fmt.Errorf("leaf version %d: %w", h.Version, ErrNewer)
	}
	return malformed("not the CBOR map of an entry")
}

func unmarshal1(leaf []byte) (Entry, error) {
	malformed := func(why string) (Entry, error) { return Entry{}, fmt.Errorf("%w: %s", ErrMalformed, why) }
	var w wire1
	if err := decoding.Unmarshal(leaf, &w); err != nil {
		return malformed("not the CBOR map of an entry")
	}
	e := Entry{
		Kind: Kind(w.Kind), At: time.UnixMicro(w.At).UTC(), Brand: record.BrandID(w.Brand),
		Principal: w.Principal, Credential: w.Credential, Lineage: w.Lineage,
		Role: w.Role, Purpose: w.Purpose, Ticket: w.Ticket, Class: w.Class,
		Fields: record.FieldSet(w.Fields), Level: w.Level, Count: w.Count,
		Detail: decodeDetail(Kind(w.Kind), w.Detail, nil), version: Version1,
	}
	e.Critical = e.critical()
	if e.Kind > lastOfVersion1 {
		return malformed(fmt.Sprintf("unknown kind %d", e.Kind))
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

func (e *Entry) critical() bool {
	return int(e.Kind) < len(criticalKinds) && criticalKinds[e.Kind]
}

// Bucket returns the size class of a number of customers: the number of bits it
// takes, so that an entry tells a batch from a single read and no more.
func Bucket(n int) uint8 { return uint8(bits.Len(uint(n))) }
