package console

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// sent is a request with the cookie of a session.
func sent(value string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: cookieName, Value: value})
	return r
}

func TestSessionsAreBoundedInTimeAndNumber(t *testing.T) {
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	k := NewKeys(http.DefaultTransport)
	k.now = func() time.Time { return now }
	in := func(value string) bool {
		_, err := k.Caller(sent(value))
		return err == nil
	}
	begin := func(principal uint64) string {
		value, ok := k.add(&session{principal: principal})
		if !ok {
			t.Fatalf("no room for principal %d", principal)
		}
		return value
	}
	// Used, a session lives for its length; unused, for half an hour.
	idle, busy := begin(1), begin(2)
	for range int(SessionLength/SessionIdle)*2 - 1 {
		now = now.Add(SessionIdle / 2)
		if !in(busy) {
			t.Fatal("a session that is used ended early")
		}
	}
	if in(idle) {
		t.Error("a session that nobody used lives on")
	}
	now = now.Add(SessionIdle)
	if in(busy) {
		t.Error("a session outlived its length")
	}

	// One principal's oldest makes place, and never another's.
	other := begin(3)
	var own []string
	for range MaxOwn + 3 {
		now = now.Add(time.Second)
		own = append(own, begin(4))
	}
	for i, value := range own {
		if in(value) != (i >= 3) {
			t.Errorf("session %d of %d of one principal: %v", i, len(own), in(value))
		}
	}
	if !in(other) {
		t.Error("one principal pushed another out")
	}

	// Nobody is let in beyond the bound, and nobody is pushed out.
	for p := uint64(10); len(k.sessions) < MaxSessions; p++ {
		begin(p)
	}
	if _, ok := k.add(&session{principal: 9}); ok || len(k.sessions) > MaxSessions {
		t.Errorf("%d sessions", len(k.sessions))
	}
	now = now.Add(SessionIdle + 1)
	begin(9)
	if len(k.sessions) != 1 {
		t.Errorf("%d sessions that ended are kept", len(k.sessions)-1)
	}
	if in("") || in("nonsense") {
		t.Error("any cookie is a session")
	}
}

func TestStreamsAreBounded(t *testing.T) {
	s := newStreams()
	var end []func()
	for i := range MaxOwnStreams + 1 {
		done, ok := s.begin(1)
		if ok != (i < MaxOwnStreams) {
			t.Fatalf("stream %d: %v", i, ok)
		}
		if ok {
			end = append(end, done)
		}
	}
	for p := uint64(2); ; p++ {
		done, ok := s.begin(p)
		if !ok {
			break
		}
		end = append(end, done)
	}
	if len(end) != MaxStreams {
		t.Errorf("%d streams", len(end))
	}
	for _, done := range end {
		done()
	}
	if s.all != 0 || len(s.own) != 0 {
		t.Error(fmt.Sprint("counted after their end: ", s.all, s.own))
	}
}
