package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/customer/message"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// messageRoutes write to customers: for applications, and to everybody in the scope of an
// incident.
func (s *Server) messageRoutes() {
	const brand = "/v1/brands/{brand}"
	route(s, "GET", brand+"/templates", "template-list", "List the templates of mail to customers", s.listTemplates)
	route(s, "POST", brand+"/templates", "template-set", "Ask another person to approve a version of a template", s.setTemplate, once)
	route(s, "GET", brand+"/templates/{name}", "template-show", "Show a template, with its mail to invented people", s.showTemplate)
	route(s, "POST", brand+"/messages", "message-send", "Mail a template to customers; their addresses are shown to nobody", s.sendMessage, once)
	route(s, "GET", brand+"/messages", "message-list", "List messages, newest first", s.listMessages)
	route(s, "GET", brand+"/messages/{job}", "message-show", "Show a message: how many people are in each state", s.showMessage)
	route(s, "GET", brand+"/messages/{job}/lines", "message-lines", "Show the state of each mail of a message", s.messageLines)
	route(s, "POST", brand+"/messages/{job}/stop", "message-stop", "Stop a message permanently", s.stopMessage, once)
	route(s, "POST", brand+"/messages/{job}/resume", "message-resume", "Go on with a message that paused by itself", s.resumeMessage, once)
	route(s, "POST", brand+"/messages/{job}/settle", "message-settle", "Say what became of a mail that is in doubt", s.settleMessage, once)
	route(s, "POST", brand+"/message-tests", "message-test", "Send a template's mail to invented people to an address of the brand", s.testMessage, once)
	route(s, "POST", brand+"/opt-outs", "opt-out", "Keep that a customer wants no mail of a channel, or wants it again", s.optOut, once)
	route(s, "POST", brand+"/bounces", "bounce", "Take in a mail that came back", s.bounce)
	route(s, "POST", brand+"/campaigns", "campaign-plan", "Plan a notice to everybody in a version of an incident's scope", s.planCampaign, once)
	route(s, "GET", brand+"/campaigns", "campaign-list", "List campaigns, newest first", s.listCampaigns)
	route(s, "GET", brand+"/campaigns/{job}", "campaign-show", "Show a campaign: how many people are in each state", s.showCampaign)
	route(s, "GET", brand+"/campaigns/{job}/lines", "campaign-lines", "Show one line a person, with the mail server's own number", s.campaignLines)
	route(s, "POST", brand+"/campaigns/{job}/request", "campaign-request", "Ask another person to approve a planned campaign", s.requestCampaign, once)
	route(s, "POST", brand+"/campaigns/{job}/pause", "campaign-pause", "Pause a campaign", s.pauseCampaign, once)
	route(s, "POST", brand+"/campaigns/{job}/hold", "campaign-hold", "Keep a campaign until a day, because law enforcement asked for it", s.holdCampaign, once)
	route(s, "POST", brand+"/campaigns/{job}/resume", "campaign-resume", "Ask another person to let a paused campaign go on", s.resumeCampaign, once)
	route(s, "POST", brand+"/campaigns/{job}/stop", "campaign-stop", "Stop a campaign permanently", s.stopCampaign, once)
	route(s, "POST", brand+"/campaigns/{job}/settle", "campaign-settle", "Say what became of a mail in doubt, or have a mail sent once more", s.settleCampaign, once)
	route(s, "POST", brand+"/campaigns/{job}/print-house", "campaign-print-house", "Ask another person to approve the print house of the letters", s.printHouse, once)
	route(s, "POST", brand+"/campaigns/{job}/letters", "campaign-letters", "Hand a page of letters to the approved print house", s.letters)
	route(s, "POST", brand+"/campaigns/{job}/printed", "campaign-printed", "Record that letters were printed, or came back", s.printed, once)
}

// JobPath is part of requests.
type JobPath struct {
	BrandPath
	Job uint64 `path:"job" maximum:"9007199254740991" doc:"The number of a message or campaign."`
}

// toJob is a request with a body to a message or campaign.
type toJob[B any] struct {
	JobPath
	Body B
}

// templatePath is a request for a template.
type templatePath struct {
	Named
	Version int `query:"version" minimum:"0" doc:"0: the newest."`
}

// linesPath is a request for a page of lines.
type linesPath struct {
	JobPath
	After  uint64 `query:"after" maximum:"9007199254740991" doc:"Where the page begins: next of the page before."`
	State  string `query:"state" maxLength:"20" doc:"Only mails in this state."`
	Tokens bool   `query:"tokens" doc:"Of a campaign: tokens of the customers, instead of the row numbers of evidence."`
}

func (s *Server) listTemplates(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.StoredTemplate, error) {
	return s.vault.Messages.Templates(ctx, c, in.Brand)
}

func (s *Server) setTemplate(ctx context.Context, c identity.Caller, in *sentTo[api.TemplateRequest]) (*api.TemplateAnswer, error) {
	return s.vault.Messages.SetTemplate(ctx, c, in.Brand, in.Body)
}

func (s *Server) showTemplate(ctx context.Context, c identity.Caller, in *templatePath) (*api.TemplateAnswer, error) {
	return s.vault.Messages.ShowTemplate(ctx, c, in.Brand, in.Name, in.Version)
}

