package console_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/web/page/pagetest"
)

// window is a window of somebody who is signed in.
func window(h *house, b *pagetest.Browser, name string) *pagetest.Tab {
	h.t.Helper()
	tab := b.Tab()
	tab.Open(h.url + "/")
	tab.Type("#key", h.keys[name])
	tab.Press("main button")
	return tab
}

// well looks over a page that a journey passes.
func well(t *testing.T, tab *pagetest.Tab, name string) {
	t.Helper()
	for _, f := range tab.Findings() {
		t.Errorf("%s: %s", name, f)
	}
	if bad := tab.Refused(); len(bad) > 0 {
		t.Errorf("%s: %v", name, bad)
	}
	tab.Shot(name)
	tab.Phone()
	tab.Prefer("prefers-color-scheme", "dark")
	for _, f := range tab.Findings() {
		t.Errorf("%s, on a phone, dark: %s", name, f)
	}
	tab.Shot(name + "-phone")
	tab.Desktop()
	tab.Prefer("prefers-color-scheme", "light")
}

func must(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Fatalf("the page does not say %q:\n%s", p, text)
		}
	}
}

func TestASupportAgentReveals(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.customer(api.Fields{"external_id": "Z-1", "given_name": hostile, "family_name": "Martin", "email": "zoe@example.com", "phone": "+33612345678", "country": "FR", "city": strings.Repeat("Llanfairpwll", 15)})
	_, err := h.as("shop").AddPurchases(t.Context(), "gucci", api.PurchasesRequest{Customers: []api.CustomerPurchases{{Token: token, Purchases: []api.Purchase{{ID: "o-1", At: "2025-03-01T10:00:00Z", Description: hostile, Amount: "790.00", Currency: "EUR", Store: "Rue de Rivoli"}}}}})
	h.must(err)
	tab := window(h, pagetest.Start(t), "alice")
	if tab.Path() != "/b/gucci/customers" {
		t.Fatalf("alice begins at %s", tab.Path())
	}
	well(t, tab, "journey-support-1-find")

	// Nothing found is said so, and what was typed wrong stays.
	tab.Type("#value", "nobody@example.com")
	tab.Choose("#purpose", "customer-support")
	tab.Press("main form[action$=customers] button")
	must(t, tab.Text(), "0 customers found", "No customer has this value")

	tab.Type("#value", "zoe@example.com")
	tab.Type("#ticket", "CASE-7")
	tab.Press("main form[action$=customers] button")
	must(t, tab.Text(), "1 customer found", "z•••@e•••.com", "40", "150", "Reveal 1 customer")
	well(t, tab, "journey-support-2-found")

	tab.Press("form[action$=reveal] button") // no field is chosen
	must(t, tab.Text(), "Please correct this", "Choose at least one field")
	if got := tab.Eval(`document.activeElement.id`); got != "faults" {
		t.Errorf("the focus is at %q, not at what is wrong", got)
	}
	if got := tab.Eval(`document.querySelector('#ticket-1').value`); got != "CASE-7" {
		t.Errorf("the case number is lost: %q", got)
	}
	well(t, tab, "journey-support-3-wrong")
	for _, field := range []string{"given_name", "email", "purchases"} {
		tab.Choose(`input[name=fields][value=`+field+`]`, "")
	}
	tab.Press("form[action$=reveal] button")
	must(t, tab.Text(), "zoe@example.com", "790.00 EUR", "<script>alert(1)</script>", "39", "149")
	if tab.Path() != "/b/gucci/customers/reveal" || strings.Contains(tab.Eval("document.title"), "zoe") {
		t.Errorf("at %s, %s", tab.Path(), tab.Eval("document.title"))
	}
	well(t, tab, "journey-support-4-revealed")

	// On paper, and once the page is left, nothing is shown.
	tab.Eval(`(() => { dispatchEvent(new Event('beforeprint')); return ''; })()`)
	if text := tab.Text(); strings.Contains(text, "zoe@example.com") || !strings.Contains(text, "Hidden again.") {
		t.Errorf("what was revealed is printed:\n%s", text)
	}

	// Who read the customer says so, to those who may see it.
	dana := window(h, pagetest.Start(t), "dana")
	dana.Choose("#by-token", "")
	dana.Type("#value", token)
	dana.Choose("#purpose", "data-subject-request")
	dana.Press("main form[action$=customers] button")
	dana.Press("form[action$=readers] button")
	must(t, dana.Text(), "alice", "CASE-7", "customer-support")
	well(t, dana, "journey-support-5-readers")
}

