package entry

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/record"
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
	e.Actor = Actor(rapid.IntRange(0, 2).Draw(t, "actor"))
	e.Country = word.Draw(t, "country")
	for _, to := range []*string{&e.Entity, &e.Recipient, &e.RecipientCountry, &e.RecipientEntity} {
		*to = rapid.StringN(0, 40, 160).Draw(t, "party")
	}
	if rapid.Bool().Draw(t, "row") {
		e.Rows = SortRows([]Row{{"credentials", rapid.StringMatching(`[a-zA-Z0-9._-]{1,64}`).Draw(t, "key"), sha256.Sum256([]byte{3}), string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "kept"))}, {Table: "roles", Key: "7.1"}})
	}
	copy(e.Nonce[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "nonce"))
	if rapid.Bool().Draw(t, "customers") {
		e.Count = Bucket(rapid.IntRange(1, 1<<20).Draw(t, "n"))
		e.Root = sha256.Sum256([]byte{1})
		e.Subjects = sha256.Sum256([]byte{2})
	}
	if d := rapid.MapOfN(rapid.StringMatching(`[a-z]{1,20}`), rapid.String(), 0, 5).Draw(t, "detail"); len(d) > 0 {
		e.Detail = decodeDetail(e.Kind, d, nil)
		if rapid.Bool().Draw(t, "sealed") {
			e.Detail = decodeDetail(e.Kind, nil, d)
		}
	}
	return e
}

func TestEveryEntryComesBackAndHasOneForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := draw(t)
		secret := Secret{1, 2, 3}
		want := e
		b, values, err := Marshal(&e, secret)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		var read hiddenValues
		if err := decoding.Unmarshal(values, &read); err != nil {
			t.Fatal(err)
		}
		if same, err := encode(&read); err != nil || !bytes.Equal(same, values) {
			t.Fatalf("the values are not in the one form: %x, %x, %v", values, same, err)
		}
		if !got.Bare() || got.Principal != 0 || got.Ticket != "" || got.Credential != 0 || Day(got.At) != Day(e.At) || got.At.UnixMicro()%day != 0 {
			t.Fatalf("the leaf alone says %+v", got)
		}
		if err := errors.Join(got.Check(values), got.Open(values)); err != nil {
			t.Fatal(err)
		}
		want.Critical, want.version, want.mask, want.hidden, want.values = e.Critical, e.version, e.mask, e.hidden, e.values
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v came back as %+v", want, got)
		}
		again, same, err := Marshal(&got, secret)
		if err != nil || !bytes.Equal(again, b) || !bytes.Equal(same, values) {
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

// Each value can be shown alone, and nothing but the value that was logged passes.
func TestAValueIsShownAloneAndNoOtherPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := draw(t)
		leaf, values, err := Marshal(&e, Secret{9})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, name := range valueNames {
			names = append(names, name)
		}
		for _, name := range e.hidden {
			names = append(names, detailPrefix+name)
		}
		shown, err := e.Show(values, names...)
		if err != nil || len(shown) == 0 {
			t.Fatal(err)
		}
		for _, s := range shown {
			bare, err := Unmarshal(leaf)
			if err != nil {
				t.Fatal(err)
			}
			if err := bare.Reveal(s); err != nil {
				t.Fatalf("%s: %v", s.Name, err)
			}
			if s.Name == ShownAt && !bare.At.Equal(e.At) || s.Name == ShownTicket && bare.Ticket != e.Ticket {
				t.Fatalf("%s shows %+v", s.Name, bare)
			}
			for what, forged := range map[string]func(*Shown){
				"another value": func(s *Shown) { s.Value = appendUint(nil, uint64(e.At.UnixMicro())+1) },
				"another name":  func(s *Shown) { s.Name = map[bool]string{true: "principal", false: "at"}[s.Name == "at"] },
				"another salt":  func(s *Shown) { s.Salt[0] ^= 1 },
				"a longer path": func(s *Shown) { s.Path = append(slices.Clone(s.Path), [32]byte{}) },
			} {
				f := s
				forged(&f)
				if f.Name == s.Name && bytes.Equal(f.Value, s.Value) && f.Salt == s.Salt && len(f.Path) == len(s.Path) {
					continue
				}
				bare, _ := Unmarshal(leaf)
				if err := bare.Reveal(f); err == nil {
					t.Fatalf("%s: %s passed", s.Name, what)
				}
			}
		}
	})
}

// Without the secret nobody finds a value by trying, whatever else they are shown.
func TestADigestDoesNotTellItsValue(t *testing.T) {
	a := Entry{Kind: KindDisclosure, At: time.UnixMicro(1), Principal: 7}
	b := a
	one, _, err := Marshal(&a, Secret{1})
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := Marshal(&b, Secret{2})
	if err != nil || bytes.Equal(one, two) {
		t.Fatalf("two entries that say the same have one leaf (%v)", err)
	}
}

