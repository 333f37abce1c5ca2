package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
)

func TestFeed(t *testing.T) {
	t.Parallel()
	onEach(t, feed)
}

// A feed that sends its batches five times, in another order each, leaves what one that
// sends them once in order leaves: of each customer and purchase the newest record.
func feed(t *testing.T, h *house) {
	ctx := t.Context()
	app := h.as["application"]
	customer := func(place int64, id, name string) api.FeedRecord {
		return api.FeedRecord{Source: "shop", Position: &place, Customer: api.Fields{"external_id": id, "given_name": name}}
	}
	bought := func(place int64, id, number, sku string) api.FeedRecord {
		return api.FeedRecord{Source: "shop", Position: &place, Purchase: &api.FeedPurchase{ExternalID: id,
			Purchase: api.Purchase{ID: number, At: "2024-05-31T12:00:00Z", SKU: sku, Amount: "9.50", Currency: "EUR"}}}
	}
	batches := [][]api.FeedRecord{
		{bought(1, "F-1", "O-1", "old"), customer(2, "F-1", "Ana"), customer(3, "F-2", "Bo")},
		{customer(4, "F-1", "Anna"), customer(5, "F-1", "Anne"), bought(6, "F-1", "O-1", "new")},
		{customer(7, "F-2", "Bob"), bought(8, "F-1", "O-2", "belt"), bought(9, "F-9", "O-9", "bag")},
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		order := r.Perm(len(batches))
		for _, i := range order {
			batch := append([]api.FeedRecord(nil), batches[i]...)
			r.Shuffle(len(batch), func(a, b int) { batch[a], batch[b] = batch[b], batch[a] })
			out, err := app.Feed(ctx, "gucci", batch)
			h.must(err)
			for _, one := range out.Records {
				if !one.Accepted || one.Reject != nil {
					t.Errorf("%+v", one)
				}
			}
		}
	}
	see := func(id string) api.Customer {
		t.Helper()
		officer := h.as["data-protection-officer"]
		found, err := officer.Search(ctx, "gucci", api.SearchRequest{By: "external_id", Value: id, Purpose: "data-subject-request"})
		h.must(err)
		if len(found.Customers) != 1 {
			t.Fatalf("%s: %d found", id, len(found.Customers))
		}
		d, err := officer.Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{found.Customers[0].Token}, Purpose: "data-subject-request",
			Fields: []string{"external_id", "given_name", "standing", "purchases", "attributes"}})
		h.must(err)
		return d.Customers[0]
	}
	skus := func(c api.Customer) map[string]string {
		out := map[string]string{}
		for _, p := range c.Purchases {
			out[p.ID] = p.SKU
		}
		return out
	}
	ana, bo, nine := see("F-1"), see("F-2"), see("F-9")
	if !maps.Equal(ana.Fields, api.Fields{"external_id": "F-1", "given_name": "Anne"}) || !maps.Equal(skus(ana), map[string]string{"O-1": "new", "O-2": "belt"}) {
		t.Errorf("%+v", ana)
	}
	if bo.Fields["given_name"] != "Bob" || !maps.Equal(skus(nine), map[string]string{"O-9": "bag"}) {
		t.Errorf("%+v, %+v", bo, nine)
	}

	// Of another source, and from nowhere: what comes last stays, and the feed goes on.
	_, err := app.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{{"external_id": "F-2", "given_name": "Robert"}}, MergeAttributes: true})
	h.must(err)
	_, err = app.Feed(ctx, "gucci", batches[2])
	h.must(err)
	if got := see("F-2").Fields["given_name"]; got != "Robert" {
		t.Errorf("an old record replaced what was written since: %s", got)
	}
	_, err = app.Feed(ctx, "gucci", []api.FeedRecord{customer(10, "F-2", "Rob")})
	h.must(err)
	if got := see("F-2").Fields["given_name"]; got != "Rob" {
		t.Errorf("a newer record is not there: %s", got)
	}

	// A deletion asks for an erasure, and erases nothing. The answer is one, known or not.
	gone := func(id string) api.FeedRecord {
		f := customer(11, id, "")
		f.Op, f.Customer = "d", api.Fields{"external_id": id}
		return f
	}
	known, err := app.Feed(ctx, "gucci", []api.FeedRecord{gone("F-1")})
	h.must(err)
	unknown, err := app.Feed(ctx, "gucci", []api.FeedRecord{gone("F-nobody")})
	h.must(err)
	if !reflect.DeepEqual(known, unknown) || !known.Records[0].Accepted {
		t.Errorf("known: %+v, unknown: %+v", known, unknown)
	}
	if c := see("F-1"); c.Fields["standing"] != "erasure-asked" || c.Fields["given_name"] != "Anne" || len(c.Purchases) != 2 {
		t.Errorf("after a deletion: %+v", c)
	}
	if found, err := h.as["data-protection-officer"].Search(ctx, "gucci", api.SearchRequest{By: "external_id", Value: "F-nobody", Purpose: "data-subject-request"}); err != nil || len(found.Customers) > 0 {
		t.Errorf("a deletion made somebody: %v", err)
	}

	// Each record is answered by itself, without its values.
	const secret = "secret@example.com"
	wrong := []api.FeedRecord{
		{Source: "shop", Customer: api.Fields{"external_id": "F-3"}},
		{Source: "shop " + secret, ChangedAt: "2024-05-31T12:00:00Z", Customer: api.Fields{"external_id": "F-3"}},
		{Source: "shop", ChangedAt: secret, Customer: api.Fields{"external_id": "F-3"}},
		{Source: "shop", ChangedAt: "2024-05-31T12:00:00Z", Customer: api.Fields{"external_id": "F-3", "country": secret, "birth_date": secret}},
		{Source: "shop", ChangedAt: "2024-05-31T12:00:00Z", Customer: api.Fields{"email": secret}},
		{Source: "shop", ChangedAt: "2024-05-31T12:00:00Z", Customer: api.Fields{"external_id": "F-3", "attr.note": "4111 1111 1111 1111"}},
		{Source: "shop", ChangedAt: "2024-05-31T12:00:00Z", Op: "d", Purchase: &api.FeedPurchase{ExternalID: "F-3"}},
		{Source: "shop", ChangedAt: "2024-05-31T12:00:00Z", Purchase: &api.FeedPurchase{ExternalID: "F-3", Purchase: api.Purchase{ID: "1", At: secret}}},
		{Source: "shop", ChangedAt: "2024-05-31T12:00:00Z", Purchase: &api.FeedPurchase{ExternalID: "F-3", Purchase: api.Purchase{ID: "1", At: "2024-05-31", Description: "4111 1111 1111 1111"}}},
		{Source: "4111111111111111", Position: new(int64(1)), Customer: api.Fields{"external_id": "F-3"}},
		{Source: "shop", ChangedAt: "2024-05-31T12:00:00Z"},
		{Source: "shop", ChangedAt: "2024-05-31T12:00:00Z", Customer: api.Fields{"external_id": "F-3", "given_name": "Cy"}},
	}
	out, err := app.Feed(ctx, "gucci", wrong)
	h.must(err)
	for i, one := range out.Records {
		if last := i == len(wrong)-1; one.Accepted != last || (one.Reject == nil) != last {
			t.Errorf("record %d: %+v", i, one)
		}
	}
	if text, err := json.Marshal(out); err != nil || strings.Contains(string(text), "secret") || strings.Contains(string(text), "4111") {
		t.Errorf("the answer repeats a value: %s", text)
	}
	if r := out.Records[3].Reject; r.Field != "country" || len(r.Also) != 1 || r.Also[0].Field != "birth_date" {
		t.Errorf("not all faults at once: %+v", r)
	}
	if see("F-3").Fields["given_name"] != "Cy" {
		t.Error("the record beside refused ones is not there")
	}
	if _, err := h.as["support-agent"].Feed(ctx, "gucci", batches[0]); !isType(err, api.TypePolicyDenied) {
		t.Errorf("a support agent: %v", err)
	}

	// The same as lines.
	lines, err := json.Marshal(customer(20, "F-4", "Di"))
	h.must(err)
	more, err := json.Marshal(customer(21, "F-5", "Ed"))
	h.must(err)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+"/v1/brands/gucci/feed", bytes.NewReader(append(append(append(lines, "\n\n"...), more...), '\n')))
	h.must(err)
	req.Header.Set("Content-Type", "application/x-ndjson")
	var key api.Credential
	h.must(h.Do(ctx, "POST", client.Path("principals", "application", "credentials"), api.CredentialRequest{}, &key))
	req.Header.Set("Authorization", "Bearer "+key.Key)
	resp, err := http.DefaultClient.Do(req)
	h.must(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	h.must(err)
	if resp.StatusCode != http.StatusOK || strings.Count(string(answer), `"accepted":true`) != 2 {
		t.Errorf("lines: %d %s", resp.StatusCode, answer)
	}
	if see("F-5").Fields["given_name"] != "Ed" {
		t.Error("a line is not there")
	}

	// A record that is none is refused by itself, in lines and in an array, with its place in
	// the answer and the reason; those beside it go in. Nothing of it is repeated.
	broken := []string{
		`{"source":"shop","position":30,"customer":{"external_id":"secret`,
		`{"source":"shop","position":"secret","customer":{"external_id":"F-7"}}`,
		`{"source":"shop","position":9223372036854775808,"customer":{"external_id":"F-7"}}`,
		`{"source":"shop","position":30,"customer":{"external_id":7,"email":["secret"]}}`,
		`{"source":"shop","position":30,"custmer":{"external_id":"secret"}}`,
		`{"source":"shop","position":30,"secret@example.com":true,"customer":{"external_id":"F-7"}}`,
		`{"source":"shop","position":30,"op":"secret","customer":{"external_id":"F-7"}}`,
		`{"source":"shop","position":30,"purchase":{"external_id":"F-7","purchase_id":"1","at":"2024-05-31","quantity":"secret"}}`,
		`{"source":"shop","position":30,"customer":{"external_id":"F-7","given_name":"secret\u0000"}}`,
		`{"source":"shop","position":30,"customer":{"external_id":"F-7"},"customer":{"external_id":"secret"}}`,
		"{\"source\":\"shop\",\"position\":30,\"customer\":{\"external_id\":\"F-7\",\"given_name\":\"secret\xff\"}}",
		`{"customer":{"external_id":"F-7"}}`,
		`],["secret"`,
		`null`, `"secret"`, `7`, `[]`, `{}`,
	}
	reasons := []string{"is malformed JSON", "position expected", "", "customer.email expected string", "did you mean `customer`?", "Unknown property",
		"op expected value to be one of", "purchase.quantity expected integer", "NUL character", "repeated", "NUL character", "expected required property source",
		"is malformed JSON", "is no JSON object", "is no JSON object", "is no JSON object", "is no JSON object", "source"}
	good := func(place int64, id string) string {
		text, err := json.Marshal(customer(place, id, "Fay"))
		h.must(err)
		return string(text)
	}
	send := func(kind, body string) (int, *api.Fed, string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+"/v1/brands/gucci/feed", strings.NewReader(body))
		h.must(err)
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Authorization", "Bearer "+key.Key)
		resp, err := http.DefaultClient.Do(req)
		h.must(err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		h.must(err)
		var out api.Fed
		if resp.StatusCode == http.StatusOK {
			h.must(json.Unmarshal(text, &out))
		}
		return resp.StatusCode, &out, string(text)
	}
	for kind, join := range map[string][3]string{"application/x-ndjson": {"", "\r\n", ""}, "application/json": {"[", ",", "]"}} {
		for i, bad := range broken {
			if join[1] == "," && !json.Valid([]byte(bad)) {
				continue // no record of a broken array can be found
			}
			id := "F-" + kind + strconv.Itoa(i)
			code, out, text := send(kind, join[0]+strings.Join([]string{good(40, id+"a"), bad, good(41, id+"b")}, join[1])+join[2])
			if code != http.StatusOK || len(out.Records) != 3 || !out.Records[0].Accepted || !out.Records[2].Accepted {
				t.Errorf("%s, record %d: %d %s", kind, i, code, text)
				continue
			}
			r := out.Records[1]
			if r.Accepted || r.Reject == nil || !strings.Contains(r.Reject.Field+" "+r.Reject.Reason, reasons[i]) || strings.Contains(text, "secret") {
				t.Errorf("%s, record %d: %s", kind, i, text)
			}
			if i == 0 && see(id + "b").Fields["given_name"] != "Fay" {
				t.Error("the record beside one that is none is not there")
			}
		}
	}
	for _, c := range []struct {
		kind, body string
		code       int
	}{
		{"application/json", `[` + good(50, "F-8") + `, {]`, http.StatusBadRequest},
		{"application/json", `{"source":"secret"}`, http.StatusUnprocessableEntity},
		{"application/json", `[]`, http.StatusUnprocessableEntity},
		{"application/x-ndjson", "\n\n", http.StatusUnprocessableEntity},
		{"application/x-ndjson", strings.Repeat("{}\n", 5001), http.StatusUnprocessableEntity},
		{"text/csv", "secret", http.StatusUnsupportedMediaType},
	} {
		if code, _, text := send(c.kind, c.body); code != c.code || strings.Contains(text, "secret") {
			t.Errorf("%s %.20s: %d %s", c.kind, c.body, code, text)
		}
	}
}