// A minute after it was shown, it is hidden; the clock of the page is set forward.
func TestWhatWasRevealedIsHiddenAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.customer(api.Fields{"external_id": "Z-1", "email": "zoe@example.com"})
	tab := window(h, pagetest.Start(t), "alice")
	tab.Choose("#by-token", "")
	tab.Type("#value", token)
	tab.Type("#ticket", "CASE-7")
	tab.Press("main form[action$=customers] button")
	tab.Choose(`input[name=fields][value=email]`, "")
	tab.Press("form[action$=reveal] button")
	must(t, tab.Text(), "zoe@example.com")
	tab.Eval(`(() => { const now = Date.now; Date.now = () => now() + 61000; return ''; })()`)
	tab.Eventually(`!document.body.innerText.includes('zoe@example.com')`)
	must(t, tab.Text(), "Hidden again.")
}

func TestAnOfficerApproves(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	_, err := h.as("adam").SetRole(ctx, "trainee", "gucci", "data-protection-officer")
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Change == "" {
		t.Fatalf("a wider role waits for nobody: %v", err)
	}
	var tokens []string
	for i := range 12 {
		tokens = append(tokens, h.customer(api.Fields{"external_id": fmt.Sprint("C-", i), "country": "FR"}))
	}
	x, err := h.as("anna").RequestExport(ctx, "gucci", api.ExportRequest{Fields: []string{"country"}, Purpose: "analysis", Tokens: tokens, Recipient: "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"})
	h.must(err)

	tab := window(h, pagetest.Start(t), "dana")
	tab.Open(h.url + "/approvals")
	must(t, tab.Text(), "2 acts wait for a second person", "adam", "anna", "Export of 12 customers")
	well(t, tab, "journey-officer-1-approvals")
	tab.Press(`a[href="/changes/` + e.Change + `"]`)
	must(t, tab.Text(), "adam", "trainee", "data-protection-officer", "that adam asked for?")
	well(t, tab, "journey-officer-2-change")
	tab.Press(`button[value=approve]`)
	must(t, tab.Text(), "done", "dana")
	roles, err := h.as("trainee").Whoami(ctx)
	if err != nil || roles.Roles["gucci"] != "data-protection-officer" {
		t.Errorf("after the approval, the trainee has %v, %v", roles, err)
	}
	well(t, tab, "journey-officer-3-done")

	tab.Open(h.url + "/b/gucci/exports/" + x.ID)
	must(t, tab.Text(), "Let 12 customers leave in a file for anna?", "Approve the export of 12 customers")
	well(t, tab, "journey-officer-4-export")
	tab.Press(`button[value=approve]`)
	must(t, tab.Text(), "approved")
	if now, err := h.as("dana").Export(ctx, "gucci", x.ID); err != nil || now.State != "approved" || now.DecidedBy != "dana" {
		t.Errorf("%+v, %v", now, err)
	}

	// The requester is not offered to approve what they asked for themselves, and is refused.
	anna := h.signIn("anna")
	if _, body := anna.get("/b/gucci/exports/" + x.ID); strings.Contains(body, `value="approve"`) {
		t.Error("anna is offered to approve her own export")
	}
	y, err := h.as("anna").RequestExport(ctx, "gucci", api.ExportRequest{Fields: []string{"country"}, Purpose: "analysis", Tokens: tokens, Recipient: "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"})
	h.must(err)
	if resp, _ := anna.post("/b/gucci/exports/"+y.ID, "verb", "approve"); resp.StatusCode < 400 {
		t.Errorf("anna approved her own export: %d", resp.StatusCode)
	}
}

