// Package claim answers the mail that every breach begins with: "we have your data, here is
// a sample". Is it ours, when was it taken, from which disclosure, and how sure is that?
//
// The sample is streamed: it is read, held against the customers in batches, and dropped.
// Its digest and the answer are entries of the log; the sample is kept nowhere. Before the
// first row is looked up, an entry says how many rows there are, and counts every one
// against the budget of claims, found or not. A sample above [Large] takes a second person
// instead.
//
// # No oracle
//
// A claim is a search by list, and could be used to find out whether one person is a
// customer. So its figures are rounded to tens and shifted by an amount that hangs on who
// was found, always the same for the same people: below [Few] rows nothing else is
// answered, and above it figures become exact only when two people want them. Canaries
// show only then, too.
//
// # From which disclosure
//
// Each export, each large disclosure, and all that each credential, person and recipient
// was shown is a hypothesis, beside "our customers, from elsewhere" and "somebody else's
// list". [Attribute] weighs them. The answer is a set, never one name where two explain
// the sample alike.
package claim

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/respond/incident"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
	"github.com/cloakroom/cloakroom/internal/watch/canary"
)

const (
	// Large is how many rows a sample has at most that one person may ask about.
	Large = 1000
	// Few is below how many rows no figure is ever exact.
	Few = 25
	// MaxRows bounds the rows of one sample.
	MaxRows = 50_000_000
	// leastNamed is how many customers of a sample a source has that is named.
	leastNamed = 10
	// maxDistinct bounds the rows of nobody that repeats are looked for among.
	maxDistinct = 8 << 20
)

var (
	// ErrRequest is joined to errors that the request itself is to blame for.
	ErrRequest = fault.New(fault.Invalid, "invalid request")
	// ErrOther is returned for a sample that is not the one that was asked about.
	ErrOther = fault.New(fault.Invalid, "this is not the sample that was announced: its digest is another, or it has more rows; the claim counted, and nothing was answered")
	// ErrNone is returned for an entry that is no answer to a claim.
	ErrNone = fault.New(fault.NotFound, "no such claim: `cloakroom claim list` shows them")
	// ErrFew is returned to who wants exact figures of a few rows.
	ErrFew = fault.Newf(fault.Invalid, "a sample of fewer than %d rows has no exact figures: they would tell whether one person is a customer", Few)
)

// Desk answers claims.
type Desk struct {
	Door      *door.Door
	Ledger    *ledger.Ledger
	Seal      *seal.Store
	Canaries  *canary.Store
	Incidents *incident.Desk

	check *change.Handle[asked, *Check]
}

// asked is what somebody asks for.
type asked struct {
	Brand    string   `json:"brand"`
	Brands   []string `json:"brands"`
	Rows     int      `json:"rows"`
	Digest   string   `json:"digest"`
	Exact    bool     `json:"exact"`
	Incident string   `json:"incident"`
}

// Register registers that exact figures, and those of a large sample, take a second person.
func (d *Desk) Register(c *change.Desk) {
	d.check = change.Register(c, change.Act[asked, *Check]{
		Name: "claim-check", Action: access.ActRespond, ToAsker: true,
		Need: func(_ context.Context, _ change.Order, p asked) (change.Need, error) {
			return change.Need{Two: p.Exact}, nil
		},
		Text: func(_ context.Context, _ change.Order, p asked) (change.Text, error) {
			return change.Text{Title: "Hold a sample against the customers, with exact figures",
				Lines: []string{fmt.Sprintf("%d rows", p.Rows), "SHA-256 " + p.Digest, "brands: " + strings.Join(p.Brands, ", ")}}, nil
		},
		Apply: d.begin,
	})
}

// Check is a claim whose rows are counted, and whose sample is to be read.
type Check struct {
	desk  *Desk
	asked asked
	order change.Order
	home  *door.Visit
	begun ledger.Receipt
	parts []*part

	read     api.ClaimRead
	sample   *intake.Sample
	distinct map[uint64]struct{}
	seed     maphash.Seed
}

