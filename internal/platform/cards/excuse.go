package cards

// excused reports whether the pieces from i to j, whose digits could be a card, are
// known to be something else by what they stand in.
func (s *scan) excused(number []byte, i, j int) bool {
	return s.telephone(i, j) || s.address(i, j) || s.decimal(i, j) || s.resident(number, i, j) ||
		s.insured(i, j) || s.parcel(i, j) || inIBAN(s.text, s.chain[i].at)
}

// maxTelephone is the most digits of a telephone number (ITU-T E.164).
const maxTelephone = 15

// telephone reports whether the pieces stand within a telephone number: behind a "+", or
// behind a "00" with which the digits begin and which is not the end of a time of day.
func (s *scan) telephone(i, j int) bool {
	n := 0
	for k := j; k >= 0; k-- {
		p := &s.chain[k]
		if k == 0 && i > 0 && p.n() == 2 && p.digits[0] == 0 && p.digits[1] == 0 {
			return p.at == 0 || s.text[p.at-1] != ':'
		}
		if n += p.n(); n > maxTelephone {
			return false
		}
		if p.plus && k <= i {
			return true
		}
		if k > 0 && !p.gap.narrow() {
			return false
		}
	}
	return false
}

// address reports whether one of the pieces is of an IPv4 address: four numbers up to
// 255 with dots between them, and no dot before or behind.
func (s *scan) address(i, j int) bool {
	for k := i; k <= j; k++ {
		from, to := k, k
		for from > 0 && k-from < 4 && s.dotted(from) {
			from--
		}
		for to+1 < len(s.chain) && to-k < 4 && s.dotted(to+1) {
			to++
		}
		if to-from == 3 && s.octets(from, to) {
			return true
		}
	}
	return false
}

// dotted reports whether a dot, and nothing else, stands before a piece.
func (s *scan) dotted(k int) bool { return s.chain[k].gap == gap{'.', 1} }

func (s *scan) octets(from, to int) bool {
	for k := from; k <= to; k++ {
		p, v := &s.chain[k], 0
		if p.n() > 3 {
			return false
		}
		for _, d := range p.all() {
			v = v*10 + int(d)
		}
		if v > 255 {
			return false
		}
	}
	return true
}

const (
	// maxWhole is how many digits a decimal number has before its point: a coordinate
	// has three.
	maxWhole = 3
	// minFraction is how many it has behind it, at least: no group of a printed card is
	// as long.
	minFraction = 12
	// maxSignificant is how many digits a number of 64 bits prints.
	maxSignificant = 17
)

// decimal reports whether the pieces are a decimal number, or the digits behind its
// point. Behind "0." and "0," there are any number of digits.
func (s *scan) decimal(i, j int) bool {
	if i < j {
		return j == i+1 && s.dotted(j) && s.isDecimal(j)
	}
	if i == 0 {
		return false
	}
	whole, p := &s.chain[i-1], &s.chain[i]
	if whole.n() == 1 && whole.digits[0] == 0 && p.gap.width == 1 && (p.gap.mark == '.' || p.gap.mark == ',') {
		return p.n() >= minFraction
	}
	return s.dotted(i) && s.isDecimal(i)
}

// isDecimal reports whether a piece and the one before it are a decimal number, if a dot
// stands between them.
func (s *scan) isDecimal(k int) bool {
	whole, p := &s.chain[k-1], &s.chain[k]
	return whole.n() <= maxWhole && p.n() >= minFraction && whole.n()+p.n() <= maxSignificant &&
		!(k > 1 && whole.gap.mark == '.') && !(k+1 < len(s.chain) && s.chain[k+1].gap.mark == '.')
}

// resident reports whether the number is a Chinese resident number (GB 11643): 17 digits
// with a place (GB/T 2260) and a day of birth in them, and a check digit that may be an X.
// Of cards of 18 digits, one in 200,000 is that too.
func (s *scan) resident(number []byte, i, j int) bool {
	p := &s.chain[i]
	if i < j || p.n() != len(number) {
		return false
	}
	check := 10
	switch {
	case p.n() == 18:
		check = int(number[17])
	case p.n() != 17 || p.end == len(s.text) || s.text[p.end]|0x20 != 'x':
		return false
	}
	year := int(number[6])*1000 + int(number[7])*100 + int(number[8])*10 + int(number[9])
	day := int(number[12])*10 + int(number[13])
	if year < 1920 || year > 2030 || !month(number[10:12]) || day < 1 || day > 31 {
		return false
	}
	city, county := int(number[2])*10+int(number[3]), int(number[4])*10+int(number[5])
	if city < 1 || city > 34 && city < 40 || city > 43 && city != 90 || county < 1 || county > 43 && county < 81 || county > 84 {
		return false
	}
	weight, sum := 1, check
	for k := 16; k >= 0; k-- {
		weight = weight * 2 % 11
		sum += weight * int(number[k])
	}
	return sum%11 == 1
}