func TestValuesOfAnotherEntryAreRefused(t *testing.T) {
	a := Entry{Kind: KindDisclosure, At: time.UnixMicro(1), Principal: 7}
	b := Entry{Kind: KindDisclosure, At: time.UnixMicro(1), Principal: 8}
	_, va, err := Marshal(&a, Secret{1})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = Marshal(&b, Secret{1}); err != nil {
		t.Fatal(err)
	}
	if err := b.Check(va); !errors.Is(err, ErrValues) {
		t.Errorf("the values of another entry: %v", err)
	}
	c := Entry{Kind: KindDisclosure, At: time.UnixMicro(1 + 24*3600*1e6), Principal: 7}
	leaf, _, err := Marshal(&c, Secret{1})
	if err != nil {
		t.Fatal(err)
	}
	if c, err = Unmarshal(leaf); err != nil {
		t.Fatal(err)
	}
	if err := c.Open(va); !errors.Is(err, ErrValues) {
		t.Errorf("the values of another day: %v", err)
	}
}

func TestALeafOfALaterVersionIsNewer(t *testing.T) {
	b, err := hex.DecodeString("a3000301020203")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Unmarshal(b); !errors.Is(err, ErrNewer) || errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

// An entry of a kind that this release does not know is read as far as its leaf goes.
func TestALeafOfAnUnknownKindIsRead(t *testing.T) {
	e := Entry{Kind: KindAudit, At: time.UnixMicro(5 * 24 * 3600 * 1e6), Detail: Other{Extra{clear: map[string]string{"a": "b"}}}}
	if _, _, err := Marshal(&e, Secret{1}); err != nil {
		t.Fatal(err)
	}
	for _, critical := range []bool{false, true} {
		w := e.wire(map[string]string{"a": "b"})
		w.Kind, w.Critical = 200, critical
		leaf, err := encode(w)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Unmarshal(leaf)
		if err != nil || !got.Newer() || got.Critical != critical || got.Texts()["a"] != "b" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	w := e.wire(map[string]string{"a": "b"})
	w.Critical = true
	leaf, err := encode(w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Unmarshal(leaf); !errors.Is(err, ErrMalformed) {
		t.Errorf("a mark that its kind does not have: %v", err)
	}
}

func TestUnmarshalRefusesWhatMarshalWouldNotWrite(t *testing.T) {
	if b, err := hex.DecodeString("a4000101030201" + "0301"); err != nil {
		t.Fatal(err)
	} else if e, err := Unmarshal(b); err != nil || e.Kind != KindWrite {
		t.Fatalf("the form changed: %v", err)
	}
	for name, leaf := range map[string]string{
		"empty":                 "",
		"not a map":             "83010203",
		"no version":            "a3" + "010302010301",
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
		if _, _, err := Marshal(&Entry{Kind: KindWrite, At: time.UnixMicro(1), Ticket: s}, Secret{}); err == nil {
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
		c := Committed{Nonce: [16]byte(bytes.Repeat([]byte{9}, 16)), Fields: 5, Counter: 256}
		if got := Commitment(key, c); !bytes.Equal(got[:], m.Sum(nil)) {
			t.Errorf("a key of %d bytes: %x", n, got)
		}
		reader := [16]byte{1}
		p := hmac.New(sha256.New, key)
		p.Write([]byte("cloakroom reader 1\x00"))
		p.Write(reader[:])
		want := sha256.Sum256(append(m.Sum(nil), p.Sum(nil)[:16]...))
		c.Reader = &reader
		if got := Commitment(key, c); got != want {
			t.Errorf("with a reader, a key of %d bytes: %x", n, got)
		}
	}
}

func TestCommitmentDependsOnEverything(t *testing.T) {
	c := func(key string, nonce byte, fields record.FieldSet, counter uint32, reader byte) [32]byte {
		return Commitment([]byte(key), Committed{[16]byte{nonce}, fields, counter, &[16]byte{reader}})
	}
	base := c("k", 0, 1, 1, 1)
	for name, other := range map[string][32]byte{
		"key": c("l", 0, 1, 1, 1), "nonce": c("k", 1, 1, 1, 1), "fields": c("k", 0, 2, 1, 1), "counter": c("k", 0, 1, 2, 1),
		"reader": c("k", 0, 1, 1, 2), "version": Commitment([]byte("k"), Committed{Fields: 1, Counter: 1}),
	} {
		if other == base {
			t.Errorf("%s is not bound", name)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	e := Entry{Kind: KindDisclosure, At: time.UnixMicro(1), Brand: 1, Principal: 3, Detail: Other{Extra{clear: map[string]string{"a": "b"}, sealed: map[string]string{"c": "d"}}}}
	b, values, err := Marshal(&e, Secret{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, values)
	for _, row := range v1Leaves(f) {
		leaf, err := hex.DecodeString(row.Leaf)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(leaf, values)
	}
	f.Fuzz(func(t *testing.T, b, values []byte) {
		e, err := Unmarshal(b)
		if err != nil {
			return
		}
		if e.LeafVersion() == Version {
			if again, err := encode(e.wire(func() map[string]string { c, _, _ := encodeDetail(e.Kind, e.Detail); return c }())); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%x reads and writes as %x (%v)", b, again, err)
			}
		}
		if e.Open(values) == nil && e.Bare() {
			t.Fatal("opened, and bare")
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
