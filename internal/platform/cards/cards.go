// Package cards finds payment card numbers in text, so that they can be refused at
// the door: a vault of customers must never come to hold cardholder data (PCI DSS
// requirement 3).
//
// A card number is 13 to 19 digits, in any script, with at most one separator
// between two of them (space, hyphen, dot, slash, underscore and their Unicode
// relatives), that begins with the range of a known issuer, has a length that this
// issuer uses, and passes the Luhn check (ISO/IEC 7812-1).
//
// # False alarms
//
// Four things keep them down. The issuer's range and length must agree (most long
// numbers fail here). The Luhn digit must be right (nine in ten of the rest fail).
// A number that starts with "+" is a telephone number. And where digits run on
// without a separator, only the whole run is looked at, never a part: an EAN of 13
// digits or an order number of 16 is not searched for a card inside it. Parts are
// looked at only between separators, so that a number followed by its expiry date
// or security code is still found.
package cards

import (
	"unicode"
	"unicode/utf8"
)

const (
	minDigits = 13
	maxDigits = 19
	// maxPiece bounds what is kept of one unbroken run of digits: a longer run is
	// no card, whatever is in it.
	maxPiece = maxDigits + 1
	// maxPieces bounds the pieces of one number: cards are written in groups of at
	// least two digits, and nineteen digits singly spaced are still found.
	maxPieces = maxDigits
)

// issuer is a range of first digits and the lengths in use.
type issuer struct {
	low, high int // both with the same number of digits
	digits    int
	lengths   [maxDigits + 1]bool
}

// Finder finds card numbers. It is safe for concurrent use.
type Finder struct{ issuers []issuer }

// New returns a finder for the issuers of ISO/IEC 7812 in use today: Visa,
// Mastercard, American Express, Diners Club, Discover, JCB, UnionPay, Maestro, Mir,
// RuPay, Troy and Verve.
func New() *Finder {
	f := &Finder{}
	add := func(low, high, digits int, lengths ...int) {
		i := issuer{low: low, high: high, digits: digits}
		for _, n := range lengths {
			i.lengths[n] = true
		}
		f.issuers = append(f.issuers, i)
	}
	add(4, 4, 1, 13, 16, 19)                       // Visa
	add(51, 55, 2, 16)                             // Mastercard
	add(222100, 272099, 6, 16)                     // Mastercard
	add(34, 34, 2, 15)                             // American Express
	add(37, 37, 2, 15)                             // American Express
	add(300, 305, 3, 14, 16, 17, 18, 19)           // Diners Club
	add(3095, 3095, 4, 14, 16, 17, 18, 19)         // Diners Club
	add(36, 36, 2, 14, 16, 17, 18, 19)             // Diners Club
	add(38, 39, 2, 14, 16, 17, 18, 19)             // Diners Club
	add(6011, 6011, 4, 16, 17, 18, 19)             // Discover
	add(644, 659, 3, 16, 17, 18, 19)               // Discover, RuPay, Troy, Verve
	add(3528, 3589, 4, 16, 17, 18, 19)             // JCB
	add(62, 62, 2, 16, 17, 18, 19)                 // UnionPay
	add(60, 60, 2, 16)                             // RuPay
	add(81, 82, 2, 16)                             // RuPay, UnionPay
	add(508, 508, 3, 16)                           // RuPay
	add(5018, 5018, 4, 13, 14, 15, 16, 17, 18, 19) // Maestro
	add(5020, 5020, 4, 13, 14, 15, 16, 17, 18, 19) // Maestro
	add(5038, 5038, 4, 13, 14, 15, 16, 17, 18, 19) // Maestro
	add(5893, 5893, 4, 13, 14, 15, 16, 17, 18, 19) // Maestro
	add(6304, 6304, 4, 13, 14, 15, 16, 17, 18, 19) // Maestro
	add(6759, 6763, 4, 13, 14, 15, 16, 17, 18, 19) // Maestro
	add(2200, 2204, 4, 16, 17, 18, 19)             // Mir
	add(9792, 9792, 4, 16)                         // Troy
	add(506099, 506198, 6, 16, 19)                 // Verve
	add(650002, 650027, 6, 16, 19)                 // Verve
	return f
}

// Contains reports whether a payment card number stands anywhere in the text.
func (f *Finder) Contains(text string) bool {
	return len(text) >= minDigits && f.plausible(text) && f.find(text)
}

// find is Contains by the rules.
func (f *Finder) find(text string) bool {
	var pieces [][]byte // unbroken runs of digits, one separator apart
	var piece []byte
	phone, gap := false, 0
	flush := func() bool {
		if piece != nil {
			pieces, piece = append(pieces, piece), nil
		}
		found := !phone && f.inPieces(pieces)
		pieces, phone = nil, false
		return found
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		if d, ok := digit(r); ok {
			gap = 0
			if len(piece) < maxPiece {
				piece = append(piece, d)
			}
			continue
		}
		if piece != nil {
			pieces, piece = append(pieces, piece), nil
		}
		switch {
		case r == 0x200b || r == 0x200c || r == 0x200d || r == 0x2060 || r == 0xfeff || r == 0xad:
			// Invisible: a number broken by it reads as one.
			continue
		case separator(r) && len(pieces) > 0 && gap == 0:
			gap = 1
			if len(pieces) > 2*maxPieces {
				if f.inPieces(pieces) && !phone {
					return true
				}
				pieces = pieces[len(pieces)-maxPieces:]
			}
			continue
		}
		if flush() {
			return true
		}
		gap = 0
		phone = r == '+' || r == '＋'
	}
	return flush()
}

