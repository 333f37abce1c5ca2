package server

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/idempotency"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
	"github.com/cloakroom/cloakroom/internal/watch/exposure"
)

type none struct{}

// BrandPath is part of requests; exported because only such parts are read.
type BrandPath struct {
	Brand string `path:"brand" maxLength:"40" doc:"The brand that the request is for."`
}

// CustomerPath is part of requests.
type CustomerPath struct {
	BrandPath
	Token string `path:"token" maxLength:"64"`
}

// NamePath is part of requests.
type NamePath struct {
	Name string `path:"name" maxLength:"64"`
}

type answered[T any] struct{ Body T }

// route registers one operation: fn gets the caller and the request, and what it
// returns is the body.
func route[I, O any](s *Server, method, path, id, summary string, limit int64, fn func(ctx context.Context, c identity.Caller, in *I) (O, error)) {
	routeAs(s, http.StatusOK, method, path, id, summary, limit, fn)
}

// routeAs is route with another status of what went well.
func routeAs[I, O any](s *Server, status int, method, path, id, summary string, limit int64, fn func(ctx context.Context, c identity.Caller, in *I) (O, error)) {
	var params []*huma.Param
	if _, changes := s.once[method+" "+path]; changes {
		most := idempotency.MaxKey
		params = []*huma.Param{{Name: headerKey, In: "header", Description: "Makes the write safe to send again for a day: the same request with the same key is done once.",
			Schema: &huma.Schema{Type: "string", MaxLength: &most}}}
	}
	op := huma.Operation{Method: method, Path: path, DefaultStatus: status, Parameters: params, OperationID: id, Summary: summary, MaxBodyBytes: limit, BodyReadTimeout: s.timeout, Responses: map[string]*huma.Response{"default": s.anyError()}}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*answered[O], error) {
		var out O
		err := s.decide(ctx, func(ctx context.Context, c identity.Caller) (err error) {
			out, err = fn(ctx, c, in)
			return err
		})
		if err != nil {
			e := problem(err)
			s.metrics.failed(e.Type)
			if e.Status >= http.StatusInternalServerError && e.Type != api.TypeUnfinished {
				s.failures.add(id, e.Type, err)
			}
			return nil, huma.ErrorWithHeaders(e, headers(e))
		}
		return &answered[O]{out}, nil
	})
}

// describe puts a route whose answer is not JSON into the API's description.
func (s *Server) describe(path, id, summary, contentType string, params ...string) {
	text := &huma.Schema{Type: "string"}
	if contentType == "application/octet-stream" {
		text.Format = "binary"
	}
	op := &huma.Operation{Method: http.MethodGet, Path: path, OperationID: id, Summary: summary, Responses: map[string]*huma.Response{
		"200":     {Description: "OK", Content: map[string]*huma.MediaType{contentType: {Schema: text}}},
		"default": s.anyError(),
	}}
	for _, name := range params {
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "path", Required: true, Schema: &huma.Schema{Type: "string"}})
	}
	s.api.OpenAPI().AddOperation(op)
}

func (s *Server) anyError() *huma.Response {
	return &huma.Response{Description: "Every error", Content: map[string]*huma.MediaType{
		"application/problem+json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Error](), true, "Error")},
	}}
}

