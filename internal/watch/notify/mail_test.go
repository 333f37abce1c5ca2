package notify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
)

// postOffice is a real mail server on loopback, with a certificate of its own.
type postOffice struct {
	t     *testing.T
	cert  tls.Certificate
	roots *x509.CertPool
	addr  string

	mu       sync.Mutex
	answer   *smtp.SMTPError // to every recipient; nil: takes the mail
	sessions int
	tries    int
	logins   []string
	got      []letterGot
}

type letterGot struct {
	to   string
	head mail.Header
	body string
}

func newPostOffice(t *testing.T) *postOffice {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p := &postOffice{t: t, cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots: x509.NewCertPool(), addr: "127.0.0.1:0"}
	p.roots.AddCert(leaf)
	return p
}

// open begins to serve: with STARTTLS, with TLS from the first byte, or in clear only.
func (p *postOffice) open(how string) {
	p.t.Helper()
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.addr = l.Addr().String()
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sessions++
		return &visit{p: p}, nil
	}))
	srv.ErrorLog = log.New(io.Discard, "", 0)
	conf := &tls.Config{Certificates: []tls.Certificate{p.cert}}
	switch how {
	case MailImplicit:
		l = tls.NewListener(l, conf)
	case MailStartTLS:
		srv.TLSConfig = conf
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	p.t.Cleanup(func() {
		srv.Close()
		l.Close() // which Close forgets where Serve did not begin yet
		<-done
	})
}

// reserve finds an address where nobody answers yet.
func (p *postOffice) reserve() {
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.addr = l.Addr().String()
	l.Close()
}

func (p *postOffice) set(answer *smtp.SMTPError) {
	p.mu.Lock()
	p.answer = answer
	p.mu.Unlock()
}

func (p *postOffice) tried() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tries
}

func (p *postOffice) letters() []letterGot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]letterGot(nil), p.got...)
}

func (p *postOffice) server(how string) *MailServer {
	host, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	m := &MailServer{Host: host, TLS: how, From: "cloakroom@brand.example", Roots: p.roots}
	fmt.Sscan(port, &m.Port)
	if err := m.Check(); err != nil {
		p.t.Fatal(err)
	}
	return m
}

// visit is one connection.
type visit struct {
	p  *postOffice
	to string
}

func (v *visit) Reset()        {}
func (v *visit) Logout() error { return nil }

func (v *visit) AuthMechanisms() []string { return []string{sasl.Plain} }

func (v *visit) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		v.p.mu.Lock()
		defer v.p.mu.Unlock()
		v.p.logins = append(v.p.logins, user)
		if password != "right" {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (v *visit) Mail(string, *smtp.MailOptions) error { return nil }

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	v.p.tries++
	v.to = to
	if v.p.answer != nil {
		return v.p.answer
	}
	return nil
}

func (v *visit) Data(r io.Reader) error {
	m, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(m.Body)
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	v.p.got = append(v.p.got, letterGot{v.to, m.Header, string(body)})
	return err
}

