package change_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// pending returns the change that an act waits as; it fails where the act took effect.
func pending(t *testing.T, err error) string {
	t.Helper()
	var p *change.PendingError
	if !errors.As(err, &p) || p.State != change.Asked {
		t.Fatalf("it took effect by one hand, or failed otherwise: %v", err)
	}
	return p.ID
}

// barred reports whether an approval was refused for who approved.
func barred(err error) bool { return errors.Is(err, change.ErrYoung) || errors.Is(err, change.ErrNone) }

func role(h *apptest.House, t *testing.T, name, brand string) string {
	t.Helper()
	list, err := h.Admin.Principals(t.Context(), h.Local, 0)
	h.Must(err)
	for _, p := range list {
		if p.Name == name {
			return p.Roles[brand]
		}
	}
	return ""
}

// One hand gives no role by which somebody sees customers, once two people have existed;
// a second person does, and both stand in the log.
func TestARoleTakesTwoPeople(t *testing.T) {
	h := apptest.Open(t)
	adam := h.Person("adam", map[string]string{"group": access.Administrator})
	puppet := h.Person("puppet", nil)
	officer, responder := h.TwoPeople()
	from, fromGroup := h.Size("gucci"), h.Size("group")
	_, err := h.Admin.SetRole(t.Context(), adam, "puppet", "gucci", access.DataProtectionOfficer)
	id := pending(t, err)
	if r := role(h, t, "puppet", "gucci"); r != "" {
		t.Fatalf("the puppet is %s", r)
	}
	if _, err := h.Admin.SetRole(t.Context(), adam, "puppet", "gucci", access.DataProtectionOfficer); pending(t, err) != id {
		t.Error("the same request, sent again, is asked twice")
	}
	for name, c := range map[string]identity.Caller{"the requester": adam, "the puppet": puppet, "the socket": h.Local} {
		if _, err := h.Changes.Approve(t.Context(), c, id); err == nil {
			t.Errorf("%s approved it", name)
		}
	}
	x, err := h.Changes.Show(t.Context(), officer, id)
	h.Must(err)
	if x.AskedBy != "adam" || !strings.Contains(x.Title, "puppet") || len(x.Lines) == 0 || !slices.Contains(x.May, "second-officer") {
		t.Errorf("the officer reads %+v", x)
	}
	if x, err = h.Changes.Approve(t.Context(), officer, id); err != nil || x.State != "done" || x.Second != "second-officer" {
		t.Fatalf("%+v, %v", x, err)
	}
	if r := role(h, t, "puppet", "gucci"); r != access.DataProtectionOfficer {
		t.Errorf("approved, and the role is %q", r)
	}
	if _, err := h.Changes.Approve(t.Context(), responder, id); !errors.Is(err, change.ErrState) {
		t.Errorf("approved twice: %v", err)
	}
	log := strings.Join(append(h.Logged("group", fromGroup), h.Logged("gucci", from)...), "\n")
	for _, want := range []string{"change=change-ask", "change=change-approve", "change=role ", "change=change-done", "step=asked", "step=done"} {
		if !strings.Contains(log, want) {
			t.Errorf("no entry %q in\n%s", want, log)
		}
	}
}

// Somebody who is new, or whose key is newer than the request, is no second person; nor is
// one who was made an approver for it, before 24 hours.
func TestWhoMayBeSecond(t *testing.T) {
	h := apptest.Open(t)
	adam := h.Person("adam", map[string]string{"group": access.Administrator})
	h.Person("puppet", nil)
	h.Person("sleeper", map[string]string{"gucci": access.SupportAgent})
	officer, _ := h.TwoPeople()
	ask := func(who, role string) string {
		t.Helper()
		_, err := h.Admin.SetRole(t.Context(), adam, who, "gucci", role)
		return pending(t, err)
	}
	// A new approver, given by two, counts after a day.
	first := ask("sleeper", access.IncidentResponder)
	_, err := h.Changes.Approve(t.Context(), officer, first)
	h.Must(err)
	sleeper := h.Key("sleeper")
	second := ask("puppet", access.DataProtectionOfficer)
	if _, err := h.Changes.Approve(t.Context(), sleeper, second); !barred(err) {
		t.Errorf("a new approver approved: %v", err)
	}
	h.Later(change.Seasoned + time.Minute)
	if _, err := h.Changes.Approve(t.Context(), sleeper, second); !barred(err) {
		t.Errorf("who was no approver when it was asked approved it: %v", err)
	}
	// A key that is newer than the request does not count, whoever made it.
	fresh := h.Key("second-officer")
	if _, err := h.Changes.Approve(t.Context(), fresh, second); !barred(err) {
		t.Errorf("a new key of an officer approved: %v", err)
	}
	// Nor does a key that was replaced since.
	list, err := h.Identity.Credentials(t.Context(), officer.Principal)
	h.Must(err)
	renewed := h.Renewed("second-officer", list[0].ID)
	if _, err := h.Changes.Approve(t.Context(), renewed, second); !barred(err) {
		t.Errorf("a replaced key of an officer approved: %v", err)
	}
}

