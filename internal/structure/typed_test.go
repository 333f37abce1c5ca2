package structure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// typed is the module with its types: what a name stands for, however it is spelt.
type typed struct {
	fset  *token.FileSet
	pkgs  map[string]*checked // by folder
	dirs  []string            // in the order of imports
	built types.Importer      // of other modules
}

// checked is one package, from its source.
type checked struct {
	dir   string
	files []*ast.File
	pkg   *types.Package
	info  *types.Info
}

// Import finds packages of the module among those checked, and others where the
// compiler left them.
func (t *typed) Import(name string) (*types.Package, error) {
	if dir, ok := strings.CutPrefix(name, module+"/"); ok {
		if p := t.pkgs[dir]; p != nil {
			return p.pkg, nil
		}
		return nil, fmt.Errorf("%s is not checked yet", name)
	}
	return t.built.Import(name)
}

func (t *typed) check(dir string, files []*ast.File) (*checked, error) {
	p := &checked{dir: dir, files: files, info: &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{}, Instances: map[*ast.Ident]types.Instance{},
	}}
	conf := types.Config{Importer: t, Sizes: types.SizesFor("gc", "amd64")}
	var err error
	p.pkg, err = conf.Check(path.Join(module, dir), t.fset, files, p.info)
	return p, err
}

// plant checks a package with a file that is not there: alone, or beside the files of the
// package that is.
func (t *typed) plant(dir, src string) (*checked, error) {
	f, err := parser.ParseFile(t.fset, dir+"/planted.go", src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	files := []*ast.File{f}
	if p := t.pkgs[dir]; p != nil {
		files = append(slices.Clone(p.files), f)
	}
	return t.check(dir, files)
}

// types loads the module once for all tests. Packages of other modules come from the
// build cache, where `go build` put them: reading all of theirs would take ten times as
// long.
var loaded = sync.OnceValues(func() (*typed, error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles,Module", "./...")
	cmd.Dir = filepath.Join("..", "..")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.Bytes())
	}
	t := &typed{fset: token.NewFileSet(), pkgs: map[string]*checked{}}
	exports := map[string]string{}
	t.built = importer.ForCompiler(t.fset, "gc", func(name string) (io.ReadCloser, error) {
		if exports[name] == "" {
			return nil, fmt.Errorf("%s is not built", name)
		}
		return os.Open(exports[name])
	})
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Export, Dir string
			GoFiles                 []string
			Module                  *struct{ Path string }
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return t, nil
		} else if err != nil {
			return nil, err
		}
		if p.Module == nil || p.Module.Path != module {
			exports[p.ImportPath] = p.Export
			continue
		}
		dir := strings.TrimPrefix(p.ImportPath, module+"/")
		var files []*ast.File
		for _, name := range p.GoFiles {
			src, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				return nil, err
			}
			f, err := parser.ParseFile(t.fset, dir+"/"+name, src, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
		c, err := t.check(dir, files)
		if err != nil {
			return nil, err
		}
		t.pkgs[dir], t.dirs = c, append(t.dirs, dir)
	}
})

func oursTyped(t *testing.T) *typed {
	t.Helper()
	tr, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.dirs) < 30 {
		t.Fatalf("only %d packages were checked: the test looks in the wrong place", len(tr.dirs))
	}
	return tr
}

func (t *typed) at(p token.Pos) string {
	pos := t.fset.Position(p)
	return fmt.Sprintf("%s:%d", pos.Filename, pos.Line)
}

// short is the full name of an object without the module.
func short(o types.Object) string {
	if f, ok := o.(*types.Func); ok {
		return strings.ReplaceAll(f.Origin().FullName(), module+"/", "")
	}
	if o.Pkg() == nil {
		return o.Name()
	}
	return strings.TrimPrefix(o.Pkg().Path(), module+"/") + "." + o.Name()
}

// within calls fn for every node of a package, with the name of the declaration that it
// stands in.
func (p *checked) within(fn func(in string, n ast.Node)) {
	for _, f := range p.files {
		for _, d := range f.Decls {
			in := p.dir + " (a declaration)"
			if d, ok := d.(*ast.FuncDecl); ok {
				in = short(p.info.Defs[d.Name])
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if n != nil {
					fn(in, n)
				}
				return true
			})
		}
	}
}
