package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"text/tabwriter"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/watch/canary"
)

type canaryReceiveCmd struct {
	remote
	Listen  string   `help:"Address to receive mail at; other mail servers use port 25." default:":2525" env:"CLOAKROOM_MAIL_LISTEN" placeholder:"HOST:PORT"`
	Domain  []string `help:"Brand and the domain of its canaries; may be repeated." required:"" placeholder:"BRAND=DOMAIN"`
	TLSCert string   `name:"tls-cert" help:"Certificate chain for STARTTLS, PEM." type:"existingfile" placeholder:"FILE"`
	TLSKey  string   `name:"tls-key" help:"Private key of the certificate, PEM." type:"existingfile" placeholder:"FILE"`
}

// Help is the long help text.
func (canaryReceiveCmd) Help() string {
	return `A small mail server for the domains of the canaries (canary place --domain); their MX
records point to it. It accepts mail for every address of the domains alike, stores no
mail and knows no canaries: it reports the recipients to the vault, which decides. While
the vault is unavailable, it answers that the sender should retry.

It needs a key in CLOAKROOM_KEY, of a service with the role mail-receiver at each brand,
which may report mail and nothing else:

  cloakroom principal create decoy-mail --kind service --role gucci=mail-receiver`
}

// Run takes mail until interrupted.
func (c *canaryReceiveCmd) Run(ctx context.Context, std Streams) error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return &usageError{"--tls-cert and --tls-key go together"}
	}
	l := &canary.Listener{Brands: map[string]string{}, Log: slog.New(slog.NewJSONHandler(std.Err, nil))}
	for _, text := range c.Domain {
		brand, name, ok := strings.Cut(text, "=")
		name, err := canary.CheckDomain(name)
		if !ok || brand == "" || err != nil {
			return &usageError{"--domain is BRAND=DOMAIN, such as gucci=post.gucci.example"}
		}
		if l.Brands[name] != "" {
			return &usageError{"each domain belongs to one brand"}
		}
		l.Brands[name] = brand
	}
	if c.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return fmt.Errorf("reading the certificate: %w", err)
		}
		l.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	return c.with(ctx, std, func(v *connection) error {
		l.Report = func(ctx context.Context, brand string, req api.CanaryMailRequest) error {
			_, err := v.ReportCanaryMail(ctx, brand, req)
			return err
		}
		from, err := net.Listen("tcp", c.Listen)
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		l.Log.Info("taking mail", "address", from.Addr().String(), "domains", len(l.Brands))
		return l.Serve(ctx, from)
	})
}

type canaryMailCmd struct{ forBrand }

// Run lists mail to canaries.
func (c *canaryMailCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.CanaryMail, error) { return v.CanaryMail(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.CanaryMail) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		for _, m := range list {
			left := "put into no export"
			if m.Export != "" {
				left = "put into the export " + m.Export
			}
			entries := make([]string, len(m.Shown))
			for i, e := range m.Shown {
				entries[i] = fmt.Sprint(e)
			}
			if len(entries) > 0 {
				left += "; shown at entries " + strings.Join(entries, ", ")
			}
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", m.At.Format("2006-01-02 15:04"), m.Token, m.Times, m.Network, m.SenderDomain, left)
		}
		t.Flush()
		if len(list) == 0 {
			fmt.Fprintln(w, "no mail to canaries")
		}
	})
}
