package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/cloakroom/cloakroom/internal/app"
)

// serveCmd is `cloakroom serve`.
type serveCmd struct {
	Data    string `help:"Data directory: embedded database, root key, socket; created if missing." default:"${data}" env:"CLOAKROOM_DATA" placeholder:"DIR"`
	Listen  string `help:"Address of the API." default:"127.0.0.1:7460" env:"CLOAKROOM_LISTEN" placeholder:"HOST:PORT"`
	TLSCert string `name:"tls-cert" help:"Certificate chain, PEM." type:"existingfile" placeholder:"FILE"`
	TLSKey  string `name:"tls-key" help:"Private key of the certificate, PEM." type:"existingfile" placeholder:"FILE"`
	Origin  string `help:"Prefix of the names of a new vault's logs, such as vault.example.com (default: cloakroom.local). Permanent." placeholder:"NAME"`
	OCSF    string `name:"ocsf" help:"File for alarms as OCSF events, one JSON object per line." placeholder:"FILE"`
	Verbose bool   `help:"Log every request, without its contents."`
	smtp
	backing
}

// Help is the long help text.
func (serveCmd) Help() string {
	return `At first start the data directory is made, with root.key beside the database: keep
a copy of it elsewhere. Without it nothing in the vault can be read, by anybody.

Commands on this machine talk to the server by the socket in the data directory, as
the local administrator, who administers and sees no customer. Everybody else needs
a key: cloakroom principal create NAME --role BRAND=ROLE.

With --database the vault is in PostgreSQL, and any number of servers may serve it at
once, on this machine and on others: the first one begins it, and every other one needs
a copy of its root.key. Give each a data directory of its own; of servers that share
one, the first answers on its socket.

Without --tls-cert, listen on loopback only, behind a proxy that speaks TLS.

Alarms go by e-mail to the receivers that have an address (cloakroom alarm receiver add
--mailto) through the mail server of --smtp-host, under TLS. Give every server of a
vault the same.`
}

// Run serves until interrupted.
func (c *serveCmd) Run(ctx context.Context, std Streams) error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return &usageError{"--tls-cert and --tls-key go together"}
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return &usageError{"--listen is HOST:PORT"}
	}
	if ip := net.ParseIP(host); c.TLSCert == "" && (ip == nil || !ip.IsLoopback()) && host != "localhost" {
		return &usageError{"keys and customers would cross the network unencrypted: give --tls-cert and --tls-key, or listen on 127.0.0.1"}
	}
	mail, err := c.server()
	if err != nil {
		return err
	}
	// Before the vault is opened: what cannot be served leaves no directory behind.
	var certificates *tls.Config
	if c.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return fmt.Errorf("reading the certificate: %w", err)
		}
		certificates = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	}
	l, err := listen(c.Listen)
	if err != nil {
		return err
	}
	v, err := c.open(ctx, c.Data, app.Options{Origin: c.Origin})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	v.Sender.Mail = mail
	level := slog.LevelInfo
	if c.Verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewJSONHandler(std.Err, &slog.HandlerOptions{Level: level}))
	address := l.Addr().String()
	ready := func() {
		c.greet(std, v, address)
		log.Info("serving", "address", address, "data", c.Data, "engine", string(v.DB.Engine()))
	}
	if certificates != nil {
		l = tls.NewListener(l, certificates)
	}
	return errors.Join(serve(ctx, v, log, l, c.OCSF, ready), v.Close())
}

// listen opens the port of the API.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use: stop the program that listens there, or choose another address with --listen", address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("no permission to listen on %s: ports below 1024 need privileges; choose another with --listen", address)
	case err != nil:
		return nil, fmt.Errorf("listening: %w", err)
	}
	return l, nil
}

// greet tells the person at the terminal where the vault is and, of a new one, what to do
// now: the log is for machines.
func (c *serveCmd) greet(std Streams, v *app.Vault, address string) {
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	dir := c.Data
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	fmt.Fprintf(std.Out, "Serving on %s://%s\nData directory %s\n", scheme, address, dir)
	if !v.New {
		return
	}
	root := v.RootKey
	if abs, err := filepath.Abs(root); err == nil {
		root = abs
	}
	fmt.Fprintf(std.Out, `
This is a new vault. Copy its root key to a safe place now, away from the database:
  %s
Without it nothing in the vault can be read, by anybody.

Next, in another terminal:
  %scloakroom brand create NAME
`, root, c.elsewhere(std, dir))
}

// elsewhere is what a command must be told to find this server.
func (c *serveCmd) elsewhere(std Streams, dir string) string {
	usual := defaultData(std.getenv)
	if abs, err := filepath.Abs(usual); err == nil && abs == dir || std.getenv("CLOAKROOM_DATA") != "" {
		return ""
	}
	return "export CLOAKROOM_DATA=" + shellQuote(dir) + "\n  "
}

// headroom is memory that a server holds and never touches, in bytes. The collector lets
// as much garbage lie as there is memory in use, and runs dozens of times a second beside
// the few megabytes of a small vault. It takes addresses only; what lies about for it is
// as much again at most, whatever the vault's size. Who sets GOGC or GOMEMLIMIT decides.
const headroom = 64 << 20

// serve answers on a listener and on the socket of the data directory, and makes
// alarms, until the context ends. It calls ready once both take connections.
func serve(ctx context.Context, v *app.Vault, log *slog.Logger, l net.Listener, events string, ready func()) error {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		defer runtime.KeepAlive(make([]byte, headroom))
	}
	s := app.NewServer(v, log)
	own, err := v.OwnSocket()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if !own {
		log.Warn("another server has the socket of this data directory, and commands on this machine talk to that one; give each server a directory of its own with --data", "data", v.Dir)
		ready()
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return s.Serve(ctx, l) })
		g.Go(func() error { return v.Watch(ctx, log, events) })
		return g.Wait()
	}
	path := filepath.Join(v.Dir, app.SocketFile)
	os.Remove(path) // of a server that was killed; the lock says that none is running
	socket, err := net.Listen("unix", path)
	if err != nil {
		return errors.Join(fmt.Errorf("making the socket: %w", err), l.Close())
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("making the socket: %w", err), l.Close(), socket.Close())
	}
	ready()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Serve(ctx, l) })
	g.Go(func() error { return s.Serve(ctx, socket) })
	g.Go(func() error { return v.Watch(ctx, log, events) })
	g.Go(func() error {
		v.Upkeep.Tend(ctx, log)
		return nil
	})
	return g.Wait()
}
