package intake

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"testing"
)

// benchCSV is a file of customers as exports usually are.
func benchCSV() string {
	var b strings.Builder
	b.WriteString("external_id,given_name,family_name,email,phone,street,postal_code,city,country,birth_date,created_at\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "C-%07d,Ana,Lima,ana.lima%d@example.com,+336%08d,%d rue de la Paix,75002,Paris,FR,1984-05-31,2024-05-31T12:00:00Z\n", i, i, i, i)
	}
	return b.String()
}

// How a row is taken apart and checked: at a glance where it is simple and tidy, by the
// rules, and by encoding/csv alone.
func BenchmarkRows(b *testing.B) {
	text := benchCSV()
	for _, c := range []struct {
		name   string
		change func(*csvRows)
		tidy   bool
	}{
		{"plain", func(*csvRows) {}, true},
		{"checked in full", func(*csvRows) {}, false},
		{"fields by the rules", func(c *csvRows) { c.drops = true }, false}, // as if a column was dropped
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				r, err := NewReader(strings.NewReader(text), CSV, nil)
				if err != nil {
					b.Fatal(err)
				}
				rows, err := customerRows(r)
				if err != nil {
					b.Fatal(err)
				}
				c.change(rows.src.(*csvRows))
				for {
					var out CustomerRow
					err := rows.src.next(&rows.row)
					if err == io.EOF {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					rows.row.tidy = rows.row.tidy && c.tidy
					rows.check(rows.c, &rows.row, &out)
					n++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/row")
		})
	}
	b.Run("encoding csv alone", func(b *testing.B) {
		n := 0
		for b.Loop() {
			r := csv.NewReader(strings.NewReader(text))
			r.ReuseRecord = true
			for {
				if _, err := r.Read(); err != nil {
					break
				}
				n++
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/row")
	})
}
