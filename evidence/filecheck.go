package evidence

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrFault is returned for a file of evidence in which something is not what was signed,
// or is not what the log says.
var ErrFault = errors.New("the evidence does not hold")

// FileFault is one thing that is wrong in a file of evidence.
type FileFault struct {
	Part string `json:"part"` // empty for the file as a whole
	What string `json:"what"`
}

// String names the fault in one line.
func (f FileFault) String() string {
	if f.Part == "" {
		return f.What
	}
	return f.Part + ": " + f.What
}

// FileScope is a version of the incident's scope at one brand, as it was checked.
type FileScope struct {
	Version     uint64 `json:"version"`
	Brand       string `json:"brand"`
	Records     int    `json:"records"`
	Disclosures int    `json:"disclosures"`
	Entries     int    `json:"entries"`
	Recomputed  bool   `json:"recomputed"`    // from the entries of the file
	Why         string `json:"why,omitempty"` // why not
}

// Cosigner is a witness that signed a checkpoint.
type Cosigner struct {
	Name    string    `json:"name"`
	Checked bool      `json:"checked"` // with a key that the reader gave
	At      time.Time `json:"at,omitzero"`
}

// FileLog is the part of a brand's log that a file has.
type FileLog struct {
	Brand       string     `json:"brand"`
	Origin      string     `json:"origin"`
	Given       bool       `json:"given"` // the reader gave its key; else the owner's signature vouches for the key in the file
	Size        uint64     `json:"size"`
	Entries     int        `json:"entries"`
	Erased      int        `json:"erased"` // of them, without values
	Newer       int        `json:"newer"`
	Critical    int        `json:"critical"`
	Checkpoints int        `json:"checkpoints"` // earlier ones that the log continues
	Policies    int        `json:"policies"`
	Activated   int        `json:"activated"` // of the policies, those whose activation is an entry; of the others the signature vouches
	Cosigners   []Cosigner `json:"cosigners"`
}

// FileReport says what was checked in a file of evidence.
type FileReport struct {
	Subject
	Digest   string // of the signed manifest
	Signer   string // name of the log whose key signed it
	Parts    int
	Data     int // encrypted parts
	Incident *api.Incident
	Logs     []FileLog
	Scopes   []FileScope
	Facts    int // facts and steps that were found in the log
	Faults   []FileFault
	More     int // faults beyond those listed
}

// FileKeys are the keys that a reader trusts.
type FileKeys struct {
	Logs      []string // published keys of logs, as in log.vkey; that of the owner must be among them
	Witnesses []string // keys of witnesses, as C2SP tlog-cosignature has them
}

// Limits on what a check of a file keeps.
const (
	maxFaults   = 20
	maxVersions = 64 // of a scope, that are recomputed: the newest
	maxObjects  = 100_000
)

// ErrNoKeyFor is returned where the reader gave no key of the log that owns the evidence.
var ErrNoKeyFor = errors.New("give the published key of the log that signed this file (log.vkey)")

// VerifyFile checks a file of evidence with nothing but published keys: no server, no
// network. It reads the file twice: first its frame and the digest of every part, then what
// the parts say. It returns what it checked also with an error; faults in what the file
// says are in the report, and the error is then ErrFault.
//
// A file is a stranger's until its last byte was read: sizes, counts, names and nesting are
// bounded, nothing of it is written anywhere, and no part is ever decompressed.
func VerifyFile(ctx context.Context, r io.ReaderAt, size int64, keys FileKeys) (*FileReport, error) {
	c := &fileCheck{ctx: ctx, r: r, report: &FileReport{}, expect: map[string]map[uint64][]expectation{}}
	for _, text := range keys.Logs {
		k, err := openKey(text)
		if err != nil {
			return c.report, err
		}
		c.keys = append(c.keys, k)
	}
	for _, text := range keys.Witnesses {
		v, err := torchwood.NewCosignatureVerifier(strings.TrimSpace(text))
		if err != nil {
			return c.report, fmt.Errorf("reading the key of a witness: %w", err)
		}
		c.witnesses = append(c.witnesses, v)
	}
	var err error
	if c.parts, c.made, err = readParts(r, size); err != nil {
		return c.report, err
	}
	c.report.Parts = len(c.parts)
	signed, err := c.manifest()
	if err == nil && signed {
		err = c.contents()
	}
	if err != nil {
		return c.report, err
	}
	if n := len(c.report.Faults); n > 0 {
		return c.report, fmt.Errorf("%w: %s", ErrFault, c.report.Faults[0])
	}
	return c.report, nil
}

