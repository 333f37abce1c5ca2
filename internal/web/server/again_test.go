package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
)

// A write that is sent again with its idempotency key is answered again, byte by byte,
// and not done again.
func TestAWriteSentAgainIsDoneOnce(t *testing.T) {
	t.Parallel()
	onEach(t, aWriteSentAgainIsDoneOnce)
}

func aWriteSentAgainIsDoneOnce(t *testing.T, h *house) {
	ctx := t.Context()
	shop := h.key(t)
	send := func(method, path, key, body string) (int, string, http.Header) {
		req, err := http.NewRequestWithContext(ctx, method, h.url+path, strings.NewReader(body))
		h.must(err)
		req.Header.Set("Authorization", "Bearer "+shop)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
		resp, err := http.DefaultClient.Do(req)
		h.must(err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		h.must(err)
		return resp.StatusCode, string(b), resp.Header
	}
	size := func() uint64 {
		var cp api.Checkpoint
		h.must(h.Do(ctx, "GET", client.Path("brands", "gucci", "log"), nil, &cp))
		return cp.Size
	}
	const path, secret = "/v1/brands/gucci/customers", "Unmistakable-4711"
	body := `{"customers":[{"external_id":"A-1","given_name":"` + secret + `"}]}`
	status, first, _ := send("PUT", path, "k-1", body)
	if status != 200 || !strings.Contains(first, `"new"`) {
		t.Fatalf("%d %s", status, first)
	}
	before := size()
	status, second, header := send("PUT", path, "k-1", body)
	if status != 200 || second != first || header.Get("Idempotency-Replayed") != "true" || size() != before {
		t.Errorf("sent again: %d %s, the first was %s; the log grew by %d", status, second, first, size()-before)
	}
	if status, text, _ := send("PUT", path, "k-1", strings.Replace(body, "A-1", "A-2", 1)); status != 422 || !strings.Contains(text, api.TypeKeyReused) {
		t.Errorf("another body with the key: %d %s", status, text)
	}
	if status, text, _ := send("PUT", path, "not a key", body); status != 422 || !strings.Contains(text, api.TypeInvalid) {
		t.Errorf("a key that is none: %d %s", status, text)
	}
	// What was refused was not done: the same may be tried again.
	for range 2 {
		if status, text, _ := send("DELETE", path+"/cus_x", "k-2", ""); status == 200 || strings.Contains(text, "already") {
			t.Errorf("a refusal, sent again: %d %s", status, text)
		}
	}
	// Reads keep nothing: the same reveal is a new entry.
	token := first[strings.Index(first, "cus_"):][:30]
	reveal := `{"tokens":["` + token + `"],"fields":["given_name"],"purpose":"order-fulfilment"}`
	_, one, _ := send("POST", "/v1/brands/gucci/reveal", "k-3", reveal)
	_, two, _ := send("POST", "/v1/brands/gucci/reveal", "k-3", reveal)
	if one == two || !strings.Contains(two, secret) {
		t.Errorf("a reveal, sent again: %s, the first was %s", two, one)
	}
	files, err := filepath.Glob(filepath.Join(h.dir, "*"))
	h.must(err)
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && (bytes.Contains(b, []byte(secret)) || bytes.Contains(b, []byte("k-1"))) {
			t.Errorf("%s holds what was sent", filepath.Base(f))
		}
	}
}

// Who has lost the role is not told again what was answered before.
func TestAnAnswerIsNotGivenToWhoLostTheRight(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	ctx := client.Once(t.Context(), "k")
	shop, _ := h.person(t, "shop", "service", map[string]string{"gucci": "application", "balenciaga": "application"})
	put := api.PutRequest{Customers: []api.Fields{zoe()}}
	first, err := shop.Put(ctx, "gucci", put)
	h.must(err)
	if again, err := shop.Put(ctx, "gucci", put); err != nil || again.Results[0].Token != first.Results[0].Token {
		t.Fatalf("%+v, %v", again, err)
	}
	h.must(h.Do(t.Context(), "DELETE", client.Path("principals", "shop", "roles", "gucci"), nil, nil))
	if again, err := shop.Put(ctx, "gucci", put); err == nil {
		t.Errorf("without the role: %+v", again)
	}
}

func TestASecretIsNotRepeated(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	ctx := client.Once(t.Context(), "k")
	path := client.Path("principals", "analyst", "credentials")
	var c api.Credential
	h.must(h.Do(ctx, "POST", path, api.CredentialRequest{}, &c))
	if err := h.Do(ctx, "POST", path, api.CredentialRequest{}, &c); !isType(err, api.TypeConflict) || strings.Contains(err.Error(), c.Key) {
		t.Errorf("a key asked for again gave %v", err)
	}
	if err := h.Do(t.Context(), "POST", path, api.CredentialRequest{}, nil); err != nil {
		t.Error(err)
	}
}

func TestOneOfManyAtOnceIsDone(t *testing.T) {
	t.Parallel()
	onEach(t, oneOfManyAtOnceIsDone)
}

func oneOfManyAtOnceIsDone(t *testing.T, h *house) {
	ctx := client.Once(t.Context(), "k")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var b api.Brand
			err := h.Do(ctx, "POST", "/v1/brands", api.Brand{Name: "mcqueen", Title: "McQueen"}, &b)
			if err == nil && b.Title != "McQueen" || err != nil && !(isType(err, api.TypeConflict) && strings.Contains(err.Error(), "in progress")) {
				t.Errorf("%+v, %v", b, err)
			}
		})
	}
	wg.Wait()
	var e api.Entry
	h.must(h.Do(t.Context(), "GET", fmt.Sprint("/v1/brands/mcqueen/log/entries/", 0), nil, &e))
	if e.Kind != "budget" {
		t.Errorf("%+v", e)
	}
}
