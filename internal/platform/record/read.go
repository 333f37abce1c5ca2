package record

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// What follows reads values as files and people write them. A reader returns the value
// to keep. Where it returns an error, nobody can find a customer by the value.

// Errors for values that are kept and can never be searched for. They never hold the
// value.
var (
	ErrTwoEmails   = fault.New(fault.Invalid, "holds more than one e-mail address")
	ErrLostDigits  = fault.New(fault.Invalid, "is a phone number that a spreadsheet has rounded (as 3.36E+10): its digits are lost")
	ErrNoCountry   = fault.New(fault.Invalid, "is a national phone number without a country")
	ErrCountry     = fault.New(fault.Invalid, "is not a country: write an ISO 3166-1 code such as FR or FRA, or its English or French name")
	ErrLocale      = fault.New(fault.Invalid, "is not a language such as fr or fr-FR")
	ErrStanding    = fault.New(fault.Invalid, "is not a standing: deceased, minor, represented, do-not-write, erasure-asked, or several with commas")
	errUnreadPhone = errors.New("is not a phone number such as +33123456789")
)

// invisible reports whether a rune is seen by nobody: marks of direction, joiners,
// byte-order marks.
func invisible(r rune) bool { return unicode.Is(unicode.Cf, r) }

// visibly drops what nobody sees, and makes every space a plain one.
func visibly(s string) string {
	if ascii(s) {
		return strings.TrimSpace(s)
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case invisible(r):
			return -1
		case unicode.IsSpace(r):
			return ' '
		}
		return r
	}, s))
}

// quotes are the marks that files put around addresses.
const quotes = "'\"`´‘’‚“”„«»"

// ReadEmail returns the address in a text: the text itself where it is one, and
// otherwise the one address in it, without a display name, mailto:, quotes or spaces
// around. A text without an address, or with two, is an error.
func ReadEmail(s string) (string, error) {
	if _, ok := plainEmail(s); ok {
		return s, nil
	}
	t := visibly(s)
	if open := strings.LastIndexByte(t, '<'); open >= 0 {
		inner, after, closed := strings.Cut(t[open+1:], ">")
		if !closed || strings.Trim(after, " ,;.") != "" || strings.ContainsAny(t[:open], "<>") {
			return "", ErrTwoEmails
		}
		t = inner
	}
	t = strings.TrimSpace(strings.Trim(strings.TrimSpace(t), quotes))
	if len(t) > 7 && strings.EqualFold(t[:7], "mailto:") {
		t, _, _ = strings.Cut(t[7:], "?")
	}
	if open := strings.IndexByte(t, '('); open >= 0 { // a comment
		if strings.HasSuffix(t, ")") && !strings.Contains(t[open:], "@") {
			t = t[:open]
		}
	}
	t = strings.Trim(strings.TrimSpace(t), ",;. ")
	if strings.Count(t, "@") > 1 {
		return "", ErrTwoEmails
	}
	local, domain, _ := strings.Cut(t, "@")
	// Spaces around the @ are slips; elsewhere they part words.
	local, domain = strings.TrimSpace(local), strings.TrimSpace(domain)
	t = local + "@" + domain
	if strings.ContainsAny(t, " :;,<>()[]\\\"/|") {
		return "", ErrEmail
	}
	if _, err := NormalEmail(t); err != nil {
		return "", err
	}
	return t, nil
}

// ReadPhone returns the number in a text: as it is written where that says its country,
// and otherwise in E.164, read as a number of the country (ISO 3166-1 alpha-2). Marks
// that nobody sees, apostrophes and words around it are left out. A national number
// without a country is [ErrNoCountry].
func ReadPhone(s, country string) (string, error) {
	if _, ok := plainPhone(s); ok {
		return s, nil
	}
	t := strings.Trim(visibly(s), quotes)
	if rounded(t) {
		return "", ErrLostDigits
	}
	t = numberIn(t)
	if t == "" {
		return "", errUnreadPhone
	}
	if t[0] == '+' || strings.HasPrefix(t, "00") {
		n, err := NormalPhone(t, "")
		if err != nil {
			return "", errUnreadPhone
		}
		if t == s {
			return s, nil
		}
		return n, nil
	}
	if country == "" {
		return "", ErrNoCountry
	}
	n, err := NormalPhone(t, country)
	if err != nil {
		return "", errUnreadPhone
	}
	return n, nil
}

