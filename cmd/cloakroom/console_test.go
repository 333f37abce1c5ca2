package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The demonstration ends with an address that opens in a browser and takes the keys that it
// prints; the API's address shows no page, and the console's no API.
func TestTheDemoHasAConsole(t *testing.T) {
	t.Parallel()
	cmd, errs := env{}.program(t, "demo", "--data", filepath.Join(t.TempDir(), "try"), "--customers", "30", "--listen", "127.0.0.1:0", "--console-listen", "127.0.0.1:0", "--json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var a demoAnswer
	if err := json.NewDecoder(out).Decode(&a); err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	if !strings.HasPrefix(a.Console, "http://localhost:") || a.Address == "" {
		t.Fatalf("the demonstration is at %q, its console at %q", a.Address, a.Console)
	}
	key := ""
	for _, p := range a.Principals {
		if p.Name == "alice" {
			key = p.Key
		}
	}
	ask := func(method, address, cookie string, form url.Values) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b)
	}
	resp, _ := ask("POST", a.Console+"/sign-in", "", url.Values{"key": {key}})
	if resp.StatusCode != http.StatusSeeOther || len(resp.Cookies()) != 1 {
		t.Fatalf("signing in answered %d", resp.StatusCode)
	}
	c := resp.Cookies()[0]
	if resp, body := ask("GET", a.Console+"/b/gucci/customers", c.Name+"="+c.Value, nil); resp.StatusCode != http.StatusOK || !strings.Contains(body, "Find a customer") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, _ := ask("GET", a.Console+"/v1/health", c.Name+"="+c.Value, nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the console's address answers the API: %d", resp.StatusCode)
	}
	if resp, body := ask("GET", a.Address+"/sign-in", "", nil); resp.StatusCode == http.StatusOK || strings.Contains(body, "<html") {
		t.Errorf("the API's address shows a page: %d %s", resp.StatusCode, body)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("stopping: %v: %s", err, errs)
	}
}

// Without TLS the console stays on this machine.
func TestTheConsoleNeedsTLSBeyondThisMachine(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "vault")
	for _, at := range []string{"0.0.0.0:7461", "nowhere"} {
		if _, errs := lines(t, exitUsage, nil, "", "serve", "--data", dir, "--listen", "127.0.0.1:0", "--console-listen", at); !strings.Contains(errs, "--console-listen") && !strings.Contains(errs, "unencrypted") {
			t.Errorf("%s: %s", at, errs)
		}
	}
}