// In the beginning one hand acts alone, and the log says so. That ends for good.
func TestTheBeginningEndsForGood(t *testing.T) {
	h := apptest.Open(t)
	from := h.Size("group")
	h.Person("puppet", nil)
	_, err := h.Admin.SetRole(t.Context(), h.Local, "puppet", "gucci", access.SupportAgent)
	h.Must(err)
	if log := strings.Join(h.Logged("group", from), "\n"); !strings.Contains(log, "change=change-alone") || !strings.Contains(log, "mark=alone no-receiver") {
		t.Errorf("acted alone, and the log does not say so:\n%s", log)
	}
	officer, responder := h.TwoPeople()
	for _, c := range []identity.Caller{officer, responder} { // taking a role is a stop
		p, err := h.Identity.Get(t.Context(), c.Principal)
		h.Must(err)
		for _, b := range []string{"gucci", "balenciaga"} {
			if _, err := h.Admin.SetRole(t.Context(), h.Local, p.Name, b, ""); err != nil && !errors.As(err, new(*change.PendingError)) {
				t.Fatal(err)
			}
		}
	}
	_, err = h.Admin.SetRole(t.Context(), h.Local, "puppet", "gucci", access.DataProtectionOfficer)
	pending(t, err)
}

// A request whose row was changed in the database asks for nothing; one that was made for
// another state of the vault does not take effect.
func TestARequestIsWhatTheLogSays(t *testing.T) {
	h := apptest.Open(t)
	adam := h.Person("adam", map[string]string{"group": access.Administrator})
	h.Person("puppet", nil)
	h.Person("other", nil)
	officer, responder := h.TwoPeople()
	ask := func(who, role string) string {
		t.Helper()
		_, err := h.Admin.SetRole(t.Context(), adam, who, "gucci", role)
		return pending(t, err)
	}
	a, b := ask("puppet", access.SupportAgent), ask("other", access.DataProtectionOfficer)
	if _, err := h.DB.Exec(t.Context(), `UPDATE changes SET payload = (SELECT payload FROM changes WHERE id = $2) WHERE id = $1`, a, b); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Changes.Approve(t.Context(), officer, a); !errors.Is(err, change.ErrForged) {
		t.Errorf("a changed row was approved: %v", err)
	}
	if _, err := h.DB.Exec(t.Context(), `UPDATE changes SET state = 'approved', second = $2, decided = 1 WHERE id = $1`, b, int64(officer.Principal)); err != nil {
		t.Fatal(err)
	}
	h.Must(h.Changes.Due(t.Context()))
	if r := role(h, t, "other", "gucci"); r != "" {
		t.Errorf("a row that says approved gave the role %s", r)
	}
	// Two ask for one principal; the second is for a state that is over.
	c := ask("puppet", access.DataProtectionOfficer)
	d := ask("puppet", access.IncidentResponder)
	_, err := h.Changes.Approve(t.Context(), officer, c)
	h.Must(err)
	if _, err := h.Changes.Approve(t.Context(), responder, d); !errors.Is(err, change.ErrChanged) {
		t.Errorf("approved for a state that is over: %v", err)
	}
	if x, err := h.Changes.Withdraw(t.Context(), adam, d); err != nil || x.State != "withdrawn" {
		t.Errorf("%+v, %v", x, err)
	}
	e := ask("other", access.Administrator)
	if x, err := h.Changes.Refuse(t.Context(), responder, e); err != nil || x.State != "refused" || x.Second != "second-responder" {
		t.Errorf("%+v, %v", x, err)
	}
	f := ask("other", access.Administrator)
	h.Later(change.Valid)
	if _, err := h.Changes.Approve(t.Context(), responder, f); !errors.Is(err, change.ErrExpired) {
		t.Errorf("approved after its time: %v", err)
	}
	if list, err := h.Changes.List(t.Context(), h.Person("nobody", nil)); err != nil || len(list) != 0 {
		t.Errorf("a stranger lists %d changes, %v", len(list), err)
	}
}

