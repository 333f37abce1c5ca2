package witness_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/witness"
)

// memory is a log that can be cut and forked.
type memory struct {
	t      *testing.T
	origin string
	seed   byte
	leaves []string
	hashes []tlog.Hash
}

func (m *memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = m.hashes[x]
	}
	return out, nil
}

func (m *memory) log(leaves ...string) {
	for _, leaf := range leaves {
		hs, err := tlog.StoredHashes(int64(len(m.leaves)), []byte(leaf), m)
		if err != nil {
			m.t.Fatal(err)
		}
		m.leaves, m.hashes = append(m.leaves, leaf), append(m.hashes, hs...)
	}
}

func (m *memory) signer() (note.Signer, string) {
	s, vkey, err := ledger.NewSigner(m.origin, bytes.Repeat([]byte{m.seed}, ed25519.SeedSize))
	if err != nil {
		m.t.Fatal(err)
	}
	return s, vkey
}

func (m *memory) Checkpoint(context.Context, record.BrandID) ([]byte, error) {
	root, err := tlog.TreeHash(int64(len(m.leaves)), m)
	if err != nil {
		return nil, err
	}
	s, _ := m.signer()
	return note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: m.origin, Tree: tlog.Tree{N: int64(len(m.leaves)), Hash: root}}.String()}, s)
}

func (m *memory) Consistency(_ context.Context, _ record.BrandID, older, size uint64) (tlog.TreeProof, error) {
	return tlog.ProveTree(int64(size), int64(older), m)
}

func (m *memory) cosign(s *witness.Set) ([]byte, error) {
	m.t.Helper()
	s.Logs = m
	cp, err := m.Checkpoint(m.t.Context(), 1)
	if err != nil {
		m.t.Fatal(err)
	}
	return s.Cosign(m.t.Context(), 1, cp)
}