// insured reports whether the pieces are a French social security number, but for its
// first digit: sex, year and month of birth, place and number, check digits.
func (s *scan) insured(i, j int) bool {
	if i == 0 || j != i+5 || s.chain[i-1].n() != 1 || s.chain[i-1].digits[0] != 1 && s.chain[i-1].digits[0] != 2 {
		return false
	}
	for k, n := range [...]int{2, 2, 2, 3, 3, 2} {
		if s.chain[i+k].n() != n {
			return false
		}
	}
	return true
}

// parcel reports whether the pieces stand in a parcel number of 22 digits, in groups of
// four, with a right check digit (USPS Publication 199).
func (s *scan) parcel(i, j int) bool {
	const groups, digits = 6, 22
	for from := max(0, j+1-groups); from <= i && from+groups <= len(s.chain); from++ {
		first := &s.chain[from]
		if first.digits[0] != 9 || first.digits[1] > 5 || from > 0 && first.gap == (gap{0, 1}) {
			continue
		}
		sum, n := 0, 0
		for k := from; k < from+groups; k++ {
			p := &s.chain[k]
			if p.n() != 4 && k < from+groups-1 || k > from && !p.gap.narrow() {
				n = 0
				break
			}
			for _, d := range p.all() {
				sum += int(d) * (3 - n%2*2)
				n++
			}
		}
		if n == digits && sum%10 == 0 {
			return true
		}
	}
	return false
}

const (
	minIBAN = 15
	maxIBAN = 34
	// maxWritten is the most bytes between the start of an IBAN and a digit of it, with a
	// separator of up to four bytes behind each character.
	maxWritten = maxIBAN * 5
)

// ibans gives the length of an IBAN by its country (ISO 13616, the register of SWIFT).
var ibans = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27,
	"BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28,
	"EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
	"GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
	"IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21,
	"LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28,
	"NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
	"RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25,
	"SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

// inIBAN reports whether an IBAN begins before a place in the text and ends behind it.
func inIBAN(text string, at int) bool {
	for from := at - 2; from >= 0 && at-from <= maxWritten; from-- {
		if letterASCII(text[from]) && letterASCII(text[from+1]) && ibanAt(text, from) > at {
			return true
		}
	}
	return false
}

// ibanAt returns where the IBAN ends that begins here, 0 if there is none.
func ibanAt(text string, from int) int {
	size, ok := ibans[string([]byte{text[from] &^ 0x20, text[from+1] &^ 0x20})]
	if !ok || from > 0 && alnum(text[from-1]) && !labelled(text[:from]) {
		return 0
	}
	var plain [maxIBAN]byte
	n, end, gap := 0, 0, 0
	for i, r := range text[from:] {
		switch {
		case r < 0x80 && alnum(byte(r)):
			if n == size {
				return 0 // goes on: it is something longer
			}
			plain[n] = byte(r)
			n++
			end, gap = from+i+1, 0
		case invisible(r):
		default:
			if _, ok := mark(r); ok && n < size && gap < 2 {
				gap++
				continue
			}
			return checkedIBAN(plain[:n], size, end)
		}
		if n == size && (end == len(text) || !alnum(text[end])) {
			return checkedIBAN(plain[:n], size, end)
		}
	}
	return checkedIBAN(plain[:n], size, end)
}

func labelled(before string) bool {
	const label = "iban"
	if len(before) < len(label) {
		return false
	}
	for i, c := range []byte(before[len(before)-len(label):]) {
		if c|0x20 != label[i] {
			return false
		}
	}
	return true
}

// checkedIBAN returns end if the check digits are right (ISO 7064 MOD 97-10), and 0 if
// they are not, or are letters: of those one in 97 passes by chance.
func checkedIBAN(plain []byte, size, end int) int {
	if len(plain) != size || letterASCII(plain[2]) || letterASCII(plain[3]) {
		return 0
	}
	rest := 0
	for k := range plain {
		c := plain[(k+4)%size]
		if c >= '0' && c <= '9' {
			rest = (rest*10 + int(c-'0')) % 97
			continue
		}
		rest = (rest*100 + int(c|0x20-'a') + 10) % 97
	}
	if rest != 1 {
		return 0
	}
	return end
}

func letterASCII(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func alnum(c byte) bool { return letterASCII(c) || c >= '0' && c <= '9' }
