package console

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

const (
	// LiveEvery is how often a live part looks for news: a person reads slower.
	LiveEvery = 5 * time.Second
	// LiveLength ends a stream, whose page then connects again: nothing is held for ever.
	LiveLength = 30 * time.Minute
	// MaxStreams bounds the streams of a server, and MaxOwnStreams those of a principal.
	MaxStreams    = 512
	MaxOwnStreams = 8
)

// streams counts the live parts that are open, and ends them with the server.
type streams struct {
	ended chan struct{}
	once  sync.Once

	mu  sync.Mutex
	all int
	own map[uint64]int // by principal
}

func newStreams() *streams { return &streams{ended: make(chan struct{}), own: map[uint64]int{}} }

func (s *streams) end() { s.once.Do(func() { close(s.ended) }) }

// begin takes room for a stream of a principal, and returns what gives it back.
func (s *streams) begin(principal uint64) (func(), bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= MaxStreams || s.own[principal] >= MaxOwnStreams {
		return nil, false
	}
	s.all++
	s.own[principal]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.own[principal]--; s.own[principal] == 0 {
			delete(s.own, principal)
		}
	}, true
}

// watchLive notifies a page of alarms that came or changed. Each look is a request of the
// person to the API: once they are contained, or their session ends, the stream says so and
// ends, and the page with it.
func (c *Console) watchLive(w http.ResponseWriter, r *http.Request) {
	v, err := c.visit(w, r)
	if err != nil {
		http.Error(w, "not signed in", http.StatusUnauthorized)
		return
	}
	done, ok := c.live.begin(v.me.Principal)
	if !ok {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many live pages", http.StatusTooManyRequests)
		return
	}
	defer done()
	ctx, cancel := context.WithTimeout(r.Context(), LiveLength)
	defer cancel()
	conn := http.NewResponseController(w)
	// The server's limit for reading a request would end the stream: the request was read.
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		http.Error(w, "no live pages here", http.StatusNotImplemented)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(text string) bool {
		// What a browser does not read within a look's time is a browser that is gone.
		if conn.SetWriteDeadline(time.Now().Add(4*LiveEvery)) != nil {
			return false
		}
		if _, err := fmt.Fprint(w, text); err != nil {
			return false
		}
		return conn.Flush() == nil
	}
	if !send("retry: 2000\n\n") {
		return
	}
	last := ""
	for {
		seen, err := v.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case ofType(err, api.TypeUnauthenticated, api.TypeContained, api.TypePolicyDenied):
			send("event: gone\ndata: \n\n")
			return
		case err != nil: // the database does not answer: the page stays as it is
			seen = last
		case last != "" && seen != last:
			if !send("event: changed\ndata: \n\n") {
				return
			}
		default:
			if !send(": \n\n") {
				return
			}
		}
		last = seen
		select {
		case <-ctx.Done():
			return
		case <-c.live.ended:
			return
		case <-time.After(LiveEvery):
		}
	}
}

// look says what the live part shows: another text once it shows something else.
func (v *visit) look(ctx context.Context) (string, error) {
	list, err := v.api.Alarms(ctx, v.brand, openAlarms(20))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for i := range list.Alarms {
		a := &list.Alarms[i]
		fmt.Fprintln(h, a.ID, a.State, a.Repeats)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
