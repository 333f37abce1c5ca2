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
	"github.com/cloakroom/cloakroom/internal/watch/canary"
)

type canaryCmd struct {
	Place   canaryPlaceCmd   `cmd:"" help:"Place decoy customers."`
	List    canaryListCmd    `cmd:"" help:"Print the decoys as CSV, to plant in lists that are worth stealing."`
	Retire  canaryRetireCmd  `cmd:"" help:"Erase the decoy customers."`
	Receive canaryReceiveCmd `cmd:"" help:"Take mail for the decoys' domains, and report it: mail to a decoy is an alarm."`
	Mail    canaryMailCmd    `cmd:"" help:"Mail that came to decoys: whose addresses left, and how."`
	Odds    canaryOddsCmd    `cmd:"" help:"How likely a thief meets a decoy."`
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
	Rate   share  `help:"Which share of the customers is to be decoys, such as 0.5%; imports to come keep it." placeholder:"SHARE"`
	Domain string `help:"Domain of their e-mail addresses: one of yours that nobody writes to." placeholder:"DOMAIN"`
	Prefix string `help:"What their external ids begin with (default: as the brand's own look)."`
	Digits int    `help:"How many digits follow the prefix (default: 9 with a prefix). A decoy gives way to a customer of its number."`
	Now    bool   `help:"Make them at once, in an entry of the log of their own. Without it they go in among the customers of the next imports, where nothing tells them apart; whoever holds the database can tell those made at once."`
	DryRun bool   `name:"dry-run" help:"Say how many it would be."`
}

// Run orders decoys, or makes them, in as many requests as it takes.
func (c *canaryPlaceCmd) Run(ctx context.Context, std Streams) error {
	if (c.Count > 0) == (c.Rate > 0) {
		return &usageError{"give --count or --rate"}
	}
	return c.with(ctx, std, func(v *connection) error {
		placed, left := 0, c.Count
		var out api.CanariesPlaced
		for {
			in := api.CanaryRequest{Count: min(left, 2000), Rate: float64(c.Rate), Domain: c.Domain, Prefix: c.Prefix, Digits: c.Digits, Now: c.Now, DryRun: c.DryRun}
			out = api.CanariesPlaced{}
			if err := v.Do(ctx, "POST", client.Path("brands", c.Brand, "canaries"), in, &out); err != nil {
				return err
			}
			placed += out.Placed
			switch {
			case c.Rate > 0:
				left = out.Left
			case c.Now:
				left -= out.Placed
			default:
				left -= in.Count
			}
			if c.DryRun && c.Now {
				placed += left
			}
			if c.DryRun && !c.Now {
				out.Waiting += left
			}
			if left <= 0 || c.DryRun || c.Now && out.Placed == 0 {
				break
			}
		}
		out.Placed, out.Left = placed, 0
		return c.print(std, out, func(w io.Writer) {
			would, total := "", out.Total
			if c.DryRun {
				would, total = "would be ", total+placed
			}
			fmt.Fprintf(w, "%s%d placed and %d waiting for imports: %d canaries among %d customers\n", would, placed, out.Waiting, total, out.Customers)
			if out.Waiting > 0 {
				fmt.Fprintln(w, "they go in among the new customers of the next imports, best of 20 or more in one request, and slowly with 5 or more")
			}
			if c.Now {
				fmt.Fprintln(w, "whoever holds the database can tell those placed at once")
			}
			if total += out.Waiting; out.Customers > 0 && total > 0 {
				rate := float64(total) / float64(out.Customers+int64(total))
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
