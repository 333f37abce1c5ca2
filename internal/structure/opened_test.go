package structure

import (
	"fmt"
	"go/ast"
	"slices"
	"testing"
)

// opens are the packages that may have an opened profile in hand: the one that opens
// it, and the one way to it.
var opens = []string{"internal/vault/seal", "internal/vault/disclose"}

// opening says which methods of seal.Store open customers, by name and number of
// arguments: nothing else in the module has both.
var opening = map[string]int{"Open": 3, "Match": 6}

// checkOpened finds packages that reach an opened profile past disclose.
func checkOpened(t *tree) []string {
	var faults []string
	for _, p := range t.pkgs {
		if slices.Contains(opens, p.dir) {
			continue
		}
		for _, f := range p.files {
			name := ""
			for _, imp := range f.Imports {
				if unquote(imp.Path) == module+"/internal/vault/seal" {
					name = "seal"
					if imp.Name != nil {
						name = imp.Name.Name
					}
				}
			}
			if name == "" && p.dir != "internal/app" {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == name && n.Sel.Name == "Profile" {
						faults = append(faults, fmt.Sprintf("%s: %s has an opened profile: go through disclose", t.at(n.Pos()), p.dir))
					}
				case *ast.CallExpr:
					s, ok := n.Fun.(*ast.SelectorExpr)
					if !ok || opening[s.Sel.Name] == 0 || len(n.Args) != opening[s.Sel.Name] {
						return true
					}
					if on, ok := s.X.(*ast.Ident); ok && on.Name != "store" && on.Name != "s" {
						return true // a function of another package, as vault.Open
					}
					faults = append(faults, fmt.Sprintf("%s: %s opens customers: go through disclose", t.at(n.Pos()), p.dir))
				}
				return true
			})
		}
	}
	return faults
}

func TestNobodyElseOpensCustomers(t *testing.T) { report(t, checkOpened(ours(t))) }
