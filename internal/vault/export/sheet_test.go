package export

import (
	"strings"
	"testing"
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
