package structure

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// schemaDir and schemaFile hold the tables, each under a comment with its writer.
const (
	schemaDir  = "internal/platform/db"
	schemaFile = "schema.go"
)

var (
	sqlName    = regexp.MustCompile(`^sql[A-Z]`)
	sqlText    = regexp.MustCompile(`^\s*(SELECT\s|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|WITH\s+\w+.*\sAS\s*\(|COPY\s+\w+)`)
	writes     = regexp.MustCompile(`(?i)\b(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|REPLACE\s+INTO|MERGE\s+INTO|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?|COPY|ALTER\s+TABLE|DROP\s+TABLE(?:\s+IF\s+EXISTS)?|CREATE\s+TABLE(?:\s+IF\s+NOT\s+EXISTS)?)\s+(\w+)`)
	updates    = regexp.MustCompile(`(?i)\bUPDATE\s+(\w+)(?:\s+(?:AS\s+)?\w+)?\s+SET\b`)
	creates    = regexp.MustCompile(`CREATE TABLE (?:IF NOT EXISTS )?(\w+)`)
	ownerLine  = regexp.MustCompile(`^[a-z]+$`)
	citusName  = regexp.MustCompile(`^sqlCitus[A-Z]`)
	pragma     = regexp.MustCompile(`(?i)^\s*PRAGMA\b`)
	dataChange = regexp.MustCompile(`(?i)^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|VALUES)\b`)
	copyIn     = regexp.MustCompile(`(?is)^\s*COPY\s+(\w+)\s*\(([^)]*)\)\s+FROM\s+STDIN`)
	numbered   = regexp.MustCompile(`\$[0-9]+`)
)

// statement is one SQL constant.
type statement struct {
	name, dir, file, text, at string
}

// runsOn says on which engines the statement must prepare: both, unless its file
// or its name belongs to one.
func (s statement) runsOn(e db.Engine) bool {
	file := strings.TrimSuffix(s.file, ".go")
	sqlite := strings.HasSuffix(file, "sqlite") || strings.HasPrefix(s.name, "sqlSQLite")
	postgres := strings.HasSuffix(file, "postgres") || strings.HasPrefix(s.name, "sqlPostgres") || citusName.MatchString(s.name)
	return e == db.SQLite && !postgres || e == db.Postgres && !sqlite
}

// constants evaluates the string constants of one package, so that a statement
// may be put together from named pieces.
type constants map[string]ast.Expr

func (c constants) eval(e ast.Expr, depth int) (string, bool) {
	if depth > 20 {
		return "", false
	}
	switch e := e.(type) {
	case *ast.BasicLit:
		return unquote(e), e.Kind == token.STRING
	case *ast.ParenExpr:
		return c.eval(e.X, depth+1)
	case *ast.Ident:
		v, ok := c[e.Name]
		if !ok {
			return "", false
		}
		return c.eval(v, depth+1)
	case *ast.BinaryExpr:
		x, ok := c.eval(e.X, depth+1)
		y, ok2 := c.eval(e.Y, depth+1)
		return x + y, ok && ok2 && e.Op == token.ADD
	}
	return "", false
}

// statements finds every constant sqlXxx, and what stands in the way of preparing
// all SQL: statements outside such constants, variables, unreadable pieces.
func statements(t *tree) (found []statement, faults []string) {
	for _, p := range t.pkgs {
		consts := constants{}
		inConst := map[ast.Node]bool{}
		type named struct {
			id   *ast.Ident
			expr ast.Expr
			file string
		}
		var sqls []named
		for file, f := range p.files {
			ast.Inspect(f, func(n ast.Node) bool {
				d, ok := n.(*ast.GenDecl)
				if !ok || d.Tok != token.CONST && d.Tok != token.VAR {
					return true
				}
				for _, spec := range d.Specs {
					v := spec.(*ast.ValueSpec)
					for i, id := range v.Names {
						if sqlName.MatchString(id.Name) && d.Tok == token.VAR {
							faults = append(faults, fmt.Sprintf("%s: %s is a variable: SQL is constant", t.at(id.Pos()), id.Name))
						}
						if d.Tok != token.CONST || i >= len(v.Values) {
							continue
						}
						consts[id.Name] = v.Values[i]
						if sqlName.MatchString(id.Name) {
							sqls = append(sqls, named{id, v.Values[i], file})
							ast.Inspect(v.Values[i], func(n ast.Node) bool { inConst[n] = true; return true })
						}
					}
				}
				return true
			})
		}
		for _, s := range sqls {
			text, ok := consts.eval(s.expr, 0)
			if !ok {
				faults = append(faults, fmt.Sprintf("%s: %s is not made of string constants of its own package", t.at(s.id.Pos()), s.id.Name))
				continue
			}
			found = append(found, statement{s.id.Name, p.dir, s.file, text, t.at(s.id.Pos())})
		}
		if strings.HasPrefix(p.dir, schemaDir) {
			continue // the engines' own words: locks, pragmas, the schema
		}
		for _, f := range p.files {
			ast.Inspect(f, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && !inConst[lit] && sqlText.MatchString(unquote(lit)) {
					faults = append(faults, fmt.Sprintf("%s: SQL outside a constant named sqlXxx: nothing prepares it", t.at(lit.Pos())))
				}
				return true
			})
		}
	}
	return found, faults
}

