package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/respond/claim"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
)

// claimCmd answers whether a list that somebody claims to have is ours.
type claimCmd struct {
	Check    claimCheckCmd    `cmd:"" help:"Hold a sample against the customers: is it ours, when was it taken, and from which disclosure."`
	List     claimListCmd     `cmd:"" help:"List claims, newest first."`
	Show     claimShowCmd     `cmd:"" help:"Show the answer to a claim again, also as a page to print."`
	Simulate claimSimulateCmd `cmd:"" help:"Make a leak of an export, for practice."`
}

type claimCheckCmd struct {
	forBrand
	Sample   string   `arg:"" help:"The sample: CSV with any delimiter, JSON, a dump in SQL, or text with addresses in it." type:"existingfile" placeholder:"FILE"`
	Of       []string `help:"With --brand group: the brands (default: all)." placeholder:"BRAND"`
	Incident string   `help:"Incident that the answer is kept with." placeholder:"N"`
	Exact    bool     `help:"Figures as they are. It takes a second person; so does a sample of more than 1,000 rows."`
	DryRun   bool     `help:"Show how the sample is read, and ask nothing."`
	HTML     string   `help:"Write the answer as a page to print." type:"path" placeholder:"FILE" name:"html"`
	Ticket   string   `help:"Case number." placeholder:"TEXT"`
}

// Help is the long help text.
func (claimCheckCmd) Help() string {
	return `Says which rows are customers, which are not, and which were altered; when the list was
taken; and which disclosures explain it, with how sure that is. The sample is sent to the
vault, and kept nowhere: its digest and the answer are entries of the log.

Every row counts against the budget of claims, found or not, before any is looked up. A
sample of more than 1,000 rows, and exact figures, take a second person: when they have
approved, give the same command again. Without, figures are rounded and shifted, so that
they reveal of no single person whether they are a customer.

Needs the right to respond.`
}

// sampleSeen is how a sample is read, for the dry run.
type sampleSeen struct {
	Digest string        `json:"digest"`
	Read   api.ClaimRead `json:"read"`
}

// look reads the sample once: its rows and digest are announced before it is sent.
func (c *claimCheckCmd) look(ctx context.Context, std Streams) (*sampleSeen, error) {
	f, err := os.Open(c.Sample)
	if err != nil {
		return nil, fmt.Errorf("reading the sample: %w", err)
	}
	defer f.Close()
	size := int64(0)
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	h := sha256.New()
	counted := &countedReader{in: io.TeeReader(f, h)}
	s, err := intake.OpenSample(counted)
	if err != nil {
		return nil, err
	}
	show := progress(std)
	out := &sampleSeen{}
	r := &out.Read
	for {
		row, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if row.Card {
			r.Cards++
		}
		if r.Rows++; r.Rows%progressEvery != 0 {
			continue
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if show != nil {
			show(intake.Progress{Input: "reading", Size: size, Bytes: counted.n, Counts: intake.Counts{Read: int64(r.Rows)}})
		}
	}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return nil, fmt.Errorf("reading the sample: %w", err)
	}
	if show != nil {
		fmt.Fprint(std.Err, "\r\x1b[K")
	}
	out.Digest = hex.EncodeToString(h.Sum(nil))
	r.Format, r.Encoding, r.Delimiter, r.Header, r.Unreadable = s.Shape.Format, s.Shape.Encoding, s.Shape.Delimiter, s.Shape.Header, s.Unreadable
	r.Columns = []api.ClaimColumn{}
	for _, x := range s.Shape.Columns {
		if x.Field == "" {
			x.From = ""
		}
		r.Columns = append(r.Columns, api.ClaimColumn{At: x.At, Field: x.Field, From: x.From})
	}
	return out, nil
}

// countedReader counts what is read, and shows it where somebody looks.
type countedReader struct {
	in   io.Reader
	n    int64
	show func(n int64)
}

// Read implements io.Reader.
func (r *countedReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	r.n += int64(n)
	if r.show != nil {
		r.show(r.n)
	}
	return n, err
}

// Run checks the sample.
func (c *claimCheckCmd) Run(ctx context.Context, std Streams) error {
	seen, err := c.look(ctx, std)
	if err != nil {
		return err
	}
	if c.DryRun {
		return c.print(std, seen, func(w io.Writer) {
			printClaimRead(w, &seen.Read)
			fmt.Fprintf(w, "SHA-256 %s\nNothing was asked.\n", seen.Digest)
		})
	}
	req := client.ClaimQuery{Rows: seen.Read.Rows, Digest: seen.Digest, Of: c.Of, Incident: c.Incident, Exact: c.Exact, Ticket: c.Ticket}
	call := func(v *connection) (*api.Claim, error) {
		f, err := os.Open(c.Sample)
		if err != nil {
			return nil, fmt.Errorf("reading the sample: %w", err)
		}
		defer f.Close()
		body := &countedReader{in: f}
		if show := progress(std); show != nil {
			size := int64(0)
			if info, err := f.Stat(); err == nil {
				size = info.Size()
			}
			body.show = func(n int64) {
				rows := int64(float64(seen.Read.Rows) * float64(n) / float64(max(size, 1)))
				show(intake.Progress{Input: "checking", Size: size, Bytes: n, Counts: intake.Counts{Read: rows}})
			}
			defer fmt.Fprint(std.Err, "\r\x1b[K")
		}
		x, err := v.CheckClaim(ctx, c.Brand, req, body)
		if err != nil || c.HTML == "" {
			return x, err
		}
		return x, writeClaimPage(c.HTML, x)
	}
	return ask(ctx, std, &c.remote, call, printClaim)
}

