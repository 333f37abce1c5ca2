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
	Show    containShowCmd    `cmd:"" help:"One of what was stopped."`
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
	Keep       string `help:"What goes on of a role or the brand: masked (masked views, tokens and writes), tokens (tokens and writes), nothing." enum:",masked,tokens,nothing" default:"" placeholder:"WHAT"`
	Alarm      string `help:"The alarm that it answers." placeholder:"ID"`
	Ticket     string `help:"The case." placeholder:"TEXT"`
	DryRun     bool   `help:"Say what would stop, and stop nothing."`
}

// Run stops it.
func (c *containStopCmd) Run(ctx context.Context, std Streams) error {
	if c.Credential == 0 && c.Principal == "" && c.Role == "" && !c.WholeBrand && !c.AllExports {
		return &usageError{"--brand says where, not what. Say what to contain: --credential, --principal, --role, --all-exports, or for everybody at the brand --whole-brand"}
	}
	in := api.ContainRequest{Credential: c.Credential, Principal: c.Principal, Role: c.Role, Brand: c.WholeBrand,
		AllExports: c.AllExports, Keep: c.Keep, Alarm: c.Alarm, Ticket: c.Ticket, DryRun: c.DryRun}
	return ask(ctx, std, &c.remote, "POST", client.Path("brands", c.Brand, "containments"), in, func(w io.Writer, out *api.Containment) {
		whom := ""
		if len(out.Principals) > 0 {
			whom = fmt.Sprintf(": %s; %d credentials", strings.Join(out.Principals, ", "), out.Credentials)
		}
		switch {
		case c.DryRun:
			fmt.Fprintf(w, "would stop the %s%s%s\n", out.Kind, named(out), whom)
			stops(w, out)
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

// stops prints what a containment stops.
func stops(w io.Writer, c *api.Containment) {
	if len(c.Principals) > 0 {
		fmt.Fprintf(w, "credentials that could be used: %d, of %s\n", c.Credentials, strings.Join(c.Principals, ", "))
	}
	for _, s := range c.Shown {
		fmt.Fprintf(w, "%s: %d customers in the last hour, %d in the last day\n", s.Class, s.Hour, s.Day)
	}
	if len(c.Shown) == 0 {
		fmt.Fprintln(w, "it was shown no customers in the last day")
	}
	if x := c.Exports; x != nil {
		fmt.Fprintf(w, "exports: %d asked for, %d approved, %d on their way\n", x.Requested, x.Approved, x.Leaving)
	}
	if c.Keep != "" {
		fmt.Fprintf(w, "goes on: %s\n", map[string]string{"masked": "masked views, tokens and writes", "tokens": "tokens and writes", "nothing": "nothing but responding"}[c.Keep])
	}
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

type containShowCmd struct {
	forBrand
	ID int64 `arg:"" help:"As contain list shows it."`
}

// Run shows one of what was stopped.
func (c *containShowCmd) Run(ctx context.Context, std Streams) error {
	return ask(ctx, std, &c.remote, "GET", client.Path("brands", c.Brand, "containments", fmt.Sprint(c.ID)), nil, func(w io.Writer, x *api.Containment) {
		fmt.Fprintf(w, "containment %d: the %s%s, since %s, by %s: %s\n", x.ID, x.Kind, named(x), x.At.Format("2006-01-02 15:04:05"), x.By, state(x))
		if x.Alarm != "" {
			fmt.Fprintf(w, "for the alarm %s\n", x.Alarm)
		}
		if x.Ended.IsZero() {
			stops(w, x)
		}
	})
}

// state says whether a containment holds.
func state(x *api.Containment) string {
	switch {
	case !x.Ended.IsZero():
		return "undone by " + x.AskedBy + " and " + x.EndedBy
	case !x.Asked.IsZero():
		return "holds; " + x.AskedBy + " asked to undo it"
	}
	return "holds"
}

type containListCmd struct{ forBrand }

// Run lists what was stopped.
func (c *containListCmd) Run(ctx context.Context, std Streams) error {
	return ask(ctx, std, &c.remote, "GET", client.Path("brands", c.Brand, "containments"), nil, func(w io.Writer, list *[]api.Containment) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tWHAT\tSINCE\tBY\tSTATE")
		for i := range *list {
			x := &(*list)[i]
			fmt.Fprintf(t, "%d\t%s%s\t%s\t%s\t%s\n", x.ID, x.Kind, named(x), x.At.Format("2006-01-02 15:04:05"), x.By, state(x))
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
