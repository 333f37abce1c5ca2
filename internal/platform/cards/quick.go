package cards

import "unicode/utf8"

// What a byte can be in a card number as it is written.
const (
	other   = iota
	isDigit // a decimal digit
	isGap   // may alone stand between any two digits
	isWide  // may stand between groups
	beyond  // part of a rune beyond ASCII
)

// class says what each byte can be.
var class = func() (t [256]byte) {
	for c := range t {
		switch {
		case c >= '0' && c <= '9':
			t[c] = isDigit
		case c >= utf8.RuneSelf:
			t[c] = beyond
		}
	}
	for _, c := range "\t -./_" {
		t[c] = isGap
	}
	for _, c := range ",;|*+" {
		t[c] = isWide
	}
	return t
}()

// plausible reports whether enough digits stand near enough to each other for a card.
// It errs to true: every rune beyond ASCII counts as digits, but for the usual letters.
// Nearly all texts end here, and of most it looks at one byte in minDigits: where that
// is a letter, all before it is no card.
func plausible(text string) bool {
	for i := minDigits - 1; i < len(text); i += minDigits {
		if class[text[i]] == other {
			continue
		}
		for i > 0 && class[text[i-1]] != other {
			i--
		}
		digits, gap := 0, 0
	run:
		for ; i < len(text); i++ {
			switch class[text[i]] {
			case isDigit:
				digits, gap = digits+1, 0
			case isGap, isWide:
				if gap++; gap > maxGap {
					digits = 0
				}
			case beyond:
				if r, size := utf8.DecodeRuneInString(text[i:]); letter(r) {
					i += size - 1
					digits, gap = 0, 0
					continue
				}
				digits, gap = digits+1, 0
			default:
				break run
			}
			if digits >= minDigits {
				return true
			}
		}
	}
	return false
}

// letter reports whether a rune beyond ASCII is of the ranges in which names and
// addresses are mostly written, none of which has a digit, a separator or an invisible
// rune: Latin to Cyrillic, Hebrew and Arabic, Devanagari, Kana, Han and Hangul.
func letter(r rune) bool {
	return r >= 0xc0 && r <= 0x589 || r >= 0x5d0 && r <= 0x5ff || r >= 0x620 && r <= 0x65f || r >= 0x900 && r <= 0x965 ||
		r >= 0x3041 && r <= 0x309f || r >= 0x30a1 && r <= 0x30fa || r >= 0x30fc && r <= 0x30ff || r >= 0x4e00 && r <= 0x9fff || r >= 0xac00 && r <= 0xd7a3
}
