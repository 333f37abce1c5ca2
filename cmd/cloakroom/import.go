package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
)

// importCmd is `cloakroom import`.
type importCmd struct {
	forBrand
	Customers  string `help:"File of customers: CSV or JSON lines, plain, gzip or zstd; - reads standard input." placeholder:"FILE"`
	Purchases  string `help:"File of purchases, in the same formats." placeholder:"FILE"`
	Mapping    string `help:"YAML or JSON file of \"foreign column: our column\"." type:"existingfile" placeholder:"FILE"`
	Rejects    string `help:"File for rejected rows: file, line, field, code, reason." default:"rejects.csv" placeholder:"FILE"`
	Tokens     string `help:"File for external_id,token of every imported customer, for applications to store instead of the customer." placeholder:"FILE"`
	MaxRejects int    `help:"Limit of rejected rows; -1: no limit." default:"-1" placeholder:"N"`
	DryRun     bool   `help:"Read and check every row; write nothing."`
}

// Help is the long help text.
func (importCmd) Help() string {
	return `Creates or updates customers by external_id and purchases by purchase_id. Repeat an
interrupted import: existing rows count as unchanged.

Rejected rows are listed in the file of rejects with line, field and reason, never with
their value. All other rows are imported.

  cloakroom import --brand gucci --customers customers.csv --purchases purchases.csv

EXIT STATUS: 0 all rows imported, 1 failed, 2 wrong command line, 3 some rows were
rejected, 130 interrupted.`
}

// exitRejected is the exit code of an import that refused rows.
const exitRejected = 3

// rejectedError ends an import that refused rows.
type rejectedError struct {
	n    int64
	file string
}

// Error says how many and where to look.
func (e *rejectedError) Error() string {
	return fmt.Sprintf("%d rows were rejected: see %s", e.n, e.file)
}

// imported is the answer to --json.
type imported struct {
	Brand     string            `json:"brand"`
	DryRun    bool              `json:"dry_run,omitempty"`
	Customers importedCounts    `json:"customers"`
	Purchases importedCounts    `json:"purchases"`
	Amounts   map[string]string `json:"amounts"`
	Rejects   string            `json:"rejects_file,omitempty"`
	Error     string            `json:"error,omitempty"`
}

type importedCounts struct {
	Read       int64            `json:"read"`
	New        int64            `json:"new"`
	Updated    int64            `json:"updated"`
	Unchanged  int64            `json:"unchanged"`
	Rejected   int64            `json:"rejected"`
	RejectedBy map[string]int64 `json:"rejected_by"`
}

