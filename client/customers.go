package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/cloakroom/cloakroom/api"
)

// Put writes customers by external id.
func (c *Client) Put(ctx context.Context, brand string, req api.PutRequest) (*api.Written, error) {
	return ask[api.Written](ctx, c, http.MethodPut, at(brand, "customers"), req)
}

// Patch changes fields of a customer.
func (c *Client) Patch(ctx context.Context, brand, token string, fields api.Fields) (*api.Written, error) {
	return ask[api.Written](ctx, c, http.MethodPatch, at(brand, "customers", token), fields)
}

// SetStanding replaces the standing of a customer.
func (c *Client) SetStanding(ctx context.Context, brand, token string, req api.StandingRequest) (*api.Written, error) {
	return ask[api.Written](ctx, c, http.MethodPut, at(brand, "customers", token, "standing"), req)
}

// Feed sends records of a feed. It may be sent again, in any order.
func (c *Client) Feed(ctx context.Context, brand string, records []api.FeedRecord) (*api.Fed, error) {
	return ask[api.Fed](ctx, c, http.MethodPost, at(brand, "feed"), records)
}

// FeedRaw is Feed for records that are JSON already, as a source wrote them. One that is no
// record is refused by itself.
func (c *Client) FeedRaw(ctx context.Context, brand string, records []json.RawMessage) (*api.Fed, error) {
	return ask[api.Fed](ctx, c, http.MethodPost, at(brand, "feed"), records)
}

// AddPurchases adds purchases.
func (c *Client) AddPurchases(ctx context.Context, brand string, req api.PurchasesRequest) (*api.Written, error) {
	return ask[api.Written](ctx, c, http.MethodPost, at(brand, "purchases"), req)
}

// Search asks for the masked views of those who have a value.
func (c *Client) Search(ctx context.Context, brand string, req api.SearchRequest) (*api.Disclosed, error) {
	return ask[api.Disclosed](ctx, c, http.MethodPost, at(brand, "search"), req)
}

// View asks for the masked view of a customer.
func (c *Client) View(ctx context.Context, brand, token, purpose, ticket string) (*api.Disclosed, error) {
	return ask[api.Disclosed](ctx, c, http.MethodGet, why(at(brand, "customers", token), purpose, ticket), nil)
}

// Purchases asks for the masked view of a customer's purchases.
func (c *Client) Purchases(ctx context.Context, brand, token, purpose, ticket string) (*api.Disclosed, error) {
	return ask[api.Disclosed](ctx, c, http.MethodGet, why(at(brand, "customers", token, "purchases"), purpose, ticket), nil)
}

// Reveal asks for fields of customers in clear.
func (c *Client) Reveal(ctx context.Context, brand string, req api.RevealRequest) (*api.Disclosed, error) {
	return ask[api.Disclosed](ctx, c, http.MethodPost, at(brand, "reveal"), req)
}

// WhoRead asks who read a customer.
func (c *Client) WhoRead(ctx context.Context, brand, token string) (*api.Disclosures, error) {
	return ask[api.Disclosures](ctx, c, http.MethodGet, at(brand, "customers", token, "disclosures"), nil)
}

// EraseFor erases a customer who asked for it and was proven to be them. The answer has a
// code, shown once, with which they take it back: put it into the confirmation.
func (c *Client) EraseFor(ctx context.Context, brand, token string) (*api.Erased, error) {
	return ask[api.Erased](ctx, c, http.MethodPost, at(brand, "erasures"), api.EraseRequest{Token: token, ByCustomer: true})
}

// Erasures lists erasures that can still be taken back, those after a page's Next; limit 0
// is a page of the server's size.
func (c *Client) Erasures(ctx context.Context, brand string, after uint64, limit int) (*api.Erasures, error) {
	return ask[api.Erasures](ctx, c, http.MethodGet, query(at(brand, "erasures"), "after", some(after), "limit", some(limit)), nil)
}

// TakeBackErasure takes back what a customer asked for, with their code and an address.
func (c *Client) TakeBackErasure(ctx context.Context, brand string, req api.TakeBackRequest) (*api.Erased, error) {
	return ask[api.Erased](ctx, c, http.MethodPost, at(brand, "erasures", "take-back"), req)
}

// UndoErasures asks to take back what staff erased; another person approves it.
func (c *Client) UndoErasures(ctx context.Context, brand string, req api.ErasureUndo) (*api.ErasuresDone, error) {
	return ask[api.ErasuresDone](ctx, c, http.MethodPost, at(brand, "erasures", "undo"), req)
}