func (s *Server) routes() {
	v := s.vault
	for _, w := range [][2]string{
		{"POST", "/v1/brands"},
		{"POST", "/v1/brands/{brand}/purposes"},
		{"DELETE", "/v1/brands/{brand}/purposes/{name}"},
		{"POST", "/v1/principals"},
		{"PUT", "/v1/principals/{name}/roles/{brand}"},
		{"DELETE", "/v1/principals/{name}/roles/{brand}"},
		{"DELETE", "/v1/lineages/{lineage}"},
		{"DELETE", "/v1/credentials/{credential}"},
		{"PUT", "/v1/brands/{brand}/customers"},
		{"PATCH", "/v1/brands/{brand}/customers/{token}"},
		{"DELETE", "/v1/brands/{brand}/customers/{token}"},
		{"POST", "/v1/brands/{brand}/purchases"},
		{"PUT", "/v1/brands/{brand}/policy"},
		{"PUT", "/v1/brands/{brand}/budgets"},
		{"POST", "/v1/brands/{brand}/canaries"},
		{"POST", "/v1/brands/{brand}/canaries/retire"},
	} {
		s.writes(w[0], w[1])
	}
	s.showsSecret("POST", "/v1/principals/{name}/credentials")
	s.showsSecret("POST", "/v1/credentials")
	s.showsSecret("POST", "/v1/credentials/{credential}/renew")
	route(s, "GET", "/v1/health", "health", "Whether the vault can serve", maxBody, func(ctx context.Context, _ identity.Caller, _ *none) (*api.Health, error) {
		if _, err := v.Ledger.Size(ctx, record.Group); err != nil {
			return nil, &api.Error{Type: api.TypeLogUnavailable, Title: "Vault unavailable", Status: http.StatusServiceUnavailable}
		}
		return &api.Health{Status: "ok"}, nil
	})

	route(s, "POST", "/v1/brands", "brand-create", "Create a brand", maxBody, func(ctx context.Context, c identity.Caller, in *struct{ Body api.Brand }) (*api.Brand, error) {
		return v.Admin.CreateBrand(ctx, c, in.Body)
	})
	route(s, "GET", "/v1/brands", "brand-list", "List the brands where you have a role", maxBody, func(ctx context.Context, c identity.Caller, _ *none) ([]api.Brand, error) {
		return v.Admin.Brands(ctx, c)
	})
	route(s, "GET", "/v1/brands/{brand}/purposes", "purpose-list", "List purposes", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Purpose, error) {
		return v.Admin.Purposes(ctx, c, in.Brand)
	})
	route(s, "POST", "/v1/brands/{brand}/purposes", "purpose-create", "Register a purpose", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.Purpose
	}) (*api.Purpose, error) {
		return &in.Body, v.Admin.AddPurpose(ctx, c, in.Brand, in.Body)
	})
	route(s, "DELETE", "/v1/brands/{brand}/purposes/{name}", "purpose-retire", "Retire a purpose", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		NamePath
	}) (*none, error) {
		return &none{}, v.Admin.RetirePurpose(ctx, c, in.Brand, in.Name)
	})

	route(s, "POST", "/v1/principals", "principal-create", "Register a principal with its roles", maxBody, func(ctx context.Context, c identity.Caller, in *struct{ Body api.Principal }) (*api.Principal, error) {
		return v.Admin.CreatePrincipal(ctx, c, in.Body)
	})
	route(s, "GET", "/v1/principals", "principal-list", "List up to 1,000 principals after a number", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		After uint64 `query:"after"`
	}) ([]api.Principal, error) {
		return v.Admin.Principals(ctx, c, in.After)
	})
	route(s, "PUT", "/v1/principals/{name}/roles/{brand}", "role-set", "Grant a role at a brand, or at the group", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		NamePath
		BrandPath
		Body api.RoleRequest
	}) (*api.Principal, error) {
		return v.Admin.SetRole(ctx, c, in.Name, in.Brand, in.Body.Role)
	})
	route(s, "DELETE", "/v1/principals/{name}/roles/{brand}", "role-remove", "Remove a role at a brand", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		NamePath
		BrandPath
	}) (*api.Principal, error) {
		return v.Admin.SetRole(ctx, c, in.Name, in.Brand, "")
	})
	route(s, "POST", "/v1/principals/{name}/credentials", "credential-create", "Create a credential; its key is shown once", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		NamePath
		Body api.CredentialRequest
	}) (*api.Credential, error) {
		return v.Admin.CreateCredential(ctx, c, in.Name, in.Body)
	})
	route(s, "POST", "/v1/credentials", "credential-connect", "Create a credential through your own, for a session or a connected application", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		Body api.CredentialRequest
	}) (*api.Credential, error) {
		return v.Admin.ConnectApp(ctx, c, in.Body)
	})
	route(s, "POST", "/v1/credentials/{credential}/renew", "credential-renew", "Replace a credential's key; credentials made through it stay valid", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		Credential uint64 `path:"credential"`
	}) (*api.Credential, error) {
		return v.Admin.RenewKey(ctx, c, in.Credential)
	})
	route(s, "DELETE", "/v1/credentials/{credential}", "credential-revoke", "Revoke a credential, your own or one made through it, and all made through that; administrators revoke any", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		Credential uint64 `path:"credential"`
	}) (*api.Revoked, error) {
		n, err := v.Admin.RevokeCredential(ctx, c, in.Credential)
		return &api.Revoked{Revoked: n}, err
	})
	route(s, "DELETE", "/v1/lineages/{lineage}", "lineage-revoke", "Revoke a lineage: a credential and all credentials made through it", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		Lineage uint64 `path:"lineage"`
	}) (*api.Revoked, error) {
		n, err := v.Admin.Revoke(ctx, c, in.Lineage)
		return &api.Revoked{Revoked: n}, err
	})

	route(s, "PUT", "/v1/brands/{brand}/customers", "customers-put", "Write customers by external id", maxBulkBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.PutRequest
	}) (*api.Written, error) {
		return refusedCard(v.Intake.Put(ctx, c, in.Brand, in.Body))
	})
	route(s, "GET", "/v1/brands/{brand}/customers/{token}", "customer-view", "See a customer masked", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		CustomerPath
		ViewQuery
	}) (*api.Disclosed, error) {
		return v.Disclose.View(ctx, c, in.Brand, in.Token, in.Purpose, in.Ticket, record.AllFields)
	})
	route(s, "PATCH", "/v1/brands/{brand}/customers/{token}", "customer-patch", "Change fields of a customer", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		CustomerPath
		Body api.Fields
	}) (*api.Written, error) {
		return refusedCard(v.Intake.Patch(ctx, c, in.Brand, in.Token, in.Body))
	})
	route(s, "DELETE", "/v1/brands/{brand}/customers/{token}", "customer-erase", "Erase a customer (GDPR Art. 17); cannot be undone", maxBody, func(ctx context.Context, c identity.Caller, in *CustomerPath) (*api.Erased, error) {
		return v.Admin.Erase(ctx, c, in.Brand, in.Token)
	})
	route(s, "POST", "/v1/brands/{brand}/purchases", "purchases-add", "Add purchases", maxBulkBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.PurchasesRequest
	}) (*api.Written, error) {
		return refusedCard(v.Intake.AddPurchases(ctx, c, in.Brand, in.Body))
	})
	route(s, "GET", "/v1/brands/{brand}/customers/{token}/purchases", "purchases-list", "See a customer's purchases masked", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		CustomerPath
		ViewQuery
	}) (*api.Disclosed, error) {
		return v.Disclose.View(ctx, c, in.Brand, in.Token, in.Purpose, in.Ticket, record.Fields(record.Purchases))
	})
	route(s, "GET", "/v1/brands/{brand}/customers/{token}/disclosures", "who-read", "Who read a customer, with proofs", maxBody, func(ctx context.Context, c identity.Caller, in *CustomerPath) (*api.Disclosures, error) {
		return v.Disclose.WhoRead(ctx, c, in.Brand, in.Token)
	})
	route(s, "POST", "/v1/brands/{brand}/search", "search", "Find customers by a value; shows them masked", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.SearchRequest
	}) (*api.Disclosed, error) {
		return v.Disclose.Search(ctx, c, in.Brand, in.Body)
	})
	route(s, "POST", "/v1/brands/{brand}/reveal", "reveal", "See fields of up to 1,000 customers in clear", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.RevealRequest
	}) (*api.Disclosed, error) {
		return v.Disclose.Reveal(ctx, c, in.Brand, in.Body)
	})

	route(s, "GET", "/v1/brands/{brand}/policy", "policy-show", "Show the policy in force", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) (*api.Policy, error) {
		return v.Admin.Policy(ctx, c, in.Brand)
	})
	route(s, "PUT", "/v1/brands/{brand}/policy", "policy-apply", "Apply a policy, or with dry_run show what it would change", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		DryRun bool `query:"dry_run"`
		Body   api.Policy
	}) (*api.PolicyDiff, error) {
		return v.Admin.ApplyPolicy(ctx, c, in.Brand, in.Body.Text, !in.DryRun)
	})
	route(s, "GET", "/v1/brands/{brand}/budgets", "budget-rules", "Show the budgets in force", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) (*api.BudgetRules, error) {
		return v.Admin.Rules(ctx, c, in.Brand)
	})
	route(s, "PUT", "/v1/brands/{brand}/budgets", "budget-set", "Set budgets, or with dry_run show how the loss bounds would change; empty text sets the defaults", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		DryRun bool `query:"dry_run"`
		Body   api.BudgetRules
	}) (*api.BudgetsSet, error) {
		return v.Admin.SetRules(ctx, c, in.Brand, in.Body.Rules, !in.DryRun)
	})
	route(s, "GET", "/v1/brands/{brand}/exposure", "exposure", "What each holder of a budget could take if stolen now, and what it uses; your own, if you may not audit", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		ExposureQuery
	}) (*api.Exposure, error) {
		return v.Exposure.Brand(ctx, c, in.Brand, in.ask())
	})
	route(s, "GET", "/v1/exposure", "exposure-all", "The same of all brands where you may audit", maxBody, func(ctx context.Context, c identity.Caller, in *ExposureQuery) (*api.Exposure, error) {
		return v.Exposure.All(ctx, c, in.ask())
	})

	route(s, "GET", "/v1/brands/{brand}/keys", "key-list", "List the versions of a brand's keys", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Key, error) {
		return v.Admin.Keys(ctx, c, in.Brand)
	})
	route(s, "GET", "/v1/brands/{brand}/rotations", "rotation-list", "List rotations and their progress", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Rotation, error) {
		return v.Admin.Rotations(ctx, c, in.Brand)
	})
	route(s, "POST", "/v1/brands/{brand}/keys/{kind}/rotate", "key-rotate", "Rotate a key in the background, or resume a rotation", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Kind string `path:"kind" enum:"kek,index,token,incident"`
	}) (*api.Rotation, error) {
		return v.Admin.Rotate(ctx, c, in.Brand, in.Kind)
	})
	route(s, "POST", "/v1/root/rotate", "root-rotate", "Replace the root key of this server; older copies of the database can no longer be opened", maxBody, func(ctx context.Context, c identity.Caller, _ *none) (*api.RootRotated, error) {
		return v.Admin.RotateRoot(ctx, c)
	})
	route(s, "POST", "/v1/check", "check", "Check the next part of the database; shows no value", maxBody, func(ctx context.Context, c identity.Caller, in *struct{ Body api.CheckPlace }) (*api.Checked, error) {
		return v.Admin.Check(ctx, c, in.Body)
	})
	route(s, "POST", "/v1/mend", "mend", "Repair what the vault can repair by itself, or with dry_run say what that is; shows no value", maxBody, func(ctx context.Context, c identity.Caller, in *struct{ Body api.MendRequest }) (*api.Mended, error) {
		return v.Admin.Mend(ctx, c, in.Body)
	})
}

