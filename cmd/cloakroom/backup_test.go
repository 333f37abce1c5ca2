package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// scriptAgeKey writes an age key file as age-keygen does: agekey FILE VAR; VAR is the
// recipient.
func scriptAgeKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: agekey FILE VAR")
	}
	id, err := age.GenerateX25519Identity()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("# public key: "+id.Recipient().String()+"\n"+id.String()+"\n"), 0o600))
	ts.Setenv(args[1], id.Recipient().String())
}

// A server is killed while it makes a backup, and a restore while it restores: neither
// leaves anything that seems whole, and both are done again.
func TestKilledBackupsAndRestores(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir, out, back := filepath.Join(root, "vault"), filepath.Join(root, "full"), filepath.Join(root, "back")
	customers := rarely(3000, 1200)
	a := demoIn(t, dir, customers)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(root, "backup.key")
	if err := os.WriteFile(keyFile, []byte(id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	req := api.BackupRequest{Dir: out, Recipients: []string{id.Recipient().String()}, WithRootKey: true}
	caught := 0
	for range 20 {
		cmd, errs := program(t, "serve", "--data", dir, "--listen", "127.0.0.1:0")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c := socket(t, dir, "")
		if err := c.Do(t.Context(), "POST", "/v1/backup", req, nil); err != nil {
			t.Fatalf("%v: %s", err, errs)
		}
		until(t, func() bool {
			_, begun := os.Stat(filepath.Join(out+".unfinished", "data.zst"))
			_, done := os.Stat(out)
			return begun == nil || done == nil
		})
		cmd.Process.Kill()
		cmd.Wait()
		if _, err := os.Stat(out); err != nil {
			if caught++; caught == longer(rarely(3, 1)) {
				break
			}
		} else if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
	}
	if caught == 0 {
		t.Fatal("no backup was caught in the middle")
	}
	var o, e bytes.Buffer
	restore := []string{"restore", "--from", out, "--identity", keyFile, "--data", back}
	if code := Main(t.Context(), append([]string{"restore", "--from", out + ".unfinished"}, restore[3:]...), Streams{Out: &o, Err: &e}); code == 0 || !strings.Contains(e.String(), "never finished") {
		t.Fatalf("what a killed backup left was restored: %d %s", code, e.String())
	}
	run(t, "backup", "--data", dir, "--out", out, "--recipient", req.Recipients[0], "--with-root-key")
	if _, err := os.Stat(out + ".unfinished"); err == nil {
		t.Error("what killed backups left is still there")
	}

	caught = 0
	for range 20 {
		cmd, errs := program(t, restore...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		// The database is there once rows come in.
		until(t, func() bool {
			info, err := os.Stat(filepath.Join(back, app.DatabaseFile+"-wal"))
			return err == nil && info.Size() > 200<<10 || len(ended) > 0
		})
		cmd.Process.Kill()
		if err := <-ended; err == nil {
			if err := os.RemoveAll(back); err != nil { // it was done first
				t.Fatal(err)
			}
			continue
		} else if strings.Contains(errs.String(), "cloakroom:") {
			t.Fatal(errs)
		}
		e.Reset()
		if code := Main(t.Context(), []string{"brand", "list", "--data", back}, Streams{Out: &o, Err: &e}); code == 0 || !strings.Contains(e.String(), "did not finish") {
			t.Fatalf("half a vault opens: %d %s", code, e.String())
		}
		if caught++; caught == longer(rarely(3, 1)) {
			break
		}
	}
	if caught == 0 {
		t.Fatal("no restore was caught in the middle")
	}
	if got := run(t, restore...); !strings.Contains(got, fmt.Sprintf("Restored %d customers", customers)) {
		t.Fatal(got)
	}
	at := env{"CLOAKROOM_DATA": back}
	at.run(t, "doctor")
	for _, p := range a.Principals {
		if p.Name == "dana" {
			at["CLOAKROOM_KEY"] = p.Key
		}
	}
	for _, b := range a.Brands {
		for _, s := range b.Samples {
			if got := at.run(t, "reveal", "--brand", b.Name, "--purpose", "data-subject-request", "--fields", "external_id", s.Token); !strings.Contains(got, s.ExternalID) {
				t.Errorf("%s: %s", s.ExternalID, got)
			}
		}
	}
}

// until waits for a condition that a process brings about.
func until(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited for too long")
		}
	}
}

// The way from the embedded database to PostgreSQL and back, by the command line.
func TestBackupMovesBetweenEngines(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	dsn := dbtest.DSN(t)
	a := demoIn(t, at("vault"), 60)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("key"), []byte(id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := id.Recipient().String()
	run(t, "backup", "--data", at("vault"), "--out", at("one"), "--recipient", to, "--with-root-key")
	if got := run(t, "restore", "--from", at("one"), "--identity", at("key"), "--data", at("pg"), "--database", dsn); !strings.Contains(got, "Restored 60 customers") {
		t.Fatal(got)
	}
	run(t, "doctor", "--data", at("pg"), "--database", dsn)
	run(t, "backup", "--data", at("pg"), "--database", dsn, "--out", at("two"), "--recipient", to)
	if got := run(t, "restore", "--from", at("two"), "--identity", at("key"), "--root-key", filepath.Join(at("pg"), app.RootKeyFile), "--data", at("back")); !strings.Contains(got, "Restored 60 customers") {
		t.Fatal(got)
	}
	as := env{"CLOAKROOM_DATA": at("back")}
	for _, p := range a.Principals {
		if p.Name == "dana" {
			as["CLOAKROOM_KEY"] = p.Key
		}
	}
	s := a.Brands[0].Samples[0]
	if got := as.run(t, "reveal", "--brand", a.Brands[0].Name, "--purpose", "data-subject-request", "--fields", "external_id", s.Token); !strings.Contains(got, s.ExternalID) {
		t.Error(got)
	}
}
