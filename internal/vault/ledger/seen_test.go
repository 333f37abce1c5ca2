package ledger

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	sqlTestCutGroups      = `DELETE FROM log_groups WHERE brand = 1 AND first >= $1`
	sqlTestCutCheckpoints = `DELETE FROM log_checkpoints WHERE brand = 1 AND size > $1`
	sqlTestCutSnapshots   = `DELETE FROM log_snapshots WHERE brand = 1 AND size > $1`
	sqlTestRefuse         = `CREATE TRIGGER refused BEFORE INSERT ON log_groups BEGIN SELECT raise(ABORT, 'refused'); END`
	sqlTestTake           = `DROP TRIGGER refused`
	sqlTestSpoilList      = `UPDATE log_groups SET subjects = $2 WHERE brand = 1 AND first = $1`
)

// server is a ledger that keeps what it saw in a directory.
func server(t *testing.T, d *db.DB, dir string) *Ledger {
	t.Helper()
	seen, err := OpenSeen(dir)
	if err != nil {
		t.Fatal(err)
	}
	l := Open(d, keystest.Ring(d), signer, Options{Seen: seen})
	t.Cleanup(func() { l.Close() })
	return l
}

// failOver puts the log back to what a standby had of it.
func failOver(t *testing.T, d *db.DB, size uint64, checkpoint []byte) {
	t.Helper()
	for _, sql := range []string{sqlTestCutGroups, sqlTestCutCheckpoints, sqlTestCutSnapshots} {
		if _, err := d.Exec(t.Context(), sql, int64(size)); err != nil {
			t.Fatal(err)
		}
	}
	point(t, d, size, checkpoint)
}

// busy is a log of ten entries, of which a checkpoint is kept, and ten more.
func busy(t *testing.T, d *db.DB, l *Ledger) (size uint64, checkpoint []byte) {
	t.Helper()
	setRules(t, l, rules(t, 1000))
	for i := range 20 {
		if i == 9 {
			var err error
			if size, checkpoint, err = l.head(t.Context(), brand); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := reveal(t, l, agent(7, 70), record.Ordinal(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	return size, checkpoint
}

// A failover loses entries that were answered. Whoever is started again over what is left
// signs no second history, and says what is missing.
func TestARestartedServerSignsNoSecondHistory(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx, dir := t.Context(), t.TempDir()
		begin(t, d)
		l := server(t, d, dir)
		size, cp := busy(t, d, l)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		failOver(t, d, size, cp)

		again := server(t, d, dir)
		_, err := reveal(t, again, agent(7, 70), 1)
		if !errors.Is(err, ErrShorter) || !errors.Is(err, ErrUnavailable) {
			t.Fatalf("a log of %d entries after one of 21: %v", size, err)
		}
		if n, _, err := again.head(ctx, brand); err != nil || n != size {
			t.Fatalf("the log has %d entries, %v: somebody added to it", n, err)
		}
		faults := again.Faults()
		if len(faults) != 1 || faults[0].Trouble != Shorter || faults[0].Seen != 21 {
			t.Errorf("%+v", faults)
		}

		// Another server, which has not seen more, goes on. The first follows it no more than before.
		other := server(t, d, t.TempDir())
		for i := range 30 {
			if _, err := reveal(t, other, agent(7, 70), record.Ordinal(100+i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		third := server(t, d, dir)
		if _, err := reveal(t, third, agent(7, 70), 1); !errors.Is(err, ErrTampered) {
			t.Fatalf("another history, longer by now: %v", err)
		}
		if faults := third.Faults(); len(faults) != 1 || faults[0].Trouble != Changed {
			t.Errorf("%+v", faults)
		}
	})
}

// A kill leaves no time to write anything down.
func TestAKilledServerHasKeptWhatItAnswered(t *testing.T) {
	t.Parallel()
	d, dir := dbtest.SQLite(t, db.Options{}), t.TempDir()
	begin(t, d)
	busy(t, d, server(t, d, dir)) // which is never closed
	read, err := OpenSeen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if n := read.size(brand); n != 21 {
		t.Errorf("of 21 entries that were answered, %d are kept", n)
	}
	if read.file.Name() == filepath.Join(dir, "0"+seenSuffix) {
		t.Error("two processes share one file")
	}
}

func TestATornCheckpointLeavesTheOneBefore(t *testing.T) {
	t.Parallel()
	d, dir := dbtest.SQLite(t, db.Options{}), t.TempDir()
	begin(t, d)
	l := server(t, d, dir)
	busy(t, d, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "0"+seenSuffix)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(b)/2; i += 37 { // whichever slot it is: one of the two is whole
		torn := append([]byte{}, b...)
		at := 2*int(brand)*seenSlot + i%(2*seenSlot)
		if at >= len(torn) {
			break
		}
		torn[at] ^= 1
		if err := os.WriteFile(name, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		s := &Seen{dir: dir, before: map[record.BrandID][]seenCheckpoint{}, other: map[string]map[record.BrandID]int{}}
		if err := s.read(); err != nil {
			t.Fatal(err)
		}
		if n := s.size(brand); n != 21 && n != 20 {
			t.Fatalf("with byte %d torn: %d entries are kept", at, n)
		}
	}
}

// watched runs Watch until the test ends, and returns what it alarms of.
func watched(t *testing.T, l *Ledger) chan Fault {
	t.Helper()
	out := make(chan Fault, 16)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)
	wg.Go(func() {
		l.Watch(ctx, slog.New(slog.DiscardHandler), func(context.Context) ([]record.BrandID, error) { return []record.BrandID{brand}, nil },
			func(f Fault) { out <- f })
	})
	return out
}

// noticedWithin is far longer than a loaded machine takes.
const noticedWithin = 2 * time.Minute

func wait(t *testing.T, faults chan Fault) Fault {
	t.Helper()
	select {
	case f := <-faults:
		return f
	case <-time.After(noticedWithin):
		t.Fatal("nobody was alarmed")
	}
	return Fault{}
}

// What is done to a log behind the back of a server is noticed without a request.
func TestAServerLooksAfterItsLogs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attack func(t *testing.T, d *db.DB, size uint64, cp []byte)
		want   Trouble
	}{
		"cut": {failOver, Shorter},
		"emptied": {func(t *testing.T, d *db.DB, _ uint64, _ []byte) {
			failOver(t, d, 0, []byte("nothing"))
			if _, err := d.Exec(t.Context(), sqlAttackTips); err != nil {
				t.Fatal(err)
			}
		}, Shorter},
		"a list of customers changed": {func(t *testing.T, d *db.DB, _ uint64, _ []byte) {
			s := steal(t, d)
			g := s.groups[5]
			g.subjects[len(g.subjects)-1] ^= 1
			if _, err := d.Exec(t.Context(), sqlTestSpoilList, int64(g.first), g.subjects); err != nil {
				t.Fatal(err)
			}
		}, Changed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
				begin(t, d)
				l := server(t, d, t.TempDir())
				size, cp := busy(t, d, l)
				c.attack(t, d, size, cp)
				f := wait(t, watched(t, l))
				if f.Trouble != c.want || f.Brand != brand || f.Seen != 21 {
					t.Errorf("%+v", f)
				}
				if _, err := reveal(t, l, agent(7, 70), 1); !errors.Is(err, ErrUnavailable) {
					t.Errorf("the log is %s, and something was released: %v", f.Trouble, err)
				}
			})
		})
	}
}