// rounded reports whether a text is a number in the way that spreadsheets write large
// ones: the digits that are not shown are gone.
func rounded(s string) bool {
	i := strings.IndexAny(s, "eE")
	if i < 1 || i == len(s)-1 {
		return false
	}
	digits := func(s, more string) bool {
		return s != "" && strings.Trim(s, "0123456789"+more) == ""
	}
	return digits(s[:i], ".,+") && digits(strings.TrimLeft(s[i+1:], "+-"), "")
}

// numberIn returns the one number in a text, without words around it, or "".
func numberIn(s string) string {
	var b strings.Builder
	s = strings.TrimPrefix(strings.TrimPrefix(s, "tel:"), "TEL:")
	// A spreadsheet's number: 33612345678.0.
	if whole, zeros, ok := strings.Cut(s, "."); ok && len(whole) > 6 && strings.Trim(whole, "0123456789") == "" && zeros != "" && strings.Trim(zeros, "0") == "" {
		s = whole
	}
	ended := false
	for _, r := range s {
		digit := unicode.IsDigit(r)
		switch {
		case digit && ended:
			return "" // a second number, or an extension
		case digit, r == '+' && b.Len() == 0, b.Len() > 0 && !ended && strings.ContainsRune(" -./()\u2010\u2011\u2012\u2013", r):
			b.WriteRune(r)
		case r == '+':
			return ""
		case unicode.IsLetter(r):
			ended = b.Len() > 0
		case r == ',' || r == ';' || r == '|':
			ended = b.Len() > 0
		}
	}
	t := strings.TrimRight(b.String(), " -./(")
	if open := strings.LastIndexByte(t, '('); open >= 0 && !strings.Contains(t[open:], ")") {
		t = t[:open] + t[open+1:]
	}
	n := 0
	for _, r := range t {
		if unicode.IsDigit(r) {
			n++
		}
	}
	if n < 4 {
		return ""
	}
	return t
}

// countries are the codes in use, by two letters.
var countries = sync.OnceValue(func() *[26 * 26]bool {
	var out [26 * 26]bool
	for i := range out {
		code := string([]byte{'A' + byte(i/26), 'A' + byte(i%26)})
		r, err := language.ParseRegion(code)
		out[i] = err == nil && r.IsCountry() && r.Canonicalize() == r && r.String() == code
	}
	return &out
})

func countryCode(s string) bool {
	return capitals(s, 2) && countries()[int(s[0]-'A')*26+int(s[1]-'A')]
}

// countryNames are the codes by name, in the languages of the product, folded.
var countryNames = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for _, in := range []language.Tag{language.English, language.French} {
		names := display.Regions(in)
		for i, is := range countries() {
			if !is {
				continue
			}
			code := string([]byte{'A' + byte(i/26), 'A' + byte(i%26)})
			if name := names.Name(language.MustParseRegion(code)); name != "" {
				out[fold(name)] = code
			}
		}
	}
	for name, code := range map[string]string{
		"uk": "GB", "great britain": "GB", "england": "GB", "scotland": "GB", "wales": "GB", "grande-bretagne": "GB",
		"usa": "US", "u.s.a.": "US", "u.s.": "US", "united states of america": "US", "états-unis d’amérique": "US", "états-unis d'amérique": "US",
		"korea": "KR", "republic of korea": "KR", "south korea": "KR", "russian federation": "RU", "viet nam": "VN",
		"czech republic": "CZ", "holland": "NL", "the netherlands": "NL", "hong kong": "HK", "macau": "MO", "macao": "MO", "turkey": "TR",
		"taiwan": "TW", "ivory coast": "CI", "republic of ireland": "IE", "türkiye": "TR",
		// As ISO 3166-1 writes them, and lists of countries in shops.
		"united kingdom of great britain and northern ireland": "GB", "united kingdom (uk)": "GB", "united states (us)": "US", "korea, republic of": "KR", "korea (republic of)": "KR",
		"iran, islamic republic of": "IR", "iran (islamic republic of)": "IR", "taiwan, province of china": "TW", "bolivia, plurinational state of": "BO", "bolivia (plurinational state of)": "BO",
		"venezuela, bolivarian republic of": "VE", "venezuela (bolivarian republic of)": "VE", "tanzania, united republic of": "TZ", "moldova, republic of": "MD", "republic of moldova": "MD",
		"netherlands (kingdom of the)": "NL", "syrian arab republic": "SY", "lao people's democratic republic": "LA", "holy see": "VA",
	} {
		out[fold(name)] = code
	}
	return out
})

