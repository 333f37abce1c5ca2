package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
)

// anyFile is a flag's type that takes a file which is not there.
func anyFile(name string) kong.Option {
	return kong.NamedMapper(name, kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		var s string
		if err := ctx.Scan.PopValueInto("file", &s); err != nil {
			return err
		}
		target.SetString(s)
		return nil
	}))
}

// Every verb stands in a group, and has examples that the program takes.
func TestEveryVerbHasExamples(t *testing.T) {
	t.Parallel()
	fresh := func() *kong.Kong { // what it parsed, it remembers
		parser, err := newParser(Streams{Env: map[string]string{}, Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}, anyFile("existingfile"), anyFile("existingdir"))
		if err != nil {
			t.Fatal(err)
		}
		return parser
	}
	parser := fresh()
	for _, n := range parser.Model.Children {
		if n.Group == nil {
			t.Errorf("%s is in no group: help.go", n.Name)
		}
	}
	seen := map[string]bool{}
	for _, leaf := range parser.Model.Leaves(true) {
		name := strings.TrimPrefix(path(leaf), "cloakroom ")
		seen[name] = true
		if leaf.Help == "" {
			t.Errorf("%s has no help", name)
		}
		if len(examples[name]) == 0 {
			t.Errorf("%s has no example: examples.go", name)
		}
		for _, line := range examples[name] {
			line, _, _ = strings.Cut(line, " > ")
			line, _, _ = strings.Cut(line, " < ")
			line = strings.TrimSuffix(strings.TrimPrefix(line, "export INES=$("), ")")
			cmd, err := fresh().Parse(shellWords(line)[1:])
			if err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			if got := words(cmd); got != name {
				t.Errorf("the example %q of %s is of %s", line, name, got)
			}
		}
	}
	for name := range examples {
		if !seen[name] {
			t.Errorf("there are examples of %s, which is no verb", name)
		}
	}
}

// lines runs a command line whose exit code is known.
func lines(t *testing.T, code int, env map[string]string, in string, args ...string) (out, errs string) {
	t.Helper()
	var o, e strings.Builder
	if env == nil {
		env = map[string]string{}
	}
	if got := Main(t.Context(), args, Streams{In: strings.NewReader(in), Out: &o, Err: &e, Env: env}); got != code {
		t.Fatalf("%v: exit code %d, want %d\n%s%s", args, got, code, o.String(), e.String())
	}
	return o.String(), e.String()
}

func TestHelpExplains(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"help"}, {"--help"}} {
		if out, _ := lines(t, 0, nil, "", args...); !strings.Contains(out, "Watch and respond\n") || !strings.Contains(out, "help exit-codes") {
			t.Errorf("%v prints\n%s", args, out)
		}
	}
	for _, args := range [][]string{{"help", "export", "request"}, {"export", "request", "--help"}} {
		out, _ := lines(t, 0, nil, "", args...)
		if !strings.Contains(out, "Examples:\n  cloakroom export request --brand gucci") || !strings.Contains(out, "(default: 72h)") {
			t.Errorf("%v prints\n%s", args, out)
		}
	}
	if out, _ := lines(t, 0, nil, "", "help", "exit-codes"); !strings.Contains(out, "a budget is exhausted") {
		t.Error(out)
	}
	if _, errs := lines(t, exitUsage, nil, "", "help", "nothing"); !strings.Contains(errs, "no such command") {
		t.Error(errs)
	}
	if out, _ := lines(t, 0, nil, "", "version", "--json"); !strings.Contains(out, `"go":"go1.`) {
		t.Error(out)
	}
}

