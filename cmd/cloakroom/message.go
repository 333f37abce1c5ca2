package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/cloakroom/cloakroom/api"
)

// messageCmd writes to customers through the vault.
type messageCmd struct {
	Send     messageSendCmd   `cmd:"" help:"Mail a template to customers; their addresses are shown to nobody."`
	List     messageListCmd   `cmd:"" help:"List messages, newest first."`
	Show     messageShowCmd   `cmd:"" help:"Show a message: how many people are in each state, and the state of each mail."`
	Stop     messageStopCmd   `cmd:"" help:"Stop a message permanently."`
	Resume   messageResumeCmd `cmd:"" help:"Go on with a message that paused by itself."`
	Settle   messageSettleCmd `cmd:"" help:"Say what became of a mail that is in doubt."`
	Test     messageTestCmd   `cmd:"" help:"Send a template's mail to invented people to an address of the brand."`
	OptOut   optOutCmd        `cmd:"" help:"Keep that a customer wants no mail of a channel, or wants it again."`
	Bounce   bounceCmd        `cmd:"" help:"Take in a mail that came back, from standard input."`
	Template templateCmd      `cmd:"" help:"Set and show templates of mail to customers."`
}

type templateCmd struct {
	Set  templateSetCmd  `cmd:"" help:"Ask another person to approve a version of a template."`
	Show templateShowCmd `cmd:"" help:"Show a template, with its mail to invented people."`
	List templateListCmd `cmd:"" help:"List templates."`
}

type templateSetCmd struct {
	forBrand
	File   string `arg:"" help:"Template, YAML or JSON; - is standard input." placeholder:"FILE"`
	Ticket string `help:"Case number." placeholder:"TEXT"`
	DryRun bool   `help:"Check it and show its mail to invented people; change nothing."`
}

// Help is the long help text.
func (templateSetCmd) Help() string {
	return `A template has a name, a purpose and a text in each language:

  name: shipped
  purpose: order-fulfilment
  variants:
    - language: en
      subject: Your order is on its way
      text: |
        Dear {{given_name|customer}},
        it left us. See https://www.gucci.example/orders.

Places are {{given_name}}, {{family_name}}, {{external_id}}, {{city}}, {{region}}, {{country}},
{{last_purchase}}, {{brand}} and {{code}}; what stands after | is used where there is no value.
Links go to https:// of the brand's own domain, that of mail_from. With channel: NAME
customers can opt out of it.`
}

// Run sets a template.
func (c *templateSetCmd) Run(ctx context.Context, std Streams) error {
	text, err := c.read(ctx, std)
	if err != nil {
		return err
	}
	var any map[string]any
	if err := yaml.Unmarshal(text, &any); err != nil {
		return &usageError{"the template is neither YAML nor JSON"}
	}
	plain, err := json.Marshal(any)
	if err != nil {
		return fmt.Errorf("reading the template: %w", err)
	}
	req := api.TemplateRequest{Ticket: c.Ticket, DryRun: c.DryRun}
	d := json.NewDecoder(bytes.NewReader(plain))
	d.DisallowUnknownFields()
	if err := d.Decode(&req.Template); err != nil {
		return &usageError{"the template has an unknown property: cloakroom help message template set"}
	}
	call := func(v *connection) (*api.TemplateAnswer, error) { return v.SetTemplate(ctx, c.Brand, req) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.TemplateAnswer) {
		if c.DryRun {
			printSamples(w, x)
			return
		}
		fmt.Fprintf(w, "template %s, version %d\n", x.Template.Name, x.Template.Version)
	})
}

func (c *templateSetCmd) read(ctx context.Context, std Streams) ([]byte, error) {
	if c.File == "-" {
		return io.ReadAll(newInput(ctx, std.In))
	}
	text, err := os.ReadFile(c.File)
	if err != nil {
		return nil, fmt.Errorf("reading the template: %w", err)
	}
	return text, nil
}

