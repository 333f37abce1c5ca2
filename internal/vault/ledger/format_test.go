package ledger

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys/keystest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

var update = flag.Bool("update", false, "write the vectors of leaves and the example of docs/log-format.md")

// The vectors, and the page that has the first of them as its example.
const (
	vectorsFile = "../../platform/entry/testdata/leaf-v2.json"
	formatFile  = "../../../docs/log-format.md"
)

// vector is an entry of version 2 with every secret.
type vector struct {
	What   string `json:"what"`
	Leaf   string `json:"leaf"`
	Values string `json:"values"`
	Kept   string `json:"kept"`
	Month  int    `json:"month"`
	Key    string `json:"month_key"`
	Brand  int    `json:"brand"`
	Entry  uint64 `json:"entry"`

	Kind      uint64            `json:"kind"`
	Critical  bool              `json:"critical"`
	At        string            `json:"at"`
	Principal uint64            `json:"principal"`
	Ticket    string            `json:"ticket,omitempty"`
	Detail    map[string]string `json:"detail,omitempty"`

	LogKeys     []string `json:"log_keys,omitempty"`
	Counters    []uint32 `json:"counters,omitempty"`
	Pseudonyms  []string `json:"pseudonyms,omitempty"`
	Commitments []string `json:"commitments,omitempty"`
}

const sqlFormatTestKey = `INSERT INTO brand_keys (brand, kind, version, wrapped, created) VALUES (1, 'entries', $1, $2, 1)`

func fixed(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// vectors makes them from fixed secrets.
func vectors(t *testing.T) (out []vector) {
	t.Helper()
	d := dbtest.SQLite(t, db.Options{})
	const month = 202611
	key := fixed(0xa1, 32)
	// The ring of tests wraps a key by its place.
	place := append(binary.BigEndian.AppendUint32(append([]byte("cloakroom brand key 1\x00"), 0, 1), month), "entries"...)
	if _, err := d.Exec(t.Context(), sqlFormatTestKey, month, append(slices.Clone(key), place...)); err != nil {
		t.Fatal(err)
	}
	k, err := keystest.Ring(d).MonthKey(t.Context(), 1, month)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 29, 14, 30, 0, 250_000_000, time.UTC)
	add := func(what string, e entry.Entry, ords []record.Ordinal, counters []uint32) {
		v := vector{What: what, Month: month, Key: hex.EncodeToString(key), Brand: 1, Entry: uint64(41 + len(out)), At: at.Format(time.RFC3339Nano),
			Principal: e.Principal, Ticket: e.Ticket, Detail: e.Texts(), Counters: counters}
		e.Brand, e.At = 1, at
		if len(ords) > 0 {
			copy(e.Nonce[:], fixed(0xb2, 16))
			e.Reader = k.Reader(e.Principal)
			e.Count, e.Subjects = entry.Bucket(len(ords)), entry.SubjectsDigest([16]byte(fixed(0xc3, 16)), entry.EncodeSubjects(ords))
			var all [][32]byte
			for i := range ords {
				logKey := fixed(byte(0xd0+i), 32)
				c := entry.Commitment(logKey, e.Committed(counters[i]))
				p := entry.Pseudonym(logKey, e.Reader)
				all = append(all, c)
				v.LogKeys, v.Commitments, v.Pseudonyms = append(v.LogKeys, hex.EncodeToString(logKey)), append(v.Commitments, hex.EncodeToString(c[:])), append(v.Pseudonyms, hex.EncodeToString(p[:]))
			}
			e.Root = entry.Root(all)
		}
		leaf, values, err := entry.Marshal(&e, entry.Secret(fixed(0xe4, 16)))
		if err != nil {
			t.Fatal(err)
		}
		v.Kind, v.Critical = uint64(e.Kind), e.Critical
		v.Leaf, v.Values = hex.EncodeToString(leaf), hex.EncodeToString(values)
		v.Kept = hex.EncodeToString(sealValues(k, 1, v.Entry, values)) // a nonce of its own each time
		out = append(out, v)
	}
	add("a disclosure of two customers", entry.Entry{
		Kind: entry.KindDisclosure, Principal: 7, Credential: 31, Lineage: 29, Role: "support-agent", Purpose: "customer-support", Ticket: "CASE-17",
		Class: "clear", Level: "clear", Fields: record.Fields(record.Email, record.Phone), Country: "IT", Entity: "Gucci Logistica S.p.A.",
	}, []record.Ordinal{3, 9}, []uint32{0, 4})
	add("an act of administration, with a detail in clear and one among the values", entry.Entry{
		Kind: entry.KindAdministration, Principal: 1, Credential: 2, Lineage: 2, Role: "administrator",
		Detail: entry.RoleSet{Principal: "alice", Brand: "gucci", Role: "analyst"},
	}, nil, nil)
	add("an alarm's closing by the vault itself", entry.Entry{
		Kind: entry.KindDetection, Actor: entry.ActorSystem, Detail: entry.AlarmClosed{Alarm: "17-canary", Reason: "exercise"},
	}, nil, nil)
	return out
}

