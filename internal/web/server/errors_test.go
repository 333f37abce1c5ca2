package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/govern/admin"
	"github.com/cloakroom/cloakroom/internal/govern/backup"
	"github.com/cloakroom/cloakroom/internal/govern/upkeep"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/idempotency"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/respond/contain"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/erase"
	"github.com/cloakroom/cloakroom/internal/vault/export"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
	"github.com/cloakroom/cloakroom/internal/watch/canary"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
	"github.com/cloakroom/cloakroom/internal/watch/exposure"
	"github.com/cloakroom/cloakroom/internal/watch/notify"
	"github.com/cloakroom/cloakroom/internal/web/server"
)

// pinned holds the type and status of every error that a program may depend on.
var pinned = []struct {
	err    error
	typ    string
	status int
}{
	{identity.ErrMalformedKey, api.TypeUnauthenticated, http.StatusUnauthorized},
	{identity.ErrUnknownKey, api.TypeUnauthenticated, http.StatusUnauthorized},
	{identity.ErrLink, api.TypePolicyDenied, http.StatusForbidden},
	{identity.ErrRevoked, api.TypeUnauthenticated, http.StatusUnauthorized},
	{identity.ErrExpired, api.TypeUnauthenticated, http.StatusUnauthorized},
	{identity.ErrDisabled, api.TypeUnauthenticated, http.StatusUnauthorized},
	{erase.ErrErasing, api.TypePartlyDone, http.StatusServiceUnavailable},
	{seal.ErrNoOrdinals, api.TypeInternal, http.StatusInsufficientStorage},
	{seal.ErrDamaged, api.TypeDamaged, http.StatusInternalServerError},
	{ledger.ErrUnavailable, api.TypeLogUnavailable, http.StatusServiceUnavailable},
	{ledger.ErrTampered, api.TypeLogUnavailable, http.StatusServiceUnavailable},
	{ledger.ErrClosed, api.TypeLogUnavailable, http.StatusServiceUnavailable},
	{ledger.ErrNoLog, api.TypeLogUnavailable, http.StatusServiceUnavailable},
	{disclose.ErrOtherBrand, api.TypeOtherBrand, http.StatusForbidden},
	{seal.ErrUnknownToken, api.TypeUnknownToken, http.StatusNotFound},
	{seal.ErrNoCustomer, api.TypeUnknownToken, http.StatusNotFound},
	{keys.ErrUnwrap, api.TypeLogUnavailable, http.StatusServiceUnavailable},
	{keys.ErrOtherRoot, api.TypeLogUnavailable, http.StatusServiceUnavailable},
	{keys.ErrRotated, api.TypeConflict, http.StatusConflict},
	{keys.ErrBackup, api.TypeConflict, http.StatusConflict},
	{keys.ErrRootRotation, api.TypeConflict, http.StatusConflict},
	{keys.ErrRootReleased, api.TypeConflict, http.StatusConflict},
	{keys.ErrGenerations, api.TypeConflict, http.StatusConflict},
	{revision.ErrMoved, api.TypeConflict, http.StatusConflict},
	{seal.ErrConflict, api.TypeConflict, http.StatusConflict},
	{brands.ErrNoBrand, api.TypeUnknownBrand, http.StatusNotFound},
	{brands.ErrNoPurpose, api.TypeUnknownPurpose, http.StatusForbidden},
	{brands.ErrExists, api.TypeConflict, http.StatusConflict},
	{identity.ErrExists, api.TypeConflict, http.StatusConflict},
	{brands.ErrName, api.TypeInvalid, http.StatusUnprocessableEntity},
	{brands.ErrLegalBasis, api.TypeInvalid, http.StatusUnprocessableEntity},
	{identity.ErrName, api.TypeInvalid, http.StatusUnprocessableEntity},
	{identity.ErrNoPrincipal, api.TypeNotFound, http.StatusNotFound},
	{containment.ErrContained, api.TypeContained, http.StatusForbidden},
	{containment.ErrReach, api.TypeNotFound, http.StatusNotFound},
	{containment.ErrLast, api.TypeConflict, http.StatusConflict},
	{containment.ErrUndoer, api.TypePolicyDenied, http.StatusForbidden},
	{containment.ErrAsker, api.TypeConflict, http.StatusConflict},
	{containment.ErrNone, api.TypeNotFound, http.StatusNotFound},
	{containment.ErrState, api.TypeConflict, http.StatusConflict},
	{containment.ErrMost, api.TypeConflict, http.StatusConflict},
	{identity.ErrNoCredential, api.TypeNotFound, http.StatusNotFound},
	{identity.ErrRevocations, api.TypeConflict, http.StatusConflict},
	{identity.ErrChildren, api.TypeConflict, http.StatusConflict},
	{identity.ErrNoLineage, api.TypeNotFound, http.StatusNotFound},
	{identity.ErrNoRole, api.TypeNotFound, http.StatusNotFound},
	{ledger.ErrNoEntry, api.TypeNotFound, http.StatusNotFound},
	{access.ErrPolicy, api.TypeInvalid, http.StatusUnprocessableEntity},
	{access.ErrNoPolicy, api.TypePolicyDenied, http.StatusForbidden},
	{budget.ErrRules, api.TypeInvalid, http.StatusUnprocessableEntity},
	{disclose.ErrField, api.TypeInvalid, http.StatusUnprocessableEntity},
	{door.ErrTicket, api.TypeInvalid, http.StatusUnprocessableEntity},
	{detect.ErrRules, api.TypeInvalid, http.StatusUnprocessableEntity},
	{alarm.ErrAsk, api.TypeInvalid, http.StatusUnprocessableEntity},
	{alarm.ErrNoAlarm, api.TypeNotFound, http.StatusNotFound},
	{alarm.ErrClosed, api.TypeConflict, http.StatusConflict},
	{export.ErrOwn, api.TypePolicyDenied, http.StatusForbidden},
	{export.ErrNotYours, api.TypePolicyDenied, http.StatusForbidden},
	{export.ErrNoExport, api.TypeNotFound, http.StatusNotFound},
	{export.ErrExpired, api.TypeConflict, http.StatusConflict},
	{export.ErrState, api.TypeConflict, http.StatusConflict},
	{export.ErrTooMany, api.TypeConflict, http.StatusConflict},
	{export.ErrRequest, api.TypeInvalid, http.StatusUnprocessableEntity},
	{canary.ErrMail, api.TypeInvalid, http.StatusUnprocessableEntity},
	{exposure.ErrNobody, api.TypeNotFound, http.StatusNotFound},
	{exposure.ErrGroup, api.TypeInvalid, http.StatusUnprocessableEntity},
	{notify.ErrURL, api.TypeInvalid, http.StatusUnprocessableEntity},
	{notify.ErrNoReceiver, api.TypeNotFound, http.StatusNotFound},
	{notify.ErrExists, api.TypeConflict, http.StatusConflict},
	{backup.ErrRequest, api.TypeInvalid, http.StatusUnprocessableEntity},
	{backup.ErrRunning, api.TypeConflict, http.StatusConflict},
	{canary.ErrRequest, api.TypeInvalid, http.StatusUnprocessableEntity},
	{contain.ErrRequest, api.TypeInvalid, http.StatusUnprocessableEntity},
	{upkeep.ErrRequest, api.TypeInvalid, http.StatusUnprocessableEntity},
	{admin.ErrRequest, api.TypeInvalid, http.StatusUnprocessableEntity},
	{record.ErrEmail, api.TypeInvalid, http.StatusUnprocessableEntity},
	{record.ErrPhone, api.TypeInvalid, http.StatusUnprocessableEntity},
	{record.ErrExternalID, api.TypeInvalid, http.StatusUnprocessableEntity},
	{db.ErrUnavailable, api.TypeLogUnavailable, http.StatusServiceUnavailable},
	{db.ErrOutcomeUnknown, api.TypeLogUnavailable, http.StatusServiceUnavailable},
	{context.DeadlineExceeded, api.TypeTimeout, http.StatusGatewayTimeout},
	{context.Canceled, api.TypeTimeout, http.StatusGatewayTimeout},
	{idempotency.ErrOther, api.TypeKeyReused, http.StatusUnprocessableEntity},
	{idempotency.ErrKey, api.TypeInvalid, http.StatusUnprocessableEntity},
	{idempotency.ErrRunning, api.TypeConflict, http.StatusConflict},
	// What no request meets, or must not be told of.
	{notify.ErrMailServer, api.TypeInternal, http.StatusInternalServerError},
	{notify.ErrFeedInUse, api.TypeInternal, http.StatusInternalServerError},
	{canary.ErrDamaged, api.TypeInternal, http.StatusInternalServerError},
	{canary.ErrDomain, api.TypeInternal, http.StatusInternalServerError},
	{record.ErrText, api.TypeInternal, http.StatusInternalServerError},
	{record.ErrCorrupt, api.TypeInternal, http.StatusInternalServerError},
	{record.ErrAmount, api.TypeInternal, http.StatusInternalServerError},
	{entry.ErrProof, api.TypeInternal, http.StatusInternalServerError},
	{entry.ErrMalformed, api.TypeInternal, http.StatusInternalServerError},
	{db.ErrUnfinished, api.TypeInternal, http.StatusInternalServerError},
	{db.ErrNoRows, api.TypeInternal, http.StatusInternalServerError},
	{db.ErrNoCitus, api.TypeInternal, http.StatusInternalServerError},
	{db.ErrDuplicate, api.TypeInternal, http.StatusInternalServerError},
	{keys.ErrNoRotation, api.TypeInternal, http.StatusInternalServerError},
	{keys.ErrLease, api.TypeInternal, http.StatusInternalServerError},
	{keys.ErrNoKey, api.TypeInternal, http.StatusInternalServerError},
	{keys.ErrKeyFile, api.TypeInternal, http.StatusInternalServerError},
	{backup.ErrNotEmpty, api.TypeInternal, http.StatusInternalServerError},
	{backup.ErrDamaged, api.TypeInternal, http.StatusInternalServerError},
	{backup.ErrIdentity, api.TypeInternal, http.StatusInternalServerError},
	{access.ErrEvaluation, api.TypeInternal, http.StatusInternalServerError},
	{budget.ErrSnapshot, api.TypeInternal, http.StatusInternalServerError},
	{budget.ErrStale, api.TypeInternal, http.StatusInternalServerError},
	{budget.ErrNoCustomers, api.TypeInternal, http.StatusInternalServerError},
	{ledger.ErrNotLogged, api.TypeInternal, http.StatusInternalServerError},
	{ledger.ErrTooMany, api.TypeInternal, http.StatusInternalServerError},
	{ledger.ErrOrder, api.TypeInternal, http.StatusInternalServerError},
	{seal.ErrStuck, api.TypeInternal, http.StatusInternalServerError},
	{intake.ErrColumns, api.TypeInternal, http.StatusInternalServerError},
	{intake.ErrUnclosedQuote, api.TypeInternal, http.StatusInternalServerError},
	{intake.ErrFormat, api.TypeInternal, http.StatusInternalServerError},
	{intake.ErrMapping, api.TypeInternal, http.StatusInternalServerError},
	{intake.ErrTooManyRejects, api.TypeInternal, http.StatusInternalServerError},
}

