package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func cpus() int { return runtime.NumCPU() }

// report writes the table and the plot of every result in the output directory.
func (o *options) report() (string, error) {
	files, err := filepath.Glob(filepath.Join(o.out, o.engine+"-*.json"))
	if err != nil {
		return "", err
	}
	var all []*Result
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		r := &Result{}
		if err := json.Unmarshal(b, r); err != nil {
			return "", fmt.Errorf("reading %s: %w", f, err)
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return "", nil
	}
	slices.SortFunc(all, func(a, b *Result) int { return int(a.Customers - b.Customers) })
	text := table(all)
	return text, writeBoth(filepath.Join(o.out, o.engine+".md"), text, filepath.Join(o.out, o.engine+".svg"), plot(panels(all)))
}

func writeBoth(a, textA, b, textB string) error {
	if err := writeWhole(a, []byte(textA)); err != nil {
		return err
	}
	return writeWhole(b, []byte(textB))
}

// row is one line of the table: what grows, and how.
type row struct {
	name  string
	value func(*Result) float64
	form  string
}

var rows = []row{
	{"purchases", func(r *Result) float64 { return float64(r.Purchases) }, "%.0f"},
	{"import, seconds", func(r *Result) float64 { return r.ImportSeconds }, "%.1f"},
	{"import, customers/s", func(r *Result) float64 { return float64(r.Customers) / r.ImportSeconds }, "%.0f"},
	{"import, rows/s", func(r *Result) float64 { return float64(r.Customers+r.Purchases) / r.ImportSeconds }, "%.0f"},
	{"first reveal after the import began, seconds", func(r *Result) float64 { return r.FirstReveal }, "%.1f"},
	{"database, bytes a customer with purchases", func(r *Result) float64 { return float64(r.DatabaseBytes) / float64(r.Customers) }, "%.0f"},
	{"CSV, bytes a customer with purchases", func(r *Result) float64 { return float64(r.CSVBytes) / float64(r.Customers) }, "%.0f"},
	{"serve: start over the loaded database, seconds", func(r *Result) float64 { return r.StartLoaded }, "%.2f"},
	{"serve: its first reveal, seconds", func(r *Result) float64 { return r.FirstLoaded }, "%.3f"},
	{"serve: restart with everything logged, seconds", func(r *Result) float64 { return r.StartUsed }, "%.2f"},
	{"serve: the first reveal then, seconds", func(r *Result) float64 { return r.FirstUsed }, "%.3f"},
	{"searches by external id/s", func(r *Result) float64 { return r.SearchNumber.PerSecond }, "%.0f"},
	{"searches by e-mail/s", func(r *Result) float64 { return r.SearchEmail.PerSecond }, "%.0f"},
	{"p99 of searches by e-mail, ms", func(r *Result) float64 { return r.SearchEmail.P99 }, "%.1f"},
	{"reveals/s", func(r *Result) float64 { return r.Reveals.PerSecond }, "%.0f"},
	{"p50 of reveals, ms", func(r *Result) float64 { return r.Reveals.P50 }, "%.1f"},
	{"p99 of reveals, ms", func(r *Result) float64 { return r.Reveals.P99 }, "%.1f"},
	{"batches, customers/s", func(r *Result) float64 { return r.Batches.PerSecond }, "%.0f"},
	{"log, entries", func(r *Result) float64 { return float64(r.LogEntries) }, "%.0f"},
	{"scope of the whole log, seconds", func(r *Result) float64 { return r.ScopeSeconds }, "%.2f"},
	{"verifying the log, seconds", func(r *Result) float64 { return r.VerifySeconds }, "%.2f"},
	{"peak memory of import, MiB", func(r *Result) float64 { return mib(r.ImportPeak) }, "%.0f"},
	{"peak memory of serve during the import, MiB", func(r *Result) float64 { return mib(r.ServeLoadPeak) }, "%.0f"},
	{"peak memory of serve answering, MiB", func(r *Result) float64 { return mib(r.ServePeak) }, "%.0f"},
	{"peak memory of serve, log verified, MiB", func(r *Result) float64 { return mib(r.ServeVerifyPeak) }, "%.0f"},
	{"peak memory of serve restarted, MiB", func(r *Result) float64 { return mib(r.ServeAgainPeak) }, "%.0f"},
	{"peak of one PostgreSQL backend's own memory, MiB", func(r *Result) float64 { return mib(r.BackendPeak) }, "%.0f"},
	{"peak of all backends' own memory, MiB", func(r *Result) float64 { return mib(r.BackendsPeak) }, "%.0f"},
}

