package intake

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrSample is joined to errors of a sample that cannot be read.
var ErrSample = fault.New(fault.Invalid, "the sample cannot be read")

// Formats of samples.
const (
	SampleCSV  = "csv"
	SampleJSON = "json"
	SampleSQL  = "sql"
	SampleText = "text"
)

// SampleColumn is a column of a sample, and what it was taken for. It has no name: what
// stands in the first line of a stranger's file may be a customer.
type SampleColumn struct {
	At    int    // from 1
	Field string // empty: not used
	From  string // "name": by its name; "values": by what stands in it
}

// SampleShape is how a sample is written, as far as its first rows show.
type SampleShape struct {
	Format    string
	Encoding  string
	Delimiter string // of csv
	Header    bool   // of csv
	Columns   []SampleColumn
}

// SampleRow is a row of a sample: the values of the columns that are ours.
type SampleRow struct {
	Values [record.NumColumns]string
	Card   bool // a payment card number stands in the row
}

// Sample reads the rows of a list that somebody claims to have, whose form nobody
// described: CSV with any delimiter, JSON, a dump of a database, or text with addresses
// in it. It is lenient where an import is strict: a row that makes no sense is counted and
// passed over. It holds a few rows in memory, whatever the size of the sample.
type Sample struct {
	Shape SampleShape
	// Unreadable counts rows that could not be taken apart.
	Unreadable int

	rows   cellSource
	cards  *cards.Finder
	ahead  []cells // read to see what the columns are
	byName map[string][]int
	byFew  []int // field of each column, -1: none
}

// cells are the values of one row, with the names of its columns where it says them.
type cells struct {
	names  []string
	values []string
}

// cellSource yields rows until io.EOF. errUnread is one row that could not be read.
type cellSource interface{ next() (cells, error) }

var errUnread = fault.New(fault.Internal, "a row of the sample is not readable")

const (
	// samplePeek is how much of a sample shows how it is written.
	samplePeek = 256 << 10
	// sampleAhead is how many rows show what its columns are.
	sampleAhead = 200
	// sampleDelimiters are those that a stranger's list may have: a colon stands in lists
	// of addresses and passwords.
	sampleDelimiters = ",;\t|:"
)

// OpenSample looks at the beginning of a sample, and returns the reader of its rows.
func OpenSample(r io.Reader) (*Sample, error) {
	plain, err := unpack(bufio.NewReaderSize(r, 64<<10))
	if err != nil {
		return nil, errors.Join(ErrSample, err)
	}
	b := bufio.NewReaderSize(plain, samplePeek)
	start, err := b.Peek(samplePeek)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading the first bytes: %w", err)
	}
	seen := &seenFile{}
	text, err := seen.decode(start)
	if err != nil {
		return nil, errors.Join(ErrSample, err)
	}
	s := &Sample{cards: cards.New(), byName: map[string][]int{}}
	s.Shape.Encoding = seen.encoding
	var decoded io.Reader = b
	if seen.encoding == "" {
		s.Shape.Encoding = "utf-8"
	} else {
		enc, _ := encodingOf(seen.encoding)
		decoded = enc.NewDecoder().Reader(b)
	}
	in := bufio.NewReaderSize(lineEnds{bufio.NewReaderSize(decoded, 64<<10)}, MaxRow+2)
	if mark, _ := in.Peek(3); bytes.Equal(mark, []byte("\ufeff")) {
		_, _ = in.Discard(3) // peeked at: it is there
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	switch t := strings.TrimSpace(text); {
	case t == "":
		return nil, fmt.Errorf("%w: it is empty", ErrSample)
	case dumpStart.MatchString(text):
		s.Shape.Format, s.rows = SampleSQL, &sqlCells{in: in, tables: map[string][]string{}}
	case t[0] == '{':
		s.Shape.Format, s.rows = SampleJSON, &jsonCells{in: in}
	case strings.HasPrefix(strings.Join(strings.Fields(t[:min(len(t), 64)]), ""), "[{"):
		guarded := &guardedReader{in: in}
		s.Shape.Format, s.rows = SampleJSON, &arrayCells{in: guarded, d: json.NewDecoder(guarded)}
	default:
		s.delimited(text, len(start) == samplePeek, in)
	}
	return s, s.look()
}