// state reads a receiver's row.
func (p place) state(t *testing.T, name string) (r receiver) {
	t.Helper()
	err := p.db.Row(t.Context(), `SELECT delivered, failures, status, next, fault, stopped FROM receivers WHERE brand = $1 AND name = $2`, int64(p.brand), name).
		Scan(&r.delivered, &r.failures, &r.status, &r.next, &r.fault, &r.stopped)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// idle reports whether no sender serves a receiver: what it noted is its last note. Asked
// after the state, so that the state is that note.
func (p place) idle(t *testing.T, name string) bool {
	t.Helper()
	held, err := follow.NewLeases(p.db).Held(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := receiver{brand: p.brand, name: name}
	return !held[r.work()]
}

// pass lets time pass on the database's clock until a receiver's next try.
func (p place) pass(t *testing.T, s *Sender, name string) {
	t.Helper()
	now, err := p.db.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wait := time.UnixMicro(p.state(t, name).next).Sub(now)
	p.ahead.Add(int64(max(0, wait)/time.Second) + 1)
	s.Wake()
}

func TestMail(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		office := newPostOffice(t)
		office.reserve() // and it is down
		p.add(t, "soc", "mailto:soc@brand.example")
		p.add(t, "ciso", "mailto:ciso@brand.example")
		p.alarms(t, 1, 30, own)
		s := p.senderBy(t, office.server(MailStartTLS))
		failed := func(n int) func() bool {
			return func() bool { r := p.state(t, "soc"); return r.failures == n && p.idle(t, "soc") }
		}
		eventually(t, "a try failed", failed(1))
		if r := p.state(t, "soc"); r.status != 0 || !strings.Contains(r.fault, "the connection failed") {
			t.Errorf("%d %q", r.status, r.fault)
		}
		// Up again, and busy: 4xx is tried again, with the alarm that failed.
		office.set(&smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "later, <soc@brand.example>"})
		office.open(MailStartTLS)
		p.pass(t, s, "soc")
		eventually(t, "it was told to come later", failed(2))
		if r := p.state(t, "soc"); r.status != 451 || strings.Contains(r.fault, "@") || r.stopped != 0 {
			t.Errorf("%d %q", r.status, r.fault)
		}
		office.set(nil)
		p.pass(t, s, "ciso")
		p.pass(t, s, "soc")
		all := func(name string, n int64) func() bool {
			return func() bool { r := p.state(t, name); return r.delivered == n && p.idle(t, name) }
		}
		eventually(t, "soc has all", all("soc", 30))
		eventually(t, "ciso has all", all("ciso", 30))
		ids := map[string]bool{}
		next := map[string]int{}
		for _, l := range office.letters() {
			next[l.to]++
			if want := fmt.Sprintf("(%d-canary)", next[l.to]); !strings.HasSuffix(l.head.Get("Subject"), want) {
				t.Fatalf("%q came where %s was next", l.head.Get("Subject"), want)
			}
			ids[l.head.Get("Message-Id")] = true
		}
		if len(ids) != 60 {
			t.Errorf("%d Message-IDs of 60", len(ids))
		}
		first := office.letters()[0]
		if got, want := first.head.Get("Subject"), "[gucci] critical alarm: canary, principal 7 (1-canary)"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		for _, want := range []string{"cloakroom contain --brand gucci --lineage 7 --alarm 1-canary", "cloakroom alarm show --brand gucci 1-canary", "gucci/1-canary", "once"} {
			if !strings.Contains(first.body, want) {
				t.Errorf("a mail without %q:\n%s", want, first.body)
			}
		}
		// Two sessions for a connection with STARTTLS, and some for the times it answered 451.
		if office.mu.Lock(); office.sessions > 20 {
			t.Errorf("%d connections for 60 mails", office.sessions)
		}
		office.mu.Unlock()
		// A server that died before it noted what it sent: the same mail again.
		if _, err := p.db.Exec(t.Context(), `UPDATE receivers SET entry = 29 WHERE name = 'soc'`); err != nil {
			t.Fatal(err)
		}
		s.Wake()
		eventually(t, "it came again", all("soc", 31))
		again := office.letters()[60]
		if !ids[again.head.Get("Message-Id")] {
			t.Error("a repeat has another Message-ID")
		}
	})
}

func TestMailThatIsRefusedForGoodIsKept(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		office := newPostOffice(t)
		office.set(&smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no soc@brand.example here"})
		office.open(MailStartTLS)
		p.add(t, "soc", "mailto:soc@brand.example")
		p.alarms(t, 1, 3, own)
		s := p.senderBy(t, office.server(MailStartTLS))
		for try := 1; ; try++ {
			eventually(t, "a try was refused", func() bool { r := p.state(t, "soc"); return r.failures == try && p.idle(t, "soc") })
			r := p.state(t, "soc")
			if r.status != 550 || strings.Contains(r.fault, "@") {
				t.Fatalf("%d %q", r.status, r.fault)
			}
			if r.stopped != 0 {
				if try < 24 || try > 26 {
					t.Errorf("given up after %d tries", try)
				}
				break
			}
			p.pass(t, s, "soc")
		}
		// It is left alone from now on, and what it did not get is there.
		n := office.tried()
		p.ahead.Add(24 * 3600)
		if due, err := s.due(t.Context()); err != nil || len(due) != 0 {
			t.Fatalf("tried again without a resume: %v", err)
		}
		p.alarms(t, 4, 2, own)
		office.set(nil)
		if office.tried() != n {
			t.Error("it was tried after it was given up")
		}
		if _, err := p.db.Exec(t.Context(), sqlResumeReceiver, int64(p.brand), "soc"); err != nil {
			t.Fatal(err)
		}
		s.Wake()
		eventually(t, "all came", func() bool { r := p.state(t, "soc"); return r.delivered == 5 && r.fault == "" && r.stopped == 0 })
	})
}

func TestMailGoesUnderTLSOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, offers, wants, password string
		strange                       bool // a certificate that nobody vouches for
		fault                         string
	}{
		{"STARTTLS is missing", MailNoTLS, MailStartTLS, "", false, "does not offer STARTTLS"},
		{"the certificate is another's", MailStartTLS, MailStartTLS, "", true, "certificate"},
		{"implicit TLS to STARTTLS", MailStartTLS, MailImplicit, "", false, "connecting to the mail server"},
		{"implicit TLS", MailImplicit, MailImplicit, "", false, ""},
		{"implicit TLS and a password", MailImplicit, MailImplicit, "right", false, ""},
		{"a password", MailStartTLS, MailStartTLS, "right", false, ""},
		{"a wrong password", MailStartTLS, MailStartTLS, "wrong", false, "535"},
		{"this machine", MailNoTLS, MailNoTLS, "", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			office := newPostOffice(t)
			office.open(c.offers)
			m := office.server(c.wants)
			if c.password != "" {
				m.User, m.Password = "cloakroom", c.password
			}
			if c.strange {
				m.Roots = x509.NewCertPool()
			}
			to := &letters{server: m, to: "soc@brand.example", key: []byte("k")}
			defer to.close()
			_, err := to.deliver(t.Context(), &notice{brand: "gucci", Notice: alarm.Notice{Alarm: &alarm.Stored{}}})
			if c.fault == "" {
				if err != nil || len(office.letters()) != 1 {
					t.Fatalf("%d mails, %v", len(office.letters()), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.fault) || strings.Contains(err.Error(), "wrong") || len(office.letters()) != 0 || office.tried() != 0 {
				t.Fatalf("%d mails, %v", len(office.letters()), err)
			}
			if _, refused := errors.AsType[*refusedError](err); refused != (c.password == "wrong") {
				t.Errorf("refused for good: %v", refused)
			}
			if c.offers == MailNoTLS && len(office.logins) > 0 {
				t.Error("a password went in clear")
			}
		})
	}
}

func TestMailServersAreChecked(t *testing.T) {
	t.Parallel()
	ok := MailServer{Host: "mail.example", From: "cloakroom@brand.example"}
	if err := ok.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*MailServer){
		"no host":                func(m *MailServer) { m.Host = "" },
		"a port in the host":     func(m *MailServer) { m.Host = "mail.example:25" },
		"no sender":              func(m *MailServer) { m.From = "" },
		"a sender with a name":   func(m *MailServer) { m.From = "Cloakroom <cloakroom@brand.example>" },
		"a sender with a line":   func(m *MailServer) { m.From = "a@b.example\r\nBcc: c@d.example" },
		"no TLS over a network":  func(m *MailServer) { m.TLS = MailNoTLS },
		"a password in clear":    func(m *MailServer) { m.Host, m.TLS, m.User, m.Password = "localhost", MailNoTLS, "u", "p" },
		"a user without":         func(m *MailServer) { m.User = "u" },
		"another kind of TLS":    func(m *MailServer) { m.TLS = "maybe" },
		"a port that is none":    func(m *MailServer) { m.Port = 70000 },
		"a password without one": func(m *MailServer) { m.Password = "p" },
	} {
		m := ok
		if change(&m); !errors.Is(m.Check(), ErrMailServer) {
			t.Errorf("%s is taken", name)
		}
	}
}

// Promise 7: what one brand's receivers are told is of that brand.
func TestMailIsOfOneBrand(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		office := newPostOffice(t)
		office.open(MailStartTLS)
		other := p
		if err := p.db.Tx(t.Context(), func(q db.Queryer) error {
			b, err := brands.New(p.db).Create(t.Context(), q, "balenciaga", "", time.Now())
			other.brand = b.ID
			return err
		}); err != nil {
			t.Fatal(err)
		}
		p.add(t, "soc", "mailto:soc@gucci.example")
		other.add(t, "soc", "mailto:soc@balenciaga.example")
		p.alarms(t, 1, 5, own)
		other.alarms(t, 1, 5, own)
		without := p.sender(t) // another server, without a mail server, takes nothing away
		p.senderBy(t, office.server(MailStartTLS))
		without.Wake()
		for _, at := range []place{p, other} {
			eventually(t, "all came", func() bool { return at.state(t, "soc").delivered == 5 })
		}
		for _, l := range office.letters() {
			brand, _, _ := strings.Cut(strings.TrimPrefix(l.to, "soc@"), ".")
			if !strings.HasPrefix(l.head.Get("Subject"), "["+brand+"]") {
				t.Errorf("%s got %q", l.to, l.head.Get("Subject"))
			}
		}
	})
}
