// Package cloakroomtest starts a real vault for the tests of applications: embedded
// database, sealing, policy, budgets and log, all as in production, in a directory
// that is removed with the test.
//
//	v := cloakroomtest.Start(t)
//	v.Brand("gucci")
//	shop := v.Principal("shop", map[string]string{"gucci": "application"})
//	shop.Put(ctx, "gucci", api.PutRequest{...})
//
// [Each] runs a test over every engine that a vault can lie on. For PostgreSQL the
// environment variable CLOAKROOM_TEST_POSTGRES names a server on which databases may be
// created.
package cloakroomtest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// Vault is a vault that serves until the test ends.
type Vault struct {
	// URL is where it serves, on loopback.
	URL string
	// Dir is its data directory.
	Dir string
	// Admin is the local administrator: administers, writes, and sees no customer.
	Admin  *client.Client
	t      testing.TB
	opened *app.Vault

	database string            // its connection string
	keys     map[string]string // of principals by name
}

// Engine makes empty databases of one kind.
type Engine struct {
	// Name is what a test over it is called.
	Name     string
	database func(t testing.TB) string // a connection string; empty is embedded
}

// Embedded is the database in the data directory.
func Embedded() Engine { return Engine{"sqlite", func(testing.TB) string { return "" }} }

// PostgreSQL is a database on the server that CLOAKROOM_TEST_POSTGRES names, dropped
// with the test. Without the variable the test is skipped, and in CI fails.
func PostgreSQL() Engine { return Engine{"postgres", dbtest.DSN} }

// Engines are all that a vault can lie on.
func Engines() []Engine { return []Engine{Embedded(), PostgreSQL()} }

// Each runs a test with a fresh vault on every engine.
func Each(t *testing.T, test func(t *testing.T, v *Vault)) {
	for _, e := range Engines() {
		t.Run(e.Name, func(t *testing.T) { test(t, StartOn(t, e)) })
	}
}

// Start starts a vault on the embedded database.
func Start(t testing.TB) *Vault {
	t.Helper()
	return StartOn(t, Embedded())
}

// StartOn starts a vault on an engine.
func StartOn(t testing.TB, e Engine) *Vault {
	t.Helper()
	return start(t, app.Options{Database: e.database(t)})
}

func start(t testing.TB, o app.Options) *Vault {
	t.Helper()
	v := &Vault{Dir: t.TempDir(), t: t, database: o.Database, keys: map[string]string{}}
	opened, err := app.Open(t.Context(), v.Dir, o)
	if err != nil {
		t.Fatalf("starting a vault: %v", err)
	}
	v.opened = opened
	opened.Changes.Patience = time.Nanosecond // receivers of a test may never take an alarm
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s := app.NewServer(opened, log)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("starting a vault: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- s.Serve(ctx, l) }()
	go func() { done <- opened.Watch(ctx, log, "") }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Errorf("stopping the vault: %v", err)
		}
		if err := opened.Close(); err != nil {
			t.Errorf("closing the vault: %v", err)
		}
	})
	v.URL = "http://" + l.Addr().String()
	v.Admin = client.New("http://vault", "", &http.Client{Transport: s.Local()})
	return v
}

// Brand creates a brand with the default policy, purposes and budgets.
func (v *Vault) Brand(name string) {
	v.t.Helper()
	if _, err := v.Admin.CreateBrand(v.t.Context(), api.Brand{Name: name}); err != nil {
		v.t.Fatalf("creating the brand %s: %v", name, err)
	}
}

// Principal registers a principal with roles by brand and returns its client.
func (v *Vault) Principal(name string, roles map[string]string) *client.Client {
	v.t.Helper()
	ctx := v.t.Context()
	if _, err := v.Admin.CreatePrincipal(ctx, api.Principal{Name: name, Kind: "service", Roles: roles}); err != nil {
		v.t.Fatalf("registering %s: %v", name, err)
	}
	c, err := v.Admin.CreateCredential(ctx, name, api.CredentialRequest{})
	if err != nil {
		v.t.Fatalf("making a key for %s: %v", name, err)
	}
	v.keys[name] = c.Key
	return client.New(v.URL, c.Key, nil)
}