// expectation holds an entry against what incident.json says of it; empty for right.
type expectation func(e *Entry) string

type fileCheck struct {
	ctx       context.Context
	r         io.ReaderAt
	keys      []*key
	witnesses []note.Verifier
	parts     []part
	made      time.Time
	report    *FileReport
	expect    map[string]map[uint64][]expectation // by brand and entry
	owner     *key
}

func (c *fileCheck) fault(part, format string, args ...any) {
	if len(c.report.Faults) >= maxFaults {
		c.report.More++
		return
	}
	c.report.Faults = append(c.report.Faults, FileFault{part, fmt.Sprintf(format, args...)})
}

// read returns a whole part.
func (c *fileCheck) read(p *part) ([]byte, error) {
	b := make([]byte, p.size)
	if _, err := c.r.ReadAt(b, p.off); err != nil && !(errors.Is(err, io.EOF) && p.size == 0) {
		return nil, fmt.Errorf("reading %s: %w", p.name, err)
	}
	return b, nil
}

// manifest checks the signature, and the digest of each part. What nobody signed is not
// read any further.
func (c *fileCheck) manifest() (ok bool, err error) {
	last := &c.parts[len(c.parts)-1]
	signed, err := c.read(last)
	if err != nil {
		return false, err
	}
	c.report.Digest = digestOf(signed)
	text, sigs, whole := strings.Cut(string(signed), "\n\n")
	text += "\n"
	subject, known := readSubject(text)
	if !whole || !known {
		return false, fmt.Errorf("%w: its manifest is not one that this release reads", ErrFile)
	}
	c.report.Subject = subject
	signer := ""
	if words := strings.Split(sigs, " "); len(words) == 3 && words[0] == "—" {
		signer = words[1]
	}
	log, _ := entry.SplitOrigin(signer)
	c.report.Signer = log
	if !strings.HasSuffix(log, "/"+subject.Owner) {
		c.fault(partManifest, "its signature names the log %s, and the incident is one of %s", printable(log), printable(subject.Owner))
	}
	for _, k := range c.keys {
		if name, _ := entry.SplitOrigin(k.Name()); name == log {
			c.owner = k
		}
	}
	if c.owner == nil {
		return false, fmt.Errorf("%w: it names itself %s", ErrNoKeyFor, printable(log))
	}
	ok = true
	if err := c.signature(signed, text, log); err != nil {
		c.fault(partManifest, "%v", err)
		ok = false
	}
	want := strings.Split(manifest(Subject{subject.Owner, subject.Incident, subject.Evidence, c.made}, c.parts[:len(c.parts)-1]), "\n")
	have := strings.Split(text, "\n")
	for i := range want {
		name := partManifest
		if i >= 4 && i-4 < len(c.parts)-1 {
			name = c.parts[i-4].name
		}
		switch {
		case i >= len(have):
			c.fault(name, "the manifest does not list it")
		case have[i] == want[i]:
		case i < 4:
			c.fault(partManifest, "its line %d is not that of this file", i+1)
		case !strings.HasSuffix(have[i], " "+name):
			c.fault(name, "the manifest lists another part in this place: parts were added, removed, renamed or moved")
			return false, nil
		default:
			c.fault(name, "it is not what was signed: its digest or size differs from the manifest's")
		}
	}
	if len(have) > len(want) {
		c.fault(partManifest, "it lists %d parts more than the file has", len(have)-len(want))
	}
	return ok, nil
}

// signature checks the one signature, in the one form that it has.
func (c *fileCheck) signature(signed []byte, text, log string) error {
	v, err := c.owner.of(log)
	if err != nil {
		return err
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return fmt.Errorf("%w: %s did not sign this manifest", ErrSignature, log)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64)
	if err != nil || len(n.UnverifiedSigs) > 0 || len(n.Sigs) != 1 ||
		string(signed) != text+"\n— "+n.Sigs[0].Name+" "+base64.StdEncoding.EncodeToString(raw)+"\n" {
		return fmt.Errorf("%w: the signature is right and is written in another way than a log writes it", ErrSignature)
	}
	return nil
}

