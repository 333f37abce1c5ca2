package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// backing is what a vault lies on: the flags of every verb that can open one.
type backing struct {
	Database string `help:"PostgreSQL database of the vault, as postgres://USER@HOST/NAME (default: the embedded one). Put a password in the environment variable or ~/.pgpass: other users can read a command line." env:"CLOAKROOM_DATABASE" placeholder:"URL"`
	RootKey  string `help:"File of the root key (default: root.key in the data directory)." env:"CLOAKROOM_ROOT_KEY" placeholder:"FILE"`
	Pool     int    `help:"Maximum number of connections to PostgreSQL." default:"${pool}" placeholder:"N"`
}

// maxPool is more than one PostgreSQL serves well.
const maxPool = 1000

// open opens the vault that the flags name.
func (b *backing) open(ctx context.Context, dir string, o app.Options) (*app.Vault, error) {
	if b.Pool < 1 || b.Pool > maxPool {
		return nil, &usageError{fmt.Sprintf("--pool is 1 to %d", maxPool)}
	}
	o.Database, o.RootKey = b.Database, b.RootKey
	if b.Database != "" {
		o.DB.Readers = b.Pool
	}
	v, err := app.Open(ctx, dir, o)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", b.name(dir), err)
	}
	return v, nil
}

// name names what is opened, without its address: that can hold a password.
func (b *backing) name(dir string) string {
	if b.Database != "" {
		return "the PostgreSQL database"
	}
	return dir
}

// remote is where a verb finds its vault: the flags of every verb that needs one.
type remote struct {
	Data   string `help:"Data directory of the vault on this machine." default:"${data}" env:"CLOAKROOM_DATA" placeholder:"DIR"`
	Server string `help:"Address of a remote vault; needs a key in CLOAKROOM_KEY." env:"CLOAKROOM_SERVER" placeholder:"https://HOST:PORT"`
	Vault  string `help:"Vault that you logged in to." env:"CLOAKROOM_VAULT" placeholder:"NAME"`
	JSON   bool   `help:"Print the API's JSON."`
	backing
}

// forBrand is where and for which brand a verb works.
type forBrand struct {
	remote
	Brand string `help:"Brand name." required:"" placeholder:"NAME"`
}

// connection is a client and what must be closed after it.
type connection struct {
	*client.Client
	close func() error
	vault *app.Vault // where this process opened it
	at    string     // what it is connected to, for people
	key   string     // of who asks, "" for the local administrator
}

// caller is who asks, where this process has the vault.
func (c *connection) caller(ctx context.Context) (identity.Caller, error) {
	if c.key == "" {
		return c.vault.Identity.EnsureLocal(ctx, access.Administrator)
	}
	key, err := identity.ParseKey(c.key)
	if err != nil {
		return identity.Caller{}, err
	}
	return c.vault.Identity.Authenticate(ctx, key)
}

// connect finds the vault: by URL, else in the PostgreSQL database that is named, else
// by the socket of the data directory's server, else by opening the directory itself. A
// key in CLOAKROOM_KEY says who asks; on the machine itself, without one, it is the
// local administrator.
func (r *remote) connect(ctx context.Context, std Streams) (*connection, error) {
	key := std.getenv("CLOAKROOM_KEY")
	server := r.Server
	if r.Vault != "" && server == "" {
		p, err := readProfile(std.getenv, r.Vault)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &usageError{"no login of this name on this machine: cloakroom login NAME --server https://HOST:PORT"}
		}
		if err != nil {
			return nil, err
		}
		server = p.Server
		if key == "" {
			key = p.Key
		}
	}
	if server != "" {
		return r.dial(server, key)
	}
	if r.Database == "" {
		if c := r.socket(key); c != nil {
			return c, nil
		}
		if err := r.here(); err != nil {
			if p, perr := readProfile(std.getenv, defaultProfile); perr == nil && errors.Is(err, errNoVault) && r.Data == defaultData(std.getenv) {
				if key == "" {
					key = p.Key
				}
				return r.dial(p.Server, key)
			}
			return nil, err
		}
	}
	v, err := r.open(ctx, r.Data, app.Options{Begin: app.MustExist})
	if errors.Is(err, app.ErrNoVault) {
		return nil, r.noVault()
	}
	if err != nil {
		return nil, err
	}
	s := app.NewServer(v, quiet(std.Err))
	return &connection{client.New("http://vault", key, &http.Client{Transport: s.Local()}), v.Close, v, r.name(r.Data), key}, nil
}

