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
	"sync"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// Action is what somebody wants to do.
type Action string

// The actions. The first five and message are on fields, the others on the brand.
const (
	ActClear      Action = "clear"      // see fields as they are
	ActMasked     Action = "masked"     // see fields in part
	ActSearch     Action = "search"     // find customers by a field's value
	ActExport     Action = "export"     // have fields leave as they are, in an approved file
	ActExtract    Action = "extract"    // have fields leave in an approved file without who it is
	ActMessage    Action = "message"    // have the vault write mail to customers, with fields in it that nobody is shown
	ActWrite      Action = "write"      // put, patch, import
	ActErase      Action = "erase"      // erase a customer
	ActAudit      Action = "audit"      // read the log, who read a customer, budgets
	ActAdminister Action = "administer" // principals, purposes, policy, budgets, detection
	ActAlarms     Action = "alarms"     // see alarms, and what the rules of detection would say
	ActRespond    Action = "respond"    // acknowledge and close alarms
	ActApprove    Action = "approve"    // let what somebody else asked for leave as a file
	ActContain    Action = "contain"    // stop credentials, principals, roles, exports or a brand; undo it with another
	ActCanaries   Action = "canaries"   // place canaries, and know which they are
	// Report mail that came for the brand's canaries, and learn nothing of them.
	ActCanaryMail Action = "canary-mail"
)

// Actions returns every action.
func Actions() []Action {
	return []Action{ActClear, ActMasked, ActSearch, ActExport, ActExtract, ActMessage, ActWrite, ActErase, ActAudit, ActAdminister,
		ActAlarms, ActRespond, ActApprove, ActContain, ActCanaries, ActCanaryMail}
}

func (a Action) onFields() bool {
	switch a {
	case ActClear, ActMasked, ActSearch, ActExport, ActExtract, ActMessage:
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
	case g.action == ActClear, g.action == ActExport, g.action == ActMessage:
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
	Brand   string // the door sets it; empty: not known
	// May are the roles that the brand's policy lets do it; the door sets it.
	May   []string
	Cause error // set if a policy failed while it was evaluated
}

// Error names the fields and what to do next.
func (e *DeniedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "role %s may not %s", e.Role, e.Action.words(e.Fields))
	if e.Brand != "" {
		b.WriteString(" at " + e.Brand)
	}
	if e.Purpose != "" {
		fmt.Fprintf(&b, " for the purpose %s", e.Purpose)
	}
	switch {
	case e.Cause != nil:
		b.WriteString(": a rule of the policy failed, so the policy denies; contact an administrator")
	case !e.Action.onFields():
		fmt.Fprintf(&b, " (needs action `%s`", e.Action)
		if by := defaultRoles(e.Action); e.Brand == "" && len(by) > 0 {
			b.WriteString("; by default " + strings.Join(by, ", "))
		}
		if len(e.May) > 0 {
			b.WriteString("; roles that have it: " + strings.Join(e.May, ", "))
		}
		b.WriteString(")")
	case len(e.May) > 0:
		fmt.Fprintf(&b, " (needs action `%s`; roles that have it: %s)", e.Action, strings.Join(e.May, ", "))
	case e.Fields.Len() > 1:
		b.WriteString(": request fewer fields, or use a purpose that covers them")
	}
	return b.String()
}

// words says the action in a sentence.
func (a Action) words(fields record.FieldSet) string {
	switch a {
	case ActClear:
		return fmt.Sprintf("see %s in clear", fields)
	case ActMasked:
		return fmt.Sprintf("see %s", fields)
	case ActSearch:
		return fmt.Sprintf("search by %s", fields)
	case ActExport:
		return fmt.Sprintf("export %s", fields)
	case ActExtract:
		return fmt.Sprintf("extract %s", fields)
	case ActMessage:
		return fmt.Sprintf("send mail that uses %s", fields)
	case ActWrite:
		return "write customers"
	case ActErase:
		return "erase customers"
	case ActAudit:
		return "audit"
	case ActAdminister:
		return "administer"
	case ActAlarms:
		return "view alarms"
	case ActRespond:
		return "respond to alarms"
	case ActApprove:
		return "approve exports"
	case ActContain:
		return "contain"
	case ActCanaries:
		return "manage canaries"
	case ActCanaryMail:
		return "report canary mail"
	}
	return string(a)
}

// defaultRoles are the roles to which the default policy gives an action on the brand.
func defaultRoles(a Action) []string {
	p, err := defaultPolicy()
	if err != nil {
		return nil
	}
	return p.RolesFor(a, "", 0)
}

// RolesFor returns the roles that the policy allows an action on all of the fields, for
// whoever has them.
func (p *Policy) RolesFor(a Action, purpose string, fields record.FieldSet) (out []string) {
	for _, role := range Roles() {
		if _, err := p.Authorize(identity.Who{Role: role}, a, purpose, fields); err == nil {
			out = append(out, role)
		}
	}
	return out
}

// Message refuses fields that no role may have stand in mail for a purpose: a template of
// them could never be sent.
func (p *Policy) Message(purpose string, fields record.FieldSet) error {
	if len(p.RolesFor(ActMessage, purpose, fields)) > 0 {
		return nil
	}
	return &DeniedError{Action: ActMessage, Purpose: purpose, Role: "of any name", Fields: fields}
}

// defaultPolicy is the policy of a new brand, read once.
var defaultPolicy = sync.OnceValues(func() (*Policy, error) { return Load(DefaultText()) })

// Unwrap returns the failure of a rule, if that is why.
func (e *DeniedError) Unwrap() error { return e.Cause }
