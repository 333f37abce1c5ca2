package mask

import (
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

func TestCoarse(t *testing.T) {
	for _, c := range []struct {
		field    record.Field
		in, want string
	}{
		{record.BirthDate, "1984-03-02", "1984"},
		{record.BirthDate, "unknown", ""},
		{record.CreatedAt, "2024-05-31T12:00:00Z", "2024-05"},
		{record.CreatedAt, "2024-05-31", "2024-05"},
		{record.CreatedAt, "2024", ""},
		{record.PostalCode, "75008", "75"},
		{record.PostalCode, "SW1A 1AA", "SW"},
		{record.PostalCode, "99", "9"},
		{record.Country, "FR", "FR"},
		{record.Region, "Île-de-France", "Île-de-France"},
	} {
		if got := Coarse(c.field, c.in); got != c.want {
			t.Errorf("%s %q is shown as %q, not %q", c.field, c.in, got, c.want)
		}
	}
	for f := range record.NumColumns {
		if !Extractable.Has(f) && Coarse(f, "something") != "" {
			t.Errorf("an extract shows %s", f)
		}
	}
}
