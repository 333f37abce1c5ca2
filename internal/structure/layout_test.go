package structure

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cloakroom/cloakroom/internal/platform/db"
)

var (
	tableHead   = regexp.MustCompile(`(?is)^\s*CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)\s*\((.*)\)[^)]*$`)
	uniqueIndex = regexp.MustCompile(`(?is)^\s*CREATE\s+UNIQUE\s+INDEX\s+(?:IF\s+NOT\s+EXISTS\s+)?\w+\s+ON\s+(\w+)\s*\(([^)]*)\)`)
	alterTable  = regexp.MustCompile(`(?is)^\s*ALTER\s+TABLE\s+(\w+)\s+ADD\s+(.*)$`)
	keyOf       = regexp.MustCompile(`(?is)^\s*(?:CONSTRAINT\s+\w+\s+)?(PRIMARY\s+KEY|UNIQUE|FOREIGN\s+KEY)\s*\(([^)]*)\)`)
	keyColumn   = regexp.MustCompile(`(?is)^\s*(?:COLUMN\s+)?(\w+)\s.*\b(?:PRIMARY\s+KEY|UNIQUE)\b`)
	references  = regexp.MustCompile(`(?is)\bREFERENCES\s+(\w+)\s*(?:\(([^)]*)\))?`)
	columnName  = regexp.MustCompile(`^\s*(?:COLUMN\s+)?(\w+)\s`)
)

// parts splits a table's definition at the commas that are not inside parentheses.
func parts(body string) (out []string) {
	depth, from := 0, 0
	for i, r := range body {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				out, from = append(out, body[from:i]), i+1
			}
		}
	}
	return append(out, body[from:])
}

func names(list string) (out []string) {
	for n := range strings.SplitSeq(list, ",") {
		out = append(out, strings.TrimSpace(n))
	}
	return out
}

// checkLayout reads the schema for what a cluster refuses or cannot keep: unique
// constraints without the distribution column, references that lead to another shard,
// and tables that grow with the customers and lie whole on every node.
func checkLayout(t *tree, layout []db.Placement) (faults []string) {
	by := map[string]db.Placement{}
	for _, p := range layout {
		by[p.Table] = p
	}
	group := func(p db.Placement) string {
		if p.With != "" {
			return p.With
		}
		return p.Table
	}
	part := func(table, text string) {
		p := by[table]
		unique := func(columns []string) {
			if p.Column != "" && !slices.Contains(columns, p.Column) {
				faults = append(faults, fmt.Sprintf("%s: unique by (%s), without its distribution column %s: no shard sees the others' rows", table, strings.Join(columns, ", "), p.Column))
			}
		}
		own := []string{}
		if m := keyOf.FindStringSubmatch(text); m != nil {
			own = names(m[2])
			if !strings.EqualFold(strings.Fields(m[1])[0], "foreign") {
				unique(own)
			}
		} else if m := columnName.FindStringSubmatch(text); m != nil {
			own = []string{m[1]}
			if keyColumn.MatchString(text) {
				unique(own)
			}
			if m[1] == "ord" && p.Column == "" {
				faults = append(faults, fmt.Sprintf("%s has ordinals, so it grows with the customers: say in internal/platform/db/distribute.go how it lies", table))
			}
		}
		if m := references.FindStringSubmatch(text); m != nil {
			to := by[m[1]]
			theirs := names(m[2])
			beside := p.Column != "" && to.Column != "" && group(p) == group(to) && slices.Contains(own, p.Column) && (m[2] == "" || slices.Contains(theirs, to.Column))
			if !beside && (p.Column != "" || to.Column != "") && (to.Column != "" || p.Column == "") {
				faults = append(faults, fmt.Sprintf("%s refers to %s, which may lie on another node", table, m[1]))
			}
		}
	}
	for _, stmt := range schemaStatements(t) {
		if m := tableHead.FindStringSubmatch(stmt); m != nil {
			if p := by[m[1]]; p.Column == "" && strings.HasPrefix(m[1], "log_") {
				faults = append(faults, fmt.Sprintf("%s grows with the log: say in internal/platform/db/distribute.go how it lies", m[1]))
			}
			for _, text := range parts(m[2]) {
				part(m[1], text)
			}
		}
		if m := uniqueIndex.FindStringSubmatch(stmt); m != nil {
			part(m[1], "UNIQUE ("+m[2]+")")
		}
		if m := alterTable.FindStringSubmatch(stmt); m != nil {
			part(m[1], m[2])
		}
	}
	return faults
}

// schemaStatements are the statements of the migrations.
func schemaStatements(t *tree) (out []string) {
	for _, p := range t.pkgs {
		f := p.files[schemaFile]
		if p.dir != schemaDir || f == nil {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				out = append(out, strings.Split(unquote(lit), ";")...)
			}
			return true
		})
	}
	return out
}

func TestTheSchemaFitsItsLayout(t *testing.T) {
	tr := ours(t)
	layout := db.Layout()
	if n := len(schemaStatements(tr)); n < 10 || len(layout) < 10 {
		t.Fatalf("only %d statements and %d tables found: the test reads the schema wrongly", n, len(layout))
	}
	report(t, checkLayout(tr, layout))
}

func TestTheLayoutCheckSeesPlantedFaults(t *testing.T) {
	layout := []db.Placement{
		{Table: "customers", Column: "ord"}, {Table: "purchases", Column: "ord", With: "customers"},
		{Table: "lookups", Column: "value"}, {Table: "brands"},
	}
	for _, c := range []struct{ name, sql, want string }{
		{"key", `CREATE TABLE customers (ord bigint PRIMARY KEY, brand integer NOT NULL)`, ""},
		{"key without the column", `CREATE TABLE customers (ord bigint, id bigint PRIMARY KEY)`, "without its distribution column"},
		{"unique without the column", "CREATE TABLE customers (\n\tord bigint PRIMARY KEY,\n\tid bigint NOT NULL,\n\tUNIQUE (id)\n) {clustered}", "without its distribution column"},
		{"unique with the column", `CREATE TABLE purchases (ord bigint, segment integer, PRIMARY KEY (ord, segment), UNIQUE (segment, ord))`, ""},
		{"unique of a reference table", `CREATE TABLE brands (id integer PRIMARY KEY, name text NOT NULL UNIQUE)`, ""},
		{"unique index", `CREATE UNIQUE INDEX one ON customers (brand)`, "without its distribution column"},
		{"added constraint", `ALTER TABLE customers ADD CONSTRAINT one UNIQUE (brand)`, "without its distribution column"},
		{"reference across groups", `CREATE TABLE lookups (value bigint, ord bigint REFERENCES customers (ord), PRIMARY KEY (value, ord))`, "another node"},
		{"reference beside", `CREATE TABLE purchases (ord bigint REFERENCES customers (ord), segment integer, PRIMARY KEY (ord, segment))`, ""},
		{"reference to a reference table", `CREATE TABLE customers (ord bigint PRIMARY KEY, brand integer REFERENCES brands (id))`, ""},
		{"reference from a reference table", `CREATE TABLE brands (id integer PRIMARY KEY, best bigint REFERENCES customers (ord))`, "another node"},
		{"ordinals everywhere", `CREATE TABLE visits (ord bigint NOT NULL, at bigint NOT NULL)`, "grows with the customers"},
		{"log everywhere", `CREATE TABLE log_extra (brand integer PRIMARY KEY)`, "grows with the log"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, err := parse(fstest.MapFS{"internal/platform/db/schema.go": {Data: []byte("package db\nvar migrations = []string{`" + c.sql + "`}")}})
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(checkLayout(tr, layout), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
		})
	}
}