// contents checks what the parts say.
func (c *fileCheck) contents() error {
	logs := map[string][]*part{}
	var brands []string
	for i := range c.parts[:len(c.parts)-1] {
		p := &c.parts[i]
		if err := c.ctx.Err(); err != nil {
			return err
		}
		switch rest, of := strings.CutPrefix(p.name, "logs/"); {
		case of:
			brand, _, _ := strings.Cut(rest, "/")
			if logs[brand] == nil {
				brands = append(brands, brand)
			}
			logs[brand] = append(logs[brand], p)
		case p.name == PartIncident:
			if err := c.story(p); err != nil {
				return err
			}
		case p.name == PartPeople:
			b, err := c.read(p)
			if err != nil {
				return err
			}
			var people People
			if bytes.Count(b, []byte{','}) > maxObjects || json.Unmarshal(b, &people) != nil {
				c.fault(p.name, "it cannot be read as names by number")
			}
		case p.name != PartReadme:
			c.fault(p.name, "this release knows no such part")
		}
	}
	x := c.report.Incident
	switch {
	case x == nil:
		c.fault(PartIncident, "the file has none")
	case x.Owner != c.report.Owner || x.ID != c.report.Subject.Incident:
		c.fault(PartIncident, "it is of another incident than the manifest")
	}
	if logs[c.report.Owner] == nil {
		c.fault("", "the file has no log of %s, which owns the incident", printable(c.report.Owner))
	}
	for _, brand := range brands {
		if err := c.log(brand, logs[brand]); err != nil {
			return err
		}
	}
	for brand, list := range c.expect {
		for index := range list {
			if c.report.Incident != nil && logs[brand] != nil {
				c.fault(PartIncident, "it names entry %d of the log of %s, which the file does not have", index, printable(brand))
			}
		}
		if logs[brand] == nil {
			c.fault(PartIncident, "it names entries of the log of %s, and the file has no such log", printable(brand))
		}
	}
	slices.SortStableFunc(c.report.Scopes, func(a, b FileScope) int { return strings.Compare(a.Brand, b.Brand) })
	slices.SortStableFunc(c.report.Scopes, func(a, b FileScope) int { return int(a.Version) - int(b.Version) })
	return nil
}

func (c *fileCheck) want(brand string, index uint64, x expectation) {
	if c.expect[brand] == nil {
		c.expect[brand] = map[uint64][]expectation{}
	}
	c.expect[brand][index] = append(c.expect[brand][index], x)
}

// story reads the incident, and notes what its log has to say for it to be right.
func (c *fileCheck) story(p *part) error {
	b, err := c.read(p)
	if err != nil {
		return err
	}
	x := &api.Incident{}
	if bytes.Count(b, []byte{'{'}) > maxObjects {
		c.fault(p.name, "it has more than %d objects", maxObjects)
		return nil
	}
	if err := json.Unmarshal(b, x); err != nil {
		c.fault(p.name, "it cannot be read as an incident")
		return nil
	}
	number, err := strconv.ParseUint(strings.TrimPrefix(x.ID, "group-"), 10, 32)
	if err != nil {
		c.fault(p.name, "the incident has no number")
		return nil
	}
	c.report.Incident = x
	for _, f := range x.Facts {
		c.want(x.Owner, f.Entry, func(e *Entry) string {
			d, ok := e.Detail.(entry.IncidentFact)
			switch {
			case !ok || d.Incident != number:
				return "is no fact of the incident"
			case e.Bare():
				return ""
			case d.Name != f.Name || d.Text != f.Text || d.Brand != f.Brand || d.Corrects != f.Corrects || d.When != entry.Moment(f.When) ||
				d.Said != "" && d.Said != f.Said || !e.At.Equal(f.At):
				return "says another fact than incident.json"
			}
			c.report.Facts++
			return ""
		})
	}
	for _, t := range x.Timeline {
		if t.Brand != x.Owner {
			continue
		}
		c.want(t.Brand, t.Entry, func(e *Entry) string {
			if !e.At.Equal(t.At) && !e.Bare() {
				return "has another time than the timeline of incident.json"
			}
			c.report.Facts++
			return ""
		})
	}
	for i := range x.Scopes {
		c.version(x, &x.Scopes[i], number)
	}
	return nil
}

