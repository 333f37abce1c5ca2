package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

// containCmd stops a possible thief.
type containCmd struct {
	Stop    containStopCmd    `cmd:"" default:"withargs" help:"Stop a lineage, principal, role, brand or all exports, on every server."`
	Show    containShowCmd    `cmd:"" help:"Show one containment."`
	List    containListCmd    `cmd:"" help:"List containments, newest first."`
	Undo    containUndoCmd    `cmd:"" help:"Lift your own containment within 30 minutes; for any other, ask, and a second person confirms."`
	Confirm containConfirmCmd `cmd:"" help:"Confirm a requested undo."`
}

type containStopCmd struct {
	forBrand
	Lineage    uint64        `xor:"what" help:"Lineage: a credential and all made through it, by the number of any of them." placeholder:"NUMBER" aliases:"credential"` // mails sent before the rename name --credential
	Principal  string        `xor:"what" help:"Name of a person or service." placeholder:"NAME"`
	Role       string        `xor:"what" help:"Role; stops clear fields, searches and files." placeholder:"ROLE"`
	WholeBrand bool          `xor:"what" help:"Everybody at the brand; stops clear fields, searches and files."`
	AllExports bool          `xor:"what" help:"All exports of the brand."`
	Keep       string        `help:"What a role or the brand may still do: masked (masked views, tokens and writes), tokens (tokens and writes), nothing." enum:",masked,tokens,nothing" default:"" placeholder:"WHAT"`
	Alarm      string        `help:"Alarm that this responds to." placeholder:"ID"`
	Ticket     string        `help:"Case number." placeholder:"TEXT"`
	For        time.Duration `help:"Let it end by itself after this time, such as 2h; to extend it, contain again. Without, it holds until it is undone." placeholder:"TIME"`
	DryRun     bool          `help:"Show what would stop; change nothing."`
}

// Run contains.
func (c *containStopCmd) Run(ctx context.Context, std Streams) error {
	if c.Lineage == 0 && c.Principal == "" && c.Role == "" && !c.WholeBrand && !c.AllExports {
		return &usageError{"--brand says where, not what: add --lineage, --principal, --role, --all-exports, or --whole-brand for everybody at the brand"}
	}
	if c.For != 0 && c.For < time.Minute {
		return &usageError{"--for is at least 1m, such as --for 2h"}
	}
	in := api.ContainRequest{ForSeconds: int64(c.For / time.Second), Lineage: c.Lineage, Principal: c.Principal, Role: c.Role, Brand: c.WholeBrand,
		AllExports: c.AllExports, Keep: c.Keep, Alarm: c.Alarm, Ticket: c.Ticket, DryRun: c.DryRun}
	call := func(v *connection) (*api.Containment, error) { return v.Contain(ctx, c.Brand, in) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Containment) {
		whom := ""
		if len(out.Principals) > 0 {
			whom = fmt.Sprintf(": %s; %d credentials", strings.Join(out.Principals, ", "), out.Credentials)
		}
		switch {
		case c.DryRun:
			fmt.Fprintf(w, "would stop the %s%s%s\n", out.Kind, named(out), whom)
			stops(w, out)
		case out.TookMillis == 0:
			fmt.Fprintf(w, "containment %d is already in force, since %s\n", out.ID, out.At.Format("2006-01-02 15:04:05"))
		default:
			fmt.Fprintf(w, "containment %d: the %s%s is stopped on every server, after %d ms%s\n", out.ID, out.Kind, named(out), out.TookMillis, whom)
			if !out.Until.IsZero() {
				fmt.Fprintf(w, "It ends by itself at %s UTC\n", stamp(out.Until))
			}
			fmt.Fprintf(w, "If keys may have leaked, rotate them: cloakroom key rotate --brand %s, and with --kind index\n", c.Brand)
			fmt.Fprintf(w, "To undo: cloakroom contain undo --brand %s %d; after 30 minutes another person runs contain confirm, too\n", c.Brand, out.ID)
		}
		if out.Elsewhere {
			fmt.Fprintf(w, "Their roles at other brands are not stopped: to stop those too, use --brand group\n")
		}
	})
}

