package admin_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/govern/admin"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// act is one thing that an administrator does, and what its entry says.
type act struct {
	name, brand, logged string
	do                  func(c identity.Caller) error
}

func acts(t *testing.T, h *apptest.House) []act {
	ctx := t.Context()
	return []act{
		{"create a brand", "group", "change=brand-create", func(c identity.Caller) error {
			_, err := h.Admin.CreateBrand(ctx, c, api.Brand{Name: "brioni"})
			return err
		}},
		{"register a principal", "group", "change=principal-create", func(c identity.Caller) error {
			_, err := h.Admin.CreatePrincipal(ctx, c, api.Principal{Name: "new", Kind: "person", Roles: map[string]string{"gucci": "analyst"}})
			return err
		}},
		{"give a role", "group", "change=role", func(c identity.Caller) error {
			_, err := h.Admin.SetRole(ctx, c, "bob", "gucci", "marketing")
			return err
		}},
		{"make a key", "group", "change=credential-create", func(c identity.Caller) error {
			_, err := h.Admin.CreateCredential(ctx, c, "bob", api.CredentialRequest{})
			return err
		}},
		{"register a purpose", "gucci", "change=purpose-create", func(c identity.Caller) error {
			return h.Admin.AddPurpose(ctx, c, "gucci", api.Purpose{Name: "repairs", LegalBasis: "contract"})
		}},
		{"retire a purpose", "gucci", "change=purpose-retire", func(c identity.Caller) error {
			return h.Admin.RetirePurpose(ctx, c, "gucci", "marketing")
		}},
		{"apply a policy", "gucci", "policy", func(c identity.Caller) error {
			_, err := h.Admin.ApplyPolicy(ctx, c, "gucci", api.Policy{Text: access.DefaultText() + "\n"}, true)
			return err
		}},
		{"set budgets", "gucci", "budget", func(c identity.Caller) error {
			_, err := h.Admin.SetRules(ctx, c, "gucci", api.BudgetRules{Default: true}, true)
			return err
		}},
	}
}

// What is administered is one entry of the log of the brand that it concerns; without the
// right nothing is done, and the log has the refusal alone.
func TestWhatIsAdministeredIsLogged(t *testing.T) {
	h := apptest.Open(t)
	h.Person("bob", map[string]string{"gucci": "analyst"})
	stranger := h.Person("eve", map[string]string{"gucci": "support-agent", "group": "support-agent"})
	for _, a := range acts(t, h) {
		t.Run(a.name, func(t *testing.T) {
			from := h.Size(a.brand)
			var denied *access.DeniedError
			if err := a.do(stranger); !errors.As(err, &denied) {
				t.Fatalf("without the right: %v", err)
			}
			if got := h.Logged(a.brand, from); len(got) != 1 || !strings.HasPrefix(got[0], "refusal ") {
				t.Errorf("without the right the log has %q", got)
			}
			from = h.Size(a.brand)
			if err := a.do(h.Local); err != nil {
				t.Fatal(err)
			}
			// That one hand did it, before two people exist, stands around it.
			got := slices.DeleteFunc(h.Logged(a.brand, from), func(s string) bool { return strings.Contains(s, "change=change-") })
			if len(got) != 1 || !strings.Contains(got[0], a.logged) {
				t.Errorf("the log has %q, want %q", got, a.logged)
			}
		})
	}
}

