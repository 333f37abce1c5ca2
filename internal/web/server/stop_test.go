package server_test

import (
	"strconv"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/db"
)

const (
	sqlTestNodeGone  = `CREATE FUNCTION node_gone() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'a node is gone'; END $$ LANGUAGE plpgsql`
	sqlTestGonePG1   = `CREATE TRIGGER gone BEFORE INSERT OR UPDATE OR DELETE ON revisions FOR EACH STATEMENT EXECUTE FUNCTION node_gone()`
	sqlTestGonePG2   = `CREATE TRIGGER gone BEFORE INSERT OR UPDATE OR DELETE ON containments FOR EACH STATEMENT EXECUTE FUNCTION node_gone()`
	sqlTestGonePG3   = `CREATE TRIGGER gone BEFORE INSERT OR UPDATE OR DELETE ON credentials FOR EACH STATEMENT EXECUTE FUNCTION node_gone()`
	sqlTestGonePG4   = `CREATE TRIGGER gone BEFORE INSERT OR UPDATE OR DELETE ON roles FOR EACH STATEMENT EXECUTE FUNCTION node_gone()`
	sqlTestGoneLite1 = `CREATE TRIGGER gone1 BEFORE UPDATE ON revisions BEGIN SELECT raise(ABORT, 'a node is gone'); END`
	sqlTestGoneLite2 = `CREATE TRIGGER gone2 BEFORE INSERT ON containments BEGIN SELECT raise(ABORT, 'a node is gone'); END`
	sqlTestGoneLite3 = `CREATE TRIGGER gone3 BEFORE UPDATE ON credentials BEGIN SELECT raise(ABORT, 'a node is gone'); END`
	sqlTestGoneLite4 = `CREATE TRIGGER gone4 BEFORE DELETE ON roles BEGIN SELECT raise(ABORT, 'a node is gone'); END`
)

// nodeGone makes the tables that lie on every node of a cluster take no change, as they do
// when one node is down, while every log can be written.
func (h *house) nodeGone() {
	h.t.Helper()
	list := []string{sqlTestGoneLite1, sqlTestGoneLite2, sqlTestGoneLite3, sqlTestGoneLite4}
	if h.vault.DB.Engine() == db.Postgres {
		list = []string{sqlTestNodeGone, sqlTestGonePG1, sqlTestGonePG2, sqlTestGonePG3, sqlTestGonePG4}
	}
	for _, sql := range list {
		if _, err := h.vault.DB.Exec(h.t.Context(), sql); err != nil {
			h.t.Fatal(err)
		}
	}
}

// With a node of the database down, no credential, role or containment can be changed. Each
// stop holds all the same, at once, for everything that can still be released.
func TestAStopNeedsNoMoreThanARelease(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		w, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
		h.must(err)
		reveal := func(c *client.Client) error {
			_, err := c.Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{w.Results[0].Token}, Fields: []string{"email"}, Purpose: "customer-support", Ticket: "T-1"})
			return err
		}
		type thief struct {
			*client.Client
			lineage uint64
		}
		thieves := map[string]thief{}
		for _, name := range []string{"contained", "revoked", "disconnected", "roleless", "honest"} {
			c, cred := h.person(t, "agent-"+name, "person", map[string]string{"gucci": "support-agent"})
			thieves[name] = thief{c, cred.ID}
			h.must(reveal(c))
		}
		h.nodeGone()
		contain := api.ContainRequest{Lineage: thieves["contained"].lineage}
		err = h.as["incident-responder"].Do(ctx, "POST", client.Path("brands", "gucci", "containments"), contain, nil)
		if !isType(err, api.TypePartlyDone) {
			t.Errorf("containing: %v", err)
		}
		if err := h.Do(ctx, "DELETE", client.Path("lineages", strconv.FormatUint(thieves["revoked"].lineage, 10)), nil, nil); !isType(err, api.TypePartlyDone) {
			t.Errorf("revoking: %v", err)
		}
		if err := h.Do(ctx, "DELETE", client.Path("credentials", strconv.FormatUint(thieves["disconnected"].lineage, 10)), nil, nil); !isType(err, api.TypePartlyDone) {
			t.Errorf("disconnecting: %v", err)
		}
		if err := h.Do(ctx, "DELETE", client.Path("principals", "agent-roleless", "roles", "gucci"), nil, nil); !isType(err, api.TypePartlyDone) {
			t.Errorf("taking a role: %v", err)
		}
		for name, c := range thieves {
			err := reveal(c.Client)
			if name == "honest" && err != nil || name != "honest" && !isType(err, api.TypeContained) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
