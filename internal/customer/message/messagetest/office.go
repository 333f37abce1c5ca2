// Package messagetest has a real mail server on loopback for tests of mail to customers. It
// counts what it was handed, and fails as mail servers do.
package messagetest

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/mail"
	"strconv"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/cloakroom/cloakroom/internal/customer/message"
	"github.com/cloakroom/cloakroom/internal/watch/notify"
)

// Got is a mail that the server took: it answers for it from then on.
type Got struct {
	From, To string
	Header   mail.Header
	Raw      []byte
}

// What the server does with a mail.
type What int

// The ways in which it fails, beside answering with a code.
const (
	Take       What = 0
	DropBefore What = -1 // the connection ends at the end of DATA, and the mail is not taken
	DropAfter  What = -2 // the mail is taken, and the connection ends before it says so
)

// Office is the server.
type Office struct {
	// Behave says what becomes of the n-th mail to an address, from 1: Take, a code that its
	// recipient is answered with, or a way of failing. Nil takes all.
	Behave func(to string, n int) What
	// Late is called with a mail that was taken, before the sender is answered.
	Late func(g Got)

	server *smtp.Server
	listen net.Listener
	mu     sync.Mutex
	tries  map[string]int
	got    []Got
	conns  int
}

// Open starts a server until the test ends.
func Open(t testing.TB) *Office {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &Office{listen: l, tries: map[string]int{}}
	o.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.conns++
		return &session{o: o, c: c}, nil
	}))
	o.server.ErrorLog = log.New(io.Discard, "", 0)
	done := make(chan error, 1)
	go func() { done <- o.server.Serve(l) }()
	t.Cleanup(func() {
		o.server.Close()
		l.Close()
		<-done
	})
	return o
}

// Post is how a vault reaches the server, with keys that sign.
func (o *Office) Post(keys ...message.Key) *message.Post {
	_, port, err := net.SplitHostPort(o.listen.Addr().String())
	if err != nil {
		panic(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		panic(err)
	}
	return &message.Post{Server: &notify.MailServer{Host: "127.0.0.1", Port: n, TLS: notify.MailNoTLS, From: "vault@gucci.example"}, Keys: keys}
}

// Got returns what the server took.
func (o *Office) Got() []Got {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Got(nil), o.got...)
}

// Count returns how often the server took mail for each address.
func (o *Office) Count() map[string]int {
	out := map[string]int{}
	for _, g := range o.Got() {
		out[g.To]++
	}
	return out
}

// Connections is how many connections there were.
func (o *Office) Connections() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.conns
}

type session struct {
	o        *Office
	c        *smtp.Conn
	from, to string
	what     What
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.o.mu.Lock()
	s.o.tries[to]++
	n := s.o.tries[to]
	s.o.mu.Unlock()
	s.to, s.what = to, Take
	if s.o.Behave != nil {
		s.what = s.o.Behave(to, n)
	}
	if s.what > 0 {
		return &smtp.SMTPError{Code: int(s.what), EnhancedCode: smtp.EnhancedCode{int(s.what) / 100, 1, 1}, Message: "no, <" + to + ">"}
	}
	return nil
}

func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.what == DropBefore {
		s.c.Conn().Close()
		return nil
	}
	m, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		return err
	}
	s.o.mu.Lock()
	s.o.got = append(s.o.got, Got{s.from, s.to, m.Header, b})
	n := len(s.o.got)
	s.o.mu.Unlock()
	if s.o.Late != nil {
		s.o.Late(Got{s.from, s.to, m.Header, b})
	}
	if s.what == DropAfter {
		s.c.Conn().Close()
		return nil
	}
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "Ok: queued as Q" + strconv.Itoa(10000+n)}
}
