package intake

import (
	"errors"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones are named in mappings, also where the machine knows none

	"gopkg.in/yaml.v3"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// describe reads a description.
func (m *Mapping) describe(root *yaml.Node) error {
	m.sections = map[string][]*spec{}
	var sections []int
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		var err error
		switch key.Value {
		case kindCustomers, kindPurchases:
			sections = append(sections, i) // after the rules, which they inherit
		case "delimiter":
			m.file.delimiter, err = oneByte(value)
		case "quote":
			if value.Value == "none" {
				m.file.quote = noQuote
			} else {
				m.file.quote, err = oneByte(value)
			}
		case "encoding":
			if m.file.encoding, err = scalar(value); err == nil && !knownEncoding(m.file.encoding) {
				err = mapFault(value, "is no encoding that can be read: %s", encodingNames())
			}
		case "streams":
			m.streams, err = streams(value)
		case "xml":
			m.file.xml, err = scalar(value)
		case "columns":
			var s string
			if s, err = scalar(value); err == nil && s != "may-be-missing" {
				err = mapFault(value, "must be may-be-missing, or nothing")
			}
			m.file.relaxed = true
		case "without-customer":
			var s string
			if s, err = scalar(value); err == nil && s != "skip" && s != "reject" {
				err = mapFault(value, "must be skip or reject")
			}
			m.file.anonymous = s == "skip"
		case "drop":
			var patterns []string
			patterns, err = scalars(value)
			for _, p := range patterns {
				m.drop = append(m.drop, foldName(p))
			}
		default:
			var known bool
			if known, err = m.values.key(key, value); err == nil && !known {
				err = mapFault(key, "has a key that means nothing: known are delimiter, quote, encoding, xml, streams, columns, without-customer, drop, %s, customers and purchases", valueKeys)
			}
		}
		if err != nil {
			return err
		}
	}
	if err := m.values.check(root); err != nil {
		return err
	}
	if m.file.quote == m.file.delimiter && m.file.quote != 0 {
		return mapFault(root, "has one mark as delimiter and as quote")
	}
	for _, i := range sections {
		if err := m.section(root.Content[i].Value, root.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// section reads what a description says of one kind of file.
func (m *Mapping) section(kind string, n *yaml.Node) error {
	t := customerTable()
	if kind == kindPurchases {
		t = purchaseTable()
	}
	if n.Kind != yaml.MappingNode {
		return mapFault(n, "must be a list of `our_field: Their column`")
	}
	if err := noRepeats(n); err != nil {
		return err
	}
	seen := map[string]int{}
	var out []*spec
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		names := []string{alias(kind, key.Value)}
		full := key.Value == "full_name" && kind == kindCustomers
		if full {
			names = []string{record.GivenName.String(), record.FamilyName.String()}
		}
		s := &spec{line: key.Line, values: m.values}
		order, err := s.read(value)
		if err != nil {
			return err
		}
		if full == (order == "") {
			return mapFault(key, "must say the order of a full name, and nothing else may: full_name: {from: Column, order: given-first} (or family-first)")
		}
		for at, name := range names {
			slot, ok := t.find(name)
			if !ok {
				return mapFault(key, "is no field of %s: known are %s", kind, t.known())
			}
			if first, there := seen[name]; there {
				return mapFault(key, "fills a field that line %d fills", first)
			}
			seen[name] = key.Line
			one := *s
			one.slot = slot
			if slot == slotAttr {
				one.attr = strings.TrimPrefix(name, attrPrefix)
			}
			if full {
				one.part = map[string][]namePart{"given-first": {givenOfFirst, familyOfFirst}, "family-first": {givenOfLast, familyOfLast}}[order][at]
			}
			purchase := kind == kindPurchases
			if one.perLine && (!purchase || slot != colPurchaseID) {
				return mapFault(key, "may not have per-line: it is for the id of purchases")
			}
			if (one.perPiece || one.minor > 0) && (!purchase || slot != colAmount) {
				return mapFault(key, "may not have per or minor-units: they are for the amount of purchases")
			}
			out = append(out, &one)
		}
	}
	for _, slot := range t.required {
		if _, there := seen[t.names[slot]]; !there {
			return mapFault(n, "does not say where %s comes from", t.names[slot])
		}
	}
	m.sections[kind] = out
	return nil
}

// read reads where one field comes from. order is that of a full name.
func (s *spec) read(n *yaml.Node) (order string, err error) {
	if n.Kind != yaml.MappingNode {
		s.from, err = scalars(n)
		s.join = " "
		return "", err
	}
	if err := noRepeats(n); err != nil {
		return "", err
	}
	s.join = " "
	constant := false
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		var err error
		switch key.Value {
		case "from":
			s.from, err = scalars(value)
		case "join":
			s.join, err = scalar(value)
		case "constant":
			s.constant, err = scalar(value)
			constant = true
		case "default":
			s.def, err = scalar(value)
		case "fill-down":
			s.down, err = scalar(value)
		case "order":
			if order, err = scalar(value); err == nil && order != "given-first" && order != "family-first" {
				err = mapFault(value, "must be given-first or family-first")
			}
		case "per-line":
			s.perLine, err = boolean(value)
		case "per":
			var unit string
			if unit, err = scalar(value); err == nil && unit != "piece" && unit != "line" {
				err = mapFault(value, "must be piece or line")
			}
			s.perPiece = unit == "piece"
		case "minor-units":
			var text string
			if text, err = scalar(value); err == nil {
				if s.minor, err = strconv.Atoi(text); err != nil || s.minor < 1 || s.minor > 4 {
					err = mapFault(value, "must be the decimals of the currency, 1 to 4")
				}
			}
		case "optional":
			s.optional, err = boolean(value)
		case "first":
			s.first, err = boolean(value)
		case "values":
			s.values.words, err = words(value)
		default:
			var known bool
			if known, err = s.values.key(key, value); err == nil && !known {
				err = mapFault(key, "has a key that means nothing: known are from, join, first, values, constant, default, fill-down, order, per-line, per, minor-units, optional, %s", valueKeys)
			}
		}
		if err != nil {
			return "", err
		}
	}
	if constant == (len(s.from) > 0) {
		return "", mapFault(n, "needs either from or constant")
	}
	return order, s.values.check(n)
}

// EmptyRule says what an empty value does to one that is kept.
type EmptyRule uint8

// The rules. Of a column without a rule, the file's holds, and without one: keep.
const (
	EmptyDefault EmptyRule = iota
	EmptyKeep
	EmptyClear
)

// valueRules say how values are written.
type valueRules struct {
	decimal      string // "" means a point
	thousands    string
	signs        bool // currency signs and codes around amounts are left out
	parentheses  bool // (12.50) is -12.50
	times, dates []string
	zone         *time.Location
	serial       int // 1900 or 1904: dates may be a spreadsheet's numbers
	apostrophes  bool
	null         []string // texts that mean nothing, folded
	country      string
	empty        EmptyRule
	words        map[string]string // what a text means, by its folded form; nil: itself
}

// valueKeys are the keys that valueRules have.
const valueKeys = "decimal, thousands, currency-signs, negative, time, zone, date, serial, apostrophes, null, default-country and empty"

// key reads one key, where it is one of these rules.
func (r *valueRules) key(key, value *yaml.Node) (known bool, err error) {
	var text string
	oneOf := func(choices ...string) error {
		if text, err = scalar(value); err != nil {
			return err
		}
		for _, c := range choices {
			if c == text {
				return nil
			}
		}
		return mapFault(value, "must be %s", strings.Join(choices, " or "))
	}
	switch key.Value {
	case "decimal":
		err = oneOf(".", ",")
		r.decimal = text
	case "thousands":
		err = oneOf(".", ",", " ", "'", "")
		r.thousands = text
	case "currency-signs":
		err = oneOf("drop", "refuse")
		r.signs = text == "drop"
	case "negative":
		err = oneOf("parentheses", "minus")
		r.parentheses = text == "parentheses"
	case "time":
		r.times, err = layouts(value)
	case "date":
		r.dates, err = layouts(value)
	case "zone":
		if text, err = scalar(value); err == nil {
			if r.zone, err = zone(text); err != nil {
				err = mapFault(value, "%s", errZone)
			}
		}
	case "serial":
		if err = oneOf("1900", "1904"); err == nil {
			r.serial, _ = strconv.Atoi(text)
		}
	case "apostrophes":
		err = oneOf("drop", "keep")
		r.apostrophes = text == "drop"
	case "null":
		r.null, err = scalars(value)
		for i := range r.null {
			r.null[i] = strings.ToLower(strings.TrimSpace(r.null[i]))
		}
	case "default-country":
		if text, err = scalar(value); err == nil {
			if r.country, err = record.ReadCountry(text); err != nil {
				err = mapFault(value, "%s", err)
			}
		}
	case "empty":
		err = oneOf("keep", "clear")
		r.empty = map[string]EmptyRule{"keep": EmptyKeep, "clear": EmptyClear}[text]
	default:
		return false, nil
	}
	return true, err
}

// check refuses rules that contradict each other.
func (r *valueRules) check(n *yaml.Node) error {
	decimal := r.decimal
	if decimal == "" {
		decimal = "."
	}
	if r.thousands == decimal {
		return mapFault(n, "has one mark for decimals and for thousands")
	}
	return nil
}

// streams reads what the streams of a tap are.
func streams(n *yaml.Node) (map[string]string, error) {
	if n.Kind != yaml.MappingNode {
		return nil, mapFault(n, "must be a list of `their_stream: customers` (or purchases, or %q)", Drop)
	}
	if err := noRepeats(n); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		kind, err := scalar(n.Content[i+1])
		if err != nil {
			return nil, err
		}
		if kind != kindCustomers && kind != kindPurchases && kind != Drop {
			return nil, mapFault(n.Content[i+1], "must be customers, purchases or %q", Drop)
		}
		out[n.Content[i].Value] = kind
	}
	return out, nil
}

