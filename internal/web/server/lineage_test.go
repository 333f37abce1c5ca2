package server_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

func TestAConnectedApp(t *testing.T) {
	t.Parallel()
	onEach(t, aConnectedApp)
}

// A changed key ends what was signed in with it and nothing that was made through it;
// a revoked lineage ends all.
func aConnectedApp(t *testing.T, h *house) {
	ctx := t.Context()
	agent := h.as["support-agent"]
	var app api.Credential
	h.must(agent.Do(ctx, "POST", "/v1/credentials", api.CredentialRequest{Label: "CRM Loader"}, &app))
	var list []api.Principal
	h.must(h.Do(ctx, "GET", "/v1/principals", nil, &list))
	var own api.Credential
	for _, p := range list {
		if p.Name == "support-agent" {
			own = p.Credentials[0]
		}
	}
	if app.Lineage != own.Lineage || app.ID == own.ID || app.Key == "" {
		t.Fatalf("%+v beside %+v", app, own)
	}
	loader := client.New(h.url, app.Key, nil)
	works := func(c *client.Client) bool {
		_, err := c.Search(ctx, "gucci", api.SearchRequest{By: "email", Value: "a@b.example", Purpose: "customer-support"})
		if err != nil && !isType(err, api.TypeUnauthenticated) {
			t.Fatal(err)
		}
		return err == nil
	}
	if !works(agent) || !works(loader) {
		t.Fatal("one of the two does not work")
	}
	var fresh api.Credential
	h.must(h.Do(ctx, "POST", client.Path("credentials", fmt.Sprint(own.ID), "renew"), nil, &fresh))
	if works(agent) {
		t.Error("the old key works after it was replaced")
	}
	renewed := client.New(h.url, fresh.Key, nil)
	if !works(renewed) || !works(loader) {
		t.Error("a replaced key ended more than itself")
	}
	if err := agent.Do(ctx, "POST", client.Path("credentials", fmt.Sprint(own.ID), "renew"), nil, nil); err == nil {
		t.Error("somebody renewed who may not administer")
	}

	// Connecting goes on while the lineage is revoked: nothing of it works afterwards.
	var wg sync.WaitGroup
	var mu sync.Mutex
	var made []api.Credential
	for range 4 {
		wg.Go(func() {
			for range 10 {
				var c api.Credential
				if err := loader.Do(ctx, "POST", "/v1/credentials", api.CredentialRequest{Label: "more"}, &c); err != nil {
					return
				}
				mu.Lock()
				made = append(made, c)
				mu.Unlock()
			}
		})
	}
	h.must(h.Do(ctx, "DELETE", client.Path("lineages", fmt.Sprint(own.Lineage)), nil, nil))
	wg.Wait()
	for _, c := range append(made, app, fresh) {
		if works(client.New(h.url, c.Key, nil)) {
			t.Errorf("credential %d works after its lineage was revoked", c.ID)
		}
	}
	var local api.Credential
	for _, p := range list {
		if p.Name == "local-administrator" {
			local = p.Credentials[0]
		}
	}
	if err := h.Do(ctx, "POST", client.Path("credentials", fmt.Sprint(local.ID), "renew"), nil, nil); !isType(err, api.TypeNotFound) {
		t.Errorf("a key for the credential that has none: %v", err)
	}
}

func TestDisconnectingAnApp(t *testing.T) {
	t.Parallel()
	onEach(t, disconnectingAnApp)
}

// The holder of a credential, or an administrator, revokes one that was made through it.
// What they did not make stays, and nobody else may.
func disconnectingAnApp(t *testing.T, h *house) {
	ctx := t.Context()
	agent := h.as["support-agent"]
	connect := func(c *client.Client, valid string) api.Credential {
		t.Helper()
		var out api.Credential
		h.must(c.Do(ctx, "POST", "/v1/credentials", api.CredentialRequest{Label: "app", ValidFor: valid}, &out))
		return out
	}
	as := func(c api.Credential) *client.Client { return client.New(h.url, c.Key, nil) }
	works := func(c api.Credential) bool {
		_, err := as(c).Search(ctx, "gucci", api.SearchRequest{By: "email", Value: "a@b.example", Purpose: "customer-support"})
		if err != nil && !isType(err, api.TypeUnauthenticated) {
			t.Fatal(err)
		}
		return err == nil
	}
	day := connect(agent, "24h")
	long := connect(as(day), "720h")
	if day.Expires.IsZero() || !long.Expires.Equal(day.Expires) {
		t.Errorf("a child asked for 720h expires %v, and its parent %v", long.Expires, day.Expires)
	}
	if forever := connect(as(day), ""); !forever.Expires.Equal(day.Expires) {
		t.Errorf("a child without an end expires %v, and its parent %v", forever.Expires, day.Expires)
	}
	other := connect(agent, "")
	if _, err := as(other).RevokeCredential(ctx, day.ID); err == nil {
		t.Error("an app revoked one that it did not make")
	}
	if _, err := h.as["analyst"].RevokeCredential(ctx, day.ID); err == nil {
		t.Error("somebody revoked another's credential")
	}
	if !works(day) || !works(long) {
		t.Fatal("a refused revocation ended a credential")
	}
	if out, err := agent.RevokeCredential(ctx, day.ID); err != nil || out.Revoked != 3 {
		t.Errorf("%+v, %v", out, err)
	}
	if works(day) || works(long) || !works(other) {
		t.Errorf("after revoking one: it works %v, one made through it %v, another %v", works(day), works(long), works(other))
	}
	if _, err := agent.RevokeCredential(ctx, day.ID); !isType(err, api.TypeNotFound) {
		t.Errorf("revoked twice: %v", err)
	}
	if out, err := h.RevokeCredential(ctx, other.ID); err != nil || out.Revoked != 1 || works(other) {
		t.Errorf("by an administrator: %+v, %v", out, err)
	}
	own := connect(agent, "")
	if _, err := as(own).RevokeCredential(ctx, own.ID); err != nil || works(own) {
		t.Errorf("its own: %v", err)
	}
	// A key that makes and revokes without end makes others start over: it is stopped.
	var err error
	for range 40 {
		if _, err = agent.RevokeCredential(ctx, connect(agent, "").ID); err != nil {
			break
		}
	}
	if !isType(err, api.TypeConflict) {
		t.Errorf("revoking without end: %v", err)
	}
	if _, err := h.RevokeCredential(ctx, connect(agent, "").ID); err != nil {
		t.Errorf("an administrator meanwhile: %v", err)
	}
	logged := 0
	h.must(h.vault.Ledger.Scan(ctx, record.Group, 0, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
		if d, ok := e.Detail.(entry.CredentialRevoked); ok && d.Credential == day.ID {
			logged++
		}
		return nil
	}))
	if logged != 1 {
		t.Errorf("%d entries of the revocation", logged)
	}
}
