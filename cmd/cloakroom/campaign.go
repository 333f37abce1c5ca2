package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

// campaignCmd writes to everybody in the scope of an incident.
type campaignCmd struct {
	Plan       campaignPlanCmd    `cmd:"" help:"Plan a notice to everybody in a version of an incident's scope."`
	Request    campaignRequestCmd `cmd:"" help:"Ask another person to approve a planned campaign."`
	List       campaignListCmd    `cmd:"" help:"List campaigns, newest first."`
	Show       campaignShowCmd    `cmd:"" help:"Show a campaign: how many people are in each state, and one line a person."`
	Pause      campaignPauseCmd   `cmd:"" help:"Pause a campaign."`
	Hold       campaignHoldCmd    `cmd:"" help:"Keep a campaign until a day, because law enforcement asked for it."`
	Resume     campaignResumeCmd  `cmd:"" help:"Ask another person to let a paused campaign go on."`
	Stop       campaignStopCmd    `cmd:"" help:"Stop a campaign permanently."`
	Settle     campaignSettleCmd  `cmd:"" help:"Say what became of a mail in doubt, or have a mail sent once more."`
	PrintHouse printHouseCmd      `cmd:"" help:"Ask another person to approve the print house of the letters."`
	Letters    lettersCmd         `cmd:"" help:"Hand the letters to the approved print house: JSON, a letter a line."`
	Printed    printedCmd         `cmd:"" help:"Record that letters were printed, or came back."`
}

type campaignPlanCmd struct {
	forBrand
	Incident string        `help:"Number of the incident; group-3 for one of the group." required:"" placeholder:"NUMBER"`
	Scope    int           `name:"scope-version" help:"Version of its scope." required:"" placeholder:"NUMBER"`
	Template string        `help:"Name of the template." required:"" placeholder:"NAME"`
	Version  int           `help:"Version of the template (default: the newest)." placeholder:"NUMBER"`
	Ticket   string        `help:"Case number." placeholder:"TEXT"`
	Wait     time.Duration `help:"Wait this long until it is planned, and show how far it is." default:"1m" placeholder:"TIME"`
	DryRun   bool          `help:"Check everything and say how many people are in the scope; plan nothing."`
}

// Run plans a campaign.
func (c *campaignPlanCmd) Run(ctx context.Context, std Streams) error {
	req := api.CampaignRequest{Incident: c.Incident, ScopeVersion: c.Scope, Template: c.Template, Version: c.Version, Ticket: c.Ticket, DryRun: c.DryRun}
	call := func(v *connection) (*api.MailJob, error) {
		j, err := v.PlanCampaign(ctx, c.Brand, req)
		if err != nil || c.DryRun {
			return j, err
		}
		return await(ctx, std, j, c.Wait, func() (*api.MailJob, error) { return v.Campaign(ctx, c.Brand, j.Number) })
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, j *api.MailJob) {
		if c.DryRun {
			fmt.Fprintf(w, "would plan a campaign to %d people: %s, version %d\n", j.People, j.Template, j.Version)
			return
		}
		printJob(w, "campaign", j)
		if j.State == "ready" {
			fmt.Fprintf(w, "To send it: cloakroom campaign request --brand %s %d\n", c.Brand, j.Number)
		}
	})
}

// ofCampaign is part of verbs about one campaign.
type ofCampaign struct {
	forBrand
	Number uint64 `arg:"" help:"Number of the campaign."`
	Ticket string `help:"Case number." placeholder:"TEXT"`
}

// campaignStep is a call that moves a campaign on.
type campaignStep func(v *connection, ctx context.Context, brand string, n uint64, req api.JobStepRequest) (*api.MailJob, error)

func (c *ofCampaign) step(ctx context.Context, std Streams, step campaignStep, req api.JobStepRequest) error {
	req.Ticket = c.Ticket
	call := func(v *connection) (*api.MailJob, error) { return step(v, ctx, c.Brand, c.Number, req) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, j *api.MailJob) { printJob(w, "campaign", j) })
}

type campaignRequestCmd struct{ ofCampaign }

// Help is the long help text.
func (campaignRequestCmd) Help() string {
	return `The approver sees how many people get which text, who gets none and why, and the text for
invented people: one without a given name, one with the longest values, one who writes from
right to left, one without purchases (cloakroom change show, cloakroom change approve).`
}

// Run asks for a campaign.
func (c *campaignRequestCmd) Run(ctx context.Context, std Streams) error {
	return c.step(ctx, std, (*connection).RequestCampaign, api.JobStepRequest{})
}

type campaignPauseCmd struct {
	ofCampaign
	Reason string `help:"Why." placeholder:"TEXT"`
}

// Run pauses a campaign.
func (c *campaignPauseCmd) Run(ctx context.Context, std Streams) error {
	return c.step(ctx, std, (*connection).PauseCampaign, api.JobStepRequest{Reason: c.Reason})
}

type campaignHoldCmd struct {
	ofCampaign
	Until  string `help:"Day on which the hold ends." required:"" placeholder:"DATE"`
	Reason string `help:"Who asked." placeholder:"TEXT"`
}

