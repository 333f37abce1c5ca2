package evidence

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const origin = "evidence.test/brand"

// files is a log in memory.
type files map[string][]byte

func (f files) ReadFile(_ context.Context, path string) ([]byte, error) {
	b, ok := f[path]
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return b, nil
}

// signs is a note.Signer of a test key.
type signs struct {
	note.Verifier
	key  ed25519.PrivateKey
	vkey string
}

func (s *signs) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

func signer(t testing.TB, seed byte) *signs {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	vkey, err := note.NewEd25519VerifierKey(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return &signs{v, key, vkey}
}

func leafOf(t testing.TB, i int) []byte {
	t.Helper()
	b, _, err := entry.Marshal(&entry.Entry{Kind: entry.KindAudit, At: entry.DayTime(uint32(i + 1)), Brand: 1, Role: fmt.Sprint(i), Principal: uint64(i)}, entry.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func leaves(t testing.TB, n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = leafOf(t, i)
	}
	return out
}

// stored are the hashes of a log, to make tiles and proofs of.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = s[x]
	}
	return out, nil
}

// write makes the files of a log and its hashes.
func write(t testing.TB, s *signs, leaves [][]byte) (files, stored) {
	t.Helper()
	f := files{}
	var hashes stored
	for i, leaf := range leaves {
		hs, err := tlog.StoredHashes(int64(i), leaf, hashes)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, hs...)
		var bundle []byte
		n, w := int64(i/torchwood.TileWidth), i%torchwood.TileWidth+1
		if w > 1 {
			bundle = f[torchwood.TilePath(tlog.Tile{H: 8, L: -1, N: n, W: w - 1})]
			delete(f, torchwood.TilePath(tlog.Tile{H: 8, L: -1, N: n, W: w - 1}))
		}
		if bundle, err = torchwood.AppendTileEntry(bundle, leaf); err != nil {
			t.Fatal(err)
		}
		f[torchwood.TilePath(tlog.Tile{H: 8, L: -1, N: n, W: w})] = bundle
	}
	size := int64(len(leaves))
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, size) {
		b, err := tlog.ReadTileData(tile, hashes)
		if err != nil {
			t.Fatal(err)
		}
		f[torchwood.TilePath(tile)] = b
	}
	root, err := tlog.TreeHash(size, hashes)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: size, Hash: root}}.String()}, s)
	if err != nil {
		t.Fatal(err)
	}
	f[checkpointPath] = cp
	return f, hashes
}

func TestWholeLogsOfEverySizeVerify(t *testing.T) {
	s := signer(t, 1)
	var older []byte
	for _, n := range []int{0, 1, 2, 255, 256, 257, 600} {
		f, _ := write(t, s, leaves(t, n))
		seen := 0
		r, err := Verify(t.Context(), f, s.vkey, older, func(i uint64, e Entry) error {
			if e.Role != fmt.Sprint(i) || e.Principal != 0 {
				t.Errorf("entry %d came as %+v", i, e)
			}
			seen++
			return nil
		})
		if err != nil || r.Size != uint64(n) || seen != n || r.Origin != origin {
			t.Errorf("%d entries: %+v, %v", n, r, err)
		}
		older = f[checkpointPath]
	}
}