// stops prints the impact of a containment.
func stops(w io.Writer, c *api.Containment) {
	if len(c.Principals) > 0 {
		fmt.Fprintf(w, "usable credentials: %d, of %s\n", c.Credentials, strings.Join(c.Principals, ", "))
	}
	for _, s := range c.Shown {
		fmt.Fprintf(w, "%s: %d customers in the last hour, %d in the last day\n", s.Class, s.Hour, s.Day)
	}
	if len(c.Shown) == 0 {
		fmt.Fprintln(w, "no customers disclosed in the last day")
	}
	if x := c.Exports; x != nil {
		fmt.Fprintf(w, "exports: %d requested, %d approved, %d downloading\n", x.Requested, x.Approved, x.Leaving)
	}
	if c.Keep != "" {
		fmt.Fprintf(w, "still allowed: %s\n", map[string]string{"masked": "masked views, tokens and writes", "tokens": "tokens and writes", "nothing": "responding only"}[c.Keep])
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
	ID int64 `arg:"" help:"Number of the containment, from contain list."`
}

// Run shows a containment.
func (c *containShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Containment, error) { return v.Containment(ctx, c.Brand, c.ID) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.Containment) {
		fmt.Fprintf(w, "containment %d: the %s%s, since %s, by %s: %s\n", x.ID, x.Kind, named(x), x.At.Format("2006-01-02 15:04:05"), x.By, state(x))
		if x.Alarm != "" {
			fmt.Fprintf(w, "for the alarm %s\n", x.Alarm)
		}
		if x.Ended.IsZero() {
			stops(w, x)
		}
	})
}

// state says whether a containment is in force.
func state(x *api.Containment) string {
	switch {
	case !x.Ended.IsZero() && x.EndedBy == "":
		return "ended by itself " + stamp(x.Ended)
	case !x.Ended.IsZero() && x.AskedBy == x.EndedBy:
		return "undone by " + x.EndedBy + " alone"
	case !x.Ended.IsZero():
		return "undone by " + x.AskedBy + " and " + x.EndedBy
	case !x.Until.IsZero() && x.Asked.IsZero():
		return "in force until " + stamp(x.Until)
	case !x.Asked.IsZero():
		return "in force; undo requested by " + x.AskedBy
	}
	return "in force"
}

type containListCmd struct{ forBrand }

// Run lists containments.
func (c *containListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Containment, error) { return v.Containments(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Containment) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tWHAT\tSINCE\tBY\tSTATE")
		for i := range list {
			x := &list[i]
			fmt.Fprintf(t, "%d\t%s%s\t%s\t%s\t%s\n", x.ID, x.Kind, named(x), x.At.Format("2006-01-02 15:04:05"), x.By, state(x))
		}
		t.Flush()
	})
}

type containUndoCmd struct {
	forBrand
	ID int64 `arg:"" help:"Number of the containment, from contain list."`
}

// Run undoes a containment, or requests that.
func (c *containUndoCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Containment, error) { return v.UndoContainment(ctx, c.Brand, c.ID) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.Containment) {
		if !x.Ended.IsZero() {
			fmt.Fprintf(w, "containment %d is undone\n", x.ID)
			return
		}
		fmt.Fprintf(w, "Undo requested. A second responder must confirm within 24 h: cloakroom contain confirm --brand %s %d\n", c.Brand, x.ID)
	})
}

type containConfirmCmd struct {
	forBrand
	ID int64 `arg:"" help:"Number of the containment, from contain list."`
}

// Run confirms an undo.
func (c *containConfirmCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Containment, error) { return v.ConfirmUndo(ctx, c.Brand, c.ID) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.Containment) {
		fmt.Fprintf(w, "containment %d is undone\n", x.ID)
	})
}