// look reads the first rows, and finds what the columns are.
func (s *Sample) look() error {
	for len(s.ahead) < sampleAhead {
		c, err := s.rows.next()
		if err == io.EOF {
			break
		}
		if errors.Is(err, errUnread) {
			s.Unreadable++
			continue
		}
		if err != nil {
			return errors.Join(ErrSample, err)
		}
		c.names, c.values = append([]string(nil), c.names...), append([]string(nil), c.values...)
		s.ahead = append(s.ahead, c)
	}
	if s.Shape.Format == SampleText {
		s.byFew = []int{int(record.Email)}
		return nil
	}
	width := 0
	for _, c := range s.ahead {
		width = max(width, len(c.values))
	}
	s.byFew = make([]int, width)
	taken := record.FieldSet(0)
	if len(s.ahead) > 0 && s.ahead[0].names != nil {
		for i, f := range s.named(s.ahead[0].names) {
			if i < width {
				s.byFew[i] = f
			}
			if f >= 0 {
				taken = taken.With(record.Field(f))
			}
		}
		for i := len(s.ahead[0].names); i < width; i++ {
			s.byFew[i] = -1
		}
	} else {
		for i := range s.byFew {
			s.byFew[i] = -1
		}
	}
	s.Shape.Columns = make([]SampleColumn, width)
	for i := range s.byFew {
		s.Shape.Columns[i] = SampleColumn{At: i + 1}
		from := "name"
		if s.byFew[i] < 0 {
			if f, ok := fieldOfValues(s.ahead, i); ok && !taken.Has(f) {
				s.byFew[i], taken, from = int(f), taken.With(f), "values"
			}
		}
		if s.byFew[i] >= 0 {
			s.Shape.Columns[i].Field, s.Shape.Columns[i].From = record.Field(s.byFew[i]).String(), from
		}
	}
	return nil
}

// named returns the field of each column by its name, -1 where it is none.
func (s *Sample) named(names []string) []int {
	key := strings.Join(names, "\x00")
	if at, ok := s.byName[key]; ok {
		return at
	}
	out := make([]int, len(names))
	taken := record.FieldSet(0)
	for i, name := range names {
		out[i] = -1
		ours, ok := guess(name)
		if !ok {
			continue
		}
		f, err := record.ParseField(ours)
		if err != nil || f >= record.NumColumns || taken.Has(f) {
			continue
		}
		out[i], taken = int(f), taken.With(f)
	}
	if len(s.byName) < 1000 { // a sample of JSON may name its members as it likes
		s.byName[key] = out
	}
	return out
}

var (
	emailValue = regexp.MustCompile(`^[^@\s"'<>,;]+@[^@\s"'<>,;]+\.[^@\s"'<>,;.]{2,}$`)
	phoneValue = regexp.MustCompile(`^(\+|00)[0-9][0-9 ()./-]{6,22}$`)
	dayValue   = regexp.MustCompile(`^(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]$`)
	codeValue  = regexp.MustCompile(`^[A-Za-z]{2}$`)
	emailText  = regexp.MustCompile(`[A-Za-z0-9._%+'\x{80}-\x{10FFFF}-]+@[A-Za-z0-9\x{80}-\x{10FFFF}-]+(\.[A-Za-z0-9\x{80}-\x{10FFFF}-]+)*\.[A-Za-z\x{80}-\x{10FFFF}]{2,}`)
	dumpStart  = regexp.MustCompile(`(?im)^[ \t]*(INSERT[ \t]+INTO|REPLACE[ \t]+INTO|CREATE[ \t]+TABLE|COPY[ \t]+\S+.*FROM[ \t]+stdin)`)
)

