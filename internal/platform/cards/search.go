package cards

import (
	"unicode"
	"unicode/utf8"
)

// piece is an unbroken run of digits.
type piece struct {
	digits [maxPiece]byte
	size   uint8 // how many digits; maxPiece: as many or more
	plus   bool  // a "+" stands right before it
	gap    gap   // before it, in the same chain
	at     int   // where it begins in the text
	end    int
}

// n is how many digits a piece has.
func (p *piece) n() int { return int(p.size) }

// all are the digits of a piece.
func (p *piece) all() []byte { return p.digits[:p.size] }

// gap is what stands between two pieces of a chain.
type gap struct {
	mark  byte // the separator, 0 for spaces alone
	width byte // in visible runes
}

// narrow reports whether a gap may stand between any two digits of a card.
func (g gap) narrow() bool {
	return g.width <= 1 && (g.mark == 0 || g.mark == '-' || g.mark == '.' || g.mark == '/' || g.mark == '_' || g.mark == dot)
}

const (
	dot = 'o' // a middle dot or bullet, as a mark

	// window is how many pieces of a chain are kept: memory must not grow with the text.
	window = 64
	// reach is how many pieces can belong to one number, with its expiry date.
	reach = maxDigits + maxTail + 2
	// memory is how many pieces before a number say what it is.
	memory = 16
)

// search looks at every chain of pieces in the text.
func (f *Finder) search(text string) bool {
	var pieces [window]piece // on the stack: this runs for every long number
	s := scan{f: f, text: text, chain: pieces[:0]}
	in, plus := false, false // inside a piece; right behind a "+"
	var g gap
	for i := 0; i < len(text); {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(text[i:])
		}
		at := i
		i += size
		if d, ok := digit(r); ok {
			if !in {
				if s.add(piece{at: at, gap: g, plus: plus}) {
					return true
				}
				in, plus, g = true, false, gap{}
			}
			p := &s.chain[len(s.chain)-1]
			if p.size < maxPiece {
				p.digits[p.size] = d
				p.size++
			}
			p.end = i
			continue
		}
		in = false
		if invisible(r) {
			continue // a number broken by it reads as one
		}
		plus = r == '+' || r == '＋'
		if m, ok := mark(r); ok && len(s.chain) > 0 && g.width < maxGap && (m == 0 || g.mark == 0 || m == g.mark) {
			g.width++
			if m != 0 {
				g.mark = m
			}
			continue
		}
		if s.flush() {
			return true
		}
		g = gap{}
	}
	return s.flush()
}

// scan is one search.
type scan struct {
	f     *Finder
	text  string
	chain []piece
	done  int // pieces of the chain that no number has to begin with any more
}

// add appends an empty piece, and reports whether a card was found in what had to go.
func (s *scan) add(p piece) bool {
	if len(s.chain) == window {
		if s.look(window - reach) {
			return true
		}
		keep := s.done - memory
		s.chain = s.chain[:copy(s.chain, s.chain[keep:])]
		s.done -= keep
	}
	s.chain = s.chain[:len(s.chain)+1]
	s.chain[len(s.chain)-1] = p
	return false
}

// flush looks at the rest of the chain and begins a new one.
func (s *scan) flush() bool {
	found := s.look(len(s.chain))
	s.chain, s.done = s.chain[:0], 0
	return found
}

// look looks at the numbers that begin with a piece before upto.
func (s *scan) look(upto int) bool {
	for ; s.done < upto; s.done++ {
		if s.from(s.done, 0) {
			return true
		}
		if n := s.yearBefore(s.done); n > 0 && s.from(s.done, n) {
			return true
		}
	}
	return false
}

// from looks at every number of whole pieces that begins with one of them, without the
// first digits that are a glued year.
func (s *scan) from(i, skip int) bool {
	var number [maxDigits + maxTail]byte
	n := 0
	shape := newShape()
	for j := i; j < len(s.chain); j++ {
		p := &s.chain[j]
		digits := p.all()
		if j == i {
			digits = digits[skip:]
		} else {
			shape.gap(p.gap)
		}
		if n+len(digits) > len(number) {
			return false
		}
		n += copy(number[n:], digits)
		if n >= minDigits {
			if shape.fits(len(digits), digits) && s.is(number[:n], i, j) {
				return true
			}
			if s.glued(number[:n], shape, i, j, digits) {
				return true
			}
		}
		shape.group(len(digits), digits)
		if shape.hopeless() {
			return false
		}
	}
	return false
}

// is reports whether the digits of these pieces are a card.
func (s *scan) is(number []byte, i, j int) bool {
	return known.card(number) && !s.f.isOwn(number) && !s.excused(number, i, j)
}

// tails are the lengths of what may be glued to a card: MMYY, MMYYYY, and MMYY with a
// security code of three or four digits.
var tails = [...]int{4, 6, 7, 8}

// glued reports whether the number is a card to whose last group its expiry date is
// glued. The last digits may be a month with the year in the piece after it.
func (s *scan) glued(number []byte, sh shape, i, j int, last []byte) bool {
	for _, tail := range tails {
		if tail >= len(last) || len(number)-tail < minDigits {
			break
		}
		if number := number[:len(number)-tail]; expiry(last[len(last)-tail:]) && sh.fits(len(last)-tail, last) && s.is(number, i, j) {
			return true
		}
	}
	if j+1 == len(s.chain) || len(last) <= 2 || !month(last[len(last)-2:]) {
		return false
	}
	year := &s.chain[j+1]
	if m := year.gap.mark; m != '/' && m != '-' && m != '.' || !isYear(year.all()) {
		return false
	}
	return sh.fits(len(last)-2, last) && s.is(number[:len(number)-2], i, j)
}

