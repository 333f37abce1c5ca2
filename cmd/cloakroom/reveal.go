package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/api"
)

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
