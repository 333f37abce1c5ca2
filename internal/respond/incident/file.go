package incident

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/respond/scope"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
)

// Limits of what one file of evidence holds, beside those of its format.
const (
	fullPart     = 2 << 20 // bytes after which the next part begins
	proofsAtOnce = 4096    // entries whose proofs share hashes that are kept
	mostAlarms   = 500     // of one log
	mostKept     = 100     // earlier checkpoints of one log
	mostVersions = 64      // of the scope whose entries are in it: the newest
	dataAtOnce   = 500     // customers that are disclosed together
)

func (f *File) json(out *evidence.FileWriter, name string, x any) error {
	b, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return out.Add(name, append(b, '\n'))
}

// still refuses to continue where the caller's right was taken away.
func (f *File) still(ctx context.Context) error {
	return f.desk.Door.Revisions.Decide(ctx, func(ctx context.Context) error {
		_, err := f.desk.Door.Admit(ctx, f.caller, f.subject.Owner, access.ActRespond)
		return err
	})
}

// question is a version of the scope at one brand.
type question struct {
	filter *evidence.Filter
	text   string
	size   uint64
	entry  uint64 // of the brand's log, with the figures
}

func (f *File) questions(brand string) (out []question, err error) {
	list := f.incident.Scopes
	for i := max(0, len(list)-mostVersions); i < len(list); i++ {
		for _, p := range list[i].Parts {
			if p.Brand != brand {
				continue
			}
			var req api.ScopeRequest
			if err := json.Unmarshal([]byte(list[i].Filter), &req); err != nil {
				return nil, fmt.Errorf("reading the filter of version %d of the scope: %w", list[i].Version, err)
			}
			x, err := evidence.NewFilter(&req)
			if err != nil {
				return nil, err
			}
			out = append(out, question{x, list[i].Filter, p.Size, p.Entry})
		}
	}
	return out, nil
}

