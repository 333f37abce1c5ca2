package exposure

import (
	"math"

	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// A budget is suggested with room above the usual: a busy day, a colleague on leave.
const margin = 1.5

// enough is of how many steps a 99th percentile is more than the greatest of them.
const enough = 100

// happy returns the limits with which a holder would have done its work of the last 30
// days, with room: 1.5 times the 99th percentile and at least the greatest use, rounded
// up. It never suggests more than the bound, as far as the greatest use lets it: whoever
// needs more says so.
func happy(u budget.Use, bound budget.Bound) budget.Bound {
	var out budget.Bound
	for w := range out {
		most := uint64(u.Most[w])
		want := roundUp(max(uint64(math.Ceil(margin*float64(u.P99[w]))), most))
		out[w] = max(most, min(want, bound[w]))
	}
	return out
}

// roundUp rounds a limit up to one that a person would write: up to 10 as it is, then to
// 5, to 10, to 50, and so on.
func roundUp(n uint64) uint64 {
	step := uint64(1)
	for limit := uint64(10); n > limit; limit *= 10 {
		if step = limit / 2; n > 5*limit {
			step = limit
		}
	}
	return (n + step - 1) / step * step
}

// gap is what a thief could take beyond what the holder uses.
func gap(bound budget.Bound, p99 budget.Counts) budget.Bound {
	for w := range bound {
		bound[w] -= min(bound[w], uint64(p99[w]))
	}
	return bound
}
