package ledger

import (
	"errors"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	sqlTestPostgresRefuse = `CREATE FUNCTION refused() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$ LANGUAGE plpgsql`
	sqlTestPostgresOn     = `CREATE TRIGGER refused BEFORE INSERT ON log_groups FOR EACH ROW EXECUTE FUNCTION refused()`
	sqlTestPostgresTake   = `DROP TRIGGER refused ON log_groups`
)

// unreachable makes a database take no entry until the function that it returns is called.
func unreachable(t *testing.T, d *db.DB) (back func()) {
	t.Helper()
	on, off := []string{sqlTestRefuse}, sqlTestTake
	if d.Engine() == db.Postgres {
		on, off = []string{sqlTestPostgresRefuse, sqlTestPostgresOn}, sqlTestPostgresTake
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := d.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, sql := range on {
		exec(sql)
	}
	return func() { exec(off) }
}

const soon = time.Minute

// A stop is an entry. Every server obeys it under the lock, whatever its own rows say.
func TestEveryServerObeysAStopOfTheLog(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		one, two := server(t, d, t.TempDir()), server(t, d, t.TempDir())
		setRules(t, one, rules(t, 1000))
		thief := agent(7, 70)
		for _, l := range []*Ledger{one, two} {
			if _, err := reveal(t, l, thief, 1); err != nil {
				t.Fatal(err)
			}
		}
		thief.Credential = 71 // made through the lineage
		for name, s := range map[string]Stop{
			"lineage":    {Cause: "revoked", Kind: StopLineage, Target: 70},
			"principal":  {Cause: "contained", Kind: StopPrincipal, Target: 7},
			"credential": {Cause: "revoked", Kind: StopCredential, Target: 71},
			"role":       {Cause: "contained", Kind: StopRole, Role: thief.Role, Keep: "masked"},
			"role of":    {Cause: "role-taken", Kind: StopRoleOf, Target: 7, Role: thief.Role},
			"brand":      {Cause: "contained", Kind: StopBrand, Keep: "tokens"},
		} {
			if owed := one.Stop(t.Context(), agent(1, 1), "", []record.BrandID{brand}, s, soon); len(owed) > 0 {
				t.Fatalf("%s: the log did not take it", name)
			}
			if _, err := reveal(t, two, thief, 2); !errors.Is(err, ErrStopped) {
				t.Errorf("%s: stopped on one server, and the other: %v", name, err)
			}
			if _, err := reveal(t, one, agent(8, 80), 3); s.Target != 0 && err != nil {
				t.Errorf("%s: somebody else: %v", name, err)
			}
			s.Over = true
			one.Stop(t.Context(), agent(1, 1), "", []record.BrandID{brand}, s, soon)
			if _, err := reveal(t, two, thief, 2); err != nil {
				t.Errorf("%s: it has ended: %v", name, err)
			}
		}
	})
}

// Two causes stop one target: when one ends the other still stops it.
func TestAStopEndsForItsCauseAlone(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := server(t, d, t.TempDir())
	setRules(t, l, rules(t, 1000))
	for _, s := range []Stop{
		{Cause: "revoked", Kind: StopLineage, Target: 70}, {Cause: "contained", Kind: StopLineage, Target: 70},
		{Cause: "contained", Kind: StopLineage, Target: 70, Over: true},
	} {
		l.Stop(t.Context(), agent(1, 1), "", []record.BrandID{brand}, s, soon)
	}
	if _, err := reveal(t, l, agent(7, 70), 2); !errors.Is(err, ErrStopped) {
		t.Errorf("revoked: %v", err)
	}
	c, err := l.chain(t.Context(), brand)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.save(t.Context(), c.proj); err != nil {
		t.Fatal(err)
	}
	if _, err := reveal(t, server(t, d, t.TempDir()), agent(7, 70), 2); !errors.Is(err, ErrStopped) {
		t.Errorf("from a snapshot: %v", err)
	}
}

// A log that did not take a stop gets it before anything else, also from a server that was
// killed in between. Until then nothing is released.
func TestAnOwedStopIsWrittenBeforeTheNextRelease(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
			dir := t.TempDir()
			begin(t, d)
			l := server(t, d, dir)
			setRules(t, l, rules(t, 1000))
			if _, err := reveal(t, l, agent(7, 70), 1); err != nil {
				t.Fatal(err)
			}
			back := unreachable(t, d)
			s := Stop{Cause: "contained", Kind: StopLineage, Target: 70}
			if owed := l.Stop(t.Context(), agent(1, 1), "", []record.BrandID{brand}, s, soon); len(owed) != 1 || l.Owed() != 1 {
				t.Fatal("the log took an entry that it cannot have taken")
			}
			if _, err := reveal(t, l, agent(8, 80), 1); !errors.Is(err, ErrUnavailable) {
				t.Errorf("the stop is not in the log, and something is released: %v", err)
			}
			back()
			if killed {
				l = server(t, d, dir)
			}
			if _, err := reveal(t, l, agent(7, 70), 1); !errors.Is(err, ErrStopped) {
				t.Errorf("released before the stop was written: %v", err)
			}
			if _, err := reveal(t, l, agent(8, 80), 1); err != nil || l.Owed() != 0 {
				t.Errorf("%d owed, %v", l.Owed(), err)
			}
		})
	}
}