// Run holds a campaign.
func (c *campaignHoldCmd) Run(ctx context.Context, std Streams) error {
	day, err := time.Parse(time.DateOnly, c.Until)
	if err != nil {
		return &usageError{"--until is a day, such as 2026-12-31"}
	}
	return c.step(ctx, std, (*connection).HoldCampaign, api.JobStepRequest{Reason: c.Reason, Until: day})
}

type campaignResumeCmd struct{ ofCampaign }

// Run asks to let a campaign go on.
func (c *campaignResumeCmd) Run(ctx context.Context, std Streams) error {
	return c.step(ctx, std, (*connection).ResumeCampaign, api.JobStepRequest{})
}

type campaignStopCmd struct {
	ofCampaign
	Reason string `help:"Why." placeholder:"TEXT"`
}

// Run stops a campaign.
func (c *campaignStopCmd) Run(ctx context.Context, std Streams) error {
	return c.step(ctx, std, (*connection).StopCampaign, api.JobStepRequest{Reason: c.Reason})
}

type campaignListCmd struct{ forBrand }

// Run lists campaigns.
func (c *campaignListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.MailJob, error) { return v.Campaigns(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, listJobs)
}

type campaignShowCmd struct {
	forBrand
	Number uint64        `arg:"" help:"Number of the campaign."`
	Lines  bool          `help:"Show one line a person, with the mail server's own number. People are the row numbers of evidence."`
	State  string        `help:"With --lines, only people in this state, such as in-doubt." placeholder:"STATE"`
	Tokens bool          `help:"With --lines, name people by their tokens."`
	Wait   time.Duration `help:"Wait this long until nobody is left to write to." placeholder:"TIME"`
}

// Run shows a campaign.
func (c *campaignShowCmd) Run(ctx context.Context, std Streams) error {
	if c.Lines || c.State != "" {
		call := func(v *connection) ([]api.MailLine, error) {
			return everyLine(func(after uint64) (*api.MailLines, error) {
				return v.CampaignLines(ctx, c.Brand, c.Number, after, c.State, c.Tokens)
			})
		}
		return ask(ctx, std, &c.remote, call, printLines)
	}
	call := func(v *connection) (*api.MailJob, error) {
		j, err := v.Campaign(ctx, c.Brand, c.Number)
		if err != nil || c.Wait == 0 {
			return j, err
		}
		return await(ctx, std, j, c.Wait, func() (*api.MailJob, error) { return v.Campaign(ctx, c.Brand, c.Number) })
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, j *api.MailJob) { printJob(w, "campaign", j) })
}

type campaignSettleCmd struct {
	forBrand
	Number uint64 `arg:"" help:"Number of the campaign."`
	Token  string `arg:"" help:"Token of the customer."`
	As     string `help:"accepted or refused, as the mail server's own log says; again: once more, with a code of its own, such as to an address that was corrected." enum:"accepted,refused,again" required:"" placeholder:"STATE"`
	Ticket string `help:"Case number." placeholder:"TEXT"`
}

// Run settles a mail.
func (c *campaignSettleCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.MailJob, error) {
		return v.SettleCampaign(ctx, c.Brand, c.Number, api.SettleRequest{Token: c.Token, As: c.As, Ticket: c.Ticket})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, j *api.MailJob) { printJob(w, "campaign", j) })
}

// toPrinter is part of verbs about letters.
type toPrinter struct {
	ofCampaign
	To      string `help:"Who prints." required:"" placeholder:"NAME"`
	Country string `help:"Where they are." placeholder:"CODE"`
}

type printHouseCmd struct{ toPrinter }

// Run asks for a print house.
func (c *printHouseCmd) Run(ctx context.Context, std Streams) error {
	req := api.PrintRequest{Recipient: c.To, Country: c.Country, Ticket: c.Ticket}
	call := func(v *connection) (*api.MailJob, error) { return v.PrintHouse(ctx, c.Brand, c.Number, req) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, j *api.MailJob) { printJob(w, "campaign", j) })
}

type lettersCmd struct{ toPrinter }

// Run hands letters over.
func (c *lettersCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Letter, error) {
		out := []api.Letter{}
		for after := uint64(0); ; {
			p, err := v.Letters(ctx, c.Brand, c.Number, api.PrintRequest{Recipient: c.To, Country: c.Country, After: after, Ticket: c.Ticket})
			if err != nil {
				return nil, err
			}
			if out = append(out, p.Letters...); p.Next == 0 {
				return out, nil
			}
			after = p.Next
		}
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Letter) {
		for _, l := range list {
			b, err := json.Marshal(l)
			if err == nil {
				fmt.Fprintln(w, string(b))
			}
		}
	})
}

type printedCmd struct {
	forBrand
	Number uint64   `arg:"" help:"Number of the campaign."`
	Rows   []uint64 `arg:"" help:"Rows of the letters."`
	As     string   `help:"printed or returned." enum:"printed,returned" default:"printed" placeholder:"STATE"`
}

// Run records what became of letters.
func (c *printedCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.PrintedAnswer, error) {
		return v.Printed(ctx, c.Brand, c.Number, api.PrintedRequest{Rows: c.Rows, As: c.As})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.PrintedAnswer) {
		fmt.Fprintf(w, "%d letters %s\n", x.Letters, c.As)
	})
}
