package page

import (
	"encoding/hex"
	"html/template"
	"strconv"
	"time"
)

// Bar is one row of a table with a bar: a value beside the largest that it is held
// against.
type Bar struct {
	Label string
	Value int
	Of    int
	// Near marks a value close to a limit.
	Near bool
}

// Width is how long the bar is, of 100.
func (b Bar) Width() string {
	if b.Of <= 0 || b.Value <= 0 {
		return "0"
	}
	return strconv.FormatFloat(min(100, 100*float64(b.Value)/float64(b.Of)), 'f', 1, 64)
}

// Moment is a time as a page shows it: UTC, and for machines.
type Moment struct{ UTC, Machine string }

// Table is what a shared part makes a table of.
type Table struct {
	Caption, Brand string
	List           any
}

// functions are what templates may call, in one language.
func (s *Site) functions(w *Words) template.FuncMap {
	return template.FuncMap{
		"table":   func(caption string, list any) Table { return Table{Caption: caption, List: list} },
		"tableAt": func(caption, brand string, list any) Table { return Table{caption, brand, list} },
		"hex":     hex.Dump,
		"t":       w.Say,
		"count":   w.Count,
		"word":    w.Word,
		"lang":    func() string { return w.Lang },
		"asset":   func(name string) string { return s.paths[name] },
		"num":     func(n any) string { return w.printer.Sprint(n) },
		"moment": func(at time.Time) *Moment {
			if at.IsZero() {
				return nil
			}
			at = at.UTC()
			return &Moment{at.Format("2006-01-02 15:04:05"), at.Format(time.RFC3339)}
		},
		"fault": func(f *Form, field string) string { return f.Fault(field) },
	}
}
