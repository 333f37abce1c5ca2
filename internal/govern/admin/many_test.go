package admin_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/change"
)

// 10,000 principals have limits of their own: the rules take many entries, hold from the
// last one on, on every server and after a start, and two people approve them as any others.
func TestTenThousandPrincipalsHaveBudgetsOfTheirOwn(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		h.TwoPeople()
		beside := h.Vault
		if h.DB.Engine() == db.Postgres {
			beside = h.Beside() // a second server
		}
		now, err := h.Admin.Rules(ctx, h.Local, "gucci")
		h.Must(err)
		var text strings.Builder
		text.WriteString(now.Rules)
		for i := range 10_000 {
			fmt.Fprintf(&text, "principal principal:%d clear day %d\n", 1_000+i, 100+i%50)
			fmt.Fprintf(&text, "principal principal:%d clear 30d %d\n", 1_000+i, 1_100+i%50)
		}
		parsed, err := budget.ParseRules([]byte(text.String()))
		h.Must(err)
		want := string(parsed.Encode())
		before := h.Size("gucci")
		_, err = h.Admin.SetRules(ctx, h.Local, "gucci", api.BudgetRules{Rules: text.String(), Version: now.Version}, true)
		if errors.As(err, new(*change.PendingError)) {
			h.Approve(err)
		} else {
			h.Must(err)
		}
		if n := h.Size("gucci") - before; n < 10 {
			t.Errorf("in %d entries", n)
		}
		for name, rules := range map[string]func() (*budget.Rules, error){
			"this server":    func() (*budget.Rules, error) { return h.Ledger.Rules(ctx, h.Brand("gucci")) },
			"the one beside": func() (*budget.Rules, error) { return beside.Ledger.Rules(ctx, h.Brand("gucci")) },
		} {
			if r, err := rules(); err != nil || string(r.Encode()) != want {
				t.Errorf("%s has other rules, %v", name, err)
			}
		}
		h.Restart()
		again, err := h.Admin.Rules(ctx, h.Local, "gucci")
		h.Must(err)
		if again.Rules != want {
			t.Errorf("after a start %d bytes hold, not %d", len(again.Rules), len(want))
		}
		// Back to few.
		_, err = h.Admin.SetRules(ctx, h.Local, "gucci", api.BudgetRules{Rules: now.Rules, Version: again.Version}, true)
		if err != nil {
			h.Approve(err)
		}
		again, err = h.Admin.Rules(ctx, h.Local, "gucci")
		h.Must(err)
		if again.Rules != now.Rules {
			t.Error("the rules of before do not hold again")
		}
	})
}
