package server

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// bodyStep is how much room an upload takes at a time: what has not arrived takes none.
	bodyStep = 1 << 20
	// bodyStall is how long an upload that holds room may take for its next bodyStep, so
	// that it gives the room back when its sender is gone. A line of 1 Mbit/s is fast enough.
	bodyStall = 10 * time.Second
)

// rooms bound the bodies above maxBody that are in memory at one time, to maxBodies, and
// of them those of one principal, whose uploads cannot keep off others'.
type rooms struct {
	all *room

	mu    sync.Mutex
	share map[uint64]*share // by principal
}

type share struct {
	*room
	users int
}

func newRooms() *rooms {
	return &rooms{all: &room{free: maxBodies - maxBulkBody}, share: map[uint64]*share{}}
}

// of returns the share of a principal who has an upload; left must be called after it.
func (r *rooms) of(principal uint64) *share {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.share[principal]
	if s == nil {
		s = &share{room: &room{free: maxShare}}
		r.share[principal] = s
	}
	s.users++
	return s
}

func (r *rooms) left(principal uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.share[principal]
	if s.users--; s.users == 0 {
		delete(r.share, principal)
	}
}

// room is memory that uploads take as their bytes arrive. Where none is left, one upload
// at a time may go on to its end all the same, by the lane: so uploads never all wait for
// each other.
type room struct {
	mu    sync.Mutex
	free  int64
	taken bool // the lane
	queue []*waiting
}

// waiting is an upload that waits for a step of room, or for the lane.
type waiting struct {
	n       int64
	granted chan bool // whether by the lane
}

// take waits for n bytes of room, or for the lane.
func (r *room) take(ctx context.Context, n int64) (lane bool, err error) {
	w := &waiting{n, make(chan bool, 1)}
	r.mu.Lock()
	r.queue = append(r.queue, w)
	r.grant()
	r.mu.Unlock()
	select {
	case lane := <-w.granted:
		return lane, nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case lane := <-w.granted: // at the same moment
		if lane {
			r.taken = false
		} else {
			r.free += n
		}
	default:
		for i, q := range r.queue {
			if q == w {
				r.queue = append(r.queue[:i], r.queue[i+1:]...)
				break
			}
		}
	}
	r.grant()
	return false, ctx.Err()
}

// give returns room, and the lane where it was had.
func (r *room) give(n int64, lane bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free += n
	if lane {
		r.taken = false
	}
	r.grant()
}

// grant lets in who waits, in order. The caller has the lock.
func (r *room) grant() {
	for len(r.queue) > 0 {
		w := r.queue[0]
		switch {
		case w.n <= r.free:
			r.free -= w.n
			w.granted <- false
		case !r.taken:
			r.taken = true
			w.granted <- true
		default:
			return
		}
		r.queue = r.queue[1:]
	}
}

// upload is the body of a request that may be larger than maxBody. What is below takes no
// room, and whoever sends no more than that holds none. One goroutine reads it.
type upload struct {
	io.ReadCloser
	rooms     *rooms
	ctx       context.Context
	conn      *http.ResponseController
	principal uint64

	read, granted int64  // granted: maxBody and what was taken of the rooms
	own           *share // of the principal, once something is taken
	ownHeld       int64
	ownLane       bool // it may take all that it needs of its principal's
	held          int64
	lane          bool // it may go on to its end
}

func (u *upload) Read(p []byte) (int, error) {
	if u.read >= u.granted && !u.lane {
		if err := u.grow(); err != nil {
			return 0, err
		}
	}
	if !u.lane && int64(len(p)) > u.granted-u.read {
		p = p[:u.granted-u.read]
	}
	before := u.read / bodyStep
	n, err := u.ReadCloser.Read(p)
	u.read += int64(n)
	switch {
	case u.own == nil: // it holds nothing
	case err != nil:
		u.until(false)
	case u.lane && u.read/bodyStep > before:
		u.until(true)
	}
	return n, err
}

// grow takes the next step, of the principal's share before that of all. Who has the lane
// of all asks for no share any more: it waits for nobody.
func (u *upload) grow() (err error) {
	if u.own == nil {
		u.own = u.rooms.of(u.principal)
	}
	if !u.ownLane {
		if u.ownLane, err = u.own.take(u.ctx, bodyStep); err != nil {
			return err
		}
		if !u.ownLane {
			u.ownHeld += bodyStep
		}
	}
	if u.lane, err = u.rooms.all.take(u.ctx, bodyStep); err != nil {
		return err
	}
	if !u.lane {
		u.held += bodyStep
		u.granted += bodyStep
	}
	u.until(true)
	return nil
}

// until sets the time by which the next step must have arrived; without one, the time of
// the request holds. Where the connection knows no deadline, the context's holds.
func (u *upload) until(next bool) {
	end, ok := u.ctx.Deadline()
	if soon := time.Now().Add(bodyStall); next && (!ok || soon.Before(end)) {
		end = soon
	}
	u.conn.SetReadDeadline(end)
}

// done gives back what the body held. The handler is over by then.
func (u *upload) done() {
	if u.own == nil {
		return
	}
	u.rooms.all.give(u.held, u.lane)
	u.own.give(u.ownHeld, u.ownLane)
	u.rooms.left(u.principal)
}
