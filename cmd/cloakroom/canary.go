package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/watch/canary"
)

type canaryCmd struct {
	Place   canaryPlaceCmd   `cmd:"" help:"Place canaries: decoy customers."`
	List    canaryListCmd    `cmd:"" help:"Print the canaries as CSV, to plant in lists worth stealing."`
	Retire  canaryRetireCmd  `cmd:"" help:"Erase the canaries."`
	Receive canaryReceiveCmd `cmd:"" help:"Receive mail for the canaries' domains; mail to a canary raises an alarm."`
	Mail    canaryMailCmd    `cmd:"" help:"Show mail to canaries: whose addresses leaked, and how."`
	Odds    canaryOddsCmd    `cmd:"" help:"Show the probability that a thief reads a canary."`
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
		return fmt.Errorf("write a share as 0.5%% or 0.005")
	}
	*s = share(f)
	return nil
}

type canaryPlaceCmd struct {
	forBrand
	Count  int    `help:"Number of canaries to add."`
	Rate   share  `help:"Share of customers that are canaries, such as 0.5%; future imports maintain it." placeholder:"SHARE"`
	Domain string `help:"Domain of their e-mail addresses: one of yours without other mail." placeholder:"DOMAIN"`
	Prefix string `help:"Prefix of their external ids (default: like the brand's own)."`
	Digits int    `help:"Number of digits after the prefix (default: 9 with a prefix). A customer with the same number replaces the canary."`
	Now    bool   `help:"Place them now, in their own log entry. Canaries placed with --now can be recognised by anyone who can read the database; without it they are mixed into future imports."`
	DryRun bool   `name:"dry-run" help:"Show the number; change nothing."`
}

// Run orders canaries, or makes them, in as many requests as it takes.
func (c *canaryPlaceCmd) Run(ctx context.Context, std Streams) error {
	if (c.Count > 0) == (c.Rate > 0) {
		return &usageError{"give --count or --rate"}
	}
	return c.with(ctx, std, func(v *connection) error {
		placed, left := 0, c.Count
		var out *api.CanariesPlaced
		for {
			in := api.CanaryRequest{Count: min(left, 2000), Rate: float64(c.Rate), Domain: c.Domain, Prefix: c.Prefix, Digits: c.Digits, Now: c.Now, DryRun: c.DryRun}
			var err error
			if out, err = v.PlaceCanaries(ctx, c.Brand, in); err != nil {
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
				fmt.Fprintln(w, "canaries are mixed into future imports; imports of 20 or more customers hide them best")
			}
			if c.Now {
				fmt.Fprintln(w, "canaries placed with --now can be recognised by anyone who can read the database")
			}
			if rate := rateOf(total, out.Customers); rate > 0 { // those that wait protect nobody yet
				for _, n := range []int{10, 100, 500, 1000} {
					printOdds(w, n, rate)
				}
			}
		})
	})
}

// rateOf is the share of canaries among all who are there; 0 where nobody is.
func rateOf(canaries int, customers int64) float64 {
	if canaries == 0 {
		return 0
	}
	return float64(canaries) / float64(customers+int64(canaries))
}

func printOdds(w io.Writer, reads int, rate float64) {
	fmt.Fprintf(w, "reading %d random customers touches at least one canary with probability %.1f %%\n", reads, 100*canary.Odds(reads, rate))
}

type canaryListCmd struct{ forBrand }

// Run lists canaries.
func (c *canaryListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Canary, error) { return v.Canaries(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Canary) {
		out := csv.NewWriter(w)
		out.Write([]string{"token", "external_id", "email"})
		for _, x := range list {
			out.Write([]string{x.Token, x.ExternalID, x.Email})
		}
		out.Flush()
	})
}

type canaryRetireCmd struct{ forBrand }

// Run retires canaries.
func (c *canaryRetireCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, func(v *connection) error {
		sum := api.CanariesRetired{}
		for more := true; more; {
			out, err := v.RetireCanaries(ctx, c.Brand)
			if err != nil {
				return err
			}
			sum.Retired += out.Retired
			more = out.Left > 0
		}
		return c.print(std, sum, func(w io.Writer) { fmt.Fprintf(w, "erased %d canaries\n", sum.Retired) })
	})
}

type canaryOddsCmd struct {
	remote
	Brand string `help:"Brand whose canaries and customers are counted, as they are now." xor:"share" required:"" placeholder:"NAME"`
	Rate  share  `help:"Share of customers that are canaries, such as 0.5%, to try a number out." xor:"share" required:"" placeholder:"SHARE"`
	Reads int    `help:"Number of customers that a thief reads." required:""`
}

// Run prints the odds.
func (c *canaryOddsCmd) Run(ctx context.Context, std Streams) error {
	if c.Reads < 1 {
		return &usageError{"--reads is a number of customers, 1 at least"}
	}
	if c.Rate > 0 {
		return c.tell(std, float64(c.Rate), nil)
	}
	return c.with(ctx, std, func(v *connection) error {
		// A rehearsal says what is there; a list would take a second person.
		out, err := v.PlaceCanaries(ctx, c.Brand, api.CanaryRequest{Count: 1, Now: true, DryRun: true})
		if err != nil {
			return err
		}
		return c.tell(std, rateOf(out.Total, out.Customers), &out.Total)
	})
}

// tell prints the odds, and of how many canaries, where these were counted.
func (c *canaryOddsCmd) tell(std Streams, rate float64, there *int) error {
	odds := struct {
		Reads       int     `json:"reads"`
		Rate        float64 `json:"rate"`
		Probability float64 `json:"probability"`
		Canaries    *int    `json:"canaries,omitempty"`
	}{c.Reads, rate, canary.Odds(c.Reads, rate), there}
	return c.print(std, odds, func(w io.Writer) {
		if there != nil {
			fmt.Fprintf(w, "canaries that are there: %d, %.2f %% of all\n", *there, 100*rate)
		}
		printOdds(w, c.Reads, rate)
	})
}
