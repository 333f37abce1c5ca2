package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
)

// Limits of 10,000 principals go in over HTTP, and come back.
func TestBudgetsOfTenThousandOverHTTP(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	ctx := t.Context()
	now, err := h.Budgets(ctx, "gucci")
	h.must(err)
	var text strings.Builder
	text.WriteString(now.Rules)
	for i := range 10_000 {
		fmt.Fprintf(&text, "principal principal:%d clear day 1\n", 100+i)
		fmt.Fprintf(&text, "principal principal:%d masked day 1\n", 100+i)
		fmt.Fprintf(&text, "principal principal:%d write day 1\n", 100+i)
	}
	var set api.BudgetsSet
	h.must(h.Do(ctx, "PUT", client.Path("brands", "gucci", "budgets"), api.BudgetRules{Rules: text.String(), Version: now.Version}, &set))
	again, err := h.Budgets(ctx, "gucci")
	h.must(err)
	if n := strings.Count(again.Rules, "\n"); n != strings.Count(text.String(), "\n") || again.Version != set.Version || again.Version == now.Version {
		t.Errorf("%d lines, version %q", n, again.Version)
	}
}
