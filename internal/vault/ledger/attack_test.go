package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	sqlAttackRead    = `SELECT first, count, at, entries, hashes, subjects, vals FROM log_groups WHERE brand = 1 ORDER BY first`
	sqlAttackClear   = `DELETE FROM log_groups WHERE brand = 1`
	sqlAttackInsert  = `INSERT INTO log_groups (brand, first, count, at, entries, hashes, subjects, vals) VALUES (1, $1, $2, $3, $4, $5, $6, $7)`
	sqlAttackTips    = `DELETE FROM log_tips WHERE brand = 1`
	sqlAttackHead    = `INSERT INTO log_tips (brand, size, at, checkpoint) SELECT 1, $1, coalesce(max(at), 0), $2 FROM log_groups WHERE brand = 1`
	sqlAttackDropCps = `DELETE FROM log_checkpoints WHERE brand = 1`
)

// stolen is a log in the hands of somebody who has the database and not the key.
type stolen struct {
	t      *testing.T
	d      *db.DB
	groups []group
}

func steal(t *testing.T, d *db.DB) *stolen {
	t.Helper()
	s := &stolen{t: t, d: d}
	err := d.Rows(t.Context(), func(r db.Row) error {
		var g group
		err := g.scan(r)
		s.groups = append(s.groups, g)
		return err
	}, sqlAttackRead)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stolen) items() []item {
	var out []item
	for i := range s.groups {
		if err := s.groups[i].each(func(it item) error { out = append(out, it); return nil }); err != nil {
			s.t.Fatal(err)
		}
	}
	return out
}

// write puts a log back that is made of these entries, with every hash computed
// anew: the best that can be done without the key.
func (s *stolen) write(items []item, checkpoint []byte) {
	s.t.Helper()
	ctx := s.t.Context()
	p := newProjection()
	if _, err := s.d.Exec(ctx, sqlAttackClear); err != nil {
		s.t.Fatal(err)
	}
	for i, it := range items {
		tree := p.grow()
		if err := tree.add(it.leaf); err != nil {
			s.t.Fatal(err)
		}
		e, err := entry.Unmarshal(it.leaf)
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := s.d.Exec(ctx, sqlAttackInsert, i, 1, e.At.UnixMicro(), appendLeaf(nil, it.leaf), tree.hashes, appendSubjects(nil, it.salt, it.encoded), appendValues(nil, it.values)); err != nil {
			s.t.Fatal(err)
		}
		tree.adopt()
	}
	if checkpoint != nil {
		point(s.t, s.d, uint64(len(items)), checkpoint)
	}
}

