package api

import "time"

// MailTemplate is a text for mail to customers, in the brand's languages. Places in it are
// {{given_name}} or {{given_name|what stands there without it}}: fields of the customer that
// the policy allows, brand, code and last_purchase.
type MailTemplate struct {
	Name     string        `json:"name" maxLength:"40" pattern:"^[a-z][a-z0-9-]*$" doc:"Its name in commands."`
	Purpose  string        `json:"purpose" maxLength:"40" doc:"What its mail is for: the policy says which fields may stand in it."`
	Channel  string        `json:"channel,omitempty" maxLength:"40" pattern:"^[a-z][a-z0-9-]*$" doc:"What a customer can opt out of, such as news. Empty: mail that is owed, such as an order's or a notice of a breach."`
	Variants []MailVariant `json:"variants" minItems:"1" maxItems:"40"`
}

// MailVariant is one language of a template.
type MailVariant struct {
	Language string `json:"language" maxLength:"35" doc:"BCP 47, such as fr or pt-BR."`
	Subject  string `json:"subject" maxLength:"200"`
	Text     string `json:"text" maxLength:"65536" doc:"Plain text: always there."`
	HTML     string `json:"html,omitempty" maxLength:"65536" doc:"Text, lists, tables and links to the brand's own domain; nothing that loads or runs."`
}

// StoredTemplate is a version of a template.
type StoredTemplate struct {
	MailTemplate
	Version int       `json:"version"`
	By      string    `json:"by,omitempty"`
	At      time.Time `json:"at"`
	Fields  []string  `json:"fields" doc:"That its mail uses: the policy has to allow them."`
}

// TemplateRequest is a new version of a template.
type TemplateRequest struct {
	Template MailTemplate `json:"template"`
	Ticket   string       `json:"ticket,omitempty" maxLength:"64"`
	DryRun   bool         `json:"dry_run,omitempty" doc:"Check it and show its mail to invented people; change nothing."`
}

// TemplateAnswer is a version of a template, with its mail to invented people.
type TemplateAnswer struct {
	Template StoredTemplate `json:"template"`
	Samples  []MailSample   `json:"samples"`
}

// MailSample is the mail that an invented person would get.
type MailSample struct {
	Language string `json:"language"`
	Case     string `json:"case" doc:"ordinary, no given name, longest, right to left, no purchases."`
	Subject  string `json:"subject"`
	Text     string `json:"text"`
	HTML     string `json:"html,omitempty"`
}

// MessageRequest asks the vault to mail a template to customers.
type MessageRequest struct {
	Template string   `json:"template" maxLength:"40"`
	Version  int      `json:"version,omitempty" doc:"0: the newest."`
	Tokens   []string `json:"tokens" minItems:"1" maxItems:"1000"`
	Ticket   string   `json:"ticket,omitempty" maxLength:"64"`
	DryRun   bool     `json:"dry_run,omitempty" doc:"Check the template, the policy and the budget; send nothing."`
}

// MailJob is a message or a campaign: how many people are in each state.
type MailJob struct {
	Number   uint64      `json:"number"`
	State    string      `json:"state" doc:"planning, ready, running, paused or stopped."`
	Reason   string      `json:"reason,omitempty" doc:"Why it is paused or stopped."`
	Finished bool        `json:"finished" doc:"Nobody is left to write to. It follows from the states below."`
	Template string      `json:"template"`
	Version  int         `json:"version"`
	Purpose  string      `json:"purpose"`
	By       string      `json:"by,omitempty"`
	At       time.Time   `json:"at"`
	Entry    uint64      `json:"entry,omitempty" doc:"Of a message: the entry that discloses it to the mail provider."`
	People   int64       `json:"people"`
	States   []MailCount `json:"states"`
	Again    int64       `json:"again,omitempty" doc:"Mails that somebody had sent once more, with a code of their own."`

	Incident     string    `json:"incident,omitempty"`
	ScopeVersion int       `json:"scope_version,omitempty"`
	Planned      int64     `json:"planned,omitempty" doc:"Of a campaign: people looked at so far."`
	HeldUntil    time.Time `json:"held_until,omitzero" doc:"Until when law enforcement asked to wait."`
}

// MailCount is how many people of a language are in a state.
type MailCount struct {
	State    string `json:"state" doc:"planned, claimed, accepted, deferred, refused, bounced, no-address, held, erased or in-doubt."`
	Language string `json:"language,omitempty" doc:"Of the text that they get. An asterisk follows the brand's default language, where there is no text in theirs."`
	People   int64  `json:"people"`
}

