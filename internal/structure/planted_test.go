package structure

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cloakroom/cloakroom/internal/platform/db"
)

// Every check is shown one fault and one tree without it.
func TestChecksSeePlantedFaults(t *testing.T) {
	const schema = "package db\nvar migrations = []string{\n// seal\n`CREATE TABLE customers (ord bigint)`,\n// ledger\n`CREATE TABLE log_heads (size bigint)`}"
	sql := func(t *tree) []string { _, f := statements(t); return f }
	for _, c := range []struct {
		name, file, src string
		check           func(*tree) []string
		want            string // "" for no fault
	}{
		{"forward import", "internal/vault/budget/a.go", `package budget; import _ "` + module + `/internal/vault/seal"`, checkOrder, "comes after"},
		{"backward import", "internal/vault/seal/a.go", `package seal; import _ "` + module + `/internal/vault/budget"`, checkOrder, ""},
		{"unknown package", "internal/odd/a.go", `package odd`, checkOrder, "no place"},
		{"narrow package", "evidence/a.go", `package evidence; import _ "` + module + `/internal/platform/db"`, checkOrder, "may import only"},
		{"test package in the product", "internal/vault/seal/a.go", `package seal; import _ "` + module + `/internal/platform/db/dbtest"`, checkOrder, "for tests"},
		{"upward import", "internal/platform/keys/a.go", `package keys; import _ "` + module + `/internal/vault/seal"`, checkOrder, "comes after"},
		{"watch above respond", "internal/watch/detect/a.go", `package detect; import _ "` + module + `/internal/govern/admin"`, checkOrder, "comes after"},
		{"web in the assembly's place", "internal/web/server/a.go", `package server; import _ "` + module + `/internal/app"`, checkOrder, "comes after"},
		{"no wing", "internal/odd/a.go", `package odd`, checkWings, "in no wing"},
		{"code in a wing", "internal/vault/a.go", "// Package vault is.\npackage vault", checkWings, "belongs in a package"},
		{"wing without a description", "internal/watch/odd/a.go", `package odd`, checkWings, "no doc.go"},
		{"wing", "internal/watch/doc.go", "// Package watch is.\npackage watch", checkWings, ""},
		{"layer", "internal/util/a.go", `package util`, checkNames, "names a layer"},
		{"no comment", "internal/vault/seal/a.go", `package seal`, checkComments, "no package comment"},
		{"comment", "internal/vault/seal/a.go", "// Package seal seals.\npackage seal", checkComments, ""},
		{"foreign insert", "internal/vault/seal/a.go", "package seal\nconst sqlX = `INSERT INTO log_heads (size) VALUES ($1)`", checkWriters, "ledger's"},
		{"foreign update outside a constant", "internal/vault/seal/a.go", "package seal\nvar x = `UPDATE log_heads AS h SET size = 1`", checkWriters, "ledger's"},
		{"own upsert", "internal/vault/seal/a.go", "package seal\nconst sqlX = `INSERT INTO customers (ord) VALUES ($1) ON CONFLICT (ord) DO UPDATE SET ord = $1`", checkWriters, ""},
		{"foreign read", "internal/vault/seal/a.go", "package seal\nconst sqlX = `SELECT size FROM log_heads FOR UPDATE`", checkWriters, ""},
		{"loose SQL", "internal/vault/seal/a.go", "package seal\nvar x = `DELETE FROM customers`", sql, "outside a constant"},
		{"variable", "internal/vault/seal/a.go", "package seal\nvar sqlX = y()", sql, "is a variable"},
		{"host clock", "internal/vault/budget/a.go", "package budget\nimport \"time\"\nvar x = time.Now()", checkClock, "this machine's clock"},
		{"clock on a terminal", "cmd/cloakroom/a.go", "package main\nimport \"time\"\nvar x = time.Now()", checkClock, ""},
		{"ticker", "internal/watch/notify/a.go", "package notify\nimport \"time\"\nfunc f() { t := time.NewTicker(1); defer t.Stop() }", checkLoops, "a loop of its own"},
		{"loop that waits", "internal/watch/notify/a.go", "package notify\nimport \"time\"\nfunc f() { for { select { case <-time.After(1): } } }", checkLoops, "waits by time.After"},
		{"wake", "internal/watch/notify/a.go", "package notify\ntype S struct{}\nfunc (s *S) Wake() {}", checkLoops, "a Wake of its own"},
		{"deadline", "internal/watch/notify/a.go", "package notify\nimport \"time\"\nfunc f() { late := time.After(1); for { select { case <-late: return; default: } } }", checkLoops, ""},
		{"a detail of texts", "internal/govern/admin/a.go", "package admin\nvar e = ledger.Event{Detail: map[string]string{\"id\": \"1\"}}", checkDetails, "a detail of texts"},
		{"a change of texts", "internal/govern/admin/a.go", "package admin\nvar d = map[string]string{\"change\": \"role\"}", checkDetails, "as texts"},
		{"a detail read as texts", "internal/watch/detect/a.go", "package detect\nvar d = e.Detail[\"change\"]", checkDetails, "by the name"},
		{"a detail declared elsewhere", "internal/watch/detect/a.go", "package detect\ntype d struct{ entry.Extra }", checkDetails, "declared elsewhere"},
		{"a typed detail", "internal/govern/admin/a.go", "package admin\nvar e = ledger.Event{Detail: entry.RoleSet{Role: \"x\"}}", checkDetails, ""},
		{"help that reads as translated", "cmd/cloakroom/a.go", "package main\ntype c struct { x int `help:\"Who is told of it.\"` }", checkVoice, "notified"},
		{"an error that reads as translated", "internal/vault/containment/a.go", "package containment\nvar err = errors.New(\"there is no such alarm\")", checkVoice, "no such X"},
		{"an alarm in plain English", "internal/watch/detect/a.go", "package detect\nvar seen = \"read 1 canary (1 customer in this request)\"", checkVoice, ""},
		{"error without a kind", "internal/vault/export/a.go", "package export\nimport \"errors\"\nvar ErrGone = errors.New(`gone`)", checkKinds, "ErrGone has no kind"},
		{"formatted error without a kind", "internal/respond/claim/a.go", "package claim\nimport \"fmt\"\nvar (\nx = 1\nErrMost = fmt.Errorf(`more than %d`, x)\n)", checkKinds, "ErrMost has no kind"},
		{"error with a kind", "internal/watch/detect/a.go", "package detect\nimport \"" + module + "/internal/platform/fault\"\nvar ErrGone = fault.New(fault.NotFound, `gone`)", checkKinds, ""},
		{"error that stays in its package", "internal/platform/db/a.go", "package db\nimport \"errors\"\nvar errRetry = errors.New(`retry`)", checkKinds, ""},
		{"error of the terminal", "cmd/cloakroom/a.go", "package main\nimport \"errors\"\nvar ErrGone = errors.New(`gone`)", checkKinds, ""},
		{"path of the API", "cmd/cloakroom/a.go", "package main\nfunc f(v *connection) { v.Do(ctx, `GET`, `/v1/brands`, nil, nil) }", checkPaths, "spells a path"},
		{"built path of the API", "cmd/cloakroom/a.go", "package main\nfunc f(v *connection) { v.Do(ctx, `GET`, client.Path(`brands`), nil, nil) }", checkPaths, "builds a path"},
		{"typed call", "cmd/cloakroom/a.go", "package main\nfunc f(v *connection) { v.Brands(ctx) }", checkPaths, ""},
		{"pieces", "internal/vault/seal/a.go", "package seal\nconst cols = `ord`\nconst sqlX = `SELECT ` + cols + ` FROM customers`", sql, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, err := parse(fstest.MapFS{
				c.file:                           {Data: []byte(c.src)},
				"internal/platform/db/schema.go": {Data: []byte("// Package db is db.\n" + schema)},
				"internal/platform/doc.go":       {Data: []byte("// Package platform is the platform.\npackage platform")},
			})
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(c.check(tr), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheTableCheckSeesPlantedFaults(t *testing.T) {
	const schema = "package db\nvar migrations = []string{\n// seal\n`CREATE TABLE customers (\n\tord bigint PRIMARY KEY,\n\tsealed blob\n)`,\n// notify\n`CREATE TABLE receivers (name text)`}"
	const code = "package seal\nconst (\nsqlErase = `DELETE FROM customers WHERE ord = $1`\nsqlOther = `SELECT name FROM receivers`\n)"
	const good = "| table | writer | backup and restore | rotation | erasure | `db check` |\n|---|---|---|---|---|---|\n" +
		"| `customers` | seal | data | none: their own key | `sqlErase` | `sqlErase` |\n" +
		"| `receivers` | notify | admin | none: no key | none: staff | `sqlOther` |\n" +
		"| `schema_versions` | db | none | none: no key | none: numbers | none: read at start |\n"
	part := func(table string) (db.Part, bool) {
		p, ok := map[string]db.Part{"customers": db.PartData, "receivers": db.PartAdmin}[table]
		return p, ok
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"nothing", "", "", ""},
		{"a table that is not listed", "| `receivers` | notify | admin | none: no key | none: staff | `sqlOther` |\n", "", "receivers is not in the list"},
		{"a table that is listed twice", "| `receivers`", "| `customers` | seal | data | none: their own key | `sqlErase` | `sqlErase` |\n| `receivers`", "listed 2 times"},
		{"a table that is not there", "`receivers`", "`senders`", "no such table"},
		{"another writer", "seal | data", "keys | data", "the schema says seal"},
		{"another part of the backup", "seal | data", "seal | admin", "in the part"},
		{"no part of the backup", "notify | admin", "notify | ", "in the part"},
		{"no rotation", "none: their own key", "", "no part in rotation"},
		{"none without a reason", "none: no key | none: staff", "none: no key | none", "no part in erasure"},
		{"no check", "`sqlErase` | `sqlErase`", "`sqlErase` | -", "no part in db check"},
		{"a statement that is not there", "| `sqlOther`", "| `sqlMissing`", "no such statement"},
		{"a statement about another table", "| `sqlOther`", "| `sqlErase`", "no such statement"},
		{"ordinals that no erasure reaches", "| `sqlErase` | `sqlErase`", "| none: ordinals alone | `sqlErase`", "an erasure reaches it"},
		{"a cell too few", "none: no key | none: staff | ", "none: staff | ", "has 5 cells"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, err := parse(fstest.MapFS{"internal/platform/db/schema.go": {Data: []byte(schema)}, "internal/vault/seal/a.go": {Data: []byte(code)}})
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(checkTables(tr, strings.Replace(good, c.old, c.new, 1), part), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
		})
	}
}
