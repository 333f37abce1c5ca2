package intake

import (
	"bufio"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// sqlCells reads the rows of a dump of a database: INSERT statements, however long, and
// the data of COPY. It understands no more of SQL than where rows and their columns are.
type sqlCells struct {
	in     *bufio.Reader
	tables map[string][]string // columns, from CREATE TABLE
	copied []string            // columns of the COPY that is read; nil outside of one
	names  []string            // columns of the INSERT that is read
	values bool                // rows of an INSERT come next
	buf    []byte
}

var (
	copyLine   = regexp.MustCompile(`(?i)^\s*COPY\s+(\S+)\s*(?:\(([^)]*)\))?\s*FROM\s+stdin`)
	createLine = regexp.MustCompile(`(?i)^\s*CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\S+?)\s*(?:\(|$)`)
	columnLine = regexp.MustCompile("^\\s*[`\"\\[]?([A-Za-z_][A-Za-z0-9_]*)[`\"\\]]?\\s+[A-Za-z]")
	insertHead = regexp.MustCompile(`(?is)^\s*(?:INSERT|REPLACE)\s+(?:IGNORE\s+)?INTO\s+([^\s(]+)\s*(?:\(([^)]*)\))?\s*VALUES\s*$`)
)

// maxTables bounds the tables whose columns are kept, and maxHead what comes before VALUES.
const (
	maxTables = 1000
	maxHead   = 64 << 10
)

func bareName(s string) string {
	s = strings.Trim(s, "`\"[]();, \t\n")
	if i := strings.LastIndexByte(s, '.'); i >= 0 {
		s = strings.Trim(s[i+1:], "`\"[]")
	}
	return strings.ToLower(s)
}

func nameList(s string) (out []string) {
	if s == "" {
		return nil
	}
	for name := range strings.SplitSeq(s, ",") {
		out = append(out, bareName(name))
	}
	return out
}

func (s *sqlCells) next() (cells, error) {
	for {
		switch {
		case s.values:
			row, more, err := s.tuple()
			if err != nil {
				s.values = false
				return cells{}, err
			}
			if !more {
				s.values = false
				continue
			}
			return cells{names: s.names, values: row}, nil
		case s.copied != nil:
			line, err := lineOf(s.in)
			if err != nil {
				return cells{}, err
			}
			if line == `\.` {
				s.copied = nil
				continue
			}
			names := s.copied
			if len(names) == 0 {
				names = nil
			}
			return cells{names: names, values: copyValues(line)}, nil
		}
		if err := s.statement(); err != nil {
			return cells{}, err
		}
	}
}

// copyValues takes a row of COPY apart.
func copyValues(line string) []string {
	out := strings.Split(line, "\t")
	for i, v := range out {
		if strings.Contains(v, `\`) && v != `\N` {
			out[i] = strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n", `\r`, "\r").Replace(v)
		}
	}
	return out
}

// statement reads up to the rows of the next statement that has some.
func (s *sqlCells) statement() error {
	word, err := s.in.Peek(7)
	if len(word) == 0 {
		if err == nil || err == io.EOF {
			return io.EOF
		}
		return err
	}
	if strings.EqualFold(string(word), "INSERT ") || strings.EqualFold(string(word), "REPLACE") {
		return s.insert()
	}
	line, err := lineOf(s.in)
	if err != nil {
		return err
	}
	if m := copyLine.FindStringSubmatch(line); m != nil {
		if s.copied = nameList(m[2]); s.copied == nil {
			s.copied = append([]string{}, s.tables[bareName(m[1])]...)
		}
		return nil
	}
	if trimmed := strings.TrimLeft(line, " \t"); trimmed != line && len(trimmed) > 7 && strings.EqualFold(trimmed[:7], "insert ") {
		// An indented INSERT in one line: rare, and read as the statement that it is.
		s.in = bufio.NewReaderSize(io.MultiReader(strings.NewReader(trimmed+"\n"), s.in), MaxRow+2)
		return nil
	}
	if m := createLine.FindStringSubmatch(line); m != nil {
		s.create(bareName(m[1]))
	}
	return nil
}

// create reads the columns of a table, one in each line.
func (s *sqlCells) create(table string) {
	var names []string
	for range 2000 {
		line, err := lineOf(s.in)
		if err != nil {
			break
		}
		t := strings.ToUpper(strings.TrimSpace(line))
		if strings.HasPrefix(t, ")") {
			break
		}
		word, _, _ := strings.Cut(strings.ReplaceAll(t, "(", " "), " ")
		if slices.Contains([]string{"PRIMARY", "KEY", "UNIQUE", "CONSTRAINT", "INDEX", "FOREIGN", "CHECK", "FULLTEXT"}, word) {
			continue
		}
		if m := columnLine.FindStringSubmatch(line); m != nil {
			names = append(names, strings.ToLower(m[1]))
		}
		if strings.HasSuffix(t, ");") {
			break
		}
	}
	if len(s.tables) < maxTables {
		s.tables[table] = names
	}
}

// insert reads the head of an INSERT, up to VALUES.
func (s *sqlCells) insert() error {
	head := s.buf[:0]
	for len(head) < maxHead {
		c, err := s.in.ReadByte()
		if err != nil {
			return err
		}
		head = append(head, c)
		if (c == 'S' || c == 's') && len(head) > 6 && strings.EqualFold(string(head[len(head)-6:]), "values") {
			if m := insertHead.FindSubmatch(head); m != nil {
				if s.names = nameList(string(m[2])); s.names == nil {
					if s.names = s.tables[bareName(string(m[1]))]; len(s.names) == 0 {
						s.names = nil
					}
				}
				s.values, s.buf = true, head
				return nil
			}
		}
		if c == ';' {
			return nil // an INSERT that selects, or one that is not understood
		}
	}
	s.buf = head
	return errUnread
}

// tuple reads the next row in parentheses; more is false where the statement ends.
func (s *sqlCells) tuple() (row []string, more bool, err error) {
	for {
		c, err := s.in.ReadByte()
		if err == io.EOF {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		if c == '(' {
			break
		}
		if c == ',' || c == ' ' || c == '\n' || c == '\t' {
			continue
		}
		return nil, false, nil // ; or ON DUPLICATE KEY
	}
	size := 0
	cell := s.buf[:0]
	for size < MaxRow {
		c, err := s.in.ReadByte()
		if err != nil {
			return nil, false, errUnread
		}
		size++
		switch c {
		case '\'':
			if cell, err = s.quoted(cell[:0], &size); err != nil {
				return nil, false, err
			}
		case ',', ')':
			row = append(row, strings.TrimSpace(string(cell)))
			cell = cell[:0]
			if c == ')' {
				s.buf = cell
				return row, true, nil
			}
		default:
			cell = append(cell, c)
		}
	}
	return nil, false, errUnread
}

// quoted reads a text after its first quote.
func (s *sqlCells) quoted(out []byte, size *int) ([]byte, error) {
	for *size < MaxRow {
		c, err := s.in.ReadByte()
		if err != nil {
			return out, errUnread
		}
		*size++
		switch c {
		case '\\':
			if c, err = s.in.ReadByte(); err != nil {
				return out, errUnread
			}
			switch c {
			case 'n':
				c = '\n'
			case 't':
				c = '\t'
			case 'r':
				c = '\r'
			}
			out = append(out, c)
		case '\'':
			if next, _ := s.in.Peek(1); len(next) == 1 && next[0] == '\'' {
				_, _ = s.in.ReadByte() // peeked at: it is there
				out = append(out, '\'')
				continue
			}
			return out, nil
		default:
			out = append(out, c)
		}
	}
	return out, errUnread
}

func sortedKeys(o map[string]any) []string { return slices.Sorted(maps.Keys(o)) }