func printSamples(w io.Writer, x *api.TemplateAnswer) {
	fmt.Fprintf(w, "template %s, version %d, for %s; fields: %s\n", x.Template.Name, x.Template.Version, x.Template.Purpose, strings.Join(x.Template.Fields, ", "))
	for _, s := range x.Samples {
		fmt.Fprintf(w, "\n--- %s, %s\nSubject: %s\n\n%s", s.Language, s.Case, s.Subject, s.Text)
	}
}

type templateShowCmd struct {
	forBrand
	Name    string `arg:"" help:"Name of the template."`
	Version int    `help:"Version (default: the newest)." placeholder:"NUMBER"`
}

// Run shows a template.
func (c *templateShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.TemplateAnswer, error) {
		return v.Client.Template(ctx, c.Brand, c.Name, c.Version)
	}
	return ask(ctx, std, &c.remote, call, printSamples)
}

type templateListCmd struct{ forBrand }

// Run lists templates.
func (c *templateListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.StoredTemplate, error) { return v.Templates(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.StoredTemplate) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "NAME\tVERSION\tPURPOSE\tCHANNEL\tLANGUAGES\tBY")
		for _, x := range list {
			var langs []string
			for _, v := range x.Variants {
				langs = append(langs, v.Language)
			}
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", x.Name, x.Version, x.Purpose, x.Channel, strings.Join(langs, " "), x.By)
		}
		t.Flush()
	})
}

type messageSendCmd struct {
	forBrand
	Template string        `help:"Name of the template." required:"" placeholder:"NAME"`
	Version  int           `help:"Version of the template (default: the newest)." placeholder:"NUMBER"`
	Ticket   string        `help:"Case number." placeholder:"TEXT"`
	Wait     time.Duration `help:"Wait this long until nobody is left to write to, and show how far it is." placeholder:"TIME"`
	DryRun   bool          `help:"Check the template, the policy and the budget; send nothing."`
	Tokens   []string      `arg:"" help:"Tokens of customers."`
}

// Run sends a message.
func (c *messageSendCmd) Run(ctx context.Context, std Streams) error {
	req := api.MessageRequest{Template: c.Template, Version: c.Version, Tokens: c.Tokens, Ticket: c.Ticket, DryRun: c.DryRun}
	call := func(v *connection) (*api.MailJob, error) {
		j, err := v.SendMessage(ctx, c.Brand, req)
		if err != nil || c.Wait == 0 || c.DryRun {
			return j, err
		}
		return await(ctx, std, j, c.Wait, func() (*api.MailJob, error) { return v.Message(ctx, c.Brand, j.Number) })
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, j *api.MailJob) {
		if c.DryRun {
			fmt.Fprintf(w, "would write to %d people: %s, version %d, for %s\n", j.People, j.Template, j.Version, j.Purpose)
			return
		}
		printJob(w, "message", j)
	})
}

