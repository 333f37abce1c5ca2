package notify

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// mailScheme begins the address of a receiver of mail.
const mailScheme = "mailto"

// mailTimeout bounds the way to the mail server, and again the handing over of one mail.
// A failing connection is made anew once, so that one mail takes three times this at
// most: with noteEvery that is less than a lease.
const mailTimeout = 10 * time.Second

// How the connection to a mail server is protected.
const (
	MailStartTLS = "starttls" // begun in clear and refused unless it turns to TLS
	MailImplicit = "implicit" // TLS from the first byte
	MailNoTLS    = "none"     // on this machine only
)

// The ports where none is given.
const (
	startTLSPort = 587
	implicitPort = 465
	noTLSPort    = 25
)

// MailServer is the mail server that alarms are sent through.
type MailServer struct {
	Host     string
	Port     int    // 0: the usual one
	TLS      string // MailStartTLS if empty
	User     string // none: the server takes mail without a password
	Password string
	From     string         // the sender's address
	Roots    *x509.CertPool // whom to believe that it is this server; nil: whom the machine does
}

// ErrMailServer is returned for settings that mail cannot be sent with.
var ErrMailServer = fault.New(fault.Internal, "no mail can be sent with these settings")

// errNoMail is where a server has to send mail and no mail server.
var errNoMail = errors.New("this server has no mail server: start it with --smtp-host and --smtp-from")

// Check says whether mail can be sent with the settings, without a connection.
func (m *MailServer) Check() error {
	switch {
	case m.Host == "" || strings.ContainsAny(m.Host, "/@: \r\n") && net.ParseIP(m.Host) == nil:
		return fmt.Errorf("%w: the host is a name or an address, without a port", ErrMailServer)
	case m.Port < 0 || m.Port > 65535:
		return fmt.Errorf("%w: no such port", ErrMailServer)
	case m.TLS != "" && m.TLS != MailStartTLS && m.TLS != MailImplicit && m.TLS != MailNoTLS:
		return fmt.Errorf("%w: TLS is %s, %s or %s", ErrMailServer, MailStartTLS, MailImplicit, MailNoTLS)
	case m.TLS == MailNoTLS && !loopback(m.Host):
		return fmt.Errorf("%w: without TLS only to a mail server on this machine", ErrMailServer)
	case m.TLS == MailNoTLS && m.User != "":
		return fmt.Errorf("%w: a password does not go without TLS", ErrMailServer)
	case (m.User == "") != (m.Password == ""):
		return fmt.Errorf("%w: user and password go together", ErrMailServer)
	case !plainAddress(m.From):
		return fmt.Errorf("%w: the sender is an address such as cloakroom@brand.example", ErrMailServer)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || host == "localhost"
}

// plainAddress reports whether text is one e-mail address and nothing else.
func plainAddress(text string) bool {
	a, err := netmail.ParseAddress(text)
	if err != nil || a.Name != "" || a.Address != text || len(text) > 254 {
		return false
	}
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// checkMail says whether alarms may be mailed to an address: one, and nothing about
// the mail.
func checkMail(u *url.URL) error {
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(u.Opaque, "%") || !plainAddress(u.Opaque) {
		return ErrURL
	}
	return nil
}

// letters is the way to a receiver of mail. One connection takes what there is to send.
type letters struct {
	server *MailServer
	to     string
	key    []byte // of this receiver, for Message-IDs

	client *mail.Client
	sess   *smtp.Client // nil: there is no connection
	conn   net.Conn     // what it runs over
}

// deliver hands one mail to the mail server. An answer of 5xx is a refusal for good.
func (l *letters) deliver(ctx context.Context, n *notice) (status int, err error) {
	used := l.sess != nil
	status, err = l.send(ctx, n)
	if err != nil && used && ctx.Err() == nil && (status == 0 || status == codeClosing) {
		return l.send(ctx, n) // it had been open for a while, and the server had enough of it
	}
	return status, err
}

// The replies of RFC 5321 that have a meaning here.
const (
	codeDone    = 250
	codeClosing = 421 // and the connection ends
)

func (l *letters) send(ctx context.Context, n *notice) (status int, err error) {
	m, err := l.letter(n)
	if err != nil {
		return 0, err
	}
	if l.sess == nil {
		if err = l.dial(ctx); err != nil {
			return refusal("connecting to the mail server", err)
		}
	}
	stop := context.AfterFunc(ctx, func() { l.conn.Close() }) // go-mail does not look at the context any more
	err = l.client.SendWithSMTPClient(l.sess, m)
	stop()
	if err == nil {
		return codeDone, nil
	}
	l.close()
	if m.IsDelivered() { // and only what came after it failed
		return codeDone, nil
	}
	return refusal("sending a mail", err)
}

// refusal says what a mail server answered, without its words: they may quote addresses.
func refusal(what string, cause error) (status int, err error) {
	var reply *textproto.Error
	if sent, ok := errors.AsType[*mail.SendError](cause); ok {
		status = sent.ErrorCode()
		what += " (" + sent.Reason.String() + ")"
	} else if errors.As(cause, &reply) {
		status = reply.Code
	}
	var timeout interface{ Timeout() bool }
	var cert *tls.CertificateVerificationError
	switch {
	case status >= 500:
		return status, &refusedError{fmt.Sprintf("%s: permanent error %d", what, status)}
	case status != 0:
		return status, fmt.Errorf("%s: temporary error %d", what, status)
	case errors.Is(cause, errNoStartTLS):
		return 0, errNoStartTLS
	case errors.As(cause, &cert):
		return 0, errors.New(what + ": its certificate is not trusted")
	case errors.As(cause, &timeout) && timeout.Timeout():
		return 0, errors.New(what + ": timeout")
	}
	return 0, errors.New(what + ": the connection failed")
}

// errNoStartTLS is where a mail server would take alarms in clear.
var errNoStartTLS = errors.New("the mail server does not offer STARTTLS: mail is never sent to it unencrypted")

// dial connects, turns to TLS and logs in.
func (l *letters) dial(ctx context.Context) error {
	line, err := l.server.Dial(ctx)
	if err != nil {
		return err
	}
	l.client, l.sess, l.conn = line.client, line.Session, line.Conn
	return nil
}

// Line is a connection to a mail server, ready to take mail.
type Line struct {
	Session *smtp.Client
	Conn    net.Conn // what the session runs over
	client  *mail.Client
}

// Close says good-bye and ends the connection.
func (l *Line) Close() {
	l.Conn.SetDeadline(time.Now().Add(byeTimeout))
	l.Session.Quit()
	l.Conn.Close()
}

// Dial connects, turns to TLS and logs in.
func (m *MailServer) Dial(ctx context.Context) (*Line, error) {
	l, s := &Line{}, m
	conf := &tls.Config{ServerName: s.Host, MinVersion: tls.VersionTLS12, RootCAs: s.Roots}
	opts := []mail.Option{
		mail.WithTimeout(mailTimeout), mail.WithTLSConfig(conf), mail.WithoutNoop(),
		mail.WithDialContextFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			l.Conn = conn
			if s.TLS != MailImplicit {
				return conn, nil
			}
			secure := tls.Client(conn, conf)
			return secure, secure.HandshakeContext(ctx)
		}),
	}
	port := s.Port
	switch s.TLS {
	case MailImplicit:
		opts = append(opts, mail.WithSSL())
		port = cmp.Or(port, implicitPort)
	case MailNoTLS:
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
		port = cmp.Or(port, noTLSPort)
	default:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
		port = cmp.Or(port, startTLSPort)
	}
	opts = append(opts, mail.WithPort(port))
	if s.User != "" {
		opts = append(opts, mail.WithUsername(s.User), mail.WithPassword(s.Password),
			mail.WithOpportunisticSMTPAuth(mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthPlain, mail.SMTPAuthLogin))
	}
	client, err := mail.NewClient(s.Host, opts...)
	if err != nil {
		return nil, err
	}
	sess, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		if l.Conn != nil {
			l.Conn.Close() // go-mail leaves it open
		}
		if strings.Contains(err.Error(), "does not support STARTTLS") {
			return nil, errNoStartTLS
		}
		return nil, err
	}
	l.client, l.Session = client, sess
	return l, nil
}

