package intake

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	// DefaultChunk is how many customers go to the sink at once: enough that one
	// entry in the log and one transaction cost little per customer.
	DefaultChunk = 2000
	// MaxChunk is the most customers of one entry in the log.
	MaxChunk = 20_000
)

// ErrTooManyRejects ends an import whose file has more rejected rows than the caller
// allows.
var ErrTooManyRejects = fault.New(fault.Internal, "stopped")

// Outcome is what became of one row.
type Outcome uint8

// The outcomes of a row.
const (
	New Outcome = iota
	Updated
	Unchanged
	Rejected
	Withheld   // the customer was erased, and the row does not bring them back
	Accepted   // written under an approval, whose answer says no more
	Superseded // another record of the tap, which came later, says something else
)

// Result is a sink's answer for one row. A Rejected one has a Reject, whose line Run
// fills in.
type Result struct {
	Outcome Outcome
	Reject  *Reject
	// Of a customer: the fields whose value was taken away, how many values, and the fields
	// that hold one by which nobody can be found, those of the row's Notes included.
	Emptied record.FieldSet
	Cleared int
	Unfound record.FieldSet
}

// Sink is where the chunks of an import go: [Rows] makes one of a taker of rows, and a
// [Direct] is one. Everything before it is the same for all.
type Sink interface {
	// begin sets out with a chunk, while an earlier one may still be finished. It returns
	// nil where the chunk has no rows. Chunks are begun in order, and finished in order.
	begin(ctx context.Context, c *joined) (landing, error)
}

// landing is a chunk on its way to the database.
type landing interface {
	// finish brings it in and answers for each row. It may answer for the customers and
	// fail then.
	finish(ctx context.Context) (customers, purchases []Result, err error)
}

// Taker takes rows in. It answers for each row, in order; after an error Run stops,
// and the rows of the call count as not taken. Neither method may keep the rows.
type Taker interface {
	// Customers takes customers, each external id at most once.
	Customers(ctx context.Context, rows []CustomerRow) ([]Result, error)
	// Purchases takes purchases. Those of one customer stand together, in order of
	// time, each purchase id at most once.
	Purchases(ctx context.Context, rows []PurchaseRow) ([]Result, error)
}

// Input is a file to import.
type Input struct {
	Name   string  // for the file of rejects and for errors
	Reader *Reader // nil: there is no such file
}

// Options say what to import, and how.
type Options struct {
	Customers, Purchases Input
	// ChunkCustomers is how many customers go to the sink at once, at most MaxChunk;
	// 0 means DefaultChunk, or DirectChunk for a Direct.
	ChunkCustomers int
	// Rejects takes the faults as CSV: file, line, field, code, reason, one line per
	// fault. It gets nothing, no header either, without a fault. Values that were kept
	// with a warning or dropped are listed too, under CodeUnfindable and CodeDropped.
	Rejects io.Writer
	// Refused, unless nil, takes the refused rows themselves, unchanged, with a column
	// for the reason, to be fixed and imported again. It may return nil. A row with a
	// payment card number never goes there.
	Refused func(kind string) io.Writer
	// MaxRejects is the limit of rejected rows; negative: none.
	MaxRejects int
	// DryRun counts what an import would do. The sink must then write nothing: Run tells
	// a Direct so. Without a sink Run counts faults only: it knows neither whether a row
	// is new nor whether a purchase has a customer.
	DryRun bool
	// Progress is called often, from the goroutine that called Run.
	Progress func(Progress)
}

// Progress says how far an import has come.
type Progress struct {
	Input       string
	Counts      Counts // of this input, without RejectedBy
	Bytes, Size int64  // taken of the input, compressed as it is; Size is -1 if unknown
}