// ReadCountry returns the ISO 3166-1 alpha-2 code of a country that is written as a code
// of two or three letters, in any case, or by its English or French name.
func ReadCountry(s string) (string, error) {
	if countryCode(s) {
		return s, nil
	}
	t := visibly(s)
	upper := strings.ToUpper(t)
	if countryCode(upper) {
		return upper, nil
	}
	if code, ok := countryNames()[fold(t)]; ok {
		return code, nil
	}
	if capitals(upper, 3) {
		if r, err := language.ParseRegion(upper); err == nil && countryCode(r.String()) && r.ISO3() == upper {
			return r.String(), nil
		}
	}
	return "", ErrCountry
}

// ReadLocale returns a BCP 47 language tag: fr_FR and fr_FR.UTF-8 become fr-FR.
func ReadLocale(s string) (string, error) {
	if plainLocale(s) {
		return s, nil
	}
	t := visibly(s)
	t, _, _ = strings.Cut(t, ".")
	t = strings.ReplaceAll(t, "_", "-")
	tag, err := language.Parse(t)
	if err != nil {
		if _, unknown := errors.AsType[language.ValueError](err); !unknown {
			return "", ErrLocale
		}
		return t, nil // well formed, of a language that the tables do not know
	}
	if t != s {
		return tag.String(), nil
	}
	return s, nil
}

// plainLocale reports whether a text is written as fr or fr-FR.
func plainLocale(s string) bool {
	if len(s) != 2 && len(s) != 5 {
		return false
	}
	lower := func(c byte) bool { return c >= 'a' && c <= 'z' }
	return lower(s[0]) && lower(s[1]) && (len(s) == 2 || s[2] == '-' && capitals(s[3:], 2))
}

// The words of a standing: what campaigns, requests and the portal have to know before
// anybody writes to the customer. A customer can have several.
const (
	Deceased     = "deceased"      // nobody writes to them; their heirs may ask
	Minor        = "minor"         // a parent or guardian acts for them
	Represented  = "represented"   // somebody else acts for them
	DoNotWrite   = "do-not-write"  // they asked not to be written to
	ErasureAsked = "erasure-asked" // their source deleted them, and asks for their erasure
)

// standings are the words in the order in which they are kept.
var standings = []string{Deceased, Minor, Represented, DoNotWrite, ErasureAsked}

// ReadStanding returns a standing as it is kept: its words once each, in one order, with
// commas between them. It reads words in any case and order, with commas, semicolons or
// bars between them.
func ReadStanding(s string) (string, error) {
	if s == "" || slices.Contains(standings, s) {
		return s, nil
	}
	var have [5]bool
	for word := range strings.FieldsFuncSeq(visibly(s), func(r rune) bool { return r == ',' || r == ';' || r == '|' }) {
		word = strings.ToLower(strings.Join(strings.FieldsFunc(word, func(r rune) bool { return r == ' ' || r == '_' || r == '-' }), "-"))
		at := slices.Index(standings, word)
		if at < 0 {
			return "", ErrStanding
		}
		have[at] = true
	}
	var out []string
	for i, word := range standings {
		if have[i] {
			out = append(out, word)
		}
	}
	if out == nil {
		return "", ErrStanding
	}
	return strings.Join(out, ","), nil
}
