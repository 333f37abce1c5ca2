package intake

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// lines splits a stream into lines of bounded length, as encoding/csv does: \r\n
// ends a line like \n, and a \r before the end of the file is dropped.
type lines struct {
	r *bufio.Reader
	// n is the number of the line that next returned last.
	n int64
	// quotes counts the double quotes of a line that was too long to be returned.
	quotes int
}

// next returns a line without its end, valid until the next call. A line of more
// than MaxRow bytes is passed over and long is set. The end is io.EOF.
func (l *lines) next() (line []byte, long bool, err error) {
	line, err = l.r.ReadSlice('\n')
	if len(line) > 0 || err == nil {
		l.n++
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		l.quotes = bytes.Count(line, []byte{'"'})
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = l.r.ReadSlice('\n')
			l.quotes += bytes.Count(line, []byte{'"'})
		}
		if err == nil || err == io.EOF {
			return nil, true, nil
		}
	}
	switch {
	case err == nil:
		line = line[:len(line)-1]
	case err == io.EOF && len(line) > 0:
	case err == io.EOF:
		return nil, false, io.EOF
	default:
		return nil, false, fmt.Errorf("reading after line %d: %w", l.n, err)
	}
	return bytes.TrimSuffix(line, []byte{'\r'}), false, nil
}
