package ledger

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

// CardError refuses a text that has a payment card number in it. An entry is kept for
// good and nothing is taken out of it, so that a number in it would stay.
type CardError struct{ Field string }

// Error names the field, and not what stands there.
func (e *CardError) Error() string {
	return fmt.Sprintf("%s: contains a payment card number, which the log would keep for ever: leave it out, and name the case by its own number", e.Field)
}

var finder = cards.New()

// CheckText refuses a text with a card number, as every entry's texts are refused. Call it
// where something is done before the entry is logged.
func CheckText(field, text string) error {
	if finder.Contains(text) {
		return &CardError{field}
	}
	return nil
}

// encoded lists the details that the vault computes: digests, sealed numbers, networks
// that it parsed, numbers in a form of its own. Digits in them are no card, by whatever
// chance. Every other detail is checked, so that nobody has to remember a new one.
var encoded = map[entry.Kind][]string{
	entry.KindDisclosure:     {"counts"},
	entry.KindPolicy:         {"sha256"},
	entry.KindBudget:         {"rules", "sha256"},
	entry.KindExport:         {"cohort"},
	entry.KindAdministration: {"digest"},
	entry.KindIncident:       {"digest", "rules", "book", "receipt", "values"},
	entry.KindEpoch:          {"name", "checkpoint", "kept"},
	entry.KindCanary:         {"decoy", "message", "network"},
	entry.KindClaim:          {"digest", "report"},
}

// checkTexts refuses an entry with a card number in any of its texts: tickets, purposes,
// reasons, rules, and names of principals, brands, receivers and their hosts.
func checkTexts(kind entry.Kind, purpose, ticket string, texts map[string]string) error {
	if err := CheckText("ticket", ticket); err != nil {
		return err
	}
	if err := CheckText("purpose", purpose); err != nil {
		return err
	}
	for name, text := range texts {
		if err := CheckText("the name of a detail", name); err != nil {
			return err
		}
		if slices.Contains(encoded[kind], name) {
			continue
		}
		if err := CheckText(shown(name), text); err != nil {
			return err
		}
	}
	return nil
}

// textsOf returns a detail's names and texts; nothing of the many entries without one.
func textsOf(kind entry.Kind, d entry.Detail) map[string]string {
	if d == nil {
		return nil
	}
	e := entry.Entry{Kind: kind, Detail: d}
	return e.Texts()
}

// shown is a detail's name without what follows a dot, which a caller may have chosen.
func shown(name string) string {
	before, _, _ := strings.Cut(name, ".")
	return before
}
