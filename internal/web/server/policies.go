package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// policyRoutes serve the policy and the budgets of a brand.
func (s *Server) policyRoutes() {
	route(s, "GET", "/v1/brands/{brand}/policy", "policy-show", "Show the policy in force", s.showPolicy)
	route(s, "PUT", "/v1/brands/{brand}/policy", "policy-apply", "Apply a policy, or with dry_run show what it would change", s.applyPolicy, once)
	route(s, "GET", "/v1/brands/{brand}/budgets", "budget-rules", "Show the budgets in force", s.showBudgets)
	route(s, "PUT", "/v1/brands/{brand}/budgets", "budget-set", "Set budgets, or with dry_run show how the loss bounds would change; empty text sets the defaults", s.setBudgets, once, bulk)
}

func (s *Server) showPolicy(ctx context.Context, c identity.Caller, in *BrandPath) (*api.Policy, error) {
	return s.vault.Admin.Policy(ctx, c, in.Brand)
}

func (s *Server) applyPolicy(ctx context.Context, c identity.Caller, in *triedAt[api.Policy]) (*api.PolicyDiff, error) {
	return s.vault.Admin.ApplyPolicy(ctx, c, in.Brand, in.Body, !in.DryRun)
}

func (s *Server) showBudgets(ctx context.Context, c identity.Caller, in *BrandPath) (*api.BudgetRules, error) {
	return s.vault.Admin.Rules(ctx, c, in.Brand)
}

func (s *Server) setBudgets(ctx context.Context, c identity.Caller, in *triedAt[api.BudgetRules]) (*api.BudgetsSet, error) {
	return s.vault.Admin.SetRules(ctx, c, in.Brand, in.Body, !in.DryRun)
}

// triedAt is a change at a brand that can be looked at first.
type triedAt[B any] struct {
	BrandPath
	DryRun bool `query:"dry_run"`
	Body   B
}
