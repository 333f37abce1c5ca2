package server_test

import (
	"net/http"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// An act that fails leaves no entry that says it was done: the act and its entry are one.
func TestTheLogSaysThatAnActFailed(t *testing.T) { onEach(t, anActFails) }

func anActFails(t *testing.T, h *house) {
	ctx := t.Context()
	count := func() (made, failed int) {
		h.must(h.vault.Ledger.Scan(ctx, record.Group, 0, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
			switch e.Detail.(type) {
			case entry.PrincipalCreated:
				made++
			case entry.Outcome:
				failed++
			}
			return nil
		}))
		return made, failed
	}
	before, _ := count()
	req := api.Principal{Name: "twice", Kind: "person", Country: "IT", Entity: "Gucci S.p.A."}
	var made api.Principal
	h.must(h.Do(ctx, http.MethodPost, "/v1/principals", req, &made))
	if made.Country != "IT" || made.Entity != "Gucci S.p.A." {
		t.Errorf("%+v", made)
	}
	if err := h.Do(ctx, http.MethodPost, "/v1/principals", req, nil); !isType(err, api.TypeConflict) {
		t.Fatalf("a second principal of one name: %v", err)
	}
	if n, failed := count(); n != before+1 || failed != 0 {
		t.Errorf("%d were made, and %d outcomes are logged", n-before, failed)
	}
}
