package app_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Tests{M: m}.Run()) }

// open is a policy under which everybody sees everything.
const openPolicy = `permit (principal, action, resource);`

// crew is who works at the vault that is attacked.
type crew struct {
	*apptest.House
	anna, alice identity.Caller // an administrator, and an agent of gucci
	keys        map[string]identity.Key
	theo        identity.Caller // whose key was revoked
	cora        identity.Caller // who is contained
	token       string
	export      string // asked for by dora, and approved by nobody
	dora        identity.Caller
}

func newCrew(t *testing.T, h *apptest.House) *crew {
	c := &crew{House: h, keys: map[string]identity.Key{}}
	c.anna = c.person(t, "anna", map[string]string{"group": "administrator"})
	c.alice = c.person(t, "alice", map[string]string{"gucci": "support-agent"})
	c.theo = c.person(t, "theo", map[string]string{"gucci": "support-agent"})
	c.cora = c.person(t, "cora", map[string]string{"gucci": "support-agent"})
	c.dora = c.person(t, "dora", map[string]string{"gucci": access.Analyst})
	ines := c.person(t, "ines", map[string]string{"gucci": access.IncidentResponder})
	c.person(t, "ivan", map[string]string{"gucci": access.IncidentResponder})
	c.person(t, "both", map[string]string{"gucci": access.Analyst, "group": "administrator"})
	_, err := h.Admin.Revoke(t.Context(), h.Local, c.theo.Lineage)
	h.Must(err)
	_, err = h.Contain.Contain(t.Context(), ines, "gucci", api.ContainRequest{Lineage: c.cora.Credential})
	h.Must(err)
	var list []api.Fields
	for i := range 12 {
		list = append(list, api.Fields{"external_id": fmt.Sprint("c-", i), "email": fmt.Sprintf("c%d@example.com", i)})
	}
	c.token = h.Put("gucci", list...)[0]
	x, err := h.Exports.Request(t.Context(), c.dora, "gucci", api.ExportRequest{
		Form: "extract", Fields: []string{"country"}, Purpose: "analysis", Filter: &api.ExportFilter{},
		Recipient: "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"})
	h.Must(err)
	for x.State == "gathering" {
		x, err = h.Exports.Gather(t.Context(), c.dora, "gucci", x.ID)
		h.Must(err)
	}
	c.export = x.ID
	return c
}

// person registers somebody and keeps their key.
func (c *crew) person(t *testing.T, name string, roles map[string]string) identity.Caller {
	_, err := c.Admin.CreatePrincipal(t.Context(), c.Local, api.Principal{Name: name, Kind: "person", Roles: roles})
	c.Must(err)
	cr, err := c.Admin.CreateCredential(t.Context(), c.Local, name, api.CredentialRequest{})
	c.Must(err)
	c.keys[name], err = identity.ParseKey(cr.Key)
	c.Must(err)
	caller, err := c.Identity.Authenticate(t.Context(), c.keys[name])
	c.Must(err)
	return caller
}

func (c *crew) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	for i, part := range strings.Split(sql, ";\n") {
		if i > 0 {
			args = nil
		}
		if _, err := c.DB.Exec(t.Context(), part, args...); err != nil {
			t.Fatalf("%s: %v", part, err)
		}
	}
}

// shows asks for a customer in clear.
func (c *crew) shows(ctx context.Context, who identity.Caller) error {
	_, err := c.Disclose.Reveal(ctx, who, "gucci", api.RevealRequest{Tokens: []string{c.token}, Fields: []string{"email"}, Purpose: "customer-support", Ticket: "CASE-1"})
	return err
}

func (c *crew) authenticates(name string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		_, err := c.Identity.Authenticate(ctx, c.keys[name])
		return err
	}
}

// attack is a change of the database by somebody who has no root key.
type attack struct {
	name     string
	do, undo string
	args     []any
	// gains is nil where the attack got what it is for.
	gains func(ctx context.Context) error
	// void is the table of the row that is found.
	void string
}