// part is what a claim finds at one brand.
type part struct {
	visit    *door.Visit
	receipt  ledger.Receipt
	found    *matched
	out      api.ClaimPart
	fields   [record.NumColumns]api.ClaimField
	strange  int // distinct rows of nobody
	carrying record.FieldSet
}

// Begin counts the rows of a sample, in the log of each brand, and returns the claim whose
// sample is to be read.
func (d *Desk) Begin(ctx context.Context, c identity.Caller, brand string, req api.ClaimRequest) (*Check, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActRespond)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	if raw, err := hex.DecodeString(req.Digest); err != nil || len(raw) != sha256.Size {
		return nil, fmt.Errorf("%w: digest is the SHA-256 of the sample, in hexadecimal", ErrRequest)
	}
	if req.Rows < 1 || req.Rows > MaxRows {
		return nil, fmt.Errorf("%w: rows is how many the sample has, up to %d", ErrRequest, MaxRows)
	}
	p := asked{Brand: v.Brand.Name, Rows: req.Rows, Digest: strings.ToLower(req.Digest), Exact: req.Exact || req.Rows > Large, Incident: req.Incident}
	if p.Exact && p.Rows < Few {
		return nil, ErrFew
	}
	if p.Brands, err = d.brands(ctx, v, req.Brands); err != nil {
		return nil, err
	}
	if p.Incident != "" {
		x, err := d.Incidents.Incident(ctx, c, brand, p.Incident)
		if err != nil {
			return nil, err
		}
		if !x.Closed.IsZero() {
			return nil, incident.ErrClosed
		}
		if x.Part {
			return nil, fmt.Errorf("%w: this incident is the group's: ask from the group, or name one of your brand", ErrRequest)
		}
	}
	return d.check.Do(ctx, v, req.Ticket, p)
}

func (d *Desk) brands(ctx context.Context, v *door.Visit, names []string) ([]string, error) {
	if v.Brand.ID != record.Group {
		if len(names) > 0 {
			return nil, fmt.Errorf("%w: brands are chosen from the group: ask brand %s, or leave brands out", ErrRequest, brands.GroupName)
		}
		return []string{v.Brand.Name}, nil
	}
	if len(names) == 0 {
		list, err := d.Door.Brands.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, b := range list {
			names = append(names, b.Name)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(names))), nil
}

// begin logs that a sample is held against the customers, before any of it is. A refusal of
// one brand's budget refuses the claim.
func (d *Desk) begin(ctx context.Context, o change.Order, p asked) (*Check, error) {
	k := &Check{desk: d, asked: p, order: o, distinct: map[uint64]struct{}{}, seed: maphash.MakeSeed()}
	var err error
	if k.home, err = d.Door.Admit(ctx, o.Who.Caller, p.Brand, access.ActRespond); err != nil {
		return nil, err
	}
	for _, name := range p.Brands {
		v, err := d.Door.Admit(ctx, o.Who.Caller, name, access.ActRespond)
		if err != nil {
			return nil, err
		}
		k.parts = append(k.parts, &part{visit: v, found: newMatched()})
	}
	detail := entry.ClaimBegun{Rows: p.Rows, Exact: p.Exact, Digest: p.Digest, Change: o.ID}
	if k.home.Brand.ID == record.Group {
		home := detail
		home.Incident = number(p.Incident)
		if k.begun, err = d.log(ctx, k.home, o.Ticket, home, ""); err != nil {
			return nil, err
		}
	} else {
		detail.Incident = number(p.Incident)
	}
	for _, x := range k.parts {
		if x.receipt, err = d.log(ctx, x.visit, o.Ticket, detail, k.class()); err != nil {
			return nil, err
		}
		x.out.Brand, x.out.Begun = x.visit.Brand.Name, x.receipt.Entry()
		if !k.begun.Valid() {
			k.begun = x.receipt
		}
	}
	return k, nil
}

// class is the budget that counts the rows: none where two people approved them.
func (k *Check) class() string {
	if k.asked.Exact {
		return ""
	}
	return budget.Claim.String()
}

