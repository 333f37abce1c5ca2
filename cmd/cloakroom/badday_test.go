package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// env is the environment of command lines and processes, beside the test's own. Tests
// set no variable of their process: they run at the same time.
type env map[string]string

// program returns the program as a process that is not started yet.
func (e env) program(t *testing.T, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	for name, value := range e {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var out bytes.Buffer
	cmd.Stderr = &out
	return cmd, &out
}

// main runs the program within the test and returns its exit code.
func (e env) main(t *testing.T, out, errs io.Writer, args ...string) int {
	return Main(t.Context(), args, Streams{In: strings.NewReader(""), Out: out, Err: errs, Env: e})
}

// run runs the program within the test and returns what it printed.
func (e env) run(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := e.main(t, &out, &errs, args...); code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, errs.String())
	}
	return out.String()
}

// fails runs a command line that must fail and returns all that it printed.
func (e env) fails(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if code := e.main(t, &out, &out, args...); code == 0 {
		t.Errorf("%v succeeded: %s", args, &out)
	}
	return out.String()
}

// program, run and fails are those of env for command lines that need no environment.
func program(t *testing.T, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	return env{}.program(t, args...)
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	return env{}.run(t, args...)
}

func fails(t *testing.T, args ...string) string {
	t.Helper()
	return env{}.fails(t, args...)
}

// unixClient returns a client of the server of a data directory.
func unixClient(dir, key string) *client.Client {
	path := filepath.Join(dir, app.SocketFile)
	return client.New("http://vault", key, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}}})
}

// socket returns a client of the server of a data directory, once it answers.
func socket(t *testing.T, dir, key string) *client.Client {
	t.Helper()
	c := unixClient(dir, key)
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		err := c.Do(t.Context(), "GET", "/v1/health", nil, nil)
		if err == nil {
			return c
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server does not answer: %v", err)
		}
	}
}

