package structure

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// wings are the folders of internal/, each of which may import those before it. The
// packages that strangers import have their places among them: api and evidence stand
// on the platform alone.
var wings = []string{
	"internal/platform",
	"api",
	"client",
	"evidence",
	"internal/vault",
	"internal/watch",
	"internal/respond",
	"internal/customer",
	"internal/govern",
	"internal/web",
	"internal/app",
	"internal/exercise",
	"cloakroomtest",
	"cmd",
}

// order is, wing by wing, the way through a request or a breach. A package imports only
// what stands before it; a folder below a package has that package's place.
var order = []string{
	"internal/platform/build",
	"internal/platform/fault",
	"internal/platform/codec",
	"internal/platform/record",
	"internal/platform/cards",
	"internal/platform/entry",
	"internal/platform/invent",
	"internal/platform/db",
	"internal/platform/follow",
	"internal/platform/rights",
	"internal/platform/revision",
	"internal/platform/keys",
	"internal/platform/idempotency",
	"api",
	"client",
	"evidence",
	"internal/vault/brands",
	"internal/vault/identity",
	"internal/vault/containment",
	"internal/vault/access",
	"internal/vault/budget",
	"internal/vault/ledger",
	"internal/vault/door",
	"internal/vault/change",
	"internal/vault/signin",
	"internal/vault/approval",
	"internal/vault/internal/opener",
	"internal/vault/seal",
	"internal/vault/mask",
	"internal/vault/disclose",
	"internal/vault/audit",
	"internal/vault/intake",
	"internal/vault/export",
	"internal/vault/erase",
	"internal/watch/exposure",
	"internal/watch/detect",
	"internal/watch/alarm",
	"internal/watch/canary",
	"internal/watch/notify",
	"internal/watch/witness",
	"internal/respond/contain",
	"internal/respond/scope",
	"internal/respond/severity",
	"internal/respond/duties",
	"internal/respond/notice",
	"internal/respond/incident",
	"internal/respond/claim",
	"internal/customer/message",
	"internal/customer/campaign",
	"internal/govern/admin",
	"internal/govern/upkeep",
	"internal/govern/backup",
	"internal/web/session",
	"internal/web/server",
	"internal/web/page",
	"internal/web/console",
	"internal/app",
	"internal/exercise/generate",
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
	"internal/platform/entry": {"internal/platform/record", "internal/platform/fault"},
	// A page knows no vault, and the console asks one through the API: so that nothing is
	// decided a second time.
	"internal/web/page":       {},
	"internal/web/console":    {"internal/web/page", "client", "api"},
	"internal/platform/cards": {},
	"internal/platform/fault": {},
	"internal/platform/codec": {},
}

func place(dir string) int {
	return slices.IndexFunc(order, func(o string) bool { return within(dir, o) })
}

func within(dir, folder string) bool { return dir == folder || strings.HasPrefix(dir, folder+"/") }

// checkWings finds packages of internal/ outside the wings, and wings that have more
// than their description, or none.
func checkWings(t *tree) []string {
	var faults []string
	described := map[string]bool{}
	for _, p := range t.pkgs {
		wing := slices.IndexFunc(wings, func(w string) bool { return within(p.dir, w) })
		switch {
		case p.dir == "internal/structure":
		case wing < 0:
			faults = append(faults, fmt.Sprintf("%s is in no wing: move it into one, or name its wing in internal/structure/order_test.go", p.dir))
		case p.dir == wings[wing] && isWing(p.dir):
			described[p.dir] = true
			if len(p.files) > 1 || p.files["doc.go"] == nil {
				faults = append(faults, fmt.Sprintf("%s is a wing: its code belongs in a package of it, and its description in doc.go", p.dir))
			}
		}
	}
	for _, p := range t.pkgs {
		if i := strings.LastIndex(p.dir, "/"); i > 0 && isWing(p.dir[:i]) && !described[p.dir[:i]] {
			faults = append(faults, fmt.Sprintf("%s has no doc.go that says what lives there and what may not", p.dir[:i]))
		}
	}
	return faults
}

// isWing reports whether a folder holds packages and is none itself, as app is.
func isWing(dir string) bool {
	return slices.Contains(wings, dir) && strings.HasPrefix(dir, "internal/") && !slices.Contains(order, dir)
}

func TestEveryPackageIsInAWing(t *testing.T) { report(t, checkWings(ours(t))) }

// The order of packages goes through the wings one after the other, so that no package
// of a wing can come before one of an earlier wing.
func TestTheOrderFollowsTheWings(t *testing.T) {
	last := 0
	for _, o := range order {
		wing := slices.IndexFunc(wings, func(w string) bool { return within(o, w) })
		if wing < last {
			t.Errorf("%s (wing %d) stands after a package of %s", o, wing, wings[last])
		}
		last = max(last, wing)
	}
}

func checkOrder(t *tree) []string {
	var faults []string
	for _, p := range t.pkgs {
		if p.dir == "internal/structure" || isWing(p.dir) {
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