func (d *Desk) log(ctx context.Context, v *door.Visit, ticket string, detail entry.Detail, class string) (ledger.Receipt, error) {
	return d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindClaim, Who: v.Who, Ticket: ticket, Detail: detail, Class: class})
}

func number(incident string) uint64 {
	n, _ := strconv.ParseUint(incident, 10, 63)
	return n
}

// hashed counts and digests what is read of a sample.
type hashed struct {
	in  io.Reader
	sum hash.Hash
}

// Read implements io.Reader.
func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.in.Read(p)
	h.sum.Write(p[:n])
	return n, err
}

// Read reads the sample to its end and holds it against the customers.
func (k *Check) Read(ctx context.Context, sample io.Reader) error {
	in := &hashed{sample, sha256.New()}
	var err error
	if k.sample, err = intake.OpenSample(in); err != nil {
		return err
	}
	batch := make([]seal.Sampled, 0, seal.CompareAtOnce)
	for {
		row, err := k.sample.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if k.read.Rows++; k.read.Rows > k.asked.Rows {
			return ErrOther
		}
		if row.Card {
			k.read.Cards++
		}
		if row.Values[record.Email]+row.Values[record.Phone]+row.Values[record.ExternalID] == "" {
			k.read.Empty++
		}
		if batch = append(batch, row.Values); len(batch) == cap(batch) {
			if err := k.match(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if err := k.match(ctx, batch); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // what stands after the rows is part of the digest
		return fmt.Errorf("reading the sample: %w", err)
	}
	if hex.EncodeToString(in.sum.Sum(nil)) != k.asked.Digest {
		return ErrOther
	}
	return nil
}

// match holds rows against the customers of every brand.
func (k *Check) match(ctx context.Context, rows []seal.Sampled) error {
	if len(rows) == 0 {
		return nil
	}
	again := make([]bool, len(rows)) // of who had a row already
	for i := range rows {
		again[i] = k.again(&rows[i])
	}
	for j, p := range k.parts {
		found, err := k.desk.Seal.Compare(ctx, p.receipt, rows)
		if err != nil {
			return err
		}
		for i := range found {
			p.count(&found[i], again[i])
		}
		if j > 0 {
			continue
		}
		for i := range again {
			if again[i] {
				k.read.Repeated++
			}
		}
	}
	return nil
}

// again reports whether an earlier row had the same identifiers. What it remembers of a row
// is a keyed hash, for as long as the claim is read.
func (k *Check) again(r *seal.Sampled) bool {
	id := ""
	for _, f := range [...]record.Field{record.Email, record.Phone, record.ExternalID} {
		if n, err := record.Normalize(f, r[f], r[record.Country]); err == nil && r[f] != "" {
			id += n
		}
		id += "\x00"
	}
	if id == "\x00\x00\x00" {
		return false
	}
	h := maphash.String(k.seed, id)
	if _, there := k.distinct[h]; there {
		return true
	}
	if len(k.distinct) < maxDistinct {
		k.distinct[h] = struct{}{}
	}
	return false
}

// count takes one compared row in.
func (p *part) count(x *seal.Compared, again bool) {
	if x.Ord == 0 {
		p.out.NotOurs++
		if !again {
			p.strange++
		}
		return
	}
	p.out.Ours++
	p.found.add(x)
	if x.Other != 0 {
		p.out.Altered++
	}
	if x.Former != 0 {
		p.out.Former++
	}
	if x.Mixed {
		p.out.Mixed++
	}
	for f := range record.NumColumns {
		switch {
		case x.Same.Has(f):
			p.fields[f].Same++
		case x.Former.Has(f):
			p.fields[f].Former++
		case x.Other.Has(f):
			p.fields[f].Other++
		}
	}
}

// Answer finds when the sample was taken and from which disclosure, logs the answer, and returns it.
func (k *Check) Answer(ctx context.Context) (*api.Claim, error) {
	who, err := k.desk.Door.Identity.Get(ctx, k.order.Who.Principal)
	if err != nil {
		return nil, err
	}
	out := &api.Claim{Owner: k.home.Brand.Name, By: who.Name, Incident: k.asked.Incident, Ticket: k.order.Ticket, Digest: k.asked.Digest,
		Exact: k.asked.Exact, Alone: k.asked.Exact && k.order.Second.Principal == 0, Read: k.shape(), Limits: limits(k)}
	for _, p := range k.parts {
		if err := k.part(ctx, p); err != nil {
			return nil, err
		}
		out.Brands = append(out.Brands, p.out)
	}
	out.Verdict = overall(out.Brands)
	text, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("writing the answer: %w", err)
	}
	r, err := k.desk.log(ctx, k.home, k.order.Ticket, entry.ClaimJudged{Incident: number(k.asked.Incident), Claim: k.begun.Entry(), Verdict: out.Verdict, Report: string(text)}, "")
	if err != nil {
		return nil, err
	}
	out.Entry, out.At = r.Entry(), r.At()
	return out, nil
}

// overall is the verdict of all brands together: the one that says most.
func overall(parts []api.ClaimPart) string {
	order := []string{api.ClaimExplained, api.ClaimOurs, api.ClaimUndecided, api.ClaimForeign, api.ClaimSmall}
	best := len(order) - 1
	for i := range parts {
		best = min(best, slices.Index(order, parts[i].Verdict))
	}
	return order[best]
}

func (k *Check) shape() api.ClaimRead {
	s, out := &k.sample.Shape, k.read
	out.Format, out.Encoding, out.Delimiter, out.Header, out.Unreadable = s.Format, s.Encoding, s.Delimiter, s.Header, k.sample.Unreadable
	out.Columns = []api.ClaimColumn{}
	for _, c := range s.Columns {
		if c.Field == "" {
			c.From = ""
		}
		out.Columns = append(out.Columns, api.ClaimColumn{At: c.At, Field: c.Field, From: c.From})
	}
	if len(out.Columns) > maxColumns {
		out.Columns = out.Columns[:maxColumns]
	}
	return out
}

// maxColumns bounds the columns that an answer describes.
const maxColumns = 200

// part finds the answer of one brand.
func (k *Check) part(ctx context.Context, p *part) error {
	brand := p.visit.Brand.ID
	if err := k.desk.Canaries.Refresh(ctx, brand); err != nil {
		return err
	}
	g := newGather(p.found, func(ord record.Ordinal) bool { return k.desk.Canaries.Contains(brand, ord) })
	err := k.desk.Ledger.Scan(ctx, brand, 0, func(index uint64, e entry.Entry, ords []record.Ordinal) error {
		if index >= p.receipt.Entry() {
			return errEnd
		}
		if index%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		g.take(index, &e, ords)
		return nil
	})
	if err != nil && !errors.Is(err, errEnd) {
		return fmt.Errorf("reading the log: %w", err)
	}
	customers, err := k.desk.Seal.Count(ctx, brand)
	if err != nil {
		return err
	}
	p.out.Customers, p.out.Erased = p.found.set.Len(), g.erased.Len()
	for f := range record.NumColumns {
		x := &p.fields[f]
		if x.Same+x.Former+x.Other == 0 {
			continue
		}
		x.Field = f.String()
		p.out.Fields = append(p.out.Fields, *x)
		if (x.Same+x.Former)*10 >= p.out.Ours {
			p.carrying = p.carrying.With(f)
		}
	}
	p.date(g)
	sample := Sample{Customers: int(customers), Matched: len(g.at), Foreign: p.strange}
	if n := p.found.set.Len(); n > len(p.found.places) {
		sample.Foreign = int(float64(p.strange) * float64(len(p.found.places)) / float64(n))
	}
	sources, of := g.sources(p.carrying)
	a := Attribute(sample, sources)
	p.out.Explained, p.out.Elsewhere, p.out.Foreign = a.Ours, a.Elsewhere, a.Foreign
	about := map[Name]*bucket{}
	for _, b := range of {
		about[Name{b.kind, b.id}] = b
	}
	for i := range a.Ranked {
		if a.Ranked[i].Covered >= leastNamed {
			p.out.Sources = append(p.out.Sources, k.show(ctx, &a.Ranked[i], about))
		} else if i < a.Set {
			a.Set = i
			break
		}
	}
	p.out.Tie = a.Set
	if second, left := Residual(sample, sources, a); left > 0 {
		p.out.Left = left
		for i := range second.Ranked[:second.Set] {
			if second.Ranked[i].Covered >= leastNamed {
				p.out.Second = append(p.out.Second, k.show(ctx, &second.Ranked[i], about))
			}
		}
	}
	for _, buckets := range g.seen {
		c := api.ClaimCanary{}
		for _, b := range buckets {
			c.Seen = append(c.Seen, k.name(ctx, Name{b.kind, b.id}, b))
		}
		slices.SortFunc(c.Seen, compareNames)
		c.Seen = slices.Compact(c.Seen)
		p.out.Canaries = append(p.out.Canaries, c)
	}
	for ord := range p.found.set.All() {
		if g.canary(ord) && g.seen[ord] == nil && len(p.out.Canaries) < maxCanaries {
			p.out.Canaries = append(p.out.Canaries, api.ClaimCanary{Seen: []api.ClaimName{}})
		}
	}
	slices.SortFunc(p.out.Canaries, func(a, b api.ClaimCanary) int { return slices.CompareFunc(a.Seen, b.Seen, compareNames) })
	for i := range p.out.Canaries {
		p.out.Canaries[i].Number = i + 1
	}
	p.judge()
	if !k.asked.Exact {
		if err := k.blur(ctx, p); err != nil {
			return err
		}
	}
	p.out.Words = words(&p.out, k.asked.Exact, g.bare > 0)
	return nil
}

var errEnd = fault.New(fault.Internal, "the end of what the claim is held against")

func compareNames(a, b api.ClaimName) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
}

