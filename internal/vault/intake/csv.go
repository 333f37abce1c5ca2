package intake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// csvRows reads CSV with the rules of encoding/csv (a fuzz test compares the two),
// but holds no more than MaxRow bytes of it, and finds the end of a longer row.
type csvRows struct {
	lines *lines
	comma byte   // what parts values
	quote byte   // what stands around those that hold a comma
	plan  *plan  // of a file that is described; nil: head says all
	keep  bool   // each row's text is kept, for the file of refused rows
	ours  int    // columns at the front that an earlier file of refused rows has
	head  []cell // what each column is; empty before the header is read
	drops bool   // some column is dropped
	buf   []byte // the values of the row, one after the other
	ends  []int  // where each ends in buf
	out   []cell
	texts []string // of a row that a plan reads
	raw   []byte   // the text of the row, if it is kept
	alone int      // rows to come that get memory of their own
}

// noQuote stands for a file in which no mark surrounds values: no text in UTF-8 holds it.
const noQuote = 0xff

const (
	// tidyBytes is the most bytes of a row that is tidy: no text in it is too long then.
	tidyBytes = record.MaxPurchaseValue
	// aloneAfter is how many rows after a refused one share no memory with others: the
	// rows that are kept must not hold refused ones in memory too.
	aloneAfter = 1024
)

// next implements source.
func (c *csvRows) next(row *row) error {
	if row.rej != nil {
		c.alone = aloneAfter
	}
	for {
		line, text, err := c.begin()
		*row = rowOf(line)
		if err == nil {
			if !c.drops && c.simple(text) {
				if empty(c.out) {
					continue // padding is no row
				}
				row.cells, row.tidy = c.out, len(text) <= tidyBytes && printable(text)
				if c.keep {
					row.raw = c.asWritten(text)
				}
				return nil
			}
			err = c.fields(line, text)
		}
		fault, ok := errors.AsType[*rowFault](err)
		if err == nil && len(bytes.TrimSpace(c.buf)) == 0 {
			continue
		}
		if err == nil && len(c.ends) != len(c.head) && !c.surplus() {
			fault, ok = &rowFault{CodeBadRow, fmt.Sprintf("has %d values where the header has %d", len(c.ends), len(c.head))}, true
		}
		if c.keep && (err == nil || ok && fault.code != CodeRowTooLong && (c.plan == nil || !c.plan.lines)) {
			row.raw = c.asWritten(string(c.raw))
		}
		if ok {
			row.rej = fault.reject(line)
			return nil
		}
		if err != nil {
			return err
		}
		if c.plan != nil {
			c.plan.apply(c.values(), row)
			if c.keep {
				row.raw = c.filled(row.raw)
			}
			return nil
		}
		row.cells = c.cells()
		return nil
	}
}

// surplus drops values beyond those that the header names, where they are empty, and
// reports whether that made the row fit.
func (c *csvRows) surplus() bool {
	n := len(c.head)
	if len(c.ends) < n || len(bytes.TrimSpace(c.buf[c.ends[n-1]:])) > 0 {
		return false
	}
	c.ends = c.ends[:n]
	return true
}

// empty reports whether no cell says anything.
func empty(cells []cell) bool {
	for i := range cells {
		if cells[i].text != "" {
			return false
		}
	}
	return true
}

// simple takes a row apart that is one line, with no quote inside a quoted value, as
// nearly all are. It reports false for every other, and for what is no row. A row is
// read and checked in 0.84 of the time (BenchmarkRows).
func (c *csvRows) simple(line string) bool {
	if c.alone > 0 {
		c.alone--
		line = strings.Clone(line)
	}
	if len(c.out) != len(c.head) {
		c.out = slices.Clone(c.head)
	}
	at := 0 // where the next value begins; behind the end where there is none
	quote := len(line) + 1
	if c.quote != noQuote {
		quote = indexFrom(line, 0, c.quote)
	}
	for i := range c.out {
		if at > len(line) {
			return false
		}
		var text string
		if at == quote {
			end := indexFrom(line, at+1, c.quote)
			if end > len(line) {
				return false
			}
			text, at = line[at+1:end], end+2
			if at <= len(line) && line[end+1] != c.comma {
				return false
			}
			quote = indexFrom(line, end+1, c.quote)
		} else {
			end := min(indexFrom(line, at, c.comma), len(line))
			if quote < end {
				return false
			}
			text, at = line[at:end], end+1
		}
		c.out[i].text = trimmed(text)
	}
	return at > len(line)
}

