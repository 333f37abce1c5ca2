// Package intake reads files of customers and purchases and brings them in.
//
// # Reading
//
// A [Reader] takes CSV or JSON lines, plain, gzip or zstd, from a file or from a
// stream of unknown length. [Customers] and [Purchases] turn it into rows, one at a
// time: no row takes more than [MaxRow] bytes, whatever the file holds. Each row is
// checked as it is read: every text in it against payment card numbers, then
// against the limits of a record. A row that fails is a [Reject] that names the
// line, the field and the reason, and never a value: rejects are printed and kept.
//
// What makes the rest of the file unreadable is an error instead: an unknown
// column, a quote that is never closed, a compressed file that ends too early.
//
// # Bringing in
//
// [Run] hands rows to a [Sink] in chunks: all customers, then all purchases, one
// customer's purchases together as far as a bounded buffer reaches. It keeps no
// position on disk. Running the same file again is how an interrupted import is
// resumed: rows that are there already change nothing and are counted as such.
//
// Where two rows of a file have one external id or one purchase id, the later one is
// refused if it says something else, with the line of the first. If it says the same, it
// counts as unchanged. Among the latest two million rows none is missed.
package intake

import (
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// MaxRow bounds the bytes of one row: well above the largest record that passes its
// check, and small enough that a file without line ends costs nothing.
const MaxRow = 256 << 10

// Codes of rejects. They stand in the rejects file and in reports: never change one.
const (
	CodeBadRow            = "bad-row"             // not CSV or JSON, or not as many fields as the header
	CodeRowTooLong        = "row-too-long"        // more than MaxRow bytes
	CodeUnknownColumn     = "unknown-column"      // a name in a JSON row that is no column
	CodeBadField          = "bad-field"           // a value that cannot be kept
	CodeMissingExternalID = "missing-external-id" // no customer number
	CodeCardNumber        = "card-number-refused" // a payment card number in some text
	CodeNoCustomer        = "no-customer"         // a purchase of a customer that the brand does not have
	CodeTaken             = "taken"               // a customer number that another customer has
	CodeRepeated          = "repeated-id"         // an earlier row has this id and says something else
	CodeUnfindable        = "unfindable"          // an e-mail address or phone number by which nobody can be found
	CodeDropped           = "dropped-field"       // a value that cannot be kept was left out, and the row kept
	CodeDeleted           = "deleted-at-source"   // a record that its source has deleted
	CodeAnonymous         = "without-customer"    // a purchase of nobody, which the mapping leaves out: no reject
	CodeDamaged           = "damaged"             // what is stored of this customer cannot be opened
)

// Errors that end reading: nothing after them can be trusted to be what it seems.
var (
	ErrColumns       = fault.New(fault.Internal, "wrong columns")
	ErrUnclosedQuote = fault.New(fault.Internal, "a quote is opened here and never closed: everything after it reads as one value. Correct this row and import the file again")
	ErrFormat        = fault.New(fault.Internal, "not a file that can be imported")
	ErrMapping       = fault.New(fault.Internal, "wrong mapping")
)

// Fault is one thing that is wrong with a row. It never holds a value of the row.
type Fault struct {
	Field  string // empty where the whole row is wrong
	Code   string // one of the Code constants
	Reason string // for people
}

// Reject says which row was refused and why. It never holds a value of the row.
type Reject struct {
	Line   int64  // where the row starts; the first line of a file is 1
	Field  string // empty where the whole row is wrong
	Code   string // one of the Code constants
	Reason string // for people
	// Also are the other faults of the row: all are found at once.
	Also []Fault

	raw string // the row as it was, if it is kept
}

// Faults returns everything that is wrong with the row.
func (r *Reject) Faults() []Fault {
	return append([]Fault{{r.Field, r.Code, r.Reason}}, r.Also...)
}

// Notes are what is to be known of a row that was not refused.
type Notes struct {
	// Unfound are the columns, e-mail and phone, that hold a value which is kept and that
	// nobody can find the customer by.
	Unfound record.FieldSet
	// Dropped are the faults of fields that were left out, as the import was asked to.
	Dropped []Fault
}

// CustomerRow is one row of a file of customers. With a Reject, the rest is empty.
type CustomerRow struct {
	Line     int64
	Customer record.Customer
	// Set holds the columns that the row speaks of. A column in it that is empty in
	// Customer is to be emptied; one that is not in it stays as it is.
	Set record.FieldSet
	// Merge says that attributes are laid over those kept: one with an empty value is
	// taken away, and one that the row does not have stays. Otherwise they are replaced
	// together.
	Merge bool
	Notes Notes
	// Again says that an earlier row of the file was the same.
	Again  bool
	Reject *Reject

	id  string // the external id in normal form
	raw string // the row as it was, if it is kept
}

// PurchaseRow is one row of a file of purchases. With a Reject, the rest is empty.
// ExternalID is in normal form.
type PurchaseRow struct {
	Line       int64
	ExternalID string
	Purchase   record.Purchase
	Again      bool // an earlier row of the file was the same
	Dropped    []Fault
	Reject     *Reject

	raw string // the row as it was, if it is kept
}
