package budget

import (
	"fmt"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// Class is a way of taking, changing or destroying that has a budget of its own.
type Class uint8

// The classes. The numbers stand in snapshots: never renumber.
const (
	Clear  Class = iota // fields shown as they are
	Masked              // fields shown in part
	Search              // customers found by a value, or met by a write
	Export              // an approved cohort leaving as a file
	Write               // existing customers whose stored profile changes
	Erase               // customers erased
	Message
	Scope
	Campaign
	Claim
	Hotline
	Self
	Portal
	numClasses
)

// Effect is what a class does to customers' data.
type Effect uint8

// The effects.
const (
	Takes    Effect = iota // it shows customers, or that they are customers
	Destroys               // it changes or erases what is stored
	Reaches                // it writes to customers, without showing them
	Responds               // it counts customers for the response to a breach
)

// Spec says of one class whose budget it uses, and what lets somebody go beyond it.
type Spec struct {
	Class  Class
	Name   string // in rules, entries and answers
	Effect Effect
	Counts string // what is counted
	Whose  []HolderKind
	// Lifts is the approved change beside which the budget does not count; empty: none.
	Lifts string
	// Used reports whether an operation of this release uses the class under rules. Rules are
	// for such classes only, and get the default of a class with the release that uses it.
	Used bool
}

// everyone are the holders of a class that people and services use in their own name.
var everyone = []HolderKind{Lineage, Principal, Role, Brand}

// specs is the one table of classes.
var specs = [numClasses]Spec{
	{Clear, "clear", Takes, "distinct customers shown in clear", everyone, "", true},
	{Masked, "masked", Takes, "distinct customers shown masked", everyone, "", true},
	{Search, "search", Takes, "distinct customers found, searches that found nobody, and existing customers met by writes", everyone,
		"a standing approval, or an approved file, for the writes that run under it", true},
	{Export, "export", Takes, "distinct customers leaving in files", everyone, "", true},
	{Write, "write", Destroys, "distinct existing customers whose stored profile changes", everyone,
		"a standing approval, or an approved file", true},
	{Erase, "erase", Destroys, "distinct customers erased", everyone, "an erasure that the customer asked for and proved to be theirs", true},
	{Message, "message", Reaches, "distinct customers written to through the vault", everyone, "an approved campaign", true},
	// The one limit of the next two is the approved version's own number of customers, so no rule is for them.
	{Scope, "scope", Responds, "distinct customers opened to count those of a scope", []HolderKind{Approval}, "", false},
	{Campaign, "campaign", Reaches, "distinct customers notified", []HolderKind{Approval}, "an approved version of the scope", false},
	{Claim, "claim", Responds, "rows of samples that were held against the customers, found or not", everyone, "a claim that two people approved", true},
	{Hotline, "hotline", Takes, "distinct customers opened for callers", everyone, "an approved version of the scope", false},
	{Self, "self", Takes, "distinct customers who see their own data", []HolderKind{Brand}, "", false},
	{Portal, "portal", Reaches, "distinct addresses that ask to sign in, found or not", []HolderKind{Brand}, "", false},
}

// InUse returns the classes that operations of this release use, in order.
func InUse() (out []Class) {
	for c := range numClasses {
		if c.InUse() {
			out = append(out, c)
		}
	}
	return out
}

// InUse reports whether an operation of this release uses the class.
func (c Class) InUse() bool { return c.valid() && specs[c].Used }

// Effect returns what the class does to customers' data.
func (c Class) Effect() Effect {
	if !c.valid() {
		return Takes
	}
	return specs[c].Effect
}

// String returns the name used in rules and entries.
func (c Class) String() string {
	if !c.valid() {
		return name(nil, int(c))
	}
	return specs[c].Name
}

func (c Class) valid() bool { return c < numClasses }

var errClass = fault.New(fault.Invalid, "unknown class of budget")

// ParseClass returns the class of that name.
func ParseClass(name string) (Class, error) {
	for c := range numClasses {
		if specs[c].Name == name {
			return c, nil
		}
	}
	return 0, fmt.Errorf("%w; known are %v", errClass, classNames(InUse()))
}

func classNames(list []Class) []string {
	out := make([]string, len(list))
	for i, c := range list {
		out[i] = c.String()
	}
	return out
}
