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
	Since     Date   // from that day on, because a season begins or ends; 0: at once
	Few       bool   // From and To are up to how many customers a day count as few, for a reserve
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
	since := ""
	if g.Since != 0 {
		since = fmt.Sprintf(" from %s on", g.Since)
	}
	if g.Few {
		return fmt.Sprintf("reserved for principals who took few: up to %d customers a day instead of %d", g.To, g.From)
	}
	return fmt.Sprintf("%s of %s, %s per %s%s: %s instead of %s", g.Class, g.Kind, who, g.Window, since, n(g.To), n(g.From))
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
// for every principal that a rule of either names, and for whom more is kept. Seasons that
// were over before a day are left out.
func Gains(before, after *Rules, roles []string, now Date) []Gain {
	roles, principals := append([]string{""}, roles...), []uint64{0}
	for _, r := range slices.Concat(before.list, after.list) {
		roles, principals = append(roles, r.Role), append(principals, r.Principal)
	}
	slices.Sort(roles)
	slices.Sort(principals)
	roles, principals = slices.Compact(roles), slices.Compact(principals)
	days := append(before.days(now, lastDate), after.days(now, lastDate)...)
	slices.Sort(days)
	days = slices.Compact(days)
	var out []Gain
	if from, to := before.few(), after.few(); to > from && from > 0 {
		out = append(out, Gain{Kind: Brand, Class: Clear, Window: Day, From: uint64(from), To: uint64(to), Few: true})
	}
	for kind := range numKinds {
		for class := range numClasses {
			for _, role := range roles {
				for _, principal := range principals {
					if principal != 0 && kind != Principal && kind != Lineage || role != "" && kind == Brand && slices.Equal(before.kept, after.kept) {
						continue
					}
					out = append(out, gainsOf(before, after, Gain{Kind: kind, Role: role, Principal: principal, Class: class}, days)...)
				}
			}
		}
	}
	return out
}

// gainsOf returns the gains of one holder in one class, each on the first day on which it
// is as large.
func gainsOf(before, after *Rules, g Gain, days []Date) (out []Gain) {
	var most [numWindows]uint64
	for i, day := range days {
		from, to := before.open(g, day), after.open(g, day)
		for w := range numWindows {
			if to[w] <= from[w] || to[w] <= most[w] {
				continue
			}
			most[w] = to[w]
			one := g
			one.Window, one.From, one.To = w, from[w], to[w]
			if i > 0 {
				one.Since = day
			}
			out = append(out, one)
		}
	}
	return out
}

// open is what a holder may take in each window besides what is kept for others.
func (r *Rules) open(g Gain, day Date) [numWindows]uint64 {
	out := r.Resolve(g.Kind, g.Principal, g.Role, g.Class, day).values()
	kept := r.keptFrom(g.Kind, g.Role, g.Class, func(uint32) bool { return false })
	for w, limit := range out {
		if limit < Unlimited {
			out[w] -= limit * uint64(kept) / 100
		}
	}
	return out
}

// few is up to how many customers a day count as few, 0 where nothing is kept for those.
func (r *Rules) few() uint32 {
	for _, k := range r.kept {
		if k.Role == "" {
			return k.Few
		}
	}
	return 0
}
