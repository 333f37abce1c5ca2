package api

import (
	"encoding/json"
	"time"
)

// Change is an act that needs a second person: what was asked for, by whom, and what
// became of it.
type Change struct {
	ID       string          `json:"id"`
	Brand    string          `json:"brand"`
	Act      string          `json:"act" doc:"A stable word for what is changed, such as role-set."`
	Title    string          `json:"title,omitempty" doc:"What the act does, in one sentence."`
	Lines    []string        `json:"lines,omitempty" doc:"What changes, line by line, as of now."`
	State    string          `json:"state" doc:"asked, approved, done, refused, withdrawn, expired or failed."`
	Mark     string          `json:"mark,omitempty" doc:"alone, break-glass, unsent, no-receiver: how it took effect."`
	Ticket   string          `json:"ticket,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	AskedBy  string          `json:"asked_by"`
	Asked    time.Time       `json:"asked"`
	Expires  time.Time       `json:"expires"`
	Second   string          `json:"second,omitempty" doc:"Who approved or refused it."`
	Decided  time.Time       `json:"decided,omitzero"`
	Done     time.Time       `json:"done,omitzero"`
	May      []string        `json:"may,omitempty" doc:"Who may approve it now, by name."`
	Answer   json.RawMessage `json:"answer,omitempty" doc:"What the act gives once, such as an invitation's code, to the person who approves it."`
	Entry    uint64          `json:"entry" doc:"The entry of the request in the brand's log."`
	Waits    string          `json:"waits,omitempty" doc:"What it waits for."`
	Conflict string          `json:"conflict,omitempty" doc:"Why it could not take effect as things are now."`
}
