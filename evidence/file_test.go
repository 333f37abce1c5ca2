package evidence

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// builder makes a log with an incident, and files of evidence of it.
type builder struct {
	t      testing.TB
	key    *signs
	leaves [][]byte
	values [][]byte
	salts  [][]byte
	lists  [][]byte
	at     time.Time
	story  api.Incident
	parts  []string // as they are written
	data   map[string][]byte
}

func (b *builder) log(e entry.Entry, ords ...record.Ordinal) uint64 {
	b.t.Helper()
	b.at = b.at.Add(time.Minute)
	e.At, e.Brand = b.at, 1
	var salt, list []byte
	if len(ords) > 0 {
		salt, list = bytes.Repeat([]byte{7}, 16), entry.EncodeSubjects(ords)
		e.Count, e.Root, e.Subjects = entry.Bucket(len(ords)), [32]byte{1}, entry.SubjectsDigest([16]byte(salt), list)
	}
	leaf, values, err := entry.Marshal(&e, entry.Secret{byte(len(b.leaves))})
	if err != nil {
		b.t.Fatal(err)
	}
	b.leaves, b.values = append(b.leaves, leaf), append(b.values, values)
	b.salts, b.lists = append(b.salts, salt), append(b.lists, list)
	return uint64(len(b.leaves) - 1)
}

// built is a log in which principal 5 read customers 1 to 3, and its incident.
func built(t testing.TB) *builder {
	t.Helper()
	b := &builder{t: t, key: signer(t, 1), at: time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC), data: map[string][]byte{}}
	b.log(entry.Entry{Kind: entry.KindPolicy, Detail: entry.PolicyActivated{SHA256: strings.Repeat("a", 64)}})
	read := entry.Entry{Kind: entry.KindDisclosure, Principal: 5, Level: "clear", Purpose: "support", Fields: 1, Role: "application"}
	b.log(read, 1, 2)
	b.log(read, 2, 3)
	b.story = api.Incident{ID: "1", Owner: "brand", Title: "connected app", Source: "hand", Brands: []string{"brand"}}
	step := func(d entry.Detail, what string) uint64 {
		at := b.log(entry.Entry{Kind: entry.KindIncident, Principal: 9, Detail: d})
		b.story.Timeline = append(b.story.Timeline, api.IncidentEvent{At: b.at, Entry: at, Brand: "brand", What: what})
		return at
	}
	step(entry.IncidentOpened{Title: "connected app", Source: "hand"}, "incident opened")
	at := step(entry.IncidentFact{Incident: 1, Name: "note", Text: "seen"}, "fact note recorded")
	b.story.Facts = []api.Fact{{Entry: at, At: b.at, Name: "note", Text: "seen", Said: "ines"}}
	filter := `{"any":[{"principals":["5"]}]}`
	f, err := NewFilter(&api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"5"}}}})
	if err != nil {
		t.Fatal(err)
	}
	tally := NewTally(f)
	tally.set.Add(1, 2, 3)
	counted := b.log(entry.Entry{Kind: entry.KindIncident, Detail: entry.IncidentScope{Filter: filter, Size: 5, Entries: 2, Disclosures: 4, Records: 3, Digest: tally.Digest()}})
	p := api.ScopeFigures{Brand: "brand", Size: 5, Entry: counted, Entries: 2, Disclosures: 4, Records: 3, Added: 3}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	at = step(entry.IncidentScoped{Incident: 1, Version: 1, Filter: filter, Parts: map[string]string{"brand": string(text)}}, "scope version 1")
	b.story.Scopes = []api.ScopeVersion{{Version: 1, Entry: at, At: b.at, Records: 3, Filter: filter, Parts: []api.ScopeFigures{p}}}
	b.log(entry.Entry{Kind: entry.KindIncident, Detail: entry.EvidenceBegun{Incident: 1}})
	return b
}

func (b *builder) put(name string, data []byte) {
	if _, ok := b.data[name]; !ok {
		b.parts = append(b.parts, name)
	}
	b.data[name] = data
}