// date finds when the sample was taken.
func (p *part) date(g *gather) {
	rows := make([]dated, 0, len(p.found.places))
	newest := int64(0)
	for _, k := range p.found.places {
		rows = append(rows, dated{max(k.after, k.joined), k.before})
		newest = max(newest, k.joined)
	}
	if p.out.When = when(rows); p.out.When == nil || newest == 0 {
		return
	}
	for _, n := range g.news {
		if n.at > newest {
			p.out.When.Joined += n.n
		}
	}
}

// judge finds the verdict.
func (p *part) judge() {
	o := &p.out
	switch {
	case o.Customers < leastNamed && o.Tie == 0:
		o.Verdict = api.ClaimSmall
	case o.Tie > 0:
		o.Verdict = api.ClaimExplained
	case o.Elsewhere >= enough:
		o.Verdict = api.ClaimOurs
	case o.Foreign >= enough:
		o.Verdict = api.ClaimForeign
	default:
		o.Verdict = api.ClaimUndecided
	}
	if o.Verdict == api.ClaimSmall && o.NotOurs >= Few && o.Customers*10 < o.NotOurs {
		o.Verdict = api.ClaimForeign
	}
}

func (k *Check) show(ctx context.Context, f *Found, about map[Name]*bucket) api.ClaimSource {
	s := api.ClaimSource{Size: f.Source.Size, Covered: f.Covered, Weight: f.Weight, Lacks: f.Source.Lacks}
	for _, n := range f.Source.Names {
		b := about[n]
		s.Names = append(s.Names, k.name(ctx, n, b))
		if s.First.IsZero() || b.first.Before(s.First) {
			s.First = b.first
		}
		if b.last.After(s.Last) {
			s.Last = b.last
		}
	}
	order := []string{"export", "entry", "credential", "principal", "recipient"}
	slices.SortFunc(s.Names, func(a, b api.ClaimName) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind)), cmp.Compare(a.ID, b.ID))
	})
	return s
}

