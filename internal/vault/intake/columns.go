package intake

import (
	"fmt"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// attrPrefix begins the name of a column that holds an attribute.
const attrPrefix = "attr."

// Slots that are no numbered column.
const (
	slotDrop = -1 // the mapping drops it
	slotAttr = -2 // an attribute, named in the cell
)

// The columns of a file of purchases.
const (
	colExternalID = iota
	colPurchaseID
	colAt
	colSKU
	colDescription
	colQuantity
	colAmount
	colCurrency
	colStore
	colChannel
)

// table says which columns a kind of file has.
type table struct {
	names    []string // by slot
	required []int
	attrs    bool
}

func customerTable() *table {
	t := &table{required: []int{int(record.ExternalID)}, attrs: true}
	for f := range record.NumColumns {
		t.names = append(t.names, f.String())
	}
	return t
}

func purchaseTable() *table {
	return &table{
		names:    []string{"external_id", "purchase_id", "at", "sku", "description", "quantity", "amount", "currency", "store", "channel"},
		required: []int{colExternalID, colPurchaseID, colAt},
	}
}

func (t *table) known() string {
	s := strings.Join(t.names, ", ")
	if t.attrs {
		s += ", and attr.NAME with a NAME of a-z, 0-9, _, - and ."
	}
	return s
}

// find returns the slot of one of our names.
func (t *table) find(name string) (slot int, ok bool) {
	for i, n := range t.names {
		if n == name {
			return i, true
		}
	}
	if attr, is := strings.CutPrefix(name, attrPrefix); is && t.attrs {
		c := record.Customer{Attributes: map[string]string{attr: ""}}
		return slotAttr, c.Check() == nil
	}
	return 0, false
}

// cell is one value of a row. Its slot is a column of the table, or slotAttr.
type cell struct {
	slot int
	attr string
	text string
}

// header finds the cells that a row with these names fills. A wrong name is shown
// only where the names are a header beyond doubt, that is where the required ones
// are among them: the first line of a file without a header is a customer.
func (t *table) header(names []string, m Mapping) ([]cell, error) {
	cells := make([]cell, len(names))
	seen := map[string]bool{}
	unknown, twice := -1, -1
	for i, name := range names {
		ours := m.ours(name)
		if ours == Drop {
			cells[i].slot = slotDrop
			continue
		}
		slot, ok := t.find(ours)
		switch {
		case !ok && unknown < 0:
			unknown = i
		case ok && seen[ours] && twice < 0:
			twice = i
		}
		seen[ours] = true
		cells[i] = cell{slot: slot}
		if slot == slotAttr {
			cells[i].attr = strings.TrimPrefix(ours, attrPrefix)
		}
	}
	var missing []string
	for _, slot := range t.required {
		if !seen[t.names[slot]] {
			missing = append(missing, t.names[slot])
		}
	}
	at := func(i int) string {
		if len(names[i]) > record.MaxAttributeName {
			return fmt.Sprintf("column %d", i+1)
		}
		return fmt.Sprintf("column %d (%q)", i+1, names[i])
	}
	switch {
	case len(names) == 1 && strings.ContainsAny(names[0], ";\t|"):
		return nil, fmt.Errorf("%w: the first line holds no comma: separate the values by commas", ErrColumns)
	case len(missing) > 0:
		return nil, fmt.Errorf("%w: %s is missing. The names of the columns come first; known are %s. A mapping file renames others", ErrColumns, strings.Join(missing, ", "), t.known())
	case unknown >= 0:
		return nil, fmt.Errorf("%w: %s is unknown; known are %s. A mapping file renames others, or drops them with %q", ErrColumns, at(unknown), t.known(), Drop)
	case twice >= 0:
		return nil, fmt.Errorf("%w: %s is there already under this or another name", ErrColumns, at(twice))
	}
	return cells, nil
}
