package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/evidence"
)

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
			fmt.Fprintln(t, "ENTRY\tTIME\tPRINCIPAL\tWHO\tROLE\tPURPOSE\tTICKET\tSHOWN\tFIELDS")
			for _, d := range out.Disclosures {
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Entry, d.At.Format(time.RFC3339), d.Principal, inWords(d.Profile), d.Role, d.Purpose, d.Ticket, d.Level, strings.Join(d.Fields, ","))
			}
			t.Flush()
			if n := evidence.Unproven(out); n > 0 {
				fmt.Fprintf(w, "%d disclosures; all are in the log that was signed, and of %d it cannot be proven whose they are: commitments are missing from the database, and an older backup has them\n", len(out.Disclosures), n)
				return
			}
			fmt.Fprintf(w, "%d disclosures; every proof leads to the signed checkpoint\n", len(out.Disclosures))
		})
	})
}