// Counts counts rows. Once an input is read to its end, Read is the sum of New, Updated,
// Unchanged, Rejected, Withheld, Accepted, Superseded and Anonymous.N; on a dry run without a sink, rows without a fault are
// in Read alone.
type Counts struct {
	Read, New, Updated, Unchanged, Rejected int64
	Withheld                                int64            // rows of customers who were erased
	Accepted                                int64            // rows under an approval
	Superseded                              int64            // records of a tap that a later one replaced, and that said something else
	Anonymous                               FirstOf          // purchases that name no customer, left out as the mapping says
	RejectedBy                              map[string]int64 // by code of the first fault
	Cleared                                 int64            // values removed
	Emptied                                 map[string]int64 // by field, customers whose value was removed
	Dropped                                 int64            // fields dropped, as asked
	Unfound                                 map[string]Unfound
	Unwritten                               int64    // refused rows that Refused did not get
	Hints                                   []string // what many rows have in common
}

// FirstOf counts rows, and has the line of the first.
type FirstOf struct{ N, First int64 }

// Unfound counts values that are kept although no search can find the customer by them.
type Unfound = FirstOf

// Report is what an import did.
type Report struct {
	Customers, Purchases Counts
	// Amounts sums the purchases that were not rejected, by currency, exactly.
	Amounts map[string]string
}

// Unsettled returns the rows that were read and of which nothing became, since the import
// stopped before.
func (c *Counts) Unsettled() int64 {
	return c.Read - c.New - c.Updated - c.Unchanged - c.Rejected - c.Withheld - c.Accepted - c.Superseded - c.Anonymous.N
}

// Rejected returns the refused rows of both inputs.
func (r *Report) Rejected() int64 { return r.Customers.Rejected + r.Purchases.Rejected }

