package record

import (
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
func (c *Customer) Check() error {
	for i, v := range c.Columns {
		f := Field(i)
		if reason := textReason(v, MaxValueBytes); reason != "" {
			return &FieldError{f.String(), reason}
		}
		if reason := columnReason(f, v); v != "" && reason != "" {
			return &FieldError{f.String(), reason}
		}
	}
	if len(c.Attributes) > MaxAttributes {
		return &FieldError{Attributes.String(), "more than 64 attributes"}
	}
	total := 0
	for name, v := range c.Attributes {
		// A refused name is not repeated: a mapping gone wrong may put values there.
		if !attributeName(name) {
			return &FieldError{Attributes.String(), "a name must be 1 to 64 of a-z, 0-9, _, - and ."}
		}
		if reason := textReason(v, MaxValueBytes); reason != "" {
			return &FieldError{"attr." + name, reason}
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
func (p *Purchase) Check() error {
	if p.ID == "" {
		return &FieldError{"purchase.id", "is empty"}
	}
	for _, t := range [...]struct{ name, value string }{
		{"purchase.id", p.ID}, {"purchase.sku", p.SKU}, {"purchase.description", p.Description},
		{"purchase.currency", p.Currency}, {"purchase.store", p.Store}, {"purchase.channel", p.Channel},
	} {
		if reason := textReason(t.value, MaxPurchaseValue); reason != "" {
			return &FieldError{t.name, reason}
		}
	}
	if us := p.At.UnixMicro(); p.At.IsZero() || p.At.Year() < 1 || p.At.Year() > 9999 || us < minMicro || us > maxMicro {
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
// are, and nothing else is to be asked of them.
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
		if !capitals(v, 2) {
			return "is not an ISO 3166-1 code such as FR"
		}
	case BirthDate:
		if _, err := time.Parse(time.DateOnly, v); err != nil {
			return "is not a date such as 1984-05-31"
		}
	case CreatedAt:
		_, err := time.Parse(time.RFC3339, v)
		if _, day := time.Parse(time.DateOnly, v); err != nil && day != nil {
			return "is not a time such as 2024-05-31T12:00:00Z, nor a date"
		}
	}
	return ""
}

func capitals(v string, n int) bool {
	return len(v) == n && strings.Trim(v, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func attributeName(name string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789_-."
	return name != "" && len(name) <= MaxAttributeName && !strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(allowed, r) })
}
