package door_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// refusals are the reasons of the refusals in gucci's log from an index on.
func refusals(h *apptest.House, from uint64) (out []string) {
	for _, line := range h.Logged("gucci", from) {
		if _, reason, ok := strings.Cut(line, "reason="); ok && strings.HasPrefix(line, "refusal ") {
			reason, _, _ = strings.Cut(reason, " ")
			out = append(out, reason)
		}
	}
	return out
}

// A stranger learns of no brand: one without a role there is as unknown as one that was
// never made, and neither log hears of it.
func TestABrandIsUnknownToStrangers(t *testing.T) {
	h := apptest.Open(t)
	alice := h.Person("alice", map[string]string{"gucci": "support-agent"})
	size := h.Size("balenciaga")
	for _, brand := range []string{"balenciaga", "nowhere"} {
		if v, err := h.Disclose.Door.Enter(t.Context(), alice, brand); !errors.Is(err, brands.ErrNoBrand) || v != nil {
			t.Errorf("entering %s gave %v, %v", brand, v, err)
		}
		if v, err := h.Disclose.Door.Admit(t.Context(), alice, brand, access.ActAdminister); !errors.Is(err, brands.ErrNoBrand) || v != nil {
			t.Errorf("being admitted to %s gave %v, %v", brand, v, err)
		}
	}
	if h.Size("balenciaga") != size {
		t.Error("the stranger is in the log")
	}
}

// Admit lets in whom the policy allows the action, and nobody else: without the right
// there is no visit to go on with, and the log has the refusal.
func TestOnlyTheRightIsAdmitted(t *testing.T) {
	h := apptest.Open(t)
	for role, right := range map[string]access.Action{
		"support-agent": "", "application": access.ActWrite, "administrator": access.ActAdminister,
		"data-protection-officer": access.ActAudit, "incident-responder": access.ActContain,
	} {
		c := h.Person("p-"+role, map[string]string{"gucci": role})
		for _, action := range []access.Action{access.ActWrite, access.ActAdminister, access.ActAudit, access.ActContain} {
			may := policyAllows(t, h, c, action)
			if action == right && !may {
				t.Fatalf("the default policy does not allow %s to %s", role, action)
			}
			from := h.Size("gucci")
			v, err := h.Disclose.Door.Admit(t.Context(), c, "gucci", action)
			var denied *access.DeniedError
			switch {
			case may && (err != nil || v == nil || v.Brand.Name != "gucci" || v.Who.Principal != c.Principal || len(refusals(h, from)) != 0):
				t.Errorf("%s may %s: %v, %v", role, action, err, refusals(h, from))
			case !may && (!errors.As(err, &denied) || v != nil || !slices.Equal(refusals(h, from), []string{"policy-denied"})):
				t.Errorf("%s may not %s: %v, %v, %v", role, action, v, err, refusals(h, from))
			}
		}
	}
}

// policyAllows asks the policy itself.
func policyAllows(t *testing.T, h *apptest.House, c identity.Caller, action access.Action) bool {
	v, err := h.Disclose.Door.Enter(t.Context(), c, "gucci")
	h.Must(err)
	_, err = v.Policy.Authorize(v.Who, action, "", 0)
	return err == nil
}

func TestAPurposeHasToBeRegistered(t *testing.T) {
	h := apptest.Open(t)
	v, err := h.Disclose.Door.Enter(t.Context(), h.Person("alice", map[string]string{"gucci": "support-agent"}), "gucci")
	h.Must(err)
	h.Must(v.Purpose(t.Context(), "customer-support"))
	from := h.Size("gucci")
	if err := v.Purpose(t.Context(), "curiosity"); !errors.Is(err, brands.ErrNoPurpose) {
		t.Errorf("an unregistered purpose gave %v", err)
	}
	if got := refusals(h, from); !slices.Equal(got, []string{"unknown-purpose"}) {
		t.Errorf("the log has %v", got)
	}
}

