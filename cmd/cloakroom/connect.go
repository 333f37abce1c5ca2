package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/access"
	"github.com/cloakroom/cloakroom/internal/identity"
	"github.com/cloakroom/cloakroom/internal/server"
	"github.com/cloakroom/cloakroom/internal/vault"
)

// remote is where a verb finds its vault: the flags of every verb that needs one.
type remote struct {
	Data   string `help:"Data directory of the vault on this machine." default:"cloakroom-data" env:"CLOAKROOM_DATA" placeholder:"DIR"`
	Server string `help:"URL of a vault elsewhere; needs a key in CLOAKROOM_KEY." env:"CLOAKROOM_SERVER" placeholder:"URL"`
	JSON   bool   `help:"Print the API's JSON."`
}

// connection is a client and what must be closed after it.
type connection struct {
	*client.Client
	vault *vault.Vault // unless a server has it
	close func() error
}

// caller is who asks, where this process has the vault.
func (c *connection) caller(ctx context.Context) (identity.Caller, error) {
	text := os.Getenv("CLOAKROOM_KEY")
	if text == "" {
		return c.vault.Identity.EnsureLocal(ctx, access.Administrator)
	}
	key, err := identity.ParseKey(text)
	if err != nil {
		return identity.Caller{}, err
	}
	return c.vault.Identity.Authenticate(ctx, key)
}

// connect finds the vault: by URL, else by the socket of the data directory's server,
// else by opening the directory itself. A key in CLOAKROOM_KEY says who asks; on the
// machine itself, without one, it is the local administrator.
func (r *remote) connect(ctx context.Context, std Streams) (*connection, error) {
	key := os.Getenv("CLOAKROOM_KEY")
	if r.Server != "" {
		if key == "" {
			return nil, &usageError{"--server needs a key: put it into the environment variable CLOAKROOM_KEY"}
		}
		return &connection{client.New(r.Server, key, nil), nil, func() error { return nil }}, nil
	}
	socket := filepath.Join(r.Data, vault.SocketFile)
	if c, err := net.Dial("unix", socket); err == nil {
		c.Close()
		t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}
		return &connection{client.New("http://vault", key, &http.Client{Transport: t}), nil, func() error {
			t.CloseIdleConnections()
			return nil
		}}, nil
	}
	if _, err := os.Stat(filepath.Join(r.Data, vault.DatabaseFile)); err != nil {
		return nil, fmt.Errorf("there is no vault in %s: name its directory with --data, make one with `cloakroom serve --data %s`, or try `cloakroom demo`", r.Data, r.Data)
	}
	v, err := vault.Open(ctx, r.Data, vault.Options{})
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", r.Data, err)
	}
	s := server.New(v, quiet(std.Err))
	return &connection{client.New("http://vault", key, &http.Client{Transport: s.Local()}), v, v.Close}, nil
}

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
func ask[T any](ctx context.Context, std Streams, r *remote, method, path string, in any, text func(w io.Writer, out *T)) error {
	return r.with(ctx, std, func(c *connection) error {
		var out T
		if err := c.Do(ctx, method, path, in, &out); err != nil {
			return err
		}
		return r.print(std, out, func(w io.Writer) { text(w, &out) })
	})
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
