// Package cloakroomtest starts a real vault for the tests of applications: embedded
// database, sealing, policy, budgets and log, all as in production, in a directory
// that is removed with the test.
//
//	v := cloakroomtest.Start(t)
//	v.Brand("gucci")
//	shop := v.Principal("shop", map[string]string{"gucci": "application"})
//	shop.Put(ctx, "gucci", api.PutRequest{...})
package cloakroomtest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/server"
	"github.com/cloakroom/cloakroom/internal/vault"
)

// Vault is a vault that serves until the test ends.
type Vault struct {
	// URL is where it serves, on loopback.
	URL string
	// Dir is its data directory.
	Dir string
	// Admin is the local administrator: administers, writes, and sees no customer.
	Admin *client.Client
	t     testing.TB
}

// Start starts a vault.
func Start(t testing.TB) *Vault {
	t.Helper()
	v := &Vault{Dir: t.TempDir(), t: t}
	opened, err := vault.Open(t.Context(), v.Dir, vault.Options{})
	if err != nil {
		t.Fatalf("starting a vault: %v", err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s := server.New(opened, log)
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
	if err := v.Admin.Do(v.t.Context(), "POST", "/v1/brands", api.Brand{Name: name}, nil); err != nil {
		v.t.Fatalf("creating the brand %s: %v", name, err)
	}
}

// Principal registers a principal with roles by brand and returns its client.
func (v *Vault) Principal(name string, roles map[string]string) *client.Client {
	v.t.Helper()
	ctx := v.t.Context()
	if err := v.Admin.Do(ctx, "POST", "/v1/principals", api.Principal{Name: name, Kind: "service", Roles: roles}, nil); err != nil {
		v.t.Fatalf("registering %s: %v", name, err)
	}
	var c api.Credential
	if err := v.Admin.Do(ctx, "POST", client.Path("principals", name, "credentials"), api.CredentialRequest{}, &c); err != nil {
		v.t.Fatalf("making a key for %s: %v", name, err)
	}
	return client.New(v.URL, c.Key, nil)
}
