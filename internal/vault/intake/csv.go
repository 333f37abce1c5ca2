package intake

import (
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
	head  []cell // what each column is; empty before the header is read
	drops bool   // some column is dropped
	buf   []byte // the values of the row, one after the other
	ends  []int  // where each ends in buf
	out   []cell
	alone int // rows to come that get memory of their own
}

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
	line, text, err := c.begin()
	*row = rowOf(line)
	if err == nil {
		if !c.drops && c.simple(text) {
			row.cells, row.tidy = c.out, len(text) <= tidyBytes && printable(text)
			return nil
		}
		err = c.fields(line, text)
	}
	fault, ok := errors.AsType[*rowFault](err)
	if err == nil && len(c.ends) != len(c.head) {
		fault, ok = &rowFault{CodeBadRow, fmt.Sprintf("has %d values where the header has %d", len(c.ends), len(c.head))}, true
	}
	if ok {
		row.rej = fault.reject(line)
		return nil
	}
	if err != nil {
		return err
	}
	row.cells = c.cells()
	return nil
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
	quote := indexFrom(line, 0, '"')
	for i := range c.out {
		if at > len(line) {
			return false
		}
		var text string
		if at == quote {
			end := indexFrom(line, at+1, '"')
			if end > len(line) {
				return false
			}
			text, at = line[at+1:end], end+2
			if at <= len(line) && line[end+1] != ',' {
				return false
			}
			quote = indexFrom(line, end+1, '"')
		} else {
			end := min(indexFrom(line, at, ','), len(line))
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

// cells makes one string of the values that are kept, so that a dropped column is
// not held in memory as long as its neighbours are.
func (c *csvRows) cells() []cell {
	if c.drops {
		from, kept := 0, 0
		for i, end := range c.ends {
			if c.head[i].slot != slotDrop {
				kept += copy(c.buf[kept:], c.buf[from:end])
			}
			from, c.ends[i] = end, kept
		}
	}
	all := string(c.buf[:c.ends[len(c.ends)-1]])
	c.out = c.out[:0]
	from := 0
	for i, h := range c.head {
		if h.slot == slotDrop {
			continue
		}
		h.text = trimmed(all[from:c.ends[i]])
		from = c.ends[i]
		c.out = append(c.out, h)
	}
	return c.out
}

// header reads the first row.
func (c *csvRows) header(t *table, m Mapping) error {
	line, err := c.record()
	if err == io.EOF {
		return fmt.Errorf("%w: it is empty: a header with the names of the columns is required", ErrColumns)
	}
	if err != nil {
		return fmt.Errorf("%w: reading the header in line %d: %w", ErrColumns, line, err)
	}
	names := make([]string, len(c.ends))
	from := 0
	for i, end := range c.ends {
		names[i] = string(c.buf[from:end])
		from = end
	}
	if c.head, err = t.header(names, m); err != nil {
		return err
	}
	for _, h := range c.head {
		c.drops = c.drops || h.slot == slotDrop
	}
	return nil
}

// record reads one record into buf and ends. Its error is io.EOF, a *rowFault or
// what ends reading.
func (c *csvRows) record() (start int64, err error) {
	start, line, err := c.begin()
	if err != nil {
		return start, err
	}
	return start, c.fields(start, line)
}

// begin reads the first line of a record. Its errors are record's.
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

// fields takes apart the record that begins with this line. Its errors are record's.
func (c *csvRows) fields(start int64, line string) (err error) {
	c.buf, c.ends = c.buf[:0], c.ends[:0]
	size := len(line)
	for {
		if len(line) == 0 || line[0] != '"' {
			field, rest, more := strings.Cut(line, ",")
			if strings.IndexByte(field, '"') >= 0 {
				return &rowFault{CodeBadRow, "has a double quote in a value that does not begin with one"}
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
			i := strings.IndexByte(line, '"')
			if i >= 0 {
				c.buf = append(c.buf, line[:i]...)
				line = line[i+1:]
				switch {
				case len(line) == 0:
					c.ends = append(c.ends, len(c.buf))
					return nil
				case line[0] == '"':
					c.buf = append(c.buf, '"')
					line = line[1:]
				case line[0] == ',':
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
			if size += 1 + len(line); long || size > MaxRow {
				quotes := c.lines.quotes
				if !long {
					quotes = strings.Count(line, `"`)
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
			quotes = strings.Count(line, `"`)
		}
		open = open == (quotes%2 == 0)
	}
	return tooLong()
}
