package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/cloakroom/cloakroom/api"
)

// Templates lists the newest versions of the templates for mail to customers.
func (c *Client) Templates(ctx context.Context, brand string) ([]api.StoredTemplate, error) {
	return list[api.StoredTemplate](ctx, c, at(brand, "templates"))
}

// SetTemplate asks another person to approve a version of a template. Until somebody does,
// the error has the type api.TypePending and the change.
func (c *Client) SetTemplate(ctx context.Context, brand string, req api.TemplateRequest) (*api.TemplateAnswer, error) {
	return ask[api.TemplateAnswer](ctx, c, http.MethodPost, at(brand, "templates"), req)
}

// Template shows a version of a template, 0 for the newest, with its mail to invented
// people.
func (c *Client) Template(ctx context.Context, brand, name string, version int) (*api.TemplateAnswer, error) {
	return ask[api.TemplateAnswer](ctx, c, http.MethodGet, at(brand, "templates", name)+"?version="+strconv.Itoa(version), nil)
}

// SendMessage mails a template to customers, whose addresses are shown to nobody.
func (c *Client) SendMessage(ctx context.Context, brand string, req api.MessageRequest) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodPost, at(brand, "messages"), req)
}

// Messages lists messages, newest first.
func (c *Client) Messages(ctx context.Context, brand string) ([]api.MailJob, error) {
	return list[api.MailJob](ctx, c, at(brand, "messages"))
}

// Message shows a message.
func (c *Client) Message(ctx context.Context, brand string, n uint64) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodGet, at(brand, "messages", number(n)), nil)
}

// MessageLines shows a page of the mails of a message; state narrows it, and tokens name
// customers by their tokens.
func (c *Client) MessageLines(ctx context.Context, brand string, n, after uint64, state string, tokens bool) (*api.MailLines, error) {
	return ask[api.MailLines](ctx, c, http.MethodGet, at(brand, "messages", number(n), "lines")+lines(after, state, tokens), nil)
}

func lines(after uint64, state string, tokens bool) string {
	q := url.Values{"after": {number(after)}}
	if state != "" {
		q.Set("state", state)
	}
	if tokens {
		q.Set("tokens", "true")
	}
	return "?" + q.Encode()
}

// StopMessage stops a message permanently.
func (c *Client) StopMessage(ctx context.Context, brand string, n uint64, req api.JobStepRequest) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodPost, at(brand, "messages", number(n), "stop"), req)
}

// ResumeMessage resumes a message that paused by itself.
func (c *Client) ResumeMessage(ctx context.Context, brand string, n uint64, req api.JobStepRequest) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodPost, at(brand, "messages", number(n), "resume"), req)
}

// SettleMessage says what became of a mail that is in doubt.
func (c *Client) SettleMessage(ctx context.Context, brand string, n uint64, req api.SettleRequest) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodPost, at(brand, "messages", number(n), "settle"), req)
}

// TestMessage sends a template's mail to invented people to an address of the brand.
func (c *Client) TestMessage(ctx context.Context, brand string, req api.MailTestRequest) (*api.MailTested, error) {
	return ask[api.MailTested](ctx, c, http.MethodPost, at(brand, "message-tests"), req)
}

// OptOut keeps that a customer wants no mail of a channel, or wants it again.
func (c *Client) OptOut(ctx context.Context, brand string, req api.OptOutRequest) (*api.OptOuts, error) {
	return ask[api.OptOuts](ctx, c, http.MethodPost, at(brand, "opt-outs"), req)
}

// Bounce takes in a mail that came back.
func (c *Client) Bounce(ctx context.Context, brand string, req api.BounceRequest) (*api.BounceAnswer, error) {
	return ask[api.BounceAnswer](ctx, c, http.MethodPost, at(brand, "bounces"), req)
}

// PlanCampaign plans a notice to everybody in a version of an incident's scope.
func (c *Client) PlanCampaign(ctx context.Context, brand string, req api.CampaignRequest) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodPost, at(brand, "campaigns"), req)
}

// Campaigns lists campaigns, newest first.
func (c *Client) Campaigns(ctx context.Context, brand string) ([]api.MailJob, error) {
	return list[api.MailJob](ctx, c, at(brand, "campaigns"))
}

// Campaign shows a campaign.
func (c *Client) Campaign(ctx context.Context, brand string, n uint64) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodGet, at(brand, "campaigns", number(n)), nil)
}

// CampaignLines shows a page of one line a person; tokens name customers by their tokens and
// not by the row numbers of evidence.
func (c *Client) CampaignLines(ctx context.Context, brand string, n, after uint64, state string, tokens bool) (*api.MailLines, error) {
	return ask[api.MailLines](ctx, c, http.MethodGet, at(brand, "campaigns", number(n), "lines")+lines(after, state, tokens), nil)
}

// RequestCampaign asks another person to approve a campaign: until somebody does, the
// error has the type api.TypePending.
func (c *Client) RequestCampaign(ctx context.Context, brand string, n uint64, req api.JobStepRequest) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodPost, at(brand, "campaigns", number(n), "request"), req)
}

// PauseCampaign pauses a campaign.
func (c *Client) PauseCampaign(ctx context.Context, brand string, n uint64, req api.JobStepRequest) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodPost, at(brand, "campaigns", number(n), "pause"), req)
}

// HoldCampaign holds a campaign back for law enforcement, until a day.
func (c *Client) HoldCampaign(ctx context.Context, brand string, n uint64, req api.JobStepRequest) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodPost, at(brand, "campaigns", number(n), "hold"), req)
}

// ResumeCampaign asks another person to let a campaign run again: until somebody does, the
// error has the type api.TypePending.
func (c *Client) ResumeCampaign(ctx context.Context, brand string, n uint64, req api.JobStepRequest) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodPost, at(brand, "campaigns", number(n), "resume"), req)
}

// StopCampaign stops a campaign permanently.
func (c *Client) StopCampaign(ctx context.Context, brand string, n uint64, req api.JobStepRequest) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodPost, at(brand, "campaigns", number(n), "stop"), req)
}

// SettleCampaign says what became of a mail in doubt, or has a mail sent once more.
func (c *Client) SettleCampaign(ctx context.Context, brand string, n uint64, req api.SettleRequest) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodPost, at(brand, "campaigns", number(n), "settle"), req)
}

// PrintHouse asks another person to approve the print house of the letters.
func (c *Client) PrintHouse(ctx context.Context, brand string, n uint64, req api.PrintRequest) (*api.MailJob, error) {
	return ask[api.MailJob](ctx, c, http.MethodPost, at(brand, "campaigns", number(n), "print-house"), req)
}

// Letters hands a page of letters to the approved print house.
func (c *Client) Letters(ctx context.Context, brand string, n uint64, req api.PrintRequest) (*api.PrintPage, error) {
	return ask[api.PrintPage](ctx, c, http.MethodPost, at(brand, "campaigns", number(n), "letters"), req)
}

// Printed records that letters were printed, or came back.
func (c *Client) Printed(ctx context.Context, brand string, n uint64, req api.PrintedRequest) (*api.PrintedAnswer, error) {
	return ask[api.PrintedAnswer](ctx, c, http.MethodPost, at(brand, "campaigns", number(n), "printed"), req)
}