// Run imports.
func (c *importCmd) Run(ctx context.Context, std Streams) (err error) {
	if c.Customers == "" && c.Purchases == "" {
		return &usageError{"name a file: --customers, --purchases or both"}
	}
	if c.Customers == "-" && c.Purchases == "-" {
		return &usageError{"standard input can be one of the files only"}
	}
	var m intake.Mapping
	if c.Mapping != "" {
		text, err := os.ReadFile(c.Mapping)
		if err != nil {
			return fmt.Errorf("reading the mapping: %w", err)
		}
		if m, err = intake.ParseMapping(text); err != nil {
			return err
		}
	}
	o := intake.Options{MaxRejects: c.MaxRejects, DryRun: c.DryRun, Progress: progress(std)}
	for _, f := range []struct {
		name string
		into *intake.Input
	}{{c.Customers, &o.Customers}, {c.Purchases, &o.Purchases}} {
		if f.name == "" {
			continue
		}
		r, err := intake.Open(f.name, std.In, m)
		if err != nil {
			return err
		}
		defer r.Close()
		*f.into = intake.Input{Name: f.name, Reader: r}
	}
	rejects := &lazyFile{path: c.Rejects}
	o.Rejects = rejects
	defer func() { err = errors.Join(err, rejects.close()) }()
	tokens := &lazyFile{path: c.Tokens}
	defer func() { err = errors.Join(err, tokens.close()) }()
	var report intake.Report
	if c.DryRun {
		report, err = intake.Run(ctx, nil, o)
	} else {
		err = c.with(ctx, std, func(v *connection) (err error) {
			to, err := c.sink(ctx, v, csv.NewWriter(tokens))
			if err != nil {
				return err
			}
			if err := c.own(ctx, v, o.Customers.Reader, o.Purchases.Reader); err != nil {
				return err
			}
			report, err = intake.Run(ctx, to, o)
			return err
		})
	}
	if std.Terminal {
		fmt.Fprint(std.Err, "\r\x1b[K")
	}
	out := imported{Brand: c.Brand, DryRun: c.DryRun, Customers: counts(report.Customers), Purchases: counts(report.Purchases), Amounts: report.Amounts}
	if rejects.file != nil {
		out.Rejects = c.Rejects
	}
	if err != nil {
		out.Error = err.Error()
	}
	perr := c.print(std, out, func(w io.Writer) {
		for _, l := range []struct {
			what string
			n    importedCounts
		}{{"customers", out.Customers}, {"purchases", out.Purchases}} {
			if l.n.Read > 0 {
				fmt.Fprintf(w, "%s: %d read, %d new, %d updated, %d unchanged, %d rejected\n", l.what, l.n.Read, l.n.New, l.n.Updated, l.n.Unchanged, l.n.Rejected)
				for _, code := range slices.Sorted(maps.Keys(l.n.RejectedBy)) {
					fmt.Fprintf(w, "  %s: %d\n", code, l.n.RejectedBy[code])
				}
			}
		}
	})
	if err = errors.Join(err, perr); err == nil && report.Rejected() > 0 {
		err = &rejectedError{report.Rejected(), c.Rejects}
	}
	return err
}

// own tells the readers which numbers are the brand's own, and no payment cards.
func (c *importCmd) own(ctx context.Context, v *connection, readers ...*intake.Reader) error {
	l, err := v.LoyaltyPrefixes(ctx, c.Brand)
	if err != nil {
		return err
	}
	if len(l.Prefixes) == 0 {
		return nil
	}
	for _, r := range readers {
		if r != nil {
			r.Own = cards.NewOwn(l.Prefixes, l.Fields)
		}
	}
	return nil
}

// sink takes the short way where this process has the vault, and the API elsewhere.
func (c *importCmd) sink(ctx context.Context, v *connection, tokens *csv.Writer) (intake.Sink, error) {
	if v.vault == nil {
		return intake.Rows(&sink{v.Client, c.Brand, tokens, c.Tokens != ""}), nil
	}
	caller, err := v.caller(ctx)
	if err != nil {
		return nil, err
	}
	d := &intake.Direct{Desk: v.vault.Intake, Caller: caller, Brand: c.Brand}
	if c.Tokens != "" {
		d.Tokens = func(externalID, token string) error {
			tokens.Write([]string{externalID, token})
			tokens.Flush()
			if err := tokens.Error(); err != nil {
				return fmt.Errorf("writing the tokens: %w", err)
			}
			return nil
		}
	}
	return d, nil
}

func counts(c intake.Counts) importedCounts {
	by := c.RejectedBy
	if by == nil {
		by = map[string]int64{}
	}
	return importedCounts{c.Read, c.New, c.Updated, c.Unchanged, c.Rejected, by}
}

// progress draws rate and time left, a few times a second.
func progress(std Streams) func(intake.Progress) {
	if !std.Terminal {
		return nil
	}
	started, drawn, input := time.Now(), time.Time{}, ""
	return func(p intake.Progress) {
		if p.Input != input {
			started, input = time.Now(), p.Input
		}
		if time.Since(drawn) < 200*time.Millisecond {
			return
		}
		drawn = time.Now()
		took := time.Since(started)
		fmt.Fprintf(std.Err, "\r\x1b[K%s: %d rows, %.0f/s", p.Input, p.Counts.Read, float64(p.Counts.Read)/took.Seconds())
		if p.Size > 0 && p.Bytes > 0 {
			left := time.Duration(float64(took) * float64(p.Size-p.Bytes) / float64(p.Bytes))
			fmt.Fprintf(std.Err, ", %d%%, %s left", 100*p.Bytes/p.Size, left.Round(time.Second))
		}
	}
}

