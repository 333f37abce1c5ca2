package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"filippo.io/age"
	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// A part is a stream of frames, compressed, and for keys encrypted. A frame is its
// length in four bytes, big-endian, and a CBOR map: first the header; then for each
// table where it begins, its rows, and how many there were; then the last frame. A
// stream that ends without the last frame was cut.

// header begins a part. It says whose it is, so that a file of another backup is not
// taken for one of this.
type header struct {
	Format int     `cbor:"1,keyasint"`
	Vault  string  `cbor:"2,keyasint"`
	Backup string  `cbor:"3,keyasint"`
	Part   db.Part `cbor:"4,keyasint"`
	Schema int     `cbor:"5,keyasint"`
}

type begin struct {
	Table   string   `cbor:"1,keyasint"`
	Columns []string `cbor:"2,keyasint"`
}

type frame struct {
	Header *header `cbor:"1,keyasint,omitempty"`
	Begin  *begin  `cbor:"2,keyasint,omitempty"`
	Rows   [][]any `cbor:"3,keyasint,omitempty"` // int, text, bytes or null
	End    *uint64 `cbor:"4,keyasint,omitempty"` // rows of the table
	Last   bool    `cbor:"5,keyasint,omitempty"`
}

const (
	// frameRows and frameBytes end a frame of rows: small enough that memory stays
	// small, large enough that frames cost nothing.
	frameRows  = 512
	frameBytes = 256 << 10
	// maxFrame bounds what a reader believes of a length. The largest row is a group of
	// log entries, of a few megabytes.
	maxFrame = 256 << 20
)

var (
	// ErrDamaged is returned for a file that is not what the backup wrote.
	ErrDamaged = fault.New(fault.Internal, "the backup is damaged")
	// ErrIdentity is returned where no identity opens what is encrypted.
	ErrIdentity = fault.New(fault.Internal, "none of the identities opens this backup's keys: it was made for other recipients")
)

// sum counts and hashes what passes.
type sum struct {
	to   io.Writer
	hash hash.Hash
	n    int64
}

// Write implements io.Writer.
func (s *sum) Write(b []byte) (int, error) {
	n, err := s.to.Write(b)
	s.hash.Write(b[:n])
	s.n += int64(n)
	return n, err
}

type partWriter struct {
	file    *os.File
	buf     *bufio.Writer
	sum     *sum
	sealing io.WriteCloser // nil where the part is not encrypted
	z       *zstd.Encoder
	enc     cbor.EncMode
	rows    [][]any
	bytes   int
	count   uint64
}

func newPartWriter(path string, h header, recipients []age.Recipient) (*partWriter, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("writing a part: %w", err)
	}
	w := &partWriter{file: f, buf: bufio.NewWriterSize(f, 1<<20)}
	w.sum = &sum{to: w.buf, hash: sha256.New()}
	var to io.Writer = w.sum
	if len(recipients) > 0 {
		if w.sealing, err = age.Encrypt(w.sum, recipients...); err != nil {
			return nil, errors.Join(fmt.Errorf("encrypting a part: %w", err), w.abort())
		}
		to = w.sealing
	}
	w.z, err = zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err == nil {
		w.enc, err = cbor.CoreDetEncOptions().EncMode()
	}
	if err == nil {
		err = w.write(frame{Header: &h})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("writing a part: %w", err), w.abort())
	}
	return w, nil
}

func (w *partWriter) write(f frame) error {
	b, err := w.enc.Marshal(f)
	if err != nil {
		return fmt.Errorf("writing a part: %w", err)
	}
	if len(b) > maxFrame {
		return errors.New("writing a part: a row is too large")
	}
	if _, err := w.z.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b)))); err != nil {
		return fmt.Errorf("writing a part: %w", err)
	}
	if _, err := w.z.Write(b); err != nil {
		return fmt.Errorf("writing a part: %w", err)
	}
	return nil
}

func (w *partWriter) begin(table string, columns []string) error {
	w.count = 0
	return w.write(frame{Begin: &begin{table, columns}})
}

func (w *partWriter) row(row []any) error {
	w.rows = append(w.rows, row)
	w.bytes += rowBytes(row)
	w.count++
	if len(w.rows) >= frameRows || w.bytes >= frameBytes {
		return w.flush()
	}
	return nil
}

func rowBytes(row []any) int {
	n := 9 * len(row)
	for _, v := range row {
		switch v := v.(type) {
		case []byte:
			n += len(v)
		case string:
			n += len(v)
		}
	}
	return n
}

func (w *partWriter) flush() error {
	if len(w.rows) == 0 {
		return nil
	}
	err := w.write(frame{Rows: w.rows})
	w.rows, w.bytes = w.rows[:0], 0
	return err
}