func demoIn(t *testing.T, dir string, customers int) demoAnswer {
	t.Helper()
	var a demoAnswer
	if err := json.Unmarshal([]byte(run(t, "demo", "--alone", "--data", dir, "--customers", fmt.Sprint(customers), "--exit", "--json")), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// rarely is n, and another number under the race detector: killing a process more often
// finds no more races, and each takes much longer to start and to do anything then.
func rarely(n, raced int) int {
	if raceDetector {
		return raced
	}
	return n
}

// longer is n, and with CLOAKROOM_TEST_LONG so many times n: how often .ci/long kills.
func longer(n int) int {
	if times, err := strconv.Atoi(os.Getenv("CLOAKROOM_TEST_LONG")); err == nil && times > 1 {
		return n * times
	}
	return n
}

// A server is killed fifty times under load, wherever it stands. What it answered is
// in the log, what is in the log is within the budget, and the log is whole.
func TestKilledServersKeepTheirWord(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "vault")
	a := demoIn(t, dir, 30)
	// 40 customers an hour in clear is the default budget of a lineage.
	const limit, clients = 40, 6
	kills := longer(rarely(50, 8))
	var alice string
	for _, p := range a.Principals {
		if p.Name == "alice" {
			alice = p.Key
		}
	}
	type answer struct {
		entry  uint64
		tokens []string
	}
	var mu sync.Mutex
	var answers []answer
	var tokens []string
	for k := range kills {
		cmd, errs := program(t, "serve", "--data", dir, "--listen", "127.0.0.1:0")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c := socket(t, dir, alice)
		if k == 0 {
			var req api.PutRequest
			for i := range 200 {
				req.Customers = append(req.Customers, api.Fields{"external_id": fmt.Sprint("K-", i), "email": fmt.Sprintf("k%d@example.com", i)})
			}
			w, err := socket(t, dir, "").Put(ctx, "gucci", req)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range w.Results {
				tokens = append(tokens, r.Token)
			}
		}
		stop := make(chan struct{})
		var answered atomic.Int64 // reveals and refusals of this server
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					var ask []string
					for range 1 + rand.IntN(3) {
						ask = append(ask, tokens[rand.IntN(len(tokens))])
					}
					d, err := c.Reveal(ctx, "gucci", api.RevealRequest{Tokens: ask, Fields: []string{"email"}, Purpose: "customer-support"})
					var refused *api.Error
					answered.Add(1)
					if err == nil {
						mu.Lock()
						answers = append(answers, answer{d.Receipt.Entry, ask})
						mu.Unlock()
					} else if errors.As(err, &refused) && refused.Type != api.TypeBudgetExhausted && refused.Type != api.TypeLogUnavailable {
						t.Errorf("a reveal gave %v", err)
					}
				}
			})
		}
		// A slow machine must be under load too when the kill comes, sometimes.
		enough := rand.Int64N(12)
		for deadline := time.Now().Add(5 * time.Second); answered.Load() < enough && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		cmd.Process.Kill()
		cmd.Wait()
		close(stop)
		wg.Wait()
		if strings.Contains(errs.String(), "locked") {
			t.Errorf("kill %d: %s", k, errs)
		}
	}
	v, err := app.Open(ctx, dir, app.Options{})
	if err != nil {
		t.Fatalf("after %d kills the vault does not open: %v", kills, err)
	}
	defer v.Close()
	if _, err := v.Ledger.Verify(ctx, 1, nil); err != nil {
		t.Errorf("after %d kills: %v", kills, err)
	}
	logged := map[uint64][]record.Ordinal{}
	distinct := map[record.Ordinal]bool{}
	err = v.Ledger.Scan(ctx, 1, 0, func(i uint64, e entry.Entry, ords []record.Ordinal) error {
		if e.Kind == entry.KindDisclosure {
			logged[i] = ords
			for _, o := range ords {
				distinct[o] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]bool{}
	for _, a := range answers {
		asked := map[string]bool{}
		for _, token := range a.tokens {
			asked[token], given[token] = true, true
		}
		if len(logged[a.entry]) != len(asked) {
			t.Errorf("a reveal of %d customers was answered with entry %d, which has %d", len(asked), a.entry, len(logged[a.entry]))
		}
	}
	if len(distinct) > limit || len(given) > len(distinct) {
		t.Errorf("%d customers logged and %d given, the budget is %d", len(distinct), len(given), limit)
	}
	if len(answers) == 0 || len(distinct) < limit {
		t.Errorf("the load was too small to show anything: %d answers, %d customers", len(answers), len(distinct))
	}
	t.Logf("%d kills, %d answers, %d entries, %d of %d customers", kills, len(answers), len(logged), len(distinct), limit)
}

// An import that is killed wherever it stands is run again until it ends: nothing is
// lost and nothing is there twice.
func TestAKilledImportGoesOn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "vault")
	in := filepath.Join(t.TempDir(), "in")
	demoIn(t, dir, 30)
	at := env{"CLOAKROOM_DATA": dir}
	at.run(t, "brand", "create", "shop")
	customers := rarely(9000, 2000)
	run(t, "generate", "--customers", fmt.Sprint(customers), "--brands", "shop", "--out", in)
	args := []string{"import", "--brand", "shop", "--customers", filepath.Join(in, "shop", "customers.csv"), "--purchases", filepath.Join(in, "shop", "purchases.csv"), "--json"}
	killed := 0
	for wait := 60 * time.Millisecond; ; wait += wait / 2 {
		cmd, errs := at.program(t, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(wait, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil {
			break
		}
		if errs.Len() > 0 {
			t.Fatalf("an import failed: %s", errs)
		}
		killed++
	}
	if killed == 0 {
		t.Error("the import was never killed")
	}
	out := at.run(t, args...)
	var got imported
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Customers.Unchanged != int64(customers) || got.Customers.Read != int64(customers) || got.Purchases.Unchanged != got.Purchases.Read || got.Purchases.Read == 0 {
		t.Errorf("after %d kills the same import says %s", killed, out)
	}
}

// Everything that a served demonstration leaves on disk, while it runs and after it
// ended: database, write-ahead log, temporary files, its own log.
func TestNothingOfACustomerIsOnDiskInClear(t *testing.T) {
	t.Parallel()
	customers := rarely(1500, 300)
	dir, tmp := filepath.Join(t.TempDir(), "vault"), t.TempDir()
	cmd, errs := program(t, "demo", "--alone", "--data", dir, "--customers", fmt.Sprint(customers), "--listen", "127.0.0.1:0")
	cmd.Env = append(cmd.Env, "TMPDIR="+tmp)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := socket(t, dir, "")
	if _, err := c.Put(t.Context(), "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "X-1", "given_name": "Unmistakable-Person", "email": "unmistakable-person@example.com"}}}); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"Unmistakable-Person": "name", "unmistakable-person@example.com": "e-mail"}
	for x := range invent.Customers(invent.Config{Customers: customers, Seed: 1, Brands: []string{"gucci", "balenciaga", "mcqueen"}}) {
		for _, f := range []record.Field{record.GivenName, record.FamilyName, record.Email, record.Phone, record.Street} {
			values[x.Get(f)] = f.String()
		}
		for _, p := range x.Purchases {
			values[p.Description] = "description"
		}
	}
	scan := func(when string) {
		for _, root := range []string{dir, tmp} {
			err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
				if err != nil || !e.Type().IsRegular() {
					return err
				}
				b, err := os.ReadFile(path)
				for _, what := range inClear(b, values) {
					t.Errorf("%s, %s holds a %s in clear", when, filepath.Base(path), what)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	scan("while it runs")
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C did not end it cleanly: %v: %s", err, errs)
	}
	scan("after it ended")
	if what := inClear(errs.Bytes(), values); len(what) > 0 {
		t.Errorf("its own log holds a %s in clear", what[0])
	}
	if len(inClear([]byte("xx Unmistakable-Person xx"), values)) != 1 {
		t.Error("the search is blind")
	}
}

// inClear returns the kinds of values that stand in b. It looks for their first six
// bytes, and for those in full.
func inClear(b []byte, values map[string]string) []string {
	const head = 6
	begin := map[[head]byte][]string{}
	for v := range values {
		if len(v) >= head {
			k := [head]byte([]byte(v)[:head])
			begin[k] = append(begin[k], v)
		}
	}
	var out []string
	for i := 0; i+head <= len(b); i++ {
		for _, v := range begin[[head]byte(b[i:i+head])] {
			if bytes.HasPrefix(b[i:], []byte(v)) {
				out = append(out, values[v])
			}
		}
	}
	return out
}
