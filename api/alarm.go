package api

import "time"

// Alarm is something unusual that a rule noticed at one entry of a brand's log.
type Alarm struct {
	ID        string    `json:"id" doc:"The entry and the rule: 1234-walk."`
	Brand     string    `json:"brand"`
	Entry     uint64    `json:"entry"`
	At        time.Time `json:"at"`
	Rule      string    `json:"rule"`
	Severity  string    `json:"severity" enum:"low,medium,high,critical"`
	Principal uint64    `json:"principal"`
	Name      string    `json:"name,omitempty" doc:"The principal's name."`
	Lineage   uint64    `json:"lineage,omitempty"`
	Role      string    `json:"role,omitempty"`
	Customers int       `json:"customers" doc:"Approximate number of customers affected."`
	Usual     string    `json:"usual" doc:"What was usual, with figures."`
	Seen      string    `json:"seen" doc:"What was seen, with figures."`
	Key       string    `json:"key" doc:"Alarms about one thing on one day have the same key."`
	Repeat    bool      `json:"repeat,omitempty" doc:"An alarm with the same key is open: only receivers added since that one were notified of this one."`
	Repeats   int       `json:"repeats,omitempty" doc:"How many alarms with the same key came while this one was open."`
	Earlier   string    `json:"earlier,omitempty" doc:"The last alarm about the same thing: the one that this one repeats, or the one before it, such as one that was closed."`

	Contain string `json:"contain,omitempty" doc:"The command that stops the lineage of this alarm, ready to paste."`

	State          string    `json:"state,omitempty" enum:"new,acknowledged,closed"`
	AcknowledgedBy uint64    `json:"acknowledged_by,omitempty"`
	AcknowledgedAt time.Time `json:"acknowledged_at,omitzero"`
	ClosedBy       uint64    `json:"closed_by,omitempty"`
	ClosedAt       time.Time `json:"closed_at,omitzero"`
	Reason         string    `json:"reason,omitempty"`
	Ticket         string    `json:"ticket,omitempty"`
}

// AlarmsPage is how many alarms one answer holds at most.
const AlarmsPage = 500

// Alarms is a page of alarms, newest first.
type Alarms struct {
	Alarms []Alarm `json:"alarms"`
	Before string  `json:"before,omitempty" doc:"Ask for those before this one to get the next page; empty: there are no more."`
}

// RaiseRequest raises an alarm by hand. Where it comes from is a word, so that no name gets
// into the log.
type RaiseRequest struct {
	Severity  string `json:"severity" enum:"low,medium,high,critical"`
	Source    string `json:"source" enum:"call,mail,staff,partner,authority,press,claim,other" doc:"call, mail: somebody called or wrote. staff: a colleague reported it. claim: somebody claims to have data."`
	Principal string `json:"principal,omitempty" maxLength:"64" doc:"Name of the principal that it is about, where that is known."`
	Ticket    string `json:"ticket,omitempty" maxLength:"64"`
}

// CloseRequest closes an alarm. Reasons are words, so that no name gets into the log.
type CloseRequest struct {
	Reason string `json:"reason" enum:"expected,mistaken,contained,duplicate,exercise" doc:"expected: somebody was meant to do this. mistaken: the rule was. contained: it was a theft, and it was stopped. duplicate: handled under another alarm. exercise: a drill."`
	Ticket string `json:"ticket,omitempty" maxLength:"64"`
}

// CloseReasons are the reasons of a CloseRequest.
func CloseReasons() []string {
	return []string{"expected", "mistaken", "contained", "duplicate", "exercise"}
}

// DetectionRules is the text of a brand's detection rules, YAML.
type DetectionRules struct {
	Rules   string `json:"rules" maxLength:"32768"`
	Default bool   `json:"default,omitempty" doc:"Set the default rules in place of these."`
}

// ReplayRequest asks what rules would have said of a part of the log.
type ReplayRequest struct {
	Rules string    `json:"rules,omitempty" maxLength:"32768" doc:"Empty: the rules that held at each time."`
	From  time.Time `json:"from,omitzero"`
	To    time.Time `json:"to,omitzero"`
}

// Replayed answers a replay, which changes nothing.
type Replayed struct {
	Entries uint64         `json:"entries" doc:"How many entries were read, to learn what is usual too."`
	Count   int            `json:"count" doc:"How many alarms there were."`
	Pages   int            `json:"pages" doc:"How many of them have a key of their own."`
	Rules   map[string]int `json:"rules" doc:"How many alarms of each rule."`
	Alarms  []Alarm        `json:"alarms" doc:"The first 500."`
}

// ReceiverRequest names a receiver of alarms.
type ReceiverRequest struct {
	Name     string `json:"name" maxLength:"40"`
	URL      string `json:"url" maxLength:"1024" doc:"https, or http on loopback; or mailto: and one address."`
	Severity string `json:"severity,omitempty" enum:"low,medium,high,critical" doc:"Lowest severity sent; medium if empty."`
	Past     bool   `json:"past,omitempty" doc:"Also send existing alarms."`
}

// The kinds of receivers.
const (
	ReceiverWebhook = "webhook"
	ReceiverMail    = "mail"
)

// Receiver is where alarms are sent, by webhook (Standard Webhooks) or by e-mail.
type Receiver struct {
	Name      string    `json:"name"`
	Kind      string    `json:"kind" enum:"webhook,mail"`
	Host      string    `json:"host" doc:"Of its URL or e-mail address; the rest may hold a secret or a name."`
	Severity  string    `json:"severity"`
	Created   time.Time `json:"created"`
	Secret    string    `json:"secret,omitempty" doc:"Of a webhook: whsec_..., shown once, when it is made."`
	Delivered uint64    `json:"delivered"`
	Failures  int       `json:"failures" doc:"In a row, since the last delivery."`
	Status    int       `json:"status,omitempty" doc:"The HTTP status or SMTP reply code that it answered last; 0: none."`
	Fault     string    `json:"fault,omitempty" doc:"Why it is not served now, in words."`
	NextTry   time.Time `json:"next_try,omitzero"`
	Stopped   time.Time `json:"stopped,omitzero" doc:"It refused for a day and is not tried any more: what it did not get is kept, and sent after a resume."`

	Tested      time.Time `json:"tested,omitzero" doc:"When it was last sent a test."`
	TestStatus  int       `json:"test_status,omitempty" doc:"The HTTP status or SMTP reply code that it answered the test; 0: none."`
	TestFault   string    `json:"test_fault,omitempty" doc:"Why it did not take the test, in words."`
	Confirmed   time.Time `json:"confirmed,omitzero" doc:"When somebody confirmed that they read the last test; absent: nobody did."`
	ConfirmedBy string    `json:"confirmed_by,omitempty" doc:"Who did."`
}

// ReceiverConfirmation says that somebody read the last test of a receiver.
type ReceiverConfirmation struct {
	Code string `json:"code" maxLength:"64" doc:"The code in the test."`
}
