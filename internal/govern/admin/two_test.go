package admin_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/govern/admin"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// With one administrator's key, or at the socket, nobody gets a second person's key, makes
// a second person, or widens what somebody may: neither by a role, nor by a policy, a
// purpose, a budget, weaker rules, nor by taking the second people away first.
func TestOneAdministratorsKeyIsOneHand(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	adam := h.Person("adam", map[string]string{"group": access.Administrator})
	h.Person("sleeper", map[string]string{"gucci": access.Marketing})
	_, err := h.Admin.CreatePrincipal(ctx, h.Local, api.Principal{Name: "shop", Kind: "service", Roles: map[string]string{"gucci": access.Application}})
	h.Must(err)
	wider := access.DefaultText() + "\npermit (principal in Role::\"marketing\", action == Action::\"clear\", resource) when { context.purpose == \"press\" };"
	_, err = h.Admin.ApplyPolicy(ctx, h.Local, "gucci", api.Policy{Text: wider}, true) // of a purpose that is not registered
	h.Must(err)
	officer, _ := h.TwoPeople()
	keys, err := h.Identity.Credentials(ctx, officer.Principal)
	h.Must(err)
	rules, err := h.Ledger.Rules(ctx, h.Brand("gucci"))
	h.Must(err)
	list := rules.List()
	for i := range list {
		list[i].Limit++
	}
	more, err := budget.NewRules(list)
	h.Must(err)
	type act struct {
		what string
		do   func(c identity.Caller) error
	}
	role := func(name, brand, role string) func(identity.Caller) error {
		return func(c identity.Caller) error {
			_, err := h.Admin.SetRole(ctx, c, name, brand, role)
			return err
		}
	}
	acts := []act{
		{"an officer's key", func(c identity.Caller) error {
			_, err := h.Admin.CreateCredential(ctx, c, "second-officer", api.CredentialRequest{})
			return err
		}},
		{"an officer's key replaced", func(c identity.Caller) error {
			_, err := h.Admin.RenewKey(ctx, c, keys[0].ID)
			return err
		}},
		{"an invitation", func(c identity.Caller) error {
			_, err := h.Admin.Invite(ctx, c, api.InviteRequest{People: []api.Invitee{{Name: "second-officer", Credential: keys[0].ID}}})
			return err
		}},
		{"a shop's key", func(c identity.Caller) error {
			_, err := h.Admin.CreateCredential(ctx, c, "shop", api.CredentialRequest{})
			return err
		}},
		{"an own role at a brand", role("adam", "gucci", access.DataProtectionOfficer)},
		{"a role for an old account", role("sleeper", "gucci", access.IncidentResponder)},
		{"a role at the group", role("sleeper", "group", access.SupportAgent)},
		{"a new administrator", func(c identity.Caller) error {
			_, err := h.Admin.CreatePrincipal(ctx, c, api.Principal{Name: "eve", Kind: "person", Roles: map[string]string{"group": access.Administrator}})
			return err
		}},
		{"a new officer", func(c identity.Caller) error {
			_, err := h.Admin.CreatePrincipal(ctx, c, api.Principal{Name: "eve", Kind: "person", Roles: map[string]string{"balenciaga": access.IncidentResponder}})
			return err
		}},
		{"a policy by which a role approves", func(c identity.Caller) error {
			_, err := h.Admin.ApplyPolicy(ctx, c, "gucci", api.Policy{Text: wider + "\npermit (principal in Role::\"marketing\", action == Action::\"approve\", resource);"}, true)
			return err
		}},
		{"a purpose that the policy names", func(c identity.Caller) error {
			return h.Admin.AddPurpose(ctx, c, "gucci", api.Purpose{Name: "press", LegalBasis: "consent"})
		}},
		{"budgets", func(c identity.Caller) error {
			_, err := h.Admin.SetRules(ctx, c, "gucci", api.BudgetRules{Rules: string(more.Encode())}, true)
			return err
		}},
		{"weaker detection", func(c identity.Caller) error {
			_, err := h.Alarms.SetRules(ctx, c, "gucci", api.DetectionRules{Rules: "off: [surge]"})
			return err
		}},
	}
	for _, c := range []identity.Caller{adam, h.Local} {
		for range 2 { // before, and after the second people are taken away
			for _, a := range acts {
				if err := a.do(c); !errors.Is(err, admin.ErrTheirKey) && !errors.As(err, new(*change.PendingError)) {
					t.Errorf("%s by %s alone: %v", a.what, c.Name, err)
				}
			}
			for _, b := range []string{"gucci", "balenciaga"} {
				for _, n := range []string{"second-officer", "second-responder"} {
					if err := role(n, b, "")(c); err != nil && !errors.Is(err, identity.ErrNoRole) {
						t.Fatalf("taking a role away: %v", err)
					}
				}
			}
		}
	}
	open, err := h.Changes.List(ctx, adam)
	h.Must(err)
	for _, x := range open {
		if x.State != "asked" {
			continue
		}
		for _, c := range []identity.Caller{adam, h.Local} {
			if _, err := h.Changes.Approve(ctx, c, x.ID); err == nil {
				t.Errorf("%s approved %s", c.Name, x.Act)
			}
		}
	}
}

