package server

import (
	"context"
	"net/http"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
)

// customerRoutes serve customers: writing, reading, and who read them.
func (s *Server) customerRoutes() {
	route(s, "GET", "/v1/brands/{brand}/count", "customer-count", "Count the customers of a brand", s.countCustomers)
	route(s, "PUT", "/v1/brands/{brand}/customers", "customers-put", "Write customers by external id", s.putCustomers, once, bulk)
	route(s, "GET", "/v1/brands/{brand}/customers/{token}", "customer-view", "See a customer masked", s.viewCustomer)
	route(s, "PATCH", "/v1/brands/{brand}/customers/{token}", "customer-patch", "Change fields of a customer", s.patchCustomer, once)
	route(s, "PUT", "/v1/brands/{brand}/customers/{token}/standing", "standing-set", "Set the standing of a customer: deceased, minor, represented, do not write", s.setStanding, once)
	route(s, "DELETE", "/v1/brands/{brand}/customers/{token}", "customer-erase", "Erase a customer (GDPR Art. 17)", s.eraseCustomer, once)
	route(s, "POST", "/v1/brands/{brand}/erasures", "erasure-begin", "Erase a customer, also one who asked for it", s.beginErasure)
	route(s, "GET", "/v1/brands/{brand}/erasures", "erasure-list", "List erasures that can still be taken back", s.erasures)
	route(s, "POST", "/v1/brands/{brand}/erasures/take-back", "erasure-take-back", "Take back what a customer asked for, with their code and address", s.takeBack, once)
	route(s, "POST", "/v1/brands/{brand}/erasures/undo", "erasure-undo", "Take back what staff erased; needs a second person", s.undoErasures, once)
	route(s, "POST", "/v1/brands/{brand}/erasures/now", "erase-now", "Destroy customers' keys without cooling time; needs a second person", s.eraseNow, once)
	route(s, "GET", "/v1/brands/{brand}/withheld", "withheld-list", "List rows that stayed out because of somebody who was erased", s.withheld)
	route(s, "POST", "/v1/brands/{brand}/withheld/admit", "withheld-admit", "Write withheld rows as they were sent", s.admitWithheld, once)
	route(s, "POST", "/v1/brands/{brand}/withheld/refuse", "withheld-refuse", "Drop withheld rows, and later ones of their external ids", s.refuseWithheld, once)
	route(s, "POST", "/v1/brands/{brand}/holds", "hold-place", "Place a legal hold: keys are not destroyed until it is released; needs a second person", s.placeHold, once)
	route(s, "GET", "/v1/brands/{brand}/holds", "hold-list", "List the legal holds in force", s.holds)
	route(s, "POST", "/v1/brands/{brand}/holds/{name}/release", "hold-release", "Release a legal hold; needs a second person", s.releaseHold, once)
	route(s, "POST", "/v1/brands/{brand}/purchases", "purchases-add", "Add purchases", s.addPurchases, once, bulk)
	route(s, "POST", "/v1/brands/{brand}/feed", "feed", "Take records in from a feed, as a JSON array or as JSON lines, in any order and any number of times", s.feed, bulk, eachByItself)
	route(s, "GET", "/v1/brands/{brand}/customers/{token}/purchases", "purchases-list", "See a customer's purchases masked", s.viewPurchases)
	route(s, "GET", "/v1/brands/{brand}/customers/{token}/disclosures", "who-read", "Who read a customer, with proofs", s.whoRead)
	route(s, "POST", "/v1/brands/{brand}/search", "search", "Find customers by a value; shows them masked", s.search)
	route(s, "POST", "/v1/brands/{brand}/reveal", "reveal", "See fields of up to 1,000 customers in clear", s.reveal)
}

func (s *Server) putCustomers(ctx context.Context, c identity.Caller, in *sentTo[api.PutRequest]) (*api.Written, error) {
	return refusedCard(s.vault.Intake.Put(ctx, c, in.Brand, in.Body))
}

func (s *Server) withheld(ctx context.Context, c identity.Caller, in *withheldQuery) (*api.WithheldRows, error) {
	return s.vault.Intake.Withheld(ctx, c, in.Brand, in.WithheldQuery)
}

func (s *Server) admitWithheld(ctx context.Context, c identity.Caller, in *sentTo[api.WithheldDecision]) (*api.WithheldDecided, error) {
	return s.vault.Intake.Admit(ctx, c, in.Brand, in.Body)
}

func (s *Server) refuseWithheld(ctx context.Context, c identity.Caller, in *sentTo[api.WithheldDecision]) (*api.WithheldDecided, error) {
	return s.vault.Intake.Refuse(ctx, c, in.Brand, in.Body)
}

func (s *Server) viewCustomer(ctx context.Context, c identity.Caller, in *viewRequest) (*api.Disclosed, error) {
	return s.vault.Disclose.View(ctx, c, in.Brand, in.Token, in.Purpose, in.Ticket, record.AllFields)
}

func (s *Server) patchCustomer(ctx context.Context, c identity.Caller, in *patchRequest) (*api.Written, error) {
	return refusedCard(s.vault.Intake.Patch(ctx, c, in.Brand, in.Token, in.Body))
}

func (s *Server) setStanding(ctx context.Context, c identity.Caller, in *standingRequest) (*api.Written, error) {
	return refusedCard(s.vault.Intake.SetStanding(ctx, c, in.Brand, in.Token, in.Body))
}