// table writes the results side by side. The last column is the exponent of growth
// between the smallest and the largest: 0 does not grow, 1 grows as the customers do.
func table(all []*Result) string {
	var b strings.Builder
	last := all[len(all)-1]
	fmt.Fprintf(&b, "Engine %s, %d CPUs, %s. Rates are of one run on a machine that may have been busy.\n\n", last.Engine, last.CPUs, last.When.Format("2006-01-02"))
	b.WriteString("| customers |")
	for _, r := range all {
		fmt.Fprintf(&b, " %d |", r.Customers)
	}
	if len(all) > 1 {
		b.WriteString(" grows as N to the |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(all)))
	if len(all) > 1 {
		b.WriteString("---|")
	}
	b.WriteString("\n")
	for _, w := range rows {
		fmt.Fprintf(&b, "| %s |", w.name)
		for _, r := range all {
			if v := w.value(r); v > 0 {
				fmt.Fprintf(&b, " "+w.form+" |", v)
			} else {
				b.WriteString(" - |")
			}
		}
		if len(all) > 1 {
			first, lastV := w.value(all[0]), w.value(last)
			if first > 0 && lastV > 0 {
				fmt.Fprintf(&b, " %.2f |", math.Log(lastV/first)/math.Log(float64(last.Customers)/float64(all[0].Customers)))
			} else {
				b.WriteString(" - |")
			}
		}
		b.WriteString("\n")
	}
	if len(last.Tables) > 0 {
		fmt.Fprintf(&b, "\n| table, bytes a customer at %d | all | of it indexes |\n|---|---|---|\n", last.Customers)
		for _, t := range last.Tables {
			if each := float64(t.Bytes) / float64(last.Customers); each >= 0.5 {
				fmt.Fprintf(&b, "| %s | %.0f | %.0f |\n", t.Table, each, float64(t.Index)/float64(last.Customers))
			}
		}
	}
	return b.String()
}

func panels(all []*Result) []panel {
	pick := func(name string) func(*Result) float64 {
		i := slices.IndexFunc(rows, func(w row) bool { return w.name == name })
		return rows[i].value
	}
	line := func(label, name string) series {
		s := series{label: label}
		for _, r := range all {
			if v := pick(name)(r); v > 0 {
				s.points = append(s.points, point{float64(r.Customers), v})
			}
		}
		return s
	}
	return []panel{
		{"Import, rows a second", []series{line("all rows", "import, rows/s"), line("customers", "import, customers/s")}},
		{"Answers a second", []series{line("batches, customers", "batches, customers/s"), line("reveals", "reveals/s"), line("searches by number", "searches by external id/s"), line("searches by e-mail", "searches by e-mail/s")}},
		{"Peak memory, MiB", []series{line("import", "peak memory of import, MiB"), line("serve answering", "peak memory of serve answering, MiB"), line("serve, log verified", "peak memory of serve, log verified, MiB"), line("one backend", "peak of one PostgreSQL backend's own memory, MiB")}},
		{"Seconds", []series{line("import", "import, seconds"), line("verifying the log", "verifying the log, seconds"), line("scope of the log", "scope of the whole log, seconds"), line("serve starts", "serve: restart with everything logged, seconds")}},
		{"Bytes a customer with purchases", []series{line("database", "database, bytes a customer with purchases"), line("CSV", "CSV, bytes a customer with purchases")}},
		{"99th percentile, ms", []series{line("reveals", "p99 of reveals, ms"), line("searches by e-mail", "p99 of searches by e-mail, ms")}},
	}
}
