package export_test

import (
	"errors"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/export"
)

// Counts of filters that differ a little single nobody out: they are rounded until somebody
// approved the export, and a credential gets a few a day, also where it stops them.
func TestCountsOfFiltersSingleNobodyOut(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	analyst := h.Person("analyst", map[string]string{"gucci": access.Analyst})
	var put []api.Fields
	for i := range 33 {
		put = append(put, api.Fields{"external_id": string(rune('A'+i%26)) + string(rune('a'+i/26)), "country": "FR", "city": []string{"Lyon", "Lille"}[i/32]})
	}
	h.Put("gucci", put...)
	ask := func() (*api.Export, error) {
		x, err := h.Exports.Request(ctx, analyst, "gucci", api.ExportRequest{Form: "extract", Purpose: "analysis", Fields: []string{"country"},
			Recipient: "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", Filter: &api.ExportFilter{Countries: []string{"FR"}}})
		if err != nil {
			return nil, err
		}
		return h.Exports.Gather(ctx, analyst, "gucci", x.ID)
	}
	for range export.MaxFilters {
		x, err := ask()
		h.Must(err)
		if x.Customers != 40 {
			t.Fatalf("a filter of 33 is counted as %d", x.Customers)
		}
		_, err = h.Exports.Stop(ctx, analyst, "gucci", x.ID)
		h.Must(err)
	}
	if _, err := ask(); !errors.Is(err, export.ErrFilters) {
		t.Errorf("one more: %v", err)
	}
}
