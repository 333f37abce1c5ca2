package structure

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// hostClock lists the files that may read this machine's clock, and for what. Everything
// that decides or is logged goes by the database's, which all servers share: their own
// clocks may differ by minutes.
var hostClock = map[string]string{
	"internal/app/faults.go":                    "an alarm from memory has the time of this machine, and is not repeated within an hour",
	"internal/app/apptest/apptest.go":           "a test's vault has a clock that the test moves on",
	"internal/respond/contain/contain.go":       "how long it took to contain",
	"internal/vault/containment/outcome.go":     "what a contained caller quotes to the security team",
	"internal/respond/contain/reflex.go":        "how long it took to contain",
	"internal/respond/incident/breakdown.go":    "how long one request counts",
	"internal/watch/witness/follow.go":          "how long this server waits for a witness",
	"internal/web/server/claims.go":             "how long the connection of a client may stall",
	"internal/web/server/incidents.go":          "how long the connection of a client may stall",
	"internal/govern/backup/backup.go":          "how often progress is drawn",
	"internal/platform/db/pipeline_postgres.go": "how long a transaction was idle",
	"internal/platform/db/postgres.go":          "how old a reading of the database's clock is, for early refusals alone",
	"internal/platform/db/tables.go":            "when a restore began, for people",
	"internal/platform/follow/follow.go":        "which of two readings of a cursor is the newer",
	"internal/platform/follow/store.go":         "which of two readings of a cursor is the newer",
	"internal/platform/follow/worker.go":        "how long the stored cursor has lagged, and the pace of a busy log",
	"internal/vault/seal/rewrap.go":             "how often progress is noted",
	"internal/customer/message/post.go":         "how long a mail server is waited for",
	"internal/customer/message/send.go":         "how many mails a second go to a mailbox provider",
	"internal/watch/notify/mail.go":             "how long a mail server is waited for at the end",
	"internal/watch/notify/send.go":             "how often progress is noted",
	"internal/watch/notify/webhook.go":          "when a request is sent, which its receiver holds against its own clock",
	"internal/web/server/again.go":              "until when a body must have arrived",
	"internal/web/server/room.go":               "until when the next part of a body must have arrived",
	"internal/web/server/metrics.go":            "how long a request took",
	"internal/platform/db/schema.go":            "when a migration ran, for people",
	"internal/platform/db/settings.go":          "how far this machine's clock is from the database's",
	"internal/platform/db/sqlite.go":            "on one machine it is the database's",
	"internal/watch/canary/listen.go":           "how long it takes to refuse a connection",
	"internal/vault/ledger/commit.go":           "how long a commit took, for the metrics",
	"internal/web/server/gauges.go":             "how far this machine's clock is from the database's",
	"internal/vault/ledger/refusal.go":          "how long repeats of a refusal are gathered",
	"internal/vault/ledger/watch.go":            "since when a log is not well, and how much time looking through it takes",
	"internal/watch/notify/urgent.go":           "when an urgent alarm is tried again",
	"internal/web/server/server.go":             "how long a request took",
	"internal/web/console/keys.go":              "when a session in this process's memory was begun and used; its credential goes by the database's",
	"internal/web/console/live.go":              "how long a browser may stall",
}

func checkClock(t *tree) []string {
	var faults []string
	for _, p := range t.pkgs {
		if strings.HasPrefix(p.dir, "cmd/") || slices.Contains(strings.Split(p.dir, "/"), "dbtest") {
			continue // progress on a terminal, and tests
		}
		for file, f := range p.files {
			if _, may := hostClock[p.dir+"/"+file]; may {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until"}, s.Sel.Name) {
						faults = append(faults, fmt.Sprintf("%s: time.%s reads this machine's clock: use the database's, or say in hostClock what for", t.at(s.Pos()), s.Sel.Name))
					}
				}
				return true
			})
		}
	}
	return faults
}

func TestNothingGoesByAServersClock(t *testing.T) { report(t, checkClock(ours(t))) }