// name names a source as people know it.
func (k *Check) name(ctx context.Context, n Name, b *bucket) api.ClaimName {
	out := api.ClaimName{Kind: n.Kind, ID: n.ID}
	person := func(id uint64) string {
		if p, err := k.desk.Door.Identity.Get(ctx, id); err == nil {
			return p.Name
		}
		return strconv.FormatUint(id, 10)
	}
	if n.Kind == "principal" {
		out.ID = person(number(n.ID))
	} else if b.of != 0 {
		out.Of = person(b.of)
	}
	return out
}

// blur makes the figures such that no one person can be told from them.
func (k *Check) blur(ctx context.Context, p *part) error {
	by, err := k.desk.Seal.Blur(ctx, p.visit.Brand.ID, &p.found.set)
	if err != nil {
		return err
	}
	o := &p.out
	total := o.Ours + o.NotOurs
	round := func(n int) int { return max((n+by)/10*10, 0) }
	few := o.Customers+by < leastNamed || k.asked.Rows < Few
	o.Ours = min(round(o.Ours), total/10*10)
	o.Customers, o.Altered, o.Former, o.Mixed = min(round(o.Customers), o.Ours), round(o.Altered), round(o.Former), round(o.Mixed)
	o.NotOurs = max((total-o.Ours)/10*10, 0)
	for i := range o.Fields {
		f := &o.Fields[i]
		f.Same, f.Former, f.Other = round(f.Same), round(f.Former), round(f.Other)
	}
	// Who is a canary takes two people, in the list of them as here.
	o.Canaries = nil
	if few {
		*o = api.ClaimPart{Brand: o.Brand, Begun: o.Begun, Verdict: api.ClaimSmall, Ours: o.Ours, NotOurs: o.NotOurs, Customers: o.Customers, Erased: o.Erased}
		if k.asked.Rows >= 4*Few && o.Ours == 0 {
			o.Verdict = api.ClaimForeign
		}
		return nil
	}
	for _, list := range [][]api.ClaimSource{o.Sources, o.Second} {
		for i := range list {
			list[i].Covered, list[i].Weight = round(list[i].Covered), percent(list[i].Weight)
		}
	}
	o.Explained, o.Elsewhere, o.Foreign = percent(o.Explained), percent(o.Elsewhere), percent(o.Foreign)
	o.Left = round(o.Left)
	if w := o.When; w != nil {
		w.Since, w.Until, w.Dated, w.Against = round(w.Since), round(w.Until), round(w.Dated), round(w.Against)
		w.From, w.To, w.Joined = day(w.From), day(w.To), w.Joined/10*10
		if w.Since == 0 {
			w.From, w.Joined = time.Time{}, 0 // one person's day
		}
		if w.Until == 0 {
			w.To = time.Time{}
		}
	}
	return nil
}

