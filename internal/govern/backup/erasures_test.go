package backup_test

import (
	"testing"

	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// logErasure leaves what a server leaves that is killed between the entry of an erasure
// and the erasure.
func (h *house) logErasure(brand, token string) {
	h.t.Helper()
	ctx := h.t.Context()
	local, err := h.v.Identity.EnsureLocal(ctx, "administrator")
	must(h.t, err)
	visit, err := h.v.Disclose.Door.Enter(ctx, local, brand)
	must(h.t, err)
	ords, err := h.v.Disclose.Seal.Resolve(ctx, visit.Brand.ID, []string{token})
	must(h.t, err)
	u, err := h.v.Disclose.Seal.Fetch(ctx, visit.Brand.ID, ords, 0)
	must(h.t, err)
	_, err = h.v.Ledger.Record(ctx, ledger.Event{Kind: entry.KindErasure, Who: visit.Who, Ords: u.Ords(), Commit: u.Commitment(0)})
	must(h.t, err)
}

// A restore erases whom the log says to be erased: those erased after the keys were
// copied, those whose erasure was in flight then, and those whose rows somebody kept there
// by hand.
func TestARestoreErasesWhoWasErased(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		ctx := t.Context()
		h, c := newHouse(t, engine, 24), newCustody(t)
		tokens := h.tokens["gucci"]
		kept, inFlight, later := tokens[0], tokens[1], tokens[2]
		want := h.everybody()
		h.logErasure("gucci", kept)
		_, err := h.v.DB.Exec(ctx, `DELETE FROM log_erasures`) // so that nobody carries it out
		must(t, err)
		h.logErasure("gucci", inFlight)
		c.backup(h, "full")
		_, err = h.as("officer").Erase(ctx, "gucci", later)
		must(t, err)
		c.backup(h, "log", db.PartLog)
		delete(want, kept)
		delete(want, inFlight)

		restore := func(logFrom string, want map[string]string, finished uint64) {
			o := c.options(h, engine, "full")
			if o.LogFrom = logFrom; logFrom != "" {
				o.LogFrom = c.dir(logFrom)
			}
			dry := o
			dry.DryRun = true
			would, err := app.Restore(ctx, dry, nil)
			must(t, err)
			r, report := c.restored(h, o)
			if report.Finished != finished || would.Finished != finished || report.Customers != uint64(len(want)) || would.Customers != report.Customers {
				t.Errorf("%+v, and the dry run %+v; want %d erased and %d there", report, would, finished, len(want))
			}
			got := r.everybody()
			for token := range want {
				if got[token] != want[token] {
					t.Errorf("a living customer came back as %q", got[token])
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d customers came back of %d", len(got), len(want))
			}
			if n := r.count(`SELECT count(*) FROM log_erasures`); n != 0 {
				t.Errorf("%d erasures seem unfinished", n)
			}
		}
		restore("", want, 2)
		delete(want, later)
		restore("log", want, 3)
	})
}
