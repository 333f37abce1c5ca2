package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/cloakroom/cloakroom/api"
)

type standingCmd struct {
	forBrand
	Ticket string `help:"Case number, for the log." placeholder:"CASE"`
	Token  string `arg:"" help:"Customer token."`
	Words  string `arg:"" help:"deceased, minor, represented, do-not-write, erasure-asked, or several with commas; none takes the standing away." placeholder:"STANDING"`
}

// Help is the long help text.
func (standingCmd) Help() string {
	return `The standing of a customer is what has to be known before anybody writes to them. It
replaces the one before. It is sealed as every field is; the log says who set it, and when.

  cloakroom standing --brand gucci --ticket CASE-7 cus_... deceased
  cloakroom standing --brand gucci cus_... minor,do-not-write
  cloakroom standing --brand gucci cus_... none

EXIT STATUS: 0 set, 1 failed, 2 wrong command line.`
}

// Run sets the standing of a customer.
func (c *standingCmd) Run(ctx context.Context, std Streams) error {
	req := api.StandingRequest{Standing: []string{}, Ticket: c.Ticket}
	if c.Words != "none" {
		req.Standing = strings.Split(c.Words, ",")
	}
	call := func(v *connection) (*api.Written, error) { return v.SetStanding(ctx, c.Brand, c.Token, req) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Written) {
		fmt.Fprintln(w, out.Results[0].Outcome, out.Results[0].Token)
		if out.Receipt != nil {
			fmt.Fprintf(w, "logged as entry %d of %s\n", out.Receipt.Entry, out.Receipt.Brand)
		}
	})
}
