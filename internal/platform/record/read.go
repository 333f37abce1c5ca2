package record

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
	"golang.org/x/text/unicode/norm"

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
	ErrCountry     = fault.New(fault.Invalid, "is not a country: write an ISO 3166-1 code such as FR or FRA, or its name in English, French, Italian, German, Spanish, Portuguese, Japanese, Korean or Chinese")
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

// nameLanguages are those in which names of countries are read: the product's own, in each
// way of writing that names countries differently.
var nameLanguages = []language.Tag{
	language.English, language.French, language.Italian, language.German, language.Spanish, language.Portuguese, language.EuropeanPortuguese,
	language.Japanese, language.Korean, language.SimplifiedChinese, language.TraditionalChinese,
}

// moreNames are names that lists of countries use beside those of the Unicode tables: as ISO
// 3166-1 writes them, as shops do, and as people do.
var moreNames = map[string]string{
	"GB": "UK|Great Britain|England|Scotland|Wales|Northern Ireland|United Kingdom (UK)|United Kingdom of Great Britain and Northern Ireland|Grande-Bretagne|Angleterre|" +
		"Gran Bretagna|Inghilterra|Großbritannien|Grossbritannien|England (UK)|Gran Bretaña|Inglaterra|Grã-Bretanha|英国|英國|大英帝国|ブリテン",
	"US": "USA|U.S.A.|U.S.|United States (US)|United States of America|États-Unis d'Amérique|Etats-Unis|Stati Uniti d'America|Vereinigte Staaten von Amerika|" +
		"Estados Unidos de América|EE. UU.|EE.UU.|EEUU|EUA|Estados Unidos da América|アメリカ|米国|미합중국|美利坚合众国|美利堅合眾國",
	"KR": "Korea|Republic of Korea|South Korea|Korea, Republic of|Korea (Republic of)|Korea, South|Corée (du Sud)|Corée du Sud|Republik Korea|República de Corea|República da Coreia|" +
		"大韓民国|大韓民國|大韩民国|한국|남한|南韓|南韩",
	"DE": "BRD|Bundesrepublik Deutschland|Federal Republic of Germany|ドイツ連邦共和国|德意志联邦共和国",
	"CH": "Schweizerische Eidgenossenschaft|Confédération suisse|Svizzera (CH)|Helvetia|スイス連邦",
	"NL": "Holland|The Netherlands|Netherlands (Kingdom of the)|Hollande|Olanda|Holanda|オランダ王国|荷蘭",
	"RU": "Russian Federation|Fédération de Russie|Federazione Russa|Russische Föderation|Federación de Rusia|Federação Russa|ロシア連邦|俄罗斯联邦",
	"CN": "People's Republic of China|Mainland China|PRC|中華人民共和国|中华人民共和国|中國大陸|中国大陆|VR China|Volksrepublik China",
	"HK": "Hong Kong|Hongkong|香港|香港特別行政區|香港特别行政区|홍콩",
	"MO": "Macau|Macao|澳门|澳門|マカオ|마카오",
	"TW": "Taiwan|Taiwan, Province of China|Taiwan (ROC)|中華民國|臺灣|台灣|Taïwan|Taiwán",
	"AE": "UAE|U.A.E.|Emirates|Émirats arabes unis (EAU)|EAU|VAE|アラブ首長国連邦 (UAE)|UAE (アラブ首長国連邦)",
	"CZ": "Czech Republic|République tchèque|Repubblica Ceca|Tschechische Republik|República Checa|チェコ共和国|捷克共和国",
	"TR": "Turkey|Türkiye|Turkiye|Republic of Türkiye|Turquía|Turquia",
	"IE": "Republic of Ireland|Eire|Éire|Ireland, Republic of|Republik Irland|République d'Irlande",
	"CI": "Ivory Coast|Cote d'Ivoire|Costa do Marfim|Elfenbeinküste",
	"VN": "Viet Nam|Việt Nam",
	"IR": "Iran, Islamic Republic of|Iran (Islamic Republic of)",
	"BO": "Bolivia, Plurinational State of|Bolivia (Plurinational State of)",
	"VE": "Venezuela, Bolivarian Republic of|Venezuela (Bolivarian Republic of)",
	"TZ": "Tanzania, United Republic of|United Republic of Tanzania",
	"MD": "Moldova, Republic of|Republic of Moldova",
	"SY": "Syrian Arab Republic", "LA": "Lao People's Democratic Republic", "VA": "Holy See|Vatican|Vaticano|Vatikan",
	"KP": "Korea, Democratic People's Republic of|Korea (Democratic People's Republic of)|Democratic People's Republic of Korea",
	"CD": "Congo, Democratic Republic of the|Democratic Republic of the Congo|Congo, The Democratic Republic of the|République démocratique du Congo|Demokratische Republik Kongo|DR Congo|DRC",
	"CG": "Republic of the Congo|République du Congo|Republik Kongo",
	"MK": "North Macedonia|Macédoine du Nord|Macedonia del Nord|Nordmazedonien|Macedonia del Norte|Macedónia do Norte|Macedônia do Norte|北マケドニア|북마케도니아|北马其顿|北馬其頓",
	"SZ": "Eswatini|エスワティニ|에스와티니|斯威士兰王国", "CV": "Cabo Verde|Cape Verde|Kap Verde", "MM": "Myanmar|Burma|Birmanie|Birmania", "BN": "Brunei Darussalam",
	"PS": "Palestine|Palestine, State of|State of Palestine|Palestina|Palästina", "FM": "Micronesia, Federated States of|Micronesia (Federated States of)",
	"BY": "Belarus|Weißrussland|Weissrussland|Belarus'", "NZ": "Neuseeland|Aotearoa", "JP": "Japan (日本)|日本国|Nippon", "AT": "Oesterreich|Republik Österreich",
	"ES": "Espagne (ES)|Reino de España|España (ES)", "SX": "Sint Maarten (Dutch part)", "MF": "Saint Martin (French part)",
	"VG": "Virgin Islands (British)|British Virgin Islands", "VI": "Virgin Islands (U.S.)|US Virgin Islands",
}

