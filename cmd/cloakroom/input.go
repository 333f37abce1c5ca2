package main

import (
	"context"
	"io"
)

// input is standard input that an interruption ends: a read of a terminal or a pipe
// waits for its writer, and would hold the verb.
type input struct {
	ctx     context.Context
	from    io.Reader
	buf     []byte
	left    []byte
	err     error
	got     chan int // how much a read brought; err is set before
	reading bool
}

func newInput(ctx context.Context, from io.Reader) *input {
	return &input{ctx: ctx, from: from, buf: make([]byte, 64<<10), got: make(chan int, 1)}
}

// Read implements io.Reader. One read of what lies below runs at a time, into a buffer
// of its own; after an interruption it is left to itself.
func (i *input) Read(p []byte) (int, error) {
	for len(i.left) == 0 {
		if i.err != nil {
			return 0, i.err
		}
		if !i.reading {
			i.reading = true
			go func() {
				n, err := i.from.Read(i.buf)
				i.err = err
				i.got <- n
			}()
		}
		select {
		case n := <-i.got:
			i.reading, i.left = false, i.buf[:n]
		case <-i.ctx.Done():
			return 0, i.ctx.Err()
		}
	}
	n := copy(p, i.left)
	i.left = i.left[n:]
	return n, nil
}
