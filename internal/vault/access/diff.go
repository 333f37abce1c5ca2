package access

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Change is what one role, or one principal, gains or loses for one action and
// purpose. For an action on the brand Gained or Lost is every field.
type Change struct {
	Role      string
	Principal uint64 // 0: everyone in the role
	Action    Action
	Purpose   string
	Gained    record.FieldSet
	Lost      record.FieldSet
}

// String says it in a line.
func (c Change) String() string {
	s := "role " + c.Role
	if c.Principal != 0 {
		s += fmt.Sprintf(", principal %d", c.Principal)
	}
	s += fmt.Sprintf(", %s for %s:", c.Action, c.Purpose)
	if !c.Action.onFields() {
		if c.Gained != 0 {
			return s + " gained"
		}
		return s + " lost"
	}
	if c.Gained != 0 {
		s += " gained " + c.Gained.String()
	}
	if c.Lost != 0 {
		s += " lost " + c.Lost.String()
	}
	return s
}

// Diff asks both policies every question there is for the purposes, and for the
// principals that either names, and returns where the answers differ. It compares
// what the rules do, not how they are written.
func Diff(before, after *Policy, purposes []string) []Change {
	principals := []uint64{0}
	for _, p := range []*Policy{before, after} {
		principals = append(principals, p.named()...)
	}
	slices.Sort(principals)
	principals = slices.Compact(principals)
	var out []Change
	for _, role := range Roles() {
		for _, principal := range principals {
			for _, action := range Actions() {
				for _, purpose := range purposes {
					q := question{principal, role, action, purpose}
					a, b := before.evaluate(q).fields, after.evaluate(q).fields
					if a != b {
						out = append(out, Change{role, principal, action, purpose, b &^ a, a &^ b})
					}
				}
			}
		}
	}
	return out
}

// named returns the principals that the rules name by number.
func (p *Policy) named() []uint64 {
	var out []uint64
	for _, rule := range p.set.All() {
		for _, uid := range uids(rule) {
			if n, err := strconv.ParseUint(string(uid.ID), 10, 64); err == nil && uid.Type == "Principal" {
				out = append(out, n)
			}
		}
	}
	return out
}
