package notice

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

const (
	// maxWords bounds what a person writes into one field.
	maxWords = 4000
	// maxDraft bounds a draft: the size of an entry does.
	maxDraft = 44 << 10
)

// ErrWords is joined to a refusal of words that look like data of a customer. It says which
// field, and never what stands there.
var ErrWords = fault.New(fault.Invalid, "a notice holds nothing of a customer")

var (
	addressLike = regexp.MustCompile(`[^\s@<>()]+\s*(@|\(at\)|\[at\])\s*[^\s@<>()]+\.[^\s@<>().]{2,}`)
	tokenLike   = regexp.MustCompile(`(?i)\bcus_[a-z0-9]{8,}`)
	dateLike    = regexp.MustCompile(`\b(\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}-\d{2}-\d{2})\b`)
	phoneLike   = regexp.MustCompile(`(\+|\b00)[\s().-]*\d([\s().-]*\d){6,}|\b0\d([\s()./-]*\d){7,}`)
)

var finder = cards.New()

// CheckWords refuses words that look like an e-mail address, a telephone number, a token
// of a customer or a payment card. In a field for contacts the organisation's own addresses and
// telephone numbers are right.
//
// It cannot know a name: a person reads every draft before it is sent.
func CheckWords(field, words string, contact bool) error {
	folded := strings.Map(func(r rune) rune {
		switch {
		case r >= '０' && r <= '９': // digits as Japanese text has them
			return r - '０' + '0'
		case r == '＠':
			return '@'
		case r == '＋':
			return '+'
		case unicode.Is(unicode.Cf, r): // invisible
			return -1
		}
		return r
	}, words)
	what := ""
	switch {
	case len(words) > maxWords:
		return fmt.Errorf("%w: %s: at most %d bytes", ErrForms, field, maxWords)
	case finder.Contains(folded):
		what = "a payment card number"
	case tokenLike.MatchString(folded):
		what = "a token of a customer"
	case !contact && addressLike.MatchString(folded):
		what = "an e-mail address"
	case !contact && phoneLike.MatchString(dateLike.ReplaceAllString(folded, "a day")):
		what = "a telephone number"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s has what looks like %s: leave it out", ErrWords, field, what)
}
