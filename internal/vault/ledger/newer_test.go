package ledger

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// newerLeaf makes of a leaf what a newer release writes: an entry of a kind that this
// one does not know, or a leaf of a version that it does not know.
func newerLeaf(t *testing.T, leaf []byte, version, kind uint64, critical bool) []byte {
	t.Helper()
	var m map[uint64]any
	if err := cbor.Unmarshal(leaf, &m); err != nil {
		t.Fatal(err)
	}
	m[0], m[1] = version, kind
	if delete(m, 18); critical {
		m[18] = true
	}
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err == nil {
		leaf, err = enc.Marshal(m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// appendNewer appends such an entry to a log as a server of the newer release does.
func appendNewer(t *testing.T, d *db.DB, version, kind uint64, critical bool) {
	t.Helper()
	ctx := t.Context()
	l := Open(d, keystest.Ring(d), signer, Options{})
	defer l.Close()
	c, err := l.chain(ctx, brand)
	if err != nil {
		t.Fatal(err)
	}
	now, err := d.Now(ctx)
	if err != nil {
		t.Fatal(err)
	}
	e := entry.Entry{Kind: entry.KindAudit, Brand: brand, At: now, Principal: 7}
	leaf, values, err := entry.Marshal(&e, entry.Secret{1})
	if err != nil {
		t.Fatal(err)
	}
	leaf = newerLeaf(t, leaf, version, kind, critical)
	k, err := l.ring.EnsureMonth(ctx, brand, keys.Month(now))
	if err != nil {
		t.Fatal(err)
	}
	tree := c.proj.grow()
	if err := tree.add(leaf); err != nil {
		t.Fatal(err)
	}
	root, err := tree.root()
	if err != nil {
		t.Fatal(err)
	}
	cp, err := sign(c.signer, tree.size, root)
	if err != nil {
		t.Fatal(err)
	}
	first := tree.size - 1
	if _, err := d.Exec(ctx, sqlInsertGroup, int64(brand), first, 1, now.UnixMicro(), appendLeaf(nil, leaf), tree.hashes, appendSubjects(nil, [16]byte{}, nil),
		appendValues(nil, sealValues(k, brand, first, values))); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Exec(ctx, sqlInsertTip, int64(brand), tree.size, now.UnixMicro(), cp); err != nil {
		t.Fatal(err)
	}
}

// A kind that an older server does not know is passed over: the server logs on, and
// says so when the log is verified.
func TestAnUnknownKindIsPassedOver(t *testing.T) {
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		begin(t, d)
		running := open(t, d)
		setRules(t, running, rules(t, 3))
		if _, err := reveal(t, running, agent(7, 70), 1, 2); err != nil {
			t.Fatal(err)
		}
		appendNewer(t, d, entry.Version, 200, false)
		for name, l := range map[string]*Ledger{"the running server": running, "one that starts": open(t, d)} {
			if _, err := reveal(t, l, agent(7, 70), 1); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := reveal(t, l, agent(7, 70), 8, 9); !Refused(err) {
				t.Errorf("%s: the budget gave %v", name, err)
			}
			r, err := l.Verify(ctx, brand, nil)
			if err != nil || r.Newer != 1 || r.Critical != 0 || r.Incomplete() || r.Counts[200] != 1 {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
			var kinds []entry.Kind
			err = l.Scan(ctx, brand, 0, func(_ uint64, e entry.Entry, _ []record.Ordinal) error { kinds = append(kinds, e.Kind); return nil })
			if err != nil || !slices.Contains(kinds, 200) {
				t.Errorf("%s: %v, %v", name, kinds, err)
			}
		}
	})
}

// What moves budgets or rights and is not understood stops an older server: nothing is
// logged any more, and the log is not said to be changed from outside.
func TestACriticalEntryOfANewerVersionStopsTheServer(t *testing.T) {
	for name, newer := range map[string]struct {
		version, kind uint64
		critical      bool
	}{
		"a critical kind":    {entry.Version, 200, true},
		"a leaf of its own":  {entry.Version + 1, uint64(entry.KindAudit), false},
		"budgets of its own": {entry.Version, uint64(entry.KindBudget), true},
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
				ctx := t.Context()
				begin(t, d)
				running := open(t, d)
				setRules(t, running, rules(t, 100))
				appendNewer(t, d, newer.version, newer.kind, newer.critical)
				for name, l := range map[string]*Ledger{"the running server": running, "one that starts": open(t, d)} {
					for range 2 {
						_, err := reveal(t, l, agent(7, 70), 1)
						if !errors.Is(err, entry.ErrNewer) || !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrTampered) {
							t.Errorf("%s: %v", name, err)
						}
					}
					r, err := l.Verify(ctx, brand, nil)
					if err != nil || newer.kind != uint64(entry.KindBudget) && (!r.Incomplete() || r.Newer != 1) {
						t.Errorf("%s: %+v, %v", name, r, err)
					}
				}
				if n, err := running.Size(ctx, brand); err != nil || n != 2 {
					t.Errorf("%d entries, %v", n, err)
				}
			})
		})
	}
}

// A whole month without its key is said to be one, and not a log that was changed: the
// keys of an older backup were restored.
func TestAMissingMonthIsNoForgery(t *testing.T) {
	ctx := t.Context()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	setRules(t, l, rules(t, 100))
	if _, err := reveal(t, l, agent(7, 70), 1); err != nil {
		t.Fatal(err)
	}
	ring := keystest.Ring(d)
	if err := ring.DestroyMonth(ctx, brand, keys.Month(time.Now())); err != nil {
		t.Fatal(err)
	}
	l = open(t, d)
	_, err := reveal(t, l, agent(7, 70), 1)
	if !errors.Is(err, ErrNoMonth) || errors.Is(err, ErrTampered) {
		t.Error(err)
	}
	if _, err := l.Verify(ctx, brand, nil); !errors.Is(err, ErrNoMonth) {
		t.Error(err)
	}
}

// The key of the month after is made with a month's own.
func TestTheNextMonthsKeyIsThere(t *testing.T) {
	d := dbtest.SQLite(t, db.Options{Clock: func() time.Time { return time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC) }})
	begin(t, d)
	l := open(t, d)
	setRules(t, l, rules(t, 100))
	list, err := keystest.Ring(d).List(t.Context(), brand)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(list[0].Version, list[1].Version); got != "202612 202701" {
		t.Error(got)
	}
}
