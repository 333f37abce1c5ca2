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
)

// String returns the format's usual file ending.
func (f Format) String() string {
	switch f {
	case CSV:
		return "csv"
	case JSONLines:
		return "jsonl"
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
	case ".csv":
		return CSV
	case ".jsonl", ".ndjson":
		return JSONLines
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
	Own     *cards.Own
	format  Format
	mapping Mapping
	lines   *lines
	source  *counted
	file    *os.File // nil unless Open opened it
}

// Open opens a file by name, or takes stdin for the name "-". Whether it is
// compressed is seen in its first bytes.
func Open(name string, stdin io.Reader, m Mapping) (*Reader, error) {
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
func NewReader(r io.Reader, f Format, m Mapping) (*Reader, error) {
	out := &Reader{Size: -1, format: f, mapping: m, source: &counted{r: r}}
	plain, err := unpack(bufio.NewReaderSize(out.source, 64<<10))
	if err != nil {
		return nil, err
	}
	// A line that fills this buffer is longer than MaxRow allows.
	b := bufio.NewReaderSize(plain, MaxRow+2)
	start, err := b.Peek(3)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading the first bytes: %w", err)
	}
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		_, _ = b.Discard(3) // peeked at: it is there
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return nil, fmt.Errorf("%w: it is written in UTF-16: save it as UTF-8", ErrFormat)
	case bytes.HasPrefix(start, []byte("PK\x03")):
		return nil, fmt.Errorf("%w: it is a ZIP archive or a spreadsheet: save it as CSV", ErrFormat)
	}
	if out.format == Auto {
		out.format = sniff(b)
	}
	out.lines = &lines{r: b}
	return out, nil
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
	if r.format == JSONLines {
		return &jsonRows{lines: r.lines, table: t, mapping: r.mapping, names: map[string]cell{}}, nil
	}
	c := &csvRows{lines: r.lines}
	return c, c.header(t, r.mapping)
}

// unpack sees gzip and zstd by their first bytes.
func unpack(r *bufio.Reader) (io.Reader, error) {
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
		return z, nil
	case bytes.HasPrefix(magic, []byte("\x28\xb5\x2f\xfd")):
		// One goroutine, the caller's: a reader left alone leaves nothing running.
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("reading zstd: %w", err)
		}
		return z, nil
	}
	return r, nil
}

// sniff tells JSON lines from CSV by the first byte that is no white space. A
// bracket begins a JSON array, which is refused with a better message as JSON.
func sniff(b *bufio.Reader) Format {
	start, _ := b.Peek(512) // what is there decides
	start = bytes.TrimLeft(start, " \t\r\n")
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