// owners reads from the schema which package writes each table.
func owners(t *tree) map[string]string {
	out := map[string]string{"schema_versions": "db"}
	for _, p := range t.pkgs {
		f := p.files[schemaFile]
		if p.dir != schemaDir || f == nil {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			owner := ""
			for _, c := range f.Comments {
				if word := strings.TrimSpace(c.Text()); c.End() < lit.Pos() && ownerLine.MatchString(word) {
					owner = word
				}
			}
			for _, m := range creates.FindAllStringSubmatch(unquote(lit), -1) {
				if _, known := out[m[1]]; !known {
					out[m[1]] = owner
				}
			}
			return true
		})
	}
	return out
}

// checkWriters looks at every string of every package, constant or not, so that
// SQL outside the constants cannot write a table unseen.
func checkWriters(t *tree) []string {
	var faults []string
	owner := owners(t)
	for _, p := range t.pkgs {
		for file, f := range p.files {
			if p.dir == schemaDir && file == schemaFile {
				continue // migrations make every table
			}
			ast.Inspect(f, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				text := unquote(lit)
				for _, m := range append(writes.FindAllStringSubmatch(text, -1), updates.FindAllStringSubmatch(text, -1)...) {
					if o, table := owner[m[1]]; table && o != path.Base(p.dir) {
						faults = append(faults, fmt.Sprintf("%s: %s writes the table %s, which is %s's", t.at(lit.Pos()), p.dir, m[1], o))
					}
				}
				return true
			})
		}
	}
	return faults
}

func TestEachTableHasOneWriter(t *testing.T) {
	tr := ours(t)
	o := owners(tr)
	if len(o) < 10 {
		t.Fatalf("only %d tables found in the schema: the test reads it wrongly", len(o))
	}
	for table, owner := range o {
		if owner == "" {
			t.Errorf("the table %s has no comment above it that names its writer", table)
		}
	}
	report(t, checkWriters(tr))
}

func TestSQLStandsInConstants(t *testing.T) {
	_, faults := statements(ours(t))
	report(t, faults)
}

func TestEveryStatementPrepares(t *testing.T) {
	found, _ := statements(ours(t))
	if len(found) == 0 {
		t.Fatal("no SQL constants found")
	}
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		if d.Engine() == db.Postgres {
			dbtest.FakeCitus(t, d) // what Citus has, by name and arguments
		}
		for _, s := range found {
			if !s.runsOn(d.Engine()) || dbtest.Cluster() && s.name == "sqlPostgresMakeKey" {
				continue // a first load leaves the index alone where tables are distributed
			}
			if err := prepare(t.Context(), d, s.text); err != nil {
				t.Errorf("%s: %s: %v", s.at, s.name, err)
			}
		}
		if err := prepare(t.Context(), d, `SELECT nothing FROM customers WHERE ord = $1`); err == nil {
			t.Error("a misspelt column was prepared: the test is blind")
		}
	})
}

var errUndo = errors.New("undo")

// prepare has the engine parse the statement and resolve its names without
// running it. What cannot be prepared, a definition, runs and is rolled back.
func prepare(ctx context.Context, d *db.DB, text string) error {
	if m := copyIn.FindStringSubmatch(text); m != nil {
		text = "SELECT " + m[2] + " FROM " + m[1] // the table and its columns are all there is to misspell
	}
	err := d.Tx(ctx, func(q db.Queryer) error {
		var err error
		switch {
		case pragma.MatchString(text): // some of them do not run in a transaction
			err = q.Rows(ctx, func(db.Row) error { return nil }, "EXPLAIN "+text)
		case !dataChange.MatchString(text):
			_, err = q.Exec(ctx, text)
		case d.Engine() == db.SQLite:
			args := 0
			for _, n := range numbered.FindAllString(text, -1) {
				var i int
				fmt.Sscanf(n, "$%d", &i)
				args = max(args, i)
			}
			err = q.Rows(ctx, func(db.Row) error { return nil }, "EXPLAIN "+text, make([]any, args)...)
		default:
			if _, err = q.Exec(ctx, "PREPARE structure AS "+text); err == nil {
				_, err = q.Exec(ctx, "DEALLOCATE structure")
			}
		}
		return errors.Join(err, errUndo)
	})
	if j, ok := err.(interface{ Unwrap() []error }); ok && len(j.Unwrap()) == 1 {
		return nil
	}
	return err
}