func writeClaimPage(path string, x *api.Claim) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	if err := claim.Page(f, x); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func printClaimRead(w io.Writer, r *api.ClaimRead) {
	fmt.Fprintf(w, "read as %s, %s", r.Format, r.Encoding)
	if r.Delimiter != "" {
		fmt.Fprintf(w, ", parted by %s", r.Delimiter)
		if !r.Header {
			fmt.Fprint(w, ", without names of columns")
		}
	}
	fmt.Fprintf(w, ": %d rows, %d not readable\n", r.Rows, r.Unreadable)
	for _, c := range r.Columns {
		if c.Field != "" {
			fmt.Fprintf(w, "  column %d: %s (by its %s)\n", c.At, c.Field, map[string]string{"name": "name", "values": "values"}[c.From])
		}
	}
	if r.Cards > 0 {
		fmt.Fprintf(w, "  %d rows have a payment card number. The vault keeps none.\n", r.Cards)
	}
}

func printClaim(w io.Writer, x *api.Claim) {
	fmt.Fprintln(w, claim.Headline(x.Verdict))
	printClaimRead(w, &x.Read)
	for i := range x.Brands {
		p := &x.Brands[i]
		fmt.Fprintf(w, "\n%s\n", p.Brand)
		for _, s := range p.Words {
			fmt.Fprintf(w, "  %s\n", s)
		}
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		if len(p.Sources) > 0 {
			fmt.Fprintln(t, "  SOURCE\tCOVERED\tOF\tWEIGHT\tFIRST\tLAST")
		}
		for j := range p.Sources {
			s := &p.Sources[j]
			var names []string
			for _, n := range s.Names {
				names = append(names, strings.TrimSpace(n.Kind+" "+n.ID+" "+n.Of))
			}
			mark := ""
			if j < p.Tie {
				mark = "*"
			}
			fmt.Fprintf(t, "  %s%s\t%d\t%d\t%.4f\t%s\t%s\n", strings.Join(names, " = "), mark, s.Covered, s.Size, s.Weight, s.First.UTC().Format(time.DateOnly), s.Last.UTC().Format(time.DateOnly))
		}
		t.Flush()
	}
	fmt.Fprintln(w)
	for _, s := range x.Limits {
		fmt.Fprintf(w, "- %s\n", s)
	}
	fmt.Fprintf(w, "\nentry %d of %s, SHA-256 of the sample %s\n", x.Entry, x.Owner, x.Digest)
}

type claimListCmd struct{ forBrand }

// Run lists claims.
func (c *claimListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.ClaimSummary, error) { return v.Claims(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.ClaimSummary) {
		if len(list) == 0 {
			fmt.Fprintln(w, "no claims")
			return
		}
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "ENTRY\tAT\tBY\tINCIDENT\tROWS\tVERDICT\tSHA-256")
		for _, x := range list {
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%s\t%s\n", x.Entry, stamp(x.At), x.By, x.Incident, x.Rows, x.Verdict, x.Digest)
		}
		t.Flush()
	})
}

type claimShowCmd struct {
	forBrand
	Entry uint64 `arg:"" help:"Entry of the answer: claim list shows it."`
	HTML  string `help:"Write it as a page to print." type:"path" placeholder:"FILE" name:"html"`
}

// Run shows an answer.
func (c *claimShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Claim, error) {
		x, err := v.Claim(ctx, c.Brand, c.Entry)
		if err != nil || c.HTML == "" {
			return x, err
		}
		return x, writeClaimPage(c.HTML, x)
	}
	return ask(ctx, std, &c.remote, call, printClaim)
}

type claimSimulateCmd struct {
	Export  string  `arg:"" help:"CSV file of an export, of invented customers." type:"existingfile" placeholder:"FILE"`
	Out     string  `help:"File to write." required:"" type:"path" placeholder:"FILE"`
	Share   float64 `help:"Share of the rows that leak." default:"0.1" placeholder:"N"`
	Noise   float64 `help:"Invented rows for each that leaks." default:"0" placeholder:"N"`
	Altered float64 `help:"Share of the leaked rows whose values are altered." default:"0" placeholder:"N"`
	Recase  bool    `help:"Write every value in another case."`
	Seed    uint64  `help:"Seed; the same seed makes the same leak." default:"1" placeholder:"S"`
}

// Help is the long help text.
func (claimSimulateCmd) Help() string {
	return `A local tool: it reads a file and writes another, and asks no vault. Use it with invented
customers alone. An existing file is not overwritten.`
}

// Run makes the leak.
func (c *claimSimulateCmd) Run(_ context.Context, std Streams) error {
	in, err := os.Open(c.Export)
	if err != nil {
		return fmt.Errorf("reading the export: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(c.Out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing the leak: %w", err)
	}
	made, err := claim.Simulate(out, in, claim.Leak{Share: c.Share, Noise: c.Noise, Altered: c.Altered, Recase: c.Recase, Seed: c.Seed})
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(c.Out) // half a leak is none
		return err
	}
	fmt.Fprintf(std.Out, "%d of %d rows leak, %d of them altered, with %d invented\n", made.Rows, made.Read, made.Altered, made.Noise)
	return nil
}
