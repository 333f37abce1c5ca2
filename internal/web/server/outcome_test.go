package server_test

import (
	"net/http"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// An act that was announced in the log and then failed has an entry that says so.
func TestTheLogSaysThatAnActFailed(t *testing.T) { onEach(t, anActFails) }

func anActFails(t *testing.T, h *house) {
	ctx := t.Context()
	req := api.Principal{Name: "twice", Kind: "person", Country: "IT", Entity: "Gucci S.p.A."}
	var made api.Principal
	h.must(h.Do(ctx, http.MethodPost, "/v1/principals", req, &made))
	if made.Country != "IT" || made.Entity != "Gucci S.p.A." {
		t.Errorf("%+v", made)
	}
	if err := h.Do(ctx, http.MethodPost, "/v1/principals", req, nil); !isType(err, api.TypeConflict) {
		t.Fatalf("a second principal of one name: %v", err)
	}
	var announced, last uint64
	var outcome entry.Outcome
	h.must(h.vault.Ledger.Scan(ctx, record.Group, 0, func(i uint64, e entry.Entry, _ []record.Ordinal) error {
		switch d := e.Detail.(type) {
		case entry.PrincipalCreated:
			announced = i
		case entry.Outcome:
			outcome, last = d, i
		}
		return nil
	}))
	if outcome.Of != announced || last != announced+1 || outcome.Result != "failed" {
		t.Errorf("entry %d says %+v of entry %d", last, outcome, announced)
	}
}
