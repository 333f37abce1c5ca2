package server_test

import (
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

func TestPrincipalsHaveProfiles(t *testing.T) { onEach(t, profiles) }

// Who read a customer is said in words: name for people, team and place, which are logged
// sealed beside the leaf, and which a change in the database does not forge.
func profiles(t *testing.T, h *house) {
	ctx := t.Context()
	team := api.Profile{DisplayName: "Alice R.", Team: "Gucci Client Service", Place: "Milan"}
	p, err := h.CreatePrincipal(ctx, api.Principal{Name: "alice", Kind: "person", Roles: map[string]string{"gucci": "support-agent"}, Profile: team})
	if err != nil || p.Profile != team {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := h.as["support-agent"].Describe(ctx, "support-agent", team); !isType(err, api.TypeUnknownBrand) {
		t.Errorf("somebody describes themselves: %v", err)
	}
	for _, wrong := range []api.Profile{
		{Team: "two\nlines"}, {Place: " Milan"}, {DisplayName: strings.Repeat("x", 65)}, {Team: "desk " + cardPlain}, {Place: "Mi\u202elan"},
	} {
		if _, err := h.Describe(ctx, "support-agent", wrong); err == nil || strings.Contains(err.Error(), "lan") && wrong.Place != "" && strings.Contains(err.Error(), "Mi") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if p, err := h.Describe(ctx, "support-agent", api.Profile{Team: "Gucci Client Service", Place: "Milan"}); err != nil || p.Team != "Gucci Client Service" {
		t.Fatalf("%+v, %v", p, err)
	}
	token := h.some(1)[0]
	_, err = h.as["support-agent"].View(ctx, "gucci", token, "customer-support", "")
	h.must(err)
	read := func() api.Profile {
		t.Helper()
		out, err := h.as["data-protection-officer"].WhoRead(ctx, "gucci", token)
		h.must(err)
		last := out.Disclosures[len(out.Disclosures)-1]
		if last.Principal != "support-agent" {
			t.Errorf("read by %s", last.Principal)
		}
		return last.Profile
	}
	if got := read(); got.Team != "Gucci Client Service" || got.Place != "Milan" {
		t.Errorf("who read: %+v", got)
	}
	logged := 0
	for _, e := range h.entriesAt(0, entry.KindAdministration) {
		switch d := e.Detail.(type) {
		case entry.PrincipalDescribed:
			if d.Principal == "support-agent" && d.Team == "Gucci Client Service" && d.Place == "Milan" {
				logged++
			}
		case entry.PrincipalCreated:
			if d.Principal == "alice" && d.Display == "Alice R." {
				logged++
			}
		}
	}
	if logged != 2 {
		t.Errorf("%d of 2 profiles are in the log", logged)
	}
	if n, err := h.vault.DB.Exec(ctx, `UPDATE principals SET team = 'Police' WHERE name = 'support-agent'`); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if got := read(); got != (api.Profile{}) {
		t.Errorf("a team that nobody logged is shown: %+v", got)
	}
}