// indexFrom returns where a byte stands in a text from a place on, one behind the end
// where it does not.
func indexFrom(s string, from int, c byte) int {
	if i := strings.IndexByte(s[from:], c); i >= 0 {
		return from + i
	}
	return len(s) + 1
}

// trimmed is strings.TrimSpace, at a glance where there is nothing to trim.
func trimmed(s string) string {
	if s == "" || visible(s[0]) && visible(s[len(s)-1]) {
		return s
	}
	return strings.TrimSpace(s)
}

// printable reports whether a text is printable ASCII.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// visible reports whether a byte is an ASCII character that is no space.
func visible(c byte) bool { return c > ' ' && c < utf8.RuneSelf }

// values are the texts of a row by column, empty for those that nothing reads.
func (c *csvRows) values() []string {
	all := c.kept()
	c.texts = c.texts[:0]
	from := 0
	for _, end := range c.ends {
		c.texts = append(c.texts, all[from:end])
		from = end
	}
	return c.texts
}

// kept makes one string of the values that are kept, so that a dropped column is not held
// in memory as long as its neighbours are.
func (c *csvRows) kept() string {
	if c.drops && (!c.keep || c.plan == nil) {
		from, kept := 0, 0
		for i, end := range c.ends {
			if c.head[i].slot != slotDrop {
				kept += copy(c.buf[kept:], c.buf[from:end])
			}
			from, c.ends[i] = end, kept
		}
	}
	return string(c.buf[:c.ends[len(c.ends)-1]])
}

// cells are the values of a row.
func (c *csvRows) cells() []cell {
	all := c.kept()
	c.out = c.out[:0]
	from := 0
	for i, h := range c.head {
		if h.slot == slotDrop {
			continue
		}
		h.text = trimmed(all[from:c.ends[i]])
		from = c.ends[i]
		if h.slot == slotBlank && h.text == "" {
			continue
		}
		c.out = append(c.out, h)
	}
	return c.out
}

// header reads the first row.
func (c *csvRows) header(t *table, m *Mapping, rules Rules) error {
	c.comma, c.quote = ',', '"'
	found := true
	if m != nil && m.file.delimiter != 0 {
		c.comma, found = m.file.delimiter, false
	}
	if m != nil && m.file.quote != 0 {
		c.quote = m.file.quote
	}
	c.lines.quote = c.quote
	start, line, err := c.begin()
	if mark, is := spreadsheetMark(line); err == nil && is {
		if found {
			c.comma, found = mark, false
		}
		start, line, err = c.begin()
	}
	if err == nil {
		if found {
			c.comma = findDelimiter(line, m.knownTo(t))
		}
		err = c.fields(start, line)
	}
	if err == io.EOF {
		return fmt.Errorf("%w: it is empty: a header with the names of the columns is required", ErrColumns)
	}
	if err != nil {
		return fmt.Errorf("%w: reading the header in line %d: %w", ErrColumns, start, err)
	}
	names := make([]string, len(c.ends))
	from := 0
	for i, end := range c.ends {
		names[i] = string(c.buf[from:end])
		from = end
	}
	for c.ours < len(names) && (foldName(names[c.ours]) == reasonColumn || foldName(names[c.ours]) == lineColumn) {
		c.ours++
	}
	if m.described() {
		if c.plan, err = m.bind(t, names, rules); err != nil {
			return err
		}
		c.head = make([]cell, len(names))
		for i := range c.head {
			if c.plan.first[i] < 0 {
				c.head[i].slot = slotDrop
			}
		}
		c.drops = true // none goes the short way
		return nil
	}
	if c.head, err = t.header(names, m); err != nil {
		return err
	}
	for _, h := range c.head {
		c.drops = c.drops || h.slot == slotDrop || h.slot == slotBlank
	}
	return nil
}

