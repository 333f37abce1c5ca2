package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"gopkg.in/yaml.v3"
)

// manager is the socket of a service manager.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	path string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t, conn, path}
}

// hears waits for a message that begins like that, and returns it.
func (m *manager) hears(want string) string {
	m.t.Helper()
	buf := make([]byte, 4096)
	if err := m.conn.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		m.t.Fatal(err)
	}
	n, err := m.conn.Read(buf)
	if err != nil {
		m.t.Fatalf("the service manager heard nothing: %v", err)
	}
	if got := string(buf[:n]); !strings.HasPrefix(got, want) {
		m.t.Fatalf("the service manager heard %q, want %s", got, want)
	}
	return string(buf[:n])
}

// A server reads its configuration from one file, tells its service manager how it is, reloads
// at SIGHUP and takes certificates that were renewed.
func TestServeIsOperated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, pool := certificate(t)
	config := filepath.Join(dir, "cloakroom.yaml")
	write := func(level, more string) {
		t.Helper()
		text := fmt.Sprintf("data: %s\nlisten: 127.0.0.1:0\nmetrics-listen: 127.0.0.1:0\ntls-cert: %s\ntls-key: %s\nlog-level: %s\n%s", filepath.Join(dir, "vault"), cert, key, level, more)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("info", "")
	m := newManager(t)
	cmd, _ := env{"NOTIFY_SOCKET": m.path}.program(t, "serve", "--config", config)
	logged := filepath.Join(dir, "log")
	out, err := os.Create(logged)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stderr = out
	lines := func() string {
		text, err := os.ReadFile(logged)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	_, address, _ := strings.Cut(m.hears("READY=1\n"), "serving on ")
	ask := func(path string) (int, string, *tls.ConnectionState) {
		t.Helper()
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
		resp, err := c.Get("https://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b), resp.TLS
	}
	for _, path := range []string{"/v1/live", "/v1/ready", "/v1/health"} {
		if status, body, _ := ask(path); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _, _ := ask("/v1/version"); status != http.StatusUnauthorized {
		t.Errorf("a stranger is told the version: %d", status)
	}
	until(t, func() bool {
		return strings.Contains(lines(), `"route":"GET /v1/version"`) || strings.Contains(lines(), `"status":401`)
	})
	if strings.Contains(lines(), "/v1/live") {
		t.Error("probes fill the log")
	}
	hup := func() {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		m.hears("RELOADING=1\nMONOTONIC_USEC=")
		m.hears("READY=1")
	}
	// The log's level changes; a mistake changes nothing.
	write("debug", "")
	hup()
	if status, _, _ := ask("/v1/live"); status != http.StatusOK {
		t.Fatal("it does not serve")
	}
	until(t, func() bool { return strings.Contains(lines(), "/v1/live") })
	write("debug", "lissten: x\n")
	hup()
	until(t, func() bool { return strings.Contains(lines(), "no such setting") })
	write("debug", "")
	// A certificate that was renewed is taken without a signal.
	_, _, before := ask("/v1/live")
	newCert, newKey, newPool := certificate(t)
	for from, to := range map[string]string{newKey: key, newCert: cert} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(time.Minute) // a coarse clock of the file system tells the files apart
		if err := os.Chtimes(to, later, later); err != nil {
			t.Fatal(err)
		}
	}
	pool = newPool
	if _, _, after := ask("/v1/live"); after.PeerCertificates[0].Equal(before.PeerCertificates[0]) {
		t.Error("the old certificate is still served")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.hears("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, lines())
	}
	for _, want := range []string{`"msg":"draining`, `"msg":"stopped"`, `"role":"serves the API`, `"version":"`} {
		if !strings.Contains(lines(), want) {
			t.Errorf("the log has no %s: %s", want, lines())
		}
	}
}

// A configuration is read strictly, and shown without passwords.
func TestConfig(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	for text, want := range map[string]string{
		"listen: 127.0.0.1:1\nlissten: x\n": "line 2: no such setting",
		"listen: [a]\n":                     "listen takes one value",
		"listen: a\nlisten: b\n":            "already defined",
		"":                                  "is empty",
		"- listen\n":                        "line 1: write `name: value`",
		"log-level: loud\n":                 "must be one of",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, errs := lines(t, exitUsage, nil, "", "config", "check", file); !strings.Contains(errs, want) && !(want == "already defined" && strings.Contains(errs, "stands twice")) {
			t.Errorf("%q: %s", text, errs)
		}
	}
	if err := os.WriteFile(file, []byte("listen: 127.0.0.1:1\ndatabase: postgres://u:secret@db/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := lines(t, 0, map[string]string{"CLOAKROOM_POOL": "7"}, "", "config", "show", "--config", file, "--json")
	var list []setting
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range list {
		got[s.Name] = s.Value + " " + s.From
		if s.Variable == "" {
			t.Errorf("%s has no variable", s.Name)
		}
	}
	if strings.Contains(out, "secret") || got["listen"] != "127.0.0.1:1 file" || got["pool"] != "7 environment" || got["log-level"] != "info default" {
		t.Errorf("%v", got)
	}
}

// What is deployed with the program names only what the program has.
func TestDeployment(t *testing.T) {
	t.Parallel()
	if out, _ := lines(t, 0, nil, "", "config", "check", "../../deploy/cloakroom.yaml"); !strings.Contains(out, "4 settings") {
		t.Error(out)
	}
	have := metricNames(t)
	used := regexp.MustCompile(`\b(cloakroom|process|go)_[a-z_0-9]+`)
	for _, file := range []string{"alerts.yaml", "dashboard.json"} {
		text, err := os.ReadFile(filepath.Join("../../deploy/monitoring", file))
		if err != nil {
			t.Fatal(err)
		}
		names := used.FindAllString(string(text), -1)
		if len(names) < 10 {
			t.Errorf("%s names only %v", file, names)
		}
		for _, n := range names {
			if !have[n] {
				t.Errorf("%s uses %s, which the server does not have", file, n)
			}
		}
		if file == "dashboard.json" && !json.Valid(text) {
			t.Error("the dashboard is no JSON")
		}
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	f, err := os.Open("../../deploy/monitoring/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&rules); err != nil || len(rules.Groups) != 1 || len(rules.Groups[0].Rules) < 10 {
		t.Errorf("%+v, %v", rules, err)
	}
	for _, r := range rules.Groups[0].Rules {
		if r.Alert == "" || r.Expr == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%+v lacks something", r)
		}
	}
	// systemd reads the unit, and finds little to complain about.
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return
	}
	text, err := os.ReadFile("../../deploy/systemd/cloakroom.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "cloakroom.service")
	// The program and its pages are not installed here.
	text = regexp.MustCompile(`(?m)^Documentation=.*\n`).ReplaceAll([]byte(strings.ReplaceAll(string(text), "/usr/bin/cloakroom", "/bin/true")), nil)
	if err := os.WriteFile(unit, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=20", unit).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// metricNames are the names that a server exposes on the listener of its metrics.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "vault")
	m := newManager(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	cmd, errs := env{"NOTIFY_SOCKET": m.path}.program(t, "serve", "--data", dir, "--listen", "127.0.0.1:0", "--metrics-listen", address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, errs)
		}
	}()
	m.hears("READY=1")
	run(t, "brand", "create", "gucci", "--data", dir)
	run(t, "backup", "--data", dir, "--out", filepath.Join(t.TempDir(), "b"), "--parts", "data")
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z_0-9]+)(?:\{[^\n]*\})? [-+0-9.eInf]+$`).FindAllStringSubmatch(string(text), -1) {
		out[m[1]] = true
	}
	for _, name := range []string{"cloakroom_build_info", "cloakroom_log_writable", "cloakroom_backup_last_timestamp_seconds", "process_resident_memory_bytes"} {
		if !out[name] {
			t.Errorf("there is no %s in\n%s", name, text)
		}
	}
	out["cloakroom_errors_total"] = true // from the first error on
	return out
}

// A backup says what is not in it, is verified without a key, and thins out older ones.
func TestBackupsAreKeptAndVerified(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	vault, at := filepath.Join(dir, "vault"), filepath.Join(dir, "backups")
	demoIn(t, vault, 30)
	identity := filepath.Join(dir, "backup.key")
	if err := ageProgram("age-keygen", []string{"-o", identity}); err != nil {
		t.Fatal(err)
	}
	ids, err := identities(identity)
	if err != nil {
		t.Fatal(err)
	}
	to := ids[0].(*age.X25519Identity).Recipient().String()
	for _, name := range []string{"1", "2", "3"} {
		out := run(t, "backup", "--data", vault, "--out", filepath.Join(at, name), "--recipient", to, "--keep", "2")
		if !strings.HasSuffix(out, "root.key is NOT in this backup: keep copies of it elsewhere, or nothing in it can be read again\n") {
			t.Errorf("the last line is not about root.key: %s", out)
		}
	}
	left, err := filepath.Glob(filepath.Join(at, "*"))
	if err != nil || len(left) != 2 || filepath.Base(left[0]) != "2" {
		t.Errorf("left are %v, %v", left, err)
	}
	newest := filepath.Join(at, "3")
	if out := run(t, "backup", "verify", newest); !strings.Contains(out, "as they were written") {
		t.Error(out)
	}
	// A restore with another vault's root key writes nothing, and can be repeated.
	other := filepath.Join(dir, "other")
	demoIn(t, other, 30)
	restored := filepath.Join(dir, "restored")
	restore := []string{"restore", "--from", newest, "--identity", identity, "--data", restored, "--root-key"}
	if out := fails(t, append(restore, filepath.Join(other, "root.key"))...); !strings.Contains(out, "opens none of the keys") {
		t.Error(out)
	}
	if _, err := os.Stat(restored); err == nil {
		t.Error("the directory was touched before the key was tried")
	}
	run(t, append(restore, filepath.Join(vault, "root.key"))...)
	data, err := os.OpenFile(filepath.Join(newest, "data.zst"), os.O_RDWR, 0)
	if err == nil {
		_, err = data.WriteAt([]byte("x"), 40)
	}
	if err = errors.Join(err, data.Close()); err != nil {
		t.Fatal(err)
	}
	if out := fails(t, "backup", "verify", newest); !strings.Contains(out, "its bytes were changed") {
		t.Error(out)
	}
}
