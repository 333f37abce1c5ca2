package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/cloakroom/cloakroom/internal/customer/message"
	"github.com/cloakroom/cloakroom/internal/watch/notify"
)

// smtp is through which mail server alarms go.
type smtp struct {
	Host     string   `name:"smtp-host" help:"Mail server for alarms and mail to customers." env:"CLOAKROOM_SMTP_HOST" placeholder:"HOST"`
	Port     int      `name:"smtp-port" help:"Port of the mail server (default: 587 for starttls, 465 for implicit)." env:"CLOAKROOM_SMTP_PORT" placeholder:"PORT"`
	TLS      string   `name:"smtp-tls" help:"starttls; implicit: TLS from the first byte; none: for a mail server on this machine only." enum:"starttls,implicit,none" default:"starttls" env:"CLOAKROOM_SMTP_TLS"`
	CA       string   `name:"smtp-ca" help:"CA certificates for the mail server, PEM (default: the machine's)." type:"existingfile" env:"CLOAKROOM_SMTP_CA" placeholder:"FILE"`
	User     string   `name:"smtp-user" help:"User name at the mail server." env:"CLOAKROOM_SMTP_USER" placeholder:"USER"`
	Password string   `name:"smtp-password-file" help:"File with the password at the mail server." type:"existingfile" env:"CLOAKROOM_SMTP_PASSWORD_FILE" placeholder:"FILE"`
	Rate     int      `name:"smtp-rate" help:"Mails to customers that go to one mailbox provider in a second." default:"20" env:"CLOAKROOM_SMTP_RATE" placeholder:"NUMBER"`
	DKIM     []string `name:"dkim" help:"Key that signs mail to customers: domain, selector and file (PEM), with spaces between. Repeatable." placeholder:"DOMAIN SELECTOR FILE" sep:"none"`
	From     string   `name:"smtp-from" help:"Sender address of alarms." env:"CLOAKROOM_SMTP_FROM" placeholder:"ADDRESS"`
}

// post returns how mail to customers leaves, nil for not at all.
func (c *smtp) post(m *notify.MailServer) (*message.Post, error) {
	if m == nil {
		if len(c.DKIM) > 0 {
			return nil, &usageError{"--dkim needs --smtp-host"}
		}
		return nil, nil
	}
	p := &message.Post{Server: m}
	for _, text := range c.DKIM {
		part := strings.SplitN(text, " ", 3)
		if len(part) != 3 {
			return nil, &usageError{"--dkim is 'DOMAIN SELECTOR FILE'"}
		}
		pem, err := os.ReadFile(part[2])
		if err != nil {
			return nil, fmt.Errorf("reading a DKIM key: %w", err)
		}
		k, err := message.NewKey(part[0], part[1], pem)
		if err != nil {
			return nil, &usageError{err.Error()}
		}
		p.Keys = append(p.Keys, k)
	}
	return p, nil
}

// server returns the mail server, nil for none.
func (c *smtp) server() (*notify.MailServer, error) {
	if c.Host == "" {
		if c.User != "" || c.Password != "" || c.From != "" {
			return nil, &usageError{"the other --smtp flags need --smtp-host"}
		}
		return nil, nil
	}
	m := &notify.MailServer{Host: c.Host, Port: c.Port, TLS: c.TLS, User: c.User, From: c.From}
	if c.Password != "" {
		text, err := os.ReadFile(c.Password)
		if err != nil {
			return nil, fmt.Errorf("reading the mail server's password: %w", err)
		}
		m.Password = strings.TrimRight(string(text), "\r\n")
	}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("reading the mail server's certificates: %w", err)
		}
		m.Roots = x509.NewCertPool()
		if !m.Roots.AppendCertsFromPEM(text) {
			return nil, &usageError{"--smtp-ca holds no certificate"}
		}
	}
	if err := m.Check(); err != nil {
		return nil, &usageError{err.Error()}
	}
	return m, nil
}