// version notes what the owner's log has to say of a version of the scope.
func (c *fileCheck) version(x *api.Incident, v *api.ScopeVersion, number uint64) {
	c.want(x.Owner, v.Entry, func(e *Entry) string {
		d, ok := e.Detail.(entry.IncidentScoped)
		switch {
		case !ok || d.Incident != number:
			return "is no version of the incident's scope"
		case e.Bare():
			return ""
		case d.Filter != v.Filter || len(d.Parts) != len(v.Parts):
			return "has another filter or other brands than the version in incident.json"
		}
		for _, p := range v.Parts {
			var said api.ScopeFigures
			if err := json.Unmarshal([]byte(d.Parts[p.Brand]), &said); err != nil || !sameFigures(said, p) {
				return "has other figures of " + printable(p.Brand) + " than the version in incident.json"
			}
		}
		return ""
	})
	if v.Approval != 0 {
		c.want(x.Owner, v.Approval, func(e *Entry) string {
			if d, ok := e.Detail.(entry.ScopeApproved); !ok || d.Incident != number || d.Scope != v.Entry {
				return "does not approve the version of the scope"
			}
			return ""
		})
	}
	for _, b := range v.Breakdown {
		c.want(x.Owner, b.Entry, func(e *Entry) string {
			d, ok := e.Detail.(entry.ScopeBroken)
			switch {
			case !ok || d.Incident != number || d.Scope != v.Entry:
				return "is no breakdown of the version of the scope"
			case e.Bare():
				return ""
			}
			var said api.Breakdown
			if err := json.Unmarshal([]byte(d.Values), &said); err != nil {
				return "has a breakdown that cannot be read"
			}
			if said.Entry = b.Entry; !same(said, b) {
				return "has another breakdown of " + printable(b.Brand) + " than the version in incident.json"
			}
			return ""
		})
	}
}

// sameFigures reports whether two figures are written alike.
func sameFigures(a, b api.ScopeFigures) bool { return same(a, b) }

func same[T any](a, b T) bool {
	x, err := json.Marshal(a)
	y, other := json.Marshal(b)
	return err == nil && other == nil && bytes.Equal(x, y)
}

// recount is a version of the scope at one brand that is being recomputed.
type recount struct {
	version uint64
	said    api.ScopeFigures
	tally   *Tally
	digest  string // that the brand's log has
	erased  bool   // the entry with the digest has lost its values
}

// recounts begins to recompute the newest versions of the scope at a brand.
func (c *fileCheck) recounts(brand string) []*recount {
	var out []*recount
	if c.report.Incident == nil {
		return nil
	}
	list := c.report.Incident.Scopes
	for i := range list {
		v := &list[i]
		for _, p := range v.Parts {
			if p.Brand != brand || len(out) == maxVersions {
				continue
			}
			shown := FileScope{Version: v.Version, Brand: brand, Records: p.Records, Disclosures: p.Disclosures, Entries: p.Entries}
			if i < len(list)-maxVersions {
				shown.Why = fmt.Sprintf("only the newest %d versions are recomputed", maxVersions)
				c.report.Scopes = append(c.report.Scopes, shown)
				continue
			}
			var req api.ScopeRequest
			err := json.Unmarshal([]byte(v.Filter), &req)
			var f *Filter
			if err == nil {
				f, err = NewFilter(&req)
			}
			if err != nil {
				shown.Why = "its filter cannot be read by this release"
				c.report.Scopes = append(c.report.Scopes, shown)
				continue
			}
			r := &recount{version: v.Version, said: p, tally: NewTally(f)}
			c.want(brand, p.Entry, func(e *Entry) string {
				d, ok := e.Detail.(entry.IncidentScope)
				switch {
				case !ok:
					return "does not hold figures of a scope"
				case e.Bare():
					r.erased = true
					return ""
				case d.Filter != v.Filter || d.Size != p.Size || d.Entries != uint64(p.Entries) || d.Disclosures != uint64(p.Disclosures) || d.Records != uint64(p.Records):
					return fmt.Sprintf("has other figures than version %d of the scope in incident.json", v.Version)
				}
				r.digest = d.Digest
				return ""
			})
			out = append(out, r)
		}
	}
	return out
}

