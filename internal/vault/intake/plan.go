package intake

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Columns of a file of refused rows, which an import of it passes over or uses.
const (
	reasonColumn = "cloakroom_reason"
	lineColumn   = "cloakroom_line" // the number that a row with an id per line had
)

// plan turns the values of a row into cells, for a file that is described.
type plan struct {
	kind  string
	specs []bound
	used  []int // columns that some field is made of
	blank []int // columns without a name, which must be empty
	first []int // by column: the spec that it is used by first
	line  int   // the column with the numbers of lines; -1: there is none

	lines   bool // some id is numbered by line
	filled  bool // a value of this row came from the row before
	decoded bool // the file was not written in UTF-8
	cells   []cell
	raws    []cell
	faults  []Fault
	now     []string // what each spec reads, of this row
	before  []string // and of the row before
	guard   []string // what the columns of fill-down said in the row before
	lineID  string   // of the last row, and how many rows with it came in a row
	lineN   int
}

// bound is a spec whose columns are found.
type bound struct {
	*spec
	at   []int // columns
	down int   // -1: none
	name string
}

// bind finds the columns of a description. Its errors say positions, and never what
// stands in a header: the first line of a file without one is a customer.
func (m *Mapping) bind(t *table, names []string, rules Rules) (*plan, error) {
	specs := m.sections[t.kind]
	if specs == nil {
		return nil, fmt.Errorf("%w: it has no section %s:, and the file is one of %s", ErrMapping, t.kind, t.kind)
	}
	p := &plan{kind: t.kind, first: make([]int, len(names)), line: -1, decoded: m.file.encoding != "" && !isUTF8(m.file.encoding)}
	columns := map[string][]int{}
	for i, name := range names {
		p.first[i] = -1
		columns[foldName(name)] = append(columns[foldName(name)], i)
	}
	find := func(s *spec, name string) (int, error) {
		at := columns[foldName(name)]
		switch {
		case len(at) == 0:
			return -1, nil
		case len(at) > 1:
			return -1, fmt.Errorf("%w: line %d of the mapping names a column that stands in the header %d times, as columns %s", ErrColumns, s.line, len(at), positions(at))
		}
		return at[0], nil
	}
	for _, s := range specs {
		b := bound{spec: s, down: -1, name: t.nameOf(s.slot, s.attr)}
		if s.values.zone == nil && rules.Zone != nil {
			with := *s
			with.values.zone = rules.Zone
			b.spec = &with
		}
		for _, name := range s.from {
			i, err := find(s, name)
			if err != nil {
				return nil, err
			}
			if i < 0 {
				if s.optional || m.file.relaxed {
					continue
				}
				return nil, fmt.Errorf("%w: line %d of the mapping names a column that is not in the header, which has %d. Correct the name, or write `optional: true` beside it", ErrColumns, s.line, len(names))
			}
			b.at = append(b.at, i)
		}
		if s.down != "" {
			i, err := find(s, s.down)
			if err != nil {
				return nil, err
			}
			if i < 0 {
				return nil, fmt.Errorf("%w: line %d of the mapping fills down by a column that is not in the header", ErrColumns, s.line)
			}
			b.down = i
			p.use(i, len(p.specs))
		}
		if len(b.at) == 0 && s.constant == "" && s.def == "" {
			if slices.Contains(t.required, s.slot) {
				return nil, fmt.Errorf("%w: the column of %s, in line %d of the mapping, is not in the header", ErrColumns, b.name, s.line)
			}
			continue
		}
		for _, i := range b.at {
			p.use(i, len(p.specs))
		}
		p.specs = append(p.specs, b)
		p.lines = p.lines || s.perLine
	}
	var unknown []int
	for i, name := range names {
		switch folded := foldName(name); {
		case folded == lineColumn:
			p.line = i
			p.use(i, 0)
		case p.first[i] >= 0, folded == reasonColumn:
		case folded == "":
			p.blank = append(p.blank, i)
			p.use(i, 0)
		case m.dropped(name):
		default:
			unknown = append(unknown, i)
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("%w: the mapping says nothing of %s %s. Name them under %s:, or drop them: `drop: [\"*\"]` drops all that nothing names", ErrColumns, plural(len(unknown), "column"), positions(unknown), t.kind)
	}
	p.now, p.before = make([]string, len(p.specs)), make([]string, len(p.specs))
	p.guard = make([]string, len(p.specs))
	return p, nil
}

func (p *plan) use(column, spec int) {
	if p.first[column] < 0 {
		p.first[column] = spec
		p.used = append(p.used, column)
	}
}

// positions writes columns as people count them.
func positions(at []int) string {
	var out []string
	for i := 0; i < len(at); {
		j := i
		for j+1 < len(at) && at[j+1] == at[j]+1 {
			j++
		}
		if j > i+1 {
			out = append(out, fmt.Sprintf("%d-%d", at[i]+1, at[j]+1))
		} else {
			for ; i <= j; i++ {
				out = append(out, strconv.Itoa(at[i]+1))
			}
		}
		i = j + 1
	}
	return strings.Join(out, ", ")
}

func plural(n int, of string) string {
	if n == 1 {
		return of
	}
	return of + "s"
}

// apply makes the cells of a row. They are valid until the next one.
func (p *plan) apply(values []string, in *row) {
	p.cells, p.raws, p.faults, p.filled = p.cells[:0], p.raws[:0], p.faults[:0], false
	for _, i := range p.blank {
		if trimmed(values[i]) != "" {
			p.faults = append(p.faults, Fault{"", CodeBadRow, fmt.Sprintf("has a value in column %d, which has no name", i+1)})
		}
	}
	for _, i := range p.used {
		if b := &p.specs[p.first[i]]; values[i] != "" {
			p.raws = append(p.raws, cell{slot: b.slot, attr: b.attr, text: values[i]})
		}
		if p.decoded {
			if err := mistaken(values[i]); err != nil {
				p.fault(&p.specs[p.first[i]], err)
			}
		}
	}
	for n := range p.specs {
		b := &p.specs[n]
		text := p.read(n, b, values)
		if b.perLine && text != "" {
			text = p.numbered(text, values)
		}
		p.now[n] = text
		if b.values.words != nil && text != "" {
			ours, known := b.values.words[foldValue(text)]
			if !known {
				p.fault(b, errWord)
				continue
			}
			text = ours
		}
		if text == "" {
			text = b.def
		}
		if text != "" {
			read, err := b.convert(p.kind, text)
			if err != nil {
				p.fault(b, err)
				text = ""
				continue
			}
			text = read
		}
		p.cells = append(p.cells, cell{slot: b.slot, attr: b.attr, text: text, empty: b.values.empty, country: b.values.country})
	}
	p.now, p.before = p.before, p.now
	p.multiply()
	in.cells, in.raws, in.faults = p.cells, p.raws, p.faults
}

func (p *plan) fault(b *bound, err error) {
	if slices.ContainsFunc(p.faults, func(f Fault) bool { return f.Field == b.name }) {
		return
	}
	p.faults = append(p.faults, faultOf(b.name, err))
}

// read returns what a spec reads in a row, before it is taken for what it is.
func (p *plan) read(n int, b *bound, values []string) string {
	if len(b.from) == 0 {
		return b.constant
	}
	text := ""
	for _, column := range b.at {
		one := b.values.text(values[column])
		switch {
		case one == "" || b.first && text != "":
		case text == "":
			text = one
		default:
			text += b.join + one
		}
	}
	if b.part != wholeName {
		text = b.part.split(text)
	}
	if b.down >= 0 {
		guard := b.values.text(values[b.down])
		if text == "" && guard != "" && guard == p.guard[n] {
			text = p.before[n]
			p.filled = p.filled || text != ""
		}
		p.guard[n] = strings.Clone(guard)
		text = strings.Clone(text)
	}
	return text
}

// down are the values of a row with those that were filled down.
func (p *plan) down(values []string) []string {
	out := slices.Clone(values)
	for n := range p.specs {
		if b := &p.specs[n]; b.down >= 0 && len(b.at) == 1 && trimmed(out[b.at[0]]) == "" {
			out[b.at[0]] = p.before[n] // of this row: apply has turned them
		}
	}
	return out
}

// numbered is an id with the number of its row among those that follow each other with
// this id.
func (p *plan) numbered(id string, values []string) string {
	if p.line >= 0 {
		if n, err := strconv.Atoi(trimmed(values[p.line])); err == nil && n > 0 {
			p.lineID, p.lineN = strings.Clone(id), n
			return id + "-" + strconv.Itoa(n)
		}
	}
	if id != p.lineID {
		p.lineID, p.lineN = strings.Clone(id), 0
	}
	p.lineN++
	return id + "-" + strconv.Itoa(p.lineN)
}

// convert reads a text as what its field is.
func (b *bound) convert(kind, text string) (string, error) {
	r := &b.values
	if b.slot == slotAttr {
		return text, nil
	}
	if kind == kindCustomers {
		switch record.Field(b.slot) {
		case record.BirthDate:
			return r.date(text)
		case record.CreatedAt:
			return r.time(text)
		}
		return text, nil
	}
	switch b.slot {
	case colAt:
		return r.time(text)
	case colAmount:
		out, err := r.amount(text)
		if err == nil && b.minor > 0 {
			return minorUnits(out, b.minor)
		}
		return out, err
	}
	return text, nil
}

func minorUnits(s string, decimals int) (string, error) {
	a, err := record.ParseAmount(s)
	if err != nil || a.Scale != 0 {
		return "", errMinor
	}
	a.Scale = uint8(decimals)
	return a.String(), nil
}

// multiply makes the amount of a line of one per piece.
func (p *plan) multiply() {
	for i := range p.specs {
		if !p.specs[i].perPiece {
			continue
		}
		amount := slices.IndexFunc(p.cells, func(c cell) bool { return c.slot == colAmount })
		quantity := slices.IndexFunc(p.cells, func(c cell) bool { return c.slot == colQuantity })
		if amount < 0 || quantity < 0 {
			return
		}
		a, err := record.ParseAmount(p.cells[amount].text)
		n, err2 := parseQuantity(p.cells[quantity].text)
		if err != nil || err2 != nil {
			return // the checker says so
		}
		units := a.Units * n
		if n != 0 && (units/n != a.Units || n == -1 && a.Units == -1<<63) {
			p.fault(&p.specs[i], errPerPiece)
			return
		}
		a.Units = units
		p.cells[amount].text = a.String()
		return
	}
}
