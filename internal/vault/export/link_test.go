package export_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// The brand's log says of a link that could not be made that it was not.
func TestTheLogSaysThatALinkFailed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 12)
	x := h.ask(api.ExportRequest{Tokens: h.tokens})
	h.approve(x.ID)
	var linked []uint64
	var failed []entry.Outcome
	read := func() {
		linked, failed = nil, nil
		h.Must(h.Ledger.Scan(t.Context(), gucci, 0, func(i uint64, e entry.Entry, _ []record.Ordinal) error {
			switch d := e.Detail.(type) {
			case entry.ExportLinked:
				linked = append(linked, i)
			case entry.Outcome:
				failed = append(failed, d)
			}
			return nil
		}))
	}
	if _, err := h.Exports.Link(t.Context(), h.analyst, "gucci", x.ID); err != nil {
		t.Fatal(err)
	}
	if read(); len(linked) != 1 || len(failed) != 0 {
		t.Fatalf("a link that was made: entries %v, outcomes %v", linked, failed)
	}
	// The lineage is filled.
	h.Must(h.DB.Tx(t.Context(), func(q db.Queryer) (err error) {
		for err == nil {
			now := time.Now()
			_, _, err = h.Identity.CreateLink(t.Context(), q, h.analyst.Principal, h.analyst.Credential, x.ID, now.Add(time.Hour), now)
		}
		if errors.Is(err, identity.ErrChildren) {
			err = nil
		}
		return err
	}))
	if _, err := h.Exports.Link(t.Context(), h.analyst, "gucci", x.ID); !errors.Is(err, identity.ErrChildren) {
		t.Fatalf("a link of a full lineage: %v", err)
	}
	read()
	if len(linked) != 2 || len(failed) != 1 || failed[0].Of != linked[1] || failed[0].Result != "failed" || failed[0].Reason != "conflict" {
		t.Errorf("a link that was not made: entries %v, outcomes %v", linked, failed)
	}
}