// EraseNow asks to destroy keys without a cooling time; another person approves it.
func (c *Client) EraseNow(ctx context.Context, brand string, req api.EraseNow) (*api.ErasuresDone, error) {
	return ask[api.ErasuresDone](ctx, c, http.MethodPost, at(brand, "erasures", "now"), req)
}

// PlaceHold asks for a legal hold; another person approves it.
func (c *Client) PlaceHold(ctx context.Context, brand string, req api.HoldRequest) (*api.Hold, error) {
	return ask[api.Hold](ctx, c, http.MethodPost, at(brand, "holds"), req)
}

// ReleaseHold asks to end a legal hold; another person approves it.
func (c *Client) ReleaseHold(ctx context.Context, brand, id string, req api.HoldRelease) (*api.Hold, error) {
	return ask[api.Hold](ctx, c, http.MethodPost, at(brand, "holds", id, "release"), req)
}

// Holds lists the legal holds in force at a brand.
func (c *Client) Holds(ctx context.Context, brand string) (*api.Holds, error) {
	return ask[api.Holds](ctx, c, http.MethodGet, at(brand, "holds"), nil)
}

// ErasureState says what is left of erasures at a brand.
func (c *Client) ErasureState(ctx context.Context, brand string) (*api.ErasureState, error) {
	return ask[api.ErasureState](ctx, c, http.MethodGet, at(brand, "erasure-state"), nil)
}

// ErasureCooling returns how long erased customers' keys lie aside at a brand.
func (c *Client) ErasureCooling(ctx context.Context, brand string) (*api.ErasureCooling, error) {
	return ask[api.ErasureCooling](ctx, c, http.MethodGet, at(brand, "erasure-cooling"), nil)
}

// SetErasureCooling sets how long erased customers' keys lie aside at a brand.
func (c *Client) SetErasureCooling(ctx context.Context, brand string, req api.ErasureCooling) (*api.ErasureCooling, error) {
	return ask[api.ErasureCooling](ctx, c, http.MethodPut, at(brand, "erasure-cooling"), req)
}

// ErasureTombstones returns how long a brand remembers whom it erased.
func (c *Client) ErasureTombstones(ctx context.Context, brand string) (*api.ErasureTombstones, error) {
	return ask[api.ErasureTombstones](ctx, c, http.MethodGet, at(brand, "erasure-tombstones"), nil)
}

// SetErasureTombstones sets how long a brand remembers whom it erased.
func (c *Client) SetErasureTombstones(ctx context.Context, brand string, req api.ErasureTombstones) (*api.ErasureTombstones, error) {
	return ask[api.ErasureTombstones](ctx, c, http.MethodPut, at(brand, "erasure-tombstones"), req)
}

// Withheld lists rows that stayed out because of somebody who was erased, those after a
// page's Next; limit 0 is a page of the server's size.
func (c *Client) Withheld(ctx context.Context, brand, after string, limit int) (*api.WithheldRows, error) {
	return ask[api.WithheldRows](ctx, c, http.MethodGet, query(at(brand, "withheld"), "after", after, "limit", some(limit)), nil)
}

// AdmitWithheld writes withheld rows as they were sent, with a reason.
func (c *Client) AdmitWithheld(ctx context.Context, brand string, req api.WithheldDecision) (*api.WithheldDecided, error) {
	return ask[api.WithheldDecided](ctx, c, http.MethodPost, at(brand, "withheld", "admit"), req)
}

// RefuseWithheld drops withheld rows, and keeps out later ones of their external ids.
func (c *Client) RefuseWithheld(ctx context.Context, brand string, req api.WithheldDecision) (*api.WithheldDecided, error) {
	return ask[api.WithheldDecided](ctx, c, http.MethodPost, at(brand, "withheld", "refuse"), req)
}

// Erase erases a customer: from now on nobody reads, finds or counts them, and after the
// brand's cooling time their key is destroyed.
func (c *Client) Erase(ctx context.Context, brand, token string) (*api.Erased, error) {
	return ask[api.Erased](ctx, c, http.MethodDelete, at(brand, "customers", token), nil)
}

// why ends a path with what a customer is read for. An empty purpose is sent, too, so
// that the vault refuses it.
func why(path, purpose, ticket string) string {
	return path + "?" + url.Values{"purpose": {purpose}, "ticket": {ticket}}.Encode()
}

// CountCustomers returns how many customers a brand has.
func (c *Client) CountCustomers(ctx context.Context, brand string) (*api.Count, error) {
	return ask[api.Count](ctx, c, http.MethodGet, at(brand, "count"), nil)
}