// fieldOfValues says what a column is whose name says nothing.
func fieldOfValues(rows []cells, at int) (record.Field, bool) {
	n, emails, phones := 0, 0, 0
	for _, c := range rows {
		if at >= len(c.values) {
			continue
		}
		v := strings.TrimSpace(c.values[at])
		if v == "" {
			continue
		}
		n++
		if emailValue.MatchString(v) {
			emails++
		} else if phoneValue.MatchString(v) {
			phones++
		}
	}
	switch {
	case n > 0 && emails*2 >= n:
		return record.Email, true
	case n > 0 && phones*2 >= n:
		return record.Phone, true
	}
	return 0, false
}

// Next returns the next row, and io.EOF after the last. A row without any value of ours is
// returned, too: it counts.
func (s *Sample) Next() (SampleRow, error) {
	for {
		c, err := s.take()
		if errors.Is(err, errUnread) {
			s.Unreadable++
			continue
		}
		if err == io.EOF {
			return SampleRow{}, err
		}
		if err != nil {
			return SampleRow{}, errors.Join(ErrSample, err)
		}
		var out SampleRow
		at := s.byFew
		if c.names != nil {
			at = s.named(c.names)
		}
		for i, v := range c.values {
			f := -1
			if i < len(at) {
				f = at[i]
			}
			if f < 0 && i < len(s.byFew) && s.Shape.Format != SampleJSON {
				f = s.byFew[i]
			}
			if f >= 0 && out.Values[f] == "" {
				out.Values[f] = likeOurs(record.Field(f), strings.TrimSpace(v))
			}
		}
		out.Card = s.cards.Contains(strings.Join(c.values, "\n"))
		return out, nil
	}
}

func (s *Sample) take() (cells, error) {
	if len(s.ahead) > 0 {
		c := s.ahead[0]
		s.ahead = s.ahead[1:]
		return c, nil
	}
	return s.rows.next()
}

// likeOurs leaves out what is written in another form than the vault's, so that it does
// not seem altered: a country by its name, a day in a national form.
func likeOurs(f record.Field, v string) string {
	switch {
	case len(v) > record.MaxValueBytes, strings.EqualFold(v, "null"), v == `\N`:
		return ""
	case f == record.Country && !codeValue.MatchString(v), f == record.BirthDate && !dayValue.MatchString(v), f == record.Locale, f == record.CreatedAt:
		return ""
	case f == record.Country:
		return strings.ToUpper(v)
	}
	return v
}

// delimited finds the delimiter: the one that parts the rows alike and makes the most
// columns of ours. A sample without one is text.
func (s *Sample) delimited(text string, cut bool, in *bufio.Reader) {
	if cut {
		text = text[:max(strings.LastIndexByte(text, '\n'), 0)]
	}
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\n"); strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
		if len(lines) == sampleAhead {
			break
		}
	}
	if len(lines) > 0 {
		if _, is := spreadsheetMark(lines[0]); is {
			lines = lines[1:] // the rows themselves show the delimiter
		}
	}
	best, most, header := byte(0), 0, false
	for _, d := range []byte(sampleDelimiters) {
		score, named := shapeOf(lines, d)
		if score > most {
			best, most, header = d, score, named
		}
	}
	if most == 0 && oneEach(lines) {
		best, most = ',', 1 // one address in each line
		if len(lines) > 0 {
			_, header = guess(strings.Trim(lines[0], `"' `))
		}
	}
	if most == 0 {
		s.Shape.Format, s.rows = SampleText, &textCells{in: in}
		return
	}
	s.Shape.Format, s.Shape.Header, s.Shape.Delimiter = SampleCSV, header, map[byte]string{',': "comma", ';': "semicolon", '\t': "tab", '|': "bar", ':': "colon"}[best]
	c := &csvCells{in: in, delimiter: best, names: best, header: header}
	if other := findDelimiter(lines[0], func(name string) bool { _, ok := guess(name); return ok }); !header && other != best && !strings.Contains(lines[0], "@") {
		// Names parted by another mark than the rows: they were put there by hand.
		if names, _ := splitCells(nil, lines[0], other); slices.ContainsFunc(names, func(name string) bool { _, ok := guess(strings.Trim(name, `"' `)); return ok }) {
			c.header, c.names, s.Shape.Header = true, other, true
		}
	}
	s.rows = c
}