// done compares a version with what the entries of the file give.
func (c *fileCheck) done(r *recount) {
	f := r.tally.Figures()
	p := &r.said
	shown := FileScope{Version: r.version, Brand: p.Brand, Records: p.Records, Disclosures: p.Disclosures, Entries: p.Entries}
	same := f.Records == p.Records && f.Disclosures == p.Disclosures && f.Entries == p.Entries && (r.erased || f.Digest == r.digest)
	switch {
	case same:
		shown.Recomputed = true
	case f.Unknown.Entries > 0:
		shown.Why = fmt.Sprintf("the values of %d entries were erased since (log expire)", f.Unknown.Entries)
	default:
		c.fault(LogPart(p.Brand, PartEntries), "its entries give %d records in %d disclosures of %d entries, and version %d of the scope has %d in %d of %d: entries were left out or added",
			f.Records, f.Disclosures, f.Entries, r.version, p.Records, p.Disclosures, p.Entries)
	}
	c.report.Scopes = append(c.report.Scopes, shown)
}

// logCheck checks the parts of one log.
type logCheck struct {
	*fileCheck
	out      FileLog
	key      *key
	head     torchwood.Checkpoint
	last     int64 // index of the entry before
	day      time.Time
	brand    record.BrandID
	policies map[string]bool // digests that entries name
	recounts []*recount
}

func (c *fileCheck) log(brand string, parts []*part) error {
	l := &logCheck{fileCheck: c, out: FileLog{Brand: brand, Cosigners: []Cosigner{}}, last: -1, policies: map[string]bool{}, recounts: c.recounts(brand)}
	find := func(name string) *part {
		for _, p := range parts {
			if p.name == LogPart(brand, name) {
				return p
			}
		}
		return nil
	}
	ok, err := l.open(find(PartKey), find(PartCheckpoint))
	if err != nil {
		return err
	}
	if !ok {
		delete(c.expect, brand) // of a log that nobody can read nothing follows
		return nil
	}
	for _, p := range parts {
		kind, _, numbered := strings.Cut(strings.TrimPrefix(p.name, LogPart(brand, "")), "-")
		switch {
		case !numbered && (kind == PartKey || kind == PartCheckpoint):
		case kind == PartCheckpoints:
			err = l.lines(p, l.earlier)
		case kind == PartEntries && numbered:
			err = l.lines(p, l.entry)
		case kind == PartAlarms:
			err = l.alarms(p)
		case kind == PartPolicy && numbered: // when the entries were read
		case kind == PartData && numbered:
			err = l.data(p)
		default:
			c.fault(p.name, "this release knows no such part")
		}
		if err != nil {
			return err
		}
	}
	for _, p := range parts {
		if strings.HasPrefix(p.name, LogPart(brand, PartPolicy)+"-") {
			sum := hex.EncodeToString(p.sum[:])
			if l.out.Policies++; l.policies[sum] {
				l.out.Activated++
			}
		}
	}
	for _, r := range l.recounts {
		c.done(r)
	}
	c.report.Logs = append(c.report.Logs, l.out)
	if list := c.expect[brand]; len(list) == 0 {
		delete(c.expect, brand)
	}
	return nil
}

// open finds the key of a log, and opens its checkpoint.
func (l *logCheck) open(vkey, checkpoint *part) (bool, error) {
	if vkey == nil || checkpoint == nil {
		l.fault(LogPart(l.out.Brand, ""), "it has no key or no checkpoint")
		return false, nil
	}
	text, err := l.read(vkey)
	if err != nil {
		return false, err
	}
	own, err := openKey(string(text))
	if err != nil {
		l.fault(vkey.name, "it is no key of a log")
		return false, nil
	}
	name, _ := entry.SplitOrigin(own.Name())
	l.key = own
	for _, k := range append([]*key{l.owner}, l.keys...) {
		if n, _ := entry.SplitOrigin(k.Name()); n == name {
			if !bytes.Equal(k.public, own.public) || k.public == nil {
				l.fault(vkey.name, "it is another key than the one that you gave for %s", printable(name))
			}
			l.key, l.out.Given = k, true
			break
		}
	}
	if !strings.HasSuffix(name, "/"+l.out.Brand) {
		l.fault(vkey.name, "it is the key of the log %s, and stands for %s", printable(name), l.out.Brand)
	}
	cp, err := l.read(checkpoint)
	if err != nil {
		return false, err
	}
	if l.head, err = openCheckpoint(l.key, cp); err != nil {
		l.fault(checkpoint.name, "%v", ErrSignature)
		return false, nil
	}
	l.out.Origin, l.out.Size = l.head.Origin, uint64(l.head.N)
	l.cosigned(checkpoint, cp)
	return true, nil
}

