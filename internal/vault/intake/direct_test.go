package intake_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/exercise/generate"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
)

// place is where a vault is: a directory, and a database of its own on a server or none.
type place struct{ dir, dsn string }

func eachEngine(t *testing.T, test func(t *testing.T, p place)) {
	t.Run("sqlite", func(t *testing.T) { test(t, place{dir: t.TempDir()}) })
	t.Run("postgres", func(t *testing.T) {
		dbtest.Postgres(t, db.Options{}) // skips, or fails, where there is no server
		admin, err := db.OpenPostgres(t.Context(), os.Getenv(dbtest.EnvPostgres), db.Options{Readers: 1})
		if err != nil {
			t.Fatal(err)
		}
		name := "cloakroom_test_" + strings.ToLower(rand.Text())
		if _, err := admin.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			admin.Exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
			admin.Close()
		})
		u, err := url.Parse(os.Getenv(dbtest.EnvPostgres))
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/" + name
		test(t, place{t.TempDir(), u.String()})
	})
}

func (p place) open(t *testing.T) *app.Vault {
	t.Helper()
	v, err := app.Open(t.Context(), p.dir, app.Options{Database: p.dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func direct(t *testing.T, v *app.Vault) *intake.Direct {
	t.Helper()
	c, err := v.Identity.EnsureLocal(t.Context(), access.Administrator)
	if err != nil {
		t.Fatal(err)
	}
	return &intake.Direct{Desk: v.Intake, Caller: c, Brand: "gucci"}
}

func brand(t *testing.T, v *app.Vault) {
	t.Helper()
	if _, err := v.Admin.CreateBrand(t.Context(), direct(t, v).Caller, api.Brand{Name: "gucci"}); err != nil {
		t.Fatal(err)
	}
}

func options(t *testing.T, customers, purchases string) intake.Options {
	t.Helper()
	o := intake.Options{MaxRejects: -1, ChunkCustomers: 40}
	for _, f := range []struct {
		name, text string
		into       *intake.Input
	}{{"c.csv", customers, &o.Customers}, {"p.csv", purchases, &o.Purchases}} {
		r, err := intake.NewReader(strings.NewReader(f.text), intake.CSV, nil)
		if err != nil {
			t.Fatal(err)
		}
		*f.into = intake.Input{Name: f.name, Reader: r}
	}
	return o
}

func run(t *testing.T, d *intake.Direct, customers, purchases string) intake.Report {
	t.Helper()
	rep, err := intake.Run(t.Context(), d, options(t, customers, purchases))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]intake.Counts{"customers": rep.Customers, "purchases": rep.Purchases} {
		if c.Read != c.New+c.Updated+c.Unchanged+c.Rejected {
			t.Errorf("%s do not add up: %+v", name, c)
		}
	}
	return rep
}

const (
	customersHead = "external_id,given_name,email,attr.note\n"
	purchasesHead = "external_id,purchase_id,at,description,amount,currency\n"
)

// kept counts rows, and says where a customer is there in part.
func kept(t *testing.T, v *app.Vault) (customers int) {
	t.Helper()
	var externals, secrets, segments, claimed int
	for sql, into := range map[string]*int{
		`SELECT count(*) FROM customers`: &customers, `SELECT count(*) FROM externals`: &externals, `SELECT count(*) FROM customer_keys`: &secrets,
		`SELECT (SELECT count(*) FROM purchases) + (SELECT count(bought) FROM customers)`: &segments, `SELECT coalesce(sum(segments), 0) FROM customer_keys`: &claimed,
	} {
		if err := v.DB.Row(t.Context(), sql).Scan(into); err != nil {
			t.Fatal(err)
		}
	}
	if externals != customers || secrets != customers || segments != claimed {
		t.Errorf("%d customers, %d external ids, %d keys; %d segments where the keys say %d", customers, externals, secrets, segments, claimed)
	}
	return customers
}

// Files in any order, with rows refused, repeated and of nobody, come in whole: the
// same content written cleanly finds nothing to change.
func TestDirectImportOfAnyOrder(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, p place) {
		v := p.open(t)
		brand(t, v)
		for _, order := range []string{"the same", "shuffled", "blocks"} {
			var cs, ps, cleanC, cleanP []string
			for i := range 300 {
				id := fmt.Sprint(order[:1], "-", i)
				row := func(name string) string { return fmt.Sprintf("%s,%s,%s@example.com,\n", id, name, id) }
				cs, cleanC = append(cs, row("Ann")), append(cleanC, row("Ann"))
				if i%50 == 7 { // refused, in the middle
					cs = append(cs, "bad-"+id+",Bo,bo@example.com,paid with 4111 1111 1111 1111\n")
				}
				for k := range i % 13 {
					buy := func(what string) string {
						return fmt.Sprintf("%s,%s-%d,2024-01-%02dT00:00:00Z,%s,1.50,EUR\n", id, id, k, k+1, what)
					}
					ps, cleanP = append(ps, buy("Thing")), append(cleanP, buy("Thing"))
					if i%50 == 8 && k == 3 {
						ps = append(ps, fmt.Sprintf("nobody-%d,x,2024-01-01,Thing,1,EUR\n", i), id+",y,yesterday,Thing,1,EUR\n")
					}
				}
			}
			switch order {
			case "shuffled":
				mrand.Shuffle(len(ps), func(i, j int) { ps[i], ps[j] = ps[j], ps[i] })
			case "blocks":
				ps = slices.Concat(ps[len(ps)/2:], ps[:len(ps)/2])
			}
			// Customers a second time: in one chunk, and chunks later.
			cs = slices.Insert(cs, 1, cs[0])
			cs = append(cs, cs[0])
			d := direct(t, v)
			first := run(t, d, customersHead+strings.Join(cs, ""), purchasesHead+strings.Join(ps, ""))
			if c := first.Customers; c.New != 300 || c.Unchanged != 2 || c.RejectedBy[intake.CodeCardNumber] != 6 || c.Rejected != 6 {
				t.Errorf("%s: customers %+v", order, c)
			}
			if c := first.Purchases; c.New != int64(len(cleanP)) || c.RejectedBy[intake.CodeNoCustomer] == 0 || c.RejectedBy[intake.CodeBadField] == 0 {
				t.Errorf("%s: purchases %+v of %d", order, c, len(cleanP))
			}
			again := run(t, d, customersHead+strings.Join(cleanC, ""), purchasesHead+strings.Join(cleanP, ""))
			if again.Customers.Unchanged != 300 || again.Purchases.Unchanged != int64(len(cleanP)) {
				t.Errorf("%s: again: %+v", order, again)
			}
		}
		kept(t, v)
	})
}

