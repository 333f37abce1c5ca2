package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const brand record.BrandID = 1

// vault is a store with a brand, its log and a policy.
type vault struct {
	*Store
	t   testing.TB
	d   *db.DB
	log *ledger.Ledger
	who identity.Who
	p   *access.Policy

	root *keys.File
}

func newVault(t testing.TB, d *db.DB) *vault {
	t.Helper()
	ctx := t.Context()
	root, err := keys.OpenFile(filepath.Join(t.TempDir(), "root.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	ring := keys.NewRing(d, root)
	signer := func(ctx context.Context, b record.BrandID) (note.Signer, error) {
		s, _, err := ledger.NewSigner(fmt.Sprintf("cloakroom.test/%d", b), slices.Repeat([]byte{byte(b)}, 32))
		return s, err
	}
	for _, b := range []record.BrandID{record.Group, brand, brand + 1} {
		err := d.Tx(ctx, func(q db.Queryer) error {
			if err := ring.Create(ctx, q, b, time.UnixMicro(1)); err != nil {
				return err
			}
			s, err := signer(ctx, b)
			if err != nil {
				return err
			}
			return ledger.Create(ctx, q, b, s, time.UnixMicro(1))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p, err := access.Load(access.DefaultText())
	if err != nil {
		t.Fatal(err)
	}
	v := &vault{New(d, ring), t, d, ledger.Open(d, ring, signer, ledger.Options{}), identity.Who{
		Caller: identity.Caller{Principal: 7, Credential: 7, Lineage: 7}, Role: access.DataProtectionOfficer, Brand: brand,
	}, p, root}
	t.Cleanup(func() { v.log.Close() })
	_, err = v.log.Record(ctx, ledger.Event{Kind: entry.KindBudget, Who: v.who,
		Detail: entry.BudgetRules{Rules: string(budget.DefaultRules().Encode())}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *vault) apply(p *Prepared, err error) error {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	if len(p.Ords()) == 0 {
		return nil
	}
	r, err := v.log.Record(v.t.Context(), ledger.Event{Kind: entry.KindWrite, Who: v.who, Ords: p.Ords(), Commit: p.Commitment(record.AllFields), Fields: record.AllFields})
	if err != nil {
		v.t.Fatal(err)
	}
	return v.Apply(v.t.Context(), r, p)
}

func (v *vault) put(c record.Customer) {
	v.t.Helper()
	if err := v.apply(v.PrepareCustomers(v.t.Context(), brand, []Put{{Set: record.AllFields, Customer: c}})); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vault) read(fields record.FieldSet, ords ...record.Ordinal) ([]Profile, error) {
	v.t.Helper()
	ctx := v.t.Context()
	g, err := v.p.Authorize(v.who, access.ActClear, "data-subject-request", fields)
	if err != nil {
		v.t.Fatal(err)
	}
	u, err := v.Fetch(ctx, brand, ords, fields)
	if err != nil {
		return nil, err
	}
	h, err := v.log.Hold(ctx, ledger.Release{Grant: g, Class: budget.Clear, Ords: u.Ords()})
	if err != nil {
		v.t.Fatal(err)
	}
	r, err := v.log.Append(ctx, h, u.Commitment(fields))
	if err != nil {
		v.t.Fatal(err)
	}
	return v.Open(ctx, opener.Allow(), r, u)
}

func customer(id, name, email string) record.Customer {
	var c record.Customer
	c.Set(record.ExternalID, id)
	c.Set(record.GivenName, name)
	c.Set(record.Email, email)
	c.Set(record.Phone, "+33612345678")
	c.Attributes = map[string]string{"size": "forty-two-and-a-half"}
	return c
}

func purchases(n int) []record.Purchase {
	var out []record.Purchase
	for i := range n {
		out = append(out, record.Purchase{
			ID: fmt.Sprint("o-", i), At: time.Date(2025, 3, 1, 0, i, 0, 0, time.UTC), SKU: "sku-bag", Description: "Handbag Ophidia",
			Quantity: 1, Amount: record.Amount{Units: 129900, Scale: 2}, Currency: "EUR",
		})
	}
	return out
}

func TestWhatIsPutComesBack(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		ctx := t.Context()
		want := customer("C-1", "Zélie-Anonymous", "zelie@example.com")
		v.put(want)
		v.put(customer("C-2", "Other", "other@example.com"))
		for _, n := range []int{1, 40, 41, 75, 75} {
			if err := v.apply(v.PreparePurchases(ctx, brand, []Append{{ExternalID: "C-1", Purchases: purchases(n)}})); err != nil {
				t.Fatal(err)
			}
		}
		ords, err := v.Lookup(ctx, brand, record.Email, "ZELIE@example.COM", "")
		if err != nil || len(ords) != 1 {
			t.Fatalf("found %v, %v", ords, err)
		}
		ps, err := v.read(record.AllFields, ords[0])
		if err != nil {
			t.Fatal(err)
		}
		for f := record.Field(0); f < record.NumColumns; f++ {
			if ps[0].Value(f) != want.Get(f) {
				t.Errorf("%s came back otherwise", f)
			}
		}
		if !maps.Equal(ps[0].Attributes(), want.Attributes) || !slices.EqualFunc(ps[0].Purchases(), purchases(75), func(a, b record.Purchase) bool { return same(&a, &b) }) {
			t.Errorf("attributes or the %d purchases came back otherwise", len(ps[0].Purchases()))
		}
		if got, err := v.Resolve(ctx, brand, []string{ps[0].Token()}); err != nil || got[0] != ords[0] {
			t.Errorf("the token resolves to %v, %v", got, err)
		}
		if _, err := v.Resolve(ctx, brand+1, []string{ps[0].Token()}); !errors.Is(err, ErrUnknownToken) {
			t.Errorf("another brand resolves the token: %v", err)
		}
		ps, err = v.read(record.Fields(record.Email), ords[0])
		if err != nil || ps[0].Value(record.Email) == "" || ps[0].Value(record.GivenName) != "" || ps[0].Purchases() != nil || ps[0].Attributes() != nil {
			t.Errorf("a receipt for the e-mail opened more: %v", err)
		}
	})
}

func TestWritingTwiceChangesNothingAndAChangeMovesTheIndex(t *testing.T) {
	t.Parallel()
	v := newVault(t, dbtest.SQLite(t, db.Options{}))
	ctx := t.Context()
	v.put(customer("C-1", "Ann", "ann@example.com"))
	p, err := v.PrepareCustomers(ctx, brand, []Put{{Set: record.AllFields, Customer: customer("C-1", "Ann", "ann@example.com")}})
	if err != nil || p.Outcome(0) != Unchanged || len(p.Ords()) != 0 {
		t.Fatalf("the same again: %v, %v", p.Outcome(0), err)
	}
	v.put(customer("C-1", "Ann", "ann.b@example.com"))
	if got, _ := v.Lookup(ctx, brand, record.Email, "ann@example.com", ""); len(got) != 0 {
		t.Errorf("the old address still finds %v", got)
	}
	if got, _ := v.Lookup(ctx, brand, record.Email, "ann.b@example.com", ""); len(got) != 1 {
		t.Errorf("the new address finds %v", got)
	}
	if err := v.apply(v.PreparePurchases(ctx, brand, []Append{{ExternalID: "C-1", Purchases: purchases(3)}})); err != nil {
		t.Fatal(err)
	}
	changed := purchases(3)
	changed[1].Quantity = 9
	q, err := v.PreparePurchases(ctx, brand, []Append{{ExternalID: "C-1", Purchases: changed}, {ExternalID: "C-9", Purchases: changed}})
	if err != nil || !slices.Equal(q.Purchases(0), []Outcome{Unchanged, Updated, Unchanged}) || !errors.Is(q.Err(1), ErrNoCustomer) {
		t.Fatalf("%v %v %v", q.Purchases(0), q.Err(1), err)
	}
	if err := v.apply(q, nil); err != nil {
		t.Fatal(err)
	}
	if ps, err := v.read(record.AllFields, 1); err != nil || len(ps[0].Purchases()) != 3 || ps[0].Purchases()[1].Quantity != 9 {
		t.Errorf("after the update: %v", err)
	}
}

func TestTwoWritersConflict(t *testing.T) {
	t.Parallel()
	v := newVault(t, dbtest.SQLite(t, db.Options{}))
	ctx := t.Context()
	v.put(customer("C-1", "Ann", "ann@example.com"))
	for _, id := range []string{"C-1", "C-2"} { // both update, both create
		a, err := v.PrepareCustomers(ctx, brand, []Put{{Set: record.AllFields, Customer: customer(id, "Bea", "bea@example.com")}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := v.PrepareCustomers(ctx, brand, []Put{{Set: record.AllFields, Customer: customer(id, "Cleo", "cleo@example.com")}})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.apply(a, nil); err != nil {
			t.Fatal(err)
		}
		if err := v.apply(b, nil); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: the second writer got %v", id, err)
		}
	}
}

func TestNothingOpensWithoutItsReceipt(t *testing.T) {
	t.Parallel()
	v := newVault(t, dbtest.SQLite(t, db.Options{}))
	ctx := t.Context()
	v.put(customer("C-1", "Ann", "ann@example.com"))
	v.put(customer("C-2", "Bea", "bea@example.com"))
	u, err := v.Fetch(ctx, brand, []record.Ordinal{1}, record.AllFields)
	if err != nil {
		t.Fatal(err)
	}
	other, err := v.Fetch(ctx, brand, []record.Ordinal{2}, record.AllFields)
	if err != nil {
		t.Fatal(err)
	}
	g, _ := v.p.Authorize(v.who, access.ActClear, "migration", record.AllFields)
	h, err := v.log.Hold(ctx, ledger.Release{Grant: g, Class: budget.Clear, Ords: other.Ords()})
	if err != nil {
		t.Fatal(err)
	}
	forOther, err := v.log.Append(ctx, h, other.Commitment(record.AllFields))
	if err != nil {
		t.Fatal(err)
	}
	event, err := v.log.Record(ctx, ledger.Event{Kind: entry.KindAudit, Who: v.who, Ords: u.Ords(), Commit: u.Commitment(0)})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]ledger.Receipt{"none": {}, "another customer's": forOther, "an event's": event} {
		if _, err := v.Open(ctx, opener.Allow(), r, u); !errors.Is(err, ledger.ErrNotLogged) {
			t.Errorf("%s receipt gave %v", name, err)
		}
	}
	g, _ = v.p.Authorize(v.who, access.ActClear, "migration", record.AllFields)
	if h, err = v.log.Hold(ctx, ledger.Release{Grant: g, Class: budget.Clear, Ords: u.Ords()}); err != nil {
		t.Fatal(err)
	}
	own, err := v.log.Append(ctx, h, u.Commitment(record.AllFields))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Open(ctx, opener.Permit{}, own, u); !errors.Is(err, ledger.ErrNotLogged) {
		t.Errorf("a permit that nobody gave opened customers: %v", err)
	}
	if _, err := v.Fetch(ctx, brand+1, []record.Ordinal{1}, 0); !errors.Is(err, ErrUnknownToken) {
		t.Errorf("another brand fetched the customer: %v", err)
	}
}

const (
	sqlTestSwapProfiles = `UPDATE customers SET sealed = (SELECT sealed FROM customers o WHERE o.ord = 3 - customers.ord) WHERE ord IN (1, 2)`
	sqlTestSwapKeys     = `UPDATE customer_keys SET wrapped = (SELECT wrapped FROM customer_keys o WHERE o.ord = 3 - customer_keys.ord) WHERE ord IN (1, 2)`
	sqlTestDropSegment  = `DELETE FROM purchases WHERE ord = 1 AND segment = 1`
	sqlTestSwapSegments = `UPDATE purchases SET sealed = (SELECT sealed FROM purchases o WHERE o.ord = 1 AND o.segment = 1 - purchases.segment) WHERE ord = 1`
	sqlTestReadProfile  = `SELECT sealed FROM customers WHERE ord = 1`
	sqlTestWriteProfile = `UPDATE customers SET sealed = $1 WHERE ord = 1`
)

func TestTamperedRecordsSaySo(t *testing.T) {
	t.Parallel()
	for name, tamper := range map[string]func(t *testing.T, v *vault){
		"profiles swapped": func(t *testing.T, v *vault) { v.exec(sqlTestSwapProfiles) },
		"keys swapped":     func(t *testing.T, v *vault) { v.exec(sqlTestSwapKeys) },
		"a segment gone":   func(t *testing.T, v *vault) { v.exec(sqlTestDropSegment) },
		"segments swapped": func(t *testing.T, v *vault) { v.exec(sqlTestSwapSegments) },
		"a bit flipped": func(t *testing.T, v *vault) {
			b := v.profile()
			b[len(b)/2] ^= 1
			v.exec(sqlTestWriteProfile, b)
		},
		"an old one put back": func(t *testing.T, v *vault) {
			old := v.profile()
			v.put(customer("C-1", "Ann-Marie", "ann@example.com"))
			v.exec(sqlTestWriteProfile, old)
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVault(t, dbtest.SQLite(t, db.Options{}))
			v.put(customer("C-1", "Ann", "ann@example.com"))
			v.put(customer("C-2", "Bea", "bea@example.com"))
			if err := v.apply(v.PreparePurchases(t.Context(), brand, []Append{{ExternalID: "C-1", Purchases: purchases(64)}})); err != nil {
				t.Fatal(err)
			}
			if _, err := v.read(record.AllFields, 1); err != nil {
				t.Fatal(err)
			}
			tamper(t, v)
			if _, err := v.read(record.AllFields, 1); !errors.Is(err, ErrDamaged) {
				t.Errorf("reading gave %v", err)
			}
		})
	}
}

func (v *vault) exec(sql string, args ...any) {
	v.t.Helper()
	if _, err := v.d.Exec(v.t.Context(), sql, args...); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vault) profile() (b []byte) {
	v.t.Helper()
	if err := v.d.Row(v.t.Context(), sqlTestReadProfile).Scan(&b); err != nil {
		v.t.Fatal(err)
	}
	return b
}

func TestAnErasedCustomerIsGoneFromEveryFile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	d, err := db.OpenSQLite(ctx, filepath.Join(dir, "vault.db"), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	v := newVault(t, d)
	v.put(customer("C-1", "Ann", "ann@example.com"))
	if err := v.apply(v.PreparePurchases(ctx, brand, []Append{{ExternalID: "C-1", Purchases: purchases(3)}})); err != nil {
		t.Fatal(err)
	}
	backup := v.profile()
	var wrapped []byte
	if err := d.Row(ctx, sqlTestReadWrapped).Scan(&wrapped); err != nil {
		t.Fatal(err)
	}
	u, err := v.Fetch(ctx, brand, []record.Ordinal{1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := v.log.Record(ctx, ledger.Event{Kind: entry.KindErasure, Who: v.who, Ords: u.Ords(), Commit: u.Commitment(0)})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Erase(ctx, r, 1, func(context.Context, db.Queryer, []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Fetch(ctx, brand, []record.Ordinal{1}, 0); !errors.Is(err, ErrUnknownToken) {
		t.Errorf("the erased customer is found: %v", err)
	}
	for _, f := range []record.Field{record.Email, record.Phone, record.ExternalID} {
		value := map[record.Field]string{record.Email: "ann@example.com", record.Phone: "+33612345678", record.ExternalID: "C-1"}[f]
		if got, err := v.Lookup(ctx, brand, f, value, ""); err != nil || len(got) > 0 {
			t.Errorf("%s still finds %v, %v", f, got, err)
		}
	}
	v.exec(sqlTestUnerase, backup) // the data tables of a backup, beside today's keys
	if _, err := v.Fetch(ctx, brand, []record.Ordinal{1}, 0); !errors.Is(err, ErrUnknownToken) {
		t.Errorf("a backup of the data brought the customer back: %v", err)
	}
	v.log.Close()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, wrapped) {
			t.Errorf("%s still holds the wrapped key", f.Name())
		}
		for _, clear := range []string{"ann@example", "Ann", "Ophidia", "forty-two", "612345678"} {
			if bytes.Contains(b, []byte(clear)) {
				t.Errorf("%s holds %q in clear", f.Name(), clear)
			}
		}
	}
}

const (
	sqlTestReadWrapped = `SELECT wrapped FROM customer_keys WHERE ord = 1`
	sqlTestUnerase     = `UPDATE customers SET sealed = $1, erased = 0 WHERE ord = 1`
)

func TestTokensAreOneToOneAndForgeriesAreRefused(t *testing.T) {
	t.Parallel()
	v := newVault(t, dbtest.SQLite(t, db.Options{}))
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		ord := record.Ordinal(rapid.Uint32Min(1).Draw(t, "ord"))
		token, err := v.Token(ctx, brand, ord)
		if err != nil || len(token) != 30 || !strings.HasPrefix(token, TokenPrefix) {
			t.Fatalf("token of %d letters, %v", len(token), err)
		}
		got, err := v.Resolve(ctx, brand, []string{token})
		if err != nil || got[0] != ord {
			t.Fatalf("%d came back as %v, %v", ord, got, err)
		}
		b := []byte(token)
		i := rapid.IntRange(0, len(b)-1).Draw(t, "i")
		b[i] = rapid.SampledFrom([]byte("abcdefghijklmnopqrstuvwxyz234567=A_ \x00")).Draw(t, "letter")
		if string(b) != token {
			if _, err := v.Resolve(ctx, brand, []string{string(b)}); !errors.Is(err, ErrUnknownToken) {
				t.Fatalf("a changed token gave %v", err)
			}
		}
	})
}
