package app_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/govern/upkeep"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// What an earlier release left stands until somebody confirms it, or ends what nobody gave.
// Both hold after a start, and on both engines.
func TestRowsOfAnEarlierReleaseAreAdopted(t *testing.T) {
	t.Parallel()
	releases, err := os.ReadDir("testdata")
	must(t, err)
	engines(t, func(t *testing.T, engine, dsn string) {
		ctx := t.Context()
		dir, f := unpack(t, releases[0].Name(), engine, dsn)
		v, err := app.Open(ctx, dir, app.Options{Database: dsn})
		must(t, err)
		defer func() { must(t, v.Close()) }()
		admin, officer := localClient(v, ""), localClient(v, f.Officer)
		brand, token := f.Customers[0].Brand, f.Customers[0].Token
		reveal(t, officer, brand, token)

		list, err := admin.Unadopted(ctx, 0)
		must(t, err)
		says := map[string]string{}
		for _, r := range list.Rows {
			if strings.Contains(r.Says, "!") || r.Says == "" {
				t.Errorf("%s is %q", r.Row, r.Says)
			}
			says[r.Says] = r.Row
		}
		if list.Total != len(list.Rows) || list.Total < 20 {
			t.Fatalf("%d rows of %d", len(list.Rows), list.Total)
		}
		row := func(begin string) string {
			t.Helper()
			for s, r := range says {
				if strings.HasPrefix(s, begin) {
					return r
				}
			}
			t.Fatalf("no row is %q of %q", begin, says)
			return ""
		}
		for _, kept := range []string{"version 1 of the policy", "brand gucci", "person local-administrator"} {
			if _, err := admin.Adopt(ctx, api.AdoptRequest{Digest: list.Digest, Void: []string{row(kept)}}); err == nil {
				t.Errorf("adoption ended: %s", kept)
			}
		}
		if _, err := officer.Adopt(ctx, api.AdoptRequest{Digest: list.Digest}); err == nil {
			t.Error("an officer without a role at the group adopted rows")
		}
		void := []string{row(`key "fixture" of officer`), row("alice is support-agent"), row("person marco")}
		dry, err := admin.Adopt(ctx, api.AdoptRequest{Digest: list.Digest, Void: void, DryRun: true})
		must(t, err)
		reveal(t, officer, brand, token)
		_, err = admin.Adopt(ctx, api.AdoptRequest{Digest: strings.Repeat("0", 64), Void: void})
		var e *api.Error
		if !errors.As(err, &e) || !strings.Contains(e.Detail, "changed since") {
			t.Errorf("another list: %v", err)
		}
		done, err := admin.Adopt(ctx, api.AdoptRequest{Digest: list.Digest, Void: void})
		must(t, err)
		if done.Confirmed != list.Total-len(void) || dry.Confirmed != done.Confirmed || len(done.Voided) != len(void) || len(dry.Voided) != len(void) {
			t.Errorf("dry %+v, then %+v, of %d rows", dry, done, list.Total)
		}
		holds := func(when string) {
			t.Helper()
			left, err := localClient(v, "").Unadopted(ctx, 0)
			must(t, err)
			if left.Total != 0 {
				t.Errorf("%s: unadopted: %+v", when, left.Rows)
			}
			if _, err := localClient(v, f.Officer).View(ctx, brand, token, "data-subject-request", ""); !errors.As(err, &e) {
				t.Errorf("%s: the ended key shows a customer", when)
			}
			all, err := v.Upkeep.Check(ctx, local(t, v), api.CheckPlace{})
			must(t, err)
			if len(all.Faults) != 0 {
				t.Errorf("%s: the check finds %+v", when, all.Faults)
			}
		}
		holds("at once")
		must(t, v.Close())
		v, err = app.Open(ctx, dir, app.Options{Database: dsn})
		must(t, err)
		holds("after a start")
	})
}

func local(t *testing.T, v *app.Vault) identity.Caller {
	t.Helper()
	c, err := v.Identity.EnsureLocal(t.Context(), access.Administrator)
	must(t, err)
	return c
}

// A list that somebody read confirms what they read, and nothing that came to it since.
func TestAdoptionConfirmsWhatWasRead(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		anna := h.Person("anna", map[string]string{"group": access.Administrator})
		h.Person("both", map[string]string{"gucci": access.Analyst, "group": access.Administrator})
		// A restored copy whose tables are older than its logs: its rows are sealed as they are.
		exec := func(sql string) {
			t.Helper()
			_, err := h.DB.Exec(ctx, sql)
			h.Must(err)
			h.Must(h.Upkeep.ResealRows(ctx))
		}
		if list, err := h.Upkeep.Unadopted(ctx, anna, 0); err != nil || list.Total != 0 {
			t.Fatalf("a vault of this release: %+v, %v", list, err)
		}
		exec(`UPDATE roles SET since = since - 1 WHERE brand = 1`)
		first, err := h.Upkeep.Unadopted(ctx, anna, 0)
		h.Must(err)
		if first.Total != 1 || first.Rows[0].Brand != "group" {
			t.Fatalf("%+v", first)
		}
		if _, err := h.Upkeep.Adopt(ctx, anna, api.AdoptRequest{Digest: first.Digest, Void: []string{first.Rows[0].Row}}); !errors.Is(err, upkeep.ErrRequest) {
			t.Errorf("a role at a brand ended, beside the one at the group: %v", err)
		}
		if _, err := h.Upkeep.Adopt(ctx, anna, api.AdoptRequest{Digest: first.Digest, Void: []string{"roles/9999.1"}}); !errors.Is(err, upkeep.ErrNotListed) {
			t.Errorf("a row that is not listed: %v", err)
		}
		exec(`UPDATE credentials SET label = 'forged' WHERE label = ''`)
		if _, err := h.Upkeep.Adopt(ctx, anna, api.AdoptRequest{Digest: first.Digest}); !errors.Is(err, upkeep.ErrListMoved) {
			t.Errorf("a list that grew: %v", err)
		}
		second, err := h.Upkeep.Unadopted(ctx, anna, 0)
		h.Must(err)
		before := h.Size("gucci")
		_, err = h.Upkeep.Adopt(ctx, anna, api.AdoptRequest{Digest: second.Digest})
		h.Must(err)
		if h.Size("gucci") != before {
			t.Error("the log of a brand without such rows got an entry")
		}
		if list, err := h.Upkeep.Unadopted(ctx, anna, 0); err != nil || list.Total != 0 {
			t.Errorf("after it: %+v, %v", list, err)
		}
	})
}
