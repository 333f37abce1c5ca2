package api

import "time"

// SeverityInputs are what a severity is scored from.
type SeverityInputs struct {
	Classes      []string `json:"classes" doc:"Classes of fields that were disclosed."`
	Persons      int      `json:"persons"`
	Years        bool     `json:"years,omitempty" doc:"Years of purchases, from which a profile follows."`
	Wealth       bool     `json:"wealth,omitempty" doc:"That somebody is a customer tells about means or standing."`
	Masked       bool     `json:"masked,omitempty" doc:"Only masked values were shown."`
	Recipients   string   `json:"recipients,omitempty" enum:"none,known,unknown" doc:"Who has it."`
	Integrity    string   `json:"integrity,omitempty" enum:"kept,recoverable,lost"`
	Availability string   `json:"availability,omitempty" enum:"kept,temporary,lost"`
	Malicious    string   `json:"malicious,omitempty" enum:"yes,no,unknown"`
}

// SeverityValue is one value of a score.
type SeverityValue struct {
	Name       string   `json:"name"`
	Value      float64  `json:"value"`
	Proposed   float64  `json:"proposed,omitempty" doc:"Where a person signed another value."`
	Reasons    []string `json:"reasons"`
	Borderline []string `json:"borderline,omitempty" doc:"Other values that can be argued."`
}

// Severity is a score with everything that it was made from.
type Severity struct {
	Incident string          `json:"incident,omitempty"`
	Brand    string          `json:"brand,omitempty"`
	Version  int             `json:"version,omitempty" doc:"Of the incident's signed scores; nothing for a proposal."`
	Entry    uint64          `json:"entry,omitempty"`
	At       time.Time       `json:"at,omitzero"`
	By       string          `json:"by,omitempty" doc:"Who signed it."`
	Method   string          `json:"method"`
	Informs  string          `json:"informs"`
	Inputs   SeverityInputs  `json:"inputs"`
	Fields   []ScopeRow      `json:"fields,omitempty" doc:"The fields of the newest scope, with how many customers each was disclosed of."`
	DPC      SeverityValue   `json:"dpc"`
	EI       SeverityValue   `json:"ei"`
	CB       []SeverityValue `json:"cb"`
	Score    float64         `json:"score"`
	Formula  string          `json:"formula"`
	Band     string          `json:"band" enum:"low,medium,high,very high"`
	Flags    []string        `json:"flags,omitempty"`
	Lowered  []string        `json:"lowered,omitempty"`
	Reason   string          `json:"reason,omitempty"`
}

// SeverityRequest says what the log cannot know.
type SeverityRequest struct {
	Brand        string `json:"brand,omitempty" maxLength:"40" doc:"At the group: whose part of the incident. The incident's only brand where it is left out."`
	Years        bool   `json:"years,omitempty"`
	Wealth       bool   `json:"wealth,omitempty"`
	Recipients   string `json:"recipients,omitempty" enum:"none,known,unknown"`
	Integrity    string `json:"integrity,omitempty" enum:"kept,recoverable,lost"`
	Availability string `json:"availability,omitempty" enum:"kept,temporary,lost"`
}

// SeveritySign is a person's score.
type SeveritySign struct {
	SeverityRequest
	DPC             *float64 `json:"dpc,omitempty" doc:"1 to 4; the proposal's where it is left out, as all of these."`
	EI              *float64 `json:"ei,omitempty"`
	Confidentiality *float64 `json:"confidentiality,omitempty"`
	AlteredValue    *float64 `json:"altered,omitempty"`
	LostValue       *float64 `json:"lost,omitempty"`
	Intent          *float64 `json:"intent,omitempty"`
	Reason          string   `json:"reason,omitempty" maxLength:"2000" doc:"Why; needed below the proposal. No values of customers."`
	Ticket          string   `json:"ticket,omitempty" maxLength:"64"`
}

// Severities are the scores of an incident: what is proposed now, and what was signed.
type Severities struct {
	Incident string     `json:"incident"`
	Proposed []Severity `json:"proposed" doc:"One for each controller."`
	Signed   []Severity `json:"signed" doc:"Each version, the oldest first."`
}
