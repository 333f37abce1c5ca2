package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/cloakroom/cloakroom/api"
)

// No operation of the API does anything with the token of another brand's customer, in the
// path or in a body, for any role of the brand, or for their keys at the other brand: it is
// answered as one of nobody, or as one of another brand, whichever that is. A new operation
// is tried as soon as the API describes it.
func TestNoOperationTakesAnotherBrandsToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	ctx := t.Context()
	id, err := age.GenerateX25519Identity()
	h.must(err)
	put := func(brand string, n int) string {
		w, err := h.Put(ctx, brand, api.PutRequest{Customers: []api.Fields{{"external_id": fmt.Sprintf("%s-%d", brand, n), "given_name": "Ada", "email": fmt.Sprintf("ada%d@%s.example", n, brand)}}})
		h.must(err)
		return w.Results[0].Token
	}
	own, foreign := put("gucci", 1), put("balenciaga", 1)
	// A token that nobody was given.
	nobody := []byte(foreign)
	if i := len(nobody) - 5; nobody[i] == 'a' {
		nobody[i] = 'b'
	} else {
		nobody[i] = 'a'
	}
	_, err = h.as["incident-responder"].OpenIncident(ctx, "gucci", api.IncidentRequest{Title: "a walk along the fence"})
	h.must(err)
	doc := h.description()
	ask := func(role, method, path, body, token string) (seen string, ok bool) {
		var in any
		if body != "" {
			h.must(json.Unmarshal([]byte(strings.NewReplacer("TOKEN", token, "RECIPIENT", id.Recipient().String()).Replace(body)), &in))
		}
		var out json.RawMessage
		err := h.as[role].Do(ctx, strings.ToUpper(method), strings.ReplaceAll(path, "{token}", token), in, &out)
		seen = answered(out, err)
		return scrubbed.ReplaceAllString(strings.ReplaceAll(seen, token, "TOKEN"), "#"), err == nil
	}
	params := regexp.MustCompile(`\{(name|alarm|number|incident|job|language|export)\}`)
	tried, served := 0, map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for method, op := range doc.Paths[path] {
			body := doors[op.OperationID].body
			if !strings.Contains(path, "{brand}") || !strings.Contains(path, "{token}") && !strings.Contains(body, "TOKEN") {
				continue
			}
			for role := range h.as {
				at := params.ReplaceAllString(strings.ReplaceAll(path, "{brand}", "gucci"), "1")
				tried++
				is, went := ask(role, method, at, body, foreign)
				other, _ := ask(role, method, at, body, string(nobody))
				if went || is != other && !strings.Contains(is, api.TypeOtherBrand) {
					t.Errorf("%s as %s tells another brand's customer from nobody:\n%s\n%s", op.OperationID, role, is, other)
				}
				// And by a caller without a role there, at the other brand.
				at = params.ReplaceAllString(strings.ReplaceAll(path, "{brand}", "balenciaga"), "1")
				is, went = ask(role, method, at, body, foreign)
				other, _ = ask(role, method, at, body, string(nobody))
				if went || is != other {
					t.Errorf("%s as %s of another brand tells a customer from nobody:\n%s\n%s", op.OperationID, role, is, other)
				}
			}
			for role := range h.as { // the operation serves somebody: otherwise the test sees nothing
				if strings.Contains(op.OperationID, "eras") {
					continue // which would end the customer for the operations to come
				}
				if _, went := ask(role, method, params.ReplaceAllString(strings.ReplaceAll(path, "{brand}", "gucci"), "1"), body, own); went {
					served[op.OperationID] = true
				}
			}
		}
	}
	for _, op := range []string{"reveal", "who-read", "customer-patch", "hold-place"} {
		if !served[op] {
			t.Errorf("%s served nobody: %v", op, slices.Sorted(maps.Keys(served)))
		}
	}
	t.Logf("%d operations by roles were asked; %v served", tried, slices.Sorted(maps.Keys(served)))
}
