package access

import (
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// Reach is what somebody may do at all, for one purpose or another. What it does not
// have is refused, whatever is left of a budget.
type Reach struct {
	Clear, Masked, Search, Export bool
	// Write, Erase: may change and erase customers.
	Write, Erase bool
	// Administer: may change the policy and the budgets themselves.
	Administer bool
}

// searchable are the fields by which customers are found.
const searchable = record.FieldSet(1<<record.ExternalID | 1<<record.Email | 1<<record.Phone)

// Reach returns what tells the reach of a principal in a role, for the purposes that are
// in use. Principals whom no rule names are alike, so that it asks once for each role.
// Masked values in a file leave by the right that clear ones do; an extract by its own.
func (p *Policy) Reach(purposes []string) func(principal uint64, role string) Reach {
	type key struct {
		principal uint64
		role      string
	}
	named, known := p.named(), map[key]Reach{}
	return func(principal uint64, role string) Reach {
		k := key{role: role}
		if slices.Contains(named, principal) {
			k.principal = principal
		}
		r, ok := known[k]
		if !ok {
			r = p.reach(identity.Who{Caller: identity.Caller{Principal: k.principal}, Role: role}, purposes)
			known[k] = r
		}
		return r
	}
}

func (p *Policy) reach(who identity.Who, purposes []string) (r Reach) {
	for _, purpose := range purposes {
		may := func(a Action) record.FieldSet {
			return p.ask(question{who.Principal, who.Role, a, purpose}).fields
		}
		masked := may(ActMasked) != 0
		r.Clear = r.Clear || may(ActClear) != 0
		r.Masked = r.Masked || masked
		r.Search = r.Search || masked && may(ActSearch)&searchable != 0 // what is found is shown masked
		r.Export = r.Export || may(ActExport) != 0 || may(ActExtract) != 0
	}
	on := func(a Action) bool {
		_, err := p.Authorize(who, a, "", 0)
		return err == nil
	}
	r.Administer, r.Write, r.Erase = on(ActAdminister), on(ActWrite), on(ActErase)
	return r
}
