package structure

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// order is the way through a request. A package imports only what stands before
// it; a folder below a package has that package's place. What is listed and not
// built yet keeps its place.
var order = []string{
	"internal/platform/record",
	"internal/platform/cards",
	"internal/exercise/generate",
	"api",
	"client",
	"internal/platform/db",
	"internal/platform/revision",
	"internal/platform/keys",
	"internal/vault/brands",
	"internal/vault/identity",
	"internal/vault/containment",
	"internal/vault/access",
	"internal/platform/idempotency",
	"internal/vault/budget",
	"internal/platform/entry",
	"evidence",
	"internal/vault/ledger",
	"internal/vault/door",
	"internal/watch/exposure",
	"internal/vault/seal",
	"internal/vault/mask",
	"internal/vault/disclose",
	"internal/vault/intake",
	"internal/watch/canary",
	"internal/vault/export",
	"internal/watch/detect",
	"internal/watch/decoymail",
	"internal/watch/notify",
	"internal/govern/admin",
	"internal/app",
	"internal/govern/backup",
	"internal/web/server",
	"internal/exercise/drill",
	"cloakroomtest",
	"cmd",
}

// only holds the packages that strangers compile or trust, to the few imports
// that they may have from this module.
var only = map[string][]string{
	"evidence":                {"internal/platform/record", "internal/platform/entry", "api"},
	"client":                  {"api"},
	"api":                     {"internal/platform/record"},
	"internal/platform/entry": {"internal/platform/record"},
	"internal/platform/cards": {},
}

func place(dir string) int {
	return slices.IndexFunc(order, func(o string) bool { return dir == o || strings.HasPrefix(dir, o+"/") })
}

func checkOrder(t *tree) []string {
	var faults []string
	for _, p := range t.pkgs {
		if p.dir == "internal/structure" {
			continue
		}
		here := place(p.dir)
		if here < 0 {
			faults = append(faults, fmt.Sprintf("%s has no place in the order of packages: give it one in internal/structure/order_test.go", p.dir))
			continue
		}
		for _, f := range p.files {
			for _, imp := range f.Imports {
				dir, ok := strings.CutPrefix(unquote(imp.Path), module+"/")
				if !ok {
					continue
				}
				allowed, narrow := only[order[here]]
				there := place(dir)
				switch {
				case strings.HasSuffix(path.Base(dir), "test") && path.Base(p.dir) != path.Base(dir) && !strings.HasSuffix(path.Base(p.dir), "test"):
					faults = append(faults, fmt.Sprintf("%s: %s imports %s, which is for tests", t.at(imp.Pos()), p.dir, dir))
				case there > here || there < 0:
					faults = append(faults, fmt.Sprintf("%s: %s imports %s, which comes after it", t.at(imp.Pos()), p.dir, dir))
				case narrow && there != here && !slices.Contains(allowed, order[there]):
					faults = append(faults, fmt.Sprintf("%s: %s imports %s; it may import only %v", t.at(imp.Pos()), p.dir, dir, allowed))
				}
			}
		}
	}
	return faults
}

// layers are names that say where code sits and not what it does.
var layers = []string{"util", "utils", "common", "model", "models", "service", "services", "helper", "helpers", "misc"}

func checkNames(t *tree) []string {
	var faults []string
	for _, p := range t.pkgs {
		for _, f := range p.files {
			for _, part := range append(strings.Split(p.dir, "/"), f.Name.Name) {
				if slices.Contains(layers, part) {
					faults = append(faults, fmt.Sprintf("%s: %s names a layer, not what the package does", p.dir, part))
				}
			}
			break // one package clause speaks for the folder
		}
	}
	return faults
}

func checkComments(t *tree) []string {
	var faults []string
	for _, p := range t.pkgs {
		var commented []*ast.File
		name := ""
		for _, f := range p.files {
			name = f.Name.Name
			if f.Doc != nil {
				commented = append(commented, f)
			}
		}
		switch {
		case len(commented) == 0:
			faults = append(faults, fmt.Sprintf("%s has no package comment", p.dir))
		case len(commented) > 1:
			faults = append(faults, fmt.Sprintf("%s has %d package comments", p.dir, len(commented)))
		case name != "main" && !strings.HasPrefix(commented[0].Doc.Text(), "Package "+name+" "):
			faults = append(faults, fmt.Sprintf("%s: the package comment does not begin with %q", p.dir, "Package "+name))
		}
	}
	return faults
}

func TestImportsPointOneWay(t *testing.T)          { report(t, checkOrder(ours(t))) }
func TestNoPackageIsNamedAfterALayer(t *testing.T) { report(t, checkNames(ours(t))) }
func TestEveryPackageHasAComment(t *testing.T)     { report(t, checkComments(ours(t))) }