// oneEach reports whether nearly every line is one address and nothing else.
func oneEach(lines []string) bool {
	n := 0
	for _, line := range lines {
		if emailValue.MatchString(strings.Trim(line, `"' `)) {
			n++
		}
	}
	return n > 0 && n*10 >= len(lines)*8
}

// shapeOf says how well a delimiter parts lines: 0 where it does not.
func shapeOf(lines []string, d byte) (score int, header bool) {
	widths := map[int]int{}
	var rows []cells
	for i := 0; i < len(lines); i++ {
		first, line := i == 0, lines[i]
		values, open := splitCells(nil, line, d)
		for n := 0; open && n < cellLines && i+1 < len(lines); n++ {
			i++
			line += "\n" + lines[i]
			values, open = splitCells(nil, line, d)
		}
		if open {
			continue
		}
		if !first || len(lines) == 1 {
			widths[len(values)]++
		}
		rows = append(rows, cells{values: values})
	}
	width, n, all := 0, 0, 0
	for w, k := range widths {
		all += k
		if k > n || k == n && w > width {
			width, n = w, k
		}
	}
	if width < 2 || n*10 < all*7 || len(rows) == 0 {
		return 0, false
	}
	known := 0
	personal := false
	for _, v := range rows[0].values {
		if _, ok := guess(strings.Trim(v, `"' `)); ok {
			known++
		}
		personal = personal || strings.Contains(v, "@") || longDigits.MatchString(v)
	}
	if known > 0 && !personal {
		// The header has to part as the rows do, or it names nothing.
		return known*1000 + n*100/max(all, 1), len(rows[0].values) == width || len(rows) == 1
	}
	for at := range width {
		if _, ok := fieldOfValues(rows, at); ok {
			known++
		}
	}
	return known * 100 * n / max(all, 1), false
}

// splitCells takes a line apart. Open says that a quoted cell does not end in it.
func splitCells(out []string, line string, d byte) (values []string, open bool) {
	for {
		if rest, quoted := strings.CutPrefix(line, `"`); quoted {
			var b strings.Builder
			for {
				i := strings.IndexByte(rest, '"')
				if i < 0 {
					return append(out, b.String()+rest), true
				}
				b.WriteString(rest[:i])
				rest = rest[i+1:]
				if !strings.HasPrefix(rest, `"`) {
					break
				}
				b.WriteByte('"')
				rest = rest[1:]
			}
			i := strings.IndexByte(rest, d)
			if i < 0 {
				return append(out, b.String()+rest), false
			}
			out, line = append(out, b.String()+rest[:i]), rest[i+1:]
			continue
		}
		i := strings.IndexByte(line, d)
		if i < 0 {
			return append(out, line), false
		}
		out, line = append(out, line[:i]), line[i+1:]
	}
}

// lineOf reads a line of at most the buffer's size. A longer one is passed over.
func lineOf(in *bufio.Reader) (string, error) {
	b, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return "", err
		}
		return "", errUnread
	}
	if err == io.EOF && len(b) > 0 {
		err = nil
	}
	return strings.TrimSuffix(string(b), "\n"), err
}

// csvCells reads delimited rows.
type csvCells struct {
	in        *bufio.Reader
	delimiter byte
	header    bool // the names come next
	names     byte // what parts them
	head      []string
	buf       []string
}

// cellLines bounds the lines of one quoted cell: one whose quote never ends does not take
// the rest of the file.
const cellLines = 20

