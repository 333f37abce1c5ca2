package server_test

import (
	"encoding/json"
	"net/http"
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
		}
	})
}
