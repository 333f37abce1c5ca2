package server

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
)

func TestAConnectedApp(t *testing.T) { onEach(t, aConnectedApp) }

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
