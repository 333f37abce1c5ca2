package main

import (
	"context"
	"fmt"
	"io"

	"github.com/cloakroom/cloakroom/api"
)

type dbMendCmd struct {
	remote
	DryRun bool `help:"Show faults and what would be repaired; change nothing."`
}

// Help is the long help text.
func (dbMendCmd) Help() string {
	return `Repairs what follows from the rest of the vault: the counter of ordinals, which an
earlier release's restore could set so high that every new customer was refused. The counter
is set above the greatest ordinal in the tables, the logs and the lists of canaries. Rows of
rights that are not what the logs say are made again from the log, or removed where no entry
wrote them; a row that cannot be made again is named with the reason. Each repair is logged
and changes no customer. A running server makes the repair itself.

EXIT STATUS: 0 no fault is left, 1 a fault is left.`
}

// Run repairs a vault.
func (c *dbMendCmd) Run(ctx context.Context, std Streams) error {
	var out *api.Mended
	err := c.with(ctx, std, func(v *connection) (err error) {
		out, err = v.Mend(ctx, api.MendRequest{DryRun: c.DryRun})
		return err
	})
	if err != nil {
		return err
	}
	if err := c.print(std, out, func(w io.Writer) {
		for _, f := range out.Faults {
			fmt.Fprintf(w, "%s: %s\n", f.Table, f.What)
		}
		verb := "repaired"
		if c.DryRun {
			verb = "would repair"
		}
		for _, r := range out.Repairs {
			fmt.Fprintln(w, verb, r)
		}
		if len(out.Faults) == 0 {
			fmt.Fprintln(w, "nothing to repair")
		}
	}); err != nil {
		return err
	}
	left := len(out.Faults)
	if !c.DryRun {
		left -= len(out.Repairs)
	}
	if left > 0 {
		return fmt.Errorf("faults left: %d", left)
	}
	return nil
}
