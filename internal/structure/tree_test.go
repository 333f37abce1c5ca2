package structure

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/cloakroom/cloakroom"

// pkg is one folder of Go files without its tests, which may break the rules of
// the structure: they plant, compare and look behind.
type pkg struct {
	dir   string // from the module's root, with slashes
	files map[string]*ast.File
}

// tree is the module, parsed.
type tree struct {
	fset *token.FileSet
	pkgs []*pkg
}

func (t *tree) at(p token.Pos) string {
	pos := t.fset.Position(p)
	return fmt.Sprintf("%s:%d", pos.Filename, pos.Line)
}

// parse reads every package below the root of fsys.
func parse(fsys fs.FS) (*tree, error) {
	t := &tree{fset: token.NewFileSet()}
	byDir := map[string]*pkg{}
	err := fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			base := e.Name()
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata") {
				return fs.SkipDir
			}
			if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil && name != "." {
				return fs.SkipDir // another module
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		p := byDir[dir]
		if p == nil {
			p = &pkg{dir: dir, files: map[string]*ast.File{}}
			byDir[dir] = p
			t.pkgs = append(t.pkgs, p)
		}
		p.files[path.Base(name)] = f
		return nil
	})
	return t, err
}

// ours parses the module that this test stands in.
func ours(t *testing.T) *tree {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := parse(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.pkgs) == 0 {
		t.Fatal("no packages found: the test looks in the wrong place")
	}
	return tr
}

func report(t *testing.T, faults []string) {
	t.Helper()
	for _, f := range faults {
		t.Error(f)
	}
}

func unquote(lit *ast.BasicLit) string {
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return s
}

// functions are the names of a file's functions.
func functions(f *ast.File) (out []string) {
	for _, d := range f.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && d.Recv == nil {
			out = append(out, d.Name.Name)
		}
	}
	return out
}
