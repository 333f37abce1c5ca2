package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// approvalRoutes serve what two people approve about writes, and the writes under it. All
// of those are answered 202, whoever their rows are.
func (s *Server) approvalRoutes() {
	route(s, "GET", "/v1/brands/{brand}/approvals", "approval-list", "List approvals of writes, newest first", s.listApprovals)
	route(s, "POST", "/v1/brands/{brand}/approvals/files", "approval-begin", "Begin the approval of a file that changes more than the budget", s.beginApproval, once)
	route(s, "POST", "/v1/brands/{brand}/approvals/standing", "approval-standing", "Ask another person to approve the writes of a service", s.standingApproval, once)
	route(s, "POST", "/v1/brands/{brand}/approvals/{number}/rehearsal", "approval-rehearse", "Send customers of a file to be approved; answers the faults of rows alone", s.rehearseApproval, once, bulk, accepted)
	route(s, "POST", "/v1/brands/{brand}/approvals/{number}/request", "approval-request", "Ask another person to approve a rehearsed file", s.requestApproval, once)
	route(s, "POST", "/v1/brands/{brand}/approvals/{number}/end", "approval-end", "End an approval of writes", s.endApproval, once)
	route(s, "PUT", "/v1/brands/{brand}/approvals/{number}/customers", "approved-customers", "Write customers under an approval; answers the faults of rows alone", s.putApproved, once, bulk, accepted)
	route(s, "POST", "/v1/brands/{brand}/approvals/{number}/purchases", "approved-purchases", "Add purchases under an approval; answers the faults of rows alone", s.purchasesApproved, once, bulk, accepted)
}

func (s *Server) listApprovals(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.WriteApproval, error) {
	return s.vault.Approved.List(ctx, c, in.Brand)
}

func (s *Server) beginApproval(ctx context.Context, c identity.Caller, in *sentTo[api.FileApproval]) (*api.WriteApproval, error) {
	return s.vault.Approved.Begin(ctx, c, in.Brand, in.Body)
}

func (s *Server) standingApproval(ctx context.Context, c identity.Caller, in *sentTo[api.StandingApproval]) (*api.WriteApproval, error) {
	return s.vault.Approved.Stand(ctx, c, in.Brand, in.Body)
}

func (s *Server) rehearseApproval(ctx context.Context, c identity.Caller, in *sentUnder[api.ApprovedPut]) (*api.Taken, error) {
	return s.vault.Intake.RehearseFor(ctx, c, in.Brand, in.Number, in.Body)
}

func (s *Server) requestApproval(ctx context.Context, c identity.Caller, in *sentUnder[api.ApprovalRequest]) (*api.WriteApproval, error) {
	return s.vault.Approved.Request(ctx, c, in.Brand, in.Number, in.Body)
}

func (s *Server) endApproval(ctx context.Context, c identity.Caller, in *ApprovalPath) (*api.WriteApproval, error) {
	return s.vault.Approved.End(ctx, c, in.Brand, in.Number)
}

func (s *Server) putApproved(ctx context.Context, c identity.Caller, in *sentUnder[api.ApprovedPut]) (*api.Taken, error) {
	return s.vault.Intake.PutApproved(ctx, c, in.Brand, in.Number, in.Body)
}

func (s *Server) purchasesApproved(ctx context.Context, c identity.Caller, in *sentUnder[api.ApprovedPurchases]) (*api.Taken, error) {
	return s.vault.Intake.PurchasesApproved(ctx, c, in.Brand, in.Number, in.Body)
}

// ApprovalPath is part of requests.
type ApprovalPath struct {
	BrandPath
	Number uint64 `path:"number" maximum:"9007199254740991"`
}

// sentUnder is a request with a body about an approval.
type sentUnder[B any] struct {
	ApprovalPath
	Body B
}
