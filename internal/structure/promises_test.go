package structure

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	promisesFile = "docs/promises.md"
	threatsFile  = "docs/threat-model.md"
	promiseCount = 8
)

// promise is one row of docs/promises.md.
type promise struct {
	row, says, pkg string
	tests          []string // folder.Name
}

var (
	rowName   = regexp.MustCompile(`^(P[1-9]\d*\.[1-9]\d*|T[1-9]\d*)$`)
	backticks = regexp.MustCompile("`([^`]+)`")
)

// readPromises reads the tables of a document.
func readPromises(text string) (rows []promise, faults []string) {
	seen := map[string]bool{}
	for n, line := range strings.Split(text, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|--") || strings.TrimSpace(cells[0]) == "row" {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 4 || !rowName.MatchString(cells[0]) {
			faults = append(faults, fmt.Sprintf("line %d is no row of four cells that begins with its number", n+1))
			continue
		}
		p := promise{row: cells[0], says: cells[1], pkg: strings.Trim(cells[2], "`")}
		for _, m := range backticks.FindAllStringSubmatch(cells[3], -1) {
			p.tests = append(p.tests, m[1])
		}
		if seen[p.row] {
			faults = append(faults, p.row+" is there twice")
		}
		seen[p.row] = true
		rows = append(rows, p)
	}
	return rows, faults
}

// positions are the rows of the threat model.
func positions(text string) (out []string) {
	for line := range strings.SplitSeq(text, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) > 4 && !strings.HasPrefix(line, "|--") && strings.TrimSpace(cells[1]) != "position" {
			out = append(out, strings.TrimSpace(cells[1]))
		}
	}
	return out
}

// checkPromises holds the document against the tree: each package and test exists, each
// row of a promise has a guard, and each row of the threat model is there.
func checkPromises(promises, threats string, exists func(pkg string) bool, tests map[string]bool, guarded map[string]string) (faults []string) {
	rows, faults := readPromises(promises)
	kept := map[string]bool{}
	var said []string
	for _, p := range rows {
		if !exists(p.pkg) {
			faults = append(faults, fmt.Sprintf("%s: no such package: %s", p.row, p.pkg))
		}
		if len(p.tests) == 0 {
			faults = append(faults, p.row+" names no test")
		}
		for _, test := range p.tests {
			if !tests[test] {
				faults = append(faults, fmt.Sprintf("%s: no such test: %s", p.row, test))
			}
		}
		if p.row[0] == 'T' {
			said = append(said, p.says)
			continue
		}
		number, _, _ := strings.Cut(p.row, ".")
		kept[number] = true
		switch test := guarded[p.row]; {
		case test == "":
			faults = append(faults, p.row+" has no guard that can be switched off: add it to guards")
		case !slices.Contains(p.tests, test):
			faults = append(faults, fmt.Sprintf("%s: the test that turns red without the guard is not named: %s", p.row, test))
		}
	}
	for row := range guarded {
		if !slices.ContainsFunc(rows, func(p promise) bool { return p.row == row }) {
			faults = append(faults, fmt.Sprintf("a guard is for %s, and there is no such row", row))
		}
	}
	for i := range promiseCount {
		if p := fmt.Sprintf("P%d", i+1); !kept[p] {
			faults = append(faults, p+" has no row")
		}
	}
	for _, position := range positions(threats) {
		if !slices.Contains(said, position) {
			faults = append(faults, fmt.Sprintf("the threat model's row %q has no number here", position))
		}
	}
	return faults
}

// testNames are all tests of the module, as folder.Name.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(name string, e os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && name != root && (strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata"):
			return filepath.SkipDir
		case !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		for _, name := range functions(f) {
			if strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") {
				out[filepath.ToSlash(rel)+"."+name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func guardedRows() map[string]string {
	out := map[string]string{}
	for row, test := range plants {
		out[row] = test
	}
	for _, g := range guards {
		out[g.row] = g.test
	}
	return out
}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryPromiseNamesItsTests(t *testing.T) {
	dirs := map[string]bool{}
	for _, p := range ours(t).pkgs {
		dirs[p.dir] = true
	}
	report(t, checkPromises(readDoc(t, promisesFile), readDoc(t, threatsFile), func(pkg string) bool { return dirs[path.Clean(pkg)] }, testNames(t), guardedRows()))
}

func TestThePromiseCheckSeesPlantedFaults(t *testing.T) {
	const head = "| row | what holds | package | tests |\n|---|---|---|---|\n"
	var good strings.Builder
	good.WriteString(head)
	guarded := map[string]string{}
	for i := range promiseCount {
		row := fmt.Sprintf("P%d.1", i+1)
		fmt.Fprintf(&good, "| %s | something | `a` | `a.TestA` |\n", row)
		guarded[row] = "a.TestA"
	}
	good.WriteString("| T1 | a thief | `a` | `a.TestA` |\n")
	const threats = "| position | gets | noticed by | stopped by |\n|---|---|---|---|\n| a thief | | | |\n"
	for _, c := range []struct {
		name, old, new, want string
	}{
		{"nothing", "", "", ""},
		{"a package", "| P1.1 | something | `a`", "| P1.1 | something | `b`", "no such package"},
		{"a test", "| P2.1 | something | `a` | `a.TestA` |", "| P2.1 | something | `a` | `a.TestB` |", "no such test"},
		{"no test", "| P2.1 | something | `a` | `a.TestA` |", "| P2.1 | something | `a` | |", "names no test"},
		{"a promise", "| P3.1 | something | `a` | `a.TestA` |\n", "", "P3 has no row"},
		{"a row without a guard", "| P4.1", "| P4.2 | more | `a` | `a.TestA` |\n| P4.1", "P4.2 has no guard"},
		{"a row twice", "| P4.1", "| P4.1 | more | `a` | `a.TestA` |\n| P4.1", "there twice"},
		{"a row without a number", "| P4.1", "| more | `a` | `a.TestA` |\n| P4.1", "is no row"},
		{"a row of the threat model", "| T1 | a thief", "| T1 | a thug", "has no number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good.String(), c.old, c.new, 1)
			got := strings.Join(checkPromises(text, threats, func(pkg string) bool { return pkg == "a" }, map[string]bool{"a.TestA": true}, guarded), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
		})
	}
}
