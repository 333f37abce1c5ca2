package seal

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// A filter opens nobody without an export's entry that names the fields it looks at.
func TestAFilterNeedsItsEntry(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		var c record.Customer
		c.Set(record.ExternalID, "C-1")
		c.Set(record.Country, "FR")
		v.put(c)
		f := &Filter{Countries: []string{"FR"}}
		receipt := func(kind entry.Kind, fields record.FieldSet) ledger.Receipt {
			r, err := v.log.Record(t.Context(), ledger.Event{Kind: kind, Who: v.who, Fields: fields})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		for what, r := range map[string]ledger.Receipt{
			"no entry":                  {},
			"an entry of another kind":  receipt(entry.KindAdministration, f.Fields()),
			"an entry of another field": receipt(entry.KindExport, record.Fields(record.Region)),
		} {
			if got, _, err := v.Match(t.Context(), r, 0, record.FirstNobody, 10, f); !errors.Is(err, ledger.ErrNotLogged) || got != nil {
				t.Errorf("%s: %v, %v", what, got, err)
			}
		}
		got, last, err := v.Match(t.Context(), receipt(entry.KindExport, f.Fields()), 0, record.FirstNobody, 10, f)
		if err != nil || len(got) != 1 || last != 0 {
			t.Errorf("%v, %d, %v", got, last, err)
		}
	})
}

// What belongs to one export opens and names nothing of another.
func TestExtractsHaveNothingInCommon(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		if err := v.EnsureExtracts(t.Context(), brand); err != nil {
			t.Fatal(err)
		}
		if err := v.EnsureExtracts(t.Context(), brand); err != nil {
			t.Fatal(err)
		}
		var xs []*Extract
		for _, id := range []string{"exp-a", "exp-b"} {
			x, err := v.Extract(t.Context(), brand, id)
			if err != nil {
				t.Fatal(err)
			}
			xs = append(xs, x)
		}
		a, b := xs[0], xs[1]
		if a.Pseudonym(7) == b.Pseudonym(7) || a.Purchase(7, "1") == b.Purchase(7, "1") || a.Purchase(7, "1") == a.Purchase(8, "1") {
			t.Error("two extracts can be joined")
		}
		if ord, ok := a.Trace(a.Pseudonym(7)); !ok || ord != 7 {
			t.Errorf("traced to %d, %v", ord, ok)
		}
		for _, text := range []string{b.Pseudonym(7), "ext_", "ext_aaaaaaaaaaaaaaaaaaaaaaaaaa", a.Pseudonym(7) + "a", "cus_" + a.Pseudonym(7)[4:]} {
			if ord, ok := a.Trace(text); ok {
				t.Errorf("%s is traced to %d", text, ord)
			}
		}
		sealed, err := a.Seal("cohort", []byte("list"))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := a.Open("cohort", sealed); err != nil || !bytes.Equal(plain, []byte("list")) {
			t.Errorf("%q, %v", plain, err)
		}
		if _, err := b.Open("cohort", sealed); !errors.Is(err, ErrDamaged) {
			t.Errorf("another export opens it: %v", err)
		}
		if _, err := a.Open("decoys", sealed); !errors.Is(err, ErrDamaged) {
			t.Errorf("it opens as something else: %v", err)
		}
		ords := make([]record.Ordinal, 1000)
		for i := range ords {
			ords[i] = record.Ordinal(i + 1)
		}
		one, two := a.Shuffle(ords), b.Shuffle(ords)
		if slices.Equal(one, two) || slices.IsSorted(one) || !slices.Equal(one, a.Shuffle(one)) {
			t.Error("the order is not the export's own")
		}
		slices.Sort(one)
		if !slices.Equal(one, ords) {
			t.Error("the order lost somebody")
		}
	})
}
