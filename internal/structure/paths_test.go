package structure

import (
	"fmt"
	"go/ast"
	"strings"
	"testing"
)

// checkPaths finds paths of the API in the command: a path is spelt in package client,
// once, where a test holds it against the API's description.
func checkPaths(t *tree) []string {
	var faults []string
	for _, p := range t.pkgs {
		if p.dir != "cmd/cloakroom" {
			continue
		}
		for _, f := range p.files {
			ast.Inspect(f, func(n ast.Node) bool {
				switch x := n.(type) {
				case *ast.BasicLit:
					if strings.HasPrefix(unquote(x), "/v1/") {
						faults = append(faults, fmt.Sprintf("%s: %s spells a path of the API: call the client's method", t.at(x.Pos()), p.dir))
					}
				case *ast.SelectorExpr:
					if from, ok := x.X.(*ast.Ident); ok && from.Name == "client" && x.Sel.Name == "Path" {
						faults = append(faults, fmt.Sprintf("%s: %s builds a path of the API: call the client's method", t.at(x.Pos()), p.dir))
					}
				}
				return true
			})
		}
	}
	return faults
}

func TestTheCommandSpellsNoPath(t *testing.T) { report(t, checkPaths(ours(t))) }
