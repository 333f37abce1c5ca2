package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/evidence"
)

// forBrand is where and for which brand a verb works.
type forBrand struct {
	remote
	Brand string `help:"Brand name." required:"" placeholder:"NAME"`
}

// forPurpose says why somebody asks.
type forPurpose struct {
	Purpose string `help:"Purpose registered at the brand." required:"" placeholder:"NAME"`
	Ticket  string `help:"Case number: letters, digits, dots, hyphens and underscores." placeholder:"ID"`
}

func printDisclosed(w io.Writer, d *api.Disclosed) {
	for i := range d.Customers {
		c := &d.Customers[i]
		fmt.Fprintln(w, c.Token)
		for _, f := range slices.Sorted(maps.Keys(c.Fields)) {
			fmt.Fprintf(w, "  %-14s %s\n", f, c.Fields[f])
		}
		for _, p := range c.Purchases {
			fmt.Fprintln(w, "  purchase      ", strings.Join(strings.Fields(fmt.Sprint(p.At, " ", p.ID, " ", p.SKU, " ", p.Description, " ", p.Amount, " ", p.Currency, " ", p.Channel, " ", p.Store)), " "))
		}
	}
	if len(d.Customers) == 0 {
		fmt.Fprintln(w, "no customer found")
	}
	if r := d.Receipt; r != nil {
		fmt.Fprintf(w, "logged as entry %d of %s\n", r.Entry, r.Brand)
	}
}

// maxSearched bounds what is read from standard input to search for.
const maxSearched = 4096

type findCmd struct {
	forBrand
	forPurpose
	Email      string `help:"Find by e-mail address; - reads it from standard input, which other users cannot see." xor:"by" placeholder:"ADDRESS"`
	Phone      string `help:"Find by phone number, or -." xor:"by" placeholder:"NUMBER"`
	ExternalID string `name:"external-id" help:"Find by customer number, or -." xor:"by" placeholder:"ID"`
	Country    string `help:"Country of a phone number without country code." placeholder:"FR"`
}

// Run searches. The value travels in the request's body.
func (c *findCmd) Run(ctx context.Context, std Streams) error {
	req := api.SearchRequest{Country: c.Country, Purpose: c.Purpose, Ticket: c.Ticket}
	switch {
	case c.Email != "":
		req.By, req.Value = "email", c.Email
	case c.Phone != "":
		req.By, req.Value = "phone", c.Phone
	case c.ExternalID != "":
		req.By, req.Value = "external_id", c.ExternalID
	default:
		return &usageError{"give --email, --phone or --external-id"}
	}
	if req.Value == "-" {
		line, err := bufio.NewReader(io.LimitReader(std.In, maxSearched)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the value to find: %w", err)
		}
		if req.Value = strings.TrimSpace(line); req.Value == "" {
			return &usageError{"standard input is empty: give the value to find"}
		}
	}
	call := func(v *connection) (*api.Disclosed, error) { return v.Search(ctx, c.Brand, req) }
	return ask(ctx, std, &c.remote, call, printDisclosed)
}

type showCmd struct {
	forBrand
	forPurpose
	Token string `arg:"" help:"Customer token."`
}

// Run shows a customer masked.
func (c *showCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, func(v *connection) error {
		out, err := v.View(ctx, c.Brand, c.Token, c.Purpose, c.Ticket)
		if err != nil {
			return err
		}
		return c.print(std, out, func(w io.Writer) { printDisclosed(w, out) })
	})
}

type revealCmd struct {
	forBrand
	forPurpose
	Fields []string `help:"Fields to see in clear, such as email,phone,purchases." required:"" placeholder:"NAME,..."`
	From   string   `help:"CSV file whose last column is tokens, as import --tokens writes it; - reads standard input. Sent 1,000 at a time; --json prints one answer per line." placeholder:"FILE"`
	Tokens []string `arg:"" optional:"" help:"Customer tokens."`
}

// Run reveals, in batches of what one request may ask for.
func (c *revealCmd) Run(ctx context.Context, std Streams) error {
	if (len(c.Tokens) == 0) == (c.From == "") {
		return &usageError{"give customer tokens, or a file with --from"}
	}
	return c.with(ctx, std, func(v *connection) error {
		batch := func(tokens []string) error {
			out, err := v.Reveal(ctx, c.Brand, api.RevealRequest{Tokens: tokens, Fields: c.Fields, Purpose: c.Purpose, Ticket: c.Ticket})
			if err != nil {
				return err
			}
			return c.print(std, out, func(w io.Writer) { printDisclosed(w, out) })
		}
		if c.From == "" {
			for tokens := range slices.Chunk(c.Tokens, api.MaxReveal) {
				if err := batch(tokens); err != nil {
					return err
				}
			}
			return nil
		}
		in := std.In
		if c.From != "-" {
			f, err := os.Open(c.From)
			if err != nil {
				return fmt.Errorf("opening the tokens: %w", err)
			}
			defer f.Close()
			in = f
		}
		var tokens []string
		r := csv.NewReader(in)
		r.FieldsPerRecord, r.ReuseRecord = -1, true
		for {
			row, err := r.Read()
			if err != nil && !errors.Is(err, io.EOF) {
				return fmt.Errorf("reading the tokens: %w", err)
			}
			if err == nil {
				tokens = append(tokens, strings.Clone(row[len(row)-1]))
			}
			if len(tokens) == api.MaxReveal || err != nil && len(tokens) > 0 {
				if err := batch(tokens); err != nil {
					return err
				}
				tokens = tokens[:0]
			}
			if err != nil {
				return nil
			}
		}
	})
}