func TestAttacks(t *testing.T) {
	s, evil := signer(t, 1), signer(t, 2)
	all := leaves(t, 600)
	whole, _ := write(t, s, all)
	old, _ := write(t, s, all[:300])
	older := old[checkpointPath]
	// forge writes other entries under the signed checkpoint.
	forge := func(leaves [][]byte) files {
		f, _ := write(t, s, leaves)
		f[checkpointPath] = whole[checkpointPath]
		return f
	}
	join := func(parts ...[][]byte) (out [][]byte) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	edited := join(all)
	edited[17] = leafOf(t, 9000)
	edited[17], _, _ = entry.Marshal(&entry.Entry{Kind: entry.KindAudit, At: entry.DayTime(18), Brand: 1, Principal: 42}, entry.Secret{})
	for name, c := range map[string]struct {
		f    files
		want error
	}{
		"an entry edited":            {forge(edited), ErrRoot},
		"one deleted":                {forge(join(all[:100], all[101:], all[599:])), ErrRoot},
		"a run deleted":              {forge(join(all[:100], all[200:])), ErrMissing},
		"two runs swapped":           {forge(join(all[:10], all[20:30], all[10:20], all[30:])), ErrRoot},
		"the tail cut":               {func() files { f, _ := write(t, s, all[:299]); return f }(), ErrShorter},
		"the tail cut, key and all":  {func() files { f, _ := write(t, s, join(all[:200], all[300:])); return f }(), ErrOlder},
		"replaced under another key": {func() files { f, _ := write(t, evil, all); return f }(), ErrSignature},
		"emptied":                    {func() files { f, _ := write(t, s, nil); return f }(), ErrShorter},
		"no files":                   {files{}, ErrMissing},
		"a time that steps back":     {func() files { f, _ := write(t, s, join(all, [][]byte{leafOf(t, 3)})); return f }(), ErrEntry},
		"not an entry":               {func() files { f, _ := write(t, s, join(all, [][]byte{[]byte("x")})); return f }(), ErrEntry},
	} {
		if _, err := Verify(t.Context(), c.f, s.vkey, older, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Verify(t.Context(), whole, evil.vkey, nil, nil); !errors.Is(err, ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	if _, err := Verify(t.Context(), whole, "nonsense", nil, nil); err == nil {
		t.Error("nonsense for a key")
	}
}

// One byte changed anywhere in any file is found.
func TestOneByteAnywhere(t *testing.T) {
	s := signer(t, 1)
	all := leaves(t, 300)
	f, _ := write(t, s, all)
	var paths []string
	for p := range f {
		paths = append(paths, p)
	}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom(paths).Draw(t, "path")
		b := bytes.Clone(f[p])
		i := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		b[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
		g := files{}
		for q, v := range f {
			g[q] = v
		}
		g[p] = b
		if _, err := Verify(context.Background(), g, s.vkey, nil, nil); err == nil {
			t.Fatalf("byte %d of %s changed and nothing was found", i, p)
		}
	})
}

func TestCustomerProof(t *testing.T) {
	s := signer(t, 1)
	key := bytes.Repeat([]byte{7}, 32)
	e := &entry.Entry{Kind: entry.KindDisclosure, At: time.UnixMicro(2), Reader: [16]byte{5}, Brand: 1, Fields: record.Fields(record.Email), Count: entry.Bucket(3), Nonce: [16]byte{1}, Subjects: [32]byte{1}}
	commitments := [][32]byte{{1}, entry.Commitment(key, e.Committed(4)), {3}}
	e.Root = entry.Root(commitments)
	leaf, _, err := entry.Marshal(e, entry.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	f, hashes := write(t, s, [][]byte{leafOf(t, 0), leaf, leafOf(t, 2)})
	inclusion, err := tlog.ProveRecord(3, 1, hashes)
	if err != nil {
		t.Fatal(err)
	}
	path, err := entry.Prove(commitments, 1)
	if err != nil {
		t.Fatal(err)
	}
	p := CustomerProof{Brand: 1, Entry: 1, Leaf: leaf, Customers: 3, Position: 1, Commitment: commitments[1], Inclusion: inclusion, Checkpoint: string(f[checkpointPath])}
	for _, h := range path {
		p.Path = append(p.Path, h)
	}
	core, reader := entry.Core(key, e.Committed(4)), entry.Pseudonym(key, e.Reader)
	p.Core, p.Reader = core[:], reader[:]
	if _, err := p.Verify(s.vkey); err != nil {
		t.Fatal(err)
	}
	if !p.Opens(key, 4) || p.Opens(key, 5) || p.Opens(bytes.Repeat([]byte{8}, 32), 4) {
		t.Error("the proof opens otherwise than by its customer's key and counter")
	}
	for name, change := range map[string]func(p *CustomerProof){
		"reader":     func(p *CustomerProof) { p.Reader = make([]byte, 16) },
		"core":       func(p *CustomerProof) { p.Core = make([]byte, 32) },
		"commitment": func(p *CustomerProof) { p.Commitment[0]++ },
		"position":   func(p *CustomerProof) { p.Position = 2 },
		"customers":  func(p *CustomerProof) { p.Customers = 4 },
		"brand":      func(p *CustomerProof) { p.Brand = 2 },
		"index":      func(p *CustomerProof) { p.Entry = 2 },
		"leaf":       func(p *CustomerProof) { p.Leaf = leafOf(t, 2) },
		"path":       func(p *CustomerProof) { p.Path = p.Path[:1] },
		"inclusion":  func(p *CustomerProof) { p.Inclusion = p.Inclusion[:1] },
	} {
		q := p
		change(&q)
		if _, err := q.Verify(s.vkey); err == nil {
			t.Errorf("with another %s the proof holds", name)
		}
	}
}

func FuzzVerify(f *testing.F) {
	s := signer(f, 1)
	good, _ := write(f, s, leaves(f, 3))
	bundle, tile := "tile/entries/000.p/3", "tile/0/000.p/3"
	f.Add(good[checkpointPath], good[bundle], good[tile])
	f.Fuzz(func(t *testing.T, cp, entries, hashes []byte) {
		g := files{checkpointPath: cp, bundle: entries, tile: hashes}
		r, err := Verify(context.Background(), g, s.vkey, nil, nil)
		if err == nil && r.Size == 3 && (!bytes.Equal(entries, good[bundle]) || !bytes.Equal(hashes, good[tile])) {
			t.Error("another log was taken for this one")
		}
	})
}
