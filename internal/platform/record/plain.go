package record

import (
	"regexp"
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// Most values are written plainly, and have their normal form at a glance. What
// follows sees those; everything else takes the full rules. Tests hold that both
// always agree, and benchmarks how much is gained.

// plainMost is the most bytes that a plain e-mail address or phone number has.
const plainMost = 64

// plainEmail returns the normal form of an address of ASCII letters, digits and the
// usual marks: 16 times as fast as the rules (BenchmarkEmail).
func plainEmail(s string) (string, bool) {
	if len(s) > plainMost {
		return "", false
	}
	at, upper := -1, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c >= 'A' && c <= 'Z':
			upper = true
		case c == '.':
			// An empty part of a domain is not plain.
			if at >= 0 && (i == at+1 || s[i-1] == '.' || i == len(s)-1) {
				return "", false
			}
		case (c == '-' || c == '_' || c == '+') && at < 0:
		case c == '-':
			// One hyphen inside a part of a domain is; two may begin an encoded name.
			if !letterOrDigit(s[i-1]) || i == len(s)-1 || !letterOrDigit(s[i+1]) {
				return "", false
			}
		case c == '@' && at < 0 && i > 0:
			at = i
		default:
			return "", false
		}
	}
	if at < 0 || at == len(s)-1 {
		return "", false
	}
	if upper {
		s = strings.ToLower(s)
	}
	return s, true
}

func letterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// plan is what is to be known of a country's numbers.
type plan struct {
	lengths  []int32        // of a national number
	prefixes *regexp.Regexp // what a national number may begin with that is not of it; nil: nothing
}

// prefixed reports whether something may be taken off a national number, or put in its
// place.
func (p *plan) prefixed(national []byte) bool {
	return p.prefixes != nil && !matchesNothing(p.prefixes, string(national))
}

// matchesNothing reports whether there is no match in a text, or one that is empty in all
// its groups' absence: nothing is taken off for that.
func matchesNothing(re *regexp.Regexp, text string) bool {
	at := re.FindStringSubmatchIndex(text)
	if at == nil {
		return true
	}
	for _, i := range at[2:] {
		if i >= 0 {
			return false
		}
	}
	return at[1] == 0
}

// longestCode is the most digits of a country calling code.
const longestCode = 3

// plans are read when the first number is, by country calling code.
var plans = sync.OnceValue(func() *[1000]*plan {
	var out [1000]*plan
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		return &out // no number is plain then
	}
	for _, m := range all.GetMetadata() {
		code := int(m.GetCountryCode())
		if code < 1 || code >= len(out) || m.GetId() != phonenumbers.GetRegionCodeForCountryCode(code) || m.GetGeneralDesc().GetNationalNumberPattern() == "" {
			continue
		}
		p := plan{lengths: m.GetGeneralDesc().GetPossibleLength()}
		if prefixes := m.GetNationalPrefixForParsing(); prefixes != "" {
			if p.prefixes, err = regexp.Compile("^(?:" + prefixes + ")"); err != nil {
				continue
			}
		}
		out[code] = &p
	}
	return &out
})

// plainPhone returns the normal form of a number written as + and digits, with or
// without spaces, that is nothing but country calling code and national number: 200
// times as fast as the rules (BenchmarkPhone).
func plainPhone(s string) (string, bool) {
	if len(s) < 8 || len(s) > plainMost/2 || s[0] != '+' || s[1] == ' ' {
		return "", false
	}
	var digits [plainMost / 2]byte
	b := append(digits[:0], '+')
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			b = append(b, c)
		case c != ' ' || i == len(s)-1:
			return "", false
		}
	}
	code, all := 0, plans()
	for n := 1; n <= longestCode && n < len(b); n++ {
		code = 10*code + int(b[n]-'0')
		p := all[code]
		if p == nil {
			continue
		}
		national := b[n+1:]
		if b[1] == '0' || len(national) < 4 || national[0] == '0' || p.prefixed(national) {
			return "", false
		}
		for _, l := range p.lengths {
			if int(l) != len(national) {
				continue
			}
			if len(b) == len(s) {
				return s, true
			}
			return string(b), true
		}
		return "", false
	}
	return "", false
}
