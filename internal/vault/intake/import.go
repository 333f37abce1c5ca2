package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
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

// Sink takes rows in. It answers for each row, in order; after an error Run stops,
// and the whole chunk counts as not taken. Neither method may keep the rows.
type Sink interface {
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

// Run imports the customers and then the purchases. The report is right after an
// error too: what it counts as new or updated is kept, and the same import run again
// goes on from there. After an error a read of the input may still be under way:
// close what it reads from.
func Run(ctx context.Context, sink Sink, o Options) (Report, error) {
	direct, _ := sink.(*Direct)
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
	defer cancel() // ends the parser
	im := &importer{Options: o, sink: sink, rejects: newRejects(o.Rejects), sums: newSums()}
	im.report.Customers.RejectedBy = map[string]int64{}
	im.report.Purchases.RejectedBy = map[string]int64{}
	var err error
	if direct != nil && !o.DryRun {
		err = im.direct(ctx, direct)
	} else if err = im.customers(ctx); err == nil {
		err = im.purchases(ctx)
	}
	err = errors.Join(err, im.rejects.flush())
	im.report.Amounts = im.sums.texts()
	return im.report, err
}

// importer is one run.
type importer struct {
	Options
	sink    Sink
	report  Report
	rejects *rejects
	sums    *sums
}

func (im *importer) customers(ctx context.Context) error {
	if im.Customers.Reader == nil {
		return nil
	}
	k := im.customerKind()
	k.calls = ahead(ctx, Customers(ctx, im.Customers.Reader), newChunk(im.ChunkCustomers), func(r *CustomerRow) *Reject { return r.Reject })
	return run(ctx, im, im.Customers, &im.report.Customers, k)
}

func (im *importer) customerKind() kind[CustomerRow] {
	return kind[CustomerRow]{
		sink:  func(ctx context.Context, rows []CustomerRow) ([]Result, error) { return im.sink.Customers(ctx, rows) },
		line:  func(_ int, r *CustomerRow) int64 { return r.Line },
		taken: func(*CustomerRow) {},
	}
}

func (im *importer) purchases(ctx context.Context) error {
	if im.Purchases.Reader == nil {
		return nil
	}
	k := im.purchaseKind()
	k.calls = im.purchaseCalls(ctx, Purchases(ctx, im.Purchases.Reader))
	return run(ctx, im, im.Purchases, &im.report.Purchases, k)
}

func (im *importer) purchaseCalls(ctx context.Context, rows iter.Seq2[PurchaseRow, error]) <-chan call[PurchaseRow] {
	return ahead(ctx, rows, newBuffer(im.ChunkCustomers), func(r *PurchaseRow) *Reject { return r.Reject })
}

func (im *importer) purchaseKind() kind[PurchaseRow] {
	return kind[PurchaseRow]{
		sink:  func(ctx context.Context, rows []PurchaseRow) ([]Result, error) { return im.sink.Purchases(ctx, rows) },
		line:  func(_ int, r *PurchaseRow) int64 { return r.Line },
		taken: func(r *PurchaseRow) { im.sums.add(&r.Purchase) },
	}
}

// kind is what differs between customers and purchases.
type kind[T any] struct {
	calls <-chan call[T]
	sink  func(context.Context, []T) ([]Result, error)
	line  func(i int, row *T) int64 // of the i-th row of a call
	taken func(*T)                  // is told of each row that was not rejected
}

// run hands the calls of one input to the sink and counts what it answers.
func run[T any](ctx context.Context, im *importer, in Input, counts *Counts, k kind[T]) error {
	for c := range k.calls {
		if err := note(im, in, counts, &c); err != nil {
			return err
		}
		if err := give(ctx, im, in, counts, k, c); err != nil {
			return err
		}
		im.progress(in, counts)
	}
	if err := ctx.Err(); err != nil { // the calls may have ended for that
		return stopped(in, err)
	}
	return nil
}

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

func give[T any](ctx context.Context, im *importer, in Input, counts *Counts, k kind[T], c call[T]) error {
	if len(c.rows) == 0 {
		return nil
	}
	if im.DryRun {
		for i := range c.rows {
			k.taken(&c.rows[i])
		}
		return nil
	}
	results, err := k.sink(ctx, c.rows)
	if err == nil && len(results) != len(c.rows) {
		err = fmt.Errorf("the sink answered for %d of %d rows", len(results), len(c.rows))
	}
	if err != nil {
		return fmt.Errorf("importing %s: %w", in.Name, err)
	}
	return settle(im, in, counts, k, c, results)
}

// settle counts what became of a call's rows: all of it, before a reject can end the
// import.
func settle[T any](im *importer, in Input, counts *Counts, k kind[T], c call[T], results []Result) error {
	var refused error
	for i, r := range results {
		refused = errors.Join(refused, im.count(in, counts, k.line(i, &c.rows[i]), r))
		if r.Outcome != Rejected {
			k.taken(&c.rows[i])
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

func (im *importer) progress(in Input, c *Counts) {
	if im.Progress == nil {
		return
	}
	p := Progress{Input: in.Name, Counts: *c, Bytes: in.Reader.Offset(), Size: in.Reader.Size}
	p.Counts.RejectedBy = nil
	im.Progress(p)
}
