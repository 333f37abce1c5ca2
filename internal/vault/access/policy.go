package access

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

//go:embed default.cedar
var defaultText string

//go:embed schema.cedarschema
var schemaText string

// DefaultText returns the policy of a new brand.
func DefaultText() string { return defaultText }

// SchemaText returns the Cedar schema that every policy is checked against.
func SchemaText() string { return schemaText }

// MaxText bounds the text of a policy.
const MaxText = 256 << 10

var (
	// ErrPolicy is returned for text that is not a policy under our schema.
	ErrPolicy = fault.New(fault.Invalid, "invalid policy")
	// ErrEvaluation is the cause of a denial because a rule failed.
	ErrEvaluation = fault.New(fault.Internal, "a rule of the policy failed while it was evaluated")
)

// Policy is a checked policy. It is safe for concurrent use.
type Policy struct {
	text    string
	set     *cedar.PolicySet
	decided *lru.Cache[question, answer]
}

type question struct {
	principal uint64
	role      string
	action    Action
	purpose   string
}

type answer struct {
	fields record.FieldSet // allowed; for an action on the brand all or none
	failed error
}

// decisions bounds the decisions that a policy remembers: they depend on nothing
// but the question.
const decisions = 4096

// Load parses and checks a policy. Every error names the line.
func Load(text string) (*Policy, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrPolicy, MaxText)
	}
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(schemaText)); err != nil {
		return nil, fmt.Errorf("reading our schema: %w", err)
	}
	resolved, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolving our schema: %w", err)
	}
	list, err := cedar.NewPolicyListFromBytes("policy", []byte(text))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	check := validate.New(resolved, validate.WithStrict())
	set := cedar.NewPolicySet()
	for i, p := range list {
		id := fmt.Sprintf("rule %d (line %d)", i+1, p.Position().Line)
		if name := p.Annotations()["id"]; name != "" {
			id = fmt.Sprintf("%s (line %d)", name, p.Position().Line)
		}
		if err := check.Policy(id, (*ast.Policy)(p.AST())); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrPolicy, id, err)
		}
		if err := checkNames(resolved, p); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrPolicy, id, err)
		}
		if !set.Add(cedar.PolicyID(id), p) {
			return nil, fmt.Errorf("%w: %s stands twice", ErrPolicy, id)
		}
	}
	cache, err := lru.New[question, answer](decisions)
	if err != nil {
		return nil, err
	}
	return &Policy{text: text, set: set, decided: cache}, nil
}

// Text returns the policy as it was written.
func (p *Policy) Text() string { return p.text }

// Authorize allows an action on all of the fields, or denies it with a
// *DeniedError that names those that are not allowed. An action on the brand
// takes no fields.
func (p *Policy) Authorize(who identity.Who, action Action, purpose string, fields record.FieldSet) (Grant, error) {
	a := p.ask(question{who.Principal, who.Role, action, purpose})
	denied := &DeniedError{Action: action, Purpose: purpose, Role: who.Role, Cause: a.failed}
	if !slices.Contains(Actions(), action) { // a rule for every action is for every one of ours
		return Grant{}, denied
	}
	if action.onFields() {
		denied.Fields = fields &^ a.fields
		if fields == 0 || denied.Fields != 0 {
			return Grant{}, denied
		}
	} else if a.fields == 0 {
		return Grant{}, denied
	}
	return Grant{who, action, purpose, fields, true}, nil
}

// View allows what may be shown masked of the fields; it is denied if nothing may.
func (p *Policy) View(who identity.Who, purpose string, fields record.FieldSet) (Grant, error) {
	a := p.ask(question{who.Principal, who.Role, ActMasked, purpose})
	if fields&a.fields == 0 {
		return Grant{}, &DeniedError{Action: ActMasked, Purpose: purpose, Role: who.Role, Fields: fields, Cause: a.failed}
	}
	return Grant{who, ActMasked, purpose, fields & a.fields, true}, nil
}

func (p *Policy) ask(q question) answer {
	if a, ok := p.decided.Get(q); ok {
		return a
	}
	a := p.evaluate(q)
	p.decided.Add(q, a)
	return a
}

func (p *Policy) evaluate(q question) answer {
	role := types.NewEntityUID("Role", types.String(q.role))
	me := types.NewEntityUID("Principal", types.String(strconv.FormatUint(q.principal, 10)))
	entities := types.EntityMap{
		role: {UID: role},
		me:   {UID: me, Parents: types.NewEntityUIDSet(role)},
	}
	allowed := func(resource types.EntityUID) (bool, error) {
		decision, diag := cedar.Authorize(p.set, entities, cedar.Request{
			Principal: me,
			Action:    types.NewEntityUID("Action", types.String(q.action)),
			Resource:  resource,
			Context:   types.NewRecord(types.RecordMap{"purpose": types.String(q.purpose)}),
		})
		if len(diag.Errors) > 0 {
			return false, fmt.Errorf("%w: %s: %s", ErrEvaluation, diag.Errors[0].PolicyID, diag.Errors[0].Message)
		}
		return decision == cedar.Allow, nil
	}
	var a answer
	if !q.action.onFields() {
		ok, err := allowed(types.NewEntityUID("Brand", "this"))
		if ok {
			a.fields = record.AllFields
		}
		a.failed = err
		return a
	}
	for f := record.Field(0); f < record.NumFields; f++ {
		ok, err := allowed(types.NewEntityUID("Field", types.String(f.String())))
		if err != nil {
			return answer{failed: err}
		}
		if ok {
			a.fields = a.fields.With(f)
		}
	}
	return a
}
