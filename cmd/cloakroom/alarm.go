package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
	Raise    alarmRaiseCmd `cmd:"" help:"Raise an alarm by hand: somebody called."`
	Ack      alarmAckCmd   `cmd:"" help:"Acknowledge an alarm: you are investigating it."`
	Close    alarmCloseCmd `cmd:"" help:"Close an alarm for a reason."`
	Receiver receiverCmd   `cmd:"" help:"Manage receivers of alarms: signed webhooks and e-mail."`
}

type alarmListCmd struct {
	remote
	Brand    string `help:"Brand name; without it, all brands whose alarms you may see." placeholder:"NAME"`
	State    string `help:"new, acknowledged, closed, or open for those not closed." enum:"new,acknowledged,closed,open,all" default:"open"`
	Severity string `help:"Lowest severity shown." enum:"low,medium,high,critical" default:"low"`
	Limit    int    `help:"Maximum number of rows." default:"50"`
	Watch    bool   `help:"Go on: print each alarm as it comes or changes, until Ctrl-C."`
}

// watchEvery is how often --watch asks.
const watchEvery = 2 * time.Second

// Run lists alarms.
func (c *alarmListCmd) Run(ctx context.Context, std Streams) error {
	if c.Limit < 1 {
		return &usageError{"--limit is at least 1"}
	}
	return c.with(ctx, std, func(v *connection) error {
		brands, err := c.brands(ctx, v)
		if err != nil {
			return err
		}
		list, brands, err := c.list(ctx, v, brands)
		if err != nil {
			return err
		}
		if !c.Watch {
			return c.print(std, api.Alarms{Alarms: list}, func(w io.Writer) { printAlarms(w, list, true) })
		}
		seen := map[string]string{}
		for first := true; ; first = false {
			news := []api.Alarm{}
			for _, a := range list {
				if key := a.Brand + " " + a.ID; seen[key] != a.State+a.Severity {
					seen[key] = a.State + a.Severity
					news = append(news, a)
				}
			}
			if first || len(news) > 0 {
				if err := c.print(std, api.Alarms{Alarms: news}, func(w io.Writer) { printAlarms(w, news, first) }); err != nil {
					return err
				}
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(watchEvery):
			}
			// A brand that refused is not asked again: each refusal is logged.
			if list, brands, err = c.list(ctx, v, brands); err != nil {
				return err
			}
		}
	})
}

// brands returns whose alarms are listed: one brand's, or those of all.
func (c *alarmListCmd) brands(ctx context.Context, v *connection) ([]string, error) {
	if c.Brand != "" {
		return []string{c.Brand}, nil
	}
	all, err := v.Brands(ctx)
	brands := []string{"group"}
	for _, b := range all {
		brands = append(brands, b.Name)
	}
	return brands, err
}

// list returns the alarms of those brands where the caller may see them, the newest first,
// and which they are.
func (c *alarmListCmd) list(ctx context.Context, v *connection, brands []string) (out []api.Alarm, allowed []string, err error) {
	out = []api.Alarm{}
	var refused error
	for _, brand := range brands {
		list, err := c.of(ctx, v, brand)
		if c.Brand == "" && unseen(err) {
			if e, _ := errors.AsType[*api.Error](err); e.Type == api.TypePolicyDenied {
				refused = err
			}
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		out, allowed = append(out, list...), append(allowed, brand)
	}
	if len(allowed) == 0 && refused != nil {
		return nil, nil, refused
	}
	slices.SortStableFunc(out, func(a, b api.Alarm) int { return b.At.Compare(a.At) })
	return out[:min(len(out), c.Limit)], allowed, nil
}

func (c *alarmListCmd) of(ctx context.Context, v *connection, brand string) ([]api.Alarm, error) {
	var out []api.Alarm
	before := ""
	for more := true; more && len(out) < c.Limit; {
		q := client.AlarmsQuery{Severity: c.Severity, Before: before, Limit: min(c.Limit-len(out), api.AlarmsPage)}
		if c.State != "all" {
			q.State = c.State
		}
		page, err := v.Alarms(ctx, brand, q)
		if err != nil {
			return nil, err
		}
		out, before = append(out, page.Alarms...), page.Before
		more = before != ""
	}
	return out, nil
}

func printAlarms(w io.Writer, list []api.Alarm, header bool) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no alarms")
		return
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	if header {
		fmt.Fprintln(t, "BRAND\tALARM\tAT\tSEVERITY\tSTATE\tWHO\tSEEN")
	}
	for i := range list {
		a := &list[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.Brand, a.ID, a.At.Format("2006-01-02 15:04"), a.Severity, a.State, who(a), a.Seen)
	}
	t.Flush()
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

// suspect is whom an alarm is about, as far as it is known.
func suspect(a *api.Alarm) string {
	switch {
	case a.Principal == 0:
		return "unknown"
	case a.Lineage == 0:
		return fmt.Sprintf("%s (principal %d)", who(a), a.Principal)
	}
	return fmt.Sprintf("%s (principal %d, role %s, lineage %d)", who(a), a.Principal, a.Role, a.Lineage)
}

func printAlarm(w io.Writer, a *api.Alarm) {
	fmt.Fprintf(w, "%s: %s, %s\n", a.ID, a.Severity, a.State)
	lines := [][2]string{
		{"at", a.At.Format(time.RFC3339) + fmt.Sprintf(", entry %d", a.Entry)},
		{"who", suspect(a)},
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
	if a.Contain != "" && a.State != "closed" {
		fmt.Fprintf(w, "To stop it:\n  %s\n", a.Contain)
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

type alarmRaiseCmd struct {
	forBrand
	Severity  string `help:"low, medium, high or critical." enum:"low,medium,high,critical" default:"high"`
	Source    string `help:"Where it comes from: call, mail, staff, partner, authority, press, claim (somebody claims to have data) or other." required:"" enum:"call,mail,staff,partner,authority,press,claim,other"`
	Principal string `help:"Name of the principal that it is about, where that is known." placeholder:"NAME"`
	Ticket    string `help:"Case number." placeholder:"CASE"`
}

// Run raises an alarm.
func (c *alarmRaiseCmd) Run(ctx context.Context, std Streams) error {
	in := api.RaiseRequest{Severity: c.Severity, Source: c.Source, Principal: c.Principal, Ticket: c.Ticket}
	call := func(v *connection) (*api.Alarm, error) { return v.RaiseAlarm(ctx, c.Brand, in) }
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
