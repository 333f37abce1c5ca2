package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
)

// Promise: a rotation goes on by itself when a server that was killed in the middle of
// it starts again, and nothing is lost.
func TestARotationOutlivesKilledServers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	customers := rarely(2000, 600)
	run(t, "demo", "--alone", "--data", dir, "--customers", fmt.Sprint(customers), "--exit")
	for _, kind := range []string{"kek", "index"} {
		ended, deaths := false, 0
		for !ended {
			server, errs := program(t, "serve", "--data", dir, "--listen", "127.0.0.1:0")
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			c := socket(t, dir, "")
			if deaths == 0 {
				var rot api.Rotation
				if err := c.Do(t.Context(), "POST", client.Path("brands", "gucci", "keys", kind, "rotate"), nil, &rot); err != nil {
					t.Fatalf("%v: %s", err, errs)
				}
			}
			life := time.After(time.Duration(rand.IntN(rarely(40, 400)*(deaths+1))) * time.Millisecond)
			for alive := true; alive && !ended; {
				select {
				case <-life:
					alive = false
				default:
					var list []api.Rotation
					if err := c.Do(t.Context(), "GET", client.Path("brands", "gucci", "rotations"), nil, &list); err != nil {
						t.Fatalf("%v: %s", err, errs)
					}
					ended = !list[len(list)-1].Ended.IsZero()
				}
			}
			if err := server.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			server.Wait()
			deaths++
		}
		t.Logf("%s: %d servers were killed", kind, deaths)
	}
	var n checkCounts
	if err := json.Unmarshal([]byte(run(t, "db", "check", "--data", dir, "--json")), &n); err != nil || n.Faults > 0 || n.Customers != int64(customers) {
		t.Errorf("%+v, %v", n, err)
	}
}

// Promise: the check is no way round the policy: it is the administrator's, begins with
// an entry, and answers no value.
func TestTheCheckIsTheAdministrators(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run(t, "demo", "--alone", "--data", dir, "--customers", "30", "--exit")
	var made created
	if err := json.Unmarshal([]byte(run(t, "principal", "create", "eve", "--role", "gucci=administrator", "--data", dir, "--json")), &made); err != nil {
		t.Fatal(err)
	}
	server, errs := program(t, "serve", "--data", dir, "--listen", "127.0.0.1:0")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()
	admin := socket(t, dir, "")
	size := func() uint64 {
		var cp api.Checkpoint
		if err := admin.Do(t.Context(), "GET", client.Path("brands", "group", "log"), nil, &cp); err != nil {
			t.Fatalf("%v: %s", err, errs)
		}
		return cp.Size
	}
	was := size()
	var out api.Checked
	if err := admin.Do(t.Context(), "POST", "/v1/check", api.CheckPlace{}, &out); err != nil || !out.Done {
		t.Fatalf("%+v, %v", out, err)
	}
	if now := size(); now != was+1 {
		t.Errorf("the check made %d entries", now-was)
	}
	var e *api.Error
	err := socket(t, dir, made.Credential.Key).Do(t.Context(), "POST", "/v1/check", api.CheckPlace{}, nil)
	if !errors.As(err, &e) || e.Status != 403 && e.Status != 404 {
		t.Errorf("an administrator of one brand checked the whole database: %v", err)
	}
}

// Promise: of several servers one works on a rotation, and another takes it over when
// that one has fallen silent.
func TestAnotherServerTakesARotationOver(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	at := env{"CLOAKROOM_DATABASE": dsn}
	first, second := t.TempDir(), t.TempDir()
	at.run(t, "demo", "--alone", "--data", first, "--customers", "300", "--exit")
	at.run(t, "key", "rotate", "--data", first, "--brand", "gucci", "--background")
	rootKey := filepath.Join(first, app.RootKeyFile)
	d, err := db.OpenPostgres(t.Context(), dsn, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	root, err := keys.OpenFile(rootKey, false)
	if err != nil {
		t.Fatal(err)
	}
	// A server that took it and died.
	if rot, err := keys.NewRing(d, root).Claim(t.Context(), "dead"); err != nil || rot == nil {
		t.Fatalf("%v, %v", rot, err)
	}
	for _, dir := range []string{first, second} {
		server, errs := at.program(t, "serve", "--data", dir, "--root-key", rootKey, "--listen", "127.0.0.1:0")
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		defer server.Wait()
		defer server.Process.Kill()
		defer func() {
			if t.Failed() {
				t.Log(errs)
			}
		}()
	}
	c := socket(t, second, "")
	for ended := false; !ended; {
		var list []api.Rotation
		if err := c.Do(t.Context(), "GET", client.Path("brands", "gucci", "rotations"), nil, &list); err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 || list[0].Done > list[0].Bound {
			t.Fatalf("%+v", list)
		}
		ended = !list[0].Ended.IsZero()
	}
	var n checkCounts
	if err := json.Unmarshal([]byte(at.run(t, "db", "check", "--data", first, "--json")), &n); err != nil || n.Faults > 0 || n.Customers != 300 {
		t.Errorf("%+v, %v", n, err)
	}
	if out := at.run(t, "log", "verify", "--data", second, "--root-key", rootKey, "--brand", "gucci", "--json"); !strings.Contains(out, `"rotation":2`) {
		t.Errorf("not one began and one destroyed: %s", out)
	}
	// The root key, by one; the other goes on with the same file.
	at.run(t, "key", "rotate-root", "--data", second, "--root-key", rootKey)
	at.run(t, "key", "rotate", "--data", first, "--brand", "gucci")
	at.run(t, "doctor", "--data", first, "--root-key", rootKey)
}

// A server that has an old copy of the root key takes no requests: it is not ready.
func TestAnOldRootKeyIsNotReady(t *testing.T) {
	t.Parallel()
	at := env{"CLOAKROOM_DATABASE": dbtest.DSN(t)}
	first, second := filepath.Join(t.TempDir(), "1"), filepath.Join(t.TempDir(), "2")
	at.run(t, "demo", "--data", first, "--customers", "30", "--exit")
	text, err := os.ReadFile(filepath.Join(first, "root.key"))
	if err == nil {
		err = os.Mkdir(second, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(second, "root.key"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	server, errs := at.program(t, "serve", "--data", second, "--listen", "127.0.0.1:0")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()
	c := socket(t, second, "")
	if _, err := c.Ready(t.Context()); err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	at.run(t, "key", "rotate-root", "--data", first)
	var e *api.Error
	if _, err := c.Ready(t.Context()); !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || !strings.Contains(e.Detail, "root.key of this server") {
		t.Errorf("with an old root key: %v", err)
	}
}
