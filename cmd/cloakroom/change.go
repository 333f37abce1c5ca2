package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/cloakroom/cloakroom/api"
)

// changeCmd is about acts that need a second person.
type changeCmd struct {
	List     changeListCmd     `cmd:"" help:"List changes that you asked for or may approve, newest first."`
	Show     changeShowCmd     `cmd:"" help:"Show what a change does and what it waits for."`
	Approve  changeApproveCmd  `cmd:"" help:"Approve a change as a second person."`
	Refuse   changeRefuseCmd   `cmd:"" help:"Refuse a change as a second person."`
	Withdraw changeWithdrawCmd `cmd:"" help:"Withdraw a change that you asked for."`

	AskImport   askImportCmd   `cmd:"" help:"Ask two people for an import that changes more customers than the budget."`
	AskWrites   askWritesCmd   `cmd:"" help:"Ask two people for a standing approval of a service's writes."`
	Approvals   approvalsCmd   `cmd:"" help:"List approvals of writes, newest first."`
	EndApproval endApprovalCmd `cmd:"" help:"End an approval of writes."`

	BreakGlass  changeGlassCmd `cmd:"" help:"Make a change of yours take effect by one hand, after a delay; everybody is notified."`
	Acknowledge changeAckCmd   `cmd:"" help:"Acknowledge, as another person, that glass was broken."`
}

// Help is the long help text.
func (changeCmd) Help() string {
	return `Acts by which somebody could see more, or could be noticed less, take two people. A
command that asks for one prints its change and exits with status 5; nothing changed
yet. Another person, with an approving role for at least 24 hours, decides:

  cloakroom change list
  cloakroom change show chg_k3v...
  cloakroom change approve chg_k3v...

docs/separation.md lists the acts and says who may be second.`
}

type changeListCmd struct{ remote }

// Run lists changes.
func (c *changeListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Change, error) { return v.Changes(ctx) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Change) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tBRAND\tACT\tASKED\tBY\tSTATE")
		for i := range list {
			x := &list[i]
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", x.ID, x.Brand, x.Act, x.Asked.Format("2006-01-02 15:04:05"), x.AskedBy, stateOf(x))
		}
		t.Flush()
	})
}

func stateOf(x *api.Change) string {
	if x.Mark != "" {
		return x.State + " (" + strings.ReplaceAll(x.Mark, " ", ", ") + ")"
	}
	return x.State
}

// changeID is the change that a command is about.
type changeID struct {
	remote
	ID string `arg:"" help:"The change, from change list."`
}

func printChange(w io.Writer, x *api.Change) {
	fmt.Fprintf(w, "change %s at %s: %s, asked by %s at %s\n", x.ID, x.Brand, stateOf(x), x.AskedBy, x.Asked.Format("2006-01-02 15:04:05"))
	if x.Title != "" {
		fmt.Fprintln(w, x.Title)
	}
	for _, l := range x.Lines {
		fmt.Fprintln(w, "  "+l)
	}
	if x.Second != "" {
		fmt.Fprintf(w, "decided by %s at %s\n", x.Second, x.Decided.Format("2006-01-02 15:04:05"))
	}
	if x.Conflict != "" {
		fmt.Fprintln(w, "It cannot take effect now: "+x.Conflict)
	}
	if x.Waits != "" {
		fmt.Fprintln(w, "It waits for "+x.Waits+".")
	}
	if len(x.May) > 0 {
		fmt.Fprintln(w, "May approve it: "+strings.Join(x.May, ", "))
	}
	if len(x.Answer) > 0 {
		fmt.Fprintln(w, string(x.Answer))
	}
}

type changeShowCmd struct{ changeID }

// Run shows a change.
func (c *changeShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Change, error) { return v.Change(ctx, c.ID) }
	return ask(ctx, std, &c.remote, call, printChange)
}

type changeApproveCmd struct{ changeID }

// Run approves a change.
func (c *changeApproveCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Change, error) { return v.ApproveChange(ctx, c.ID) }
	return ask(ctx, std, &c.remote, call, printChange)
}

type changeRefuseCmd struct{ changeID }

// Run refuses a change.
func (c *changeRefuseCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Change, error) { return v.RefuseChange(ctx, c.ID) }
	return ask(ctx, std, &c.remote, call, printChange)
}

type changeWithdrawCmd struct{ changeID }

// Run withdraws a change.
func (c *changeWithdrawCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Change, error) { return v.WithdrawChange(ctx, c.ID) }
	return ask(ctx, std, &c.remote, call, printChange)
}

type changeGlassCmd struct {
	changeID
	Reason string `help:"Why no second person can be waited for; it is logged." required:"" placeholder:"TEXT"`
}

// Help is the long help text.
func (changeGlassCmd) Help() string {
	return `Only while no second person can be reached. The receivers of alarms are notified at once, and
again when the change takes effect, 4 hours later. Anybody who may approve may refuse it
until then. Where it lets somebody see more, another person has to acknowledge it:

  cloakroom change break-glass chg_k3v... --reason "both officers are on a plane"
  cloakroom change acknowledge chg_k3v...      # another person

Codes of invitations are shown at the vault's own machine, by the same command after the
delay.`
}

// Run breaks glass.
func (c *changeGlassCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Change, error) { return v.BreakGlass(ctx, c.ID, c.Reason) }
	return ask(ctx, std, &c.remote, call, printChange)
}

type changeAckCmd struct{ changeID }

// Run acknowledges.
func (c *changeAckCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Change, error) { return v.AcknowledgeChange(ctx, c.ID) }
	return ask(ctx, std, &c.remote, call, printChange)
}
