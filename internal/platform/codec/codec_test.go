package codec

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"
)

// What was written is read again, and what is cut short is an error at the same place.
func TestWhatIsWrittenIsRead(t *testing.T) {
	bad := errors.New("too large")
	rapid.Check(t, func(t *rapid.T) {
		n, text := rapid.Uint64().Draw(t, "number"), rapid.String().Draw(t, "text")
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		Put(w, n, 7)
		PutText(w, text)
		w.Flush()
		whole := b.Bytes()

		r := NewReader(bufio.NewReader(bytes.NewReader(whole)), bad)
		if got := r.Number(n); got != n || r.Number(7) != 7 || string(r.Text(uint64(len(text)))) != text || r.Err() != nil {
			t.Fatalf("%d read as %d: %v", n, got, r.Err())
		}
		cut := rapid.IntRange(0, len(whole)-1).Draw(t, "cut")
		r = NewReader(bufio.NewReader(bytes.NewReader(whole[:cut])), bad)
		r.Number(n)
		r.Number(7)
		r.Text(uint64(len(text)))
		if err := r.Err(); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	})
}

// A number beyond its bound is the reader's error, and so is all that follows.
func TestNumbersAreBounded(t *testing.T) {
	bad := errors.New("too large")
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	Put(w, 9, 1)
	w.Flush()
	r := NewReader(bufio.NewReader(&b), bad)
	if n := r.Number(8); n != 0 || r.Err() != bad {
		t.Errorf("%d, %v", n, r.Err())
	}
	r.Fail(io.EOF)
	if n := r.Number(8); n != 0 || len(r.Text(8)) != 0 || r.Err() != bad {
		t.Errorf("%d after an error, %v", n, r.Err())
	}
}
