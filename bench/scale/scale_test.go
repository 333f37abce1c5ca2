package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/invent"
)

// The rows have the average that was asked for, and no purchase twice.
func TestRowsHaveTheirPurchases(t *testing.T) {
	for _, each := range []int{0, 3, 10} {
		o := &options{purchases: each}
		const n = 3000
		all, seen := 0, map[string]bool{}
		err := o.rows(t.Context(), n, func(c *invent.Customer) error {
			for _, p := range c.Purchases {
				if seen[p.ID] {
					return errors.New("a purchase is there twice: " + p.ID)
				}
				seen[p.ID] = true
			}
			all += len(c.Purchases)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if all > n*each || all < n*each*98/100 {
			t.Errorf("%d purchases for %d customers, not %d each", all, n, each)
		}
	}
}

// The plot is XML whatever was measured, and the table has a line for everything.
func TestReportOfLittle(t *testing.T) {
	little := []*Result{{Engine: engineSQLite, Customers: 1000, ImportSeconds: 1}, {Engine: engineSQLite, Customers: 20000, ImportSeconds: 3, ImportPeak: 5 << 20}}
	text := table(little)
	for _, w := range rows {
		if !strings.Contains(text, "| "+w.name+" |") {
			t.Errorf("the table lacks %q", w.name)
		}
	}
	d := xml.NewDecoder(strings.NewReader(plot(panels(little))))
	for {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