// Run imports the customers, with those of their purchases that stand where the two
// files, read side by side, show them; the other purchases follow. The report is right
// after an error too: what it counts as new or updated is kept, and the same import run
// again goes on from there. After an error a read of the input may still be under way:
// close what it reads from.
func Run(ctx context.Context, to Sink, o Options) (Report, error) {
	direct, _ := to.(*Direct)
	if o.ChunkCustomers == 0 {
		o.ChunkCustomers = DefaultChunk
		if direct != nil {
			o.ChunkCustomers = DirectChunk
		}
	}
	if o.ChunkCustomers < 0 || o.ChunkCustomers > MaxChunk {
		return Report{}, fmt.Errorf("importing: a chunk must be 1 to %d customers", MaxChunk)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the parsers
	im := newImporter(to, o)
	if direct != nil {
		direct.Rehearse = o.DryRun
	}
	return im.end(im.bring(ctx, direct))
}

func newImporter(to Sink, o Options) *importer {
	im := &importer{Options: o, to: to, rejects: newRejects(o.Rejects), sums: newSums(), fresh: map[uint64]bool{}}
	for _, c := range []*Counts{&im.report.Customers, &im.report.Purchases} {
		c.RejectedBy, c.Emptied, c.Unfound = map[string]int64{}, map[string]int64{}, map[string]Unfound{}
	}
	if o.Refused != nil {
		im.refused = map[*Counts]*refused{
			&im.report.Customers: newRefused(o.Customers.Reader, o.Refused, kindCustomers),
			&im.report.Purchases: newRefused(o.Purchases.Reader, o.Refused, kindPurchases),
		}
	}
	return im
}

// end is the report of an import that ended with err, or nil.
func (im *importer) end(err error) (Report, error) {
	err = errors.Join(err, im.rejects.flush())
	for c, in := range map[*Counts]Input{&im.report.Customers: im.Customers, &im.report.Purchases: im.Purchases} {
		if in.Reader != nil {
			c.Hints = in.Reader.hints.texts(c.Read)
		}
	}
	im.report.Amounts = im.sums.texts()
	return im.report, err
}

// importer is one run.
type importer struct {
	Options
	to      Sink
	report  Report
	rejects *rejects
	refused map[*Counts]*refused
	sums    *sums
	fresh   map[uint64]bool // hashed ids that a rehearsal would make
}

// bring brings both files in. A direct import of customers begins with the indexes taken
// away where there is nobody yet, and ends with them made again.
func (im *importer) bring(ctx context.Context, direct *Direct) (err error) {
	if direct != nil && im.Customers.Reader != nil && !im.DryRun {
		end, err := direct.firstLoad(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	rest := func(yield func(PurchaseRow, error) bool) {}
	if im.Purchases.Reader != nil {
		rest = Purchases(ctx, im.Purchases.Reader)
	}
	if im.Customers.Reader != nil {
		j := newJoiner(im.ChunkCustomers, im.Purchases.Reader)
		defer j.close()
		if err := im.flow(ctx, im.Customers, all(j.chunks(ctx, im.Customers.Reader)), j.done); err != nil {
			return err
		}
		if im.Purchases.Reader != nil {
			rest = j.rest(ctx)
		}
	}
	if im.Purchases.Reader == nil {
		return nil
	}
	return im.flow(ctx, im.Purchases, alone(ahead(ctx, rest, newBuffer(im.ChunkCustomers))), func(*space) {})
}

// all yields the chunks that a channel holds.
func all(chunks <-chan joined) iter.Seq[joined] {
	return func(yield func(joined) bool) {
		for c := range chunks {
			if !yield(c) {
				return
			}
		}
	}
}

// alone makes chunks of purchases whose customers did not come up beside them.
func alone(calls <-chan call[PurchaseRow]) iter.Seq[joined] {
	return func(yield func(joined) bool) {
		for c := range calls {
			if !yield(purchasesAlone(&c)) {
				return
			}
		}
	}
}

// purchasesAlone makes a chunk of purchases. Those of one customer stand together.
func purchasesAlone(c *call[PurchaseRow]) joined {
	j := joined{lines: make([]int64, len(c.rows))}
	j.purchases = call[record.Purchase]{read: c.read, rejects: c.rejects, lost: c.lost, err: c.err, rows: make([]record.Purchase, len(c.rows))}
	for i := range c.rows {
		row := &c.rows[i]
		if i == 0 || row.ExternalID != c.rows[i-1].ExternalID {
			j.groups = append(j.groups, group{len(j.externals), i, i})
			j.externals = append(j.externals, row.ExternalID)
		}
		j.groups[len(j.groups)-1].to++
		j.purchases.rows[i], j.lines[i] = row.Purchase, row.Line
		if x, more := row.extra(); more {
			if j.extra == nil {
				j.extra = map[int64]extra{}
			}
			j.extra[row.Line] = x
		}
	}
	return j
}

// flow overlaps the chunks of an import: while the sink finishes one, it begins the next.
// What was begun is finished in order; after an error nothing more is, and nothing is
// being begun when flow returns. done is called for each chunk that nobody looks at any
// more.
func (im *importer) flow(ctx context.Context, in Input, chunks iter.Seq[joined], done func(*space)) error {
	ctx, cancel := context.WithCancel(ctx)
	type flight struct {
		c   joined
		l   landing
		err error
	}
	flights := make(chan flight)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(flights)
		for c := range chunks {
			f := flight{c: c}
			if im.to != nil {
				f.l, f.err = im.to.begin(ctx, &f.c)
			}
			select {
			case flights <- f:
			case <-ctx.Done():
				return
			}
			if f.err != nil {
				return
			}
		}
	})
	defer wg.Wait()
	defer cancel()
	for f := range flights {
		if f.err != nil {
			return interrupted(in, f.err)
		}
		if err := im.land(ctx, in, &f.c, f.l); err != nil {
			return err
		}
		done(f.c.memory)
	}
	if err := ctx.Err(); err != nil { // the chunks may have ended for that
		return interrupted(in, err)
	}
	return nil
}

// hashed is an id as fresh knows it.
func hashed(id string) uint64 { return maphash.String(seed, id) }

// land finishes a chunk and counts it.
func (im *importer) land(ctx context.Context, in Input, c *joined, l landing) error {
	customers, purchases := &im.report.Customers, &im.report.Purchases
	if err := note(im, im.Customers, customers, &c.customers); err != nil {
		return err
	}
	if err := note(im, im.Purchases, purchases, &c.purchases); err != nil {
		return err
	}
	defer im.progress(in)
	if im.to == nil {
		for i := range c.purchases.rows {
			im.sums.add(&c.purchases.rows[i])
		}
		return nil
	}
	if l == nil {
		return nil
	}
	of, bought, err := l.finish(ctx)
	if err != nil {
		err = interrupted(in, err)
	}
	if len(of) == len(c.customers.rows) {
		err = errors.Join(err, settle(im, im.Customers, customers, c.customers, of, im.customerOutcome))
	}
	if len(bought) == len(c.purchases.rows) {
		// Groups follow each other and cover the purchases: g is that of the i-th.
		g := 0
		err = errors.Join(err, settle(im, im.Purchases, purchases, c.purchases, bought, func(i int, p *record.Purchase, r Result) (outcome, error) {
			for i >= c.groups[g].to {
				g++
			}
			return im.purchaseOutcome(c, c.groups[g], i, p, r)
		}))
	}
	return err
}

// outcome is what became of one row, and where the row stood.
type outcome struct {
	Result
	line int64
	raw  string // the row as it was, if it is kept
}

// customerOutcome counts what else there is to know of a customer, and says what a
// rehearsal's answer for a repeated row means.
func (im *importer) customerOutcome(_ int, r *CustomerRow, res Result) (outcome, error) {
	out := outcome{res, r.Line, r.raw}
	if im.DryRun {
		if res.Outcome == New || res.Outcome == Withheld { // whose purchases a rehearsal takes for new
			im.fresh[hashed(r.id)] = true
		}
		if r.Again && res.Outcome != Rejected {
			out.Result = Result{Outcome: Unchanged}
			return out, nil
		}
	}
	if res.Outcome == Rejected || res.Outcome == Withheld {
		return out, nil
	}
	c := &im.report.Customers
	c.Cleared += int64(res.Cleared)
	for _, f := range res.Emptied.List() {
		c.Emptied[f.String()]++
	}
	for _, f := range res.Unfound.List() {
		u := c.Unfound[f.String()]
		if u.N++; u.N == 1 {
			u.First = r.Line
		}
		c.Unfound[f.String()] = u
		if err := im.rejects.write(im.Customers.Name, r.Line, Fault{f.String(), CodeUnfindable, "is kept, but no search can find the customer by it"}); err != nil {
			return out, err
		}
	}
	return out, im.dropped(im.Customers, c, r.Line, r.Notes.Dropped)
}

// purchaseOutcome does the same for a purchase.
func (im *importer) purchaseOutcome(c *joined, g group, i int, p *record.Purchase, res Result) (outcome, error) {
	line := c.lines[i]
	more := c.extra[line]
	if im.DryRun {
		if res.Outcome == Rejected && res.Reject != nil && res.Reject.Code == CodeNoCustomer && im.fresh[hashed(c.external(g))] {
			res = Result{Outcome: New} // the import would have made the customer before
		}
		if more.again && res.Outcome != Rejected {
			res = Result{Outcome: Unchanged}
		}
	}
	if res.Outcome != Rejected {
		im.sums.add(p)
	}
	return outcome{res, line, more.raw}, im.dropped(im.Purchases, &im.report.Purchases, line, more.dropped)
}

// dropped lists the fields of a row that were dropped.
func (im *importer) dropped(in Input, c *Counts, line int64, faults []Fault) error {
	for _, f := range faults {
		c.Dropped++
		if err := im.rejects.write(in.Name, line, Fault{f.Field, CodeDropped, "is dropped: it " + f.Reason}); err != nil {
			return err
		}
	}
	return nil
}

// Shrinks returns the fields that an import would empty for nearly all of the customers
// whom it finds: it is a column that the file forgot, and not one that they all lost.
func (r *Report) Shrinks() (fields []string) {
	c := &r.Customers
	matched := c.Updated + c.Unchanged
	for _, f := range slices.Sorted(maps.Keys(c.Emptied)) {
		if n := c.Emptied[f]; matched >= shrinkMatched && 100*n >= shrinkPercent*matched {
			fields = append(fields, f)
		}
	}
	return fields
}

const (
	// shrinkPercent is how many of the customers found must lose a field.
	shrinkPercent = 90
	// shrinkMatched is of how many customers that says something.
	shrinkMatched = 5
)

// interrupted says in which file the vault failed.
func interrupted(in Input, err error) error { return fmt.Errorf("importing %s: %w", in.Name, err) }

// note counts what was read before the rows of a call.
func note[T any](im *importer, in Input, counts *Counts, c *call[T]) error {
	counts.Read += c.read
	for i := range c.rejects {
		if err := im.reject(in, counts, &c.rejects[i]); err != nil {
			return err
		}
	}
	if c.err != nil {
		return im.stopped(in, c.err)
	}
	return nil
}

// settle counts what became of a call's rows: all of it, before a reject can end the
// import.
func settle[T any](im *importer, in Input, counts *Counts, c call[T], results []Result, of func(i int, row *T, r Result) (outcome, error)) error {
	var refused error
	for i, r := range results {
		o, err := of(i, &c.rows[i], r)
		results[i] = o.Result
		refused = errors.Join(refused, err, im.count(in, counts, &o))
	}
	for _, l := range c.lost {
		refused = errors.Join(refused, im.count(in, counts, &outcome{Result: results[l.to].ofLoser(l.differs), line: l.line}))
	}
	return refused
}

// stopped says that the file could not be read to its end.
func (im *importer) stopped(in Input, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("importing %s: %w", in.Name, err)
	}
	if of, bought := &im.report.Customers, &im.report.Purchases; of.New+of.Updated+bought.New+bought.Updated == 0 {
		return fmt.Errorf("importing %s: %w (nothing was imported)", in.Name, err)
	}
	return fmt.Errorf("importing %s: %w (rows already imported stay; fix the file and import it again)", in.Name, err)
}