func (c *csvCells) next() (cells, error) {
	for {
		line, err := lineOf(c.in)
		if err != nil {
			return cells{}, err
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		if _, is := spreadsheetMark(line); is {
			continue
		}
		values, open := splitCells(c.buf[:0], line, c.delimiter)
		for n := 0; open && n < cellLines && len(line) < MaxRow; n++ {
			more, err := lineOf(c.in)
			if err != nil {
				break
			}
			line += "\n" + more
			values, open = splitCells(c.buf[:0], line, c.delimiter)
		}
		c.buf = values
		if c.header {
			c.header = false
			values, _ = splitCells(c.buf[:0], line, c.names)
			for _, v := range values {
				c.head = append(c.head, strings.Trim(v, `"' `))
			}
			continue
		}
		if c.names != c.delimiter && len(values) != len(c.head) {
			return cells{values: values}, nil
		}
		if c.head != nil && len(values) > len(c.head) {
			values = values[:len(c.head)]
		}
		return cells{names: c.head, values: values}, nil
	}
}

// textCells takes every address of a text for a row.
type textCells struct {
	in    *bufio.Reader
	found []string
}

func (t *textCells) next() (cells, error) {
	for len(t.found) == 0 {
		line, err := lineOf(t.in)
		if err != nil {
			return cells{}, err
		}
		for _, m := range emailText.FindAllString(line, -1) {
			t.found = append(t.found, strings.Trim(m, "'."))
		}
	}
	v := t.found[0]
	t.found = t.found[1:]
	return cells{values: []string{v}}, nil
}

// jsonCells reads an object from each line.
type jsonCells struct{ in *bufio.Reader }

func (j *jsonCells) next() (cells, error) {
	for {
		line, err := lineOf(j.in)
		if err != nil {
			return cells{}, err
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		return object([]byte(line))
	}
}

// object takes the members of an object apart, those of objects in it, too.
func object(text []byte) (cells, error) {
	var o map[string]any
	if json.Unmarshal(text, &o) != nil || o == nil {
		return cells{}, errUnread
	}
	c := cells{names: []string{}}
	c.members("", o, 0)
	return c, nil
}

func (c *cells) members(prefix string, o map[string]any, depth int) {
	for _, name := range sortedKeys(o) {
		switch v := o[name].(type) {
		case string:
			c.names, c.values = append(c.names, prefix+name), append(c.values, v)
		case float64, bool:
			c.names, c.values = append(c.names, prefix+name), append(c.values, strings.TrimSuffix(fmt.Sprintf("%.6f", v), ".000000"))
		case map[string]any:
			if depth < 4 {
				c.members(prefix+name+"/", v, depth+1)
			}
		}
	}
}

// arrayCells reads the objects of one array.
type arrayCells struct {
	in    *guardedReader
	d     *json.Decoder
	begun bool
}

func (a *arrayCells) next() (cells, error) {
	if !a.begun {
		a.begun = true
		if _, err := a.d.Token(); err != nil {
			return cells{}, fmt.Errorf("%w: its JSON is malformed", ErrSample)
		}
	}
	a.in.left = maxObject
	if !a.d.More() {
		return cells{}, io.EOF
	}
	var raw json.RawMessage
	if err := a.d.Decode(&raw); err != nil {
		return cells{}, fmt.Errorf("%w: its JSON is malformed or cut", ErrSample)
	}
	return object(raw)
}

// maxObject bounds what one object of an array may take.
const maxObject = 8 << 20

// guardedReader ends a read that takes more than it may.
type guardedReader struct {
	in   io.Reader
	left int
}

// Read implements io.Reader.
func (g *guardedReader) Read(p []byte) (int, error) {
	if g.left < 0 {
		return 0, fmt.Errorf("%w: an object is too large", ErrSample)
	}
	n, err := g.in.Read(p)
	g.left -= n
	return n, err
}
