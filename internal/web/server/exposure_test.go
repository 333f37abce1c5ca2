package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

func TestExposureIsARead(t *testing.T) { onEach(t, exposureIsARead) }

func TestExposureTellsNobodyOfAnotherBrand(t *testing.T) {
	t.Parallel()
	onEach(t, exposureOfTwoBrands)
}

func TestExposureOfMoreThanAThousand(t *testing.T) {
	t.Parallel()
	onEach(t, exposureOfMany)
}

// asks sends a request for exposure and returns how it was answered.
func (h *house) asks(key, path string) (status int, body string, retry string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), "GET", h.url+path, nil)
	h.must(err)
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	h.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	h.must(err)
	// Of two requests, answers differ by their names alone.
	return resp.StatusCode, strings.ReplaceAll(string(b), resp.Header.Get("X-Request-Id"), "req_"), resp.Header.Get("Retry-After")
}

// revealed reveals customers of a brand that its application made.
func (h *house) revealed(brand string, n int) {
	h.t.Helper()
	ctx := h.t.Context()
	app, _ := h.person(h.t, "app-"+brand, "service", map[string]string{brand: access.Application})
	agent, _ := h.person(h.t, "agent-"+brand, "person", map[string]string{brand: access.SupportAgent})
	var put api.PutRequest
	for i := range n {
		put.Customers = append(put.Customers, api.Fields{"external_id": fmt.Sprint("R-", i), "email": fmt.Sprintf("r%d@example.com", i)})
	}
	w, err := app.Put(ctx, brand, put)
	h.must(err)
	for _, r := range w.Results {
		_, err := agent.Reveal(ctx, brand, api.RevealRequest{Tokens: []string{r.Token}, Fields: []string{"email"}, Purpose: "customer-support"})
		h.must(err)
	}
}

// Exposure says at once what was used up to now: in a process that follows nothing, while
// a server follows the log, after it stopped, and by a second server.
func exposureIsARead(t *testing.T, h *house) {
	ctx := t.Context()
	used := func(who *client.Client, want uint64) {
		t.Helper()
		var x api.Exposure
		eventually(t, "a server that has just started has caught up", func() bool {
			h.must(who.Do(ctx, "GET", "/v1/brands/gucci/exposure", nil, &x))
			return x.UsesAt.Equal(x.At)
		})
		i := slices.IndexFunc(x.Rows, func(r api.ExposureRow) bool { return r.Kind == "brand" })
		if n := x.Rows[i].Now.Hour; n != want {
			t.Errorf("%d customers were taken, want %d", n, want)
		}
	}
	officer := h.as["data-protection-officer"]
	h.revealed("gucci", 17)
	used(officer, 17)
	watching, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.vault.Watch(watching, slog.New(slog.NewTextHandler(io.Discard, nil)), "") }()
	t.Cleanup(stop)
	used(officer, 17)
	agent, _ := h.person(t, "late", "person", map[string]string{"gucci": access.SupportAgent})
	w, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err)
	for range 5 { // each is counted as soon as it is answered; the same customer once
		_, err := agent.Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{w.Results[0].Token}, Fields: []string{"email"}, Purpose: "customer-support"})
		h.must(err)
		used(officer, 18)
	}
	stop()
	h.must(<-done)
	used(officer, 18)
}

// What is used at one brand tells another's people nothing: not that there is such a
// brand, not how much there is.
func exposureOfTwoBrands(t *testing.T, h *house) {
	_, ours := h.newKey(t, "incident-responder")
	_, both := h.person(t, "hq", "person", map[string]string{"group": access.IncidentResponder})
	h.revealed("balenciaga", 23)
	h.revealed("gucci", 3)
	h.person(t, "bala", "person", map[string]string{"balenciaga": access.IncidentResponder})
	betrays := func(what, body string) {
		t.Helper()
		for _, word := range []string{"balenciaga", "bala", ":23,", ":23}"} {
			if strings.Contains(body, word) {
				t.Errorf("%s: a brand's responder is told %q: %s", what, word, body)
			}
		}
	}
	status, body, _ := h.asks(ours.Key, "/v1/exposure?kind=role")
	if status != http.StatusOK {
		t.Fatalf("%d: %s", status, body)
	}
	betrays("of all brands", body)
	for _, more := range []string{"", "?principal=bala", "?principal=agent-balenciaga"} {
		_, there, _ := h.asks(ours.Key, "/v1/brands/balenciaga/exposure"+more)
		_, none, _ := h.asks(ours.Key, "/v1/brands/no-brand/exposure"+more)
		if there != none {
			t.Errorf("another brand, and none: %s, %s", there, none)
		}
	}
	_, body, _ = h.asks(ours.Key, "/v1/exposure")
	var x api.Exposure
	h.must(json.Unmarshal([]byte(body), &x))
	if len(x.Rows) == 0 || slices.ContainsFunc(x.Rows, func(r api.ExposureRow) bool { return r.Brand != "gucci" }) {
		t.Errorf("%d: %s", status, body)
	}
	_, there, _ := h.asks(ours.Key, "/v1/brands/gucci/exposure?principal=bala")
	_, none, _ := h.asks(ours.Key, "/v1/brands/gucci/exposure?principal=nobody-at-all")
	if there != none {
		t.Errorf("another brand's, and nobody: %s, %s", there, none)
	}
	brands := map[string]uint64{}
	_, body, _ = h.asks(both.Key, "/v1/exposure?kind=brand")
	h.must(json.Unmarshal([]byte(body), &x))
	for _, r := range x.Rows {
		brands[r.Brand] = r.Now.Hour
	}
	if len(brands) != 2 || brands["gucci"] != 3 || brands["balenciaga"] != 23 {
		t.Errorf("whoever audits both: %v", brands)
	}
}

// Everybody has a row, however many pages they are on.
func exposureOfMany(t *testing.T, h *house) {
	ctx := t.Context()
	const many = 1013
	now := time.Now()
	h.must(h.vault.DB.Tx(ctx, func(q db.Queryer) error {
		for i := range many {
			id, err := h.vault.Identity.CreatePrincipal(ctx, q, fmt.Sprint("many-", i), identity.Person, now)
			if err == nil {
				err = h.vault.Identity.FirstRole(ctx, q, id, 1, access.StoreAssociate, now)
			}
			if err == nil {
				_, _, err = h.vault.Identity.CreateCredential(ctx, q, id, 0, "till", time.Time{}, now)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
	var x api.Exposure
	h.must(h.as["incident-responder"].Do(ctx, "GET", "/v1/brands/gucci/exposure", nil, &x))
	rows := map[string]int{}
	for _, r := range x.Rows {
		if strings.HasPrefix(r.Principal, "many-") && r.Bound.Hour > 0 {
			rows[r.Kind]++
		}
	}
	if rows["principal"] != many || rows["lineage"] != many || x.Total != len(x.Rows) {
		t.Errorf("%v of %d", rows, many)
	}
	h.must(h.as["incident-responder"].Do(ctx, "GET", "/v1/brands/gucci/exposure?principal="+fmt.Sprint("many-", many-1), nil, &x))
	if x.Total != 4 { // the lineage, the principal, the role, the brand
		t.Errorf("%+v", x.Rows)
	}
}
