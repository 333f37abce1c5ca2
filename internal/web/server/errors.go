package server

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

var errNoKey = fault.New(fault.Unauthenticated, "send an API key as `Authorization: Bearer ckr_...`, or sign in")

func internal() *api.Error {
	return &api.Error{Type: api.TypeInternal, Title: titles[api.TypeInternal], Status: http.StatusInternalServerError,
		Detail: "this request disclosed nothing; see the log of the server"}
}

// answers says what the API answers for each kind of error, in one place.
var answers = map[fault.Kind]struct {
	typ    string
	status int
	retry  int64 // seconds after which the same request may fit
}{
	fault.Internal:        {api.TypeInternal, http.StatusInternalServerError, 0},
	fault.Invalid:         {api.TypeInvalid, http.StatusUnprocessableEntity, 0},
	fault.Unauthenticated: {api.TypeUnauthenticated, http.StatusUnauthorized, 0},
	fault.Denied:          {api.TypePolicyDenied, http.StatusForbidden, 0},
	fault.NotFound:        {api.TypeNotFound, http.StatusNotFound, 0},
	fault.Conflict:        {api.TypeConflict, http.StatusConflict, 0},
	fault.Changed:         {api.TypeConflict, http.StatusConflict, 1},
	fault.Damaged:         {api.TypeDamaged, http.StatusInternalServerError, 0},
	fault.Full:            {api.TypeInternal, http.StatusInsufficientStorage, 0},
	fault.Unavailable:     {api.TypeLogUnavailable, http.StatusServiceUnavailable, 0},
}

// titles names each problem type for people. The detail says what happened.
var titles = map[string]string{
	api.TypePolicyDenied:    "Refused by policy",
	api.TypeContained:       "Access suspended",
	api.TypeLogUnavailable:  "Log unavailable",
	api.TypeUnknownToken:    "Unknown token",
	api.TypeOtherBrand:      "Token of another brand",
	api.TypeUnauthenticated: "Authentication required",
	api.TypeUnknownBrand:    "Unknown brand",
	api.TypeUnknownPurpose:  "Unknown purpose",
	api.TypeNotFound:        "Not found",
	api.TypeInvalid:         "Invalid request",
	api.TypeConflict:        "Conflict",
	api.TypeDamaged:         "Record damaged",
	api.TypeKeyReused:       "Idempotency key reused",
	api.TypeTimeout:         "Timeout",
	api.TypePartlyDone:      "Logged, not done yet",
	api.TypePending:         "A second person is needed",
	api.TypeStepUp:          "A passkey is needed",
	api.TypeInternal:        "Internal error",
}

// problem is what the API answers for an error.
func problem(err error) *api.Error {
	var ready *api.Error
	if errors.As(err, &ready) {
		return ready
	}
	if denied, ok := errors.AsType[*access.DeniedError](err); ok {
		return &api.Error{Type: api.TypePolicyDenied, Title: "Denied by policy", Status: http.StatusForbidden,
			Detail: denied.Error(), Fields: denied.Fields.Names(), Hint: whoMay(denied)}
	}
	if out, ok := errors.AsType[*budget.ExhaustedError](err); ok {
		return &api.Error{Type: api.TypeBudgetExhausted, Title: "Budget exhausted", Status: http.StatusTooManyRequests,
			Detail: out.Error(), RetryIn: int64(out.Retry.Seconds())}
	}
	if none, ok := errors.AsType[*budget.NoRuleError](err); ok {
		return &api.Error{Type: api.TypeBudgetExhausted, Title: "No budget", Status: http.StatusTooManyRequests, Detail: none.Error()}
	}
	if out, ok := errors.AsType[*containment.OutcomeError](err); ok {
		e := &api.Error{Type: api.TypeLogUnavailable, Title: "Nothing changed", Status: http.StatusServiceUnavailable, Detail: out.Error()}
		switch {
		case out.ID != 0, out.Stopped:
			e.Type, e.Title = api.TypePartlyDone, "Partly done"
		case out.Unknown():
			e.Type, e.Title = api.TypeOutcomeUnknown, "Outcome unknown"
		}
		return e
	}
	if out, ok := errors.AsType[*change.PendingError](err); ok {
		return &api.Error{Type: api.TypePending, Title: titles[api.TypePending], Status: http.StatusConflict, Detail: out.Error(), Change: out.ID}
	}
	if absent, ok := errors.AsType[*door.AbsentError](err); ok {
		return &api.Error{Type: api.TypeStepUp, Title: titles[api.TypeStepUp], Status: http.StatusForbidden, Detail: absent.Error(), Act: absent.Act}
	}
	if card, ok := errors.AsType[*ledger.CardError](err); ok {
		return &api.Error{Type: api.TypeCardNumber, Title: "Payment card number refused", Status: http.StatusUnprocessableEntity,
			Detail: card.Error(), Fields: []string{card.Field}}
	}
	found := fault.Of(err)
	for _, late := range []error{context.DeadlineExceeded, context.Canceled} {
		if found == nil && errors.Is(err, late) {
			return &api.Error{Type: api.TypeTimeout, Title: titles[api.TypeTimeout], Status: http.StatusGatewayTimeout, Detail: late.Error()}
		}
	}
	if found == nil {
		return internal()
	}
	to := answers[found.Kind()]
	if found.Type() != "" {
		to.typ = found.Type()
	}
	detail := found.Error()
	if to.status < http.StatusInternalServerError && to.status != http.StatusUnauthorized {
		detail = err.Error() // our own words, with the place and never the value
	}
	return &api.Error{Type: to.typ, Title: titles[to.typ], Status: to.status, Detail: detail, RetryIn: to.retry}
}

