package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// crowd makes support agents, each with a key, customers of gucci, and a budget of so
// many customers an hour for each of the agents.
func crowd(t *testing.T, admin *client.Client, agents, customers, limit int) (keys map[string]string, tokens []string) {
	t.Helper()
	ctx := t.Context()
	do := func(method, path string, in, out any) {
		t.Helper()
		if err := admin.Do(ctx, method, path, in, out); err != nil {
			t.Fatal(err)
		}
	}
	keys = map[string]string{}
	for i := range agents {
		name := fmt.Sprint("agent-", i)
		var c api.Credential
		do("POST", "/v1/principals", api.Principal{Name: name, Kind: "person", Roles: map[string]string{"gucci": "support-agent"}}, nil)
		do("POST", client.Path("principals", name, "credentials"), api.CredentialRequest{}, &c)
		keys[name] = c.Key
	}
	list := budget.DefaultRules().List()
	for i, r := range list {
		if r.Class == budget.Clear && r.Window == budget.Hour && r.Role == "" && (r.Kind == budget.Lineage || r.Kind == budget.Principal) {
			list[i].Limit = uint32(limit)
		}
	}
	rules, err := budget.NewRules(list)
	if err != nil {
		t.Fatal(err)
	}
	do("PUT", client.Path("brands", "gucci", "budgets"), api.BudgetRules{Rules: string(rules.Encode())}, nil)
	var req api.PutRequest
	for i := range customers {
		req.Customers = append(req.Customers, api.Fields{"external_id": fmt.Sprint("K-", i), "email": fmt.Sprintf("k%d@example.com", i)})
	}
	w, err := admin.Put(ctx, "gucci", req)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range w.Results {
		tokens = append(tokens, r.Token)
	}
	return keys, tokens
}

// fleet is several servers over one database, as processes.
type fleet struct {
	t     *testing.T
	at    env
	first string // the data directory that the vault was made with
	dirs  []string
	key   string
	cmds  []*exec.Cmd
	errs  []*bytes.Buffer
	said  string // by servers that ended
}

// newFleet starts servers over a database, which it makes a vault, and waits until each
// answers. They are killed when the test ends.
func newFleet(t *testing.T, dsn string, servers int) *fleet {
	t.Helper()
	root := t.TempDir()
	first := filepath.Join(root, "first")
	at := env{"CLOAKROOM_DATABASE": dsn}
	at.run(t, "demo", "--alone", "--data", first, "--customers", "30", "--exit")
	f := &fleet{t: t, at: at, first: first, key: filepath.Join(first, app.RootKeyFile), cmds: make([]*exec.Cmd, servers), errs: make([]*bytes.Buffer, servers)}
	for i := range servers {
		f.dirs = append(f.dirs, filepath.Join(root, fmt.Sprint("s", i)))
		f.start(i)
		t.Cleanup(func() { f.end(i, syscall.SIGKILL) })
	}
	for i := range servers {
		socket(t, f.dirs[i], "")
	}
	return f
}

func (f *fleet) start(i int) {
	f.t.Helper()
	cmd, errs := f.at.program(f.t, "serve", "--data", f.dirs[i], "--root-key", f.key, "--listen", "127.0.0.1:0", "--pool", "8")
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.cmds[i], f.errs[i] = cmd, errs
}

// end ends a server by a signal and waits for it.
func (f *fleet) end(i int, sig syscall.Signal) {
	f.cmds[i].Process.Signal(syscall.SIGCONT)
	f.cmds[i].Process.Signal(sig)
	f.cmds[i].Wait()
	f.said += f.errs[i].String()
}

// Three servers over one database, clients spread over them at random. In each round
// one server is killed and started again, and another stopped for longer than the
// database lets it hold a brand's head. Afterwards everything that anybody was answered
// is held against the log.
func TestSeveralServersKeepOneBudget(t *testing.T) {
	t.Parallel()
	const servers, agents, limit, customers, clients = 3, 30, 60, 120, 12
	rounds := longer(rarely(4, 2))
	if testing.Short() {
		rounds = 1
	}
	dsn := dbtest.DSN(t)
	f := newFleet(t, dsn, servers)
	keys, tokens := crowd(t, socket(t, f.dirs[0], ""), agents, customers, limit)
	a := &answers{lost: map[string]int{}}
	type agent struct {
		name string
		at   [servers]*client.Client
	}
	var people []agent
	for name, key := range keys {
		p := agent{name: name}
		for i := range servers {
			p.at[i] = unixClient(f.dirs[i], key)
		}
		people = append(people, p)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var byServer [servers]struct {
		sync.Mutex
		answered int
	}
	answered := func(i int) int {
		byServer[i].Lock()
		defer byServer[i].Unlock()
		return byServer[i].answered
	}
	for range clients {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				p, i := people[rand.IntN(len(people))], rand.IntN(servers)
				// A stopped server does not answer: the client gives up and goes on.
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				kind := a.ask(ctx, p.at[i], p.name, some(tokens))
				cancel()
				if kind == "" || kind == api.TypeBudgetExhausted {
					byServer[i].Lock()
					byServer[i].answered++
					byServer[i].Unlock()
				}
			}
		})
	}
	// until waits for a condition, for a long time: the machine may be slow.
	until := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(90 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("%s: not in 90 seconds", what)
				return
			}
		}
	}
	more := func(i, n int) func() bool {
		from := answered(i)
		return func() bool { return answered(i) >= from+n }
	}
	for i := range servers {
		until("the first answers", more(i, 10))
	}
	meanwhile := 0
	for range rounds {
		victim := rand.IntN(servers)
		f.end(victim, syscall.SIGKILL)
		until("the others answer while one is dead", more((victim+1)%servers, 10))
		f.start(victim)
		until("a server that was started again answers", more(victim, 10))

		paused := rand.IntN(servers)
		other, third := (paused+1)%servers, (paused+2)%servers
		f.cmds[paused].Process.Signal(syscall.SIGSTOP)
		stopped := time.Now()
		before := answered(other) + answered(third)
		until("the others answer while one is stopped", func() bool {
			return answered(other)+answered(third) >= before+40 && time.Since(stopped) > 2500*time.Millisecond
		})
		meanwhile += answered(other) + answered(third) - before
		f.cmds[paused].Process.Signal(syscall.SIGCONT)
		until("a server that was stopped answers again", more(paused, 10))
	}
	close(stop)
	wg.Wait()
	// What is left of every budget is taken, at any server.
	for _, p := range people {
		wg.Go(func() {
			for n, token := range tokens {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				kind := a.ask(ctx, p.at[n%servers], p.name, []string{token})
				cancel()
				if kind == api.TypeBudgetExhausted {
					return
				}
			}
		})
	}
	wg.Wait()
	v, err := app.Open(t.Context(), f.first, app.Options{Database: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	found := a.check(t, v)
	reached := 0
	for name := range keys {
		if found.distinct[name] == limit {
			reached++
		} else {
			t.Errorf("%s took %d customers, the budget is %d", name, found.distinct[name], limit)
		}
	}
	t.Logf("%d servers, %d rounds of kill -9 and of SIGSTOP: %d answers with customers, %d refusals by budget, unanswered: %v; %d disclosures logged; %d of %d budgets reached exactly, none exceeded; %d answers by the others while one was stopped",
		servers, rounds, len(a.given), len(a.turned), a.lost, found.entries, reached, agents, meanwhile)
}
