package structure

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// waits lists the files that may wait again and again by themselves, and why. All other
// work in the background follows the logs, or goes round in a follow.Loop.
var waits = map[string]string{
	"internal/platform/follow/follow.go":     "the one poll of all followers",
	"internal/platform/follow/loop.go":       "the one loop",
	"internal/platform/follow/worker.go":     "the one follower",
	"internal/platform/db/db.go":             "between two runs of a transaction",
	"internal/platform/db/dbtest/server.go":  "a test's database server starts",
	"internal/platform/keys/hold.go":         "a hold on the root key is renewed while its work runs",
	"internal/platform/revision/revision.go": "between two decisions on a request",
	"internal/vault/change/due.go":           "a person waits a little for a receiver of an alarm",
	"internal/vault/intake/write.go":         "between two tries of a write",
	"internal/vault/ledger/commit.go":        "the committer is what followers follow; it gathers refusals",
	"internal/web/console/live.go":           "a page waits for news, and asks the API for them",
	"internal/govern/upkeep/rotate.go":       "a person waits for a rotation, which has its own place and lease",
}

// checkLoops finds loops that wait by a clock, and wakes, outside of package follow.
func checkLoops(t *tree) []string {
	var faults []string
	for _, p := range t.pkgs {
		if strings.HasPrefix(p.dir, "cmd/") {
			continue // a person waits at a terminal
		}
		for file, f := range p.files {
			if waits[p.dir+"/"+file] != "" {
				continue
			}
			inLoop := func(n ast.Node) {
				ast.Inspect(n, func(n ast.Node) bool {
					if name := ofTime(n); slices.Contains([]string{"After", "NewTimer", "Sleep"}, name) {
						faults = append(faults, fmt.Sprintf("%s: a loop waits by time.%s: follow the log, or use follow.Loop", t.at(n.Pos()), name))
					}
					return true
				})
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ForStmt:
					inLoop(n.Body)
					return false
				case *ast.RangeStmt:
					inLoop(n.Body)
					return false
				case *ast.FuncDecl:
					if n.Name.Name == "Wake" && n.Recv != nil {
						faults = append(faults, fmt.Sprintf("%s: a Wake of its own: embed *follow.Loop", t.at(n.Pos())))
					}
				}
				return true
			})
			ast.Inspect(f, func(n ast.Node) bool {
				if name := ofTime(n); name == "NewTicker" || name == "Tick" {
					faults = append(faults, fmt.Sprintf("%s: time.%s makes a loop of its own: follow the log, or use follow.Loop", t.at(n.Pos()), name))
				}
				return true
			})
		}
	}
	return faults
}

// ofTime is the name of a function of package time, empty for anything else.
func ofTime(n ast.Node) string {
	s, ok := n.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if x, ok := s.X.(*ast.Ident); !ok || x.Name != "time" {
		return ""
	}
	return s.Sel.Name
}

func TestWorkInTheBackgroundFollows(t *testing.T) { report(t, checkLoops(ours(t))) }
