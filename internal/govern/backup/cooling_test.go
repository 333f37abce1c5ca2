package backup_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/door"
)

// afterwards is longer than any cooling time.
const afterwards = 30 * 24 * time.Hour

// other is the engine that a copy is restored into: each copy fits either.
func other(engine string) string {
	if engine == "sqlite" && os.Getenv(dbtest.EnvPostgres) != "" {
		return "postgres"
	}
	return "sqlite"
}

// visit is the administrator at gucci, and the ordinals of its customers.
func (h *house) visit(tokens ...string) (*door.Visit, []record.Ordinal) {
	h.t.Helper()
	ctx := h.t.Context()
	local, err := h.v.Identity.EnsureLocal(ctx, "administrator")
	must(h.t, err)
	visit, err := h.v.Disclose.Door.Enter(ctx, local, "gucci")
	must(h.t, err)
	ords, err := h.v.Disclose.Seal.Resolve(ctx, visit.Brand.ID, tokens)
	must(h.t, err)
	return visit, ords
}

// state is where a customer's erasure stands: there, cooling or gone.
func (h *house) state(token string) string {
	h.t.Helper()
	_, err := h.as("alice").View(h.t.Context(), "gucci", token, "customer-support", "")
	_, ords := h.visit(token)
	laid := h.count(`SELECT count(*) FROM cooling WHERE ord = $1`, int64(ords[0]))
	switch {
	case err == nil && laid == 0:
		return "there"
	case err != nil && laid == 1:
		return "cooling"
	case err != nil && laid == 0 && h.count(`SELECT count(*) FROM customers WHERE ord = $1 AND sealed IS NOT NULL`, int64(ords[0])) == 0:
		return "gone"
	}
	return fmt.Sprintf("%v, %d keys laid aside", err, laid)
}

// Customers are taken through every two states of an erasure: one when the data was copied,
// one when the keys were, one when the log was. A restore brings each into the state that the
// log ends with, and what came back is whole: found, opened, indexed, and undone again.
func TestARestoreKnowsEveryStateOfAnErasure(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		ctx := t.Context()
		h, c := newHouse(t, engine, 60), newCustody(t)
		_, err := h.as("").SetErasureCooling(ctx, "gucci", api.ErasureCooling{Days: 7})
		must(t, err)
		erase := func(token string) {
			_, err := h.as("officer").Erase(ctx, "gucci", token)
			must(t, err)
		}
		undo := func(token string) {
			visit, ords := h.visit(token)
			back, err := h.v.Erase.Undo(ctx, visit.Who, ords)
			if err != nil || len(back) != 1 {
				t.Fatalf("%v, %v", back, err)
			}
		}
		destroy := func(token string) {
			visit, ords := h.visit(token)
			if gone, err := h.v.Erase.DestroyNow(ctx, visit.Who, ords); len(gone) != 1 || err != nil {
				t.Fatalf("%v, %v", gone, err)
			}
		}
		steps := map[string]func(string){"erase": erase, "undo": undo, "destroy": destroy, "": func(string) {}}
		// What happens before the data is copied, between data and keys, and between keys and log.
		plans := [][3]string{
			{"", "", ""}, {"erase", "", ""}, {"", "erase", ""}, {"", "", "erase"},
			{"erase", "undo", ""}, {"erase", "", "undo"}, {"erase", "destroy", ""}, {"erase", "", "destroy"},
			{"", "erase", "undo"}, {"", "erase", "destroy"}, {"erase", "undo", "erase"},
		}
		want := map[string]string{"": "there", "erase": "cooling", "undo": "there", "destroy": "gone"}
		tokens := h.tokens["gucci"][:len(plans)]
		before := h.everybody()
		for phase, parts := range [][]db.Part{nil, {db.PartKeys, db.PartLog}, {db.PartLog}} {
			for i, plan := range plans {
				steps[plan[phase]](tokens[i])
			}
			c.backup(h, []string{"data", "keys", "log"}[phase], parts...)
		}
		for _, from := range []struct{ keys, log string }{{"keys", "log"}, {"keys", ""}, {"", "log"}, {"", ""}} {
			phases := 1
			if from.keys != "" {
				phases = 2
			}
			if from.log != "" {
				phases = 3
			}
			o := c.options(h, other(engine), "data")
			if from.keys != "" {
				o.KeysFrom = c.dir(from.keys)
			}
			if from.log != "" {
				o.LogFrom = c.dir(from.log)
			}
			dry := o
			dry.DryRun = true
			would, err := app.Restore(ctx, dry, nil)
			must(t, err)
			r, report := c.restored(h, o)
			cooling := uint64(0)
			for i, plan := range plans {
				last := ""
				for _, step := range plan[:phases] {
					if step != "" {
						last = step
					}
				}
				if got := r.state(tokens[i]); got != want[last] {
					t.Errorf("%+v: who went through %q is %s, not %s", from, plan[:phases], got, want[last])
				}
				if want[last] == "cooling" {
					cooling++
				}
			}
			if report.Cooling != cooling || would.Cooling != cooling || would.Customers != report.Customers || would.Finished != report.Finished || would.Erased != report.Erased {
				t.Errorf("%+v: %+v, and the dry run %+v; %d cool", from, report, would, cooling)
			}
			for token, value := range r.everybody() {
				if before[token] != value {
					t.Errorf("%+v: a customer came back as another", from)
				}
			}
			r.wellKept()
			// And everything goes on from there.
			visit, ords := r.visit(tokens...)
			if back, err := r.v.Erase.Undo(ctx, visit.Who, ords); err != nil || uint64(len(back)) != cooling {
				t.Errorf("%+v: %d came back, %v", from, len(back), err)
			}
			r.wellKept()
			for i := range plans {
				if r.state(tokens[i]) == "there" {
					_, err := r.as("officer").Erase(ctx, "gucci", tokens[i])
					must(t, err)
				}
			}
			if _, err := r.v.Erase.DestroyCooled(ctx, afterwards); err != nil {
				t.Error(err)
			}
			for i := range plans {
				if got := r.state(tokens[i]); got != "gone" {
					t.Errorf("%+v: customer %d is %s at the end", from, i, got)
				}
			}
			r.wellKept()
		}
	})
}

// wellKept checks that `db check` finds nothing and that the logs verify.
func (h *house) wellKept() {
	h.t.Helper()
	for at := (api.CheckPlace{}); ; {
		out, err := h.as("").Check(h.t.Context(), at)
		must(h.t, err)
		if len(out.Faults) > 0 {
			h.t.Errorf("db check: %+v", out.Faults)
		}
		if out.Done {
			break
		}
		at = out.Next
	}
	h.verify(nil)
	if n := h.count(`SELECT count(*) FROM log_erasures`); n != 0 {
		h.t.Errorf("%d steps of erasures seem unfinished", n)
	}
}