// A request that cannot be done changes nothing.
func TestAWrongRequestChangesNothing(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	anna := h.Person("anna", map[string]string{"group": "administrator"})
	for _, c := range []struct {
		name string
		want error
		do   func() error
	}{
		{"a role that is not known", admin.ErrRequest, func() error {
			_, err := h.Admin.CreatePrincipal(ctx, anna, api.Principal{Name: "new", Kind: "person", Roles: map[string]string{"gucci": "emperor"}})
			return err
		}},
		{"a brand that is not known", brands.ErrNoBrand, func() error {
			_, err := h.Admin.CreatePrincipal(ctx, anna, api.Principal{Name: "new", Kind: "person", Roles: map[string]string{"nowhere": "analyst"}})
			return err
		}},
		{"a brand's name that is none", brands.ErrName, func() error {
			_, err := h.Admin.CreateBrand(ctx, anna, api.Brand{Name: "Gucci!"})
			return err
		}},
		{"one's own right to administer", admin.ErrRequest, func() error {
			_, err := h.Admin.SetRole(ctx, anna, "anna", "group", "support-agent")
			return err
		}},
		{"a policy that shuts its author out", admin.ErrRequest, func() error {
			_, err := h.Admin.ApplyPolicy(ctx, anna, "gucci", api.Policy{Text: `@id("one") permit (principal in Role::"data-protection-officer", action == Action::"audit", resource);`}, true)
			return err
		}},
		{"a length of time that is none", admin.ErrRequest, func() error {
			_, err := h.Admin.CreateCredential(ctx, anna, "anna", api.CredentialRequest{ValidFor: "-1h"})
			return err
		}},
		{"a purpose that is not known", brands.ErrNoPurpose, func() error { return h.Admin.RetirePurpose(ctx, anna, "gucci", "curiosity") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			sizes := [2]uint64{h.Size("group"), h.Size("gucci")}
			if err := c.do(); !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
			if now := [2]uint64{h.Size("group"), h.Size("gucci")}; now != sizes {
				t.Errorf("the logs have %q, %q more", h.Logged("group", sizes[0]), h.Logged("gucci", sizes[1]))
			}
		})
	}
	if _, err := h.Identity.ByName(ctx, "new"); !errors.Is(err, identity.ErrNoPrincipal) {
		t.Errorf("the principal is there: %v", err)
	}
}

// A dry run says what would change, and changes nothing.
func TestADryRunChangesNothing(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	from := h.Size("gucci")
	diff, err := h.Admin.ApplyPolicy(ctx, h.Local, "gucci", api.Policy{Text: strings.Replace(access.DefaultText(), `"customer-support"`, `"marketing"`, 1)}, false)
	if err != nil || len(diff.Changes) == 0 || diff.Applied {
		t.Errorf("%+v, %v", diff, err)
	}
	rules, err := h.Admin.Rules(ctx, h.Local, "gucci")
	h.Must(err)
	lines := strings.SplitAfter(rules.Rules, "\n")
	set, err := h.Admin.SetRules(ctx, h.Local, "gucci", api.BudgetRules{Rules: strings.Join(lines[:len(lines)-2], "")}, false)
	if err != nil || set.Applied || set.Rules == rules.Rules {
		t.Errorf("%+v, %v", set, err)
	}
	if h.Size("gucci") != from {
		t.Errorf("the log has %q", h.Logged("gucci", from))
	}
	if p, err := h.Admin.Policy(ctx, h.Local, "gucci"); err != nil || p.Text != access.DefaultText() {
		t.Errorf("the policy is another: %v", err)
	}
}

// A lineage ends with its first credential, and a number that is none is said to be so: it
// must not look like a thief stopped.
func TestALineageEndsWhole(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	alice := h.Person("alice", map[string]string{"gucci": "support-agent"})
	app, err := h.Admin.ConnectApp(ctx, alice, api.CredentialRequest{Label: "till", ValidFor: "1h"})
	if err != nil || app.Lineage != alice.Lineage || time.Until(app.Expires) > time.Hour {
		t.Fatalf("%+v, %v", app, err)
	}
	if n, err := h.Admin.Revoke(ctx, h.Local, 4711); !errors.Is(err, identity.ErrNoLineage) || n != 0 {
		t.Errorf("an unknown lineage: %d, %v", n, err)
	}
	if n, err := h.Admin.Revoke(ctx, h.Local, alice.Lineage); err != nil || n != 2 {
		t.Errorf("%d credentials were revoked, %v", n, err)
	}
	key, err := identity.ParseKey(app.Key)
	h.Must(err)
	if _, err := h.Identity.Authenticate(ctx, key); !errors.Is(err, identity.ErrRevoked) {
		t.Errorf("the application's key: %v", err)
	}
}

// Whoever has a role at a brand sees it in the list, and no other.
func TestTheListOfBrandsIsOnesOwn(t *testing.T) {
	h := apptest.Open(t)
	for name, c := range map[string]struct {
		caller identity.Caller
		want   []string
	}{
		"one brand":  {h.Person("alice", map[string]string{"gucci": "support-agent"}), []string{"gucci"}},
		"the group":  {h.Person("anna", map[string]string{"group": "administrator"}), []string{"gucci", "balenciaga"}},
		"no brand":   {h.Person("nina", nil), nil},
		"the socket": {h.Local, []string{"gucci", "balenciaga"}},
	} {
		list, err := h.Admin.Brands(t.Context(), c.caller)
		var got []string
		for _, b := range list {
			got = append(got, b.Name)
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
