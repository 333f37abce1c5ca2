package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/cloakroom/cloakroom/api"
)

type holdCmd struct {
	Place   holdPlaceCmd   `cmd:"" help:"Ask for a legal hold; a second person approves it."`
	Release holdReleaseCmd `cmd:"" help:"Ask to release a legal hold; a second person approves it."`
	List    holdListCmd    `cmd:"" help:"List the legal holds in force."`
}

type holdPlaceCmd struct {
	forBrand
	Ground    string   `required:"" help:"Why, such as the proceedings." placeholder:"TEXT"`
	Review    string   `required:"" help:"Day by which somebody looks at the hold again." placeholder:"DAY"`
	From      string   `help:"In place of customers: everybody in the log from this UTC day." placeholder:"DAY"`
	To        string   `help:"The last day of the period, today at the latest." placeholder:"DAY"`
	List      string   `name:"list" help:"File with an external id or a token in each line; - is standard input." placeholder:"FILE"`
	Ticket    string   `help:"Ticket of the request." placeholder:"TICKET"`
	Customers []string `arg:"" optional:"" name:"token" help:"Customer tokens."`
}

// Help is the long help text.
func (holdPlaceCmd) Help() string {
	return `No key of the customers is destroyed until the hold is released: not after the cooling
time of an erasure, and not by erase --now. An erasure of theirs still begins, and its
answer says that a hold keeps the key: nobody reads, finds or counts the customer.

A line of the file that begins with cus_ is a token, any other an external id. Whether an
external id was found is not answered. The command exits with status 5 until a second
person has approved the change.`
}

// maxHeld is how many customers a list may name: tokens, and as many external ids.
const maxHeld = 2 * 10_000

// Run asks for a legal hold.
func (c *holdPlaceCmd) Run(ctx context.Context, std Streams) error {
	req := api.HoldRequest{Tokens: c.Customers, From: c.From, To: c.To, Ground: c.Ground, Review: c.Review, Ticket: c.Ticket}
	if c.List != "" {
		list, err := readTokens(c.List, std.In, maxHeld)
		if err != nil {
			return err
		}
		for _, x := range list {
			if strings.HasPrefix(x, "cus_") {
				req.Tokens = append(req.Tokens, x)
			} else {
				req.ExternalIDs = append(req.ExternalIDs, x)
			}
		}
	}
	call := func(v *connection) (*api.Hold, error) { return v.PlaceHold(ctx, c.Brand, req) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Hold) {
		fmt.Fprintf(w, "%s is in force; logged as entry %d of %s, to be reviewed by %s\n", out.ID, out.Entry, c.Brand, out.Review)
	})
}

type holdReleaseCmd struct {
	forBrand
	Reason string `required:"" help:"Why it is over." placeholder:"TEXT"`
	Ticket string `help:"Ticket of the request." placeholder:"TICKET"`
	Hold   string `arg:"" help:"Id of the hold."`
}

// Help is the long help text.
func (holdReleaseCmd) Help() string {
	return `Keys of erased customers whose cooling time is over, and that no other hold keeps, are
destroyed within minutes. The command exits with status 5 until a second person has
approved the change.`
}

// Run asks to release a legal hold.
func (c *holdReleaseCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Hold, error) {
		return v.ReleaseHold(ctx, c.Brand, c.Hold, api.HoldRelease{Reason: c.Reason, Ticket: c.Ticket})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Hold) {
		fmt.Fprintf(w, "%s is released\n", out.ID)
	})
}

type holdListCmd struct{ forBrand }

// Run lists the legal holds in force.
func (c *holdListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Holds, error) { return v.Holds(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list *api.Holds) {
		for _, x := range list.Holds {
			whom := fmt.Sprintf("%d customers named", x.Named)
			if x.From != "" {
				whom = "in the log " + x.From + " to " + x.To
			}
			review := "review by " + x.Review
			if x.Overdue {
				review += " (overdue)"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", x.ID, whom, review, x.Ground)
		}
		fmt.Fprintf(w, "%d legal holds in force\n", len(list.Holds))
	})
}
