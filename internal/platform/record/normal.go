package record

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// NormalVersion numbers the rules by which normal forms are made. A blind index
// computed under other rules does not match: raise it with any change that gives
// one value another form, and index again.
const NormalVersion = 1

// Errors for values that have no normal form. They never hold the value.
var (
	ErrEmail      = fault.New(fault.Invalid, "not an e-mail address such as name@example.com")
	ErrPhone      = fault.New(fault.Invalid, "not a phone number (write it as +33123456789, or give the country)")
	ErrExternalID = fault.New(fault.Invalid, "not a customer number: empty, too long, not UTF-8 or with control characters")
	ErrText       = fault.New(fault.Internal, "not UTF-8 text")
)

// Normalize returns the form of a column's value under which it is searched. The
// country (ISO 3166-1 alpha-2) serves phone numbers written without theirs.
func Normalize(f Field, value, country string) (string, error) {
	switch f {
	case Email:
		return NormalEmail(value)
	case Phone:
		return NormalPhone(value, country)
	case ExternalID:
		return NormalExternalID(value)
	}
	if len(value) > MaxValueBytes || !validText(value) {
		return "", ErrText
	}
	return fold(value), nil
}

// NormalEmail returns the address in lower case with its domain in ASCII. The part
// before the @ is folded too: no mailbox provider of weight tells case apart. Dots
// and +tags stay, as they name other mailboxes at most providers.
//
// An address whose normal form is not a fixed point (the IDN mapping of some rare
// code points is not) is refused: it could be stored under one form and searched
// for under another.
func NormalEmail(s string) (string, error) {
	if n, ok := plainEmail(s); ok {
		return n, nil
	}
	return slowEmail(s)
}

func slowEmail(s string) (string, error) {
	once, err := normalEmail(s)
	if err != nil {
		return "", err
	}
	if plain, ok := plainEmail(once); ok && plain == once {
		return once, nil
	}
	if twice, err := normalEmail(once); err != nil || twice != once {
		return "", ErrEmail
	}
	return once, nil
}

func normalEmail(s string) (string, error) {
	if len(s) > MaxValueBytes || !validText(s) {
		return "", ErrEmail
	}
	s = fold(s)
	at := strings.LastIndexByte(s, '@')
	if at < 1 || strings.ContainsFunc(s, unicode.IsSpace) || strings.Contains(s[:at], "@") {
		return "", ErrEmail
	}
	domain, err := idna.Lookup.ToASCII(strings.TrimSuffix(s[at+1:], "."))
	if err != nil || domain == "" || at > 64*4 || len(domain) > 253 {
		return "", ErrEmail
	}
	return s[:at] + "@" + domain, nil
}

// NormalPhone returns the number in E.164. The country is needed for a number in
// national form only.
func NormalPhone(s, country string) (string, error) {
	if n, ok := plainPhone(s); ok {
		return n, nil
	}
	return slowPhone(s, country)
}

func slowPhone(s, country string) (string, error) {
	if len(s) > MaxValueBytes || !validText(s) {
		return "", ErrPhone
	}
	s = fold(s)
	if rest, ok := strings.CutPrefix(s, "00"); ok {
		s = "+" + rest
	}
	once, err := e164(s, country)
	if err != nil {
		return "", err
	}
	// Zeros in front of a number that no network has are lost one by one at each pass.
	if twice, err := e164(once, ""); err != nil || twice != once {
		return "", ErrPhone
	}
	return once, nil
}

func e164(s, country string) (string, error) {
	n, err := phonenumbers.Parse(s, strings.ToUpper(country))
	if err != nil || !phonenumbers.IsPossibleNumber(n) {
		return "", ErrPhone
	}
	return phonenumbers.Format(n, phonenumbers.E164), nil
}

// NormalExternalID returns the brand's customer number in NFKC with single spaces.
// Case is kept: two numbers that differ in it may be two customers.
func NormalExternalID(s string) (string, error) {
	if s != "" && len(s) <= MaxValueBytes && plain(s) && !strings.Contains(s, "  ") {
		return s, nil // its own NFKC, in 0.3 of the time (BenchmarkExternalID)
	}
	return slowExternalID(s)
}

func slowExternalID(s string) (string, error) {
	if !validText(s) {
		return "", ErrExternalID
	}
	s = spaces(norm.NFKC.String(s))
	if s == "" || len(s) > MaxValueBytes {
		return "", ErrExternalID
	}
	return s, nil
}

func validText(s string) bool { return textReason(strings.TrimSpace(s), len(s)) == "" }

// fold makes a value comparable: NFKC, case folded, single spaces. Folding can
// undo NFKC and the reverse, hence twice: the form of a form is itself. ASCII takes 0.3
// of the time (BenchmarkFold).
func fold(s string) string {
	if ascii(s) {
		return spaces(strings.ToLower(s)) // its own NFKC
	}
	folder := cases.Fold()
	once := norm.NFKC.String(folder.String(norm.NFKC.String(s)))
	if once == s {
		return spaces(s)
	}
	return spaces(norm.NFKC.String(folder.String(once)))
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func spaces(s string) string { return strings.Join(strings.Fields(s), " ") }
