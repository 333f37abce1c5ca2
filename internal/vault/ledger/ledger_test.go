package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

const brand record.BrandID = 1

func signer(ctx context.Context, b record.BrandID) (note.Signer, error) {
	s, _, err := NewSigner("cloakroom.test/brand", slices.Repeat([]byte{byte(b)}, 32))
	return s, err
}

func logKey(ord record.Ordinal) []byte {
	h := sha256.Sum256([]byte{byte(ord), byte(ord >> 8)})
	return h[:]
}

func committing(ords []record.Ordinal, fields record.FieldSet) Commit {
	return func(i int, c entry.Committed) [32]byte {
		return entry.Commitment(logKey(ords[i]), c)
	}
}

func agent(principal, lineage uint64) identity.Who {
	return identity.Who{
		Caller: identity.Caller{Principal: principal, Credential: lineage, Lineage: lineage},
		Role:   access.SupportAgent, Brand: brand,
	}
}

func grant(t testing.TB, who identity.Who) access.Grant {
	t.Helper()
	p, err := access.Load(access.DefaultText())
	if err != nil {
		t.Fatal(err)
	}
	g, err := p.Authorize(who, access.ActClear, "customer-support", record.Fields(record.Email, record.Phone))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// rules gives each lineage `hour` customers in clear in an hour, and everyone
// else no limit that the tests reach.
func rules(t testing.TB, hour uint32) *budget.Rules {
	t.Helper()
	var list []budget.Rule
	for k := budget.Lineage; k <= budget.Brand; k++ {
		for _, c := range budget.InUse() {
			limit := uint32(1 << 30)
			if k == budget.Lineage {
				limit = hour
			}
			list = append(list, budget.Rule{Kind: k, Class: c, Window: budget.Hour, Limit: limit})
		}
	}
	r, err := budget.NewRules(list)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func begin(t testing.TB, d *db.DB) {
	t.Helper()
	s, err := signer(t.Context(), brand)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Tx(t.Context(), func(q db.Queryer) error { return Create(t.Context(), q, brand, s, time.UnixMicro(1)) })
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, d *db.DB) *Ledger {
	t.Helper()
	return openWith(t, d, Options{})
}

func openWith(t testing.TB, d *db.DB, o Options) *Ledger {
	t.Helper()
	l := Open(d, keystest.Ring(d), signer, o)
	t.Cleanup(func() { l.Close() })
	return l
}

func setRules(t testing.TB, l *Ledger, r *budget.Rules) {
	t.Helper()
	_, err := l.Record(t.Context(), Event{
		Kind: entry.KindBudget, Who: agent(1, 1), Detail: entry.BudgetRules{Rules: string(r.Encode())},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func reveal(t testing.TB, l *Ledger, who identity.Who, ords ...record.Ordinal) (Receipt, error) {
	t.Helper()
	g := grant(t, who)
	h, err := l.Hold(t.Context(), Release{Grant: g, Class: budget.Clear, Ticket: "CASE-1", Ords: ords})
	if err != nil {
		return Receipt{}, err
	}
	return l.Append(t.Context(), h, committing(ords, g.Fields()))
}

func TestAReleaseIsLoggedAndReceipted(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		l := open(t, d)
		setRules(t, l, rules(t, 100))
		ords := []record.Ordinal{3, 9, 70000}
		r, err := reveal(t, l, agent(7, 70), ords...)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Valid() || r.Entry() != 1 || r.CheckpointSize() != 2 || r.Brand() != brand || !r.Covers(9) || r.Covers(4) {
			t.Errorf("receipt %+v", r)
		}
		e, leaf, err := l.Entry(t.Context(), brand, r.Entry())
		if err != nil {
			t.Fatal(err)
		}
		var commitments [][32]byte
		for i := range ords {
			commitments = append(commitments, committing(ords, e.Fields)(i, e.Committed(0)))
		}
		if e.Root != entry.Root(commitments) || e.Principal != 7 || e.Ticket != "CASE-1" || e.Level != "clear" {
			t.Errorf("entry %+v", e)
		}
		cp, err := l.Checkpoint(t.Context(), brand)
		if err != nil {
			t.Fatal(err)
		}
		vkey, err := l.VerifierKey(t.Context(), brand)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := CheckpointRoot(vkey, cp)
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.Inclusion(t.Context(), brand, 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(p, 2, tree.Hash, 1, tlog.RecordHash(leaf)); err != nil {
			t.Error(err)
		}
		if _, err := reveal(t, l, agent(7, 70), 9); err != nil {
			t.Fatal(err)
		}
		var ds []Disclosure
		err = l.Concerning(t.Context(), brand, 9, 0, func(d Disclosure) error {
			ds = append(ds, d)
			return nil
		})
		if err != nil || len(ds) != 2 {
			t.Fatalf("disclosures %+v, %v", ds, err)
		}
		logKeys := map[record.Ordinal][]byte{3: logKey(3), 9: logKey(9)}
		all, size, err := l.Commitments(t.Context(), brand, 0, map[record.Ordinal][]byte{70000: logKey(70000)})
		kept := all[70000]
		if err != nil || size != 3 || len(all) != 1 || len(kept) != 1 {
			t.Fatalf("kept %v of %d entries, %v", all, size, err)
		}
		if _, err := l.Prove(t.Context(), brand, ds[0], 9, logKeys); !errors.Is(err, ErrNoCommitment) {
			t.Errorf("proved without the third customer's key: %v", err)
		}
		bare := ds[0] // what stands for its reader is lost with the key of its month
		bare.Entry.Reader = [16]byte{}
		if p, err := l.Prove(t.Context(), brand, bare, 9, logKeys); !errors.Is(err, ErrValuesErased) || bare.Ords[p.Position] != 9 {
			t.Errorf("without its reader the customer's place is %d: %v", p.Position, err)
		}
		if err := l.Keep(t.Context(), d, brand, 70000, kept); err != nil {
			t.Fatal(err)
		}
		for i, d := range ds {
			p, err := l.Prove(t.Context(), brand, d, 9, logKeys)
			if err != nil {
				t.Fatal(err)
			}
			if p.Commitment != entry.Commitment(logKey(9), d.Entry.Committed(uint32(i))) {
				t.Errorf("release %d does not carry its counter", i)
			}
			if err := entry.VerifyPath(d.Entry.Root, len(d.Ords), p.Position, p.Commitment, p.Path); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestWithoutRulesNothingLeaves(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	var no *budget.NoRuleError
	if _, err := reveal(t, l, agent(7, 70), 1); !errors.As(err, &no) {
		t.Errorf("a brand without budgets gave %v", err)
	}
}

// Requests that all fit alone are held to the budget together, by several servers
// over one database.
func TestConcurrentServersShareOneBudget(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		const limit, servers, each = 100, 3, 120
		var wg sync.WaitGroup
		var mu sync.Mutex
		given := map[record.Ordinal]bool{}
		for s := range servers {
			l := open(t, d)
			if s == 0 {
				setRules(t, l, rules(t, limit))
			}
			for i := range each {
				wg.Go(func() {
					ord := record.Ordinal(s*each + i + 1)
					_, err := reveal(t, l, agent(7, 70), ord)
					var exhausted *budget.ExhaustedError
					switch {
					case err == nil:
						mu.Lock()
						given[ord] = true
						mu.Unlock()
					case !errors.As(err, &exhausted):
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if len(given) != limit {
			t.Errorf("%d customers were given, the budget is %d", len(given), limit)
		}
		logged := map[record.Ordinal]bool{}
		err := open(t, d).Scan(t.Context(), brand, 0, func(_ uint64, e entry.Entry, ords []record.Ordinal) error {
			if e.Kind == entry.KindDisclosure {
				for _, o := range ords {
					logged[o] = true
				}
			}
			return nil
		})
		if err != nil || len(logged) != len(given) {
			t.Errorf("%d customers logged of %d given: %v", len(logged), len(given), err)
		}
	})
}

func TestARestartKeepsWhatWasCounted(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	setRules(t, l, rules(t, 2))
	if _, err := reveal(t, l, agent(7, 70), 1, 2); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = open(t, d)
	var exhausted *budget.ExhaustedError
	if _, err := reveal(t, l, agent(8, 70), 3); !errors.As(err, &exhausted) {
		t.Errorf("a restart gave the budget back: %v", err)
	}
	if _, err := reveal(t, l, agent(7, 70), 1); err != nil {
		t.Errorf("reading again who was read already: %v", err)
	}
}

func TestRefusalsAreLoggedOnceAndCounted(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	for range 50 {
		l.Refused(t.Context(), Refusal{Who: agent(7, 70), Action: "clear", Purpose: "customer-support", Reason: "policy-denied"})
	}
	if n, err := l.Size(t.Context(), brand); n != 1 || err != nil {
		t.Errorf("50 refusals made %d entries, %v", n, err)
	}
	l.Close()
	var times []string
	err := open(t, d).Scan(t.Context(), brand, 0, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
		times = append(times, e.Texts()["times"])
		return nil
	})
	if err != nil || !slices.Equal(times, []string{"1", "49"}) {
		t.Errorf("refusals counted %v, %v", times, err)
	}
}

// Of a request that a budget refuses the log says whose budget it was.
func TestARefusalSaysWhoseBudgetItWas(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	for _, kind := range []budget.HolderKind{budget.Lineage, budget.Principal, budget.Role, budget.Brand} {
		var list []budget.Rule
		for k := budget.Lineage; k <= budget.Brand; k++ {
			limit := uint32(100)
			if k == kind {
				limit = 1
			}
			list = append(list, budget.Rule{Kind: k, Class: budget.Clear, Window: budget.Hour, Limit: limit})
		}
		r, err := budget.NewRules(list)
		if err != nil {
			t.Fatal(err)
		}
		setRules(t, l, r)
		if _, err := reveal(t, l, agent(7, 70), 1, 2); !Refused(err) {
			t.Fatalf("two customers under the %s's budget of one: %v", kind, err)
		}
	}
	l.Close()
	var whose []string
	err := open(t, d).Scan(t.Context(), brand, 0, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
		if e.Kind == entry.KindRefusal {
			whose = append(whose, e.Texts()["budget"])
		}
		return nil
	})
	if err != nil || !slices.Equal(whose, []string{"lineage", "principal", "role", "brand"}) {
		t.Errorf("refused by the budgets of %v, %v", whose, err)
	}
}

const (
	sqlTestReadOnly = `PRAGMA query_only = ON`
	sqlTestRename   = `ALTER TABLE log_groups RENAME TO gone`
	sqlTestBack     = `ALTER TABLE gone RENAME TO log_groups`
)

func TestALogThatCannotBeWrittenRefuses(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	setRules(t, l, rules(t, 100))
	if _, err := d.Exec(t.Context(), sqlTestRename); err != nil {
		t.Fatal(err)
	}
	if r, err := reveal(t, l, agent(7, 70), 1); !errors.Is(err, ErrUnavailable) || r.Valid() {
		t.Errorf("without its table the log gave %v", err)
	}
	if _, err := d.Exec(t.Context(), sqlTestBack); err != nil {
		t.Fatal(err)
	}
	r, err := reveal(t, l, agent(7, 70), 1)
	if err != nil || r.Entry() != 1 {
		t.Errorf("after the table came back: entry %d, %v", r.Entry(), err)
	}
}

func TestAReadOnlyDatabaseRefuses(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	setRules(t, l, rules(t, 100))
	if _, err := d.Exec(t.Context(), sqlTestReadOnly); err != nil {
		t.Fatal(err)
	}
	if r, err := reveal(t, l, agent(7, 70), 1); !errors.Is(err, ErrUnavailable) || r.Valid() {
		t.Errorf("a read-only database gave %v", err)
	}
}

func TestAnUnreadableSigningKeyRefuses(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := Open(d, keystest.Ring(d), func(context.Context, record.BrandID) (note.Signer, error) { return nil, errors.New("no key") }, Options{})
	defer l.Close()
	if _, err := reveal(t, l, agent(7, 70), 1); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without its key the log gave %v", err)
	}
}

func TestZeroReceiptsCoverNothing(t *testing.T) {
	t.Parallel()
	var r Receipt
	if r.Valid() || r.Covers(0) || r.Recorded(0) {
		t.Error("the zero receipt covers a customer")
	}
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	if _, err := open(t, d).Append(t.Context(), Hold{}, committing(nil, 0)); err == nil {
		t.Error("the zero hold was appended")
	}
}
