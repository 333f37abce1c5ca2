package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
)

// An import that a budget stops says the exact command that asks two people for the rest.
func TestAStoppedImportSaysHowToAsk(t *testing.T) {
	t.Parallel()
	full := fmt.Errorf("importing x: %w", &api.Error{Type: api.TypeBudgetExhausted, Title: "Budget exhausted", Status: 429})
	c := &importCmd{Brand: "gucci", Customers: "it's.csv", Purchases: "p.csv", reading: reading{From: "shopify-customers", Empty: "clear", BadFields: "refuse", Strict: true}}
	got := c.refused(full).Error()
	if want := `cloakroom change ask-import --brand gucci --customers 'it'\''s.csv' --purchases p.csv --from shopify-customers --empty clear --strict`; !strings.HasSuffix(got, want) {
		t.Errorf("%s does not end with\n%s", got, want)
	}
	c.Approval = 3
	if err := c.refused(full); !errors.Is(err, full) || strings.Contains(err.Error(), "ask-import") {
		t.Errorf("under an approval: %v", err)
	}
	if c.refused(nil) != nil {
		t.Error("an import that was not stopped has an error")
	}
}