// Known customers are updated and new ones made in one file. Of two rows of one customer
// or purchase that differ, the later is refused: neither is lost without a word.
func TestDirectImportUpdatesAndRefusesDifferingRepeats(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, p place) {
		v := p.open(t)
		brand(t, v)
		d := direct(t, v)
		buy := func(id, amount string) string { return id + ",p,2024-01-01,Thing," + amount + ",EUR\n" }
		run(t, d, customersHead+"A,Ann,,\nB,Bea,,\n", purchasesHead+buy("A", "1"))
		rep := run(t, d, customersHead+"A,Anna,,\nN,Nora,,\nB,Bea,,\nN,Nina,,\n", purchasesHead+buy("N", "1")+buy("A", "2")+buy("N", "3")+buy("B", "4"))
		if c := rep.Customers; c.New != 1 || c.Updated != 1 || c.Unchanged != 1 || c.RejectedBy[intake.CodeRepeated] != 1 {
			t.Errorf("customers %+v", c)
		}
		if c := rep.Purchases; c.New != 2 || c.Updated != 1 || c.RejectedBy[intake.CodeRepeated] != 1 {
			t.Errorf("purchases %+v", c)
		}
		rep = run(t, d, customersHead+"A,Anna,,\nB,Bea,,\nN,Nora,,\n", purchasesHead+buy("A", "2")+buy("N", "1")+buy("B", "4"))
		if rep.Customers.Unchanged != 3 || rep.Purchases.Unchanged != 3 {
			t.Errorf("again: %+v", rep)
		}
		tokens := map[string]string{}
		d.Tokens = func(id, token string) error { tokens[id] = token; return nil }
		run(t, d, customersHead+"A,Anna,,\nM,Max,,\n", purchasesHead)
		if len(tokens) != 2 || tokens["A"] == "" || tokens["M"] == "" {
			t.Errorf("%d tokens were told", len(tokens))
		}
	})
}

// A first import looks for nobody: who stands in two of its chunks is found by then, and
// so are those of an import that ended before a customer could be searched for.
func TestAFirstImportFindsWhoIsThere(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, p place) {
		v := p.open(t)
		brand(t, v)
		d := direct(t, v)
		var c, b strings.Builder
		for i := range 200 {
			fmt.Fprintf(&c, "C%d,Ann,,\n", i%150)
			fmt.Fprintf(&b, "C%d,p%d,2024-01-01,Thing,1,EUR\n", i%150, i)
		}
		o := options(t, customersHead+c.String(), purchasesHead+b.String())
		o.ChunkCustomers = 50
		rep, err := intake.Run(t.Context(), d, o)
		if err != nil || rep.Customers.New != 150 || rep.Customers.Unchanged != 50 || rep.Purchases.New != 200 {
			t.Fatalf("%+v, %v", rep, err)
		}
		// Nobody has an address or a number, so nobody can be looked up.
		rep = run(t, d, customersHead+"C7,Anna,,\nD,Dan,,\n", purchasesHead+"C7,p7,2024-01-01,Thing,2,EUR\n")
		if rep.Customers.Updated != 1 || rep.Customers.New != 1 || rep.Purchases.Updated != 1 {
			t.Errorf("%+v", rep)
		}
	})
}