// Alone and after two people existed, only broken glass acts: with a delay, told at once
// and when it takes effect, refused by whoever may approve, and where somebody sees more
// only once another person acknowledged it.
func TestBrokenGlassTakesTimeAndAnotherHuman(t *testing.T) {
	h := apptest.Open(t)
	adam := h.Person("adam", map[string]string{"group": access.Administrator})
	witness := h.Person("witness", map[string]string{"group": access.Marketing})
	h.Person("puppet", nil)
	_, responder := h.TwoPeople()
	ask := func(role string) string {
		t.Helper()
		_, err := h.Admin.SetRole(t.Context(), adam, "puppet", "gucci", role)
		return pending(t, err)
	}
	why := api.BreakGlassRequest{Reason: "both officers are on a plane"}
	// Containing sees nobody more; an approver decides who is shown customers.
	id := ask(access.DataProtectionOfficer)
	if _, err := h.Changes.BreakGlass(t.Context(), responder, id, why); !errors.Is(err, change.ErrNone) {
		t.Errorf("another broke glass: %v", err)
	}
	from := h.Size("group")
	x, err := h.Changes.BreakGlass(t.Context(), adam, id, why)
	h.Must(err)
	if x.State != "asked" || x.Glass.IsZero() || !strings.Contains(strings.Join(h.Logged("group", from), "\n"), "change=change-glass") {
		t.Fatalf("%+v", x)
	}
	h.Later(change.DefaultGlass - time.Minute)
	x, err = h.Changes.BreakGlass(t.Context(), adam, id, why)
	h.Must(err)
	h.Must(h.Changes.Due(t.Context()))
	if r := role(h, t, "puppet", "gucci"); x.State != "asked" || r != "" {
		t.Fatalf("before its time: %s, the puppet is %q", x.State, r)
	}
	h.Later(time.Hour)
	x, err = h.Changes.BreakGlass(t.Context(), adam, id, why)
	h.Must(err)
	h.Must(h.Changes.Due(t.Context()))
	if r := role(h, t, "puppet", "gucci"); x.State != "asked" || r != "" {
		t.Fatalf("nobody acknowledged it: %s, the puppet is %q", x.State, r)
	}
	if _, err := h.Changes.Acknowledge(t.Context(), adam, id); !errors.Is(err, change.ErrOwn) {
		t.Errorf("acknowledged by the requester: %v", err)
	}
	if _, err := h.Changes.Acknowledge(t.Context(), h.Local, id); err == nil {
		t.Error("acknowledged at the socket")
	}
	if x, err = h.Changes.Acknowledge(t.Context(), witness, id); err != nil || x.Acknowledged != "witness" {
		t.Fatalf("%+v, %v", x, err)
	}
	h.Must(h.Changes.Due(t.Context()))
	if r := role(h, t, "puppet", "gucci"); r != access.DataProtectionOfficer {
		t.Errorf("acknowledged and due, the puppet is %q", r)
	}
	if log := strings.Join(h.Logged("group", from), "\n"); !strings.Contains(log, "mark=break-glass no-receiver") {
		t.Errorf("the log does not say how it took effect:\n%s", log)
	}
	// Whoever may approve may refuse it until then.
	id = ask(access.Administrator)
	_, err = h.Changes.BreakGlass(t.Context(), adam, id, why)
	h.Must(err)
	_, err = h.Changes.Refuse(t.Context(), responder, id)
	h.Must(err)
	h.Later(change.DefaultGlass + time.Minute)
	if _, err := h.Changes.BreakGlass(t.Context(), adam, id, why); !errors.Is(err, change.ErrState) {
		t.Errorf("refused, and it took effect: %v", err)
	}
}
