package message

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base32"
	"encoding/pem"
	"errors"
	"fmt"
	netmail "net/mail"
	"net/textproto"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/watch/notify"
)

// Post is how a vault's mail leaves: the mail server, and the keys that sign for domains.
type Post struct {
	Server *notify.MailServer
	Keys   []Key
}

// Key signs the mail of a domain (DKIM, RFC 6376).
type Key struct {
	Domain, Selector string
	signer           crypto.Signer
}

// ErrKey is returned for a key that cannot sign mail.
var ErrKey = fault.New(fault.Internal, "no DKIM key: give the domain, the selector and a file with an RSA key of 2048 bits or more, or an Ed25519 key, PEM")

// NewKey reads a private key in PEM.
func NewKey(domain, selector string, text []byte) (Key, error) {
	k := Key{Domain: domain, Selector: selector}
	block, _ := pem.Decode(text)
	if block == nil || domain == "" || selector == "" || strings.ContainsAny(domain+selector, " \r\n;=") {
		return k, ErrKey
	}
	var key any
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if err != nil {
		return k, ErrKey
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < 2048 {
			return k, ErrKey
		}
		k.signer = key
	case ed25519.PrivateKey:
		k.signer = key
	default:
		return k, ErrKey
	}
	return k, nil
}

// signed are the headers that a signature covers: all that a mail of ours has.
var signed = []string{"From", "To", "Subject", "Date", "Message-ID", "Reply-To", "Auto-Submitted", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "List-Unsubscribe"}

// sender is a brand's sender.
type sender struct {
	from, address, reply string
	host                 string // of the address
	domain               string // that its links may lead to
	key                  *Key   // nil: nobody signs
}

func (p *Post) sender(from, reply string) (*sender, error) {
	if from == "" {
		return nil, ErrSender
	}
	a, err := netmail.ParseAddress(from)
	if err != nil {
		return nil, ErrSender
	}
	_, host, _ := strings.Cut(a.Address, "@")
	s := &sender{from: from, address: a.Address, reply: reply, host: strings.ToLower(host)}
	if s.domain, err = publicsuffix.EffectiveTLDPlusOne(s.host); err != nil {
		s.domain = s.host
	}
	if p == nil {
		return s, nil
	}
	for i := range p.Keys {
		if d := p.Keys[i].Domain; d == s.host || strings.HasSuffix(s.host, "."+d) {
			s.key = &p.Keys[i]
		}
	}
	return s, nil
}

// Domain is the domain that the links of a brand's templates may lead to.
func Domain(from string) (string, error) {
	s, err := (*Post)(nil).sender(from, "")
	if err != nil {
		return "", err
	}
	return s.domain, nil
}

var midEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

func (s *sender) messageID(mid []byte) string {
	return strings.ToLower(midEncoding.EncodeToString(mid)) + "@" + s.host
}

// address returns an address as the mail server is to be handed it, and its mailbox
// provider's host, or false where it is none. A domain in other letters is handed over in
// its ASCII form.
func address(text string) (addr, host string, ok bool) {
	text = strings.TrimSpace(text)
	at := strings.LastIndexByte(text, '@')
	if at < 1 || at == len(text)-1 || len(text) > 254 {
		return "", "", false
	}
	local := text[:at]
	host, err := idna.Lookup.ToASCII(text[at+1:])
	if err != nil || host == "" {
		return "", "", false
	}
	for _, c := range []byte(local) {
		if c <= ' ' || c > '~' || strings.ContainsRune(`<>()[]\,;:"@`, rune(c)) {
			return "", "", false
		}
	}
	host = strings.ToLower(host)
	addr = local + "@" + host
	if a, err := netmail.ParseAddress(addr); err != nil || a.Address != addr {
		return "", "", false
	}
	return addr, host, true
}

// letter is a whole mail, signed: the same text each time but for its date.
func (s *sender) letter(to string, r *Rendered, mid []byte, at time.Time) ([]byte, error) {
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := errors.Join(m.From(s.from), m.To(to)); err != nil {
		return nil, errors.New("an address is refused") // err holds it
	}
	if s.reply != "" {
		if err := m.ReplyTo(s.reply); err != nil {
			return nil, errors.New("the address for answers is refused")
		}
	}
	m.Subject(r.Subject)
	m.SetMessageIDWithValue(s.messageID(mid))
	m.SetDateWithValue(at)
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetGenHeader("Content-Language", r.Language)
	m.SetBodyString(gomail.TypeTextPlain, r.Text)
	if r.HTML != "" {
		m.AddAlternativeString(gomail.TypeTextHTML, r.HTML)
	}
	var plain bytes.Buffer
	if _, err := m.WriteTo(&plain); err != nil {
		return nil, errors.New("a mail could not be written")
	}
	if s.key == nil {
		return plain.Bytes(), nil
	}
	var out bytes.Buffer
	opts := &dkim.SignOptions{Domain: s.key.Domain, Selector: s.key.Selector, Signer: s.key.signer, HeaderKeys: present(plain.Bytes()),
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed}
	if err := dkim.Sign(&out, &plain, opts); err != nil {
		return nil, errors.New("a mail could not be signed")
	}
	return out.Bytes(), nil
}

// present are the headers to sign that a mail has.
func present(b []byte) (out []string) {
	head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	for _, h := range signed {
		if bytes.Contains(append([]byte("\r\n"), head...), []byte("\r\n"+h+":")) {
			out = append(out, h)
		}
	}
	return out
}

// outcome is what became of handing a mail over.
type outcome struct {
	state  State
	queue  string // the mail server's own number
	reason string
}

// handTimeout bounds each step of handing a mail over.
const handTimeout = 2 * time.Minute