// countryNames are the codes by name. A name that two countries have has none: it is not
// guessed.
var countryNames = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	add := func(name, code string) {
		key := nameKey(name)
		if have, there := out[key]; key == "" {
			return
		} else if there && have != code {
			code = ""
		}
		out[key] = code
	}
	for _, in := range nameLanguages {
		names := display.Regions(in)
		for i, is := range countries() {
			if is {
				code := string([]byte{'A' + byte(i/26), 'A' + byte(i%26)})
				add(names.Name(language.MustParseRegion(code)), code)
			}
		}
	}
	for code, names := range moreNames {
		for name := range strings.SplitSeq(names, "|") {
			add(name, code)
		}
	}
	return out
})

// nameMarks are written or left out as people like.
var nameMarks = strings.NewReplacer("\u2019", "", "\u2018", "", "\u00b4", "", "`", "", "'", "", ".", "", "-", " ", "\u2010", " ", "\u2013", " ",
	"\u30fb", " ", "&", " and ", ",", " ", "(", " ", ")", " ", "st ", "saint ")

// nameKey is the form under which names of countries are compared: accents of Latin letters,
// hyphens, points and apostrophes tell none apart.
func nameKey(s string) string {
	s = fold(s)
	if !ascii(s) {
		latin := false
		s = norm.NFC.String(strings.Map(func(r rune) rune {
			if latin && unicode.Is(unicode.Mn, r) {
				return -1
			}
			latin = unicode.Is(unicode.Latin, r)
			return r
		}, norm.NFD.String(s)))
	}
	return spaces(strings.TrimPrefix(nameMarks.Replace(s), "the "))
}

// ReadCountry returns the ISO 3166-1 alpha-2 code of a country that is written as a code
// of two or three letters, in any case, or by its name in a language of the product. A name
// that more than one country has is none.
func ReadCountry(s string) (string, error) {
	if countryCode(s) {
		return s, nil
	}
	t := visibly(s)
	upper := strings.ToUpper(t)
	if countryCode(upper) {
		return upper, nil
	}
	if len(t) <= maxCountryName {
		if code := countryNames()[nameKey(t)]; code != "" {
			return code, nil
		}
	}
	if capitals(upper, 3) {
		if r, err := language.ParseRegion(upper); err == nil && countryCode(r.String()) && r.ISO3() == upper {
			return r.String(), nil
		}
	}
	return "", ErrCountry
}

// maxCountryName is longer than any name of a country, in bytes.
const maxCountryName = 256

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