// The code of an invitation is the approver's to hand over, works once and for a day, and
// ends the key that it takes the place of. The inviter never has it.
func TestAPersonsKeyIsMadeByThatPerson(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	adam := h.Person("adam", map[string]string{"group": access.Administrator})
	officer, _ := h.TwoPeople()
	invite := func(in api.Invitee) (waits *change.PendingError) {
		t.Helper()
		out, err := h.Admin.Invite(ctx, adam, api.InviteRequest{People: []api.Invitee{in}})
		if !errors.As(err, &waits) || out != nil {
			t.Fatalf("the inviter was answered %+v, %v", out, err)
		}
		return waits
	}
	code := func(waits *change.PendingError) string {
		t.Helper()
		x, err := h.Changes.Approve(ctx, officer, waits.ID)
		h.Must(err)
		var out api.Invitations
		h.Must(json.Unmarshal(x.Answer, &out))
		if again, err := h.Changes.Show(ctx, adam, waits.ID); err != nil || len(again.Answer) > 0 {
			t.Errorf("the inviter is shown %s, %v", again.Answer, err)
		}
		return out.Codes[0].Code
	}
	c := code(invite(api.Invitee{Name: "nina"}))
	first, err := h.Admin.Redeem(ctx, identity.Caller{}, api.RedeemRequest{Code: c})
	h.Must(err)
	if first.MadeBy != "adam" || first.Key == "" {
		t.Errorf("%+v", first)
	}
	if _, err := h.Admin.Redeem(ctx, identity.Caller{}, api.RedeemRequest{Code: c}); !errors.Is(err, identity.ErrCode) {
		t.Errorf("redeemed twice: %v", err)
	}
	late := code(invite(api.Invitee{Name: "nina", Credential: first.ID}))
	h.Later(identity.CodeValid + time.Minute)
	if _, err := h.Admin.Redeem(ctx, identity.Caller{}, api.RedeemRequest{Code: late}); !errors.Is(err, identity.ErrCode) {
		t.Errorf("redeemed after a day: %v", err)
	}
	second, err := h.Admin.Redeem(ctx, identity.Caller{}, api.RedeemRequest{Code: code(invite(api.Invitee{Name: "nina", Credential: first.ID}))})
	h.Must(err)
	old, err := identity.ParseKey(first.Key)
	h.Must(err)
	if _, err := h.Identity.Authenticate(ctx, old); !errors.Is(err, identity.ErrUnknownKey) || second.ID != first.ID {
		t.Errorf("the old key: %v", err)
	}
	if _, err := h.Changes.Approve(ctx, officer, invite(api.Invitee{Name: "second-officer"}).ID); err == nil || !strings.Contains(err.Error(), "of their own") {
		t.Errorf("an officer approved an invitation of their own: %v", err)
	}
}

// Of two who change the policy or the budgets at once, the second is told.
func TestTheSecondOfTwoChangesConflicts(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	text := access.DefaultText() + "\n"
	if _, err := h.Admin.ApplyPolicy(ctx, h.Local, "gucci", api.Policy{Text: text, Version: 1}, true); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Admin.ApplyPolicy(ctx, h.Local, "gucci", api.Policy{Text: text + "\n", Version: 1}, true); !errors.Is(err, change.ErrChanged) {
		t.Errorf("a policy in the place of a version that is over: %v", err)
	}
	b, err := h.Admin.Rules(ctx, h.Local, "gucci")
	h.Must(err)
	less := strings.Replace(b.Rules, "lineage any clear hour 40\n", "lineage any clear hour 30\n", 1)
	_, err = h.Admin.SetRules(ctx, h.Local, "gucci", api.BudgetRules{Rules: less, Version: b.Version}, true)
	h.Must(err)
	if _, err := h.Admin.SetRules(ctx, h.Local, "gucci", api.BudgetRules{Rules: b.Rules, Version: b.Version}, true); !errors.Is(err, change.ErrChanged) {
		t.Errorf("budgets in the place of others that are over: %v", err)
	}
}
