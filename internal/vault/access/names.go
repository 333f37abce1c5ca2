package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
)

// uids returns every entity that a rule names, in its head and its conditions.
func uids(rule *cedar.Policy) []types.EntityUID {
	var out []types.EntityUID
	p := (*ast.Policy)(rule.AST())
	for _, scope := range []ast.IsScopeNode{p.Principal, p.Action, p.Resource} {
		switch s := scope.(type) {
		case ast.ScopeTypeEq:
			out = append(out, s.Entity)
		case ast.ScopeTypeIn:
			out = append(out, s.Entity)
		case ast.ScopeTypeInSet:
			out = append(out, s.Entities...)
		case ast.ScopeTypeIsIn:
			out = append(out, s.Entity)
		}
	}
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if v, ok := n.(ast.NodeValue); ok {
				if uid, ok := v.Value.(types.EntityUID); ok {
					out = append(out, uid)
				}
			}
			return true
		})
	}
	return out
}

// checkNames refuses a name that the schema does not list. The validator checks the
// types of entities and leaves the members of an enumeration alone.
func checkNames(s *resolved.Schema, rule *cedar.Policy) error {
	for _, uid := range uids(rule) {
		enum, ok := s.Enums[uid.Type]
		if !ok || slices.Contains(enum.Values, uid) {
			continue
		}
		known := make([]string, len(enum.Values))
		for i, v := range enum.Values {
			known[i] = string(v.ID)
		}
		return fmt.Errorf("there is no %s; known are %s", uid, strings.Join(known, ", "))
	}
	return nil
}
