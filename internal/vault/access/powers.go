package access

import (
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// guarded are the actions by which somebody sees customers in clear, takes them away or
// writes to them in the brand's name, decides for others, or is noticed less: giving one takes two people.
var guarded = []Action{ActClear, ActExport, ActExtract, ActMessage, ActErase, ActAdminister, ActApprove, ActContain, ActRespond, ActCanaries}

// Guarded reports whether giving an action takes two people.
func Guarded(a Action) bool { return slices.Contains(guarded, a) }

// Reads reports whether an action shows customers or decides who is shown them.
func Reads(a Action) bool {
	return a == ActClear || a == ActExport || a == ActExtract || a == ActAdminister || a == ActApprove
}

// Gains returns what a principal may in one role under the policy and may not in another:
// the guarded actions alone, each for one purpose. An empty role may nothing.
func (p *Policy) Gains(principal uint64, from, to string, purposes []string) []Change {
	var out []Change
	for _, action := range guarded {
		for _, purpose := range purposes {
			before := record.FieldSet(0)
			if from != "" {
				before = p.ask(question{principal, from, action, purpose}).fields
			}
			if to == "" {
				continue
			}
			if gained := p.ask(question{principal, to, action, purpose}).fields &^ before; gained != 0 {
				out = append(out, Change{Role: to, Principal: principal, Action: action, Purpose: purpose, Gained: gained})
			}
			if !action.onFields() {
				break // an action on the brand has no purpose
			}
		}
	}
	return out
}
