package api

import "time"

// States of a field of a notice.
const (
	NoticeComputed = "computed" // by the vault, from what the log, facts and settings say
	NoticeConfirm  = "confirm"  // the vault proposes it, and a person has to confirm or add to it
	NoticeWritten  = "written"  // by a person
	NoticeMissing  = "missing"  // a person still has to write it
	NoticeLeftOut  = "left-out" // the law forbids it
)

// NoticeRequest drafts the next version of a notice. What persons wrote into the version
// before stays, unless the request has other words for it.
type NoticeRequest struct {
	Form     string            `json:"form,omitempty" maxLength:"60" doc:"Id of a form, such as it-garante, customers or police. Left out: the form of the rule."`
	Rule     string            `json:"rule,omitempty" maxLength:"60" doc:"The rule of duties that asks for the notice. Left out: the first rule of the form."`
	Brand    string            `json:"brand,omitempty" maxLength:"40" doc:"The controller; needed where the incident has several."`
	Language string            `json:"language,omitempty" maxLength:"35" doc:"In which it is sent; the form's where it is left out."`
	Phase    string            `json:"phase,omitempty" enum:"initial,follow-up,final" doc:"Left out: initial, and follow-up once a version was filed."`
	Texts    map[string]string `json:"texts,omitempty" doc:"What a person writes, by field. An empty text takes back what was written. No data of customers."`
	Ticket   string            `json:"ticket,omitempty" maxLength:"64"`
}

// Notice is one version of a draft, as the log has it.
type Notice struct {
	Number     uint64           `json:"number" doc:"Its entry in the owner's log."`
	Incident   string           `json:"incident"`
	Brand      string           `json:"brand" doc:"The controller."`
	Controller string           `json:"controller" doc:"Its name for people."`
	Form       string           `json:"form"`
	Title      string           `json:"title"`
	Rule       string           `json:"rule,omitempty"`
	Authority  string           `json:"authority"`
	Recipients []string         `json:"recipients"`
	Citation   string           `json:"citation"`
	Demands    string           `json:"demands,omitempty" doc:"What the rule asks for, in words of the rules' authors."`
	To         string           `json:"to,omitempty" enum:"regulator,individuals,controller,register,law_enforcement,csirt,market,credit_bureaus,contract"`
	Language   string           `json:"language" doc:"In which it is sent."`
	Written    string           `json:"written_in" doc:"In which the draft is."`
	Phase      string           `json:"phase" enum:"initial,follow-up,final"`
	Version    int              `json:"version" doc:"Of this notice: the drafts of one controller, form, rule and language are its versions."`
	At         time.Time        `json:"at"`
	By         string           `json:"by"`
	Digest     string           `json:"digest" doc:"SHA-256 of what it says, in hexadecimal. Reviews and filed marks name it."`
	Advice     string           `json:"advice"`
	Face       []string         `json:"face" doc:"What stands on top of every print: what is not reviewed, not translated, not seen, forbidden."`
	Subject    string           `json:"subject,omitempty" doc:"Of a letter to customers."`
	Greeting   string           `json:"greeting,omitempty"`
	Closing    string           `json:"closing,omitempty"`
	Fields     []NoticeField    `json:"fields"`
	Counts     NoticeCounts     `json:"counts"`
	Complete   bool             `json:"complete" doc:"Every field of the form was seen. False: fill in the rest on the form itself."`
	Seen       string           `json:"seen" doc:"What of the form was seen."`
	FormReadBy string           `json:"form_read_by,omitempty" doc:"The person who held our copy of the form against the form; nothing where nobody did."`
	Since      uint64           `json:"since,omitempty" doc:"The version that changed is held against: the newest that was filed, else the one before."`
	Changed    []NoticeChange   `json:"changed" doc:"What differs from that version."`
	Deadline   string           `json:"deadline,omitempty" doc:"The number that the law names."`
	Due        time.Time        `json:"due,omitzero"`
	Text       *NoticeTextUsed  `json:"text,omitempty" doc:"The text of its language that it is made of, as far as it is made of one."`
	Reviews    []NoticeReviewed `json:"reviews"`
	Filed      []DutyFiling     `json:"filed"`
	Blocks     []string         `json:"blocks" doc:"Why it cannot be marked as filed; nothing where it can."`
}

