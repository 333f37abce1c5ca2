package intake

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// jsonRows reads one JSON object per line, whose values are texts, numbers,
// booleans or null. A number stays the text that it is written as: amounts are exact.
type jsonRows struct {
	lines   *lines
	table   *table
	mapping *Mapping
	keep    bool
	plan    *plan          // of a file that is described
	at      map[string]int // by folded name, the column that the plan knows it as
	values  []string
	names   map[string]cell // what the names met so far stand for
	began   bool
	out     []cell
}

// newJSONRows reads the rows of a file of JSON lines. Its columns are those that a
// description names, wherever each stands in a row.
func newJSONRows(r *Reader, t *table) (*jsonRows, error) {
	j := &jsonRows{lines: r.lines, table: t, mapping: r.mapping, keep: r.keep, names: map[string]cell{}}
	if !r.mapping.described() {
		return j, nil
	}
	names := r.mapping.columns(t.kind)
	j.at = map[string]int{}
	for i, name := range names {
		j.at[foldName(name)] = i
	}
	j.values = make([]string, len(names))
	var err error
	j.plan, err = r.mapping.bind(t, names, r.Rules)
	return j, err
}

// columns are those that a description names for one kind of file.
func (m *Mapping) columns(kind string) (out []string) {
	seen := map[string]bool{}
	add := func(name string) {
		if folded := foldName(name); name != "" && !seen[folded] {
			seen[folded] = true
			out = append(out, name)
		}
	}
	for _, s := range m.sections[kind] {
		for _, name := range s.from {
			add(name)
		}
		add(s.down)
	}
	add(lineColumn)
	return out
}

var errArray = fmt.Errorf("%w: it is a JSON array: write one object on each line (jq -c '.[]' FILE)", ErrFormat)

// maxNames bounds the names that are remembered: attributes can have any.
const maxNames = 1024

// next implements source.
func (j *jsonRows) next(row *row) error {
	var text []byte
	for len(text) == 0 {
		raw, long, err := j.lines.next()
		*row = rowOf(j.lines.n)
		if err != nil {
			return err
		}
		if long {
			row.rej = tooLong().reject(row.line)
			return nil
		}
		text = trimJSON(raw)
	}
	first := !j.began
	j.began = true
	if text[0] == '[' && first {
		return errArray
	}
	if j.keep {
		row.raw = string(text)
	}
	fault := j.object(text)
	switch {
	case fault == nil && j.plan != nil:
		clear(j.values)
		for _, c := range j.out {
			j.values[c.slot] = c.text
		}
		j.plan.apply(j.values, row)
	case fault == nil:
		row.cells = j.out
	case fault.code == CodeUnknownColumn && first:
		// The same in every row, in all likelihood: say so once.
		return fmt.Errorf("%w: line %d %s", ErrColumns, row.line, fault.reason)
	default:
		row.rej = fault.reject(row.line)
	}
	return nil
}

// object reads a flat object into out.
func (j *jsonRows) object(text []byte) *rowFault {
	j.out = j.out[:0]
	switch {
	case !utf8.Valid(text):
		return &rowFault{CodeBadRow, "is not UTF-8"}
	case text[0] != '{' || !json.Valid(text):
		return &rowFault{CodeBadRow, "is not a JSON object"}
	}
	return j.members("", text, 0)
}

