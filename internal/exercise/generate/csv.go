package generate

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// attributes are the generated attributes, in the order of their columns.
func attributes() []string { return []string{"marketing", "shoe_size", "note"} }

// Totals counts what a Writer has written.
type Totals struct {
	Customers int64
	Purchases int64
	Amounts   map[string]record.Amount // by currency
}

// Writer writes customers and purchases of one brand as two CSV files with the
// columns that import reads.
type Writer struct {
	customers, purchases *csv.Writer
	attributes           []string
	row                  []string
	totals               Totals
}

// NewWriter starts both files with their headings.
func NewWriter(customers, purchases io.Writer) (*Writer, error) {
	w := &Writer{customers: csv.NewWriter(customers), purchases: csv.NewWriter(purchases), attributes: attributes()}
	w.totals.Amounts = map[string]record.Amount{}
	var head []string
	for f := range record.NumColumns {
		head = append(head, f.String())
	}
	for _, a := range w.attributes {
		head = append(head, "attr."+a)
	}
	if err := w.customers.Write(head); err != nil {
		return nil, fmt.Errorf("writing the customers' headings: %w", err)
	}
	head = []string{"external_id", "purchase_id", "at", "sku", "description", "quantity", "amount", "currency", "store", "channel"}
	if err := w.purchases.Write(head); err != nil {
		return nil, fmt.Errorf("writing the purchases' headings: %w", err)
	}
	return w, nil
}

// Write appends a customer and the purchases.
func (w *Writer) Write(c *invent.Customer) error {
	w.row = append(w.row[:0], c.Columns[:record.NumColumns]...)
	for _, a := range w.attributes {
		w.row = append(w.row, c.Attributes[a])
	}
	if err := w.customers.Write(w.row); err != nil {
		return fmt.Errorf("writing a customer: %w", err)
	}
	w.totals.Customers++
	for i := range c.Purchases {
		p := &c.Purchases[i]
		w.row = append(w.row[:0], c.Get(record.ExternalID), p.ID, p.At.Format(time.RFC3339), p.SKU, p.Description,
			strconv.FormatInt(p.Quantity, 10), p.Amount.String(), p.Currency, p.Store, p.Channel)
		if err := w.purchases.Write(w.row); err != nil {
			return fmt.Errorf("writing a purchase: %w", err)
		}
		w.totals.Purchases++
		w.totals.Amounts[p.Currency] = add(w.totals.Amounts[p.Currency], p.Amount)
	}
	return nil
}

// Flush hands everything written on, and must be called at the end.
func (w *Writer) Flush() error {
	w.customers.Flush()
	w.purchases.Flush()
	if err := w.customers.Error(); err != nil {
		return fmt.Errorf("writing customers: %w", err)
	}
	if err := w.purchases.Error(); err != nil {
		return fmt.Errorf("writing purchases: %w", err)
	}
	return nil
}

// Totals returns what was written so far.
func (w *Writer) Totals() Totals { return w.totals }

// add is exact, at the finer scale of the two.
func add(a, b record.Amount) record.Amount {
	for a.Scale < b.Scale {
		a.Units, a.Scale = a.Units*10, a.Scale+1
	}
	for b.Scale < a.Scale {
		b.Units, b.Scale = b.Units*10, b.Scale+1
	}
	a.Units += b.Units
	return a
}
