package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
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
)

// Result is a sink's answer for one row. A Rejected one has a Reject, whose line Run
// fills in.
type Result struct {
	Outcome Outcome
	Reject  *Reject
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
	// Rejects takes the refused rows as CSV: file, line, field, code, reason. It
	// gets nothing, no header either, while no row is refused.
	Rejects io.Writer
	// MaxRejects is the limit of rejected rows; negative: none.
	MaxRejects int
	// DryRun reads and checks every row and hands none to the sink, which may be nil.
	// Whether a row is new is not known then, nor whether a purchase has a customer.
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

// Counts counts rows. Once an input is read to its end, Read is the sum of the other
// four; on a dry run, rows that would go to the sink are in Read alone.
type Counts struct {
	Read, New, Updated, Unchanged, Rejected int64
	RejectedBy                              map[string]int64 // by code
}

// Report is what an import did.
type Report struct {
	Customers, Purchases Counts
	// Amounts sums the purchases that were not rejected, by currency, exactly.
	Amounts map[string]string
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
	im := &importer{Options: o, to: to, rejects: newRejects(o.Rejects), sums: newSums()}
	im.report.Customers.RejectedBy = map[string]int64{}
	im.report.Purchases.RejectedBy = map[string]int64{}
	err := im.bring(ctx, direct)
	err = errors.Join(err, im.rejects.flush())
	im.report.Amounts = im.sums.texts()
	return im.report, err
}

// importer is one run.
type importer struct {
	Options
	to      Sink
	report  Report
	rejects *rejects
	sums    *sums
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
			}
			if !yield(j) {
				return
			}
		}
	}
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
			if !im.DryRun {
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
	if im.DryRun {
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
		err = errors.Join(err, settle(im, im.Customers, customers, c.customers, of, func(i int) int64 { return c.customers.rows[i].Line }, func(*CustomerRow) {}))
	}
	if len(bought) == len(c.purchases.rows) {
		err = errors.Join(err, settle(im, im.Purchases, purchases, c.purchases, bought, func(i int) int64 { return c.lines[i] }, im.sums.add))
	}
	return err
}

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
		return stopped(in, c.err)
	}
	return nil
}

// settle counts what became of a call's rows: all of it, before a reject can end the
// import. line says where the i-th row stood; taken is told of each that was not rejected.
func settle[T any](im *importer, in Input, counts *Counts, c call[T], results []Result, line func(i int) int64, taken func(*T)) error {
	var refused error
	for i, r := range results {
		refused = errors.Join(refused, im.count(in, counts, line(i), r))
		if r.Outcome != Rejected {
			taken(&c.rows[i])
		}
	}
	for _, l := range c.lost {
		refused = errors.Join(refused, im.count(in, counts, l.line, results[l.to].ofLoser()))
	}
	return refused
}

// stopped says that the file could not be read to its end.
func stopped(in Input, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("importing %s: %w", in.Name, err)
	}
	return fmt.Errorf("importing %s: %w (rows already imported stay; fix the file and import it again)", in.Name, err)
}

// ofLoser is the result of a row that a later row of the chunk replaced.
func (r Result) ofLoser() Result {
	if r.Outcome == Rejected {
		return r
	}
	return Result{Outcome: Unchanged}
}

func (im *importer) count(in Input, c *Counts, line int64, r Result) error {
	switch r.Outcome {
	case New:
		c.New++
	case Updated:
		c.Updated++
	case Unchanged:
		c.Unchanged++
	default:
		rej := Reject{Code: CodeBadRow, Reason: "was refused"}
		if r.Reject != nil {
			rej = *r.Reject
		}
		rej.Line = line
		return im.reject(in, c, &rej)
	}
	return nil
}

func (im *importer) reject(in Input, c *Counts, r *Reject) error {
	c.Rejected++
	c.RejectedBy[r.Code]++
	if err := im.rejects.write(in.Name, r); err != nil {
		return err
	}
	if im.MaxRejects >= 0 && im.report.Rejected() > int64(im.MaxRejects) {
		return fmt.Errorf("importing %s: %w: %d rows rejected, the limit is %d (--max-rejects). Rows already imported stay; fix the file and import it again", in.Name, ErrTooManyRejects, im.report.Rejected(), im.MaxRejects)
	}
	return nil
}

func (im *importer) progress(in Input) {
	if im.Progress == nil {
		return
	}
	c := im.report.Customers
	if in.Reader == im.Purchases.Reader {
		c = im.report.Purchases
	}
	c.RejectedBy = nil
	im.Progress(Progress{Input: in.Name, Counts: c, Bytes: in.Reader.Offset(), Size: in.Reader.Size})
}