func (s *Server) eraseCustomer(ctx context.Context, c identity.Caller, in *CustomerPath) (*api.Erased, error) {
	return s.vault.Erase.Erase(ctx, c, in.Brand, in.Token, false)
}

// beginErasure is not answered from a store of answers: its code is shown once.
func (s *Server) beginErasure(ctx context.Context, c identity.Caller, in *sentTo[api.EraseRequest]) (*api.Erased, error) {
	return s.vault.Erase.Erase(ctx, c, in.Brand, in.Body.Token, in.Body.ByCustomer)
}

func (s *Server) erasures(ctx context.Context, c identity.Caller, in *erasureQuery) (*api.Erasures, error) {
	return s.vault.Erase.Cooling(ctx, c, in.Brand, in.ErasureQuery)
}

func (s *Server) undoErasures(ctx context.Context, c identity.Caller, in *sentTo[api.ErasureUndo]) (*api.ErasuresDone, error) {
	return s.vault.Erase.UndoErasures(ctx, c, in.Brand, in.Body)
}

func (s *Server) eraseNow(ctx context.Context, c identity.Caller, in *sentTo[api.EraseNow]) (*api.ErasuresDone, error) {
	return s.vault.Erase.EraseNow(ctx, c, in.Brand, in.Body)
}

func (s *Server) placeHold(ctx context.Context, c identity.Caller, in *sentTo[api.HoldRequest]) (*api.Hold, error) {
	return s.vault.Erase.PlaceHold(ctx, c, in.Brand, in.Body)
}

func (s *Server) holds(ctx context.Context, c identity.Caller, in *BrandPath) (*api.Holds, error) {
	return s.vault.Erase.Holds(ctx, c, in.Brand)
}

func (s *Server) releaseHold(ctx context.Context, c identity.Caller, in *holdRelease) (*api.Hold, error) {
	return s.vault.Erase.ReleaseHold(ctx, c, in.Brand, in.Name, in.Body)
}

func (s *Server) takeBack(ctx context.Context, c identity.Caller, in *sentTo[api.TakeBackRequest]) (*api.Erased, error) {
	return s.vault.Erase.TakeBack(ctx, c, in.Brand, in.Body)
}

func (s *Server) addPurchases(ctx context.Context, c identity.Caller, in *sentTo[api.PurchasesRequest]) (*api.Written, error) {
	return refusedCard(s.vault.Intake.AddPurchases(ctx, c, in.Brand, in.Body))
}

func (s *Server) viewPurchases(ctx context.Context, c identity.Caller, in *viewRequest) (*api.Disclosed, error) {
	return s.vault.Disclose.View(ctx, c, in.Brand, in.Token, in.Purpose, in.Ticket, record.Fields(record.Purchases))
}

func (s *Server) whoRead(ctx context.Context, c identity.Caller, in *CustomerPath) (*api.Disclosures, error) {
	return s.vault.Audit.WhoRead(ctx, c, in.Brand, in.Token)
}

func (s *Server) search(ctx context.Context, c identity.Caller, in *sentTo[api.SearchRequest]) (*api.Disclosed, error) {
	return s.vault.Disclose.Search(ctx, c, in.Brand, in.Body)
}

func (s *Server) reveal(ctx context.Context, c identity.Caller, in *sentTo[api.RevealRequest]) (*api.Disclosed, error) {
	return s.vault.Disclose.Reveal(ctx, c, in.Brand, in.Body)
}

// CustomerPath is part of requests.
type CustomerPath struct {
	BrandPath
	Token string `path:"token" maxLength:"64"`
}

// ViewQuery is part of requests.
type ViewQuery struct {
	Purpose string `query:"purpose" required:"true" maxLength:"40"`
	Ticket  string `query:"ticket" maxLength:"64"`
}

type viewRequest struct {
	CustomerPath
	ViewQuery
}

type erasureQuery struct {
	BrandPath
	api.ErasureQuery
}

type withheldQuery struct {
	BrandPath
	api.WithheldQuery
}

type holdRelease struct {
	Named
	Body api.HoldRelease
}

type patchRequest struct {
	CustomerPath
	Body api.Fields
}

type standingRequest struct {
	CustomerPath
	Body api.StandingRequest
}

// refusedCard makes an error of a request for one thing that was refused: what
// stands alone in a request is not a row among others.
func refusedCard(w *api.Written, err error) (*api.Written, error) {
	if err != nil || len(w.Results) != 1 {
		return w, err
	}
	only := w.Results[0]
	if only.Reject == nil && len(only.Purchases) == 1 {
		only = only.Purchases[0]
	}
	r := only.Reject
	if r == nil {
		return w, nil
	}
	e := &api.Error{Type: api.TypeInvalid, Title: "Refused", Status: http.StatusUnprocessableEntity, Detail: strings.TrimSpace(r.Field + " " + r.Reason)}
	if r.Field != "" {
		e.Fields = []string{r.Field}
	}
	switch r.Code {
	case intake.CodeCardNumber:
		e.Type, e.Title = api.TypeCardNumber, "Payment card number refused"
	case intake.CodeNoCustomer:
		return w, nil
	}
	return nil, e
}

func (s *Server) countCustomers(ctx context.Context, c identity.Caller, in *BrandPath) (*api.Count, error) {
	return s.vault.Canaries.Customers(ctx, c, in.Brand)
}