// Show returns an answer that was given before.
func (d *Desk) Show(ctx context.Context, c identity.Caller, brand string, at uint64) (*api.Claim, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAudit)
	if err != nil {
		return nil, err
	}
	size, err := d.Ledger.Size(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	if at >= size {
		return nil, ErrNone
	}
	e, _, err := d.Ledger.Entry(ctx, v.Brand.ID, at)
	if err != nil {
		return nil, err
	}
	x, ok := e.Detail.(entry.ClaimJudged)
	if !ok || x.Report == "" {
		return nil, ErrNone
	}
	out := &api.Claim{}
	if err := json.Unmarshal([]byte(x.Report), out); err != nil {
		return nil, fmt.Errorf("reading entry %d: %w", at, err)
	}
	out.Entry, out.At = at, e.At
	return out, nil
}

// List returns the claims of a brand's log, the newest first.
func (d *Desk) List(ctx context.Context, c identity.Caller, brand string) ([]api.ClaimSummary, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAudit)
	if err != nil {
		return nil, err
	}
	places, err := d.Incidents.Claims(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	out := []api.ClaimSummary{}
	for _, at := range slices.Backward(places) {
		x, err := d.Show(ctx, c, brand, at)
		if errors.Is(err, ErrNone) {
			continue // its values are erased
		}
		if err != nil {
			return nil, err
		}
		out = append(out, api.ClaimSummary{Entry: at, At: x.At, By: x.By, Incident: x.Incident, Digest: x.Digest, Rows: x.Read.Rows, Verdict: x.Verdict})
	}
	return out, nil
}
