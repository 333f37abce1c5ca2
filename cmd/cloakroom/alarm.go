package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
)

type alarmCmd struct {
	List     alarmListCmd  `cmd:"" help:"List alarms, newest first."`
	Show     alarmShowCmd  `cmd:"" help:"Show one alarm: what was usual, and what was seen."`
	Ack      alarmAckCmd   `cmd:"" help:"Acknowledge an alarm: you are investigating it."`
	Close    alarmCloseCmd `cmd:"" help:"Close an alarm for a reason."`
	Receiver receiverCmd   `cmd:"" help:"Manage receivers of alarms: signed webhooks and e-mail."`
}

type alarmListCmd struct {
	forBrand
	State    string `help:"new, acknowledged, closed, or open for those not closed." enum:"new,acknowledged,closed,open,all" default:"open"`
	Severity string `help:"Lowest severity shown." enum:"low,medium,high,critical" default:"low"`
	Limit    int    `help:"Maximum number of rows." default:"50"`
}

// Run lists alarms.
func (c *alarmListCmd) Run(ctx context.Context, std Streams) error {
	if c.Limit < 1 {
		return &usageError{"--limit is at least 1"}
	}
	return c.with(ctx, std, func(v *connection) error {
		out := api.Alarms{Alarms: []api.Alarm{}}
		for more := true; more && len(out.Alarms) < c.Limit; {
			q := client.AlarmsQuery{Severity: c.Severity, Before: out.Before, Limit: min(c.Limit-len(out.Alarms), api.AlarmsPage)}
			if c.State != "all" {
				q.State = c.State
			}
			page, err := v.Alarms(ctx, c.Brand, q)
			if err != nil {
				return err
			}
			out.Alarms, out.Before = append(out.Alarms, page.Alarms...), page.Before
			more = page.Before != ""
		}
		return c.print(std, out, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
			for _, a := range out.Alarms {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", a.ID, a.At.Format("2006-01-02 15:04"), a.Severity, a.State, who(&a), a.Seen)
			}
			t.Flush()
			if len(out.Alarms) == 0 {
				fmt.Fprintln(w, "no alarms")
			}
		})
	})
}

func who(a *api.Alarm) string {
	switch {
	case a.Name != "":
		return a.Name
	case a.Principal == 0: // mail to a canary comes from outside
		return "unknown"
	}
	return fmt.Sprint("principal ", a.Principal)
}

func printAlarm(w io.Writer, a *api.Alarm) {
	fmt.Fprintf(w, "%s: %s, %s\n", a.ID, a.Severity, a.State)
	lines := [][2]string{
		{"at", a.At.Format(time.RFC3339) + fmt.Sprintf(", entry %d", a.Entry)},
		{"who", fmt.Sprintf("%s (principal %d, role %s, lineage %d)", who(a), a.Principal, a.Role, a.Lineage)},
		{"customers", strconv.Itoa(a.Customers)}, {"seen", a.Seen}, {"usual", a.Usual},
	}
	if !a.AcknowledgedAt.IsZero() {
		lines = append(lines, [2]string{"acknowledged", fmt.Sprintf("%s by principal %d", a.AcknowledgedAt.Format(time.RFC3339), a.AcknowledgedBy)})
	}
	if !a.ClosedAt.IsZero() {
		lines = append(lines, [2]string{"closed", strings.TrimSpace(fmt.Sprintf("%s by principal %d: %s %s", a.ClosedAt.Format(time.RFC3339), a.ClosedBy, a.Reason, a.Ticket))})
	}
	switch {
	case a.Earlier != "" && a.Repeat:
		lines = append(lines, [2]string{"repeats", a.Earlier})
	case a.Earlier != "":
		lines = append(lines, [2]string{"earlier", a.Earlier})
	}
	if a.Repeats > 0 {
		lines = append(lines, [2]string{"repeated", strconv.Itoa(a.Repeats) + " times while it was open"})
	}
	for _, l := range lines {
		fmt.Fprintf(w, "  %-13s %s\n", l[0], l[1])
	}
}

type alarmShowCmd struct {
	forBrand
	ID string `arg:"" help:"Alarm ID, such as 1234-walk."`
}

// Run shows an alarm.
func (c *alarmShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Alarm, error) { return v.Alarm(ctx, c.Brand, c.ID) }
	return ask(ctx, std, &c.remote, call, printAlarm)
}

type alarmAckCmd struct {
	forBrand
	ID string `arg:"" help:"Alarm ID."`
}

// Run acknowledges an alarm.
func (c *alarmAckCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Alarm, error) { return v.AcknowledgeAlarm(ctx, c.Brand, c.ID) }
	return ask(ctx, std, &c.remote, call, printAlarm)
}

type alarmCloseCmd struct {
	forBrand
	ID     string `arg:"" help:"Alarm ID."`
	Reason string `help:"expected, mistaken, contained, duplicate or exercise." required:"" enum:"expected,mistaken,contained,duplicate,exercise"`
	Ticket string `help:"Case number." placeholder:"CASE"`
}

// Run closes an alarm.
func (c *alarmCloseCmd) Run(ctx context.Context, std Streams) error {
	in := api.CloseRequest{Reason: c.Reason, Ticket: c.Ticket}
	call := func(v *connection) (*api.Alarm, error) { return v.CloseAlarm(ctx, c.Brand, c.ID, in) }
	return ask(ctx, std, &c.remote, call, printAlarm)
}

// Help is the long help text.
func (receiverAddCmd) Help() string {
	return `Requests to a URL are signed as in Standard Webhooks: webhook-id, webhook-timestamp,
webhook-signature. The secret (whsec_...) goes into a file and is never printed; give
it to the receiver. An answer of 2xx confirms an alarm; the vault retries after any other.

Mail goes through the mail server that serve was given (--smtp-host, --smtp-from). A
file with mailto:ADDRESS does the same as --mailto.`
}

// Help is the long help text.
func (detectReplayCmd) Help() string {
	return `Replays the brand's log from its start, to learn what is usual, and shows the alarms
between --from and --to. Stores nothing and notifies nobody.`
}
