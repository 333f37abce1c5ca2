package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/api"
)

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