// What is written today is what the vectors have, and the page has the first of them.
func TestVectorsOfLeaves(t *testing.T) {
	want := vectors(t)
	if *update {
		b, err := json.MarshalIndent(want, "", "  ")
		if err == nil {
			err = os.WriteFile(vectorsFile, append(b, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		writeExample(t, want[0])
	}
	var have []vector
	b, err := os.ReadFile(vectorsFile)
	if err == nil {
		err = json.Unmarshal(b, &have)
	}
	if err != nil || len(have) != len(want) {
		t.Fatalf("%d vectors, %v: run with -update", len(have), err)
	}
	for i := range have {
		want[i].Kept = have[i].Kept
		if fmt.Sprint(have[i]) != fmt.Sprint(want[i]) {
			t.Errorf("%s: the form changed", have[i].What)
		}
		if err := decode(have[i]); err != nil {
			t.Errorf("%s: %v", have[i].What, err)
		}
	}
}

// The page's example reads as the page says.
func TestTheDocumentedExampleReads(t *testing.T) {
	_, text, _ := example(t)
	var v vector
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	if err := decode(v); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(v *vector){
		"another time":      func(v *vector) { v.At = "2026-11-29T14:30:01Z" },
		"another principal": func(v *vector) { v.Principal++ },
		"another counter":   func(v *vector) { v.Counters[1]++ },
		"another entry":     func(v *vector) { v.Entry++ },
		"another value":     func(v *vector) { v.Values = strings.Replace(v.Values, "434153452d3137", "434153452d3138", 1) },
	} {
		c := v
		c.Counters = slices.Clone(v.Counters)
		change(&c)
		if decode(c) == nil {
			t.Errorf("%s: nothing was found", what)
		}
	}
}

func example(t *testing.T) (before, text, after string) {
	t.Helper()
	b, err := os.ReadFile(formatFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), "```json\n")
	text, after, ok2 := strings.Cut(rest, "\n```")
	if !ok || !ok2 {
		t.Fatal("the page has no example")
	}
	return before, text, after
}

func writeExample(t *testing.T, v vector) {
	t.Helper()
	before, _, after := example(t)
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = os.WriteFile(formatFile, []byte(before+"```json\n"+string(b)+"\n```"+after), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// decode reads a vector as docs/log-format.md says, with nothing of this module: it is
// what a stranger writes.
func decode(v vector) error {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			return nil
		}
		return b
	}
	mac := func(key []byte, parts ...[]byte) []byte {
		m := hmac.New(sha256.New, key)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	hash := func(parts ...[]byte) []byte { h := sha256.Sum256(slices.Concat(parts...)); return h[:] }
	var root func(inputs [][]byte) []byte
	root = func(inputs [][]byte) []byte {
		if len(inputs) == 1 {
			return hash([]byte{0}, inputs[0])
		}
		k := 1
		for k*2 < len(inputs) {
			k *= 2
		}
		return hash([]byte{1}, root(inputs[:k]), root(inputs[k:]))
	}
	number := func(n uint64) []byte { b, _ := cbor.Marshal(n); return b }
	text := func(s string) []byte { b, _ := cbor.Marshal(s); return b }

	var leaf, values map[uint64]any
	if err := errors.Join(cbor.Unmarshal(unhex(v.Leaf), &leaf), cbor.Unmarshal(unhex(v.Values), &values)); err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339Nano, v.At)
	if err != nil {
		return err
	}
	critical, _ := leaf[18].(bool)
	switch {
	case leaf[0] != uint64(2), leaf[1] != v.Kind, leaf[3] != uint64(v.Brand), critical != v.Critical:
		return errors.New("version, kind, brand or mark")
	case leaf[2] != uint64(at.Unix()/86400), values[1] != uint64(at.UnixMicro()):
		return errors.New("day or time")
	case v.Principal != 0 && values[2] != v.Principal, v.Ticket != "" && values[5] != v.Ticket:
		return errors.New("principal or ticket")
	}
	for name, want := range v.Detail {
		clear, _ := leaf[17].(map[any]any)
		hidden, _ := values[11].(map[any]any)
		if clear[name] != want && hidden[name] != want {
			return fmt.Errorf("detail %s", name)
		}
	}

	// The values against the leaf.
	names := []string{"at", "principal", "credential", "lineage", "ticket", "country", "entity", "recipient", "recipient-country", "recipient-entity"}
	secret := values[0].([]byte)
	digest := func(name string, value []byte) []byte {
		salt := mac(secret, []byte("cloakroom entry salt 1\x00"), []byte(name))
		return hash(salt, []byte(name), []byte{0}, value)
	}
	var digests [][]byte
	for i, name := range names {
		x, ok := values[uint64(i+1)]
		if ok != (leaf[20].(uint64)>>i&1 == 1) {
			return fmt.Errorf("the leaf says otherwise of %s", name)
		}
		switch x := x.(type) {
		case uint64:
			digests = append(digests, digest(name, number(x)))
		case string:
			digests = append(digests, digest(name, text(x)))
		}
	}
	hidden, _ := leaf[21].([]any)
	for _, name := range hidden {
		x := values[11].(map[any]any)[name].(string)
		digests = append(digests, digest("detail."+name.(string), text(x)))
	}
	if !bytes.Equal(root(digests), leaf[22].([]byte)) {
		return errors.New("the values do not lead to the leaf")
	}

	// The values as they are kept.
	kept := unhex(v.Kept)
	block, err := aes.NewCipher(mac(unhex(v.Key), []byte("cloakroom entry values 1")))
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	aad := append([]byte("cloakroom entry values 1\x00"), 0, byte(v.Brand))
	aad = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(aad, v.Entry), uint32(v.Month))
	if len(kept) < 17 || kept[0] != 1 || binary.BigEndian.Uint32(kept[1:]) != uint32(v.Month) || v.Month != at.Year()*100+int(at.Month()) {
		return errors.New("the form of what is kept")
	}
	if plain, err := gcm.Open(nil, kept[5:17], kept[17:], aad); err != nil || !bytes.Equal(plain, unhex(v.Values)) {
		return errors.New("what is kept does not open")
	}

	// The commitments.
	if len(v.LogKeys) == 0 {
		return nil
	}
	reader := mac(mac(unhex(v.Key), []byte("cloakroom entry readers 1")), binary.BigEndian.AppendUint64(nil, v.Principal))[:16]
	var all [][]byte
	for i, k := range v.LogKeys {
		pseudonym := mac(unhex(k), []byte("cloakroom reader 1\x00"), reader)[:16]
		msg := binary.BigEndian.AppendUint32(slices.Clone(leaf[14].([]byte)), uint32(leaf[11].(uint64)))
		c := hash(mac(unhex(k), binary.BigEndian.AppendUint32(msg, v.Counters[i])), pseudonym)
		if hex.EncodeToString(c) != v.Commitments[i] || hex.EncodeToString(pseudonym) != v.Pseudonyms[i] {
			return fmt.Errorf("the commitment of customer %d", i)
		}
		all = append(all, c)
	}
	if !bytes.Equal(root(all), leaf[15].([]byte)) {
		return errors.New("the commitments do not lead to the leaf")
	}
	return nil
}

// The page's table of kinds and details is what the program has.
func TestTheDocumentedKindsAreAll(t *testing.T) {
	b, err := os.ReadFile(formatFile)
	if err != nil {
		t.Fatal(err)
	}
	for k := entry.Kind(1); k.Known(); k++ {
		if !strings.Contains(string(b), fmt.Sprintf("| %d | %s |", k, k)) {
			t.Errorf("the page lacks the kind %d, %s", k, k)
		}
	}
	for _, f := range entry.Forms() {
		for _, name := range f.Clear {
			if !strings.Contains(string(b), name) {
				t.Errorf("the page lacks %s of %s %s", name, f.Kind, f.Change)
			}
		}
		for _, name := range f.Sealed {
			if !strings.Contains(string(b), "*"+name) {
				t.Errorf("the page lacks *%s* of %s %s", name, f.Kind, f.Change)
			}
		}
		if !strings.Contains(string(b), f.Change) {
			t.Errorf("the page lacks the change %s of %s", f.Change, f.Kind)
		}
	}
}
