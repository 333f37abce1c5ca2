package erase_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// kinds are the kinds of the entries of gucci's log from an index on.
func kinds(h *apptest.House, from uint64) (out []string) {
	for _, line := range h.Logged("gucci", from) {
		kind, _, _ := strings.Cut(line, " ")
		out = append(out, kind)
	}
	return out
}

func view(h *apptest.House, t *testing.T, c identity.Caller, token string) error {
	_, err := h.Disclose.View(t.Context(), c, "gucci", token, "customer-support", "", record.AllFields)
	return err
}

// atOnce has gucci destroy the keys of erased customers at once.
func atOnce(h *apptest.House) error {
	_, err := h.Admin.SetCooling(context.Background(), h.Local, "gucci", api.ErasureCooling{Days: 0})
	return err
}

// Whoever is erased is gone for everybody, and the log has one erasure.
func TestAnErasedCustomerIsGone(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	officer := h.Person("dana", map[string]string{"gucci": "data-protection-officer"})
	alice := h.Person("alice", map[string]string{"gucci": "support-agent"})
	tokens := h.Put("gucci", api.Fields{"external_id": "C-1", "email": "zoe@example.com"}, api.Fields{"external_id": "C-2"})
	h.Must(view(h, t, alice, tokens[0]))
	h.Must(atOnce(h))
	from := h.Size("gucci")
	erased, err := h.Erase.Erase(ctx, officer, "gucci", tokens[0], false)
	if err != nil || erased.Receipt.Entry != from || erased.Token != tokens[0] {
		t.Fatalf("%+v, %v", erased, err)
	}
	if got := kinds(h, from); !slices.Equal(got, []string{"erasure"}) {
		t.Errorf("the log has %v", got)
	}
	if err := view(h, t, alice, tokens[0]); !errors.Is(err, seal.ErrUnknownToken) && !errors.Is(err, seal.ErrNoCustomer) {
		t.Errorf("the erased customer: %v", err)
	}
	h.Must(view(h, t, alice, tokens[1]))
	// The number is another customer's when somebody says that it is.
	again, err := h.Intake.Put(ctx, h.Local, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "C-1"}}, NewRelationship: "buys again"})
	if err != nil || again.Results[0].Token == tokens[0] {
		t.Errorf("%+v, %v: the erased customer's token came back", again, err)
	}
}

// Without the right nobody is erased; and a token that is nobody's is refused in the log.
func TestWhatIsNotErased(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	officer := h.Person("dana", map[string]string{"gucci": "data-protection-officer"})
	alice := h.Person("alice", map[string]string{"gucci": "support-agent"})
	ours := h.Put("gucci", api.Fields{"external_id": "C-1"})[0]
	theirs := h.Put("balenciaga", api.Fields{"external_id": "C-1"})[0]
	var denied *access.DeniedError
	if _, err := h.Erase.Erase(ctx, alice, "gucci", ours, false); !errors.As(err, &denied) {
		t.Errorf("support erased: %v", err)
	}
	for _, token := range []string{theirs, "tok_none"} {
		from := h.Size("gucci")
		if _, err := h.Erase.Erase(ctx, officer, "gucci", token, false); !errors.Is(err, seal.ErrUnknownToken) {
			t.Errorf("a token of nobody here: %v", err)
		}
		if got := kinds(h, from); !slices.Equal(got, []string{"refusal"}) {
			t.Errorf("the log has %v", got)
		}
	}
	h.Must(view(h, t, alice, ours))
}

// Many are erased one after another; a customer who was gone before counts as gone, and when the
// time is over the rest stays as it was.
func TestErasingManyGoesAsFarAsTheTime(t *testing.T) {
	h := apptest.Open(t)
	ctx := t.Context()
	officer := h.Person("dana", map[string]string{"gucci": "data-protection-officer"})
	tokens := h.Put("gucci", api.Fields{"external_id": "C-1"}, api.Fields{"external_id": "C-2"}, api.Fields{"external_id": "C-3"})
	h.Must(atOnce(h))
	v, err := h.Disclose.Door.Enter(ctx, officer, "gucci")
	h.Must(err)
	ords, err := h.Disclose.Seal.Resolve(ctx, v.Brand.ID, tokens)
	h.Must(err)
	_, err = h.Erase.Erase(ctx, officer, "gucci", tokens[0], false)
	h.Must(err)
	from := h.Size("gucci")
	if gone, err := h.Erase.EraseFor(ctx, v, ords, -1); err != nil || !slices.Equal(gone, ords[:1]) || h.Size("gucci") != from {
		t.Errorf("in no time %v of %v were gone, %v", gone, ords, err)
	}
	if gone, err := h.Erase.EraseFor(ctx, v, ords, time.Minute); err != nil || !slices.Equal(gone, ords) {
		t.Errorf("%v of %v were gone, %v", gone, ords, err)
	}
	if got := kinds(h, from); !slices.Equal(got, []string{"erasure", "erasure"}) {
		t.Errorf("the log has %v", got)
	}
}