// ExposureQuery is part of requests.
type ExposureQuery struct {
	Principal string `query:"principal" maxLength:"64" doc:"Only this one, its lineages, its role and the brand."`
	Kind      string `query:"kind" enum:"lineage,principal,role,brand" doc:"Only holders of this kind."`
	Class     string `query:"class" enum:"clear,masked,search,export" doc:"Sort by this class, and leave out who has nothing of it."`
	Top       int    `query:"top" minimum:"0" doc:"No more rows than this; 0: all."`
	Wait      int    `query:"wait" minimum:"0" maximum:"3600" doc:"Seconds after which it is answered how far it is counted; 0, and at most: as many as a request may take."`
}

func (q *ExposureQuery) ask() exposure.Ask {
	return exposure.Ask{Principal: q.Principal, Kind: q.Kind, Class: q.Class, Top: q.Top, Wait: time.Duration(q.Wait) * time.Second}
}

// ViewQuery is part of requests.
type ViewQuery struct {
	Purpose string `query:"purpose" required:"true" maxLength:"40"`
	Ticket  string `query:"ticket" maxLength:"64"`
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
	e := &api.Error{Type: api.TypeInvalid, Title: "Invalid customer", Status: http.StatusUnprocessableEntity, Detail: strings.TrimSpace(r.Field + " " + r.Reason)}
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