// log writes the parts of one log: its newest checkpoint, and what of it is the incident's,
// proven against that.
func (f *File) log(ctx context.Context, out *evidence.FileWriter, b *brands.Brand) error {
	l := f.desk.Ledger
	ask, err := f.questions(b.Name)
	if err != nil {
		return err
	}
	if f.to != nil && len(ask) > 0 { // before the checkpoint, so that the log in the file has these disclosures
		if err := f.disclose(ctx, out, b, &ask[len(ask)-1]); err != nil {
			return err
		}
	}
	vkey, err := l.LogKey(ctx, b.ID)
	if err != nil {
		return err
	}
	cp, err := f.checkpoint(ctx, b)
	if err != nil {
		return err
	}
	tree, err := ledger.CheckpointRoot(vkey, cp)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{evidence.PartKey: []byte(vkey + "\n"), evidence.PartCheckpoint: cp} {
		if err := out.Add(evidence.LogPart(b.Name, name), text); err != nil {
			return err
		}
	}
	w := &logWriter{file: f, out: out, brand: b, tree: tree, first: true, before: map[string][]evidence.EntryLine{}, ask: ask, since: uint64(tree.N)}
	w.pinned = map[uint64]bool{}
	if b.Name == f.subject.Owner {
		w.pinned = f.pinned
	}
	for _, q := range ask {
		w.pinned[q.entry] = true
	}
	if err := l.Leaves(ctx, b.ID, uint64(tree.N), func(x *ledger.Leaf) error { return w.see(ctx, x) }); err != nil {
		return err
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	if err := w.earlier(ctx, vkey); err != nil {
		return err
	}
	if err := w.texts(ctx); err != nil {
		return err
	}
	return w.alarms(ctx)
}

// checkpoint returns the newest checkpoint of a log, with the cosignatures that witnesses
// give now.
func (f *File) checkpoint(ctx context.Context, b *brands.Brand) ([]byte, error) {
	cp, err := f.desk.Ledger.Checkpoint(ctx, b.ID)
	if err != nil {
		return nil, err
	}
	if f.request.Cosigned {
		return f.desk.Witness.Fresh(ctx, b.ID, cp)
	}
	cosigned, _ := f.desk.Witness.Cosign(ctx, b.ID, cp) // what a witness does not sign is said by its absence
	return cosigned, nil
}

// logWriter writes the entries of one log.
type logWriter struct {
	file   *File
	out    *evidence.FileWriter
	brand  *brands.Brand
	tree   tlog.Tree
	ask    []question
	pinned map[uint64]bool
	first  bool                            // nothing of the incident came yet
	since  uint64                          // where it began
	at     time.Time                       // and when
	before map[string][]evidence.EntryLine // the rules in force when it began, a part a line
	parts  []evidence.EntryLine            // of budget rules, until the last one puts them into force
	epochs [][]byte                        // checkpoints that epochs name
	prove  func(index uint64) (tlog.RecordProof, error)
	proven int
	buf    bytes.Buffer
	part   int
}

// rules names the rules that an entry puts into force.
func rules(e *entry.Entry) string {
	switch e.Detail.(type) {
	case entry.PolicyActivated:
		return "policy"
	case entry.BudgetRules, entry.BudgetPart:
		return "budget"
	case entry.DetectionRules:
		return "detection"
	}
	return ""
}

// see takes an entry if it is the incident's: one that a version of the scope counts, or
// could have counted before its values were erased; a step of the incident; one that a
// figure is from; rules in force when it began or since; what was stopped since; an epoch.
func (w *logWriter) see(ctx context.Context, x *ledger.Leaf) error {
	e := &x.Entry
	mine := w.pinned[x.Index]
	for i := range w.ask {
		q := &w.ask[i]
		mine = mine || x.Index < q.size && counts(e) && q.filter.Match(e) >= evidence.Unknown
	}
	kind := rules(e)
	switch {
	case mine:
		if err := w.begin(ctx, x); err != nil {
			return err
		}
	case e.Kind == entry.KindEpoch:
	case kind != "" && w.first:
		w.put(kind, x)
		return nil
	case w.first || kind == "" && e.Kind != entry.KindContainment:
		return nil
	}
	return w.take(ctx, line(x), e)
}

// put keeps what was put into force last, in the place of what was in force before. Rules in
// parts are in force from the last part on.
func (w *logWriter) put(kind string, x *ledger.Leaf) {
	p, ok := x.Entry.Detail.(entry.BudgetPart)
	if !ok {
		w.before[kind], w.parts = []evidence.EntryLine{line(x)}, nil
		return
	}
	if p.Part == 1 {
		w.parts = nil
	}
	if w.parts = append(w.parts, line(x)); p.Part == p.Of {
		w.before[kind], w.parts = w.parts, nil
	}
}

// counts reports whether an entry says something of a scope: what a tally counts, and what
// was refused or asked for as a file.
func counts(e *entry.Entry) bool {
	switch e.Kind {
	case entry.KindDisclosure, entry.KindSearch, entry.KindWrite, entry.KindImport, entry.KindErasure, entry.KindErasureBegun, entry.KindRefusal, entry.KindExport:
		return true
	}
	return false
}

func line(x *ledger.Leaf) evidence.EntryLine {
	return evidence.EntryLine{Index: x.Index, Leaf: bytes.Clone(x.Leaf), Values: bytes.Clone(x.Values), Salt: bytes.Clone(x.Salt), Customers: bytes.Clone(x.Subjects)}
}

// begin writes the rules that were in force before the first entry of the incident.
func (w *logWriter) begin(ctx context.Context, first *ledger.Leaf) error {
	if !w.first {
		return nil
	}
	w.first, w.since, w.at = false, first.Index, first.Entry.At
	var list []evidence.EntryLine
	for _, x := range w.before {
		list = append(list, x...)
	}
	slices.SortFunc(list, func(a, b evidence.EntryLine) int { return int(a.Index) - int(b.Index) })
	for _, x := range list {
		e, err := entry.Unmarshal(x.Leaf)
		if err != nil {
			return err
		}
		if err := w.take(ctx, x, &e); err != nil {
			return err
		}
	}
	return nil
}

// take writes one entry with its proof.
func (w *logWriter) take(ctx context.Context, x evidence.EntryLine, e *entry.Entry) (err error) {
	if w.proven%proofsAtOnce == 0 {
		if w.prove, err = w.file.desk.Ledger.Inclusions(ctx, w.brand.ID, uint64(w.tree.N)); err != nil {
			return err
		}
	}
	w.proven++
	proof, err := w.prove(x.Index)
	if err != nil {
		return fmt.Errorf("proving entry %d: %w", x.Index, err)
	}
	x.Proof = evidence.Proof(x.Index, proof)
	if d, ok := e.Detail.(entry.EpochBegun); ok {
		w.epochs = append(w.epochs, []byte(d.Checkpoint))
	}
	if e.Principal != 0 {
		w.file.people[e.Principal] = true
	}
	b, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("writing entry %d: %w", x.Index, err)
	}
	if w.buf.Len() > 0 && w.buf.Len()+len(b) > fullPart {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	w.buf.Write(append(b, '\n'))
	return nil
}

func (w *logWriter) flush(ctx context.Context) error {
	if w.buf.Len() == 0 {
		return nil
	}
	if err := w.file.still(ctx); err != nil {
		return err
	}
	w.part++
	err := w.out.Add(evidence.NumberedPart(w.brand.Name, evidence.PartEntries, w.part, "jsonl"), w.buf.Bytes())
	w.buf.Reset()
	return err
}

// earlier writes checkpoints that the log kept, with those that its epochs name, and that
// the newest continues each.
func (w *logWriter) earlier(ctx context.Context, vkey string) error {
	l := w.file.desk.Ledger
	list, err := l.Kept(ctx, w.brand.ID, uint64(w.tree.N), mostKept)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	for _, cp := range append(list, w.epochs...) {
		tree, err := ledger.CheckpointRoot(vkey, cp)
		if err != nil {
			return err
		}
		if tree.N < 1 {
			continue
		}
		proof, err := l.Consistency(ctx, w.brand.ID, uint64(tree.N), uint64(w.tree.N))
		if err != nil {
			return err
		}
		x := evidence.CheckpointLine{Checkpoint: string(cp), Consistency: [][]byte{}}
		for _, h := range proof {
			x.Consistency = append(x.Consistency, h[:])
		}
		b, err := json.Marshal(x)
		if err != nil {
			return fmt.Errorf("writing a checkpoint: %w", err)
		}
		text.Write(append(b, '\n'))
	}
	if text.Len() == 0 {
		return nil
	}
	return w.out.Add(evidence.LogPart(w.brand.Name, evidence.PartCheckpoints), text.Bytes())
}

// texts writes the policies that were in force. Budgets and rules of detection are in
// their entries.
func (w *logWriter) texts(ctx context.Context) error {
	if w.first {
		return nil
	}
	list, err := w.file.desk.Door.Access.Since(ctx, w.brand.ID, w.at)
	if err != nil {
		return err
	}
	for i, text := range list {
		if err := w.out.Add(evidence.NumberedPart(w.brand.Name, evidence.PartPolicy, i+1, "cedar"), []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// alarms writes the newest alarms since the incident began.
func (w *logWriter) alarms(ctx context.Context) error {
	list, err := w.file.desk.Alarms.Newest(ctx, w.brand.ID, mostAlarms)
	if err != nil {
		return err
	}
	out := []api.Alarm{}
	for i := range list {
		if list[i].Entry >= w.since {
			out = append(out, alarm.Shown(w.brand.Name, &list[i].Alarm))
		}
	}
	if len(out) == 0 {
		return nil
	}
	return w.file.json(w.out, evidence.LogPart(w.brand.Name, evidence.PartAlarms), out)
}

// disclosed is a line of the encrypted data.
type disclosed struct {
	Row    record.Ordinal `json:"row"` // the number that stands for the customer in entries
	Fields api.Fields     `json:"fields"`
}

// disclose writes fields of the customers in the newest version of the scope at a brand:
// asked for as any reveal is, decided and logged before anything opens.
func (f *File) disclose(ctx context.Context, out *evidence.FileWriter, b *brands.Brand, q *question) error {
	tally := evidence.NewTally(q.filter)
	if err := scope.Count(ctx, f.desk.Ledger, b.ID, scope.Question{Size: q.size, Tally: tally}); err != nil {
		return err
	}
	part := 0
	for ords := range slices.Chunk(slices.Collect(tally.Set().All()), dataAtOnce) {
		var text bytes.Buffer
		err := f.desk.Door.Revisions.Decide(ctx, func(ctx context.Context) error {
			text.Reset()
			return f.reveal(ctx, b, ords, &text)
		})
		if err != nil {
			return fmt.Errorf("disclosing customers of %s for the evidence: %w", b.Name, err)
		}
		var sealed bytes.Buffer
		w, err := age.Encrypt(&sealed, f.to)
		if err == nil {
			_, err = w.Write(text.Bytes())
			err = errors.Join(err, w.Close())
		}
		if err != nil {
			return fmt.Errorf("encrypting customers' data: %w", err)
		}
		part++
		if err := out.Add(evidence.NumberedPart(b.Name, evidence.PartData, part, "age"), sealed.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// reveal discloses customers who are still there. Of those whose erasure began nothing is
// shown to anybody any more.
func (f *File) reveal(ctx context.Context, b *brands.Brand, ords []record.Ordinal, text *bytes.Buffer) error {
	gone, err := f.desk.Ledger.Gone(ctx, b.ID, ords)
	if err != nil {
		return err
	}
	var there []record.Ordinal
	var tokens []string
	for _, ord := range ords {
		if slices.Contains(gone, ord) {
			continue
		}
		token, err := f.desk.Disclose.Seal.Token(ctx, b.ID, ord)
		if err != nil {
			return err
		}
		there, tokens = append(there, ord), append(tokens, token)
	}
	if len(tokens) == 0 {
		return nil
	}
	out, err := f.desk.Disclose.Reveal(ctx, f.caller, b.Name, api.RevealRequest{Tokens: tokens, Fields: f.request.Fields, Purpose: f.request.Purpose, Ticket: f.request.Ticket})
	if err != nil {
		return err
	}
	for i := range out.Customers {
		b, err := json.Marshal(disclosed{there[i], out.Customers[i].Fields})
		if err != nil {
			return fmt.Errorf("writing a customer: %w", err)
		}
		text.Write(append(b, '\n'))
	}
	return nil
}
