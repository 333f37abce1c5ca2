package backup_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
)

// What keeps a vault going looks at every customer, and shows none: keys and the index
// are rotated, the database is checked, backed up and restored, with no alarm of a decoy;
// and after each a look at one is one. A restored vault knows the decoys that it has.
func TestUpkeepTouchesNoDecoy(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		ctx := t.Context()
		h, c := newHouse(t, engine, 12), newCustody(t)
		admin := h.as("")
		must(t, admin.Do(ctx, "POST", "/v1/principals", api.Principal{Name: "rhea", Kind: "person", Roles: map[string]string{"gucci": "incident-responder"}}, nil))
		var cred api.Credential
		must(t, admin.Do(ctx, "POST", client.Path("principals", "rhea", "credentials"), api.CredentialRequest{}, &cred))
		h.keys["rhea"] = cred.Key
		canaries := client.Path("brands", "gucci", "canaries")
		listed := func(h *house) (list []api.Canary) {
			t.Helper()
			must(t, h.as("rhea").Do(ctx, "GET", canaries, nil, &list))
			return list
		}
		alarms := func(h *house) int {
			t.Helper()
			var r api.Replayed
			must(t, h.as("rhea").Do(ctx, "POST", client.Path("brands", "gucci", "detection")+"/replay", api.ReplayRequest{}, &r))
			return r.Rules["canary"]
		}
		look := func(h *house, x api.Canary) {
			t.Helper()
			before := alarms(h)
			d, err := h.as("alice").Search(ctx, "gucci", api.SearchRequest{By: "external_id", Value: x.ExternalID, Purpose: "customer-support", Ticket: "CASE-1"})
			must(t, err)
			if len(d.Customers) != 1 || d.Customers[0].Token != x.Token || alarms(h) != before+1 {
				t.Errorf("a search for a decoy found %d customers and raised %d alarms", len(d.Customers), alarms(h)-before)
			}
		}
		must(t, h.as("rhea").Do(ctx, "POST", canaries, api.CanaryRequest{Count: 5, Now: true}, nil))
		list := listed(h)

		tending, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.v.Upkeep.Tend(tending, slog.New(slog.NewTextHandler(io.Discard, nil)))
		}()
		for _, kind := range []string{"kek", "index"} {
			must(t, admin.Do(ctx, "POST", client.Path("brands", "gucci", "keys", kind)+"/rotate", struct{}{}, nil))
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			var all []api.Rotation
			must(t, admin.Do(ctx, "GET", client.Path("brands", "gucci", "rotations"), nil, &all))
			if len(all) == 2 && !slices.ContainsFunc(all, func(r api.Rotation) bool { return r.Ended.IsZero() }) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the keys are not rotated: %+v", all)
			}
		}
		stop()
		<-done
		check := func(h *house) {
			t.Helper()
			for at := (api.CheckPlace{}); ; {
				var out api.Checked
				must(t, h.as("").Do(ctx, "POST", "/v1/check", at, &out))
				if len(out.Faults) > 0 {
					t.Errorf("%+v", out.Faults)
				}
				if at = out.Next; out.Done {
					return
				}
			}
		}
		check(h)
		c.backup(h, "old")
		if n := alarms(h); n != 0 {
			t.Errorf("upkeep raised %d alarms of decoys", n)
		}
		look(h, list[0])
		must(t, h.as("rhea").Do(ctx, "POST", canaries, api.CanaryRequest{Count: 2, Now: true}, nil))
		c.backup(h, "new")
		all := listed(h)
		must(t, h.v.Close())

		restores := map[string][]api.Canary{"old": list, "new": all}
		if engine == "postgres" {
			delete(restores, "new")
		}
		for name, want := range restores {
			r, _ := c.restored(h, c.options(h, engine, name))
			if got := listed(r); !slices.Equal(got, want) {
				t.Errorf("restored from the %s backup, %d decoys are listed and %d were", name, len(got), len(want))
			}
			check(r)
			look(r, want[len(want)-1])
			must(t, r.v.Close())
		}
	})
}