// point makes a checkpoint the head of the log.
func point(t *testing.T, d *db.DB, size uint64, checkpoint []byte) {
	t.Helper()
	_, err := d.Exec(t.Context(), sqlAttackTips)
	if err == nil {
		_, err = d.Exec(t.Context(), sqlAttackHead, int64(size), checkpoint)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func changed(t *testing.T, it item, fn func(e *entry.Entry)) item {
	t.Helper()
	e, err := entry.Unmarshal(it.leaf)
	if err != nil {
		t.Fatal(err)
	}
	fn(&e)
	if it.leaf, _, err = entry.Marshal(&e, entry.Secret{}); err != nil {
		t.Fatal(err)
	}
	return it
}

type scene struct {
	*stolen
	items []item
	olden []byte // the checkpoint at 10 entries
	evil  note.Signer
}

func (s *scene) forged() item {
	return changed(s.t, s.items[9], func(e *entry.Entry) { e.At = time.Now().Add(time.Hour) })
}

func (s *scene) root(items []item) tlog.Hash {
	s.t.Helper()
	g := newProjection().grow()
	for _, it := range items {
		if err := g.add(it.leaf); err != nil {
			s.t.Fatal(err)
		}
	}
	h, err := g.root()
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// behindTheHead is an entry that no checkpoint covers: offline it is no part of the
// log, and in the database it stands in the way of the next.
const behindTheHead = "a forged entry behind the head"

// Each attack is made on a copy of one log, and looked for three ways: by the vault's
// own replay, offline from tiles with the public key and an older checkpoint, and by
// the next commit of a server that was running all along.
func TestAttacksOnTheLogAreFound(t *testing.T) {
	t.Parallel()
	for name, attack := range map[string]func(s *scene){
		"an entry edited": func(s *scene) {
			s.items[7] = changed(s.t, s.items[7], func(e *entry.Entry) { e.Role = "analyst" })
			s.write(s.items, nil)
		},
		"a list of customers changed": func(s *scene) {
			s.items[7].encoded = entry.EncodeSubjects([]record.Ordinal{4242})
			s.write(s.items, nil)
		},
		"the values of an entry removed": func(s *scene) {
			s.items[7].values = []byte{valuesErased}
			s.write(s.items, nil)
		},
		"the values of an entry erased before their time": func(s *scene) {
			s.items[7].values = append([]byte{valuesErased}, make([]byte, 16)...)
			s.write(s.items, nil)
		},
		"the values of another entry": func(s *scene) {
			s.items[7].values = s.items[8].values
			s.write(s.items, nil)
		},
		"a byte of the values changed": func(s *scene) {
			s.items[7].values[20] ^= 1
			s.write(s.items, nil)
		},
		"one deleted from the middle": func(s *scene) { s.write(append(s.items[:5:5], s.items[6:]...), nil) },
		"a run deleted":               func(s *scene) { s.write(append(s.items[:5:5], s.items[9:]...), nil) },
		"two runs swapped": func(s *scene) {
			s.write(append(append(append([]item{}, s.items[:4]...), append(s.items[8:12:12], s.items[4:8]...)...), s.items[12:]...), nil)
		},
		"the tail cut":                           func(s *scene) { s.write(s.items[:12], nil) },
		"the tail cut back to an old checkpoint": func(s *scene) { s.write(s.items[:10], s.olden) },
		behindTheHead:                            func(s *scene) { s.write(append(s.items, s.forged()), nil) },
		"a forged entry added, the head with it": func(s *scene) {
			items := append(s.items, s.forged())
			cp, err := sign(s.evil, uint64(len(items)), s.root(items))
			if err != nil {
				s.t.Fatal(err)
			}
			s.write(items, cp)
		},
		"a forged entry without values added, the head with it": func(s *scene) {
			it := changed(s.t, s.items[0], func(e *entry.Entry) { e.Kind, e.Detail, e.At = entry.KindAudit, nil, time.Now().AddDate(0, 0, 1) })
			it.values = []byte{valuesErased}
			items := append(s.items, it)
			cp, err := sign(s.evil, uint64(len(items)), s.root(items))
			if err != nil {
				s.t.Fatal(err)
			}
			s.write(items, cp)
		},
		"replaced by a fresh log under another key": func(s *scene) {
			items := s.items[12:]
			cp, err := sign(s.evil, uint64(len(items)), s.root(items))
			if err != nil {
				s.t.Fatal(err)
			}
			s.write(items, cp)
		},
		"emptied": func(s *scene) {
			empty, _ := tlog.TreeHash(0, nil)
			cp, err := sign(s.evil, 0, empty)
			if err != nil {
				s.t.Fatal(err)
			}
			s.write(nil, cp)
		},
		"emptied, head and all rows gone": func(s *scene) { s.write(nil, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			d := dbtest.SQLite(t, db.Options{})
			begin(t, d)
			running := open(t, d)
			setRules(t, running, rules(t, 1000))
			var older []byte
			for i := range 19 {
				if _, err := reveal(t, running, agent(7, 70), record.Ordinal(i+1), record.Ordinal(i+100)); err != nil {
					t.Fatal(err)
				}
				if n, _ := running.Size(ctx, brand); n == 10 {
					older, _ = running.Checkpoint(ctx, brand)
				}
			}
			kept, err := running.Checkpoint(ctx, brand) // what a stranger keeps
			if err != nil {
				t.Fatal(err)
			}
			if _, err := running.Verify(ctx, brand, kept); err != nil {
				t.Fatalf("before the attack: %v", err)
			}
			if _, err := d.Exec(ctx, sqlAttackDropCps); err != nil {
				t.Fatal(err)
			}
			s := &scene{stolen: steal(t, d), olden: older}
			s.items = s.stolen.items()
			if s.evil, _, err = NewSigner("cloakroom.test/brand", make([]byte, 32)); err != nil {
				t.Fatal(err)
			}
			attack(s)

			if _, err := running.Verify(ctx, brand, kept); err == nil {
				t.Error("the vault's own replay found nothing")
			} else {
				t.Log(err)
			}
			if strings.HasSuffix(name, "the head with it") {
				if _, err := reveal(t, running, agent(7, 70), 500); !errors.Is(err, ErrTampered) {
					t.Errorf("the running server wrote on where nobody had signed: %v", err)
				}
			} else if r, err := reveal(t, running, agent(7, 70), 500); err == nil && !strings.Contains(name, "values") && name != "a list of customers changed" && name != "an entry edited" && r.Valid() {
				// What lies behind a running server's cursor is not read again by it;
				// whoever replays the log finds it.
				if _, err := open(t, d).Verify(ctx, brand, kept); err == nil {
					t.Error("the running server appended, and nobody noticed")
				}
			}
			if strings.Contains(name, "values") || name == "a list of customers changed" || name == behindTheHead {
				return // the tiles hold digests, not lists and values
			}
			dir := t.TempDir()
			if err := writeAnyway(ctx, d, dir); err != nil {
				t.Logf("tiles cannot even be written: %v", err)
				return
			}
			vkey, err := running.VerifierKey(ctx, brand)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := evidence.Verify(ctx, evidence.Dir(dir), vkey, kept, nil); err == nil {
				t.Error("offline, from the tiles, nothing was found")
			}
		})
	}
}

// writeAnyway writes tiles of whatever the database holds, as an attacker would.
func writeAnyway(ctx context.Context, d *db.DB, dir string) error {
	l := Open(d, keystest.Ring(d), signer, Options{})
	defer l.Close()
	size, cp, err := l.head(ctx, brand)
	if err != nil {
		return err
	}
	src := tiles{l, brand, cp}
	for n := uint64(0); n < size; n += torchwood.TileWidth {
		w := int(min(torchwood.TileWidth, size-n))
		for _, level := range []int{-1, 0} {
			path := torchwood.TilePath(tlog.Tile{H: 8, L: level, N: int64(n / torchwood.TileWidth), W: w})
			if err := copyFile(ctx, src, dir, path); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, "checkpoint"), cp, 0o644)
}

func TestTorchwoodReadsOurTiles(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	setRules(t, l, rules(t, 100000))
	const n = 600
	errs := make(chan error, n)
	for i := range n {
		go func() {
			_, err := l.Record(ctx, Event{Kind: entry.KindAdministration, Who: agent(7, 70), Detail: entry.CredentialRenewed{Credential: uint64(i + 1)}})
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if err := l.WriteTiles(ctx, brand, dir, nil); err != nil {
		t.Fatal(err)
	}
	vkey, err := os.ReadFile(filepath.Join(dir, "log.vkey"))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := evidence.Verify(ctx, evidence.Dir(dir), string(vkey), nil, nil); err != nil || r.Size != n+1 {
		t.Fatalf("%+v, %v", r, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	fs, err := torchwood.NewTileFS(root.FS())
	if err != nil {
		t.Fatal(err)
	}
	client, err := torchwood.NewClient(fs)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := fs.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := CheckpointRoot(string(vkey[:len(vkey)-1]), cp)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for i, leaf := range client.AllEntries(ctx, tree, 0) {
		if _, err := entry.Unmarshal(leaf); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		read++
	}
	if err := client.Err(); err != nil || read != n+1 {
		t.Errorf("torchwood read %d of %d entries: %v", read, n+1, err)
	}
	i := rand.Int64N(tree.N)
	leaf, proof, err := client.Entry(ctx, tree, i)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := l.Inclusion(ctx, brand, uint64(i), uint64(tree.N))
	if err != nil || fmt.Sprint(ours) != fmt.Sprint(proof) {
		t.Errorf("our proof of entry %d is not torchwood's: %v", i, err)
	}
	if _, want, _ := l.Entry(ctx, brand, uint64(i)); string(want) != string(leaf) {
		t.Errorf("our entry %d is not torchwood's", i)
	}
}

const (
	sqlTestFull  = `PRAGMA max_page_count = 1`
	sqlTestSpace = `PRAGMA max_page_count = 1073741823`
)

// SQLite answers a limit on its pages as it answers a full disk.
func TestAFullDiskTearsNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	setRules(t, l, rules(t, 1<<20))
	var answered []Receipt
	take := func(n int) (full bool) {
		for i := range n {
			ord := record.Ordinal(len(answered)*1000 + i + 1)
			r, err := reveal(t, l, agent(7, 70), ord)
			if errors.Is(err, ErrUnavailable) {
				return true
			}
			if err != nil {
				t.Fatal(err)
			}
			answered = append(answered, r)
		}
		return false
	}
	take(20)
	if _, err := d.Exec(ctx, sqlTestFull); err != nil {
		t.Fatal(err)
	}
	if !take(20000) {
		t.Fatal("the disk never filled")
	}
	for range 3 {
		if _, err := reveal(t, l, agent(7, 70), 1); !errors.Is(err, ErrUnavailable) {
			t.Errorf("with a full disk: %v", err)
		}
	}
	if _, err := d.Exec(ctx, sqlTestSpace); err != nil {
		t.Fatal(err)
	}
	if take(20) {
		t.Fatal("with space again the log is still not written")
	}
	for _, r := range answered {
		e, _, err := l.Entry(ctx, brand, r.Entry())
		if err != nil || e.Kind != entry.KindDisclosure {
			t.Fatalf("entry %d was answered and is not there: %v", r.Entry(), err)
		}
	}
	if n, err := l.Size(ctx, brand); err != nil || n != uint64(len(answered))+1 {
		t.Errorf("%d entries for %d answers, %v", n, len(answered), err)
	}
	if _, err := l.Verify(ctx, brand, nil); err != nil {
		t.Error(err)
	}
}
