package api

import "time"

// Verdicts on a duty.
const (
	DutyDue        = "due"
	DutyOpen       = "open"         // it hangs on what nobody has said yet
	DutyNotMet     = "not-met"      // a condition does not hold
	DutyLifted     = "lifted"       // by an exception that a person signed
	DutyNotInForce = "not-in-force" // future, proposed, undated, or of another time
)

// States of a duty's clock.
const (
	DutyRunning         = "running"
	DutyLate            = "late"
	DutyFiled           = "filed"
	DutyClockNotStarted = "not-started"
	DutyNotComputable   = "not-computable"
)

// DutiesRequest asks which duties an incident brings.
type DutiesRequest struct {
	WhatIf []string `json:"what_if,omitempty" maxItems:"100" maxLength:"120" doc:"Statements that are taken as if somebody had made them: a class of fields (+dob, -phone), residents (IT=1200), an answer (high_risk=yes)."`
	Book   string   `json:"book,omitempty" enum:"pinned,current" doc:"By which rules: those that the incident keeps, or those of this release; pinned where it is left out."`
}

// Duties are the duties that an incident brings, for each controller.
type Duties struct {
	Incident    string             `json:"incident"`
	At          time.Time          `json:"at" doc:"When it was decided, by the clock of the vault."`
	Advice      string             `json:"advice" doc:"What this is not."`
	Book        DutyBook           `json:"book"`
	WhatIf      []string           `json:"what_if,omitempty"`
	Controllers []ControllerDuties `json:"controllers"`
}

// DutyBook says by which rules was decided.
type DutyBook struct {
	Version       string   `json:"version"`
	Pinned        bool     `json:"pinned" doc:"The incident keeps these rules."`
	Newer         string   `json:"newer,omitempty" doc:"The version of this release, where it is another."`
	Rules         int      `json:"rules"`
	Unread        int      `json:"unread" doc:"Rules that no named person has read."`
	Jurisdictions int      `json:"jurisdictions"`
	Overlay       []string `json:"overlay,omitempty" doc:"Rules that the operator added or replaced."`
}

// ControllerDuties are the duties of one controller.
type ControllerDuties struct {
	Brand      string         `json:"brand"`
	Given      []DutyInput    `json:"given" doc:"What was decided on, and who said so."`
	Persons    int            `json:"persons"`
	Duties     []Duty         `json:"duties"`
	Questions  []DutyQuestion `json:"questions" doc:"What nobody has said yet, and the rules that hang on it."`
	UnreadHere []string       `json:"unread_jurisdictions,omitempty" doc:"Persons live there, and there is no rule: ask counsel."`
	NoDuty     []NoDuty       `json:"no_duty,omitempty" doc:"Somebody looked there and found no duty."`
	Changed    []DutyChange   `json:"changed,omitempty" doc:"What the question what if changes."`
}

// DutyInput is a statement on which duties were decided.
type DutyInput struct {
	Statement string `json:"statement"`
	From      string `json:"from" doc:"A fact of the incident, a version of its scope, or the vault."`
	Said      string `json:"said,omitempty"`
	Entry     uint64 `json:"entry,omitempty"`
}

// DutyQuestion is a question that nobody has answered.
type DutyQuestion struct {
	Name  string   `json:"name"`
	Asks  string   `json:"asks"`
	Rules []string `json:"rules"`
}

// DutyChange is a duty whose verdict differs between two answers.
type DutyChange struct {
	Rule   string    `json:"rule"`
	Before string    `json:"before,omitempty" doc:"Empty where the rule was not there."`
	After  string    `json:"after,omitempty"`
	Due    time.Time `json:"due,omitzero"`
	WasDue time.Time `json:"was_due,omitzero"`
	Rules  bool      `json:"rules,omitempty" doc:"The rule itself says something else."`
}

// NoDuty is a jurisdiction in which somebody looked and found no duty.
type NoDuty struct {
	Jurisdiction string `json:"jurisdiction"`
	Law          string `json:"law"`
	Says         string `json:"says"`
	ReadOn       string `json:"read_on"`
	Confidence   string `json:"confidence"`
}