func (w *partWriter) end() error {
	if err := w.flush(); err != nil {
		return err
	}
	n := w.count
	return w.write(frame{End: &n})
}

// finish makes the part durable.
func (w *partWriter) finish() error {
	err := w.write(frame{Last: true})
	if err == nil {
		err = w.z.Close()
	}
	if err == nil && w.sealing != nil {
		err = w.sealing.Close()
	}
	if err == nil {
		err = w.buf.Flush()
	}
	if err == nil {
		err = w.file.Sync()
	}
	if err == nil {
		err, w.file = w.file.Close(), nil
	}
	if err != nil {
		return fmt.Errorf("writing a part: %w", err)
	}
	return nil
}

// abort closes the file if finish has not.
func (w *partWriter) abort() error {
	if w.z != nil {
		w.z.Reset(nil)
	}
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}

// partReader reads a part row by row.
type partReader struct {
	file    *os.File
	z       *zstd.Decoder
	dec     cbor.DecMode
	head    header
	table   string // that the last row was of
	columns []string
	rows    [][]any
	counts  map[string]uint64
	buf     []byte
}

func openPart(path string, want header, identities []age.Identity) (_ *partReader, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a part: %w", err)
	}
	r := &partReader{file: f, counts: map[string]uint64{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	var from io.Reader = bufio.NewReaderSize(f, 1<<20)
	if want.Part == db.PartKeys {
		if from, err = age.Decrypt(from, identities...); err != nil {
			var none *age.NoIdentityMatchError
			if errors.As(err, &none) {
				return nil, ErrIdentity
			}
			return nil, fmt.Errorf("%w: the keys do not decrypt: %w", ErrDamaged, err)
		}
	}
	if r.z, err = zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20)); err != nil {
		return nil, fmt.Errorf("reading a part: %w", err)
	}
	r.dec, err = cbor.DecOptions{IntDec: cbor.IntDecConvertSignedOrFail, DupMapKey: cbor.DupMapKeyEnforcedAPF, TagsMd: cbor.TagsForbidden, IndefLength: cbor.IndefLengthForbidden}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("reading a part: %w", err)
	}
	first, err := r.frame()
	if err != nil {
		return nil, err
	}
	if first.Header == nil || *first.Header != want {
		return nil, fmt.Errorf("%w: %s is a file of another backup", ErrDamaged, f.Name())
	}
	r.head = want
	return r, nil
}

func (r *partReader) damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s: "+format, append([]any{ErrDamaged, r.file.Name()}, args...)...)
}

func (r *partReader) frame() (*frame, error) {
	var n [4]byte
	if _, err := io.ReadFull(r.z, n[:]); err != nil {
		return nil, r.damaged("it ends before its end: %w", err)
	}
	size := binary.BigEndian.Uint32(n[:])
	if size > maxFrame {
		return nil, r.damaged("it is not a part of a backup")
	}
	if cap(r.buf) < int(size) {
		r.buf = make([]byte, size)
	}
	r.buf = r.buf[:size]
	if _, err := io.ReadFull(r.z, r.buf); err != nil {
		return nil, r.damaged("it ends before its end: %w", err)
	}
	var f frame
	if err := r.dec.Unmarshal(r.buf, &f); err != nil {
		return nil, r.damaged("it is not a part of a backup")
	}
	return &f, nil
}

// next returns the next row, of the table and columns that the reader then says;
// io.EOF after the last row of a part that is whole.
func (r *partReader) next() ([]any, error) {
	for len(r.rows) == 0 {
		f, err := r.frame()
		if err != nil {
			return nil, err
		}
		switch {
		case f.Last:
			return nil, io.EOF
		case f.Begin != nil:
			if _, twice := r.counts[f.Begin.Table]; twice {
				return nil, r.damaged("%s stands in it twice", f.Begin.Table)
			}
			r.table, r.columns = f.Begin.Table, f.Begin.Columns
			r.counts[r.table] = 0
		case f.End != nil:
			if r.counts[r.table] != *f.End {
				return nil, r.damaged("%s has %d rows and should have %d", r.table, r.counts[r.table], *f.End)
			}
		case r.table == "":
			return nil, r.damaged("rows of no table")
		default:
			r.rows = f.Rows
			r.counts[r.table] += uint64(len(f.Rows))
		}
	}
	row := r.rows[0]
	r.rows = r.rows[1:]
	if len(row) != len(r.columns) {
		return nil, r.damaged("a row of %s has %d values for %d columns", r.table, len(row), len(r.columns))
	}
	return row, nil
}

func (r *partReader) close() error {
	if r.z != nil {
		r.z.Close()
	}
	return r.file.Close()
}
