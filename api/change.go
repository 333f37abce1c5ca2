package api

import (
	"encoding/json"
	"time"
)

// Change is an act that needs a second person: what was asked for, by whom, and what
// became of it.
type Change struct {
	ID      string          `json:"id"`
	Brand   string          `json:"brand"`
	Act     string          `json:"act" doc:"A stable word for what is changed, such as role-set."`
	Title   string          `json:"title,omitempty" doc:"What the act does, in one sentence."`
	Lines   []string        `json:"lines,omitempty" doc:"What changes, line by line, as of now."`
	State   string          `json:"state" doc:"asked, approved, done, refused, withdrawn, expired or failed."`
	Mark    string          `json:"mark,omitempty" doc:"alone, break-glass, unsent, no-receiver: how it took effect."`
	Ticket  string          `json:"ticket,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	AskedBy string          `json:"asked_by"`
	Asked   time.Time       `json:"asked"`
	Expires time.Time       `json:"expires"`
	Second  string          `json:"second,omitempty" doc:"Who approved or refused it."`
	Decided time.Time       `json:"decided,omitzero"`
	Done    time.Time       `json:"done,omitzero"`
	May     []string        `json:"may,omitempty" doc:"Who may approve it now, by name."`
	Answer  json.RawMessage `json:"answer,omitempty" doc:"What the act gives once, such as an invitation's code, to the person who approves it."`
	Entry   uint64          `json:"entry" doc:"The entry of the request in the brand's log."`
	Waits   string          `json:"waits,omitempty" doc:"What it waits for."`
	Glass   time.Time       `json:"glass,omitzero" doc:"When it takes effect by one hand, because glass was broken."`

	Acknowledged string `json:"acknowledged_by,omitempty" doc:"Who acknowledged that glass was broken."`

	Conflict string `json:"conflict,omitempty" doc:"Why it could not take effect as things are now."`
}

// BreakGlassRequest says why one hand has to act.
type BreakGlassRequest struct {
	Reason string `json:"reason" minLength:"10" maxLength:"500" doc:"Why no second person can be waited for. It is logged and told to every receiver's readers of the log."`
}

// Separation says whether acts of two people take two people, and who hears of them.
type Separation struct {
	Alone     bool     `json:"alone" doc:"One hand still acts alone: two people who may be second have not existed yet."`
	Receivers []string `json:"receivers" doc:"The brands whose receivers are notified of such acts; group for the group's."`
}
