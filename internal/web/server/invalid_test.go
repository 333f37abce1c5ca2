package server_test

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
)

// A request that is wrong is told where, and never what it said.
func TestWhatIsWrongInARequestIsNamed(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		_, key := h.newKey(t, "support-agent")
		const good = `"by":"email","value":"nobody@example.com","purpose":"customer-support"`
		for _, x := range []struct{ typ, body, want string }{
			{"application/json", `{"by":"email",}`, "body: Malformed JSON at byte 15"},
			{"application/json", `{` + good + `,"token":"jane"}`, "body.token: Unknown property"},
			{"application/json", `{` + good + `,"jane.doe@example.com":1}`, "body: Unknown property"},
			{"application/json", `{` + good + `,"purpos":"x"}`, "body.purpos: Unknown property; did you mean `purpose`?"},
			{"text/plain", `{` + good + `}`, ": Content-Type must be application/json"},
			{"application/json", `{"by":"email"}`, "body: expected required property"},
		} {
			req, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/v1/brands/gucci/search", strings.NewReader(x.body))
			h.must(err)
			req.Header.Set("Authorization", "Bearer "+key.Key)
			req.Header.Set("Content-Type", x.typ)
			resp, err := http.DefaultClient.Do(req)
			h.must(err)
			var e api.Error
			err = json.NewDecoder(resp.Body).Decode(&e)
			resp.Body.Close()
			h.must(err)
			if text := e.Error(); e.Type != api.TypeInvalid || e.Title != "Invalid request" || !strings.Contains(text, x.want) || strings.Contains(text, "jane") {
				t.Errorf("%s: %+v, want %q", x.body, e, x.want)
			}
			if id := resp.Header.Get("X-Request-Id"); id == "" || e.RequestID != id || !strings.HasSuffix(e.Doc, "#invalid-request") {
				t.Errorf("%s: request %q in the header, %q in the body, explained at %q", x.body, id, e.RequestID, e.Doc)
			}
			for _, v := range e.Errors {
				if strings.HasPrefix(v.Location, "body.") && v.Pointer != strings.ReplaceAll(strings.TrimPrefix(v.Location, "body"), ".", "/") {
					t.Errorf("%s: the pointer of %s is %q", x.body, v.Location, v.Pointer)
				}
			}
		}
	})
}

// A query parameter that a route needs is named.
func TestAMissingQueryParameterIsNamed(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		_, key := h.newKey(t, "support-agent")
		req, err := http.NewRequestWithContext(t.Context(), "GET", h.url+"/v1/brands/gucci/customers/cus_x", nil)
		h.must(err)
		req.Header.Set("Authorization", "Bearer "+key.Key)
		resp, err := http.DefaultClient.Do(req)
		h.must(err)
		defer resp.Body.Close()
		var e api.Error
		h.must(json.NewDecoder(resp.Body).Decode(&e))
		if len(e.Errors) != 1 || e.Errors[0].Message != "query parameter `purpose` is required" {
			t.Errorf("%+v", e)
		}
	})
}

// Whoever may not do something is told which roles may, of the brand's own policy.
func TestADenialNamesActionAndRoles(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		_, key := h.newKey(t, "support-agent")
		for path, want := range map[string][]string{
			"/v1/brands/gucci/alarms":        {"action `alarms`", "incident-responder"},
			"/v1/brands/gucci/log/entries/0": {"action `audit`", "administrator"},
		} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", h.url+path, nil)
			h.must(err)
			req.Header.Set("Authorization", "Bearer "+key.Key)
			resp, err := http.DefaultClient.Do(req)
			h.must(err)
			var e api.Error
			err = json.NewDecoder(resp.Body).Decode(&e)
			resp.Body.Close()
			h.must(err)
			for _, w := range want {
				if !strings.Contains(e.Detail, w) {
					t.Errorf("%s: %+v, want %s", path, e, w)
				}
			}
			if !strings.Contains(e.Hint, "cloakroom principal role --brand gucci NAME") {
				t.Errorf("%s: the hint is %q", path, e.Hint)
			}
		}
	})
}

// Each type of error is explained where answers point to.
func TestEveryErrorIsExplained(t *testing.T) {
	text, err := os.ReadFile("../../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	constants, err := os.ReadFile("../../../api/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	types := regexp.MustCompile(`(?m)^\tType\w+\s+= "([a-z-]+)"`).FindAllSubmatch(constants, -1)
	if len(types) < 15 {
		t.Fatalf("only %d types were found: the test reads them wrongly", len(types))
	}
	for _, m := range types {
		if !strings.Contains(string(text), "\n## "+string(m[1])+"\n") {
			t.Errorf("docs/errors.md does not explain %s", m[1])
		}
	}
}
