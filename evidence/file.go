package evidence

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A file of evidence is a tar of plain parts in an order of its own, closed by a manifest
// with the digest of each, which the log's key signed. docs/evidence-format.md describes
// it. A tar is chosen over a zip because it is read one way only: this package writes each
// header again from what it says, and refuses a file that has other bytes.

// ManifestHeader is the first line of a manifest, which no checkpoint begins with.
const ManifestHeader = "cloakroom evidence 1"

// The parts of a file of evidence. Those of one log are in a folder, see [LogPart].
const (
	PartReadme   = "README.txt"
	PartIncident = "incident.json" // api.Incident
	PartPeople   = "people.json"   // names by the number of the principal
	partManifest = "manifest"
)

// The parts of one log. Entries and encrypted data have numbers, see [NumberedPart].
const (
	PartKey         = "log.vkey"
	PartCheckpoint  = "checkpoint"
	PartCheckpoints = "checkpoints.jsonl" // a CheckpointLine each
	PartAlarms      = "alarms.json"       // list of api.Alarm
	PartPolicy      = "policy"            // numbered, texts
	PartEntries     = "entries"           // numbered, an EntryLine each
	PartData        = "data"              // numbered, encrypted with age
)

// Limits of a file of evidence. A reader never holds more than a few parts in memory.
const (
	MaxPart     = 8 << 20
	maxParts    = 100_000
	maxManifest = 16 << 20
)

// ErrFile is joined to errors about a file that is not a file of evidence, or not whole.
var ErrFile = errors.New("not a whole file of evidence")

// LogPart is the name of a part of a brand's log.
func LogPart(brand, part string) string { return "logs/" + brand + "/" + part }

// NumberedPart is the name of the n-th part of a kind of a brand's log, from 1 on.
func NumberedPart(brand, part string, n int, ext string) string {
	return LogPart(brand, fmt.Sprintf("%s-%06d.%s", part, n, ext))
}

// EntryLine is one entry of a log as a file of evidence has it. Proof, with the log's
// checkpoint after it, is a C2SP tlog-proof.
type EntryLine struct {
	Index     uint64 `json:"index"`
	Leaf      []byte `json:"leaf"`
	Values    []byte `json:"values,omitempty"`    // of the entry; left out where they are erased
	Salt      []byte `json:"salt,omitempty"`      // of the list of customers
	Customers []byte `json:"customers,omitempty"` // the list: row numbers that only the vault can tell people by
	Proof     string `json:"proof"`
}

// CheckpointLine is an earlier checkpoint of a log, with the proof that the newest one of
// the file continues it.
type CheckpointLine struct {
	Checkpoint  string   `json:"checkpoint"`
	Consistency [][]byte `json:"consistency"`
}

// Subject is what a file of evidence is of.
type Subject struct {
	Owner    string    // the brand whose log holds the incident
	Incident string    // its number there
	Evidence uint64    // the entry that began the file
	Made     time.Time // in whole seconds
}

// part is one as the manifest has it.
type part struct {
	name string
	off  int64 // of its content
	size int64
	sum  [sha256.Size]byte
}

// FileWriter writes a file of evidence, part by part. The file is nothing before Finish
// has closed it.
type FileWriter struct {
	w       io.Writer
	subject Subject
	parts   []part
	seen    map[string]bool
}

// NewFileWriter begins a file.
func NewFileWriter(w io.Writer, s Subject) *FileWriter {
	s.Made = s.Made.UTC().Truncate(time.Second)
	return &FileWriter{w: w, subject: s, seen: map[string]bool{}}
}

// Add writes the next part.
func (f *FileWriter) Add(name string, data []byte) error {
	if len(data) > MaxPart || len(f.parts) >= maxParts-1 {
		return fmt.Errorf("writing %s: %d bytes in part %d are more than a file of evidence holds", name, len(data), len(f.parts)+1)
	}
	if f.seen[name] || !partName.MatchString(name) || name == partManifest {
		return fmt.Errorf("writing a file of evidence: %q is not the name of a new part", name)
	}
	f.seen[name] = true
	f.parts = append(f.parts, part{name: name, size: int64(len(data)), sum: sha256.Sum256(data)})
	return f.write(name, data)
}

