// Package access decides who may do what, for which purpose, to which fields. The
// rules are Cedar policies that security officers read and write.
//
// A policy is checked against our schema when it is loaded: a misspelt role, field
// or action is an error there. Cedar skips a policy that fails while it is
// evaluated, which would turn a broken forbid into a permission; here any such
// failure denies.
//
// What is allowed is a [Grant], the first step of the way to a customer's data.
package access

import (
	"fmt"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// Action is what somebody wants to do.
type Action string

// The actions. The first five are on fields, the others on the brand.
const (
	ActClear      Action = "clear"      // see fields as they are
	ActMasked     Action = "masked"     // see fields in part
	ActSearch     Action = "search"     // find customers by a field's value
	ActExport     Action = "export"     // have fields leave as they are, in an approved file
	ActExtract    Action = "extract"    // have fields leave in an approved file without who it is
	ActWrite      Action = "write"      // put, patch, import
	ActErase      Action = "erase"      // erase a customer
	ActAudit      Action = "audit"      // read the log, who read a customer, budgets
	ActAdminister Action = "administer" // principals, purposes, policy, budgets, detection
	ActAlarms     Action = "alarms"     // see alarms, and what the rules of detection would say
	ActRespond    Action = "respond"    // acknowledge and close alarms
	ActApprove    Action = "approve"    // let what somebody else asked for leave as a file
	ActContain    Action = "contain"    // stop credentials, principals, roles, exports or a brand; undo it with another
	ActCanaries   Action = "canaries"   // place decoy customers, and know which they are
	// Report mail that came for the brand's decoys, and learn nothing of them.
	ActCanaryMail Action = "canary-mail"
)

// Actions returns every action.
func Actions() []Action {
	return []Action{ActClear, ActMasked, ActSearch, ActExport, ActExtract, ActWrite, ActErase, ActAudit, ActAdminister,
		ActAlarms, ActRespond, ActApprove, ActContain, ActCanaries, ActCanaryMail}
}

func (a Action) onFields() bool {
	switch a {
	case ActClear, ActMasked, ActSearch, ActExport, ActExtract:
		return true
	}
	return false
}

// The roles of the schema.
const (
	Application           = "application"
	SupportAgent          = "support-agent"
	StoreAssociate        = "store-associate"
	Marketing             = "marketing"
	Analyst               = "analyst"
	DataProtectionOfficer = "data-protection-officer"
	IncidentResponder     = "incident-responder"
	Administrator         = "administrator"
	MailReceiver          = "mail-receiver"
)

// Roles returns every role.
func Roles() []string {
	return []string{Application, SupportAgent, StoreAssociate, Marketing, Analyst, DataProtectionOfficer, IncidentResponder, Administrator, MailReceiver}
}

// Level is how a field is shown.
type Level uint8

// The levels.
const (
	None   Level = iota // not shown
	Masked              // shown in part
	Clear               // shown as it is
)

// String returns the level's name.
func (l Level) String() string {
	switch l {
	case Masked:
		return "masked"
	case Clear:
		return "clear"
	}
	return "none"
}

// Grant says what was allowed to whom. Only a [Policy] makes one; the zero Grant
// grants nothing.
type Grant struct {
	who     identity.Who
	action  Action
	purpose string
	fields  record.FieldSet
	valid   bool
}

// Valid reports whether the grant came from a policy.
func (g Grant) Valid() bool { return g.valid }

// Who is who was granted it.
func (g Grant) Who() identity.Who { return g.who }

// Action is what was granted.
func (g Grant) Action() Action { return g.action }

// Purpose is what it was granted for.
func (g Grant) Purpose() string { return g.purpose }

// Fields are the fields that may be shown at all.
func (g Grant) Fields() record.FieldSet { return g.fields }

// Level returns how a field may be shown.
func (g Grant) Level(f record.Field) Level {
	switch {
	case !g.valid || !g.fields.Has(f):
		return None
	case g.action == ActClear, g.action == ActExport:
		return Clear
	case g.action == ActMasked:
		return Masked
	}
	return None
}

// DeniedError says what the policy does not allow.
type DeniedError struct {
	Action  Action
	Fields  record.FieldSet // those that were denied; none for an action on the brand
	Purpose string
	Role    string
	Cause   error // set if a policy failed while it was evaluated
}

// Error names the fields and what to do next.
func (e *DeniedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the policy does not let the role %s %s", e.Role, e.Action)
	switch e.Action {
	case ActClear:
		b.Reset()
		fmt.Fprintf(&b, "the policy does not let the role %s see %s in clear", e.Role, e.Fields)
	case ActMasked:
		b.Reset()
		fmt.Fprintf(&b, "the policy does not let the role %s see %s", e.Role, e.Fields)
	case ActExport, ActExtract:
		fmt.Fprintf(&b, " %s", e.Fields)
	case ActSearch:
		fmt.Fprintf(&b, " by %s", e.Fields)
	}
	if e.Purpose != "" {
		fmt.Fprintf(&b, " for the purpose %s", e.Purpose)
	}
	if e.Cause != nil {
		b.WriteString(": a rule of the policy failed, and a policy that fails denies; tell an administrator")
		return b.String()
	}
	if e.Action.onFields() && e.Fields.Len() > 1 {
		b.WriteString(": ask for fewer fields, or for a purpose that covers them")
	}
	return b.String()
}

// Unwrap returns the failure of a rule, if that is why.
func (e *DeniedError) Unwrap() error { return e.Cause }