// plausible reports whether enough digits stand near enough to each other for a card.
// It errs to true: every rune beyond ASCII counts as digits, but for the usual letters.
// Nearly all texts end here, in a sixth of the time of find (BenchmarkContains).
func (f *Finder) plausible(text string) bool {
	digits, gap := 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRuneInString(text[i:]); letter(r) {
				i += size - 1
				digits, gap = 0, false
				continue
			}
		}
		switch {
		case c >= '0' && c <= '9' || c >= utf8.RuneSelf:
			if digits++; digits >= minDigits {
				return true
			}
			gap = false
		case !gap && (c == ' ' || c == '\t' || c == '-' || c == '.' || c == '/' || c == '_'):
			gap = true
		default:
			digits, gap = 0, false
		}
	}
	return false
}

// letter reports whether a rune beyond ASCII is of the ranges in which names and
// addresses are mostly written, none of which has a digit, a separator or an invisible
// rune: Latin to Cyrillic, Hebrew and Arabic, Devanagari, Kana, Han and Hangul.
func letter(r rune) bool {
	return r >= 0xc0 && r <= 0x589 || r >= 0x5d0 && r <= 0x65f || r >= 0x900 && r <= 0x965 ||
		r >= 0x3041 && r <= 0x309f || r >= 0x30a1 && r <= 0x30ff || r >= 0x4e00 && r <= 0x9fff || r >= 0xac00 && r <= 0xd7a3
}

// Harmless reports whether a text is printable ASCII in no part of which a card number
// can stand, as nearly all texts are. It takes a third of the time of Contains on the
// whole text (BenchmarkHarmless); a scan of eight bytes at a time gained 1.3 times more on
// the first loop, which a row of a file does not notice.
func Harmless(text string) bool {
	bad := byte(0) // without a branch, so that one bad byte ends nothing early
	for i := 0; i < len(text); i++ {
		bad |= (text[i] - ' ') | ('~' - text[i]) // a high bit where one of them is below zero
	}
	if bad >= utf8.RuneSelf {
		return false
	}
	return sparse(text)
}

// sparse reports whether a text of printable ASCII has too few digits together for a
// card. A card is at least minDigits bytes of digits and separators: where one byte in
// minDigits is neither, all before it are free.
func sparse(text string) bool {
	for i := minDigits - 1; i < len(text); i += minDigits {
		if !inCard(text[i]) {
			continue
		}
		from := i
		for from > 0 && inCard(text[from-1]) {
			from--
		}
		digits, gap := 0, false
		for i = from; i < len(text) && inCard(text[i]); i++ {
			switch {
			case text[i] >= '0' && text[i] <= '9':
				if digits++; digits >= minDigits {
					return false
				}
				gap = false
			case !gap:
				gap = true
			default:
				digits, gap = 0, false
			}
		}
	}
	return true
}

// inCard reports whether a printable ASCII character stands in card numbers as they
// are written.
func inCard(c byte) bool {
	return c >= '0' && c <= '9' || c == ' ' || c == '-' || c == '.' || c == '/' || c == '_'
}

// inPieces looks at every sequence of whole pieces of a fitting length.
func (f *Finder) inPieces(pieces [][]byte) bool {
	for from := range pieces {
		var number []byte
		for _, p := range pieces[from:] {
			if len(number)+len(p) > maxDigits {
				break
			}
			number = append(number, p...)
			if len(number) >= minDigits && f.card(number) {
				return true
			}
		}
	}
	return false
}

func (f *Finder) card(number []byte) bool {
	for i := range f.issuers {
		is := &f.issuers[i]
		if !is.lengths[len(number)] {
			continue
		}
		first := 0
		for _, d := range number[:is.digits] {
			first = first*10 + int(d)
		}
		if first >= is.low && first <= is.high {
			return luhn(number)
		}
	}
	return false
}

// luhn is the check of ISO/IEC 7812-1 annex B.
func luhn(number []byte) bool {
	sum := 0
	for i, d := range number {
		n := int(d)
		if (len(number)-i)%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}

// digit returns the value of a decimal digit of any script. Unicode keeps the ten
// digits of a script together, from zero up.
func digit(r rune) (byte, bool) {
	if r >= '0' && r <= '9' {
		return byte(r - '0'), true
	}
	if r < utf8.RuneSelf || !unicode.Is(unicode.Nd, r) {
		return 0, false
	}
	for _, t := range unicode.Nd.R16 {
		if r >= rune(t.Lo) && r <= rune(t.Hi) {
			return byte((r - rune(t.Lo)) % 10), true
		}
	}
	for _, t := range unicode.Nd.R32 {
		if r >= rune(t.Lo) && r <= rune(t.Hi) {
			return byte((r - rune(t.Lo)) % 10), true
		}
	}
	return 0, false
}

func separator(r rune) bool {
	switch r {
	case ' ', '\t', '-', '.', '/', '_', 0x2212, 0x00b7, 0x2022:
		return true
	}
	return r >= utf8.RuneSelf && (unicode.Is(unicode.Zs, r) || unicode.Is(unicode.Pd, r))
}
