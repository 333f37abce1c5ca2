package server

import (
	"context"
	"errors"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/idempotency"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// routes registers what the API can do, a file per noun.
func (s *Server) routes() {
	s.healthRoutes()
	s.brandRoutes()
	s.principalRoutes()
	s.credentialRoutes()
	s.customerRoutes()
	s.approvalRoutes()
	s.messageRoutes()
	s.policyRoutes()
	s.exposureRoutes()
	s.keyRoutes()
}

type none struct{}

// BrandPath is part of requests; exported because only such parts are read.
type BrandPath struct {
	Brand string `path:"brand" maxLength:"40" doc:"The brand that the request is for."`
}

// NamePath is part of requests.
type NamePath struct {
	Name string `path:"name" maxLength:"64"`
}

// Named is part of requests for what has a name at a brand.
type Named struct {
	BrandPath
	NamePath
}

// sent is a request with a body.
type sent[B any] struct{ Body B }

// sentTo is a request with a body to a brand.
type sentTo[B any] struct {
	BrandPath
	Body B
}

type answered[T any] struct{ Body T }

// trait is what a route has that most have not.
type trait int

const (
	// once: the route changes something, and takes an idempotency key. Routes that show
	// customers take none, because nothing of their answers is ever kept.
	once trait = iota
	// onceSecret is once for an answer that must not be kept.
	onceSecret
	// bulk: the body may be large.
	bulk
	// accepted: the answer says that the request was taken, and no more.
	accepted
	// eachByItself: the body's type checks its parts, each by itself.
	eachByItself
)

// handler answers a request: what it returns is the body.
type handler[I, O any] func(ctx context.Context, c identity.Caller, in *I) (O, error)

// route registers one operation.
func route[I, O any](s *Server, method, path, id, summary string, fn handler[I, O], traits ...trait) {
	op := huma.Operation{Method: method, Path: path, DefaultStatus: http.StatusOK, OperationID: id, Summary: summary,
		MaxBodyBytes: maxBody, BodyReadTimeout: s.timeout, Responses: map[string]*huma.Response{"default": s.anyError()}}
	for _, t := range traits {
		switch t {
		case once, onceSecret:
			s.once[method+" "+path] = t == once
			op.Parameters = append(op.Parameters, idempotencyKey())
		case bulk:
			op.MaxBodyBytes = maxBulkBody
		case accepted:
			op.DefaultStatus = http.StatusAccepted
		case eachByItself:
			op.SkipValidateBody = true
		}
	}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*answered[O], error) {
		var out O
		err := s.decide(ctx, func(ctx context.Context, c identity.Caller) (err error) {
			out, err = fn(ctx, c, in)
			return err
		})
		if err != nil {
			e := s.problem(ctx, err)
			s.metrics.failed(e.Type)
			request, _ := ctx.Value(requestKey{}).(string)
			if e.Status >= http.StatusInternalServerError {
				s.failures.add(id, e.Type, request, err)
			}
			return nil, huma.ErrorWithHeaders(e, headers(e))
		}
		return &answered[O]{out}, nil
	})
}

// problem is what the API answers for an error of this server.
func (s *Server) problem(ctx context.Context, err error) *api.Error {
	return problem(s.outdated(ctx, err))
}

// outdated returns, in the place of an error that nobody foresaw, that a newer release has
// changed the tables: this server reads them wrongly until it is upgraded.
func (s *Server) outdated(ctx context.Context, err error) error {
	if fault.Of(err) != nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if newer := s.vault.Upkeep.DB.Fits(ctx); errors.Is(newer, db.ErrNewerSchema) {
		return errors.Join(newer, err)
	}
	return err
}

func idempotencyKey() *huma.Param {
	most := idempotency.MaxKey
	return &huma.Param{Name: headerKey, In: "header", Description: "Makes the write safe to send again for a day: the same request with the same key is done once.",
		Schema: &huma.Schema{Type: "string", MaxLength: &most}}
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
