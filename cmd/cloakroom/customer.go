package main

import (
	"context"
	"fmt"
	"io"

	"github.com/cloakroom/cloakroom/api"
)

type customerCmd struct {
	Count customerCountCmd `cmd:"" help:"Show how many customers a brand has, without canaries and erased ones."`
}

type customerCountCmd struct{ forBrand }

// Run counts customers.
func (c *customerCountCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Count, error) { return v.CountCustomers(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, n *api.Count) { fmt.Fprintln(w, n.Customers) })
}
