package app_test

import (
	"context"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// The number of the revision says whether what a server keeps in memory still holds.
// Somebody who writes the database moves it back after each act that takes something away,
// to what another server has seen: that server refuses all the same, because the log says
// that rights changed. It holds after a start, too, and wherever else the number is moved.
func TestAMovedRevisionKeepsNobodyInForce(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		c := newCrew(t, h)
		responder := c.person(t, "rosa", map[string]string{"gucci": access.IncidentResponder})
		people := map[string]identity.Caller{}
		for _, name := range []string{"revoked", "demoted", "dismissed", "stopped", "unlawful"} {
			people[name] = c.person(t, name, map[string]string{"gucci": "support-agent"})
		}
		officer := c.person(t, "olga", map[string]string{"group": access.Administrator})
		other := h.Vault // where the acts are made
		if h.DB.Engine() == db.Postgres {
			other = h.Beside() // a second server
		}
		purpose := "customer-support"
		shows := func(v *app.Vault, name string) error {
			return v.Revisions.Decide(ctx, func(ctx context.Context) error {
				who, err := v.Identity.Authenticate(ctx, c.keys[name])
				if err != nil {
					return err
				}
				_, err = v.Disclose.Reveal(ctx, who, "gucci", api.RevealRequest{Tokens: []string{c.token}, Fields: []string{"email"}, Purpose: purpose, Ticket: "CASE-1"})
				return err
			})
		}
		administers := func(v *app.Vault) error {
			return v.Revisions.Decide(ctx, func(ctx context.Context) error {
				who, err := v.Identity.Authenticate(ctx, c.keys["olga"])
				if err != nil {
					return err
				}
				_, err = v.Admin.CreatePrincipal(ctx, who, api.Principal{Name: "made-by-olga", Kind: "person", Roles: map[string]string{"gucci": "analyst"}})
				return err
			})
		}
		number := func() (n int64) {
			t.Helper()
			c.Must(h.DB.Row(ctx, `SELECT n FROM revisions`).Scan(&n))
			return n
		}
		act := func(name string, take func(v *app.Vault) error, still func(v *app.Vault) error) {
			t.Helper()
			c.Must(shows(h.Vault, "alice")) // what decides it is in memory now
			if name != "the administrator" {
				c.Must(still(h.Vault))
			}
			before := number()
			if err := take(other); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, n := range []int64{before, before - 1, before + 1000, before} {
				c.exec(t, `UPDATE revisions SET n = $1`, n)
				if err := still(h.Vault); err == nil {
					t.Errorf("%s: at the number %d after %d, the first server allows it", name, n, before)
				}
				if err := still(other); err == nil {
					t.Errorf("%s: at the number %d after %d, the second server allows it", name, n, before)
				}
			}
			c.exec(t, `UPDATE revisions SET n = $1`, before+2000)
		}
		can := func(name string) func(v *app.Vault) error {
			return func(v *app.Vault) error { return shows(v, name) }
		}
		act("revoked", func(v *app.Vault) error {
			_, err := v.Admin.Revoke(ctx, c.Local, people["revoked"].Lineage)
			return err
		}, can("revoked"))
		act("demoted", func(v *app.Vault) error {
			_, err := v.Admin.SetRole(ctx, c.Local, "demoted", "gucci", "marketing")
			return err
		}, can("demoted"))
		act("dismissed", func(v *app.Vault) error {
			_, err := v.Admin.SetRole(ctx, c.Local, "dismissed", "gucci", "")
			return err
		}, can("dismissed"))
		act("stopped", func(v *app.Vault) error {
			_, err := v.Contain.Contain(ctx, responder, "gucci", api.ContainRequest{Principal: "stopped"})
			return err
		}, can("stopped"))
		act("the administrator", func(v *app.Vault) error {
			_, err := v.Admin.Revoke(ctx, c.Local, officer.Lineage)
			return err
		}, administers)
		act("unlawful", func(v *app.Vault) error {
			_, err := v.Admin.ApplyPolicy(ctx, c.Local, "gucci", api.Policy{Text: access.DefaultText() + "\nforbid (principal in Role::\"support-agent\", action, resource);"}, true)
			return err
		}, can("unlawful"))
		c.exec(t, `UPDATE revisions SET n = 1`)
		c.Restart()
		for name := range people {
			if err := shows(h.Vault, name); err == nil {
				t.Errorf("after a start at another number, %s sees customers", name)
			}
		}
	})
}
