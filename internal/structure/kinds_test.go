package structure

import (
	"fmt"
	"go/ast"
	"strings"
	"testing"
)

// kinded are the wings whose errors answer requests.
var kinded = []string{"internal/platform/", "internal/vault/", "internal/watch/", "internal/respond/", "internal/customer/", "internal/govern/"}

// checkKinds finds exported errors that are declared without a kind: a request that
// meets one is answered as if the vault had failed.
func checkKinds(t *tree) []string {
	var faults []string
	for _, p := range t.pkgs {
		inside := false
		for _, wing := range kinded {
			inside = inside || strings.HasPrefix(p.dir, wing)
		}
		if !inside {
			continue
		}
		for _, f := range p.files {
			for _, d := range f.Decls {
				g, ok := d.(*ast.GenDecl)
				if !ok {
					continue
				}
				for _, s := range g.Specs {
					v, ok := s.(*ast.ValueSpec)
					if !ok {
						continue
					}
					for i, name := range v.Names {
						if name.IsExported() && i < len(v.Values) && plainError(v.Values[i]) {
							faults = append(faults, fmt.Sprintf("%s: %s has no kind: declare it with fault.New", t.at(name.Pos()), name.Name))
						}
					}
				}
			}
		}
	}
	return faults
}

// plainError reports whether an expression makes an error that knows no kind.
func plainError(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	from, ok := sel.X.(*ast.Ident)
	return ok && (from.Name == "errors" && (sel.Sel.Name == "New" || sel.Sel.Name == "Join") || from.Name == "fmt" && sel.Sel.Name == "Errorf")
}

func TestEveryErrorHasAKind(t *testing.T) { report(t, checkKinds(ours(t))) }
