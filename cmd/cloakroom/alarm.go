package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
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

type receiverCmd struct {
	Add    receiverAddCmd    `cmd:"" help:"Send alarms to a URL or an e-mail address."`
	List   receiverListCmd   `cmd:"" help:"List receivers and their delivery status."`
	Resume receiverResumeCmd `cmd:"" help:"Retry delivery now, even after the vault gave up."`
	Remove receiverRemoveCmd `cmd:"" help:"Delete a receiver."`
}

type receiverAddCmd struct {
	forBrand
	Name      string `arg:"" help:"Lower-case letters, digits and hyphens."`
	URLFile   string `name:"url-file" help:"File with the URL; a URL may be a credential, and other users can read a command line." type:"existingfile" xor:"to" placeholder:"FILE"`
	Mailto    string `help:"E-mail address instead of a URL." xor:"to" placeholder:"ADDRESS"`
	SecretOut string `name:"secret-out" help:"New file for the webhook's signing secret, mode 0600." placeholder:"FILE"`
	Severity  string `help:"Lowest severity sent." enum:"low,medium,high,critical" default:"medium"`
	Past      bool   `help:"Also send existing alarms."`
}

// Help is the long help text.
func (receiverAddCmd) Help() string {
	return `Requests to a URL are signed as in Standard Webhooks: webhook-id, webhook-timestamp,
webhook-signature. The secret (whsec_...) goes into a file and is never printed; give
it to the receiver. An answer of 2xx confirms an alarm; the vault retries after any other.

Mail goes through the mail server that serve was given (--smtp-host, --smtp-from). A
file with mailto:ADDRESS does the same as --mailto.`
}

// Run adds a receiver.
func (c *receiverAddCmd) Run(ctx context.Context, std Streams) error {
	to := "mailto:" + c.Mailto
	switch {
	case c.URLFile != "":
		text, err := os.ReadFile(c.URLFile)
		if err != nil {
			return fmt.Errorf("reading the URL: %w", err)
		}
		to = strings.TrimSpace(string(text))
	case c.Mailto == "":
		return &usageError{"give --url-file or --mailto"}
	}
	in := api.ReceiverRequest{Name: c.Name, URL: to, Severity: c.Severity, Past: c.Past}
	if strings.HasPrefix(to, "mailto:") {
		if c.SecretOut != "" {
			return &usageError{"mail is not signed: leave --secret-out out"}
		}
		return c.add(ctx, std, in, io.Discard)
	}
	if c.SecretOut == "" {
		return &usageError{"give --secret-out: webhooks are signed"}
	}
	out, err := os.OpenFile(c.SecretOut, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("making the file for the secret: %w", err)
	}
	if err = errors.Join(c.add(ctx, std, in, out), out.Close()); err != nil {
		os.Remove(c.SecretOut)
	}
	return err
}

func (c *receiverAddCmd) add(ctx context.Context, std Streams, in api.ReceiverRequest, secret io.Writer) error {
	return c.with(ctx, std, func(v *connection) error {
		r, err := v.CreateReceiver(ctx, c.Brand, in)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(secret, r.Secret); err != nil {
			return fmt.Errorf("writing the secret: %w; remove the receiver and add it again", err)
		}
		r.Secret = ""
		return c.print(std, r, func(w io.Writer) {
			fmt.Fprintf(w, "Alarms of severity %s or higher go to %s at %s", r.Severity, r.Name, r.Host)
			if c.SecretOut != "" {
				fmt.Fprintf(w, "; the signing secret is in %s", c.SecretOut)
			}
			fmt.Fprintln(w)
		})
	})
}

type receiverListCmd struct{ forBrand }

// Run lists receivers.
func (c *receiverListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Receiver, error) { return v.Receivers(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Receiver) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		for _, r := range list {
			state := "served"
			switch {
			case !r.Stopped.IsZero():
				state = fmt.Sprintf("gave up at %s: %s; its alarms are kept, send them with: cloakroom alarm receiver resume", r.Stopped.Format(time.RFC3339), r.Fault)
			case r.Failures > 0:
				state = fmt.Sprintf("failed %d times, next retry %s: %s", r.Failures, r.NextTry.Format(time.RFC3339), r.Fault)
			case r.Fault != "":
				state = "waiting: " + r.Fault
			}
			fmt.Fprintf(t, "%s\t%s\t%s\tfrom %s\t%d delivered\t%s\n", r.Name, r.Kind, r.Host, r.Severity, r.Delivered, state)
		}
		t.Flush()
	})
}

