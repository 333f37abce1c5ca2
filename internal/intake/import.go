package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"

	"github.com/cloakroom/cloakroom/internal/record"
)

const (
	// DefaultChunk is how many customers go to the sink at once: enough that one
	// entry in the log and one transaction cost little per customer.
	DefaultChunk = 2000
	// MaxChunk is the most customers of one entry in the log.
	MaxChunk = 20_000

	// batchRows is how many rows pass from the parser at once; batchesAhead how far
	// it may run ahead while the sink works.
	batchRows    = 256
	batchesAhead = 8
)

// ErrTooManyRejects ends an import whose file has more bad rows than the caller
// bears.
var ErrTooManyRejects = errors.New("too many rows were rejected")

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
	// 0 means DefaultChunk.
	ChunkCustomers int
	// Rejects takes the refused rows as CSV: file, line, field, code, reason. It
	// gets nothing, no header either, while no row is refused.
	Rejects io.Writer
	// MaxRejects is how many refused rows are borne; a negative number: any.
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
	if o.ChunkCustomers == 0 {
		o.ChunkCustomers = DefaultChunk
	}
	if o.ChunkCustomers < 0 || o.ChunkCustomers > MaxChunk {
		return Report{}, fmt.Errorf("importing: a chunk must be 1 to %d customers", MaxChunk)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the parser
	im := &importer{Options: o, sink: sink, rejects: newRejects(o.Rejects)}
	im.report.Customers.RejectedBy = map[string]int64{}
	im.report.Purchases.RejectedBy = map[string]int64{}
	err := im.customers(ctx)
	if err == nil {
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
	sums    sums
}

func (im *importer) customers(ctx context.Context) error {
	in, counts := im.Customers, &im.report.Customers
	if in.Reader == nil {
		return nil
	}
	chunk := newChunk(im.ChunkCustomers)
	flush := func() error {
		if len(chunk.rows) == 0 || im.DryRun {
			chunk.reset()
			return nil
		}
		results, err := im.sink.Customers(ctx, chunk.rows)
		if err == nil {
			err = answered(len(results), len(chunk.rows))
		}
		if err != nil {
			return fmt.Errorf("importing %s: %w", in.Name, err)
		}
		for i, r := range results {
			if err := im.count(in, counts, chunk.rows[i].Line, r); err != nil {
				return err
			}
		}
		for _, l := range chunk.lost {
			if err := im.count(in, counts, l.line, results[l.to].ofLoser()); err != nil {
				return err
			}
		}
		chunk.reset()
		return nil
	}
	for b := range ahead(ctx, Customers(ctx, in.Reader)) {
		for i := range b.rows {
			row := &b.rows[i]
			counts.Read++
			if row.Reject != nil {
				if err := im.reject(in, counts, row.Reject); err != nil {
					return err
				}
				continue
			}
			if chunk.add(row); chunk.full() {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if b.err != nil {
			return im.stopped(in, b.err)
		}
		im.progress(in, counts)
	}
	if err := flush(); err != nil {
		return err
	}
	im.progress(in, counts)
	return nil
}

func (im *importer) purchases(ctx context.Context) error {
	in, counts := im.Purchases, &im.report.Purchases
	if in.Reader == nil {
		return nil
	}
	buf := newBuffer(im.ChunkCustomers)
	give := func(rows []PurchaseRow, lost []loser) error {
		results, err := im.sink.Purchases(ctx, rows)
		if err == nil {
			err = answered(len(results), len(rows))
		}
		if err != nil {
			return fmt.Errorf("importing %s: %w", in.Name, err)
		}
		for i, r := range results {
			if err := im.count(in, counts, rows[i].Line, r); err != nil {
				return err
			}
			if r.Outcome != Rejected {
				im.sums.add(rows[i].Purchase)
			}
		}
		for _, l := range lost {
			if err := im.count(in, counts, l.line, results[l.to].ofLoser()); err != nil {
				return err
			}
		}
		im.progress(in, counts)
		return nil
	}
	if im.DryRun {
		give = func(rows []PurchaseRow, _ []loser) error {
			for i := range rows {
				im.sums.add(rows[i].Purchase)
			}
			return nil
		}
	}
	for b := range ahead(ctx, Purchases(ctx, in.Reader)) {
		for i := range b.rows {
			row := &b.rows[i]
			counts.Read++
			if row.Reject != nil {
				if err := im.reject(in, counts, row.Reject); err != nil {
					return err
				}
				continue
			}
			if buf.add(row); buf.full() {
				if err := buf.flush(give); err != nil {
					return err
				}
			}
		}
		if b.err != nil {
			return im.stopped(in, b.err)
		}
		im.progress(in, counts)
	}
	return buf.flush(give)
}

// stopped says that the file could not be read to its end.
func (im *importer) stopped(in Input, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("importing %s: %w", in.Name, err)
	}
	return fmt.Errorf("importing %s: %w (rows that went in before stay; import the file again when it is mended)", in.Name, err)
}

// answered guards against a sink that loses rows: counts would be wrong silently.
func answered(results, rows int) error {
	if results != rows {
		return fmt.Errorf("the sink answered for %d of %d rows", results, rows)
	}
	return nil
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
		return fmt.Errorf("importing %s: %w: %d, and %d are borne. What went in before stays; correct the rejected rows and import the whole file again", in.Name, ErrTooManyRejects, im.report.Rejected(), im.MaxRejects)
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

// batch is rows in order, and the error that ended reading after them.
type batch[T any] struct {
	rows []T
	err  error
}

// ahead parses in a goroutine of its own, a bounded way ahead of the receiver. The
// goroutine ends with the rows or with the context.
func ahead[T any](ctx context.Context, rows iter.Seq2[T, error]) <-chan batch[T] {
	out := make(chan batch[T], batchesAhead)
	go func() {
		defer close(out)
		b := batch[T]{}
		send := func() bool {
			select {
			case out <- b:
				b = batch[T]{}
				return true
			case <-ctx.Done():
				return false
			}
		}
		for row, err := range rows {
			if err != nil {
				b.err = err
				break
			}
			if b.rows = append(b.rows, row); len(b.rows) == batchRows && !send() {
				return
			}
		}
		send()
	}()
	return out
}

// loser is a row of which a later row of the same chunk took the place.
type loser struct {
	line int64
	to   int // index of the row that won
}

// chunk gathers customers, each external id once.
type chunk struct {
	size int
	rows []CustomerRow
	at   map[string]int // by normal form of the external id
	lost []loser
}

func newChunk(size int) *chunk { return &chunk{size: size, at: make(map[string]int, size)} }

func (c *chunk) full() bool { return len(c.rows)+len(c.lost) >= c.size }

func (c *chunk) reset() {
	clear(c.rows) // the values are not held until the next chunk is full
	c.rows, c.lost = c.rows[:0], c.lost[:0]
	clear(c.at)
}

// add takes a row in, or lays it over an earlier one of the same customer.
func (c *chunk) add(row *CustomerRow) {
	id, err := record.NormalExternalID(row.Customer.Get(record.ExternalID))
	if err != nil {
		id = row.Customer.Get(record.ExternalID) // its check saw to it that there is one
	}
	i, there := c.at[id]
	if !there {
		c.at[id] = len(c.rows)
		c.rows = append(c.rows, *row)
		return
	}
	won := &c.rows[i]
	c.lost = append(c.lost, loser{won.Line, i})
	won.Line = row.Line
	for _, f := range row.Set.List() {
		if f == record.Attributes {
			won.Customer.Attributes = maps.Clone(row.Customer.Attributes)
			continue
		}
		won.Customer.Set(f, row.Customer.Get(f))
	}
	won.Set |= row.Set
}
