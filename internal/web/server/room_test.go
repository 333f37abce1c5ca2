package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// deadlines is a connection that notes until when it is read.
type deadlines struct {
	http.ResponseWriter
	last time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.last = t; return nil }

// An upload that holds room has to go on within bodyStall; what has arrived may be worked
// on until the request's own deadline.
func TestAnUploadThatHoldsRoomHasToGoOn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	end, _ := ctx.Deadline()
	for _, lane := range []bool{false, true} {
		r := newRooms()
		if lane {
			r.all.free = 0
		}
		conn := &deadlines{}
		u := &upload{ReadCloser: io.NopCloser(io.LimitReader(blanks{}, 3*maxBody)), rooms: r, ctx: ctx, conn: http.NewResponseController(conn), granted: maxBody}
		buf := make([]byte, maxBody)
		for i := range 3 {
			before := conn.last
			if _, err := io.ReadFull(u, buf); err != nil {
				t.Fatal(err)
			}
			switch held := i > 0; {
			case !held && !conn.last.IsZero():
				t.Error("an upload that holds nothing has a deadline of its own")
			case held && (!conn.last.After(before) || time.Until(conn.last) > bodyStall):
				t.Errorf("part %d, by the lane %v: to be read until %v, before it %v", i, lane, conn.last, before)
			}
		}
		if _, err := u.Read(buf); err != io.EOF || !conn.last.Equal(end) {
			t.Errorf("after its end: %v, until %v", err, conn.last)
		}
		u.done()
	}
}

// What is in memory never exceeds the bound, uploads that together are more than the room
// all come to their end, and everything is given back.
func TestUploadsShareTheRoom(t *testing.T) {
	t.Parallel()
	const size = maxBulkBody - 3
	r := newRooms()
	var mu sync.Mutex
	var now, most int64
	var wg sync.WaitGroup
	for principal := range uint64(6) {
		wg.Go(func() {
			u := &upload{ReadCloser: io.NopCloser(io.LimitReader(blanks{}, size)), rooms: r, ctx: t.Context(),
				conn: http.NewResponseController(nil), principal: principal % 4, granted: maxBody}
			buf := make([]byte, 1<<18)
			var got int64
			for {
				n, err := u.Read(buf)
				got += int64(n)
				mu.Lock()
				now += int64(n)
				most = max(most, now)
				mu.Unlock()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Error(err)
					break
				}
			}
			if got != size {
				t.Errorf("%d bytes of %d", got, size)
			}
			mu.Lock()
			now -= got
			mu.Unlock()
			u.done()
		})
	}
	wg.Wait()
	if most > maxBodies+6*maxBody {
		t.Errorf("%d bytes in memory", most)
	}
	if r.all.free != maxBodies-maxBulkBody || r.all.taken || len(r.all.queue) != 0 || len(r.share) != 0 {
		t.Errorf("left of the room: %+v, %v", r.all, r.share)
	}
}

// blanks is a body without end.
type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// Whoever gives up waiting leaves nothing taken, and holds nobody behind them up.
func TestGivingUpLeavesTheRoom(t *testing.T) {
	t.Parallel()
	r := newRooms().all
	all := r.free
	if _, err := r.take(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if lane, err := r.take(t.Context(), 1); err != nil || !lane {
		t.Fatal(lane, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := r.take(ctx, all); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	r.give(all, true)
	if r.free != all || r.taken || len(r.queue) != 0 {
		t.Errorf("left of the room: %+v", r)
	}
}
