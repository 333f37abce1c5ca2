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
	return &api.Error{Type: api.TypeInternal, Title: "Internal error", Status: http.StatusInternalServerError,
		Detail: "this request disclosed nothing; see the log of the server"}
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
		{errNoKey, api.TypeUnauthenticated, "Authentication required", http.StatusUnauthorized},
		{identity.ErrMalformedKey, api.TypeUnauthenticated, "Malformed API key", http.StatusUnauthorized},
		{identity.ErrUnknownKey, api.TypeUnauthenticated, "Unknown API key", http.StatusUnauthorized},
		{identity.ErrLink, api.TypePolicyDenied, "Export link only", http.StatusForbidden},
		{identity.ErrRevoked, api.TypeUnauthenticated, "Credential revoked", http.StatusUnauthorized},
		{identity.ErrExpired, api.TypeUnauthenticated, "Credential expired", http.StatusUnauthorized},
		{identity.ErrDisabled, api.TypeUnauthenticated, "Principal disabled", http.StatusUnauthorized},
		{admin.ErrErasing, api.TypePartlyDone, "Logged, not erased yet", http.StatusServiceUnavailable},
		{seal.ErrDamaged, api.TypeDamaged, "Record damaged", http.StatusInternalServerError},
		{seal.ErrNoOrdinals, api.TypeInternal, "No ordinal left", http.StatusInsufficientStorage},
		{ledger.ErrUnavailable, api.TypeLogUnavailable, "Log unavailable", http.StatusServiceUnavailable},
		{ledger.ErrTampered, api.TypeLogUnavailable, "Log tampered with", http.StatusServiceUnavailable},
		{ledger.ErrClosed, api.TypeLogUnavailable, "Vault shutting down", http.StatusServiceUnavailable},
		{ledger.ErrNoLog, api.TypeLogUnavailable, "Log missing", http.StatusServiceUnavailable},
		{disclose.ErrOtherBrand, api.TypeOtherBrand, "Token of another brand", http.StatusForbidden},
		{seal.ErrUnknownToken, api.TypeUnknownToken, "Unknown token", http.StatusNotFound},
		{seal.ErrNoCustomer, api.TypeUnknownToken, "Unknown token", http.StatusNotFound},
		{keys.ErrUnwrap, api.TypeLogUnavailable, "Wrong root key", http.StatusServiceUnavailable},
		{keys.ErrOtherRoot, api.TypeLogUnavailable, "Root key not current", http.StatusServiceUnavailable},
		{keys.ErrRotated, api.TypeConflict, "Key already rotated", http.StatusConflict},
		{keys.ErrBackup, api.TypeConflict, "Backup already running", http.StatusConflict},
		{keys.ErrRootRotation, api.TypeConflict, "Root key rotation in progress", http.StatusConflict},
		{keys.ErrRootReleased, api.TypeConflict, "Concurrent change", http.StatusConflict},
		{keys.ErrGenerations, api.TypeConflict, "No key generation left", http.StatusConflict},
		{revision.ErrMoved, api.TypeConflict, api.TitleConcurrent, http.StatusConflict},
		{seal.ErrConflict, api.TypeConflict, api.TitleConcurrent, http.StatusConflict},
		{brands.ErrNoBrand, api.TypeUnknownBrand, "Unknown brand", http.StatusNotFound},
		{brands.ErrNoPurpose, api.TypeUnknownPurpose, "Unknown purpose", http.StatusForbidden},
		{brands.ErrExists, api.TypeConflict, "Already exists", http.StatusConflict},
		{identity.ErrExists, api.TypeConflict, "Already exists", http.StatusConflict},
		{brands.ErrName, api.TypeInvalid, "Invalid name", http.StatusUnprocessableEntity},
		{brands.ErrLegalBasis, api.TypeInvalid, "Unknown legal basis", http.StatusUnprocessableEntity},
		{identity.ErrName, api.TypeInvalid, "Invalid name", http.StatusUnprocessableEntity},
		{identity.ErrNoPrincipal, api.TypeNotFound, "No such principal", http.StatusNotFound},
		{containment.ErrContained, api.TypeContained, "Access suspended", http.StatusForbidden},
		{containment.ErrReach, api.TypeNotFound, "No such principal or credential", http.StatusNotFound},
		{containment.ErrLast, api.TypeConflict, "No other person could undo", http.StatusConflict},
		{containment.ErrUndoer, api.TypePolicyDenied, "Not allowed to undo", http.StatusForbidden},
		{containment.ErrAsker, api.TypeConflict, "Undo request no longer valid", http.StatusConflict},
		{containment.ErrNone, api.TypeNotFound, "No such containment", http.StatusNotFound},
		{containment.ErrState, api.TypeConflict, "Containment cannot be undone now", http.StatusConflict},
		{containment.ErrMost, api.TypeConflict, "Too many containments", http.StatusConflict},
		{identity.ErrNoCredential, api.TypeNotFound, "No such credential", http.StatusNotFound},
		{identity.ErrChildren, api.TypeConflict, "Too many credentials", http.StatusConflict},
		{identity.ErrRevocations, api.TypeConflict, "Too many revocations", http.StatusConflict},
		{identity.ErrNoLineage, api.TypeNotFound, "No such lineage", http.StatusNotFound},
		{identity.ErrNoRole, api.TypeNotFound, "No role at this brand", http.StatusNotFound},
		{ledger.ErrNoEntry, api.TypeNotFound, "No such entry", http.StatusNotFound},
		{access.ErrPolicy, api.TypeInvalid, "Invalid policy", http.StatusUnprocessableEntity},
		{access.ErrNoPolicy, api.TypePolicyDenied, "No policy", http.StatusForbidden},
		{budget.ErrRules, api.TypeInvalid, "Invalid budgets", http.StatusUnprocessableEntity},
		{disclose.ErrField, api.TypeInvalid, "Unknown field", http.StatusUnprocessableEntity},
		{door.ErrTicket, api.TypeInvalid, "Invalid ticket", http.StatusUnprocessableEntity},
		{detect.ErrRules, api.TypeInvalid, "Invalid detection rules", http.StatusUnprocessableEntity},
		{detect.ErrAsk, api.TypeInvalid, "Invalid request", http.StatusUnprocessableEntity},
		{detect.ErrNoAlarm, api.TypeNotFound, "No such alarm", http.StatusNotFound},
		{detect.ErrClosed, api.TypeConflict, "Alarm already closed", http.StatusConflict},
		{export.ErrOwn, api.TypePolicyDenied, "Second person required", http.StatusForbidden},
		{export.ErrNotYours, api.TypePolicyDenied, "Export of another credential", http.StatusForbidden},
		{export.ErrNoExport, api.TypeNotFound, "No such export", http.StatusNotFound},
		{export.ErrExpired, api.TypeConflict, "Export expired", http.StatusConflict},
		{export.ErrState, api.TypeConflict, "Wrong state of the export", http.StatusConflict},
		{export.ErrTooMany, api.TypeConflict, "Too many exports", http.StatusConflict},
		{export.ErrRequest, api.TypeInvalid, "Invalid export request", http.StatusUnprocessableEntity},
		{decoymail.ErrRequest, api.TypeInvalid, "Invalid mail report", http.StatusUnprocessableEntity},
		{exposure.ErrNobody, api.TypeNotFound, "No such principal", http.StatusNotFound},
		{exposure.ErrGroup, api.TypeInvalid, "Brand required", http.StatusUnprocessableEntity},
		{notify.ErrURL, api.TypeInvalid, "Invalid receiver URL", http.StatusUnprocessableEntity},
		{notify.ErrNoReceiver, api.TypeNotFound, "No such receiver", http.StatusNotFound},
		{notify.ErrExists, api.TypeConflict, "Already exists", http.StatusConflict},
		{backup.ErrRequest, api.TypeInvalid, "Invalid backup request", http.StatusUnprocessableEntity},
		{backup.ErrRunning, api.TypeConflict, "Backup already running", http.StatusConflict},
		{canary.ErrRequest, api.TypeInvalid, "Invalid request", http.StatusUnprocessableEntity},
		{admin.ErrRequest, api.TypeInvalid, "Invalid request", http.StatusUnprocessableEntity},
		{record.ErrEmail, api.TypeInvalid, "Value not searchable", http.StatusUnprocessableEntity},
		{record.ErrPhone, api.TypeInvalid, "Value not searchable", http.StatusUnprocessableEntity},
		{record.ErrExternalID, api.TypeInvalid, "Value not searchable", http.StatusUnprocessableEntity},
		{db.ErrUnavailable, api.TypeLogUnavailable, "Database unavailable", http.StatusServiceUnavailable},
		{db.ErrOutcomeUnknown, api.TypeLogUnavailable, "Outcome unknown", http.StatusServiceUnavailable},
		{context.DeadlineExceeded, api.TypeTimeout, "Timeout", http.StatusGatewayTimeout},
		{context.Canceled, api.TypeTimeout, "Request cancelled", http.StatusGatewayTimeout},
		{idempotency.ErrOther, api.TypeKeyReused, "Idempotency key reused", http.StatusUnprocessableEntity},
		{idempotency.ErrKey, api.TypeInvalid, "Invalid idempotency key", http.StatusUnprocessableEntity},
		{idempotency.ErrRunning, api.TypeConflict, "Request in progress", http.StatusConflict},
	}
}

// problem is what the API answers for an error.
func problem(err error) *api.Error {
	var ready *api.Error
	if errors.As(err, &ready) {
		return ready
	}
	if denied, ok := errors.AsType[*access.DeniedError](err); ok {
		return &api.Error{Type: api.TypePolicyDenied, Title: "Denied by policy", Status: http.StatusForbidden,
			Detail: denied.Error(), Fields: denied.Fields.Names()}
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
		case out.ID != 0:
			e.Type, e.Title = api.TypePartlyDone, "Partly done"
		case out.Unknown():
			e.Type, e.Title = api.TypeOutcomeUnknown, "Outcome unknown"
		}
		return e
	}
	if card, ok := errors.AsType[*ledger.CardError](err); ok {
		return &api.Error{Type: api.TypeCardNumber, Title: "Payment card number refused", Status: http.StatusUnprocessableEntity,
			Detail: card.Error(), Fields: []string{card.Field}}
	}
	if more, ok := errors.AsType[*exposure.UnfinishedError](err); ok {
		return &api.Error{Type: api.TypeUnfinished, Title: "Count in progress", Status: http.StatusServiceUnavailable, Detail: more.Error(), RetryIn: 1}
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
