package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

func itoa(i int) string { return strconv.Itoa(i) }

// A server whose root key is missing, or another vault's, is refused with what to do,
// and nothing is made beside a vault that has begun.
func TestASecondMachineNeedsTheRootKey(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	at, alone := env{"CLOAKROOM_DATABASE": dsn}, env{}
	first, second := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	says := func(out, want string) {
		t.Helper()
		if !strings.Contains(out, want) {
			t.Errorf("it says %q, not %q", out, want)
		}
	}
	says(at.fails(t, "brand", "list", "--data", first), "begin one there with `cloakroom serve --database`")
	d, err := db.OpenPostgres(t.Context(), dsn, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if v, err := d.Version(t.Context()); v != 0 || err != nil {
		t.Errorf("a command that found no vault made tables: version %d, %v", v, err)
	}
	if _, err := os.Stat(first); err == nil {
		t.Error("a command that found no vault made a directory")
	}
	says(at.fails(t, "demo", "--exit"), "--data DIR")
	at.run(t, "demo", "--alone", "--data", first, "--customers", "30", "--exit")
	says(at.run(t, "brand", "list", "--data", first), "gucci")
	says(at.fails(t, "demo", "--alone", "--data", first, "--exit"), "holds a vault already")
	says(at.fails(t, "brand", "list", "--data", second), "root.key is not there: copy it from a server")
	says(at.fails(t, "serve", "--data", second, "--listen", "127.0.0.1:0"), "root.key is not there: copy it from a server")
	if _, err := os.Stat(filepath.Join(second, app.RootKeyFile)); err == nil {
		t.Error("a root key was made beside a vault that has its own")
	}
	says(at.run(t, "brand", "list", "--data", second, "--root-key", filepath.Join(first, app.RootKeyFile)), "gucci")
	says(at.run(t, "doctor", "--data", second, "--root-key", filepath.Join(first, app.RootKeyFile)), "synchronous_commit")

	says(alone.fails(t, "brand", "list", "--data", first), "name its database with --database")
	says(alone.fails(t, "serve", "--data", first, "--listen", "127.0.0.1:0"), "name the PostgreSQL database that it belongs to")
	if _, err := os.Stat(filepath.Join(first, app.DatabaseFile)); err == nil {
		t.Error("an embedded vault was made beside the root key of another")
	}
	embedded := filepath.Join(t.TempDir(), "c")
	alone.run(t, "demo", "--alone", "--data", embedded, "--customers", "30", "--exit")
	says(at.fails(t, "brand", "list", "--data", embedded), "holds an embedded vault")
	says(at.fails(t, "brand", "list", "--data", second, "--root-key", filepath.Join(embedded, app.RootKeyFile)), "opens none of the vault's keys")
	says(at.fails(t, "serve", "--data", first, "--listen", "127.0.0.1:0", "--origin", "elsewhere.example"), "they are named cloakroom.local/")
	says(at.fails(t, "brand", "list", "--data", first, "--pool", "0"), "--pool is 1 to")
}

// The password of a database is in no error, no log and no JSON.
func TestThePasswordIsNeverShown(t *testing.T) {
	t.Parallel()
	const password = "Unmistakable-4711"
	cfg := dbtest.DSN(t)
	with := func(dsn string) string { return dsn + " password='" + password + "'" }
	dir := filepath.Join(t.TempDir(), "vault")
	at := env{"CLOAKROOM_DATABASE": with(cfg)}
	var shown []string
	shown = append(shown, at.run(t, "demo", "--alone", "--data", dir, "--customers", "30", "--exit", "--json"), at.run(t, "doctor", "--data", dir, "--json"))
	cmd, errs := at.program(t, "serve", "--data", dir, "--listen", "127.0.0.1:0", "--log-level", "debug")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	socket(t, dir, "")
	title, _ := os.ReadFile("/proc/" + itoa(cmd.Process.Pid) + "/cmdline")
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	shown = append(shown, errs.String(), string(title))
	for _, dsn := range []string{
		"postgres://u:" + password + "@127.0.0.1:1/nowhere",
		"postgres://u:" + password + "@127.0.0.1:notaport/x",
		"postgres://u:" + password + "@nowhere.invalid/x",
		"postgres://u:" + url.QueryEscape(password+"%") + "%zz@127.0.0.1/x",
		"host=127.0.0.1 port=1 password=" + password,
		"password=" + password + " nonsense",
		with(strings.Replace(cfg, "dbname=", "dbname=nowhere_", 1)),
	} {
		bad := env{"CLOAKROOM_DATABASE": dsn}
		for _, verb := range [][]string{{"brand", "list", "--data", dir}, {"serve", "--data", dir, "--listen", "127.0.0.1:0"}, {"doctor", "--data", dir, "--json"}} {
			shown = append(shown, bad.fails(t, verb...))
		}
		cmd, errs := bad.program(t, "brand", "list", "--data", dir)
		out, err := cmd.Output()
		if err == nil {
			t.Errorf("a process succeeded with a database that is not there: %s", out)
		}
		shown = append(shown, string(out), errs.String())
		shown = append(shown, fails(t, "brand", "list", "--data", dir, "--database", dsn), fails(t, "brand", "list", "--data", dir, "--database", dsn, "--nonsense"))
	}
	for _, s := range shown {
		if strings.Contains(s, "4711") {
			t.Errorf("the password is shown: %s", s)
		}
	}
}

// Of those who open one fresh database at once, one begins the vault.
func TestOneVaultBeginsOnce(t *testing.T) {
	t.Parallel()
	const many = 8
	for _, c := range []struct {
		name   string
		dir    func(root string, i int) string
		opened int
	}{
		{"each with a directory of its own", func(root string, i int) string { return filepath.Join(root, itoa(i)) }, 1},
		{"all with one directory", func(root string, _ int) string { return filepath.Join(root, "all") }, many},
	} {
		t.Run(c.name, func(t *testing.T) {
			dsn, root := dbtest.DSN(t), t.TempDir()
			var wg sync.WaitGroup
			errs := make([]error, many)
			for i := range errs {
				wg.Go(func() {
					v, err := app.Open(context.Background(), c.dir(root, i), app.Options{Database: dsn, DB: db.Options{Readers: 2}})
					if err == nil {
						err = v.Close()
					}
					errs[i] = err
				})
			}
			wg.Wait()
			opened := 0
			for i, err := range errs {
				if err == nil {
					opened++
				} else if !errors.Is(err, app.ErrRootKey) {
					t.Errorf("opener %d: %v", i, err)
				} else if _, err := os.Stat(filepath.Join(c.dir(root, i), app.RootKeyFile)); err == nil {
					t.Errorf("opener %d was refused and made a root key", i)
				}
			}
			if opened != c.opened {
				t.Errorf("%d of %d opened it, not %d", opened, many, c.opened)
			}
		})
	}
	t.Run("as processes", func(t *testing.T) {
		dsn, root := dbtest.DSN(t), t.TempDir()
		var wg sync.WaitGroup
		made := make([]bool, 4)
		for i := range made {
			dir := filepath.Join(root, itoa(i))
			cmd, errs := program(t, "demo", "--alone", "--data", dir, "--customers", "30", "--exit")
			cmd.Env = append(cmd.Env, "CLOAKROOM_DATABASE="+dsn)
			wg.Go(func() {
				err := cmd.Run()
				_, kerr := os.Stat(filepath.Join(dir, app.RootKeyFile))
				if made[i] = err == nil; made[i] != (kerr == nil) || !made[i] && !strings.Contains(errs.String(), "holds a vault already") {
					t.Errorf("process %d: %v, its root key: %v, it says %s", i, err, kerr, errs)
				}
			})
		}
		wg.Wait()
		n := 0
		for _, m := range made {
			if m {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d processes began one vault", n)
		}
	})
}

// A second server in one data directory goes on without the socket and says so.
func TestASocketIsNotStolen(t *testing.T) {
	t.Parallel()
	at := env{"CLOAKROOM_DATABASE": dbtest.DSN(t)}
	dir := filepath.Join(t.TempDir(), "vault")
	at.run(t, "demo", "--alone", "--data", dir, "--customers", "30", "--exit")
	first, _ := at.program(t, "serve", "--data", dir, "--listen", "127.0.0.1:0")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	defer first.Wait()
	defer first.Process.Kill()
	socket(t, dir, "")
	ctx, stop := context.WithCancel(t.Context())
	said := &stopAt{word: "socket", stop: stop}
	stopped := make(chan int)
	go func() {
		stopped <- Main(ctx, []string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}, Streams{In: strings.NewReader(""), Out: said, Err: said, Env: at})
	}()
	if code := <-stopped; code != 0 && code != exitInterrupted {
		t.Errorf("the second server ended with %d: %s", code, said)
	}
	if !strings.Contains(said.String(), "another server has the socket") {
		t.Errorf("the second server says %s", said)
	}
	var h struct{ Status string }
	if err := socket(t, dir, "").Do(t.Context(), "GET", "/v1/health", nil, &h); err != nil || h.Status != "ok" {
		t.Errorf("the first server's socket: %v", err)
	}
	// A killed server's socket does not stand in the way of the next one.
	first.Process.Kill()
	first.Wait()
	next, errs := at.program(t, "serve", "--data", dir, "--listen", "127.0.0.1:0")
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	socket(t, dir, "")
	next.Process.Signal(os.Interrupt)
	if err := next.Wait(); err != nil {
		t.Errorf("%v: %s", err, errs)
	}
}

// stopAt keeps what a server prints and logs, which two goroutines do, and stops
// something when a line that holds a word was written.
type stopAt struct {
	word string
	stop func()
	mu   sync.Mutex
	b    bytes.Buffer
}

func (s *stopAt) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(s.word)) {
		s.stop()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *stopAt) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// doctor finds settings that the vault's promises rest on.
func TestDoctorLooksAtPostgreSQL(t *testing.T) {
	t.Parallel()
	s := dbtest.Server(t, dbtest.ServerOptions{Settings: []string{"fsync=off", "max_connections=20"}})
	at := env{"CLOAKROOM_DATABASE": s.DSN()}
	dir := filepath.Join(t.TempDir(), "vault")
	at.run(t, "demo", "--alone", "--data", dir, "--customers", "30", "--exit")
	var found []finding
	out := at.fails(t, "doctor", "--data", dir, "--json", "--pool", "30")
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&found); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	bad := map[string]bool{}
	for _, f := range found {
		bad[f.Check] = !f.OK
	}
	for _, check := range []string{"version", "role", "fsync", "full_page_writes", "synchronous_commit", "connections", "clock"} {
		is, there := bad["database: "+check]
		if !there || is != (check == "fsync" || check == "connections") {
			t.Errorf("%s: looked at: %v, bad: %v", check, there, is)
		}
	}
}
