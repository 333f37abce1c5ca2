package budget

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Reserve keeps a share of the budgets that many use, those of roles and brands, for some
// of them. The others are refused once no more is left than what is kept for those: so
// that many stolen keys do not lock out who works.
type Reserve struct {
	// Role whose share of the brand's budgets it is; empty: it is kept of the budgets of
	// the brand and of each role, for principals who took few.
	Role string
	// Percent of the budget that is kept, 1 to 90.
	Percent uint32
	// Few is up to how many customers in 24 hours a principal took few. Of a role it is 0.
	Few uint32
}

const (
	reserveWord = "reserve"
	maxReserved = 90 // percent, of all together
)

// defaultReserves are those of a new brand: a morning's work for each who has not begun,
// and orders that are to be delivered.
var defaultReserves = []Reserve{{Percent: 20, Few: 10}, {Role: "application", Percent: 10}}

// String returns the line that rules have.
func (k Reserve) String() string {
	if k.Role != "" {
		return fmt.Sprintf("%s role:%s %d", reserveWord, k.Role, k.Percent)
	}
	return fmt.Sprintf("%s few:%d %d", reserveWord, k.Few, k.Percent)
}

func readReserve(part []string) (k Reserve, err error) {
	bad := fmt.Errorf("%w: a reserve is `reserve few:10 20`, a share in percent for principals who took at most 10 in a day, or `reserve role:application 10`", ErrRules)
	if len(part) != 3 {
		return k, bad
	}
	percent, err := strconv.ParseUint(part[2], 10, 32)
	if err != nil {
		return k, bad
	}
	k.Percent = uint32(percent)
	if few, ok := strings.CutPrefix(part[1], "few:"); ok {
		n, err := strconv.ParseUint(few, 10, 32)
		if err != nil || n == 0 {
			return k, bad
		}
		k.Few = uint32(n)
		return k, nil
	}
	role, ok := strings.CutPrefix(part[1], "role:")
	if !ok || role == "" || !roleName(role) {
		return k, bad
	}
	k.Role = role
	return k, nil
}

func checkReserves(list []Reserve) ([]Reserve, error) {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Reserve) int { return strings.Compare(a.Role, b.Role) })
	sum := uint32(0)
	for i, k := range list {
		if i > 0 && list[i-1].Role == k.Role {
			return nil, fmt.Errorf("%w: two reserves for the same", ErrRules)
		}
		if k.Percent == 0 || k.Percent > maxReserved || (k.Role == "") != (k.Few > 0) || !roleName(k.Role) {
			return nil, fmt.Errorf("%w: a reserve is 1 to %d percent, for a role or for principals who took few", ErrRules, maxReserved)
		}
		sum += k.Percent
	}
	if sum > maxReserved {
		return nil, fmt.Errorf("%w: the reserves are more than %d percent together", ErrRules, maxReserved)
	}
	return list, nil
}

// reserved are the classes of daily work. A file for export is asked for once, and may be
// as large as the budget is.
var reserved = [numClasses]bool{Clear: true, Masked: true, Search: true, Write: true}

// keptFrom returns how much of a holder's limits is kept for others than who asks, in
// percent. few says whether the principal who asks takes no more than that many in a day,
// this request included.
func (r *Rules) keptFrom(kind HolderKind, role string, class Class, few func(uint32) bool) uint32 {
	if kind != Role && kind != Brand || !reserved[class] {
		return 0
	}
	percent := uint32(0)
	for _, k := range r.kept {
		switch {
		case k.Role != "" && (kind != Brand || k.Role == role):
		case k.Role == "" && few(k.Few):
		default:
			percent += k.Percent
		}
	}
	return percent
}