// A log that cannot be written is alarmed about, and found written again without a request.
func TestALogThatCannotBeWrittenIsNoticed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := server(t, d, t.TempDir())
	l.opts.TroubleAfter = 1
	busy(t, d, l)
	if _, err := d.Exec(ctx, sqlTestRefuse); err != nil {
		t.Fatal(err)
	}
	if _, err := reveal(t, l, agent(7, 70), 1); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	faults := watched(t, l)
	if f := wait(t, faults); f.Trouble != Unwritable {
		t.Errorf("%+v", f)
	}
	if _, err := d.Exec(ctx, sqlTestTake); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); len(l.Faults()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > noticedWithin {
			t.Fatal("the log can be written, and nobody noticed")
		}
	}
	if _, err := reveal(t, l, agent(7, 70), 1); err != nil {
		t.Error(err)
	}
}

// What was kept of a log that is given up stays, as files that people can read.
func TestWhatWasKeptIsPutAsideAsEvidence(t *testing.T) {
	t.Parallel()
	ctx, d, dir := t.Context(), dbtest.SQLite(t, db.Options{}), t.TempDir()
	begin(t, d)
	l := server(t, d, dir)
	size, cp := busy(t, d, l)
	want, err := l.Checkpoint(ctx, brand)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	failOver(t, d, size, cp)
	seen, err := OpenSeen(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := seen.Retire(brand)
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if b, err := os.ReadFile(files[0]); err != nil || string(b) != string(want) || !strings.HasSuffix(files[0], ".checkpoint") {
		t.Errorf("%s: %q, %v", files[0], b, err)
	}
	if err := seen.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := reveal(t, server(t, d, dir), agent(7, 70), 1); err != nil {
		t.Errorf("nothing is held against the log any more: %v", err)
	}
}

// A log that grows while a server reads it is not shorter than what the server's own look
// at its head kept meanwhile.
func TestALogThatGrowsWhileItIsReadIsNotShorter(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	busy(t, d, open(t, d))
	l := server(t, d, t.TempDir())
	c := reading(t, l)
	p, err := c.replay(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reveal(t, open(t, d), agent(7, 70), 3); err != nil {
		t.Fatal(err)
	}
	size, cp, err := l.head(ctx, brand)
	if err != nil || size <= p.size {
		t.Fatalf("%d entries after %d, %v", size, p.size, err)
	}
	if err := l.opts.Seen.note(brand, size, cp); err != nil {
		t.Fatal(err)
	}
	if err := c.holdRead(ctx, p); err != nil || p.size != size {
		t.Errorf("read up to %d of %d: %v", p.size, size, err)
	}
}
