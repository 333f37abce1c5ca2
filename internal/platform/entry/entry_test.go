package entry

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"pgregory.net/rapid"
)

func draw(t *rapid.T) Entry {
	word := rapid.StringMatching(`[a-zA-Z0-9._-]{0,64}`)
	e := Entry{
		Kind:       Kind(rapid.IntRange(1, int(KindBudget)).Draw(t, "kind")),
		At:         time.UnixMicro(rapid.Int64Range(1, 1<<52).Draw(t, "at")).UTC(),
		Brand:      record.BrandID(rapid.Uint16().Draw(t, "brand")),
		Principal:  rapid.Uint64().Draw(t, "principal"),
		Credential: rapid.Uint64().Draw(t, "credential"),
		Lineage:    rapid.Uint64().Draw(t, "lineage"),
		Role:       word.Draw(t, "role"), Purpose: word.Draw(t, "purpose"), Ticket: word.Draw(t, "ticket"),
		Class: word.Draw(t, "class"), Level: word.Draw(t, "level"),
		Fields: record.FieldSet(rapid.Uint32().Draw(t, "fields")) & record.AllFields,
	}
	copy(e.Nonce[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "nonce"))
	if rapid.Bool().Draw(t, "customers") {
		e.Count = Bucket(rapid.IntRange(1, 1<<20).Draw(t, "n"))
		e.Root = sha256.Sum256([]byte{1})
		e.Subjects = sha256.Sum256([]byte{2})
	}
	if d := rapid.MapOfN(rapid.StringMatching(`[a-z]{1,20}`), rapid.String(), 0, 5).Draw(t, "detail"); len(d) > 0 {
		e.Detail = decodeDetail(e.Kind, d, nil)
	}
	return e
}

func TestEveryEntryComesBackAndHasOneForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := draw(t)
		b, err := Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Marshal(got)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("another form the second time: %v", err)
		}
		if _, err := Unmarshal(append(b, 0)); err == nil {
			t.Fatal("a trailing byte passed")
		}
		i := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, err := Unmarshal(b[:i]); err == nil {
			t.Fatal("a cut entry passed")
		}
	})
}

func TestUnmarshalRefusesWhatMarshalWouldNotWrite(t *testing.T) {
	good, err := Marshal(Entry{Kind: KindWrite, At: time.UnixMicro(1), Brand: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(good); got != "a4000101030201"+"0301" {
		t.Fatalf("the form changed: %s", got)
	}
	for name, leaf := range map[string]string{
		"empty":                 "",
		"not a map":             "83010203",
		"another version":       "a40002010302010301",
		"unknown kind":          "a400010118c802010301",
		"unknown member":        "a500010103020103011818" + "01",
		"member twice":          "a5000101030201030103" + "01",
		"members out of order":  "a40001010303010201",
		"a longer integer":      "a4000101030201031801",
		"indefinite length":     "bf00010103020103" + "01ff",
		"an empty member given": "a5000101030201030104" + "00",
		"a tag":                 "c0a40001010302010301",
		"no time":               "a40001010302000301",
		"a short root":          "a500010103020103010f" + "4101",
	} {
		b, err := hex.DecodeString(leaf)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := Unmarshal(b); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
}

func TestTextsOfAnEntryCannotCarryAnAddress(t *testing.T) {
	for _, s := range []string{"jane@example.com", "Jane Doe", "Müller", string(bytes.Repeat([]byte{'a'}, 65))} {
		if _, err := Marshal(Entry{Kind: KindWrite, At: time.UnixMicro(1), Ticket: s}); err == nil {
			t.Errorf("ticket %q passed", s)
		}
	}
}

// The tree is that of RFC 6962: the roots are those of its reference test data
// (the inputs of certificate-transparency's merkle tree tests are not 32 bytes, so
// the small cases are spelt out here).
func TestRootIsThatOfRFC6962(t *testing.T) {
	c := func(b byte) [32]byte { return sha256.Sum256([]byte{b}) }
	leaf := func(b byte) []byte { v := c(b); h := sha256.Sum256(append([]byte{0}, v[:]...)); return h[:] }
	node := func(l, r []byte) []byte {
		h := sha256.Sum256(slices.Concat([]byte{1}, l, r))
		return h[:]
	}
	want := node(node(leaf(1), leaf(2)), leaf(3))
	if got := Root([][32]byte{c(1), c(2), c(3)}); !bytes.Equal(got[:], want) {
		t.Fatalf("%x, want %x", got, want)
	}
	if Root(nil) != ([32]byte{}) {
		t.Fatal("no customers have a root")
	}
}

func TestEveryPathVerifiesAndNoOtherDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 70).Draw(t, "n")
		cs := make([][32]byte, n)
		for i := range cs {
			cs[i] = sha256.Sum256([]byte{byte(i)})
		}
		root := Root(cs)
		i := rapid.IntRange(0, n-1).Draw(t, "i")
		path, err := Prove(cs, i)
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyPath(root, n, i, cs[i], path); err != nil {
			t.Fatal(err)
		}
		if err := VerifyPath(root, n, i, sha256.Sum256([]byte("other")), path); err == nil {
			t.Fatal("another commitment passed")
		}
		if err := VerifyPath(root, n, i, cs[i], append(slices.Clone(path), root)); err == nil {
			t.Fatal("a longer path passed")
		}
		if len(path) > 0 {
			if err := VerifyPath(root, n, i, cs[i], path[1:]); err == nil {
				t.Fatal("a shorter path passed")
			}
		}
		if j := rapid.IntRange(0, n-1).Draw(t, "j"); j != i {
			if err := VerifyPath(root, n, j, cs[i], path); err == nil {
				// The same turns at another index are possible only where the shape is
				// the same; the index is bound by the turns.
				t.Fatalf("commitment %d passed as %d of %d", i, j, n)
			}
		}
	})
}

func TestSubjectsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ords := rapid.SliceOfN(rapid.Map(rapid.Uint32Range(1, 1<<20), func(v uint32) record.Ordinal { return record.Ordinal(v) }), 0, 3000).Draw(t, "ords")
		got, err := DecodeSubjects(EncodeSubjects(ords))
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(ords)
		slices.Sort(want)
		want = slices.Compact(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%d came back as %d", len(want), len(got))
		}
	})
}

func TestCommitmentIsHMAC(t *testing.T) {
	for _, n := range []int{0, 1, 32, 64, 65} {
		key := bytes.Repeat([]byte{7}, n)
		m := hmac.New(sha256.New, key)
		m.Write(append(bytes.Repeat([]byte{9}, 16), 0, 0, 0, 5, 0, 0, 1, 0))
		if got := Commitment(key, [16]byte(bytes.Repeat([]byte{9}, 16)), 5, 256); !bytes.Equal(got[:], m.Sum(nil)) {
			t.Errorf("a key of %d bytes: %x", n, got)
		}
	}
}

func TestCommitmentDependsOnEverything(t *testing.T) {
	base := Commitment([]byte("k"), [16]byte{}, 1, 1)
	for name, other := range map[string][32]byte{
		"key":     Commitment([]byte("l"), [16]byte{}, 1, 1),
		"nonce":   Commitment([]byte("k"), [16]byte{1}, 1, 1),
		"fields":  Commitment([]byte("k"), [16]byte{}, 2, 1),
		"counter": Commitment([]byte("k"), [16]byte{}, 1, 2),
	} {
		if other == base {
			t.Errorf("%s is not bound", name)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	b, err := Marshal(Entry{Kind: KindDisclosure, At: time.UnixMicro(1), Brand: 1, Detail: Other{Extra{clear: map[string]string{"a": "b"}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Unmarshal(b)
		if err != nil {
			return
		}
		again, err := Marshal(e)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x reads and writes as %x (%v)", b, again, err)
		}
	})
}

func FuzzDecodeSubjects(f *testing.F) {
	f.Add(EncodeSubjects([]record.Ordinal{1}))
	f.Add(EncodeSubjects([]record.Ordinal{1, 2, 70000}))
	f.Fuzz(func(t *testing.T, b []byte) {
		ords, err := DecodeSubjects(b)
		if err == nil && !bytes.Equal(EncodeSubjects(ords), b) {
			t.Fatalf("%x is not the one form of its list", b)
		}
	})
}
