// Package mask shows a value in part: enough for a person to recognise what they
// already know, not enough to learn it.
//
// A mask never tells the length of what it hides: every hidden part is the same
// three dots. It works on single values and knows nothing of who asks.
package mask

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Hidden stands for every part that is not shown, whatever its length.
const Hidden = "•••"

// Text returns the masked form of a column's value. An empty value stays empty: that
// there is none is shown. A field that has no form of its own is hidden whole.
func Text(f record.Field, v string) string {
	if v == "" {
		return ""
	}
	switch f {
	case record.Email:
		return email(v)
	case record.Phone:
		return phone(v)
	case record.GivenName, record.FamilyName:
		return first(v, 1)
	case record.ExternalID, record.PostalCode:
		return first(v, 2)
	case record.BirthDate, record.CreatedAt:
		return year(v)
	case record.City, record.Region, record.Country, record.Locale, record.Standing:
		return v
	default:
		return Hidden
	}
}

// first shows up to n characters, and never more than a third of the value, so that
// a short one is not given away.
func first(v string, n int) string {
	n = min(n, utf8.RuneCountInString(v)/3)
	end := 0
	for range n {
		_, size := utf8.DecodeRuneInString(v[end:])
		end += size
	}
	return v[:end] + Hidden
}

// email shows the first letter of the mailbox and of the domain, and the top-level
// domain: j•••@g•••.com.
func email(v string) string {
	at := strings.LastIndexByte(v, '@')
	if at < 0 {
		return Hidden
	}
	domain := v[at+1:]
	dot := strings.LastIndexByte(domain, '.')
	if dot < 0 {
		return first(v[:at], 1) + "@" + Hidden
	}
	return first(v[:at], 1) + "@" + first(domain[:dot], 1) + domain[dot:]
}

// phone shows the last two digits.
func phone(v string) string {
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, v)
	if len(digits) < 7 {
		return Hidden
	}
	return Hidden + digits[len(digits)-2:]
}

// year shows the year of an ISO 8601 date or time.
func year(v string) string {
	if len(v) < 5 || v[4] != '-' {
		return Hidden
	}
	for _, c := range []byte(v[:4]) {
		if c < '0' || c > '9' {
			return Hidden
		}
	}
	return v[:4]
}

// Purchase keeps the month, the currency and the channel, and drops what was bought,
// where, and for how much.
func Purchase(p record.Purchase) record.Purchase {
	at := p.At.UTC()
	return record.Purchase{
		At:       time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC),
		Currency: p.Currency,
		Channel:  p.Channel,
	}
}