func (f *FileWriter) write(name string, data []byte) error {
	head, err := tarHeader(name, int64(len(data)), f.subject.Made)
	if err != nil {
		return err
	}
	for _, b := range [][]byte{head, data, make([]byte, padding(int64(len(data))))} {
		if _, err := f.w.Write(b); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

// Finish writes the manifest, signed, and returns its digest, which stands for the file.
func (f *FileWriter) Finish(sign func(text string) ([]byte, error)) (digest string, err error) {
	signed, err := sign(manifest(f.subject, f.parts))
	if err != nil {
		return "", err
	}
	if len(signed) > maxManifest {
		return "", errors.New("writing the manifest: a file of evidence has too many parts")
	}
	if err := f.write(partManifest, signed); err != nil {
		return "", err
	}
	if _, err := f.w.Write(make([]byte, 2*block)); err != nil {
		return "", fmt.Errorf("writing the end: %w", err)
	}
	return digestOf(signed), nil
}

func digestOf(signed []byte) string {
	sum := sha256.Sum256(signed)
	return hex.EncodeToString(sum[:])
}

// manifest is the text that is signed. Nothing in it is chosen by anybody but the vault.
func manifest(s Subject, parts []part) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nincident %s %s\nevidence %d\nmade %s\n", ManifestHeader, s.Owner, s.Incident, s.Evidence, s.Made.Format(time.RFC3339))
	for i := range parts {
		fmt.Fprintf(&b, "%x %d %s\n", parts[i].sum, parts[i].size, parts[i].name)
	}
	return b.String()
}

const block = 512

func padding(size int64) int64 { return (block - size%block) % block }

// partName is what parts may be called: no way out of a folder, and nothing that two
// systems read differently.
var partName = regexp.MustCompile(`^(README\.txt|manifest|[a-z]+\.json|logs/[a-z0-9][a-z0-9-]*/[a-z]+(-[0-9]{6,9})?(\.[a-z]+)?)$`)

// tarHeader is the one header that a part of that name, size and time has.
func tarHeader(name string, size int64, made time.Time) ([]byte, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o444, ModTime: made, Format: tar.FormatUSTAR})
	if err == nil && b.Len() != block {
		err = errors.New("it takes more than one block")
	}
	if err != nil {
		return nil, fmt.Errorf("the header of a part: %w", err)
	}
	return b.Bytes(), nil
}

// readParts reads the frame of a file and the digest of each part. It holds one block and
// a list of names in memory.
func readParts(r io.ReaderAt, size int64) (parts []part, made time.Time, err error) {
	bad := func(off int64, format string, args ...any) error {
		return fmt.Errorf("%w: byte %d: %s", ErrFile, off, fmt.Sprintf(format, args...))
	}
	seen := map[string]bool{}
	var buf [block]byte
	for off := int64(0); ; {
		last := "the beginning"
		if n := len(parts); n > 0 {
			last = parts[n-1].name
		}
		if size-off < block {
			return nil, made, bad(off, "it ends after %s, without a manifest: it was cut, or never finished", last)
		}
		if _, err := r.ReadAt(buf[:], off); err != nil {
			return nil, made, fmt.Errorf("reading the file: %w", err)
		}
		if buf == [block]byte{} {
			return parts, made, readEnd(r, off, size, last)
		}
		if last == partManifest {
			return nil, made, bad(off, "another part after the manifest")
		}
		p, at, err := readHeader(&buf, off, made, len(parts) == 0)
		if err != nil {
			return nil, made, fmt.Errorf("%w, after %s", err, last)
		}
		made = at
		switch {
		case seen[p.name]:
			return nil, made, bad(off, "a second part of the name %s", p.name)
		case len(parts) >= maxParts:
			return nil, made, bad(off, "more than %d parts", maxParts)
		case p.size > size-p.off:
			return nil, made, bad(off, "%s says that it has %d bytes, and the file ends before", p.name, p.size)
		}
		seen[p.name] = true
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(r, p.off, p.size)); err != nil {
			return nil, made, fmt.Errorf("reading %s: %w", p.name, err)
		}
		h.Sum(p.sum[:0])
		off = p.off + p.size
		pad := padding(p.size)
		if size-off < pad {
			return nil, made, bad(off, "the file ends inside the padding of %s", p.name)
		}
		if _, err := r.ReadAt(buf[:pad], off); err != nil {
			return nil, made, fmt.Errorf("reading the file: %w", err)
		}
		if i := bytes.IndexFunc(buf[:pad], func(c rune) bool { return c != 0 }); i >= 0 {
			return nil, made, bad(off+int64(i), "a byte in the padding of %s is not zero", p.name)
		}
		off += pad
		parts = append(parts, p)
	}
}