// NoticeCounts say how far a draft is.
type NoticeCounts struct {
	Fields   int `json:"fields"`
	Computed int `json:"computed" doc:"Fields with a value of the vault, those to be confirmed among them."`
	Confirm  int `json:"confirm" doc:"Of the computed: those that a person has to confirm."`
	Written  int `json:"written" doc:"Fields with words of a person."`
	Missing  int `json:"missing" doc:"Fields that a person still has to write."`
	LeftOut  int `json:"left_out" doc:"Fields that the law forbids."`
}

// NoticeField is a field of a form, in the form's order.
type NoticeField struct {
	ID      string      `json:"id"`
	Asks    string      `json:"asks" doc:"In words of our own; of a letter its heading."`
	Kind    string      `json:"kind" enum:"text,number,date,datetime,choice,multi,yesno,file,unknown"`
	Options []string    `json:"options,omitempty" doc:"The choices of the form, as far as they were seen."`
	State   string      `json:"state" enum:"computed,confirm,written,missing,left-out"`
	Value   string      `json:"value,omitempty" doc:"What the vault computed."`
	Words   string      `json:"words,omitempty" doc:"What a person wrote."`
	By      string      `json:"by,omitempty" doc:"Who wrote it."`
	Note    string      `json:"note,omitempty"`
	From    []NoticeRef `json:"from,omitempty" doc:"Where the value stands in the logs."`
}

// NoticeRef is an entry that a value of a notice comes from.
type NoticeRef struct {
	Log   string `json:"log" doc:"The brand whose log it is in."`
	Entry uint64 `json:"entry"`
	What  string `json:"what"`
}

// NoticeChange is a field that differs between two versions.
type NoticeChange struct {
	Field  string `json:"field"`
	Asks   string `json:"asks"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// NoticeReviewed is a person's review of one version, in one language.
type NoticeReviewed struct {
	Entry    uint64    `json:"entry"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Reviewer string    `json:"reviewer" doc:"Who has read it."`
	Language string    `json:"language"`
}

// NoticeLine is a draft as lists show it.
type NoticeLine struct {
	Number   uint64       `json:"number"`
	Brand    string       `json:"brand"`
	Form     string       `json:"form"`
	Rule     string       `json:"rule,omitempty"`
	Language string       `json:"language"`
	Phase    string       `json:"phase"`
	Version  int          `json:"version"`
	At       time.Time    `json:"at"`
	By       string       `json:"by"`
	Digest   string       `json:"digest"`
	Counts   NoticeCounts `json:"counts"`
	Reviewed bool         `json:"reviewed" doc:"It can be marked as filed."`
	Filed    bool         `json:"filed"`
}

// Notices are the drafts of an incident, and the duties that still have none.
type Notices struct {
	Incident string         `json:"incident"`
	Advice   string         `json:"advice"`
	Drafts   []NoticeLine   `json:"drafts" doc:"The oldest first."`
	Wanted   []NoticeWanted `json:"wanted" doc:"Duties that are due and not filed, by their ends."`
}

// NoticeWanted is a duty that is due, with the form that fits it.
type NoticeWanted struct {
	Brand      string    `json:"brand"`
	Rule       string    `json:"rule"`
	Form       string    `json:"form"`
	To         string    `json:"to"`
	Recipients []string  `json:"recipients"`
	Due        time.Time `json:"due,omitzero"`
	State      string    `json:"state,omitempty"`
	Forbidden  []string  `json:"forbidden,omitempty"`
	Newest     uint64    `json:"newest,omitempty" doc:"The newest draft for it."`
}

// NoticeReview states that a named person has read a draft in its language.
type NoticeReview struct {
	Reviewer string `json:"reviewer,omitempty" maxLength:"200" doc:"Who has read it; the caller where it is left out."`
	Digest   string `json:"digest" minLength:"64" maxLength:"64" pattern:"^[0-9a-f]{64}$" doc:"Of the version that was read."`
	Ticket   string `json:"ticket,omitempty" maxLength:"64"`
}

