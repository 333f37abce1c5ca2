package structure

import (
	"fmt"
	"go/ast"
	"testing"
)

// details is the package in which the details of entries are declared and encoded.
const details = "internal/platform/entry"

// checkDetails finds details of entries that are spelt out as texts, or declared
// outside their package. That a detail is a type of that package the compiler holds:
// the interface has a method that is not exported.
func checkDetails(t *tree) []string {
	var faults []string
	for _, p := range t.pkgs {
		if p.dir == details {
			continue
		}
		for _, f := range p.files {
			fault := func(n ast.Node, what string) {
				faults = append(faults, fmt.Sprintf("%s: %s: use a type of %s", t.at(n.Pos()), what, details))
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.KeyValueExpr:
					if k, ok := n.Key.(*ast.Ident); ok && k.Name == "Detail" && isTexts(n.Value) {
						fault(n, "a detail of texts")
					}
				case *ast.CompositeLit:
					if isTexts(n) {
						for _, e := range n.Elts {
							kv, ok := e.(*ast.KeyValueExpr)
							if !ok {
								continue
							}
							if k, ok := kv.Key.(*ast.BasicLit); ok && (unquote(k) == "change" || unquote(k) == "step") {
								fault(n, "a change of an entry as texts")
							}
						}
					}
				case *ast.IndexExpr:
					if s, ok := n.X.(*ast.SelectorExpr); ok && s.Sel.Name == "Detail" {
						fault(n, "a detail read by the name of a text")
					}
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "entry" && n.Sel.Name == "Extra" {
						fault(n, "a detail declared elsewhere")
					}
				}
				return true
			})
		}
	}
	return faults
}

func isTexts(x ast.Expr) bool {
	c, ok := x.(*ast.CompositeLit)
	if !ok {
		return false
	}
	m, ok := c.Type.(*ast.MapType)
	if !ok {
		return false
	}
	k, ok := m.Key.(*ast.Ident)
	v, ok2 := m.Value.(*ast.Ident)
	return ok && ok2 && k.Name == "string" && v.Name == "string"
}

func TestDetailsAreTypes(t *testing.T) { report(t, checkDetails(ours(t))) }
