package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
)

// maxFed is how many records of a feed one request may have.
const maxFed = 5000

type feedRequest struct {
	BrandPath
	Body fedBody `contentType:"application/json"`
}

// fedBody are the records of a feed as they were sent. Each is read by itself, so that one
// that is none does not keep out those beside it: a sink cannot take one line out of its
// batch, and would send the same batch for ever.
type fedBody struct {
	items []json.RawMessage
	fault *bodyFault // of the whole body
}

// bodyFault is an error of a whole body, with its status.
type bodyFault struct {
	huma.ErrorDetail
	status int
}

// GetStatus implements huma.StatusError.
func (f *bodyFault) GetStatus() int { return f.status }

// Schema describes the body: the framework checks nothing of it.
func (fedBody) Schema(r huma.Registry) *huma.Schema {
	least, most := 1, maxFed
	return &huma.Schema{Type: huma.TypeArray, Items: fedSchema(r), MinItems: &least, MaxItems: &most, Nullable: true}
}

func fedSchema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[api.FeedRecord](), true, "")
}

// Resolve says what is wrong with the body as a whole.
func (b *fedBody) Resolve(ctx huma.Context) []error {
	kind, _, _ := strings.Cut(ctx.Header("Content-Type"), ";")
	switch {
	case b.fault != nil:
		return []error{b.fault}
	case b.items == nil && kind != "" && kind != "application/json" && kind != linesType:
		return []error{&bodyFault{status: http.StatusUnsupportedMediaType}} // beside the framework's own
	}
	return nil
}

// array takes the records of a JSON array.
func (b *fedBody) array(data []byte) {
	err := unmarshal(data, &b.items)
	switch {
	case err == nil:
	case strings.HasPrefix(err.Error(), malformed):
		b.fault = &bodyFault{huma.ErrorDetail{Message: err.Error()}, http.StatusBadRequest}
	default:
		b.fault = &bodyFault{huma.ErrorDetail{Message: "expected array", Location: "body"}, http.StatusUnprocessableEntity}
	}
	b.bound()
}

// lines takes a record of each line.
func (b *fedBody) lines(data []byte) {
	b.items = []json.RawMessage{}
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			b.items = append(b.items, bytes.Clone(line)) // the body's memory is used again
		}
	}
	b.bound()
}

func (b *fedBody) bound() {
	message := ""
	switch n := len(b.items); {
	case b.items == nil || b.fault != nil:
		return
	case n < 1:
		message = "expected array length >= 1"
	case n > maxFed:
		message = "expected array length <= " + strconv.Itoa(maxFed)
	default:
		return
	}
	b.items, b.fault = nil, &bodyFault{huma.ErrorDetail{Message: message, Location: "body"}, http.StatusUnprocessableEntity}
}

// feed takes records in. Those that are none are answered for beside the others.
func (s *Server) feed(ctx context.Context, c identity.Caller, in *feedRequest) (*api.Fed, error) {
	out := &api.Fed{Records: make([]api.FedRecord, len(in.Body.items))}
	records := make([]api.FeedRecord, 0, len(in.Body.items))
	at := make([]int, 0, len(in.Body.items))
	op := s.api.OpenAPI().Paths["/v1/brands/{brand}/feed"].Post
	for i, item := range in.Body.items {
		var r api.FeedRecord
		if out.Records[i].Reject = s.readFed(op, item, &r); out.Records[i].Reject == nil {
			records, at = append(records, r), append(at, i)
		}
	}
	fed, err := s.vault.Intake.Feed(ctx, c, in.Brand, records)
	if err != nil {
		return nil, err
	}
	for i, r := range fed.Records {
		out.Records[at[i]] = r
	}
	return out, nil
}

// readFed reads one record, which must be what the API describes. Its faults hold no value,
// and no name that is not the API's own.
func (s *Server) readFed(op *huma.Operation, item []byte, into *api.FeedRecord) *api.Reject {
	bad := func(reason string) *api.Reject { return &api.Reject{Code: intake.CodeBadRow, Reason: reason} }
	text, escape := item, []byte(nulEscape)
	if !utf8.Valid(item) {
		text = bytes.ToValidUTF8(item, escape)
	}
	var all any
	if err := unmarshal(text, &all); err != nil {
		return bad("is " + strings.ToLower(err.Error()[:1]) + err.Error()[1:])
	}
	if bytes.Contains(text, escape) {
		if place := s.bodyPlace(all, "body"); place != "" {
			return &api.Reject{Field: inRecord(place), Code: intake.CodeBadRow, Reason: notText}
		}
	}
	if _, is := all.(map[string]any); !is {
		return bad("is no JSON object")
	}
	res := &huma.ValidateResult{}
	registry := s.api.OpenAPI().Components.Schemas
	huma.Validate(registry, registry.SchemaFromRef(fedSchema(registry).Ref), huma.NewPathBuffer([]byte("body[0]"), len("body[0]")), huma.ModeWriteToServer, all, res)
	faults := make([]api.Fault, 0, len(res.Errors))
	for _, err := range res.Errors {
		var at *huma.ErrorDetail
		if d, is := err.(huma.ErrorDetailer); is {
			at = d.ErrorDetail()
		} else {
			at = &huma.ErrorDetail{}
		}
		v := s.invalid(op, at)
		code := intake.CodeBadField
		if strings.HasPrefix(at.Message, unexpected) {
			code = intake.CodeUnknownColumn
		}
		faults = append(faults, api.Fault{Field: inRecord(v.Location), Code: code, Reason: v.Message})
	}
	// The schema's members are checked in any order: the same record has the same answer.
	slices.SortFunc(faults, func(a, b api.Fault) int {
		return cmp.Or(strings.Compare(a.Field, b.Field), strings.Compare(a.Reason, b.Reason))
	})
	if len(faults) > 0 {
		return &api.Reject{Field: faults[0].Field, Code: faults[0].Code, Reason: faults[0].Reason, Also: faults[1:]}
	}
	if json.Unmarshal(item, into) != nil { // a number beyond 64 bits, for instance
		return bad("has a value that its field cannot hold")
	}
	return nil
}

// inRecord is a place of a body without the record that it is in.
func inRecord(place string) string {
	place = strings.TrimPrefix(place, "body")
	if _, rest, is := strings.Cut(place, "]"); is && strings.HasPrefix(place, "[") {
		place = rest
	}
	return strings.TrimPrefix(place, ".")
}
