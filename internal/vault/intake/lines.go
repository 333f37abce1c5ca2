package intake

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// lines splits a stream into lines of bounded length, as encoding/csv does: \r\n
// ends a line like \n, and a \r before the end of the file is dropped.
type lines struct {
	r *bufio.Reader
	// n is the number of the line that next returned last.
	n int64
	// quotes counts the quotes of a line that was too long to be returned.
	quotes int
	quote  byte // 0: a double quote
	// block holds lines that were read and not yet returned, each with its end: text
	// is taken from the reader many lines at a time.
	block string
}

// blockBytes bounds a block: enough lines that taking them costs nothing, few enough
// that one row that is kept for long does not hold much else in memory.
const blockBytes = 32 << 10

// text is next for a reader that keeps lines: a text shares its memory with its
// neighbours. The two may not be mixed.
func (l *lines) text() (line string, long bool, err error) {
	if l.block == "" {
		if _, err := l.r.Peek(1); err == nil {
			b, _ := l.r.Peek(min(l.r.Buffered(), blockBytes)) // what is there
			l.block = string(b[:bytes.LastIndexByte(b, '\n')+1])
			_, _ = l.r.Discard(len(l.block))
		}
	}
	if l.block == "" { // a long line, the last one, or the end
		line, long, err := l.next()
		return string(line), long, err
	}
	l.n++
	end := strings.IndexByte(l.block, '\n')
	line, l.block = l.block[:end], l.block[end+1:]
	return strings.TrimSuffix(line, "\r"), false, nil
}

// next returns a line without its end, valid until the next call. A line of more
// than MaxRow bytes is passed over and long is set. The end is io.EOF.
func (l *lines) next() (line []byte, long bool, err error) {
	line, err = l.r.ReadSlice('\n')
	if len(line) > 0 || err == nil {
		l.n++
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		l.quotes = bytes.Count(line, l.mark())
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = l.r.ReadSlice('\n')
			l.quotes += bytes.Count(line, l.mark())
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

func (l *lines) mark() []byte {
	if l.quote == 0 {
		return []byte{'"'}
	}
	return []byte{l.quote}
}