// Duty is one rule and what follows from it.
type Duty struct {
	Rule         string          `json:"rule"`
	Jurisdiction string          `json:"jurisdiction"`
	Law          string          `json:"law"`
	Article      string          `json:"article"`
	Address      string          `json:"address" doc:"Of the official text."`
	Demands      string          `json:"demands" doc:"What the article asks for, in words of the rules' authors."`
	Verdict      string          `json:"verdict" enum:"due,open,not-met,lifted,not-in-force"`
	AskCounsel   bool            `json:"ask_counsel,omitempty" doc:"No named person has read the rule: do not rely on it, least of all where it says that nothing is due."`
	Why          []string        `json:"why"`
	Asks         []string        `json:"asks,omitempty" doc:"Names of the questions that it hangs on."`
	To           string          `json:"to"`
	Recipients   []string        `json:"recipients"`
	Clock        DutyClock       `json:"clock"`
	State        string          `json:"state,omitempty" enum:"running,late,filed,not-started,not-computable"`
	Deadline     string          `json:"deadline,omitempty" doc:"The number that the law names; none for without undue delay."`
	DeadlineKind string          `json:"deadline_kind,omitempty" enum:"hard,outer,practice"`
	Due          time.Time       `json:"due,omitzero"`
	DueNote      string          `json:"due_note,omitempty"`
	Zone         string          `json:"zone,omitempty" doc:"In which the days end."`
	MovedFrom    time.Time       `json:"moved_from,omitzero" doc:"When it was due before a fact was corrected."`
	Elapsed      string          `json:"elapsed,omitempty" doc:"Since the clock began, until it was filed or now."`
	Late         bool            `json:"late,omitempty"`
	Filed        *DutyFiling     `json:"filed,omitempty"`
	NotBefore    []string        `json:"not_before,omitempty"`
	With         string          `json:"with,omitempty" doc:"At the same moment as this rule's notice."`
	NoLaterThan  string          `json:"no_later_than,omitempty"`
	WaitFor      []string        `json:"wait_for,omitempty" doc:"Rules whose notices have to be sent first and are not."`
	Disorder     bool            `json:"disorder,omitempty" doc:"It was sent before one that comes first."`
	Content      []string        `json:"content"`
	Forbidden    []string        `json:"forbidden,omitempty" doc:"What the notice must not say."`
	Phased       bool            `json:"phased,omitempty" doc:"It may come in phases."`
	Extension    string          `json:"extension,omitempty"`
	Exceptions   []DutyException `json:"exceptions,omitempty"`
	Basis        string          `json:"basis" enum:"text,summary,memory" doc:"What was read: the law's text, a summary, or nothing."`
	ReadOn       string          `json:"read_on"`
	ReadBy       string          `json:"read_by,omitempty" doc:"Nothing where no named person has read it."`
	Confidence   string          `json:"confidence"`
	Status       string          `json:"status,omitempty"`
	ValidFrom    string          `json:"valid_from,omitempty"`
	ValidUntil   string          `json:"valid_until,omitempty"`
	StillValidOn string          `json:"still_valid_on"`
	Notes        string          `json:"notes,omitempty"`
}

// DutyClock is the fact on which a deadline hangs.
type DutyClock struct {
	Name    string    `json:"name"`
	Fact    string    `json:"fact,omitempty"`
	Entry   uint64    `json:"entry,omitempty"`
	Said    string    `json:"said,omitempty"`
	Started time.Time `json:"started,omitzero"`
	StandIn bool      `json:"stand_in,omitempty" doc:"Provisional: nobody has stated the law's own fact."`
	Needs   []string  `json:"needs,omitempty" doc:"Where it has not begun: the facts of which one begins it."`
}

// DutyException is what lifts a duty where a person states it.
type DutyException struct {
	Name string `json:"name" doc:"As it is stated: NAME=yes."`
	Cite string `json:"cite"`
	Says string `json:"says"`
}

// DutyFiling is a notice that somebody sent.
type DutyFiling struct {
	At        time.Time `json:"at"`
	Said      string    `json:"said"`
	Reference string    `json:"reference,omitempty"`
	Receipt   string    `json:"receipt,omitempty" doc:"SHA-256 of what the recipient answered."`
	Notice    uint64    `json:"notice,omitempty" doc:"The version of the notice that was sent, where it was drafted here."`
	Digest    string    `json:"digest,omitempty" doc:"Of that version."`
	Entry     uint64    `json:"entry"`
}

// DutiesCompare asks what another version of the rules changes.
type DutiesCompare struct {
	Before string `json:"before,omitempty" maxLength:"16" doc:"pinned, current, or a version that the incident kept; pinned where it is left out."`
	After  string `json:"after,omitempty" maxLength:"16" doc:"The same; current where it is left out."`
}

// DutiesCompared is what another version of the rules changes for an incident.
type DutiesCompared struct {
	Incident string                  `json:"incident"`
	Advice   string                  `json:"advice"`
	Before   DutyBook                `json:"before"`
	After    DutyBook                `json:"after"`
	Changed  map[string][]DutyChange `json:"changed" doc:"By controller."`
}

// RulesRequest makes an incident keep the rules of this release.
type RulesRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"2000" doc:"Why. No values of customers."`
	Ticket string `json:"ticket,omitempty" maxLength:"64"`
}
