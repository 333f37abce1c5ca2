package intake

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// tokenColumn holds the token of a customer.
const tokenColumn = "token"

// attrPrefix begins the name of a column that holds an attribute.
const attrPrefix = "attr."

// Slots that are no numbered column.
const (
	slotDrop  = -1 // the mapping drops it
	slotAttr  = -2 // an attribute, named in the cell
	slotBlank = -3 // a column without a name: it must be empty
	slotAttrs = -4 // all attributes, as one JSON object: what an export writes
	slotToken = -5 // the token of a purchase's customer, in place of the external id
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
	kind     string
	names    []string // by slot
	required []int
	attrs    bool
}

func customerTable() *table {
	t := &table{kind: kindCustomers, required: []int{int(record.ExternalID)}, attrs: true}
	t.names = make([]string, record.NumFields)
	for _, f := range record.Texts {
		t.names[f] = f.String()
	}
	return t
}

func purchaseTable() *table {
	return &table{
		kind:     kindPurchases,
		names:    []string{"external_id", "purchase_id", "at", "sku", "description", "quantity", "amount", "currency", "store", "channel"},
		required: []int{colExternalID, colPurchaseID, colAt},
	}
}

func (t *table) known() string {
	s := strings.Join(slices.DeleteFunc(slices.Clone(t.names), func(name string) bool { return name == "" }), ", ")
	if t.attrs {
		s += ", and attr.NAME with a NAME of a-z, 0-9, _, - and ."
	}
	return s
}

// find returns the slot of one of our names.
func (t *table) find(name string) (slot int, ok bool) {
	for i, n := range t.names {
		if n == name && n != "" {
			return i, true
		}
	}
	switch {
	case name == record.Attributes.String() && t.attrs:
		return slotAttrs, true
	case name == tokenColumn && t.kind == kindPurchases:
		return slotToken, true
	case name == tokenColumn:
		return slotDrop, true
	}
	if attr, is := strings.CutPrefix(name, attrPrefix); is && t.attrs {
		c := record.Customer{Attributes: map[string]string{attr: ""}}
		return slotAttr, c.Check() == nil
	}
	return 0, false
}

// nameOf returns our name of a slot.
func (t *table) nameOf(slot int, attr string) string {
	switch slot {
	case slotAttr:
		return attrPrefix + attr
	case slotAttrs:
		return record.Attributes.String()
	case slotToken:
		return tokenColumn
	}
	return t.names[slot]
}

// cell is one value of a row. Its slot is a column of the table, or slotAttr.
type cell struct {
	slot    int
	attr    string
	text    string
	empty   EmptyRule
	country string // of a number that says none; empty: the import's
}

// header finds the cells that a row with these names fills. Its errors say positions,
// and none of the names: the first line of a file without a header is a customer.
func (t *table) header(names []string, m *Mapping) ([]cell, error) {
	cells := make([]cell, len(names))
	at := map[string]int{} // where each of ours was, from 1
	var unknown []int
	for i, name := range names {
		if folded := foldName(name); folded == "" {
			cells[i].slot = slotBlank
			continue
		} else if folded == reasonColumn || folded == lineColumn {
			cells[i].slot = slotDrop
			continue
		}
		ours := m.ours(name)
		if ours == Drop {
			cells[i].slot = slotDrop
			continue
		}
		slot, ok := t.find(ours)
		if !ok {
			unknown = append(unknown, i)
			continue
		}
		if first := at[ours]; first > 0 {
			return nil, fmt.Errorf("%w: columns %d and %d are one column of ours: %s", ErrColumns, first, i+1, ours)
		}
		at[ours] = i + 1
		cells[i] = cell{slot: slot}
		if slot == slotAttr {
			cells[i].attr = strings.TrimPrefix(ours, attrPrefix)
		}
	}
	var missing []string
	for _, slot := range t.required {
		if at[t.names[slot]] == 0 && (slot != colExternalID || t.kind == kindCustomers || at[tokenColumn] == 0) {
			missing = append(missing, t.names[slot])
		}
	}
	const mend = "`cloakroom import --check FILE` proposes a mapping"
	switch {
	case len(missing) > 0 && len(names) == 1:
		return nil, fmt.Errorf("%w: the first line holds none of the marks , ; | and tab between values, and %s is missing. Known columns are %s. %s", ErrColumns, strings.Join(missing, ", "), t.known(), mend)
	case len(missing) > 0:
		return nil, fmt.Errorf("%w: %s is missing among the %d columns of the first line. Known columns are %s. %s", ErrColumns, strings.Join(missing, ", "), len(names), t.known(), mend)
	case len(unknown) > 0:
		return nil, fmt.Errorf("%w: %s %s: unknown. Known columns are %s. A mapping file renames others, or drops them with %q; %s", ErrColumns, plural(len(unknown), "column"), positions(unknown), t.known(), Drop, mend)
	}
	return cells, nil
}

// delimiters are those that are looked for.
const delimiters = ",;\t|"

// findDelimiter returns the delimiter of a file by its first line: the one that makes
// the most names of ours or of the mapping, and a comma where none does.
func findDelimiter(line string, known func(name string) bool) byte {
	best, most := byte(','), 0
	for i := range len(delimiters) {
		n := 0
		for name := range strings.SplitSeq(line, delimiters[i:i+1]) {
			if known(strings.Trim(name, "\"' ")) {
				n++
			}
		}
		if n > most {
			best, most = delimiters[i], n
		}
	}
	if most > 0 {
		return best
	}
	for i := range len(delimiters) {
		if n := strings.Count(line, delimiters[i:i+1]); n > most {
			best, most = delimiters[i], n
		}
	}
	return best
}

// knownTo returns whether a name in a header means something.
func (m *Mapping) knownTo(t *table) func(string) bool {
	froms := map[string]bool{}
	if m.described() {
		for _, s := range m.sections[t.kind] {
			for _, name := range s.from {
				froms[foldName(name)] = true
			}
		}
		return func(name string) bool { return froms[foldName(name)] }
	}
	return func(name string) bool {
		if m != nil {
			if _, ok := m.names[strings.TrimSpace(name)]; ok {
				return true
			}
		}
		_, ok := t.find(strings.TrimSpace(name))
		return ok
	}
}
