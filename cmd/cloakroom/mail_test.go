package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	netsmtp "net/smtp"
	"net/textproto"
	"os"
	"regexp"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cloakroom/cloakroom/api"
)

// mailWait bounds how long a script waits for mail, or for whoever takes it.
const mailWait = time.Minute

// scriptMailServer takes mail on loopback until the script ends, and appends each to a
// file: mailserver PORT FILE, where PORT is the variable that gets its port.
func scriptMailServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mailserver PORT FILE")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	file := ts.MkAbs(args[1])
	srv := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return &kept{file: file}, nil }))
	srv.ErrorLog = log.New(io.Discard, "", 0)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	ts.Defer(func() {
		srv.Close()
		l.Close() // which Close forgets where Serve did not begin yet
		<-done
	})
	ts.Setenv(args[0], fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
}

// kept is a session that keeps what comes.
type kept struct{ file, to string }

func (k *kept) Reset()                                      {}
func (k *kept) Logout() error                               { return nil }
func (k *kept) Mail(string, *gosmtp.MailOptions) error      { return nil }
func (k *kept) Rcpt(to string, _ *gosmtp.RcptOptions) error { k.to = to; return nil }
func (k *kept) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(k.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "For: %s\n%s\n", k.to, strings.ReplaceAll(string(b), "\r\n", "\n"))
	return errors.Join(err, f.Close())
}

// scriptMailed waits until a file of mails matches: mailed FILE PATTERN.
func scriptMailed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mailed FILE PATTERN")
	}
	want, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	for deadline := time.Now().Add(mailWait); ; time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && want.Match(b) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no mail matches %q; there is %q", args[1], b)
		}
	}
}

// scriptFreePort sets a variable to a port of loopback at which nobody listens.
func scriptFreePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport PORT")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
	ts.Check(l.Close())
}

// scriptSendMail sends a mail as a stranger does, as soon as somebody listens: sendmail
// PORT TO. With ! it is refused, for good.
func scriptSendMail(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: sendmail PORT TO")
	}
	for deadline := time.Now().Add(mailWait); ; time.Sleep(20 * time.Millisecond) {
		err := netsmtp.SendMail("127.0.0.1:"+args[0], nil, "offers@thief.example", args[1:], []byte("Message-ID: <1@thief.example>\r\nSubject: a very secret offer\r\n\r\nBuy.\r\n"))
		refused, answered := errors.AsType[*textproto.Error](err)
		switch {
		case err == nil && neg:
			ts.Fatalf("mail for %s was taken", args[1])
		case err == nil, answered && neg && refused.Code >= 500:
			return
		case answered || time.Now().After(deadline):
			ts.Fatalf("sending mail: %v", err)
		}
	}
}

// scriptDecoy sets a variable to the address of a decoy that has one: decoy ADDRESS FILE,
// which is what canary list --json printed.
func scriptDecoy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: decoy ADDRESS FILE")
	}
	var list []api.Canary
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &list))
	for _, c := range list {
		if c.Email != "" {
			ts.Setenv(args[0], c.Email)
			return
		}
	}
	ts.Fatalf("no decoy of %d has an address", len(list))
}