// ofLoser is the result of a row that a later row of the chunk replaced.
func (r Result) ofLoser(differs bool) Result {
	switch {
	case r.Outcome == Rejected:
		return r
	case differs:
		return Result{Outcome: Superseded}
	}
	return Result{Outcome: Unchanged}
}

func (im *importer) count(in Input, c *Counts, o *outcome) error {
	switch o.Outcome {
	case New:
		c.New++
	case Updated:
		c.Updated++
	case Unchanged:
		c.Unchanged++
	case Withheld:
		c.Withheld++
	case Accepted:
		c.Accepted++
	case Superseded:
		c.Superseded++
	default:
		rej := Reject{Code: CodeBadRow, Reason: "was refused"}
		if o.Reject != nil {
			rej = *o.Reject
		}
		rej.Line, rej.raw = o.line, o.raw
		return im.reject(in, c, &rej)
	}
	return nil
}

func (im *importer) reject(in Input, c *Counts, r *Reject) error {
	if r.Code == CodeAnonymous {
		if c.Anonymous.N++; c.Anonymous.N == 1 {
			c.Anonymous.First = r.Line
		}
		return nil
	}
	c.Rejected++
	c.RejectedBy[r.Code]++
	for _, f := range r.Faults() {
		if err := im.rejects.write(in.Name, r.Line, f); err != nil {
			return err
		}
	}
	if out := im.refused[c]; out != nil {
		if written, err := out.write(r); err != nil {
			return err
		} else if !written {
			c.Unwritten++
		}
	}
	if im.MaxRejects >= 0 && im.report.Rejected() > int64(im.MaxRejects) {
		return fmt.Errorf("importing %s: %w: %d rows rejected, the limit is %d (--max-rejects). Rows already imported stay; fix the file and import it again", in.Name, ErrTooManyRejects, im.report.Rejected(), im.MaxRejects)
	}
	return nil
}

func (im *importer) progress(in Input) {
	if im.Progress == nil || in.Reader == nil {
		return
	}
	c := im.report.Customers
	if in.Reader == im.Purchases.Reader {
		c = im.report.Purchases
	}
	c.RejectedBy, c.Emptied, c.Unfound = nil, nil, nil
	im.Progress(Progress{Input: in.Name, Counts: c, Bytes: in.Reader.Offset(), Size: in.Reader.Size})
}