// letter is the mail of a notice. It is the same whenever it is made.
func (l *letters) letter(n *notice) (*mail.Msg, error) {
	m := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := errors.Join(m.From(l.server.From), m.To(l.to)); err != nil {
		return nil, errors.New("the receiver's address is not a mail address") // err holds it
	}
	m.Subject(n.subject())
	m.SetMessageIDWithValue(l.messageID(n.id()))
	if n.Event != nil && n.Alarm != nil { // readers show it under the alarm
		first := "<" + l.messageID(n.raised()) + ">"
		m.SetGenHeader(mail.HeaderInReplyTo, first)
		m.SetGenHeader(mail.HeaderReferences, first)
	}
	m.SetDateWithValue(n.at())
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's absence answers it
	m.SetBodyString(mail.TypeTextPlain, n.text())
	return m, nil
}

// messageID is the same for one notice to one receiver, so that a repeat is known as
// one, and another for every receiver.
func (l *letters) messageID(id string) string {
	h := hmac.New(sha256.New, l.key)
	h.Write([]byte("message-id\x00" + id))
	_, domain, _ := strings.Cut(l.server.From, "@")
	return strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)[:15])) + "@" + domain
}

// close ends the connection, if there is one.
func (l *letters) close() {
	if l.sess == nil {
		return
	}
	l.conn.SetDeadline(time.Now().Add(byeTimeout))
	l.sess.Quit()
	l.conn.Close()
	l.client, l.sess, l.conn = nil, nil, nil
}

// byeTimeout bounds how long a mail server is waited for that is no longer needed.
const byeTimeout = time.Second
