package ledger

import (
	"bufio"
	"bytes"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/codec"
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

// A stop with an end holds until the database's clock is there, on every server, also on one
// that begins with a snapshot. Nobody has to end it, and no other stop ends with it.
func TestAStopEndsByItself(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	dbtest.Each(t, db.Options{Clock: clock}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		one, two := server(t, d, t.TempDir()), server(t, d, t.TempDir())
		setRules(t, one, rules(t, 1000))
		now, err := d.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		until := func(after time.Duration) time.Time { return now.Add(after).Truncate(time.Second) }
		stop := func(s Stop) {
			t.Helper()
			if owed := one.Stop(t.Context(), agent(1, 1), "", []record.BrandID{brand}, s, soon); len(owed) > 0 {
				t.Fatal("the log did not take it")
			}
		}
		stop(Stop{Cause: "contained", Kind: StopLineage, Target: 70, Until: until(2 * time.Hour)})
		stop(Stop{Cause: "contained", Kind: StopLineage, Target: 80, Until: until(2 * time.Hour)})
		stop(Stop{Cause: "contained", Kind: StopLineage, Target: 80, Until: until(4 * time.Hour)}) // extended
		stop(Stop{Cause: "contained", Kind: StopLineage, Target: 90, Until: until(2 * time.Hour)})
		stop(Stop{Cause: "contained", Kind: StopLineage, Target: 90})
		c, err := one.chain(t.Context(), brand)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.save(t.Context(), c.proj); err != nil {
			t.Fatal(err)
		}
		three := server(t, d, t.TempDir())
		expect := func(when string, stopped ...bool) {
			t.Helper()
			for server, l := range []*Ledger{one, two, three} {
				for i, lineage := range []uint64{70, 80, 90} {
					if _, err := reveal(t, l, agent(lineage/10, lineage), 2); errors.Is(err, ErrStopped) != stopped[i] || !stopped[i] && err != nil {
						t.Errorf("%s, lineage %d, server %d: %v", when, lineage, server, err)
					}
				}
			}
		}
		expect("at once", true, true, true)
		ahead.Add(int64(2*time.Hour + time.Second))
		expect("after two hours", false, true, true)
		ahead.Add(int64(2 * time.Hour))
		expect("after four", false, false, true)
		stop(Stop{Cause: "contained", Kind: StopLineage, Target: 90, Over: true})
		expect("undone", false, false, false)
		ahead.Store(0)
	})
}

// Stops of a snapshot from before there were ends have none.
func TestStopsOfAnOlderSnapshotHaveNoEnd(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	codec.Put(w, 1)
	codec.PutText(w, "lineage.abc.")
	codec.Put(w, 1)
	codec.PutText(w, "contained")
	codec.PutText(w, "masked")
	w.Flush()
	s, err := decodeStops(bufio.NewReader(&b), true)
	if keep := s[stopTarget{kind: StopLineage, tag: "abc"}][stopCause{cause: "contained"}]; err != nil || keep != "masked" {
		t.Errorf("%v, %v", s, err)
	}
}