// lazyFile is made when it is first written to: no rejects, no file. Customer numbers
// may stand in it: its mode is 0600.
type lazyFile struct {
	path string
	file *os.File
}

func (l *lazyFile) Write(b []byte) (int, error) {
	if l.file == nil {
		f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return 0, fmt.Errorf("making a file: %w", err)
		}
		l.file = f
	}
	return l.file.Write(b)
}

func (l *lazyFile) close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// sink hands rows to the vault's API: it is an intake.Taker.
type sink struct {
	client *client.Client
	brand  string
	tokens *csv.Writer
	keep   bool // tokens
}

// Customers implements intake.Taker.
func (s *sink) Customers(ctx context.Context, rows []intake.CustomerRow) ([]intake.Result, error) {
	req := api.PutRequest{Customers: make([]api.Fields, len(rows))}
	for i := range rows {
		req.Customers[i] = fieldsOf(&rows[i].Customer, rows[i].Set)
	}
	w, err := s.client.Put(ctx, s.brand, req)
	if err != nil {
		return nil, err
	}
	if s.keep {
		for i, r := range w.Results {
			if r.Token != "" {
				s.tokens.Write([]string{req.Customers[i][record.ExternalID.String()], r.Token})
			}
		}
		s.tokens.Flush()
		if err := s.tokens.Error(); err != nil {
			return nil, fmt.Errorf("writing the tokens: %w", err)
		}
	}
	return results(w.Results), nil
}

func fieldsOf(c *record.Customer, set record.FieldSet) api.Fields {
	out := api.Fields{}
	for f := record.Field(0); f < record.NumColumns; f++ {
		if set.Has(f) {
			out[f.String()] = c.Get(f)
		}
	}
	if set.Has(record.Attributes) && len(c.Attributes) == 0 {
		out[record.Attributes.String()] = ""
	}
	for name, v := range c.Attributes {
		out["attr."+name] = v
	}
	return out
}

// Purchases implements intake.Taker. Those of one customer stand together.
func (s *sink) Purchases(ctx context.Context, rows []intake.PurchaseRow) ([]intake.Result, error) {
	var req api.PurchasesRequest
	for i := range rows {
		last := len(req.Customers) - 1
		if last < 0 || req.Customers[last].ExternalID != rows[i].ExternalID {
			req.Customers = append(req.Customers, api.CustomerPurchases{ExternalID: rows[i].ExternalID})
			last++
		}
		req.Customers[last].Purchases = append(req.Customers[last].Purchases, purchaseOf(&rows[i].Purchase))
	}
	w, err := s.client.AddPurchases(ctx, s.brand, req)
	if err != nil {
		return nil, err
	}
	var out []intake.Result
	for i, r := range w.Results {
		if r.Reject != nil {
			for range req.Customers[i].Purchases {
				out = append(out, results([]api.WriteResult{r})...)
			}
			continue
		}
		out = append(out, results(r.Purchases)...)
	}
	return out, nil
}

func purchaseOf(p *record.Purchase) api.Purchase {
	return api.Purchase{
		ID: p.ID, At: p.At.UTC().Format(time.RFC3339Nano), SKU: p.SKU, Description: p.Description, Quantity: p.Quantity,
		Amount: p.Amount.String(), Currency: p.Currency, Store: p.Store, Channel: p.Channel,
	}
}

func results(list []api.WriteResult) []intake.Result {
	outcomes := map[string]intake.Outcome{"new": intake.New, "updated": intake.Updated, "unchanged": intake.Unchanged, "rejected": intake.Rejected}
	out := make([]intake.Result, len(list))
	for i, r := range list {
		out[i].Outcome = outcomes[r.Outcome]
		if r.Reject != nil {
			out[i].Reject = &intake.Reject{Field: r.Reject.Field, Code: r.Reject.Code, Reason: r.Reject.Reason}
		}
	}
	return out
}
