package ledger

import (
	"errors"
	"os"
	"testing"

	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// anew cuts the log to its first ten entries and begins a new epoch over them on a server
// that kept nothing, given what another has kept. It returns that server.
func anew(t *testing.T, d *db.DB, size uint64, cp []byte, kept ...[]byte) *Ledger {
	t.Helper()
	failOver(t, d, size, cp)
	l := server(t, d, t.TempDir())
	n, err := l.BeginEpoch(t.Context(), identity.Who{Brand: brand}, Beginning{Cause: entry.CauseRestore, By: entry.ByOwner, Kept: kept})
	if err != nil {
		t.Fatal(err)
	}
	if n != 2 {
		t.Fatalf("it is epoch %d", n)
	}
	return l
}

// A new epoch goes on from the entries that are there, under another origin. Whoever keeps
// an older checkpoint finds what they kept in it, or is told what is missing.
func TestANewEpochNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		begin(t, d)
		first := server(t, d, t.TempDir())
		size, cp := busy(t, d, first)
		_, newest, err := first.head(ctx, brand)
		if err != nil {
			t.Fatal(err)
		}
		vkey, err := first.VerifierKey(ctx, brand)
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		l := anew(t, d, size, cp, newest)
		for i := range 5 {
			if _, err := reveal(t, l, agent(7, 70), record.Ordinal(i+1)); err != nil {
				t.Fatal(err)
			}
		}
		verify := func(older []byte) (evidence.Report, error) {
			_, head, err := l.head(ctx, brand)
			if err != nil {
				t.Fatal(err)
			}
			return evidence.Verify(ctx, tiles{l, brand, head}, vkey, older, nil)
		}
		r, err := verify(nil)
		if err != nil || r.Size != size+6 || len(r.Epochs) != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		if e := r.Epochs[0]; e.First != size || e.Missing != 21-size || uint64(e.Kept.Tree.N) != 21 || e.Cause != entry.CauseRestore || e.Origin != r.Origin {
			t.Errorf("%+v", e)
		}
		if r, err = verify(cp); err != nil || r.OlderSize != size || r.Lost != 0 {
			t.Errorf("with a checkpoint of the former epoch: %+v, %v", r, err)
		}
		if r, err = verify(newest); err != nil || r.Lost != 21-size || r.OlderSize != 0 {
			t.Errorf("with one of what is lost: %+v, %v", r, err)
		}
		later, err := l.VerifierKey(ctx, brand)
		if err != nil || later == vkey {
			t.Errorf("the key of the new epoch is %q, %v", later, err)
		}
		if _, err := l.Verify(ctx, brand, nil); err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if again := server(t, d, t.TempDir()); again.Close() != nil {
			t.Fatal("closing")
		}
		last := server(t, d, t.TempDir())
		if _, err := reveal(t, last, agent(7, 70), 3); err != nil {
			t.Errorf("after a start: %v", err)
		}
	})
}

// What no epoch names is found: somebody who holds the key cut more than they say.
func TestALossThatNoEpochNamesIsFound(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	first := server(t, d, t.TempDir())
	size, cp := busy(t, d, first)
	_, newest, err := first.head(t.Context(), brand)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	l := anew(t, d, size, cp)
	if _, err := l.Verify(t.Context(), brand, newest); !errors.Is(err, evidence.ErrShorter) {
		t.Errorf("eleven entries are missing, and nothing says so: %v", err)
	}
}

// A server that has seen entries which a new epoch lacks neither signs nor follows it. It
// alarms, and names the difference.
func TestAServerThatSawMoreDoesNotFollowANewEpoch(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		dir, same := t.TempDir(), t.TempDir()
		before := server(t, d, same) // which closes with what the epoch goes on from
		setRules(t, before, rules(t, 1000))
		for i := range 8 {
			if _, err := reveal(t, before, agent(7, 70), record.Ordinal(i+1)); err != nil {
				t.Fatal(err)
			}
		}
		size, cp, err := before.head(t.Context(), brand)
		if err != nil {
			t.Fatal(err)
		}
		if err := before.Close(); err != nil {
			t.Fatal(err)
		}
		more := server(t, d, dir)
		for i := range 7 {
			if _, err := reveal(t, more, agent(7, 70), record.Ordinal(i+1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := more.Close(); err != nil {
			t.Fatal(err)
		}
		l := anew(t, d, size, cp)
		for i := range 20 { // longer than what was seen
			if _, err := reveal(t, l, agent(7, 70), record.Ordinal(i+1)); err != nil {
				t.Fatal(err)
			}
		}
		again := server(t, d, dir)
		if _, err := reveal(t, again, agent(7, 70), 1); !errors.Is(err, ErrParted) {
			t.Errorf("it follows: %v", err)
		}
		if f := wait(t, watched(t, again)); f.Trouble != Parted || f.Size != size || f.Seen != size+7 {
			t.Errorf("%+v", f)
		}
		files, err := again.Follow(brand)
		if err != nil || len(files) != 1 {
			t.Fatalf("%v, %v", files, err)
		}
		if b, err := os.ReadFile(files[0]); err != nil || sizeOf(b) != size+7 {
			t.Errorf("what it had seen is not kept: %v", err)
		}
		if _, err := reveal(t, again, agent(7, 70), 1); err == nil {
			t.Error("it goes on with what it has in memory")
		}
		if _, err := again.Follow(brand); !errors.Is(err, ErrFollows) {
			t.Errorf("a second time: %v", err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		started := server(t, d, dir)
		if _, err := reveal(t, started, agent(7, 70), 1); err != nil {
			t.Errorf("after its operator confirmed: %v", err)
		}
		if _, err := started.Follow(brand); !errors.Is(err, ErrFollows) {
			t.Errorf("a log that is well: %v", err)
		}
		follows := server(t, d, same)
		if _, err := reveal(t, follows, agent(7, 70), 1); err != nil {
			t.Errorf("a server that saw nothing which is missing: %v", err)
		}
	})
}

// A snapshot has the epochs, so that a start need not read the log from its beginning.
func TestASnapshotHasTheEpochs(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	first := server(t, d, t.TempDir())
	size, cp := busy(t, d, first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	l := anew(t, d, size, cp)
	c, err := l.chain(t.Context(), brand)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p, _, err := c.restore(t.Context()); err != nil || p.size != size+1 || p.epochOf() == "" {
		t.Errorf("%d entries in epoch %q, %v", p.size, p.epochOf(), err)
	}
}
