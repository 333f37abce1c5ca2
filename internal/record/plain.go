package record

import (
	"regexp"
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// Most values are written plainly, and have their normal form at a glance. What
// follows sees those; everything else takes the full rules. Tests hold that both
// always agree.

// plainMost is the most bytes that a plain e-mail address or phone number has.
const plainMost = 64

// plainEmail returns the normal form of an address of ASCII letters, digits and the
// usual marks.
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

// plan is what is to be known of a country's numbers.
type plan struct {
	lengths  []int32        // of a national number
	prefixes *regexp.Regexp // what a national number may begin with that is not of it; nil: nothing
}

// plans are read when the first number is, by country calling code.
var plans = sync.OnceValue(func() map[int]plan {
	out := map[int]plan{}
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		return out // no number is plain then
	}
	for _, m := range all.GetMetadata() {
		code := int(m.GetCountryCode())
		if m.GetId() != phonenumbers.GetRegionCodeForCountryCode(code) || m.GetGeneralDesc().GetNationalNumberPattern() == "" {
			continue
		}
		p := plan{lengths: m.GetGeneralDesc().GetPossibleLength()}
		if prefixes := m.GetNationalPrefixForParsing(); prefixes != "" {
			if p.prefixes, err = regexp.Compile("^(?:" + prefixes + ")"); err != nil {
				continue
			}
		}
		out[code] = p
	}
	return out
})

// plainPhone returns the normal form of a number written as + and digits, with or
// without spaces, that is nothing but country calling code and national number.
func plainPhone(s string) (string, bool) {
	if len(s) < 8 || len(s) > plainMost/2 || s[0] != '+' || s[1] == ' ' {
		return "", false
	}
	b := make([]byte, 1, plainMost/2)
	b[0] = '+'
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			b = append(b, c)
		case c != ' ' || i == len(s)-1:
			return "", false
		}
	}
	code := 0
	for n := 1; n <= 3 && n < len(b); n++ {
		code = 10*code + int(b[n]-'0')
		p, ok := plans()[code]
		if !ok {
			continue
		}
		national := b[n+1:]
		if code < 1 || b[1] == '0' || len(national) < 4 || national[0] == '0' || p.prefixes != nil && p.prefixes.Match(national) {
			return "", false
		}
		for _, l := range p.lengths {
			if int(l) == len(national) {
				return string(b), true
			}
		}
		return "", false
	}
	return "", false
}
