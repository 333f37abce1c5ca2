package ledger

import (
	"errors"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

// A log that was found changed refuses with one error, which does not grow with what it
// refuses.
func TestARefusalOfAChangedLogStaysShort(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	record := func() error {
		_, err := l.Record(t.Context(), Event{Kind: entry.KindAdministration, Who: agent(7, 70)})
		return err
	}
	for range 3 {
		if err := record(); err != nil {
			t.Fatal(err)
		}
	}
	s := steal(t, d)
	s.write(s.items()[:2], nil)
	point(t, d, 2, []byte("of three entries"))
	first := record()
	if !errors.Is(first, ErrTampered) || !errors.Is(first, ErrUnavailable) {
		t.Fatalf("a changed log gave %v", first)
	}
	for range 100 {
		if err := record(); err == nil || err.Error() != first.Error() {
			t.Fatalf("refused with %v, and after it with %v", first, err)
		}
	}
}
