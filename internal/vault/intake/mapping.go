package intake

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxMapping bounds a mapping file: a few hundred columns fit many times.
const maxMapping = 1 << 20

// Drop is the target of a foreign column that is not to be read.
const Drop = "-"

// Mapping renames foreign columns: from the name in the file to ours, or to [Drop].
// Columns that it does not name keep their names.
type Mapping map[string]string

// ParseMapping reads a mapping in YAML or JSON, one `foreign: ours` per column. One
// mapping may serve customers and purchases both.
func ParseMapping(text []byte) (Mapping, error) {
	if len(text) > maxMapping {
		return nil, fmt.Errorf("%w: more than 1 MiB", ErrMapping)
	}
	var m Mapping
	if err := yaml.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%w: %w (write one `foreign: ours` on each line)", ErrMapping, err)
	}
	for _, foreign := range slices.Sorted(maps.Keys(m)) {
		ours := m[foreign]
		if ours == Drop {
			continue
		}
		_, customer := customerTable().find(ours)
		_, purchase := purchaseTable().find(ours)
		if !customer && !purchase {
			return nil, fmt.Errorf("%w: %q is mapped to %q, which is no column. Columns of customers: %s. Columns of purchases: %s. %q drops a column",
				ErrMapping, foreign, ours, customerTable().known(), purchaseTable().known(), Drop)
		}
	}
	return m, nil
}

// ours returns our name for a column of the file.
func (m Mapping) ours(name string) string {
	name = strings.TrimSpace(name)
	if to, ok := m[name]; ok {
		return to
	}
	return name
}
