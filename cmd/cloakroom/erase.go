package main

import (
	"context"
	"fmt"
	"io"

	"github.com/cloakroom/cloakroom/api"
)

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
