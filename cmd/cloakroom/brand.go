package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/cloakroom/cloakroom/api"
)

type brandCmd struct {
	Create brandCreateCmd `cmd:"" help:"Create a brand with the default policy, purposes and budgets."`
	List   brandListCmd   `cmd:"" help:"List brands."`

	DefaultCountry defaultCountryCmd `cmd:"" name:"default-country" help:"The setting phone_country alone: see settings."`
	LoyaltyPrefix  loyaltyPrefixCmd  `cmd:"" name:"loyalty-prefix" help:"The settings loyalty_prefixes and loyalty_fields alone: see settings."`
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

type defaultCountryCmd struct {
	Set  defaultCountrySetCmd  `cmd:"" help:"Set the country."`
	Show defaultCountryShowCmd `cmd:"" help:"Show the country."`
}

type defaultCountrySetCmd struct {
	forBrand
	Country string `arg:"" help:"Country of phone numbers without a country code, for rows and customers without a country; none takes it away. Numbers that are stored keep the country of the day they came in." placeholder:"FR"`
}

// Run sets the country.
func (c *defaultCountrySetCmd) Run(ctx context.Context, std Streams) error {
	in := api.BrandCountry{Country: c.Country}
	if c.Country == "none" {
		in.Country = ""
	}
	call := func(v *connection) (*api.BrandCountry, error) { return v.SetDefaultCountry(ctx, c.Brand, in) }
	return ask(ctx, std, &c.remote, call, printCountry)
}

type defaultCountryShowCmd struct{ forBrand }

// Run shows the country.
func (c *defaultCountryShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.BrandCountry, error) { return v.DefaultCountry(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, printCountry)
}

func printCountry(w io.Writer, c *api.BrandCountry) {
	if c.Country == "" {
		fmt.Fprintln(w, "no country: national phone numbers need one in the row, or --default-country")
		return
	}
	fmt.Fprintf(w, "national phone numbers are of %s where neither the row nor the customer has a country\n", c.Country)
}

type loyaltyPrefixCmd struct {
	Set  loyaltyPrefixSetCmd  `cmd:"" help:"Declare the ranges; what was declared before is replaced."`
	Show loyaltyPrefixShowCmd `cmd:"" help:"Show the ranges."`
}

type loyaltyPrefixSetCmd struct {
	forBrand
	Prefixes []string `arg:"" optional:"" name:"prefix" help:"The first 6 to 12 digits of the brand's own numbers. Without any, the declaration is taken back."`
	Fields   []string `name:"field" help:"Where such numbers may stand: external_id or attr.NAME." placeholder:"FIELD"`
}

// Run declares ranges.
func (c *loyaltyPrefixSetCmd) Run(ctx context.Context, std Streams) error {
	in := api.LoyaltyPrefixes{Prefixes: append([]string{}, c.Prefixes...), Fields: append([]string{}, c.Fields...)}
	call := func(v *connection) (*api.LoyaltyPrefixes, error) { return v.SetLoyaltyPrefixes(ctx, c.Brand, in) }
	return ask(ctx, std, &c.remote, call, printLoyalty)
}

type loyaltyPrefixShowCmd struct{ forBrand }

// Run shows the declared ranges.
func (c *loyaltyPrefixShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.LoyaltyPrefixes, error) { return v.LoyaltyPrefixes(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, printLoyalty)
}

func printLoyalty(w io.Writer, l *api.LoyaltyPrefixes) {
	if len(l.Prefixes) == 0 {
		fmt.Fprintln(w, "no number ranges of its own")
		return
	}
	fmt.Fprintf(w, "numbers that begin with %s are no payment cards in %s\n", strings.Join(l.Prefixes, ", "), strings.Join(l.Fields, ", "))
}