// whoMay says who can help somebody whom the policy denied.
func whoMay(e *access.DeniedError) string {
	if e.Brand == "" || len(e.May) == 0 {
		return ""
	}
	return "somebody with the role " + strings.Join(e.May, " or ") + " may; an administrator grants it: cloakroom principal role --brand " + e.Brand + " NAME " + e.May[0]
}

// docs is where each type of error is explained.
const docs = "https://github.com/cloakroom/cloakroom/blob/main/docs/errors.md#"

// hints say what to do next about a type of error, where its place says nothing better.
var hints = map[string]string{
	api.TypePolicyDenied:    "cloakroom policy show --brand NAME shows who may what; an administrator changes a role with cloakroom principal role",
	api.TypeContained:       "contact your security team with the name of the brand and the time; cloakroom contain list shows them what was stopped",
	api.TypeBudgetExhausted: "ask for fewer customers, or wait; cloakroom exposure shows what is left, and an administrator raises it with cloakroom budget set",
	api.TypeLogUnavailable:  "nothing was disclosed: retry in a moment; on the server, cloakroom doctor says what is wrong",
	api.TypeCardNumber:      "leave the payment card number out; a brand's own numbers are declared with cloakroom brand loyalty-prefix",
	api.TypeUnknownToken:    "find the customer again with cloakroom find; an erased customer stays unknown",
	api.TypeOtherBrand:      "ask at the brand that the token is of",
	api.TypeUnauthenticated: "cloakroom principal key NAME makes a key, cloakroom principal renew N replaces one",
	api.TypeUnknownBrand:    "cloakroom whoami shows the brands where this key has a role",
	api.TypeUnknownPurpose:  "cloakroom purpose list --brand NAME shows the purposes of the brand",
	api.TypeKeyReused:       "choose a new Idempotency-Key for another request",
	api.TypePending:         "somebody else runs cloakroom change approve; cloakroom change list shows what waits",
	api.TypeTimeout:         "retry, or send smaller requests",
	api.TypePartlyDone:      "retry the same request to finish it",
	api.TypeOutcomeUnknown:  "check what is there before you retry",
	api.TypeQueueFull:       "retry after the time that Retry-After says; cloakroom change approvals shows the approvals",
	api.TypeStepUp:          "show with your passkey that you are there, in the console, and send the same request again; or use a key",
	api.TypeInternal:        "look for the request id in the server's log",
}

// complete adds to an error what every error says.
func complete(e *api.Error, request string) *api.Error {
	out := *e
	out.RequestID, out.Doc = request, docs+e.Type
	if out.Hint == "" {
		out.Hint = hints[e.Type]
	}
	return &out
}

// headers returns what an error says outside of its body.
func headers(e *api.Error) http.Header {
	h := http.Header{}
	if e.RetryIn > 0 {
		h.Set("Retry-After", strconv.FormatInt(e.RetryIn, 10))
	}
	return h
}

// fail counts and answers an error.
func (s *Server) fail(w http.ResponseWriter, e *api.Error) {
	s.metrics.failed(e.Type)
	writeError(w, e)
}

func writeError(w http.ResponseWriter, e *api.Error) {
	w.Header().Set("Content-Type", "application/problem+json")
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="cloakroom"`)
	}
	maps.Copy(w.Header(), headers(e))
	w.WriteHeader(e.Status)
	json.NewEncoder(w).Encode(complete(e, w.Header().Get(headerRequest)))
}