func TestAnErrorKeepsItsTypeAndStatus(t *testing.T) {
	for _, a := range pinned {
		for _, err := range []error{a.err, fmt.Errorf("here: %w", a.err), errors.Join(errors.New("before"), a.err), fmt.Errorf("%w: %w", a.err, errors.New("below"))} {
			e := server.Problem(err)
			if e.Type != a.typ || e.Status != a.status {
				t.Errorf("%q is %s %d, want %s %d", err, e.Type, e.Status, a.typ, a.status)
			}
			if e.Title == "" || e.Detail == "" {
				t.Errorf("%q has no title or no detail", err)
			}
			// Only what the caller can mend is told in the words of the place; of the rest, the
			// vault's own log has the cause.
			told := e.Status < http.StatusInternalServerError && e.Status != http.StatusUnauthorized
			if !(a.typ == api.TypeInternal && a.status == http.StatusInternalServerError) && (told && e.Detail != err.Error() || !told && e.Detail != a.err.Error()) {
				t.Errorf("%q is told as %q", err, e.Detail)
			}
		}
	}
}

// A program may send again at once what failed only because of another request.
func TestARequestThatMetAnotherMayBeSentAgain(t *testing.T) {
	for _, a := range pinned {
		e := server.Problem(a.err)
		if again := errors.Is(a.err, seal.ErrConflict) || errors.Is(a.err, revision.ErrMoved) || errors.Is(a.err, keys.ErrRootReleased); (e.RetryIn == 1) != again || e.RetryIn > 1 {
			t.Errorf("%q may be sent again after %d s", a.err, e.RetryIn)
		}
	}
}

// An error that wraps several is what the outermost one says.
func TestTheOutermostErrorIsTold(t *testing.T) {
	for _, c := range []struct {
		err error
		typ string
	}{
		{fmt.Errorf("%w: %w", ledger.ErrUnavailable, keys.ErrUnwrap), api.TypeLogUnavailable},
		{fmt.Errorf("%w: %w", seal.ErrDamaged, keys.ErrUnwrap), api.TypeDamaged},
		{fmt.Errorf("%w: %w", seal.ErrConflict, db.ErrDuplicate), api.TypeConflict},
		{fmt.Errorf("%w: %w", upkeep.ErrRequest, keys.ErrNoRotation), api.TypeInvalid},
		{fmt.Errorf("%w, while retrying: %w", context.DeadlineExceeded, db.ErrUnavailable), api.TypeLogUnavailable},
		{fmt.Errorf("%w: %w", db.ErrNoRows, ledger.ErrNoEntry), api.TypeNotFound},
	} {
		if e := server.Problem(c.err); e.Type != c.typ {
			t.Errorf("%q is %s, want %s", c.err, e.Type, c.typ)
		}
	}
}
