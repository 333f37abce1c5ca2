package incident

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"filippo.io/age"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// ErrNoFile is returned for a digest that no finished file of evidence of the incident has.
var ErrNoFile = fault.New(fault.NotFound, "no file of evidence of this incident that was written to its end has this digest: `cloakroom evidence verify FILE` prints a file's own")

// ErrNoEvidence is returned for evidence that the caller did not begin.
var ErrNoEvidence = fault.New(fault.NotFound, "you began no evidence of this number: `cloakroom incident show` lists an incident's, and `cloakroom evidence create` makes another")

// File is evidence of an incident that is logged and not written yet.
type File struct {
	desk     *Desk
	caller   identity.Caller
	visit    *door.Visit
	n        uint64 // of the incident
	subject  evidence.Subject
	incident *api.Incident
	brands   []brands.Brand // whose logs are in it: the owner's first
	pinned   map[uint64]bool
	request  api.EvidenceRequest
	to       age.Recipient // of customers' data
	people   map[uint64]bool
}

// BeginEvidence logs that a file of evidence is made, before anything of it leaves.
func (d *Desk) BeginEvidence(ctx context.Context, c identity.Caller, brand, id string, req api.EvidenceRequest) (*api.EvidenceFile, error) {
	f, err := d.find(ctx, c, brand, id, access.ActRespond)
	switch {
	case err != nil:
		return nil, err
	case f.part != "":
		return nil, fmt.Errorf("%w: this incident is the group's: its lead makes the evidence", ErrRequest)
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	x := &File{desk: d, caller: c, request: req}
	if err := x.data(); err != nil {
		return nil, err
	}
	if err := x.concerned(ctx, f); err != nil {
		return nil, err
	}
	if len(req.Fields) > 0 && f.pages.last == 0 {
		return nil, fmt.Errorf("%w: customers' data is that of the newest version of the scope: make one first", ErrRequest)
	}
	if req.Cosigned {
		for i := range x.brands { // before anything is logged
			if _, err := x.checkpoint(ctx, &x.brands[i]); err != nil {
				return nil, err
			}
		}
	}
	detail := entry.EvidenceBegun{Incident: f.n, Cosigned: req.Cosigned, Recipient: req.Recipient, Fields: strings.Join(req.Fields, ",")}
	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: f.visit.Who, Ticket: req.Ticket, Purpose: req.Purpose, Detail: detail})
	if err != nil {
		return nil, err
	}
	if f, err = d.find(ctx, c, brand, id, access.ActRespond); err != nil {
		return nil, err
	}
	files, err := d.files(ctx, f)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(files, func(x api.EvidenceFile) bool { return x.Number == r.Entry() })
	return &files[i], nil
}

// Evidence returns a file of evidence that the caller began. It may be written again: what
// was cut is worth nothing.
func (d *Desk) Evidence(ctx context.Context, c identity.Caller, brand, id string, number uint64) (*File, error) {
	f, err := d.find(ctx, c, brand, id, access.ActRespond)
	switch {
	case err != nil:
		return nil, err
	case f.part != "" || !slices.Contains(f.pages.evidence, number):
		return nil, ErrNoEvidence
	}
	e, _, err := d.Ledger.Entry(ctx, f.owner.ID, number)
	if err != nil {
		return nil, err
	}
	begun, ok := e.Detail.(entry.EvidenceBegun)
	if !ok || e.Principal != c.Principal {
		return nil, ErrNoEvidence
	}
	out := &File{desk: d, caller: c, visit: f.visit, n: f.n, people: map[uint64]bool{}, pinned: map[uint64]bool{},
		request: api.EvidenceRequest{Recipient: begun.Recipient, Cosigned: begun.Cosigned, Purpose: e.Purpose, Ticket: e.Ticket},
		subject: evidence.Subject{Owner: f.owner.Name, Incident: f.id(), Evidence: number, Made: e.At}}
	if begun.Fields != "" {
		out.request.Fields = strings.Split(begun.Fields, ",")
	}
	if err := out.data(); err != nil {
		return nil, err
	}
	if err := out.concerned(ctx, f); err != nil {
		return nil, err
	}
	if out.incident, err = d.Incident(ctx, c, brand, id); err != nil {
		return nil, err
	}
	for _, at := range slices.Concat(f.pages.entries, f.pages.evidence, f.marks) {
		out.pinned[at] = true
	}
	return out, nil
}

// data reads what customers' data is asked for.
func (f *File) data() error {
	req := &f.request
	if len(req.Fields) == 0 {
		if req.Recipient != "" || req.Purpose != "" {
			return fmt.Errorf("%w: a recipient and a purpose go with fields of customers", ErrRequest)
		}
		return nil
	}
	if _, err := record.ParseFields(req.Fields); err != nil {
		return fmt.Errorf("%w: %w", ErrRequest, err)
	}
	list, err := age.ParseRecipients(strings.NewReader(req.Recipient))
	if err != nil || len(list) != 1 || strings.ContainsAny(req.Recipient, "\n#") {
		return fmt.Errorf("%w: customers' data is encrypted to one age public key: `age-keygen` prints one that begins with age1", ErrRequest)
	}
	f.to = list[0]
	return nil
}