func TestAResponderContainsFromAnAlarm(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	a := h.alarm("trainee")
	browser := pagetest.Start(t)
	tab := window(h, browser, "ines")
	if tab.Path() != "/b/gucci/watch" {
		t.Fatalf("ines begins at %s", tab.Path())
	}
	h.eventually("the alarm is listed", func() bool {
		list, err := h.as("ines").Alarms(ctx, "gucci", client.AlarmsQuery{State: "open"})
		return err == nil && slices.ContainsFunc(list.Alarms, func(x api.Alarm) bool { return x.ID == a.ID })
	})
	// The page hears of it by itself.
	tab.Eventually(`document.querySelector('a[href="/b/gucci/alarms/` + a.ID + `"]') !== null && document.querySelector('[data-live-state]').textContent === 'Live.'`)
	well(t, tab, "journey-responder-1-watch")
	trainee := h.signIn("trainee")
	thief := window(h, browser, "trainee")
	tab.Press(`a[href="/b/gucci/alarms/` + a.ID + `"]`)
	must(t, tab.Text(), "trainee", "Stop everything of trainee")
	well(t, tab, "journey-responder-2-alarm")
	tab.Press(`button.danger`)
	must(t, tab.Text(), "Stop 3 credentials?", "trainee")
	if list, err := h.as("ines").Containments(ctx, "gucci"); err != nil || len(list) != 0 {
		t.Fatalf("the question stopped somebody: %v %v", list, err)
	}
	well(t, tab, "journey-responder-3-question")
	tab.Type("#ticket", "INC-1")
	if got := tab.Eval(`document.querySelector('form button.danger').textContent`); got != "Stop 3 credentials" {
		t.Errorf("the button says %q", got)
	}
	tab.Press(`form button.danger`)
	must(t, tab.Text(), "Containment", "in force", "ines", a.ID)
	well(t, tab, "journey-responder-4-contained")
	if resp, body := trainee.post("/b/gucci/customers", "by", "external_id", "value", "C-1", "purpose", "customer-support", "ticket", "CASE-1"); resp.StatusCode == 200 || !strings.Contains(body, "suspended") {
		t.Errorf("the contained principal still works: %d", resp.StatusCode)
	}
	thief.Open(h.url + "/b/gucci/customers")
	if strings.Contains(thief.Text(), "Find a customer") && !strings.Contains(thief.Text(), "suspended") {
		t.Errorf("an open page of the contained one still works:\n%s", thief.Text())
	}

	// Another responder confirms the undo that ines asks for, or ines alone within 30 minutes.
	tab.Press(`button[value=undo]`)
	must(t, tab.Text(), "ended")

	// The alarm is closed, with a reason.
	tab.Open(h.url + "/b/gucci/alarms/" + a.ID)
	tab.Press(`button[value=acknowledge]`)
	must(t, tab.Text(), "acknowledged")
	tab.Choose("#reason", "exercise")
	tab.Press(`button[value=close]`)
	must(t, tab.Text(), "closed", "exercise")
}

// An incident is one page: whose data, how bad, what is due by when, and what happened.
func TestAnIncidentIsOnePage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	var tokens []string
	for i := range 7 {
		tokens = append(tokens, h.customer(api.Fields{"external_id": fmt.Sprint("C-", i), "email": fmt.Sprintf("c%d@example.com", i), "country": "FR"}))
	}
	_, err := h.as("trainee").Reveal(ctx, "gucci", api.RevealRequest{Tokens: tokens[:5], Fields: []string{"email"}, Purpose: "customer-support", Ticket: "CASE-1"})
	h.must(err)
	ines := h.as("ines")
	x, err := ines.OpenIncident(ctx, "gucci", api.IncidentRequest{Title: "Key of " + hostile})
	h.must(err)
	_, err = ines.StateFact(ctx, "gucci", x.ID, api.FactRequest{Name: "aware", When: time.Now().Add(-2 * time.Hour), Text: hostile})
	h.must(err)
	_, err = ines.ScopeIncident(ctx, "gucci", x.ID, api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"trainee"}}}})
	h.must(err)
	tab := window(h, pagetest.Start(t), "ines")
	tab.Open(h.url + "/b/gucci/incidents")
	must(t, tab.Text(), "1 open incident", hostile[:20])
	well(t, tab, "journey-incident-1-list")
	tab.Press(`main a[href="/b/gucci/incidents/` + x.ID + `"]`)
	must(t, tab.Text(), "records, counted at each brand", "proposed; nobody has signed it", "Duties", "Timeline", "email")
	if got := tab.Eval(`document.querySelector('.figure').textContent`); got != "5" {
		t.Errorf("the scope is %q", got)
	}
	well(t, tab, "journey-incident-2-page")
}

func TestTheLogIsReadAndVerified(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.customer(api.Fields{"external_id": "C-1"})
	tab := window(h, pagetest.Start(t), "ines")
	tab.Open(h.url + "/b/gucci/log")
	must(t, tab.Text(), "write", "shop")
	well(t, tab, "journey-log-1-list")
	tab.Type("#kind", "write")
	tab.Press(`form[action$=log] button`)
	must(t, tab.Text(), "1 entry on this page")
	tab.Press(`tbody th a`)
	must(t, tab.Text(), "Entry", "write", "application")
	well(t, tab, "journey-log-2-entry")
	tab.Open(h.url + "/b/gucci/log")
	tab.Press(`form[action$=verify] button`)
	must(t, tab.Text(), "The log is what was signed")
	well(t, tab, "journey-log-3-verified")
	// A principal's name is not taken for a filter: it would stand in the address.
	tab.Open(h.url + "/b/gucci/log?principal=shop")
	must(t, tab.Text(), "A principal has a number here")
	adam := window(h, pagetest.Start(t), "adam")
	well(t, adam, "journey-settings")
	must(t, adam.Text(), "You", "adam", "Purposes", "People and services", "trainee")
	adam.Press(`button[value=fr]`)
	must(t, adam.Text(), "Réglages", "Finalités")
}