type receiverResumeCmd struct {
	forBrand
	Name string `arg:""`
}

// Run lets a receiver be tried at once.
func (c *receiverResumeCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (struct{}, error) { return struct{}{}, v.ResumeReceiver(ctx, c.Brand, c.Name) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, _ struct{}) {
		fmt.Fprintln(w, "resumed", c.Name)
	})
}

type receiverRemoveCmd struct {
	forBrand
	Name string `arg:""`
}

// Run removes a receiver.
func (c *receiverRemoveCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (struct{}, error) { return struct{}{}, v.RemoveReceiver(ctx, c.Brand, c.Name) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, _ struct{}) {
		fmt.Fprintln(w, "removed", c.Name)
	})
}

type detectCmd struct {
	Rules  detectRulesCmd  `cmd:"" help:"Show or set a brand's rules."`
	Replay detectReplayCmd `cmd:"" help:"Show which alarms rules would have raised in the past; change nothing."`
}

type detectRulesCmd struct {
	forBrand
	Set     string `help:"Set the rules from a YAML file; missing settings have their defaults." type:"existingfile" xor:"set" placeholder:"FILE"`
	Default bool   `help:"Set the default rules." xor:"set"`
}

// Run shows or sets rules.
func (c *detectRulesCmd) Run(ctx context.Context, std Streams) error {
	var in api.DetectionRules
	if c.Set != "" {
		text, err := os.ReadFile(c.Set)
		if err != nil {
			return fmt.Errorf("reading the rules: %w", err)
		}
		in.Rules = string(text)
	}
	call := func(v *connection) (*api.DetectionRules, error) {
		if c.Set == "" && !c.Default {
			return v.DetectionRules(ctx, c.Brand)
		}
		return v.SetDetectionRules(ctx, c.Brand, in)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, r *api.DetectionRules) { fmt.Fprint(w, r.Rules) })
}

type detectReplayCmd struct {
	forBrand
	From  string `help:"Start day or time: 2026-11-01 or RFC 3339, UTC." placeholder:"TIME"`
	To    string `help:"End day or time, exclusive." placeholder:"TIME"`
	Rules string `help:"Rules to try (default: those in force at each time)." type:"existingfile" placeholder:"FILE"`
}

// Help is the long help text.
func (detectReplayCmd) Help() string {
	return `Replays the brand's log from its start, to learn what is usual, and shows the alarms
between --from and --to. Stores nothing and notifies nobody.`
}

// Run replays.
func (c *detectReplayCmd) Run(ctx context.Context, std Streams) error {
	var in api.ReplayRequest
	var err error
	if in.From, err = moment(c.From); err != nil {
		return err
	}
	if in.To, err = moment(c.To); err != nil {
		return err
	}
	if c.Rules != "" {
		text, err := os.ReadFile(c.Rules)
		if err != nil {
			return fmt.Errorf("reading the rules: %w", err)
		}
		in.Rules = string(text)
	}
	call := func(v *connection) (*api.Replayed, error) { return v.ReplayDetection(ctx, c.Brand, in) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, r *api.Replayed) {
		for i := range r.Alarms {
			a := &r.Alarms[i]
			fmt.Fprintf(w, "%s  %s  %s  %s\n  seen:  %s\n  usual: %s\n", a.At.Format("2006-01-02 15:04"), a.Severity, a.ID, who(a), a.Seen, a.Usual)
		}
		fmt.Fprintf(w, "%d alarms from %d entries; receivers would have been notified of %d\n", r.Count, r.Entries, r.Pages)
		for _, rule := range slices.Sorted(maps.Keys(r.Rules)) {
			fmt.Fprintf(w, "  %-10s %d\n", rule, r.Rules[rule])
		}
	})
}

func moment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, &usageError{"a time is a day such as 2026-11-01, or RFC 3339"}
}
