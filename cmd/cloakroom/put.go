package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/cloakroom/cloakroom/api"
)

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
