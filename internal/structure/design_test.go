package structure

import (
	"fmt"
	"go/constant"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
)

const designFile = "docs/design.md"

// tableParts is a row of the list of tables in docs/design.md.
type tableParts struct {
	table, writer string
	parts         map[string]string
}

// tableColumns are the parts that each table has, in the order of the list.
var tableColumns = []string{"backup and restore", "rotation", "erasure", "db check"}

// readTables reads the list. A row of it begins with a table's name in backticks, and has
// a cell for each part.
func readTables(doc string) (rows []tableParts, faults []string) {
	_, list, ok := strings.Cut(doc, "| table | writer |")
	if !ok {
		return nil, []string{"the list of tables is not there"}
	}
	for line := range strings.SplitSeq(list, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		row := tableParts{table: strings.Trim(cells[0], "`"), parts: map[string]string{}}
		if len(cells) != 2+len(tableColumns) {
			faults = append(faults, fmt.Sprintf("%s has %d cells in place of %d", row.table, len(cells), 2+len(tableColumns)))
			continue
		}
		row.writer = cells[1]
		for i, name := range tableColumns {
			row.parts[name] = cells[2+i]
		}
		rows = append(rows, row)
	}
	return rows, faults
}

var (
	reasoned = regexp.MustCompile(`^none: .{5,}$`)
	ordinals = regexp.MustCompile(`(?m)^\s*(?:CREATE TABLE \w+ \()?\s*ord\s`)
)

// checkTables holds the list against the schema, the parts of a backup and the statements:
// every table has every part, by a statement about it or with a reason for none.
func checkTables(t *tree, doc string, part func(table string) (db.Part, bool)) (faults []string) {
	rows, faults := readTables(doc)
	owner := owners(t)
	listed := map[string]int{}
	stmts, _ := statements(t)
	texts := map[string][]string{}
	for _, s := range stmts {
		texts[s.name] = append(texts[s.name], s.text)
	}
	withOrds := map[string]bool{}
	for _, stmt := range schemaStatements(t) {
		if m := tableHead.FindStringSubmatch(stmt); m != nil && ordinals.MatchString(m[2]) {
			withOrds[m[1]] = true
		}
	}
	for _, r := range rows {
		listed[r.table]++
		if owner[r.table] == "" {
			faults = append(faults, fmt.Sprintf("%s is listed, and the schema has no such table", r.table))
			continue
		}
		if owner[r.table] != r.writer {
			faults = append(faults, fmt.Sprintf("%s is listed as %s's, and the schema says %s", r.table, r.writer, owner[r.table]))
		}
		if p, ok := part(r.table); ok || r.table != "schema_versions" {
			want := string(p)
			if p == db.PartNone {
				want = "none"
			}
			if said := r.parts["backup and restore"]; !ok || said != want {
				faults = append(faults, fmt.Sprintf("%s is listed in the part %q of a backup, and it is in %q", r.table, said, want))
			}
		}
		for _, name := range tableColumns[1:] {
			said := r.parts[name]
			if reasoned.MatchString(said) {
				continue
			}
			named := backticks.FindAllStringSubmatch(said, -1)
			if len(named) == 0 {
				faults = append(faults, fmt.Sprintf("%s has no part in %s: name its statement, or say \"none: \" and why", r.table, name))
			}
			for _, m := range named {
				if !slices.ContainsFunc(texts[m[1]], func(text string) bool { return regexp.MustCompile(`\b` + r.table + `\b`).MatchString(text) }) {
					faults = append(faults, fmt.Sprintf("%s: %s names %s, and no such statement is about it", r.table, name, m[1]))
				}
			}
		}
		if withOrds[r.table] && strings.HasPrefix(r.parts["erasure"], "none") {
			faults = append(faults, fmt.Sprintf("%s has ordinals, so an erasure reaches it: name its statement", r.table))
		}
	}
	for table := range owner {
		switch listed[table] {
		case 0:
			faults = append(faults, fmt.Sprintf("the table %s is not in the list of %s: say what backup, restore, rotation, erasure and db check do with it", table, designFile))
		case 1:
		default:
			faults = append(faults, fmt.Sprintf("%s is listed %d times", table, listed[table]))
		}
	}
	return faults
}

func TestEveryTableHasItsParts(t *testing.T) {
	report(t, checkTables(ours(t), readDoc(t, designFile), db.PartOf))
}

// keyKinds are the constants of the type keys.Kind.
func keyKinds(t *typed) (out []string) {
	scope := t.pkgs["internal/platform/keys"].pkg.Scope()
	for _, name := range scope.Names() {
		if c, ok := scope.Lookup(name).(*types.Const); ok && strings.HasSuffix(c.Type().String(), "/keys.Kind") {
			out = append(out, constant.StringVal(c.Val()))
		}
	}
	return out
}

// checkEntryKinds holds the list of kinds of keys against those there are.
func checkEntryKinds(kinds []string, doc string) (faults []string) {
	_, list, _ := strings.Cut(doc, "| kind of key |")
	list, _, _ = strings.Cut(list, "\n\n")
	listed := map[string]bool{}
	for line := range strings.SplitSeq(list, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		kind := strings.Trim(cells[0], " `")
		listed[kind] = true
		if !slices.Contains(kinds, kind) {
			faults = append(faults, fmt.Sprintf("%s is listed, and there is no such kind of key", kind))
		}
		if len(cells) != 4 || slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) == "" }) {
			faults = append(faults, fmt.Sprintf("the key %s lacks a part", kind))
		}
	}
	for _, kind := range kinds {
		if !listed[kind] {
			faults = append(faults, fmt.Sprintf("the kind of key %s is not in the list of %s: say what it closes, and how it is rotated", kind, designFile))
		}
	}
	return faults
}

func TestEveryKindOfKeyHasItsParts(t *testing.T) {
	kinds := keyKinds(oursTyped(t))
	if len(kinds) < 10 {
		t.Fatalf("only %v were found: the test reads them wrongly", kinds)
	}
	doc := readDoc(t, designFile)
	report(t, checkEntryKinds(kinds, doc))
	if got := checkEntryKinds(append(kinds, "portal"), doc); len(got) != 1 {
		t.Errorf("a kind that is not listed gives %q", got)
	}
	if got := checkEntryKinds(kinds[1:], doc); len(got) != 1 {
		t.Errorf("a kind that there is not gives %q", got)
	}
}

// The design names every wing and every description of a format, and the map in README.md
// every wing.
func TestTheDesignNamesWingsAndFormats(t *testing.T) {
	design, readme := readDoc(t, designFile), readDoc(t, "README.md")
	dirs, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		if !strings.Contains(design, "`internal/"+d.Name()+"`") {
			t.Errorf("%s does not name internal/%s", designFile, d.Name())
		}
		if !strings.Contains(readme, "\n  "+d.Name()+"/ ") {
			t.Errorf("the map in README.md has no line for internal/%s", d.Name())
		}
	}
	formats, err := filepath.Glob(filepath.Join("..", "..", "docs", "*-format.md"))
	if err != nil || len(formats) < 3 {
		t.Fatal(formats, err)
	}
	for _, f := range formats {
		if !strings.Contains(design, "("+filepath.Base(f)+")") {
			t.Errorf("%s does not name %s", designFile, filepath.Base(f))
		}
	}
	for _, p := range ours(t).pkgs {
		if strings.HasPrefix(p.dir, "internal/watch/") && !strings.Contains(design, "`"+p.dir+"`") {
			t.Errorf("%s does not name the follower %s", designFile, p.dir)
		}
	}
}
