package incident_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/respond/incident"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

func customers(n int) (out []api.Fields) {
	for i := range n {
		out = append(out, api.Fields{"external_id": fmt.Sprint("Z-", i), "given_name": "Zoe", "email": fmt.Sprintf("zoe%d@mail.example", i)})
	}
	return out
}

func reveal(t *testing.T, h *apptest.House, c identity.Caller, brand string, tokens ...string) {
	t.Helper()
	_, err := h.Disclose.Reveal(t.Context(), c, brand, api.RevealRequest{Tokens: tokens, Fields: []string{"email"}, Purpose: "order-fulfilment"})
	h.Must(err)
}

// An incident of the group is told from its opening to its frozen report, through a
// restart; a brand's people see their own brand's part of it.
func TestAnIncidentOfTheGroup(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		thief := h.Person("thief", map[string]string{"gucci": access.Application, "balenciaga": access.Application})
		lead := h.Person("lead", map[string]string{"group": access.IncidentResponder})
		officer := h.Person("officer", map[string]string{"gucci": access.DataProtectionOfficer})
		gucci, balenciaga := h.Put("gucci", customers(6)...), h.Put("balenciaga", customers(3)...)
		reveal(t, h, thief, "gucci", gucci[:3]...)
		reveal(t, h, thief, "balenciaga", balenciaga[:2]...)

		x, err := h.Incident.Open(ctx, lead, "group", api.IncidentRequest{Title: "connected app", Source: "report", Brands: []string{"gucci", "balenciaga"}})
		h.Must(err)
		if x.ID != "group-1" || x.Lead != "lead" || x.Source != "report" {
			t.Fatalf("%+v", x)
		}
		filter := api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"thief"}}}}
		s, err := h.Incident.Scope(ctx, lead, "group", "1", filter)
		h.Must(err)
		if s.Version.Version != 1 || s.Version.Records != 5 || s.Version.Persons != (api.Persons{AtLeast: 3, AtMost: 5}) {
			t.Fatalf("%+v", s.Version)
		}
		reveal(t, h, thief, "gucci", gucci[2:5]...)
		s, err = h.Incident.Scope(ctx, lead, "group", "1", filter)
		h.Must(err)
		if p := s.Version.Parts[1]; s.Version.Version != 2 || p.Brand != "gucci" || p.Records != 5 || p.Added != 2 || p.Removed != 0 {
			t.Fatalf("%+v", s.Version)
		}

		when := time.Date(2025, 11, 29, 8, 0, 0, 0, time.UTC)
		x, err = h.Incident.Fact(ctx, lead, "group", "1", api.FactRequest{Name: "aware", When: when, Said: "Dana, by phone", Brand: "gucci"})
		h.Must(err)
		first := x.Facts[0].Entry
		x, err = h.Incident.Fact(ctx, lead, "group", "1", api.FactRequest{Name: "aware", When: when.AddDate(1, 0, 0), Brand: "gucci", Corrects: first})
		h.Must(err)
		if len(x.Facts) != 2 || !x.Facts[0].Replaced || !x.Facts[0].When.Equal(when) || x.Facts[1].Replaced || x.Facts[1].Said != "lead" {
			t.Fatalf("%+v", x.Facts)
		}
		if _, err := h.Incident.Fact(ctx, lead, "group", "1", api.FactRequest{Name: "aware", When: when, Corrects: first}); !errors.Is(err, incident.ErrReplaced) {
			t.Errorf("a second correction of one version gives %v", err)
		}
		_, err = h.Incident.Fact(ctx, lead, "group", "1", api.FactRequest{Name: "note", Text: "counsel was called", Brand: ""})
		h.Must(err)
		// Two leads at once: the second correction comes past the check.
		_, err = h.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: identity.Who{Caller: lead, Role: access.IncidentResponder},
			Detail: entry.IncidentFact{Incident: 1, Name: "aware", Text: "another", Brand: "gucci", Corrects: first}})
		h.Must(err)

		part, err := h.Incident.Incident(ctx, officer, "gucci", "group-1")
		h.Must(err)
		if !part.Part || !slices.Equal(part.Brands, []string{"gucci"}) || len(part.Facts) != 3 || !part.Facts[2].Concurrent {
			t.Errorf("the brand's part is %+v", part)
		}
		for _, v := range part.Scopes {
			if len(v.Parts) != 1 || v.Parts[0].Brand != "gucci" || v.Filter != "" {
				t.Errorf("the brand's part of the scope is %+v", v)
			}
		}
		if text := fmt.Sprintf("%+v", part); strings.Contains(text, "balenciaga") || strings.Contains(text, "counsel") {
			t.Errorf("the brand's part has more than the brand's: %s", text)
		}
		stranger := h.Person("stranger", map[string]string{"gucci": access.SupportAgent})
		if _, err := h.Incident.Incident(ctx, stranger, "gucci", "group-1"); err == nil {
			t.Error("somebody without the right to audit saw an incident")
		}
		if _, err := h.Incident.Fact(ctx, officer, "gucci", "group-1", api.FactRequest{Name: "note", Text: "x"}); err == nil {
			t.Error("a brand's officer changed the group's incident")
		}
		if _, err := h.Incident.Incident(ctx, officer, "gucci", "1"); !errors.Is(err, incident.ErrNone) {
			t.Errorf("a number that the brand has not gives %v", err)
		}

		closed, err := h.Incident.Close(ctx, lead, "group", "1", api.CloseIncidentRequest{Summary: "app revoked"})
		h.Must(err)
		if _, err := h.Incident.Fact(ctx, lead, "group", "1", api.FactRequest{Name: "note", Text: "late"}); !errors.Is(err, incident.ErrClosed) {
			t.Errorf("a fact of a closed incident gives %v", err)
		}
		// What raced with the closing does not change the report, nor does a restart.
		_, err = h.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: identity.Who{Caller: lead, Role: access.IncidentResponder},
			Detail: entry.IncidentFact{Incident: 1, Name: "note", Text: "late"}})
		h.Must(err)
		h.Restart()
		again, err := h.Incident.Incident(ctx, lead, "group", "1")
		h.Must(err)
		if fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", closed) {
			t.Errorf("the report was\n%+v\nand is\n%+v", closed, again)
		}
		list, err := h.Incident.List(ctx, officer, "gucci")
		h.Must(err)
		if len(list) != 1 || list[0].ID != "group-1" || list[0].Closed.IsZero() {
			t.Errorf("the brand's list is %+v", list)
		}
	})
}

