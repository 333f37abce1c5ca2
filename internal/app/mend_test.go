package app_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/db"
)

// What somebody did to the rows of rights is undone from the log: rows that no entry wrote
// go, and those that an entry wrote are as it wrote them. So a vault needs no backup for it.
func TestRowsOfRightsAreMadeAgainFromTheLog(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		c := newCrew(t, h)
		ctx := t.Context()
		dump := func() (out []string) {
			t.Helper()
			for _, sql := range []string{
				`SELECT CAST(id AS text) || name || kind || CAST(created AS text) || CAST(disabled AS text) || country || entity FROM principals ORDER BY id`,
				`SELECT CAST(principal AS text) || ' ' || CAST(brand AS text) || role || CAST(since AS text) FROM roles ORDER BY principal, brand`,
				`SELECT CAST(id AS text) || ' ' || CAST(principal AS text) || ' ' || label || CAST(created AS text) || ' ' || CAST(expires AS text) || ' ' || CAST(revoked AS text) || scope FROM credentials ORDER BY id`,
				`SELECT CAST(brand AS text) || ' ' || CAST(version AS text) || text || CAST(created AS text) FROM policies ORDER BY brand, version`,
				`SELECT CAST(brand AS text) || name || legal_basis || description || CAST(retired AS text) FROM purposes ORDER BY brand, name`,
				`SELECT CAST(id AS text) || ' ' || kind || CAST(target AS text) || role || keep || CAST(ended AS text) || ' ' || CAST(until AS text) FROM containments ORDER BY id`,
				`SELECT CAST(id AS text) || name || title || loyalty || country || CAST(cooling AS text) FROM brands ORDER BY id`,
				`SELECT CAST(brand AS text) || ' ' || CAST(version AS text) || text || CAST(author AS text) || before FROM brand_settings ORDER BY brand, version`,
			} {
				rows, err := c.texts(ctx, sql)
				c.Must(err)
				out = append(out, rows...)
			}
			return out
		}
		_, err := c.Admin.SetSettings(ctx, c.Local, "gucci", api.SettingsChange{Country: new("FR")}, true)
		c.Must(err)
		well := strings.Join(dump(), "\n")
		kinds := map[string]string{
			"principals": `UPDATE principals SET name = 'mallory' WHERE name = 'cora';
DELETE FROM principals WHERE name = 'theo';
INSERT INTO principals (id, name, kind, created, disabled, country, entity) VALUES (900, 'sock', 'person', 1, 0, '', '')`,
			"roles": fmt.Sprintf(`UPDATE roles SET role = 'data-protection-officer' WHERE principal = %d;
DELETE FROM roles WHERE principal = %d;
INSERT INTO roles (principal, brand, role, since) VALUES (%d, 2, 'analyst', 1)`, c.alice.Principal, c.dora.Principal, c.alice.Principal),
			"credentials": fmt.Sprintf(`UPDATE credentials SET revoked = 0 WHERE id = %d;
DELETE FROM credentials WHERE id = %d`, c.theo.Credential, c.dora.Credential),
			"policies": `UPDATE policies SET text = 'permit (principal, action, resource);' WHERE brand = 1;
DELETE FROM policies WHERE brand = 2;
INSERT INTO policies (brand, version, text, created, author) VALUES (1, 99, '', 1, 1)`,
			"purposes": `UPDATE purposes SET legal_basis = 'consent' WHERE brand = 1 AND name = 'analysis';
DELETE FROM purposes WHERE brand = 2 AND name = 'analysis'`,
			"containments": `DELETE FROM containments`,
			"settings":     `UPDATE brands SET cooling = 0 WHERE id = 1`,
			"brand-settings": `DELETE FROM brand_settings WHERE brand = 1;
INSERT INTO brand_settings (brand, version, text, created, author, before) VALUES (1, 99, '{"cooling_days":0}', 1, 1, '')`,
		}
		for table, sql := range kinds {
			c.exec(t, sql)
			dry, err := c.Upkeep.Mend(ctx, c.Local, api.MendRequest{DryRun: true})
			c.Must(err)
			if len(dry.Faults) == 0 || len(dry.Repairs) != len(dry.Faults) || dry.Faults[0].Table != table {
				t.Errorf("%s: a dry run finds %+v", table, dry)
			}
			if strings.Join(dump(), "\n") == well {
				t.Fatalf("%s: the attack did nothing", table)
			}
			done, err := c.Upkeep.Mend(ctx, c.Local, api.MendRequest{})
			c.Must(err)
			if len(done.Repairs) != len(dry.Repairs) {
				t.Errorf("%s: a dry run says %q, and then %q", table, dry.Repairs, done.Repairs)
			}
			if got := strings.Join(dump(), "\n"); got != well {
				t.Errorf("%s: after it the rows are\n%s\nand were\n%s", table, got, well)
			}
			if left, err := c.Upkeep.Mend(ctx, c.Local, api.MendRequest{DryRun: true}); err != nil || len(left.Faults) > 0 {
				t.Errorf("%s: left are %+v, %v", table, left, err)
			}
			c.Must(c.shows(ctx, c.alice))
			if c.shows(ctx, c.cora) == nil {
				t.Errorf("%s: somebody who is contained sees customers", table)
			}
		}
		c.Restart()
		c.Must(c.shows(ctx, c.alice))
		if c.authenticates("theo")(ctx) == nil {
			t.Error("after a start, a revoked key works")
		}
	})
}

// A row whose entry does not hold it any more is named with the reason, and ends where it
// only gave something. What stops somebody stays, and so does what it stops.
func TestARowThatCannotBeMadeAgain(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		c := newCrew(t, h)
		ctx := t.Context()
		// Rows of a restored copy, sealed as they are, by an entry that a later one follows: as
		// if the values of both were erased, none holds a row of this length.
		long := strings.Repeat("x", 60<<10)
		c.exec(t, `UPDATE containments SET alarm = $1`, long)
		c.exec(t, fmt.Sprintf(`UPDATE credentials SET label = $1 WHERE id = %d`, c.dora.Credential), long)
		c.Must(c.Upkeep.ResealRows(ctx))
		c.exec(t, `DELETE FROM containments`)
		c.exec(t, fmt.Sprintf(`UPDATE credentials SET principal = %d WHERE id = %d`, c.alice.Principal, c.dora.Credential))
		out, err := c.Upkeep.Mend(ctx, c.Local, api.MendRequest{})
		c.Must(err)
		if len(out.Faults) != 2 || len(out.Repairs) != 1 || !strings.Contains(out.Repairs[0], "credentials") {
			t.Errorf("%+v", out)
		}
		left, err := c.Upkeep.Check(ctx, c.Local, api.CheckPlace{})
		c.Must(err)
		if len(left.Faults) != 1 || left.Faults[0].Table != "containments" {
			t.Errorf("left are %+v", left.Faults)
		}
		if _, err := c.Disclose.Door.Enter(ctx, c.alice, "gucci"); err == nil && c.shows(ctx, c.alice) == nil {
			t.Error("with a containment missing that cannot be made again, customers are shown")
		}
		if c.authenticates("dora")(ctx) == nil {
			t.Error("a key whose row ended works")
		}
	})
}

// texts reads a column of texts.
func (c *crew) texts(ctx context.Context, sql string) (out []string, err error) {
	err = c.DB.Rows(ctx, func(r db.Row) error {
		var s string
		err := r.Scan(&s)
		out = append(out, s)
		return err
	}, sql)
	return out, err
}
