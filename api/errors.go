package api

import "fmt"

// The types of errors. They are part of the API and stay.
const (
	TypePolicyDenied    = "policy-denied"
	TypeContained       = "contained"
	TypeBudgetExhausted = "budget-exhausted"
	TypeLogUnavailable  = "log-unavailable"
	TypeCardNumber      = "card-number-refused"
	TypeUnknownToken    = "unknown-token"
	TypeOtherBrand      = "other-brand"
	TypeUnauthenticated = "unauthenticated"
	TypeUnknownBrand    = "unknown-brand"
	TypeUnknownPurpose  = "unknown-purpose"
	TypeNotFound        = "not-found"
	TypeInvalid         = "invalid-request"
	TypeConflict        = "conflict"
	TypeDamaged         = "record-damaged"
	TypeKeyReused       = "idempotency-key-reused"
	TypeTimeout         = "timeout"
	TypePartlyDone      = "partly-done"          // what was asked for holds; the rest did not end well
	TypeOutcomeUnknown  = "outcome-unknown"      // it may have been done
	TypeQueueFull       = "queue-full"           // nothing was taken: what waits under standing approvals is at its bound
	TypePending         = "second-person-needed" // asked for, and not in force before somebody else approves
	TypeStepUp          = "step-up-needed"       // a passkey has to show for this act that its holder is there
	TypeInternal        = "internal"
)

// Error is every error the API answers (RFC 9457, application/problem+json). It
// holds no personal data.
type Error struct {
	Type    string         `json:"type" doc:"A stable word for the kind of error."`
	Title   string         `json:"title"`
	Status  int            `json:"status"`
	Detail  string         `json:"detail,omitempty"`
	Fields  []string       `json:"fields,omitempty" doc:"The fields that were denied or refused."`
	Errors  []InvalidValue `json:"errors,omitempty" doc:"What was wrong in the request, and where."`
	Change  string         `json:"change,omitempty" doc:"The change that waits, for second-person-needed."`
	Act     string         `json:"act,omitempty" doc:"What a passkey is to be asked for, for step-up-needed."`
	RetryIn int64          `json:"retry_in_seconds,omitempty" doc:"After which the same request fits; 0: never, or unknown. Also in the header Retry-After."`

	Hint      string `json:"hint,omitempty" doc:"What to do next: a command, or the roles that may."`
	RequestID string `json:"request_id,omitempty" doc:"Names this request in the server's log. Also in the header X-Request-Id of every answer."`
	Doc       string `json:"doc,omitempty" doc:"Where this type of error is explained."`
}

// InvalidValue says where a request was wrong. It never holds the value.
type InvalidValue struct {
	Location string `json:"location,omitempty"`
	Pointer  string `json:"pointer,omitempty" doc:"Where in the body, as a JSON pointer (RFC 6901)."`
	Message  string `json:"message"`
}

// Error says it in one line.
func (e *Error) Error() string {
	s := e.Title
	if e.Detail != "" {
		s = e.Detail
	}
	for _, v := range e.Errors {
		s += fmt.Sprintf("; %s: %s", v.Location, v.Message)
	}
	return s
}

// GetStatus returns the HTTP status.
func (e *Error) GetStatus() int { return e.Status }

// ContentType returns the media type of RFC 9457 in place of JSON's.
func (e *Error) ContentType(ct string) string {
	if ct == "application/json" {
		return "application/problem+json"
	}
	return ct
}
