package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
)

// The owner of a vault that an earlier release made finds out what nobody has confirmed,
// reads it, confirms it, and is not asked again.
func TestAnOwnerAdoptsTheRowsOfAnEarlierRelease(t *testing.T) {
	t.Parallel()
	dir, from := t.TempDir(), filepath.Join("..", "..", "internal", "app", "testdata", "v3", "sqlite")
	packed, err := os.ReadFile(filepath.Join(from, "vault.db.zst"))
	if err != nil {
		t.Fatal(err)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	plain, err := dec.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(from, app.RootKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{app.DatabaseFile: plain, app.RootKeyFile: key} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := env{"CLOAKROOM_DATA": dir}
	for _, verb := range []string{"doctor", "db check"} {
		if out := at.run(t, strings.Fields(verb)...); !strings.Contains(out, "stand as they were found") || !strings.Contains(out, "cloakroom db adopt") {
			t.Errorf("%s says %q", verb, out)
		}
	}
	if out := at.run(t, "db", "adopt"); !strings.Contains(out, `key "fixture" of officer`) || !strings.Contains(out, "--digest") {
		t.Errorf("the list is %q", out)
	}
	var list api.Unadopted
	if err := json.Unmarshal([]byte(at.run(t, "db", "adopt", "--json")), &list); err != nil || list.Total == 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	at.fails(t, "db", "adopt", "--void", list.Rows[0].Row)
	at.fails(t, "db", "adopt", "--digest", "0123456789")
	if out := at.run(t, "db", "adopt", "--digest", list.Digest[:10], "--dry-run"); !strings.Contains(out, "would be confirmed") {
		t.Errorf("a dry run says %q", out)
	}
	at.run(t, "db", "adopt", "--digest", list.Digest)
	if out := at.run(t, "db", "adopt"); out != "no row of rights is unadopted\n" {
		t.Errorf("after it, the list is %q", out)
	}
	if out := at.run(t, "doctor"); strings.Contains(out, "as they were found") {
		t.Errorf("after it, doctor says %q", out)
	}
}
