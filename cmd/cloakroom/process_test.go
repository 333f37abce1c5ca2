package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
)

// Ctrl-C ends an import that waits for its input, with the exit code that says so,
// and what went in before stays.
func TestAnImportThatWaitsIsInterrupted(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "vault")
	demoIn(t, dir, 30)
	if opened(t, dir) {
		t.Fatal("the vault is open before the program has started")
	}
	cmd, errs := program(t, "import", "--data", dir, "--brand", "gucci", "--customers", "-", "--tokens", filepath.Join(t.TempDir(), "tokens.csv"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// More than is looked at to tell the format, so that the vault is opened.
	io.WriteString(in, "external_id,given_name\n"+strings.Repeat("X-1,Noor\n", 100)) // returns once there is room, so the program may not have read it
	until(t, func() bool { return opened(t, dir) })
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("exit code %d, %v: %s", cmd.ProcessState.ExitCode(), err, errs)
	}
	if strings.Contains(errs.String(), "level=ERROR") {
		t.Errorf("an interruption is logged as a failure: %s", errs)
	}
}

// The same before the vault is opened, while the format is not known yet.
func TestAnImportThatWaitsForItsFirstBytesIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	in, out := io.Pipe()
	defer out.Close()
	go func() {
		io.WriteString(out, "external_id,given_name\n") // returns once the program has read it
		cancel()
	}()
	var errs strings.Builder
	if code := Main(ctx, []string{"import", "--brand", "gucci", "--customers", "-"}, Streams{In: in, Out: io.Discard, Err: &errs}); code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

// opened reports whether a process has the vault open: SQLite's write-ahead log is there
// only while one has. Trying to open the vault would tell as well, and could take the lock
// from the process that is about to.
func opened(t *testing.T, dir string) bool {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*-wal"))
	if err != nil {
		t.Fatal(err)
	}
	return len(logs) > 0
}

// certificate writes a self-signed certificate for loopback and its key.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vault"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key, pool = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), x509.NewCertPool()
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: text}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(cert)
	if err != nil || !pool.AppendCertsFromPEM(b) {
		t.Fatal("no certificate", err)
	}
	return cert, key, pool
}

// Over TLS the API answers those who trust its certificate, by TLS 1.3 only, and
// nobody in clear; without a certificate it listens on loopback only.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "vault")
	a := demoIn(t, dir, 30)
	cert, key, pool := certificate(t)
	for _, args := range [][]string{{"--listen", "0.0.0.0:0"}, {"--listen", ":0"}, {"--tls-cert", cert}} {
		var errs strings.Builder
		if code := Main(t.Context(), append([]string{"serve", "--data", dir}, args...), Streams{In: strings.NewReader(""), Out: io.Discard, Err: &errs}); code != exitUsage {
			t.Errorf("serve %v: exit code %d: %s", args, code, errs.String())
		}
	}
	cmd, _ := program(t, "serve", "--data", dir, "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	cmd.Stderr = nil
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var said struct{ Address string }
	if err != nil || json.Unmarshal(line, &said) != nil {
		t.Fatalf("%s %v", line, err)
	}
	over := func(c *tls.Config, scheme string) error {
		return client.New(scheme+"://"+said.Address, a.Principals[0].Key, &http.Client{Transport: &http.Transport{TLSClientConfig: c}}).
			Do(t.Context(), "GET", "/v1/brands", nil, &[]api.Brand{})
	}
	if err := over(&tls.Config{RootCAs: pool}, "https"); err != nil {
		t.Error(err)
	}
	if err := over(&tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS12}, "https"); err == nil {
		t.Error("TLS 1.2 was spoken")
	}
	if err := over(nil, "https"); err == nil {
		t.Error("a certificate that nobody vouches for was taken")
	}
	if err := over(nil, "http"); err == nil {
		t.Error("it answered in clear")
	}
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