// shellWords takes a line apart as a shell does: at spaces outside of quotes.
func shellWords(line string) (out []string) {
	var word strings.Builder
	quote, in := rune(0), false
	for _, c := range line + " " {
		switch {
		case c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, in = c, true
		case quote == 0 && c == ' ':
			if in {
				out = append(out, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(c)
			in = true
		}
	}
	return out
}

// A shell completes commands, flags and their values from the definitions.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		words []string
		want  string
	}{
		{[]string{"expo"}, "export\nexposure\n"},
		{[]string{"alarm", "re"}, "receiver\n"},
		{[]string{"alarm", "list", "--sev"}, "--severity\n"},
		{[]string{"alarm", "list", "--severity", "h"}, "high\n"},
		{[]string{"alarm", "list", "--severity=h"}, "--severity=high\n"},
		{[]string{"completion", ""}, "bash\nzsh\nfish\n"},
	} {
		if out, _ := lines(t, 0, nil, "", append([]string{completeWord}, c.words...)...); out != c.want {
			t.Errorf("%q completes to %q, want %q", c.words, out, c.want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out, _ := lines(t, 0, nil, "", "completion", shell); !strings.Contains(out, "__complete") {
			t.Errorf("%s: %s", shell, out)
		}
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	script, _ := lines(t, 0, nil, "", "completion", "bash")
	cmd := exec.CommandContext(t.Context(), bash, "-c", script+`
COMP_WORDS=(cloakroom alarm receiver a); COMP_CWORD=3; _cloakroom; echo "${COMPREPLY[@]}"`)
	cmd.Env = append(os.Environ(), "PATH="+docPrograms(t)+string(os.PathListSeparator)+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "add\n" {
		t.Errorf("bash completes to %q, %v", out, err)
	}
}

// A man page is made of each command's definition.
func TestManPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lines(t, 0, nil, "", "man", "--out", dir)
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(pages) < 50 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{".TH CLOAKROOM", ".SH NAME\ncloakroom", ".SH SYNOPSIS", ".SH OPTIONS", ".SH EXIT STATUS"} {
			if !strings.Contains(string(text), part) {
				t.Errorf("%s has no %q", filepath.Base(page), part)
			}
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		return
	}
	out, err := exec.CommandContext(t.Context(), groff, append([]string{"-man", "-ww", "-z", "-Tutf8"}, pages...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("groff: %v\n%.2000s", err, out)
	}
}

// Exit codes tell errors apart, and --json prints each as the API's object.
func TestErrorsOfTheCommandLine(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "vault")
	a := demoIn(t, dir, 30)
	key := map[string]string{}
	for _, p := range a.Principals {
		key[p.Name] = p.Key
	}
	s := a.Brands[0].Samples
	as := func(name string) map[string]string {
		return map[string]string{"CLOAKROOM_DATA": dir, "CLOAKROOM_KEY": key[name], "HOME": dir}
	}
	reveal := []string{"reveal", "--brand", "gucci", "--purpose", "customer-support", "--fields", "email", "--json"}
	for _, c := range []struct {
		code int
		typ  string
		env  map[string]string
		args []string
	}{
		{exitDenied, api.TypePolicyDenied, as("marco"), []string{"reveal", "--brand", "gucci", "--purpose", "marketing", "--fields", "email", "--json", s[0].Token}},
		{exitDenied, api.TypeUnauthenticated, map[string]string{"CLOAKROOM_DATA": dir, "CLOAKROOM_KEY": "ckr_no"}, []string{"brand", "list", "--json"}},
		{exitBudget, api.TypeBudgetExhausted, as("trainee"), append(reveal, s[0].Token, s[1].Token, s[2].Token)},
		{exitNotFound, api.TypeUnknownToken, as("alice"), append(reveal, "cus_aaaaaaaaaaaaaaaaaaaaaaaaaa")},
		{exitNotFound, api.TypeUnknownBrand, as("alice"), []string{"alarm", "list", "--brand", "nobrand", "--json"}},
		{exitUsage, typeUsage, as("alice"), []string{"reveal", "--json"}},
		{exitUsage, typeUsage, as("alice"), []string{"find", "--brand", "gucci", "--purpose", "customer-support", "--json"}},
		{exitUnavailable, typeUnreachable, map[string]string{"CLOAKROOM_KEY": "ckr_x"}, []string{"whoami", "--json", "--server", "http://127.0.0.1:1"}},
	} {
		out, errs := lines(t, c.code, c.env, "", c.args...)
		var e api.Error
		if err := json.Unmarshal([]byte(out), &e); err != nil || e.Type != c.typ {
			t.Errorf("%v prints %q, want the type %s (%v)", c.args, out, c.typ, err)
		}
		if !strings.HasPrefix(errs, "cloakroom: ") {
			t.Errorf("%v: %s", c.args, errs)
		}
	}
	// What a responder, an auditor and an officer ask for.
	env := as("dana")
	lines(t, 0, as("alice"), "", append(reveal[:7:7], s[0].Token)...)
	out, _ := lines(t, 0, env, "", "log", "list", "--brand", "gucci", "--principal", "alice", "--kind", "disclosure", "--since", "1h")
	if strings.Count(out, "disclosure") != 1 || !strings.Contains(out, "alice") {
		t.Errorf("what alice read: %s", out)
	}
	if out, _ := lines(t, 0, env, "", "log", "list", "--brand", "gucci", "--principal", "nobody-at-all"); out != "no such entry\n" {
		t.Errorf("what nobody did: %s", out)
	}
	all, _ := lines(t, 0, env, "", "log", "list", "--brand", "gucci", "--json", "--limit", "0")
	some, _ := lines(t, 0, env, "", "log", "list", "--brand", "gucci", "--json", "--limit", "2")
	var whole, part api.Entries
	if err := errors.Join(json.Unmarshal([]byte(all), &whole), json.Unmarshal([]byte(some), &part)); err != nil || len(part.Entries) != 2 || part.Before != part.Entries[1].Index || len(whole.Entries) < 4 || whole.Before != 0 {
		t.Errorf("%d entries, and two of them: %+v (%v)", len(whole.Entries), part, err)
	}
	if out, _ := lines(t, 0, env, "", "customer", "count", "--brand", "gucci"); out != "10\n" {
		t.Errorf("the brand has %s customers", out)
	}
	if out, _ := lines(t, 0, env, "", "whoami"); !strings.HasPrefix(out, "dana, person") || !strings.Contains(out, "data-protection-officer") {
		t.Errorf("who am I: %s", out)
	}
	if out, _ := lines(t, 0, env, "", "status"); !strings.Contains(out, "health   ok") || !strings.Contains(out, "brands   3") {
		t.Errorf("status: %s", out)
	}
	// A role is shown, and taken only by who says so.
	local := map[string]string{"CLOAKROOM_DATA": dir}
	if out, _ := lines(t, 0, local, "", "principal", "role", "--brand", "gucci", "alice"); out != "gucci=support-agent\n" {
		t.Errorf("alice's roles: %s", out)
	}
	lines(t, exitUsage, local, "y\n", "principal", "role", "--brand", "gucci", "alice", "--remove")
	if out, _ := lines(t, 0, local, "", "principal", "role", "--brand", "gucci", "alice", "--remove", "--yes"); out != "no role\n" {
		t.Errorf("alice's roles after all: %s", out)
	}
	// An empty file is a lost one.
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"budget", "set", "--brand", "gucci", empty}, {"policy", "apply", "--brand", "gucci", empty}, {"policy", "check", empty},
		{"detect", "rules", "--brand", "gucci", "--set", empty},
	} {
		if _, errs := lines(t, exitUsage, local, "", args...); !strings.Contains(errs, "is empty") {
			t.Errorf("%v: %s", args, errs)
		}
	}
	// What apply refuses, its dry run refuses.
	lockout := filepath.Join(t.TempDir(), "lockout.cedar")
	if err := os.WriteFile(lockout, []byte(`permit (principal in Role::"analyst", action == Action::"clear", resource == Field::"email");`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"policy", "apply", "--brand", "gucci", lockout}, {"policy", "apply", "--brand", "gucci", "--dry-run", lockout}} {
		if _, errs := lines(t, exitFailed, local, "", args...); !strings.Contains(errs, "could not change it back") {
			t.Errorf("%v: %s", args, errs)
		}
	}
}

// A login keeps a key for its owner alone, and several vaults by name.
func TestLogin(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "vault")
	a := demoIn(t, dir, 30)
	v, err := app.Open(t.Context(), dir, app.Options{Begin: app.MustExist})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	srv := httptest.NewServer(app.NewServer(v, quiet(&strings.Builder{})).Handler())
	defer srv.Close()
	home := t.TempDir()
	env := map[string]string{"HOME": home, "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": "", "CLOAKROOM_KEY": "", "CLOAKROOM_SERVER": "", "CLOAKROOM_VAULT": ""}
	var key string
	for _, p := range a.Principals {
		if p.Name == "alice" {
			key = p.Key
		}
	}
	if out, _ := lines(t, 0, env, key+"\n", "login", "paris", "--server", srv.URL); !strings.Contains(out, "alice, person") || strings.Contains(out, key) {
		t.Errorf("login prints %s", out)
	}
	file := filepath.Join(home, ".config", "cloakroom", "vaults", "paris.json")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the login is %v, %v", info, err)
	}
	if out, _ := lines(t, 0, env, "", "whoami", "--vault", "paris"); !strings.HasPrefix(out, "alice") {
		t.Errorf("whoami at paris: %s", out)
	}
	lines(t, exitFailed, env, "", "whoami") // neither a vault here nor a default login
	lines(t, 0, env, key, "login", "--server", srv.URL)
	if out, _ := lines(t, 0, env, "", "whoami"); !strings.HasPrefix(out, "alice") {
		t.Errorf("whoami by default: %s", out)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, errs := lines(t, exitFailed, env, "", "whoami", "--vault", "paris"); !strings.Contains(errs, "other users may read") {
		t.Error(errs)
	}
	lines(t, exitDenied, env, "ckr_wrong", "login", "--server", srv.URL)
	lines(t, 0, env, "", "logout", "paris")
	lines(t, exitUsage, env, "", "whoami", "--vault", "paris")
	// Addresses are written in one way.
	for _, bad := range []string{"vault.example:7460", "http://vault.example:7460", "https://key@vault.example", "ftp://vault.example"} {
		if _, errs := lines(t, exitUsage, env, key, "login", "--server", bad); !strings.Contains(errs, "https://") {
			t.Errorf("%s: %s", bad, errs)
		}
	}
	wrong := strings.Replace(srv.URL, "http://", "https://", 1)
	if _, errs := lines(t, exitUnavailable, env, key, "login", "--server", wrong); !strings.Contains(errs, "speaks HTTP, not HTTPS") {
		t.Error(errs)
	}
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	if _, errs := lines(t, exitUnavailable, env, key, "login", "--server", secure.URL); !strings.Contains(errs, "does not trust") {
		t.Error(errs)
	}
	if _, errs := lines(t, exitFailed, env, key, "login", "--server", strings.Replace(secure.URL, "https://", "http://", 1)); !strings.Contains(errs, "write https://") {
		t.Error(errs)
	}
}
