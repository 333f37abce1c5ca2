package mask

import (
	"time"
	"unicode/utf8"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Extractable are the fields that an extract may have at all: none that says who it is
// or where they live. A region and the beginning of a postal code stand for the place.
const Extractable = record.FieldSet(1<<record.PostalCode | 1<<record.Region | 1<<record.Country | 1<<record.Locale |
	1<<record.BirthDate | 1<<record.CreatedAt | 1<<record.Purchases)

// Coarse returns a column as an extract shows it: the year of birth, the month in which
// a customer came, two characters of the postal code. It is nothing for a field that no
// extract has, or that is not of the form it should have.
func Coarse(f record.Field, v string) string {
	switch f {
	case record.Region, record.Country, record.Locale:
		return v
	case record.BirthDate:
		if y := year(v); y != Hidden {
			return y
		}
	case record.CreatedAt:
		if year(v) != Hidden && len(v) >= 7 && v[4] == '-' && v[5] >= '0' && v[5] <= '1' && v[6] >= '0' && v[6] <= '9' {
			return v[:7]
		}
	case record.PostalCode:
		n := min(2, utf8.RuneCountInString(v)/2)
		end := 0
		for range n {
			_, size := utf8.DecodeRuneInString(v[end:])
			end += size
		}
		return v[:end]
	}
	return ""
}

// Bought returns a purchase as an extract shows it: all of it, on its day. The hour and
// minute would find the till's receipt; the brand's number of it is replaced by whoever
// has the export's key.
func Bought(p record.Purchase) record.Purchase {
	at := p.At.UTC()
	p.At = time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
	return p
}
