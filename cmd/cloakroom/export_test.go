package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// The server is killed again and again while an export is downloaded, and started anew:
// the same command goes on, every customer is in the files once, and the entries name
// those who left and nobody else.
func TestAnExportOutlivesKilledServers(t *testing.T) {
	t.Parallel()
	kills := longer(6)
	dir := filepath.Join(t.TempDir(), "vault")
	a := demoIn(t, dir, 30)
	at := env{"CLOAKROOM_DATA": dir}
	in := filepath.Join(t.TempDir(), "in")
	run(t, "generate", "--customers", "6000", "--brands", "gucci", "--out", in)
	at.run(t, "import", "--brand", "gucci", "--customers", filepath.Join(in, "gucci", "customers.csv"))
	key := map[string]string{}
	for _, p := range a.Principals {
		key[p.Name] = p.Key
	}
	recipient, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	serve := func() (kill func()) {
		cmd, errs := program(t, "serve", "--data", dir, "--listen", "127.0.0.1:0")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		socket(t, dir, key["marco"])
		return func() {
			cmd.Process.Kill()
			cmd.Wait()
			if strings.Contains(errs.String(), "locked") {
				t.Error(errs)
			}
		}
	}
	kill := serve()
	marco, ines := env{"CLOAKROOM_DATA": dir, "CLOAKROOM_KEY": key["marco"]}, env{"CLOAKROOM_DATA": dir, "CLOAKROOM_KEY": key["ines"]}
	var x api.Export
	asked := marco.run(t, "export", "request", "--brand", "gucci", "--purpose", "marketing", "--fields", "country,purchases", "--everybody", "--recipient", recipient.Recipient().String(), "--json")
	if err := json.Unmarshal([]byte(asked), &x); err != nil || x.Customers < 6000 {
		t.Fatalf("%v: %s", err, asked)
	}
	if err := json.Unmarshal([]byte(ines.run(t, "export", "approve", "--brand", "gucci", x.ID, "--json")), &x); err != nil || x.Parts < 2 {
		t.Fatalf("%d parts, %v", x.Parts, err)
	}

	out := filepath.Join(t.TempDir(), "out")
	args := []string{"export", "download", "--brand", "gucci", x.ID, "--out", out, "--json"}
	cut := 0
	for k := 0; ; k++ {
		var errs bytes.Buffer
		done := make(chan int, 1)
		go func() {
			done <- marco.main(t, &bytes.Buffer{}, &errs, args...)
		}()
		if k == kills {
			if code := <-done; code != 0 {
				t.Fatalf("after %d kills: exit code %d: %s", kills, code, errs.String())
			}
			break
		}
		arriving(out, time.Now().Add(2*time.Second))
		time.Sleep(time.Duration(rand.IntN(30_000)) * time.Microsecond)
		kill()
		if <-done != 0 {
			cut++
		}
		kill = serve()
	}
	kill()
	if cut == 0 {
		t.Error("no download was cut")
	}

	seen := map[string]int{}
	for part := 1; part <= x.Parts; part++ {
		b, err := os.ReadFile(filepath.Join(out, fmt.Sprintf("customers-%05d.csv.age", part)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := age.Decrypt(bytes.NewReader(b), recipient)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(r).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			seen[row[0]]++
		}
	}
	if len(seen) != x.Customers {
		t.Errorf("%d customers in the files, of %d", len(seen), x.Customers)
	}
	for who, n := range seen {
		if n != 1 {
			t.Fatalf("%s is in the files %d times", who, n)
		}
	}
	v, err := app.Open(t.Context(), dir, app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	left := map[record.Ordinal]bool{}
	if err := v.Ledger.Scan(t.Context(), 1, 0, func(_ uint64, e entry.Entry, ords []record.Ordinal) error {
		if e.Kind == entry.KindDisclosure {
			for _, o := range ords {
				left[o] = true
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(left) != x.Customers {
		t.Errorf("the entries name %d customers, of %d", len(left), x.Customers)
	}
	if _, err := v.Ledger.Verify(t.Context(), 1, nil); err != nil {
		t.Error(err)
	}
	t.Logf("%d of %d kills cut a download", cut, kills)
}

// arriving waits until a file is on its way.
func arriving(dir string, deadline time.Time) {
	for time.Now().Before(deadline) {
		list, err := filepath.Glob(filepath.Join(dir, "*"+partial))
		if err == nil && len(list) > 0 {
			return
		}
		if _, err := os.Stat(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
