package server

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/govern/admin"
	"github.com/cloakroom/cloakroom/internal/govern/backup"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/idempotency"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/export"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
	"github.com/cloakroom/cloakroom/internal/watch/canary"
	"github.com/cloakroom/cloakroom/internal/watch/decoymail"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
	"github.com/cloakroom/cloakroom/internal/watch/exposure"
	"github.com/cloakroom/cloakroom/internal/watch/notify"
)

var errNoKey = errors.New("send an API key as `Authorization: Bearer ckr_...`")

func internal() *api.Error {
	return &api.Error{Type: api.TypeInternal, Title: "The vault failed", Status: http.StatusInternalServerError,
		Detail: "nothing was disclosed by this request; the vault's own log says more"}
}

// kinds says what the API answers for an error. The first that matches holds. All of
// their texts are ours and hold no value.
func kinds() []struct {
	err    error
	typ    string
	title  string
	status int
} {
	return []struct {
		err    error
		typ    string
		title  string
		status int
	}{
		{errNoKey, api.TypeUnauthenticated, "Who are you?", http.StatusUnauthorized},
		{identity.ErrMalformedKey, api.TypeUnauthenticated, "Not a key", http.StatusUnauthorized},
		{identity.ErrUnknownKey, api.TypeUnauthenticated, "Unknown key", http.StatusUnauthorized},
		{identity.ErrLink, api.TypePolicyDenied, "For one export", http.StatusForbidden},
		{identity.ErrRevoked, api.TypeUnauthenticated, "Revoked", http.StatusUnauthorized},
		{identity.ErrExpired, api.TypeUnauthenticated, "Expired", http.StatusUnauthorized},
		{identity.ErrDisabled, api.TypeUnauthenticated, "Disabled", http.StatusUnauthorized},
		{admin.ErrErasing, api.TypePartlyDone, "Logged, and not erased yet", http.StatusServiceUnavailable},
		{seal.ErrDamaged, api.TypeDamaged, "A record is damaged", http.StatusInternalServerError},
		{seal.ErrNoOrdinals, api.TypeInternal, "No ordinal left", http.StatusInsufficientStorage},
		{ledger.ErrUnavailable, api.TypeLogUnavailable, "The log cannot be written", http.StatusServiceUnavailable},
		{ledger.ErrTampered, api.TypeLogUnavailable, "The log was tampered with", http.StatusServiceUnavailable},
		{ledger.ErrClosed, api.TypeLogUnavailable, "The vault is stopping", http.StatusServiceUnavailable},
		{ledger.ErrNoLog, api.TypeLogUnavailable, "The log is missing", http.StatusServiceUnavailable},
		{disclose.ErrOtherBrand, api.TypeOtherBrand, "Of another brand", http.StatusForbidden},
		{seal.ErrUnknownToken, api.TypeUnknownToken, "Unknown token", http.StatusNotFound},
		{seal.ErrNoCustomer, api.TypeUnknownToken, "Unknown token", http.StatusNotFound},
		{keys.ErrUnwrap, api.TypeLogUnavailable, "Not the root key", http.StatusServiceUnavailable},
		{keys.ErrOtherRoot, api.TypeLogUnavailable, "Not the root key in force", http.StatusServiceUnavailable},
		{keys.ErrRotated, api.TypeConflict, "Rotated meanwhile", http.StatusConflict},
		{keys.ErrBackup, api.TypeConflict, "A backup is running", http.StatusConflict},
		{keys.ErrRootRotation, api.TypeConflict, "The root key is being rotated", http.StatusConflict},
		{keys.ErrRootReleased, api.TypeConflict, "Changed meanwhile", http.StatusConflict},
		{keys.ErrGenerations, api.TypeConflict, "No generation left", http.StatusConflict},
		{revision.ErrMoved, api.TypeConflict, "Changed meanwhile", http.StatusConflict},
		{seal.ErrConflict, api.TypeConflict, "Changed meanwhile", http.StatusConflict},
		{brands.ErrNoBrand, api.TypeUnknownBrand, "Unknown brand", http.StatusNotFound},
		{brands.ErrNoPurpose, api.TypeUnknownPurpose, "Unknown purpose", http.StatusForbidden},
		{brands.ErrExists, api.TypeConflict, "Exists already", http.StatusConflict},
		{identity.ErrExists, api.TypeConflict, "Exists already", http.StatusConflict},
		{brands.ErrName, api.TypeInvalid, "Not a name", http.StatusUnprocessableEntity},
		{brands.ErrLegalBasis, api.TypeInvalid, "Not a legal basis", http.StatusUnprocessableEntity},
		{identity.ErrName, api.TypeInvalid, "Not a name", http.StatusUnprocessableEntity},
		{identity.ErrNoPrincipal, api.TypeNotFound, "No such principal", http.StatusNotFound},
		{containment.ErrContained, api.TypeContained, "Stopped", http.StatusForbidden},
		{containment.ErrReach, api.TypeNotFound, "Nobody to stop here", http.StatusNotFound},
		{containment.ErrLast, api.TypeConflict, "Nobody would be left", http.StatusConflict},
		{containment.ErrUndoer, api.TypePolicyDenied, "Not you", http.StatusForbidden},
		{containment.ErrAsker, api.TypeConflict, "Ask anew", http.StatusConflict},
		{containment.ErrNone, api.TypeNotFound, "No such containment", http.StatusNotFound},
		{containment.ErrState, api.TypeConflict, "Not now", http.StatusConflict},
		{containment.ErrMost, api.TypeConflict, "Too many containments", http.StatusConflict},
		{identity.ErrNoCredential, api.TypeNotFound, "No such credential", http.StatusNotFound},
		{identity.ErrChildren, api.TypeConflict, "Too many credentials", http.StatusConflict},
		{identity.ErrRevocations, api.TypeConflict, "Too many revocations", http.StatusConflict},
		{identity.ErrNoLineage, api.TypeNotFound, "Nothing to revoke", http.StatusNotFound},
		{identity.ErrNoRole, api.TypeNotFound, "No role there", http.StatusNotFound},
		{ledger.ErrNoEntry, api.TypeNotFound, "No such entry", http.StatusNotFound},
		{access.ErrPolicy, api.TypeInvalid, "Not a policy", http.StatusUnprocessableEntity},
		{access.ErrNoPolicy, api.TypePolicyDenied, "No policy", http.StatusForbidden},
		{budget.ErrRules, api.TypeInvalid, "Not a set of budgets", http.StatusUnprocessableEntity},
		{disclose.ErrField, api.TypeInvalid, "Unknown field", http.StatusUnprocessableEntity},
		{door.ErrTicket, api.TypeInvalid, "Not a ticket", http.StatusUnprocessableEntity},
		{detect.ErrRules, api.TypeInvalid, "Not a set of rules", http.StatusUnprocessableEntity},
		{detect.ErrAsk, api.TypeInvalid, "The request is not valid", http.StatusUnprocessableEntity},
		{detect.ErrNoAlarm, api.TypeNotFound, "No such alarm", http.StatusNotFound},
		{detect.ErrClosed, api.TypeConflict, "Closed already", http.StatusConflict},
		{export.ErrOwn, api.TypePolicyDenied, "Not your own", http.StatusForbidden},
		{export.ErrNotYours, api.TypePolicyDenied, "Not yours", http.StatusForbidden},
		{export.ErrNoExport, api.TypeNotFound, "No such export", http.StatusNotFound},
		{export.ErrExpired, api.TypeConflict, "Expired", http.StatusConflict},
		{export.ErrState, api.TypeConflict, "Not in this state", http.StatusConflict},
		{export.ErrTooMany, api.TypeConflict, "Too many exports", http.StatusConflict},
		{export.ErrRequest, api.TypeInvalid, "The export cannot be asked for", http.StatusUnprocessableEntity},
		{decoymail.ErrRequest, api.TypeInvalid, "Not a report of mail", http.StatusUnprocessableEntity},
		{exposure.ErrNobody, api.TypeNotFound, "Nobody of this name", http.StatusNotFound},
		{exposure.ErrGroup, api.TypeInvalid, "Not a brand", http.StatusUnprocessableEntity},
		{notify.ErrURL, api.TypeInvalid, "Not a receiver's URL", http.StatusUnprocessableEntity},
		{notify.ErrNoReceiver, api.TypeNotFound, "No such receiver", http.StatusNotFound},
		{notify.ErrExists, api.TypeConflict, "Exists already", http.StatusConflict},
		{backup.ErrRequest, api.TypeInvalid, "The backup cannot be made", http.StatusUnprocessableEntity},
		{backup.ErrRunning, api.TypeConflict, "A backup is running", http.StatusConflict},
		{canary.ErrRequest, api.TypeInvalid, "The request is not valid", http.StatusUnprocessableEntity},
		{admin.ErrRequest, api.TypeInvalid, "The request is not valid", http.StatusUnprocessableEntity},
		{record.ErrEmail, api.TypeInvalid, "Not searchable", http.StatusUnprocessableEntity},
		{record.ErrPhone, api.TypeInvalid, "Not searchable", http.StatusUnprocessableEntity},
		{record.ErrExternalID, api.TypeInvalid, "Not searchable", http.StatusUnprocessableEntity},
		{db.ErrUnavailable, api.TypeLogUnavailable, "The database does not answer", http.StatusServiceUnavailable},
		{db.ErrOutcomeUnknown, api.TypeLogUnavailable, "The outcome is unknown", http.StatusServiceUnavailable},
		{context.DeadlineExceeded, api.TypeTimeout, "Out of time", http.StatusGatewayTimeout},
		{context.Canceled, api.TypeTimeout, "Given up", http.StatusGatewayTimeout},
		{idempotency.ErrOther, api.TypeKeyReused, "Another request", http.StatusUnprocessableEntity},
		{idempotency.ErrKey, api.TypeInvalid, "Not an idempotency key", http.StatusUnprocessableEntity},
		{idempotency.ErrRunning, api.TypeConflict, "Being done", http.StatusConflict},
	}
}

