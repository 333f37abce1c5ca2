package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/build"
	"github.com/cloakroom/cloakroom/internal/vault/signin"
	"github.com/cloakroom/cloakroom/internal/watch/witness"
)

// serveCmd is `cloakroom serve`.
type serveCmd struct {
	Data          string        `help:"Data directory: embedded database, root key, socket; created if missing." default:"${data}" env:"CLOAKROOM_DATA" placeholder:"DIR"`
	Listen        string        `help:"Address of the API." default:"127.0.0.1:7460" env:"CLOAKROOM_LISTEN" placeholder:"HOST:PORT"`
	TLSCert       string        `name:"tls-cert" help:"Certificate chain, PEM." type:"existingfile" placeholder:"FILE"`
	TLSKey        string        `name:"tls-key" help:"Private key of the certificate, PEM." type:"existingfile" placeholder:"FILE"`
	Origin        string        `help:"Prefix of the names of a new vault's logs, such as vault.example.com (default: cloakroom.local). Permanent." placeholder:"NAME"`
	OCSF          string        `name:"ocsf" help:"File for alarms as OCSF events, one JSON object per line." placeholder:"FILE"`
	Config        string        `help:"Configuration file, YAML: a flag of serve a line. The command line and variables override it." type:"existingfile" env:"CLOAKROOM_CONFIG" placeholder:"FILE"`
	Log           string        `name:"log-level" help:"Lowest severity in the log: debug, info (a line a request), warn or error." enum:"debug,info,warn,error" default:"info"`
	Metrics       string        `name:"metrics-listen" help:"Address on this machine that serves GET /metrics without a key, such as 127.0.0.1:9464." placeholder:"HOST:PORT"`
	Console       string        `name:"console-listen" help:"Address of the console, the pages for staff and officers, such as 127.0.0.1:7461." placeholder:"HOST:PORT"`
	AlarmPatience time.Duration `help:"How long the alarm of an act that needs two people is tried, before the act takes effect without it." default:"10m" placeholder:"TIME"`
	GlassDelay    time.Duration `help:"How long broken glass waits (cloakroom change break-glass) where a brand does not say (cloakroom settings set --glass-hours). Give every server of a vault the same." default:"4h" placeholder:"TIME"`
	Allow         []string      `name:"allow-receiver" help:"Network of this machine or a private one in which webhooks for alarms may be, such as 10.1.0.0/16. Repeatable." placeholder:"CIDR"`
	SignInURL     []string      `name:"sign-in-url" help:"Address at which browsers open the console, such as https://vault.example.com. Passkeys are bound to its host name. Repeatable, with one host name." placeholder:"URL"`
	SessionLength time.Duration `help:"How long somebody stays signed in at most." default:"12h" placeholder:"TIME"`
	SessionIdle   time.Duration `help:"After how long without use somebody is signed out." default:"30m" placeholder:"TIME"`
	Witness       []string      `help:"Witness that cosigns the logs: its verifier key, a space and its address. Repeatable." placeholder:"KEY URL" sep:"none"`
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

With --console-listen it serves the console, at an address of its own: what a browser
keeps for the console is never sent to the API, nor to pages of others on another host.
Open it as https://HOST:PORT, or on this machine as http://localhost:PORT.

Alarms go by e-mail to the receivers that have an address (cloakroom alarm receiver add
--mailto) through the mail server of --smtp-host, under TLS. Give every server of a
vault the same.`
}

// Run serves until interrupted.
func (c *serveCmd) Run(ctx context.Context, std Streams) error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return &usageError{"--tls-cert and --tls-key go together"}
	}
	if err := c.checkListen("--listen", c.Listen); err != nil {
		return err
	}
	if c.Console != "" {
		if err := c.checkListen("--console-listen", c.Console); err != nil {
			return err
		}
	}
	mail, err := c.server()
	if err != nil {
		return err
	}
	post, err := c.post(mail)
	if err != nil {
		return err
	}
	if err := c.checkMetrics(); err != nil {
		return err
	}
	var allow []netip.Prefix
	for _, text := range c.Allow {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return &usageError{"--allow-receiver is a network, such as 10.1.0.0/16"}
		}
		allow = append(allow, p)
	}
	var witnesses []witness.Witness
	for _, text := range c.Witness {
		w, err := witness.Parse(text)
		if err != nil {
			return &usageError{"--witness: " + err.Error()}
		}
		witnesses = append(witnesses, w)
	}
	signIn := signin.Config{URLs: c.SignInURL, Length: c.SessionLength, Idle: c.SessionIdle}
	if err := new(signin.Desk).Use(signIn); err != nil {
		return &usageError{"--sign-in-url: " + err.Error()}
	}
	if c.SessionLength < time.Minute || c.SessionIdle < time.Minute {
		return &usageError{"--session-length and --session-idle are a minute at least"}
	}
	// Before the vault is opened: what cannot be served leaves no directory behind.
	r := &running{cmd: c, std: std, level: new(slog.LevelVar), supervisor: supervisor{std.getenv("NOTIFY_SOCKET")}}
	if err := r.level.UnmarshalText([]byte(c.Log)); err != nil {
		return &usageError{"--log-level is debug, info, warn or error"}
	}
	r.log = slog.New(slog.NewJSONHandler(std.Err, &slog.HandlerOptions{Level: r.level}))
	if c.TLSCert != "" {
		if r.certificate, err = loadCertificate(c.TLSCert, c.TLSKey); err != nil {
			return err
		}
		r.certificate.log = r.log
	}
	l, err := listen(c.Listen)
	if err != nil {
		return err
	}
	if c.Metrics != "" {
		if r.scrape, err = listen(c.Metrics); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	if c.Console != "" {
		if r.console, err = listenAt("--console-listen", c.Console); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	v, err := c.open(ctx, c.Data, app.Options{Origin: c.Origin})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	r.vault = v
	v.Sender.Use(mail)
	v.Post.Use(post, c.Rate)
	v.Witness.Use(witnesses)
	if mail != nil {
		v.Admin.Mail = mail
	}
	v.Changes.Patience, v.Changes.Glass = max(c.AlarmPatience, time.Nanosecond), max(c.GlassDelay, time.Minute)
	v.Sender.Allow = allow
	if err := v.SignIn.Use(signIn); err != nil {
		return errors.Join(err, l.Close(), v.Close())
	}
	address := l.Addr().String()
	if r.certificate != nil {
		config := &tls.Config{GetCertificate: r.certificate.get, MinVersion: tls.VersionTLS13}
		l = tls.NewListener(l, config)
		if r.console != nil {
			r.console = tls.NewListener(r.console, config)
		}
	}
	ready := func(own bool) {
		c.greet(std, v, address, r.console)
		role := "serves the API and makes alarms"
		if own {
			role += ", has the socket of the data directory and works on rotations"
		}
		r.log.Info("serving", "address", address, "data", c.Data, "engine", string(v.DB.Engine()), "version", build.Info().Version, "role", role)
		r.tell("READY=1", "STATUS=serving on "+address)
	}
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.signals(ctx, stop)
	}()
	err = serve(ctx, v, r.log, listeners{api: l, scrape: r.scrape, console: r.console}, c.OCSF, ready)
	close(stop)
	<-done
	r.log.Info("stopped")
	return errors.Join(err, v.Close())
}

// checkListen keeps keys and customers off a network without TLS.
func (c *serveCmd) checkListen(flag, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return &usageError{flag + " is HOST:PORT"}
	}
	if ip := net.ParseIP(host); c.TLSCert == "" && (ip == nil || !ip.IsLoopback()) && host != "localhost" {
		return &usageError{"keys and customers would cross the network unencrypted: give --tls-cert and --tls-key, or listen on 127.0.0.1"}
	}
	return nil
}

// checkMetrics keeps the metrics, which need no key, on this machine.
func (c *serveCmd) checkMetrics() error {
	if c.Metrics == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(c.Metrics)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return &usageError{"--metrics-listen is an address of this machine, such as 127.0.0.1:9464: anyone who reaches it needs no key"}
	}
	return nil
}

// running is a server that can be told to read its configuration again.
type running struct {
	cmd         *serveCmd
	std         Streams
	log         *slog.Logger
	level       *slog.LevelVar
	certificate *servedCertificate // nil without TLS
	scrape      net.Listener       // of the metrics; nil for none
	console     net.Listener       // of the console; nil for none
	vault       *app.Vault
	supervisor  supervisor
}

func (r *running) tell(lines ...string) {
	if err := r.supervisor.tell(lines...); err != nil {
		r.log.Warn("the service manager was not told", "cause", err)
	}
}

// signals reloads at every SIGHUP, and says that the server stops when the context ends.
func (r *running) signals(ctx context.Context, stop <-chan struct{}) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-hup:
			r.tell(reloading(monotonic())...)
			if err := r.reload(); err != nil {
				r.log.Error("the configuration was not reloaded: what was in force stays", "cause", err)
			} else {
				r.log.Info("reloaded")
			}
			r.tell("READY=1")
		case <-ctx.Done():
			r.log.Info("draining: running requests have 10 seconds")
			r.tell("STOPPING=1")
			return
		case <-stop:
			return
		}
	}
}

// reload reads the configuration file, the certificate and the mail server's settings again,
// and retries receivers that failed. Where something is wrong, nothing changes.
func (r *running) reload() error {
	next := *r.cmd
	if r.cmd.Config != "" {
		parser, err := newParser(r.std)
		if err != nil {
			return err
		}
		k, err := parser.Parse([]string{"serve", "--config", r.cmd.Config})
		if err != nil {
			return err
		}
		next = *k.Selected().Target.Addr().Interface().(*serveCmd)
	}
	mail, err := next.server()
	if err != nil {
		return err
	}
	post, err := next.post(mail)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	if err := level.UnmarshalText([]byte(next.Log)); err != nil {
		return err
	}
	if r.certificate != nil {
		if err := r.certificate.Reload(); err != nil {
			return err
		}
	}
	for name, changed := range map[string]bool{
		"listen": next.Listen != r.cmd.Listen, "data": next.Data != r.cmd.Data, "database": next.Database != r.cmd.Database,
		"metrics-listen": next.Metrics != r.cmd.Metrics, "console-listen": next.Console != r.cmd.Console, "tls-cert": next.TLSCert != r.cmd.TLSCert, "tls-key": next.TLSKey != r.cmd.TLSKey,
	} {
		if changed && r.cmd.Config != "" && r.fromFile(name) {
			r.log.Warn("this setting changes at the next start", "setting", name)
		}
	}
	r.level.Set(level.Level())
	r.vault.Sender.Use(mail)
	r.vault.Post.Use(post, next.Rate)
	r.vault.Sender.Loop.Wake()
	return nil
}

// fromFile reports whether the configuration file has a setting: what the command line gave
// did not change.
func (r *running) fromFile(name string) bool {
	parser, err := newParser(r.std)
	if err != nil {
		return false
	}
	list, err := readConfig(r.cmd.Config, serveNode(parser.Model))
	_, ok := list[name]
	return err == nil && ok
}

// listen opens the port of the API.
func listen(address string) (net.Listener, error) { return listenAt("--listen", address) }

// listenAt opens the port that a flag names.
func listenAt(flag, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use: stop the program that listens there, or choose another address with %s", address, flag)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("no permission to listen on %s: ports below 1024 need privileges; choose another with %s", address, flag)
	case err != nil:
		return nil, fmt.Errorf("listening: %w", err)
	}
	return l, nil
}

// greet tells the person at the terminal where the vault is and, of a new one, what to do
// now: the log is for machines.
func (c *serveCmd) greet(std Streams, v *app.Vault, address string, console net.Listener) {
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	dir := c.Data
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	fmt.Fprintf(std.Out, "Serving on %s://%s\nData directory %s\n", scheme, address, dir)
	if console != nil {
		fmt.Fprintf(std.Out, "Console on %s\n", consoleAddress(scheme, console))
	}
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

// listeners are where a server answers, beside the socket of its data directory. All but
// the API's may be nil.
type listeners struct{ api, scrape, console net.Listener }

// close closes those that serve nobody after all.
func (l listeners) close() error {
	var errs []error
	for _, x := range []net.Listener{l.api, l.scrape, l.console} {
		if x != nil {
			errs = append(errs, x.Close())
		}
	}
	return errors.Join(errs...)
}

// consoleAddress is what a browser opens. Where the console listens on this machine alone,
// it is localhost: browsers keep a session's cookie without TLS for that name, and passkeys
// are bound to a name and never to a number.
func consoleAddress(scheme string, l net.Listener) string {
	host, port, err := net.SplitHostPort(l.Addr().String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsLoopback() {
		return scheme + "://" + net.JoinHostPort("localhost", port)
	}
	return scheme + "://" + l.Addr().String()
}

// serve answers on the listeners and on the socket of the data directory, and makes
// alarms, until the context ends. It calls ready once all take connections.
func serve(ctx context.Context, v *app.Vault, log *slog.Logger, l listeners, events string, ready func(own bool)) error {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		defer runtime.KeepAlive(make([]byte, headroom))
	}
	s := app.NewServer(v, log)
	pages, err := app.NewConsole(s, log)
	if err != nil {
		return errors.Join(err, l.close())
	}
	begin := func() (*errgroup.Group, context.Context) {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return s.Serve(ctx, l.api) })
		g.Go(func() error { return s.ServeMetrics(ctx, l.scrape) })
		if l.console != nil {
			g.Go(func() error { return pages.Serve(ctx, l.console) })
		}
		g.Go(func() error { return v.Watch(ctx, log, events) })
		return g, ctx
	}
	own, err := v.OwnSocket()
	if err != nil {
		return errors.Join(err, l.close())
	}
	if !own {
		log.Warn("another server has the socket of this data directory, and commands on this machine talk to that one; give each server a directory of its own with --data", "data", v.Dir)
		ready(false)
		g, _ := begin()
		return g.Wait()
	}
	path := filepath.Join(v.Dir, app.SocketFile)
	os.Remove(path) // of a server that was killed; the lock says that none is running
	socket, err := net.Listen("unix", path)
	if err != nil {
		return errors.Join(fmt.Errorf("making the socket: %w", err), l.close())
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("making the socket: %w", err), l.close(), socket.Close())
	}
	ready(true)
	g, ctx := begin()
	g.Go(func() error { return s.Serve(ctx, socket) })
	g.Go(func() error {
		v.Upkeep.Tend(ctx, log)
		return nil
	})
	return g.Wait()
}
