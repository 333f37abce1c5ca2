package disclose_test

import (
	"errors"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// The response opens whom the approved version has, and nobody else: one other customer
// fails all, an entry that is no approval approves nobody, and without an approval no
// release counts as one of the response.
func TestNobodyOutsideTheApprovedVersionIsOpened(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	thief := h.Person("thief", map[string]string{"gucci": access.Application})
	_, lead := h.TwoPeople()
	tokens := h.Put("gucci", api.Fields{"external_id": "1", "country": "IT"}, api.Fields{"external_id": "2", "country": "FR"}, api.Fields{"external_id": "3", "country": "DE"})
	_, err := h.Disclose.Reveal(ctx, thief, "gucci", api.RevealRequest{Tokens: tokens[:2], Fields: []string{"country"}, Purpose: "order-fulfilment"})
	h.Must(err)
	_, err = h.Incident.Open(ctx, lead, "gucci", api.IncidentRequest{Title: "stolen key"})
	h.Must(err)
	_, err = h.Incident.Scope(ctx, lead, "gucci", "1", api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"thief"}}}})
	h.Must(err)
	_, err = h.Incident.ApproveScope(ctx, lead, "gucci", "1", api.ScopeApproval{})
	h.Approve(err)
	x, err := h.Incident.Incident(ctx, lead, "gucci", "1")
	h.Must(err)
	v, err := h.Disclose.Door.Admit(ctx, lead, "gucci", access.ActRespond)
	h.Must(err)
	if _, err := h.Disclose.Cohort(ctx, v, v.Brand.ID, "gucci", x.Scopes[0].Entry); !errors.Is(err, disclose.ErrNotApproved) {
		t.Errorf("a version that is not approved gives %v", err)
	}
	c, err := h.Disclose.Cohort(ctx, v, v.Brand.ID, "gucci", x.Scopes[0].Approval)
	h.Must(err)
	ords := c.Part(0, 10)
	if c.Len() != 2 || len(ords) != 2 {
		t.Fatalf("it has %d customers", c.Len())
	}
	all, err := h.Disclose.Resolve(ctx, v, tokens)
	h.Must(err)
	if _, err := h.Disclose.Fetch(ctx, c, disclose.CountPlaces, all); !errors.Is(err, disclose.ErrOutside) {
		t.Errorf("a customer outside gives %v", err)
	}
	b, err := h.Disclose.Fetch(ctx, c, disclose.CountPlaces, ords)
	h.Must(err)
	elsewhere, err := h.Disclose.Door.Admit(ctx, lead, "balenciaga", access.ActRespond)
	h.Must(err)
	var into api.Breakdown
	if err := h.Disclose.Places(ctx, elsewhere, b, "", 0, "{}", &into); !errors.Is(err, disclose.ErrOutside) {
		t.Errorf("under another brand's visit: %v", err)
	}
	h.Must(h.Disclose.Places(ctx, v, b, "", 0, "{}", &into))
	if into.Opened != 2 {
		t.Errorf("%+v", into)
	}

	g, err := v.Authorize(ctx, access.ActRespond, disclose.ForResponse, record.Fields(record.Country))
	h.Must(err)
	for name, rel := range map[string]ledger.Release{
		"without an approval":  {Class: budget.Scope},
		"under another budget": {Class: budget.Clear, Detail: entry.ScopeOpened{Figures: x.Scopes[0].Parts[0].Entry}},
	} {
		rel.Grant, rel.Ords = g, ords
		if _, err := h.Ledger.Hold(ctx, rel); err == nil {
			t.Errorf("a release of the response %s is not refused", name)
		}
	}
}

// The approved version's number of customers is a limit of the log itself: whatever asks for
// more under it is refused, on every server and after a restart.
func TestTheLogBoundsWhatAnApprovedVersionOpens(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	lead := h.Person("lead", map[string]string{"gucci": access.IncidentResponder})
	h.Put("gucci", api.Fields{"external_id": "1"}, api.Fields{"external_id": "2"}, api.Fields{"external_id": "3"})
	release := func(ords ...record.Ordinal) error {
		v, err := h.Disclose.Door.Admit(ctx, lead, "gucci", access.ActRespond)
		h.Must(err)
		g, err := v.Authorize(ctx, access.ActRespond, disclose.ForResponse, record.Fields(record.Country))
		h.Must(err)
		var most budget.Limits
		most[budget.Month].Set, most[budget.Month].Limit = true, 2
		hold, err := h.Ledger.Hold(ctx, ledger.Release{Grant: g, Class: budget.Scope, Ords: ords, Most: most, Detail: entry.ScopeOpened{Incident: 1, Owner: "gucci", Figures: 9}})
		if err != nil {
			return err
		}
		_, err = h.Ledger.Append(ctx, hold, func(int, entry.Committed) [32]byte { return [32]byte{} })
		return err
	}
	h.Must(release(1))
	h.Must(release(1, 2))
	h.Restart()
	h.Must(release(2))
	var exhausted *budget.ExhaustedError
	if err := release(3); !errors.As(err, &exhausted) || exhausted.Holder.Kind != budget.Approval {
		t.Errorf("a third customer under an approval of two gives %v", err)
	}
}
