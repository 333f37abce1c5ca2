package canary

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

const (
	// MaxMessage bounds a mail: of a longer one nothing is read on.
	MaxMessage = 1 << 20
	// maxHead bounds the part of a mail in which its Message-ID is looked for.
	maxHead = 64 << 10
	// maxConnections and maxFrom bound how many send at one time, and from one network.
	maxConnections = 128
	maxFrom        = 8
	// maxLine bounds a line of what is said, or of a mail: twice what RFC 5321 lets be sent.
	maxLine = 2000
	// refusing bounds how long it takes to say that there is no room.
	refusing = 100 * time.Millisecond
	// idle bounds the wait for the next line, and lifetime a whole connection.
	idle     = time.Minute
	lifetime = 10 * time.Minute
	// reportTimeout bounds one report to the vault.
	reportTimeout = 30 * time.Second
)

// Listener is a mail server for the domains of canaries. It knows no canaries: it takes mail
// for every address of a domain, keeps none, and reports to whom it was sent.
type Listener struct {
	// Brands has the brand of each domain, in lower case.
	Brands map[string]string
	// Report tells the vault. Mail that it does not take is to be sent again.
	Report func(ctx context.Context, brand string, req api.CanaryMailRequest) error
	TLS    *tls.Config // offered, if there is one
	Log    *slog.Logger

	idle, lifetime time.Duration // 0: the constants of that name
}

// Serve takes mail until the context ends.
func (l *Listener) Serve(ctx context.Context, from net.Listener) error {
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{l: l, ctx: ctx, network: networkOf(c.Conn().RemoteAddr())}, nil
	}))
	for domain := range l.Brands {
		s.Domain = domain
	}
	s.ErrorLog = log.New(io.Discard, "", 0) // it would name addresses
	s.TLSConfig = l.TLS
	s.MaxMessageBytes, s.MaxRecipients = MaxMessage, MaxRecipients
	s.MaxLineLength = maxLine
	s.ReadTimeout = cmp.Or(l.idle, idle)
	s.WriteTimeout = s.ReadTimeout
	stop := context.AfterFunc(ctx, func() {
		s.Close()
		from.Close() // which Close forgets where Serve did not begin yet
	})
	defer stop()
	err := s.Serve(&limited{Listener: from, lifetime: cmp.Or(l.lifetime, lifetime), from: map[string]int{}})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// networkOf is as much of an address as is kept.
func networkOf(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return ""
	}
	ip := ap.Addr().Unmap().WithZone("")
	bits := 48
	if ip.Is4() {
		bits = 24
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// session is one connection.
type session struct {
	l       *Listener
	ctx     context.Context // of Serve: the library hands on none
	network string
	sender  string
	to      map[string][]string // by brand
}

// Reset implements smtp.Session.
func (s *session) Reset() { s.sender, s.to = "", nil }

// Logout implements smtp.Session.
func (s *session) Logout() error { return nil }

// Mail implements smtp.Session.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.Reset()
	if i := strings.LastIndexByte(from, '@'); i >= 0 {
		if s.sender = strings.ToLower(from[i+1:]); !domain(s.sender) {
			s.sender = ""
		}
	}
	return nil
}

// Rcpt takes every address of the domains alike.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	i := strings.LastIndexByte(to, '@')
	brand := s.l.Brands[strings.ToLower(strings.TrimSuffix(to[i+1:], "."))]
	if i < 1 || brand == "" {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "not for here"}
	}
	if s.to == nil {
		s.to = map[string][]string{}
	}
	s.to[brand] = append(s.to[brand], to)
	return nil
}

// Data reads a mail for its Message-ID, forgets it, and reports it.
func (s *session) Data(r io.Reader) error {
	head, err := textproto.NewReader(bufio.NewReader(io.LimitReader(r, maxHead))).ReadMIMEHeader()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err // too long, or it broke off
	}
	hash := ""
	if id := head.Get("Message-Id"); err == nil && id != "" {
		sum := sha256.Sum256([]byte(id))
		hash = hex.EncodeToString(sum[:])
	}
	ctx, cancel := context.WithTimeout(s.ctx, reportTimeout)
	defer cancel()
	for brand, to := range s.to {
		req := api.CanaryMailRequest{Recipients: to, Network: s.network, SenderDomain: s.sender, MessageHash: hash}
		if err := s.l.Report(ctx, brand, req); err != nil {
			s.l.Log.Error("the vault did not take a report of mail; the sender is told to come again", "brand", brand, "cause", err)
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "try again later"}
		}
	}
	return nil
}

// limited bounds connections: all, those of one network, and how long each lasts.
type limited struct {
	net.Listener
	lifetime time.Duration

	mu   sync.Mutex
	all  int
	from map[string]int
}

// Accept returns the next connection that there is room for. The others are told to come
// again, and closed.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		network := networkOf(c.RemoteAddr())
		l.mu.Lock()
		room := l.all < maxConnections && l.from[network] < maxFrom
		if room {
			l.all++
			l.from[network]++
		}
		l.mu.Unlock()
		if !room {
			c.SetWriteDeadline(time.Now().Add(refusing)) // nobody waits for whoever does not listen
			io.WriteString(c, "421 4.3.2 too many connections, come again later\r\n")
			c.Close()
			continue
		}
		ends := time.AfterFunc(l.lifetime, func() { c.Close() })
		return &counting{Conn: c, free: sync.OnceFunc(func() {
			ends.Stop()
			l.mu.Lock()
			defer l.mu.Unlock()
			l.all--
			if l.from[network]--; l.from[network] == 0 {
				delete(l.from, network)
			}
		})}, nil
	}
}

type counting struct {
	net.Conn
	free func()
}

// Close ends the connection and makes room for another.
func (c *counting) Close() error {
	c.free()
	return c.Conn.Close()
}

// ErrDomain is returned for a domain that mail cannot be received for.
var ErrDomain = fault.New(fault.Internal, "not a domain that mail is received for")

// CheckDomain returns a domain as it is compared.
func CheckDomain(text string) (string, error) {
	text = strings.ToLower(strings.TrimSuffix(text, "."))
	if text == "" || !strings.Contains(text, ".") || !domain(text) {
		return "", ErrDomain
	}
	return text, nil
}
