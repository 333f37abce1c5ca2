package brands

import (
	"errors"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

func TestBrands(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx, at := t.Context(), time.UnixMicro(5).UTC()
		s := New(d)
		for i, name := range []string{"gucci", "balenciaga"} {
			if b, err := s.Create(ctx, d, name, "", at); err != nil || b.ID != record.BrandID(i+1) {
				t.Fatalf("%+v, %v", b, err)
			}
		}
		if _, err := s.Create(ctx, d, "gucci", "", at); !errors.Is(err, ErrExists) {
			t.Errorf("the second gucci: %v", err)
		}
		for _, name := range []string{"", "group", "Gucci", "9lives", "a b", "é"} {
			if _, err := s.Create(ctx, d, name, "", at); !errors.Is(err, ErrName) {
				t.Errorf("%q: %v", name, err)
			}
		}
		if b, err := s.ByName(ctx, "balenciaga"); err != nil || b.ID != 2 || !b.Created.Equal(at) {
			t.Errorf("%+v, %v", b, err)
		}
		if b, err := s.ByName(ctx, GroupName); err != nil || b.ID != record.Group {
			t.Errorf("%+v, %v", b, err)
		}
		if _, err := s.ByName(ctx, "nobody"); !errors.Is(err, ErrNoBrand) {
			t.Error(err)
		}
		if l, err := s.List(ctx); err != nil || len(l) != 2 {
			t.Errorf("%v, %v", l, err)
		}
		for _, p := range DefaultPurposes() {
			if err := s.AddPurpose(ctx, d, 1, p, at); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.AddPurpose(ctx, d, 1, DefaultPurposes()[0], at); !errors.Is(err, ErrExists) {
			t.Error(err)
		}
		if err := s.AddPurpose(ctx, d, 1, Purpose{Name: "resale", LegalBasis: "profit"}, at); !errors.Is(err, ErrLegalBasis) {
			t.Error(err)
		}
		if _, err := s.Purpose(ctx, 2, "marketing"); !errors.Is(err, ErrNoPurpose) {
			t.Errorf("one brand's purpose is the other's: %v", err)
		}
		if err := s.RetirePurpose(ctx, d, 1, "marketing", at); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Purpose(ctx, 1, "marketing"); !errors.Is(err, ErrNoPurpose) {
			t.Errorf("a retired purpose serves: %v", err)
		}
		if l, err := s.Purposes(ctx, 1); err != nil || len(l) != len(DefaultPurposes()) {
			t.Errorf("%d purposes, %v", len(l), err)
		}
	})
}