func (s *Server) sendMessage(ctx context.Context, c identity.Caller, in *sentTo[api.MessageRequest]) (*api.MailJob, error) {
	return s.vault.Messages.Send(ctx, c, in.Brand, in.Body)
}

func (s *Server) listMessages(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.MailJob, error) {
	return s.vault.Messages.Messages(ctx, c, in.Brand)
}

func (s *Server) showMessage(ctx context.Context, c identity.Caller, in *JobPath) (*api.MailJob, error) {
	return s.vault.Messages.Message(ctx, c, in.Brand, in.Job)
}

func (s *Server) messageLines(ctx context.Context, c identity.Caller, in *linesPath) (*api.MailLines, error) {
	return s.vault.Messages.Lines(ctx, c, in.Brand, in.Job, in.After, in.State)
}

func (s *Server) stopMessage(ctx context.Context, c identity.Caller, in *toJob[api.JobStepRequest]) (*api.MailJob, error) {
	return s.vault.Messages.Stop(ctx, c, in.Brand, in.Job, in.Body)
}

func (s *Server) resumeMessage(ctx context.Context, c identity.Caller, in *toJob[api.JobStepRequest]) (*api.MailJob, error) {
	return s.vault.Messages.Resume(ctx, c, in.Brand, in.Job, in.Body)
}

func (s *Server) settleMessage(ctx context.Context, c identity.Caller, in *toJob[api.SettleRequest]) (*api.MailJob, error) {
	return s.vault.Messages.Settle(ctx, c, in.Brand, in.Job, message.KindMessage, in.Body)
}

func (s *Server) testMessage(ctx context.Context, c identity.Caller, in *sentTo[api.MailTestRequest]) (*api.MailTested, error) {
	return s.vault.Messages.Test(ctx, c, in.Brand, in.Body)
}

func (s *Server) optOut(ctx context.Context, c identity.Caller, in *sentTo[api.OptOutRequest]) (*api.OptOuts, error) {
	return s.vault.Messages.OptOut(ctx, c, in.Brand, in.Body)
}

func (s *Server) bounce(ctx context.Context, c identity.Caller, in *sentTo[api.BounceRequest]) (*api.BounceAnswer, error) {
	return s.vault.Messages.Bounce(ctx, c, in.Brand, in.Body)
}

func (s *Server) planCampaign(ctx context.Context, c identity.Caller, in *sentTo[api.CampaignRequest]) (*api.MailJob, error) {
	return s.vault.Campaigns.Create(ctx, c, in.Brand, in.Body)
}

func (s *Server) listCampaigns(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.MailJob, error) {
	return s.vault.Campaigns.List(ctx, c, in.Brand)
}

func (s *Server) showCampaign(ctx context.Context, c identity.Caller, in *JobPath) (*api.MailJob, error) {
	return s.vault.Campaigns.Show(ctx, c, in.Brand, in.Job)
}

func (s *Server) campaignLines(ctx context.Context, c identity.Caller, in *linesPath) (*api.MailLines, error) {
	return s.vault.Campaigns.Lines(ctx, c, in.Brand, in.Job, in.After, in.State, in.Tokens)
}

func (s *Server) requestCampaign(ctx context.Context, c identity.Caller, in *toJob[api.JobStepRequest]) (*api.MailJob, error) {
	return s.vault.Campaigns.Request(ctx, c, in.Brand, in.Job, in.Body)
}

func (s *Server) pauseCampaign(ctx context.Context, c identity.Caller, in *toJob[api.JobStepRequest]) (*api.MailJob, error) {
	return s.vault.Campaigns.Pause(ctx, c, in.Brand, in.Job, in.Body)
}

func (s *Server) holdCampaign(ctx context.Context, c identity.Caller, in *toJob[api.JobStepRequest]) (*api.MailJob, error) {
	return s.vault.Campaigns.Hold(ctx, c, in.Brand, in.Job, in.Body)
}

func (s *Server) resumeCampaign(ctx context.Context, c identity.Caller, in *toJob[api.JobStepRequest]) (*api.MailJob, error) {
	return s.vault.Campaigns.Resume(ctx, c, in.Brand, in.Job, in.Body)
}

func (s *Server) stopCampaign(ctx context.Context, c identity.Caller, in *toJob[api.JobStepRequest]) (*api.MailJob, error) {
	return s.vault.Campaigns.Stop(ctx, c, in.Brand, in.Job, in.Body)
}

func (s *Server) settleCampaign(ctx context.Context, c identity.Caller, in *toJob[api.SettleRequest]) (*api.MailJob, error) {
	return s.vault.Campaigns.Settle(ctx, c, in.Brand, in.Job, in.Body)
}

func (s *Server) printHouse(ctx context.Context, c identity.Caller, in *toJob[api.PrintRequest]) (*api.MailJob, error) {
	return s.vault.Campaigns.PrintHouse(ctx, c, in.Brand, in.Job, in.Body)
}

func (s *Server) letters(ctx context.Context, c identity.Caller, in *toJob[api.PrintRequest]) (*api.PrintPage, error) {
	return s.vault.Campaigns.Letters(ctx, c, in.Brand, in.Job, in.Body)
}

func (s *Server) printed(ctx context.Context, c identity.Caller, in *toJob[api.PrintedRequest]) (*api.PrintedAnswer, error) {
	return s.vault.Campaigns.Printed(ctx, c, in.Brand, in.Job, in.Body)
}