// litewitness starts the witness of torchwood on loopback, built through the module proxy,
// with a key that an agent of this test holds. It returns the witness, and what enrols logs.
func litewitness(t *testing.T) (witness.Witness, func(origin, vkey string)) {
	t.Helper()
	dir, err := os.MkdirTemp("", "w") // a socket has room for a short path only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	build := exec.CommandContext(t.Context(), "go", "install", "filippo.io/torchwood/cmd/litewitness@v0.9.0")
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("building litewitness: %v: %s", err, out)
		}
		t.Skipf("litewitness cannot be built here: %v: %s", err, out)
	}
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, c) }() // ends with its client
		}
	}()
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	const name = "witness.test/lite"
	file := filepath.Join(dir, "w.db")
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "litewitness"), "-db", file, "-name", name, "-ssh-agent", socket, "-key", ssh.FingerprintSHA256(public), "-listen", address)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("litewitness does not listen: %s", said.String())
		}
	}
	cosigner, err := torchwood.NewCosignatureSigner(name, private)
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.Parse(cosigner.Verifier().String() + " http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	// As `witnessctl add-log` and `witnessctl add-key` do.
	return w, func(origin, vkey string) {
		d, err := db.OpenSQLite(t.Context(), file, db.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if _, err := d.Exec(t.Context(), `INSERT INTO log (origin, tree_size, tree_hash) VALUES ($1, 0, '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=')`, origin); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Exec(t.Context(), `INSERT INTO key (origin, key) VALUES ($1, $2)`, origin, vkey); err != nil {
			t.Fatal(err)
		}
	}
}

// A real witness signs what continues, and refuses a log that it does not know, a fork, a
// rollback and a new epoch, until that is enrolled.
func TestARealWitnessRefusesAForkARollbackAndAnUnknownEpoch(t *testing.T) {
	w, enrol := litewitness(t)
	m := &memory{t: t, origin: "vault.test/gucci", seed: 1}
	m.log("a", "b", "c")
	s := witness.New(m, w)
	if _, err := m.cosign(s); !errors.Is(err, witness.ErrUnknown) {
		t.Fatalf("a log that is not enrolled gives %v", err)
	}
	_, vkey := m.signer()
	enrol(m.origin, vkey)
	check := func(cp []byte, size int64) {
		t.Helper()
		c, err := evidence.OpenCheckpoint(vkey, cp)
		if err != nil || c.N != size {
			t.Fatalf("%v %v", c, err)
		}
		v, err := torchwood.NewCosignatureVerifier(w.VKey())
		if err != nil {
			t.Fatal(err)
		}
		if n, err := note.Open(cp, note.VerifierList(v)); err != nil || len(n.Sigs) != 1 {
			t.Errorf("the checkpoint of %d entries is not cosigned: %v", size, err)
		}
	}
	cp, err := m.cosign(s)
	if err != nil {
		t.Fatal(err)
	}
	check(cp, 3)
	m.log("d", "e")
	if cp, err = m.cosign(s); err != nil {
		t.Fatal(err)
	}
	check(cp, 5)
	if cp, err = m.cosign(s); err != nil { // the same again, fresh
		t.Fatal(err)
	}
	check(cp, 5)
	s = witness.New(m, w) // after a restart: the witness says how far it is
	m.log("f")
	if cp, err = m.cosign(s); err != nil {
		t.Fatal(err)
	}
	check(cp, 6)
	if x := s.States(1)[0]; x.Size != 6 || x.Err != nil || x.Origin != m.origin || x.At.IsZero() || !bytes.Equal(x.Signed, cp) {
		t.Errorf("%+v", x)
	}

	fork := &memory{t: t, origin: m.origin, seed: 1}
	fork.log("a", "b", "c", "d", "e", "another", "g")
	for name, s := range map[string]*witness.Set{"of this server": s, "after a restart": witness.New(m, w)} {
		if cp, err := fork.cosign(s); !errors.Is(err, witness.ErrFork) || bytes.Contains(cp, []byte(w.Name())) {
			t.Errorf("a fork, %s, gives %v", name, err)
		}
	}
	cut := &memory{t: t, origin: m.origin, seed: 1}
	cut.log("a", "b")
	for name, s := range map[string]*witness.Set{"of this server": s, "after a restart": witness.New(m, w)} {
		if _, err := cut.cosign(s); !errors.Is(err, witness.ErrAhead) {
			t.Errorf("a rollback, %s, gives %v", name, err)
		}
	}
	stolen := &memory{t: t, origin: m.origin, seed: 2}
	stolen.log("a", "b", "c", "d", "e", "f", "g")
	if _, err := stolen.cosign(s); !errors.Is(err, witness.ErrRefused) {
		t.Errorf("another key of the log gives %v", err)
	}
	epoch := &memory{t: t, origin: m.origin + "@2-0a1b2c3d", seed: 1}
	epoch.log("a", "b", "c", "d", "begun")
	if _, err := epoch.cosign(s); !errors.Is(err, witness.ErrUnknown) {
		t.Fatalf("a new epoch gives %v", err)
	}
	if x := s.States(1)[0]; x.Origin != m.origin || x.Size != 6 || x.Err == nil {
		t.Errorf("the last checkpoint of the old epoch is forgotten: %+v", x)
	}
	_, next := epoch.signer()
	enrol(epoch.origin, next)
	if _, err := epoch.cosign(s); err != nil {
		t.Fatal(err)
	}
	if x := s.States(1)[0]; x.Origin != epoch.origin || x.Size != 5 {
		t.Errorf("%+v", x)
	}
}

// What calls itself a witness may answer anything: it signs nothing by that, and costs
// little.
func TestAStrangeWitnessSignsNothing(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
	cosigner, err := torchwood.NewCosignatureSigner("witness.test/strange", key)
	if err != nil {
		t.Fatal(err)
	}
	other, err := torchwood.NewCosignatureSigner("witness.test/strange", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	line := func(s note.Signer, text string) string {
		signed, err := note.Sign(&note.Note{Text: text}, s)
		if err != nil {
			t.Fatal(err)
		}
		_, sigs, _ := strings.Cut(string(signed), "\n\n")
		return sigs
	}
	m := &memory{t: t, origin: "vault.test/gucci", seed: 1}
	m.log("a")
	cp, err := m.Checkpoint(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(cp), "\n\n")
	for name, answer := range map[string]func(w http.ResponseWriter){
		"nothing":       func(w http.ResponseWriter) {},
		"words":         func(w http.ResponseWriter) { fmt.Fprint(w, "thank you\n") },
		"another's key": func(w http.ResponseWriter) { fmt.Fprint(w, line(other, text+"\n")) },
		"another text": func(w http.ResponseWriter) {
			fmt.Fprint(w, line(cosigner, strings.Replace(text, "gucci", "other", 1)+"\n"))
		},
		"no size":       func(w http.ResponseWriter) { w.WriteHeader(http.StatusConflict); fmt.Fprint(w, "many") },
		"endless sizes": func(w http.ResponseWriter) { w.WriteHeader(http.StatusConflict); fmt.Fprint(w, "0") },
		"a failure":     func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"another place": func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"an endless answer": func(w http.ResponseWriter) { w.Write(bytes.Repeat([]byte("x"), 1<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
			defer srv.Close()
			w, err := witness.Parse(cosigner.Verifier().String() + " " + srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			out, err := m.cosign(witness.New(m, w))
			if !errors.Is(err, witness.ErrUnreachable) || !bytes.Equal(out, cp) {
				t.Errorf("it gives %v and %s", err, out)
			}
		})
	}
	for _, bad := range []string{"", "x", cosigner.Verifier().String(), "key http://127.0.0.1", cosigner.Verifier().String() + " http://witness.example", cosigner.Verifier().String() + " ftp://127.0.0.1", cosigner.Verifier().String() + " https://user:word@witness.example"} {
		if _, err := witness.Parse(bad); !errors.Is(err, witness.ErrConfigured) {
			t.Errorf("%q gives %v", bad, err)
		}
	}
}
