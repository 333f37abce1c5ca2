package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/cloakroom/cloakroom/api"
)

// witnessCmd shows the witnesses that cosign the logs.
type witnessCmd struct {
	Status witnessStatusCmd `cmd:"" help:"Show how far each witness is with a brand's log."`
	List   witnessListCmd   `cmd:"" help:"List the witnesses with their keys, which evidence verify takes."`
	Enroll witnessEnrollCmd `cmd:"" help:"Print what the operator of a witness needs to enrol a brand's log."`
}

type witnessStatusCmd struct{ forBrand }

// Run shows the states.
func (c *witnessStatusCmd) Run(ctx context.Context, std Streams) error {
	behind := 0
	err := ask(ctx, std, &c.remote, func(v *connection) ([]api.WitnessState, error) {
		list, err := v.Witnesses(ctx, c.Brand)
		for i := range list {
			if list[i].State != "signs" {
				behind++
			}
		}
		return list, err
	}, func(w io.Writer, list []api.WitnessState) {
		if len(list) == 0 {
			fmt.Fprintln(w, "no witness: a holder of both the database and the signing key of a log could rewrite it unseen (cloakroom serve --witness)")
			return
		}
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "WITNESS\tSTATE\tSIGNED\tOF\tAT")
		for i := range list {
			x := &list[i]
			at := ""
			if !x.SignedAt.IsZero() {
				at = stamp(x.SignedAt)
			}
			fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\n", x.Witness, x.State, x.Signed, x.Size, at)
		}
		t.Flush()
		for i := range list {
			if list[i].What != "" {
				fmt.Fprintf(w, "%s: %s\n", list[i].Witness, list[i].What)
			}
		}
	})
	if err == nil && behind > 0 {
		err = fmt.Errorf("%d of the witnesses did not sign the log as it is now", behind)
	}
	return err
}

type witnessListCmd struct{ forBrand }

// Run lists keys and addresses.
func (c *witnessListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.WitnessState, error) { return v.Witnesses(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.WitnessState) {
		for i := range list {
			fmt.Fprintf(w, "%s %s\n", list[i].VKey, list[i].URL)
		}
	})
}

type witnessEnrollCmd struct{ forBrand }

// Help is the long help text.
func (witnessEnrollCmd) Help() string {
	return `After a restore, or a loss that was accepted, a log continues under a new origin, which no
witness knows. Hand its operator what this prints; until then the witness refuses the log,
and an alarm says so.`
}

// Run prints what is enrolled.
func (c *witnessEnrollCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.WitnessState, error) { return v.Witnesses(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.WitnessState) {
		if len(list) == 0 {
			fmt.Fprintln(w, "no witness is configured (cloakroom serve --witness)")
			return
		}
		fmt.Fprintf(w, "origin: %s\nkey:    %s\n", list[0].Origin, list[0].LogKey)
		for i := range list {
			if list[i].Last != "" {
				fmt.Fprintf(w, "\nlast checkpoint that this server saw %s sign:\n%s", list[i].Witness, list[i].Last)
			}
		}
	})
}