// problem is what the API answers for an error.
func problem(err error) *api.Error {
	var ready *api.Error
	if errors.As(err, &ready) {
		return ready
	}
	if denied, ok := errors.AsType[*access.DeniedError](err); ok {
		return &api.Error{Type: api.TypePolicyDenied, Title: "Refused by policy", Status: http.StatusForbidden,
			Detail: denied.Error(), Fields: denied.Fields.Names()}
	}
	if out, ok := errors.AsType[*budget.ExhaustedError](err); ok {
		return &api.Error{Type: api.TypeBudgetExhausted, Title: "Refused by budget", Status: http.StatusTooManyRequests,
			Detail: out.Error(), RetryIn: int64(out.Retry.Seconds())}
	}
	if none, ok := errors.AsType[*budget.NoRuleError](err); ok {
		return &api.Error{Type: api.TypeBudgetExhausted, Title: "Refused: no budget", Status: http.StatusTooManyRequests, Detail: none.Error()}
	}
	if out, ok := errors.AsType[*containment.OutcomeError](err); ok {
		e := &api.Error{Type: api.TypeLogUnavailable, Title: "Nothing was changed", Status: http.StatusServiceUnavailable, Detail: out.Error()}
		switch {
		case out.ID != 0:
			e.Type, e.Title = api.TypePartlyDone, "It holds"
		case out.Unknown():
			e.Type, e.Title = api.TypeOutcomeUnknown, "The outcome is unknown"
		}
		return e
	}
	if card, ok := errors.AsType[*ledger.CardError](err); ok {
		return &api.Error{Type: api.TypeCardNumber, Title: "Payment card number refused", Status: http.StatusUnprocessableEntity,
			Detail: card.Error(), Fields: []string{card.Field}}
	}
	if more, ok := errors.AsType[*exposure.UnfinishedError](err); ok {
		return &api.Error{Type: api.TypeUnfinished, Title: "Still counting", Status: http.StatusServiceUnavailable, Detail: more.Error(), RetryIn: 1}
	}
	for _, k := range kinds() {
		if errors.Is(err, k.err) {
			detail := k.err.Error()
			if k.status < http.StatusInternalServerError && k.status != http.StatusUnauthorized {
				detail = err.Error() // our own words, with the place and never the value
			}
			return &api.Error{Type: k.typ, Title: k.title, Status: k.status, Detail: detail}
		}
	}
	return internal()
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
	json.NewEncoder(w).Encode(e)
}
