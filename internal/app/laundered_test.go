package app_test

import (
	"fmt"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
)

// An act of somebody honest does not write into the log what somebody else changed in the
// database: the row stays void, and is found.
func TestAnActConfirmsNoChangedRow(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		c := newCrew(t, h)
		ctx := t.Context()
		ivan, err := c.Identity.Authenticate(ctx, c.keys["ivan"])
		c.Must(err)
		alice, err := c.Identity.ByName(ctx, "alice")
		c.Must(err)
		theo, err := c.Identity.ByName(ctx, "theo")
		c.Must(err)
		for _, x := range []struct {
			attack
			act     func() error
			refused bool
		}{
			{attack{name: "an end given to a containment", do: `UPDATE containments SET until = 1`, void: "containments",
				undo: `UPDATE containments SET until = 0 WHERE until = 1`}, func() error {
				_, err := c.Contain.Contain(ctx, ivan, "gucci", api.ContainRequest{Principal: "dora"})
				return err
			}, false},
			{attack{name: "a role that is older", do: fmt.Sprintf(`UPDATE roles SET since = 1 WHERE principal = %d`, alice.ID), void: "roles"}, func() error {
				_, err := c.Admin.SetRole(ctx, c.Local, "alice", "gucci", "support-agent")
				return err
			}, true},
			{attack{name: "a key that is not revoked any more", do: fmt.Sprintf(`UPDATE credentials SET revoked = 0 WHERE principal = %d`, theo.ID), void: "credentials"}, func() error {
				_, err := c.Admin.RenewKey(ctx, c.Local, c.theo.Credential)
				return err
			}, true},
		} {
			c.exec(t, x.do)
			if err := x.act(); (err != nil) != x.refused {
				t.Errorf("%s: %v", x.name, err)
			}
			c.names(t, x.attack)
			if x.undo != "" {
				c.exec(t, x.undo)
			}
		}
	})
}
