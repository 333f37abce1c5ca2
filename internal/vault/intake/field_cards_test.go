package intake

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
)

// cases are the lines of a list of the field: a case, a text and more.
func cases(t *testing.T, name string) (out [][]string) {
	t.Helper()
	for i, line := range strings.Split(strings.TrimRight(string(fieldFile(t, name)), "\n"), "\n") {
		if parts := strings.Split(line, "\t"); i > 0 {
			out = append(out, parts)
		}
	}
	return out
}

// withCell is a file of one row with this text in one column.
func withCell(t *testing.T, kind, column, text string) []byte {
	t.Helper()
	head, row := []string{"external_id"}, []string{"A1"}
	if kind == kindPurchases {
		head, row = append(head, "purchase_id", "at"), append(row, "P1", "2025-01-01")
	}
	if column == "external_id" {
		row[0] = text
	} else {
		head, row = append(head, column), append(row, text)
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.WriteAll([][]string{head, row}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Each card number that the field saw kept is refused in every column that holds text,
// and no output of the import repeats it.
func TestFieldCardsAreRefused(t *testing.T) {
	for _, c := range cases(t, "cards-missed.tsv") {
		for _, at := range []struct{ kind, column string }{
			{kindCustomers, "attr.note"}, {kindCustomers, "given_name"}, {kindCustomers, "street"}, {kindCustomers, "external_id"},
			{kindPurchases, "description"}, {kindPurchases, "sku"}, {kindPurchases, "store"},
		} {
			got := bring{kind: at.kind, sink: known("A1")}.in(t, withCell(t, at.kind, at.column, c[1]))
			n := got.Customers
			if at.kind == kindPurchases {
				n = got.Purchases
			}
			if got.err != nil || n.RejectedBy[CodeCardNumber] != 1 || n.New != 0 {
				t.Errorf("%s: %q in %s went in: %+v %v", c[0], c[1], at.column, n, got.err)
			}
			if strings.Contains(got.rejects, c[1]) || got.refused != "" {
				t.Errorf("%s: %s: the number is written: %s%s", c[0], at.column, got.rejects, got.refused)
			}
		}
	}
}

// Each text of the field that only looks like a card number is kept as it is. Case F38 is
// a number of the brand's own range, which the brand declares.
func TestFieldTextsThatAreNoCardsAreKept(t *testing.T) {
	for _, c := range cases(t, "cards-falsely-refused.tsv") {
		column, _, _ := strings.Cut(c[2], " ")
		kind := kindCustomers
		if column == "sku" {
			kind = kindPurchases
		}
		b := bring{kind: kind, sink: known("A1")}
		if c[0] == "F38" {
			if got := b.in(t, withCell(t, kind, column, c[1])); got.Customers.RejectedBy[CodeCardNumber] != 1 {
				t.Errorf("%s went in undeclared: %+v", c[0], got.Customers)
			}
			b.own = cards.NewOwn([]string{"600649"}, []string{"attr.loyalty"})
		}
		got := b.in(t, withCell(t, kind, column, c[1]))
		switch column {
		case "sku":
			if p := got.sink.purchases["A1\x00P1"]; p.SKU != c[1] {
				t.Errorf("%s: %q\n%s", c[0], p.SKU, got.rejects)
			}
		case "external_id":
			got.customer(t, c[1], nil)
		default:
			got.customer(t, "A1", map[string]string{column: c[1]})
		}
	}
}
