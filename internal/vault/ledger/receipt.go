package ledger

import (
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

var (
	// ErrNotLogged is returned where a receipt is due and there is none.
	ErrNotLogged = fault.New(fault.Internal, "nothing is disclosed that is not logged: the receipt is missing")
	// ErrUnavailable is returned when the log cannot be written or read. Whatever the
	// request was, it did not happen.
	ErrUnavailable = fault.New(fault.Unavailable, "the log cannot be written, so nothing was disclosed or changed: retry; the server's own log has the cause")
	// ErrTampered is returned when what the log holds is not what was signed.
	ErrTampered = fault.New(fault.Unavailable, "the log differs from what was signed: somebody changed it outside the vault")
	// ErrNoLog is returned for a brand that has no log.
	ErrNoLog = fault.New(fault.Unavailable, "this brand has no log")
	// ErrTooMany is returned for more customers than one entry may concern.
	ErrTooMany = fault.Newf(fault.Internal, "more than %d customers in one entry: ask for fewer at a time", MaxCustomers)
	// ErrOrder is returned for customers that are not in ascending order without
	// repeats: commitments are made in that order.
	ErrOrder = fault.New(fault.Internal, "customers are not in ascending order without repeats")
	// ErrClosed is returned after Close.
	ErrClosed = fault.New(fault.Unavailable, "the ledger is closed")
)

// MaxCustomers bounds the customers of one entry and of one group commit.
const MaxCustomers = 20_000

// Commit returns the commitment of the i-th customer of an entry: made by whoever
// can reach the customer's log key. See [entry.Commitment].
type Commit func(i int, c entry.Committed) [32]byte

// Recipient is to whom a release goes, where that is not the reader.
type Recipient struct {
	Name    string
	Country string // ISO 3166-1; empty until set
	Entity  string // legal entity; empty until set
}

// Release is what somebody wants to be shown.
type Release struct {
	Grant  access.Grant
	Class  budget.Class
	Ticket string
	Ords   []record.Ordinal // ascending
	Rows   int              // what a refusal speaks of, where whom it would show is not to be told
	Absent bool             // a search that found nobody, which costs one; without Ords
	Detail entry.Detail

	Recipient Recipient
	// Most is the limit of the approval that the detail names: see [entry.Mailed].
	Most budget.Limits
}

func (r *Release) disclosure() budget.Disclosure {
	who := r.Grant.Who()
	d := budget.Disclosure{Lineage: who.Lineage, Principal: who.Principal, Role: who.Role, Class: r.Class, Ords: r.Ords, Rows: r.Rows,
		Approval: entry.ApprovalOf(r.Detail), Most: r.Most}
	if r.Absent {
		d.Absent = 1
	}
	return d
}

// Hold is a release whose budgets had room when it was asked for. It is no promise:
// [Ledger.Append] decides.
type Hold struct {
	release Release
	valid   bool
}

// Event is what is logged and releases nothing: writes, refusals, administration.
type Event struct {
	Kind    entry.Kind
	Who     identity.Who
	Purpose string
	Ticket  string
	Fields  record.FieldSet
	Ords    []record.Ordinal // ascending
	Commit  Commit           // needed with Ords
	Detail  entry.Detail

	// Class is the budget that a write or an erasure counts against; empty: none.
	Class string
	// Rooms are the budgets that must have room before the event is logged, whatever it
	// counts: so that a refusal does not tell whom it would have counted.
	Rooms []Room
	// Rows is what a refusal speaks of, instead of whom the event would count; 0: of those.
	Rows int
	// Most is the limit of the approval that the detail names.
	Most budget.Limits
}

// Room is how much room a budget must have.
type Room struct {
	Class budget.Class
	N     int
	// Approval is the approval whose budget it is, with its limits; 0: none.
	Approval uint64
	Most     budget.Limits
}

// Receipt shows that an entry is durable. Only the ledger makes one; the zero
// Receipt covers nothing.
type Receipt struct {
	brand  record.BrandID
	kind   entry.Kind
	index  uint64
	size   uint64
	at     time.Time
	fields record.FieldSet
	grant  access.Grant
	ords   []record.Ordinal
}

// Kind is what the entry records.
func (r Receipt) Kind() entry.Kind { return r.kind }

// Valid reports whether the receipt came from the ledger.
func (r Receipt) Valid() bool { return r.size > 0 }

// Brand is the brand whose log holds the entry.
func (r Receipt) Brand() record.BrandID { return r.brand }

// Entry is the index of the entry in the brand's log, from 0.
func (r Receipt) Entry() uint64 { return r.index }

// CheckpointSize is the size of the first checkpoint that includes the entry.
func (r Receipt) CheckpointSize() uint64 { return r.size }

// At is the entry's time.
func (r Receipt) At() time.Time { return r.at }

// Fields are the fields that the entry says were released or touched.
func (r Receipt) Fields() record.FieldSet { return r.fields }

// Grant is what allowed the release; not valid for an event.
func (r Receipt) Grant() access.Grant { return r.grant }

// Covers reports whether the entry released fields of the customer.
func (r Receipt) Covers(ord record.Ordinal) bool { return released(r.kind) && r.Recorded(ord) }

// Recorded reports whether the entry concerns the customer in any way.
func (r Receipt) Recorded(ord record.Ordinal) bool {
	_, ok := slices.BinarySearch(r.ords, ord)
	return r.Valid() && ok
}

func released(k entry.Kind) bool { return k == entry.KindDisclosure || k == entry.KindSearch }

func kindOf(c budget.Class) entry.Kind {
	if c == budget.Search {
		return entry.KindSearch
	}
	return entry.KindDisclosure
}

// level says how fields are shown: in clear, masked, as an extract without who it is, or to
// nobody, because the vault counts them.
func level(r Release) string {
	switch {
	case r.Class == budget.Scope:
		return entry.Counted
	case r.Grant.Action() == access.ActExtract:
		return "extract"
	case r.Grant.Action() == access.ActExport, r.Grant.Action() == access.ActMessage, r.Class == budget.Clear:
		return "clear"
	}
	return "masked"
}

func checkOrds(ords []record.Ordinal) error {
	if len(ords) > MaxCustomers {
		return ErrTooMany
	}
	for i, o := range ords {
		if o == 0 || i > 0 && o <= ords[i-1] {
			return ErrOrder
		}
	}
	return nil
}