// yearBefore returns how many first digits of a piece are the year of an expiry date
// whose month stands before it, as in 12/274111..., or 0.
func (s *scan) yearBefore(i int) int {
	if i == 0 || s.chain[i].gap.mark != '/' || s.chain[i].n() < 3 {
		return 0
	}
	m, p := &s.chain[i-1], &s.chain[i]
	if m.n() != 2 || !month(m.digits[:2]) {
		return 0
	}
	if p.n() > 4 && p.digits[0] == 2 && p.digits[1] == 0 && isYear(p.digits[:4]) {
		return 4
	}
	if isYear(p.digits[:2]) {
		return 2
	}
	return 0
}

// expiry reports whether digits begin with the month and year of an expiry date. Six
// digits have the year in full.
func expiry(d []byte) bool {
	if !month(d[:2]) {
		return false
	}
	if len(d) == 6 {
		return isYear(d[2:])
	}
	return isYear(d[2:4])
}

func month(d []byte) bool {
	n := int(d[0])*10 + int(d[1])
	return n >= 1 && n <= 12
}

// isYear reports whether digits are the year of an expiry date that a card in
// somebody's hands can have. The span is short, because nothing else tells a glued date
// from the end of a long number.
func isYear(d []byte) bool {
	if len(d) == 4 && d[0] == 2 && d[1] == 0 {
		d = d[2:]
	}
	if len(d) != 2 {
		return false
	}
	n := int(d[0])*10 + int(d[1])
	return n >= 20 && n <= 40
}

// shape tells how a number is written, as far as it was read.
type shape struct {
	narrow  bool // one narrow separator at most between two digits
	alike   bool // all gaps have the same mark
	slashes bool // slashes, and other marks
	article bool // a group is an EAN-13
	nine    bool // a group ends with the ninth digit
	mark    byte
	gaps    int
	groups  int
	n       int
	printed bool // the groups are those of a printed card so far
	second  int  // length of the second group
}

func newShape() shape { return shape{narrow: true, alike: true, printed: true} }

// gap adds the gap before the next group.
func (s *shape) gap(g gap) {
	s.narrow = s.narrow && g.narrow()
	if s.gaps > 0 && g.mark != s.mark {
		s.alike = false
		s.slashes = s.slashes || g.mark == '/' || s.mark == '/'
	}
	s.mark = g.mark
	s.gaps++
}

// group adds a group that the number goes on behind.
func (s *shape) group(n int, digits []byte) {
	switch s.groups {
	case 0:
		s.printed = n == 4
	case 1:
		s.printed, s.second = s.printed && (n == 4 || n == 6), n
	default:
		s.printed = s.printed && s.second == 4 && n == 4
	}
	s.groups++
	s.n += n
	s.nine = s.nine || s.n == 9
	s.article = s.article || n == 13 && ean(digits)
}

// hopeless reports whether no longer number fits.
func (s *shape) hopeless() bool { return !(s.narrow && !s.slashes) && !(s.alike && s.printed) }

// fits reports whether the number may end with a group of n digits.
func (s *shape) fits(n int, digits []byte) bool {
	if s.narrow && !s.slashes && !(s.nine && s.n+n == 18) && !(s.groups > 0 && (s.article || n == 13 && ean(digits[:n]))) {
		return true
	}
	if !s.alike || !s.printed || s.groups < 2 {
		return false
	}
	if s.second == 6 {
		return s.groups == 2 && (n == 4 || n == 5)
	}
	return s.groups >= 3 && n <= 4
}

// ean reports whether 13 digits are an article number (GS1 General Specifications 7.9).
func ean(digits []byte) bool {
	sum := 0
	for i, d := range digits {
		sum += int(d) * (1 + i%2*2)
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

// mark returns the mark of a separator: 0 for a space.
func mark(r rune) (byte, bool) {
	switch r {
	case ' ', '\t':
		return 0, true
	case '-', 0x2212:
		return '-', true
	case '.', '/', '_', ',', ';', '|', '*', '+':
		return byte(r), true
	case 0x00b7, 0x2022, 0x2027, 0x22c5, 0x30fb:
		return dot, true
	case 0xff0c, 0x3001, 0x060c:
		return ',', true
	case 0xff0e:
		return '.', true
	case 0xff0f, 0x2044, 0x2215:
		return '/', true
	case 0xff3f:
		return '_', true
	case 0xff0b:
		return '+', true
	}
	if r < utf8.RuneSelf {
		return 0, false
	}
	if unicode.Is(unicode.Zs, r) {
		return 0, true
	}
	return '-', unicode.Is(unicode.Pd, r)
}

// invisible reports whether a rune shows nothing: marks of direction, joiners, and what
// makes a digit an emoji.
func invisible(r rune) bool {
	return r >= 0xad && (unicode.Is(unicode.Cf, r) || r >= 0xfe00 && r <= 0xfe0f || r == 0x20e3)
}
