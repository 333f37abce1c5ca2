package main

import (
	"context"
	"fmt"
	"io"

	"github.com/cloakroom/cloakroom/api"
)

type brandCmd struct {
	Create brandCreateCmd `cmd:"" help:"Create a brand with the default policy, purposes and budgets."`
	List   brandListCmd   `cmd:"" help:"List brands."`
}

type brandCreateCmd struct {
	remote
	Name  string `arg:"" help:"Lower-case letters, digits and hyphens."`
	Title string `help:"Display name." placeholder:"TEXT"`
}

// Run creates a brand.
func (c *brandCreateCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Brand, error) {
		return v.CreateBrand(ctx, api.Brand{Name: c.Name, Title: c.Title})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, b *api.Brand) {
		fmt.Fprintln(w, "created", b.Name)
	})
}

type brandListCmd struct{ remote }

// Run lists brands.
func (c *brandListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Brand, error) { return v.Brands(ctx) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Brand) {
		for _, b := range list {
			fmt.Fprintf(w, "%s\t%s\n", b.Name, b.Title)
		}
	})
}