// dial returns a connection to a server at an address.
func (r *remote) dial(server, key string) (*connection, error) {
	at, err := serverURL(server)
	if err != nil {
		return nil, err
	}
	if key == "" {
		return nil, &usageError{"--server needs a key: put it into the environment variable CLOAKROOM_KEY, or cloakroom login"}
	}
	return &connection{Client: client.New(at, key, nil), at: at, close: func() error { return nil }}, nil
}

// errNoVault is the cause where a place holds no vault.
var errNoVault = errors.New("no vault")

// here says why the directory cannot be opened, of what can be known before: another user's
// vault is not one that is missing.
func (r *remote) here() error {
	socket := filepath.Join(r.Data, app.SocketFile)
	_, err := os.Stat(filepath.Join(r.Data, app.DatabaseFile))
	if err == nil {
		f, operr := os.Open(filepath.Join(r.Data, app.DatabaseFile))
		if operr == nil {
			return f.Close()
		}
		err = operr
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("permission denied: %s belongs to another user of this machine; run the command as that user, or ask its server with --server", r.Data)
	}
	if _, serr := os.Stat(socket); errors.Is(serr, fs.ErrPermission) {
		return fmt.Errorf("permission denied: the socket in %s is another user's; run the command as that user, or ask its server with --server", r.Data)
	}
	return r.noVault()
}

// socket connects to the server of the data directory. It returns nil where none runs.
func (r *remote) socket(key string) *connection {
	socket := filepath.Join(r.Data, app.SocketFile)
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil
	}
	c.Close()
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	return &connection{Client: client.New("http://vault", key, &http.Client{Transport: t}), at: r.Data, close: func() error {
		t.CloseIdleConnections()
		return nil
	}}
}

// rootKeyFile is where the root key of a vault of this machine is.
func (r *remote) rootKeyFile() string {
	if r.RootKey != "" {
		return r.RootKey
	}
	return filepath.Join(r.Data, app.RootKeyFile)
}

// noVault says what to do where no vault is. A root key, or checkpoints, are the remains of
// one: then the advice is never to begin another.
func (r *remote) noVault() error {
	for _, remains := range []string{r.rootKeyFile(), filepath.Join(r.Data, app.SeenDir)} {
		if _, err := os.Stat(remains); err == nil {
			return app.ErrEmptied
		}
	}
	if r.Database != "" {
		return errors.New("there is no vault in the PostgreSQL database: name another with --database, or begin one there with `cloakroom serve --database`")
	}
	return &noVaultError{fmt.Sprintf("there is no vault in %s: name its directory with --data, or its PostgreSQL database with --database; make one with `cloakroom serve --data %s`, or try `cloakroom demo`", r.Data, r.Data)}
}

// noVaultError says where there is no vault, and what to do.
type noVaultError struct{ text string }

// Error returns the text.
func (e *noVaultError) Error() string { return e.text }

// Unwrap returns errNoVault.
func (e *noVaultError) Unwrap() error { return errNoVault }

// quiet logs what went wrong and nothing else.
func quiet(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelError}))
}

// with connects, runs fn and closes.
func (r *remote) with(ctx context.Context, std Streams, fn func(c *connection) error) error {
	c, err := r.connect(ctx, std)
	if err != nil {
		return err
	}
	return errors.Join(fn(c), c.close())
}

// ask sends one request and prints the answer: as JSON, or as text does.
func ask[T any](ctx context.Context, std Streams, r *remote, call func(v *connection) (T, error), text func(w io.Writer, out T)) error {
	return r.with(ctx, std, func(v *connection) error {
		out, err := call(v)
		if err != nil {
			return err
		}
		return r.print(std, out, func(w io.Writer) { text(w, out) })
	})
}

// makes is the flag of every verb that makes what has a key or an id.
type makes struct {
	Quiet bool `short:"q" help:"Print only the key or id of what was made, for scripts."`
}

// printMade is print for such a verb.
func (m *makes) printMade(std Streams, r *remote, made string, v any, text func(w io.Writer)) error {
	if m.Quiet && r.JSON {
		return &usageError{"--quiet and --json do not go together"}
	}
	if m.Quiet {
		fmt.Fprintln(std.Out, made)
		return nil
	}
	return r.print(std, v, text)
}

func (r *remote) print(std Streams, v any, text func(w io.Writer)) error {
	if !r.JSON {
		text(std.Out)
		return nil
	}
	e := json.NewEncoder(std.Out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
