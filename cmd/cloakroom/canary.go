package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/canary"
)

type canaryCmd struct {
	Place  canaryPlaceCmd  `cmd:"" help:"Place decoy customers."`
	List   canaryListCmd   `cmd:"" help:"Print the decoys as CSV, to plant in lists that are worth stealing."`
	Retire canaryRetireCmd `cmd:"" help:"Erase the decoy customers."`
	Odds   canaryOddsCmd   `cmd:"" help:"How likely a thief meets a decoy."`
}

// share is a part of all, as 0.005 or 0.5%.
type share float64

// UnmarshalText reads a share.
func (s *share) UnmarshalText(b []byte) error {
	text, percent := strings.CutSuffix(string(b), "%")
	f, err := strconv.ParseFloat(text, 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f > 0 && f < 1) {
		return fmt.Errorf("a share is such as 0.5%% or 0.005")
	}
	*s = share(f)
	return nil
}

type canaryPlaceCmd struct {
	forBrand
	Count  int    `help:"How many more."`
	Rate   share  `help:"Which share of the customers is to be decoys, such as 0.5%." placeholder:"SHARE"`
	Domain string `help:"Domain of their e-mail addresses: one of yours that nobody writes to." placeholder:"DOMAIN"`
	Prefix string `help:"What their external ids begin with." default:"C"`
	Digits int    `help:"How many digits follow. Choose numbers that your own numbering never gives: whoever imports a customer of a decoy's number overwrites the decoy." default:"9"`
	DryRun bool   `name:"dry-run" help:"Say how many it would be."`
}

// Run places decoys, in as many requests as it takes.
func (c *canaryPlaceCmd) Run(ctx context.Context, std Streams) error {
	if (c.Count > 0) == (c.Rate > 0) {
		return &usageError{"give --count or --rate"}
	}
	return c.with(ctx, std, func(v *connection) error {
		placed, left := 0, c.Count
		var out api.CanariesPlaced
		for {
			in := api.CanaryRequest{Count: min(left, 2000), Rate: float64(c.Rate), Domain: c.Domain, Prefix: c.Prefix, Digits: c.Digits, DryRun: c.DryRun}
			out = api.CanariesPlaced{}
			if err := v.Do(ctx, "POST", client.Path("brands", c.Brand, "canaries"), in, &out); err != nil {
				return err
			}
			placed += out.Placed
			if left -= out.Placed; c.Rate > 0 {
				left = out.Left
			}
			if c.DryRun {
				placed += left
			}
			if left <= 0 || out.Placed == 0 || c.DryRun {
				break
			}
		}
		out.Placed, out.Left = placed, 0
		return c.print(std, out, func(w io.Writer) {
			all, total := out.Customers, out.Total
			verb := "placed"
			if c.DryRun {
				verb, all, total = "would place", all+int64(placed), total+placed
			}
			fmt.Fprintf(w, "%s %d canaries: %d among %d customers\n", verb, placed, total, all)
			if all > 0 && total > 0 {
				rate := float64(total) / float64(all)
				for _, n := range []int{10, 100, 500, 1000} {
					printOdds(w, n, rate)
				}
			}
		})
	})
}

func printOdds(w io.Writer, reads int, rate float64) {
	fmt.Fprintf(w, "who reads %d customers at random meets a canary with %.1f %%\n", reads, 100*canary.Odds(reads, rate))
}

type canaryListCmd struct{ forBrand }

// Run lists decoys.
func (c *canaryListCmd) Run(ctx context.Context, std Streams) error {
	return ask(ctx, std, &c.remote, "GET", client.Path("brands", c.Brand, "canaries"), nil, func(w io.Writer, list *[]api.Canary) {
		out := csv.NewWriter(w)
		out.Write([]string{"token", "external_id", "email"})
		for _, x := range *list {
			out.Write([]string{x.Token, x.ExternalID, x.Email})
		}
		out.Flush()
	})
}

type canaryRetireCmd struct{ forBrand }

// Run retires decoys.
func (c *canaryRetireCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, func(v *connection) error {
		sum := api.CanariesRetired{}
		for more := true; more; {
			var out api.CanariesRetired
			if err := v.Do(ctx, "POST", client.Path("brands", c.Brand, "canaries", "retire"), struct{}{}, &out); err != nil {
				return err
			}
			sum.Retired += out.Retired
			more = out.Left > 0
		}
		return c.print(std, sum, func(w io.Writer) { fmt.Fprintf(w, "erased %d canaries\n", sum.Retired) })
	})
}

type canaryOddsCmd struct {
	Rate  share `help:"Which share of the customers are decoys, such as 0.5%." required:"" placeholder:"SHARE"`
	Reads int   `help:"How many customers a thief reads." required:""`
}

// Run prints the odds.
func (c *canaryOddsCmd) Run(std Streams) error {
	printOdds(std.Out, c.Reads, float64(c.Rate))
	return nil
}