// cosigned notes who else signed the checkpoint. Without the key of a witness its line is
// only a claim.
func (l *logCheck) cosigned(p *part, cp []byte) {
	n, err := note.Open(cp, note.VerifierList(append([]note.Verifier{mustOf(l.key, l.head.Origin)}, l.witnesses...)...))
	if err != nil {
		l.fault(p.name, "a signature on it is wrong")
		return
	}
	for _, s := range n.Sigs {
		if s.Name == l.head.Origin {
			continue
		}
		at, err := torchwood.CosignatureTimestamp(s)
		if err != nil {
			l.fault(p.name, "the time of a cosignature cannot be read")
			continue
		}
		l.out.Cosigners = append(l.out.Cosigners, Cosigner{Name: s.Name, Checked: true, At: time.Unix(at, 0).UTC()})
	}
	for _, s := range n.UnverifiedSigs {
		if s.Name != l.head.Origin {
			l.out.Cosigners = append(l.out.Cosigners, Cosigner{Name: s.Name})
		}
	}
}

func mustOf(k *key, origin string) note.Verifier {
	v, err := k.of(origin)
	if err != nil {
		return k.Verifier
	}
	return v
}

// lines hands each line of a part to fn, which returns what is wrong with it.
func (l *logCheck) lines(p *part, fn func(line []byte) string) error {
	sc := bufio.NewScanner(io.NewSectionReader(l.r, p.off, p.size))
	sc.Buffer(make([]byte, 0, 64<<10), MaxPart+1)
	n := 0
	for sc.Scan() {
		if n++; n%1024 == 0 && l.ctx.Err() != nil {
			return l.ctx.Err()
		}
		if what := fn(sc.Bytes()); what != "" {
			l.fault(p.name, "line %d: %s", n, what)
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("reading %s: %w", p.name, err)
	}
	return nil
}

// earlier checks an earlier checkpoint: signed, and continued by the newest.
func (l *logCheck) earlier(line []byte) string {
	var x CheckpointLine
	if err := json.Unmarshal(line, &x); err != nil {
		return "it is no checkpoint with its proof"
	}
	cp, err := openCheckpoint(l.key, []byte(x.Checkpoint))
	if err != nil {
		return ErrSignature.Error()
	}
	proof, err := Hashes(x.Consistency)
	if err != nil || cp.N < 1 || cp.N > l.head.N || tlog.CheckTree(tlog.TreeProof(proof), l.head.N, l.head.Hash, cp.N, cp.Hash) != nil {
		return fmt.Sprintf("the log of %d entries does not continue this checkpoint of %d", l.head.N, cp.N)
	}
	l.out.Checkpoints++
	return ""
}

// entry checks one entry with what lies beside it.
func (l *logCheck) entry(line []byte) string {
	var x EntryLine
	if err := json.Unmarshal(line, &x); err != nil {
		return "it is no entry of a log"
	}
	named := func(format string, args ...any) string {
		return fmt.Sprintf("entry %d: ", x.Index) + fmt.Sprintf(format, args...)
	}
	if int64(x.Index) <= l.last || x.Index >= uint64(l.head.N) {
		return named("it stands after entry %d of a log of %d", l.last, l.head.N)
	}
	l.last = int64(x.Index)
	l.out.Entries++
	proof, ok := readProof(x.Proof, x.Index)
	if !ok {
		return named("its proof cannot be read")
	}
	if len(x.Leaf) > entry.MaxLeaf || tlog.CheckRecord(proof, l.head.N, l.head.Hash, int64(x.Index), tlog.RecordHash(x.Leaf)) != nil {
		return named("it is not in the log that was signed")
	}
	e, err := entry.Unmarshal(x.Leaf)
	if errors.Is(err, entry.ErrNewer) {
		l.out.Newer++
		l.out.Critical++
		return ""
	}
	if err != nil {
		return named("it is in the log and cannot be read")
	}
	if e.Newer() {
		if l.out.Newer++; e.Critical {
			l.out.Critical++
		}
	}
	if l.out.Entries > 1 && e.Brand != l.brand || e.At.Before(l.day) {
		return named("it is of another brand, or of an earlier day than the entry before it")
	}
	l.brand, l.day = e.Brand, entry.DayTime(entry.Day(e.At))
	if len(x.Values) > 0 {
		if e.Check(x.Values) != nil || e.Open(x.Values) != nil {
			return named("its values are not the ones that were logged")
		}
	}
	if e.Bare() {
		l.out.Erased++
	}
	var ords []record.Ordinal
	if e.Count > 0 {
		if len(x.Salt) != 16 || entry.SubjectsDigest([16]byte(x.Salt), x.Customers) != e.Subjects {
			return named("its list of customers is not the one that was logged")
		}
		if ords, err = entry.DecodeSubjects(x.Customers); err != nil || entry.Bucket(len(ords)) != e.Count {
			return named("its list of customers cannot be read")
		}
	} else if len(x.Salt)+len(x.Customers) > 0 {
		return named("it has a list of customers, and the log says that it is of nobody")
	}
	return l.counted(x.Index, &e, ords)
}

// counted takes an entry that is what was logged.
func (l *logCheck) counted(index uint64, e *Entry, ords []record.Ordinal) string {
	switch d := e.Detail.(type) {
	case entry.PolicyActivated:
		l.policies[d.SHA256] = true
	case entry.EpochBegun:
		if _, err := openCheckpoint(l.key, []byte(d.Checkpoint)); err != nil {
			return fmt.Sprintf("entry %d: it begins an epoch after a checkpoint that the log's key did not sign", index)
		}
	}
	for _, r := range l.recounts {
		if index < r.said.Size {
			if _, err := r.tally.Add(e, ords); err != nil {
				return fmt.Sprintf("entry %d: it cannot be counted", index)
			}
		}
	}
	for _, x := range l.expect[l.out.Brand][index] {
		if what := x(e); what != "" {
			return fmt.Sprintf("entry %d: it %s", index, what)
		}
	}
	delete(l.expect[l.out.Brand], index)
	return ""
}

func (l *logCheck) alarms(p *part) error {
	b, err := l.read(p)
	if err != nil {
		return err
	}
	var list []api.Alarm
	if bytes.Count(b, []byte{'{'}) > maxObjects || json.Unmarshal(b, &list) != nil {
		l.fault(p.name, "it cannot be read as alarms")
	}
	return nil
}

// data checks that a part is encrypted. Nobody but its recipient can open it.
func (l *logCheck) data(p *part) error {
	head := make([]byte, min(p.size, int64(len(ageHeader))))
	if _, err := l.r.ReadAt(head, p.off); err != nil {
		return fmt.Errorf("reading %s: %w", p.name, err)
	}
	if string(head) != ageHeader {
		l.fault(p.name, "it is not encrypted with age")
	}
	l.report.Data++
	return nil
}

const ageHeader = "age-encryption.org/v1\n"

// Proof writes the proof of an entry: a C2SP tlog-proof up to its checkpoint.
func Proof(index uint64, p tlog.RecordProof) string {
	return string(torchwood.FormatProof(int64(index), p, nil))
}

// readProof reads what Proof wrote, in that form only.
func readProof(text string, index uint64) (tlog.RecordProof, bool) {
	const most = 64 // hashes, of a log of 2^64 entries
	lines := strings.SplitN(text, "\n", most+5)
	var out tlog.RecordProof
	for i, line := range lines {
		if i < 2 {
			continue
		}
		if line == "" {
			break
		}
		h, err := tlog.ParseHash(line)
		if err != nil {
			return nil, false
		}
		out = append(out, h)
	}
	return out, Proof(index, out) == text
}

// printable keeps a stranger's bytes out of what is shown.
func printable(s string) string {
	const most = 80
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if len(s) > most {
		s = s[:most] + "..."
	}
	return s
}