// file writes the parts of a whole file; change may alter them before they are signed.
func (b *builder) file(change func(b *builder)) []byte {
	b.t.Helper()
	f, hashes := write(b.t, b.key, b.leaves)
	var lines bytes.Buffer
	for i := range b.leaves {
		proof, err := tlog.ProveRecord(int64(len(b.leaves)), int64(i), hashes)
		if err != nil {
			b.t.Fatal(err)
		}
		b.encode(&lines, EntryLine{uint64(i), b.leaves[i], b.values[i], b.salts[i], b.lists[i], Proof(uint64(i), proof)})
	}
	var earlier, story bytes.Buffer
	older, _ := write(b.t, b.key, b.leaves[:4])
	proof, err := tlog.ProveTree(int64(len(b.leaves)), 4, hashes)
	if err != nil {
		b.t.Fatal(err)
	}
	x := CheckpointLine{Checkpoint: string(older[checkpointPath])}
	for _, h := range proof {
		x.Consistency = append(x.Consistency, h[:])
	}
	b.encode(&earlier, x)
	b.encode(&story, b.story)
	b.put(PartReadme, []byte("read me\n"))
	b.put(PartIncident, story.Bytes())
	b.put(LogPart("brand", PartKey), []byte(b.key.vkey+"\n"))
	b.put(LogPart("brand", PartCheckpoint), f[checkpointPath])
	b.put(NumberedPart("brand", PartEntries, 1, "jsonl"), lines.Bytes())
	b.put(LogPart("brand", PartCheckpoints), earlier.Bytes())
	b.put(NumberedPart("brand", PartPolicy, 1, "cedar"), []byte("permit (principal, action, resource);\n"))
	b.put(LogPart("brand", PartAlarms), []byte("[]\n"))
	b.put(NumberedPart("brand", PartData, 1, "age"), []byte(ageHeader+"sealed"))
	b.put(PartPeople, []byte(`{"5":"thief"}`+"\n"))
	if change != nil {
		change(b)
	}
	var out bytes.Buffer
	w := NewFileWriter(&out, Subject{Owner: "brand", Incident: "1", Evidence: uint64(len(b.leaves) - 1), Made: b.at})
	for _, name := range b.parts {
		if err := w.Add(name, b.data[name]); err != nil {
			b.t.Fatal(err)
		}
	}
	_, err = w.Finish(func(text string) ([]byte, error) { return note.Sign(&note.Note{Text: text}, b.key) })
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Bytes()
}

func (b *builder) encode(w *bytes.Buffer, x any) {
	b.t.Helper()
	if err := json.NewEncoder(w).Encode(x); err != nil {
		b.t.Fatal(err)
	}
}

// edit changes one line of a part.
func (b *builder) edit(name string, n int, fn func(x *EntryLine)) {
	lines := bytes.SplitAfter(b.data[name], []byte("\n"))
	var x EntryLine
	if err := json.Unmarshal(lines[n], &x); err != nil {
		b.t.Fatal(err)
	}
	fn(&x)
	var w bytes.Buffer
	b.encode(&w, x)
	lines[n] = w.Bytes()
	b.data[name] = bytes.Join(lines, nil)
}

func verify(t testing.TB, file []byte, keys ...string) (*FileReport, error) {
	t.Helper()
	return VerifyFile(t.Context(), bytes.NewReader(file), int64(len(file)), FileKeys{Logs: keys})
}

func TestAWholeFileOfEvidenceHolds(t *testing.T) {
	b := built(t)
	r, err := verify(t, b.file(nil), b.key.vkey)
	if err != nil {
		t.Fatal(err, r.Faults)
	}
	if !r.Good() || r.Incomplete() || r.Facts != 4 || r.Data != 1 || len(r.Scopes) != 1 || !r.Scopes[0].Recomputed || r.Scopes[0].Records != 3 {
		t.Errorf("%+v", r)
	}
	if l := r.Logs[0]; l.Entries != 8 || l.Checkpoints != 1 || !l.Given || l.Policies != 1 || l.Activated != 0 {
		t.Errorf("%+v", l)
	}
	said, not := strings.Join(r.Checked(), "\n"), strings.Join(r.Unchecked(), "\n")
	for _, want := range []string{"counted again from the entries, it is 3 records in 4 disclosures of 2 entries", "8 entries are in the log of 8"} {
		if !strings.Contains(said, want) {
			t.Errorf("what was checked does not say %q:\n%s", want, said)
		}
	}
	for _, want := range []string{"no witness", "1 parts are encrypted", "Persons"} {
		if !strings.Contains(not, want) {
			t.Errorf("what was not checked does not say %q:\n%s", want, not)
		}
	}
}

