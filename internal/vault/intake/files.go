package intake

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/klauspost/compress/zstd"
)

// Format is how rows are written.
type Format uint8

// The formats. Auto looks at the first byte: a brace begins JSON lines.
const (
	Auto Format = iota
	CSV
	JSONLines
	XML
)

// String returns the format's usual file ending.
func (f Format) String() string {
	switch f {
	case CSV:
		return "csv"
	case JSONLines:
		return "jsonl"
	case XML:
		return "xml"
	}
	return "auto"
}

// FormatOf returns the format that a file's name speaks of, an ending of compression
// left aside, and Auto where it speaks of none.
func FormatOf(name string) Format {
	name = strings.ToLower(name)
	for _, packed := range []string{".gz", ".zst", ".zstd"} {
		name = strings.TrimSuffix(name, packed)
	}
	switch filepath.Ext(name) {
	case ".csv", ".tsv":
		return CSV
	case ".jsonl", ".ndjson":
		return JSONLines
	case ".xml":
		return XML
	}
	return Auto
}

// maxWindow bounds what a zstd stream can make us remember: the window of its
// strongest level.
const maxWindow = 128 << 20

// Reader reads the rows of one file, once, from its beginning to its end. It may be
// used by one goroutine; Offset by any.
type Reader struct {
	// Size is the number of bytes that the source holds, compressed as it is, or -1
	// where that is not known.
	Size int64
	// Own is what the brand says of its own numbers; it is set before the first row is read.
	Own *cards.Own
	// Rules are set before the first row is read.
	Rules    Rules
	hints    hints
	format   Format
	mapping  *Mapping
	lines    *lines
	encoding string  // empty: UTF-8
	head     heading // of a CSV file, once it is read
	// keep has each row's text kept, for a file of refused rows.
	keep   bool
	source *counted
	file   *os.File // nil unless Open opened it
}

// Open opens a file by name, or takes stdin for the name "-". Whether it is
// compressed is seen in its first bytes.
func Open(name string, stdin io.Reader, m *Mapping) (*Reader, error) {
	if name == "-" {
		return NewReader(stdin, Auto, m)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	r, err := NewReader(f, FormatOf(name), m)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", name, err), f.Close())
	}
	r.file = f
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		r.Size = info.Size()
	}
	return r, nil
}

// NewReader reads rows from a stream of any length. It waits for the first bytes.
func NewReader(r io.Reader, f Format, m *Mapping) (*Reader, error) {
	out := &Reader{Size: -1, format: f, mapping: m, source: &counted{r: r}}
	plain, err := unpack(bufio.NewReaderSize(out.source, 64<<10))
	if err != nil {
		return nil, err
	}
	text, err := out.decoded(plain)
	if err != nil {
		return nil, err
	}
	// A line that fills this buffer is longer than MaxRow allows.
	b := bufio.NewReaderSize(lineEnds{text}, MaxRow+2)
	if out.format == Auto && m.described() && m.file.xml != "" {
		out.format = XML
	}
	if out.format == Auto {
		out.format = sniff(b)
	}
	out.lines = &lines{r: b}
	return out, nil
}

// decoded is the text of a file in UTF-8. A byte-order mark says more than the mapping.
func (r *Reader) decoded(b *bufio.Reader) (*bufio.Reader, error) {
	name := ""
	if r.mapping != nil {
		name = r.mapping.file.encoding
	}
	start, err := b.Peek(4)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading the first bytes: %w", err)
	}
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		_, _ = b.Discard(3) // peeked at: it is there
		name = ""
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		name = "utf-16"
	case bytes.HasPrefix(start, []byte("PK\x03\x04")):
		return nil, fmt.Errorf("%w: it is a ZIP archive or a spreadsheet (.xlsx): unpack it, or save the sheet as CSV in UTF-8", ErrFormat)
	case bytes.HasPrefix(start, []byte("\xd0\xcf\x11\xe0")):
		return nil, fmt.Errorf("%w: it is a spreadsheet (.xls): save the sheet as CSV in UTF-8", ErrFormat)
	case bytes.HasPrefix(start, []byte("%PDF")):
		return nil, fmt.Errorf("%w: it is a PDF document: ask for CSV", ErrFormat)
	case isUTF8(name) && len(start) >= 4 && (start[1] == 0 && start[3] == 0 || start[0] == 0 && start[2] == 0):
		return nil, fmt.Errorf("%w: it looks like UTF-16 without a byte-order mark: write `encoding: utf-16le` (or utf-16be) in the mapping", ErrFormat)
	}
	if isUTF8(name) {
		return b, nil
	}
	r.encoding = name
	enc, _ := encodingOf(name)
	return bufio.NewReaderSize(enc.NewDecoder().Reader(b), 64<<10), nil
}

// Format returns the format, seen or given.
func (r *Reader) Format() Format { return r.format }

// Offset returns how many bytes of the source have been taken, to compare with Size.
func (r *Reader) Offset() int64 { return r.source.n.Load() }

// Close closes the file that Open opened.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// rows starts reading rows of a table.
func (r *Reader) rows(t *table) (source, error) {
	switch {
	case r.format == XML:
		return newXMLRows(r.lines.r, t, r.mapping, r.Rules, r.encoding != "")
	case r.format == JSONLines:
		return newJSONRows(r, t)
	}
	c := &csvRows{lines: r.lines, keep: r.keep}
	if err := c.header(t, r.mapping, r.Rules); err != nil {
		return c, err
	}
	r.head = heading{string(c.comma), c.around(), c.asWritten(string(c.raw))}
	if c.plan != nil {
		if c.plan.lines {
			r.head.text = lineColumn + r.head.comma + r.head.text
		}
		c.plan.decoded = r.encoding != "" && r.encoding != "utf-16"
	}
	return c, nil
}

// unpack sees gzip and zstd by their first bytes.
func unpack(r *bufio.Reader) (*bufio.Reader, error) {
	magic, err := r.Peek(4)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading the first bytes: %w", err)
	}
	switch {
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("reading gzip: %w", err)
		}
		return bufio.NewReaderSize(z, 64<<10), nil
	case bytes.HasPrefix(magic, []byte("\x28\xb5\x2f\xfd")):
		// One goroutine, the caller's: a reader left alone leaves nothing running.
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("reading zstd: %w", err)
		}
		return bufio.NewReaderSize(z, 64<<10), nil
	}
	return r, nil
}

// sniff tells JSON lines from CSV by the first byte that is no white space. A
// bracket begins a JSON array, which is refused with a better message as JSON.
func sniff(b *bufio.Reader) Format {
	start, _ := b.Peek(512) // what is there decides
	start = bytes.TrimLeft(start, " \t\r\n")
	if bytes.HasPrefix(start, []byte("<?xml")) || bytes.HasPrefix(start, []byte("<!DOCTYPE")) {
		return XML
	}
	if len(start) > 0 && (start[0] == '{' || start[0] == '[') {
		return JSONLines
	}
	return CSV
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}
