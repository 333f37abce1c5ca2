package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cloakroom/cloakroom/api"
)

// unfit are texts that no engine can keep, or that one keeps and the other does not.
var unfit = map[string]string{"NUL": "Unmistakable\x00", "a byte that is not UTF-8": "Unmistakable\xff", "half a character": "Unmistakable\xe2\x82"}

// Whatever the API reads of a request is checked before anything else reads it: on every
// route, in the path, in the query, in a header and in the body. The answer names the
// place and not the text.
func TestEveryRouteRefusesWhatIsNotText(t *testing.T) {
	t.Parallel()
	onEach(t, everyRouteRefusesWhatIsNotText)
}

func everyRouteRefusesWhatIsNotText(t *testing.T, h *house) {
	tried := map[string]int{}
	send := func(kind, where, method, target string, header http.Header, body []byte) {
		t.Helper()
		tried[kind]++
		req, err := http.NewRequestWithContext(t.Context(), method, "http://vault"+target, bytes.NewReader(body))
		h.must(err)
		for name, values := range header {
			req.Header[name] = values
		}
		if len(body) > 0 {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := h.server.Local().RoundTrip(req)
		h.must(err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		h.must(err)
		var e api.Error
		if rest, is := strings.CutPrefix(where, "body[0]"); is {
			// A part of a body that is read by itself is refused by itself.
			var fed api.Fed
			if err := json.Unmarshal(text, &fed); err != nil || resp.StatusCode != http.StatusOK || len(fed.Records) != 1 || fed.Records[0].Accepted ||
				fed.Records[0].Reject.Field != strings.TrimPrefix(rest, ".") {
				t.Errorf("%s %s: the answer does not refuse %s: %d, %s", method, target, where, resp.StatusCode, text)
			}
		} else if err := json.Unmarshal(text, &e); err != nil || resp.StatusCode != http.StatusBadRequest || e.Type != api.TypeInvalid {
			t.Errorf("%s %s, %s: status %d, %s", method, target, where, resp.StatusCode, text)
		} else if len(e.Errors) != 1 || e.Errors[0].Location != where {
			t.Errorf("%s %s: the answer does not name %s: %s", method, target, where, text)
		}
		if bytes.Contains(text, []byte("Unmistakable")) {
			t.Errorf("%s %s: the answer repeats what was sent: %s", method, target, text)
		}
	}
	doc := h.server.Described()
	for path, item := range doc.Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete} {
			if op == nil {
				continue
			}
			filled := func(name, value string) string {
				out := path
				for _, p := range op.Parameters {
					v := "1"
					switch {
					case p.In == "path" && p.Name == name:
						v = value
					case p.Name == "brand":
						v = "gucci"
					}
					if p.In == "path" {
						out = strings.ReplaceAll(out, "{"+p.Name+"}", url.PathEscape(v))
					}
				}
				return out
			}
			for _, bad := range unfit {
				for _, p := range op.Parameters {
					switch p.In {
					case "path":
						send("path", "path."+p.Name, method, filled(p.Name, bad), nil, nil)
					case "query":
						send("query", "query."+p.Name, method, filled("", "")+"?"+p.Name+"="+url.QueryEscape(bad), nil, nil)
					case "header":
						send("header", "header."+p.Name, method, filled("", ""), http.Header{p.Name: {bad}}, nil)
					}
				}
				send("query", "query", method, filled("", "")+"?"+url.QueryEscape(bad)+"=1", nil, nil)
				if op.RequestBody == nil {
					continue
				}
				json := op.RequestBody.Content["application/json"]
				if json == nil { // a file
					continue
				}
				s := &sampler{doc: doc, bad: bad}
				for s.at = 0; s.at == 0 || s.at <= s.seen; s.at++ {
					s.seen, s.where = 0, ""
					body := s.json(json.Schema, "body")
					if s.where != "" {
						send("body", s.where, method, filled("", ""), nil, body)
					}
				}
			}
		}
	}
	for kind, least := range map[string]int{"path": 200, "query": 200, "header": 30, "body": 200} {
		if tried[kind] < least {
			t.Errorf("only %d were tried in a %s: the test reads the API's description wrongly", tried[kind], kind)
		}
	}
}

// sampler writes a body as a schema says, with one of its texts unfit.
type sampler struct {
	doc      *huma.OpenAPI
	bad      string
	at, seen int // which text of the body is unfit, from 1, and how many there are
	where    string
}

func (s *sampler) text(where string) []byte {
	if s.seen++; s.seen != s.at {
		return []byte(`"a"`)
	}
	s.where = where
	return []byte(`"` + strings.ReplaceAll(s.bad, "\x00", `\u0000`) + `"`)
}

func (s *sampler) json(schema *huma.Schema, where string) []byte {
	if schema.Ref != "" {
		schema = s.doc.Components.Schemas.SchemaFromRef(schema.Ref)
	}
	switch schema.Type {
	case "string":
		return s.text(where)
	case "integer", "number":
		return []byte("1")
	case "boolean":
		return []byte("true")
	case "array":
		return fmt.Appendf(nil, "[%s]", s.json(schema.Items, where+"[0]"))
	}
	var members [][]byte
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		members = append(members, fmt.Appendf(nil, "%q:%s", name, s.json(schema.Properties[name], where+"."+name)))
	}
	if values, ok := schema.AdditionalProperties.(*huma.Schema); ok {
		members = append(members, fmt.Appendf(nil, `"given_name":%s`, s.json(values, where+".given_name")))
		members = append(members, fmt.Appendf(nil, `%s:"a"`, s.text(where))) // the name itself is not repeated
	}
	return fmt.Appendf(nil, "{%s}", bytes.Join(members, []byte(",")))
}

// What was always a text stays one.
func TestTextsOfEveryLanguagePass(t *testing.T) {
	t.Parallel()
	onEach(t, textsOfEveryLanguagePass)
}

func textsOfEveryLanguagePass(t *testing.T, h *house) {
	ctx := t.Context()
	for i, name := range []string{"Zoë", "王芳", "Ольга", "👩‍🚀", `back\u0000slash`, "a\u00a0b"} {
		_, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": fmt.Sprint("T-", i), "given_name": name}}})
		if err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, "GET", "http://vault/v1/brands/gucci/log/entries/0?note=caf%C3%A9", nil)
	h.must(err)
	resp, err := h.server.Local().RoundTrip(req)
	h.must(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("a query with an accent gave %d", resp.StatusCode)
	}
}
