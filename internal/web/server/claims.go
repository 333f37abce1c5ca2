package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/respond/claim"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// claimRoutes hold samples against the customers.
func (s *Server) claimRoutes(mux *http.ServeMux) {
	const path = "/v1/brands/{brand}/claims"
	text := func(in, name, doc string, required bool, typ string) *huma.Param {
		return &huma.Param{Name: name, In: in, Required: required, Description: doc, Schema: &huma.Schema{Type: typ}}
	}
	registry := s.api.OpenAPI().Components.Schemas
	s.api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodPost, Path: path, OperationID: "claim-check",
		Summary: "Hold a sample that somebody claims to have against the customers: is it ours, when was it taken, and from which disclosure",
		Parameters: []*huma.Param{
			text("path", "brand", "Brand, or group.", true, "string"),
			text("query", "rows", "Maximum number of rows of the sample. Each counts.", true, "integer"),
			text("query", "digest", "SHA-256 of the sample, in hexadecimal.", true, "string"),
			text("query", "of", "From the group: a brand; repeated for several. All if left out.", false, "string"),
			text("query", "incident", "The incident that the answer is kept with.", false, "string"),
			text("query", "exact", "Figures as they are. It takes a second person.", false, "boolean"),
			text("query", "ticket", "Case number.", false, "string"),
		},
		RequestBody: &huma.RequestBody{Required: true, Description: "The sample, as it is. It is not kept.", Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}},
		}},
		Responses: map[string]*huma.Response{
			"200":     {Description: "OK", Content: map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(reflect.TypeFor[api.Claim](), true, "Claim")}}},
			"default": s.anyError(),
		},
	})
	mux.HandleFunc("POST "+path, s.checkClaim)
	route(s, "GET", path, "claim-list", "List claims, newest first", s.listClaims)
	route(s, "GET", path+"/{entry}", "claim-show", "Show the answer to a claim", s.showClaim)
}

// maxClaim is how long a claim may take. Its client has Timeout for each part of the sample.
const maxClaim = 4 * time.Hour

// checkClaim counts the rows, and then reads the sample as it arrives.
func (s *Server) checkClaim(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	refuse := func(err error) {
		e := s.problem(ctx, err)
		if e.Status >= http.StatusInternalServerError {
			s.failures.add("claim-check", e.Type, w.Header().Get(headerRequest), err)
		}
		s.fail(w, e)
	}
	if err := s.files.Acquire(ctx, 1); err != nil {
		refuse(err)
		return
	}
	defer s.files.Release(1)
	q := r.URL.Query()
	req := api.ClaimRequest{Digest: q.Get("digest"), Brands: q["of"], Incident: q.Get("incident"), Exact: q.Get("exact") == "true", Ticket: q.Get("ticket")}
	var k *claim.Check
	err := s.decide(ctx, func(ctx context.Context, c identity.Caller) (err error) {
		if req.Rows, err = strconv.Atoi(q.Get("rows")); err != nil {
			return fmt.Errorf("%w: rows is a number", claim.ErrRequest)
		}
		k, err = s.vault.Claims.Begin(ctx, c, r.PathValue("brand"), req)
		return err
	})
	if err != nil {
		refuse(err)
		return
	}
	body := r.Body
	if u, ok := body.(*upload); ok {
		body = u.ReadCloser // it is never in memory as a whole
	}
	long, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxClaim) // a client that is gone is found by the next read
	defer cancel()
	control := http.NewResponseController(w)
	if err = k.Read(long, &patientBody{body, control, s.timeout}); err != nil {
		refuse(err)
		return
	}
	answer, err := k.Answer(long)
	if err != nil {
		refuse(err)
		return
	}
	_ = control.SetWriteDeadline(time.Now().Add(s.timeout)) // inside one process there is no connection that could stall
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_ = json.NewEncoder(w).Encode(answer) // the answer is logged: a client that is gone asks for it
}

// patientBody is a body that may take long, of which the client sends each piece in time.
type patientBody struct {
	in interface {
		Read(p []byte) (int, error)
	}
	control *http.ResponseController
	each    time.Duration
}

// Read reads a piece.
func (p *patientBody) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(p.each)) // inside one process there is no connection that could stall
	return p.in.Read(b)
}

func (s *Server) listClaims(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.ClaimSummary, error) {
	return s.vault.Claims.List(ctx, c, in.Brand)
}

func (s *Server) showClaim(ctx context.Context, c identity.Caller, in *claimPath) (*api.Claim, error) {
	return s.vault.Claims.Show(ctx, c, in.Brand, in.Entry)
}

// claimPath names an answer.
type claimPath struct {
	BrandPath
	Entry uint64 `path:"entry" maximum:"9007199254740991" doc:"The answer's entry in the log."`
}
