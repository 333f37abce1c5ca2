package record

import (
	"slices"
	"time"
)

// Limits on one customer. They keep a record small enough to be sealed, sent and
// held in memory by the thousand.
const (
	MaxValueBytes     = 1024 // one column or attribute value
	MaxAttributes     = 64   // attributes of one customer
	MaxAttributeName  = 64   // bytes of an attribute's name
	MaxPurchaseValue  = 512  // bytes of one text of a purchase
	MaxAttributeBytes = 16 << 10
)

// Customer is one data subject's profile in clear. A column that is not known is
// the empty string. Values are stored as they were given, trimmed; the normal
// forms that searching compares are made by [Normalize].
type Customer struct {
	Columns    [NumFields]string // by field; empty where the field holds no string
	Attributes map[string]string // attr.NAME without the prefix
}

// Get returns the text of a field, or the empty string for one that holds no text.
func (c *Customer) Get(f Field) string {
	if !f.Text() {
		return ""
	}
	return c.Columns[f]
}

// Set sets the text of a field that holds one.
func (c *Customer) Set(f Field, v string) { c.Columns[f] = v }

// Purchase is one thing bought, as the brand's till or shop recorded it.
type Purchase struct {
	ID          string // the brand's own number, unique for the customer
	At          time.Time
	SKU         string
	Description string
	Quantity    int64
	Amount      Amount // of the whole line, not per piece
	Currency    string // ISO 4217
	Store       string
	Channel     string
	Mark        Mark // of the feed that sent it
}

// DistinctIDs reports whether purchases have each an id of their own. It compares the
// ends of ids before whole ids: 1.7 to 8 times as fast as a map (BenchmarkDistinctIDs).
func DistinctIDs(ps []Purchase) bool {
	var few [24]uint64 // without memory of its own for as many as most customers have
	ends := few[:0]
	if len(ps) > len(few) {
		ends = make([]uint64, 0, len(ps))
	}
	for i := range ps {
		ends = append(ends, endOf(ps[i].ID))
	}
	slices.Sort(ends)
	if len(slices.Compact(ends)) == len(ps) {
		return true
	}
	seen := make(map[string]bool, len(ps))
	for i := range ps {
		seen[ps[i].ID] = true
	}
	return len(seen) == len(ps)
}

// endOf returns the last eight bytes of a text: what ids usually differ in.
func endOf(s string) (end uint64) {
	if n := len(s) - 8; n >= 0 {
		s = s[n:]
		return uint64(s[0])<<56 | uint64(s[1])<<48 | uint64(s[2])<<40 | uint64(s[3])<<32 |
			uint64(s[4])<<24 | uint64(s[5])<<16 | uint64(s[6])<<8 | uint64(s[7])
	}
	for i := range len(s) {
		end = end<<8 | uint64(s[i])
	}
	return end
}
