package ledger

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

// Every text of an entry is checked for card numbers, also a detail that nobody has
// thought of yet; what the vault computes is not, because chance would refuse it.
func TestEveryTextOfAnEntryIsChecked(t *testing.T) {
	t.Parallel()
	const card = "4111111111111111"
	refused := func(err error) string {
		var e *CardError
		if !errors.As(err, &e) || strings.Contains(err.Error(), card) {
			return ""
		}
		return e.Field
	}
	if f := refused(checkTexts(entry.KindWrite, "", card, nil)); f != "ticket" {
		t.Errorf("a ticket: %q", f)
	}
	if f := refused(checkTexts(entry.KindWrite, card, "", nil)); f != "purpose" {
		t.Errorf("a purpose: %q", f)
	}
	for kind := entry.KindDisclosure; kind <= entry.KindCanary; kind++ {
		for _, name := range []string{"reason", "something-new", "rules", "role.gucci", "cohort", "sha256", "decoy", "message", "network"} {
			field, _, _ := strings.Cut(name, ".")
			if slices.Contains(encoded[kind], name) {
				field = ""
			}
			if f := refused(checkTexts(kind, "", "", map[string]string{name: "a " + card + " b"})); f != field {
				t.Errorf("%s of %s: %q", name, kind, f)
			}
		}
		if err := checkTexts(kind, "", "", map[string]string{"role." + card: "analyst"}); err == nil || strings.Contains(err.Error(), card) {
			t.Errorf("a detail's name: %v", err)
		}
	}
}
