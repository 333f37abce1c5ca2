package client

import (
	"context"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
)

// Approvals lists approvals of writes, newest first. Figures are for people with the
// action audit.
func (c *Client) Approvals(ctx context.Context, brand string) ([]api.WriteApproval, error) {
	return list[api.WriteApproval](ctx, c, at(brand, "approvals"))
}

// BeginApproval begins the approval of a file. Send its rows with RehearseApproval and ask
// for it with RequestApproval.
func (c *Client) BeginApproval(ctx context.Context, brand string, req api.FileApproval) (*api.WriteApproval, error) {
	return ask[api.WriteApproval](ctx, c, http.MethodPost, at(brand, "approvals", "files"), req)
}

// RehearseApproval sends customers of a file to be approved.
func (c *Client) RehearseApproval(ctx context.Context, brand string, number uint64, req api.ApprovedPut) (*api.Taken, error) {
	return ask[api.Taken](ctx, c, http.MethodPost, approved(brand, number, "rehearsal"), req)
}

// RequestApproval asks another person to approve a rehearsed file. Until somebody does, the
// error has the type api.TypePending and the change.
func (c *Client) RequestApproval(ctx context.Context, brand string, number uint64, req api.ApprovalRequest) (*api.WriteApproval, error) {
	return ask[api.WriteApproval](ctx, c, http.MethodPost, approved(brand, number, "request"), req)
}

// StandingApproval asks another person to approve the writes of a service.
func (c *Client) StandingApproval(ctx context.Context, brand string, req api.StandingApproval) (*api.WriteApproval, error) {
	return ask[api.WriteApproval](ctx, c, http.MethodPost, at(brand, "approvals", "standing"), req)
}

// EndApproval ends an approval of writes.
func (c *Client) EndApproval(ctx context.Context, brand string, number uint64) (*api.WriteApproval, error) {
	return ask[api.WriteApproval](ctx, c, http.MethodPost, approved(brand, number, "end"), nil)
}

// PutApproved writes customers under an approval.
func (c *Client) PutApproved(ctx context.Context, brand string, number uint64, req api.ApprovedPut) (*api.Taken, error) {
	return ask[api.Taken](ctx, c, http.MethodPut, approved(brand, number, "customers"), req)
}

// AddApprovedPurchases adds purchases under an approval.
func (c *Client) AddApprovedPurchases(ctx context.Context, brand string, number uint64, req api.ApprovedPurchases) (*api.Taken, error) {
	return ask[api.Taken](ctx, c, http.MethodPost, approved(brand, number, "purchases"), req)
}

func approved(brand string, id uint64, what string) string {
	return at(brand, "approvals", number(id), what)
}
