package intake_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	sqlTestNoProfiles         = `CREATE TRIGGER no_profiles BEFORE UPDATE ON customers BEGIN SELECT raise(ABORT, 'refused'); END`
	sqlTestPostgresNo         = `CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''refused''; END'`
	sqlTestPostgresNoProfiles = `CREATE TRIGGER no_profiles BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION refused()`
	sqlTestProfiles           = `DROP TRIGGER no_profiles`
	sqlTestPostgresProfiles   = `DROP TRIGGER no_profiles ON customers`
)

// written reads the entries of a brand's log from a place on that change a profile, and
// those that an outcome says did not.
func written(t *testing.T, h *apptest.House, from uint64) (changed map[uint64]bool, failed map[uint64]string) {
	t.Helper()
	changed, failed = map[uint64]bool{}, map[uint64]string{}
	h.Must(h.Ledger.Scan(t.Context(), h.Brand("gucci"), from, func(i uint64, e entry.Entry, _ []record.Ordinal) error {
		switch d := e.Detail.(type) {
		case entry.Written:
			changed[i] = d.Changed > 0
		case entry.Outcome:
			if !changed[d.Of] || d.Result != "failed" || failed[d.Of] != "" {
				t.Errorf("entry %d says of entry %d: %s, %s", i, d.Of, d.Result, d.Reason)
			}
			failed[d.Of] = d.Reason
		}
		return nil
	}))
	return changed, failed
}

// The log says of a write that the database refused, after it was logged, that it did not
// happen.
func TestTheLogSaysThatAWriteFailed(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		h.Put("gucci", api.Fields{"external_id": "C-1", "given_name": "Ann"})
		shop := h.Person("will", map[string]string{"gucci": "application"})
		off, on := []string{sqlTestNoProfiles}, sqlTestProfiles
		if h.DB.Engine() == db.Postgres {
			off, on = []string{sqlTestPostgresNo, sqlTestPostgresNoProfiles}, sqlTestPostgresProfiles
		}
		for _, sql := range off {
			_, err := h.DB.Exec(t.Context(), sql)
			h.Must(err)
		}
		from := h.Size("gucci")
		put := api.PutRequest{Customers: []api.Fields{{"external_id": "C-1", "given_name": "Eve"}}}
		if _, err := h.Intake.Put(t.Context(), shop, "gucci", put); err == nil {
			t.Fatal("a write that the database refuses")
		}
		_, err := h.DB.Exec(t.Context(), on)
		h.Must(err)
		changed, failed := written(t, h, from)
		if len(changed) != 1 || len(failed) != 1 || failed[from] != "unavailable" {
			t.Errorf("entries %v, outcomes %v", changed, failed)
		}
		if _, err := h.Intake.Put(t.Context(), shop, "gucci", put); err != nil {
			t.Fatal(err)
		}
		if changed, failed = written(t, h, from); len(changed) != 2 || len(failed) != 1 {
			t.Errorf("after a write that was made: entries %v, outcomes %v", changed, failed)
		}
	})
}

// However writes meet, each entry that no outcome speaks of is one that was made.
func TestEntriesOfWritesThatMeet(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		h.Put("gucci", api.Fields{"external_id": "C-1", "given_name": "Ann"})
		shop := h.Person("will", map[string]string{"gucci": "application"})
		from := h.Size("gucci")
		var made atomic.Int64
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 6 {
					out, err := h.Intake.Put(t.Context(), shop, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "C-1", "given_name": fmt.Sprintf("Ann %d of %d", i, w)}}})
					if err == nil && out.Results[0].Outcome == "updated" {
						made.Add(1)
					}
				}
			})
		}
		wg.Wait()
		changed, failed := written(t, h, from)
		stand := 0
		for i, c := range changed {
			if c && failed[i] == "" {
				stand++
			}
		}
		if int64(stand) != made.Load() || stand == 0 {
			t.Errorf("%d entries stand, %d writes were made; outcomes %v", stand, made.Load(), failed)
		}
		t.Logf("%d writes, %d tries failed", made.Load(), len(failed))
	})
}
