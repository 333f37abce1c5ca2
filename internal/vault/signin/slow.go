package signin

import (
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

const (
	// freeTries is how many wrong tries of one network at one code cost nothing.
	freeTries = 5
	// longestWait is how long the next try waits at most.
	longestWait = time.Minute
	// maxSlow bounds how many networks and codes are known at a time.
	maxSlow = 1 << 12
)

// ErrSlow is returned for one more try after too many wrong ones.
var ErrSlow = fault.New(fault.Changed, "too many wrong codes from your network: wait a minute and retry")

// slowDown makes wrong tries slower: those of one network at one code. Who tries at
// somebody's code from elsewhere does not keep that person out, nor does a neighbour who
// tries at another code. Codes have 80 random bits and more, so that nothing needs to be
// locked; what is bounded is the work of slow hashes. It is safe for concurrent use.
type slowDown struct {
	mu    sync.Mutex
	tries map[tryKey]try
}

type tryKey struct{ network, code string }

type try struct {
	wrong int
	next  time.Time // not before
}

// may refuses a try that has to wait.
func (s *slowDown) may(network, code string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.tries[tryKey{network, code}]; ok && now.Before(t.next) {
		return ErrSlow
	}
	return nil
}

// wrong notes a wrong try. Where too many are known, all are forgotten: that is what the
// memory costs at most, and a slow hash each what it lets through.
func (s *slowDown) wrong(network, code string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tries == nil || len(s.tries) >= maxSlow {
		s.tries = map[tryKey]try{}
	}
	k := tryKey{network, code}
	t := s.tries[k]
	if now.Sub(t.next) > 10*longestWait {
		t.wrong = 0
	}
	t.wrong++
	if t.next = now; t.wrong >= freeTries {
		t.next = now.Add(min(longestWait, time.Second<<min(t.wrong-freeTries, 10)))
	}
	s.tries[k] = t
}

// right forgets the tries before one that was right.
func (s *slowDown) right(network, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tries, tryKey{network, code})
}