// spreadsheetMark returns the delimiter that a line before the header tells spreadsheets:
// sep=; and nothing else.
func spreadsheetMark(line string) (byte, bool) {
	mark, is := strings.CutPrefix(strings.ToLower(strings.Trim(line, "\"")), "sep=")
	if !is || len(mark) != 1 || strings.IndexByte(delimiters, mark[0]) < 0 {
		return 0, false
	}
	return mark[0], true
}

// begin reads the first line of a record. Its error is io.EOF, a *rowFault or what ends
// reading.
func (c *csvRows) begin() (start int64, line string, err error) {
	for line == "" { // lines without anything are no rows
		var long bool
		if line, long, err = c.lines.text(); err != nil {
			return c.lines.n, "", err
		}
		if long {
			start = c.lines.n
			return start, "", c.skip(start, c.lines.quotes%2 == 1)
		}
	}
	return c.lines.n, line, nil
}

// fields takes apart the record that begins with this line. Its errors are begin's.
func (c *csvRows) fields(start int64, line string) (err error) {
	c.buf, c.ends = c.buf[:0], c.ends[:0]
	if c.comma == 0 {
		c.comma, c.quote = ',', '"'
	}
	keep := c.keep || c.head == nil
	if keep {
		c.raw = append(c.raw[:0], line...)
	}
	size := len(line)
	for {
		if len(line) == 0 || line[0] != c.quote || c.quote == noQuote {
			end := indexFrom(line, 0, c.comma)
			more := end < len(line)
			field, rest := line[:min(end, len(line))], line[min(end+1, len(line)):]
			if strings.IndexByte(field, c.quote) >= 0 && c.quote == '"' {
				return &rowFault{CodeBadRow, "has a double quote in a value that does not begin with one: double it and surround the value, or say `quote: none` in the mapping where the file surrounds none"}
			}
			c.buf = append(c.buf, field...)
			c.ends = append(c.ends, len(c.buf))
			if !more {
				return nil
			}
			line = rest
			continue
		}
		line = line[1:]
		for open := true; open; {
			i := strings.IndexByte(line, c.quote)
			if i >= 0 {
				c.buf = append(c.buf, line[:i]...)
				line = line[i+1:]
				switch {
				case len(line) == 0:
					c.ends = append(c.ends, len(c.buf))
					return nil
				case line[0] == c.quote:
					c.buf = append(c.buf, c.quote)
					line = line[1:]
				case line[0] == c.comma:
					c.ends = append(c.ends, len(c.buf))
					line, open = line[1:], false
				default:
					return &rowFault{CodeBadRow, "has something after a closing quote"}
				}
				continue
			}
			c.buf = append(append(c.buf, line...), '\n')
			var long bool
			line, long, err = c.lines.text()
			if err == io.EOF {
				return fmt.Errorf("line %d: %w", start, ErrUnclosedQuote)
			}
			if err != nil {
				return err
			}
			if keep && len(c.raw) <= MaxRow {
				c.raw = append(append(c.raw, '\n'), line...)
			}
			if size += 1 + len(line); long || size > MaxRow {
				quotes := c.lines.quotes
				if !long {
					quotes = strings.Count(line, string([]byte{c.quote}))
				}
				return c.skip(start, quotes%2 == 0)
			}
		}
	}
}

// skip passes over the rest of a row that is too long. Each quote opens or closes,
// an escaped one does both, so a line end is the row's end where their number is
// even. Lines inside a quoted value are never taken for rows: whoever writes a
// customer's notes does not write customers.
func (c *csvRows) skip(start int64, open bool) error {
	for open {
		line, long, err := c.lines.text()
		if err == io.EOF {
			return fmt.Errorf("line %d: %w", start, ErrUnclosedQuote)
		}
		if err != nil {
			return err
		}
		quotes := c.lines.quotes
		if !long {
			quotes = strings.Count(line, string([]byte{c.quote}))
		}
		open = open == (quotes%2 == 0)
	}
	return tooLong()
}
