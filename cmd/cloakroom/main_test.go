package main

import (
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// asProgram makes the test binary be the program: for tests that kill it.
const asProgram = "CLOAKROOM_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	switch as := os.Getenv(asProgram); as {
	case "":
	case "age", "age-keygen":
		if err := ageProgram(as, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, as+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	default:
		main()
	}
	testscript.Main(tests{m}, map[string]func(){"cloakroom": main})
}

// tests are run without what a developer has set for the program.
type tests struct{ m *testing.M }

func (x tests) Run() int {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "CLOAKROOM_") && !strings.HasPrefix(name, "CLOAKROOM_TEST_") {
			os.Unsetenv(name)
		}
	}
	return x.m.Run()
}

// TestScripts runs the stories of testdata on each engine. The CDNOW file stays outside
// the repository: its story is skipped where the file is absent, except in CI.
func TestScripts(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { scripts(t, "") })
	t.Run("postgres", func(t *testing.T) {
		server := dbtest.DSN(t)
		if raceDetector {
			t.Skip("one command after another, each of which ran on the other engine: internal/web/server does what servers do at once on both")
		}
		scripts(t, server)
	})
}

// scripts gives each script a database of its own on the server of another.
func scripts(t *testing.T, server string) {
	cdnow, err := filepath.Abs("../../../shared/data/cdnow.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(cdnow); err != nil && os.Getenv("CI") != "" {
		t.Fatalf("CI has the CDNOW file: %v", err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"field": scriptField,
			"sums":  scriptSums,
			// emptied puts an empty database into the place of the script's.
			"emptied": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Setenv("CLOAKROOM_DATABASE", dbtest.DSN(t))
			},
			"agekey":     scriptAgeKey,
			"mailserver": scriptMailServer,
			"mailed":     scriptMailed,
			"freeport":   scriptFreePort,
			"sendmail":   scriptSendMail,
			"decoy":      scriptDecoy,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("CDNOW", cdnow)
			if server != "" {
				e.Setenv("CLOAKROOM_DATABASE", dbtest.DSN(e.T().(testing.TB)))
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "race":
				return raceDetector, nil
			case "postgres":
				return server != "", nil
			}
			_, err := os.Stat(cdnow)
			return cond == "cdnow" && err == nil, nil
		},
	})
}

// scriptField sets a variable to a member of a JSON file: field VAR FILE PATH, the
// path's parts separated by slashes, a list's by its index or as name=value.
func scriptField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: field VAR FILE PATH")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &v))
	for _, part := range strings.Split(args[2], "/") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			name, want, search := strings.Cut(part, "=")
			i := 0
			if !search {
				_, err := fmt.Sscan(part, &i)
				ts.Check(err)
			}
			for search && i < len(x) && fmt.Sprint(x[i].(map[string]any)[name]) != want {
				i++
			}
			if i >= len(x) {
				ts.Fatalf("%s: no %s", args[1], part)
			}
			v = x[i]
		default:
			ts.Fatalf("%s: no %s in %v", args[1], part, v)
		}
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

// scriptSums holds revealed customers against what is known of them: sums FILE
// CUSTOMERS PURCHASES AMOUNT.
func scriptSums(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: sums FILE CUSTOMERS PURCHASES AMOUNT")
	}
	customers, purchases, total := map[string]bool{}, 0, new(big.Rat)
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var d api.Disclosed
		ts.Check(json.Unmarshal([]byte(line), &d))
		for _, c := range d.Customers {
			customers[c.Fields["external_id"]] = true
			for _, p := range c.Purchases {
				purchases++
				amount, ok := new(big.Rat).SetString(p.Amount)
				if !ok {
					ts.Fatalf("not an amount")
				}
				total.Add(total, amount)
			}
		}
	}
	if got := fmt.Sprint(len(customers), " ", purchases, " ", total.FloatString(2)); got != strings.Join(args[1:], " ") {
		ts.Fatalf("read back %s", got)
	}
}