// A flipped bit anywhere is found, and the error or a fault names the place: the part that
// it is in, or the byte.
func TestAFlippedBitAnywhereIsFoundAndNamed(t *testing.T) {
	b := built(t)
	file := b.file(nil)
	parts, _, err := readParts(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	in := func(at int64) (name string, content bool) {
		for _, p := range parts {
			if at >= p.off-block && at < p.off+p.size+padding(p.size) {
				return p.name, at >= p.off && at < p.off+p.size
			}
		}
		return "the end", false
	}
	rapid.Check(t, func(rt *rapid.T) {
		at := rapid.Int64Range(0, int64(len(file)-1)).Draw(rt, "byte")
		if rapid.Bool().Draw(rt, "of a chosen part") { // so that small parts are met as often
			p := parts[rapid.IntRange(0, len(parts)-1).Draw(rt, "part")]
			at = p.off - block + rapid.Int64Range(0, block+p.size+padding(p.size)-1).Draw(rt, "offset")
		}
		bad := slices.Clone(file)
		bad[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		r, err := verify(t, bad, b.key.vkey)
		if err == nil || r.Good() {
			rt.Fatalf("byte %d changed, and the evidence holds", at)
		}
		name, content := in(at)
		said := err.Error()
		for _, f := range r.Faults {
			said += "\n" + f.String()
		}
		switch {
		case content && name != partManifest && !strings.Contains(said, name):
			rt.Fatalf("byte %d of %s changed, and what was found is: %s", at, name, said)
		case !content && !strings.Contains(said, name) && !strings.Contains(said, "byte "):
			rt.Fatalf("byte %d of the frame of %s changed, and what was found is: %s", at, name, said)
		}
	})
}

// What the holder of the log's key, and nobody else, could sign: each lie is found, and
// named.
func TestLiesThatAreSignedAreFound(t *testing.T) {
	entries := NumberedPart("brand", PartEntries, 1, "jsonl")
	other := signer(t, 2)
	for name, c := range map[string]struct {
		change func(b *builder)
		want   string
	}{
		"an entry left out": {func(b *builder) {
			lines := bytes.SplitAfter(b.data[entries], []byte("\n"))
			b.data[entries] = bytes.Join(slices.Delete(lines, 1, 2), nil)
		}, "entries were left out or added"},
		"an entry of another log":   {func(b *builder) { b.edit(entries, 1, func(x *EntryLine) { x.Leaf = b.leaves[2] }) }, "entry 1: it is not in the log that was signed"},
		"another list of customers": {func(b *builder) { b.edit(entries, 1, func(x *EntryLine) { x.Customers = b.lists[2] }) }, "entry 1: its list of customers"},
		"no list of customers":      {func(b *builder) { b.edit(entries, 1, func(x *EntryLine) { x.Customers, x.Salt = nil, nil }) }, "entry 1: its list of customers"},
		"customers of nobody's entry": {func(b *builder) {
			b.edit(entries, 0, func(x *EntryLine) { x.Customers, x.Salt = b.lists[1], b.salts[1] })
		}, "entry 0: it has a list of customers"},
		"values of another entry":  {func(b *builder) { b.edit(entries, 1, func(x *EntryLine) { x.Values = b.values[2] }) }, "entry 1: its values"},
		"a proof of another entry": {func(b *builder) { b.edit(entries, 1, func(x *EntryLine) { x.Index = 2 }) }, "entry 2: its proof cannot be read"},
		"entries out of order": {func(b *builder) {
			lines := bytes.SplitAfter(b.data[entries], []byte("\n"))
			lines[1], lines[2] = lines[2], lines[1]
			b.data[entries] = bytes.Join(lines, nil)
		}, "it stands after entry 2"},
		"another fact":           {func(b *builder) { b.retell(func(x *api.Incident) { x.Facts[0].Text = "not seen" }) }, "says another fact"},
		"a fact nobody stated":   {func(b *builder) { b.retell(func(x *api.Incident) { x.Facts[0].Entry = 3 }) }, "is no fact of the incident"},
		"a step that is nowhere": {func(b *builder) { b.retell(func(x *api.Incident) { x.Timeline[0].Entry = 77 }) }, "names entry 77"},
		"another time of a step": {func(b *builder) { b.retell(func(x *api.Incident) { x.Timeline[0].At = b.at.Add(time.Hour) }) }, "another time"},
		"fewer records":          {func(b *builder) { b.retell(func(x *api.Incident) { x.Scopes[0].Parts[0].Records = 2 }) }, "other figures"},
		"a smaller size":         {func(b *builder) { b.retell(func(x *api.Incident) { x.Scopes[0].Parts[0].Size = 2 }) }, "other figures"},
		"another incident":       {func(b *builder) { b.retell(func(x *api.Incident) { x.ID = "2" }) }, "another incident"},
		"no incident":            {func(b *builder) { b.data[PartIncident] = []byte("null") }, PartIncident},
		"data in clear": {func(b *builder) {
			b.data[NumberedPart("brand", PartData, 1, "age")] = []byte("zoe@mail.example, in clear")
		}, "not encrypted"},
		"another key of the log": {func(b *builder) { b.data[LogPart("brand", PartKey)] = []byte(other.vkey) }, "another key than the one that you gave"},
		"a checkpoint of nobody": {func(b *builder) { b.data[LogPart("brand", PartCheckpoint)] = []byte("x") }, "not signed"},
		"a fork":                 {func(b *builder) { b.fork() }, "does not continue"},
		"an unknown part":        {func(b *builder) { b.put("logs/brand/notes.txt", nil) }, "knows no such part"},
		"an incident of millions": {func(b *builder) {
			b.data[PartIncident] = []byte(`{"facts":[` + strings.Repeat("{},", 200_000) + `{}]}`)
		}, "objects"},
		"deep nesting": {func(b *builder) { b.data[PartIncident] = bytes.Repeat([]byte("["), 1<<20) }, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			b := built(t)
			r, err := verify(t, b.file(c.change), b.key.vkey)
			if !errors.Is(err, ErrFault) || r.Good() {
				t.Fatalf("it gives %v", err)
			}
			said := fmt.Sprint(r.Faults)
			if !strings.Contains(said, c.want) {
				t.Errorf("it says %s", said)
			}
		})
	}
}

func (b *builder) retell(fn func(x *api.Incident)) {
	fn(&b.story)
	var w bytes.Buffer
	b.encode(&w, b.story)
	b.data[PartIncident] = w.Bytes()
}

// fork shows a signed checkpoint of another history as an earlier one.
func (b *builder) fork() {
	f, _ := write(b.t, b.key, leaves(b.t, 4))
	var x CheckpointLine
	name := LogPart("brand", PartCheckpoints)
	if err := json.Unmarshal(b.data[name], &x); err != nil {
		b.t.Fatal(err)
	}
	x.Checkpoint = string(f[checkpointPath])
	var w bytes.Buffer
	b.encode(&w, x)
	b.data[name] = w.Bytes()
}

// A stranger's file is refused, in words, in bounded memory: other frames, names that lead
// elsewhere, the same name twice, sizes and counts that lie, what follows the end.
func TestAStrangersFileIsRefused(t *testing.T) {
	b := built(t)
	good := b.file(nil)
	tarOf := func(heads ...tar.Header) []byte {
		var w bytes.Buffer
		tw := tar.NewWriter(&w)
		for _, h := range heads {
			h.Size, h.Format = 1, tar.FormatUSTAR
			if err := tw.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := tw.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
		return w.Bytes()
	}
	sized := func(name string, size int64) []byte {
		h, err := tarHeader(name, size, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for name, file := range map[string][]byte{
		"nothing":             {},
		"a zip":               append([]byte("PK\x03\x04"), make([]byte, 4096)...),
		"gzip":                append([]byte("\x1f\x8b\x08"), make([]byte, 4096)...),
		"zeros":               make([]byte, 1<<16),
		"a way out":           tarOf(tar.Header{Name: "../../etc/passwd", Mode: 0o444}),
		"an absolute path":    tarOf(tar.Header{Name: "/etc/passwd", Mode: 0o444}),
		"a name twice":        append(append(sized(PartReadme, 0), sized(PartReadme, 0)...), make([]byte, 1024)...),
		"another mode":        tarOf(tar.Header{Name: PartReadme, Mode: 0o4755}),
		"a huge size":         append(sized(PartReadme, 1<<32), make([]byte, 4096)...),
		"a size past the end": append(sized(PartReadme, 1<<20), make([]byte, 4096)...),
		"no manifest":         append(sized(PartReadme, 0), make([]byte, 1024)...),
		"a manifest of zeros": append(sized(partManifest, 512), make([]byte, 512+1024)...),
		"something after":     append(slices.Clone(good), 0),
		"a second file after": append(slices.Clone(good), good...),
		"a part after":        slices.Concat(good[:len(good)-1024], sized("people2.json", 0), make([]byte, 1024)),
		"cut":                 good[:len(good)-512],
		"many parts":          slices.Concat(bytes.Repeat(sized(PartReadme, 0), 1000), make([]byte, 1024)),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := verify(t, file, b.key.vkey); !errors.Is(err, ErrFile) {
				t.Errorf("it gives %v", err)
			}
		})
	}
	if _, err := verify(t, good, signer(t, 2).vkey); !errors.Is(err, ErrFault) {
		t.Errorf("with the key of somebody else it gives %v", err)
	}
	if _, err := verify(t, good); !errors.Is(err, ErrNoKeyFor) {
		t.Errorf("without a key it gives %v", err)
	}
}

// Parts that were moved, renamed or exchanged are found, though each is as it was signed.
func TestPartsInAnotherOrderAreFound(t *testing.T) {
	b := built(t)
	good := b.file(nil)
	parts, _, err := readParts(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	piece := func(p part) []byte { return good[p.off-block : p.off+p.size+padding(p.size)] }
	var moved, less []byte
	for i := range parts {
		switch i {
		case 0:
			moved = append(append(moved, piece(parts[1])...), piece(parts[0])...)
			less = append(less, piece(parts[0])...)
		case 1:
		default:
			moved, less = append(moved, piece(parts[i])...), append(less, piece(parts[i])...)
		}
	}
	for name, file := range map[string][]byte{"moved": moved, "one less": less} {
		if _, err := verify(t, append(file, make([]byte, 1024)...), b.key.vkey); !errors.Is(err, ErrFault) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzVerifyFile(f *testing.F) {
	b := built(f)
	f.Add(b.file(nil))
	f.Add([]byte{})
	f.Add(make([]byte, 2048))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := verify(t, file, b.key.vkey)
		if err == nil && !r.Good() {
			t.Error("no error, and it is not good")
		}
	})
}

// Nobody who has no key makes a file that verifies: also where each part is one that a log
// signed.
func FuzzFileLines(f *testing.F) {
	b := built(f)
	b.file(nil)
	f.Add(b.data[NumberedPart("brand", PartEntries, 1, "jsonl")], b.data[PartIncident], b.data[LogPart("brand", PartCheckpoints)])
	f.Fuzz(func(t *testing.T, lines, story, checkpoints []byte) {
		if len(lines) > 1<<16 || len(story) > 1<<16 || len(checkpoints) > 1<<16 {
			t.Skip()
		}
		b := built(t)
		file := b.file(func(b *builder) {
			b.data[NumberedPart("brand", PartEntries, 1, "jsonl")], b.data[PartIncident], b.data[LogPart("brand", PartCheckpoints)] = lines, story, checkpoints
		})
		_, _ = verify(t, file, b.key.vkey) // signed as it is, it is read to its end
	})
}
