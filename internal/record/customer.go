package record

import "time"

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
	Columns    [NumColumns]string
	Attributes map[string]string // attr.NAME without the prefix
}

// Get returns the value of a column, or the empty string for a field that is not
// a column.
func (c *Customer) Get(f Field) string {
	if f >= NumColumns {
		return ""
	}
	return c.Columns[f]
}

// Set sets a column.
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
}

// DistinctIDs reports whether purchases have each an id of their own.
func DistinctIDs(ps []Purchase) bool {
	const few = 32
	if len(ps) > few {
		seen := make(map[string]bool, len(ps))
		for i := range ps {
			seen[ps[i].ID] = true
		}
		return len(seen) == len(ps)
	}
	// Of few, comparing each with each is cheaper than remembering them, first by what
	// ids usually differ in.
	var ends [few]uint64
	for i := range ps {
		id := ps[i].ID
		for n := max(0, len(id)-8); n < len(id); n++ {
			ends[i] = ends[i]<<8 | uint64(id[n])
		}
		for j := range i {
			if ends[i] == ends[j] && id == ps[j].ID {
				return false
			}
		}
	}
	return true
}
