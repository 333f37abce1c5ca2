// Package cards finds payment card numbers in text, so that they can be refused at
// the door: a vault of customers must never come to hold cardholder data (PCI DSS
// requirement 3).
//
// A card number is 14 to 19 digits, in any script, that begin with the range of a known
// issuer, are as many as this issuer issues today, and pass the Luhn check (ISO/IEC
// 7812-1). Between two digits stands nothing, or one separator (space, hyphen, dot,
// slash, underscore and their Unicode relatives). Wider gaps, and commas, are accepted
// between the groups in which cards are printed, all alike: four digits each, or 4-6-5
// and 4-6-4.
//
// # False alarms
//
// The issuer's range and length must agree, and the check digit must be right: about
// one in twenty-five random numbers of 16 digits passes both. What passes by chance
// must therefore be known by its form. None of these is a card number:
//
//   - up to 15 digits behind a "+", which are a telephone number
//   - digits of an IBAN of its country's length with right check digits
//   - digits of an IPv4 address
//   - the digits of a decimal number, such as a coordinate or a measure
//   - an article number (EAN-13) with further digits beside it
//   - two numbers of nine digits, which are telephone numbers
//   - groups divided by slashes as well as by other separators, which are dates or
//     registration numbers
//
// And where digits run on without a separator, only the whole run is looked at, never a
// part: an order number of 22 digits is not searched for a card inside it. Two things
// may be glued to a card: its expiry date, and the security code behind that date.
//
// docs/cards.md has the rates, and says where finding and false alarms pull against
// each other.
package cards

import (
	"slices"
	"strings"
)

const (
	minDigits = 14
	maxDigits = 19
	// maxTail is the longest that may be glued to a card: MM/YY and a security code of
	// four digits.
	maxTail = 8
	// maxPiece bounds what is kept of one unbroken run of digits: a longer run is
	// no card, whatever is in it.
	maxPiece = maxDigits + maxTail + 1
	// maxGap is the most runes between two groups of one number: two separators with a
	// space on each side.
	maxGap = 4
)

// Finder finds card numbers. It is safe for concurrent use.
type Finder struct {
	own []string // prefixes of numbers that are no cards here
}

// New returns a finder for the issuers in use today, which docs/cards.md lists.
func New() *Finder { return &Finder{} }

// Except returns a finder that lets numbers pass which begin with one of the prefixes:
// a brand's own ranges, for fields that hold its own numbers. [CheckPrefix] says which
// prefixes make sense.
func (f *Finder) Except(prefixes ...string) *Finder {
	return &Finder{own: append(append([]string(nil), f.own...), prefixes...)}
}

// Contains reports whether a payment card number stands anywhere in the text.
func (f *Finder) Contains(text string) bool {
	return len(text) >= minDigits && plausible(text) && f.search(text)
}

// isOwn reports whether a number is in a declared range.
func (f *Finder) isOwn(number []byte) bool {
	for _, p := range f.own {
		if len(p) <= len(number) && prefixed(number, p) {
			return true
		}
	}
	return false
}

func prefixed(number []byte, prefix string) bool {
	for i := range len(prefix) {
		if number[i] != prefix[i]-'0' {
			return false
		}
	}
	return true
}

// Own is what a brand says of numbers that it gives out itself.
type Own struct {
	Prefixes []string // with which such numbers begin
	Fields   []string // that may hold them
	finder   *Finder
}

// NewOwn returns the declaration of a brand. [CheckPrefix] says which prefixes make sense.
func NewOwn(prefixes, fields []string) *Own {
	return &Own{prefixes, fields, New().Except(prefixes...)}
}

// Lets reports whether a text in which a card number was found may stand in a field
// after all: every number in it that could be one is the brand's own. A brand without a
// declaration has a nil Own, which lets nothing in.
func (o *Own) Lets(field, text string) bool {
	return o != nil && slices.Contains(o.Fields, field) && !o.finder.Contains(text)
}

const (
	// minPrefix is how many digits name a range of one's own: as many as ISO/IEC 7812
	// gave to one issuer.
	minPrefix = 6
	// maxPrefix keeps a prefix shorter than any card number.
	maxPrefix = 12
)

// Prefix is why a text is no prefix of a range of one's own; empty if it is one.
type Prefix string

// Reasons why a prefix is refused.
const (
	PrefixFine   Prefix = ""
	PrefixDigits Prefix = "is not 6 to 12 digits"
	PrefixBank   Prefix = "is in a range from which Visa, Mastercard, American Express, Diners Club, JCB and UnionPay issue cards: numbers in it can be anybody's card"
)

// CheckPrefix says whether a brand may call a range its own. The ranges of the
// international credit card schemes are nobody's own.
func CheckPrefix(prefix string) Prefix {
	if len(prefix) < minPrefix || len(prefix) > maxPrefix || strings.Trim(prefix, "0123456789") != "" {
		return PrefixDigits
	}
	first := 0
	for i := range minPrefix {
		first = first*10 + int(prefix[i]-'0')
	}
	for _, is := range known[first/10000] {
		switch is.name {
		case "Visa", "Mastercard", "American Express", "Diners Club", "JCB", "UnionPay":
		default:
			continue
		}
		scale := 1
		for range minPrefix - is.digits {
			scale *= 10
		}
		if n := first / scale; n >= is.low && n <= is.high {
			return PrefixBank
		}
	}
	return PrefixFine
}