// readHeader reads one header strictly: what it says, written again, is the same bytes.
func readHeader(buf *[block]byte, off int64, made time.Time, first bool) (part, time.Time, error) {
	bad := func(format string, args ...any) (part, time.Time, error) {
		return part{}, made, fmt.Errorf("%w: byte %d: %s", ErrFile, off, fmt.Sprintf(format, args...))
	}
	name, _, _ := strings.Cut(string(buf[:100]), "\x00")
	if !partName.MatchString(name) {
		return bad("the header does not name a part of a file of evidence")
	}
	size, err := strconv.ParseInt(strings.TrimRight(string(buf[124:136]), " \x00"), 8, 64)
	most := int64(MaxPart)
	if name == partManifest {
		most = maxManifest
	}
	if err != nil || size < 0 || size > most {
		return bad("the size in the header of %s is not one of 0 to %d bytes", name, most)
	}
	at := made
	if first {
		seconds, err := strconv.ParseInt(strings.TrimRight(string(buf[136:148]), " \x00"), 8, 64)
		if err != nil || seconds < 0 {
			return bad("the time in the header of %s cannot be read", name)
		}
		at = time.Unix(seconds, 0).UTC()
	}
	want, err := tarHeader(name, size, at)
	if err != nil {
		return bad("the header of %s: %v", name, err)
	}
	for i := range want {
		if want[i] != buf[i] {
			return part{}, made, fmt.Errorf("%w: byte %d: the header of %s has another byte there than it was written with", ErrFile, off+int64(i), name)
		}
	}
	return part{name: name, off: off + block, size: size}, at, nil
}

// readEnd holds the file against the two empty blocks that close it.
func readEnd(r io.ReaderAt, off, size int64, last string) error {
	switch {
	case last != partManifest:
		return fmt.Errorf("%w: byte %d: it ends after %s, without a manifest: it was cut, or never finished", ErrFile, off, last)
	case size != off+2*block:
		return fmt.Errorf("%w: byte %d: it has %d bytes in place of %d after the manifest", ErrFile, off, size-off, 2*block)
	}
	var buf [block]byte
	if _, err := r.ReadAt(buf[:], off+block); err != nil {
		return fmt.Errorf("reading the end of the file: %w", err)
	}
	if buf != [block]byte{} {
		return fmt.Errorf("%w: byte %d: the last block is not empty", ErrFile, off+block)
	}
	return nil
}

// People are the names of principals by their numbers, as the vault has them.
type People map[string]string

// readSubject reads the lines of a manifest that say what it is of.
func readSubject(text string) (s Subject, ok bool) {
	lines := strings.SplitN(text, "\n", 5)
	if len(lines) < 5 || lines[0] != ManifestHeader {
		return s, false
	}
	var made string
	for i, line := range lines[1:4] {
		words := strings.Split(line, " ")
		switch {
		case i == 0 && len(words) == 3 && words[0] == "incident":
			s.Owner, s.Incident = words[1], words[2]
		case i == 1 && len(words) == 2 && words[0] == "evidence":
			n, err := strconv.ParseUint(words[1], 10, 64)
			if err != nil {
				return s, false
			}
			s.Evidence = n
		case i == 2 && len(words) == 2 && words[0] == "made":
			made = words[1]
		default:
			return s, false
		}
	}
	at, err := time.Parse(time.RFC3339, made)
	s.Made = at.UTC()
	return s, err == nil
}
