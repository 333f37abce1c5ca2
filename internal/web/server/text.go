package server

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// notText is what the API answers for a text that no engine can keep, or that one keeps
// and the other does not.
const notText = "holds a NUL character or is not UTF-8"

// isText reports whether a text can be kept by every engine.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// refuseText is the answer to a request with such a text. The place never holds what was
// sent.
func refuseText(place string) *api.Error {
	return &api.Error{Type: api.TypeInvalid, Title: "Invalid request", Status: http.StatusBadRequest,
		Errors: []api.InvalidValue{{Location: place, Message: notText}}}
}

// misplaced names what of a request's path, query and headers is not text, as far as the
// API reads it; empty if all is. The pattern is that of the request's route. Bodies are
// checked where they are decoded, by jsonFormat.
func (s *Server) misplaced(r *http.Request, pattern string) string {
	if !isText(r.Header.Get(headerKey)) {
		return "header." + headerKey
	}
	if !isText(r.URL.Path) {
		return pathPlace(r.URL.EscapedPath(), pattern)
	}
	if r.URL.RawQuery == "" {
		return ""
	}
	query := r.URL.Query()
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case !isText(name):
			return "query"
		case !slices.ContainsFunc(query[name], func(v string) bool { return !isText(v) }):
		case s.takes(pattern, name):
			return "query." + name
		default:
			return "query" // the name is the caller's own
		}
	}
	return ""
}

// pathPlace names the parameter of a route whose part of the path is not text.
func pathPlace(escaped, pattern string) string {
	_, route, _ := strings.Cut(pattern, " ")
	parts := strings.Split(escaped, "/")
	for i, segment := range strings.Split(route, "/") {
		name, ok := strings.CutPrefix(segment, "{")
		if !ok || i >= len(parts) {
			continue
		}
		name, rest := strings.CutSuffix(strings.TrimSuffix(name, "}"), "...")
		part := parts[i]
		if rest {
			part = strings.Join(parts[i:], "/")
		}
		if text, err := url.PathUnescape(part); err != nil || !isText(text) {
			return "path." + name
		}
	}
	return "path"
}

// takes reports whether a route has a query parameter of that name.
func (s *Server) takes(pattern, name string) bool {
	method, route, _ := strings.Cut(pattern, " ")
	item := s.api.OpenAPI().Paths[route]
	if item == nil {
		return false
	}
	op := map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete}[method]
	return op != nil && slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.In == "query" && p.Name == name })
}

// textError says where in a body a text is that cannot be kept.
type textError struct{ place string }

// Error returns the place behind notText, which plainErrors takes apart again.
func (e *textError) Error() string { return notText + ": " + e.place }

// nulEscape is a NUL in a text of JSON.
const nulEscape = `\u0000`

// jsonFormat reads bodies as JSON all of whose texts can be kept. The library would put
// another character into the place of bytes that are not UTF-8.
func (s *Server) jsonFormat() huma.Format {
	escape := []byte(nulEscape)
	return huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: func(data []byte, v any) error {
		if fed, is := v.(*fedBody); is {
			fed.array(data)
			return nil
		}
		valid := utf8.Valid(data)
		if valid && !bytes.Contains(data, escape) {
			return unmarshal(data, v)
		}
		// Rarely: a text that is not UTF-8 becomes one with a NUL, and is looked for.
		var all any
		if !valid {
			data = bytes.ToValidUTF8(data, escape)
		}
		if err := unmarshal(data, &all); err != nil {
			return err
		}
		if place := s.bodyPlace(all, "body"); place != "" {
			return &textError{place}
		}
		return unmarshal(data, v)
	}}
}

// linesType is the content type of JSON lines.
const linesType = "application/x-ndjson"

// linesFormat reads bodies of JSON lines, where a route takes them. Answers are JSON.
func (s *Server) linesFormat() huma.Format {
	return huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: func(data []byte, v any) error {
		fed, is := v.(*fedBody)
		if !is {
			return huma.ErrUnknownContentType
		}
		fed.lines(data)
		return nil
	}}
}

// bodyPlace names the first text of a body that holds a NUL; empty if none does.
func (s *Server) bodyPlace(v any, at string) string {
	switch v := v.(type) {
	case string:
		if !isText(v) {
			return at
		}
	case []any:
		for i, x := range v {
			if place := s.bodyPlace(x, fmt.Sprintf("%s[%d]", at, i)); place != "" {
				return place
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if !isText(name) {
				return at
			}
			below := at
			if s.names(name) {
				below += "." + name
			}
			if place := s.bodyPlace(v[name], below); place != "" {
				return place
			}
		}
	}
	return ""
}

// names reports whether a member's name is one of the API's own, and not the caller's.
func (s *Server) names(name string) bool {
	if _, err := record.ParseField(name); err == nil {
		return true
	}
	for _, schema := range s.api.OpenAPI().Components.Schemas.Map() {
		if schema.Properties[name] != nil {
			return true
		}
	}
	return false
}
