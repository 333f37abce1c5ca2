package budget

import (
	"fmt"
	"slices"
)

// Gain is a limit that is higher under other rules.
type Gain struct {
	Kind      HolderKind
	Role      string // empty: of none that a rule names
	Principal uint64 // 0: everyone in the role
	Class     Class
	Window    Window
	From, To  uint64 // Unlimited where no limit holds
}

// Unlimited stands for a window without a limit.
const Unlimited = uint64(1) << 32

// String says the gain in a line.
func (g Gain) String() string {
	who := "any"
	if g.Role != "" {
		who = "role " + g.Role
	}
	if g.Principal != 0 {
		who = fmt.Sprintf("principal %d", g.Principal)
		if g.Role != "" {
			who += " as " + g.Role
		}
	}
	n := func(x uint64) string {
		if x == Unlimited {
			return "no limit"
		}
		return fmt.Sprint(x)
	}
	return fmt.Sprintf("%s of %s, %s per %s: %s instead of %s", g.Class, g.Kind, who, g.Window, n(g.To), n(g.From))
}

// value is what a holder may take in each window: nothing where no rule covers it at all.
func (l Limits) values() (out [numWindows]uint64) {
	some := false
	for _, w := range l {
		some = some || w.Set
	}
	if !some {
		return out
	}
	for i, w := range l {
		out[i] = Unlimited
		if w.Set {
			out[i] = uint64(w.Limit)
		}
	}
	return out
}

// Gains returns the limits that rise from one set of rules to another, for the roles and
// for every principal that a rule of either names.
func Gains(before, after *Rules, roles []string) []Gain {
	roles, principals := append([]string{""}, roles...), []uint64{0}
	for _, r := range slices.Concat(before.list, after.list) {
		roles, principals = append(roles, r.Role), append(principals, r.Principal)
	}
	slices.Sort(roles)
	slices.Sort(principals)
	roles, principals = slices.Compact(roles), slices.Compact(principals)
	var out []Gain
	for kind := range numKinds {
		for class := range numClasses {
			for _, role := range roles {
				for _, principal := range principals {
					if principal != 0 && kind != Principal && kind != Lineage || role != "" && kind == Brand {
						continue
					}
					from, to := before.Resolve(kind, principal, role, class).values(), after.Resolve(kind, principal, role, class).values()
					for w := range numWindows {
						if to[w] > from[w] {
							out = append(out, Gain{kind, role, principal, class, w, from[w], to[w]})
						}
					}
				}
			}
		}
	}
	return out
}