// NoticeFiled marks a version of a notice as sent.
type NoticeFiled struct {
	When      time.Time `json:"when" doc:"When it was sent."`
	Reference string    `json:"reference,omitempty" maxLength:"200" doc:"The number that the recipient gave it."`
	Receipt   string    `json:"receipt,omitempty" maxLength:"64" pattern:"^[0-9a-f]{64}$" doc:"SHA-256 of what the recipient answered, in hexadecimal."`
	Said      string    `json:"said,omitempty" maxLength:"200" doc:"Who sent it; the caller where it is left out."`
	Ticket    string    `json:"ticket,omitempty" maxLength:"64"`
}

// NoticePrint is a draft as a file.
type NoticePrint struct {
	Name    string `json:"name"`
	Type    string `json:"type" doc:"Media type."`
	Content []byte `json:"content"`
}

// NoticeText is the text of letters to customers in one language.
type NoticeText struct {
	Language   string    `json:"language"`
	Name       string    `json:"name" doc:"Of the language, in itself."`
	Source     string    `json:"source" enum:"release,brand" doc:"Of this release, or loaded by the brand."`
	Digest     string    `json:"digest"`
	Reviewer   string    `json:"reviewer,omitempty" doc:"The person who has read it; nothing where nobody has."`
	ReviewedAt time.Time `json:"reviewed_at,omitzero"`
	Entry      uint64    `json:"entry,omitempty" doc:"The entry of the review."`
	Loaded     uint64    `json:"loaded,omitempty" doc:"The entry that loaded it."`
	Text       string    `json:"text,omitempty" doc:"The file, where one text is asked for."`
}

// NoticeTextUsed says which text a draft is made of.
type NoticeTextUsed struct {
	Language string `json:"language"`
	Source   string `json:"source" enum:"release,brand"`
	Digest   string `json:"digest"`
	Reviewer string `json:"reviewer,omitempty"`
}

// NoticeTexts are a brand's texts, and the languages that lack a reviewed one.
type NoticeTexts struct {
	Texts  []NoticeText     `json:"texts"`
	Wanted []NoticeLanguage `json:"wanted" doc:"Languages that the brand needs, with the reasons."`
}

// NoticeLanguage is a language that a brand's customers need.
type NoticeLanguage struct {
	Language string   `json:"language"`
	Why      []string `json:"why" doc:"The brand's settings, or the countries of people in its incidents."`
	Reviewed bool     `json:"reviewed" doc:"The brand has a reviewed text in it."`
}

// NoticeTextRequest loads a brand's own text of a language.
type NoticeTextRequest struct {
	Text   string `json:"text" minLength:"1" maxLength:"32000" doc:"The file, as the text of a language is shown. It names its language."`
	Ticket string `json:"ticket,omitempty" maxLength:"64"`
}

// NoticeTextReview states that a named person has read the text of a language.
type NoticeTextReview struct {
	Reviewer string `json:"reviewer,omitempty" maxLength:"200" doc:"Who has read it; the caller where it is left out."`
	Digest   string `json:"digest" minLength:"64" maxLength:"64" pattern:"^[0-9a-f]{64}$" doc:"Of the text that was read."`
	Ticket   string `json:"ticket,omitempty" maxLength:"64"`
}

// DutyRules are the rules of duties of a vault.
type DutyRules struct {
	Advice string     `json:"advice"`
	Book   DutyBook   `json:"book"`
	Rules  []DutyRule `json:"rules"`
}

// DutyRule is a rule as lists show it.
type DutyRule struct {
	ID           string `json:"id"`
	Jurisdiction string `json:"jurisdiction"`
	Law          string `json:"law"`
	Article      string `json:"article"`
	To           string `json:"to"`
	Deadline     string `json:"deadline"`
	Status       string `json:"status,omitempty"`
	ReadBy       string `json:"read_by,omitempty" doc:"Nothing where no named person has read it."`
	Confidence   string `json:"confidence"`
	Overlay      bool   `json:"overlay,omitempty" doc:"The operator added or replaced it."`
}
