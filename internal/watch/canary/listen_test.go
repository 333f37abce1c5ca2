package canary

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

// office is a listener on loopback, and what it reported.
type office struct {
	t    *testing.T
	addr string

	mu   sync.Mutex
	told []api.CanaryMailRequest
}

func newOffice(t *testing.T, idle, lifetime time.Duration) *office {
	t.Helper()
	from, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &office{t: t, addr: from.Addr().String()}
	l := &Listener{Brands: map[string]string{"post.example": "gucci"}, idle: idle, lifetime: lifetime, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Report: func(_ context.Context, _ string, req api.CanaryMailRequest) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.told = append(o.told, req)
			return nil
		}}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, from) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return o
}

func (o *office) reports() []api.CanaryMailRequest {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]api.CanaryMailRequest(nil), o.told...)
}

// line is a client that says what it likes.
type line struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (o *office) dial() *line {
	o.t.Helper()
	c, err := net.Dial("tcp", o.addr)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute)) // a test that fails, not one that hangs
	return &line{o.t, c, bufio.NewReader(c)}
}

// hears reads an answer of one or more lines and checks how it begins.
func (l *line) hears(want string) {
	l.t.Helper()
	for {
		text, err := l.in.ReadString('\n')
		if err != nil {
			l.t.Fatalf("waiting for %s: %q, %v", want, text, err)
		}
		if len(text) > 3 && text[3] == '-' {
			continue
		}
		if !strings.HasPrefix(text, want) {
			l.t.Fatalf("want %s, got %q", want, text)
		}
		return
	}
}

func (l *line) says(text, want string) {
	l.t.Helper()
	if _, err := io.WriteString(l, text+"\r\n"); err != nil {
		l.t.Fatal(err)
	}
	l.hears(want)
}

func (l *line) greets() *line {
	l.t.Helper()
	l.hears("220 ")
	l.says("EHLO there.example", "250 ")
	return l
}

// gone reads until the other side has ended the connection.
func (l *line) gone() {
	l.t.Helper()
	if _, err := io.Copy(io.Discard, l.in); err != nil && !strings.Contains(err.Error(), "reset") {
		l.t.Errorf("the connection goes on: %v", err)
	}
}

func TestTooManyRecipients(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 0, 0)
	c := o.dial().greets()
	c.says("MAIL FROM:<a@b.example>", "250 ")
	for i := range MaxRecipients {
		c.says(fmt.Sprintf("RCPT TO:<r%d@post.example>", i), "250 ")
	}
	c.says("RCPT TO:<more@post.example>", "452 ")
	c.says("DATA", "354 ")
	c.says("Subject: x\r\n\r\ny\r\n.", "250 ")
	if r := o.reports(); len(r) != 1 || len(r[0].Recipients) != MaxRecipients {
		t.Errorf("%d reports", len(r))
	}
}

// A mail that is too long is read to its end and forgotten, and nothing of it is reported;
// one that says so itself is not read at all.
func TestTooLongAMail(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 0, 0)
	c := o.dial().greets()
	c.says(fmt.Sprintf("MAIL FROM:<a@b.example> SIZE=%d", MaxMessage+1), "552 ")
	c.says("MAIL FROM:<a@b.example>", "250 ")
	c.says("RCPT TO:<r@post.example>", "250 ")
	c.says("DATA", "354 ")
	row := strings.Repeat("x", 70) + "\r\n"
	io.WriteString(c, "Subject: x\r\n\r\n")
	for n := 0; n < MaxMessage+1000; n += len(row) {
		if _, err := io.WriteString(c, row); err != nil {
			t.Fatal(err)
		}
	}
	c.says(".", "552 ")
	c.says("NOOP", "250 ")
	if r := o.reports(); len(r) != 0 {
		t.Errorf("%d reports", len(r))
	}
}

// A line longer than the protocol's is refused, in a command and in a mail, and is not
// gathered.
func TestTooLongALine(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 0, 0)
	c := o.dial().greets()
	if _, err := io.WriteString(c, "MAIL FROM:<"+strings.Repeat("a", 1<<20)); err == nil {
		c.hears("500 ")
	}
	c.gone()

	c = o.dial().greets()
	c.says("MAIL FROM:<a@b.example>", "250 ")
	c.says("RCPT TO:<r@post.example>", "250 ")
	c.says("DATA", "354 ")
	io.WriteString(c, "Subject: x\r\n\r\n"+strings.Repeat("y", 100_000)+"\r\n.\r\n")
	c.hears("554 ")
	if r := o.reports(); len(r) != 0 {
		t.Errorf("%d reports", len(r))
	}
}

// Of one network eight are listened to at a time; the others are told to come again, and
// there is room when one of the eight goes.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 0, 0)
	var lines []*line
	for range maxFrom {
		lines = append(lines, o.dial().greets())
	}
	more := o.dial()
	more.hears("421 ")
	more.gone()
	lines[0].says("QUIT", "221 ")
	lines[0].gone()
	for deadline := time.Now().Add(time.Minute); ; {
		again := o.dial()
		if text, err := again.in.ReadString('\n'); err == nil && strings.HasPrefix(text, "220 ") {
			break
		}
		again.Close()
		if time.Now().After(deadline) {
			t.Fatal("nobody is let in after one went")
		}
	}
	lines[1].says("NOOP", "250 ")
}

// Who says nothing, and who says a letter at a time and never ends, is told that it is over,
// or cut off.
func TestASlowClient(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 50*time.Millisecond, time.Hour)
	c := o.dial().greets()
	c.hears("421 ")
	c.gone()

	o = newOffice(t, time.Hour, 200*time.Millisecond)
	c = o.dial().greets()
	ended := make(chan struct{})
	go func() {
		c.gone()
		close(ended)
	}()
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := io.WriteString(c, "N"); err != nil {
			<-ended // it reads the end, too, before the connection is closed here
			return
		}
		select {
		case <-ended:
			return
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("it is listened to for ever")
		}
	}
}
