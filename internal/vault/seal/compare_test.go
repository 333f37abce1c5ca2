package seal

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

func sampled(pairs ...string) (out Sampled) {
	for i := 0; i < len(pairs); i += 2 {
		f, err := record.ParseField(pairs[i])
		if err != nil {
			panic(err)
		}
		out[f] = pairs[i+1]
	}
	return out
}

func person(i int, pairs ...string) (c record.Customer) {
	c.Set(record.ExternalID, fmt.Sprint("C-", i))
	c.Set(record.Email, fmt.Sprintf("ana%d@mail.example", i))
	c.Set(record.Phone, fmt.Sprintf("+3906555%05d", i))
	c.Set(record.FamilyName, "Rossi")
	c.Set(record.City, "Rome")
	r := sampled(pairs...)
	for f, v := range r {
		if v != "" {
			c.Set(record.Field(f), v)
		}
	}
	return c
}

func (v *vault) counted(t testing.TB) ledger.Receipt {
	t.Helper()
	r, err := v.log.Record(t.Context(), ledger.Event{Kind: entry.KindClaim, Who: v.who, Detail: entry.ClaimBegun{Rows: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Without the entry that counts its rows no sample is compared.
func TestASampleIsComparedWithItsReceipt(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		v.put(person(1))
		rows := []Sampled{sampled("email", "ana1@mail.example")}
		audit, err := v.log.Record(t.Context(), ledger.Event{Kind: entry.KindAdministration, Who: v.who})
		if err != nil {
			t.Fatal(err)
		}
		for what, r := range map[string]ledger.Receipt{"no entry": {}, "an entry of another kind": audit} {
			if got, err := v.Compare(t.Context(), r, rows); !errors.Is(err, ledger.ErrNotLogged) || got != nil {
				t.Errorf("%s: %v, %v", what, got, err)
			}
		}
		got, err := v.Compare(t.Context(), v.counted(t), rows)
		if err != nil || len(got) != 1 || got[0].Ord == 0 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// A row leads to its customer however it is spelt; which of its values are theirs, were
// theirs and are not is said for each field.
func TestRowsOfASampleAreCompared(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		v.put(person(1))
		v.put(person(2))
		ords, err := v.FindExternals(t.Context(), brand, []string{"C-1"})
		if err != nil || len(ords) != 1 {
			t.Fatal(ords, err)
		}
		one := ords[0]
		if ords, err = v.FindExternals(t.Context(), brand, []string{"C-2"}); err != nil || len(ords) != 1 {
			t.Fatal(ords, err)
		}
		two := ords[0]
		began := time.Now()
		v.put(person(1, "city", "Oslo", "email", "new@mail.example"))
		rows := []Sampled{
			sampled("email", "NEW@Mail.Example", "family_name", " ROSSI ", "city", "oslo"),
			sampled("external_id", "C-1", "email", "ana1@mail.example", "city", "Rome"),
			sampled("phone", "0039 06 555 00002", "family_name", "Smith", "external_id", "c-2"),
			sampled("email", "ana1@mail.example"),
			sampled("email", "new@mail.example", "phone", "+390655500002"),
			sampled("family_name", "Rossi"),
			sampled("email", "no address", "phone", "12"),
			{},
		}
		got, err := v.Compare(t.Context(), v.counted(t), rows)
		if err != nil {
			t.Fatal(err)
		}
		fields := record.Fields
		for i, want := range []Compared{
			{Ord: one, By: fields(record.Email), Same: fields(record.Email, record.FamilyName, record.City)},
			{Ord: one, By: fields(record.ExternalID), Same: fields(record.ExternalID), Former: fields(record.Email, record.City)},
			{Ord: two, By: fields(record.Phone), Same: fields(record.Phone, record.ExternalID), Other: fields(record.FamilyName)},
			{}, // a former address leads to nobody
			{Ord: one, By: fields(record.Email), Same: fields(record.Email), Other: fields(record.Phone), Mixed: true},
			{}, {}, {},
		} {
			x := got[i]
			dated := x.After.After(began.Add(-time.Minute)) || x.Before.After(began.Add(-time.Minute))
			if (want.Former != 0 || i == 0 || i == 4) != dated {
				t.Errorf("row %d is dated after %v, before %v", i, x.After, x.Before)
			}
			x.After, x.Before = time.Time{}, time.Time{}
			if x != want {
				t.Errorf("row %d: %+v, want %+v", i, x, want)
			}
		}
	})
}

// A figure is shifted by as much whenever the same customers are found, and by something
// else for others.
func TestTheShiftOfAFigureHangsOnWhoIsFound(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		v := newVault(t, d)
		seen := map[int]bool{}
		for i := range 200 {
			set := &entry.Set{}
			set.Add(record.Ordinal(i+1), record.Ordinal(i+500))
			a, err := v.Blur(t.Context(), brand, set)
			if err != nil {
				t.Fatal(err)
			}
			b, err := v.Blur(t.Context(), brand, set)
			if a != b || err != nil || a < -4 || a > 4 {
				t.Fatalf("%d and %d: %v", a, b, err)
			}
			seen[a] = true
		}
		if len(seen) < 5 {
			t.Errorf("200 sets are shifted by only %d different figures", len(seen))
		}
	})
}

// BenchmarkCompare is one row of a sample that is a customer's, of 50,000.
func BenchmarkCompare(b *testing.B) {
	bench := func(b *testing.B, d *db.DB) {
		v := newVault(b, d)
		const n, step = 50_000, 1000
		rows := make([]Sampled, 0, n)
		for from := 0; from < n; from += step {
			var puts []Put
			for i := from; i < from+step; i++ {
				puts = append(puts, Put{Set: record.AllFields, Customer: person(i)})
				rows = append(rows, sampled("email", fmt.Sprintf("ana%d@mail.example", i), "family_name", "Rossi", "city", "Rome"))
			}
			if err := v.apply(v.PrepareCustomers(b.Context(), brand, puts)); err != nil {
				b.Fatal(err)
			}
		}
		r := v.counted(b)
		b.ResetTimer()
		for done := 0; done < b.N; done += n {
			if _, err := v.Compare(b.Context(), r, rows[:min(n, b.N-done)]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("sqlite", func(b *testing.B) { bench(b, dbtest.SQLite(b, db.Options{})) })
	b.Run("postgres", func(b *testing.B) { bench(b, dbtest.Postgres(b, db.Options{})) })
}