// words reads what the texts of a column mean.
func words(n *yaml.Node) (map[string]string, error) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		return nil, mapFault(n, "must be a list of `Their text: our text`")
	}
	out := make(map[string]string, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		ours, err := scalar(n.Content[i+1])
		if err != nil {
			return nil, err
		}
		key := foldValue(n.Content[i].Value)
		if _, there := out[key]; there {
			return nil, mapFault(n.Content[i], "says again what a text means")
		}
		out[key] = ours
	}
	return out, nil
}

// foldValue is the form in which texts of values: are compared.
func foldValue(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

func scalar(n *yaml.Node) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", mapFault(n, "must be one value")
	}
	return n.Value, nil
}

func scalars(n *yaml.Node) ([]string, error) {
	if n.Kind == yaml.ScalarNode {
		if n.Value == "" {
			return nil, mapFault(n, "is empty")
		}
		return []string{n.Value}, nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return nil, mapFault(n, "must be one value or a list of some")
	}
	out := make([]string, len(n.Content))
	for i, c := range n.Content {
		var err error
		if out[i], err = scalar(c); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func boolean(n *yaml.Node) (bool, error) {
	if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" {
		return false, mapFault(n, "must be true or false")
	}
	return n.Value == "true", nil
}

func oneByte(n *yaml.Node) (byte, error) {
	text, err := scalar(n)
	if err != nil {
		return 0, err
	}
	if text == "tab" || text == `\t` {
		return '\t', nil
	}
	if len(text) != 1 || text[0] < ' ' && text[0] != '\t' || text[0] > '~' || text[0] >= '0' && text[0] <= '9' {
		return 0, mapFault(n, `must be one ASCII mark, such as ";", "|" or tab`)
	}
	return text[0], nil
}

// Zone returns the time zone of a name such as Europe/Paris, or of an offset.
func Zone(text string) (*time.Location, error) {
	at, err := zone(text)
	if err != nil {
		return nil, errZone
	}
	return at, nil
}

var errZone = errors.New("is no time zone: write a name such as Europe/Paris, UTC, or an offset such as +01:00")

func zone(text string) (*time.Location, error) {
	if text == "" || text == "Local" {
		return nil, errAt
	}
	if text[0] == '+' || text[0] == '-' {
		at, err := time.Parse("Z07:00", text)
		if err != nil {
			return nil, err
		}
		_, offset := at.Zone()
		return time.FixedZone(text, offset), nil
	}
	return time.LoadLocation(text)
}

// layouts reads how times or dates are written, such as DD/MM/YYYY hh:mm.
func layouts(n *yaml.Node) ([]string, error) {
	texts, err := scalars(n)
	if err != nil {
		return nil, err
	}
	for i, text := range texts {
		layout, ok := layoutOf(text)
		if !ok {
			return nil, mapFault(n, "is no layout: write it with YYYY, MM or M, DD or D, hh, mm, ss, AM and +hh:mm or +hhmm, such as YYYY-MM-DD hh:mm:ss or DD/MM/YYYY")
		}
		texts[i] = layout
	}
	return texts, nil
}

// layoutOf turns YYYY-MM-DD hh:mm:ss into Go's way to say it.
func layoutOf(text string) (string, bool) {
	var b strings.Builder
	year, month, day := false, false, false
	half := strings.Contains(text, "AM")
	for rest := text; rest != ""; {
		take := func(token, as string) bool {
			if !strings.HasPrefix(rest, token) {
				return false
			}
			b.WriteString(as)
			rest = rest[len(token):]
			return true
		}
		switch {
		case take("YYYY", "2006"):
			year = true
		case take("MMM", "Jan"), take("MM", "01"), take("M", "1"):
			month = true
		case take("DD", "02"), take("D", "2"):
			day = true
		case half && (take("hh", "03") || take("h", "3")):
		case take("hh", "15"), take("h", "15"), take("mm", "04"), take("ss", "05"), take("AM", "PM"),
			take("+hh:mm", "-07:00"), take("+hhmm", "-0700"), take("T", "T"), take("Z", "Z"):
		case rest[0] >= 'a' && rest[0] <= 'z', rest[0] >= 'A' && rest[0] <= 'Z', rest[0] >= '0' && rest[0] <= '9', rest[0] > '~':
			return "", false
		default:
			b.WriteByte(rest[0])
			rest = rest[1:]
		}
	}
	return b.String(), year && month && day
}