// Whoever is contained does not get in, and the log says that they tried.
func TestAContainedLineageStaysOutside(t *testing.T) {
	h := apptest.Open(t)
	h.Person("rhea", map[string]string{"gucci": "incident-responder"})
	ines := h.Person("ines", map[string]string{"gucci": "incident-responder"})
	thief := h.Person("thief", map[string]string{"gucci": "support-agent"})
	other := h.Key("thief")
	h.Must(contain(t.Context(), h, ines, api.ContainRequest{Lineage: thief.Credential}))
	from := h.Size("gucci")
	if v, err := h.Disclose.Door.Enter(t.Context(), thief, "gucci"); !errors.Is(err, containment.ErrContained) || v != nil {
		t.Errorf("the contained lineage got %v, %v", v, err)
	}
	if got := refusals(h, from); !slices.Equal(got, []string{"contained"}) {
		t.Errorf("the log has %v", got)
	}
	if _, err := h.Disclose.Door.Enter(t.Context(), other, "gucci"); err != nil {
		t.Errorf("another lineage of the same person: %v", err)
	}
}

// A containment of a role or of exports stops some actions and leaves others.
func TestAContainmentStopsWhatItSays(t *testing.T) {
	for _, c := range []struct {
		name    string
		req     api.ContainRequest
		stopped []access.Action
		files   bool
	}{
		{"role, masked views go on", api.ContainRequest{Role: "support-agent"}, []access.Action{access.ActClear, access.ActSearch}, true},
		{"brand, tokens go on", api.ContainRequest{Brand: true, Keep: "tokens"}, []access.Action{access.ActClear, access.ActSearch, access.ActMasked}, true},
		{"exports", api.ContainRequest{AllExports: true}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := apptest.Open(t)
			h.Person("rhea", map[string]string{"gucci": "incident-responder"})
			ines := h.Person("ines", map[string]string{"gucci": "incident-responder"})
			alice := h.Person("alice", map[string]string{"gucci": "support-agent"})
			h.Must(contain(t.Context(), h, ines, c.req))
			v, err := h.Disclose.Door.Enter(t.Context(), alice, "gucci")
			h.Must(err)
			fields := record.Fields(record.Email)
			for _, a := range []access.Action{access.ActClear, access.ActSearch, access.ActMasked} {
				_, err := v.Authorize(t.Context(), a, "customer-support", fields)
				if errors.Is(err, containment.ErrContained) != slices.Contains(c.stopped, a) {
					t.Errorf("%s gave %v", a, err)
				}
			}
			if _, err := v.View(t.Context(), "customer-support", fields); errors.Is(err, containment.ErrContained) != slices.Contains(c.stopped, access.ActMasked) {
				t.Errorf("a masked view gave %v", err)
			}
			if v.FilesStopped() != c.files {
				t.Errorf("files stopped: %v", v.FilesStopped())
			}
		})
	}
}

// A refusal that rests on a right which changed meanwhile is not in the log: the request
// starts over, and is decided by the new right.
func TestARefusalByAnOldRightIsNotLogged(t *testing.T) {
	h := apptest.Open(t)
	alice := h.Person("alice", map[string]string{"gucci": "support-agent"})
	if _, err := h.Disclose.Door.Enter(h.Revisions.Peek(t.Context()), alice, "gucci"); err != nil {
		t.Fatal(err)
	}
	from, tries := h.Size("gucci"), 0
	err := h.Revisions.Decide(t.Context(), func(ctx context.Context) error {
		if tries++; tries == 1 { // her role is read, and then given anew
			if _, err := h.Disclose.Door.Enter(ctx, alice, "gucci"); err != nil {
				return err
			}
			if _, err := h.Admin.SetRole(t.Context(), h.Local, "alice", "gucci", "administrator"); err != nil {
				return err
			}
		}
		_, err := h.Disclose.Door.Admit(ctx, alice, "gucci", access.ActAdminister)
		return err
	})
	if err != nil || tries != 2 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	if got := refusals(h, from); len(got) != 0 {
		t.Errorf("the log has %v", got)
	}
}

func contain(ctx context.Context, h *apptest.House, c identity.Caller, req api.ContainRequest) error {
	_, err := h.Contain.Contain(ctx, c, "gucci", req)
	return err
}
