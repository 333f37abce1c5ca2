package exposure

import (
	"cmp"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// classes is how many classes have a budget: a test holds that they are those in use.
const classes = int(budget.Erase) + 1

// amounts are bounds by class.
type amounts [classes]budget.Bound

// together is what all classes allow that take: a thief takes other customers by each.
func (a *amounts) together() budget.Bound { return a.of(budget.Takes) }

// destroyed is whom all classes allow to change or erase.
func (a *amounts) destroyed() budget.Bound { return a.of(budget.Destroys) }

func (a *amounts) of(e budget.Effect) (sum budget.Bound) {
	for c, b := range a {
		if budget.Class(c).Effect() == e {
			sum = sum.Plus(b)
		}
	}
	return sum
}

// What stands in the way of a holder.
const (
	stateContained = "contained"
	statePart      = "contained in part" // its role, the brand or files: masked views go on
	stateLinks     = "export links only" // its keys download what was approved
	stateDisabled  = "disabled"
	stateNoKey     = "no live key"
	stateNoRole    = "no role" // any more
)

// freedom orders what stands in the way of a principal's lineages: it goes by the freest.
func freedom(state string) int {
	return slices.Index([]string{stateNoKey, stateContained, stateLinks, statePart, ""}, state)
}

// held is a holder and what it could take.
type held struct {
	budget.Holder
	principal   uint64
	name        string // the principal's
	label       string // the lineage's
	role        string
	state       string
	administers bool
	bound       amounts
}

// person is somebody with a role at the brand.
type person struct {
	identity.Staff
	stops       []containment.Stop // of each lineage
	administers bool               // the group: makes principals, gives roles
}

// terms are what bounds depend on and an administrator changes.
type terms struct {
	at    time.Time
	rules *budget.Rules
	reach func(principal uint64, role string) access.Reach
}

// bounds says what each holder could take if it was stolen now: its live lineages, all
// of a principal's, all of a role's, all of the brand's. Each is held to every budget
// that applies to it, and takes no more than those of which it is made could together.
// The result is in the order of kinds, and of principals.
func bounds(t *terms, people []person) []held {
	var lineages, principals []held
	sums := map[string]*held{}
	brand := held{Holder: budget.Holder{Kind: budget.Brand}}
	for i := range people {
		p := &people[i]
		reach := t.reach(p.ID, p.Role)
		administers := p.administers || reach.Administer
		whole := held{Holder: budget.Holder{Kind: budget.Principal, ID: p.ID}, principal: p.ID, name: p.Name, role: p.Role,
			administers: administers, state: stateNoKey}
		if p.Disabled {
			whole.state = stateDisabled
		}
		for j, l := range p.Lineages {
			one := held{Holder: budget.Holder{Kind: budget.Lineage, ID: l.ID}, principal: p.ID, name: p.Name, role: p.Role, label: l.Label,
				administers: administers && (l.Live || !l.Links)}
			switch stop := p.stops[j]; {
			case p.Disabled:
				one.state = stateDisabled
			case !l.Live && !l.Links:
				one.state = stateNoKey
			case stop.All:
				one.state = stateContained
			default:
				switch {
				case stop.Clear || stop.Files || stop.Masked:
					one.state = statePart
				case !l.Live:
					one.state = stateLinks
				}
				for c, may := range allowed(reach, stop) {
					if may && (l.Live || budget.Class(c) == budget.Export) {
						one.bound[c] = t.rules.Bound(one.Holder, p.ID, p.Role, budget.Class(c), t.at)
					}
				}
			}
			if !p.Disabled && freedom(one.state) > freedom(whole.state) {
				whole.state = one.state
			}
			whole.add(&one)
			lineages = append(lineages, one)
		}
		whole.limit(t)
		principals = append(principals, whole)
		role := sums[p.Role]
		if role == nil {
			role = &held{Holder: budget.Holder{Kind: budget.Role, Role: p.Role}, role: p.Role}
			sums[p.Role] = role
		}
		role.administers = role.administers || administers
		role.add(&whole)
	}
	out := append(lineages, principals...)
	for _, role := range sums {
		role.limit(t)
		brand.add(role)
		out = append(out, *role)
	}
	slices.SortFunc(out[len(out)-len(sums):], func(a, b held) int { return cmp.Compare(a.role, b.role) })
	brand.limit(t)
	return append(out, brand)
}

// add lets a part of what is stolen take for the whole.
func (h *held) add(part *held) {
	for c := range h.bound {
		h.bound[c] = h.bound[c].Plus(part.bound[c])
	}
}

// limit holds the parts together to the budgets of the whole.
func (h *held) limit(t *terms) {
	for c := range h.bound {
		h.bound[c] = h.bound[c].Min(t.rules.Bound(h.Holder, h.principal, h.role, budget.Class(c), t.at))
	}
}

// allowed says by which classes somebody takes customers at all: as the policy lets
// them, and as the door does after a containment.
func allowed(r access.Reach, stop containment.Stop) (may [classes]bool) {
	may[budget.Clear] = r.Clear && !stop.Clear
	may[budget.Masked] = r.Masked && !stop.Masked
	// A write that meets a customer tells that they are one.
	may[budget.Search] = r.Search && !stop.Clear || r.Write && !stop.Writes
	may[budget.Export] = r.Export && !stop.Clear && !stop.Files
	may[budget.Write] = r.Write && !stop.Writes
	may[budget.Erase] = r.Erase && !stop.Writes
	return may
}
