package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cloakroom/cloakroom/api"
)

// maxSearched bounds what is read from standard input to search for.
const maxSearched = 4096

type findCmd struct {
	forBrand
	forPurpose
	Email      string `help:"Find by e-mail address; - reads it from standard input, which other users cannot see." xor:"by" placeholder:"ADDRESS"`
	Phone      string `help:"Find by phone number, or -." xor:"by" placeholder:"NUMBER"`
	ExternalID string `name:"external-id" help:"Find by customer number, or -." xor:"by" placeholder:"ID"`
	Country    string `help:"Country of a phone number without country code." placeholder:"FR"`
}

// Run searches. The value travels in the request's body.
func (c *findCmd) Run(ctx context.Context, std Streams) error {
	req := api.SearchRequest{Country: c.Country, Purpose: c.Purpose, Ticket: c.Ticket}
	switch {
	case c.Email != "":
		req.By, req.Value = "email", c.Email
	case c.Phone != "":
		req.By, req.Value = "phone", c.Phone
	case c.ExternalID != "":
		req.By, req.Value = "external_id", c.ExternalID
	default:
		return &usageError{"give --email, --phone or --external-id"}
	}
	if req.Value == "-" {
		line, err := bufio.NewReader(io.LimitReader(std.In, maxSearched)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the value to find: %w", err)
		}
		if req.Value = strings.TrimSpace(line); req.Value == "" {
			return &usageError{"standard input is empty: give the value to find"}
		}
	}
	call := func(v *connection) (*api.Disclosed, error) { return v.Search(ctx, c.Brand, req) }
	return ask(ctx, std, &c.remote, call, printDisclosed)
}
