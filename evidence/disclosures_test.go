package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// disclosed is a log of five entries of which the second and the fourth are of one
// customer, and what the vault answers of that customer.
func disclosed(t testing.TB) (string, *api.Disclosures) {
	t.Helper()
	s := signer(t, 1)
	key := bytes.Repeat([]byte{7}, 32)
	d := &api.Disclosures{Token: "cus_a", VerifierKey: s.vkey, Disclosures: []api.Disclosure{}}
	var all [][]byte
	var roots [][][32]byte
	var values [][]byte
	var es []*entry.Entry
	for i := range 5 {
		e := &entry.Entry{
			Kind: entry.KindDisclosure, At: time.UnixMicro(int64(i + 1)).UTC(), Reader: [16]byte{5}, Brand: 1, Principal: 3, Role: "support-agent", Purpose: "customer-support",
			Ticket: "CASE-1", Level: "clear", Class: "clear", Fields: record.Fields(record.Email, record.City), Count: entry.Bucket(3), Nonce: [16]byte{byte(i)}, Subjects: [32]byte{1},
		}
		commitments := [][32]byte{{1}, entry.Commitment(key, e.Committed(uint32(i/2))), {3}}
		if i%2 == 0 {
			commitments[1] = [32]byte{2}
		}
		e.Root = entry.Root(commitments)
		leaf, v, err := entry.Marshal(e, entry.Secret{byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		all, roots, values, es = append(all, leaf), append(roots, commitments), append(values, v), append(es, e)
	}
	f, reader := write(t, s, all)
	d.Checkpoint = string(f[checkpointPath])
	for i, leaf := range all {
		if i%2 == 0 {
			continue
		}
		e := es[i]
		path, err := entry.Prove(roots[i], 1)
		if err != nil {
			t.Fatal(err)
		}
		inclusion, err := tlog.ProveRecord(5, int64(i), reader)
		if err != nil {
			t.Fatal(err)
		}
		p := api.Proof{Leaf: leaf, Customers: 3, Position: 1, Counter: uint32(i / 2), Commitment: roots[i][1][:]}
		for _, h := range path {
			p.Path = append(p.Path, h[:])
		}
		core, reader16 := entry.Core(key, e.Committed(uint32(i/2))), entry.Pseudonym(key, e.Reader)
		p.Core, p.Reader = core[:], reader16[:]
		shown, err := e.Show(values[i], entry.ShownAt, entry.ShownTicket)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range shown {
			x := api.Shown{Name: s.Name, Value: s.Value, Salt: s.Salt[:]}
			for _, h := range s.Path {
				x.Path = append(x.Path, h[:])
			}
			p.Shown = append(p.Shown, x)
		}
		for _, h := range inclusion {
			p.Inclusion = append(p.Inclusion, h[:])
		}
		d.Disclosures = append(d.Disclosures, api.Disclosure{
			Entry: uint64(i), At: e.At, Principal: "alice", Role: e.Role, Kind: e.Kind.String(), Purpose: e.Purpose, Ticket: e.Ticket,
			Fields: e.Fields.Names(), Level: e.Level, Proof: p,
		})
	}
	return s.vkey, d
}

func TestDisclosuresVerifyOffline(t *testing.T) {
	vkey, d := disclosed(t)
	tree, err := VerifyDisclosures(vkey, d)
	if err != nil || tree.N != 5 {
		t.Fatalf("%d entries, %v", tree.N, err)
	}
	for name, change := range map[string]func(d *api.Disclosures){
		"the first withheld":   func(d *api.Disclosures) { d.Disclosures = d.Disclosures[1:] },
		"one told twice":       func(d *api.Disclosures) { d.Disclosures[1] = d.Disclosures[0] },
		"another order":        func(d *api.Disclosures) { d.Disclosures[0], d.Disclosures[1] = d.Disclosures[1], d.Disclosures[0] },
		"another purpose":      func(d *api.Disclosures) { d.Disclosures[0].Purpose = "order-fulfilment" },
		"fewer fields":         func(d *api.Disclosures) { d.Disclosures[0].Fields = []string{"city"} },
		"another time":         func(d *api.Disclosures) { d.Disclosures[0].At = d.Disclosures[0].At.Add(time.Second) },
		"masked, it says":      func(d *api.Disclosures) { d.Disclosures[1].Level = "masked" },
		"another role":         func(d *api.Disclosures) { d.Disclosures[1].Role = "analyst" },
		"another ticket":       func(d *api.Disclosures) { d.Disclosures[1].Ticket = "" },
		"another kind":         func(d *api.Disclosures) { d.Disclosures[1].Kind = "audit" },
		"another entry number": func(d *api.Disclosures) { d.Disclosures[1].Entry = 4 },
		"another reader":       func(d *api.Disclosures) { d.Disclosures[1].Proof.Reader[0] ^= 1 },
		"no reader":            func(d *api.Disclosures) { d.Disclosures[1].Proof.Reader = nil },
		"no value shown":       func(d *api.Disclosures) { d.Disclosures[1].Proof.Shown = nil },
		"another salt":         func(d *api.Disclosures) { d.Disclosures[1].Proof.Shown[0].Salt[0] ^= 1 },
		"erased, it says":      func(d *api.Disclosures) { d.Disclosures[1].Erased = true },
		"a short hash":         func(d *api.Disclosures) { d.Disclosures[1].Proof.Inclusion[0] = []byte{1} },
		"another checkpoint":   func(d *api.Disclosures) { d.Checkpoint = d.Checkpoint[:20] + "x" + d.Checkpoint[21:] },
	} {
		_, changed := disclosed(t)
		change(changed)
		if _, err := VerifyDisclosures(vkey, changed); err == nil {
			t.Errorf("%s: nothing was found", name)
		}
	}
	if _, err := VerifyDisclosures(signer(t, 2).vkey, d); !errors.Is(err, ErrSignature) {
		t.Errorf("another brand's key gave %v", err)
	}
}

// Whatever bytes are handed over as an answer: what verifies is what was logged.
func FuzzVerifyDisclosures(f *testing.F) {
	vkey, d := disclosed(f)
	good, err := json.Marshal(d)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"disclosures":[{"proof":{"leaf":"AA=="}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got api.Disclosures
		if json.Unmarshal(b, &got) != nil {
			return
		}
		if _, err := VerifyDisclosures(vkey, &got); err != nil {
			return
		}
		for i := range got.Disclosures {
			if i >= len(d.Disclosures) || !bytes.Equal(got.Disclosures[i].Proof.Leaf, d.Disclosures[i].Proof.Leaf) {
				t.Errorf("disclosure %d is not one of those logged", i)
			}
		}
	})
}