func generated(t *testing.T, n int) (customers, purchases string) {
	t.Helper()
	var c, p bytes.Buffer
	w, err := generate.NewWriter(&c, &p)
	if err != nil {
		t.Fatal(err)
	}
	for x := range invent.Customers(invent.Config{Customers: n, Seed: 3, Brands: []string{"gucci"}}) {
		if err := w.Write(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return c.String(), p.String()
}

// Two imports of one file at the same time, by two servers where there can be two:
// nobody is there twice, nothing is lost.
func TestTwoImportsOfOneFile(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, p place) {
		const n = 1500
		customers, purchases := generated(t, n)
		vaults := []*app.Vault{p.open(t), nil}
		brand(t, vaults[0])
		if vaults[1] = vaults[0]; p.dsn != "" {
			other := place{t.TempDir(), p.dsn}
			key, err := os.ReadFile(filepath.Join(p.dir, app.RootKeyFile))
			if err == nil {
				err = os.WriteFile(filepath.Join(other.dir, app.RootKeyFile), key, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			vaults[1] = other.open(t)
		}
		var wg sync.WaitGroup
		var reps [2]intake.Report
		var errs [2]error
		for i, v := range vaults {
			d, o := direct(t, v), options(t, customers, purchases)
			o.ChunkCustomers = 200 + 37*i
			wg.Go(func() { reps[i], errs[i] = intake.Run(t.Context(), d, o) })
		}
		wg.Wait()
		for i := range errs {
			if errs[i] != nil || reps[i].Rejected() != 0 {
				t.Fatalf("import %d: %+v, %v", i, reps[i], errs[i])
			}
		}
		if made := reps[0].Customers.New + reps[1].Customers.New; made != n || kept(t, vaults[0]) != n {
			t.Errorf("%d customers were made of %d", made, n)
		}
		rep := run(t, direct(t, vaults[0]), customers, purchases)
		if rep.Customers.Unchanged != n || rep.Purchases.Unchanged != rep.Purchases.Read || reps[0].Purchases.New+reps[1].Purchases.New != rep.Purchases.Read {
			t.Errorf("afterwards: %+v", rep)
		}
	})
}

// childEnv makes the test below an import that its parent kills: directory, database,
// customers, purchases.
const childEnv = "CLOAKROOM_TEST_CHILD_IMPORT"

func TestChildImport(t *testing.T) {
	t.Parallel()
	args := strings.Split(os.Getenv(childEnv), "|")
	if len(args) != 4 {
		t.Skip("for TestAKilledDirectImportGoesOn")
	}
	v := place{args[0], args[1]}.open(t)
	var texts [2]string
	for i := range texts {
		b, err := os.ReadFile(args[2+i])
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(b)
	}
	run(t, direct(t, v), texts[0], texts[1])
}

// An import that is killed wherever it stands is run again until it ends.
func TestAKilledDirectImportGoesOn(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, p place) {
		const n = 3000
		v := p.open(t)
		brand(t, v)
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		customers, purchases := generated(t, n)
		dir := t.TempDir()
		files := []string{filepath.Join(dir, "c.csv"), filepath.Join(dir, "p.csv")}
		for i, text := range []string{customers, purchases} {
			if err := os.WriteFile(files[i], []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		killed := 0
		for wait := 80 * time.Millisecond; ; wait += wait / 2 {
			cmd := exec.Command(exe, "-test.run=^TestChildImport$")
			cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{p.dir, p.dsn, files[0], files[1]}, "|"))
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(wait, func() { cmd.Process.Kill() })
			err := cmd.Wait()
			timer.Stop()
			if err == nil {
				break
			}
			if cmd.ProcessState.Exited() {
				t.Fatalf("an import failed: %s", out.String())
			}
			killed++
		}
		if killed == 0 {
			t.Error("the import was never killed")
		}
		v = p.open(t)
		rep := run(t, direct(t, v), customers, purchases)
		if rep.Customers.Unchanged != n || rep.Purchases.Unchanged != rep.Purchases.Read || kept(t, v) != n {
			t.Errorf("after %d kills: %+v", killed, rep)
		}
		t.Logf("%d kills", killed)
	})
}