// MailLine is the state of one person's mail.
type MailLine struct {
	Token    string    `json:"token,omitempty"`
	Row      uint64    `json:"row,omitempty" doc:"The number that stands for the customer in evidence."`
	Version  int       `json:"version"`
	State    string    `json:"state"`
	Reason   string    `json:"reason,omitempty"`
	Attempts int       `json:"attempts"`
	Queue    string    `json:"queue,omitempty" doc:"The mail server's own number."`
	Entry    uint64    `json:"entry,omitempty" doc:"The entry that discloses it to the mail provider."`
	Print    string    `json:"print,omitempty" doc:"handed, printed or returned."`
	At       time.Time `json:"at"`
}

// MailLines is a page of lines; Next asks for the next one, 0 at the end.
type MailLines struct {
	Lines []MailLine `json:"lines"`
	Next  uint64     `json:"next,omitempty"`
}

// SettleRequest says what somebody found out of a mail that is in doubt, or has it sent once
// more.
type SettleRequest struct {
	Token  string `json:"token" maxLength:"64"`
	As     string `json:"as" enum:"accepted,refused,again" doc:"again: another version, with a code of its own, such as to an address that was corrected."`
	Ticket string `json:"ticket,omitempty" maxLength:"64"`
}

// OptOutRequest says that a customer wants no mail of a channel.
type OptOutRequest struct {
	Token   string `json:"token" maxLength:"64"`
	Channel string `json:"channel" maxLength:"40" pattern:"^[a-z][a-z0-9-]*$" doc:"A channel of templates; all for every one."`
	Again   bool   `json:"again,omitempty" doc:"They want it again."`
	Ticket  string `json:"ticket,omitempty" maxLength:"64"`
}

// OptOuts are what a customer opted out of.
type OptOuts struct {
	Channels []OptOut `json:"channels"`
}

// OptOut is one channel.
type OptOut struct {
	Channel string    `json:"channel"`
	Since   time.Time `json:"since"`
}

// BounceRequest is a mail that came back.
type BounceRequest struct {
	Message string `json:"message" maxLength:"1000000" doc:"The whole mail, as it came (RFC 3464)."`
}

// BounceAnswer says how many mails of the brand it was about.
type BounceAnswer struct {
	Mails int `json:"mails"`
}

// MailTestRequest sends the mail of invented people to staff.
type MailTestRequest struct {
	Template string `json:"template" maxLength:"40"`
	Version  int    `json:"version,omitempty"`
	Language string `json:"language,omitempty" maxLength:"35" doc:"Empty: every one."`
	To       string `json:"to" maxLength:"200" doc:"An address of the brand's own domain."`
}

// MailTested says how many mails were handed over.
type MailTested struct {
	Mails int `json:"mails"`
}

// JobStepRequest is a step of a message or campaign.
type JobStepRequest struct {
	Reason string    `json:"reason,omitempty" maxLength:"200"`
	Until  time.Time `json:"until,omitzero" doc:"Of a hold: the day on which it ends."`
	Ticket string    `json:"ticket,omitempty" maxLength:"64"`
}

// CampaignRequest plans a notice to everybody in a version of an incident's scope.
type CampaignRequest struct {
	Incident     string `json:"incident" maxLength:"20"`
	ScopeVersion int    `json:"scope_version" minimum:"1"`
	Template     string `json:"template" maxLength:"40"`
	Version      int    `json:"version,omitempty"`
	Ticket       string `json:"ticket,omitempty" maxLength:"64"`
	DryRun       bool   `json:"dry_run,omitempty" doc:"Check everything and say how many people are in the scope; plan nothing."`
}

// PrintRequest hands the people without working mail to a print house.
type PrintRequest struct {
	Recipient string `json:"recipient" minLength:"2" maxLength:"100" doc:"Who prints."`
	Country   string `json:"country,omitempty" maxLength:"2" doc:"Where they are: ISO 3166-1."`
	After     uint64 `json:"after,omitempty" doc:"The row after which the page begins."`
	Ticket    string `json:"ticket,omitempty" maxLength:"64"`
}

// PrintPage is a page of letters.
type PrintPage struct {
	Letters []Letter `json:"letters"`
	Next    uint64   `json:"next,omitempty"`
}

// Letter is what a letter needs.
type Letter struct {
	Row     uint64 `json:"row" doc:"Name it when the letter was printed, or came back."`
	Why     string `json:"why" doc:"Why no mail: no-address, minor, represented, bounced, refused."`
	Code    string `json:"code"`
	Fields  Fields `json:"fields"`
	Subject string `json:"subject"`
	Text    string `json:"text"`
}

// PrintedRequest says what became of letters.
type PrintedRequest struct {
	Rows []uint64 `json:"rows" minItems:"1" maxItems:"1000"`
	As   string   `json:"as" enum:"printed,returned"`
}

// PrintedAnswer says how many letters moved.
type PrintedAnswer struct {
	Letters int `json:"letters"`
}
