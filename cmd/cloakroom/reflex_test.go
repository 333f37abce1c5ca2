package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// trap is a brand with decoys whose rules contain whoever looks at one.
type trap struct {
	t         *testing.T
	responder string // a key
	decoys    []api.Canary
}

func newTrap(t *testing.T, admin *client.Client, dir string) *trap {
	t.Helper()
	x := &trap{t: t}
	for _, name := range []string{"rhea", "omar", "pia"} { // somebody must be left to undo it
		_, x.responder = x.person(admin, name, "incident-responder")
	}
	x.do(admin, "PUT", client.Path("brands", "gucci", "detection"), api.DetectionRules{Rules: "contain: {canary: critical}"}, nil)
	at := unixClient(dir, x.responder)
	x.do(at, "POST", client.Path("brands", "gucci", "canaries"), api.CanaryRequest{Count: 2, Now: true}, nil)
	x.do(at, "GET", client.Path("brands", "gucci", "canaries"), nil, &x.decoys)
	return x
}

func (x *trap) do(c *client.Client, method, path string, in, out any) {
	x.t.Helper()
	if err := c.Do(x.t.Context(), method, path, in, out); err != nil {
		x.t.Fatal(err)
	}
}

func (x *trap) person(admin *client.Client, name, role string) (lineage uint64, key string) {
	x.t.Helper()
	var c api.Credential
	x.do(admin, "POST", "/v1/principals", api.Principal{Name: name, Kind: "person", Roles: map[string]string{"gucci": role}}, nil)
	x.do(admin, "POST", client.Path("principals", name, "credentials"), api.CredentialRequest{}, &c)
	return c.Lineage, c.Key
}

// look looks at a decoy.
func (x *trap) look(c *client.Client) error {
	return c.Do(x.t.Context(), "GET", client.Path("brands", "gucci", "customers", x.decoys[0].Token)+"?purpose=customer-support", nil, nil)
}

// until waits for something.
func (x *trap) until(what string, cond func() bool) {
	x.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			x.t.Fatalf("it never came that %s", what)
		}
	}
}

// contained reports whether an agent is stopped at the server of a directory.
func (x *trap) contained(dir, key string) bool {
	return isError(unixClient(dir, key).Do(x.t.Context(), "GET", client.Path("brands", "gucci", "purposes"), nil, nil), api.TypeContained)
}

// once checks that each lineage, and nobody else, is contained once, by the rule.
func (x *trap) once(dir string, lineages []uint64) {
	x.t.Helper()
	var list []api.Containment
	x.do(unixClient(dir, x.responder), "GET", client.Path("brands", "gucci", "containments"), nil, &list)
	held := map[uint64]int{}
	for _, c := range list {
		held[c.Target]++
		if c.By != "rule canary" || !c.Ended.IsZero() {
			x.t.Errorf("%+v", c)
		}
	}
	for _, l := range lineages {
		if held[l] != 1 {
			x.t.Errorf("lineage %d was contained %d times", l, held[l])
		}
	}
	if len(list) != len(lineages) {
		x.t.Errorf("%d containments of %d lineages", len(list), len(lineages))
	}
}

func isError(err error, typ string) bool {
	e, ok := err.(*api.Error)
	return ok && e.Type == typ
}

// containmentSteps counts the steps of containments in the log of a vault that nobody serves.
func containmentSteps(t *testing.T, dir string, o app.Options) map[string]int {
	t.Helper()
	v, err := app.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	steps := map[string]int{}
	err = v.Ledger.Scan(t.Context(), 1, 0, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
		if e.Kind == entry.KindContainment {
			texts := e.Texts()
			steps[texts["change"]+texts["target"]]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

// A server is killed at any moment after somebody looked at a decoy: before the alarm,
// between it and the containment, or after. The next server contains them, once.
func TestARuleContainsThoughTheServerIsKilled(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "vault")
	demoIn(t, dir, 30)
	serve := func() (admin *client.Client, kill func()) {
		cmd, errs := program(t, "serve", "--data", dir, "--listen", "127.0.0.1:0")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return socket(t, dir, ""), func() {
			cmd.Process.Kill()
			cmd.Wait()
			if strings.Contains(errs.String(), "panic") {
				t.Error(errs)
			}
		}
	}
	admin, kill := serve()
	defer func() { kill() }()
	x := newTrap(t, admin, dir)
	var lineages []uint64
	late := 0
	for round := range longer(rarely(5, 2)) {
		lineage, key := x.person(admin, fmt.Sprint("thief-", round), "support-agent")
		lineages = append(lineages, lineage)
		if err := x.look(unixClient(dir, key)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond) // at a random moment of what follows
		if !x.contained(dir, key) {
			late++
		}
		kill()
		admin, kill = serve()
		x.until("the thief is contained", func() bool { return x.contained(dir, key) })
	}
	x.once(dir, lineages)
	kill()
	steps := containmentSteps(t, dir, app.Options{})
	for _, l := range lineages {
		if steps[fmt.Sprint("contain", l)] == 0 {
			t.Errorf("lineage %d was contained before the log had it", l)
		}
	}
	if n := steps["contained"]; n > len(lineages) {
		t.Errorf("%d were said to be contained, of %d", n, len(lineages))
	}
	t.Logf("%d of %d servers were killed before the thief was contained", late, len(lineages))
	_, kill = serve()
}

// Both servers are killed between the containment's entry and the containment; one of
// them comes back and contains, and the other finds it done.
func TestARuleContainsThoughBothServersAreKilled(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dsn := dbtest.DSN(t)
	f := newFleet(t, dsn, 2)
	x := newTrap(t, unixClient(f.dirs[0], ""), f.dirs[0])
	lineage, key := x.person(unixClient(f.dirs[0], ""), "thief", "support-agent")
	outside, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close(context.Background())
	watching, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer watching.Close(context.Background())
	tx, err := outside.Begin(ctx) // nothing can be contained while it holds
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `SELECT n FROM revisions FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	if err := x.look(unixClient(f.dirs[0], key)); err != nil {
		t.Fatal(err)
	}
	x.until("a server is about to contain", func() bool {
		var n int
		err := watching.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'UPDATE revisions%'`).Scan(&n)
		return err == nil && n > 0
	})
	if x.contained(f.dirs[1], key) {
		t.Fatal("it holds already")
	}
	f.end(0, syscall.SIGKILL)
	f.end(1, syscall.SIGKILL)
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	f.start(1)
	socket(t, f.dirs[1], "")
	x.until("the thief is contained", func() bool { return x.contained(f.dirs[1], key) })
	f.start(0)
	socket(t, f.dirs[0], "")
	x.until("it was answered", func() bool {
		var n int
		err := watching.QueryRow(ctx, `SELECT count(*) FROM alarms WHERE contain = 1`).Scan(&n)
		return err == nil && n == 0
	})
	if !x.contained(f.dirs[0], key) {
		t.Error("one server contains and the other does not")
	}
	x.once(f.dirs[0], []uint64{lineage})
	f.end(0, syscall.SIGTERM)
	f.end(1, syscall.SIGTERM)
	steps := containmentSteps(t, f.first, app.Options{Database: dsn})
	if n := steps[fmt.Sprint("contain", lineage)]; n < 1 || n > 2 || steps["contained"] != 1 {
		t.Errorf("logged %v: it was about to be contained once or, after the kill, twice, and was once", steps)
	}
}