// await looks at a job until nobody is left to write to, or a time is over.
func await(ctx context.Context, std Streams, j *api.MailJob, within time.Duration, look func() (*api.MailJob, error)) (*api.MailJob, error) {
	deadline := time.Now().Add(within)
	last := ""
	for {
		now, err := look()
		if err != nil {
			return nil, err
		}
		if text := states(now); text != last {
			fmt.Fprintln(std.Err, text)
			last = text
		}
		if now.Finished || now.State == "paused" || now.State == "stopped" || now.State == "ready" || time.Now().After(deadline) {
			return now, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// states are the figures of a job in one line.
func states(j *api.MailJob) string {
	sums := map[string]int64{}
	var order []string
	for _, c := range j.States {
		if _, ok := sums[c.State]; !ok {
			order = append(order, c.State)
		}
		sums[c.State] += c.People
	}
	var out []string
	for _, s := range order {
		out = append(out, fmt.Sprintf("%d %s", sums[s], s))
	}
	if len(out) == 0 {
		return fmt.Sprintf("%d people", j.People)
	}
	return fmt.Sprintf("%d people: %s", j.People, strings.Join(out, ", "))
}

func printJob(w io.Writer, kind string, j *api.MailJob) {
	state := j.State
	if j.Finished {
		state = "finished"
	}
	if j.Reason != "" {
		state += " (" + j.Reason + ")"
	}
	fmt.Fprintf(w, "%s %d: %s, version %d: %s\n%s\n", kind, j.Number, j.Template, j.Version, state, states(j))
	if !j.HeldUntil.IsZero() {
		fmt.Fprintf(w, "held until %s\n", j.HeldUntil.UTC().Format(time.DateOnly))
	}
	if kind != "campaign" {
		return
	}
	for _, c := range j.States {
		lang := strings.TrimSuffix(c.Language, " *")
		if lang != c.Language {
			lang += ", for want of their language"
		}
		fmt.Fprintf(w, "  %d %s, %s\n", c.People, c.State, lang)
	}
}

type messageListCmd struct{ forBrand }

// Run lists messages.
func (c *messageListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.MailJob, error) { return v.Messages(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, listJobs)
}

func listJobs(w io.Writer, list []api.MailJob) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "NUMBER\tTEMPLATE\tSTATE\tBY\tAT\tPEOPLE")
	for i := range list {
		j := &list[i]
		state := j.State
		if j.Finished {
			state = "finished"
		}
		fmt.Fprintf(t, "%d\t%s/%d\t%s\t%s\t%s\t%s\n", j.Number, j.Template, j.Version, state, j.By, stamp(j.At), states(j))
	}
	t.Flush()
}

type messageShowCmd struct {
	forBrand
	Number uint64 `arg:"" help:"Number of the message."`
	Lines  bool   `help:"Show the state of each mail."`
	State  string `help:"With --lines, only mails in this state, such as in-doubt." placeholder:"STATE"`
}

// Run shows a message.
func (c *messageShowCmd) Run(ctx context.Context, std Streams) error {
	if !c.Lines && c.State == "" {
		call := func(v *connection) (*api.MailJob, error) { return v.Message(ctx, c.Brand, c.Number) }
		return ask(ctx, std, &c.remote, call, func(w io.Writer, j *api.MailJob) { printJob(w, "message", j) })
	}
	call := func(v *connection) ([]api.MailLine, error) {
		return everyLine(func(after uint64) (*api.MailLines, error) {
			return v.MessageLines(ctx, c.Brand, c.Number, after, c.State, false)
		})
	}
	return ask(ctx, std, &c.remote, call, printLines)
}

// everyLine reads all pages; a person whose versions lie on two pages is shown once.
func everyLine(page func(after uint64) (*api.MailLines, error)) ([]api.MailLine, error) {
	out := []api.MailLine{}
	seen := map[string]bool{}
	for after := uint64(0); ; {
		p, err := page(after)
		if err != nil {
			return nil, err
		}
		for _, l := range p.Lines {
			if key := fmt.Sprint(l.Token, l.Row, l.Version); !seen[key] {
				seen[key] = true
				out = append(out, l)
			}
		}
		if p.Next == 0 {
			return out, nil
		}
		after = p.Next
	}
}

func printLines(w io.Writer, list []api.MailLine) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "CUSTOMER\tVERSION\tSTATE\tQUEUE\tENTRY\tAT\tREASON")
	for _, l := range list {
		who := l.Token
		if who == "" {
			who = fmt.Sprint(l.Row)
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%d\t%s\t%s\n", who, l.Version, l.State, l.Queue, l.Entry, stamp(l.At), strings.TrimSpace(l.Reason+" "+l.Print))
	}
	t.Flush()
}

type messageStopCmd struct {
	forBrand
	Number uint64 `arg:"" help:"Number of the message."`
	Reason string `help:"Why." placeholder:"TEXT"`
	Ticket string `help:"Case number." placeholder:"TEXT"`
}

// Run stops a message.
func (c *messageStopCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.MailJob, error) {
		return v.StopMessage(ctx, c.Brand, c.Number, api.JobStepRequest{Reason: c.Reason, Ticket: c.Ticket})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, j *api.MailJob) { printJob(w, "message", j) })
}

