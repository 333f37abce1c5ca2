package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
)

// containCmd stops what a thief may hold.
type containCmd struct {
	Stop    containStopCmd    `cmd:"" default:"withargs" help:"Stop it now, on every server."`
	List    containListCmd    `cmd:"" help:"What was stopped, newest first."`
	Undo    containUndoCmd    `cmd:"" help:"Ask that it goes on again."`
	Confirm containConfirmCmd `cmd:"" help:"Let it go on, as another person asked."`
}

type containStopCmd struct {
	forBrand
	Credential uint64 `xor:"what" help:"A credential: its whole lineage." placeholder:"NUMBER"`
	Principal  string `xor:"what" help:"A person or service." placeholder:"NAME"`
	Role       string `xor:"what" help:"Clear fields, searches and files of a role." placeholder:"ROLE"`
	WholeBrand bool   `xor:"what" help:"Clear fields, searches and files of everybody at the brand."`
	AllExports bool   `xor:"what" help:"Files alone."`
	Alarm      string `help:"The alarm that it answers." placeholder:"ID"`
	Ticket     string `help:"The case." placeholder:"TEXT"`
	DryRun     bool   `help:"Say what would stop, and stop nothing."`
}

// Run stops it.
func (c *containStopCmd) Run(ctx context.Context, std Streams) error {
	if c.Credential == 0 && c.Principal == "" && c.Role == "" && !c.WholeBrand && !c.AllExports {
		return &usageError{"say what to contain: --credential, --principal, --role, --whole-brand or --all-exports"}
	}
	in := api.ContainRequest{Credential: c.Credential, Principal: c.Principal, Role: c.Role, Brand: c.WholeBrand,
		AllExports: c.AllExports, Alarm: c.Alarm, Ticket: c.Ticket, DryRun: c.DryRun}
	return ask(ctx, std, &c.remote, "POST", client.Path("brands", c.Brand, "containments"), in, func(w io.Writer, out *api.Containment) {
		whom := ""
		if len(out.Principals) > 0 {
			whom = fmt.Sprintf(": %s; %d credentials", strings.Join(out.Principals, ", "), out.Credentials)
		}
		switch {
		case c.DryRun:
			fmt.Fprintf(w, "would stop the %s%s%s\n", out.Kind, named(out), whom)
		case out.TookMillis == 0:
			fmt.Fprintf(w, "containment %d holds already, since %s\n", out.ID, out.At.Format("2006-01-02 15:04:05"))
		default:
			fmt.Fprintf(w, "containment %d: the %s%s is stopped on every server, after %d ms%s\n", out.ID, out.Kind, named(out), out.TookMillis, whom)
			fmt.Fprintf(w, "Next, where keys may be out: cloakroom key rotate --brand %s, and with --kind index\n", c.Brand)
			fmt.Fprintf(w, "To let it go on: cloakroom contain undo --brand %s %d, and contain confirm by another person\n", c.Brand, out.ID)
		}
		if out.Elsewhere {
			fmt.Fprintf(w, "They have a role at another brand, too, which this does not stop: whoever contains at the group can, with --brand group\n")
		}
	})
}

func named(c *api.Containment) string {
	switch {
	case c.Role != "":
		return " " + c.Role
	case c.Target != 0:
		return fmt.Sprint(" ", c.Target)
	}
	return ""
}

type containListCmd struct{ forBrand }

// Run lists what was stopped.
func (c *containListCmd) Run(ctx context.Context, std Streams) error {
	return ask(ctx, std, &c.remote, "GET", client.Path("brands", c.Brand, "containments"), nil, func(w io.Writer, list *[]api.Containment) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tWHAT\tSINCE\tBY\tSTATE")
		for i := range *list {
			x := &(*list)[i]
			state := "holds"
			switch {
			case !x.Ended.IsZero():
				state = "undone by " + x.AskedBy + " and " + x.EndedBy
			case !x.Asked.IsZero():
				state = "holds; " + x.AskedBy + " asked to undo it"
			}
			fmt.Fprintf(t, "%d\t%s%s\t%s\t%s\t%s\n", x.ID, x.Kind, named(x), x.At.Format("2006-01-02 15:04:05"), x.By, state)
		}
		t.Flush()
	})
}

type containUndoCmd struct {
	forBrand
	ID int64 `arg:"" help:"As contain list shows it."`
}

// Run asks that something goes on again.
func (c *containUndoCmd) Run(ctx context.Context, std Streams) error {
	return ask(ctx, std, &c.remote, "POST", client.Path("brands", c.Brand, "containments", fmt.Sprint(c.ID), "undo"), nil, func(w io.Writer, x *api.Containment) {
		fmt.Fprintf(w, "asked. Another person, within a day: cloakroom contain confirm --brand %s %d\n", c.Brand, x.ID)
	})
}

type containConfirmCmd struct {
	forBrand
	ID int64 `arg:"" help:"As contain list shows it."`
}

// Run lets something go on again.
func (c *containConfirmCmd) Run(ctx context.Context, std Streams) error {
	return ask(ctx, std, &c.remote, "POST", client.Path("brands", c.Brand, "containments", fmt.Sprint(c.ID), "undo", "confirm"), nil, func(w io.Writer, x *api.Containment) {
		fmt.Fprintf(w, "containment %d is undone: it goes on\n", x.ID)
	})
}
