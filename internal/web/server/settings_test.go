package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

func TestSettings(t *testing.T) { onEach(t, settings) }

// An administrator changes a brand's settings under their version, the log says which, and
// everybody with a role there reads them.
func settings(t *testing.T, h *house) {
	ctx := t.Context()
	support := h.as["support-agent"]
	s, err := support.Settings(ctx, "gucci")
	if err != nil || s.Version != 1 || s.CoolingDays != 7 || s.RetentionDays != 31 {
		t.Fatalf("%+v, %v", s, err)
	}
	pattern, from, days := "CASE-[0-9]+", "Gucci <privacy@gucci.example>", 90
	change := api.SettingsChange{Version: 1, TicketPattern: &pattern, MailFrom: &from, RetentionDays: &days, Languages: []string{"it", "en"}}
	if _, err := support.SetSettings(ctx, "gucci", change, false); !isType(err, api.TypePolicyDenied) {
		t.Errorf("an agent sets: %v", err)
	}
	if _, err := h.SetSettings(ctx, "group", change, false); !isType(err, api.TypeInvalid) {
		t.Errorf("the group: %v", err)
	}
	dry, err := h.SetSettings(ctx, "gucci", change, true)
	if err != nil || dry.Applied || dry.Version != 1 || len(dry.Changes) != 4 {
		t.Errorf("a dry run: %+v, %v", dry, err)
	}
	if s, err := support.Settings(ctx, "gucci"); err != nil || s.Version != 1 {
		t.Errorf("after the dry run: %+v, %v", s, err)
	}
	set, err := h.SetSettings(ctx, "gucci", change, false)
	if err != nil || !set.Applied || set.Version != 2 {
		t.Fatalf("%+v, %v", set, err)
	}
	if _, err := h.SetSettings(ctx, "gucci", change, false); !isType(err, api.TypeConflict) {
		t.Errorf("the second of two who edit version 1: %v", err)
	}
	if again, err := h.SetSettings(ctx, "gucci", api.SettingsChange{Languages: []string{"it", "en"}}, false); err != nil || again.Applied || again.Version != 2 {
		t.Errorf("nothing differs: %+v, %v", again, err)
	}
	s, err = support.Settings(ctx, "gucci")
	if err != nil || s.Version != 2 || s.TicketPattern != pattern || strings.Join(s.Languages, " ") != "it en" || s.CoolingDays != 7 {
		t.Errorf("%+v, %v", s, err)
	}
	wrong := "(Atlantis"
	if _, err := h.SetSettings(ctx, "gucci", api.SettingsChange{TicketPattern: &wrong}, false); !isType(err, api.TypeInvalid) || strings.Contains(err.Error(), "Atlantis") {
		t.Errorf("a pattern that is none: %v", err)
	}

	token := h.some(1)[0]
	for ticket, fits := range map[string]bool{"CASE-7": true, "": true, "call": false} {
		if _, err := support.View(ctx, "gucci", token, "customer-support", ticket); (err == nil) != fits || !fits && !isType(err, api.TypeInvalid) {
			t.Errorf("the ticket %q: %v", ticket, err)
		}
	}
	if _, err := h.as["incident-responder"].Contain(ctx, "gucci", api.ContainRequest{Principal: "analyst", Ticket: "call", DryRun: true}); err != nil {
		t.Errorf("a pattern of tickets hinders containing: %v", err)
	}

	var logged []entry.SettingsChanged
	for _, e := range h.entriesOf(entry.KindAdministration) {
		if d, ok := e.Detail.(entry.SettingsChanged); ok {
			logged = append(logged, d)
		}
	}
	if len(logged) != 1 || logged[0].Version != 2 || logged[0].Set["ticket_pattern"] != pattern || logged[0].Were["retention_days"] != "31" || logged[0].Mail["mail_from"] == "" {
		t.Errorf("logged: %+v", logged)
	}
	_, err = h.SetErasureCooling(ctx, "gucci", api.ErasureCooling{Days: 9}) // the old way is the same one
	h.must(err)
	if _, err := support.SettingsHistory(ctx, "gucci", 0, 0); !isType(err, api.TypePolicyDenied) {
		t.Errorf("an agent reads who changed what: %v", err)
	}
	list, err := h.SettingsHistory(ctx, "gucci", 0, 1)
	if err != nil || len(list.Versions) != 1 || list.Next != 3 || list.Versions[0].Version != 3 || fmt.Sprint(list.Versions[0].Changes) != "[{cooling_days 7 9 }]" || list.Versions[0].By == "" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err = h.SettingsHistory(ctx, "gucci", list.Next, 1); err != nil || len(list.Versions) != 1 || list.Next != 0 || len(list.Versions[0].Changes) != 4 {
		t.Errorf("%+v, %v", list, err)
	}

	// The log keeps values for as long as the setting says.
	today := time.Now().AddDate(0, 0, -60).Format("2006-01-02")
	if _, err := h.ExpireLog(ctx, "gucci", api.ExpireRequest{Before: today}); !isType(err, api.TypeInvalid) || !strings.Contains(err.Error(), "90 days") {
		t.Errorf("values that are kept are erased: %v", err)
	}
	if _, err := h.ExpireLog(ctx, "balenciaga", api.ExpireRequest{Before: today}); err != nil {
		t.Errorf("another brand: %v", err)
	}

	// A row that somebody puts into the database changes nothing: the brand stands still.
	for _, sql := range []string{`UPDATE brand_settings SET text = '{"cooling_days":0,"retention_days":31}' WHERE version = 3`, `UPDATE revisions SET n = n + 1`} {
		if n, err := h.vault.DB.Exec(ctx, sql); err != nil || n != 1 {
			t.Fatal(n, err)
		}
	}
	if s, err := support.Settings(ctx, "gucci"); err == nil {
		t.Errorf("settings that nobody logged are in force: %+v", s)
	}
	if s, err := h.Settings(ctx, "balenciaga"); err != nil || s.Version != 1 {
		t.Errorf("another brand: %+v, %v", s, err)
	}
}