type messageResumeCmd struct {
	forBrand
	Number uint64 `arg:"" help:"Number of the message."`
	Ticket string `help:"Case number." placeholder:"TEXT"`
}

// Run resumes a message.
func (c *messageResumeCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.MailJob, error) {
		return v.ResumeMessage(ctx, c.Brand, c.Number, api.JobStepRequest{Ticket: c.Ticket})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, j *api.MailJob) { printJob(w, "message", j) })
}

type messageSettleCmd struct {
	forBrand
	Number uint64 `arg:"" help:"Number of the message."`
	Token  string `arg:"" help:"Token of the customer."`
	As     string `help:"What became of the mail, as the mail server's own log says: accepted or refused." enum:"accepted,refused" required:"" placeholder:"STATE"`
	Ticket string `help:"Case number." placeholder:"TEXT"`
}

// Run settles a mail.
func (c *messageSettleCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.MailJob, error) {
		return v.SettleMessage(ctx, c.Brand, c.Number, api.SettleRequest{Token: c.Token, As: c.As, Ticket: c.Ticket})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, j *api.MailJob) { printJob(w, "message", j) })
}

type messageTestCmd struct {
	forBrand
	Template string `help:"Name of the template." required:"" placeholder:"NAME"`
	Version  int    `help:"Version of the template (default: the newest)." placeholder:"NUMBER"`
	Language string `help:"Only this language." placeholder:"TAG"`
	To       string `help:"Address at the brand's own domain." required:"" placeholder:"ADDRESS"`
}

// Run sends a test.
func (c *messageTestCmd) Run(ctx context.Context, std Streams) error {
	req := api.MailTestRequest{Template: c.Template, Version: c.Version, Language: c.Language, To: c.To}
	call := func(v *connection) (*api.MailTested, error) { return v.TestMessage(ctx, c.Brand, req) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.MailTested) {
		fmt.Fprintf(w, "the mail server took %d mails of invented people\n", x.Mails)
	})
}

type optOutCmd struct {
	forBrand
	Token   string `arg:"" help:"Token of the customer."`
	Channel string `help:"Channel of templates, or all." default:"all" placeholder:"NAME"`
	Again   bool   `help:"They want it again."`
	Ticket  string `help:"Case number." placeholder:"TEXT"`
}

// Run keeps an opt-out.
func (c *optOutCmd) Run(ctx context.Context, std Streams) error {
	req := api.OptOutRequest{Token: c.Token, Channel: c.Channel, Again: c.Again, Ticket: c.Ticket}
	call := func(v *connection) (*api.OptOuts, error) { return v.OptOut(ctx, c.Brand, req) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.OptOuts) {
		if len(x.Channels) == 0 {
			fmt.Fprintln(w, "opted out of nothing")
		}
		for _, o := range x.Channels {
			fmt.Fprintf(w, "opted out of %s since %s\n", o.Channel, stamp(o.Since))
		}
	})
}

type bounceCmd struct{ forBrand }

// Help is the long help text.
func (bounceCmd) Help() string {
	return `The mail server pipes what comes to the brand's sender into this command. It needs a key in
CLOAKROOM_KEY, of a service with the role mail-receiver. Of a mail that came back the vault
keeps the status alone, such as 5.1.1. Other mail is refused.`
}

// Run takes a bounce in.
func (c *bounceCmd) Run(ctx context.Context, std Streams) error {
	text, err := io.ReadAll(io.LimitReader(newInput(ctx, std.In), 1_000_000))
	if err != nil {
		return fmt.Errorf("reading the mail: %w", err)
	}
	call := func(v *connection) (*api.BounceAnswer, error) {
		return v.Bounce(ctx, c.Brand, api.BounceRequest{Message: string(text)})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.BounceAnswer) {
		fmt.Fprintf(w, "%d mails bounced\n", x.Mails)
	})
}
