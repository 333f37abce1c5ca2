package admin_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/change"
)

// A brand says how long broken glass waits there. One hand makes it longer and not shorter,
// and glass that was broken before keeps its time.
func TestABrandSaysHowLongBrokenGlassWaits(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		anna := h.Person("anna", map[string]string{"gucci": access.Administrator})
		h.TwoPeople()
		set := func(n int) error {
			_, err := h.Admin.SetSettings(ctx, anna, "gucci", api.SettingsChange{GlassHours: &n}, true)
			return err
		}
		for _, n := range []int{-1, 169} {
			if err := set(n); !errors.Is(err, brands.ErrSetting) {
				t.Errorf("%d hours: %v", n, err)
			}
		}
		h.Approve(set(10)) // how long the server waits is not in the settings
		h.Must(set(12))
		// An act of two people, by broken glass.
		days := 1
		_, err := h.Admin.SetSettings(ctx, anna, "gucci", api.SettingsChange{CoolingDays: &days}, true)
		var waits *change.PendingError
		if !errors.As(err, &waits) {
			t.Fatal(err)
		}
		x, err := h.Changes.BreakGlass(ctx, anna, waits.ID, api.BreakGlassRequest{Reason: "nobody answers"})
		h.Must(err)
		for _, n := range []int{11, 1, 0} {
			if err := set(n); !errors.As(err, new(*change.PendingError)) {
				t.Errorf("one hand makes it %d hours: %v", n, err)
			}
		}
		h.Restart()
		for _, d := range []time.Duration{0, 5 * time.Hour, 6 * time.Hour} { // 11 hours
			h.Later(d)
			if x, err = h.Changes.BreakGlass(ctx, anna, x.ID, api.BreakGlassRequest{Reason: "nobody answers"}); err != nil || x.State == "done" {
				t.Fatalf("after less than 12 hours: %+v, %v", x, err)
			}
		}
		h.Later(2 * time.Hour)
		if x, err = h.Changes.BreakGlass(ctx, anna, x.ID, api.BreakGlassRequest{Reason: "nobody answers"}); err != nil || x.State != "done" {
			t.Errorf("after 13 hours: %+v, %v", x, err)
		}
	})
}

// An administrator cannot see to it that nobody may contain them: not with one hand.
func TestAnAdministratorCanBeContained(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		rosa := h.Person("rosa", map[string]string{"group": access.IncidentResponder})
		h.Person("rhea", map[string]string{"group": access.IncidentResponder})
		mallory := h.Person("mallory", map[string]string{"group": access.Administrator})
		h.TwoPeople()
		_, err := h.Admin.SetRole(ctx, mallory, "rhea", "group", "")
		h.Must(err) // another one is left
		for _, role := range []string{"", access.Analyst} {
			var waits *change.PendingError
			if _, err := h.Admin.SetRole(ctx, mallory, "rosa", "group", role); !errors.As(err, &waits) {
				t.Errorf("the last who may contain an administrator gets the role %q: %v", role, err)
			}
		}
		_, err = h.Contain.Contain(ctx, rosa, "group", api.ContainRequest{Principal: "mallory"})
		h.Must(err)
		if _, err := h.Admin.CreatePrincipal(ctx, mallory, api.Principal{Name: "sock", Kind: "person"}); err == nil {
			t.Error("a contained administrator registers people")
		}
	})
}
