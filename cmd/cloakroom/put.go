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
	Token           string   `help:"Customer token to change (default: the customer of the external_id field)." placeholder:"TOKEN"`
	NewRelationship string   `name:"new-relationship" help:"Write a customer who was erased and is a customer again; the reason is logged." placeholder:"REASON"`
	Field           []string `arg:"" help:"FIELD=VALUE, such as email=a@example.com or attr.size=42." placeholder:"FIELD=VALUE"`
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
	if c.NewRelationship != "" && c.Token != "" {
		return &usageError{"--new-relationship goes with external_id, not with --token"}
	}
	call := func(v *connection) (*api.Written, error) {
		if c.Token == "" {
			return v.Put(ctx, c.Brand, api.PutRequest{Customers: []api.Fields{fields}, NewRelationship: c.NewRelationship})
		}
		return v.Patch(ctx, c.Brand, c.Token, fields)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Written) {
		fmt.Fprintln(w, out.Results[0].Outcome, out.Results[0].Token)
		if out.Withheld != nil {
			fmt.Fprintln(w, "withheld: 1; the request desk decides about it (cloakroom erasure withheld list)")
		}
		if out.Receipt != nil {
			fmt.Fprintf(w, "logged as entry %d of %s\n", out.Receipt.Entry, out.Receipt.Brand)
		}
	})
}
