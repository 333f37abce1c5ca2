package backup_test

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/govern/backup"
)

// fixture makes the fixture of a release: run it with that release's code, once, and
// keep what it writes for ever.
var fixture = flag.String("fixture", "", "write testdata/NAME with backups as this code makes them")

// facts are what was true of the fixture's vault.
type facts struct {
	Keys   map[string]string   `json:"keys"` // of principals
	Tokens map[string][]string `json:"tokens"`
	People map[string]string   `json:"people"` // on the day of the data
	Erased string              `json:"erased"` // on the day after, at gucci
	Gucci  string              `json:"gucci"`  // the log's checkpoint on the third
}

func TestMakeFixture(t *testing.T) {
	t.Parallel()
	if *fixture == "" {
		t.Skip("only with -fixture NAME, at a release")
	}
	h, c := newHouse(t, "sqlite", 40), newCustody(t)
	c.root = filepath.Join("testdata", *fixture)
	f := facts{Keys: h.keys, Tokens: h.tokens, People: h.everybody(), Erased: h.tokens["gucci"][0]}
	c.backup(h, "full")
	_, err := h.as("officer").Erase(t.Context(), "gucci", f.Erased)
	must(t, err)
	c.backup(h, "keys", "keys", "log")
	f.Gucci = h.checkpoint("gucci").Checkpoint
	text, err := json.MarshalIndent(f, "", "\t")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(c.root, "facts.json"), append(text, '\n'), 0o644))
	must(t, os.WriteFile(filepath.Join(c.root, "age.key"), []byte(c.id.String()+"\n"), 0o644))
}

// A backup that the first release made is restored by this one.
func TestRestoreFromV1(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		from := filepath.Join("testdata", "v1")
		text, err := os.ReadFile(filepath.Join(from, "facts.json"))
		must(t, err)
		var f facts
		must(t, json.Unmarshal(text, &f))
		o := backup.Options{From: filepath.Join(from, "full"), KeysFrom: filepath.Join(from, "keys"), Checkpoints: [][]byte{[]byte(f.Gucci)}}
		o.Identities, err = os.ReadFile(filepath.Join(from, "age.key"))
		must(t, err)
		o.Data, o.Database = place(t, engine)
		report, err := app.Restore(t.Context(), o, nil)
		must(t, err)
		if report.Customers != 39 || report.Erased != 1 || report.Unlogged+report.Later+report.Finished != 0 {
			t.Errorf("%+v", report)
		}
		h := &house{t: t, dir: o.Data, dsn: o.Database, keys: f.Keys, tokens: f.Tokens}
		h.open()
		maps.DeleteFunc(f.People, func(token, _ string) bool { return token == f.Erased })
		if got := h.everybody(); !maps.Equal(got, f.People) {
			t.Errorf("%d customers came back, or others than there were", len(got))
		}
		found, err := h.as("officer").Search(t.Context(), "gucci", api.SearchRequest{By: "external_id", Value: invented(40)["gucci"][3]["external_id"], Purpose: "data-subject-request"})
		must(t, err)
		if len(found.Customers) != 1 || !slices.Contains(f.Tokens["gucci"], found.Customers[0].Token) {
			t.Error("a customer is not found")
		}
		h.verify(map[string]api.Checkpoint{"gucci": {Checkpoint: f.Gucci}})
	})
}
