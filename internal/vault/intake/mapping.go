package intake

import (
	"fmt"
	"path"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// maxMapping bounds a mapping file: a few hundred columns fit many times.
const maxMapping = 1 << 20

// Drop is the target of a foreign column that is not to be read.
const Drop = "-"

// Mapping describes a file. There are two kinds:
//
// A list of names renames columns, one `Foreign column: our_column` a line, or drops
// them with [Drop]. Columns that it does not name keep their names.
//
// A description says how a file is written (delimiter, encoding, marks, times) and, under
// customers: and purchases:, from which columns each of our fields comes. docs/import.md
// has all of its keys. A nil Mapping is an empty list of names.
type Mapping struct {
	// Text is the mapping as it was written.
	Text string

	names    map[string]string  // of a list of names: from theirs to ours
	sections map[string][]*spec // of a description, by kind of file
	streams  map[string]string  // of a tap: what each stream is; nil: what it is called
	drop     []string           // patterns of columns that are not read, folded
	file     fileRules
	values   valueRules
}

// fileRules say how a file is put together.
type fileRules struct {
	delimiter byte   // 0: it is found
	quote     byte   // 0: a double quote; noQuote: none
	encoding  string // empty: UTF-8
	xml       string // name of the element that is a record; empty: it is no XML
	relaxed   bool   // columns that are not there are not missed
	anonymous bool   // purchases that name no customer are left out, and counted
}

// spec says where one of our fields comes from.
type spec struct {
	slot     int
	attr     string
	line     int      // in the mapping
	from     []string // columns; several are joined
	join     string
	constant string
	def      string // in place of nothing
	down     string // nothing means: as in the row before, while this column says the same
	part     namePart
	perLine  bool
	perPiece bool
	minor    int // decimals of an amount in minor units
	optional bool
	first    bool // of several columns, the first that says something
	values   valueRules
}

// namePart is which part of a full name a field takes.
type namePart uint8

const (
	wholeName    namePart = iota
	givenOfFirst          // the given name stands first
	familyOfFirst
	givenOfLast // the family name stands first
	familyOfLast
)

// described reports whether the mapping is a description.
func (m *Mapping) described() bool { return m != nil && m.sections != nil }

// ParseMapping reads a mapping in YAML or JSON. Nothing in it is passed over: a key that
// has no meaning is an error that says its line.
func ParseMapping(text []byte) (*Mapping, error) {
	if len(text) > maxMapping {
		return nil, fmt.Errorf("%w: more than 1 MiB", ErrMapping)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrMapping, yamlFault(err))
	}
	m := &Mapping{Text: string(text)}
	if doc.Kind == 0 || doc.Content[0].Kind == yaml.MappingNode && len(doc.Content[0].Content) == 0 {
		// An empty file is a mistake, and no wish for our own names.
		return nil, fmt.Errorf("%w: it is empty: leave --mapping out where columns have our names, and let `cloakroom import --check FILE` propose one otherwise", ErrMapping)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, mapFault(root, "must be a list of `Foreign column: our_column`, or a description with customers: or purchases:")
	}
	if err := noRepeats(root); err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if value.Kind == yaml.MappingNode && (key.Value == kindCustomers || key.Value == kindPurchases) {
			return m, m.describe(root)
		}
	}
	return m, m.rename(root)
}

// mapFault is an error of a mapping. It says the line, and nothing that stands in it.
func mapFault(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%w: line %d %s", ErrMapping, n.Line, fmt.Sprintf(format, args...))
}

// yamlFault is what YAML's parser says, without what it quotes of the text.
func yamlFault(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if line, _, ok := strings.Cut(text, ":"); ok && strings.HasPrefix(line, "line ") {
		return line + " is not YAML: write `Foreign column: our_column`, and quote names that hold a colon or begin with a mark"
	}
	return "it is not YAML: write `Foreign column: our_column` on each line"
}

// noRepeats refuses a key that stands twice.
func noRepeats(n *yaml.Node) error {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if first, there := seen[key.Value]; there {
			return mapFault(key, "repeats the key of line %d", first)
		}
		seen[key.Value] = key.Line
	}
	return nil
}

// rename reads a list of names.
func (m *Mapping) rename(root *yaml.Node) error {
	m.names = make(map[string]string, len(root.Content)/2)
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if value.Kind != yaml.ScalarNode {
			return mapFault(value, "is no name: write `Foreign column: our_column`, or describe the file under customers: and purchases:")
		}
		ours := value.Value
		if ours != Drop {
			_, customer := customerTable().find(ours)
			_, purchase := purchaseTable().find(ours)
			if !customer && !purchase {
				return mapFault(value, "maps a column to no column of ours. Columns of customers: %s. Columns of purchases: %s. %q drops a column",
					customerTable().known(), purchaseTable().known(), Drop)
			}
		}
		m.names[strings.TrimSpace(key.Value)] = ours
	}
	return nil
}

// ours returns our name for a column of the file.
func (m *Mapping) ours(name string) string {
	name = strings.TrimSpace(name)
	if m == nil {
		return name
	}
	if to, ok := m.names[name]; ok {
		return to
	}
	return name
}

// streamKind returns what a tap's stream is: customers, purchases, or [Drop]; empty where
// nothing says.
func (m *Mapping) streamKind(stream string) string {
	if m != nil && m.streams != nil {
		return m.streams[stream]
	}
	if stream == kindCustomers || stream == kindPurchases {
		return stream
	}
	return ""
}

// anonymous reports whether purchases that name no customer are left out.
func (m *Mapping) anonymous() bool { return m != nil && m.file.anonymous }

// dropped reports whether a pattern of the mapping drops a column.
func (m *Mapping) dropped(name string) bool {
	if m == nil {
		return false
	}
	for _, pattern := range m.drop {
		if ok, err := path.Match(pattern, foldName(name)); err == nil && ok {
			return true
		}
	}
	return false
}

// foldName is the form under which names of columns are compared: they are told apart by
// neither case nor spaces, nor by marks that nobody sees.
func foldName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r):
			return -1
		case r == '/': // which path.Match takes for a separator
			return '\\'
		}
		return r
	}, name)
	return strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(name, "\\", "|")), " "))
}

// Kinds of files, as mappings name them.
const (
	kindCustomers = "customers"
	kindPurchases = "purchases"
)

// aliases are shorter names of our fields that descriptions may use.
func alias(kind, name string) string {
	if kind == kindPurchases && name == "id" {
		return purchaseTable().names[colPurchaseID]
	}
	if kind == kindCustomers && name == "id" {
		return record.ExternalID.String()
	}
	return name
}