// concerned finds the brands whose logs are in the file. The caller has to be allowed to
// audit each.
func (f *File) concerned(ctx context.Context, x *found) error {
	f.brands = []brands.Brand{x.owner}
	for _, name := range x.opened.Brands {
		if name == x.owner.Name {
			continue
		}
		v, err := f.desk.Door.Admit(ctx, f.caller, name, access.ActAudit)
		if err != nil {
			return err
		}
		f.brands = append(f.brands, v.Brand)
	}
	return nil
}

// Name is what the file may be called.
func (f *File) Name() string {
	return fmt.Sprintf("%s-incident-%s-evidence-%d.tar", f.subject.Owner, f.subject.Incident, f.subject.Evidence)
}

// Write writes the file, in memory of a few parts, and logs that it was written to its end.
// What it wrote before an error has no manifest and verifies as nothing. It returns the
// digest of the manifest.
func (f *File) Write(ctx context.Context, w io.Writer) (string, error) {
	out := evidence.NewFileWriter(w, f.subject)
	if err := out.Add(evidence.PartReadme, []byte(f.readme())); err != nil {
		return "", err
	}
	if err := f.json(out, evidence.PartIncident, f.incident); err != nil {
		return "", err
	}
	for i := range f.brands {
		if err := f.log(ctx, out, &f.brands[i]); err != nil {
			return "", err
		}
	}
	people := evidence.People{}
	for n := range f.people {
		people[strconv.FormatUint(n, 10)] = f.desk.name(ctx, n)
	}
	if err := f.json(out, evidence.PartPeople, people); err != nil {
		return "", err
	}
	owner := f.brands[0].ID
	digest, err := out.Finish(func(text string) ([]byte, error) { return f.desk.Ledger.SignManifest(ctx, owner, text) })
	if err != nil {
		return "", err
	}
	_, err = f.desk.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: f.visit.Who, Ticket: f.request.Ticket,
		Detail: entry.EvidenceMade{Incident: f.n, Evidence: f.subject.Evidence, Digest: digest}})
	return digest, err
}

func (f *File) readme() string {
	return fmt.Sprintf(`Evidence of incident %s of %s.

This file is a tar: any tool unpacks it. What it holds is in docs/evidence-format.md of
Cloakroom. To check it, without a server or a network, with the published key of the log:

  cloakroom evidence verify FILE --vkey log.vkey

The key that lies in the file proves nothing by itself: take the one that the brand
published. Customers are row numbers here, which only the vault can tell people by.
People of staff are named: hand the file to nobody who need not know.
`, f.subject.Incident, f.subject.Owner)
}

// Handed logs that a file of evidence was handed to somebody.
func (d *Desk) Handed(ctx context.Context, c identity.Caller, brand, id string, req api.HandedRequest) (*api.Incident, error) {
	f, err := d.find(ctx, c, brand, id, access.ActRespond)
	switch {
	case err != nil:
		return nil, err
	case f.part != "":
		return nil, fmt.Errorf("%w: this incident is the group's: its lead hands evidence over", ErrRequest)
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	if err := ledger.CheckText("to", req.To); err != nil {
		return nil, err
	}
	files, err := d.files(ctx, f)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(files, func(x api.EvidenceFile) bool { return slices.Contains(x.Digests, req.Digest) })
	if i < 0 {
		return nil, ErrNoFile
	}
	detail := entry.EvidenceHanded{Incident: f.n, Evidence: files[i].Number, Digest: req.Digest, To: req.To}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: f.visit.Who, Ticket: req.Ticket, Detail: detail}); err != nil {
		return nil, err
	}
	return d.Incident(ctx, c, brand, id)
}

// files returns the files of evidence of an incident.
func (d *Desk) files(ctx context.Context, f *found) ([]api.EvidenceFile, error) {
	var out []api.EvidenceFile
	for _, at := range f.pages.evidence {
		e, _, err := d.Ledger.Entry(ctx, f.owner.ID, at)
		if err != nil {
			return nil, err
		}
		of := func(n uint64) *api.EvidenceFile {
			if i := slices.IndexFunc(out, func(x api.EvidenceFile) bool { return x.Number == n }); i >= 0 {
				return &out[i]
			}
			return &api.EvidenceFile{}
		}
		switch x := e.Detail.(type) {
		case entry.EvidenceBegun:
			n := api.EvidenceFile{Number: at, At: e.At, By: d.name(ctx, e.Principal), Recipient: x.Recipient}
			if x.Fields != "" {
				n.Fields = strings.Split(x.Fields, ",")
			}
			out = append(out, n)
		case entry.EvidenceMade:
			n := of(x.Evidence)
			n.Digests = append(n.Digests, x.Digest)
		case entry.EvidenceHanded:
			n := of(x.Evidence)
			n.Handed = append(n.Handed, api.EvidenceHandOver{Entry: at, At: e.At, By: d.name(ctx, e.Principal), To: x.To, Digest: x.Digest})
		}
	}
	return out, nil
}