// mailsAtOnce is how many mails one connection takes: mail servers close those that go on
// for ever.
const mailsAtOnce = 200

// line is one worker's connection.
type line struct {
	post *Post
	*notify.Line
	taken int
}

func (l *line) close() {
	if l.Line != nil {
		l.Line.Close()
		l.Line = nil
	}
}

// drop ends a connection of which it is not known in which state it is.
func (l *line) drop() {
	if l.Line != nil {
		l.Conn.Close()
		l.Line = nil
	}
}

// errConnection is where a mail server does not answer: nothing is known of any mail.
var errConnection = errors.New("the mail server does not answer")

// ready connects, or takes the connection that is there.
func (l *line) ready(ctx context.Context) error {
	if l.Line != nil && l.taken < mailsAtOnce {
		return nil
	}
	l.close()
	n, err := l.post.Server.Dial(ctx)
	if err != nil {
		return errConnection
	}
	l.Line, l.taken = n, 0
	return nil
}

// hand hands one mail over. Up to the recipient nothing has left: then claim commits, and
// only after it DATA begins. From there a connection that breaks leaves the mail in doubt.
func (l *line) hand(ctx context.Context, from, to string, text []byte, claim func() error) (outcome, error) {
	stop := func() bool { return true }
	defer func() { stop() }()
	for attempt := 0; ; attempt++ {
		if err := l.ready(ctx); err != nil {
			return outcome{}, err
		}
		fresh := l.taken == 0
		l.taken++
		l.deadline()
		stop()
		conn := l.Conn                                                         // its own: the line may have another by then
		stop = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) }) // what waits for the server ends with the context
		err := l.Session.Mail(from)
		if err == nil {
			err = l.Session.Rcpt(to)
		}
		if err == nil {
			break
		}
		code := replied(err)
		if code == 0 || code == 421 {
			l.drop()
			if fresh || attempt > 0 || ctx.Err() != nil {
				return outcome{}, errConnection
			}
			continue // it had been open for a while, and the server had enough of it
		}
		if l.Session.Reset() != nil {
			l.drop()
		}
		return refused(code), nil
	}
	if err := claim(); err != nil {
		if l.Session.Reset() != nil {
			l.drop()
		}
		return outcome{}, err
	}
	stop() // a server that stops brings this mail to its end
	l.deadline()
	w, err := l.Session.Data()
	if err != nil {
		code := replied(err)
		l.drop()
		if code == 0 {
			return outcome{state: InDoubt, reason: "the connection ended at DATA"}, nil
		}
		return refused(code), nil
	}
	_, err = w.Write(text)
	l.deadline()
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		code := replied(err)
		l.drop()
		if code == 0 {
			return outcome{state: InDoubt, reason: "the connection ended after DATA"}, nil
		}
		return refused(code), nil
	}
	o := outcome{state: Accepted}
	if d, ok := w.(*smtp.DataCloser); ok {
		o.queue = queueID(d.ServerResponse())
	}
	return o, nil
}

func (l *line) deadline() { l.Conn.SetDeadline(time.Now().Add(handTimeout)) }

// replied is the code that a mail server answered with; 0 where it did not.
func replied(err error) int {
	var e *textproto.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// refused says what a code means, without the server's words: they may quote an address.
func refused(code int) outcome {
	if code >= 500 {
		return outcome{state: Refused, reason: fmt.Sprintf("permanent error %d", code)}
	}
	return outcome{state: Deferred, reason: fmt.Sprintf("temporary error %d", code)}
}

var queued = regexp.MustCompile(`(?i)(?:queued as|id=|queue id|message accepted:?|ok:? +id=?|as)\s*<?([A-Za-z0-9-]{4,40})>?`)

// queueID finds the mail server's own number in its answer: nothing else of the answer is
// kept.
func queueID(text string) string {
	if m := queued.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	for _, f := range strings.Fields(text) { // such as opensmtpd: "2.0.0 8f3a9c1b Message accepted for delivery"
		if len(f) >= 6 && len(f) <= 40 && strings.Trim(f, "abcdefABCDEF0123456789") == "" {
			return f
		}
	}
	return ""
}

// providers are hosts of one mailbox provider, which counts them together.
var providers = map[string]string{
	"googlemail.com": "gmail.com", "hotmail.com": "outlook.com", "live.com": "outlook.com", "msn.com": "outlook.com", "hotmail.fr": "outlook.com", "hotmail.it": "outlook.com",
	"ymail.com": "yahoo.com", "yahoo.fr": "yahoo.com", "yahoo.it": "yahoo.com", "yahoo.co.uk": "yahoo.com", "me.com": "icloud.com", "mac.com": "icloud.com",
}

// throttle bounds the mails to each mailbox provider in a second, over all workers.
type throttle struct {
	perSecond int

	mu   sync.Mutex
	next map[string]time.Time // when the next mail may go, on this machine's clock
}

// maxProviders bounds the providers that are kept.
const maxProviders = 10_000

// wait says for how long a mail to a host has to wait: 0 where it takes its place now.
// Twice as many as a second allows may go at once.
func (t *throttle) wait(host string, now time.Time) time.Duration {
	if t.perSecond <= 0 {
		return 0
	}
	if p := providers[host]; p != "" {
		host = p
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil || len(t.next) > maxProviders {
		t.next = map[string]time.Time{}
	}
	each := time.Second / time.Duration(t.perSecond)
	at := t.next[host]
	if burst := now.Add(-2 * time.Second); at.Before(burst) {
		at = burst
	}
	if at.After(now) {
		return at.Sub(now)
	}
	t.next[host] = at.Add(each)
	return 0
}
