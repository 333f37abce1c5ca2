package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Two customers who were seen by one employee compare what they were given. Their proofs
// have nothing in common by which they could tell: not the employee's number, not its
// credential, and not a pseudonym, whatever numbers and keys of their own they try.
func TestCustomersWhoCompareProofsCannotLinkAReader(t *testing.T) {
	ctx := t.Context()
	now := time.Date(2026, 3, 30, 12, 0, 0, 0, time.UTC)
	d := dbtest.SQLite(t, db.Options{Clock: func() time.Time { return now }})
	begin(t, d)
	l := open(t, d)
	setRules(t, l, rules(t, 100))
	const alice, bob = record.Ordinal(3), record.Ordinal(9)
	read := func(principal uint64, ord record.Ordinal) {
		t.Helper()
		if _, err := reveal(t, l, agent(principal, 1_000_000_007), ord); err != nil {
			t.Fatal(err)
		}
	}
	const employee, other = 1_000_003, 1_000_033
	read(employee, alice)
	read(employee, bob)
	read(employee, alice)
	read(other, alice)
	now = now.Add(3 * 24 * time.Hour) // in the next month
	read(employee, alice)
	lines, readers := proofs(t, l, alice, bob)

	switch a := readers[alice]; {
	case a[0] == readers[bob][0]:
		t.Error("two customers know one reader by one pseudonym")
	case a[0] != a[1]:
		t.Error("a customer does not know a reader again")
	case a[0] == a[2]:
		t.Error("a customer knows two readers by one pseudonym")
	case a[0] == a[3]:
		t.Error("a pseudonym is kept for longer than a month")
	}
	// What each holds: the leaf, the pseudonym and the values that are shown.
	held := func(ord record.Ordinal) []byte {
		var all []byte
		for i, d := range lines[ord] {
			p, err := l.Prove(ctx, brand, d, ord, map[record.Ordinal][]byte{ord: logKey(ord)})
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			all = append(append(append(all, d.Leaf...), b...), readers[ord][i][:]...)
			for _, s := range p.Shown {
				if s.Name != entry.ShownAt && s.Name != entry.ShownTicket {
					t.Errorf("a proof shows %s", s.Name)
				}
			}
		}
		return all
	}
	for _, n := range []uint64{employee, other, 1_000_000_007} {
		number := binary.BigEndian.AppendUint32(nil, uint32(n))
		if bytes.Contains(held(alice), number) || bytes.Contains(held(bob), number) {
			t.Errorf("a proof holds the number %d", n)
		}
	}
	// A customer who has the log key tries every number: what stands for a reader needs
	// the vault's key of the month.
	for n := range uint64(employee + 100) {
		if n < 1_000_000 {
			continue
		}
		var guess [16]byte
		binary.BigEndian.PutUint64(guess[8:], n)
		if entry.Pseudonym(logKey(alice), guess) == readers[alice][0] {
			t.Fatalf("the reader is found by trying: %d", n)
		}
	}
	if k, err := l.ring.MonthKey(ctx, brand, keys.Month(lines[alice][0].Entry.At)); err != nil || entry.Pseudonym(logKey(alice), k.Reader(employee)) != readers[alice][0] {
		t.Errorf("the vault does not know its own pseudonym: %v", err)
	}
}

// Whoever changes the pseudonym in a proof is found out, without any secret.
func TestAChangedPseudonymIsFound(t *testing.T) {
	ctx := t.Context()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	setRules(t, l, rules(t, 100))
	if _, err := reveal(t, l, agent(7, 70), 3, 9); err != nil {
		t.Fatal(err)
	}
	vkey, err := l.VerifierKey(ctx, brand)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := l.Checkpoint(ctx, brand)
	if err != nil {
		t.Fatal(err)
	}
	err = l.Concerning(ctx, brand, 3, 0, func(d Disclosure) error {
		p, err := l.Prove(ctx, brand, d, 3, map[record.Ordinal][]byte{3: logKey(3), 9: logKey(9)})
		if err != nil {
			return err
		}
		inclusion, err := l.Inclusion(ctx, brand, d.Index, 2)
		if err != nil {
			return err
		}
		c := evidence.CustomerProof{Brand: brand, Entry: d.Index, Leaf: d.Leaf, Customers: 2, Position: p.Position, Commitment: p.Commitment,
			Inclusion: inclusion, Checkpoint: string(cp), Reader: p.Reader[:], Core: p.Core[:]}
		for _, h := range p.Path {
			c.Path = append(c.Path, h)
		}
		if _, err := c.Verify(vkey); err != nil {
			return err
		}
		c.Reader = bytes.Clone(c.Reader)
		c.Reader[3] ^= 1
		if _, err := c.Verify(vkey); err == nil {
			t.Error("another pseudonym passed")
		}
		if c.Opens(logKey(3), 0) {
			t.Error("another pseudonym opens with the customer's key")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Where the reader works, and to whom a release goes, is among the values.
func TestAnEntryHasWhereTheReaderWorks(t *testing.T) {
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	setRules(t, l, rules(t, 100))
	who := agent(7, 70)
	who.Country, who.Entity = "IT", "Gucci Logistica S.p.A."
	g := grant(t, who)
	h, err := l.Hold(t.Context(), Release{Grant: g, Ords: []record.Ordinal{3}, Recipient: Recipient{"courier", "FR", "Courier SAS"}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Append(t.Context(), h, committing([]record.Ordinal{3}, g.Fields()))
	if err != nil {
		t.Fatal(err)
	}
	e, leaf, err := l.Entry(t.Context(), brand, r.Entry())
	if err != nil || e.Country != "IT" || e.Entity != who.Entity || e.Recipient != "courier" || e.RecipientCountry != "FR" || e.RecipientEntity != "Courier SAS" {
		t.Errorf("%+v, %v", e, err)
	}
	if bytes.Contains(leaf, []byte("Gucci")) || bytes.Contains(leaf, []byte("ourier")) {
		t.Error("the leaf has it in clear")
	}
}