// members reads those of an object of valid JSON, whose pieces are found without checking
// again. An object inside another whose name is no column has columns named as paths, such
// as address/city.
func (j *jsonRows) members(prefix string, text []byte, depth int) *rowFault {
	rest := trimJSON(text[1:])
	for n := 1; rest[0] != '}'; n++ {
		end := stringEnd(rest)
		name := rest[:end]
		c, ok := j.column(prefix, name)
		if inner := trimJSON(trimJSON(rest[end:])[1:]); !ok && inner[0] == '{' && depth < singerDepth {
			path, isText := unquoteJSON(name)
			if !isText {
				return &rowFault{CodeBadRow, "has half of a surrogate pair in a name"}
			}
			if fault := j.members(prefix+path+"/", inner, depth+1); fault != nil {
				return fault
			}
			if rest = trimJSON(inner[valueEnd(inner):]); rest[0] == ',' {
				rest = trimJSON(rest[1:])
			}
			continue
		}
		if !ok {
			return &rowFault{CodeUnknownColumn, fmt.Sprintf("has a name that is no column (number %d in the row); known are %s. A mapping file renames others, or drops them with %q", n, j.table.known(), Drop)}
		}
		rest = trimJSON(rest[end:])
		rest = trimJSON(rest[1:]) // the colon
		end = valueEnd(rest)
		value := rest[:end]
		rest = trimJSON(rest[end:])
		if rest[0] == ',' {
			rest = trimJSON(rest[1:])
		}
		if c.slot == slotDrop {
			continue
		}
		if len(j.out) >= len(record.Texts)+record.MaxAttributes && len(j.out) >= len(j.values) {
			return &rowFault{CodeBadRow, "has more columns than a record can hold"}
		}
		for i := range j.out {
			if j.out[i].slot == c.slot && j.out[i].attr == c.attr {
				return &rowFault{CodeBadRow, "names a column twice"}
			}
		}
		switch value[0] {
		case '"':
			text, ok := unquoteJSON(value)
			if !ok {
				return &rowFault{CodeBadRow, "has half of a surrogate pair in a value"}
			}
			c.text = strings.TrimSpace(text)
		case '{':
			if c.slot == slotAttrs {
				c.text = string(value)
				break
			}
			return &rowFault{CodeBadRow, "has an object or an array as a value"}
		case '[':
			return &rowFault{CodeBadRow, "has an object or an array as a value"}
		case 'n': // null: there is such a column, and it is empty
		default:
			c.text = string(value)
		}
		j.out = append(j.out, c)
	}
	return nil
}

// column finds what a name stands for, given in its quotes.
func (j *jsonRows) column(prefix string, quoted []byte) (cell, bool) {
	if prefix != "" { // a name in quotes never begins so
		quoted = append([]byte(prefix), quoted...)
	}
	if c, ok := j.names[string(quoted)]; ok {
		return c, true
	}
	name, ok := unquoteJSON(quoted[len(prefix):])
	if !ok {
		return cell{}, false
	}
	name = prefix + name
	c := cell{slot: slotDrop}
	if folded := foldName(name); folded == reasonColumn || folded == lineColumn && j.plan == nil {
		return c, true
	}
	if j.plan != nil {
		if at, ok := j.at[foldName(name)]; ok {
			c.slot = at
		} else if !j.mapping.dropped(name) {
			return cell{}, false
		}
		if len(j.names) < maxNames {
			j.names[string(quoted)] = c
		}
		return c, true
	}
	if ours := j.mapping.ours(name); ours != Drop {
		if c.slot, ok = j.table.find(ours); !ok {
			return cell{}, false
		}
		if c.slot == slotAttr {
			c.attr = strings.TrimPrefix(ours, attrPrefix)
		}
	}
	if len(j.names) < maxNames {
		j.names[string(quoted)] = c
	}
	return c, true
}

func trimJSON(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

// stringEnd returns the length of the string that valid JSON begins with.
func stringEnd(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// valueEnd returns the length of the value that valid JSON begins with.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; ; i++ {
		switch b[i] {
		case '"':
			i += stringEnd(b[i:]) - 1
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
}

// unquoteJSON decodes a string of valid JSON and refuses half surrogate pairs, which
// encoding/json would turn into another text.
func unquoteJSON(b []byte) (string, bool) {
	inner := b[1 : len(b)-1]
	plain := true
	for i := 0; i < len(inner); i++ {
		if inner[i] != '\\' {
			continue
		}
		plain = false
		i++
		if inner[i] != 'u' {
			continue
		}
		switch u := unit(inner[i:]); {
		case u >= 0xd800 && u < 0xdc00:
			next := inner[i+5:]
			if len(next) < 6 || next[0] != '\\' || next[1] != 'u' {
				return "", false
			}
			if low := unit(next[1:]); low < 0xdc00 || low > 0xdfff {
				return "", false
			}
			i += 6
		case u >= 0xdc00 && u < 0xe000:
			return "", false
		}
		i += 4
	}
	if plain {
		return string(inner), true
	}
	var s string
	err := json.Unmarshal(b, &s)
	return s, err == nil
}

// unit reads the code unit of u1234.
func unit(b []byte) uint64 {
	u, _ := strconv.ParseUint(string(b[1:5]), 16, 32)
	return u
}
