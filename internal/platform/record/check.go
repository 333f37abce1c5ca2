package record

import (
	"errors"
	"maps"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// FieldError says which field of a record was refused and why. It never holds the
// value, so that it can be logged and shown.
type FieldError struct {
	Field  string
	Reason string
}

// Error returns "field: reason".
func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

// Check reports the first field that cannot be kept, as a [*FieldError]. What it
// accepts, the codec gives back unchanged.
func (c *Customer) Check() error { return c.check(false) }

// Faults returns every column and attribute that cannot be kept, where Check returns the
// first.
func (c *Customer) Faults() (out []*FieldError) {
	rest := Customer{Columns: c.Columns, Attributes: maps.Clone(c.Attributes)}
	for {
		err := rest.check(false)
		fe, ok := errors.AsType[*FieldError](err)
		if !ok {
			return out
		}
		out = append(out, fe)
		if f, err := ParseField(fe.Field); err == nil && f.Text() {
			rest.Columns[f] = ""
			continue
		}
		name, is := strings.CutPrefix(fe.Field, "attr.")
		if !is {
			return out // it is about all attributes
		}
		delete(rest.Attributes, name)
	}
}

// CheckTidy is Check where all texts are known to be printable ASCII of at most
// [MaxPurchaseValue] bytes, without space around them.
func (c *Customer) CheckTidy() error { return c.check(true) }

func (c *Customer) check(tidy bool) error {
	for i, v := range c.Columns {
		f := Field(i)
		if v == "" {
			continue
		}
		if !tidy {
			if reason := textReason(v, MaxValueBytes); reason != "" {
				return &FieldError{f.String(), reason}
			}
		}
		if reason := columnReason(f, v); reason != "" {
			return &FieldError{f.String(), reason}
		}
	}
	if len(c.Attributes) > MaxAttributes {
		return &FieldError{Attributes.String(), "more than 64 attributes"}
	}
	total := 0
	for name, v := range c.Attributes {
		// A refused name is not repeated: a mapping gone wrong may put values there.
		if !AttributeName(name) {
			return &FieldError{Attributes.String(), "a name must be 1 to 64 of a-z, 0-9, _, - and ."}
		}
		if !tidy {
			if reason := textReason(v, MaxValueBytes); reason != "" {
				return &FieldError{"attr." + name, reason}
			}
		}
		total += len(name) + len(v)
	}
	if total > MaxAttributeBytes {
		return &FieldError{Attributes.String(), "more than 16 KiB of attributes"}
	}
	return nil
}

// Check reports the first field of a purchase that cannot be kept, as a
// [*FieldError].
func (p *Purchase) Check() error { return p.check(false) }

// Faults returns every field that cannot be kept, where Check returns the first.
func (p *Purchase) Faults() (out []*FieldError) {
	rest := *p
	for {
		fe, ok := errors.AsType[*FieldError](rest.check(false))
		if !ok {
			return out
		}
		out = append(out, fe)
		switch fe.Field {
		case "purchase.id":
			rest.ID = "-"
		case "purchase.sku":
			rest.SKU = ""
		case "purchase.description":
			rest.Description = ""
		case "purchase.currency":
			rest.Currency = ""
		case "purchase.store":
			rest.Store = ""
		case "purchase.channel":
			rest.Channel = ""
		case "purchase.at":
			rest.At = time.Unix(0, 0).UTC()
		case "purchase.amount":
			rest.Amount = Amount{}
		default:
			return out
		}
	}
}

// CheckTidy is Check where all texts are known to be printable ASCII of at most
// [MaxPurchaseValue] bytes, without space around them.
func (p *Purchase) CheckTidy() error { return p.check(true) }

func (p *Purchase) check(tidy bool) error {
	if p.ID == "" {
		return &FieldError{"purchase.id", "is empty"}
	}
	if !tidy {
		for _, t := range [...]struct{ name, value string }{
			{"purchase.id", p.ID}, {"purchase.sku", p.SKU}, {"purchase.description", p.Description},
			{"purchase.currency", p.Currency}, {"purchase.store", p.Store}, {"purchase.channel", p.Channel},
		} {
			if reason := textReason(t.value, MaxPurchaseValue); reason != "" {
				return &FieldError{t.name, reason}
			}
		}
	}
	if !inYears(p.At) {
		return &FieldError{"purchase.at", "is missing or outside the years 1 to 9999"}
	}
	if p.Amount.Scale > MaxScale {
		return &FieldError{"purchase.amount", "more than 9 decimals"}
	}
	if p.Currency != "" && !capitals(p.Currency, 3) {
		return &FieldError{"purchase.currency", "is not an ISO 4217 code such as EUR"}
	}
	return nil
}

// inYears reports whether a time is there, and of the years 1 to 9999 both in its own
// zone and in UTC.
func inYears(at time.Time) bool {
	year, us := at.Year(), at.UnixMicro()
	return !at.IsZero() && year >= 1 && year <= 9999 && us >= minMicro && us <= maxMicro
}

// textReason says why a text cannot be kept, or "".
func textReason(v string, limit int) string {
	switch {
	case len(v) > limit:
		return "is too long"
	case plain(v):
		return ""
	case !utf8.ValidString(v):
		return "is not UTF-8"
	case strings.TrimSpace(v) != v:
		return "has space around it"
	case strings.ContainsFunc(v, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }):
		return "has control characters"
	}
	return ""
}

// plain reports whether a text is printable ASCII without space around it: most texts
// are, and nothing else is to be asked of them. That takes 0.3 of the time of the rules
// (BenchmarkText).
func plain(v string) bool {
	for i := 0; i < len(v); i++ {
		if v[i] < ' ' || v[i] > '~' {
			return false
		}
	}
	return v == "" || v[0] != ' ' && v[len(v)-1] != ' '
}

func columnReason(f Field, v string) string {
	switch f {
	case Country:
		if !countryCode(v) {
			return "is not an ISO 3166-1 code such as FR"
		}
	case Standing:
		if read, err := ReadStanding(v); err != nil || read != v {
			return ErrStanding.Error()
		}
	case BirthDate:
		if _, ok := dayOf(v); ok {
			break
		}
		if _, err := time.Parse(time.DateOnly, v); err != nil {
			return "is not a date such as 1984-05-31"
		}
	case CreatedAt:
		if !KeptTime(v) {
			return "is not a time such as 2024-05-31T12:00:00Z, nor a date"
		}
	}
	return ""
}

// KeptTime reports whether a text is a time or a day as a record keeps it.
func KeptTime(v string) bool {
	if _, ok := secondOf(v); ok {
		return true
	}
	if _, err := time.Parse(time.RFC3339, v); err == nil {
		return true
	}
	_, err := time.Parse(time.DateOnly, v)
	return err == nil
}

func capitals(v string, n int) bool {
	for i := 0; i < len(v); i++ {
		if v[i] < 'A' || v[i] > 'Z' {
			return false
		}
	}
	return len(v) == n
}

// AttributeName reports whether a text can name an attribute.
func AttributeName(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return name != "" && len(name) <= MaxAttributeName
}