// Each version of a scope says what it changes of the one before, at every brand: wider,
// narrower by another filter, and the same again.
func TestVersionsSayWhatTheyChange(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		both := map[string]string{"gucci": access.Application, "balenciaga": access.Application}
		thief, other := h.Person("thief", both), h.Person("other", both)
		lead := h.Person("lead", map[string]string{"group": access.IncidentResponder})
		gucci, balenciaga := h.Put("gucci", customers(6)...), h.Put("balenciaga", customers(3)...)
		reveal(t, h, thief, "gucci", gucci[:3]...)
		reveal(t, h, other, "gucci", gucci[2:6]...)
		reveal(t, h, other, "balenciaga", balenciaga[:2]...)
		_, err := h.Incident.Open(ctx, lead, "group", api.IncidentRequest{Title: "connected app", Brands: []string{"gucci", "balenciaga"}})
		h.Must(err)
		type change struct{ records, added, removed int }
		of := func(names ...string) map[string]change {
			s, err := h.Incident.Scope(ctx, lead, "group", "1", api.ScopeRequest{Any: []api.ScopeFilter{{Principals: names}}})
			h.Must(err)
			out := map[string]change{}
			for _, p := range s.Version.Parts {
				out[p.Brand] = change{p.Records, p.Added, p.Removed}
			}
			return out
		}
		for i, c := range []struct {
			names             []string
			gucci, balenciaga change
		}{
			{[]string{"thief"}, change{3, 3, 0}, change{0, 0, 0}},
			{[]string{"thief", "other"}, change{6, 3, 0}, change{2, 2, 0}},
			{[]string{"other"}, change{4, 0, 2}, change{2, 0, 0}},
			{[]string{"other"}, change{4, 0, 0}, change{2, 0, 0}},
			{[]string{"thief"}, change{3, 2, 3}, change{0, 0, 2}},
		} {
			if got := of(c.names...); got["gucci"] != c.gucci || got["balenciaga"] != c.balenciaga {
				t.Errorf("version %d changes %+v, want %+v and %+v", i+1, got, c.gucci, c.balenciaga)
			}
		}
	})
}
