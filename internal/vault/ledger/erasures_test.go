package ledger

import (
	"errors"
	"slices"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Of whom the log erased nothing is released or written any more, whichever server is asked
// and whatever it has read already. One whose erasure is taken back is there again.
func TestNothingIsLoggedOfWhomTheLogErased(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		ctx := t.Context()
		one, two := server(t, d, t.TempDir()), server(t, d, t.TempDir())
		setRules(t, one, rules(t, 1000))
		who := agent(7, 70)
		logs := func(l *Ledger, kind entry.Kind, ord ordinal) error {
			ords := []ordinal{ord}
			_, err := l.Record(ctx, Event{Kind: kind, Who: who, Ords: ords, Commit: committing(ords, 0)})
			return err
		}
		if _, err := reveal(t, two, who, 1, 2, 3); err != nil { // which has read the log now
			t.Fatal(err)
		}
		for ord, kind := range map[uint32]entry.Kind{1: entry.KindErasure, 2: entry.KindErasureBegun} {
			if err := logs(one, kind, ordinal(ord)); err != nil {
				t.Fatal(err)
			}
		}
		for _, ord := range []uint32{1, 2} {
			if _, err := reveal(t, two, who, ordinal(ord), 3); !errors.Is(err, ErrErased) {
				t.Errorf("a release of %d: %v", ord, err)
			}
			for _, kind := range []entry.Kind{entry.KindWrite, entry.KindImport, entry.KindErasureBegun} {
				if err := logs(two, kind, ordinal(ord)); !errors.Is(err, ErrErased) {
					t.Errorf("%s of %d: %v", kind, ord, err)
				}
			}
		}
		gone, err := two.Gone(ctx, brand, []ordinal{1, 2, 3})
		if err != nil || !slices.Equal(gone, []ordinal{1, 2}) {
			t.Errorf("gone are %v, %v", gone, err)
		}
		if err := logs(one, entry.KindErasureUndone, 2); err != nil {
			t.Fatal(err)
		}
		gone, err = two.Gone(ctx, brand, []ordinal{1, 2, 3})
		if err != nil || !slices.Equal(gone, []ordinal{1}) {
			t.Errorf("gone are %v, %v", gone, err)
		}
		if err := logs(two, entry.KindWrite, 2); err != nil {
			t.Error(err)
		}
	})
}

type ordinal = record.Ordinal
