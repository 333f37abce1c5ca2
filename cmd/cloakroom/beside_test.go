package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// oldProgram names the program of the last release, which `.ci/long beside` builds from the
// commit that CHANGELOG.md names.
const oldProgram = "CLOAKROOM_TEST_OLD"

const (
	sqlRaiseFence = `UPDATE revisions SET writer = writer + 1000 WHERE one = 1`
	sqlLowerFence = `UPDATE revisions SET writer = writer - 1000 WHERE one = 1`
	sqlGroupCount = `SELECT count(*) FROM log_groups`
)

// upgradeFirst is what a fenced server answers and says.
const upgradeFirst = "upgrade this server"

// Servers of the last release are replaced by those of this one, one by one and under load,
// over one database. Each answer is in the log, each budget is kept, and an old server that
// the fence forbids to write says so and writes nothing.
func TestTheLastReleaseServesBesideThisOne(t *testing.T) {
	t.Parallel()
	old := os.Getenv(oldProgram)
	if old == "" {
		t.Skip("`.ci/long beside` builds the last release, and runs this")
	}
	const servers, agents, limit, customers, clients = 3, 20, 60, 100, 6
	dsn := dbtest.DSN(t)
	root := t.TempDir()
	at := env{"CLOAKROOM_DATABASE": dsn}
	first := filepath.Join(root, "first")
	cmd, errs := at.released(old, "demo", "--alone", "--data", first, "--customers", "30", "--exit")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	f := &fleet{t: t, at: at, first: first, key: filepath.Join(first, app.RootKeyFile), cmds: make([]*exec.Cmd, servers), errs: make([]*bytes.Buffer, servers)}
	startOld := func(i int) {
		cmd, errs := at.released(old, "serve", "--data", f.dirs[i], "--root-key", f.key, "--listen", "127.0.0.1:0", "--pool", "8")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		f.cmds[i], f.errs[i] = cmd, errs
	}
	for i := range servers {
		f.dirs = append(f.dirs, filepath.Join(root, "s"+string(rune('0'+i))))
		startOld(i)
		t.Cleanup(func() { f.end(i, syscall.SIGKILL) })
	}
	admin := socket(t, f.dirs[0], "")
	for i := 1; i < servers; i++ {
		socket(t, f.dirs[i], "")
	}
	keys, tokens := crowd(t, admin, agents, customers, limit)

	a := &answers{lost: map[string]int{}}
	var by [servers]atomic.Int64 // answers of each server
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for name, key := range keys { // in any order
					i := rand.IntN(servers)
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
					kind := a.ask(ctx, unixClient(f.dirs[i], key), name, some(tokens))
					cancel()
					if kind == "" || kind == api.TypeBudgetExhausted {
						by[i].Add(1)
					}
					break
				}
			}
		})
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(3 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("%s: not in three minutes", what)
				return
			}
		}
	}
	more := func(i int) func() bool {
		from := by[i].Load()
		return func() bool { return by[i].Load() >= from+10 }
	}
	for i := range servers {
		until("an old server answers", more(i))
	}
	ask := func(i int) error { return revealOne(unixClient(f.dirs[i], anyKey(keys)), tokens[0]) }
	fenced := 0
	for i := range servers {
		f.end(i, syscall.SIGTERM)
		if code := f.cmds[i].ProcessState.ExitCode(); code != 0 {
			t.Errorf("an old server ends with %d: %s", code, f.errs[i])
		}
		f.start(i)
		until("a new server answers", more(i))
		for j := i + 1; j < servers; j++ { // which are old
			if err := ask(j); err != nil && strings.Contains(err.Error(), upgradeFirst) {
				fenced++
				continue
			}
			until("an old server answers beside the new one", more(j))
		}
	}
	close(stop)
	wg.Wait()

	// A release that writes what the old one cannot read raises the fence.
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	count := func() (n int) {
		if err := conn.QueryRow(t.Context(), sqlGroupCount).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	f.end(0, syscall.SIGTERM)
	f.end(1, syscall.SIGTERM)
	f.end(2, syscall.SIGTERM)
	if fenced == 0 {
		startOld(0)
		socket(t, f.dirs[0], "")
		if err := ask(0); err != nil {
			var e *api.Error
			if !errors.As(err, &e) || e.Type != api.TypeBudgetExhausted {
				t.Errorf("an old server over a vault that this release served: %v", err)
			}
		}
		if _, err := conn.Exec(t.Context(), sqlRaiseFence); err != nil {
			t.Fatal(err)
		}
		before := count()
		if err := ask(0); err == nil || !strings.Contains(err.Error(), upgradeFirst) {
			t.Errorf("an old server under a raised fence: %v", err)
		}
		if n := count(); n != before {
			t.Errorf("an old server wrote %d groups under a raised fence", n-before)
		}
		if _, err := conn.Exec(t.Context(), sqlLowerFence); err != nil {
			t.Fatal(err)
		}
		f.end(0, syscall.SIGTERM)
	}

	kept := a.strange[:0]
	for _, err := range a.strange {
		if !strings.Contains(err.Error(), upgradeFirst) {
			kept = append(kept, err)
		}
	}
	a.strange = kept
	v, err := app.Open(t.Context(), first, app.Options{Database: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	found := a.check(t, v)
	for name := range keys {
		if found.distinct[name] > limit {
			t.Errorf("%s took %d customers, the budget is %d", name, found.distinct[name], limit)
		}
	}
	given, turned := a.count()
	t.Logf("%d answers and %d refusals by a budget, %d entries; fenced %d times; without an answer: %v", given, turned, found.entries, fenced, a.lost)
}

// released is program for another program.
func (e env) released(exe string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(exe, args...)
	cmd.Env = os.Environ()
	for name, value := range e {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var out bytes.Buffer
	cmd.Stderr = &out
	return cmd, &out
}

func anyKey(keys map[string]string) (key string) {
	for _, key = range keys {
		break
	}
	return key
}

func revealOne(c *client.Client, token string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := c.Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{token}, Fields: []string{"email"}, Purpose: "customer-support"})
	return err
}
