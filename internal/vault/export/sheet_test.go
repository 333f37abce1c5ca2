package export

import (
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// A spreadsheet runs no cell of an export that was made for it, and a program gets the
// cells as they are.
func TestCellsForSpreadsheets(t *testing.T) {
	cells := []string{"=HYPERLINK(1)", "+33612345678", "-1", "@ana", "\tx", "plain", "a=b", ""}
	for format, want := range map[string]string{
		formatSheet: "'=HYPERLINK(1),'+33612345678,'-1,'@ana,'\tx,plain,a=b,\n",
		formatCSV:   "=HYPERLINK(1),+33612345678,-1,@ana,\"\tx\",plain,a=b,\n",
	} {
		var b strings.Builder
		tab, err := newTable(format, &b, []string{"a", "b", "c", "d", "e", "f", "g", "h"})
		if err == nil {
			err = tab.row(cells)
		}
		if err == nil {
			err = tab.close()
		}
		if got := strings.TrimPrefix(b.String(), "a,b,c,d,e,f,g,h\n"); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", format, got, err, want)
		}
	}
	if cells[0] != "=HYPERLINK(1)" {
		t.Error("the caller's cells were changed")
	}
}

// A token says nothing in another vault: where the numbers of customers leave in clear, each
// purchase has its customer's, and otherwise none has.
func TestPurchasesNameTheirCustomerForAnotherVault(t *testing.T) {
	for form, want := range map[string]string{
		formClear:   "token,external_id,purchase_id,at,sku,description,quantity,amount,currency,store,channel\ncus_1,A1,P,2024-05-31,,,,1.00,EUR,,\n",
		formMasked:  "token,purchase_id,at,sku,description,quantity,amount,currency,store,channel\ncus_1,P,2024-05-31,,,,1.00,EUR,,\n",
		formExtract: "token,purchase_id,at,sku,description,quantity,amount,currency,store,channel\ncus_1,P,2024-05-31,,,,1.00,EUR,,\n",
	} {
		f := &File{file: Purchases, export: &Export{Form: form, Fields: record.Fields(record.ExternalID, record.Purchases)}}
		var b strings.Builder
		tab, err := newTable(formatCSV, &b, f.columns())
		if err == nil {
			err = f.rows(&api.Customer{Token: "cus_1", Fields: map[string]string{"external_id": "A1"}, Purchases: []api.Purchase{{ID: "P", At: "2024-05-31", Amount: "1.00", Currency: "EUR"}}}, tab)
		}
		if err == nil {
			err = tab.close()
		}
		if err != nil || b.String() != want {
			t.Errorf("%s: %q, %v", form, b.String(), err)
		}
	}
}
