// Package codec writes and reads what the states in snapshots are made of: whole numbers
// as varints, and texts with their length before them.
package codec

import (
	"bufio"
	"encoding/binary"
	"io"
)

// Put writes whole numbers. The first error stays with the writer.
func Put(w *bufio.Writer, ns ...uint64) {
	for _, n := range ns {
		w.Write(binary.AppendUvarint(w.AvailableBuffer(), n))
	}
}

// PutText writes a text, its length in bytes first. The first error stays with the writer.
func PutText[T ~string | ~[]byte](w *bufio.Writer, text T) {
	Put(w, uint64(len(text)))
	w.WriteString(string(text))
}

// Reader reads what Put and PutText wrote, and keeps the first error: after it every
// number is 0 and every text is empty, so that loops over what was read end.
type Reader struct {
	r   *bufio.Reader
	bad error
	err error
}

// NewReader returns a reader. Its error is bad for a number that is too large.
func NewReader(r *bufio.Reader, bad error) *Reader { return &Reader{r: r, bad: bad} }

// Err is the first error.
func (r *Reader) Err() error { return r.err }

// Fail makes err the first error, unless it is nil or there is one.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Number reads a whole number of at most most.
func (r *Reader) Number(most uint64) uint64 {
	if r.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(r.r)
	if err == nil && n > most {
		err = r.bad
	}
	if err != nil {
		r.err = err
		return 0
	}
	return n
}

// Fill reads as many bytes as b has.
func (r *Reader) Fill(b []byte) {
	if r.err == nil {
		_, r.err = io.ReadFull(r.r, b)
	}
}

// Text reads a text of at most most bytes.
func (r *Reader) Text(most uint64) []byte {
	b := make([]byte, r.Number(most))
	r.Fill(b)
	return b
}