func (c *crew) attacks(t *testing.T) []attack {
	forged := identity.NewKey()
	c.keys["forged"] = forged
	hash := forged.Hash()
	return []attack{
		{"an inserted credential", `INSERT INTO credentials (id, principal, parent, root, hash, label, created, expires, revoked, scope, keyed) VALUES (900, $1, 0, 900, $2, '', 1, 0, 0, '', 0)`,
			`DELETE FROM credentials WHERE id = 900`, []any{int64(c.anna.Principal), hash[:]}, c.authenticates("forged"), "credentials"},
		{"an inserted principal with a role and a key", `INSERT INTO credentials (id, principal, parent, root, hash, label, created, expires, revoked, scope, keyed) VALUES (900, 900, 0, 900, $1, '', 1, 0, 0, '', 0);
			INSERT INTO principals (id, name, kind, created, disabled, country, entity) VALUES (900, 'mallory', 'person', 1, 0, '', '');
			INSERT INTO roles (principal, brand, role, since) VALUES (900, 0, 'administrator', 1)`,
			"DELETE FROM credentials WHERE id = 900;\nDELETE FROM principals WHERE id = 900;\nDELETE FROM roles WHERE principal = 900", []any{hash[:]}, c.authenticates("forged"), "principals"},
		{"a role made wider", fmt.Sprintf(`UPDATE roles SET role = 'data-protection-officer' WHERE principal = %d`, c.alice.Principal),
			fmt.Sprintf(`UPDATE roles SET role = 'support-agent' WHERE principal = %d`, c.alice.Principal), nil, func(ctx context.Context) error {
				_, err := c.Disclose.Door.Enter(ctx, c.alice, "gucci")
				return err
			}, "roles"},
		{"a role at another brand", fmt.Sprintf(`INSERT INTO roles (principal, brand, role, since) VALUES (%d, 2, 'data-protection-officer', 1)`, c.alice.Principal),
			fmt.Sprintf(`DELETE FROM roles WHERE principal = %d AND brand = 2`, c.alice.Principal), nil, func(ctx context.Context) error {
				_, err := c.Disclose.Door.Enter(ctx, c.alice, "balenciaga")
				return err
			}, "roles"},
		{"a narrow role deleted, so that the group's holds", `DELETE FROM roles WHERE brand = 1 AND principal IN (SELECT id FROM principals WHERE name = 'both')`,
			`INSERT INTO roles (principal, brand, role, since) SELECT id, 1, 'analyst', created FROM principals WHERE name = 'both'`, nil, func(ctx context.Context) error {
				both, err := c.Identity.ByName(ctx, "both")
				if err != nil {
					return err
				}
				_, err = c.Disclose.Door.Enter(ctx, identity.Caller{Principal: both.ID, Name: "both"}, "gucci")
				return err
			}, "roles"},
		{"an inserted policy", `INSERT INTO policies (brand, version, text, created, author) VALUES (1, 99, $1, 1, 1)`,
			`DELETE FROM policies WHERE version = 99`, []any{openPolicy}, func(ctx context.Context) error { return c.policyIs(ctx, openPolicy) }, "policies"},
		{"the text of the policy in force", `UPDATE policies SET text = $1 WHERE brand = 1`,
			`UPDATE policies SET text = $1 WHERE brand = 1`, []any{openPolicy}, func(ctx context.Context) error { return c.policyIs(ctx, openPolicy) }, "policies"},
		{"a revived key", fmt.Sprintf(`UPDATE credentials SET revoked = 0 WHERE id = %d`, c.theo.Credential),
			"", nil, c.authenticates("theo"), "credentials"},
		{"a deleted containment", `DELETE FROM containments`, "", nil, func(ctx context.Context) error { return c.shows(ctx, c.cora) }, "containments"},
		{"an ended containment", `UPDATE containments SET ended = 1, ended_by = 1`, `UPDATE containments SET ended = 0, ended_by = 0`, nil, func(ctx context.Context) error { return c.shows(ctx, c.cora) }, "containments"},
		{"two rows exchanged", fmt.Sprintf(`UPDATE credentials SET principal = CASE id WHEN %d THEN %d ELSE %d END WHERE id IN (%d, %d)`,
			c.alice.Credential, c.anna.Principal, c.alice.Principal, c.alice.Credential, c.anna.Credential),
			fmt.Sprintf(`UPDATE credentials SET principal = CASE id WHEN %d THEN %d ELSE %d END WHERE id IN (%d, %d)`,
				c.alice.Credential, c.alice.Principal, c.anna.Principal, c.alice.Credential, c.anna.Credential), nil, c.authenticates("alice"), "credentials"},
		{"an export approved by hand", fmt.Sprintf(`UPDATE exports SET state = 'approved', decided_by = %d, decided_at = created + 1`, c.anna.Principal),
			`UPDATE exports SET state = 'requested', decided_by = 0, decided_at = 0`, nil, func(ctx context.Context) error {
				_, err := c.Exports.File(ctx, c.dora, "gucci", c.export, 1, "customers")
				return err
			}, "exports"},
	}
}

// names holds that the check of the database names the row.
func (c *crew) names(t *testing.T, x attack) {
	t.Helper()
	out, err := c.Upkeep.Check(t.Context(), c.Local, api.CheckPlace{})
	c.Must(err)
	for _, f := range out.Faults {
		if f.Table == x.void {
			return
		}
	}
	t.Errorf("%s: the check finds %+v", x.name, out.Faults)
}

func (c *crew) policyIs(ctx context.Context, text string) error {
	v, err := c.Disclose.Door.Enter(ctx, c.alice, "gucci")
	if err == nil && v.Policy.Text() != text {
		err = errors.New("another policy is in force")
	}
	return err
}

// What the log did not grant does not exist: not while a server runs, and not after a
// start. What is put back as it was holds again.
func TestWhatTheLogDidNotGrantDoesNotExist(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		c := newCrew(t, h)
		ctx := t.Context()
		c.Must(c.shows(ctx, c.alice))
		for _, x := range c.attacks(t) {
			if x.undo == "" {
				continue
			}
			c.exec(t, x.do, x.args...)
			for _, when := range []string{"while it runs", "after a start"} {
				if err := x.gains(ctx); err == nil {
					t.Errorf("%s: %s, it got what it is for", x.name, when)
				}
				if when == "while it runs" {
					c.names(t, x)
					c.Restart()
				}
			}
			if strings.Contains(x.undo, "$1") {
				c.exec(t, x.undo, access.DefaultText())
			} else {
				c.exec(t, x.undo)
			}
			if err := c.shows(ctx, c.alice); err != nil {
				t.Errorf("%s: as it was, an agent's work ends with %v", x.name, err)
			}
		}
		for _, x := range c.attacks(t) { // those that cannot be taken back
			if x.undo != "" {
				continue
			}
			c.exec(t, x.do, x.args...)
			if err := x.gains(ctx); err == nil {
				t.Errorf("%s: while it runs, it got what it is for", x.name)
			}
			c.Restart()
			if err := x.gains(ctx); err == nil {
				t.Errorf("%s: after a start, it got what it is for", x.name)
			}
		}
	})
}