type putCmd struct {
	forBrand
	Token string   `help:"Customer token to change (default: the customer of the external_id field)." placeholder:"TOKEN"`
	Field []string `arg:"" help:"FIELD=VALUE, such as email=a@example.com or attr.size=42." placeholder:"FIELD=VALUE"`
}

// Run writes one customer.
func (c *putCmd) Run(ctx context.Context, std Streams) error {
	fields := api.Fields{}
	for i, f := range c.Field {
		name, value, ok := strings.Cut(f, "=")
		if !ok {
			return &usageError{fmt.Sprintf("argument %d is not FIELD=VALUE", i+1)}
		}
		fields[name] = value
	}
	call := func(v *connection) (*api.Written, error) {
		if c.Token == "" {
			return v.Put(ctx, c.Brand, api.PutRequest{Customers: []api.Fields{fields}})
		}
		return v.Patch(ctx, c.Brand, c.Token, fields)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Written) {
		fmt.Fprintln(w, out.Results[0].Outcome, out.Results[0].Token)
		if out.Receipt != nil {
			fmt.Fprintf(w, "logged as entry %d of %s\n", out.Receipt.Entry, out.Receipt.Brand)
		}
	})
}

type whoReadCmd struct {
	forBrand
	Token string `arg:"" help:"Customer token."`
}

// Help is the long help text.
func (whoReadCmd) Help() string {
	return `Each disclosure comes with a proof that leads to the log's signed checkpoint, and is
checked here with the key that the vault gives. To check them elsewhere, with the key
that you kept:

    cloakroom who-read --brand gucci --json TOKEN > proof.json
    cloakroom log verify --proof proof.json --vkey log.vkey`
}

// Run lists who read a customer, and checks each proof.
func (c *whoReadCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, func(v *connection) error {
		out, err := v.WhoRead(ctx, c.Brand, c.Token)
		if err != nil {
			return err
		}
		if _, err := evidence.VerifyDisclosures(out.VerifierKey, out); err != nil {
			return err
		}
		return c.print(std, out, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "ENTRY\tTIME\tPRINCIPAL\tROLE\tPURPOSE\tTICKET\tSHOWN\tFIELDS")
			for _, d := range out.Disclosures {
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Entry, d.At.Format(time.RFC3339), d.Principal, d.Role, d.Purpose, d.Ticket, d.Level, strings.Join(d.Fields, ","))
			}
			t.Flush()
			fmt.Fprintf(w, "%d disclosures; every proof leads to the signed checkpoint\n", len(out.Disclosures))
		})
	})
}

type eraseCmd struct {
	forBrand
	Yes   bool   `help:"Erase; without it, only show what would be erased."`
	Token string `arg:"" help:"Customer token."`
}

// Help is the long help text.
func (eraseCmd) Help() string {
	return `Destroys the customer's key, records, indexes and former values. A copy of the data
tables without customer_keys is dead with that. A full copy of the database from before
still opens with root.key until both keys were replaced since:
cloakroom key rotate --brand B, then cloakroom key rotate-root.`
}

// Run erases a customer, or says that it would.
func (c *eraseCmd) Run(ctx context.Context, std Streams) error {
	if !c.Yes {
		would := map[string]any{"dry_run": true, "brand": c.Brand, "token": c.Token}
		return c.print(std, would, func(w io.Writer) {
			fmt.Fprintf(w, "Would erase %s of %s: the key, the records, the indexes, the former values. This cannot be undone. Add --yes to do it.\n", c.Token, c.Brand)
			fmt.Fprintln(w, "Full copies of the database from before, older copies of customer_keys too, open until the keys are rotated: cloakroom key rotate, key rotate-root.")
		})
	}
	call := func(v *connection) (*api.Erased, error) { return v.Erase(ctx, c.Brand, c.Token) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Erased) {
		fmt.Fprintf(w, "erased %s; logged as entry %d of %s\n", out.Token, out.Receipt.Entry, out.Receipt.Brand)
	})
}
